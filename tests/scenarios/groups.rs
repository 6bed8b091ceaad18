//! Instances that move together, over two segments.

use std::time::Duration;

use vipward::agent::jobs::{CheckName, JobResult, Verdict};
use vipward::agent::settings::{
    CheckSettings, CheckSource, CheckUse, InstanceSettings, OnFail, Preempt,
};
use vipward::agent::status::{CheckState, Reason, StateName};
use vipward::agent::values::{Family, InstanceId, InstanceName, Version, Vrid};

use crate::kit::groups::group;
use crate::kit::host::Input;
use crate::kit::*;

pub const ACTIVE: StateName = StateName::Active;
pub const BACKUP: StateName = StateName::Backup;
pub const FAULT: StateName = StateName::Fault;

/// By name, as hosts sort their instances.
pub const INSIDE: InstanceId = InstanceId(0);
pub const OUTSIDE: InstanceId = InstanceId(1);
const IN: &str = "198.51.100.100";
const OUT: &str = "192.0.2.100";

pub fn outside(value: u8) -> InstanceSettings {
    let mut settings = web(value);
    settings.name = InstanceName::new("outside");
    settings
}

pub fn inside(value: u8) -> InstanceSettings {
    let mut settings = web(value);
    settings.name = InstanceName::new("inside");
    settings.interface = interface("eth1");
    settings.vrid = Vrid::new(52).expect("a VRID");
    settings.addresses = vec![address("198.51.100.100/24")];
    settings.addresses[0].interface = interface("eth1");
    settings
}

pub fn gateway(lab: &mut Lab, value: u8, bend: impl Fn(&mut InstanceSettings)) -> HostId {
    let mut instances = vec![inside(value), outside(value)];
    instances.iter_mut().for_each(bend);
    let host = lab.host(instances);
    lab.at_mut(host).settings.groups = vec![group("gateway", &["inside", "outside"])];
    host
}

/// Two hosts, the first of them Active for both members since a while.
pub fn pair() -> (Lab, HostId, HostId) {
    let mut lab = Lab::new();
    let a = gateway(&mut lab, 150, |_| {});
    let b = gateway(&mut lab, 100, |_| {});
    lab.start_all();
    lab.run(secs(20));
    assert_eq!(states(&lab, a), [ACTIVE, ACTIVE]);
    assert_eq!(states(&lab, b), [BACKUP, BACKUP]);
    lab.mark();
    (lab, a, b)
}

pub fn states(lab: &Lab, host: HostId) -> [StateName; 2] {
    [INSIDE, OUTSIDE].map(|instance| lab.status_of(host, instance).state)
}

pub fn owns(lab: &Lab, host: HostId) -> bool {
    lab.holds(host, IN).is_some() && lab.holds(host, OUT).is_some()
}

/// When a member first advertised, with which priority, since the mark.
pub fn first(lab: &Lab, host: HostId, instance: InstanceId) -> Option<(Duration, u8)> {
    lab.sent_by(host, instance).first().copied()
}

pub fn changes(lab: &Lab, host: HostId) -> usize {
    lab.transitions(host).len()
}

#[test]
fn one_in_fault_takes_all_and_all_come_back() {
    let (mut lab, a, b) = pair();
    lab.link(a, "eth1", false);
    lab.run(ms(5));
    assert_eq!(states(&lab, a), [FAULT, FAULT]);
    assert_eq!(lab.group_state(a), FAULT);
    let zero = lab.sent_by(a, OUTSIDE);
    assert_eq!(zero, [(ms(1), 0)], "priority 0, at once");
    let status = lab.status_of(a, OUTSIDE);
    let [obstacle] = &status.obstacles[..] else {
        panic!("one obstacle: {:?}", status.obstacles)
    };
    assert_eq!(obstacle.code, "group-member");
    assert_eq!(obstacle.source, "instance inside");
    assert!(obstacle.text.contains("link") || obstacle.text.contains("carrier"));
    lab.run(secs(1));
    assert!(owns(&lab, b), "both, though inside heard no priority 0");
    lab.link(a, "eth1", true);
    lab.run(secs(5));
    assert!(owns(&lab, a));
    assert_eq!(states(&lab, b), [BACKUP, BACKUP]);
}

/// The last advertisement of one member is lost: its timer is an interval
/// ahead of its mate's.
#[test]
fn the_first_whose_timer_ends_claims_for_all_in_one_turn() {
    let (mut lab, a, b) = pair();
    lab.run(ms(500));
    lab.wire.part_on("eth1", a, b);
    lab.run(secs(1));
    lab.power_off(a);
    lab.mark();
    lab.run(secs(5));
    let (at, priority) = first(&lab, b, INSIDE).expect("it claims");
    assert_eq!(Some((at, priority)), first(&lab, b, OUTSIDE));
    assert!(at < secs(3), "by the timer of the first: {at:?}");
    let reasons: Vec<Reason> = lab.transitions(b).iter().map(|(_, _, why)| *why).collect();
    assert_eq!(reasons, [Reason::NoResponse, Reason::Group]);
    assert!(owns(&lab, b));
}

#[test]
fn a_resignation_that_one_member_did_not_hear_is_followed_by_both() {
    let (mut lab, a, b) = pair();
    lab.wire.part_on("eth1", a, b);
    lab.stop(a);
    lab.run(secs(2));
    let at = first(&lab, b, OUTSIDE).expect("it claims");
    assert_eq!(Some(at), first(&lab, b, INSIDE));
    assert_eq!(at, (ms(1) + skew(100), 100));
}

#[test]
fn they_resign_in_one_turn() {
    let (mut lab, a, _) = pair();
    lab.run(ms(300));
    lab.mark();
    lab.stop(a);
    lab.run(ms(100));
    assert_eq!(lab.sent_by(a, INSIDE), [(ms(0), 0)]);
    assert_eq!(lab.sent_by(a, OUTSIDE), [(ms(0), 0)]);
}

/// They hear each other on one segment only: whoever wins there has both,
/// and nothing moves.
#[test]
fn a_cut_on_one_segment_moves_nothing() {
    let (mut lab, a, b) = pair();
    lab.wire.part_on("eth1", a, b);
    lab.run(secs(120));
    assert_eq!((changes(&lab, a), changes(&lab, b)), (0, 0));
    assert_eq!(lab.sent_by(b, INSIDE), []);
    let shown = lab.status_of(b, INSIDE).obstacles;
    assert_eq!(shown[0].code, "group-waits");
    assert_eq!(shown[0].source, "instance outside");
    lab.power_off(a);
    lab.mark();
    lab.run(secs(5));
    assert!(owns(&lab, b));
    assert_eq!(lab.status_of(b, INSIDE).obstacles, []);
}

#[test]
fn a_better_one_that_returns_with_a_segment_cut_takes_both() {
    let (mut lab, a, b) = pair();
    lab.power_off(a);
    lab.run(secs(10));
    lab.wire.part_on("eth1", a, b);
    lab.start(a);
    lab.run(secs(20));
    assert!(owns(&lab, a));
    assert_eq!(states(&lab, b), [BACKUP, BACKUP]);
    assert_eq!(lab.holds(b, IN), None, "it heard nobody there");
    lab.mark();
    lab.run(secs(120));
    assert_eq!((changes(&lab, a), changes(&lab, b)), (0, 0));
}

#[test]
fn without_preemption_one_that_returns_with_a_segment_cut_stays_backup() {
    let mut lab = Lab::new();
    let a = gateway(&mut lab, 150, |one| one.preempt = Preempt::Never);
    let b = gateway(&mut lab, 100, |one| one.preempt = Preempt::Never);
    lab.start(b);
    lab.run(secs(10));
    lab.wire.part_on("eth1", a, b);
    lab.start(a);
    lab.mark();
    lab.run(secs(120));
    assert!(owns(&lab, b));
    assert_eq!(states(&lab, a), [BACKUP, BACKUP]);
    assert_eq!(changes(&lab, b), 0);
}

#[test]
fn the_delay_of_preemption_counts_for_all() {
    let mut lab = Lab::new();
    let delayed = |one: &mut InstanceSettings| one.preempt = Preempt::After(secs(30));
    let a = gateway(&mut lab, 150, delayed);
    let b = gateway(&mut lab, 100, delayed);
    lab.start(b);
    lab.run(secs(10));
    lab.start(a);
    lab.mark();
    lab.run(secs(29));
    assert!(owns(&lab, b));
    lab.run(secs(3));
    assert!(owns(&lab, a));
    assert_eq!(first(&lab, a, INSIDE), first(&lab, a, OUTSIDE));
}

/// Where the other host does not know of groups, or has only one of them.
#[test]
fn a_member_that_loses_takes_the_other_along() {
    let mut lab = Lab::new();
    let a = gateway(&mut lab, 100, |_| {});
    let b = lab.host(vec![outside(200)]);
    lab.start(a);
    lab.run(secs(10));
    assert!(owns(&lab, a));
    lab.start(b);
    lab.run(secs(10));
    assert_eq!(states(&lab, a), [BACKUP, BACKUP]);
    lab.mark();
    lab.run(secs(60));
    assert_eq!(changes(&lab, a), 0);
    lab.power_off(b);
    lab.run(secs(4));
    assert!(owns(&lab, a));
}

/// Equal priorities, and the addresses decide otherwise on each segment: the
/// one that loses by the first member waits longer.
/// Version 2 has no immediate answers that could make the difference.
#[test]
fn ties_that_end_differently_are_settled() {
    for version in [Version::V2, Version::V3] {
        tie(version);
    }
}

fn tie(version: Version) {
    let mut lab = Lab::new();
    let a = gateway(&mut lab, 100, |one| one.version = version);
    let b = gateway(&mut lab, 100, |one| {
        one.version = version;
        if one.name == InstanceName::new("inside") {
            one.source = Some(ip("198.51.100.250"));
        } else {
            one.source = Some(ip("192.0.2.250"));
        }
    });
    lab.at_mut(a).settings.instances[0].source = Some(ip("198.51.100.251"));
    for (host, own) in [(a, "198.51.100.251/24"), (b, "198.51.100.250/24")] {
        let kernel = &mut lab.at_mut(host).kernel;
        kernel.add_own("eth1", own.parse().expect("a network"), false);
    }
    let kernel = &mut lab.at_mut(b).kernel;
    kernel.add_own("eth0", "192.0.2.250/24".parse().expect("a network"), false);
    lab.start_all();
    lab.run(secs(12));
    assert!(owns(&lab, a) != owns(&lab, b), "one of both has all");
    lab.mark();
    lab.run(secs(60));
    assert_eq!((changes(&lab, a), changes(&lab, b)), (0, 0));
}

#[test]
fn the_order_of_names_means_nothing() {
    let mut lab = Lab::new();
    let a = gateway(&mut lab, 150, |_| {});
    let b = gateway(&mut lab, 100, |_| {});
    lab.at_mut(a).settings.groups = vec![group("gateway", &["outside", "inside"])];
    lab.start_all();
    lab.run(secs(10));
    assert!(owns(&lab, a));
    lab.link(a, "eth0", false);
    lab.run(secs(2));
    assert!(owns(&lab, b));
}

#[test]
fn both_families_move_together() {
    let mut lab = Lab::new();
    let family = |one: &mut InstanceSettings| {
        if one.name == InstanceName::new("inside") {
            one.family = Family::Ipv6;
            one.addresses = vec![address("2001:db8:0:1::100/64")];
            one.addresses[0].interface = interface("eth1");
        }
    };
    let a = gateway(&mut lab, 150, family);
    let b = gateway(&mut lab, 100, family);
    lab.start_all();
    lab.run(secs(10));
    assert_eq!(states(&lab, a), [ACTIVE, ACTIVE]);
    lab.link(a, "eth0", false);
    lab.run(secs(2));
    assert_eq!(states(&lab, b), [ACTIVE, ACTIVE]);
    assert!(lab.holds(b, "2001:db8:0:1::100").is_some());
}

/// One settles longer: the other waits, and both begin in one turn.
#[test]
fn they_begin_together() {
    let mut lab = Lab::new();
    let a = gateway(&mut lab, 150, |one| {
        if one.name == InstanceName::new("inside") {
            one.settle = secs(7);
        }
    });
    lab.start(a);
    lab.run(ms(6_990));
    assert_eq!(states(&lab, a), [StateName::Initialize; 2]);
    lab.run(ms(20));
    assert_eq!(states(&lab, a), [BACKUP, BACKUP]);
    lab.run(secs(4));
    assert!(owns(&lab, a));
}

/// An interface that is missing at boot keeps all in fault.
#[test]
fn a_missing_interface_holds_all_back() {
    let mut lab = Lab::new();
    let a = gateway(&mut lab, 150, |_| {});
    lab.remove_interface(a, "eth1");
    lab.start(a);
    lab.run(secs(10));
    assert_eq!(states(&lab, a), [FAULT, FAULT]);
    lab.create_interface(a, "eth1");
    lab.report_and_open(a, "eth1");
    lab.run(secs(10));
    assert!(owns(&lab, a));
}

/// Nothing of one member can leave: none claims, and nothing flaps.
#[test]
fn one_that_cannot_send_keeps_all_from_claiming() {
    let (mut lab, a, b) = pair();
    lab.at_mut(b).kernel.refuse_send_on = Some(interface("eth1"));
    lab.power_off(a);
    lab.run(secs(10));
    lab.mark();
    lab.run(secs(60));
    assert_eq!(states(&lab, b), [BACKUP, BACKUP]);
    assert_eq!(lab.sent_by(b, OUTSIDE), [], "its mate cannot follow");
    lab.at_mut(b).kernel.refuse_send_on = None;
    lab.run(secs(5));
    assert!(owns(&lab, b));
}

/// An Active of which one member falls silent gives all up.
#[test]
fn one_that_can_send_no_longer_gives_all_up() {
    let (mut lab, a, b) = pair();
    lab.at_mut(a).kernel.refuse_send_on = Some(interface("eth1"));
    lab.run(secs(5));
    assert!(owns(&lab, b));
    assert_eq!(states(&lab, a), [BACKUP, BACKUP]);
    assert_eq!(lab.sent_by(a, OUTSIDE).last().map(|(_, p)| *p), Some(0));
}

pub fn with_check(lab: &mut Lab, host: HostId, weight: Option<i16>) {
    let settings = &mut lab.at_mut(host).settings;
    let name = CheckName::new("uplink");
    settings.checks = vec![CheckSettings {
        name: name.clone(),
        source: CheckSource::Elsewhere {
            question: "up?".to_owned(),
        },
        interval: secs(1),
        timeout: secs(1),
        rise: 1,
        fall: 1,
        initial: Some(CheckState::Up),
        on_fail: OnFail::Fault,
    }];
    settings.instances[0].checks = vec![CheckUse { name, weight }];
}

fn answer(lab: &mut Lab, host: HostId, verdict: Verdict) {
    let job = lab.at(host).started.last().expect("an order").id;
    let result = JobResult {
        verdict,
        duration: ms(4),
        output: String::new(),
    };
    lab.feed(host, Input::Done { job, result });
}

#[test]
fn a_weighted_check_of_one_lowers_all() {
    let mut lab = Lab::new();
    let a = gateway(&mut lab, 150, |_| {});
    let b = gateway(&mut lab, 100, |_| {});
    with_check(&mut lab, a, Some(-60));
    lab.start_all();
    lab.run(ms(10));
    answer(&mut lab, a, Verdict::Failed("no".to_owned()));
    for instance in [INSIDE, OUTSIDE] {
        let status = lab.status_of(a, instance);
        assert_eq!(status.effective_priority.get(), 90);
        assert_eq!(status.priority_terms.len(), 1, "once");
    }
    lab.run(secs(10));
    assert!(owns(&lab, b));
}

#[test]
fn a_check_of_one_without_weight_is_a_fault_of_all() {
    let mut lab = Lab::new();
    let a = gateway(&mut lab, 150, |_| {});
    with_check(&mut lab, a, None);
    lab.start(a);
    lab.run(ms(10));
    answer(&mut lab, a, Verdict::Failed("no".to_owned()));
    assert_eq!(states(&lab, a), [FAULT, FAULT]);
}
