//! `vipward status` as people and scripts meet it.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant as Clock};

use vipward::agent::status::StateName;
use vipward::control::client::{ClientError, fetch_status};
use vipward::control::server::CONNECTIONS_MAX;
use vipward::control::socket_path;

use super::{Agent, PATIENCE, ROOM, code, instance, stderr, stdout, vipward};

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
fn a_silent_node_is_shown_and_its_last_word_kept_apart() {
    let agent = Agent::start(vec![instance("web", StateName::Backup)]);
    let output = agent.vipward(&["--json"]);
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let node = &document["nodes"][0];
    assert_eq!(
        (&node["name"], &node["reachable"]),
        (&"lb2".into(), &false.into())
    );
    assert_eq!(node["last_heard_age_ms"], 10_000);
    assert_eq!(node["instances"], serde_json::json!([]), "{node}");
    assert_eq!(node["last_known"][0]["last_known_state"], "active");
    assert_eq!(document["link"]["refused"]["forged"], 2);
    let output = agent.vipward(&[]);
    let shown = stdout(&output);
    assert!(shown.contains("no Active known: web"), "{shown}");
    assert!(shown.contains("this cluster's key"), "{shown}");
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
    assert!(matches!(refused, ClientError::NotOurs { .. }), "{refused}");
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

/// A package installs it; the addresses in it are nobody's.
#[test]
fn the_example_is_not_run_by_hand_either() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_vipward"))
        .args(["run", "--config"])
        .arg(root.join("config.example.yaml"))
        .args(["--runtime-dir", "runtime", "--state-dir", "state"])
        .current_dir(&folder)
        .output()
        .unwrap();
    assert_eq!(code(&output), 1, "{output:?}");
    let said = stderr(&output);
    assert!(
        said.contains("are still those of the example, so nothing was started"),
        "{said}"
    );
    // Not even a directory was made.
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
}
