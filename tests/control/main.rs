//! The control socket over a real unix socket: what it answers, whom it
//! refuses, and that nobody can hold it.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use assert_cmd::Command;
use jiff::Timestamp;
use tempfile::TempDir;
use tokio::sync::mpsc;
use vipward::agent::cluster::Refusal;
use vipward::agent::cluster::message::{Fitness, InstanceNews};
use vipward::agent::status::{
    ActiveRouter, AddressStatus, Counters, InstanceStatus, Known, NodeStatus, Reason, StateName,
    Status,
};
use vipward::agent::time::Instant;
use vipward::agent::values::{Family, InstanceName, Lease, NodeName, Priority, Version, Vrid};
use vipward::control::document::Identity;
use vipward::control::events::Events;
use vipward::control::listener::Access;
use vipward::control::reload::Prepared;
use vipward::control::server::{ControlServer, Request, Setup, StatusPicture};
use vipward::control::socket_path;

mod command;
mod events;
mod exposition;
mod moves;
mod promtool;
mod reload;
mod requests;
mod rules;
mod socket_file;
mod web;

/// For the machine, on top of what the server promises.
const ROOM: Duration = Duration::from_secs(2);
/// So long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(10);

fn instance(name: &str, state: StateName) -> InstanceStatus {
    let held = state == StateName::Active;
    InstanceStatus {
        name: InstanceName::new(name),
        interface: "eth0".parse().unwrap(),
        vrid: Vrid::new(51).unwrap(),
        version: Version::V3,
        family: Family::Ipv4,
        state,
        since: Instant::from_nanos(40_000_000_000),
        reason: Reason::Startup,
        obstacles: Vec::new(),
        base_priority: Priority::new(150).unwrap(),
        effective_priority: Priority::new(150).unwrap(),
        priority_terms: Vec::new(),
        routes: Vec::new(),
        rules: Vec::new(),
        addresses: vec![AddressStatus {
            network: "192.0.2.10/24".parse().unwrap(),
            interface: "eth0".parse().unwrap(),
            held,
            required: true,
            lease: Lease::from_seconds(2),
        }],
        active_router: held.then_some(ActiveRouter {
            node: None,
            address: "192.0.2.1".parse().unwrap(),
            priority: 150,
            last_advert: Instant::from_nanos(99_988_000_000),
            ourselves: true,
            checksum: None,
        }),
        advert_interval: Duration::from_secs(1),
        active_down_interval: Duration::from_micros(3_414_062),
        drained: None,
        yielded_to: None,
        stranded: false,
        drift: Vec::new(),
        conflicts: Vec::new(),
        hooks: Vec::new(),
        authentication: "none",
        rejections: Vec::new(),
        virtual_mac: None,
        counters: Counters::default(),
    }
}

/// A node that is not reachable, and was Active for `web` when it was.
fn silent() -> NodeStatus {
    let heard = Instant::from_nanos(90_000_000_000);
    let web = InstanceNews {
        witnesses: 0,
        witnessed: None,
        name: InstanceName::new("web"),
        vrid: Vrid::new(51).unwrap(),
        family: Family::Ipv4,
        version: Version::V3,
        state: StateName::Active,
        for_: Duration::from_secs(5),
        reason: "no-response".to_owned(),
        fitness: Fitness::Able,
        priority: 100,
        source: None,
        hardware_address: None,
        advert_interval: Duration::from_secs(1),
        down_after: 3,
        holds: true,
        addresses: vec![("192.0.2.10/24".parse().unwrap(), true)],
        addresses_total: 1,
        addresses_digest: 0,
        settings_digest: 0,
        keys: Vec::new(),
        active_key: None,
        obstacles: Vec::new(),
        active_router: None,
    };
    NodeStatus {
        name: NodeName::new("lb2"),
        reachable: false,
        last_heard: Some(heard),
        program: "0.1.0".to_owned(),
        paths: Vec::new(),
        instances: vec![Known {
            news: web,
            told_at: heard,
            known_at: heard,
        }],
        checks: Vec::new(),
    }
}

fn picture(instances: Vec<InstanceStatus>) -> StatusPicture {
    StatusPicture {
        status: Status {
            nodes: vec![silent()],
            link_refusals: [(Refusal::Forged, 2)].into(),
            instances,
            checks: Vec::new(),
            groups: Vec::new(),
            counters: Counters::default(),
        },
        now: Instant::from_nanos(100_000_000_000),
    }
}

fn identity() -> Identity {
    Identity {
        version: "0.1.0".to_owned(),
        node: "lb1".to_owned(),
        pid: 4242,
        started_at: Timestamp::now(),
        config_path: "/etc/vipward/config.yaml".into(),
        config_loaded_at: Timestamp::now(),
        config_digest: "6b86b273".to_owned(),
    }
}

/// A configuration is any text here; this one is always found good.
fn setup(requests: mpsc::Sender<Request<String>>) -> Setup<String> {
    Setup {
        access: Access::default(),
        identity: identity(),
        requests,
        judge: Arc::new(|| Ok(prepared("new"))),
        peer_groups: vipward::net::peer::groups,
        events: Events::unheard(vipward::net::timer::now),
        metrics: None,
    }
}

fn prepared(config: &str) -> Prepared<String> {
    Prepared {
        config: config.to_owned(),
        node: "lb1".to_owned(),
        digest: format!("digest of {config}"),
        metrics: None,
        warnings: Vec::new(),
    }
}

/// An agent without a protocol: a server, and a thread in the loop's place.
struct Agent {
    directory: TempDir,
    server: Option<ControlServer>,
    fake_loop: Option<JoinHandle<()>>,
}

impl Agent {
    fn start(instances: Vec<InstanceStatus>) -> Self {
        Self::started(instances, setup)
    }

    /// With a loop that answers and applies at once.
    fn started(
        instances: Vec<InstanceStatus>,
        setup: impl FnOnce(mpsc::Sender<Request<String>>) -> Setup<String>,
    ) -> Self {
        let (sender, mut requests) = mpsc::channel(4);
        let picture = picture(instances);
        let fake_loop = std::thread::spawn(move || {
            while let Some(request) = requests.blocking_recv() {
                match request {
                    Request::Status(reply) => {
                        let _ = reply.send(picture.clone());
                    }
                    Request::Order(errand) => {
                        let known = errand.order.instance().map(|one| one.as_str());
                        let answer = match known {
                            Some(name @ ("nonsense" | "wbe")) => {
                                Err(format!("there is no instance {name}"))
                            }
                            Some("api") => Err("api is being moved already".to_owned()),
                            Some(_) | None => {
                                let node = errand.node.map_or(String::new(), |n| n.to_string());
                                Ok(format!("{node}{:?}", errand.order))
                            }
                        };
                        let _ = errand.reply.send(answer);
                    }
                    Request::Apply(application) => {
                        if let Some((config, accepted)) = application.accept() {
                            accepted.done(format!("applied {config}"));
                        }
                    }
                }
            }
        });
        let mut agent = Self::with_setup(setup(sender));
        agent.fake_loop = Some(fake_loop);
        agent
    }

    fn with_loop(requests: mpsc::Sender<Request<String>>) -> Self {
        Self::with_setup(setup(requests))
    }

    fn with_setup(setup: Setup<String>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self {
            server: Some(ControlServer::start(directory.path(), setup).unwrap()),
            directory,
            fake_loop: None,
        }
    }

    fn socket(&self) -> PathBuf {
        socket_path(self.directory.path())
    }

    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(self.socket()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends bytes as they are, and reads to the end.
    fn say(&self, request: &[u8]) -> String {
        let mut stream = self.connect();
        // The server may have heard enough before the last byte.
        let _ = stream.write_all(request);
        read_to_end(&mut stream)
    }

    fn vipward(&self, arguments: &[&str]) -> Output {
        vipward(self.directory.path(), arguments)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        drop(self.server.take());
        if let Some(fake_loop) = self.fake_loop.take() {
            fake_loop.join().unwrap();
        }
    }
}

fn vipward(runtime_dir: &Path, arguments: &[&str]) -> Output {
    let arguments: Vec<&str> = ["status"].iter().chain(arguments).copied().collect();
    command(runtime_dir, &arguments)
}

fn command(runtime_dir: &Path, arguments: &[&str]) -> Output {
    Command::cargo_bin("vipward")
        .unwrap()
        .args(arguments)
        .arg("--runtime-dir")
        .arg(runtime_dir)
        .timeout(PATIENCE)
        .output()
        .unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// What arrives until the server closes, whether or not it had read all.
fn read_to_end(stream: &mut UnixStream) -> String {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("not closed: {error}"),
    }
    String::from_utf8(bytes).unwrap()
}

fn status_line(answer: &str) -> &str {
    answer.lines().next().unwrap_or("nothing")
}

fn error_of(answer: &str) -> String {
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    body["error"].as_str().unwrap().to_owned()
}
