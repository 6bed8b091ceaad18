//! A directory with scripts and a catalog, the runner in it, and either side
//! of its socket.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use vipward::agent::jobs::{
    CheckName, HookCall, HookKind, HookOwner, Job, JobId, JobResult, Task, Verdict,
};
use vipward::agent::values::InstanceName;
use vipward::runner::catalog::{Catalog, Script};
use vipward::runner::client::RunnerClient;
use vipward::runner::message::PROTOCOL;
use vipward::runner::server::{self, ALONE_MAX, Options};

/// More than any step here takes on a busy machine.
pub const LONG: Duration = Duration::from_secs(20);

/// `runner [--started-by-agent] --config F --runtime-dir D`.
pub fn be_the_runner(words: impl Iterator<Item = String>) -> ! {
    let words: Vec<String> = words.collect();
    let after = |name: &str| {
        let at = words.iter().position(|word| word == name).expect(name);
        PathBuf::from(words.get(at + 1).expect(name))
    };
    let config = after("--config");
    let read = |path: &Path| -> Result<Value, String> {
        let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
        serde_json::from_str(&text).map_err(|error| error.to_string())
    };
    let alone = read(&config)
        .ok()
        .and_then(|value| value["alone_ms"].as_u64());
    let by_agent = words.iter().any(|word| word == "--started-by-agent");
    let options = Options {
        runtime_dir: after("--runtime-dir"),
        agent_user: None,
        config: config.clone(),
        alone_max: by_agent.then(|| alone.map_or(ALONE_MAX, Duration::from_millis)),
    };
    let loader = move || read(&config).map(|value| catalog(&value));
    match server::run(options, Arc::new(loader)) {
        Ok(()) => std::process::exit(0),
        Err(error) => {
            eprintln!("{error}");
            std::process::exit(1);
        }
    }
}

fn script(value: &Value) -> Script {
    let words = value["command"].as_array().expect("a command").iter();
    Script {
        command: words
            .map(|word| word.as_str().unwrap().to_owned())
            .collect(),
        user: value["user"].as_str().map(str::to_owned),
        timeout: Duration::from_millis(value["timeout_ms"].as_u64().unwrap_or(10_000)),
    }
}

fn catalog(value: &Value) -> Catalog {
    let checks = value["checks"].as_object().cloned().unwrap_or_default();
    let hooks = value["hooks"].as_array().cloned().unwrap_or_default();
    let kind = |name: &Value| {
        let mut kinds = HookKind::ALL.into_iter();
        kinds.find(|kind| name == kind.name()).unwrap()
    };
    Catalog {
        checks: checks
            .iter()
            .map(|(name, value)| (CheckName::new(name), script(value)))
            .collect(),
        hooks: hooks
            .iter()
            .map(|value| {
                let instance = InstanceName::new(value["instance"].as_str().unwrap());
                (
                    (HookOwner::Instance(instance), kind(&value["hook"])),
                    script(value),
                )
            })
            .collect(),
    }
}

pub struct Host {
    dir: TempDir,
    checks: serde_json::Map<String, Value>,
    hooks: Vec<Value>,
    alone_ms: Option<u64>,
    runner: Option<Child>,
}

impl Host {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        // Scripts run as `nobody`.
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        let host = Self {
            dir,
            checks: serde_json::Map::new(),
            hooks: Vec::new(),
            alone_ms: None,
            runner: None,
        };
        fs::create_dir(host.shared()).unwrap();
        fs::set_permissions(host.shared(), Permissions::from_mode(0o777)).unwrap();
        host
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Where scripts can write.
    pub fn shared(&self) -> PathBuf {
        self.path("shared")
    }

    pub fn runtime_dir(&self) -> PathBuf {
        self.path("run")
    }

    pub fn config(&self) -> PathBuf {
        self.path("catalog.json")
    }

    /// An executable file; `body` follows `#!/bin/sh`, with SHARED set.
    pub fn write(&self, name: &str, body: &str) -> PathBuf {
        let path = self.path(name);
        let shared = self.shared();
        let text = format!("#!/bin/sh\nSHARED={}\n{body}\n", shared.display());
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        path
    }

    pub fn check(&mut self, name: &str, timeout_ms: u64, body: &str) -> &mut Self {
        let path = self.write(&format!("check-{name}"), body);
        self.check_command(name, timeout_ms, json!([path]), None)
    }

    pub fn check_command(
        &mut self,
        name: &str,
        timeout_ms: u64,
        command: Value,
        user: Option<&str>,
    ) -> &mut Self {
        let script = json!({"command": command, "timeout_ms": timeout_ms, "user": user});
        self.checks.insert(name.to_owned(), script);
        self
    }

    pub fn hook(&mut self, instance: &str, hook: HookKind, timeout_ms: u64, path: &Path) {
        self.hooks.push(json!({
            "instance": instance, "hook": hook.name(),
            "command": [path, "--own"], "timeout_ms": timeout_ms,
        }));
    }

    pub fn alone(&mut self, ms: u64) {
        self.alone_ms = Some(ms);
    }

    pub fn save(&self) {
        let value = json!({
            "checks": self.checks, "hooks": self.hooks, "alone_ms": self.alone_ms,
        });
        fs::write(self.config(), value.to_string()).unwrap();
    }

    /// Starts the runner as a service manager would.
    pub fn run(&mut self) -> &mut Self {
        self.run_with(Command::new(std::env::current_exe().unwrap()), &[])
    }

    pub fn run_with(&mut self, mut command: Command, more: &[&str]) -> &mut Self {
        self.save();
        command.args(["runner", "--config"]).arg(self.config());
        command.arg("--runtime-dir").arg(self.runtime_dir());
        command.args(more).stdin(Stdio::null());
        self.runner = Some(command.spawn().unwrap());
        wait("the runner's socket", || self.try_connect());
        self
    }

    pub fn try_connect(&self) -> Option<UnixStream> {
        UnixStream::connect(vipward::runner::socket_path(&self.runtime_dir())).ok()
    }

    pub fn runner_pid(&self) -> i32 {
        self.runner.as_ref().unwrap().id().try_into().unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.runner_pid()), signal).unwrap();
    }

    pub fn ended(&mut self) -> ExitStatus {
        let runner = self.runner.as_mut().unwrap();
        wait("the end of the runner", || runner.try_wait().unwrap())
    }

    pub fn is_running(&mut self) -> bool {
        self.runner.as_mut().unwrap().try_wait().unwrap().is_none()
    }

    pub fn wire(&self) -> Wire {
        let mut wire = Wire::connect(self);
        wire.send(&json!({"ask": "hello", "protocol": PROTOCOL,
            "version": env!("CARGO_PKG_VERSION"), "config": self.config()}));
        let hello = wire.receive().expect("a greeting");
        assert_eq!(hello["answer"], "hello");
        wire
    }

    pub fn agent(&self, start_it: bool) -> AgentSide {
        let (results, due) = mpsc::channel(64);
        let client = RunnerClient::start(self.runtime_dir(), self.config(), results, start_it);
        AgentSide {
            client: Some(client.unwrap()),
            due,
            early: BTreeMap::new(),
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()
                .unwrap(),
            next: 1,
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(mut runner) = self.runner.take() {
            let _ = runner.kill();
            let _ = runner.wait();
        }
    }
}

/// A hand-made agent: frames written here, independently of the product.
pub struct Wire(pub UnixStream);

impl Wire {
    pub fn connect(host: &Host) -> Self {
        let stream = host.try_connect().expect("a runner");
        stream.set_read_timeout(Some(LONG)).unwrap();
        Self(stream)
    }

    pub fn send(&mut self, value: &Value) {
        let body = value.to_string().into_bytes();
        let length = u32::try_from(body.len()).unwrap();
        let mut frame = length.to_be_bytes().to_vec();
        frame.extend(body);
        self.0.write_all(&frame).unwrap();
    }

    /// Nothing at the end of the connection.
    pub fn receive(&mut self) -> Option<Value> {
        let mut length = [0; 4];
        match self.0.read_exact(&mut length) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("no answer"),
            Err(_) => return None,
        }
        let mut body = vec![0; u32::from_be_bytes(length).try_into().unwrap()];
        self.0.read_exact(&mut body).unwrap();
        Some(serde_json::from_slice(&body).unwrap())
    }

    pub fn order_check(&mut self, id: u64, name: &str) {
        self.send(&json!({"ask": "check", "id": id, "name": name}));
    }

    pub fn order_hook(&mut self, id: u64, instance: &str, hook: &str) {
        self.send(&json!({"ask": "hook", "id": id, "call": call(instance, hook)}));
    }

    pub fn check(&mut self, name: &str) -> Done {
        self.order_check(7, name);
        self.done(7)
    }

    pub fn done(&mut self, id: u64) -> Done {
        let answer = self.receive().expect("an answer");
        assert_eq!(
            (&answer["answer"], &answer["id"]),
            (&json!("done"), &json!(id))
        );
        Done(answer)
    }

    /// The error, if any.
    pub fn reload(&mut self) -> Option<String> {
        self.send(&json!({"ask": "reload", "id": 3}));
        let answer = self.receive().expect("an answer");
        assert_eq!(answer["answer"], "reloaded");
        answer["error"].as_str().map(str::to_owned)
    }
}

pub fn call(instance: &str, hook: &str) -> Value {
    json!({"owner": {"instance": instance}, "hook": hook, "word": "MASTER", "state": "active",
        "previous": "backup", "reason": "no-response", "priority": 150,
        "addresses": ["192.0.2.10", "2001:db8::10"]})
}

#[derive(Debug)]
pub struct Done(pub Value);

impl Done {
    /// `passed`, `timed_out`, or `failed: why`.
    pub fn verdict(&self) -> String {
        match &self.0["verdict"] {
            Value::String(word) => word.clone(),
            Value::Object(map) => {
                let (kind, why) = map.iter().next().unwrap();
                format!("{kind}: {}", why.as_str().unwrap())
            }
            other => panic!("{other}"),
        }
    }

    pub fn output(&self) -> &str {
        self.0["output"].as_str().unwrap()
    }

    pub fn took(&self) -> Duration {
        Duration::from_micros(self.0["duration_us"].as_u64().unwrap())
    }
}

/// The product's own client, as the daemon holds it.
pub struct AgentSide {
    client: Option<RunnerClient>,
    due: mpsc::Receiver<(JobId, JobResult)>,
    early: BTreeMap<JobId, JobResult>,
    runtime: Runtime,
    next: u64,
}

impl AgentSide {
    pub fn client(&self) -> &RunnerClient {
        self.client.as_ref().unwrap()
    }

    pub fn order(&mut self, task: Task) -> JobId {
        let id = JobId(self.next);
        self.next += 1;
        self.client().submit(Job { id, task }).unwrap();
        id
    }

    pub fn order_check(&mut self, name: &str) -> JobId {
        self.order(Task::Check(CheckName::new(name)))
    }

    pub fn order_hook(&mut self, instance: &str, hook: HookKind) -> JobId {
        self.order(Task::Hook(HookCall {
            owner: HookOwner::Instance(InstanceName::new(instance)),
            hook,
            word: "BACKUP",
            state: "backup",
            previous: "active",
            reason: "preempted",
            priority: 100,
            addresses: vec!["192.0.2.10".parse().unwrap()],
        }))
    }

    pub fn result(&mut self, id: JobId) -> JobResult {
        loop {
            if let Some(result) = self.early.remove(&id) {
                return result;
            }
            let due = &mut self.due;
            let next = self
                .runtime
                .block_on(async { tokio::time::timeout(LONG, due.recv()).await });
            let (id, result) = next.expect("a result in time").expect("a living client");
            self.early.insert(id, result);
        }
    }

    pub fn check(&mut self, name: &str) -> JobResult {
        let id = self.order_check(name);
        self.result(id)
    }

    /// Until the runner is there.
    pub fn check_until_run(&mut self, name: &str) -> JobResult {
        let started = Instant::now();
        loop {
            let result = self.check(name);
            if !matches!(result.verdict, Verdict::NotRun(_)) {
                return result;
            }
            assert!(started.elapsed() < LONG, "{result:?}");
            // Polls; what is waited for is the condition.
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn reload(&self) -> Result<(), String> {
        let outcome = self.client().reload();
        self.runtime
            .block_on(async { tokio::time::timeout(LONG, outcome).await })
            .expect("an outcome in time")
            .expect("an outcome")
    }

    /// What the runner is to find in its configuration.
    pub fn expect(&self, digest: &str) {
        self.client().expect(digest.to_owned());
    }

    /// The agent ends.
    pub fn end(&mut self) {
        drop(self.client.take());
    }
}

/// Polls until there is something, for [`LONG`] at most.
pub fn wait<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(started.elapsed() < LONG, "{what}: not within {LONG:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn wait_until(what: &str, mut look: impl FnMut() -> bool) {
    wait(what, || look().then_some(()));
}

/// Living processes (no zombies) of a process group.
pub fn of_group(group: i32) -> Vec<i32> {
    processes(|_, state, pgrp| pgrp == group && state != "Z")
}

pub fn is_alive(pid: i32) -> bool {
    !processes(|found, state, _| found == pid && state != "Z").is_empty()
}

fn processes(wanted: impl Fn(i32, &str, i32) -> bool) -> Vec<i32> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        // It may end meanwhile.
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let Some((_, rest)) = stat.rsplit_once(')') else {
            continue;
        };
        let fields: Vec<&str> = rest.split_whitespace().collect();
        if wanted(pid, fields[0], fields[2].parse().unwrap()) {
            found.push(pid);
        }
    }
    found
}
