//! The peer link and those who have no key: replays, garbage, floods, and a
//! node with another key. None of it changes anything; all of it is counted.

use std::net::Ipv4Addr;
use std::thread::sleep;
use std::time::Instant;

use libtest_mimic::Trial;

use crate::agent_link::{Pair, acquainted};
use crate::lab::agent::Agent;
use crate::lab::cluster::{Cluster, v4_of, wait_heartbeats};
use crate::lab::config::Router;
use crate::lab::tap::{self, PAYLOAD_AT, Tap};
use crate::lab::{Host, LONG, Lab, assert_span, ms, vip, wait_until};
use crate::{Needs, trial};

/// In a datagram: after three letters and the form, who sent it; then two ends
/// of 16 bytes, and its number.
const TAG_AT: usize = 4;
const COUNTER_AT: usize = 44;

pub fn trials() -> Vec<Trial> {
    let all: [(&str, fn()); 4] = [
        ("agent_link_attack_replays", replays),
        ("agent_link_attack_replays_after_restarts", restarts),
        ("agent_link_attack_flood", flood),
        ("agent_link_wrong_key", wrong_key),
    ];
    let named = |(name, run)| trial(name, Needs::Nothing, run);
    all.into_iter().map(named).collect()
}

/// Datagrams from a to b.
fn from_a(tap: &Tap) -> Vec<Vec<u8>> {
    let mut frames = tap.frames();
    frames.retain(|frame| frame.get(26..30) == Some(&[192, 0, 2, 1]));
    frames
}

/// So many of them.
fn captured(tap: &Tap, count: usize) -> Vec<Vec<u8>> {
    wait_until("datagrams of the peer link", LONG, || {
        from_a(tap).len() >= count
    });
    from_a(tap)
}

/// Sends them on, in bursts that the socket's buffer can hold.
fn send_on(attacker: &Host, frames: &[Vec<u8>]) {
    for some in frames.chunks(50) {
        let some: Vec<_> = some
            .iter()
            .map(|frame| tap::replayed(frame, attacker))
            .collect();
        attacker.send(&some);
        sleep(ms(5));
    }
}

/// What must be the same before and after, on both.
fn standing(agents: [&Agent; 2]) -> Vec<serde_json::Value> {
    let each = agents.map(|agent| {
        let one = agent.instance("web");
        [one["state"].clone(), one["counters"]["transitions"].clone()]
    });
    each.into_iter().flatten().collect()
}

/// The gap between two heartbeats of a was never much more than an interval.
fn pace_was_kept(lab: &Lab, since: Instant) {
    let adverts = lab.observer.adverts(since, "a");
    assert!(adverts.len() > 3, "{} heartbeats", adverts.len());
    for pair in adverts.windows(2) {
        assert_span("the next heartbeat", pair[1].0 - pair[0].0, ms(0), ms(300));
    }
}

fn replays() {
    let pair = Pair::new(Router::new);
    let attacker = pair.lab.host("attacker");
    let tap = pair.lab.tap(&pair.b);
    let frames = captured(&tap, 20);
    let agents = [&pair.first, &pair.other];
    let before = standing(agents);
    let since = Instant::now();
    send_on(&attacker, &frames);
    let count = u64::try_from(frames.len()).expect("some");
    pair.other
        .wait_for("all counted as replayed", LONG, |status| {
            status["link"]["refused"]["replayed"] == count
        });
    // With any bit turned, or cut.
    let sample = frames.last().expect("some");
    let bits = (PAYLOAD_AT..sample.len()).map(|at| {
        let mut turned = sample.clone();
        turned[at] ^= 1 << (at % 8);
        turned
    });
    let bits: Vec<_> = bits.collect();
    send_on(&attacker, &bits);
    let all = count + u64::try_from(bits.len()).expect("some");
    pair.other.wait_for("turned bits refused", LONG, |status| {
        let refused = status["link"]["refused"].as_object().expect("counts");
        refused
            .values()
            .filter_map(serde_json::Value::as_u64)
            .sum::<u64>()
            == all
    });
    wait_heartbeats(&pair.lab, "a", 5);
    assert_eq!(standing(agents), before);
    assert_eq!(pair.other.node("a")["reachable"], true);
    pace_was_kept(&pair.lab, since);
    assert!(pair.lab.observer.adverts(since, "b").is_empty());
}

/// Captures of a former life of the receiver, then of one of the sender: by
/// them nobody is taken for alive, and no session changes.
fn restarts() {
    let Pair {
        lab,
        a,
        b,
        cluster,
        mut first,
        mut other,
        ..
    } = Pair::new(Router::new);
    let attacker = lab.host("attacker");
    let tap = lab.tap(&b);
    let frames = captured(&tap, 20);

    other.kill_with_guardian();
    let other = cluster.agent(&lab, &b, Router::new(100));
    other.wait_state("web", "backup", LONG);
    acquainted(&other, "a");
    acquainted(&first, "b");
    wait_heartbeats(&lab, "a", 1);
    let before = standing([&first, &other]);
    let since = Instant::now();
    // What the new life cannot know to be old is a greeting, once.
    for _ in 0..3 {
        send_on(&attacker, &frames);
    }
    let twice = 2 * u64::try_from(frames.len()).expect("some");
    other.wait_for("counted as replayed", LONG, |status| {
        status["link"]["refused"]["replayed"].as_u64() >= Some(twice)
    });
    wait_heartbeats(&lab, "a", 5);
    assert_eq!(standing([&first, &other]), before);
    assert_eq!(other.node("a")["reachable"], true);
    assert_eq!(other.told("a", "web")["state"], "active");
    pace_was_kept(&lab, since);

    // The sender is gone for good, and its captures do not bring it back.
    let frames = from_a(&tap);
    first.kill_with_guardian();
    other.wait_state("web", "active", LONG);
    other.wait_reachable("a", false);
    let before = other.transitions("web");
    send_on(&attacker, &frames);
    wait_heartbeats(&lab, "b", 3);
    assert_eq!(other.node("a")["reachable"], false, "{:#}", other.node("a"));
    assert_eq!(other.transitions("web"), before);
    // Nor do they keep it from coming back.
    let first = cluster.agent(&lab, &a, Router::new(200));
    acquainted(&other, "a");
    acquainted(&first, "b");
    first.wait_state("web", "active", LONG);
    other.wait_state("web", "backup", LONG);
    let since = Instant::now();
    let before = standing([&first, &other]);
    send_on(&attacker, &frames);
    wait_heartbeats(&lab, "a", 5);
    assert_eq!(standing([&first, &other]), before);
    assert_eq!(other.node("a")["reachable"], true);
    pace_was_kept(&lab, since);
}

/// 100,000 of them, 10,000 a second where the machine can.
fn flood() {
    let pair = Pair::new(Router::new);
    let attacker = pair.lab.host("attacker");
    let tap = pair.lab.tap(&pair.b);
    captured(&tap, 20);
    let sample = |host: &Host| {
        let source = v4_of(host.v4()).octets();
        let found = tap.frames().into_iter();
        let mut found = found.filter(|frame| frame.get(26..30) == Some(&source));
        found.next_back().expect("a datagram of each")
    };
    let (of_a, of_b) = (sample(&pair.a), sample(&pair.b));
    drop(tap);
    let agents = [&pair.first, &pair.other];
    let before = standing(agents);
    let batch = vec![batch(&pair, &attacker, [&of_a, &of_b]); 5].concat();
    let memory = agents.map(Agent::resident_kib);
    let since = Instant::now();
    for number in 1..=200_u32 {
        attacker.send(&batch);
        sleep((ms(50) * number).saturating_sub(since.elapsed()));
    }
    println!("    100,000 datagrams in {:?}", since.elapsed());
    assert_eq!(standing(agents), before);
    pace_was_kept(&pair.lab, since);
    assert!(pair.lab.observer.adverts(since, "b").is_empty());
    for (agent, before) in agents.into_iter().zip(memory) {
        let grown = agent.resident_kib().saturating_sub(before);
        assert!(grown < 2048, "{grown} KiB more");
        let refused = agent.status()["link"]["refused"].clone();
        for why in ["malformed", "unknown-node", "unexpected-source", "forged"] {
            let count = refused[why].as_u64().expect("a count");
            assert!(count > 5_000, "{why}: {refused:#}");
        }
        // At most one line of each kind a minute.
        let log = agent.process.log();
        let lines = log.lines().filter(|line| line.contains("peer link"));
        assert!(lines.count() < 12, "{log}");
    }
    // By the other path they hear each other all the while.
    for (agent, node) in [(&pair.first, "b"), (&pair.other, "a")] {
        assert_eq!(agent.node(node)["reachable"], true);
        assert!(!agent.process.log().contains("no longer heard"));
    }
}

/// Noise, datagrams of a node that is none and of a node from elsewhere, and
/// such with a wrong seal; to both.
fn batch(pair: &Pair, attacker: &Host, [of_a, of_b]: [&[u8]; 2]) -> Vec<Vec<u8>> {
    let [at_a, at_b] = [&pair.a, &pair.b].map(|host| (host.mac("eth0"), v4_of(host.v4())));
    let stranger = Ipv4Addr::new(192, 0, 2, 77);
    let mut frames = Vec::new();
    for number in 0..50_u8 {
        let noise: Vec<u8> = (0..200_u8)
            .map(|at| at.wrapping_mul(number) ^ number)
            .collect();
        for (target, node, sample) in [(at_a, at_b.1, of_b), (at_b, at_a.1, of_a)] {
            let payload = sample.get(PAYLOAD_AT..).expect("a payload");
            let with = |at: usize| {
                let mut payload = payload.to_vec();
                payload[at] ^= 0x10 + number;
                payload
            };
            frames.push(match number % 4 {
                0 => tap::datagram(attacker, node, target, &noise),
                1 => tap::datagram(attacker, stranger, target, &with(TAG_AT)),
                2 => tap::datagram(attacker, stranger, target, payload),
                // Ahead of every counter, so that the seal has to be made.
                _ => tap::datagram(attacker, node, target, &with(COUNTER_AT)),
            });
        }
    }
    frames
}

/// Two hosts that do not trust each other are a pair by plain VRRP.
fn wrong_key() {
    let lab = Lab::new();
    let ([a, b], _gateway) = lab.nodes(["a", "b"]);
    let cluster = Cluster::of(&lab, &[&a, &b]);
    let other_key = cluster.clone().with_key(lab.cluster_key(8));
    let router = |priority| Router::new(priority).interval_ms(1000);
    let mut first = cluster.agent(&lab, &a, router(200));
    a.watch.wait(first.started, vip(), true, LONG);
    let other = other_key.agent(&lab, &b, router(100));
    other.wait_state("web", "backup", LONG);
    for (agent, node) in [(&first, "b"), (&other, "a")] {
        agent.wait_for("datagrams refused as forged", LONG, |status| {
            status["link"]["refused"]["forged"].as_u64() > Some(10)
        });
        assert_eq!(agent.node(node)["reachable"], false);
        let text = String::from_utf8_lossy(&agent.ask(&["status"]).stdout).into_owned();
        assert!(text.contains("another `key_file`"), "{text}");
        let log = agent.process.log();
        let lines = log.lines().filter(|line| line.contains("key_file"));
        assert_eq!(lines.count(), 1, "{log}");
    }
    wait_heartbeats(&lab, "a", 2);
    first.guardian(None);
    let killed = Instant::now();
    first.process.kill();
    let farewell = lab.observer.wait_advert(killed, "a", 0, LONG).at;
    let taken = lab.observer.wait_advert(farewell, "b", 100, LONG).at;
    let skew = router(100).skew();
    assert_span("the takeover", taken - farewell, skew, skew);
}
