//! `vipward guardian`: started by the agent, not by people.

use std::os::fd::RawFd;
use std::process::ExitCode;

use anyhow::Context;

use crate::daemon::guardian::vigil::Vigil;
use crate::net::pidfd;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Descriptor of the memory that the agent shares
    #[arg(long)]
    memory: RawFd,
    /// Descriptor of the agent's process
    #[arg(long)]
    agent: RawFd,
    /// Descriptor of the runtime directory's lock
    #[arg(long)]
    lock: RawFd,
    /// The agent's process id
    #[arg(long)]
    pid: u32,
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let taken = "only the agent starts a guardian: a descriptor is missing";
    let vigil = Vigil {
        memory: pidfd::inherited(args.memory).context(taken)?,
        agent: pidfd::inherited(args.agent).context(taken)?,
        lock: pidfd::inherited(args.lock).context(taken)?,
        pid: args.pid,
    };
    // `ps` would show the number of a descriptor otherwise.
    let _ = std::fs::write("/proc/self/comm", "vip-guardian");
    vigil.keep().context("the guardian cannot keep watch")?;
    Ok(ExitCode::SUCCESS)
}
