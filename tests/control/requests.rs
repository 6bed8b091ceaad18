//! What the server answers, refuses, and does not wait for.

use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant as Clock};

use jiff::Timestamp;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::sync::mpsc;
use vipward::agent::status::StateName;
use vipward::control::client::fetch_status;
use vipward::control::server::{
    CONNECTION_TIMEOUT, CONNECTIONS_MAX, HEAD_TIMEOUT, LOOP_TIMEOUT, Request,
};

use super::{Agent, PATIENCE, ROOM, code, error_of, instance, read_to_end, status_line, stderr};

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

    let answer = agent.say(b"GET /reload HTTP/1.1\r\nhost: x\r\n\r\n");
    assert_eq!(status_line(&answer), "HTTP/1.1 405 Method Not Allowed");
    assert!(answer.contains("allow: POST"), "{answer}");
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
    let Request::Status(reply) = requests.try_recv().unwrap() else {
        panic!("not what was asked");
    };
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
