//! Rows 1 to 13 of the state table (PROTOCOL section 2), one by one, by every
//! way that advertisements travel.

use rstest::rstest;
use vipward::agent::status::{Reason, StateName};
use vipward::agent::values::MacAddress;

use crate::kit::*;

/// A, Active since the mark, and a host B that only speaks when forged.
fn active(way: Way, ours: u8, theirs: u8) -> (Lab, HostId, HostId) {
    let mut lab = Lab::new();
    let a = lab.host(vec![web_by(way, ours)]);
    let b = lab.host(vec![web_by(way, theirs)]);
    lab.start(a);
    lab.run_until(a, StateName::Active, secs(5));
    lab.mark();
    (lab, a, b)
}

/// A in Backup since the mark, and B.
fn backup(way: Way, ours: u8, theirs: u8) -> (Lab, HostId, HostId) {
    let mut lab = Lab::new();
    let a = lab.host(vec![web_by(way, ours)]);
    let b = lab.host(vec![web_by(way, theirs)]);
    lab.start(a);
    assert_eq!(lab.state(a), StateName::Backup);
    (lab, a, b)
}

const ACTIVE: StateName = StateName::Active;
const BACKUP: StateName = StateName::Backup;

#[rstest]
fn row_1_the_owner_claims_at_once(
    #[values(Way::V2, Way::V3, Way::V3Unicast, Way::V6, Way::V6Unicast)] way: Way,
) {
    let mut lab = Lab::new();
    let a = lab.host(vec![web_by(way, 255)]);
    lab.start(a);
    assert_eq!(lab.state(a), ACTIVE);
    lab.run(ms(2_500));
    let sent = [(ms(0), 255), (secs(1), 255), (secs(2), 255)];
    assert_eq!(lab.sent(a), sent);
    assert_eq!(lab.added(a).len(), 1);
    assert_eq!(lab.announced(a, vip(way)).first(), Some(&ms(2)));
    let last = lab.transitions(a).last().copied();
    assert_eq!(last, Some((ms(0), ACTIVE, Reason::Startup)));
}

#[rstest]
fn rows_2_and_5_alone_it_listens_for_active_down_interval_and_claims(
    #[values(Way::V2, Way::V3, Way::V3Unicast, Way::V6, Way::V6Unicast)] way: Way,
    #[values(1, 100, 254)] value: u8,
) {
    let mut lab = Lab::new();
    let a = lab.host(vec![web_by(way, value)]);
    lab.start(a);
    lab.run(adi(value) - us(1));
    assert_eq!(lab.state(a), BACKUP);
    assert_eq!(lab.deeds(a), []);
    lab.run(us(1));
    assert_eq!(lab.state(a), ACTIVE);
    assert_eq!(lab.sent(a), [(adi(value), value)]);
    lab.run(secs(3));
    let sent: Vec<_> = (0..4).map(|n| (adi(value) + secs(n), value)).collect();
    assert_eq!(lab.sent(a), sent, "row 10: one every interval");
    let first = lab.announced(a, vip(way)).first().copied();
    assert_eq!(first, Some(adi(value) + ms(2)), "upon the acknowledgement");
    let last = lab.transitions(a).last().copied();
    assert_eq!(last, Some((adi(value), ACTIVE, Reason::NoResponse)));
}

#[rstest]
fn row_3_in_initialize_nothing_is_done(
    #[values(Way::V2, Way::V3, Way::V3Unicast, Way::V6, Way::V6Unicast)] way: Way,
) {
    let mut lab = Lab::new();
    let a = lab.host(vec![web_by(way, 255)]);
    let b = lab.host(vec![web_by(way, 100)]);
    lab.boot(a);
    for value in [0, 1, 255] {
        lab.forge(b, a, value);
    }
    let announcement = Input::announcement("eth0", vip(way), MacAddress([2; 6]));
    lab.feed(a, announcement);
    lab.feed(a, Input::Wake);
    lab.run(secs(100));
    lab.feed(a, Input::Wake);
    assert_eq!(lab.deeds(a), []);
    assert_eq!(lab.state(a), StateName::Initialize);
    lab.stop(a);
    assert_eq!(lab.deeds(a), []);
    assert!(lab.is_finished(a));
}

#[rstest]
fn row_4_a_backup_stops_without_a_word(
    #[values(Way::V2, Way::V3, Way::V3Unicast, Way::V6, Way::V6Unicast)] way: Way,
) {
    let (mut lab, a, b) = backup(way, 100, 200);
    lab.run(secs(1));
    lab.stop(a);
    assert!(lab.is_finished(a));
    assert_eq!(lab.state(a), StateName::Initialize);
    lab.forge(b, a, 0);
    lab.run(secs(100));
    assert_eq!(lab.deeds(a), []);
}

#[rstest]
fn row_6_after_priority_0_it_waits_for_skew_time_only(
    #[values(Way::V2, Way::V3, Way::V3Unicast, Way::V6, Way::V6Unicast)] way: Way,
) {
    let (mut lab, a, b) = backup(way, 100, 200);
    lab.forge(b, a, 200);
    lab.run(ms(700));
    lab.forge(b, a, 0);
    lab.mark();
    assert_eq!(lab.run_until(a, ACTIVE, secs(5)), skew(100));
    assert_eq!(lab.sent(a), [(skew(100), 100)]);
    let last = lab.transitions(a).last().copied();
    assert_eq!(last, Some((skew(100), ACTIVE, Reason::Priority)));
}

#[test]
fn row_6_skew_time_is_that_of_the_learned_interval_and_priority_0_teaches_none() {
    let (mut lab, a, b) = backup(Way::V3, 100, 200);
    let mut slow = lab.forged(b, a, 200);
    slow.timing = v3_timing(1_000);
    lab.inject(a, &slow);
    let mut parting = lab.forged(b, a, 0);
    parting.timing = v3_timing(10);
    lab.inject(a, &parting);
    let skew = skew_at(100, 1_000);
    assert_eq!(lab.run_until(a, ACTIVE, secs(60)), skew);
}

#[rstest]
#[case::higher(200)]
#[case::equal(100)]
fn row_7_a_winning_advert_rearms_the_timer(
    #[case] theirs: u8,
    #[values(Way::V2, Way::V3, Way::V3Unicast, Way::V6, Way::V6Unicast)] way: Way,
) {
    let (mut lab, a, b) = backup(way, 100, theirs);
    for _ in 0..5 {
        lab.run(adi(100) - us(1));
        lab.forge(b, a, theirs);
    }
    assert_eq!(lab.deeds(a), []);
    let known = lab.status(a).active_router.map(|known| known.priority);
    assert_eq!(known, Some(theirs));
    assert_eq!(lab.run_until(a, ACTIVE, secs(5)), adi(100));
}

#[rstest]
fn row_8_a_losing_advert_does_not_move_the_timer(
    #[values(Way::V2, Way::V3, Way::V3Unicast, Way::V6, Way::V6Unicast)] way: Way,
) {
    let (mut lab, a, b) = backup(way, 100, 99);
    for _ in 0..3 {
        lab.run(secs(1));
        lab.forge(b, a, 99);
    }
    assert_eq!(lab.run_until(a, ACTIVE, secs(5)), skew(100));
    let last = lab.transitions(a).last().copied();
    assert_eq!(last, Some((adi(100), ACTIVE, Reason::Preempted)));
}

// Row 9 has a file of its own: `resignation`.

#[rstest]
fn row_11_the_active_answers_priority_0_and_starts_its_interval_anew(
    #[values(Way::V2, Way::V3, Way::V3Unicast, Way::V6, Way::V6Unicast)] way: Way,
) {
    let (mut lab, a, b) = active(way, 100, 200);
    lab.run(ms(300));
    lab.forge(b, a, 0);
    lab.run(ms(2_500));
    let expected = [(ms(300), 100), (ms(1_300), 100), (ms(2_300), 100)];
    assert_eq!(lab.sent(a), expected);
    assert_eq!(lab.state(a), ACTIVE);
    assert_eq!(lab.status(a).counters.priority_zero_received, 1);
}

#[rstest]
#[case::higher(100, 101)]
#[case::equal_and_the_greater_address(100, 100)]
#[case::owner(254, 255)]
#[case::two_owners(255, 255)]
fn row_12_the_active_yields(
    #[case] ours: u8,
    #[case] theirs: u8,
    #[values(Way::V2, Way::V3, Way::V3Unicast, Way::V6, Way::V6Unicast)] way: Way,
) {
    let (mut lab, a, b) = active(way, ours, theirs);
    lab.run(ms(300));
    lab.forge(b, a, theirs);
    assert_eq!(lab.state(a), BACKUP);
    assert_eq!(lab.removed(a).len(), 1);
    assert_eq!(lab.sent(a), [], "nothing until the address is gone");
    lab.run(secs(1));
    let sent = [(ms(302), ours)];
    assert_eq!(lab.sent(a), sent, "one parting advertisement");
    let last = lab.transitions(a).last().copied();
    assert_eq!(last, Some((ms(300), BACKUP, Reason::Preempted)));
    lab.run_until(a, ACTIVE, secs(5));
    assert_eq!(lab.elapsed(), ms(300) + adi(ours), "and the timer runs");
}

#[rstest]
#[case::lower(100, 99)]
#[case::equal_and_the_smaller_address(100, 100)]
#[case::owner(255, 254)]
fn row_13_the_active_answers_a_loser_and_announces_again(
    #[case] ours: u8,
    #[case] theirs: u8,
    #[values(Way::V2, Way::V3, Way::V3Unicast, Way::V6, Way::V6Unicast)] way: Way,
) {
    let mut lab = Lab::new();
    let low = lab.host(vec![web_by(way, theirs)]);
    let a = lab.host(vec![web_by(way, ours)]);
    lab.start(a);
    lab.run_until(a, ACTIVE, secs(5));
    lab.run(secs(10));
    lab.mark();
    let phase = next_advert(&mut lab, a);
    lab.run(ms(300));
    lab.forge(low, a, theirs);
    lab.run(secs(2));
    let mut sent = vec![(phase, ours)];
    if way != Way::V2 {
        sent.push((phase + ms(300), ours));
    }
    sent.extend([(phase + secs(1), ours), (phase + secs(2), ours)]);
    assert_eq!(lab.sent(a), sent, "at once, and the schedule stays");
    let burst: Vec<_> = [0, 20, 100, 300, 1_000]
        .map(|after| phase + ms(300 + after))
        .into();
    assert_eq!(lab.announced(a, vip(way)), burst);
    assert_eq!(lab.removed(a), []);
    assert_eq!(lab.state(a), ACTIVE);
}

/// Runs until A has sent its next advertisement; when that was.
fn next_advert(lab: &mut Lab, a: HostId) -> std::time::Duration {
    let before = lab.sent(a).len();
    while lab.sent(a).len() == before {
        lab.step();
    }
    lab.elapsed()
}

#[rstest]
fn two_hosts_agree_and_the_second_follows_the_first_into_silence(
    #[values(Way::V2, Way::V3, Way::V3Unicast, Way::V6, Way::V6Unicast)] way: Way,
) {
    let mut lab = Lab::new();
    let a = lab.host(vec![web_by(way, 150)]);
    let b = lab.host(vec![web_by(way, 100)]);
    lab.start_all();
    lab.run(secs(20));
    assert_eq!((lab.state(a), lab.state(b)), (ACTIVE, BACKUP));
    assert_eq!(lab.sent(b), []);
    let last = lab.sent(a).last().copied().expect("it advertises").0;
    lab.power_off(a);
    lab.run_until(b, ACTIVE, secs(5));
    assert_eq!(lab.elapsed(), last + lab.wire.delay + adi(100));
    lab.mark();
    lab.start(a);
    lab.run_until(a, ACTIVE, secs(5));
    assert_eq!(lab.elapsed(), adi(150), "it preempts");
    lab.run(ms(10));
    assert_eq!(lab.state(b), BACKUP);
    assert_eq!(lab.holds(b, vip(way)), None);
    assert_eq!(lab.holds(a, vip(way)), Some(interface("eth0")));
}

#[test]
fn the_order_of_a_claim_is_advert_address_announcement() {
    let (mut lab, a, _) = active(Way::V3, 100, 50);
    lab.run(ms(30));
    let deeds: Vec<String> = lab.deeds(a).into_iter().map(|(_, deed)| deed).collect();
    assert_eq!(deeds, ["announce 192.0.2.100", "announce 192.0.2.100"]);
    let mut lab = Lab::new();
    let a = lab.host(vec![web(255)]);
    lab.start(a);
    lab.run(ms(2));
    let deeds = lab.deeds(a);
    let expected = [
        (ms(0), "advert 255".to_owned()),
        (ms(0), "add 192.0.2.100/32".to_owned()),
        (ms(2), "announce 192.0.2.100".to_owned()),
    ];
    assert_eq!(deeds, expected);
}
