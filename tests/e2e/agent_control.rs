//! Asking the agent: status, exit codes, and what a bad client, a bad file or
//! missing rights lead to.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;

use crate::lab::agent::program;
use crate::lab::config::{Router, yaml};
use crate::lab::{LONG, Lab, assert_span, ms, vip, wait_until, write};
use crate::{Needs, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("agent_status_of_an_active", Needs::Nothing, of_active),
        trial("agent_status_of_a_backup", Needs::Nothing, of_backup),
        trial("agent_absent_is_exit_3", Needs::Nothing, absent),
        trial("agent_hanging_is_exit_3", Needs::Nothing, hanging),
        trial("agent_control_socket_abused", Needs::Nothing, abuse),
        trial("agent_refuses_a_bad_file", Needs::Nothing, bad_file),
        trial("agent_refuses_a_second_one", Needs::Nothing, second_one),
        trial(
            "agent_names_the_missing_right",
            Needs::Nothing,
            missing_right,
        ),
    ]
}

fn text(output: &Output) -> String {
    let both = [output.stdout.as_slice(), &output.stderr].concat();
    String::from_utf8_lossy(&both).into_owned()
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("an exit code")
}

fn of_active() {
    let lab = Lab::new();
    let a = lab.host("a");
    let agent = lab.agent(&a, &[Router::new(150)]);
    a.watch.wait(agent.started, vip(), true, LONG);
    wait_until("the address in the status", LONG, || {
        agent.instance("web")["addresses"][0]["held"] == true
    });
    let status = agent.status();
    assert_eq!(status["node"], "a");
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["pid"], agent.process.pid());
    let web = &status["instances"][0];
    for (key, value) in [("name", "web"), ("interface", "eth0"), ("family", "ipv4")] {
        assert_eq!(web[key], value);
    }
    assert_eq!(
        (&web["state"], &web["reason"]),
        (&"active".into(), &"no-response".into())
    );
    assert_eq!((&web["vrid"], &web["version"]), (&51.into(), &3.into()));
    assert_eq!(web["priority"]["effective"], 150);
    assert_eq!(web["addresses"][0]["address"], "192.0.2.100/24");
    assert_eq!(
        (&web["obstacles"], &web["drift"]),
        (&serde_json::json!([]), &serde_json::json!([]))
    );
    assert_eq!(web["advert_interval_ms"], 300);
    assert_eq!(web["active_down_interval_ms"], 1024); // 900 + 124.2
    assert_eq!(web["active_router"]["address"], a.v4().to_string());
    assert!(
        web["active_router"]["last_advert_age_ms"]
            .as_u64()
            .is_some_and(|age| age < 700)
    );
    assert!(
        web["counters"]["adverts_sent"]
            .as_u64()
            .is_some_and(|sent| sent > 0)
    );

    for (arguments, expected) in [
        (vec!["status"], 0),
        (vec!["status", "web"], 0),
        (vec!["status", "--is", "active"], 0),
        (vec!["status", "web", "--is", "active"], 0),
        (vec!["status", "--is", "backup"], 1),
        (vec!["status", "web", "--is", "fault"], 1),
        (vec!["status", "wbe"], 1),
        (vec!["status", "--is", "nonsense"], 2),
    ] {
        let output = agent.ask(&arguments);
        assert_eq!(code(&output), expected, "{arguments:?}: {}", text(&output));
    }
    let shown = text(&agent.ask(&["status"]));
    for word in ["web", "active", "192.0.2.100"] {
        assert!(shown.contains(word), "no {word} in:\n{shown}");
    }
}

fn of_backup() {
    let lab = Lab::new();
    let [a, b] = lab.hosts(["a", "b"]);
    let first = lab.agent(&a, &[Router::new(200)]);
    a.watch.wait(first.started, vip(), true, LONG);
    let agent = lab.agent(
        &b,
        &[Router::new(100).addresses(&["192.0.2.100/24", "192.0.2.101/24"])],
    );
    agent.wait_state("web", "backup", LONG);
    wait_until("drift", LONG, || {
        agent.instance("web")["drift"][0]["code"] == "addresses"
    });
    let web = agent.instance("web");
    assert_eq!(web["active_router"]["address"], a.v4().to_string());
    assert_eq!(web["active_router"]["priority"], 200);
    assert_eq!(web["addresses"][0]["held"], false);
    assert_eq!(code(&agent.ask(&["status", "--is", "backup"])), 0);
    assert_eq!(code(&agent.ask(&["status", "--is", "active"])), 1);
}

fn absent() {
    let directory = tempfile::tempdir().expect("a directory");
    let output = Command::new(program().path)
        .args(["status", "--runtime-dir"])
        .arg(directory.path())
        .output()
        .expect("the client starts");
    assert_eq!(code(&output), 3, "{}", text(&output));
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(complaint.contains("control.sock"), "{complaint}");
}

/// A process that does not run answers nobody; the client gives up.
fn hanging() {
    let lab = Lab::new();
    let a = lab.host("a");
    let agent = lab.agent(&a, &[Router::new(200)]);
    agent.status();
    agent.signal(nix::sys::signal::Signal::SIGSTOP);
    let asked = Instant::now();
    let output = agent.ask(&["status"]);
    assert_eq!(code(&output), 3, "{}", text(&output));
    assert_span("giving up", asked.elapsed(), ms(0), ms(1100));
}

/// The agent advertises on time all the while.
fn abuse() {
    let lab = Lab::new();
    let a = lab.host("a");
    let agent = lab.agent(&a, &[Router::new(200)]);
    a.watch.wait(agent.started, vip(), true, LONG);
    let began = Instant::now();
    let connect = || UnixStream::connect(agent.socket()).expect("a connection");
    // Idle ones beyond the limit: the surplus is turned away.
    let idle: Vec<_> = (0..40).map(|_| connect()).collect();
    let refused = idle.iter().filter(|stream| is_answered(stream)).count();
    assert!(
        (24..40).contains(&refused),
        "{refused} of 40 were turned away"
    );
    // The slow ones are dropped, so that others get their answer again.
    wait_until("an answer after the slow ones", LONG, || {
        agent.ask(&["status", "--json"]).status.success()
    });
    drop(idle);
    for request in [
        vec![0_u8; 100],
        b"GARBAGE\r\n\r\n".to_vec(),
        [b"GET /".as_slice(), &[b'x'; 100_000]].concat(),
        [b"GET /status HTTP/1.1\r\nh: ".as_slice(), &[b'y'; 100_000]].concat(),
        b"POST /status HTTP/1.1\r\nhost: x\r\ncontent-length: 999999999\r\n\r\n".to_vec(),
        b"DELETE /status HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(),
        b"GET /../../etc/passwd HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(),
    ] {
        let mut stream = connect();
        let _ = stream.write_all(&request); // it may hang up in the middle
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        stream.set_read_timeout(Some(LONG)).expect("a time-out");
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer);
        assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    assert_eq!(agent.state("web"), "active");
    let times: Vec<_> = lab
        .observer
        .adverts(began, "a")
        .iter()
        .map(|(at, _)| *at)
        .collect();
    for pair in times.windows(2) {
        // After a late one the next is early: the schedule stands.
        assert_span("the next one", pair[1] - pair[0], ms(0), ms(300));
    }
}

/// Whether the server said something without having been asked.
fn is_answered(mut stream: &UnixStream) -> bool {
    stream.set_read_timeout(Some(ms(50))).expect("a time-out");
    stream.read(&mut [0; 64]).is_ok()
}

fn bad_file() {
    let lab = Lab::new();
    let a = lab.host("a");
    let sound = yaml("a", &[Router::new(200)]);
    let bad = sound
        .replace("priority: 200", "prioritty: 200")
        .replace("vrid: 51", "vrid: 0");
    let mut agent = lab.agent_with(&a, &bad);
    let (_, status) = agent.process.wait_exit(LONG);
    assert_eq!(status.code(), Some(1), "{}", agent.process.log());
    let log = agent.process.log();
    // Both faults, with their places, and the nearest key.
    for line_and_column in [place(&bad, "prioritty"), place(&bad, "0\n    prioritty")] {
        assert!(
            log.contains(&line_and_column),
            "no {line_and_column} in:\n{log}"
        );
    }
    assert!(
        log.contains("`priority`") || log.contains("priority"),
        "{log}"
    );
    assert!(lab.observer.adverts(agent.started, "a").is_empty());

    let path = lab.directory.path().join("sound.yaml");
    write(&path, &sound);
    let output = Command::new(program().path)
        .arg("validate")
        .arg(&path)
        .output()
        .expect("validate starts");
    assert_eq!(code(&output), 0, "{}", text(&output));
    write(&path, &bad);
    let output = Command::new(program().path)
        .arg("validate")
        .arg(&path)
        .output()
        .expect("validate starts");
    assert_eq!(code(&output), 1, "{}", text(&output));
}

/// `:line:column` of the first occurrence of `needle`.
fn place(text: &str, needle: &str) -> String {
    let before = text.split(needle).next().unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    format!(":{line}:{column}")
}

fn second_one() {
    let lab = Lab::new();
    let a = lab.host("a");
    let first = lab.agent(&a, &[Router::new(200)]);
    a.watch.wait(first.started, vip(), true, LONG);
    // The same directories, and the same names for them.
    let mut second = lab.agent(&a, &[Router::new(200)]);
    let (_, status) = second.process.wait_exit(LONG);
    assert!(!status.success());
    std::thread::sleep(ms(500));
    assert_eq!(first.state("web"), "active");
    assert_eq!(first.status()["pid"], first.process.pid());
    assert!(a.watch.times(second.started, vip()).is_empty());
}

fn missing_right() {
    let lab = Lab::new();
    let a = lab.host("a");
    let path = lab.directory.path().join("config.yaml");
    write(&path, &yaml("a", &[Router::new(200)]));
    for (right, name) in [("net_raw", "CAP_NET_RAW"), ("net_admin", "CAP_NET_ADMIN")] {
        let setpriv = crate::lab::tools::Program {
            path: "setpriv".into(),
            library_path: None,
        };
        let output = a
            .namespace
            .command(&setpriv)
            .arg(format!("--bounding-set=-{right}"))
            .arg(program().path)
            .arg("run")
            .arg("--config")
            .arg(&path)
            .arg("--runtime-dir")
            .arg(lab.directory.path())
            .arg("--state-dir")
            .arg(lab.directory.path())
            .output()
            .expect("setpriv starts");
        let said = text(&output);
        assert_eq!(code(&output), 1, "{said}");
        assert!(said.contains(name), "{said}");
        assert!(
            said.trim().lines().count() <= 3,
            "more than a sentence:\n{said}"
        );
    }
    assert!(
        lab.observer
            .adverts(Instant::now() - Duration::from_secs(30), "a")
            .is_empty()
    );
}
