//! Processes that stand still for a while, and go on.

use std::time::{Duration, Instant};

use libtest_mimic::Trial;

use super::{LATE_EXPIRY, Pair, SOON};
use crate::lab::config::{Preempt, Router};
use crate::lab::{LONG, assert_span, ms, vip, wait_until};
use crate::{Needs, trial};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    Agent,
    Both,
}

pub fn trials() -> Vec<Trial> {
    let mut trials = vec![trial(
        "failures_both_frozen_for_10_s",
        Needs::Nothing,
        || replaced(Who::Both, ms(10_000)),
    )];
    for (name, who) in [("agent", Who::Agent), ("both", Who::Both)] {
        for (halves, span) in [(1, "half_an_interval"), (4, "2_intervals")] {
            let name = format!("failures_{name}_paused_for_{span}");
            trials.push(trial(name, Needs::Nothing, move || unnoticed(who, halves)));
        }
        let name = format!("failures_{name}_paused_for_20_intervals");
        trials.push(trial(name, Needs::Nothing, move || {
            replaced(who, 20 * ms(300));
        }));
    }
    trials
}

/// Shorter than the peers' patience: nothing happens, on any host.
fn unnoticed(who: Who, halves: u32) {
    // Long enough that a busy machine adds less than the patience that is left.
    let best = Router::new(200).interval_ms(500);
    let mut pair = Pair::new(&best, &Router::new(100).interval_ms(500));
    let before = Instant::now();
    let spoke = pair.lab.observer.wait_advert(before, "a", 200, LONG).at;
    let frozen = match who {
        Who::Agent => pair.first.freeze(),
        Who::Both => pair.first.freeze_with_guardian(),
    };
    std::thread::sleep((spoke + best.interval * halves / 2) - Instant::now());
    let woken = frozen.go_on();
    for _ in 0..3 {
        let after = Instant::now();
        pair.lab.observer.wait_advert(after, "a", 200, LONG);
    }
    // After the pause it goes on at once.
    let next = pair
        .lab
        .observer
        .wait_advert(spoke + ms(5), "a", 200, LONG)
        .at;
    let due = woken.max(spoke + best.interval);
    assert_span(
        "the next one",
        next.saturating_duration_since(due),
        ms(0),
        ms(50),
    );
    let what = format!("paused for {halves} half intervals");
    pair.assert_untouched(&what, before);
    assert_eq!(pair.first.state("web"), "active");
}

/// Longer than the lease: the address goes by itself, the peer has it, and
/// whoever wakes up says nothing that could win.
fn replaced(who: Who, span: Duration) {
    // It would win, if it spoke; and it may not preempt.
    let best = Router::new(200).preempt(Preempt::No);
    let second = Router::new(100);
    let mut pair = Pair::new(&best, &second);
    let frozen_at = Instant::now();
    let frozen = match who {
        Who::Agent => pair.first.freeze(),
        Who::Both => pair.first.freeze_with_guardian(),
    };
    let gone = pair.a.watch.wait(frozen_at, vip(), false, LONG);
    let latest = best.lease() + LATE_EXPIRY + SOON;
    assert_span("the lease's end", gone - frozen_at, ms(0), latest);
    let taken = pair.b.watch.wait(frozen_at, vip(), true, LONG);
    assert_span(
        "the takeover",
        taken - frozen_at,
        ms(0),
        second.down_interval(),
    );
    std::thread::sleep((frozen_at + span).saturating_duration_since(Instant::now()));

    let woken = frozen.go_on();
    wait_until("the sleeper is Backup", LONG, || {
        pair.first.state("web") == "backup"
    });
    for _ in 0..8 {
        let after = Instant::now();
        pair.lab.observer.wait_advert(after, "b", 100, LONG);
    }
    let spoke = pair.lab.observer.adverts(woken, "a");
    assert!(spoke.is_empty(), "it had nothing left to say: {spoke:?}");
    let claims = pair.lab.observer.announcements(woken, "a", vip());
    assert!(claims.is_empty(), "{claims:?}");
    assert_eq!(pair.a.watch.times(woken, vip()), []);
    let log = pair.first.process.log();
    assert!(log.contains("did not run for"), "{log}");
    assert!(log.contains("stays Active"), "{log}");
    let what = format!("frozen for {span:?}");
    let outage = pair.cost(&what, frozen_at);
    let patience = second.down_interval();
    outage.assert_at_most(latest - (patience - best.interval), patience + SOON);
    assert!(pair.b.has(vip()) && !pair.a.has(vip()));
}
