//! Processes that are killed: the agent, its guardian, both at once, and the
//! agent in the middle of a long list.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use nix::sys::signal::Signal;

use super::{LATE_EXPIRY, Pair, SOON};
use crate::lab::config::Router;
use crate::lab::guardian::signal;
use crate::lab::outage::Outage;
use crate::lab::{LONG, Lab, assert_span, ms, vip, wait_until};
use crate::{Needs, trial};

pub fn trials() -> Vec<Trial> {
    let trials: [(&str, fn()); 4] = [
        ("failures_agent_killed", agent),
        ("failures_guardian_killed", guardian),
        ("failures_both_killed", both),
        ("failures_agent_killed_among_200_additions", two_hundred),
    ];
    trials
        .map(|(name, run)| trial(name, Needs::Nothing, run))
        .into()
}

fn agent() {
    let second = Router::new(100);
    let mut pair = Pair::new(&Router::new(200), &second);
    pair.first.guardian(None);
    let killed = Instant::now();
    pair.first.process.kill();
    let gone = pair.a.watch.wait(killed, vip(), false, LONG);
    assert_span("the address's end", gone - killed, ms(0), SOON);
    pair.b.watch.wait(killed, vip(), true, LONG);
    let outage = pair.cost("agent killed", killed);
    outage.assert_at_most(SOON, second.skew() + SOON);
    let learnt = pair.client.watch.learnt(killed, vip(), pair.b.mac("eth0"));
    assert!(learnt.is_some(), "the client was not told");
}

/// The agent goes on as if nothing had been, and has another one.
fn guardian() {
    let mut pair = Pair::new(&Router::new(200), &Router::new(100));
    let guardian = pair.first.guardian(None);
    let killed = Instant::now();
    signal(guardian, Signal::SIGKILL);
    pair.first.guardian(Some(guardian));
    for _ in 0..5 {
        let after = Instant::now();
        pair.lab.observer.wait_advert(after, "a", 200, LONG);
    }
    pair.assert_untouched("guardian killed", killed);
}

/// Nobody is left to do anything: the kernel does.
fn both() {
    let (best, second) = (Router::new(200), Router::new(100));
    let mut pair = Pair::new(&best, &second);
    let killed = pair.first.kill_with_guardian();
    let lease = best.lease();
    let gone = pair.a.watch.wait(killed, vip(), false, LONG);
    let latest = lease + LATE_EXPIRY + SOON;
    // Begun anew by the last advertisement, which is up to one interval ago.
    assert_span(
        "the lease's end",
        gone - killed,
        lease - best.interval - ms(100),
        latest,
    );
    let taken = pair.b.watch.wait(killed, vip(), true, LONG);
    let patience = second.down_interval();
    assert_span("the takeover", taken - killed, ms(0), patience + SOON);
    let outage = pair.cost("agent and guardian killed", killed);
    outage.assert_at_most(latest - (patience - best.interval), patience + SOON);
    assert!(pair.a.has(pair.a.v4()) && pair.a.has(pair.a.v6()));
    // The winner was announced last, so the client is where it should be.
    assert_eq!(
        pair.client.neighbour(vip()),
        Some(pair.b.mac("eth0").to_string())
    );
}

/// It dies while most of its addresses are still to come. The peer takes all
/// of them, and no host is left with one that it should not have.
fn two_hundred() {
    let many: Vec<String> = (1..=100)
        .flat_map(|n| {
            [
                format!("198.51.100.{n}/24"),
                format!("2001:db8:1::{n:x}/64"),
            ]
        })
        .collect();
    let router = |priority| {
        let all = std::iter::once("192.0.2.100/24").chain(many.iter().map(String::as_str));
        Router::new(priority).addresses(&all.collect::<Vec<_>>())
    };
    let (best, second) = (router(200), router(100));
    let mut interrupted = 0;
    for round in 0..4_u64 {
        let lab = Lab::new();
        let [a, b] = lab.hosts(["a", "b"]);
        let mut first = lab.agent(&a, std::slice::from_ref(&best));
        let other = lab.agent(&b, std::slice::from_ref(&second));
        other.wait_state("web", "backup", LONG);
        // The claim, which its addresses follow.
        lab.observer.wait_advert(first.started, "a", 200, LONG);
        std::thread::sleep(Duration::from_micros(round * 1500));
        let killed = Instant::now();
        first.process.kill();
        let came = |address: &IpAddr| !a.watch.times(first.started, *address).is_empty();
        for address in second.parsed() {
            b.watch.wait(killed, address, true, LONG);
        }
        let left = || {
            best.parsed()
                .into_iter()
                .filter(|one| a.has(*one))
                .collect::<Vec<_>>()
        };
        wait_until("the end of all addresses", SOON, || left().is_empty());
        let all = best.parsed();
        interrupted += usize::from(!all.iter().all(came));
        let worst = all
            .iter()
            .map(|one| Outage::since(killed, [&a, &b], *one, None))
            .max_by_key(|outage| outage.both)
            .expect("addresses");
        lab.tell("killed among 200 additions, the worst address", &worst);
        assert_span("two holders", worst.both, ms(0), SOON);
    }
    assert!(interrupted > 0, "all additions were over each time");
}
