//! `vipward demo`: a failover to watch. Two hosts and a client live in network
//! namespaces of this machine, the hosts run the real agent, and the client
//! measures what its users would notice.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use super::output;
use crate::net::namespace;

mod probe;
mod stage;
mod story;

/// What the kernel runs for it: this very binary.
const PROGRAM: &str = "/proc/self/exe";

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Advertisement interval of the two hosts
    ///
    /// In milliseconds, a multiple of 10. A host that falls silent is
    /// replaced after about 3.6 intervals.
    #[arg(long, value_name = "MS", default_value = "200", value_parser = interval)]
    interval_ms: Duration,
}

fn interval(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(millis @ 10..=5_000) if millis % 10 == 0 => Ok(Duration::from_millis(millis)),
        _ => Err("a multiple of 10 between 10 and 5000 is needed".to_owned()),
    }
}

/// Shows the failover. Exit code 0 when the address moved and came back; 1,
/// with a sentence, otherwise; 129, 130 or 143 when a signal ended it. Whatever
/// the end, processes, namespaces and files are gone afterwards (SIGKILL
/// leaves the files).
///
/// Must be called before the process has started any thread: without root's
/// rights it moves into a user namespace.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    if let Err(obstacle) = namespace::permit() {
        anyhow::bail!("the demo cannot run: {obstacle}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no event loop could be made")?;
    runtime.block_on(show(args.interval_ms))
}

async fn show(interval: Duration) -> anyhow::Result<ExitCode> {
    let mut hangup = signal(SignalKind::hangup()).context("SIGHUP cannot be caught")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be caught")?;
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be caught")?;
    // Cleared away by its drop, at every way out of here.
    let mut stage = stage::Stage::build(Path::new(PROGRAM), interval)?;
    tokio::select! {
        outcome = story::tell(&mut stage) => outcome.map(|()| ExitCode::SUCCESS),
        _ = hangup.recv() => Ok(interrupted(1)),
        _ = interrupt.recv() => Ok(interrupted(2)),
        _ = terminate.recv() => Ok(interrupted(15)),
    }
}

/// The exit code by which a shell knows the signal.
fn interrupted(signal: u8) -> ExitCode {
    say("interrupted; clearing away");
    ExitCode::from(128 + signal)
}

/// Prints one line. A terminal that fails does not stop the story, which
/// still has to clear away behind itself.
fn say(line: &str) {
    if let Err(error) = output::print(&format!("{line}\n")) {
        output::complain(&format!("standard output failed: {error}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_whole_centiseconds() {
        assert_eq!(interval("250"), Ok(Duration::from_millis(250)));
        for wrong in ["0", "15", "5010", "-10", "1s", ""] {
            assert!(interval(wrong).is_err(), "{wrong}");
        }
    }
}
