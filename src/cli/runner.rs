//! `vipward runner`: started by a service manager or by the agent, not by
//! people.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use nix::unistd::{Uid, User};

use crate::config::{self, LogFormat, LogLevel, LogSettings};
use crate::runner::catalog::Catalog;
use crate::runner::server::{self, ALONE_MAX, Options};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Configuration file
    #[arg(long, value_name = "FILE", default_value = config::DEFAULT_PATH)]
    config: PathBuf,
    /// Runtime directory of the agent
    ///
    /// Without it $RUNTIME_DIRECTORY, then /run/vipward.
    #[arg(long, value_name = "DIR")]
    runtime_dir: Option<PathBuf>,
    /// User of the agent, who may connect beside root
    #[arg(long, value_name = "USER")]
    agent_user: Option<String>,
    /// End a minute after the last agent
    #[arg(long)]
    started_by_agent: bool,
}

const PLAIN_LOG: LogSettings = LogSettings {
    level: LogLevel::Info,
    format: LogFormat::Text,
};

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    // `ps` would show the name of a link otherwise; nothing depends on it.
    let _ = std::fs::write("/proc/self/comm", "vipward-runner");
    // A file with a fault is told in the log, which then is the plain one.
    let log = config::load(&args.config).map_or(PLAIN_LOG, |loaded| loaded.host.log);
    let _log = crate::daemon::log::start(log);
    let config = args.config.clone();
    let agent_user = args.agent_user.as_deref().map(uid).transpose()?;
    let options = Options {
        runtime_dir: super::run::directory(args.runtime_dir, "RUNTIME_DIRECTORY", "/run/vipward"),
        agent_user,
        config: args.config,
        alone_max: args.started_by_agent.then_some(ALONE_MAX),
    };
    server::run(options, Arc::new(move || catalog(&config)))?;
    Ok(ExitCode::SUCCESS)
}

fn uid(name: &str) -> anyhow::Result<Uid> {
    let found = User::from_name(name);
    match found.with_context(|| format!("the user {name} cannot be looked up"))? {
        Some(user) => Ok(user.uid),
        None => anyhow::bail!("there is no user {name} (--agent-user); nothing was started"),
    }
}

/// The programs that the file names.
fn catalog(config: &std::path::Path) -> Result<Catalog, String> {
    let loaded = config::load(config).map_err(|faults| faults.to_string())?;
    Ok(Catalog {
        checks: loaded.work.scripts,
        hooks: loaded.work.hooks,
    })
}
