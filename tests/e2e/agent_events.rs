//! What happened, as the agent keeps it: a failover as one story, restarts, a
//! full disk, and those who follow.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use libtest_mimic::Trial;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::lab::agent::{Agent, program};
use crate::lab::config::Router;
use crate::lab::process::Process;
use crate::lab::{LONG, Lab, tools, vip, wait_until};
use crate::{Needs, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("agent_events_tell_a_failover", Needs::Nothing, failover),
        trial("agent_events_survive", Needs::Nothing, restarts),
        trial("agent_events_follow", Needs::Nothing, follow),
        trial("agent_events_full_disk", Needs::Nothing, full_disk),
        trial("agent_watched_in_a_terminal", Needs::Script, watched),
    ]
}

fn lines(text: &[u8]) -> Vec<Value> {
    let text = String::from_utf8_lossy(text);
    // The last line of a program that still writes may be half a line.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    // What it complains of stands between them.
    let values = whole.lines().filter(|line| line.starts_with('{'));
    values
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

/// All that the agent has.
fn events(agent: &Agent) -> Vec<Value> {
    lines(&agent.ask(&["events", "--json", "-n", "4096"]).stdout)
}

fn written(directory: &Path) -> Vec<Value> {
    let output = Command::new(program().path)
        .args(["events", "--json", "-n", "4096", "--state-dir"])
        .arg(directory)
        .output()
        .expect("the client starts");
    lines(&output.stdout)
}

/// The place of the first `event` that `also` is true of.
fn find(events: &[Value], event: &str, also: impl Fn(&Value) -> bool) -> Option<usize> {
    let mut all = events.iter();
    all.position(|one| one["event"] == event && also(one))
}

fn ids(events: &[Value]) -> Vec<u64> {
    let ids = events.iter().filter_map(|one| one["id"].as_u64());
    ids.collect()
}

fn failover() {
    let lab = Lab::new();
    let [a, b] = lab.hosts(["a", "b"]);
    let first = lab.agent(&a, &[Router::new(200)]);
    a.watch.wait(first.started, vip(), true, LONG);
    let second = lab.agent(&b, &[Router::new(100)]);
    wait_until("that it hears the other", LONG, || {
        second.instance("web")["active_router"]["address"] == a.v4().to_string()
    });
    lab.cut_carrier(&a);
    second.wait_state("web", "active", LONG);
    wait_until("the announcement", LONG, || {
        find(&events(&second), "announced", |_| true).is_some()
    });
    let told = events(&second);
    let heard = |one: &Value| one["details"]["source"] == a.v4().to_string();
    let story = [
        find(&told, "silence", heard),
        find(&told, "transition", |one| one["details"]["to"] == "active"),
        find(&told, "addresses-held", |_| true),
        find(&told, "announced", |_| true),
    ];
    let places: Vec<usize> = story.iter().map(|at| at.expect("a step")).collect();
    assert!(places.is_sorted(), "{told:#?}");
    let steps: Vec<&Value> = places.iter().map(|at| &told[*at]).collect();
    assert!(
        steps
            .iter()
            .all(|one| one["instance"] == "web" && one["node"] == "b")
    );
    let ago = steps[0]["details"]["last_heard_ago_ms"].as_u64();
    // 900 ms and Skew_Time; the rest is the machine's.
    assert!(
        ago.is_some_and(|ago| (900..30_000).contains(&ago)),
        "{ago:?}"
    );
    assert_eq!(steps[1]["reason"], "no-response");
    let times: Vec<u64> = steps
        .iter()
        .filter_map(|one| one["monotonic_us"].as_u64())
        .collect();
    assert!(times.len() == 4 && times.is_sorted(), "{times:?}");
    // For people: the last advertisement begins it, and spans stand between.
    let shown = second.ask(&["events", "web"]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    let last = format!("the last advertisement of {}", a.v4());
    let mut from = 0;
    for step in [
        &last,
        "no advertisement of",
        "-> active (no-response)",
        "addresses held",
    ] {
        let found = shown[from..].find(step);
        from += found.unwrap_or_else(|| panic!("no `{step}` in its place in:\n{shown}"));
    }
    assert!(shown.contains(" ms  web "), "{shown}");
}

fn restarts() {
    let lab = Lab::new();
    let a = lab.host("a");
    let routers = [Router::new(200)];
    let mut agent = lab.agent(&a, &routers);
    a.watch.wait(agent.started, vip(), true, LONG);
    agent.signal(Signal::SIGTERM);
    agent.process.wait_exit(LONG);
    let state = lab.place("a", "state");
    let before = written(&state);
    assert!(find(&before, "agent-stopped", |_| true).is_some());

    // Torn by a loss of power.
    let file = state.join("events.log");
    let bytes = std::fs::read(&file).expect("the history");
    std::fs::write(&file, &bytes[..bytes.len() - 20]).expect("a torn history");
    let mut agent = lab.agent(&a, &routers);
    a.watch.wait(agent.started, vip(), true, LONG);
    wait_until("the second claim", LONG, || {
        find(&events(&agent), "transition", |one| {
            one["run"] == 2 && one["details"]["to"] == "active"
        })
        .is_some()
    });
    let told = events(&agent);
    assert_eq!(told[..before.len() - 1], before[..before.len() - 1]);
    assert!(ids(&told).is_sorted_by(|a, b| a < b), "{:?}", ids(&told));
    let damaged = find(&told, "history-damaged", |one| one["details"]["lines"] == 1);
    assert!(damaged.is_some(), "{told:#?}");

    agent.process.kill();
    let agent = lab.agent(&a, &routers);
    let started = |one: &Value| one["run"] == 3 && one["details"]["after_death"] == true;
    wait_until("a start after a death", LONG, || {
        find(&events(&agent), "agent-started", started).is_some()
    });
}

fn follow() {
    let lab = Lab::new();
    let a = lab.host("a");
    let routers = [Router::new(200)];
    let mut agent = lab.agent(&a, &routers);
    a.watch.wait(agent.started, vip(), true, LONG);
    let mut command = Command::new(program().path);
    command.args(["events", "--json", "--follow", "-n", "4096"]);
    command.arg("--runtime-dir").arg(&agent.runtime);
    let follower = Process::start("follower", command, lab.directory.path());
    let seen = || lines(follower.log().as_bytes());
    wait_until("the past", LONG, || {
        find(&seen(), "announced", |_| true).is_some()
    });
    agent.signal(Signal::SIGTERM);
    agent.process.wait_exit(LONG);
    let agent = lab.agent(&a, &routers);
    wait_until("the second run", LONG, || {
        find(&seen(), "announced", |one| one["run"] == 2).is_some()
    });
    // Nothing twice, nothing left out.
    let told = seen();
    let newest = ids(&told).last().copied().unwrap_or_default();
    let all = events(&agent).into_iter();
    let all: Vec<Value> = all
        .filter(|one| one["id"].as_u64() <= Some(newest))
        .collect();
    assert_eq!(ids(&told), ids(&all));
}

/// `status --watch` in a terminal: it shows what is, says when the agent is
/// away, goes on when it is back, and gives the terminal back when it is ended.
fn watched() {
    const TAKEN: &str = "\u{1b}[?1049h";
    const GIVEN_BACK: &str = "\u{1b}[?1049l";
    let lab = Lab::new();
    let a = lab.host("a");
    let routers = [Router::new(200)];
    let mut agent = lab.agent(&a, &routers);
    a.watch.wait(agent.started, vip(), true, LONG);
    let view = format!(
        "echo PID $$; stty rows 24 cols 80; exec {} status --watch --runtime-dir {}",
        program().path.display(),
        agent.runtime.display()
    );
    let mut command = tools::script().expect("it is there").command();
    command.args(["-qefc", &view, "/dev/null"]);
    let mut terminal = Process::start("terminal", command, lab.directory.path());
    let wait = |what: &str, terminal: &Process| {
        wait_until(what, LONG, || terminal.log().contains(what));
    };
    wait("-> active (no-response)", &terminal);
    assert!(terminal.log().contains(TAKEN) && !terminal.log().contains(GIVEN_BACK));
    agent.signal(Signal::SIGTERM);
    agent.process.wait_exit(LONG);
    wait("NO ANSWER", &terminal);
    let agent = lab.agent(&a, &routers);
    agent.wait_state("web", "active", LONG);
    let again = || terminal.log().matches(" started, with 1 instance").count();
    wait_until("the second start on the screen", LONG, || again() >= 2);
    let log = terminal.log();
    let pid = log
        .lines()
        .find_map(|line| line.trim().strip_prefix("PID "));
    let pid = pid
        .and_then(|pid| pid.parse().ok())
        .expect("its process id");
    kill(Pid::from_raw(pid), Signal::SIGTERM).expect("it runs");
    terminal.wait_exit(LONG);
    let log = terminal.log();
    let taken = log.rfind(TAKEN).expect("it was taken");
    let given_back = log
        .rfind(GIVEN_BACK)
        .unwrap_or_else(|| panic!("never: {log}"));
    assert!(given_back > taken && log[given_back..].len() < 20, "{log}");
}

/// A file system of 64 KiB that is full to the last byte.
fn full_disk() {
    let lab = Lab::new();
    let a = lab.host("a");
    let state = lab.place("a", "state");
    std::fs::create_dir_all(&state).expect("a directory");
    let mount = |arguments: &[&str]| {
        let status = Command::new("mount").args(arguments).arg(&state).status();
        assert!(status.expect("mount runs").success());
    };
    mount(&["-t", "tmpfs", "-o", "size=64k", "none"]);
    let filler = state.join("filler");
    let full = std::fs::write(&filler, vec![0; 128 * 1024]);
    assert!(full.is_err(), "it has no room");
    let mut agent = lab.agent(&a, &[Router::new(200)]);
    a.watch.wait(agent.started, vip(), true, LONG);
    wait_until("that it is told", LONG, || {
        find(&events(&agent), "history-unwritten", |_| true).is_some()
    });
    let log = agent.process.log();
    assert!(log.contains("No space left on device"), "{log}");
    assert_eq!(log.matches("events cannot be written").count(), 1, "{log}");
    std::fs::remove_file(&filler).expect("room again");
    wait_until("that it is over", LONG, || {
        find(&events(&agent), "history-written", |_| true).is_some()
    });
    agent.signal(Signal::SIGTERM);
    agent.process.wait_exit(Duration::from_secs(20));
    let kept = written(&state);
    let whole = Command::new("umount").arg("-l").arg(&state).status();
    assert!(whole.expect("umount runs").success());
    assert_eq!(ids(&kept).first(), Some(&1), "none is lost: {kept:#?}");
    let kept_ids = ids(&kept);
    assert!(
        kept_ids.windows(2).all(|pair| pair[0] + 1 == pair[1]),
        "{kept_ids:?}"
    );
}
