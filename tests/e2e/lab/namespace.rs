//! Named network namespaces, and running things inside them.

use std::fs::File;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use nix::sched::{CloneFlags, setns};

use super::tools::{self, Program};

/// Deleted when dropped.
pub struct Namespace {
    pub name: String,
}

impl Namespace {
    /// `label` is only for people.
    pub fn new(label: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("vw{}-{count}-{label}", std::process::id());
        ip(&format!("netns add {name}"));
        Self { name }
    }

    /// Runs `work` on a thread inside. Sockets that it opens stay inside.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let path = format!("/run/netns/{}", self.name);
        let inside = File::open(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        thread::scope(|scope| {
            let thread = scope.spawn(move || {
                setns(inside, CloneFlags::CLONE_NEWNET).expect("entering a namespace");
                work()
            });
            match thread.join() {
                Ok(value) => value,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// `ip` inside, panicking with its complaint when it fails.
    #[track_caller]
    pub fn ip(&self, arguments: &str) -> String {
        ip(&format!("-n {} {arguments}", self.name))
    }

    /// `ip -json` inside.
    #[track_caller]
    pub fn ip_json(&self, arguments: &str) -> serde_json::Value {
        let text = ip(&format!("-n {} -json {arguments}", self.name));
        match text.trim() {
            "" => serde_json::Value::Array(Vec::new()),
            text => serde_json::from_str(text).expect("JSON from ip"),
        }
    }

    /// Writes under /proc/sys/net.
    pub fn sysctl(&self, settings: &[(&str, &str)]) {
        self.run(|| {
            for (key, value) in settings {
                let path = format!("/proc/sys/net/{key}");
                std::fs::write(&path, value).unwrap_or_else(|error| panic!("{path}: {error}"));
            }
        });
    }

    /// A command that will run inside; its process id is the program's.
    pub fn command(&self, program: &Program) -> Command {
        let mut command = ip_command();
        command.args(["netns", "exec", &self.name]);
        match &program.library_path {
            // For the program only, not for `ip`, which may be the host's.
            Some(libraries) => {
                let mut variable = std::ffi::OsString::from("LD_LIBRARY_PATH=");
                variable.push(libraries);
                command.arg("env").arg(variable)
            }
            None => command.args(["env", "-u", "LD_LIBRARY_PATH"]),
        };
        command.arg(&program.path);
        command
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = ip_command().args(["netns", "del", &self.name]).status();
    }
}

fn ip_command() -> Command {
    tools::ip().expect("no trial runs without ip").command()
}

/// `ip` with arguments separated by spaces.
#[track_caller]
pub fn ip(arguments: &str) -> String {
    let output = ip_command()
        .args(arguments.split_whitespace())
        .output()
        .expect("ip can be started");
    if !output.status.success() {
        panic!(
            "ip {arguments}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    String::from_utf8_lossy(&output.stdout).into_owned()
}
