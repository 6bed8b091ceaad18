//! `vipward run`.

use std::path::PathBuf;
use std::process::ExitCode;

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
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let read = config::load(&args.config);
    let read = read.and_then(|loaded| {
        let keys = config::read_keys(&loaded)?;
        let cluster_key = config::read_cluster_key(&loaded)?;
        Ok((loaded, keys, cluster_key))
    });
    let (loaded, keys, cluster_key) = match read {
        Ok(read) => read,
        Err(faults) => {
            super::output::complain(&faults.to_string());
            return Ok(ExitCode::FAILURE);
        }
    };
    daemon::run(daemon::Options {
        loaded,
        keys,
        cluster_key,
        runtime_dir: directory(args.runtime_dir, "RUNTIME_DIRECTORY", "/run/vipward"),
        state_dir: directory(args.state_dir, "STATE_DIRECTORY", "/var/lib/vipward"),
    })
}

pub(super) fn directory(told: Option<PathBuf>, variable: &str, default: &str) -> PathBuf {
    let from_manager = || std::env::var_os(variable).filter(|value| !value.is_empty());
    told.or_else(|| from_manager().map(PathBuf::from))
        .unwrap_or_else(|| PathBuf::from(default))
}
