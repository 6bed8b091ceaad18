//! Nodes that know each other: an Active that is killed, stopped or cut off is
//! followed without a needless wait, and one that came back is known at once.

use std::net::IpAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use nix::sys::signal::Signal;

use crate::agent_link::{Pair, acquainted, quick, second};
use crate::lab::cluster::{Cluster, nobody_else, wait_heartbeats};
use crate::lab::config::Router;
use crate::lab::prober::Prober;
use crate::lab::{LONG, Lab, ROOM, assert_span, ms, vip, vip6};
use crate::{Needs, trial};

pub fn trials() -> Vec<Trial> {
    let all: [(&str, Needs, fn()); 10] = [
        ("kill_is_followed_at_once", Needs::Nothing, || {
            killed(second(100), vip());
        }),
        ("kill_is_followed_at_once_ipv6", Needs::Nothing, || {
            killed(second(100).ipv6(), vip6());
        }),
        ("kill_is_followed_at_once_unicast", Needs::Nothing, unicast),
        ("stop_is_followed_at_once", Needs::Nothing, stopped),
        ("dead_host", Needs::Nothing, dead_host),
        ("three_nodes", Needs::Nothing, three_nodes),
        ("restart_of_one", Needs::Nothing, restart),
        ("mixed_pair_killed", Needs::Keepalived, || {
            mixed(Signal::SIGKILL);
        }),
        ("mixed_pair_stopped", Needs::Keepalived, || {
            mixed(Signal::SIGTERM);
        }),
        ("mixed_pair_as_backup", Needs::Keepalived, mixed_backup),
    ];
    let named = |(name, needs, run)| trial(format!("agent_link_{name}"), needs, run);
    all.into_iter().map(named).collect()
}

/// The guardian's priority 0 is followed without Skew_Time.
fn killed(best: Router, address: IpAddr) {
    let mut worse = best.clone();
    worse.priority = 100;
    let best = Router {
        priority: 200,
        ..best
    };
    let skew = worse.skew();
    let mut pair = Pair::of([best, worse], |cluster| cluster);
    pair.first.guardian(None);
    let client = pair.lab.host("client");
    let prober = Prober::start(&client, address);
    prober.wait_answered(LONG);
    let killed = Instant::now();
    pair.first.process.kill();
    let farewell = pair.lab.observer.wait_advert(killed, "a", 0, LONG).at;
    let taken = pair.lab.observer.wait_advert(farewell, "b", 100, LONG).at;
    assert_at_once("the takeover", taken - farewell, skew);
    pair.b.watch.wait(killed, address, true, LONG);
    client
        .watch
        .wait_neighbour(killed, address, pair.b.mac("eth0"), LONG);
    prober.wait_answered(LONG);
    assert!(!pair.a.has(address), "it is left on a");
    assert_eq!(pair.other.instance("web")["reason"], "priority");
}

/// Less than Skew_Time, which is waited otherwise, by however long the
/// machine stood still.
#[track_caller]
fn assert_at_once(what: &str, span: Duration, skew: Duration) {
    let room = skew.saturating_sub(ms(50) + ROOM);
    assert!(room > ms(0), "too short a Skew_Time to tell: {skew:?}");
    assert_span(what, span, ms(0), room);
}

fn unicast() {
    let [at_a, at_b] = [1, 2].map(|number| IpAddr::from([192, 0, 2, number]));
    let third = IpAddr::from([192, 0, 2, 3]);
    // More than one peer, so that only the peer link tells who is best.
    let best = second(200).peers(&[at_b, third]);
    let worse = second(100).peers(&[at_a, third]);
    let skew = worse.skew();
    let mut pair = Pair::of([best, worse], |cluster| cluster);
    pair.first.guardian(None);
    let killed = Instant::now();
    pair.first.process.kill();
    let farewell = pair.lab.observer.wait_advert(killed, "a", 0, LONG).at;
    let taken = pair.lab.observer.wait_advert(farewell, "b", 100, LONG).at;
    assert_at_once("the takeover", taken - farewell, skew);
    pair.b.watch.wait(killed, vip(), true, LONG);
}

fn stopped() {
    let mut pair = Pair::new(second);
    let client = pair.lab.host("client");
    let prober = Prober::start(&client, vip());
    prober.wait_answered(LONG);
    let stopped = Instant::now();
    pair.first.signal(Signal::SIGTERM);
    // By agreement, so nobody is told that there is no Active.
    let taken = pair.lab.observer.wait_advert(stopped, "b", 100, LONG).at;
    assert_at_once("the takeover", taken - stopped, ms(609));
    let gone = pair.a.watch.wait(stopped, vip(), false, LONG);
    assert!(gone > taken, "released before it was relieved");
    let (_, status) = pair.first.process.wait_exit(LONG);
    assert!(status.success(), "{status}");
    client
        .watch
        .wait_neighbour(stopped, vip(), pair.b.mac("eth0"), LONG);
    prober.wait_answered(LONG);
    let report = prober.stop();
    assert_eq!(report.lost, 0, "{report:?}");
    let node = pair.other.node("a");
    assert_ne!(node["instances"][0]["state"], "active", "{node:#}");
}

/// Nothing of it is heard by any path: three intervals, and nothing more.
fn dead_host() {
    let pair = Pair::new(second);
    let cut = Instant::now();
    pair.lab.cut(&pair.a, "eth0");
    pair.lab.cut(&pair.a, "eth1");
    let last = pair.lab.observer.adverts(cut - ms(2_000), "a");
    let last = last
        .iter()
        .rfind(|(at, _)| *at <= cut)
        .expect("a heartbeat");
    let taken = pair.lab.observer.wait_advert(cut, "b", 100, LONG).at;
    let room = ms(609) - ms(50) - ROOM;
    assert_span("the takeover", taken - last.0, ms(3_000), ms(3_000) + room);
    let node = pair.other.node("a");
    assert_eq!(node["reachable"], false, "{node:#}");
}

/// The second best follows at once, the third one never speaks.
fn three_nodes() {
    let lab = Lab::new();
    let ([a, b, c], _gateway) = lab.nodes(["a", "b", "c"]);
    let cluster = Cluster::of(&lab, &[&a, &b, &c]);
    let mut first = cluster.agent(&lab, &a, second(200));
    a.watch.wait(first.started, vip(), true, LONG);
    let mut other = cluster.agent(&lab, &b, second(100));
    let third = cluster.agent(&lab, &c, second(99));
    for (agent, nodes) in [
        (&first, ["b", "c"]),
        (&other, ["a", "c"]),
        (&third, ["a", "b"]),
    ] {
        for node in nodes {
            acquainted(agent, node);
        }
    }
    wait_heartbeats(&lab, "a", 1);
    first.guardian(None);
    let killed = Instant::now();
    first.process.kill();
    let farewell = lab.observer.wait_advert(killed, "a", 0, LONG).at;
    let taken = lab.observer.wait_advert(farewell, "b", 100, LONG).at;
    assert_at_once("the takeover", taken - farewell, second(100).skew());
    b.watch.wait(killed, vip(), true, LONG);
    for agent in [&other, &third] {
        agent.wait_reachable("a", false);
    }
    nobody_else(&lab, killed, &[&c], vip());
    wait_heartbeats(&lab, "b", 1);
    third.wait_instance("web", "whose Active is b", |one| {
        one["active_router"]["node"] == "b"
    });
    let stopped = Instant::now();
    other.signal(Signal::SIGTERM);
    let taken = lab.observer.wait_advert(stopped, "c", 99, LONG).at;
    assert_at_once("the second takeover", taken - stopped, second(99).skew());
    let (_, status) = other.process.wait_exit(LONG);
    assert!(status.success(), "{status}");
}

/// Either agent, killed with its guardian and started again.
fn restart() {
    let Pair {
        lab,
        a,
        b,
        cluster,
        mut first,
        mut other,
        ..
    } = Pair::new(quick);
    other.kill_with_guardian();
    let other = cluster.agent(&lab, &b, quick(100));
    acquainted(&other, "a");
    acquainted(&first, "b");
    assert_span("the session", other.started.elapsed(), ms(0), ms(1_000));
    other.wait_state("web", "backup", LONG);
    assert_eq!(first.state("web"), "active");
    first.kill_with_guardian();
    b.watch.wait(other.started, vip(), true, LONG);
    let first = cluster.agent(&lab, &a, quick(200));
    acquainted(&first, "b");
    acquainted(&other, "a");
    assert_span("the session", first.started.elapsed(), ms(0), ms(1_000));
    first.wait_state("web", "active", LONG);
    other.wait_state("web", "backup", LONG);
    for agent in [&first, &other] {
        let refused = agent.status()["link"]["refused"].clone();
        let mut counts = refused.as_object().expect("counts").iter();
        assert!(counts.all(|(_, count)| count == 0), "{refused:#}");
    }
}

/// b is of the cluster, and runs keepalived.
fn mixed(signal: Signal) {
    let lab = Lab::new();
    let ([a, b], _gateway) = lab.nodes(["a", "b"]);
    let cluster = Cluster::of(&lab, &[&a, &b]);
    let mut first = cluster.agent(&lab, &a, quick(200));
    a.watch.wait(first.started, vip(), true, LONG);
    let _other = lab.keepalived(&b, &quick(100));
    sleep(quick(100).down_interval() * 2);
    assert_eq!(first.state("web"), "active");
    assert_eq!(first.node("b")["reachable"], false);
    first.guardian(None);
    let since = Instant::now();
    match signal {
        Signal::SIGKILL => first.process.kill(),
        other => first.signal(other),
    }
    let farewell = lab.observer.wait_advert(since, "a", 0, LONG).at;
    let taken = lab.observer.wait_advert(farewell, "b", 100, LONG).at;
    let skew = quick(100).skew();
    assert_span("the takeover", taken - farewell, skew, skew);
    b.watch.wait(since, vip(), true, LONG);
    a.watch.wait(since, vip(), false, LONG);
}

/// The agent is the worse one, and waits as plain VRRP does.
fn mixed_backup() {
    let lab = Lab::new();
    let ([a, b], _gateway) = lab.nodes(["a", "b"]);
    let cluster = Cluster::of(&lab, &[&a, &b]);
    let began = Instant::now();
    let mut best = lab.keepalived(&a, &quick(200));
    a.watch.wait(began, vip(), true, LONG);
    let other = cluster.agent(&lab, &b, quick(100));
    other.wait_state("web", "backup", LONG);
    sleep(quick(100).down_interval() * 2);
    nobody_else(&lab, other.started, &[&b], vip());
    let stopped = Instant::now();
    best.signal(Signal::SIGTERM);
    let farewell = lab.observer.wait_advert(stopped, "a", 0, LONG).at;
    let taken = lab.observer.wait_advert(farewell, "b", 100, LONG).at;
    let skew = quick(100).skew();
    assert_span("the takeover", taken - farewell, skew, skew);
    b.watch.wait(stopped, vip(), true, LONG);
    best.wait_exit(LONG);
}
