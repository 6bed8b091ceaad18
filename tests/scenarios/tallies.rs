//! What is counted for metrics.

use vipward::agent::status::{Counters, Reason, StateName};
use vipward::agent::values::MacAddress;

use crate::kit::*;

const ACTIVE: StateName = StateName::Active;

fn active() -> (Lab, HostId) {
    let mut lab = Lab::new();
    let a = lab.host(vec![web(100)]);
    lab.start(a);
    lab.run_until(a, ACTIVE, secs(5));
    (lab, a)
}

fn counters(lab: &Lab, host: HostId) -> Counters {
    lab.status(host).counters
}

#[test]
fn transitions_are_counted_by_their_reason() {
    let (mut lab, a) = active();
    let of = |lab: &Lab| {
        let counters = counters(lab, a);
        let all: u64 = counters.reasons().map(|(_, count)| count).sum();
        assert_eq!(all, counters.transitions);
        let seen = counters.reasons().filter(|(_, count)| *count > 0);
        seen.collect::<Vec<_>>()
    };
    assert_eq!(of(&lab), [(Reason::NoResponse, 1), (Reason::Startup, 1)]);
    lab.link(a, "eth0", false);
    lab.run_until(a, StateName::Fault, secs(1));
    lab.link(a, "eth0", true);
    lab.run_until(a, ACTIVE, secs(5));
    let seen = [
        (Reason::NoResponse, 2),
        // Initialize, then Backup, after the first Backup.
        (Reason::Startup, 3),
        (Reason::Obstacle, 1),
    ];
    assert_eq!(of(&lab), seen);
}

#[test]
fn lateness_is_of_each_periodic_advertisement() {
    let (mut lab, a) = active();
    lab.run(secs(10));
    let lateness = counters(&lab, a).lateness;
    assert_eq!((lateness.count(), lateness.sum()), (10, secs(0)));
    // Due after a second, and sent 200 ms later.
    lab.pause_for(a, ms(1_200));
    let lateness = counters(&lab, a).lateness;
    assert_eq!((lateness.count(), lateness.sum()), (11, ms(200)));
    let within = |bound| lateness.cumulative().find(|(at, _)| *at == bound);
    assert_eq!(within(ms(100)), Some((ms(100), 10)));
    assert_eq!(within(ms(250)), Some((ms(250), 11)));
    // The next one is on time again.
    lab.run(ms(800));
    let lateness = counters(&lab, a).lateness;
    assert_eq!((lateness.count(), lateness.sum()), (12, ms(200)));
}

#[test]
fn a_backup_is_never_late() {
    let mut lab = Lab::new();
    let [a, b] = [200, 100].map(|value| lab.host(vec![web(value)]));
    lab.start_all();
    lab.run_until(a, ACTIVE, secs(5));
    lab.run(secs(60));
    assert_eq!(counters(&lab, a).lateness.count(), 60);
    assert_eq!(counters(&lab, b).lateness.count(), 0);
}

#[test]
fn every_announcement_is_counted() {
    let (mut lab, a) = active();
    lab.run(secs(200));
    let made = lab.announcements(a).len();
    assert!(made > 10, "{made}");
    assert_eq!(counters(&lab, a).announcements, made as u64);
}

#[test]
fn a_stranger_counts_once_in_ten_seconds() {
    let (mut lab, a) = active();
    lab.run(secs(20));
    let claims = |lab: &mut Lab| {
        let stranger = MacAddress([2, 0, 0, 0, 9, 9]);
        lab.feed(a, Input::announcement("eth0", WEB, stranger));
        counters(lab, a).conflicts
    };
    assert_eq!(claims(&mut lab), 1);
    lab.run(secs(2));
    assert_eq!(claims(&mut lab), 1);
    lab.run(secs(9));
    assert_eq!(claims(&mut lab), 2);
}
