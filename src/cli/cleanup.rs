//! `vipward cleanup`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};

use super::output;
use crate::control::lock::{LockError, RuntimeLock};
use crate::daemon::leftovers::record::Record;
use crate::daemon::leftovers::sweep;
use crate::daemon::presence::Presence;
use crate::net::rights;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Runtime directory of the agent that died
    ///
    /// Without it $RUNTIME_DIRECTORY, then /run/vipward.
    #[arg(long, value_name = "DIR")]
    runtime_dir: Option<PathBuf>,
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let directory = super::run::directory(args.runtime_dir, "RUNTIME_DIRECTORY", "/run/vipward");
    rights::check().context("nothing was removed")?;
    let _lock = RuntimeLock::take(&directory).map_err(|error| match error {
        LockError::Held { .. } => {
            let holder = error.holder();
            anyhow::anyhow!(
                "{holder} holds {}: its addresses are its own, and nothing was removed. Stop it \
                 first",
                directory.display()
            )
        }
        LockError::Io { .. } => anyhow::Error::from(error),
    })?;
    let swept = sweep::sweep(&mut Record::new(&directory), &Presence::claim());
    for problem in &swept.problems {
        output::complain(problem);
    }
    if swept.unfinished {
        bail!("addresses of a dead agent may still be there; run this again");
    }
    let said = if swept.done.is_empty() {
        "nothing was left".to_owned()
    } else {
        swept.done.join("\n")
    };
    output::print(&format!("{said}\n"))?;
    Ok(ExitCode::SUCCESS)
}
