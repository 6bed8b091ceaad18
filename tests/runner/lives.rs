//! The runner and the agent, each outliving the other.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use vipward::agent::jobs::{HookKind, Verdict};

use crate::Test;
use crate::host::{Host, is_alive, of_group, wait, wait_until};

pub const TESTS: &[Test] = &[
    (
        "lives::a_killed_runner_is_started_again",
        a_killed_runner_is_started_again,
    ),
    ("lives::a_frozen_runner_is_away", a_frozen_runner_is_away),
    (
        "lives::a_runner_that_is_away_costs_nothing",
        a_runner_that_is_away_costs_nothing,
    ),
    (
        "lives::the_agent_may_be_replaced",
        the_agent_may_be_replaced,
    ),
    (
        "lives::an_agent_that_dies_leaves_it_alone",
        an_agent_that_dies_leaves_it_alone,
    ),
    (
        "lives::a_hook_waits_for_the_runner",
        a_hook_waits_for_the_runner,
    ),
    ("lives::told_to_stop", told_to_stop),
    ("lives::told_twice_to_stop", told_twice_to_stop),
    (
        "lives::there_is_one_in_each_directory",
        there_is_one_in_each_directory,
    ),
    (
        "lives::a_bad_file_changes_nothing",
        a_bad_file_changes_nothing,
    ),
    ("lives::no_file_at_the_start", no_file_at_the_start),
];

fn pid(output: &str) -> i32 {
    output.parse().expect("a pid")
}

fn a_killed_runner_is_started_again() {
    let mut host = Host::new();
    host.check("parent", 5000, "echo $PPID").check(
        "hung",
        60_000,
        "echo $$ > $SHARED/hung; exec sleep 1000",
    );
    host.save();
    let mut agent = host.agent(true);
    // At the start a job waits for the runner, instead of being turned away.
    let first = agent.check("parent");
    assert_eq!(first.verdict, Verdict::Passed);
    let first = pid(&first.output);
    // It has a session of its own, so that no signal to ours reaches it.
    assert_eq!(of_group(first).first(), Some(&first));

    let hung = agent.order_check("hung");
    let hung_pid = wait("the hung check", || {
        let text = fs::read_to_string(host.shared().join("hung")).ok()?;
        text.strip_suffix('\n').map(pid)
    });
    kill(Pid::from_raw(first), Signal::SIGKILL).unwrap();
    match agent.result(hung).verdict {
        Verdict::NotRun(why) => assert!(why.contains("the runner went away"), "{why}"),
        other => panic!("{other:?}"),
    }
    wait_until("the end of the hung check", || !is_alive(hung_pid));
    let second = agent.check_until_run("parent");
    assert_eq!(second.verdict, Verdict::Passed);
    let second = pid(&second.output);
    assert_ne!(first, second);
    // On purpose: it need not wait for another agent.
    let ends = Instant::now();
    agent.end();
    wait_until("the end of the runner", || !is_alive(second));
    assert!(ends.elapsed() < Duration::from_secs(5));
}

fn a_frozen_runner_is_away() {
    let mut host = Host::new();
    host.check("good", 5000, "exit 0").run();
    let mut agent = host.agent(false);
    assert_eq!(agent.check("good").verdict, Verdict::Passed);
    host.signal(Signal::SIGSTOP);
    let job = agent.order_check("good");
    match agent.result(job).verdict {
        Verdict::NotRun(why) => assert!(why.contains("it does not answer"), "{why}"),
        other => panic!("{other:?}"),
    }
    host.signal(Signal::SIGCONT);
    assert_eq!(agent.check_until_run("good").verdict, Verdict::Passed);
}

fn a_runner_that_is_away_costs_nothing() {
    let host = Host::new();
    let mut agent = host.agent(false);
    // The first waits a moment for a runner that may be starting.
    agent.check("good");
    let started = Instant::now();
    for _ in 0..200 {
        match agent.check("good").verdict {
            Verdict::NotRun(why) => assert!(why.contains("the runner is away"), "{why}"),
            other => panic!("{other:?}"),
        }
    }
    let took = started.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert!(agent.reload().unwrap_err().contains("the runner is away"));
    // Results that nobody reads do not hold the agent's end up.
    for _ in 0..500 {
        agent.order_check("good");
    }
    let ends = Instant::now();
    agent.end();
    assert!(ends.elapsed() < Duration::from_secs(2));
}

fn the_agent_may_be_replaced() {
    let mut host = Host::new();
    let slow = host.write(
        "slow",
        "echo begin >> $SHARED/log; sleep 1; echo end >> $SHARED/log",
    );
    let quick = host.write("quick", "echo quick >> $SHARED/log");
    host.hook("web", HookKind::Change, 5000, &slow);
    host.hook("web", HookKind::Backup, 5000, &quick);
    host.check("parent", 5000, "echo $PPID").run();
    let log = || fs::read_to_string(host.shared().join("log")).unwrap_or_default();
    let mut first = host.agent(false);
    first.check_until_run("parent");
    // Ordered by one that ends at once: it must be run nevertheless.
    first.order_hook("web", HookKind::Change);
    first.end();
    let mut second = host.agent(false);
    let hook = second.order_hook("web", HookKind::Backup);
    let parent = second.check_until_run("parent").output;
    assert_eq!(pid(&parent), host.runner_pid());
    assert_eq!(second.result(hook).verdict, Verdict::Passed);
    assert_eq!(log(), "begin\nend\nquick\n");
}

fn an_agent_that_dies_leaves_it_alone() {
    let mut host = Host::new();
    host.alone(1500);
    let exe = std::env::current_exe().unwrap();
    host.run_with(Command::new(exe), &["--started-by-agent"]);
    let connected = Instant::now();
    let wire = host.wire();
    while connected.elapsed() < Duration::from_secs(2) {
        assert!(host.is_running(), "it ended under its agent");
        std::thread::sleep(Duration::from_millis(50));
    }
    // Without a goodbye.
    drop(wire);
    let lost = Instant::now();
    assert!(host.ended().success());
    let alone = lost.elapsed();
    assert!(alone >= Duration::from_millis(1400), "{alone:?}");
    assert!(alone < Duration::from_secs(5), "{alone:?}");
    assert!(host.try_connect().is_none());
}

/// A change of state that nobody is told of is worse than one told late.
fn a_hook_waits_for_the_runner() {
    let mut host = Host::new();
    let path = host.write("hook", "echo told");
    host.hook("web", HookKind::Change, 5000, &path);
    host.check("good", 5000, "exit 0").save();
    let mut agent = host.agent(false);
    // Past the patience with a runner that is just starting.
    let away = agent.check("good").verdict;
    assert!(matches!(away, Verdict::NotRun(_)), "{away:?}");
    let hook = agent.order_hook("web", HookKind::Change);
    host.run();
    let result = agent.result(hook);
    assert_eq!(
        (result.verdict, result.output.as_str()),
        (Verdict::Passed, "told")
    );

    host.signal(Signal::SIGKILL);
    wait_until("it to be missed", || {
        matches!(agent.check("good").verdict, Verdict::NotRun(_))
    });
    // Not for ever.
    let ordered = Instant::now();
    let hook = agent.order_hook("web", HookKind::Change);
    match agent.result(hook).verdict {
        Verdict::NotRun(why) => assert!(why.contains("the runner is away"), "{why}"),
        other => panic!("{other:?}"),
    }
    let waited = ordered.elapsed();
    assert!(waited >= Duration::from_secs(4), "{waited:?}");
    assert!(waited < Duration::from_secs(8), "{waited:?}");
}

fn told_to_stop() {
    let mut host = Host::new();
    host.check("hung", 60_000, "echo $$ > $SHARED/hung; exec sleep 1000");
    let body = "echo run > $SHARED/hook; sleep 1.5; echo done";
    let path = host.write("hook", body);
    host.hook("web", HookKind::Backup, 60_000, &path);
    let other = host.write("other", "exit 0");
    host.hook("db", HookKind::Backup, 60_000, &other);
    host.check("quick", 5000, "exit 0").run();
    let asked = Instant::now();
    let mut wire = host.wire();
    wire.order_check(1, "hung");
    wire.order_hook(2, "web", "backup");
    // Waits for the other, and is to be run as well.
    wire.order_hook(3, "web", "backup");
    let hung = || fs::read_to_string(host.shared().join("hung")).ok();
    wait_until("both", || {
        host.shared().join("hook").exists() && hung().is_some_and(|text| text.ends_with('\n'))
    });
    let group = pid(hung().unwrap().trim());
    host.signal(Signal::SIGTERM);
    // It goes on while hooks run: a check would fail otherwise, and a change
    // be told to nobody.
    while asked.elapsed() < Duration::from_secs(1) {
        assert_eq!(wire.check("quick").verdict(), "passed");
        wire.order_hook(4, "db", "backup");
        assert_eq!(wire.done(4).verdict(), "passed");
    }
    for id in [2, 3] {
        let hook = wire.done(id);
        assert_eq!((hook.verdict().as_str(), hook.output()), ("passed", "done"));
    }
    let check = wire.done(1).verdict();
    assert_eq!(check, "not_run: it was ended: the runner is stopping");
    assert!(wire.receive().is_none());
    assert!(host.ended().success());
    assert!(of_group(group).is_empty());
    assert!(!vipward::runner::socket_path(&host.runtime_dir()).exists());
}

fn told_twice_to_stop() {
    let mut host = Host::new();
    let path = host.write(
        "hook",
        "echo $$ > $SHARED/hook; echo $$; trap '' TERM; sleep 1000",
    );
    host.hook("web", HookKind::Backup, 60_000, &path);
    host.run();
    let mut wire = host.wire();
    wire.order_hook(1, "web", "backup");
    wait_until("the hook", || {
        fs::read_to_string(host.shared().join("hook")).is_ok_and(|text| text.ends_with('\n'))
    });
    let told = Instant::now();
    // The second may come before the first was taken; the third does not.
    for _ in 0..3 {
        host.signal(Signal::SIGTERM);
        std::thread::sleep(Duration::from_millis(300));
    }
    let hook = wire.done(1);
    assert_eq!(hook.verdict(), "timed_out");
    assert!(told.elapsed() < Duration::from_secs(4));
    assert!(host.ended().success());
    assert!(of_group(pid(hook.output())).is_empty());
}

fn there_is_one_in_each_directory() {
    let mut host = Host::new();
    host.check("parent", 5000, "echo $PPID").run();
    let mut second = Command::new(std::env::current_exe().unwrap());
    second.args(["runner", "--config"]).arg(host.config());
    let outcome = second
        .arg("--runtime-dir")
        .arg(host.runtime_dir())
        .output()
        .unwrap();
    assert!(!outcome.status.success());
    let said = String::from_utf8(outcome.stderr).unwrap();
    assert!(said.starts_with("another runner serves "), "{said}");
    assert_eq!(pid(host.wire().check("parent").output()), host.runner_pid());

    // What a killed one left is replaced.
    host.signal(Signal::SIGKILL);
    host.ended();
    assert!(vipward::runner::socket_path(&host.runtime_dir()).exists());
    host.run();
    assert_eq!(pid(host.wire().check("parent").output()), host.runner_pid());
}

fn a_bad_file_changes_nothing() {
    let mut host = Host::new();
    host.check("old", 5000, "exit 0").run();
    let mut agent = host.agent(false);
    assert_eq!(agent.check_until_run("old").verdict, Verdict::Passed);
    fs::write(host.config(), "{ not json").unwrap();
    let refused = agent.reload().unwrap_err();
    assert!(refused.contains("line 1"), "{refused}");
    assert_eq!(agent.check("old").verdict, Verdict::Passed);

    host.check("new", 5000, "exit 0").save();
    assert!(matches!(agent.check("new").verdict, Verdict::Refused(_)));
    agent.reload().unwrap();
    assert_eq!(agent.check("new").verdict, Verdict::Passed);

    // What the agent has read is something else.
    agent.expect("0123456789abcdef");
    let told = agent.reload().unwrap_err();
    assert!(told.contains("has read other scripts"), "{told}");
    let theirs = told.split(['(', ')']).nth(1).expect("its digest");
    agent.expect(theirs);
    agent.reload().unwrap();

    // An agent that was replaced along with the file does not say so.
    host.check("newer", 5000, "exit 0").save();
    agent.end();
    let mut agent = host.agent(false);
    assert_eq!(agent.check_until_run("newer").verdict, Verdict::Passed);
    // Nor need it, where somebody tells the runner itself.
    host.check("newest", 5000, "exit 0").save();
    host.signal(Signal::SIGHUP);
    wait_until("the newest", || {
        agent.check("newest").verdict == Verdict::Passed
    });
}

fn no_file_at_the_start() {
    let mut host = Host::new();
    host.check("good", 5000, "exit 0").run();
    fs::remove_file(host.config()).unwrap();
    host.signal(Signal::SIGTERM);
    host.ended();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["runner", "--config"]).arg(host.path("none"));
    host.run_with(command, &[]);
    let mut wire = host.wire();
    let said = wire.reload().unwrap();
    assert!(said.contains("No such file"), "{said}");
    let verdict = wire.check("good").verdict();
    assert!(
        verdict.starts_with("not_run: the runner has no configuration"),
        "{verdict}"
    );
}
