//! What happened, asked for over the socket: pages, waiting, bounds, and what
//! the command makes of wrong input.

use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use assert_cmd::Command;
use tokio::sync::mpsc;
use vipward::agent::report::{Fact, Report};
use vipward::agent::status::StateName;
use vipward::agent::values::InstanceName;
use vipward::control::client::{ClientError, fetch_events, fetch_status};
use vipward::control::document::WallClock;
use vipward::control::events::Events;
use vipward::control::events::feed::{Feed, WAITERS_MAX};
use vipward::control::events::query::Query;
use vipward::control::events::record::{Entry, Record, What};
use vipward::net::timer;

use super::{Agent, PATIENCE, ROOM, code, error_of, instance, setup, status_line, stderr, stdout};

/// An agent, and where its events come from.
fn started(events: u64) -> (Agent, Arc<Feed>) {
    let stream = Events::unheard(timer::now);
    let feed = Arc::clone(&stream.feed);
    for _ in 0..events {
        happen(&feed);
    }
    let with = move |requests: mpsc::Sender<_>| {
        let mut setup = setup(requests);
        setup.events = stream;
        setup
    };
    let instances = vec![instance("web", StateName::Active)];
    (Agent::started(instances, with), feed)
}

fn happen(feed: &Feed) {
    let at = timer::now();
    let what = What::Core(Report {
        at,
        instance: Some(InstanceName::new("web")),
        fact: Fact::Reconfigured,
    });
    let clock = WallClock::new(at, jiff::Timestamp::now());
    feed.add(|id| Record::new(id, 1, "lb1", clock, &Entry { at, what }));
}

fn after(id: u64, wait: Duration) -> Query {
    Query {
        after: Some(id),
        wait,
        ..Query::default()
    }
}

fn events(directory: &std::path::Path, arguments: &[&str]) -> std::process::Output {
    let mut command = Command::cargo_bin("vipward").unwrap();
    command.arg("events").args(arguments);
    if !arguments.contains(&"--socket") && !arguments.contains(&"--state-dir") {
        command.arg("--runtime-dir").arg(directory);
    }
    command.timeout(PATIENCE).output().unwrap()
}

#[test]
fn a_page_makes_the_round() {
    let (agent, _feed) = started(3);
    let page = fetch_events(&agent.socket(), &Query::default(), PATIENCE).unwrap();
    assert_eq!((page.oldest, page.newest, page.next), (1, 3, 3));
    assert_eq!(page.node, "lb1");
    let records: Vec<Record> = page.records().collect();
    assert_eq!(records.len(), 3);
    assert_eq!(records[1].event, "reconfigured");
    assert_eq!(records[1].instance.as_deref(), Some("web"));
}

#[test]
fn whoever_waits_is_told_at_once() {
    let (agent, feed) = started(3);
    let begun = Instant::now();
    let later = thread::spawn(move || {
        thread::sleep(Duration::from_millis(300));
        happen(&feed);
    });
    let wait = Duration::from_secs(20);
    let page = fetch_events(&agent.socket(), &after(3, wait), PATIENCE).unwrap();
    assert!(begun.elapsed() < wait, "it was not waited out");
    assert_eq!((page.records().count(), page.next), (1, 4));
    later.join().unwrap();
}

#[test]
fn nothing_comes_and_the_wait_ends() {
    let (agent, _feed) = started(3);
    let begun = Instant::now();
    // Longer than a connection usually may take.
    let wait = Duration::from_millis(2600);
    let page = fetch_events(&agent.socket(), &after(3, wait), PATIENCE).unwrap();
    assert!(begun.elapsed() >= wait);
    assert_eq!((page.records().count(), page.next), (0, 3));
}

#[test]
fn those_who_wait_leave_room_for_the_others() {
    let (agent, feed) = started(0);
    let wait = Duration::from_secs(25);
    let waiting: Vec<_> = (0..WAITERS_MAX)
        .map(|_| {
            let socket = agent.socket();
            thread::spawn(move || fetch_events(&socket, &after(0, wait), PATIENCE))
        })
        .collect();
    let one_more = || fetch_events(&agent.socket(), &after(0, wait), Duration::from_millis(100));
    let begun = Instant::now();
    // Until all of them wait.
    while feed.waiter().is_some() {
        assert!(begun.elapsed() < PATIENCE, "they do not wait");
        thread::sleep(Duration::from_millis(10));
    }
    match one_more() {
        Err(ClientError::Refused { reason, .. }) => {
            assert!(
                reason.contains("8 clients wait for events already"),
                "{reason}"
            );
        }
        other => panic!("not refused: {other:?}"),
    }
    fetch_status(&agent.socket(), PATIENCE).unwrap();
    happen(&feed);
    for one in waiting {
        let page = one.join().unwrap().unwrap();
        assert_eq!(page.records().count(), 1);
    }
}

#[test]
fn a_question_that_is_none_is_answered_by_a_sentence() {
    let (agent, _feed) = started(1);
    let answer = agent.say(b"GET /events?after=x HTTP/1.1\r\nhost: x\r\n\r\n");
    assert_eq!(status_line(&answer), "HTTP/1.1 400 Bad Request");
    assert_eq!(
        error_of(&answer),
        "after is not a whole number; nothing was looked up"
    );
    let answer = agent.say(b"POST /events HTTP/1.1\r\nhost: x\r\n\r\n");
    assert_eq!(status_line(&answer), "HTTP/1.1 405 Method Not Allowed");
}

#[test]
fn the_command_prints_lines_or_json() {
    let (agent, _feed) = started(60);
    let shown = events(agent.directory.path(), &[]);
    assert_eq!(code(&shown), 0, "{}", stderr(&shown));
    assert_eq!(stdout(&shown).lines().count(), 50);
    let line = stdout(&shown).lines().last().unwrap();
    assert!(
        line.ends_with("web       the new configuration was applied"),
        "{line}"
    );
    for (arguments, lines) in [
        (vec!["-n", "3"], 3),
        (vec!["--since", "1h"], 60),
        (vec!["--since", "1h", "-n", "7"], 7),
        (vec!["web", "-n", "100"], 60),
        (vec!["--json"], 50),
    ] {
        let shown = events(agent.directory.path(), &arguments);
        assert_eq!(code(&shown), 0, "{arguments:?}: {}", stderr(&shown));
        assert_eq!(stdout(&shown).lines().count(), lines, "{arguments:?}");
    }
    let shown = events(agent.directory.path(), &["--json", "-n", "1"]);
    let event: serde_json::Value = serde_json::from_str(stdout(&shown)).unwrap();
    assert_eq!(
        (&event["id"], &event["event"]),
        (&60.into(), &"reconfigured".into())
    );
}

#[test]
fn wrong_input_is_told_what_would_be_right() {
    let (agent, _feed) = started(2);
    let shown = events(agent.directory.path(), &["--since", "yesterday-ish"]);
    assert_eq!(code(&shown), 2);
    let text = stderr(&shown);
    assert!(
        text.contains("`yesterday-ish` is no time: give how long ago"),
        "{text}"
    );

    let shown = events(agent.directory.path(), &["wbe"]);
    assert_eq!(code(&shown), 1);
    assert_eq!(
        stderr(&shown).trim(),
        "vipward: there is no instance `wbe` on lb1; did you mean `web`? It has: web"
    );
}

#[test]
fn a_socket_that_is_not_ours_is_told_in_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("file"), "text").unwrap();
    // It says what an HTTP server never says.
    let listener = UnixListener::bind(path("other")).unwrap();
    let other = thread::spawn(move || {
        for stream in listener.incoming().take(1) {
            let mut stream = stream.unwrap();
            let _ = std::io::Write::write_all(&mut stream, b"220 mail.example.com ESMTP\r\n");
            thread::sleep(Duration::from_millis(1500));
        }
    });
    // What is no HTTP may be read as an answer, or as the end of the connection.
    for (socket, words) in [
        (
            path("file"),
            ["it is no socket. That one is control.sock"; 2],
        ),
        (path("none"), ["no agent runs here"; 2]),
        (
            path("other"),
            [
                "If that is no agent's socket, name one",
                "whoever listens there speaks no HTTP",
            ],
        ),
    ] {
        let begun = Instant::now();
        let shown = events(folder.path(), &["--socket", socket.to_str().unwrap()]);
        assert_eq!(code(&shown), 3, "{}", stdout(&shown));
        let text = stderr(&shown);
        assert!(words.iter().any(|word| text.contains(word)), "{text}");
        assert!(begun.elapsed() < Duration::from_secs(1) + ROOM + ROOM);
    }
    other.join().unwrap();
}
