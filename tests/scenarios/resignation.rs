//! Row 9: leaving Active, planned and otherwise (PROTOCOL section 2).

use rstest::rstest;
use vipward::agent::status::{Reason, StateName};
use vipward::agent::values::{AdvertInterval, InstanceName, MacAddress, Vrid};

use crate::kit::*;

const ACTIVE: StateName = StateName::Active;

fn active(way: Way, centis: u16) -> (Lab, HostId, HostId) {
    let mut lab = Lab::new();
    let mut settings = web_by(way, 200);
    settings.advert_interval = match way {
        Way::V2 => AdvertInterval::from_seconds(u8::try_from(centis / 100).expect("small")),
        _ => AdvertInterval::from_centiseconds(centis),
    }
    .expect("in range");
    let mut other = settings.clone();
    other.priority = priority(100);
    let a = lab.host(vec![settings]);
    let b = lab.host(vec![other]);
    lab.start(a);
    lab.run_until(a, ACTIVE, secs(200));
    lab.run(secs(100));
    lab.mark();
    (lab, a, b)
}

#[rstest]
#[case::one_second(Way::V3, 100, secs(1))]
#[case::version_2(Way::V2, 100, secs(1))]
#[case::version_2_slow(Way::V2, 1_000, secs(2))]
#[case::ipv6(Way::V6, 100, secs(1))]
#[case::ten_milliseconds(Way::V3, 1, ms(10))]
#[case::two_seconds(Way::V3, 200, secs(2))]
#[case::never_longer_than_two(Way::V3, 4_095, secs(2))]
fn with_nobody_there_it_answers_for_one_interval(
    #[case] way: Way,
    #[case] centis: u16,
    #[case] expected: std::time::Duration,
) {
    let (mut lab, a, _) = active(way, centis);
    lab.stop(a);
    assert_eq!(lab.sent(a), [(ms(0), 0)], "priority 0 at once");
    assert_eq!(lab.removed(a), []);
    lab.run(expected - us(1));
    assert_eq!(lab.removed(a), []);
    assert!(!lab.is_finished(a));
    lab.run(us(1));
    assert_eq!(lab.removed(a).len(), 1);
    assert!(!lab.is_finished(a), "not before the kernel has done it");
    lab.run(ms(2));
    assert!(lab.is_finished(a));
    assert_eq!(lab.holds(a, vip(way)), None);
    lab.run(secs(100));
    assert_eq!(lab.deeds(a).len(), 2, "and nothing ever after");
    assert_eq!(
        lab.announced(a, vip(way)),
        [std::time::Duration::ZERO; 0],
        "quiet meanwhile"
    );
}

#[rstest]
fn it_is_relieved_by_the_successors_announcement(
    #[values(Way::V2, Way::V3, Way::V3Unicast, Way::V6, Way::V6Unicast)] way: Way,
) {
    let (mut lab, a, b) = active(way, 100);
    lab.start(b);
    lab.run(secs(5));
    lab.mark();
    lab.stop(a);
    lab.run(secs(2));
    let claimed = lab.wire.delay + skew(100);
    assert_eq!(lab.sent(b).first(), Some(&(claimed, 100)));
    let announced = claimed + ms(2);
    assert_eq!(lab.announced(b, vip(way)).first(), Some(&announced));
    let relieved = announced + lab.wire.delay;
    assert_eq!(lab.removed(a).first().map(|(at, _)| *at), Some(relieved));
    assert!(lab.is_finished(a));
}

/// What is announced may be read before what was advertised first.
#[test]
fn it_says_farewell_also_to_whom_it_has_not_heard() {
    let (mut lab, a, _) = active(Way::V3, 100);
    lab.mark();
    lab.stop(a);
    lab.run(ms(100));
    let stranger = MacAddress([2, 0, 0, 0, 9, 9]);
    lab.feed(a, Input::announcement("eth0", WEB, stranger));
    lab.run(ms(50));
    let removed = lab.removed(a);
    assert_eq!(removed.len(), 1);
    assert!(removed[0].1.lingers, "what clients still send is taken");
    let priorities: Vec<u8> = lab.sent(a).iter().map(|(_, priority)| *priority).collect();
    assert_eq!(priorities, [0, 1], "so that it announces again");
}

#[test]
fn it_is_relieved_50_ms_after_the_successors_advert() {
    let (mut lab, a, b) = active(Way::V3, 100);
    lab.stop(a);
    lab.run(ms(500));
    lab.forge(b, a, 100);
    lab.run(ms(30));
    lab.forge(b, a, 100);
    lab.run(ms(20) - us(1));
    assert_eq!(lab.removed(a), []);
    lab.run(us(1));
    assert_eq!(lab.removed(a).len(), 1, "the second does not prolong it");
    assert_eq!(lab.sent(a).len(), 1, "and nobody is answered");
}

/// Of one instance or of as many: its kernel takes its time, and until then
/// nobody else would answer.
#[rstest]
#[case::of_one(1, 100, false)]
#[case::of_each(100, 1, false)]
#[case::of_those_that_a_reload_removes(100, 1, true)]
fn a_successor_of_a_hundred_addresses_gets_90_ms_more(
    #[case] instances: u8,
    #[case] each: u8,
    #[case] removed: bool,
) {
    let mut lab = Lab::new();
    let all = (1..=instances).map(|number| {
        let mut settings = web(150);
        settings.name = InstanceName::new(&format!("i{number}"));
        settings.vrid = Vrid::new(number).expect("in range");
        settings.addresses = (1..=each)
            .map(|n| address(&format!("10.9.{number}.{n}/32")))
            .collect();
        settings
    });
    let all: Vec<_> = all.collect();
    let a = lab.host(all.clone());
    let b = lab.host(all.clone());
    lab.start(a);
    lab.run(secs(20));
    lab.mark();
    match removed {
        true => lab.reload(a, all.last().cloned().into_iter().collect()),
        false => lab.stop(a),
    }
    lab.run(ms(500));
    lab.forge(b, a, 100);
    lab.run(ms(140) - us(1));
    assert_eq!(lab.removed(a), []);
    lab.run(us(1));
    assert_eq!(lab.removed(a).len(), usize::from(each));
}

#[test]
fn stopped_within_its_burst_it_is_quiet_at_once() {
    let mut lab = Lab::new();
    let a = lab.host(vec![web(200)]);
    lab.start(a);
    lab.run_until(a, ACTIVE, secs(5));
    lab.run(ms(50));
    lab.stop(a);
    lab.mark();
    lab.run(secs(10));
    assert_eq!(lab.announced(a, WEB), [std::time::Duration::ZERO; 0]);
}

#[test]
fn a_successor_just_before_the_end_does_not_prolong_it() {
    let (mut lab, a, b) = active(Way::V3, 100);
    lab.stop(a);
    lab.run(ms(980));
    lab.forge(b, a, 100);
    lab.run(ms(20));
    assert_eq!(lab.removed(a).len(), 1);
}

#[test]
fn priority_0_of_another_is_no_relief() {
    let (mut lab, a, b) = active(Way::V3, 100);
    lab.stop(a);
    lab.run(ms(100));
    lab.forge(b, a, 0);
    lab.run(ms(100));
    assert_eq!(lab.removed(a), []);
}

#[test]
fn an_announcement_of_another_address_is_no_relief() {
    let (mut lab, a, _) = active(Way::V3, 100);
    lab.stop(a);
    lab.run(ms(100));
    for (name, address) in [("eth0", "192.0.2.101"), ("eth1", WEB)] {
        let announcement = Input::announcement(name, address, MacAddress([2; 6]));
        lab.feed(a, announcement);
    }
    assert_eq!(lab.removed(a), []);
}

#[test]
fn the_second_stop_releases_at_once() {
    let (mut lab, a, _) = active(Way::V3, 100);
    lab.stop(a);
    lab.stop_now_in(a, ms(200));
    lab.run(ms(202));
    assert_eq!(lab.removed(a).first().map(|(at, _)| *at), Some(ms(200)));
    assert!(lab.is_finished(a));
    assert_eq!(lab.sent(a), [(ms(0), 0)], "said once");
}

#[test]
fn stopped_at_once_it_says_so_first() {
    let (mut lab, a, _) = active(Way::V3, 100);
    lab.stop_now(a);
    let deeds: Vec<String> = lab.deeds(a).into_iter().map(|(_, deed)| deed).collect();
    assert_eq!(deeds, ["advert 0", "remove 192.0.2.100/32"]);
    lab.run(ms(2));
    assert!(lab.is_finished(a));
}

#[test]
fn a_planned_stop_twice_changes_nothing() {
    let (mut lab, a, _) = active(Way::V3, 100);
    lab.stop(a);
    lab.stop_in(a, ms(500));
    lab.run(secs(2));
    assert_eq!(lab.removed(a).first().map(|(at, _)| *at), Some(secs(1)));
    assert_eq!(lab.sent(a).len(), 1);
}

#[test]
fn stopped_before_its_address_was_confirmed() {
    let mut lab = Lab::new();
    let a = lab.host(vec![web(200)]);
    lab.at_mut(a).kernel.add_takes = secs(3);
    lab.start(a);
    lab.run_until(a, ACTIVE, secs(5));
    lab.mark();
    lab.stop_now(a);
    assert!(!lab.is_finished(a));
    lab.run(secs(2));
    assert!(!lab.is_finished(a), "an addition is under way");
    lab.run(secs(2));
    assert!(lab.is_finished(a));
    assert_eq!(lab.holds(a, WEB), None);
    assert_eq!(lab.announced(a, WEB), [std::time::Duration::ZERO; 0]);
}

#[test]
fn not_finished_while_a_removal_is_refused() {
    let (mut lab, a, _) = active(Way::V3, 100);
    lab.at_mut(a).kernel.refuse_remove = Some("Operation not permitted".to_owned());
    lab.stop_now(a);
    lab.run(secs(10));
    assert!(!lab.is_finished(a));
    assert_eq!(lab.removed(a).len(), 10, "tried every second");
    lab.at_mut(a).kernel.refuse_remove = None;
    lab.run(secs(2));
    assert!(lab.is_finished(a));
}

#[test]
fn in_fault_it_releases_at_once_and_says_so_first() {
    let mut lab = Lab::new();
    let mut settings = web(200);
    let mut other = address("198.51.100.100/24");
    other.interface = interface("eth1");
    settings.addresses.push(other);
    let a = lab.host(vec![settings]);
    lab.start(a);
    lab.run_until(a, ACTIVE, secs(5));
    lab.run(ms(500));
    lab.mark();
    lab.remove_interface(a, "eth1");
    lab.run(ms(1));
    assert_eq!(lab.state(a), StateName::Fault);
    let expected = [
        (ms(1), "advert 0".to_owned()),
        (ms(1), "remove 192.0.2.100/32".to_owned()),
    ];
    assert_eq!(lab.deeds(a), expected);
    let last = lab.transitions(a).last().copied();
    assert_eq!(last, Some((ms(1), StateName::Fault, Reason::Obstacle)));
}

#[test]
fn a_fault_ends_a_planned_resignation() {
    let mut lab = Lab::new();
    let a = lab.host(vec![web(200)]);
    lab.start(a);
    lab.run_until(a, ACTIVE, secs(5));
    lab.run(ms(500));
    lab.mark();
    lab.stop(a);
    lab.run(ms(100));
    lab.link(a, "eth0", false);
    lab.run(ms(1));
    assert_eq!(lab.removed(a).len(), 1);
    lab.run(ms(2));
    assert!(lab.is_finished(a));
    assert_eq!(lab.sent(a), [(ms(0), 0)]);
}

#[test]
fn the_owners_own_address_stays() {
    let mut lab = Lab::new();
    let a = lab.host(vec![web(255)]);
    lab.add_own_address(a, "eth0", "192.0.2.100/24", false);
    lab.start(a);
    lab.run(secs(5));
    assert_eq!(lab.announced(a, WEB).first(), Some(&ms(2)));
    lab.mark();
    lab.stop(a);
    lab.run(secs(1));
    assert!(lab.is_finished(a));
    assert_eq!(lab.sent(a), [(ms(0), 0)]);
    assert_eq!(lab.removed(a), []);
    assert!(lab.holds(a, WEB).is_some());
}

#[test]
fn an_owner_that_loses_a_tie_keeps_its_own_address() {
    let mut lab = Lab::new();
    let a = lab.host(vec![web(255)]);
    let b = lab.host(vec![web(255)]);
    lab.add_own_address(a, "eth0", "192.0.2.100/24", false);
    lab.start(a);
    lab.run(ms(1_500));
    lab.mark();
    lab.forge(b, a, 255);
    lab.run(secs(1));
    assert_eq!(lab.state(a), StateName::Backup);
    assert_eq!(lab.removed(a), []);
    assert_eq!(lab.sent(a), [(ms(0), 255)], "the parting advert at once");
}

/// One of two addresses announced by the successor: the other is not its yet.
#[test]
fn it_is_relieved_when_every_address_was_announced() {
    let mut lab = Lab::new();
    let mut settings = web(150);
    settings.addresses.push(address("192.0.2.101/24"));
    let a = lab.host(vec![settings]);
    lab.start(a);
    lab.run(secs(5));
    lab.stop(a);
    lab.mark();
    for (announced, removed) in [("192.0.2.101", 0), ("192.0.2.101", 0), ("192.0.2.100", 2)] {
        lab.run(ms(1));
        let announcement = Input::announcement("eth0", announced, MacAddress([2; 6]));
        lab.feed(a, announcement);
        assert_eq!(lab.removed(a).len(), removed, "after {announced}");
    }
}
