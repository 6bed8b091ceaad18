//! The link works and the segment does not: who shows that clients reach it, and
//! who is Active then.

use rstest::rstest;
use vipward::agent::report::Fact;
use vipward::agent::settings::InstanceSettings;
use vipward::agent::status::Reason;

use crate::kit::*;
use crate::nodes::{ACTIVE, BACKUP, NEVER, became_active, node_status, settled, settled_as};

/// By the first of the bursts that say so.
fn announced_again(lab: &Lab, host: HostId) -> bool {
    !lab.announced(host, WEB).is_empty()
}

/// A firewall eats the advertisements: both hosts and the segment are well.
#[test]
fn advertisements_are_eaten_and_the_active_stays() {
    let (mut lab, a, b) = settled(2);
    lab.wire.eats_adverts = true;
    lab.run(secs(30));
    assert_eq!(lab.transitions(a), []);
    assert_eq!(lab.transitions(b), []);
    assert_eq!(lab.obstacles(b), ["split-heartbeat-path"]);
    assert_eq!(lab.obstacles(a), ["split-heartbeat-path"], "on both sides");
    let lines = lab.count_facts(b, |fact| matches!(fact, Fact::Inquired { .. }));
    assert_eq!(lines, 1, "told of once");
    lab.wire.eats_adverts = false;
    lab.run(secs(3));
    assert_eq!(lab.obstacles(b), [""; 0]);
    assert_eq!(lab.obstacles(a), [""; 0]);
}

/// The Backup's own port is dead: it can show nothing, and holds.
#[test]
fn the_backups_port_is_cut() {
    let (mut lab, a, b) = settled(2);
    lab.isolate(b);
    lab.run(secs(30));
    assert_eq!(lab.transitions(a), []);
    assert_eq!(lab.transitions(b), []);
    assert_eq!(lab.obstacles(b), ["segment-undecided"]);
    let seen = |on, of| node_status(&lab, on, of).instances[0].news.clone();
    let (of_b, of_a) = (seen(a, b), seen(b, a));
    assert_eq!((of_b.witnesses, of_b.witnessed), (1, Some(false)));
    assert_eq!((of_a.witnesses, of_a.witnessed), (1, Some(true)));
    lab.join(b);
    lab.run(secs(2));
    assert_eq!(lab.obstacles(b), [""; 0]);
}

/// At one interval for both hosts.
fn settled_at(interval: u16) -> (Lab, HostId, HostId) {
    settled_as([200, 100].into_iter().map(|value| InstanceSettings {
        advert_interval: centiseconds(interval),
        ..web(value)
    }))
}

/// The Active's port is dead: the other shows that its own works, by the time
/// at which it would have claimed if there were no link.
#[rstest]
#[case::second(100)]
#[case::tenth(10)]
#[case::hundredth(1)]
fn the_actives_port_is_cut(#[case] interval: u16) {
    let (mut lab, a, b) = settled_at(interval);
    let interval = ms(10) * interval.into();
    lab.isolate(a);
    let after = lab.run_until(b, ACTIVE, secs(5));
    assert!(after <= interval * 3 + interval / 10 + ms(4), "{after:?}");
    lab.run(ms(10));
    assert_eq!(lab.state(a), BACKUP);
    assert_eq!(lab.status(a).reason, Reason::SegmentLost);
    assert!(lab.holds(a, WEB).is_none());
    lab.run(secs(20));
    assert_eq!(lab.state(a), BACKUP, "it cannot show a segment");
    lab.mark();
    lab.join(a);
    lab.run_until(a, ACTIVE, secs(6));
    lab.run(secs(1));
    assert_eq!(lab.state(b), BACKUP);
}

/// Two are lost and the third is heard: the question was put ahead, and its
/// answer, that the other host is there, is no finding.
#[rstest]
#[case::tenth(10)]
#[case::hundredth(1)]
fn what_is_asked_ahead_decides_nothing(#[case] interval: u16) {
    let (mut lab, a, b) = settled_at(interval);
    let interval = ms(10) * interval.into();
    lab.wire.eats_adverts = true;
    let asked = lab.now() + interval * 4;
    while lab.solicited(b, "192.0.2.1").is_empty() {
        assert!(lab.now() < asked, "B never asks");
        lab.step();
    }
    lab.wire.eats_adverts = false;
    lab.run(secs(5));
    assert_eq!(lab.transitions(b), []);
    assert_eq!(lab.obstacles(b), [""; 0]);
    let told = lab.count_facts(b, |fact| matches!(fact, Fact::Inquired { .. }));
    assert_eq!(told, 0);
    assert!(lab.solicited(b, "192.0.2.1").len() <= 3);
    assert_eq!(lab.transitions(a), []);
}

/// Nothing is asked about a node that is as silent on the link.
#[test]
fn a_dead_host_is_not_asked_about() {
    let (mut lab, a, b) = settled_at(10);
    lab.isolate(a);
    lab.cut_link();
    lab.run_until(b, ACTIVE, secs(5));
    assert_eq!(lab.solicited(b, "192.0.2.1"), NEVER);
}

/// B does not run between its question and the end of its patience: what was
/// answered long ago says nothing, and it asks anew.
#[test]
fn an_old_answer_says_nothing() {
    let (mut lab, a, b) = settled(2);
    lab.isolate(a);
    let end = lab.now() + secs(4);
    while lab.solicited(b, "192.0.2.1").len() < 3 {
        assert!(lab.now() < end, "B never asks");
        lab.step();
    }
    lab.pause_for(b, ms(500));
    lab.run(ms(50));
    assert!(lab.solicited(b, "192.0.2.1").len() > 3);
    assert_eq!(became_active(&lab, b), NEVER);
    lab.run_until(b, ACTIVE, ms(100));
}

/// Nobody can show anything: who is Active stays.
#[test]
fn without_a_witness_the_active_stays() {
    let mut lab = Lab::new();
    let a = lab.host(vec![web(200)]);
    let b = lab.host(vec![web(100)]);
    lab.connect(1);
    lab.start_all();
    lab.run_until(a, ACTIVE, secs(5));
    lab.run(secs(5));
    lab.mark();
    lab.part(a, b);
    lab.run(secs(20));
    assert_eq!(lab.transitions(a), []);
    assert_eq!(lab.transitions(b), []);
    assert_eq!(lab.obstacles(a), ["segment-undecided"]);
    assert_eq!(lab.obstacles(b), ["segment-undecided"]);
}

/// Both reach the gateway and not each other: likewise.
#[test]
fn a_segment_that_is_split_keeps_its_active() {
    let (mut lab, a, b) = settled(2);
    lab.part(a, b);
    lab.run(secs(20));
    assert_eq!(lab.transitions(a), []);
    assert_eq!(lab.transitions(b), []);
    assert_eq!(lab.obstacles(b), ["segment-undecided"]);
}

#[test]
fn one_path_of_two_is_enough() {
    let (mut lab, a, b) = settled(2);
    lab.cut_path(a, b, 0);
    lab.run(secs(3));
    let seen = node_status(&lab, b, a);
    assert!(seen.reachable);
    let paths: Vec<bool> = seen.paths.iter().map(|path| path.reachable).collect();
    assert_eq!(paths, [false, true]);
    lab.wire.eats_adverts = true;
    lab.run(secs(10));
    assert_eq!(lab.transitions(b), []);
}

/// Both paths and the segment are cut: each is for itself, as ever. When all
/// heals, one exchange settles it.
#[test]
fn everything_is_cut_and_heals() {
    let (mut lab, a, b) = settled(2);
    lab.cut_link();
    lab.part(a, b);
    lab.run(secs(10));
    assert_eq!(lab.state(a), ACTIVE);
    assert_eq!(lab.state(b), ACTIVE);
    assert!(!node_status(&lab, a, b).reachable);
    lab.mark();
    lab.heal(a, b);
    lab.heal_link();
    lab.run_until(b, BACKUP, ms(300));
    lab.run(ms(50));
    assert_eq!(lab.state(a), ACTIVE);
    assert!(announced_again(&lab, a), "the winner announces again");
}

/// The link returns before the segment does: who loses the election gives
/// way only to one that clients can reach.
#[rstest]
#[case::the_loser_works(0, 1)]
#[case::the_winner_works(1, 0)]
fn two_actives_learn_of_each_other(#[case] isolated: usize, #[case] owner: usize) {
    let (mut lab, a, b) = settled(2);
    lab.cut_link();
    lab.isolate(HostId(isolated));
    lab.run(secs(10));
    assert_eq!((lab.state(a), lab.state(b)), (ACTIVE, ACTIVE));
    lab.heal_link();
    lab.run(secs(1));
    assert_eq!(lab.state(HostId(owner)), ACTIVE);
    assert_eq!(lab.state(HostId(isolated)), BACKUP);
    lab.run(secs(20));
    assert_eq!(lab.state(HostId(owner)), ACTIVE);
}

/// B starts while a firewall eats A's advertisements.
#[test]
fn one_that_starts_does_not_claim_what_is_held() {
    let (mut lab, a, b) = settled(2);
    lab.kill(b);
    lab.wire.eats_adverts = true;
    lab.run(secs(1));
    lab.mark();
    lab.start(b);
    lab.run(secs(20));
    assert_eq!(lab.state(a), ACTIVE);
    assert_eq!(became_active(&lab, b), NEVER);
}

/// B's switch port does not forward for half a minute after link-up.
#[test]
fn a_link_that_returns_may_not_forward_yet() {
    let (mut lab, a, b) = settled(2);
    lab.link(b, "eth0", false);
    lab.run(secs(5));
    lab.isolate(b);
    lab.link(b, "eth0", true);
    lab.mark();
    lab.run(secs(30));
    assert_eq!(lab.transitions(a), []);
    assert_eq!(became_active(&lab, b), NEVER);
}

#[test]
fn preemption_needs_no_proof() {
    let (mut lab, a, b) = settled(2);
    lab.stop(a);
    lab.run(secs(3));
    lab.end_agent(a);
    assert_eq!(lab.state(b), ACTIVE);
    lab.start(a);
    let after = lab.run_until(a, ACTIVE, secs(5));
    assert!(after <= secs(4), "{after:?}");
    lab.run(ms(100));
    assert_eq!(lab.state(b), BACKUP);
}
