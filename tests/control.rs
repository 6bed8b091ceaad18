//! The control socket over a real unix socket: what it answers, whom it
//! refuses, and that nobody can hold it.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::thread::JoinHandle;
use std::time::{Duration, Instant as Clock};

use assert_cmd::Command;
use jiff::Timestamp;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{Gid, Group, Uid};
use tempfile::TempDir;
use tokio::sync::mpsc;
use vipward::agent::status::{
    ActiveRouter, AddressStatus, Counters, InstanceStatus, Reason, StateName, Status,
};
use vipward::agent::time::Instant;
use vipward::agent::values::{Family, InstanceName, Priority, Version, Vrid};
use vipward::control::client::{ClientError, fetch_status};
use vipward::control::document::Identity;
use vipward::control::listener::{Access, ListenError};
use vipward::control::server::{
    CONNECTION_TIMEOUT, CONNECTIONS_MAX, ControlServer, HEAD_TIMEOUT, LOOP_TIMEOUT, Request,
    StartError, StatusPicture,
};
use vipward::control::socket_path;

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
        addresses: vec![AddressStatus {
            network: "192.0.2.10/24".parse().unwrap(),
            interface: "eth0".parse().unwrap(),
            held,
            required: true,
        }],
        active_router: held.then_some(ActiveRouter {
            address: "192.0.2.1".parse().unwrap(),
            priority: 150,
            last_advert: Instant::from_nanos(99_988_000_000),
            ourselves: true,
            checksum: None,
        }),
        advert_interval: Duration::from_secs(1),
        active_down_interval: Duration::from_micros(3_414_062),
        drift: Vec::new(),
        conflicts: Vec::new(),
        counters: Counters::default(),
    }
}

fn picture(instances: Vec<InstanceStatus>) -> StatusPicture {
    StatusPicture {
        status: Status {
            instances,
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

/// An agent without a protocol: a server, and a thread in the loop's place.
struct Agent {
    directory: TempDir,
    server: Option<ControlServer>,
    fake_loop: Option<JoinHandle<()>>,
}

impl Agent {
    fn start(instances: Vec<InstanceStatus>) -> Self {
        let (sender, mut requests) = mpsc::channel(4);
        let picture = picture(instances);
        let fake_loop = std::thread::spawn(move || {
            while let Some(Request::Status(reply)) = requests.blocking_recv() {
                let _ = reply.send(picture.clone());
            }
        });
        let mut agent = Self::with_loop(sender);
        agent.fake_loop = Some(fake_loop);
        agent
    }

    fn with_loop(requests: mpsc::Sender<Request>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let server =
            ControlServer::start(directory.path(), Access::default(), identity(), requests);
        Self {
            server: Some(server.unwrap()),
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
    Command::cargo_bin("vipward")
        .unwrap()
        .arg("status")
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

#[test]
fn a_status_makes_the_round() {
    let agent = Agent::start(vec![instance("web", StateName::Active)]);
    let document = fetch_status(&agent.socket(), PATIENCE).unwrap();
    assert_eq!((document.node.as_str(), document.pid), ("lb1", 4242));
    let web = document.instance("web").unwrap();
    assert_eq!(web.state, "active");
    assert_eq!(web.active_down_interval_ms, 3414);
    assert_eq!(web.active_router.as_ref().unwrap().last_advert_age_ms, 12);
    let age = web.since.age(Timestamp::now());
    assert!(age >= Duration::from_secs(60), "{age:?}");
    assert!(age < Duration::from_secs(60) + PATIENCE, "{age:?}");

    let again = fetch_status(&agent.socket(), PATIENCE).unwrap();
    assert_eq!(
        again, document,
        "an instant must not move between two calls"
    );
}

#[test]
fn a_thousand_instances_are_a_normal_answer() {
    let instances = (0..1000).map(|n| instance(&format!("i{n:03}"), StateName::Backup));
    let agent = Agent::start(instances.collect());
    let document = fetch_status(&agent.socket(), PATIENCE).unwrap();
    assert_eq!(document.instances.len(), 1000);
}

#[test]
fn other_requests_are_refused_with_a_sentence() {
    let agent = Agent::start(Vec::new());
    let answer = agent.say(b"GET /statsu HTTP/1.1\r\nhost: x\r\n\r\n");
    assert_eq!(status_line(&answer), "HTTP/1.1 404 Not Found");
    assert!(error_of(&answer).contains("/statsu"), "{answer}");

    let answer = agent.say(b"DELETE /status HTTP/1.1\r\nhost: x\r\n\r\n");
    assert_eq!(status_line(&answer), "HTTP/1.1 405 Method Not Allowed");
    assert!(answer.contains("allow: GET"), "{answer}");
    assert!(error_of(&answer).contains("DELETE"), "{answer}");
}

#[test]
fn malformed_requests_are_refused_and_the_next_client_is_served() {
    let agent = Agent::start(Vec::new());
    let malformed: [&[u8]; 6] = [
        b"\x00\x01\x02\x03\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /status HTTP/9.9\r\n\r\n",
        b"GET /status HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET /status HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ];
    for request in malformed {
        let answer = agent.say(request);
        assert_eq!(
            status_line(&answer),
            "HTTP/1.1 400 Bad Request",
            "{request:?}"
        );
    }
    fetch_status(&agent.socket(), PATIENCE).unwrap();
}

#[test]
fn oversized_requests_are_refused() {
    let agent = Agent::start(Vec::new());
    let long = "x".repeat(64 * 1024);
    let answer = agent.say(format!("GET /status HTTP/1.1\r\nhost: {long}\r\n\r\n").as_bytes());
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");

    let many = "a: b\r\n".repeat(100);
    let answer = agent.say(format!("GET /status HTTP/1.1\r\n{many}\r\n").as_bytes());
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");

    let answer = agent.say(format!("GET /{long} HTTP/1.1\r\n\r\n").as_bytes());
    assert!(
        answer.starts_with("HTTP/1.1 431 ") || answer.starts_with("HTTP/1.1 414 "),
        "{answer}"
    );

    let announced = "POST /status HTTP/1.1\r\ncontent-length: 99999999999\r\n\r\n";
    let answer = agent.say(announced.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(error_of(&answer).contains("4096"), "{answer}");

    let chunk = format!("1001\r\n{}\r\n", "x".repeat(0x1001));
    let head = "POST /status HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n";
    let answer = agent.say(format!("{head}{chunk}").as_bytes());
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

#[test]
fn slow_clients_are_dropped() {
    let instances = (0..1000).map(|n| instance(&format!("i{n:03}"), StateName::Backup));
    let agent = Agent::start(instances.collect());
    let stalled: [&[u8]; 4] = [
        b"",
        b"GET /sta",
        b"POST /status HTTP/1.1\r\ncontent-length: 10\r\n\r\nslow",
        // Asks for more than the socket's buffers hold, and does not read.
        b"GET /status HTTP/1.1\r\nhost: x\r\n\r\n",
    ];
    let started = Clock::now();
    let mut clients: Vec<UnixStream> = Vec::new();
    for request in stalled {
        let mut client = agent.connect();
        client.write_all(request).unwrap();
        clients.push(client);
    }
    let mut deaf = clients.pop().unwrap();
    let closed = |mut client: UnixStream| {
        std::thread::spawn(move || {
            read_to_end(&mut client);
            started.elapsed()
        })
    };
    let closed: Vec<_> = clients.into_iter().map(closed).collect();
    // Reading would free the one that does not read: wait for the hang-up.
    let mut hung_up = [PollFd::new(deaf.as_fd(), PollFlags::empty())];
    let patience = PollTimeout::try_from(PATIENCE).unwrap();
    assert_eq!(poll(&mut hung_up, patience).unwrap(), 1, "never dropped");
    let elapsed = started.elapsed();
    assert!(elapsed < CONNECTION_TIMEOUT + ROOM, "{elapsed:?}");

    let closed: Vec<Duration> = closed.into_iter().map(|one| one.join().unwrap()).collect();
    let [silent, in_head, in_body] = closed[..] else {
        panic!("{closed:?}");
    };
    assert!(in_body >= CONNECTION_TIMEOUT, "{in_body:?}");
    assert!(in_body < CONNECTION_TIMEOUT + ROOM, "{in_body:?}");
    let sooner = (CONNECTION_TIMEOUT - HEAD_TIMEOUT) / 4;
    assert!(silent + sooner < in_body, "{silent:?} {in_body:?}");
    assert!(in_head + sooner < in_body, "{in_head:?} {in_body:?}");
    // What had been sent by then is not the whole.
    let answer = read_to_end(&mut deaf);
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(!answer.trim_end().ends_with('}'), "read to the end");
}

#[test]
fn the_seventeenth_client_is_refused_and_served_later() {
    let agent = Agent::start(Vec::new());
    let mut held: Vec<UnixStream> = (0..CONNECTIONS_MAX).map(|_| agent.connect()).collect();
    // Accepted in the order of their connecting, so all sixteen are held now.
    let started = Clock::now();
    let answer = read_to_end(&mut agent.connect());
    assert!(started.elapsed() < ROOM, "not at once");
    assert_eq!(status_line(&answer), "HTTP/1.1 503 Service Unavailable");
    assert!(error_of(&answer).contains("16 clients"), "{answer}");
    // Those held are served still.
    let mut first = held.remove(0);
    first
        .write_all(b"GET /status HTTP/1.1\r\nhost: x\r\n\r\n")
        .unwrap();
    let answer = read_to_end(&mut first);
    assert_eq!(status_line(&answer), "HTTP/1.1 200 OK");

    drop(held);
    // The client asks again while it is told that the agent is busy.
    fetch_status(&agent.socket(), PATIENCE).unwrap();
}

#[test]
fn the_command_waits_for_a_busy_agent() {
    let agent = Agent::start(vec![instance("web", StateName::Active)]);
    let held: Vec<UnixStream> = (0..CONNECTIONS_MAX).map(|_| agent.connect()).collect();
    let socket = agent.socket();
    let refused = fetch_status(&socket, Duration::from_millis(300)).unwrap_err();
    assert!(refused.to_string().contains(&*socket.to_string_lossy()));
    let waiting = std::thread::spawn(move || fetch_status(&socket, PATIENCE));
    drop(held);
    assert_eq!(waiting.join().unwrap().unwrap().instances.len(), 1);
}

#[test]
fn a_loop_that_does_not_answer_is_reported_in_time() {
    let (sender, mut requests) = mpsc::channel(4);
    let agent = Agent::with_loop(sender);
    let started = Clock::now();
    let answer = agent.say(b"GET /status HTTP/1.1\r\nhost: x\r\n\r\n");
    let elapsed = started.elapsed();
    assert_eq!(status_line(&answer), "HTTP/1.1 503 Service Unavailable");
    assert!(error_of(&answer).contains("protocol loop"), "{answer}");
    assert!(elapsed >= LOOP_TIMEOUT, "{elapsed:?}");
    assert!(elapsed < LOOP_TIMEOUT + ROOM, "{elapsed:?}");
    // The request had arrived, and nobody waits for it any more.
    let Request::Status(reply) = requests.try_recv().unwrap();
    assert!(reply.is_closed());

    let output = agent.vipward(&[]);
    assert_eq!(code(&output), 3, "{output:?}");
    assert_eq!(stderr(&output).lines().count(), 1, "{output:?}");
    assert!(stderr(&output).starts_with("vipward: "), "{output:?}");
}

#[test]
fn a_loop_that_is_overrun_is_not_waited_for() {
    let (sender, _requests) = mpsc::channel(1);
    let (reply, _) = tokio::sync::oneshot::channel();
    sender.try_send(Request::Status(reply)).unwrap();
    let agent = Agent::with_loop(sender);
    let started = Clock::now();
    let answer = agent.say(b"GET /status HTTP/1.1\r\nhost: x\r\n\r\n");
    assert!(started.elapsed() < LOOP_TIMEOUT, "waited");
    assert_eq!(status_line(&answer), "HTTP/1.1 503 Service Unavailable");
    assert!(error_of(&answer).contains("too many requests"), "{answer}");
}

#[test]
fn a_loop_that_has_ended_is_said_to_stop() {
    let (sender, requests) = mpsc::channel(1);
    drop(requests);
    let agent = Agent::with_loop(sender);
    let answer = agent.say(b"GET /status HTTP/1.1\r\nhost: x\r\n\r\n");
    assert_eq!(error_of(&answer), "the agent is stopping");
}

fn start_in(directory: &Path) -> Result<ControlServer, StartError> {
    let (sender, _) = mpsc::channel(1);
    ControlServer::start(directory, Access::default(), identity(), sender)
}

#[test]
fn a_stale_socket_is_replaced_and_removed_at_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = socket_path(directory.path());
    drop(UnixListener::bind(&path).unwrap());
    let refused = fetch_status(&path, PATIENCE).unwrap_err();
    assert!(matches!(refused, ClientError::Dead(_)), "{refused}");

    let server = start_in(directory.path()).unwrap();
    UnixStream::connect(&path).unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    drop(server);
    assert!(!path.exists());
}

#[test]
fn a_living_socket_is_left_alone() {
    let agent = Agent::start(Vec::new());
    let refused = start_in(agent.directory.path()).unwrap_err();
    assert!(
        matches!(refused, StartError::Listen(ListenError::Taken(_))),
        "{refused}"
    );
    fetch_status(&agent.socket(), PATIENCE).unwrap();
}

#[test]
fn a_wedged_agents_socket_is_left_alone_too() {
    let directory = tempfile::tempdir().unwrap();
    let path = socket_path(directory.path());
    // It never accepts, and its backlog fills up.
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    socket
        .bind(&socket2::SockAddr::unix(&path).unwrap())
        .unwrap();
    socket.listen(0).unwrap();
    let mut waiting = Vec::new();
    let refused = loop {
        let client = socket2::Socket::new(
            socket2::Domain::UNIX,
            socket2::Type::STREAM.nonblocking(),
            None,
        )
        .unwrap();
        match client.connect(&socket2::SockAddr::unix(&path).unwrap()) {
            Ok(()) => waiting.push(client),
            Err(error) => break error,
        }
        assert!(waiting.len() < 100, "the backlog never fills");
    };
    assert_eq!(refused.kind(), ErrorKind::WouldBlock);
    let refused = start_in(directory.path()).unwrap_err();
    assert!(
        matches!(refused, StartError::Listen(ListenError::Taken(_))),
        "{refused}"
    );
    // And the command says so within its second.
    let started = Clock::now();
    assert_eq!(code(&vipward(directory.path(), &[])), 3);
    assert!(started.elapsed() < Duration::from_secs(1) + ROOM);
}

#[test]
fn what_is_no_socket_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = socket_path(directory.path());
    std::fs::write(&path, "precious").unwrap();
    let refused = start_in(directory.path()).unwrap_err();
    assert!(refused.to_string().contains("no socket"), "{refused}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn another_ones_socket_is_not_removed_at_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = socket_path(directory.path());
    let server = start_in(directory.path()).unwrap();
    std::fs::remove_file(&path).unwrap();
    // An inode number can be used again at once: hold the old one's place.
    let _other = UnixListener::bind(directory.path().join("place")).unwrap();
    let _successor = UnixListener::bind(&path).unwrap();
    drop(server);
    assert!(std::fs::metadata(&path).unwrap().file_type().is_socket());
}

#[test]
fn an_unknown_group_leaves_the_socket_to_root() {
    let directory = tempfile::tempdir().unwrap();
    let access = Access {
        read_group: Some("no-such-group-anywhere".to_owned()),
        admin_group: Some("root".to_owned()),
    };
    let (sender, _) = mpsc::channel(1);
    let server = ControlServer::start(directory.path(), access, identity(), sender).unwrap();
    let mode = std::fs::metadata(server.path())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o600);
}

/// A group that this process may give a file to, and that is not root's.
fn some_group() -> Group {
    let own = Group::from_gid(Gid::current()).unwrap().unwrap();
    match own.gid.as_raw() {
        0 => Group::from_name("daemon").unwrap().unwrap(),
        _ => own,
    }
}

/// `vipward status` by somebody else than the agent's user: as root by
/// becoming nobody, otherwise by taking the owner's own rights away.
fn vipward_by_a_stranger(directory: &Path, group: Option<Gid>) -> Output {
    if !Uid::effective().is_root() {
        let socket = socket_path(directory);
        let before = std::fs::metadata(&socket).unwrap().permissions();
        if group.is_none() {
            let without_owner = std::fs::Permissions::from_mode(before.mode() & 0o077);
            std::fs::set_permissions(&socket, without_owner).unwrap();
        }
        let output = vipward(directory, &[]);
        std::fs::set_permissions(&socket, before).unwrap();
        return output;
    }
    // Where everybody can enter; the build directory may be closed.
    let everybody = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(directory, everybody).unwrap();
    let binary = directory.join("vipward");
    if !binary.exists() {
        std::fs::copy(env!("CARGO_BIN_EXE_vipward"), &binary).unwrap();
    }
    let nobody = 65534;
    std::process::Command::new(&binary)
        .args(["status", "--runtime-dir"])
        .arg(directory)
        .current_dir(directory)
        .uid(nobody)
        .gid(group.map_or(nobody, Gid::as_raw))
        .output()
        .unwrap()
}

#[test]
fn the_group_may_read_and_others_are_told_who_may() {
    let directory = tempfile::tempdir().unwrap();
    let group = some_group();
    let (sender, mut requests) = mpsc::channel(1);
    let access = Access {
        read_group: Some(group.name.clone()),
        admin_group: None,
    };
    let server = ControlServer::start(directory.path(), access, identity(), sender).unwrap();
    let found = std::fs::metadata(server.path()).unwrap();
    assert_eq!(found.permissions().mode() & 0o7777, 0o660);
    assert_eq!(found.gid(), group.gid.as_raw());

    let output = vipward_by_a_stranger(directory.path(), None);
    assert_eq!(code(&output), 3, "{output:?}");
    let permitted = format!("and the group {} may", group.name);
    assert!(stderr(&output).contains(&permitted), "{output:?}");

    let asking = std::thread::spawn({
        let directory = directory.path().to_owned();
        move || vipward_by_a_stranger(&directory, Some(group.gid))
    });
    let Some(Request::Status(reply)) = requests.blocking_recv() else {
        panic!("the server ended");
    };
    reply.send(picture(Vec::new())).unwrap();
    assert_eq!(code(&asking.join().unwrap()), 0);
}

#[test]
fn without_a_group_others_are_told_that_root_may() {
    let agent = Agent::start(Vec::new());
    let output = vipward_by_a_stranger(agent.directory.path(), None);
    assert_eq!(code(&output), 3, "{output:?}");
    assert!(stderr(&output).contains("only root"), "{output:?}");
}

#[test]
fn status_for_people_and_for_scripts() {
    let agent = Agent::start(vec![
        instance("api", StateName::Backup),
        instance("web", StateName::Active),
    ]);
    let output = agent.vipward(&[]);
    assert_eq!(code(&output), 0, "{output:?}");
    assert!(stdout(&output).starts_with("lb1: vipward 0.1.0, pid 4242"));
    assert!(
        !stdout(&output).contains('\x1b'),
        "coloured without a terminal"
    );

    let output = agent.vipward(&["--json"]);
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["instances"][1]["name"], "web");
    let output = agent.vipward(&["web", "--json"]);
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["instances"].as_array().unwrap().len(), 1);
    assert_eq!(document["instances"][0]["name"], "web");

    for (arguments, expected) in [
        (&["web", "--is", "active"][..], 0),
        (&["web", "--is", "backup"], 1),
        (&["api", "--is", "backup"], 0),
        (&["--is", "active"], 1),
    ] {
        let output = agent.vipward(arguments);
        assert_eq!(code(&output), expected, "{arguments:?}");
        assert_eq!((stdout(&output), stderr(&output)), ("", ""));
    }

    let output = agent.vipward(&["wbe"]);
    assert_eq!(code(&output), 1);
    assert!(
        stderr(&output).contains("did you mean `web`?"),
        "{output:?}"
    );
    assert_eq!(code(&agent.vipward(&["--is", "asleep"])), 2);
}

#[test]
fn no_agent_is_a_sentence_and_exit_3() {
    let directory = tempfile::tempdir().unwrap();
    for arguments in [&[][..], &["--json"], &["--is", "active"]] {
        let output = vipward(directory.path(), arguments);
        assert_eq!(code(&output), 3, "{arguments:?}");
        assert_eq!(stdout(&output), "");
        assert!(stderr(&output).starts_with("vipward: no agent runs here"));
        assert_eq!(stderr(&output).lines().count(), 1);
    }
}

#[test]
fn an_agent_that_says_nothing_is_given_up_after_a_second() {
    let directory = tempfile::tempdir().unwrap();
    let _mute = UnixListener::bind(socket_path(directory.path())).unwrap();
    let started = Clock::now();
    let output = vipward(directory.path(), &[]);
    assert_eq!(code(&output), 3);
    assert!(stderr(&output).contains("within 1000 ms"), "{output:?}");
    assert!(started.elapsed() < Duration::from_secs(1) + ROOM);
}

#[test]
fn an_answer_that_is_no_status_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = socket_path(directory.path());
    let listener = UnixListener::bind(&path).unwrap();
    let odd = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 4096];
        assert!(stream.read(&mut request).unwrap() > 0);
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
            .unwrap();
    });
    let refused = fetch_status(&path, PATIENCE).unwrap_err();
    assert!(matches!(refused, ClientError::Garbled { .. }), "{refused}");
    odd.join().unwrap();
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let instances = (0..1000).map(|n| instance(&format!("i{n:03}"), StateName::Backup));
    let agent = Agent::start(instances.collect());
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_vipward"))
        .args(["status", "--json", "--runtime-dir"])
        .arg(agent.directory.path())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // Far less than the pipe holds is read; the rest finds it closed.
    let mut start = [0; 1];
    let mut out = child.stdout.take().unwrap();
    out.read_exact(&mut start).unwrap();
    drop(out);
    let output = child.wait_with_output().unwrap();
    assert_eq!(code(&output), 0, "{output:?}");
    assert_eq!(stderr(&output), "");
}
