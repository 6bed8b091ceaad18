//! Preemption: at once, never, after a delay; and the time to settle.

use rstest::rstest;
use vipward::agent::settings::{InstanceSettings, Preempt};
use vipward::agent::status::{Reason, StateName};

use crate::kit::*;

const ACTIVE: StateName = StateName::Active;
const BACKUP: StateName = StateName::Backup;

fn preempting(way: Way, value: u8, preempt: Preempt) -> InstanceSettings {
    let mut settings = web_by(way, value);
    settings.preempt = preempt;
    settings
}

/// B is Active with 100; A starts with 200.
fn return_of_the_better(way: Way, preempt: Preempt) -> (Lab, HostId, HostId) {
    let mut lab = Lab::new();
    let a = lab.host(vec![preempting(way, 200, preempt)]);
    let b = lab.host(vec![web_by(way, 100)]);
    lab.start(b);
    lab.run_until(b, ACTIVE, secs(5));
    lab.run(ms(1_500));
    lab.start(a);
    lab.mark();
    (lab, a, b)
}

#[rstest]
fn without_preempt_the_better_waits_for_ever(
    #[values(Way::V2, Way::V3, Way::V3Unicast, Way::V6)] way: Way,
) {
    let (mut lab, a, b) = return_of_the_better(way, Preempt::Never);
    lab.run(secs(3_600));
    assert_eq!((lab.state(a), lab.state(b)), (BACKUP, ACTIVE));
    assert_eq!(lab.sent(a), []);
    lab.stop(b);
    let took = lab.run_until(a, ACTIVE, secs(5));
    assert_eq!(took, lab.wire.delay + skew(200), "but follows it");
}

#[rstest]
fn with_preempt_it_claims_after_its_own_patience(
    #[values(Way::V2, Way::V3, Way::V3Unicast, Way::V6)] way: Way,
) {
    let (mut lab, a, b) = return_of_the_better(way, Preempt::Immediately);
    assert_eq!(lab.run_until(a, ACTIVE, secs(5)), adi(200));
    lab.run(ms(5));
    assert_eq!(lab.state(b), BACKUP);
    assert_eq!(lab.holds(b, vip(way)), None);
    let removed = lab.removed(b);
    let ours = removed
        .iter()
        .find(|one| one.1.network.addr().to_string() == vip(way));
    assert!(
        ours.is_some_and(|one| one.1.lingers),
        "what clients send until they have heard the announcement is taken: {removed:?}"
    );
}

/// Armed by the first losing advert, and by none after it.
#[rstest]
fn the_delay_is_armed_once(
    #[values(Way::V2, Way::V3, Way::V3Unicast, Way::V6)] way: Way,
    #[values(10, 300)] delay: u64,
) {
    let (mut lab, a, b) = return_of_the_better(way, Preempt::After(secs(delay)));
    // B's next advertisement is at 2 s of its own second; A started 1.5 s on.
    let heard = ms(500) + lab.wire.delay;
    let took = lab.run_until(a, ACTIVE, secs(400));
    assert_eq!(took, heard + secs(delay));
    let last = lab.transitions(a).last().copied();
    assert_eq!(last, Some((took, ACTIVE, Reason::Preempted)));
    lab.run(ms(5));
    assert_eq!(lab.state(b), BACKUP);
}

#[rstest]
#[case::winning(201)]
#[case::equal(200)]
#[case::resigning(0)]
fn a_winning_advert_or_priority_0_cancels_the_delay(#[case] value: u8) {
    let mut lab = Lab::new();
    let delay = Preempt::After(secs(10));
    let a = lab.host(vec![preempting(Way::V3, 200, delay)]);
    let b = lab.host(vec![web(100)]);
    lab.start(a);
    lab.forge(b, a, 100);
    for _ in 0..9 {
        lab.run(secs(1));
        lab.forge(b, a, 100);
    }
    lab.forge(b, a, value);
    if value == 0 {
        assert_eq!(lab.run_until(a, ACTIVE, secs(20)), skew(200));
        return;
    }
    lab.run(ms(500));
    lab.forge(b, a, 100);
    lab.mark();
    for _ in 0..9 {
        lab.run(secs(1));
        lab.forge(b, a, 100);
        assert_eq!(lab.state(a), BACKUP, "armed anew at the mark");
    }
    lab.run_until(a, ACTIVE, secs(20));
    assert_eq!(lab.elapsed(), secs(10));
}

/// The end of the delay lies within Skew_Time, and must not cut it short:
/// another Backup may be better.
#[test]
fn after_priority_0_the_rest_of_the_delay_means_nothing() {
    let mut lab = Lab::new();
    let delay = Preempt::After(secs(2));
    let a = lab.host(vec![preempting(Way::V3, 200, delay)]);
    let b = lab.host(vec![web(100)]);
    lab.start(a);
    lab.forge(b, a, 100);
    lab.run(ms(1_900));
    lab.forge(b, a, 0);
    assert_eq!(lab.run_until(a, ACTIVE, secs(5)), skew(200));
}

/// While the delay runs, the losing Active is followed like any other.
#[test]
fn while_the_delay_runs_a_losing_advert_rearms_and_teaches() {
    let mut lab = Lab::new();
    let delay = Preempt::After(secs(300));
    let a = lab.host(vec![preempting(Way::V3, 200, delay)]);
    let b = lab.host(vec![web(100)]);
    lab.start(a);
    lab.run(secs(3));
    let mut slow = lab.forged(b, a, 100);
    slow.timing = v3_timing(1_000);
    lab.inject(a, &slow);
    lab.run(secs(25));
    lab.inject(a, &slow);
    let patience = secs(30) + skew_at(200, 1_000);
    assert_eq!(lab.status(a).active_down_interval, patience);
    lab.mark();
    assert_eq!(lab.run_until(a, ACTIVE, secs(60)), patience);
    let last = lab.transitions(a).last().copied();
    assert_eq!(last, Some((patience, ACTIVE, Reason::NoResponse)));
}

#[test]
fn without_preempt_a_losing_advert_rearms_and_teaches() {
    let mut lab = Lab::new();
    let a = lab.host(vec![preempting(Way::V3, 200, Preempt::Never)]);
    let b = lab.host(vec![web(100)]);
    lab.start(a);
    lab.run(secs(3));
    let mut slow = lab.forged(b, a, 1);
    slow.timing = v3_timing(1_000);
    lab.inject(a, &slow);
    let patience = secs(30) + skew_at(200, 1_000);
    assert_eq!(lab.run_until(a, ACTIVE, secs(60)), patience);
}

/// In Active the setting means nothing.
#[rstest]
fn preempt_is_ignored_in_active(
    #[values(Preempt::Never, Preempt::After(secs(300)), Preempt::Immediately)] preempt: Preempt,
) {
    let mut lab = Lab::new();
    let a = lab.host(vec![preempting(Way::V3, 100, preempt)]);
    let b = lab.host(vec![web(101)]);
    lab.start(a);
    lab.run_until(a, ACTIVE, secs(5));
    lab.run(secs(1));
    lab.forge(b, a, 99);
    assert_eq!(lab.state(a), ACTIVE);
    lab.forge(b, a, 101);
    assert_eq!(lab.state(a), BACKUP);
}

/// An owner that had to yield to another owner always preempts.
#[rstest]
fn an_owner_always_preempts(#[values(Preempt::Never, Preempt::After(secs(300)))] preempt: Preempt) {
    let mut lab = Lab::new();
    let a = lab.host(vec![preempting(Way::V3, 255, preempt)]);
    let b = lab.host(vec![web(255)]);
    lab.start(a);
    lab.forge(b, a, 255);
    assert_eq!(lab.state(a), BACKUP);
    for _ in 0..3 {
        lab.run(secs(1));
        lab.forge(b, a, 254);
    }
    assert_eq!(lab.run_until(a, ACTIVE, secs(5)), skew(255));
}

#[rstest]
fn two_delays_of_equal_hosts_do_not_fight(#[values(Way::V3, Way::V6)] way: Way) {
    let mut lab = Lab::new();
    let delay = Preempt::After(secs(5));
    let a = lab.host(vec![preempting(way, 100, delay)]);
    let b = lab.host(vec![preempting(way, 100, delay)]);
    lab.start(a);
    lab.run(secs(4));
    lab.start(b);
    lab.run(secs(600));
    assert_eq!((lab.state(a), lab.state(b)), (ACTIVE, BACKUP));
    assert_eq!(lab.sent(b), []);
}

fn settling(value: u8, settle: u64) -> InstanceSettings {
    let mut settings = web(value);
    settings.settle = secs(settle);
    settings
}

#[rstest]
#[case::backup(100, secs(30) + adi(100))]
#[case::owner(255, secs(30))]
fn it_settles_after_start(#[case] value: u8, #[case] expected: std::time::Duration) {
    let mut lab = Lab::new();
    let a = lab.host(vec![settling(value, 30)]);
    lab.start(a);
    lab.run(secs(30) - us(1));
    assert_eq!(lab.state(a), StateName::Initialize);
    lab.run(us(1));
    assert_ne!(lab.state(a), StateName::Initialize);
    lab.run_until(a, ACTIVE, secs(5));
    assert_eq!(lab.elapsed(), expected);
    assert_eq!(lab.sent(a).len(), 1);
}

#[test]
fn it_settles_again_after_each_link_return() {
    let mut lab = Lab::new();
    let a = lab.host(vec![settling(100, 10)]);
    lab.start(a);
    lab.run_until(a, ACTIVE, secs(20));
    for _ in 0..2 {
        lab.run(secs(60));
        lab.link(a, "eth0", false);
        lab.run(secs(5));
        lab.link(a, "eth0", true);
        let heard = lab.hosts[a.0].kernel.report_after;
        let took = lab.run_until(a, ACTIVE, secs(20));
        assert_eq!(took, heard + secs(10) + adi(100));
    }
}

#[test]
fn a_link_lost_while_settling_begins_it_anew() {
    let mut lab = Lab::new();
    let a = lab.host(vec![settling(100, 10)]);
    lab.start(a);
    lab.run(secs(9));
    lab.link(a, "eth0", false);
    lab.run(secs(9));
    assert_eq!(lab.state(a), StateName::Fault);
    lab.link(a, "eth0", true);
    let took = lab.run_until(a, ACTIVE, secs(20));
    assert_eq!(took, ms(1) + secs(10) + adi(100));
}

#[test]
fn what_was_heard_while_settling_does_not_count_afterwards() {
    let mut lab = Lab::new();
    let a = lab.host(vec![settling(100, 10)]);
    let b = lab.host(vec![web(200)]);
    lab.start(a);
    lab.run(secs(9));
    lab.forge(b, a, 200);
    lab.forge(b, a, 0);
    let took = lab.run_until(a, ACTIVE, secs(20));
    assert_eq!(took, secs(1) + adi(100), "row 2, whatever was heard");
}
