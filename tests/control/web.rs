//! The metrics' address: what it answers, to whom, and that nobody can hold it.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant as Clock};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::sync::mpsc;
use vipward::agent::status::StateName;
use vipward::control::client::{fetch_status, request_reload};
use vipward::control::pictures::SHARED_FOR;
use vipward::control::server::{HEAD_TIMEOUT, LOOP_TIMEOUT, Request, Setup};
use vipward::control::web::{CONNECTION_TIMEOUT, CONNECTIONS_MAX, RETRY};

use super::{
    Agent, PATIENCE, ROOM, exposition, instance, picture, prepared, promtool, setup, status_line,
};

/// A loopback address of this test's own, with a port that is free there.
fn address() -> SocketAddr {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    let number = std::process::id() * 16 + TAKEN.fetch_add(1, Ordering::Relaxed);
    let [_, high, middle, low] = number.to_be_bytes();
    let host = Ipv4Addr::new(127, high.max(1), middle, low.clamp(1, 254));
    let probe = TcpListener::bind((host, 0)).expect("a loopback address");
    probe.local_addr().unwrap()
}

fn serving(count: usize) -> (Agent, SocketAddr) {
    let at = address();
    let instances = (0..count).map(|n| instance(&format!("i{n:04}"), StateName::Active));
    let agent = Agent::started(instances.collect(), |sender| Setup {
        metrics: Some(at),
        ..setup(sender)
    });
    drop(connect(at));
    (agent, at)
}

/// Waits until somebody listens there.
fn connect(at: SocketAddr) -> TcpStream {
    let deadline = Clock::now() + PATIENCE;
    loop {
        match TcpStream::connect(at) {
            Ok(stream) => {
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                stream.set_write_timeout(Some(PATIENCE)).unwrap();
                return stream;
            }
            Err(error) if Clock::now() > deadline => panic!("nobody listens on {at}: {error}"),
            Err(_) => std::thread::yield_now(),
        }
    }
}

fn say(at: SocketAddr, request: &[u8]) -> String {
    let mut stream = connect(at);
    // The server may have heard enough before the last byte.
    let _ = stream.write_all(request);
    read_to_end(&mut stream)
}

/// What arrives until the server closes, whether or not it had read all.
fn read_to_end(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("not closed: {error}"),
    }
    String::from_utf8(bytes).unwrap()
}

fn get(at: SocketAddr, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: {at}\r\n\r\n");
    say(at, request.as_bytes())
}

fn body(answer: &str) -> &str {
    assert_eq!(status_line(answer), "HTTP/1.1 200 OK", "{answer}");
    answer.split_once("\r\n\r\n").unwrap().1
}

#[test]
fn four_paths_are_answered() {
    let (agent, at) = serving(2);
    let metrics = get(at, "/metrics");
    assert!(metrics.contains("content-type: text/plain; version=0.0.4; charset=utf-8"));
    let series = exposition::read(body(&metrics));
    assert_eq!(
        series["vipward_instance_state{vrrp_instance=\"i0001\",state=\"active\"}"],
        1.0
    );
    assert_eq!(series["vipward_peer_reachable{peer=\"lb2\"}"], 0.0);

    let page = get(at, "/");
    assert!(page.contains("content-type: text/html; charset=utf-8"));
    assert!(body(&page).contains("<h1>lb1</h1>"));
    let status = get(at, "/api/status");
    assert!(status.contains("content-type: application/json"));
    let document: serde_json::Value = serde_json::from_str(body(&status)).unwrap();
    assert_eq!(document["instances"][0]["state"], "active");
    assert_eq!(body(&get(at, "/healthz")), "ok\n");
    let events = get(at, "/api/events?last=5&wait_ms=30000");
    let events: serde_json::Value = serde_json::from_str(body(&events)).unwrap();
    assert_eq!(events["node"], "lb1");
    let unclear = get(at, "/api/events?colour=red");
    assert_eq!(status_line(&unclear), "HTTP/1.1 400 Bad Request");

    for answer in [&metrics, &page, &status] {
        for header in [
            "content-security-policy: default-src 'none';",
            "cache-control: no-store",
            "x-content-type-options: nosniff",
        ] {
            assert!(answer.contains(header), "{header} in {answer}");
        }
    }
    let socket = agent.say(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n");
    let names = |text: &str| exposition::read(text).into_keys().collect::<Vec<_>>();
    assert_eq!(names(body(&socket)), names(body(&metrics)));
}

#[test]
fn nothing_can_be_changed_and_nothing_else_is_there() {
    let (_agent, at) = serving(1);
    for path in [
        "/reload",
        "/drain",
        "/status",
        "/metrics/",
        "//",
        "/../etc/passwd",
    ] {
        let answer = get(at, path);
        assert_eq!(status_line(&answer), "HTTP/1.1 404 Not Found", "{path}");
    }
    let answer = say(at, b"POST /reload HTTP/1.1\r\nhost: localhost\r\n\r\n");
    assert_eq!(status_line(&answer), "HTTP/1.1 404 Not Found");
    let answer = say(at, b"DELETE /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n");
    assert_eq!(status_line(&answer), "HTTP/1.1 405 Method Not Allowed");
    assert!(answer.contains("allow: GET, HEAD"), "{answer}");
    let answer = say(at, b"HEAD /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n");
    assert_eq!(body(&answer), "");
    let answer = say(at, b"GET / HTTP/1.1\r\nhost: evil.example\r\n\r\n");
    assert_eq!(status_line(&answer), "HTTP/1.1 421 Misdirected Request");
}

#[test]
fn garbage_is_refused_and_the_next_client_is_served() {
    let (_agent, at) = serving(1);
    let long = "x".repeat(64 * 1024);
    let hostile: [&[u8]; 8] = [
        b"\x00\x01\x02\x03\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        &format!("GET / HTTP/1.1\r\nhost: {long}\r\n\r\n").into_bytes(),
        b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99999999999\r\n\r\n",
    ];
    for request in hostile {
        let answer = say(at, request);
        // A refusal may be lost where more was sent than is read.
        let refused = answer.starts_with("HTTP/1.1 4") || answer.is_empty();
        assert!(refused, "{answer} to {request:?}");
    }
    assert_eq!(body(&get(at, "/healthz")), "ok\n");
}

#[test]
fn slow_clients_are_dropped() {
    let (_agent, at) = serving(1000);
    let started = Clock::now();
    let mut silent = connect(at);
    let mut halting = connect(at);
    halting.write_all(b"GET /metr").unwrap();
    for client in [&mut silent, &mut halting] {
        read_to_end(client);
    }
    let elapsed = started.elapsed();
    assert!(elapsed < HEAD_TIMEOUT + ROOM, "{elapsed:?}");
    // Those who do not read what they asked for keep their permits until the
    // time is over; the others are served meanwhile.
    let mut deaf: Vec<TcpStream> = (0..4).map(|_| connect(at)).collect();
    for client in &mut deaf {
        client
            .write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n")
            .unwrap();
    }
    assert_eq!(body(&get(at, "/healthz")), "ok\n");
    let elapsed = started.elapsed();
    assert!(elapsed < CONNECTION_TIMEOUT, "{elapsed:?}");
}

#[test]
fn a_thousand_connections_are_bounded_and_take_nothing_from_the_control_socket() {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard.min(8192).max(soft), hard).unwrap();
    let (agent, at) = serving(1);
    let crowd: Vec<TcpStream> = (0..1000).map(|_| connect(at)).collect();
    fetch_status(&agent.socket(), PATIENCE).unwrap();
    let refused = crowd.iter().filter(|client| {
        let mut start = [0; 12];
        client.set_nonblocking(true).unwrap();
        let got = (&mut &**client).read(&mut start);
        got.is_ok_and(|got| &start[..got] == b"HTTP/1.1 503")
    });
    let refused = refused.count();
    assert!(refused > 0, "nobody was refused");
    fetch_status(&agent.socket(), PATIENCE).unwrap();
    drop(crowd);
    let deadline = Clock::now() + PATIENCE;
    while status_line(&get(at, "/healthz")) != "HTTP/1.1 200 OK" {
        assert!(Clock::now() < deadline, "never served again");
    }
    assert!(refused <= 1000 && CONNECTIONS_MAX < 1000);
}

#[test]
fn many_scrapes_are_few_questions_to_the_loop() {
    let at = address();
    let (sender, mut requests) = mpsc::channel(4);
    let asked = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&asked);
    let fake_loop = std::thread::spawn(move || {
        while let Some(request) = requests.blocking_recv() {
            if let Request::Status(reply) = request {
                counted.fetch_add(1, Ordering::Relaxed);
                let _ = reply.send(picture(vec![instance("web", StateName::Active)]));
            }
        }
    });
    let agent = Agent::with_setup(Setup {
        metrics: Some(at),
        ..setup(sender)
    });
    let began = Clock::now();
    let scrapers: Vec<_> = (0..8)
        .map(|_| {
            std::thread::spawn(move || {
                for path in ["/metrics", "/", "/api/status", "/healthz"] {
                    body(&get(at, path));
                }
            })
        })
        .collect();
    scrapers.into_iter().for_each(|one| one.join().unwrap());
    let most = began.elapsed().as_millis() / SHARED_FOR.as_millis() + 1;
    let asked = u128::from(asked.load(Ordering::Relaxed));
    assert!(
        (1..=most).contains(&asked),
        "{asked} questions, at most {most}"
    );
    drop(agent);
    fake_loop.join().unwrap();
}

#[test]
fn a_loop_that_does_not_answer_is_told_to_all_who_ask() {
    let at = address();
    let (sender, requests) = mpsc::channel(4);
    let agent = Agent::with_setup(Setup {
        metrics: Some(at),
        ..setup(sender)
    });
    let began = Clock::now();
    let asking: Vec<_> = (0..6)
        .map(|_| std::thread::spawn(move || get(at, "/healthz")))
        .collect();
    for one in asking {
        let answer = one.join().unwrap();
        assert_eq!(status_line(&answer), "HTTP/1.1 503 Service Unavailable");
        assert!(
            answer.contains("its protocol loop did not answer"),
            "{answer}"
        );
    }
    let elapsed = began.elapsed();
    assert!(elapsed < LOOP_TIMEOUT + 2 * ROOM, "{elapsed:?}");
    drop((agent, requests));
}

#[test]
fn an_address_that_is_taken_is_had_later_and_harms_nothing() {
    let at = address();
    let other = TcpListener::bind(at).unwrap();
    let agent = Agent::started(Vec::new(), |sender| Setup {
        metrics: Some(at),
        ..setup(sender)
    });
    fetch_status(&agent.socket(), PATIENCE).unwrap();
    drop(other);
    let released = Clock::now();
    assert_eq!(body(&get(at, "/healthz")), "ok\n");
    let elapsed = released.elapsed();
    assert!(elapsed < RETRY + ROOM, "{elapsed:?}");
}

#[test]
fn a_reload_moves_it_and_takes_it_away() {
    let (first, second) = (address(), address());
    let wanted = Arc::new(Mutex::new(Some(second)));
    let judged = Arc::clone(&wanted);
    let agent = Agent::started(Vec::new(), |sender| Setup {
        metrics: Some(first),
        judge: Arc::new(move || {
            let mut new = prepared("new");
            new.metrics = *judged.lock().unwrap();
            Ok(new)
        }),
        ..setup(sender)
    });
    assert_eq!(body(&get(first, "/healthz")), "ok\n");
    request_reload(&agent.socket()).unwrap();
    applied(1.0, || get(second, "/metrics"));
    gone(first);
    *wanted.lock().unwrap() = None;
    request_reload(&agent.socket()).unwrap();
    gone(second);
    applied(2.0, || {
        agent.say(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n")
    });
}

/// Waits until so many reloads are told of: an answer may be that of one who
/// asked before.
fn applied(wanted: f64, scrape: impl Fn() -> String) {
    let deadline = Clock::now() + PATIENCE;
    loop {
        let series = exposition::read(body(&scrape()));
        let told = series["vipward_config_reloads_total{outcome=\"applied\"}"];
        if told == wanted {
            assert_eq!(series["vipward_config_last_reload_successful"], 1.0);
            return;
        }
        assert!(Clock::now() < deadline, "{told} reloads, and not {wanted}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Nobody listens there any more.
fn gone(at: SocketAddr) {
    let deadline = Clock::now() + PATIENCE;
    while TcpStream::connect(at).is_ok() {
        assert!(Clock::now() < deadline, "somebody still listens on {at}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Prints what it cost; the bound is for a busy machine and a build for tests.
#[test]
fn a_thousand_instances_are_a_normal_scrape() {
    let (_agent, at) = serving(1000);
    for path in ["/metrics", "/", "/api/status"] {
        let began = Clock::now();
        let answer = get(at, path);
        let (size, took) = (body(&answer).len(), began.elapsed());
        println!("{path}: {size} bytes in {took:?}");
        assert!(size < 8 * 1024 * 1024, "{path}: {size} bytes");
        assert!(took < PATIENCE, "{path}: {took:?}");
    }
    let series = exposition::read(body(&get(at, "/metrics")));
    println!("{} series", series.len());
    assert!(series.len() > 30_000);
}

#[test]
fn promtool_finds_nothing_to_say() {
    let Some(promtool) = promtool::find() else {
        println!("skipped: no promtool; tests/run.sh provides it");
        return;
    };
    let (_agent, at) = serving(3);
    promtool.check_metrics(body(&get(at, "/metrics")));
}
