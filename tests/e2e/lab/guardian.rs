//! The guardian of an agent: found, and killed with it; and `cleanup`.

use std::fs;
use std::process::Output;
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::agent::{Agent, program};
use super::{Host, LONG, wait_until};

/// The children of `parent` that live and whose name ends so.
pub fn children(parent: u32, name: &str) -> Vec<u32> {
    let entries = fs::read_dir("/proc").expect("/proc");
    let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    numbers
        .filter(|pid: &u32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let Some((head, tail)) = stat.rsplit_once(')') else {
                return false;
            };
            let mut fields = tail.split_whitespace();
            let alive = fields.next().is_some_and(|state| state != "Z");
            let of = fields.next().and_then(|ppid| ppid.parse().ok());
            alive && of == Some(parent) && head.ends_with(name)
        })
        .collect()
}

/// It is there, and not a zombie.
pub fn lives(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')')
        .is_some_and(|(_, tail)| !tail.trim_start().starts_with('Z'))
}

/// The process has a handler for it.
pub fn catches(pid: u32, signal: Signal) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    caught.is_some_and(|mask| mask >> (signal as i32 - 1) & 1 == 1)
}

pub fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).expect("a process id");
    kill(Pid::from_raw(pid), signal).unwrap_or_else(|error| panic!("{signal} to {pid}: {error}"));
}

impl Agent {
    /// Its guardian; waits until there is one, and one other than `before`.
    #[track_caller]
    pub fn guardian(&self, before: Option<u32>) -> u32 {
        let mut found = None;
        wait_until("a guardian", LONG, || {
            let all = children(self.process.pid(), "(vip-guardian");
            assert!(all.len() <= 1, "{all:?} are on guard at once");
            found = all.first().copied().filter(|pid| Some(*pid) != before);
            found.is_some()
        });
        found.expect("just found")
    }

    /// Both die at once: neither can do anything about the other. Returns
    /// when the agent, the last one, was killed.
    pub fn kill_with_guardian(&mut self) -> Instant {
        let guardian = self.guardian(None);
        self.process.signal_alone(Signal::SIGSTOP);
        signal(guardian, Signal::SIGKILL);
        let now = Instant::now();
        self.process.kill();
        wait_until("the guardian's end", LONG, || !lives(guardian));
        now
    }
}

impl Host {
    /// `vipward cleanup` on this host, for the runtime directory of `agent`.
    pub fn cleanup(&self, agent: &Agent) -> Output {
        let mut command = self.namespace.command(&program());
        command.arg("cleanup").arg("--runtime-dir");
        command.arg(&agent.runtime).output().expect("it starts")
    }
}

/// What it printed, after it succeeded.
#[track_caller]
pub fn said(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
