//! Other hands on what the kernel holds: addresses that are deleted,
//! interfaces that come and go, and so much of it that events are lost.

use std::time::{Duration, Instant};

use libtest_mimic::Trial;

use super::{Pair, SOON};
use crate::lab::config::Router;
use crate::lab::fault::Restless;
use crate::lab::spacing::{Spacing, spans};
use crate::lab::{LONG, ROOM, assert_span, ms, vip};
use crate::{Needs, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("failures_flushed_every_second", Needs::Nothing, flushed),
        trial(
            "failures_interface_deleted_and_created",
            Needs::Nothing,
            interface,
        ),
        trial(
            "failures_2000_netlink_events_a_second",
            Needs::Nothing,
            bustle,
        ),
    ]
}

/// Put back each time, at most once a second; and the host stays Active, since
/// nobody else could do better.
fn flushed() {
    let mut pair = Pair::new(&Router::new(200), &Router::new(100));
    let began = Instant::now();
    let mut taken = 0;
    for second in 0..12 {
        let due = began + ms(1000) * second;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        taken += u32::from(pair.a.take_away(vip()));
    }
    let last = pair.a.watch.wait(began + ms(11_000), vip(), true, LONG);
    let changes = pair.a.watch.times(began, vip());
    let absences: Vec<Duration> = changes
        .chunks(2)
        .filter_map(|pair| Some(pair.get(1)?.0 - pair.first()?.0))
        .collect();
    assert_eq!(
        absences.len(),
        usize::try_from(taken).expect("few"),
        "{changes:?}"
    );
    assert_span("the first return", absences[0], ms(0), ms(100));
    // From one return to the next no more than a second.
    for absence in &absences {
        assert_span("an absence", *absence, ms(0), ms(1000));
    }
    assert!(taken >= 11, "{absences:?}");
    pair.cost("flushed every second for 12 s", began)
        .assert_at_most(ms(0), ms(1000));
    assert_eq!(pair.first.state("web"), "active");
    assert_eq!(pair.b.watch.times(began, vip()), []);
    let log = pair.first.process.log();
    let event = "192.0.2.100/24 was deleted from eth0 by someone else; put back";
    assert!(log.contains(event), "{log}");
    assert!(last > began);
}

/// Nothing can be said by an interface that is gone, so the peer waits its
/// patience; and what comes back is preempted for in the ordinary time.
fn interface() {
    let (best, second) = (Router::new(200), Router::new(100));
    let mut pair = Pair::new(&best, &second);
    let deleted = Instant::now();
    pair.lab.unplug(&pair.a, "eth0");
    let taken = pair.b.watch.wait(deleted, vip(), true, LONG);
    assert_span(
        "the takeover",
        taken - deleted,
        ms(0),
        second.down_interval(),
    );
    pair.first.wait_state("web", "fault", LONG);
    assert!(!pair.a.has(vip()));
    let outage = pair.cost("interface deleted", deleted);
    outage.assert_at_most(ms(0), second.down_interval() + SOON);

    let created = Instant::now();
    pair.lab.plug(&pair.a, "eth0");
    let back = pair.a.watch.wait(created, vip(), true, LONG);
    let ordinary = best.down_interval() + ms(500);
    assert_span(
        "the return",
        back - created,
        best.down_interval() - ms(50),
        ordinary,
    );
    let gone = pair.b.watch.wait(created, vip(), false, LONG);
    assert_span(
        "two holders",
        gone.saturating_duration_since(back),
        ms(0),
        SOON,
    );
    // The new one is not the old one, and its lease is renewed as well.
    for _ in 0..12 {
        let after = Instant::now();
        pair.lab.observer.wait_advert(after, "a", 200, LONG);
    }
    assert!(pair.a.watch.times(back + ms(5), vip()).is_empty());
    assert!(pair.a.has(vip()) && !pair.b.has(vip()));
}

/// More than a socket's buffer takes: heartbeats keep their pace, and nothing
/// happens to the address.
fn bustle() {
    const PER_SECOND: u32 = 2000;
    let best = Router::new(200);
    let mut pair = Pair::new(&best, &Router::new(100));
    let mut restless = Restless::on(&pair.a);
    let began = Instant::now();
    restless.bustle(PER_SECOND, ms(10_000));
    restless.end();
    let took = began.elapsed();
    let one = pair.a.watch.times(began, Restless::one_of_them()).len();
    // As far as the watch itself was told; it may have missed some.
    assert!(
        one > 1000,
        "only {one} changes of one address in ten in {took:?}"
    );
    let spacing = Spacing::new(spans(&pair.lab, "a", began));
    println!("    2000 events a second: spans of {spacing}");
    let median = spacing.quantile(500);
    assert_span(
        "the median span",
        median,
        best.interval - ms(5),
        best.interval,
    );
    assert_span(
        "the longest span",
        spacing.max(),
        best.interval,
        best.interval + ROOM,
    );
    pair.assert_untouched("2000 netlink events a second", began);
    // It still sees what happens: the address of ours that goes is put back.
    let taken = Instant::now();
    assert!(pair.a.take_away(vip()));
    let back = pair.a.watch.wait(taken, vip(), true, LONG);
    assert_span("the return", back - taken, ms(0), ms(100));
}
