//! `vipward doctor`.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use super::agent::AgentArgs;
use super::output;
use crate::config::{self, Style};
use crate::control::render::Colour;
use crate::doctor::gather::{self, LISTEN_MAX, Wish};
use crate::doctor::judge;
use crate::doctor::report::Report;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "It changes nothing. It sends pings to the peers, and three questions of IP\n\
                  protocol 112 on each path, which no VRRP router acts upon and agents of\n\
                  vipward answer. Without an agent it examines the host by the configuration\n\
                  file. Run it as root, on each node.\n\n\
                  Exit codes: 0; 1 with warnings; 2 with errors, on a usage error, or when\n\
                  nothing could be examined."
)]
pub struct Args {
    /// Only what concerns this instance
    instance: Option<String>,
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
    /// The configuration file
    ///
    /// Without it, the one that the agent follows, then
    /// /etc/vipward/config.yaml.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How long to listen for other VRRP speakers, at most 60s
    ///
    /// Without it 3s, or two and a half of the longest advertisement interval
    /// where that is longer, at most 15s. With 0s nobody listens.
    #[arg(long, value_name = "SPAN", value_parser = span)]
    listen: Option<Duration>,
    /// Send nothing, neither pings nor questions of protocol 112
    ///
    /// What only an answer shows stays unknown.
    #[arg(long)]
    silent: bool,
    #[command(flatten)]
    agent: AgentArgs,
}

fn span(text: &str) -> Result<Duration, String> {
    let span = config::parse_duration(text).map_err(|error| error.to_string())?;
    match span > LISTEN_MAX {
        true => Err(format!("{} s is the longest", LISTEN_MAX.as_secs())),
        false => Ok(span),
    }
}

/// Nothing could be examined.
const FAILED: u8 = 2;

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let coloured = |terminal: bool| terminal && !refused;
    let stderr = std::io::stderr();
    let speaks = stderr.is_terminal() && !args.json;
    let wish = Wish {
        socket: args.agent.socket(),
        config: args.config,
        instance: args.instance,
        listen: args.listen,
        silent: args.silent,
        style: match coloured(stderr.is_terminal()) {
            true => Style::Coloured,
            false => Style::Plain,
        },
    };
    let tell = |what: &str| {
        if speaks {
            // It says why nothing happens for a while, and no more.
            let _ = writeln!(std::io::stderr(), "vipward doctor: {what}");
        }
    };
    let facts = match gather::facts(&wish, &tell) {
        Ok(facts) => facts,
        Err(refused) => {
            output::complain(&refused.to_string());
            return Ok(ExitCode::from(FAILED));
        }
    };
    if let Some(faults) = &facts.configuration.faults {
        let _ = writeln!(std::io::stderr(), "{faults}\n");
    }
    let report = Report::new(&facts, judge::judge(&facts));
    let text = match args.json {
        true => report.to_json()?,
        false => report.for_people(match coloured(std::io::stdout().is_terminal()) {
            true => Colour::On,
            false => Colour::Off,
        }),
    };
    output::print(&text)?;
    Ok(ExitCode::from(report.exit_code()))
}
