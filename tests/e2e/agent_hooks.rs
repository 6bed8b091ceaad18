//! Hooks: what they are told, in which order, and what becomes of those that
//! hang or fail.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use libtest_mimic::Trial;
use nix::sys::signal::Signal;

use crate::lab::agent::Agent;
use crate::lab::config::{Router, yaml};
use crate::lab::service::{Service, processes};
use crate::lab::{LONG, Lab, ms, vip, wait_until};
use crate::{Needs, trial};

pub fn trials() -> Vec<Trial> {
    let trial = |name, run: fn()| trial(name, Needs::Nothing, run);
    vec![
        trial("agent_hooks_are_told_everything", told_everything),
        trial("agent_hooks_initializing_is_backup", initializing),
        trial("agent_hooks_newest_state_wins", newest_wins),
        trial("agent_hooks_status_and_deadline", status_and_deadline),
    ]
}

const WORDS: [&str; 6] = [
    "INSTANCE",
    "STATE",
    "PREVIOUS",
    "REASON",
    "PRIORITY",
    "ADDRESSES",
];

/// One call: `active`, `backup`, `fault` or `change`, its arguments, and what
/// it found in the environment.
#[derive(Debug)]
struct Call {
    hook: String,
    arguments: String,
    environment: BTreeMap<String, String>,
}

impl Call {
    fn word(&self, name: &str) -> &str {
        let word = self.environment.get(&format!("VIPWARD_{name}"));
        word.map_or("(not set)", String::as_str)
    }
}

/// A script that writes down each call. Its first argument says which hook
/// it is, which `change` cannot do: its arguments are keepalived's.
fn recorder(lab: &Lab, log: &Path, then: &str) -> [PathBuf; 2] {
    let record = |hook: &str| {
        format!(
            "{{ echo \"call {hook} $*\"; env | grep ^VIPWARD_; }} >>{}\n{then}",
            log.display()
        )
    };
    let own = lab.script("hook", &format!("hook=$1; shift\n{}", record("$hook")));
    [own, lab.script("hook-change", &record("change"))]
}

fn hooks([own, change]: &[PathBuf; 2]) -> String {
    let (own, change) = (own.display(), change.display());
    let one = |name| format!("{name}: {{ run: [{own}, {name}, extra], user: root, timeout: 30s }}");
    let three = ["active", "backup", "fault"].map(one).join(", ");
    format!("hooks: {{ {three}, change: {{ run: [{change}], user: root, timeout: 30s }} }}")
}

fn calls(log: &Path) -> Vec<Call> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let mut calls: Vec<Call> = Vec::new();
    for line in text.lines() {
        if let Some(call) = line.strip_prefix("call ") {
            let (hook, arguments) = call.split_once(' ').unwrap_or((call, ""));
            calls.push(Call {
                hook: hook.to_owned(),
                arguments: arguments.to_owned(),
                environment: BTreeMap::new(),
            });
        } else if let (Some((name, value)), Some(call)) = (line.split_once('='), calls.last_mut()) {
            call.environment.insert(name.to_owned(), value.to_owned());
        }
    }
    calls
}

/// Waits for `count` calls that are written down whole; those from `from` on.
fn wait_calls(log: &Path, from: usize, count: usize) -> Vec<Call> {
    wait_until(&format!("{count} calls of hooks"), LONG, || {
        let all = calls(log);
        let whole = all
            .iter()
            .filter(|call| call.environment.len() >= WORDS.len());
        whole.count() >= from + count
    });
    calls(log).split_off(from)
}

fn end(mut agent: Agent) {
    agent.signal(Signal::SIGTERM);
    agent.process.wait_exit(LONG);
}

fn with_service(service: &Service, router: Router) -> String {
    let checks = service.check("service", "interval: 200ms, timeout: 5s, rise: 1, fall: 1");
    format!(
        "{}checks:\n{checks}",
        yaml("a", &[router.with("checks: [service]")])
    )
}

/// hook, arguments of `change`, STATE, PREVIOUS, REASON.
type Expected = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
);

fn assert_told(calls: &[Call], expected: &[Expected]) {
    assert_eq!(calls.len(), 2 * expected.len(), "{calls:#?}");
    for (pair, (hook, arguments, state, previous, reason)) in calls.chunks(2).zip(expected) {
        // Its own first, then `change`.
        assert_eq!(pair[0].hook, *hook, "{calls:#?}");
        assert_eq!(pair[0].arguments, "extra", "{calls:#?}");
        assert_eq!(pair[1].hook, "change", "{calls:#?}");
        assert_eq!(pair[1].arguments, *arguments, "{calls:#?}");
        for call in pair {
            let told = WORDS.map(|name| call.word(name));
            let priority = arguments.rsplit(' ').next().unwrap_or_default();
            let addresses = "192.0.2.100 2001:db8::100";
            let expected = ["web", state, previous, reason, priority, addresses];
            assert_eq!(told, expected, "{hook} in {calls:#?}");
            assert_eq!(call.environment.len(), WORDS.len(), "{calls:#?}");
        }
    }
}

fn told_everything() {
    let lab = Lab::new();
    let a = lab.host("a");
    let log = lab.directory.path().join("calls");
    let service = lab.service("web");
    let router = Router::new(200)
        .addresses(&["192.0.2.100/24", "2001:db8::100/64"])
        .with(&hooks(&recorder(&lab, &log, "exit 0")));
    let mut agent = lab.agent_with(&a, &with_service(&service, router));
    let at_start: [Expected; 2] = [
        (
            "backup",
            "INSTANCE web BACKUP 200",
            "backup",
            "initialize",
            "startup",
        ),
        (
            "active",
            "INSTANCE web MASTER 200",
            "active",
            "backup",
            "no-response",
        ),
    ];
    assert_told(&wait_calls(&log, 0, 4), &at_start);
    service.ill();
    let failed: [Expected; 1] = [(
        "fault",
        "INSTANCE web FAULT 200",
        "fault",
        "active",
        "obstacle",
    )];
    assert_told(&wait_calls(&log, 4, 2), &failed);
    service.well();
    let again: [Expected; 2] = [
        (
            "backup",
            "INSTANCE web BACKUP 200",
            "backup",
            "fault",
            "startup",
        ),
        (
            "active",
            "INSTANCE web MASTER 200",
            "active",
            "backup",
            "no-response",
        ),
    ];
    assert_told(&wait_calls(&log, 6, 4), &again);
    agent.signal(Signal::SIGTERM);
    agent.process.wait_exit(LONG);
    let stopped: [Expected; 1] = [(
        "backup",
        "INSTANCE web STOP 200",
        "initialize",
        "active",
        "shutdown",
    )];
    assert_told(&wait_calls(&log, 10, 2), &stopped);
}

/// While it listens, after the link's return, it is no FAULT, which pages
/// people.
fn initializing() {
    let lab = Lab::new();
    let a = lab.host("a");
    let log = lab.directory.path().join("calls");
    let router = Router::new(200)
        .addresses(&["192.0.2.100/24", "2001:db8::100/64"])
        .with("settle: 4s")
        .with(&hooks(&recorder(&lab, &log, "exit 0")));
    let agent = lab.agent(&a, &[router]);
    agent.wait_state("web", "active", LONG);
    let before = wait_calls(&log, 0, 4).len();
    lab.cut_carrier(&a);
    let down: [Expected; 1] = [(
        "fault",
        "INSTANCE web FAULT 200",
        "fault",
        "active",
        "obstacle",
    )];
    assert_told(&wait_calls(&log, before, 2), &down);
    lab.heal(&a);
    let listening = wait_calls(&log, before + 2, 2);
    assert_eq!(agent.state("web"), "initialize");
    let back: [Expected; 1] = [(
        "backup",
        "INSTANCE web BACKUP 200",
        "backup",
        "fault",
        "startup",
    )];
    assert_told(&listening, &back);
    // The Backup that follows is no news.
    let claimed: [Expected; 1] = [(
        "active",
        "INSTANCE web MASTER 200",
        "active",
        "backup",
        "no-response",
    )];
    assert_told(&wait_calls(&log, before + 4, 2), &claimed);
    end(agent);
}

/// The hook of the claim hangs while the service goes and comes and goes.
fn newest_wins() {
    let lab = Lab::new();
    let a = lab.host("a");
    let log = lab.directory.path().join("calls");
    let release = lab.directory.path().join("release");
    let service = lab.service("web");
    let hang = format!(
        "test \"$VIPWARD_STATE\" = active || exit 0\n\
         while ! test -e {}; do sleep 0.05; done",
        release.display()
    );
    let router = Router::new(200).with(&hooks(&recorder(&lab, &log, &hang)));
    let agent = lab.agent_with(&a, &with_service(&service, router));
    agent.wait_state("web", "active", LONG);
    let hanging = wait_calls(&log, 0, 3);
    assert_eq!(hanging[2].hook, "active", "{hanging:#?}");
    for _ in 0..2 {
        service.ill();
        agent.wait_state("web", "fault", LONG);
        service.well();
        agent.wait_state("web", "active", LONG);
    }
    service.ill();
    agent.wait_state("web", "fault", LONG);
    assert_eq!(calls(&log).len(), 3, "one overlaps: {:#?}", calls(&log));
    crate::lab::write(&release, "");
    let newest = wait_calls(&log, 3, 2);
    assert_eq!(newest[0].hook, "fault", "{newest:#?}");
    assert_eq!(newest[1].arguments, "INSTANCE web FAULT 200");
    std::thread::sleep(ms(1_000));
    assert_eq!(
        calls(&log).len(),
        5,
        "an older one came late: {:#?}",
        calls(&log)
    );
    end(agent);
}

fn status_and_deadline() {
    let lab = Lab::new();
    let a = lab.host("a");
    let fails = lab.script("fails", "echo the first line\necho the second\nexit 3");
    let hangs = lab.script(
        "hangs",
        "trap '' TERM\necho before\nsleep 86399.5 &\nsleep 86399.5",
    );
    let works = lab.script("works", "echo done");
    let hooks = format!(
        "hooks: {{ backup: {{ run: [{}], user: root }}, \
         active: {{ run: [{}], user: root, timeout: 1s }}, \
         change: {{ run: [{}], user: root }} }}",
        fails.display(),
        hangs.display(),
        works.display()
    );
    let began = Instant::now();
    let agent = lab.agent(&a, &[Router::new(200).with(&hooks)]);
    a.watch.wait(began, vip(), true, LONG);
    let hook = |name: &str| {
        let web = agent.instance("web");
        let all = web["hooks"].as_array().cloned().unwrap_or_default();
        all.into_iter().find(|one| one["hook"] == name)
    };
    wait_until("the end of the one that hangs", LONG, || {
        hook("active").is_some()
    });
    let active = hook("active").expect("it ended");
    assert_eq!(active["error"], "did not end in time; killed", "{active}");
    let took = active["duration_ms"].as_u64().unwrap_or_default();
    assert!(took >= 990, "{active}");
    let backup = hook("backup").expect("it ended before");
    assert_eq!(backup["error"], "exit code 3", "{backup}");
    assert_eq!(backup["output"], "the first line", "{backup}");
    wait_until("the one after it", LONG, || {
        hook("change").is_some_and(|change| change["error"].is_null() && change["output"] == "done")
    });
    wait_until("nothing of it is left", LONG, || {
        processes("86399.5").is_empty()
    });
    // Neither a failing nor a hanging hook touches the state.
    assert_eq!(agent.state("web"), "active");
    let log = agent.process.log();
    assert!(log.contains("exit code 3"), "{log}");
    end(agent);
}
