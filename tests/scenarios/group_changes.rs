//! Groups: what their hooks are told, and what a reload makes of them.

use rstest::rstest;
use vipward::agent::jobs::{HookKind, HookOwner, Job, JobResult, Task, Verdict};
use vipward::agent::settings::Settings;
use vipward::agent::values::Vrid;

use crate::groups::*;
use crate::kit::groups::group;
use crate::kit::host::Input;
use crate::kit::moves::handover;
use crate::kit::*;

fn told(job: &Job) -> Option<(HookKind, &'static str)> {
    match &job.task {
        Task::Hook(call) => {
            assert_eq!(call.owner.name(), "gateway");
            assert_eq!(call.owner.word(), "GROUP");
            assert!(matches!(call.owner, HookOwner::Group(_)));
            assert_eq!(call.addresses.len(), 2);
            Some((call.hook, call.word))
        }
        Task::Check(_) => None,
    }
}

#[test]
fn the_hooks_of_a_group_are_told_once() {
    let mut lab = Lab::new();
    let a = gateway(&mut lab, 150, |_| {});
    let kinds = [HookKind::Active, HookKind::Fault, HookKind::Change];
    lab.at_mut(a).settings.groups[0].hooks = kinds.map(|kind| (kind, secs(10))).into();
    lab.start(a);
    lab.mark();
    let mut calls = Vec::new();
    let settle = |lab: &mut Lab, calls: &mut Vec<_>| {
        for _ in 0..100 {
            let before = lab.at(a).started.len();
            lab.run(ms(100));
            if lab.at(a).started.len() > before || before > calls.len() {
                let job = lab.at(a).started[calls.len()].clone();
                calls.extend(told(&job));
                let result = JobResult {
                    verdict: Verdict::Passed,
                    duration: ms(4),
                    output: String::new(),
                };
                lab.feed(
                    a,
                    Input::Done {
                        job: job.id,
                        result,
                    },
                );
            }
        }
    };
    settle(&mut lab, &mut calls);
    lab.link(a, "eth0", false);
    settle(&mut lab, &mut calls);
    lab.stop(a);
    settle(&mut lab, &mut calls);
    assert_eq!(
        calls,
        [
            (HookKind::Change, "BACKUP"),
            (HookKind::Active, "MASTER"),
            (HookKind::Change, "MASTER"),
            (HookKind::Fault, "FAULT"),
            (HookKind::Change, "FAULT"),
            (HookKind::Change, "STOP"),
        ]
    );
    assert!(lab.is_finished(a));
}

fn reload(lab: &mut Lab, host: HostId, bend: impl FnOnce(&mut Settings)) {
    let mut settings = lab.at(host).settings.clone();
    bend(&mut settings);
    lab.at_mut(host).settings = settings.clone();
    lab.feed(host, Input::Reload(Box::new(settings)));
}

#[test]
fn a_group_that_is_formed_by_a_reload_does_not_move() {
    let (mut lab, a, b) = pair();
    for host in [a, b] {
        reload(&mut lab, host, |settings| settings.groups.clear());
        lab.run(secs(3));
        assert_eq!(lab.groups(host), []);
        reload(&mut lab, host, |settings| {
            settings.groups = vec![group("gateway", &["inside", "outside"])];
        });
        lab.run(secs(3));
    }
    assert_eq!((changes(&lab, a), changes(&lab, b)), (0, 0));
    assert_eq!(lab.group_state(a), ACTIVE);
    assert_eq!(lab.group_state(b), BACKUP);
}

/// One is Active for one member, the other for the other: put together they
/// settle in one owner.
#[test]
fn what_is_apart_comes_together() {
    let mut lab = Lab::new();
    let a = lab.host(vec![inside(150), outside(100)]);
    let b = lab.host(vec![inside(100), outside(150)]);
    lab.start_all();
    lab.run(secs(10));
    assert_eq!(states(&lab, a), [ACTIVE, BACKUP]);
    for (host, value) in [(a, 150), (b, 100)] {
        reload(&mut lab, host, |settings| {
            settings.instances = vec![inside(value), outside(value)];
            settings.groups = vec![group("gateway", &["inside", "outside"])];
        });
    }
    lab.run(secs(10));
    assert!(owns(&lab, a));
    assert_eq!(states(&lab, b), [BACKUP, BACKUP]);
}

/// One host has the group, the other does not yet: a move of either member is
/// refused at once, under the name by which it was asked for.
#[rstest]
#[case::the_first("inside")]
#[case::the_second("outside")]
fn a_move_by_a_node_without_the_group_is_refused_at_once(#[case] name: &str) {
    let mut lab = Lab::new();
    let a = lab.host(vec![inside(150), outside(150)]);
    gateway(&mut lab, 100, |_| {});
    lab.connect(1);
    lab.start_all();
    lab.run(secs(20));
    assert_eq!(states(&lab, a), [ACTIVE, ACTIVE]);
    let ticket = lab.order_at(a, handover(name, None));
    lab.run(ms(100));
    let why = "its group has other members there";
    let text = format!("{name} was not handed over to B: {why}; it stays here");
    let answer = lab.answer(a, ticket).map(|(_, answer)| answer);
    assert_eq!(answer, Some(Err(text)));
    assert!(owns(&lab, a));
}

#[test]
fn members_that_a_reload_takes_away_leave_together() {
    let (mut lab, a, b) = pair();
    reload(&mut lab, a, |settings| {
        settings.instances = vec![web(50)];
        settings.instances[0].vrid = Vrid::new(99).expect("a VRID");
        settings.instances[0].addresses = vec![address("192.0.2.77/24")];
        settings.groups.clear();
    });
    lab.run(secs(3));
    assert!(owns(&lab, b));
    assert_eq!(first(&lab, b, INSIDE), first(&lab, b, OUTSIDE));
}

/// One whose segment is dead gives way to a node that shows that its own
/// works: its group goes with it, and stays away.
#[test]
fn one_that_lost_its_segment_takes_all_along() {
    let mut lab = Lab::new();
    let a = gateway(&mut lab, 150, |_| {});
    let b = gateway(&mut lab, 100, |_| {});
    lab.connect(1);
    for (name, address) in [("eth0", "192.0.2.254"), ("eth1", "198.51.100.254")] {
        lab.witness(interface(name), ip(address));
        for host in [a, b] {
            lab.at_mut(host).kernel.gateway(name, ip(address));
        }
    }
    lab.start_all();
    lab.run(secs(20));
    assert!(owns(&lab, a));
    lab.mark();
    lab.isolate(a);
    lab.run(secs(20));
    assert!(owns(&lab, b));
    assert_eq!(states(&lab, a), [BACKUP, BACKUP]);
    assert_eq!(changes(&lab, a), 2, "{:?}", lab.transitions(a));
}
