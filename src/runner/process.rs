//! One program from its start to its end, which comes at its deadline at the
//! latest.

use std::process::{Child, ExitStatus};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use std::os::unix::process::ExitStatusExt;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::Instant;

use super::message::unstarted;
use super::output::Output;
use super::start::{Launch, Started};
use crate::agent::jobs::{JobResult, Verdict};

/// How often a child is looked at when the kernel's signals cannot be heard.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Changes whenever some child ended.
#[derive(Clone, Debug)]
pub struct Exits(watch::Receiver<u64>);

impl Exits {
    /// Must be called inside of a tokio runtime, and listens as long as that
    /// lives.
    pub fn listen() -> std::io::Result<Self> {
        let mut signals = signal(SignalKind::child())?;
        let (sender, receiver) = watch::channel(0_u64);
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                sender.send_modify(|count| *count = count.wrapping_add(1));
            }
        });
        Ok(Self(receiver))
    }

    /// Waits until this child ended, and leaves it unreaped, so that the
    /// number of its group stays taken. Safe to be given up.
    async fn of(&mut self, pid: Pid) {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        loop {
            // Before the look: an end right after it is then a change.
            self.0.borrow_and_update();
            match waitid(Id::Pid(pid), flags) {
                Ok(WaitStatus::StillAlive) | Err(Errno::EINTR) => {}
                // An error means that there is no such child.
                Ok(_) | Err(_) => return,
            }
            // A signal can be merged with another, never lost; the look now
            // and then is for a host that blocks them.
            let _ = tokio::time::timeout(LOOK_EVERY, self.0.changed()).await;
        }
    }
}

/// What is left of a program whose result is known.
#[derive(Debug)]
pub enum Remains {
    /// It was being started at its deadline, perhaps from a file system that
    /// hangs.
    Starting(JoinHandle<Result<Started, Verdict>>),
    /// Killed, and not yet gone: in uninterruptible sleep, unless it is gone
    /// in a moment.
    Killed(Child),
}

impl Remains {
    /// Waits until nothing is left.
    pub async fn gone(self, exits: &mut Exits) {
        let child = match self {
            Remains::Killed(child) => child,
            Remains::Starting(starting) => match starting.await {
                Ok(Ok(started)) => {
                    kill_group(&started.child);
                    started.child
                }
                Ok(Err(_)) | Err(_) => return,
            },
        };
        exits.of(pid_of(&child)).await;
        end(child);
    }
}

/// Runs a program. `cut` ends it before its time, and gives the verdict for
/// that.
pub async fn run(
    launch: Launch,
    exits: &mut Exits,
    cut: impl Future<Output = Verdict>,
) -> (JobResult, Option<Remains>) {
    let start = Instant::now();
    let deadline = start + launch.script.timeout;
    let may_leave = launch.may_leave;
    let mut cut = std::pin::pin!(async move {
        tokio::select! {
            biased;
            () = tokio::time::sleep_until(deadline) => Verdict::TimedOut,
            verdict = cut => verdict,
        }
    });
    let mut starting = spawn_blocking(move || launch.start());
    let started = tokio::select! {
        biased;
        started = &mut starting => started,
        verdict = &mut cut => {
            let result = JobResult { duration: start.elapsed(), ..unstarted(verdict) };
            return (result, Some(Remains::Starting(starting)));
        }
    };
    let (child, pipe) = match started {
        Ok(Ok(Started { child, output })) => (child, output),
        Ok(Err(verdict)) => return (unstarted(verdict), None),
        Err(error) => {
            let why = format!("the thread that was to start it ended: {error}");
            return (unstarted(Verdict::NotRun(why)), None);
        }
    };
    let mut output = Output::new(pipe).ok();
    let pid = pid_of(&child);
    let ended = tokio::select! {
        biased;
        () = exits.of(pid) => None,
        verdict = &mut cut => Some(verdict),
        () = drain(&mut output) => None,
    };
    let duration = start.elapsed();
    let finish = match ended.is_none() && may_leave {
        true => Output::finish_and_drain,
        false => Output::finish,
    };
    let output = output.map(finish).unwrap_or_default();
    let (verdict, remains) = match ended {
        None if may_leave => (reap(child), None),
        None => (end(child), None),
        Some(verdict) => {
            kill_group(&child);
            (verdict, Some(Remains::Killed(child)))
        }
    };
    let result = JobResult {
        verdict,
        duration,
        output,
    };
    (result, remains)
}

/// Never returns.
async fn drain(output: &mut Option<Output>) {
    match output {
        Some(output) => output.drain().await,
        None => std::future::pending().await,
    }
}

/// Kills what an ended program left in its group, then reaps it: in this
/// order, since afterwards the number could be another group's.
fn end(child: Child) -> Verdict {
    kill_group(&child);
    reap(child)
}

fn reap(mut child: Child) -> Verdict {
    match child.wait() {
        Ok(status) => verdict(status),
        Err(error) => Verdict::Failed(format!("how it ended is not known: {error}")),
    }
}

fn pid_of(child: &Child) -> Pid {
    // Linux has at most 2^22 processes. -1 is never a child.
    Pid::from_raw(i32::try_from(child.id()).unwrap_or(-1))
}

/// SIGKILL to all of the program's process group. Only while the program is
/// not reaped.
fn kill_group(child: &Child) {
    let group = pid_of(child);
    if group.as_raw() > 1 {
        // An error: nobody is left there. Only root starts programs that may
        // gain rights, and root may kill those too.
        let _ = killpg(group, Signal::SIGKILL);
    }
}

fn verdict(status: ExitStatus) -> Verdict {
    match (status.code(), status.signal()) {
        (Some(0), _) => Verdict::Passed,
        (Some(code), _) => Verdict::Failed(format!("exit code {code}")),
        (None, Some(number)) => Verdict::Failed(match Signal::try_from(number) {
            Ok(signal) => format!("killed by {signal}"),
            Err(_) => format!("killed by signal {number}"),
        }),
        (None, None) => Verdict::Failed(status.to_string()),
    }
}
