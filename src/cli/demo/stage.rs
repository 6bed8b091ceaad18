//! The machinery behind the story: namespaces, cables, agents, and their end.

use std::fs::{self, DirBuilder, File};
use std::io::{ErrorKind, Read};
use std::net::Ipv4Addr;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::probe::{Client, HostNumber, Service};
use crate::net::links::Links;
use crate::net::namespace::Namespace;

const TEMPLATE: &str = include_str!("host.yaml");

/// As the template has it.
pub const VIRTUAL_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
const CLIENT_ADDRESS: &str = "192.0.2.100/24";

/// A path of a unix socket has room for 108 bytes; longer temporary
/// directories are passed over.
const DIRECTORY_BYTES_MAX: usize = 60;

/// For an agent to end after SIGTERM, before it is killed.
const STOP_PATIENCE: Duration = Duration::from_secs(3);

/// Names tried for the directory of a run.
const ATTEMPTS: u32 = 100;

/// Of an agent's log, shown when it ended unasked.
const LOG_LINES_SHOWN: usize = 5;

pub struct Plan {
    pub name: &'static str,
    pub number: HostNumber,
    address: &'static str,
    pub priority: u8,
}

pub const HOSTS: [Plan; 2] = [
    Plan {
        name: "lb1",
        number: 1,
        address: "192.0.2.1/24",
        priority: 150,
    },
    Plan {
        name: "lb2",
        number: 2,
        address: "192.0.2.2/24",
        priority: 100,
    },
];

/// A host with its agent.
pub struct Host {
    pub plan: &'static Plan,
    namespace: Namespace,
    directory: PathBuf,
    agent: Option<Child>,
    _service: Service,
}

/// Everything that has to be cleared away. Fields are dropped in this order:
/// agents first, then the wires, then the files.
pub struct Stage {
    pub interval: Duration,
    pub hosts: [Host; 2],
    program: PathBuf,
    client: Namespace,
    switch: Namespace,
    _directory: Directory,
}

impl Stage {
    /// Builds the network and leaves the agents to [`Host::start`].
    /// `program` is what the hosts run.
    pub fn build(program: &Path, interval: Duration) -> anyhow::Result<Self> {
        let directory = Directory::create()?;
        let switch = namespace("the switch")?;
        in_namespace(&switch, |links| links.add_bridge("br0"))?;
        in_namespace(&switch, |links| links.set_up("br0", true))?;
        let client = namespace("the client")?;
        plug_in(&switch, &client, "client", CLIENT_ADDRESS)?;
        let [first, second] = HOSTS
            .each_ref()
            .map(|plan| Host::build(plan, &switch, &directory.path, interval));
        Ok(Self {
            interval,
            hosts: [first?, second?],
            program: program.to_owned(),
            client,
            switch,
            _directory: directory,
        })
    }

    pub fn start_agents(&mut self) -> anyhow::Result<()> {
        let program = &self.program;
        self.hosts
            .iter_mut()
            .try_for_each(|host| host.start(program))
    }

    pub fn start_client(&self) -> anyhow::Result<Client> {
        Client::start(&self.client, VIRTUAL_ADDRESS).context("the client cannot send probes")
    }

    /// The switch port of a host goes down, or comes up again: the host's
    /// own interface loses its carrier, nothing else about it changes.
    pub fn plug(&self, host: &Host, in_place: bool) -> anyhow::Result<()> {
        in_namespace(&self.switch, |links| links.set_up(host.plan.name, in_place))
    }

    pub fn state(&mut self, which: usize) -> anyhow::Result<Option<String>> {
        let program = &self.program;
        let host = self.hosts.get_mut(which).context("no such host")?;
        host.state(program)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let agents = self.hosts.iter_mut().filter_map(|host| host.agent.as_mut());
        let mut agents: Vec<&mut Child> = agents.collect();
        for agent in &agents {
            // Fails when it has ended, which is what we want.
            let _ = signal(agent, Signal::SIGTERM);
        }
        let deadline = Instant::now() + STOP_PATIENCE;
        agents.retain_mut(|agent| wait(agent, deadline).is_none());
        for agent in agents {
            let _ = agent.kill();
            let _ = agent.wait();
        }
    }
}

impl Host {
    fn build(
        plan: &'static Plan,
        switch: &Namespace,
        parent: &Path,
        interval: Duration,
    ) -> anyhow::Result<Self> {
        let namespace = namespace(plan.name)?;
        plug_in(switch, &namespace, plan.name, plan.address)?;
        let directory = parent.join(plan.name);
        fs::create_dir(&directory).with_context(|| directory.display().to_string())?;
        let configuration = TEMPLATE
            .replace("NODE", plan.name)
            .replace("PRIORITY", &plan.priority.to_string())
            .replace("INTERVAL", &format!("{}ms", interval.as_millis()));
        let file = directory.join("config.yaml");
        fs::write(&file, configuration).with_context(|| file.display().to_string())?;
        let service = Service::start(&namespace, plan.number, VIRTUAL_ADDRESS)
            .with_context(|| format!("the service on {} cannot start", plan.name))?;
        Ok(Self {
            plan,
            namespace,
            directory,
            agent: None,
            _service: service,
        })
    }

    fn start(&mut self, program: &Path) -> anyhow::Result<()> {
        let log = File::create(self.log()).context("no log file could be made")?;
        let mut command = Command::new(program);
        command
            .arg0("vipward")
            .arg("run")
            .arg("--config")
            .arg(self.directory.join("config.yaml"))
            .arg("--runtime-dir")
            .arg(self.directory.join("run"))
            .arg("--state-dir")
            .arg(self.directory.join("state"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Ctrl-C is for us; we tell the agents.
            .process_group(0);
        self.namespace.contain(&mut command)?;
        let agent = command.spawn();
        let text = || format!("the agent on {} cannot be started", self.plan.name);
        self.agent = Some(agent.with_context(text)?);
        Ok(())
    }

    /// As the agent's own `status` says; `None` while it does not answer.
    fn state(&mut self, program: &Path) -> anyhow::Result<Option<String>> {
        self.still_runs()?;
        let output = Command::new(program)
            .args(["status", "--json", "--runtime-dir"])
            .arg(self.directory.join("run"))
            .stdin(Stdio::null())
            .output()
            .context("`vipward status` cannot be run")?;
        let Ok(status) = serde_json::from_slice::<serde_json::Value>(&output.stdout) else {
            return Ok(None);
        };
        let state = status.pointer("/instances/0/state");
        Ok(state.and_then(|state| state.as_str()).map(str::to_owned))
    }

    /// An agent that ended unasked ends the story, with its last words.
    pub fn still_runs(&mut self) -> anyhow::Result<()> {
        let name = self.plan.name;
        let agent = self.agent.as_mut();
        let ended = agent.map(Child::try_wait).transpose()?.flatten();
        match ended {
            None => Ok(()),
            Some(status) => {
                let log = last_lines(&self.log());
                bail!("the agent on {name} has ended ({status}). It said last:\n{log}")
            }
        }
    }

    /// SIGTERM, and the wait for its end.
    pub async fn stop(&mut self) -> anyhow::Result<ExitStatus> {
        let name = self.plan.name;
        let mut agent = self.agent.take().context("the agent was never started")?;
        let asked = signal(&agent, Signal::SIGTERM);
        let deadline = Instant::now() + STOP_PATIENCE;
        while asked.is_ok() && Instant::now() < deadline {
            if let Some(status) = agent.try_wait()? {
                return Ok(status);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // Back into the hands of the clearing away.
        self.agent = Some(agent);
        Err(anyhow!("the agent on {name} did not end after SIGTERM"))
    }

    fn log(&self) -> PathBuf {
        self.directory.join("log")
    }
}

fn signal(agent: &Child, signal: Signal) -> nix::Result<()> {
    // Not yet waited for, so the number cannot have been given away.
    let pid = i32::try_from(agent.id()).map_err(|_| nix::errno::Errno::ESRCH)?;
    kill(Pid::from_raw(pid), signal)
}

fn wait(agent: &mut Child, deadline: Instant) -> Option<ExitStatus> {
    loop {
        match agent.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < deadline => thread::sleep(Duration::from_millis(10)),
            Ok(None) | Err(_) => return None,
        }
    }
}

fn last_lines(log: &Path) -> String {
    let mut text = String::new();
    let bound = 1024 * 1024;
    let read = File::open(log).and_then(|file| file.take(bound).read_to_string(&mut text));
    if let Err(error) = read {
        return format!("  (its log cannot be read: {error})");
    }
    let lines: Vec<&str> = text.lines().collect();
    let shown = lines.len().saturating_sub(LOG_LINES_SHOWN);
    let lines = lines.iter().skip(shown).map(|line| format!("  {line}"));
    lines.collect::<Vec<_>>().join("\n")
}

fn namespace(whose: &str) -> anyhow::Result<Namespace> {
    Namespace::create().with_context(|| format!("no network namespace for {whose} could be made"))
}

fn in_namespace(
    namespace: &Namespace,
    work: impl FnOnce(&mut Links) -> std::io::Result<()> + Send,
) -> anyhow::Result<()> {
    let done = namespace.run(|| work(&mut Links::open()?))?;
    done.context("the demo's network could not be built")
}

/// A cable from a new port of the switch to the `eth0` of `host`.
fn plug_in(switch: &Namespace, host: &Namespace, port: &str, address: &str) -> anyhow::Result<()> {
    let address = address.parse()?;
    in_namespace(switch, |links| {
        links.add_veth(port, "eth0", host)?;
        links.set_bridge(port, "br0")?;
        links.set_up(port, true)
    })?;
    in_namespace(host, |links| {
        links.set_up("lo", true)?;
        links.add_address("eth0", address)?;
        links.set_up("eth0", true)
    })
}

/// A directory for this run alone, removed with everything in it.
struct Directory {
    path: PathBuf,
}

impl Directory {
    fn create() -> anyhow::Result<Self> {
        let usual = std::env::temp_dir();
        let parent = if usual.as_os_str().len() <= DIRECTORY_BYTES_MAX {
            usual
        } else {
            PathBuf::from("/tmp")
        };
        let process = std::process::id();
        // Never into what somebody made before us: a demo that was killed
        // has left its own, or it is a trap.
        for attempt in 0..ATTEMPTS {
            let path = parent.join(format!("vipward-demo-{process}-{attempt}"));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self { path }),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => {
                    let text = format!("{} cannot be made", path.display());
                    return Err(anyhow!(error).context(text));
                }
            }
        }
        bail!("{} is full of remains of the demo", parent.display())
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            super::say(&format!("{} stays behind: {error}", self.path.display()));
        }
    }
}
