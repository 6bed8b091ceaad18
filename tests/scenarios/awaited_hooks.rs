//! Hooks that are awaited: before the addresses, before a claim, before a
//! planned release.

use std::time::Duration;

use vipward::agent::jobs::{HookKind, Job, JobResult, Task, Verdict};
use vipward::agent::settings::{InstanceSettings, Preempt, Settings};
use vipward::agent::status::StateName;
use vipward::agent::values::Vrid;

use crate::kit::host::Input;
use crate::kit::*;

pub const ACTIVE: StateName = StateName::Active;
pub const BACKUP: StateName = StateName::Backup;
pub const FAULT: StateName = StateName::Fault;

pub fn hooked(value: u8, hooks: &[HookKind]) -> InstanceSettings {
    let mut settings = web(value);
    settings.hooks = hooks.iter().map(|hook| (*hook, secs(10))).collect();
    settings
}

pub const PROMOTE: &[HookKind] = &[HookKind::BeforeActive];
pub const DEMOTE: &[HookKind] = &[HookKind::BeforeRelease];

pub fn kind(job: &Job) -> HookKind {
    match &job.task {
        Task::Hook(call) => call.hook,
        Task::Check(name) => panic!("{name} is no hook"),
    }
}

/// The hooks that were ordered since the mark.
fn ordered(lab: &Lab, host: HostId) -> Vec<(Duration, HookKind)> {
    let jobs = lab.started(host).into_iter();
    jobs.map(|(at, job)| (at, kind(&job))).collect()
}

/// Answers the last order.
pub fn answer(lab: &mut Lab, host: HostId, verdict: Verdict) {
    let job = lab.at(host).started.last().expect("an order").id;
    let result = JobResult {
        verdict,
        duration: ms(4),
        output: String::new(),
    };
    lab.feed(host, Input::Done { job, result });
}

pub fn failed() -> Verdict {
    Verdict::Failed("exit code 1".to_owned())
}

fn alone(hooks: &[HookKind]) -> (Lab, HostId) {
    let mut lab = Lab::new();
    let a = lab.host(vec![hooked(150, hooks)]);
    lab.start(a);
    (lab, a)
}

#[test]
fn with_nobody_active_it_advertises_at_once_and_the_addresses_wait() {
    let (mut lab, a) = alone(PROMOTE);
    lab.mark();
    lab.run(secs(6));
    assert_eq!(lab.state(a), ACTIVE);
    assert_eq!(lab.sent(a)[0], (adi(150), 150));
    assert_eq!(ordered(&lab, a), [(adi(150), HookKind::BeforeActive)]);
    assert!(lab.sent(a).len() >= 3, "it goes on advertising");
    assert_eq!(lab.holds(a, WEB), None);
    assert!(lab.announced(a, WEB).is_empty());
    let status = lab.status(a);
    assert!(!status.addresses[0].held);
    assert_eq!(status.obstacles[0].code, "before-active");
    answer(&mut lab, a, Verdict::Passed);
    lab.mark();
    lab.run(ms(10));
    assert!(lab.holds(a, WEB).is_some());
    assert_eq!(lab.announced(a, WEB).len(), 1);
    assert_eq!(lab.obstacles(a), [""; 0]);
}

#[test]
fn its_failure_resigns_and_is_tried_again_after_a_growing_pause() {
    let (mut lab, a) = alone(PROMOTE);
    let mut claims = Vec::new();
    for _ in 0..4 {
        lab.mark();
        lab.run_until(a, ACTIVE, secs(70));
        claims.push(lab.elapsed());
        answer(&mut lab, a, failed());
        assert_eq!(lab.state(a), FAULT);
        assert_eq!(lab.sent(a).last().map(|(_, priority)| *priority), Some(0));
        let status = lab.status(a);
        assert_eq!(status.obstacles[0].code, "before-active");
        assert!(status.obstacles[0].text.contains("exit code 1"));
    }
    assert_eq!(lab.holds(a, WEB), None);
    let down = adi(150);
    let expected = [down, secs(1) + down, secs(2) + down, secs(4) + down];
    assert_eq!(claims, expected);
    lab.run_until(a, ACTIVE, secs(70));
    answer(&mut lab, a, Verdict::Passed);
    lab.run(ms(10));
    assert!(lab.holds(a, WEB).is_some());
    assert_eq!(lab.obstacles(a), [""; 0]);
}

/// Whoever answers for hooks is gone in the middle.
#[test]
fn one_that_is_never_answered_has_failed() {
    let (mut lab, a) = alone(PROMOTE);
    lab.run_until(a, ACTIVE, secs(5));
    lab.run(ms(10_990));
    assert_eq!(lab.state(a), ACTIVE);
    lab.run(ms(20));
    assert_eq!(lab.state(a), FAULT);
    // It ends after all: nobody listens any more.
    answer(&mut lab, a, Verdict::Passed);
    lab.run(ms(10));
    assert_eq!((lab.state(a), lab.holds(a, WEB)), (FAULT, None));
}

/// A holds the address, B is better and has a hook.
fn preempting(preempt: Preempt) -> (Lab, HostId, HostId) {
    let mut lab = Lab::new();
    let a = lab.host(vec![web(100)]);
    let mut better = hooked(150, PROMOTE);
    better.preempt = preempt;
    let b = lab.host(vec![better]);
    lab.start(a);
    lab.run(secs(10));
    lab.start(b);
    lab.mark();
    while ordered(&lab, b).is_empty() {
        assert!(lab.step(), "it prepares to preempt");
    }
    (lab, a, b)
}

#[test]
fn a_live_active_is_preempted_after_the_hook_has_succeeded() {
    for preempt in [Preempt::Immediately, Preempt::After(secs(7))] {
        let (mut lab, a, b) = preempting(preempt);
        lab.run(secs(5));
        assert_eq!((lab.state(a), lab.state(b)), (ACTIVE, BACKUP));
        assert_eq!(lab.sent(b), []);
        lab.mark();
        answer(&mut lab, b, Verdict::Passed);
        assert_eq!(lab.sent(b), [(ms(0), 150)], "in the turn of the answer");
        lab.run(ms(10));
        assert_eq!((lab.state(a), lab.state(b)), (BACKUP, ACTIVE));
        assert!(lab.holds(b, WEB).is_some());
        assert_eq!(ordered(&lab, b), [], "once for the whole takeover");
    }
}

#[test]
fn a_failure_leaves_the_incumbent_untouched() {
    for preempt in [Preempt::Immediately, Preempt::After(secs(7))] {
        let (mut lab, a, b) = preempting(preempt);
        let mut tries = Vec::new();
        for _ in 0..5 {
            lab.mark();
            answer(&mut lab, b, failed());
            assert_eq!(lab.obstacles(b), ["before-active"]);
            while ordered(&lab, b).is_empty() {
                assert!(lab.step(), "it tries again");
            }
            tries.push(lab.elapsed());
            assert_eq!((lab.state(a), lab.state(b)), (ACTIVE, BACKUP));
            assert_eq!((lab.sent(b), lab.removed(a)), (Vec::new(), Vec::new()));
        }
        assert_eq!(tries, [1, 2, 4, 8, 16].map(secs));
    }
}

/// Nobody is Active any more: the hook no longer stands before the claim.
#[test]
fn an_incumbent_that_dies_meanwhile_is_followed_at_once() {
    let (mut lab, a, b) = preempting(Preempt::Immediately);
    lab.run(secs(2));
    lab.power_off(a);
    lab.mark();
    lab.run(secs(4));
    let (at, priority) = lab.sent(b)[0];
    assert_eq!(priority, 150);
    assert!(at <= adi(150), "{at:?}");
    assert_eq!(lab.holds(b, WEB), None);
    assert_eq!(ordered(&lab, b), [], "the same run goes on");
    answer(&mut lab, b, Verdict::Passed);
    lab.run(ms(10));
    assert!(lab.holds(b, WEB).is_some());
}

/// It gave up for that; what it prepared meanwhile is the next try.
#[test]
fn one_that_could_not_send_claims_when_its_hook_has_succeeded() {
    let (mut lab, a, b) = preempting(Preempt::Immediately);
    answer(&mut lab, b, Verdict::Passed);
    lab.run(secs(1));
    assert_eq!((lab.state(a), lab.state(b)), (BACKUP, ACTIVE));
    lab.at_mut(b).kernel.refuse_send = Some("Operation not permitted".to_owned());
    lab.mark();
    while ordered(&lab, b).is_empty() {
        assert!(lab.elapsed() < secs(20), "it prepares to preempt");
        lab.step();
    }
    assert_eq!((lab.state(a), lab.state(b)), (ACTIVE, BACKUP));
    lab.at_mut(b).kernel.refuse_send = None;
    lab.run(ms(500));
    answer(&mut lab, b, Verdict::Passed);
    lab.run(secs(5));
    assert_eq!((lab.state(a), lab.state(b)), (BACKUP, ACTIVE));
}

#[test]
fn an_incumbent_that_resigns_in_the_pause_is_followed_at_once() {
    let (mut lab, a, b) = preempting(Preempt::Immediately);
    for _ in 0..6 {
        answer(&mut lab, b, failed());
        lab.mark();
        while ordered(&lab, b).is_empty() {
            assert!(lab.step());
        }
    }
    answer(&mut lab, b, failed());
    lab.mark();
    lab.run(secs(3));
    lab.stop(a);
    lab.mark();
    lab.run(secs(2));
    assert_eq!(lab.sent(b)[0], (ms(1) + skew(150), 150));
    assert_eq!(lab.state(b), ACTIVE);
}

/// A better one comes first: what the hook did is undone by `backup`.
#[test]
fn one_that_is_overtaken_does_not_claim_and_says_so_to_its_hooks() {
    let mut lab = Lab::new();
    let a = lab.host(vec![web(100)]);
    let b = lab.host(vec![hooked(
        150,
        &[HookKind::BeforeActive, HookKind::Backup],
    )]);
    let c = lab.host(vec![web(200)]);
    lab.start(a);
    lab.run(secs(10));
    lab.start(b);
    lab.run(ms(10));
    answer(&mut lab, b, Verdict::Passed);
    lab.mark();
    while ordered(&lab, b).is_empty() {
        assert!(lab.step());
    }
    lab.start(c);
    lab.run(secs(5));
    assert_eq!((lab.state(b), lab.state(c)), (BACKUP, ACTIVE));
    lab.mark();
    answer(&mut lab, b, Verdict::Passed);
    lab.run(secs(5));
    assert_eq!(lab.sent(b), []);
    assert_eq!(ordered(&lab, b), [(ms(0), HookKind::Backup)]);
}

#[test]
fn an_obstacle_while_it_runs_resigns_and_awaits_nothing() {
    let (mut lab, a) = alone(PROMOTE);
    lab.run_until(a, ACTIVE, secs(5));
    lab.mark();
    lab.link(a, "eth0", false);
    lab.run(ms(10));
    assert_eq!(lab.state(a), FAULT);
    answer(&mut lab, a, Verdict::Passed);
    lab.run(ms(10));
    assert_eq!(lab.holds(a, WEB), None);
}

#[test]
fn a_stop_while_it_runs_waits_for_nothing() {
    let (mut lab, a) = alone(PROMOTE);
    lab.run_until(a, ACTIVE, secs(5));
    lab.mark();
    lab.stop(a);
    assert_eq!(lab.sent(a), [(ms(0), 0)]);
    lab.run(ms(10));
    assert!(lab.is_finished(a));
}

fn reload(lab: &mut Lab, host: HostId, bend: impl FnOnce(&mut Settings)) {
    let mut settings = lab.at(host).settings.clone();
    bend(&mut settings);
    lab.at_mut(host).settings = settings.clone();
    lab.feed(host, Input::Reload(Box::new(settings)));
}

#[test]
fn a_reload_that_takes_the_hook_away_frees_the_addresses() {
    let (mut lab, a) = alone(PROMOTE);
    lab.run_until(a, ACTIVE, secs(5));
    reload(&mut lab, a, |settings| settings.instances[0].hooks.clear());
    lab.run(ms(10));
    assert!(lab.holds(a, WEB).is_some());
    answer(&mut lab, a, failed());
    lab.run(secs(5));
    assert_eq!(lab.state(a), ACTIVE);
}

#[test]
fn a_reload_that_brings_the_hook_takes_nothing_away() {
    let (mut lab, a) = alone(&[]);
    lab.run(secs(5));
    reload(&mut lab, a, |settings| {
        settings.instances[0] = hooked(150, PROMOTE);
    });
    lab.mark();
    lab.run(secs(5));
    assert!(lab.holds(a, WEB).is_some());
    assert_eq!((ordered(&lab, a), lab.removed(a)), (Vec::new(), Vec::new()));
}

#[test]
fn a_reload_ends_the_pause() {
    let (mut lab, a) = alone(PROMOTE);
    for _ in 0..6 {
        lab.run_until(a, ACTIVE, secs(70));
        answer(&mut lab, a, failed());
    }
    reload(&mut lab, a, |_| {});
    assert_eq!(lab.run_until(a, ACTIVE, secs(70)), adi(150));
}

fn active_with(hooks: &[HookKind]) -> (Lab, HostId) {
    let (mut lab, a) = alone(hooks);
    lab.run(secs(10));
    assert_eq!(lab.state(a), ACTIVE);
    lab.mark();
    (lab, a)
}

#[test]
fn a_stop_runs_before_release_while_still_active() {
    let (mut lab, a) = active_with(DEMOTE);
    lab.stop(a);
    lab.run(secs(5));
    assert_eq!(ordered(&lab, a), [(ms(0), HookKind::BeforeRelease)]);
    assert_eq!(lab.state(a), ACTIVE);
    assert!(lab.sent(a).len() >= 4 && lab.sent(a).iter().all(|(_, p)| *p == 150));
    assert!(lab.holds(a, WEB).is_some() && !lab.is_finished(a));
    lab.mark();
    answer(&mut lab, a, Verdict::Passed);
    assert_eq!(lab.sent(a), [(ms(0), 0)]);
    lab.run(ms(900));
    assert!(lab.holds(a, WEB).is_some(), "it answers until relieved");
    lab.run(ms(200));
    assert!(lab.is_finished(a));
}

fn says_that_it_goes_on(fact: &vipward::agent::report::Fact) -> bool {
    fact.to_string().ends_with("; the release goes on")
}

#[test]
fn its_failure_is_told_and_the_release_goes_on() {
    for verdict in [
        failed(),
        Verdict::TimedOut,
        Verdict::NotRun("gone".to_owned()),
    ] {
        let (mut lab, a) = active_with(DEMOTE);
        lab.stop(a);
        lab.run(ms(100));
        answer(&mut lab, a, verdict);
        assert_eq!(lab.sent(a).last(), Some(&(ms(100), 0)));
        assert_eq!(lab.count_facts(a, says_that_it_goes_on), 1);
    }
}

#[test]
fn without_an_answer_the_release_goes_on_in_time() {
    let (mut lab, a) = active_with(DEMOTE);
    lab.stop(a);
    lab.run(ms(11_100));
    assert_eq!(lab.sent(a).last(), Some(&(secs(11), 0)));
    assert_eq!(lab.count_facts(a, says_that_it_goes_on), 1);
    lab.run(secs(2));
    assert!(lab.is_finished(a));
}

#[test]
fn a_fault_meanwhile_awaits_nothing() {
    let (mut lab, a) = active_with(DEMOTE);
    lab.stop(a);
    lab.link(a, "eth0", false);
    lab.run(ms(10));
    assert_eq!(lab.holds(a, WEB), None);
    lab.run(secs(12));
    assert!(lab.is_finished(a));
}

#[test]
fn a_fault_runs_no_before_release() {
    let (mut lab, a) = active_with(DEMOTE);
    lab.link(a, "eth0", false);
    lab.run(secs(5));
    assert_eq!(ordered(&lab, a), []);
}

#[test]
fn a_second_stop_waits_no_longer() {
    let (mut lab, a) = active_with(DEMOTE);
    lab.stop(a);
    lab.run(secs(1));
    lab.mark();
    lab.stop_now(a);
    assert_eq!(lab.sent(a), [(ms(0), 0)]);
    lab.run(ms(10));
    assert_eq!(lab.holds(a, WEB), None);
}

#[test]
fn a_better_one_that_takes_over_meanwhile_relieves_it() {
    let mut lab = Lab::new();
    let a = lab.host(vec![hooked(100, DEMOTE)]);
    let b = lab.host(vec![web(200)]);
    lab.start(a);
    lab.run(secs(5));
    lab.start(b);
    lab.run(secs(2));
    lab.stop(a);
    lab.run(secs(5));
    assert_eq!(lab.state(b), ACTIVE);
    assert_eq!(lab.holds(a, WEB), None);
    answer(&mut lab, a, Verdict::Passed);
    lab.run(ms(10));
    assert!(lab.is_finished(a));
}

#[test]
fn a_reload_that_removes_the_instance_runs_it() {
    let (mut lab, a) = active_with(DEMOTE);
    reload(&mut lab, a, |settings| {
        settings.instances[0].vrid = Vrid::new(77).expect("a VRID");
        settings.instances[0].addresses = vec![address("192.0.2.77/24")];
    });
    lab.run(secs(2));
    assert_eq!(ordered(&lab, a), [(ms(0), HookKind::BeforeRelease)]);
    assert!(lab.holds(a, WEB).is_some());
    answer(&mut lab, a, Verdict::Passed);
    lab.run(secs(2));
    assert_eq!(lab.holds(a, WEB), None);
}

/// A run that was given up for a fault still runs when the next claim comes:
/// the next one waits for its end, and its result means nothing.
#[test]
fn a_run_of_an_earlier_claim_counts_for_nothing() {
    let (mut lab, a) = alone(PROMOTE);
    lab.run_until(a, ACTIVE, secs(5));
    lab.link(a, "eth0", false);
    lab.run(ms(10));
    lab.link(a, "eth0", true);
    lab.run_until(a, ACTIVE, secs(5));
    lab.mark();
    answer(&mut lab, a, Verdict::Passed);
    lab.run(ms(10));
    assert_eq!(lab.holds(a, WEB), None);
    assert_eq!(ordered(&lab, a), [(ms(0), HookKind::BeforeActive)]);
    answer(&mut lab, a, Verdict::Passed);
    lab.run(ms(10));
    assert!(lab.holds(a, WEB).is_some());
}
