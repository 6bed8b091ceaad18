//! Many scripts: how many at once, in which order, at which rate.

use std::fs;
use std::time::{Duration, Instant};

use vipward::agent::jobs::{HookKind, Verdict};

use crate::Test;
use crate::host::{Host, wait_until};

pub const TESTS: &[Test] = &[
    (
        "bounds::a_hundred_scripts_a_second",
        a_hundred_scripts_a_second,
    ),
    ("bounds::no_more_than_64_at_once", no_more_than_64_at_once),
    (
        "bounds::hung_checks_leave_room_for_hooks",
        hung_checks_leave_room_for_hooks,
    ),
    (
        "bounds::a_check_runs_once_at_a_time",
        a_check_runs_once_at_a_time,
    ),
    (
        "bounds::hooks_of_an_instance_run_in_order",
        hooks_of_an_instance_run_in_order,
    ),
    ("bounds::no_descriptor_is_lost", no_descriptor_is_lost),
];

fn a_hundred_scripts_a_second() {
    const EACH: Duration = Duration::from_millis(10);
    let mut host = Host::new();
    // Each once: on a busy machine one may take longer than a second.
    for number in 0..400 {
        host.check(&number.to_string(), 10_000, "exit 0");
    }
    host.check("first", 10_000, "exit 0").run();
    let mut agent = host.agent(false);
    agent.check_until_run("first");
    let started = Instant::now();
    let mut ids = Vec::new();
    for turn in 0_u32..400 {
        // The rate is what is tested.
        let due = started + EACH * turn;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        ids.push(agent.order_check(&turn.to_string()));
    }
    for id in ids {
        let result = agent.result(id);
        assert_eq!(result.verdict, Verdict::Passed, "{result:?}");
    }
    let took = started.elapsed();
    assert!(took < Duration::from_secs(8), "{took:?} for 4 s of checks");
}

/// More than may run and wait: the rest is answered at once, and a log of
/// starts and ends tells how many ran at the same time.
fn no_more_than_64_at_once() {
    const ORDERS: u64 = 1100;
    let mut host = Host::new();
    let body = "echo start >> $SHARED/log\n\
                until [ -e $SHARED/go ]; do sleep 0.05; done\n\
                echo end >> $SHARED/log";
    let path = host.write("hook", body);
    for number in 0..ORDERS {
        host.hook(&number.to_string(), HookKind::Active, 60_000, &path);
    }
    fs::write(host.shared().join("log"), "").unwrap();
    fs::set_permissions(
        host.shared().join("log"),
        std::os::unix::fs::PermissionsExt::from_mode(0o666),
    )
    .unwrap();
    host.run();
    let log = || fs::read_to_string(host.shared().join("log")).unwrap();
    let mut wire = host.wire();
    for number in 0..ORDERS {
        wire.order_hook(number, &number.to_string(), "active");
    }
    // Before any of them ends.
    for _ in 0..ORDERS - 1024 - 64 {
        let answer = wire.receive().expect("an answer");
        let why = &answer["verdict"]["not_run"];
        assert_eq!(why, "1024 others wait already");
    }
    wait_until("64 of them", || log().lines().count() >= 64);
    fs::write(host.shared().join("go"), "").unwrap();
    let mut passed = 0;
    for _ in 0..1024 + 64 {
        let answer = wire.receive().expect("an answer");
        if answer["verdict"] == "passed" {
            passed += 1;
        }
    }
    // Orders that came before the first had places have waited for nothing.
    assert!((1024..=1024 + 64).contains(&passed), "{passed}");
    let (mut now, mut most) = (0, 0);
    for line in log().lines() {
        now += if line == "start" { 1 } else { -1 };
        most = most.max(now);
    }
    assert_eq!(most, 64);
}

fn hung_checks_leave_room_for_hooks() {
    let mut host = Host::new();
    for number in 0..100 {
        host.check(&number.to_string(), 3000, "exec sleep 1000");
    }
    let path = host.write("hook", "exit 0");
    host.hook("web", HookKind::Fault, 5000, &path);
    host.run();
    let mut agent = host.agent(false);
    let ids: Vec<_> = (0..100)
        .map(|number| agent.order_check(&number.to_string()))
        .collect();
    let ordered = Instant::now();
    let hook = agent.order_hook("web", HookKind::Fault);
    assert_eq!(agent.result(hook).verdict, Verdict::Passed);
    let took = ordered.elapsed();
    assert!(took < Duration::from_secs(2), "the hook took {took:?}");
    let mut timed_out = 0;
    for id in ids {
        match agent.result(id).verdict {
            Verdict::TimedOut => timed_out += 1,
            // Waited for as long as it may take itself.
            Verdict::NotRun(why) => assert!(why.contains("no more than 48 checks"), "{why}"),
            other => panic!("{other:?}"),
        }
    }
    assert!(timed_out >= 48, "{timed_out}");
}

fn a_check_runs_once_at_a_time() {
    let mut host = Host::new();
    let body = "echo run >> $SHARED/runs; until [ -e $SHARED/go ]; do sleep 0.02; done";
    host.check("slow", 10_000, body).run();
    let mut wire = host.wire();
    wire.order_check(1, "slow");
    wire.order_check(2, "slow");
    assert_eq!(
        wire.done(2).verdict(),
        "not_run: the run before has not ended yet"
    );
    fs::write(host.shared().join("go"), "").unwrap();
    assert_eq!(wire.done(1).verdict(), "passed");
    assert_eq!(wire.check("slow").verdict(), "passed");
    let runs = fs::read_to_string(host.shared().join("runs")).unwrap();
    assert_eq!(runs.lines().count(), 2);
}

fn hooks_of_an_instance_run_in_order() {
    let mut host = Host::new();
    let slow = host.write(
        "slow",
        "echo begin >> $SHARED/log; sleep 0.5; echo end >> $SHARED/log",
    );
    let quick = host.write("quick", "echo quick >> $SHARED/log");
    let other = host.write("other", "exit 0");
    host.hook("web", HookKind::Active, 5000, &slow);
    host.hook("web", HookKind::Backup, 5000, &quick);
    host.hook("mail", HookKind::Backup, 5000, &other);
    host.run();
    let mut wire = host.wire();
    wire.order_hook(1, "web", "active");
    wire.order_hook(2, "web", "backup");
    wire.order_hook(3, "mail", "backup");
    // Another instance need not wait.
    for id in [3, 1, 2] {
        assert_eq!(wire.done(id).verdict(), "passed");
    }
    let log = fs::read_to_string(host.shared().join("log")).unwrap();
    assert_eq!(log, "begin\nend\nquick\n");
}

fn no_descriptor_is_lost() {
    let mut host = Host::new();
    host.check("good", 5000, "exit 0")
        .check("bad", 5000, "(sleep 1000 &) ; exit 1");
    host.check("hung", 100, "exec sleep 1000").run();
    let mut wire = host.wire();
    let count = || {
        let descriptors = format!("/proc/{}/fd", host.runner_pid());
        fs::read_dir(descriptors).unwrap().count()
    };
    wire.check("good");
    let before = count();
    for _ in 0..20 {
        assert_eq!(wire.check("good").verdict(), "passed");
        assert_eq!(wire.check("bad").verdict(), "failed: exit code 1");
        wait_until("an end of the killed", || {
            wire.check("hung").verdict() == "timed_out"
        });
    }
    // The last answer may have overtaken the closing of a pipe.
    wait_until("as many as before", || count() <= before);
}
