//! Claims and releases that do not go as planned (PROTOCOL section 5).

use rstest::rstest;
use vipward::agent::report::Fact;
use vipward::agent::settings::InstanceSettings;
use vipward::agent::status::StateName;

use crate::kit::*;

const ACTIVE: StateName = StateName::Active;
const BACKUP: StateName = StateName::Backup;
const FAULT: StateName = StateName::Fault;

fn active(settings: InstanceSettings) -> (Lab, HostId) {
    let mut lab = Lab::new();
    let a = lab.host(vec![settings]);
    lab.start(a);
    lab.run_until(a, ACTIVE, secs(5));
    lab.run(secs(20));
    assert_eq!(lab.state(a), ACTIVE);
    lab.mark();
    (lab, a)
}

fn refuse(lab: &mut Lab, host: HostId, why: Option<&str>) {
    lab.at_mut(host).kernel.refuse_add = why.map(str::to_owned);
}

fn restored(lab: &Lab, host: HostId) -> usize {
    lab.count_facts(host, |fact| matches!(fact, Fact::AddressRestored { .. }))
}

// The form of the order.

#[rstest]
#[case::subnet_is_there("192.0.2.100/24", "192.0.2.100/32", true, false)]
#[case::written_as_host("192.0.2.100/32", "192.0.2.100/32", false, false)]
#[case::another_subnet("203.0.113.100/24", "203.0.113.100/24", false, true)]
#[case::host_of_nowhere("203.0.113.100/32", "203.0.113.100/32", false, false)]
#[case::ipv6_subnet_is_there("2001:db8::100/64", "2001:db8::100/128", true, false)]
#[case::ipv6_another_subnet("2001:db8:7::100/64", "2001:db8:7::100/64", false, false)]
#[case::ipv6_link_local("fe80::100/64", "fe80::100/128", true, false)]
fn an_address_is_added_so_that_its_removal_hurts_nobody(
    #[case] written: &str,
    #[case] ordered: &str,
    #[case] no_prefix_route: bool,
    #[case] promote_secondaries: bool,
) {
    let mut settings = web(255);
    settings.addresses.push(address(written));
    let mut lab = Lab::new();
    let a = lab.host(vec![settings]);
    let own = lab.hosts[a.0].kernel.state(interface("eth0"));
    lab.start(a);
    let (_, order) = lab.added(a).pop().expect("two");
    assert_eq!(order.network.to_string(), ordered);
    assert_eq!(order.no_prefix_route, no_prefix_route);
    assert_eq!(order.promote_secondaries, promote_secondaries);
    lab.run(secs(1));
    lab.stop_now(a);
    lab.run(secs(1));
    assert_eq!(lab.removed(a)[0].1, order, "removed as it was added");
    let left = lab.hosts[a.0].kernel.state(interface("eth0"));
    assert_eq!(left, own, "the host is as it was");
}

/// The first brings the subnet; the second is in its shadow, and stays when
/// the first is deleted.
#[test]
fn several_addresses_of_a_subnet_that_the_host_has_not() {
    let mut settings = web(100);
    settings.addresses = vec![address("203.0.113.1/24"), address("203.0.113.2/24")];
    let (mut lab, a) = active(settings);
    lab.delete_address(a, "eth0", "203.0.113.1/24");
    lab.run(ms(1));
    assert!(lab.holds(a, "203.0.113.2").is_some(), "promoted");
    lab.run(secs(1));
    assert!(lab.holds(a, "203.0.113.1").is_some(), "put back");
    let again = lab.added(a).pop().expect("ordered again").1.network;
    assert_eq!(
        again.to_string(),
        "203.0.113.1/24",
        "a virtual one is no subnet"
    );
    assert_eq!(restored(&lab, a), 1);
    lab.stop_now(a);
    lab.run(secs(1));
    assert!(lab.is_finished(a));
    assert_eq!(lab.holds(a, "203.0.113.1"), None);
    assert_eq!(lab.holds(a, "203.0.113.2"), None);
}

#[test]
fn addresses_are_released_in_the_reverse_order() {
    let mut settings = web(100);
    settings.addresses = (1..=3)
        .map(|n| address(&format!("192.0.2.10{n}/24")))
        .collect();
    let (mut lab, a) = active(settings);
    lab.stop_now(a);
    let removed: Vec<u16> = lab.removed(a).iter().map(|(_, o)| o.address.0).collect();
    assert_eq!(removed, [2, 1, 0]);
}

#[test]
fn an_address_of_the_other_family_and_of_another_interface_ride_along() {
    let mut settings = web(100);
    let mut elsewhere = address("198.51.100.100/24");
    elsewhere.interface = interface("eth1");
    elsewhere.label = Some("eth1:web".to_owned());
    settings
        .addresses
        .extend([address("2001:db8::100/64"), elsewhere]);
    let (mut lab, a) = active(settings);
    assert_eq!(lab.holds(a, WEB6), Some(interface("eth0")));
    assert_eq!(lab.holds(a, "198.51.100.100"), Some(interface("eth1")));
    lab.stop_now(a);
    let (_, order) = lab.removed(a)[0].clone();
    assert_eq!(order.label.as_deref(), Some("eth1:web"));
    lab.run(secs(1));
    assert!(lab.is_finished(a));
    assert_eq!(lab.holds(a, WEB6), None);
    assert_eq!(lab.holds(a, "198.51.100.100"), None);
}

// Additions that fail.

#[test]
fn an_address_that_cannot_be_added_is_a_fault_that_is_tried_again_with_growing_pauses() {
    let mut lab = Lab::new();
    let a = lab.host(vec![web(200)]);
    let b = lab.host(vec![web(100)]);
    lab.start_all();
    refuse(&mut lab, a, Some("No buffer space available"));
    lab.run_until(a, ACTIVE, secs(5));
    lab.mark();
    lab.run(ms(2));
    assert_eq!(lab.state(a), FAULT);
    assert_eq!(lab.obstacles(a), ["address-failed"]);
    assert_eq!(lab.sent(a), [(ms(2), 0)]);
    let took = lab.run_until(b, ACTIVE, secs(5));
    assert_eq!(took, lab.wire.delay + skew(100), "the other takes over");
    lab.run(secs(1_200));
    let tries: Vec<_> = lab.added(a).iter().map(|(at, _)| *at).collect();
    let mut expected = vec![ms(0)];
    for pause in [5, 10, 20, 40, 80, 160, 300, 300] {
        let last = *expected.last().expect("one");
        expected.push(last + ms(2) + secs(pause) + adi(200));
    }
    assert_eq!(tries, expected.split_off(1));
    let lines = lab.count_facts(a, |fact| matches!(fact, Fact::AddressFailed { .. }));
    assert_eq!(lines, 9);
    refuse(&mut lab, a, None);
    lab.run(secs(310));
    assert_eq!(lab.state(a), ACTIVE);
    assert!(lab.holds(a, WEB).is_some());
    assert_eq!(lab.obstacles(a).len(), 0);
    assert_eq!(lab.state(b), BACKUP);
}

#[test]
fn after_a_success_the_pause_begins_small_again() {
    let mut lab = Lab::new();
    let a = lab.host(vec![web(200)]);
    lab.start(a);
    refuse(&mut lab, a, Some("No buffer space available"));
    lab.run(secs(60));
    refuse(&mut lab, a, None);
    lab.run(secs(120));
    assert_eq!(lab.state(a), ACTIVE);
    refuse(&mut lab, a, Some("No buffer space available"));
    lab.delete_address(a, "eth0", "192.0.2.100/32");
    lab.mark();
    lab.run(ms(3));
    assert_eq!(lab.state(a), FAULT);
    lab.run(secs(5) - us(1));
    assert_eq!(lab.state(a), FAULT);
    lab.run(us(1));
    assert_eq!(lab.state(a), BACKUP);
}

#[test]
fn an_address_that_is_not_required_costs_nothing_but_itself() {
    let mut settings = web(100);
    let mut extra = address("198.51.100.100/24");
    extra.interface = interface("eth1");
    extra.required = false;
    settings.addresses.push(extra);
    let mut lab = Lab::new();
    let a = lab.host(vec![settings]);
    lab.remove_interface(a, "eth1");
    lab.start(a);
    lab.run_until(a, ACTIVE, secs(5));
    lab.run(secs(1));
    assert_eq!(lab.obstacles(a), ["interface-missing"]);
    assert!(lab.holds(a, WEB).is_some());
    lab.mark();
    lab.create_interface(a, "eth1");
    refuse(&mut lab, a, Some("Permission denied"));
    lab.run(secs(1));
    assert_eq!(lab.obstacles(a), ["address-failed"]);
    assert_eq!(lab.state(a), ACTIVE);
    refuse(&mut lab, a, None);
    lab.run(secs(5));
    assert_eq!(lab.obstacles(a).len(), 0);
    assert_eq!(lab.state(a), ACTIVE);
    assert!(lab.holds(a, "198.51.100.100").is_some());
    let announced = lab.announced(a, "198.51.100.100");
    assert!(!announced.is_empty());
    assert_eq!(lab.transitions(a), []);
}

#[test]
fn a_required_address_on_a_missing_interface_is_a_fault() {
    let mut settings = web(100);
    let mut extra = address("198.51.100.100/24");
    extra.interface = interface("eth1");
    settings.addresses.push(extra);
    let mut lab = Lab::new();
    let a = lab.host(vec![settings]);
    lab.remove_interface(a, "eth1");
    lab.start(a);
    assert_eq!(lab.state(a), FAULT);
    lab.run(secs(10));
    lab.create_interface(a, "eth1");
    let took = lab.run_until(a, ACTIVE, secs(5));
    assert_eq!(took, ms(1) + adi(100));
}

// Removals that fail.

#[test]
fn a_refused_removal_is_tried_every_second_and_shown() {
    let (mut lab, a) = active(web(100));
    let b = lab.host(vec![web(200)]);
    lab.at_mut(a).kernel.refuse_remove = Some("Operation not permitted".to_owned());
    lab.forge(b, a, 200);
    lab.mark();
    lab.run(ms(2));
    assert_eq!(
        (lab.state(a), lab.obstacles(a)),
        (BACKUP, vec!["address-not-removed"])
    );
    for _ in 0..3 {
        lab.run(secs(1));
        lab.forge(b, a, 200);
    }
    assert_eq!(lab.state(a), BACKUP, "it is no fault");
    let tries: Vec<_> = lab.removed(a).iter().map(|(at, _)| *at).collect();
    assert_eq!(tries, [ms(1_002), ms(2_004)].map(|at| at), "every second");
    lab.at_mut(a).kernel.refuse_remove = None;
    lab.run(secs(2));
    assert_eq!(lab.obstacles(a).len(), 0);
    assert_eq!(lab.holds(a, WEB), None);
}

/// What is heard first, when both are due, must not make it forget the timer.
#[test]
fn a_refused_removal_is_tried_again_however_much_is_heard() {
    let (mut lab, a) = active(web(100));
    let b = lab.host(vec![web(200)]);
    lab.at_mut(a).kernel.refuse_remove = Some("Device or resource busy".to_owned());
    lab.forge(b, a, 200);
    lab.run(ms(500));
    lab.at_mut(a).kernel.refuse_remove = None;
    lab.pause(a);
    lab.run(ms(600));
    lab.forge(b, a, 200);
    lab.resume(a);
    lab.run(ms(10));
    assert_eq!(lab.holds(a, WEB), None);
}

/// The address never went; the new claim must make sure of it and announce.
#[rstest]
#[case::within_the_pause(ms(500))]
#[case::while_it_is_under_way(ms(1))]
fn claimed_again_after_a_refused_removal(#[case] after: std::time::Duration) {
    let (mut lab, a) = active(web(255));
    let b = lab.host(vec![web(255)]);
    lab.at_mut(a).kernel.refuse_remove = Some("Operation not permitted".to_owned());
    lab.forge(b, a, 255);
    assert_eq!(lab.state(a), BACKUP);
    lab.run(after);
    lab.forge(b, a, 0);
    lab.mark();
    lab.run_until(a, ACTIVE, secs(1));
    lab.run(secs(2));
    assert!(!lab.announced(a, WEB).is_empty(), "announced");
    assert_eq!(lab.obstacles(a).len(), 0, "no longer in the way");
    assert!(lab.status(a).addresses[0].held);
}

/// It stands, though the kernel would not add it again: somebody has to
/// remove it in the end.
#[test]
fn an_address_whose_removal_and_addition_were_refused_is_not_forgotten() {
    let (mut lab, a) = active(web(100));
    let b = lab.host(vec![web(200)]);
    let refused = || Some("Cannot allocate memory".to_owned());
    lab.at_mut(a).kernel.refuse_remove = refused();
    lab.at_mut(a).kernel.refuse_add = refused();
    lab.forge(b, a, 200);
    lab.run(ms(500));
    lab.forge(b, a, 0);
    lab.run_until(a, ACTIVE, secs(1));
    lab.run(ms(10));
    assert_eq!(lab.state(a), ACTIVE);
    lab.at_mut(a).kernel.refuse_remove = None;
    lab.forge(b, a, 200);
    lab.run(ms(10));
    assert_eq!(lab.holds(a, WEB), None);
}

#[test]
fn deleted_by_hand_after_a_refused_removal_it_is_no_fault() {
    let (mut lab, a) = active(web(100));
    let b = lab.host(vec![web(200)]);
    lab.at_mut(a).kernel.refuse_remove = Some("Operation not permitted".to_owned());
    lab.forge(b, a, 200);
    lab.run(ms(300));
    lab.mark();
    lab.delete_address(a, "eth0", "192.0.2.100/32");
    lab.run(ms(100));
    assert_eq!(lab.state(a), BACKUP);
    assert_eq!(lab.obstacles(a).len(), 0);
    assert_eq!(lab.sent(a), [(ms(1), 100)], "the parting advert");
    assert_eq!(restored(&lab, a), 0);
}

// Addresses that others touch.

#[rstest]
fn a_deleted_address_is_put_back_announced_and_reported(#[values(Way::V3, Way::V6)] way: Way) {
    let (mut lab, a) = active(web_by(way, 100));
    let network = lab.status(a).addresses[0].network.addr();
    let length = if way == Way::V6 { 128 } else { 32 };
    lab.delete_address(a, "eth0", &format!("{network}/{length}"));
    lab.run(secs(2));
    let heard = ms(1);
    assert_eq!(lab.added(a).first().map(|(at, _)| *at), Some(heard));
    let back = heard + ms(2);
    let expected: Vec<_> = [0, 20, 100, 300, 1_000]
        .map(|after| back + ms(after))
        .into();
    assert_eq!(lab.announced(a, vip(way)), expected);
    assert_eq!(restored(&lab, a), 1);
    assert_eq!(lab.transitions(a), []);
}

/// Somebody who deletes it again and again gets no tight loop.
#[test]
fn a_fight_over_an_address_is_bounded() {
    let (mut lab, a) = active(web(100));
    lab.at_mut(a).kernel.add_takes = us(10);
    lab.at_mut(a).kernel.report_after = us(10);
    for _ in 0..10_000 {
        if lab.holds(a, WEB).is_some() {
            lab.delete_address(a, "eth0", "192.0.2.100/32");
        }
        lab.run(ms(1));
    }
    // At once, then after 100, 200, 400 and 800 ms, and each second.
    assert_eq!(restored(&lab, a), 13, "in ten seconds");
    lab.run(secs(1));
    assert!(lab.holds(a, WEB).is_some(), "within a second");
    // Left alone for a minute, it is put back at once the next time.
    lab.run(secs(60));
    lab.delete_address(a, "eth0", "192.0.2.100/32");
    lab.run(ms(1));
    assert!(lab.holds(a, WEB).is_some(), "at once");
}

/// The reports of an interface lag behind the acknowledgements.
#[test]
fn a_stale_report_is_no_deletion() {
    let mut lab = Lab::new();
    let a = lab.host(vec![web(100)]);
    lab.start(a);
    lab.run_until(a, ACTIVE, secs(5));
    lab.mark();
    // A report from before the addition, delivered after it.
    let state = lab.hosts[a.0].kernel.state(interface("eth0"));
    lab.at_mut(a).kernel.report_after = ms(500);
    lab.run(ms(10));
    lab.feed(
        a,
        Input::Interface {
            interface: interface("eth0"),
            state,
        },
    );
    lab.run(secs(5));
    assert_eq!(lab.added(a).len(), 0, "nothing was missing");
    let expected: Vec<_> = [0, 20, 100, 300, 1_000].map(|after| ms(2 + after)).into();
    assert_eq!(lab.announced(a, WEB)[..5], expected);
    assert_eq!(restored(&lab, a), 0);
    assert!(lab.holds(a, WEB).is_some());
    assert!(lab.status(a).addresses[0].held);
    assert_eq!(lab.state(a), ACTIVE);
}

#[test]
fn a_stale_report_after_a_removal_changes_nothing() {
    let (mut lab, a) = active(web(100));
    let b = lab.host(vec![web(200)]);
    let state = lab.hosts[a.0].kernel.state(interface("eth0"));
    lab.forge(b, a, 200);
    lab.run(ms(10));
    lab.mark();
    lab.feed(
        a,
        Input::Interface {
            interface: interface("eth0"),
            state,
        },
    );
    lab.run(ms(10));
    lab.forge(b, a, 200);
    lab.run(secs(2));
    assert_eq!(lab.sent(a), [], "one parting advert is enough");
    assert_eq!(lab.holds(a, WEB), None);
    assert_eq!(lab.facts(a), []);
}

/// Nobody reports what came and went between two reports.
#[test]
fn deleted_between_acknowledgement_and_report_it_is_noticed_within_a_second() {
    let mut lab = Lab::new();
    let a = lab.host(vec![web(100)]);
    lab.start(a);
    lab.at_mut(a).kernel.report_after = secs(3_600);
    lab.run_until(a, ACTIVE, secs(5));
    lab.run(ms(3));
    let network = "192.0.2.100/32".parse().expect("an address");
    lab.at_mut(a).kernel.delete(interface("eth0"), network);
    lab.mark();
    lab.run(ms(1_001));
    assert!(lab.holds(a, WEB).is_some());
    assert_eq!(restored(&lab, a), 1);
}

/// The agent was killed; the next one finds what it left.
#[rstest]
#[case::in_the_hosts_subnet("192.0.2.100/24")]
#[case::in_a_subnet_of_its_own("203.0.113.100/24")]
fn what_a_dead_agent_left_is_removed_at_once(#[case] written: &str) {
    let mut settings = web(100);
    settings.addresses = vec![address(written)];
    let (mut lab, a) = active(settings);
    let b = lab.host(vec![web(200)]);
    lab.kill(a);
    lab.run(secs(5));
    lab.start(a);
    lab.run(ms(2));
    let held = lab.hosts[a.0].kernel.holds(address(written).network.addr());
    assert_eq!(held, None);
    lab.forge(b, a, 200);
    assert_eq!(lab.sent(a), []);
}

/// The host got its own address of that subnet after the claim, so that it is
/// in the shadow of ours.
#[test]
fn a_leftover_does_not_take_the_hosts_own_address_along() {
    let mut settings = web(100);
    settings.addresses = vec![address("203.0.113.100/24")];
    let (mut lab, a) = active(settings);
    lab.kill(a);
    let eth0 = interface("eth0");
    let known = lab.at_mut(a).kernel.interfaces.get_mut(&eth0);
    known.expect("eth0").promote_secondaries = false;
    lab.add_own_address(a, "eth0", "203.0.113.1/24", false);
    lab.start(a);
    lab.run(secs(1));
    assert_eq!(lab.holds(a, "203.0.113.100"), None);
    assert_eq!(lab.holds(a, "203.0.113.1"), Some(eth0));
}

#[test]
fn an_address_already_there_is_announced_all_the_same() {
    let mut lab = Lab::new();
    let a = lab.host(vec![web(100)]);
    lab.add_own_address(a, "eth0", "192.0.2.100/32", false);
    lab.start(a);
    lab.run_until(a, ACTIVE, secs(5));
    lab.mark();
    lab.run(ms(2));
    assert_eq!(lab.announced(a, WEB), [ms(2)]);
    assert_eq!(restored(&lab, a), 0);
}
