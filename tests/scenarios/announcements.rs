//! Announcements: bursts, refresh, many addresses, foreign claims
//! (PROTOCOL section 5).

use std::time::Duration;

use rstest::rstest;
use vipward::agent::report::Fact;
use vipward::agent::settings::{AddressSettings, AnnounceSettings, InstanceSettings};
use vipward::agent::status::StateName;
use vipward::agent::values::MacAddress;

use crate::kit::*;

const ACTIVE: StateName = StateName::Active;

/// Announcements count from the acknowledgement, 2 ms after the claim.
fn claimed(settings: InstanceSettings) -> (Lab, HostId) {
    let mut lab = Lab::new();
    let a = lab.host(vec![settings]);
    lab.start(a);
    lab.run_until(a, ACTIVE, secs(5));
    lab.run(ms(2) - us(1));
    assert_eq!(lab.announcements(a), []);
    lab.run(us(1));
    lab.mark_before();
    (lab, a)
}

fn foreign(address: &str) -> Input {
    Input::announcement("eth0", address, MacAddress([2, 0, 0, 0, 9, 9]))
}

#[rstest]
fn two_bursts_and_a_refresh(#[values(Way::V2, Way::V3, Way::V6, Way::V6Unicast)] way: Way) {
    let (mut lab, a) = claimed(web_by(way, 100));
    lab.run(secs(200));
    let expected: Vec<_> = [
        0, 20, 100, 300, 1_000, 5_000, 5_020, 5_100, 5_300, 6_000, 66_000, 126_000, 186_000,
    ]
    .map(ms)
    .into();
    assert_eq!(lab.announced(a, vip(way)), expected);
}

#[rstest]
#[case::one(1, 5, 60, &[0, 5_000, 65_000])]
#[case::no_second_burst(5, 0, 60, &[0, 20, 100, 300, 1_000, 61_000])]
#[case::no_refresh(2, 3, 0, &[0, 20, 3_000, 3_020])]
#[case::longer_than_the_table(7, 0, 0, &[0, 20, 100, 300, 1_000, 2_000, 3_000])]
#[case::second_burst_never_before_the_first_ends(6, 1, 0,
    &[0, 20, 100, 300, 1_000, 2_000, 2_001, 2_020, 2_100, 2_300, 3_000, 4_000])]
fn all_of_it_is_settable(
    #[case] repeat: u8,
    #[case] delay: u64,
    #[case] refresh: u64,
    #[case] expected: &[u64],
) {
    let mut settings = web(100);
    settings.announce = AnnounceSettings {
        repeat,
        delay: secs(delay),
        refresh: secs(refresh),
    };
    let (mut lab, a) = claimed(settings);
    lab.run(secs(100));
    let expected: Vec<Duration> = expected.iter().copied().map(ms).collect();
    assert_eq!(lab.announced(a, WEB), expected);
}

fn with_many(count: u16) -> InstanceSettings {
    let mut settings = web(255);
    settings.addresses = (0..count)
        .map(|n| AddressSettings {
            advertise: n == 0,
            ..address(&format!("10.7.{}.{}/32", n / 250, 1 + n % 250))
        })
        .collect();
    settings
}

/// All are confirmed at the same moment and none waits for another's second.
#[rstest]
fn many_addresses_take_turns(#[values(1, 64, 65, 300)] count: u16) {
    let mut lab = Lab::new();
    let a = lab.host(vec![with_many(count)]);
    lab.start(a);
    lab.run(ms(2) + us(1));
    let wanted: Vec<_> = lab
        .status(a)
        .addresses
        .iter()
        .map(|one| one.network.addr())
        .collect();
    let first: Vec<_> = lab.announcements(a).iter().map(|(_, one)| *one).collect();
    assert_eq!(first, wanted, "each once, in their order");
    lab.run(ms(19));
    assert_eq!(lab.announcements(a).len(), usize::from(count));
    lab.run(ms(1));
    let second: Vec<_> = lab.announcements(a).iter().map(|(_, one)| *one).collect();
    assert_eq!(
        second,
        [wanted.clone(), wanted].concat(),
        "and in order again"
    );
    lab.run(secs(10));
    assert_eq!(lab.announcements(a).len(), 10 * usize::from(count));
}

/// The turn's bound holds where one event makes all of them due.
#[test]
fn a_burst_of_many_is_cut_into_turns() {
    let mut lab = Lab::new();
    let a = lab.host(vec![with_many(500)]);
    let b = lab.host(vec![web(100)]);
    lab.start(a);
    lab.run(secs(20));
    lab.mark();
    lab.forge(b, a, 100);
    let at_once = lab.announcements(a).len();
    assert_eq!(at_once, 64, "in the turn of the advert");
    lab.run(Duration::ZERO);
    assert_eq!(
        lab.announcements(a).len(),
        500,
        "the rest in turns of the same moment"
    );
    lab.run(ms(20));
    assert_eq!(lab.announcements(a).len(), 1_000);
}

/// Confirmed one by one: an early address may be at its second announcement
/// before a late one has its first, but none waits.
#[test]
fn slow_additions_are_announced_one_by_one() {
    let mut lab = Lab::new();
    let mut settings = web(255);
    settings.addresses = (0..50)
        .map(|n| address(&format!("10.7.0.{n}/32")))
        .collect();
    let a = lab.host(vec![settings]);
    lab.start(a);
    let mut seen = 0;
    for _ in 0..50 {
        lab.run(ms(1));
        let now = lab.announcements(a).len();
        assert!(now >= seen);
        seen = now;
    }
    let mut all: Vec<_> = lab.announcements(a).iter().map(|(_, one)| *one).collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 50);
}

#[test]
fn a_backup_and_a_fault_announce_nothing() {
    let (mut lab, a) = claimed(web(100));
    let b = lab.host(vec![web(200)]);
    lab.run(ms(50));
    lab.forge(b, a, 200);
    lab.mark();
    for _ in 0..10 {
        lab.run(secs(1));
        lab.forge(b, a, 200);
    }
    assert_eq!(lab.announcements(a), []);
    lab.link(a, "eth0", false);
    lab.run(secs(100));
    assert_eq!(lab.announcements(a), []);
}

// Foreign announcements.

#[test]
fn a_foreign_announcement_is_answered_once_in_ten_seconds() {
    let (mut lab, a) = claimed(web(100));
    lab.run(secs(30));
    lab.mark();
    for _ in 0..250 {
        lab.feed(a, foreign(WEB));
        lab.run(ms(100));
    }
    let expected = [secs(0), secs(10), secs(20)];
    assert_eq!(lab.announced(a, WEB), expected);
    let told = lab.count_facts(a, |fact| matches!(fact, Fact::ForeignClaim { .. }));
    assert_eq!(told, 3);
    let conflicts = lab.status(a).conflicts;
    assert_eq!(conflicts.len(), 1);
    assert_eq!(conflicts[0].address, ip(WEB));
    assert_eq!(
        conflicts[0].hardware_address,
        MacAddress([2, 0, 0, 0, 9, 9])
    );
    assert_eq!(lab.now().since(conflicts[0].last_seen), ms(100));
    assert_eq!(lab.now().since(conflicts[0].last_defended), secs(5));
    assert_eq!(lab.state(a), ACTIVE);
}

#[test]
fn each_address_has_its_own_defence() {
    let mut settings = web(100);
    settings.addresses.push(address("192.0.2.101/24"));
    settings.addresses.push(address("2001:db8::100/64"));
    let (mut lab, a) = claimed(settings);
    lab.run(secs(30));
    lab.mark();
    for address in [WEB, "192.0.2.101", WEB6, "192.0.2.77"] {
        lab.feed(a, foreign(address));
    }
    let defended: Vec<_> = lab.announcements(a).iter().map(|(_, one)| *one).collect();
    assert_eq!(defended, [ip(WEB), ip("192.0.2.101"), ip(WEB6)]);
    assert_eq!(lab.status(a).conflicts.len(), 3);
}

#[test]
fn an_address_announced_on_another_interface_is_not_ours() {
    let mut settings = web(100);
    let mut other = address("198.51.100.100/24");
    other.interface = interface("eth1");
    settings.addresses.push(other);
    let (mut lab, a) = claimed(settings);
    lab.run(secs(30));
    lab.mark();
    lab.feed(a, foreign("198.51.100.100"));
    assert_eq!(lab.announcements(a), []);
    assert_eq!(lab.status(a).conflicts, []);
}

/// The old Active's last announcements, while the kernel still adds ours.
#[test]
fn before_the_address_is_up_there_is_nothing_to_defend() {
    let mut lab = Lab::new();
    let a = lab.host(vec![web(100)]);
    lab.at_mut(a).kernel.add_takes = ms(500);
    lab.start(a);
    lab.run_until(a, ACTIVE, secs(5));
    lab.mark();
    lab.run(ms(100));
    lab.feed(a, foreign(WEB));
    assert_eq!(lab.announcements(a), []);
    assert_eq!(lab.status(a).conflicts, []);
    lab.run(secs(2));
    lab.feed(a, foreign(WEB));
    assert_eq!(
        lab.announced(a, WEB).last(),
        Some(&ms(2_100)),
        "then at once"
    );
}

#[test]
fn a_backup_and_a_stranger_to_the_address_say_nothing() {
    let mut lab = Lab::new();
    let a = lab.host(vec![web(100)]);
    lab.start(a);
    lab.mark();
    lab.feed(a, foreign(WEB));
    assert_eq!(lab.deeds(a), []);
    assert_eq!(lab.facts(a), []);
}

/// Two of our interfaces may stand on one segment.
#[test]
fn our_own_announcement_heard_by_another_interface_is_nobodys() {
    let mut lab = Lab::new();
    let a = lab.host(vec![web(150)]);
    lab.start(a);
    lab.run(secs(20));
    lab.mark();
    let own = lab.at(a).kernel.mac(interface("eth0"));
    let announcement = |mac| Input::announcement("eth0", WEB, mac);
    lab.feed(a, announcement(own));
    assert!(lab.announced(a, WEB).is_empty());
    assert_eq!(lab.status(a).conflicts, []);
    lab.stop(a);
    lab.feed(a, announcement(own));
    assert_eq!(lab.removed(a).len(), 0, "nobody has relieved it");
    lab.feed(a, announcement(MacAddress([2, 0, 0, 0, 0, 9])));
    assert_eq!(lab.removed(a).len(), 1);
}
