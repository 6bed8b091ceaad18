//! Two at once: ties, healed cuts, the parting advertisement, answers to
//! losers and their bounds.

use rstest::rstest;
use vipward::agent::status::StateName;

use crate::kit::*;

const ACTIVE: StateName = StateName::Active;
const BACKUP: StateName = StateName::Backup;

/// A and B could not hear each other, and both are Active; the mark is where
/// they hear each other again.
fn both_active(way: Way, ours: u8, theirs: u8) -> (Lab, HostId, HostId) {
    let mut lab = Lab::new();
    let a = lab.host(vec![web_by(way, ours)]);
    let b = lab.host(vec![web_by(way, theirs)]);
    lab.part(a, b);
    lab.start(a);
    lab.run(ms(400));
    lab.start(b);
    lab.run(secs(20));
    assert_eq!((lab.state(a), lab.state(b)), (ACTIVE, ACTIVE));
    lab.heal(a, b);
    lab.mark();
    (lab, a, b)
}

#[rstest]
#[case::by_priority(150, 100)]
#[case::by_priority_reversed(100, 150)]
#[case::by_address(100, 100)]
#[case::owners(255, 255)]
fn a_healed_cut_ends_with_one(
    #[case] ours: u8,
    #[case] theirs: u8,
    #[values(Way::V2, Way::V3, Way::V3Unicast, Way::V6, Way::V6Unicast)] way: Way,
) {
    let (mut lab, a, b) = both_active(way, ours, theirs);
    lab.run(secs(10));
    let (winner, loser, lost) = if ours > theirs {
        (a, b, theirs)
    } else {
        (b, a, ours)
    };
    assert_eq!((lab.state(winner), lab.state(loser)), (ACTIVE, BACKUP));
    assert_eq!(lab.holds(loser, vip(way)), None);
    assert_eq!(lab.holds(winner, vip(way)), Some(interface("eth0")));
    let removed = lab.removed(loser);
    assert_eq!(removed.len(), 1);
    let gone = removed[0].0 + ms(2);
    let parting: Vec<_> = lab
        .sent(loser)
        .into_iter()
        .filter(|(at, _)| *at >= gone)
        .collect();
    assert_eq!(
        parting,
        [(gone, lost)],
        "exactly one, when the address is gone"
    );
    // The burst that runs goes on. Version 2 may be in the pause of the burst that the loser's last
    // periodic advertisement caused.
    let patience = if way == Way::V2 { secs(1) } else { ms(20) };
    let heard = gone + lab.wire.delay;
    let announced = lab.announced(winner, vip(way));
    let soon = announced
        .iter()
        .any(|at| *at >= heard && *at < heard + patience);
    assert!(
        soon,
        "the winner announces after the loser let go: {announced:?}"
    );
    assert!(lab.announced(loser, vip(way)).iter().all(|at| *at < gone));
}

/// The loser's kernel took its time; until then it answered clients.
#[test]
fn the_parting_advert_waits_for_a_slow_removal() {
    let (mut lab, a, b) = both_active(Way::V3, 100, 150);
    lab.at_mut(a).kernel.remove_takes = secs(2);
    lab.run_until(a, BACKUP, secs(5));
    let lost = lab.elapsed();
    lab.run(secs(10));
    let after: Vec<_> = lab
        .sent(a)
        .into_iter()
        .filter(|(at, _)| *at > lost)
        .collect();
    assert_eq!(after, [(lost + secs(2), 100)]);
    let heard = lost + secs(2) + lab.wire.delay;
    assert!(lab.announced(b, WEB).contains(&heard), "a burst upon it");
}

#[test]
fn of_many_addresses_the_last_to_go_releases_the_parting_advert() {
    let mut lab = Lab::new();
    let mut settings = web(100);
    settings.addresses = (100..110)
        .map(|n| address(&format!("192.0.2.{n}/24")))
        .collect();
    let a = lab.host(vec![settings.clone()]);
    let b = lab.host(vec![settings]);
    lab.start(a);
    lab.run_until(a, ACTIVE, secs(5));
    lab.run(secs(3));
    lab.at_mut(a).kernel.remove_takes = ms(50);
    lab.at_mut(a).kernel.acknowledge_after = ms(20);
    lab.mark();
    lab.forge(b, a, 150);
    assert_eq!(lab.removed(a).len(), 10);
    lab.run(secs(2));
    assert_eq!(lab.sent(a), [(ms(70), 100)]);
}

/// The kernel may be giving a peer up that was out of reach for long, and
/// would throw the parting advertisement away with it.
#[test]
fn in_unicast_the_loser_asks_for_its_peers_before_it_parts() {
    let (mut lab, a, _b) = both_active(Way::V3Unicast, 100, 150);
    lab.run_until(a, BACKUP, secs(5));
    lab.mark();
    lab.run(ms(500));
    let deeds: Vec<String> = lab.deeds(a).into_iter().map(|(_, deed)| deed).collect();
    let asked = ["ask 192.0.2.1", "ask 192.0.2.2", "ask 192.0.2.3"].map(str::to_owned);
    assert_eq!(deeds, [&asked[..], &["advert 100".to_owned()]].concat());
}

/// An address that will not go keeps the parting advertisement back.
#[test]
fn no_parting_while_a_removal_is_refused() {
    let (mut lab, a, b) = both_active(Way::V3, 100, 150);
    lab.at_mut(a).kernel.refuse_remove = Some("Operation not permitted".to_owned());
    lab.run_until(a, BACKUP, secs(5));
    lab.mark();
    lab.run(ms(2_500));
    assert_eq!(lab.sent(a), []);
    lab.at_mut(a).kernel.refuse_remove = None;
    lab.run(ms(1_000));
    assert_eq!(lab.sent(a).len(), 1);
    assert_eq!(lab.state(b), ACTIVE);
}

/// Claimed again before the address was gone: nothing is owed any more.
#[test]
fn a_claim_forgets_the_parting_advert() {
    let mut lab = Lab::new();
    let a = lab.host(vec![web(100)]);
    let b = lab.host(vec![web(150)]);
    lab.start(a);
    lab.run_until(a, ACTIVE, secs(5));
    lab.run(secs(1));
    lab.at_mut(a).kernel.remove_takes = secs(6);
    lab.forge(b, a, 150);
    assert_eq!(lab.run_until(a, ACTIVE, secs(5)), adi(100));
    lab.mark();
    lab.run(secs(10));
    let sent: Vec<_> = (1..=10).map(|n| (secs(n), 100)).collect();
    assert_eq!(lab.sent(a), sent);
    let back = secs(6) - adi(100) + ms(2);
    assert_eq!(
        lab.announced(a, WEB).first(),
        Some(&back),
        "when it is back"
    );
}

/// Every loser is answered at once, up to a bound.
#[test]
fn a_flood_of_losers_is_answered_seldom() {
    let mut lab = Lab::new();
    let a = lab.host(vec![web(200)]);
    let b = lab.host(vec![web(100)]);
    lab.start(a);
    lab.run_until(a, ACTIVE, secs(5));
    lab.run(secs(20));
    lab.mark();
    for _ in 0..10_000 {
        lab.forge(b, a, 100);
        lab.run(ms(1));
    }
    let sent = lab.sent(a);
    // 10 periodic, 4 at once, then one every 100 ms.
    assert!((100..=115).contains(&sent.len()), "{} adverts", sent.len());
    for n in 1..=9 {
        let at = sent.iter().filter(|(at, _)| *at == secs(n) - us(0)).count();
        assert!(at >= 1, "the periodic one at {n} s: {sent:?}");
    }
    let bursts = lab.announced(a, WEB);
    // One burst a second at most: 0, 20, 100, 300 ms; the next begins at 1 s.
    assert!(bursts.len() <= 10 * 5, "{} announcements", bursts.len());
    assert!(bursts.len() >= 10 * 4);
}

#[test]
fn at_10_ms_a_loser_is_answered_at_most_every_10_ms() {
    let mut lab = Lab::new();
    let mut settings = web(200);
    settings.advert_interval = centiseconds(1);
    let a = lab.host(vec![settings.clone()]);
    let b = lab.host(vec![settings]);
    lab.start(a);
    lab.run_until(a, ACTIVE, secs(5));
    lab.run(secs(20));
    lab.mark();
    for _ in 0..10_000 {
        lab.forge(b, a, 100);
        lab.run(us(100));
    }
    let sent = lab.sent(a).len();
    assert!((190..=206).contains(&sent), "{sent} adverts in a second");
}

/// A pair whose low host does not hear the high one: bounded, and visible.
#[test]
fn a_half_cut_is_bounded_on_both_sides() {
    let mut lab = Lab::new();
    let a = lab.host(vec![web(150)]);
    let b = lab.host(vec![web(100)]);
    lab.wire.cut(a, b);
    lab.start_all();
    lab.run(secs(20));
    assert_eq!((lab.state(a), lab.state(b)), (ACTIVE, ACTIVE));
    lab.mark();
    lab.run(secs(60));
    // Its own 60, and one answer to each of B's 60.
    assert_eq!(lab.sent(a).len(), 120);
    assert_eq!(lab.sent(b).len(), 60);
    lab.wire.heal(a, b);
    lab.mark();
    lab.run(secs(2));
    assert_eq!(lab.state(b), BACKUP);
}

/// Two that each take the other for the loser must not talk each other up.
#[test]
fn mutual_losers_do_not_make_a_storm() {
    let mut lab = Lab::new();
    let a = lab.host(vec![web(200)]);
    let b = lab.host(vec![web(200)]);
    let c = lab.host(vec![web(100)]);
    lab.start(a);
    lab.start(b);
    lab.part(a, b);
    lab.run_until(b, ACTIVE, secs(10));
    lab.run(secs(10));
    lab.mark();
    // C's advertisement stands for the other's at both.
    for _ in 0..10 {
        for host in [a, b] {
            let before = lab.sent(host).len();
            for _ in 0..20 {
                let now = lab.sent(host).len();
                lab.forge(c, host, 100);
                if lab.sent(host).len() == now {
                    break;
                }
            }
            assert!(lab.sent(host).len() - before <= 4);
        }
        lab.run(secs(1));
    }
}

/// Equal hosts that claim in the same instant.
#[rstest]
fn a_tie_at_a_cold_start_is_over_in_a_wire_delay(
    #[values(Way::V2, Way::V3, Way::V3Unicast, Way::V6, Way::V6Unicast)] way: Way,
) {
    let mut lab = Lab::new();
    let a = lab.host(vec![web_by(way, 100)]);
    let b = lab.host(vec![web_by(way, 100)]);
    lab.start_all();
    lab.run(adi(100));
    assert_eq!((lab.state(a), lab.state(b)), (ACTIVE, ACTIVE));
    lab.run(ms(1));
    assert_eq!(
        (lab.state(a), lab.state(b)),
        (BACKUP, ACTIVE),
        "the higher address"
    );
    lab.run(secs(5));
    assert_eq!(lab.holds(a, vip(way)), None);
    assert_eq!(lab.sent(a).len(), 2, "the claim and the parting");
    assert_eq!(
        lab.announced(a, vip(way)),
        [std::time::Duration::ZERO; 0],
        "it never announced"
    );
    assert_eq!(lab.added(a).len(), 1);
    assert_eq!(
        lab.removed(a).len(),
        1,
        "what was being added is taken back"
    );
}

#[test]
fn the_parting_of_the_lowest_possible_loser() {
    // Priority 1 against priority 1 of a higher address: 1 still loses.
    let (mut lab, a, _) = both_active(Way::V3, 1, 1);
    lab.run(secs(5));
    assert_eq!(lab.state(a), BACKUP);
    assert_eq!(lab.sent(a).last().map(|(_, value)| *value), Some(1));
}

/// A single announcement is all that `repeat: 1` gives, so the parting
/// advertisement must cause one of its own even within the pause.
#[test]
fn a_loser_heard_within_the_pause_is_not_forgotten() {
    let mut lab = Lab::new();
    let mut settings = web_by(Way::V2, 200);
    settings.announce.repeat = 1;
    settings.announce.delay = secs(0);
    let a = lab.host(vec![settings]);
    let b = lab.host(vec![web_by(Way::V2, 100)]);
    lab.start(a);
    lab.run_until(a, ACTIVE, secs(5));
    lab.run(secs(20));
    lab.mark();
    for _ in 0..3 {
        lab.forge(b, a, 100);
        lab.run(ms(100));
    }
    lab.run(secs(5));
    assert_eq!(lab.announced(a, WEB), [secs(0), secs(1)]);
}
