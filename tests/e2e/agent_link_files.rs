//! Nodes whose files differ, clusters that come, change and go by a reload,
//! and strangers on the segment of nodes that know each other.

use std::thread::sleep;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::agent_link::{Pair, acquainted};
use crate::lab::agent::Agent;
use crate::lab::cluster::{Cluster, codes, nobody_else, v4_of, wait_heartbeats};
use crate::lab::config::{Router, yaml};
use crate::lab::inject::gratuitous_arp;
use crate::lab::prober::Prober;
use crate::lab::{Host, LONG, Lab, assert_span, ms, vip};
use crate::{Needs, trial};

pub fn trials() -> Vec<Trial> {
    let all: [(&str, fn()); 6] = [
        ("agent_link_drift", drift),
        ("agent_link_conflict_with_a_stranger", stranger),
        ("agent_link_no_conflict_with_a_node", a_nodes_claim),
        ("agent_link_yields", yields),
        ("agent_link_reload_adds_and_removes", comes_and_goes),
        ("agent_link_reload_changes_the_key", new_key),
    ];
    let named = |(name, run)| trial(name, Needs::Nothing, run);
    all.into_iter().map(named).collect()
}

/// What differs from the other node, by code: ours and theirs.
fn differences(instance: &Value) -> Vec<(String, String, String)> {
    let list = instance["drift"].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let told = list.iter().filter(|one| one["source"] == "");
    let mut all: Vec<_> = told
        .map(|one| (text(&one["code"]), text(&one["ours"]), text(&one["theirs"])))
        .collect();
    all.sort();
    all
}

/// All that can differ, at once, on both sides; then none of it.
fn drift() {
    let lab = Lab::new();
    let ([a, b], _gateway) = lab.nodes(["a", "b"]);
    let cluster = Cluster::of(&lab, &[&a, &b]);
    let keys = [7, 8].map(|byte| lab.cluster_key(byte).display().to_string());
    let ours = Router::new(150).with(&format!("auth: {{ keys: {{ 1: {} }} }}", keys[0]));
    let theirs = Router::new(150)
        .interval_ms(400)
        .addresses(&["192.0.2.100/24", "192.0.2.101/24"])
        .with("down_after: 4")
        .with("announce: { repeat: 3 }")
        .with(&format!(
            "auth: {{ keys: {{ 1: {}, 2: {} }}, active_key: 1 }}",
            keys[0], keys[1]
        ));
    // The better one by its address.
    let other = cluster.agent(&lab, &b, theirs);
    b.watch.wait(other.started, vip(), true, LONG);
    let first = cluster.agent(&lab, &a, ours.clone());
    let expected = [
        "addresses",
        "advert-interval",
        "configuration",
        "down-after",
        "equal-priority",
        "keys",
    ];
    let of_both = [(&first, "b"), (&other, "a")].map(|(agent, node)| {
        let instance = agent.wait_instance("web", "that differs in all", |one| {
            let codes: Vec<_> = differences(one).into_iter().map(|one| one.0).collect();
            codes == expected
        });
        for one in instance["drift"].as_array().expect("a list") {
            assert_eq!(one["node"], node, "{instance:#}");
        }
        differences(&instance)
    });
    for (one, mirrored) in of_both[0].iter().zip(&of_both[1]) {
        assert_eq!((&one.1, &one.2), (&mirrored.2, &mirrored.1), "{one:?}");
    }
    let value = |code: &str| {
        let found = of_both[0].iter().find(|one| one.0 == code);
        found
            .map(|one| (one.1.as_str(), one.2.as_str()))
            .expect(code)
    };
    assert_eq!(value("advert-interval"), ("300 ms", "400 ms"));
    assert_eq!(value("down-after"), ("3 intervals", "4 intervals"));
    assert_eq!(value("equal-priority"), ("150", "150"));
    assert_eq!(
        value("addresses"),
        ("192.0.2.100/24", "192.0.2.100/24, 192.0.2.101/24")
    );
    let text = String::from_utf8_lossy(&first.ask(&["status"]).stdout).into_owned();
    assert!(text.contains("down-after"), "{text}");
    // It costs nobody anything.
    assert_eq!(other.state("web"), "active");
    assert_eq!(first.state("web"), "backup");
    let mut same = ours;
    same.priority = 151;
    other.reload_with(&cluster.yaml(&b, &[same]));
    for agent in [&first, &other] {
        agent.wait_instance("web", "that is the same", |one| one["drift"] == json!([]));
    }
    assert_eq!(other.state("web"), "active");
    assert_eq!(other.transitions("web"), first_transitions());
}

/// Initialize, Backup, Active: as it was before the reload.
fn first_transitions() -> Value {
    json!(2)
}

/// Somebody who is no node claims the address.
fn stranger() {
    let pair = Pair::new(Router::new);
    let stranger = pair.lab.host("stranger");
    let since = Instant::now();
    stranger.send(&[gratuitous_arp(&stranger, v4_of(vip()))]);
    let instance = pair.first.wait_instance("web", "with a conflict", |one| {
        one["conflicts"]
            .as_array()
            .is_some_and(|all| !all.is_empty())
    });
    let conflict = &instance["conflicts"][0];
    assert_eq!(conflict["address"], "192.0.2.100");
    let mac = stranger.mac("eth0").to_string();
    assert_eq!(conflict["hardware_address"], mac, "{instance:#}");
    assert!(pair.first.process.log().contains(&mac), "no event");
    // Defended: everyone is told again.
    pair.lab.observer.wait(since, "a defence", LONG, |frame| {
        frame.host == "a" && frame.announces() == Some(vip())
    });
    assert_eq!(pair.first.state("web"), "active");
    nobody_else(&pair.lab, since, &[&pair.b], vip());
}

/// A node's claim is the election's affair.
fn a_nodes_claim() {
    let pair = Pair::new(Router::new);
    sleep(ms(1_100));
    let since = Instant::now();
    pair.b.send(&[gratuitous_arp(&pair.b, v4_of(vip()))]);
    // Clients have learnt b's; they are told again.
    pair.lab
        .observer
        .wait(since, "an announcement", LONG, |frame| {
            frame.host == "a" && frame.announces() == Some(vip())
        });
    wait_heartbeats(&pair.lab, "a", 2);
    for agent in [&pair.first, &pair.other] {
        let instance = agent.instance("web");
        assert_eq!(instance["conflicts"], json!([]), "{instance:#}");
    }
    assert_eq!(pair.first.state("web"), "active");
}

/// The stranger goes on, so the address is left to it for a while; a node that
/// is not disturbed may have it meanwhile.
fn yields() {
    let make = |priority| Router::new(priority).with("on_conflict: yield");
    let pair = Pair::new(make);
    let stranger = pair.lab.host("stranger");
    let since = Instant::now();
    for _ in 0..2 {
        stranger.send(&[gratuitous_arp(&stranger, v4_of(vip()))]);
    }
    let gone = pair.a.watch.wait(since, vip(), false, LONG);
    assert_span("the release", gone - since, ms(0), ms(300));
    let instance = pair.first.wait_instance("web", "that yields", |one| {
        codes(&one["obstacles"]).contains(&"address-conflict".to_owned())
    });
    assert_eq!(instance["state"], "fault", "{instance:#}");
    assert!(pair.first.process.log().contains("on_conflict: yield"));
    pair.b.watch.wait(since, vip(), true, LONG);
    pair.other.wait_node("a", "that says why", |node| {
        codes(&node["instances"][0]["obstacles"]).contains(&"address-conflict".to_owned())
    });
    // Five seconds later it tries again, and nobody is in the way.
    let back = pair.a.watch.wait(gone, vip(), true, LONG);
    assert_span("the next try", back - gone, ms(4_900), ms(7_000));
    pair.b.watch.wait(gone, vip(), false, LONG);
}

/// Two agents without a cluster, under a client's probes.
struct Plain {
    agents: [Agent; 2],
    before: [Value; 2],
    since: Instant,
    prober: Prober,
    _client: Host,
}

impl Plain {
    fn agents(&self) -> [&Agent; 2] {
        [&self.agents[0], &self.agents[1]]
    }

    /// The election noticed nothing of all this.
    fn untouched(self, lab: &Lab) {
        wait_heartbeats(lab, "a", 3);
        let now = self.agents().map(|agent| agent.transitions("web"));
        assert_eq!(now, self.before);
        let report = self.prober.stop();
        assert_eq!(report.lost, 0, "{report:?}");
        let adverts = lab.observer.adverts(self.since, "a");
        for pair in adverts.windows(2) {
            assert_span("the next one", pair[1].0 - pair[0].0, ms(0), ms(300));
        }
        assert!(lab.observer.adverts(self.since, "b").is_empty());
    }
}

fn running(lab: &Lab, agents: [Agent; 2]) -> Plain {
    agents[0].wait_state("web", "active", LONG);
    agents[1].wait_state("web", "backup", LONG);
    wait_heartbeats(lab, "a", 1);
    let client = lab.host("client");
    let prober = Prober::start(&client, vip());
    prober.wait_answered(LONG);
    Plain {
        before: [&agents[0], &agents[1]].map(|agent| agent.transitions("web")),
        agents,
        since: Instant::now(),
        prober,
        _client: client,
    }
}

fn comes_and_goes() {
    let lab = Lab::new();
    let ([a, b], _gateway) = lab.nodes(["a", "b"]);
    let cluster = Cluster::of(&lab, &[&a, &b]);
    let routers = [Router::new(200), Router::new(100)];
    let agents = [lab.agent(&a, &routers[..1]), lab.agent(&b, &routers[1..])];
    let plain = running(&lab, agents);
    let [first, other] = plain.agents();
    assert_eq!(first.status()["nodes"], json!([]));
    first.reload_with(&cluster.yaml(&a, &routers[..1]));
    first.wait_reachable("b", false);
    other.reload_with(&cluster.yaml(&b, &routers[1..]));
    acquainted(first, "b");
    acquainted(other, "a");
    // It is of use at once.
    assert_eq!(first.told("b", "web")["active_router"]["node"], "a");
    first.reload_with(&yaml("a", &routers[..1]));
    assert_eq!(first.status()["nodes"], json!([]));
    other.wait_reachable("a", false);
    other.reload_with(&yaml("b", &routers[1..]));
    assert_eq!(other.status()["nodes"], json!([]));
    plain.untouched(&lab);
}

/// One host after the other, as an operator would.
fn new_key() {
    let lab = Lab::new();
    let ([a, b], _gateway) = lab.nodes(["a", "b"]);
    let cluster = Cluster::of(&lab, &[&a, &b]);
    let routers = [Router::new(200), Router::new(100)];
    let agents = [
        lab.agent_with(&a, &cluster.yaml(&a, &routers[..1])),
        lab.agent_with(&b, &cluster.yaml(&b, &routers[1..])),
    ];
    acquainted(&agents[0], "b");
    acquainted(&agents[1], "a");
    let plain = running(&lab, agents);
    let [first, other] = plain.agents();
    let fresh = cluster.clone().with_key(lab.cluster_key(8));
    first.reload_with(&fresh.yaml(&a, &routers[..1]));
    first.wait_reachable("b", false);
    other.wait_reachable("a", false);
    other.wait_for("datagrams refused as forged", LONG, |status| {
        status["link"]["refused"]["forged"].as_u64() > Some(0)
    });
    sleep(Duration::from_secs(2));
    let reloaded = Instant::now();
    other.reload_with(&fresh.yaml(&b, &routers[1..]));
    acquainted(first, "b");
    acquainted(other, "a");
    assert_span("the session", reloaded.elapsed(), ms(0), ms(1_000));
    // The other bytes in the same file are another key, too.
    std::fs::write(&fresh.key, [9; 32]).expect("a key file");
    first.reload_with(&fresh.yaml(&a, &routers[..1]));
    other.wait_reachable("a", false);
    other.reload_with(&fresh.yaml(&b, &routers[1..]));
    acquainted(first, "b");
    acquainted(other, "a");
    plain.untouched(&lab);
}
