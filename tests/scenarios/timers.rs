//! Lengths: skew, learned intervals, patience, extremes (PROTOCOL section 1).

use rstest::rstest;
use vipward::agent::status::StateName;
use vipward::agent::values::AdvertInterval;

use crate::kit::*;

const ACTIVE: StateName = StateName::Active;

#[rstest]
#[case::shortest(1)]
#[case::tenth(10)]
#[case::second(100)]
#[case::longest(4_095)]
fn every_interval_from_10_ms_to_40_95_s(#[case] value: u16, #[values(1, 100, 254)] ours: u8) {
    let mut lab = Lab::new();
    let mut settings = web(ours);
    settings.advert_interval = centiseconds(value);
    let interval = ms(u64::from(value) * 10);
    let a = lab.host(vec![settings]);
    lab.start(a);
    let expected = interval * 3 + skew_at(ours, value.into());
    assert_eq!(lab.run_until(a, ACTIVE, secs(200)), expected);
    assert_eq!(lab.status(a).advert_interval, interval);
    lab.mark();
    lab.run(interval * 5);
    let sent: Vec<_> = (1..=5).map(|n| (interval * n, ours)).collect();
    assert_eq!(lab.sent(a), sent);
}

#[test]
fn the_longest_interval_of_version_2() {
    let mut lab = Lab::new();
    let mut settings = web_by(Way::V2, 100);
    settings.advert_interval = AdvertInterval::from_seconds(255).expect("in range");
    let a = lab.host(vec![settings]);
    lab.start(a);
    let took = lab.run_until(a, ACTIVE, secs(1_000));
    assert_eq!(took, secs(765) + skew(100), "its skew is below a second");
}

#[rstest]
fn down_after_changes_the_patience(
    #[values(1, 2, 5, 255)] down_after: u8,
    #[values(Way::V2, Way::V3)] way: Way,
) {
    let mut lab = Lab::new();
    let mut settings = web_by(way, 100);
    settings.down_after = down_after;
    let a = lab.host(vec![settings.clone()]);
    let b = lab.host(vec![settings]);
    lab.start(a);
    lab.run(ms(100));
    lab.forge(b, a, 200);
    let patience = secs(down_after.into()) + skew(100);
    assert_eq!(lab.status(a).active_down_interval, patience);
    assert_eq!(lab.run_until(a, ACTIVE, secs(300)), patience);
}

/// The interval of the Active rules; one's own is used as Active.
#[rstest]
#[case::slower(100, 500)]
#[case::faster(500, 100)]
#[case::extreme(1, 4_095)]
fn version_3_learns_the_active_interval(#[case] ours: u16, #[case] theirs: u16) {
    let mut lab = Lab::new();
    let (mut one, mut other) = (web(100), web(200));
    one.advert_interval = centiseconds(ours);
    other.advert_interval = centiseconds(theirs);
    let a = lab.host(vec![one]);
    let b = lab.host(vec![other]);
    lab.start(b);
    lab.run_until(b, ACTIVE, secs(200));
    lab.run(secs(100));
    lab.start(a);
    // It begins with its own interval and may claim in the Active's pause.
    lab.run(secs(100));
    assert_eq!((lab.state(a), lab.state(b)), (StateName::Backup, ACTIVE));
    let interval = ms(u64::from(theirs) * 10);
    let patience = interval * 3 + skew_at(100, theirs.into());
    assert_eq!(lab.status(a).active_down_interval, patience);
    lab.mark();
    while lab.sent(b).is_empty() {
        lab.step();
    }
    let last = lab.elapsed();
    lab.power_off(b);
    lab.run_until(a, ACTIVE, secs(200));
    assert_eq!(lab.elapsed(), last + lab.wire.delay + patience);
    lab.mark();
    lab.run(ms(u64::from(ours) * 10));
    assert_eq!(lab.sent(a), [(ms(u64::from(ours) * 10), 100)]);
}

#[test]
fn an_active_that_yields_learns_the_winners_interval() {
    let mut lab = Lab::new();
    let a = lab.host(vec![web(100)]);
    let b = lab.host(vec![web(200)]);
    lab.start(a);
    lab.run_until(a, ACTIVE, secs(5));
    lab.run(ms(300));
    let mut slow = lab.forged(b, a, 200);
    slow.timing = v3_timing(1_000);
    lab.inject(a, &slow);
    let patience = secs(30) + skew_at(100, 1_000);
    assert_eq!(lab.run_until(a, ACTIVE, secs(60)), patience);
}

#[test]
fn version_2_learns_nothing() {
    let mut lab = Lab::new();
    let mut settings = web_by(Way::V2, 100);
    settings.advert_interval = AdvertInterval::from_seconds(7).expect("in range");
    let a = lab.host(vec![settings.clone()]);
    let b = lab.host(vec![settings]);
    lab.start(a);
    lab.forge(b, a, 200);
    assert_eq!(lab.run_until(a, ACTIVE, secs(100)), secs(21) + skew(100));
}

#[test]
fn a_new_interval_of_the_active_counts_from_its_advert() {
    let mut lab = Lab::new();
    let a = lab.host(vec![web(100)]);
    let b = lab.host(vec![web(200)]);
    lab.start(a);
    for value in [50, 1_000, 20] {
        let mut packet = lab.forged(b, a, 200);
        packet.timing = v3_timing(value);
        lab.inject(a, &packet);
        lab.run(ms(10));
        let interval = ms(u64::from(value) * 10);
        let expected = interval * 3 + skew_at(100, value.into());
        assert_eq!(lab.status(a).active_down_interval, expected);
    }
    let expected = ms(600) + skew_at(100, 20) - ms(10);
    assert_eq!(lab.run_until(a, ACTIVE, secs(60)), expected);
}

/// Three Backups of one Active; only the best claims, whatever the cause.
#[rstest]
fn skew_lets_the_best_backup_speak_first(
    #[values(false, true)] by_stop: bool,
    #[values(Way::V2, Way::V3, Way::V3Unicast, Way::V6)] way: Way,
) {
    let mut lab = Lab::new();
    let hosts: Vec<HostId> = [200, 90, 150, 100]
        .map(|value| {
            let mut settings = web_by(way, value);
            if way == Way::V3Unicast {
                settings.unicast_peers = (1..=4).map(|n| own_ipv4("eth0", n)).collect();
            }
            lab.host(vec![settings])
        })
        .into();
    let [a, b, c, d] = hosts.try_into().expect("four");
    lab.start_all();
    lab.run(secs(20));
    assert_eq!(lab.state(a), ACTIVE);
    while lab.sent(a).len() < 25 && lab.step() {}
    let delay = lab.wire.delay;
    lab.mark();
    let expected = if by_stop {
        lab.stop(a);
        delay + skew(150)
    } else {
        lab.power_off(a);
        delay + adi(150)
    };
    lab.run(secs(30));
    assert_eq!(lab.sent(c).first(), Some(&(expected, 150)));
    assert_eq!(lab.sent(b), []);
    assert_eq!(lab.sent(d), []);
}

/// 254 and 253 differ by 0.39 ms at 100 ms; whole centiseconds make them equal.
#[test]
fn skew_is_not_rounded_to_centiseconds() {
    let mut lab = Lab::new();
    lab.wire.delay = us(100);
    let hosts = [253, 254].map(|value| {
        let mut settings = web(value);
        settings.advert_interval = centiseconds(10);
        lab.host(vec![settings])
    });
    lab.start_all();
    lab.run(secs(2));
    assert_eq!(lab.sent(hosts[0]), [], "never, since 254 came first");
    let first = lab.sent(hosts[1]).first().copied();
    assert_eq!(first, Some((ms(300) + us(781) + us(1) / 4, 254)));
}

/// A cold start of two hosts: the lower never claims.
#[rstest]
fn started_together_only_one_ever_speaks(
    #[values(Way::V2, Way::V3, Way::V3Unicast, Way::V6, Way::V6Unicast)] way: Way,
) {
    let mut lab = Lab::new();
    let a = lab.host(vec![web_by(way, 150)]);
    let b = lab.host(vec![web_by(way, 100)]);
    lab.start_all();
    lab.run(secs(120));
    assert_eq!(lab.sent(a).first(), Some(&(adi(150), 150)));
    assert_eq!(lab.sent(b), []);
}

/// Lost advertisements cost nothing while fewer than `down_after` in a row.
#[test]
fn two_lost_adverts_change_nothing() {
    let mut lab = Lab::new();
    let a = lab.host(vec![web(150)]);
    let b = lab.host(vec![web(100)]);
    lab.start_all();
    lab.run(secs(10));
    lab.mark();
    for _ in 0..5 {
        lab.wire.lose(a, b, 2);
        lab.run(secs(4));
    }
    assert_eq!(lab.sent(b), []);
    lab.wire.lose(a, b, 4);
    lab.run(secs(6));
    assert!(!lab.sent(b).is_empty());
}
