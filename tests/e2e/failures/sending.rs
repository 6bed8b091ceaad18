//! Advertisements that cannot leave: all of them, and those to one peer.

use std::time::Instant;

use libtest_mimic::Trial;

use super::{Pair, SOON};
use crate::lab::agent::Agent;
use crate::lab::config::Router;
use crate::lab::{LONG, assert_span, ms, vip, wait_until};
use crate::{Needs, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("failures_active_cannot_send", Needs::Nft, active),
        trial("failures_backup_cannot_send", Needs::Nft, backup),
        trial("failures_dead_unicast_peer", Needs::Nothing, dead_peer),
    ]
}

/// `status` says that it cannot send.
fn mute(agent: &Agent) -> bool {
    let obstacles = agent.instance("web")["obstacles"].clone();
    obstacles
        .as_array()
        .into_iter()
        .flatten()
        .any(|one| one["code"] == "cannot-send")
}

/// It gives the address up before its peer claims, stays away, and comes back
/// like any host that starts.
fn active() {
    let (best, second) = (Router::new(200), Router::new(100));
    let mut pair = Pair::new(&best, &second);
    let blocked = Instant::now();
    pair.a.block_advertisements();
    let gone = pair.a.watch.wait(blocked, vip(), false, LONG);
    let patience = best.interval * 3;
    // The last advertisement left up to one interval before.
    let least = patience - best.interval - ms(200);
    assert_span("the giving up", gone - blocked, least, patience);
    let taken = pair.b.watch.wait(blocked, vip(), true, LONG);
    assert_span(
        "the takeover",
        taken - blocked,
        least,
        second.down_interval(),
    );
    let claims = Instant::now();
    wait_until("its word for it", LONG, || mute(&pair.first));
    for _ in 0..8 {
        let after = Instant::now();
        pair.lab.observer.wait_advert(after, "b", 100, LONG);
    }
    assert_eq!(pair.a.watch.times(claims, vip()), []);
    let outage = pair.cost("advertisements of the Active blocked", blocked);
    outage.assert_at_most(ms(0), second.down_interval());
    let log = pair.first.process.log();
    assert!(log.contains("cannot send advertisements: "), "{log}");

    let opened = Instant::now();
    pair.a.let_advertisements_out();
    let back = pair.lab.observer.wait_advert(opened, "a", 200, LONG).at;
    let ordinary = best.down_interval();
    assert_span("the preemption", back - opened, ms(0), ordinary * 2);
    pair.a.watch.wait(opened, vip(), true, LONG);
    pair.b.watch.wait(opened, vip(), false, LONG);
    wait_until("no obstacle", LONG, || !mute(&pair.first));
}

/// Nobody would hear of its claim, so it makes none, though the address is
/// nowhere; and makes it when it can.
fn backup() {
    let (best, second) = (Router::new(200), Router::new(100));
    let mut pair = Pair::new(&best, &second);
    pair.b.block_advertisements();
    let killed = Instant::now();
    pair.first.process.kill();
    pair.a.watch.wait(killed, vip(), false, LONG);
    let tries = || {
        let counters = pair.second.instance("web")["counters"].clone();
        counters["errors"]["send-error"]
            .as_u64()
            .expect("a counter")
    };
    wait_until("three tries", LONG, || tries() >= 3);
    assert_eq!(pair.b.watch.times(killed, vip()), []);
    assert_eq!(pair.second.state("web"), "backup");
    assert!(mute(&pair.second));
    let opened = Instant::now();
    pair.b.let_advertisements_out();
    let taken = pair.b.watch.wait(opened, vip(), true, LONG);
    assert_span("the claim", taken - opened, ms(0), second.down_interval());
    let outage = pair.cost("advertisements of the Backup blocked", opened);
    outage.assert_at_most(ms(0), (taken - killed) + SOON);
}

/// Its hardware address is asked for in vain, which says nothing about us.
/// The kernel takes what is sent there all the same: a socket bound to its
/// interface (Linux 6.18) is not even told of a route that forbids it.
fn dead_peer() {
    let best = Router::new(200);
    let mut pair = Pair::with(|a, b| {
        let best = best.clone().peers(&[b.v4()]);
        (best, Router::new(100).peers(&[a.v4()]))
    });
    let unplugged = Instant::now();
    pair.lab.unplug(&pair.b, "eth0");
    let peer = pair.b.v4();
    // Otherwise it is believed in for half a minute.
    pair.a.ip(&format!("neigh flush to {peer}"));
    wait_until("a neighbour entry that failed", LONG, || {
        let entries = pair.a.namespace.ip_json(&format!("neigh show {peer}"));
        entries[0]["state"].to_string().contains("FAILED")
    });
    let failed = Instant::now();
    let sent = || {
        let counters = pair.first.instance("web")["counters"].clone();
        counters["adverts_sent"].as_u64().expect("a counter")
    };
    let before = sent();
    // Four times its peers' patience.
    wait_until("15 more", LONG, || sent() >= before + 15);
    assert_span(
        "these 15",
        failed.elapsed(),
        best.interval * 13,
        best.interval * 16,
    );
    assert_eq!(pair.a.watch.times(unplugged, vip()), []);
    assert_eq!(pair.first.state("web"), "active");
    assert!(!mute(&pair.first));

    let plugged = Instant::now();
    pair.lab.plug(&pair.b, "eth0");
    pair.second.wait_state("web", "backup", LONG);
    pair.lab.observer.wait_advert(plugged, "a", 200, LONG);
    for _ in 0..5 {
        let after = Instant::now();
        pair.lab.observer.wait_advert(after, "a", 200, LONG);
    }
    assert_eq!(pair.a.watch.times(unplugged, vip()), []);
    assert_eq!(pair.second.state("web"), "backup");
    let outage = pair.cost("a dead unicast peer", unplugged);
    outage.assert_at_most(ms(0), ms(0));
}
