//! Another host answers for our address while we are Active: looked for
//! beside each advertisement, told of, and told again when it has gone.

use rstest::rstest;
use vipward::agent::report::Fact;
use vipward::agent::status::StateName;

use crate::kit::*;

const QUIET: [std::time::Duration; 0] = [];

/// A is Active and past its bursts; B has the address and runs no agent, as
/// when it was killed. The mark is at one of A's advertisements.
fn with_rival(way: Way, interval: u16) -> (Lab, HostId, HostId) {
    let mut lab = Lab::new();
    let mut settings = web_by(way, 100);
    settings.advert_interval = centiseconds(interval);
    let network = settings.addresses[0].network;
    let a = lab.host(vec![settings.clone()]);
    let b = lab.host(vec![settings]);
    lab.start(a);
    lab.run_until(a, StateName::Active, secs(5));
    lab.run(secs(20));
    lab.at_mut(b).kernel.hold(interface("eth0"), network);
    lab.mark();
    (lab, a, b)
}

fn told(lab: &Lab, host: HostId) -> usize {
    lab.count_facts(host, |fact| matches!(fact, Fact::ForeignClaim { .. }))
}

#[rstest]
fn with_each_advertisement_and_before_it(
    #[values(Way::V2, Way::V3, Way::V3Unicast, Way::V6, Way::V6Unicast)] way: Way,
) {
    let mut lab = Lab::new();
    let a = lab.host(vec![web_by(way, 100)]);
    lab.start(a);
    lab.run_until(a, StateName::Active, secs(5));
    lab.mark();
    lab.run(secs(5));
    let seconds = |from| (from..=5).map(secs).collect::<Vec<_>>();
    assert_eq!(lab.probed(a, vip(way)), seconds(1), "not with the first");
    let sent: Vec<_> = lab.sent(a).into_iter().map(|(at, _)| at).collect();
    assert_eq!(sent, seconds(1));
}

#[test]
fn nobody_is_asked_while_the_first_burst_runs() {
    let mut lab = Lab::new();
    let mut settings = web(100);
    settings.advert_interval = centiseconds(10);
    let a = lab.host(vec![settings]);
    lab.start(a);
    lab.run_until(a, StateName::Active, secs(5));
    lab.mark();
    lab.run(ms(1_250));
    assert_eq!(lab.probed(a, WEB), [1_000, 1_100, 1_200].map(ms));
}

/// In unicast the question is a broadcast.
#[rstest]
#[case::multicast(Way::V3, 50)]
#[case::unicast(Way::V3Unicast, 10)]
fn broadcasts_are_bounded(#[case] way: Way, #[case] expected: usize) {
    let mut lab = Lab::new();
    let mut settings = web_by(way, 100);
    settings.advert_interval = centiseconds(2);
    let a = lab.host(vec![settings]);
    lab.start(a);
    lab.run_until(a, StateName::Active, secs(5));
    lab.run(ms(1_500));
    lab.mark();
    lab.run(secs(1));
    assert_eq!(lab.probed(a, vip(way)).len(), expected);
}

#[rstest]
fn a_rival_is_told_of_once(
    #[values(Way::V2, Way::V3, Way::V3Unicast, Way::V6, Way::V6Unicast)] way: Way,
) {
    let (mut lab, a, _b) = with_rival(way, 100);
    lab.run(secs(5));
    let first = lab.probed(a, vip(way))[0] + 2 * lab.wire.delay;
    let burst = [0, 20, 100, 300, 1_000].map(|after| first + ms(after));
    assert_eq!(lab.announced(a, vip(way)), burst, "no tug-of-war");
    assert_eq!(told(&lab, a), 1);
    let [conflict] = &lab.status(a).conflicts[..] else {
        panic!("one conflict")
    };
    assert_eq!(conflict.address, ip(vip(way)));
    assert!(lab.now().since(conflict.last_seen) < secs(1), "it goes on");
    // A dead agent's host is nobody's rival in the election.
    assert_eq!(lab.state(a), StateName::Active);
}

/// Whatever clients learnt while it was there, they learn anew.
#[test]
fn when_the_rival_has_gone_everyone_is_told_again() {
    let (mut lab, a, b) = with_rival(Way::V3, 100);
    // The last question was answered.
    lab.run(secs(30) + ms(100));
    let network = lab.at(a).settings.instances[0].addresses[0].network;
    lab.at_mut(b).kernel.delete(interface("eth0"), network);
    lab.mark();
    lab.run(secs(4));
    let asked = lab.probed(a, WEB);
    assert_eq!(
        lab.announced(a, WEB).first(),
        Some(&asked[1]),
        "the first question was not answered"
    );
    assert_eq!(told(&lab, a), 0, "it was told of when it came");
    lab.mark();
    lab.run(secs(30));
    // What is left of the second burst, and no more.
    assert!(lab.announced(a, WEB).iter().all(|at| *at < secs(4)));
    // It comes back.
    lab.at_mut(b).kernel.hold(interface("eth0"), network);
    lab.mark();
    lab.run(secs(2));
    assert_eq!(told(&lab, a), 1);
}

/// The keepalived of a healed cut: it hears that it loses, and goes silently.
#[rstest]
#[case::ten_milliseconds(1)]
#[case::a_second(100)]
fn one_that_leaves_at_our_advertisement_was_seen(#[case] interval: u16) {
    let (mut lab, a, b) = with_rival(Way::V3, interval);
    let network = lab.at(a).settings.instances[0].addresses[0].network;
    while lab.sent(a).is_empty() {
        lab.step();
    }
    // When B hears it.
    lab.run(lab.wire.delay);
    lab.at_mut(b).kernel.delete(interface("eth0"), network);
    lab.run(lab.wire.delay);
    let sent = lab.sent(a)[0].0;
    assert_eq!(lab.announced(a, WEB), [sent + 2 * lab.wire.delay]);
    assert_eq!(told(&lab, a), 1);
}

/// An answer that comes late, or to somebody who has lost in the meantime.
#[test]
fn an_answer_to_one_who_is_not_active_is_nothing() {
    let (mut lab, a, b) = with_rival(Way::V3, 100);
    while lab.probed(a, WEB).is_empty() {
        lab.step();
    }
    lab.forge(b, a, 150);
    assert_eq!(lab.state(a), StateName::Backup);
    lab.mark();
    lab.run(secs(1));
    assert_eq!(lab.announced(a, WEB), QUIET);
    assert_eq!(told(&lab, a), 0);
    assert_eq!(lab.state(a), StateName::Backup);
}

#[test]
fn an_answer_relieves_nobody() {
    let (mut lab, a, _b) = with_rival(Way::V3, 100);
    while lab.probed(a, WEB).is_empty() {
        lab.step();
    }
    lab.stop(a);
    lab.run(2 * lab.wire.delay);
    assert_eq!(lab.removed(a), [], "it answers until a successor announces");
    assert_eq!(told(&lab, a), 0);
}
