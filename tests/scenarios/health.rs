//! Checks and hooks: what a result does, and who is told.

use std::time::Duration;

use vipward::agent::jobs::{CheckName, HookKind, Job, JobResult, Task, Verdict};
use vipward::agent::report::{Fact, Level};
use vipward::agent::settings::{CheckSettings, CheckSource, CheckUse, InstanceSettings, OnFail};
use vipward::agent::status::{CheckState, StateName};

use crate::kit::host::Input;
use crate::kit::*;

const ACTIVE: StateName = StateName::Active;
const BACKUP: StateName = StateName::Backup;
const FAULT: StateName = StateName::Fault;

/// Every second, a second at most; up after 2, down after 3 in a row.
fn check(name: &str) -> CheckSettings {
    CheckSettings {
        name: CheckName::new(name),
        source: CheckSource::Elsewhere {
            question: name.to_owned(),
        },
        interval: secs(1),
        timeout: secs(1),
        rise: 2,
        fall: 3,
        initial: None,
        on_fail: OnFail::Fault,
    }
}

fn listening(value: u8, weight: Option<i16>) -> InstanceSettings {
    let mut settings = web(value);
    let name = CheckName::new("service");
    settings.checks = vec![CheckUse { name, weight }];
    settings
}

fn host_with(lab: &mut Lab, settings: InstanceSettings, check: CheckSettings) -> HostId {
    let host = lab.host(vec![settings]);
    lab.at_mut(host).settings.checks = vec![check];
    host
}

fn answer(lab: &mut Lab, host: HostId, verdict: Verdict) {
    let (_, job) = lab.started(host).last().expect("an order").clone();
    let result = JobResult {
        verdict,
        duration: ms(4),
        output: String::new(),
    };
    lab.feed(
        host,
        Input::Done {
            job: job.id,
            result,
        },
    );
}

fn failed() -> Verdict {
    Verdict::Failed("exit code 1".to_owned())
}

/// Runs on to the next order and answers it 5 ms after it was given.
fn next(lab: &mut Lab, host: HostId, verdict: Verdict) {
    let before = lab.started(host).len();
    while lab.started(host).len() == before {
        assert!(lab.step(), "another order is due");
    }
    lab.run(ms(5));
    answer(lab, host, verdict);
}

/// Active, with its check up since its first result.
fn active(weight: Option<i16>) -> (Lab, HostId) {
    let mut lab = Lab::new();
    let a = host_with(&mut lab, listening(150, weight), check("service"));
    lab.start(a);
    next(&mut lab, a, Verdict::Passed);
    while lab.state(a) != ACTIVE {
        next(&mut lab, a, Verdict::Passed);
    }
    lab.mark();
    (lab, a)
}

#[test]
fn until_the_first_result_the_instance_waits() {
    let mut lab = Lab::new();
    let a = host_with(&mut lab, listening(150, None), check("service"));
    lab.start(a);
    lab.run(ms(900));
    assert_eq!(lab.state(a), StateName::Initialize);
    answer(&mut lab, a, Verdict::Passed);
    assert_eq!(lab.state(a), BACKUP);
}

#[test]
fn a_first_failure_is_a_fault_at_once() {
    let mut lab = Lab::new();
    let a = host_with(&mut lab, listening(150, None), check("service"));
    lab.start(a);
    lab.run(ms(10));
    answer(&mut lab, a, failed());
    assert_eq!(lab.state(a), FAULT);
    assert_eq!(lab.sent(a), [(Duration::ZERO, 0); 0]);
}

#[test]
fn initial_up_does_not_wait() {
    let mut lab = Lab::new();
    let mut settings = check("service");
    settings.initial = Some(CheckState::Up);
    let a = host_with(&mut lab, listening(150, None), settings);
    lab.start(a);
    lab.run(ms(10));
    assert_eq!(lab.state(a), BACKUP);
}

#[test]
fn the_third_failure_in_a_row_resigns_and_releases() {
    let (mut lab, a) = active(None);
    next(&mut lab, a, failed());
    next(&mut lab, a, failed());
    next(&mut lab, a, Verdict::Passed);
    next(&mut lab, a, failed());
    next(&mut lab, a, failed());
    assert_eq!(lab.state(a), ACTIVE, "flapping below `fall`");
    lab.mark();
    next(&mut lab, a, failed());
    let now = lab.elapsed();
    assert_eq!(lab.state(a), FAULT);
    assert_eq!(lab.sent(a).last(), Some(&(now, 0)));
    assert_eq!(lab.removed(a).len(), 1);
    next(&mut lab, a, Verdict::Passed);
    assert_eq!(lab.state(a), FAULT);
    next(&mut lab, a, Verdict::Passed);
    assert_eq!(lab.state(a), BACKUP);
}

#[test]
fn with_weight_the_next_advertisement_carries_it() {
    let (mut lab, a) = active(Some(-60));
    for _ in 0..3 {
        next(&mut lab, a, failed());
    }
    assert_eq!(lab.state(a), ACTIVE);
    let told =
        |level| move |fact: &Fact| matches!(fact, Fact::Priority { .. }) && fact.level() == level;
    assert_eq!(lab.count_facts(a, told(Level::Warning)), 1);
    lab.mark();
    lab.run(secs(1));
    assert_eq!(lab.sent(a).first().map(|(_, priority)| *priority), Some(90));
    let status = lab.status(a);
    assert_eq!(status.effective_priority.get(), 90);
    assert_eq!(status.priority_terms.len(), 1);
    for _ in 0..3 {
        next(&mut lab, a, Verdict::Passed);
    }
    assert_eq!(lab.status(a).effective_priority.get(), 150);
    assert_eq!(lab.count_facts(a, told(Level::Info)), 1, "it works again");
}

#[test]
fn a_backup_waits_by_its_lowered_priority() {
    let mut lab = Lab::new();
    let a = host_with(&mut lab, listening(150, Some(-50)), check("service"));
    lab.start(a);
    lab.run(ms(10));
    answer(&mut lab, a, failed());
    lab.mark();
    while lab.state(a) != ACTIVE {
        assert!(lab.step());
    }
    // Backup since 0 s by its full priority: the claim comes by the lowered.
    assert_eq!(lab.elapsed() + ms(10), adi(100));
}

#[test]
fn one_that_is_never_answered_fails_after_another_timeout() {
    let (mut lab, a) = active(None);
    let before = lab.started(a).len();
    while lab.started(a).len() == before {
        assert!(lab.step());
    }
    lab.mark();
    lab.run(ms(1_999));
    assert_eq!(lab.state(a), ACTIVE);
    // Given up at 2 s, ordered again, given up again.
    lab.run(secs(3));
    assert_eq!(lab.state(a), FAULT);
}

#[test]
fn not_run_keeps_the_last_result_as_long_as_a_failure_takes() {
    let (mut lab, a) = active(None);
    let away = || Verdict::NotRun("the runner is away".to_owned());
    next(&mut lab, a, away());
    lab.mark();
    while lab.state(a) == ACTIVE {
        next(&mut lab, a, away());
    }
    // Three intervals, as `fall` demands.
    assert!(lab.elapsed() >= ms(3_000) && lab.elapsed() < ms(3_300));
    next(&mut lab, a, Verdict::Passed);
    next(&mut lab, a, Verdict::Passed);
    assert_eq!(lab.state(a), BACKUP);
}

#[test]
fn an_interface_check_follows_the_link() {
    let mut lab = Lab::new();
    let mut settings = check("uplink");
    settings.source = CheckSource::Interface(interface("eth1"));
    let mut web = web(150);
    let name = CheckName::new("uplink");
    web.checks = vec![CheckUse {
        name,
        weight: Some(-40),
    }];
    web.addresses.push(address("198.51.100.9/24"));
    web.addresses[1].interface = interface("eth1");
    let a = host_with(&mut lab, web, settings);
    lab.start(a);
    lab.run(secs(5));
    assert_eq!(lab.status(a).effective_priority.get(), 150);
    lab.link(a, "eth1", false);
    lab.run(ms(10));
    assert_eq!(lab.status(a).effective_priority.get(), 110);
    lab.link(a, "eth1", true);
    lab.run(ms(10));
    assert_eq!(lab.status(a).effective_priority.get(), 150);
}

fn hooked() -> (Lab, HostId) {
    let mut lab = Lab::new();
    let mut settings = web(150);
    settings.hooks = [
        HookKind::Active,
        HookKind::Backup,
        HookKind::Fault,
        HookKind::Change,
    ]
    .map(|hook| (hook, secs(10)))
    .into();
    let a = lab.host(vec![settings]);
    lab.start(a);
    (lab, a)
}

fn call(job: &Job) -> (HookKind, &'static str) {
    match &job.task {
        Task::Hook(call) => (call.hook, call.word),
        Task::Check(name) => panic!("{name} is no hook"),
    }
}

#[test]
fn hooks_run_one_at_a_time_and_the_newest_state_wins() {
    let (mut lab, a) = hooked();
    lab.run(secs(5));
    // BACKUP's first hook still runs; MASTER waits, then FAULT replaces it.
    lab.link(a, "eth0", false);
    lab.run(ms(10));
    for _ in 0..3 {
        answer(&mut lab, a, Verdict::Passed);
    }
    let calls: Vec<_> = lab.started(a).iter().map(|(_, job)| call(job)).collect();
    assert_eq!(
        calls,
        [
            (HookKind::Backup, "BACKUP"),
            (HookKind::Fault, "FAULT"),
            (HookKind::Change, "FAULT"),
        ]
    );
}

#[test]
fn a_hook_that_hangs_holds_the_next_up_for_its_timeout_only() {
    let (mut lab, a) = hooked();
    lab.run(ms(10_999));
    assert_eq!(lab.started(a).len(), 1);
    lab.run(ms(10));
    let calls: Vec<_> = lab.started(a).iter().map(|(_, job)| call(job)).collect();
    assert_eq!(calls.last(), Some(&(HookKind::Active, "MASTER")));
    assert_eq!(lab.state(a), ACTIVE, "the election does not wait");
}

#[test]
fn the_hooks_of_a_stop_are_told_when_the_addresses_go() {
    let (mut lab, a) = hooked();
    lab.run(ms(1));
    while lab.state(a) != ACTIVE {
        answer(&mut lab, a, Verdict::Passed);
        lab.run(ms(100));
    }
    for _ in 0..3 {
        answer(&mut lab, a, Verdict::Passed);
        lab.run(ms(10));
    }
    lab.mark();
    lab.stop(a);
    lab.run(ms(999));
    assert_eq!(lab.started(a), [], "it still answers");
    lab.run(ms(10));
    let calls: Vec<_> = lab.started(a).iter().map(|(_, job)| call(job)).collect();
    assert_eq!(calls, [(HookKind::Backup, "STOP")]);
}

/// Away again and again with a result in between: each time it is waited for.
#[test]
fn a_result_ends_the_time_in_which_a_check_was_not_run() {
    let (mut lab, a) = active(None);
    let away = || Verdict::NotRun("the runner is away".to_owned());
    for _ in 0..3 {
        next(&mut lab, a, away());
        next(&mut lab, a, Verdict::Passed);
        lab.run(ms(700));
    }
    assert_eq!(lab.state(a), ACTIVE);
}

/// What stands in the way of a run is told at once, and so is how many
/// results speak against the state.
#[test]
fn status_tells_of_failures_that_are_not_enough_yet() {
    let (mut lab, a) = active(None);
    next(&mut lab, a, failed());
    next(&mut lab, a, failed());
    let shown = |lab: &Lab| lab.at(a).agent.as_ref().expect("it runs").status().checks;
    assert_eq!(shown(&lab)[0].against, 2);
    next(
        &mut lab,
        a,
        Verdict::NotRun("the runner is away".to_owned()),
    );
    assert_eq!(
        shown(&lab)[0].output,
        "could not be run: the runner is away"
    );
    assert_eq!(shown(&lab)[0].against, 2, "that was no result");
    next(&mut lab, a, Verdict::Passed);
    assert_eq!((shown(&lab)[0].against, lab.state(a)), (0, ACTIVE));
}

#[test]
fn a_run_that_did_not_end_tells_what_it_was_about() {
    let (mut lab, a) = active(None);
    next(&mut lab, a, Verdict::Passed);
    let (_, job) = lab.started(a).last().expect("an order").clone();
    lab.run(secs(1));
    let (_, newer) = lab.started(a).last().expect("an order").clone();
    assert_ne!(job, newer);
    let result = JobResult {
        verdict: Verdict::TimedOut,
        duration: secs(1),
        output: "connecting to 192.0.2.80".to_owned(),
    };
    lab.feed(
        a,
        Input::Done {
            job: newer.id,
            result,
        },
    );
    let status = lab.at(a).agent.as_ref().expect("it runs").status();
    let text = "no end within 1000 ms: connecting to 192.0.2.80";
    assert_eq!(status.checks[0].output, text);
}
