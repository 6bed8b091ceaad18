//! The kernel takes an address from an agent that is dead, frozen or cannot
//! be heard; a healthy one keeps it without a gap.

use vipward::agent::report::{Fact, Loss};
use vipward::agent::settings::InstanceSettings;
use vipward::agent::status::{Reason, StateName};
use vipward::agent::values::Lease;

use crate::kit::*;

const ACTIVE: StateName = StateName::Active;
const BACKUP: StateName = StateName::Backup;

fn lease(seconds: u32) -> Option<Lease> {
    Some(Lease::from_seconds(seconds).expect("a lease"))
}

fn leased(value: u8) -> InstanceSettings {
    InstanceSettings {
        lease: lease(2),
        ..web(value)
    }
}

fn active(instance: InstanceSettings) -> (Lab, HostId) {
    let mut lab = Lab::new();
    let a = lab.host(vec![instance]);
    lab.start(a);
    lab.run_until(a, ACTIVE, secs(10));
    lab.run(ms(100));
    lab.mark();
    (lab, a)
}

#[test]
fn it_is_begun_anew_with_every_advertisement_of_a_second() {
    let (mut lab, a) = active(leased(100));
    lab.run(secs(100));
    let sent: Vec<_> = lab.sent(a).into_iter().map(|(at, _)| at).collect();
    let renewed: Vec<_> = lab.renewed(a).into_iter().map(|(at, _)| at).collect();
    assert_eq!(renewed, sent);
    assert_eq!(lab.added(a), [], "it never went");
    assert_eq!(lab.facts(a), []);
}

#[test]
fn frequent_advertisements_wake_the_hosts_listeners_no_more_than_need_be() {
    let quick = InstanceSettings {
        advert_interval: centiseconds(10),
        ..leased(100)
    };
    let (mut lab, a) = active(quick);
    lab.run(secs(100));
    let times = lab.renewed(a).len();
    assert!((190..=260).contains(&times), "{times} times in 100 s");
    assert_eq!(lab.added(a), []);
}

#[test]
fn a_dead_agent_loses_it_by_the_kernels_clock() {
    let (mut lab, a) = active(leased(100));
    lab.run(ms(500));
    lab.kill(a);
    lab.run(ms(1_400));
    assert!(lab.holds(a, WEB).is_some());
    lab.run(ms(200));
    assert!(lab.holds(a, WEB).is_none());
}

/// Nobody else is there: it comes back with the agent, once that has listened
/// for an interval in case somebody is.
#[test]
fn a_frozen_agent_that_is_alone_takes_it_back() {
    let (mut lab, a) = active(leased(100));
    lab.pause(a);
    lab.run(secs(10));
    assert!(lab.holds(a, WEB).is_none());
    lab.mark();
    lab.resume(a);
    lab.run(ms(990));
    assert_eq!(lab.sent(a), []);
    assert!(lab.holds(a, WEB).is_none());
    lab.run(ms(20));
    assert!(lab.holds(a, WEB).is_some());
    let restored = |fact: &Fact| {
        let expired = Loss::Expired;
        matches!(fact, Fact::AddressRestored { loss, .. } if *loss == expired)
    };
    assert_eq!(lab.count_facts(a, restored), 1);
    assert!(lab.count_facts(a, |fact| matches!(fact, Fact::Stalled { .. })) == 1);
    assert_eq!(lab.transitions(a), []);
}

/// Another took over: no advertisement that could win, no announcement, and
/// no parting either, since its kernel had let the address go.
#[test]
fn a_frozen_agent_that_was_replaced_comes_back_without_a_word() {
    let mut lab = Lab::new();
    let a = lab.host(vec![leased(200)]);
    let b = lab.host(vec![InstanceSettings {
        preempt: vipward::agent::settings::Preempt::Never,
        ..leased(100)
    }]);
    lab.start_all();
    lab.run_until(a, ACTIVE, secs(10));
    lab.run(ms(300));
    lab.pause(a);
    lab.run_until(b, ACTIVE, secs(5));
    assert!(lab.holds(a, WEB).is_none(), "gone before the other claims");
    lab.run(secs(6));
    lab.mark();
    lab.resume(a);
    lab.run(ms(500));
    assert_eq!(lab.state(a), BACKUP);
    assert_eq!(lab.transitions(a), [(ms(0), BACKUP, Reason::Stalled)]);
    assert_eq!(lab.sent(a), []);
    assert_eq!(lab.announcements(a), []);
    assert_eq!(lab.added(a), []);
}

/// Without a lease its kernel answered all the time: one parting, which loses.
#[test]
fn without_a_lease_it_parts() {
    let mut lab = Lab::new();
    let a = lab.host(vec![web(200)]);
    let b = lab.host(vec![web(100)]);
    lab.start_all();
    lab.run_until(a, ACTIVE, secs(10));
    lab.run(ms(300));
    lab.pause(a);
    lab.run_until(b, ACTIVE, secs(5));
    lab.run(secs(6));
    lab.mark();
    lab.resume(a);
    lab.run(ms(500));
    assert_eq!(lab.state(a), BACKUP);
    let sent: Vec<u8> = lab
        .sent(a)
        .into_iter()
        .map(|(_, priority)| priority)
        .collect();
    // Equal, and by the lower address: it cannot win.
    assert_eq!(sent, [100]);
    assert_eq!(lab.announcements(a), []);
}

#[test]
fn a_renewal_that_fails_is_told_at_once_and_tried_again() {
    let (mut lab, a) = active(leased(100));
    lab.at_mut(a).kernel.refuse_renew = Some("Cannot allocate memory".to_owned());
    lab.run(ms(1_000));
    let failed = |fact: &Fact| matches!(fact, Fact::RenewalFailed { .. });
    assert_eq!(lab.count_facts(a, failed), 1);
    lab.run(ms(700));
    assert!(lab.renewed(a).len() >= 4, "{:?}", lab.renewed(a));
    lab.at_mut(a).kernel.refuse_renew = None;
    lab.run(secs(5));
    assert!(lab.holds(a, WEB).is_some());
    assert_eq!(lab.added(a), [], "it never went");
}

/// It runs out, is put back at once, and is announced.
#[test]
fn one_that_runs_out_under_a_healthy_agent_is_put_back() {
    let (mut lab, a) = active(leased(100));
    lab.at_mut(a).kernel.refuse_renew = Some("Cannot allocate memory".to_owned());
    lab.run(secs(60));
    let added = lab.added(a).len();
    assert!((6..=30).contains(&added), "{added}");
    let lines = lab.count_facts(a, |fact| matches!(fact, Fact::RenewalFailed { .. }));
    assert!(lines <= 5, "{lines} lines in a minute");
    assert_eq!(lab.state(a), ACTIVE);
}

/// The order waits while the host stands still: it must not speak for an
/// agent of which nothing has been heard since.
#[test]
fn a_renewal_that_waited_too_long_is_not_carried_out() {
    let (mut lab, a) = active(leased(100));
    lab.at_mut(a).kernel.renew_takes = ms(150);
    lab.run(ms(1_000));
    lab.pause(a);
    lab.run(secs(3));
    assert!(
        lab.holds(a, WEB).is_none(),
        "the renewal was not carried out"
    );
    lab.resume(a);
    lab.run(ms(1_200));
    assert!(lab.holds(a, WEB).is_some());
}

#[test]
fn a_removal_waits_for_the_renewal_under_way() {
    let (mut lab, a) = active(leased(100));
    lab.at_mut(a).kernel.renew_takes = ms(20);
    while lab.renewed(a).is_empty() {
        lab.step();
    }
    lab.stop_now(a);
    lab.run(secs(1));
    assert!(lab.holds(a, WEB).is_none());
    assert!(lab.is_finished(a));
}

#[test]
fn a_reload_gives_another_lease_or_takes_it_away() {
    let (mut lab, a) = active(leased(100));
    lab.reload(a, vec![web(100)]);
    lab.run(secs(2));
    let orders: Vec<_> = lab.renewed(a).into_iter().map(|(_, o)| o.lease).collect();
    assert_eq!(orders, [None], "the last renewal makes it permanent");
    assert_eq!(lab.status(a).addresses[0].lease, None);
    lab.mark();
    let longer = InstanceSettings {
        lease: lease(9),
        ..web(100)
    };
    lab.reload(a, vec![longer]);
    lab.run(secs(2));
    assert_eq!(lab.status(a).addresses[0].lease, lease(9));
    lab.kill(a);
    lab.run(secs(10));
    assert!(lab.holds(a, WEB).is_none());
}

/// `promote_secondaries` cannot be set: held all the same, and said.
#[test]
fn what_may_carry_no_lease_is_shown() {
    let mut lab = Lab::new();
    let a = lab.host(vec![leased(100)]);
    lab.at_mut(a).kernel.refuse_lease = Some("the setting is read only".to_owned());
    lab.start(a);
    lab.run_until(a, ACTIVE, secs(10));
    lab.run(secs(5));
    assert_eq!(lab.obstacles(a), ["no-lease"]);
    assert_eq!(lab.status(a).addresses[0].lease, None);
    assert_eq!(lab.renewed(a), []);
    assert_eq!(lab.state(a), ACTIVE);
}

/// An owner's own address is the host's.
#[test]
fn the_owners_own_address_has_no_lease() {
    let owner = InstanceSettings {
        addresses: vec![address("192.0.2.1/24")],
        ..leased(255)
    };
    let (mut lab, a) = active(owner);
    lab.run(secs(10));
    assert_eq!(lab.renewed(a), []);
    lab.kill(a);
    lab.run(secs(10));
    assert!(lab.holds(a, "192.0.2.1").is_some());
}

/// Somebody took it away meanwhile: whoever is Active now may not be heard
/// yet.
#[test]
fn what_went_while_it_stood_still_is_not_taken_back_before_it_has_listened() {
    let (mut lab, a) = active(web(100));
    lab.pause(a);
    lab.run(secs(5));
    lab.delete_address(a, "eth0", "192.0.2.100/32");
    lab.run(secs(1));
    lab.mark();
    lab.resume(a);
    lab.run(ms(990));
    assert_eq!(lab.added(a), []);
    lab.run(ms(20));
    assert!(lab.holds(a, WEB).is_some());
}

/// The last advertisement, which resigns, is as good as any: the address
/// answers for as long as it is waited for.
#[test]
fn one_that_resigns_begins_its_leases_anew() {
    let slow = InstanceSettings {
        advert_interval: centiseconds(200),
        lease: lease(3),
        ..web(100)
    };
    let (mut lab, a) = active(slow);
    lab.run(ms(1_800));
    lab.mark();
    lab.stop(a);
    lab.run(ms(1_950));
    assert_eq!(lab.renewed(a).len(), 1);
    assert!(lab.holds(a, WEB).is_some(), "it resigns for two seconds");
    lab.run(ms(100));
    assert!(lab.holds(a, WEB).is_none());
    assert!(lab.is_finished(a));
}

/// Its addition is not confirmed in time, because the reports are late, while
/// its lease is being begun anew: the answer tells that it is there. Found by
/// fuzzing.
#[test]
fn one_under_renewal_is_not_given_up_for_lost() {
    let mut lab = Lab::new();
    let a = lab.host(vec![leased(100)]);
    lab.start(a);
    lab.at_mut(a).kernel.report_after = secs(10);
    lab.at_mut(a).kernel.renew_takes = ms(500);
    lab.run_until(a, ACTIVE, secs(10));
    lab.mark();
    lab.run(ms(1_200));
    assert_eq!(lab.renewed(a).len(), 1);
    lab.stop_now(a);
    lab.run(ms(400));
    assert!(lab.holds(a, WEB).is_none());
    assert!(lab.is_finished(a));
}
