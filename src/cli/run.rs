//! `vipward run`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use crate::{config, daemon};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Configuration file
    #[arg(long, value_name = "FILE", default_value = "/etc/vipward/config.yaml")]
    config: PathBuf,
    /// Where the lock and the control socket live
    ///
    /// Without it $RUNTIME_DIRECTORY, then /run/vipward.
    #[arg(long, value_name = "DIR")]
    runtime_dir: Option<PathBuf>,
    /// Where lives what must survive a restart
    ///
    /// Without it $STATE_DIRECTORY, then /var/lib/vipward.
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Where the runner of scripts listens
    ///
    /// Without it the runtime directory.
    #[arg(long, value_name = "DIR")]
    runner_dir: Option<PathBuf>,
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let base = daemon::Base::new()?;
    // Keys come into this memory, and a core would be a file with them in it.
    crate::net::child::no_core().context("cannot forgo core dumps")?;
    let read = config::load(&args.config);
    let read = read.and_then(|loaded| {
        let keys = config::read_keys(&loaded)?;
        Ok((loaded, keys))
    });
    let (loaded, keys) = match read {
        Ok(read) => read,
        Err(faults) => {
            super::output::complain(&faults.to_string());
            return Ok(ExitCode::FAILURE);
        }
    };
    if let Some(refusal) = super::configured::refusal(&args.config) {
        super::output::complain(&refusal);
        return Ok(ExitCode::FAILURE);
    }
    let runtime_dir = directory(args.runtime_dir, "RUNTIME_DIRECTORY", "/run/vipward");
    daemon::run(daemon::Options {
        base,
        loaded,
        keys,
        runner_dir: args.runner_dir.unwrap_or_else(|| runtime_dir.clone()),
        runtime_dir,
        state_dir: directory(args.state_dir, "STATE_DIRECTORY", "/var/lib/vipward"),
    })
}

pub(super) fn directory(told: Option<PathBuf>, variable: &str, default: &str) -> PathBuf {
    let from_manager = || std::env::var_os(variable).filter(|value| !value.is_empty());
    told.or_else(|| from_manager().map(PathBuf::from))
        .unwrap_or_else(|| PathBuf::from(default))
}
