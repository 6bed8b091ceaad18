//! The guardian, a second process of this program that speaks and cleans up
//! for the agent when it dies without goodbye: its start, and its successors.
//! What it does is in `vigil.rs`.

pub mod vigil;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::leftovers::memory::Memory;
use crate::control::lock::RuntimeLock;
use crate::net::{child, pidfd};

/// Before a guardian that ended is replaced; doubled each time, and forgotten
/// when one has lived for [`HEALTHY`].
const PAUSE_FIRST: Duration = Duration::from_millis(10);
const PAUSE_LONGEST: Duration = Duration::from_secs(1);
const HEALTHY: Duration = Duration::from_secs(10);
/// Between two lines about guardians that end.
const QUIET: Duration = Duration::from_secs(60);

/// What every guardian is given.
pub struct Post {
    /// This very program, even if its file is replaced.
    program: File,
    memory: OwnedFd,
    /// This process.
    agent: OwnedFd,
    /// Keeps the runtime directory locked for as long as a guardian lives.
    lock: OwnedFd,
}

impl Post {
    /// # Errors
    ///
    /// Some descriptor could not be had; there can be no guardian.
    pub fn new(lock: &RuntimeLock, memory: &Memory) -> io::Result<Self> {
        Ok(Self {
            program: File::open("/proc/self/exe")?,
            memory: memory.handle()?,
            agent: pidfd::of_this_process()?,
            lock: lock.as_fd().try_clone_to_owned()?,
        })
    }

    /// Starts a guardian.
    pub fn man(&self) -> io::Result<Child> {
        let number = |descriptor: &OwnedFd| descriptor.as_raw_fd().to_string();
        let mut command = Command::new(format!("/proc/self/fd/{}", self.program.as_raw_fd()));
        command
            .arg0("vipward")
            .args(["guardian", "--memory", &number(&self.memory)])
            .args(["--agent", &number(&self.agent)])
            .args(["--lock", &number(&self.lock)])
            .args(["--pid", &std::process::id().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        for name in child::FOR_THE_AGENT_ALONE {
            command.env_remove(name);
        }
        let kept = [&self.memory, &self.agent, &self.lock];
        child::watchful(&mut command, kept.map(AsRawFd::as_raw_fd).to_vec());
        command.spawn()
    }

    /// Replaces each guardian that ends, on a thread of its own: as long as
    /// this process lives none has a reason to.
    ///
    /// # Errors
    ///
    /// No thread could be had; the first guardian is not replaced.
    pub fn keep_manned(self, first: Child) -> io::Result<()> {
        thread::Builder::new()
            .name("vip-post".to_owned())
            .stack_size(256 * 1024)
            .spawn(move || self.relieve(first))
            .map(drop)
    }

    fn relieve(self, first: Child) {
        let mut guardian = Some(first);
        let mut pause = PAUSE_FIRST;
        let mut told: Option<Instant> = None;
        loop {
            let since = Instant::now();
            let ended = guardian.take().map(|mut child| child.wait());
            if since.elapsed() > HEALTHY {
                pause = PAUSE_FIRST;
            }
            let lately = told.is_some_and(|at| at.elapsed() < QUIET);
            thread::sleep(pause);
            pause = (pause * 2).min(PAUSE_LONGEST);
            let next = self.man();
            if !lately {
                told = Some(Instant::now());
                report(ended, &next);
            }
            guardian = next.ok();
        }
    }
}

fn report(ended: Option<io::Result<std::process::ExitStatus>>, next: &io::Result<Child>) {
    let end = match ended {
        Some(Ok(status)) => format!("the guardian ended ({status})"),
        Some(Err(error)) => format!("the guardian is lost: {error}"),
        None => "there is no guardian".to_owned(),
    };
    match next {
        Ok(child) => tracing::warn!("{end}; another is on guard, pid {}", child.id()),
        Err(error) => tracing::error!(
            "{end}, and another cannot be started: {error}; trying again. Should this agent be \
             killed meanwhile, its addresses stay until it is started again"
        ),
    }
}
