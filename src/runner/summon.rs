//! Starting the runner from the agent, where no service manager does.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::time::Instant;

use crate::net::child;

/// A runner of ours that has not answered for this long is killed and
/// replaced.
const WEDGED_AFTER: Duration = Duration::from_secs(10);

/// Starts runners, one after the other, and reaps those that ended.
#[derive(Debug)]
pub struct Summoner {
    config: PathBuf,
    runtime_dir: PathBuf,
    child: Option<(Child, Instant)>,
}

impl Summoner {
    pub fn new(config: PathBuf, runtime_dir: PathBuf) -> Self {
        Self {
            config,
            runtime_dir,
            child: None,
        }
    }

    /// A runner answers: whichever it is, it is not wedged.
    pub fn answered(&mut self) {
        if let Some((_, since)) = &mut self.child {
            *since = Instant::now();
        }
    }

    /// Starts a runner, unless the one before still lives. It has a session
    /// of its own and outlives us.
    ///
    /// # Errors
    ///
    /// A sentence; nothing runs then. Call it again later.
    pub fn summon(&mut self) -> Result<(), String> {
        if self.still_lives() {
            return Ok(());
        }
        // The very program that runs now, even if its file was replaced.
        let mut command = Command::new("/proc/self/exe");
        command
            .arg0("vipward")
            .args(["runner", "--started-by-agent", "--config"])
            .arg(&self.config)
            .arg("--runtime-dir")
            .arg(&self.runtime_dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        for name in child::FOR_THE_AGENT_ALONE {
            command.env_remove(name);
        }
        child::detach(&mut command);
        match command.spawn() {
            Ok(child) => {
                tracing::info!("started a runner, pid {}", child.id());
                self.child = Some((child, Instant::now()));
                Ok(())
            }
            Err(error) => Err(format!("a runner cannot be started: {error}")),
        }
    }

    /// Reaps one that ended, kills one that is wedged.
    fn still_lives(&mut self) -> bool {
        let Some((child, since)) = &mut self.child else {
            return false;
        };
        match child.try_wait() {
            Ok(None) => {
                if since.elapsed() > WEDGED_AFTER {
                    tracing::warn!(
                        "the runner, pid {}, does not answer; it is killed",
                        child.id()
                    );
                    // It is ours and not reaped, so the pid is its own.
                    let _ = child.kill();
                }
                true
            }
            Ok(Some(status)) => {
                if !status.success() {
                    tracing::warn!("the runner that was started ended: {status}");
                }
                self.child = None;
                false
            }
            Err(_) => {
                self.child = None;
                false
            }
        }
    }
}
