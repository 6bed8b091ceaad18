//! The product, started inside a host.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use super::config::{Router, yaml};
use super::process::Process;
use super::tools::Program;
use super::{Host, Lab, wait_until, write};

pub struct Agent {
    pub process: Process,
    pub started: Instant,
    pub config: PathBuf,
    pub runtime: PathBuf,
}

/// The program under test.
pub fn program() -> Program {
    Program {
        path: PathBuf::from(env!("CARGO_BIN_EXE_vipward")),
        library_path: None,
    }
}

impl Lab {
    /// An agent with these instances on `host`.
    pub fn agent(&self, host: &Host, routers: &[Router]) -> Agent {
        self.agent_with(host, &yaml(&host.name, routers))
    }

    /// An agent with this configuration on `host`.
    pub fn agent_with(&self, host: &Host, configuration: &str) -> Agent {
        self.agent_by(host, configuration, |_| {})
    }

    /// The same, with the command `prepare`d first.
    pub fn agent_by(
        &self,
        host: &Host,
        configuration: &str,
        prepare: impl FnOnce(&mut Command),
    ) -> Agent {
        let path = |kind: &str| self.place(&host.name, kind);
        write(&path("config.yaml"), configuration);
        for directory in ["runtime", "state"] {
            std::fs::create_dir_all(path(directory)).expect("a directory");
        }
        let mut command = host.namespace.command(&program());
        command.arg("run").arg("--config").arg(path("config.yaml"));
        command.arg("--runtime-dir").arg(path("runtime"));
        command.arg("--state-dir").arg(path("state"));
        prepare(&mut command);
        let started = Instant::now();
        let name = format!("vipward-{}", host.name);
        Agent {
            process: Process::start(&name, command, self.directory.path()),
            started,
            config: path("config.yaml"),
            runtime: path("runtime"),
        }
    }

    /// A runner for the agent of `host`, as a service manager starts it.
    pub fn runner(&self, host: &Host, configuration: &str) -> Process {
        let path = |kind: &str| self.place(&host.name, kind);
        write(&path("config.yaml"), configuration);
        let mut command = host.namespace.command(&program());
        command
            .arg("runner")
            .arg("--config")
            .arg(path("config.yaml"));
        command.arg("--runtime-dir").arg(path("runtime"));
        let name = format!("runner-{}", host.name);
        Process::start(&name, command, self.directory.path())
    }
}

impl Agent {
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    pub fn socket(&self) -> PathBuf {
        self.runtime.join("control.sock")
    }

    /// A client command that asks this agent.
    pub fn ask(&self, arguments: &[&str]) -> Output {
        Command::new(program().path)
            .args(arguments)
            .arg("--runtime-dir")
            .arg(&self.runtime)
            .output()
            .expect("the client starts")
    }

    /// A command of the program that asks no agent.
    pub fn ask_without_socket(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(program().path);
        command.args(arguments).output().expect("it starts")
    }

    /// `status --json`, once the agent answers.
    #[track_caller]
    pub fn status(&self) -> Value {
        let mut answer = Value::Null;
        wait_until("an answer to status", Duration::from_secs(5), || {
            let output = self.ask(&["status", "--json"]);
            match serde_json::from_slice(&output.stdout) {
                Ok(value) if output.status.success() => answer = value,
                _ => return false,
            }
            true
        });
        answer
    }

    /// The part of the status that is about `instance`.
    #[track_caller]
    pub fn instance(&self, instance: &str) -> Value {
        let status = self.status();
        let all = status["instances"].as_array().cloned().unwrap_or_default();
        all.into_iter()
            .find(|one| one["name"] == instance)
            .unwrap_or_else(|| panic!("no instance {instance} in {status:#}"))
    }

    /// The part of the status that is about the check `name`.
    #[track_caller]
    pub fn check(&self, name: &str) -> Value {
        let status = self.status();
        let all = status["checks"].as_array().cloned().unwrap_or_default();
        all.into_iter()
            .find(|one| one["name"] == name)
            .unwrap_or_else(|| panic!("no check {name} in {status:#}"))
    }

    /// Waits until `status` says that the check `name` is in `state`.
    #[track_caller]
    pub fn wait_check(&self, name: &str, state: &str, timeout: Duration) -> Value {
        let what = format!("check {name} in state {state}");
        wait_until(&what, timeout, || self.check(name)["state"] == state);
        self.check(name)
    }

    /// How often `instance` changed its state.
    #[track_caller]
    pub fn transitions(&self, instance: &str) -> Value {
        self.instance(instance)["counters"]["transitions"].clone()
    }

    #[track_caller]
    pub fn state(&self, instance: &str) -> String {
        self.instance(instance)["state"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// Waits until `status` says that `instance` is in `state`.
    #[track_caller]
    pub fn wait_state(&self, instance: &str, state: &str, timeout: Duration) -> Instant {
        let what = format!("instance {instance} in state {state}");
        wait_until(&what, timeout, || self.state(instance) == state)
    }

    /// Memory that is in use.
    pub fn resident_kib(&self) -> u64 {
        let path = format!("/proc/{}/status", self.process.pid());
        let text = std::fs::read_to_string(path).expect("it runs");
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let words = line.and_then(|line| line.split_whitespace().next());
        words.and_then(|word| word.parse().ok()).expect("a size")
    }
}
