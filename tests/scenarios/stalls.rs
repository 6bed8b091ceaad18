//! Late timers (PROTOCOL section 6): a host that did not run knows nothing
//! of its peers' silence, and may no longer be what it was.

use rstest::rstest;
use vipward::agent::report::{Fact, StallOutcome};
use vipward::agent::settings::InstanceSettings;
use vipward::agent::status::{Reason, StateName};

use crate::kit::*;

const ACTIVE: StateName = StateName::Active;
const BACKUP: StateName = StateName::Backup;

fn late_lines(lab: &Lab, host: HostId) -> usize {
    lab.count_facts(host, |fact| matches!(fact, Fact::LateDownTimer { .. }))
}

fn stall_lines(lab: &Lab, host: HostId) -> usize {
    lab.count_facts(host, |fact| matches!(fact, Fact::Stalled { .. }))
}

// A Backup that did not run.

#[rstest]
fn a_late_backup_waits_one_interval_more_once(#[values(Way::V2, Way::V3, Way::V6)] way: Way) {
    let mut lab = Lab::new();
    let a = lab.host(vec![web_by(way, 100)]);
    lab.start(a);
    lab.mark();
    lab.pause_for(a, adi(100) + secs(1) + us(1));
    assert_eq!(lab.state(a), BACKUP);
    assert_eq!(late_lines(&lab, a), 1);
    assert_eq!(lab.status(a).counters.stalls, 1);
    let took = lab.run_until(a, ACTIVE, secs(5));
    assert_eq!(took, secs(1) + skew(100));
}

/// Its lateness is no less for what is learned on the way to the timer.
#[rstest]
#[case::lowered(50)]
#[case::raised(150)]
fn a_late_backup_with_a_new_priority_waits_too(#[case] value: u8) {
    let mut lab = Lab::new();
    let a = lab.host(vec![web(100)]);
    lab.start(a);
    lab.pause(a);
    lab.run(secs(10));
    let mut settings = lab.at(a).settings.clone();
    settings.instances = vec![web(value)];
    lab.feed(a, Input::Reload(Box::new(settings)));
    lab.resume(a);
    assert_eq!(lab.state(a), BACKUP);
    assert_eq!(late_lines(&lab, a), 1);
    let took = lab.run_until(a, ACTIVE, secs(5));
    assert_eq!(took, secs(1) + skew(value));
}

#[test]
fn late_by_an_interval_it_claims_at_once() {
    let mut lab = Lab::new();
    let a = lab.host(vec![web(100)]);
    lab.start(a);
    lab.pause_for(a, adi(100) + secs(1));
    assert_eq!(lab.state(a), ACTIVE);
    assert_eq!(late_lines(&lab, a), 0);
}

#[test]
fn late_twice_it_claims() {
    let mut lab = Lab::new();
    let a = lab.host(vec![web(100)]);
    lab.start(a);
    lab.pause_for(a, secs(10));
    assert_eq!(lab.state(a), BACKUP);
    lab.pause_for(a, secs(10));
    assert_eq!(lab.state(a), ACTIVE);
    assert_eq!(late_lines(&lab, a), 1);
}

#[test]
fn an_advert_in_the_socket_is_judged_before_the_timer() {
    let mut lab = Lab::new();
    let a = lab.host(vec![web(150)]);
    let b = lab.host(vec![web(100)]);
    lab.start_all();
    lab.run(secs(10));
    lab.mark();
    lab.pause_for(b, secs(60));
    assert_eq!(late_lines(&lab, b), 0, "the socket held 60 of them");
    assert_eq!((lab.state(a), lab.state(b)), (ACTIVE, BACKUP));
    lab.run(secs(60));
    assert_eq!(lab.sent(b), []);
}

/// The next stall is forgiven again once an advertisement was heard.
#[test]
fn forgiven_again_after_an_advert() {
    let mut lab = Lab::new();
    let a = lab.host(vec![web(100)]);
    let b = lab.host(vec![web(200)]);
    lab.start(a);
    for _ in 0..3 {
        lab.pause_for(a, secs(10));
        assert_eq!(lab.state(a), BACKUP);
        lab.run(ms(500));
        lab.forge(b, a, 200);
    }
    assert_eq!(late_lines(&lab, a), 3);
}

/// The pause is measured by the interval of the Active.
#[test]
fn lateness_is_measured_by_the_learned_interval() {
    let mut lab = Lab::new();
    let a = lab.host(vec![web(100)]);
    let b = lab.host(vec![web(200)]);
    lab.start(a);
    let mut slow = lab.forged(b, a, 200);
    slow.timing = v3_timing(1_000);
    lab.inject(a, &slow);
    let patience = secs(30) + skew_at(100, 1_000);
    lab.pause_for(a, patience + secs(10) + us(1));
    assert_eq!(lab.state(a), BACKUP);
    let took = lab.run_until(a, ACTIVE, secs(30));
    assert_eq!(took, secs(10) + skew_at(100, 1_000));
}

#[test]
fn priority_0_followed_by_a_stall_is_forgiven_too() {
    let mut lab = Lab::new();
    let a = lab.host(vec![web(100)]);
    let b = lab.host(vec![web(200)]);
    lab.start(a);
    lab.forge(b, a, 0);
    lab.pause_for(a, skew(100) + secs(1) + us(1));
    assert_eq!(lab.state(a), BACKUP, "another Backup may have it by now");
    assert_eq!(lab.run_until(a, ACTIVE, secs(5)), secs(1) + skew(100));
}

// An Active that did not run.

fn active(way: Way, ours: u8) -> (Lab, HostId) {
    let mut lab = Lab::new();
    let a = lab.host(vec![web_by(way, ours)]);
    lab.start(a);
    lab.run_until(a, ACTIVE, secs(5));
    lab.run(secs(20));
    lab.mark();
    (lab, a)
}

#[rstest]
fn a_late_active_announces_again(#[values(Way::V2, Way::V3, Way::V6)] way: Way) {
    let (mut lab, a) = active(way, 100);
    lab.pause_for(a, secs(2) + us(1));
    let now = secs(2) + us(1);
    lab.run(ms(500));
    assert_eq!(lab.sent(a), [(now, 100)], "one, and nothing is made up for");
    let burst: Vec<_> = [0, 20, 100, 300].map(|after| now + ms(after)).into();
    assert_eq!(lab.announced(a, vip(way)), burst);
    assert_eq!(stall_lines(&lab, a), 1);
    assert_eq!(lab.status(a).counters.stalls, 1);
    lab.run(ms(500));
    assert_eq!(lab.sent(a).last(), Some(&(now + secs(1), 100)));
}

#[test]
fn late_by_no_more_than_an_interval_is_nothing() {
    let (mut lab, a) = active(Way::V3, 100);
    lab.pause_for(a, secs(2));
    lab.run(us(1));
    assert_eq!(lab.sent(a), [(secs(2), 100)]);
    assert_eq!(lab.announced(a, WEB), [std::time::Duration::ZERO; 0]);
    assert_eq!(stall_lines(&lab, a), 0);
}

#[test]
fn small_lateness_does_not_add_up() {
    let (mut lab, a) = active(Way::V3, 100);
    for _ in 0..10 {
        lab.pause_for(a, ms(1_030));
        lab.run(ms(970));
    }
    let expected: Vec<_> = (0..10)
        .flat_map(|n| [ms(2_000 * n + 1_030), ms(2_000 * n + 2_000)])
        .map(|at| (at, 100))
        .collect();
    assert_eq!(lab.sent(a), expected);
}

/// On a busy machine a short interval is missed all the time.
#[test]
fn many_stalls_make_few_lines_and_one_burst_a_second() {
    let mut lab = Lab::new();
    let mut settings = web(100);
    settings.advert_interval = centiseconds(1);
    let a = lab.host(vec![settings]);
    lab.start(a);
    lab.run_until(a, ACTIVE, secs(5));
    lab.run(secs(20));
    lab.mark();
    for _ in 0..240 {
        lab.pause_for(a, ms(25));
        lab.run(ms(25));
    }
    assert_eq!(lab.status(a).counters.stalls, 240);
    let lines = stall_lines(&lab, a);
    assert!((1..=6).contains(&lines), "{lines} lines in twelve seconds");
    let announced = lab.announced(a, WEB).len();
    assert!((12..=62).contains(&announced), "{announced} announcements");
}

/// Clients that have just learnt another router do not wait for the end of a
/// pause that a stumble of this host began.
#[rstest]
fn a_loser_right_after_a_stall_is_answered_by_a_burst(
    #[values(Way::V2, Way::V3, Way::V6)] way: Way,
) {
    let (mut lab, a) = active(way, 200);
    let b = lab.host(vec![web_by(way, 100)]);
    lab.pause_for(a, secs(2) + us(1));
    lab.run(ms(400));
    lab.mark();
    lab.forge(b, a, 100);
    lab.run(ms(500));
    let burst = [0, 20, 100, 300].map(ms);
    assert_eq!(lab.announced(a, vip(way)), burst);
    // The next within a second is owed one, at its end.
    lab.forge(b, a, 100);
    lab.run(ms(1_400));
    let again = [0, 20, 100, 300].map(|after| secs(1) + ms(after));
    assert_eq!(lab.announced(a, vip(way))[4..], again);
}

/// It says what it does: within a second of another burst it announces later.
#[test]
fn a_stall_right_after_a_burst_says_that_one_is_owed() {
    let mut lab = Lab::new();
    let a = lab.host(vec![InstanceSettings {
        advert_interval: centiseconds(10),
        ..web(200)
    }]);
    let b = lab.host(vec![web(100)]);
    lab.start(a);
    lab.run(secs(5));
    lab.forge(b, a, 100);
    lab.run(ms(350));
    lab.mark();
    lab.pause_for(a, ms(250));
    lab.run(ms(50));
    let soon = |fact: &Fact| {
        matches!(
            fact,
            Fact::Stalled {
                outcome: StallOutcome::AnnouncesSoon,
                ..
            }
        )
    };
    assert_eq!(lab.count_facts(a, soon), 1);
    assert_eq!(lab.announced(a, WEB), [std::time::Duration::ZERO; 0]);
    lab.run(secs(1));
    assert!(!lab.announced(a, WEB).is_empty(), "never announced");
}

/// Whoever spoke in the meantime is the Active now, whatever the priorities.
#[rstest]
#[case::a_higher_successor(100, 150)]
#[case::a_lower_successor(150, 100)]
#[case::an_equal_successor(150, 150)]
#[case::an_owner_oversleeps(255, 100)]
fn an_active_that_overslept_is_backup_upon_hearing_anybody(
    #[case] ours: u8,
    #[case] theirs: u8,
    #[values(Way::V2, Way::V3, Way::V3Unicast, Way::V6, Way::V6Unicast)] way: Way,
) {
    let mut lab = Lab::new();
    let a = lab.host(vec![web_by(way, ours)]);
    let b = lab.host(vec![web_by(way, theirs)]);
    lab.start(a);
    lab.run(secs(10));
    lab.start(b);
    // As Backup, whatever its priority: A goes on being heard or it yields.
    lab.run(ms(500));
    lab.pause(a);
    lab.run_until(b, ACTIVE, secs(10));
    lab.run(secs(20));
    lab.mark();
    lab.resume(a);
    assert_eq!(lab.state(a), BACKUP);
    assert_eq!(lab.sent(a), []);
    assert_eq!(lab.announced(a, vip(way)), [std::time::Duration::ZERO; 0]);
    let last = lab.transitions(a).last().copied();
    assert_eq!(last, Some((secs(0), BACKUP, Reason::Stalled)));
    lab.run(ms(10));
    let parting = lab.sent(a);
    let [(at, value)] = parting.as_slice() else {
        panic!("one parting advert: {parting:?}");
    };
    assert_eq!(*at, ms(2), "when the address was gone");
    let lingering = lab.removed(a).iter().any(|one| one.1.lingers);
    assert!(!lingering, "clients know the other by now");
    assert!(
        *value > 0 && *value <= theirs,
        "{value} must lose to {theirs}"
    );
    if ours >= theirs && theirs == 100 {
        assert_eq!(*value, 100, "the highest that loses to a higher address");
    }
    assert_eq!(lab.state(b), ACTIVE, "it did not win");
    let burst = lab.announced(b, vip(way));
    assert_eq!(burst.first(), Some(&ms(3)), "B announces against it");
}

/// A lower address with the same priority would win the tie; one less is sent.
#[test]
fn the_parting_advert_of_a_greater_address_is_one_lower() {
    let mut lab = Lab::new();
    let b = lab.host(vec![web(100)]);
    let a = lab.host(vec![web(150)]);
    lab.start(a);
    lab.run(secs(10));
    lab.start(b);
    lab.run(ms(500));
    lab.pause(a);
    lab.run(secs(20));
    lab.mark();
    lab.resume(a);
    lab.run(ms(10));
    assert_eq!(lab.sent(a), [(ms(2), 99)]);
    assert_eq!(lab.state(b), ACTIVE);
}

#[test]
fn against_priority_1_of_a_smaller_address_there_is_no_parting() {
    let mut lab = Lab::new();
    let b = lab.host(vec![web(1)]);
    let a = lab.host(vec![web(150)]);
    lab.start(a);
    lab.run(secs(10));
    lab.start(b);
    lab.run(ms(500));
    lab.pause(a);
    lab.run(secs(20));
    lab.mark();
    lab.resume(a);
    lab.run(ms(10));
    assert_eq!(lab.sent(a), []);
    assert_eq!(lab.holds(a, WEB), None);
}

/// Its patience is its own Active_Down_Interval less one interval, after the
/// advertisement it missed.
#[rstest]
#[case::just_within(us(0), ACTIVE)]
#[case::just_beyond(us(1), BACKUP)]
fn overslept_means_longer_than_anybodys_patience(
    #[case] more: std::time::Duration,
    #[case] expected: StateName,
) {
    let (mut lab, a) = active(Way::V3, 150);
    let b = lab.host(vec![web(100)]);
    lab.pause(a);
    // The advertisement at 1 s is missed; late by ADI - AI is still in time.
    lab.run(secs(1) + adi(150) - secs(1) + more);
    let packet = lab.forged(b, a, 100);
    lab.inject(a, &packet);
    lab.resume(a);
    assert_eq!(lab.state(a), expected);
}

/// Another took over and resigned again while we slept.
#[test]
fn having_overslept_priority_0_alone_makes_nobody_backup() {
    let (mut lab, a) = active(Way::V3, 150);
    let b = lab.host(vec![web(100)]);
    lab.pause(a);
    lab.run(secs(20));
    lab.forge(b, a, 0);
    lab.resume(a);
    assert_eq!(lab.state(a), ACTIVE);
    assert_eq!(lab.sent(a), [], "it listens first");
    lab.run(ms(1_001));
    assert_eq!(lab.sent(a), [(secs(21), 150)], "once, by the timer");
    assert_eq!(lab.announced(a, WEB).first(), Some(&secs(21)));
}

#[test]
fn having_overslept_priority_0_does_not_hide_the_next_active() {
    let (mut lab, a) = active(Way::V3, 150);
    let b = lab.host(vec![web(100)]);
    let c = lab.host(vec![web(50)]);
    lab.pause(a);
    lab.run(secs(20));
    lab.forge(b, a, 0);
    lab.forge(c, a, 50);
    lab.resume(a);
    assert_eq!(lab.state(a), BACKUP);
    lab.run(ms(5));
    let sent = lab.sent(a);
    assert!(sent.iter().all(|(_, value)| *value <= 50), "{sent:?}");
}

/// A resigning host that was paused releases as soon as it runs.
#[test]
fn a_resignation_is_not_prolonged_by_a_stall() {
    let (mut lab, a) = active(Way::V3, 150);
    lab.stop(a);
    lab.hosts[a.0].ledger = Default::default();
    lab.pause(a);
    lab.run(secs(20));
    lab.resume(a);
    assert_eq!(lab.removed(a).len(), 1);
}

/// Both hosts of a pair on one machine that was suspended.
#[test]
fn a_whole_site_that_was_suspended_goes_on_as_before() {
    let mut lab = Lab::new();
    let a = lab.host(vec![web(150)]);
    let b = lab.host(vec![web(100)]);
    lab.start_all();
    lab.run(secs(20));
    lab.mark();
    lab.pause(a);
    lab.pause(b);
    lab.run(secs(3_600));
    lab.resume(b);
    lab.resume(a);
    lab.run(secs(10));
    assert_eq!((lab.state(a), lab.state(b)), (ACTIVE, BACKUP));
    assert_eq!(lab.sent(b), [], "B gave A the time to speak");
    assert_eq!(lab.removed(a), []);
}
