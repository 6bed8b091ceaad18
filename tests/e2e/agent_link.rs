//! Nodes that know each other, each with two paths: what is known where, what
//! a cut or a firewall between them does, and what becomes of the address.

use std::net::IpAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;

use crate::lab::agent::Agent;
use crate::lab::cluster::{Cluster, codes, nobody_else, wait_heartbeats};
use crate::lab::config::Router;
use crate::lab::prober::Prober;
use crate::lab::{Host, LONG, Lab, assert_span, ms, vip};
use crate::{Needs, trial};

/// A router of this priority.
type Make = fn(u8) -> Router;

pub fn trials() -> Vec<Trial> {
    let all: [(&str, Needs, fn()); 11] = [
        ("any_node_shows_all", Needs::Nothing, any_node_shows_all),
        ("blocked_advertisements", Needs::Nft, || blocked(quick)),
        ("blocked_advertisements_ipv6", Needs::Nft, || {
            blocked(|priority| quick(priority).ipv6());
        }),
        ("blocked_from_the_start", Needs::Nft, blocked_from_the_start),
        ("backups_port_cut", Needs::Nothing, backups_port_cut),
        ("actives_port_cut", Needs::Nothing, || {
            actives_port_cut(quick)
        }),
        ("actives_port_cut_ipv6", Needs::Nothing, || {
            actives_port_cut(|priority| quick(priority).ipv6());
        }),
        ("one_path_lost", Needs::Nft, one_path_lost),
        ("both_paths_lost_and_healed", Needs::Nothing, both_lost),
        ("no_segment_can_be_shown", Needs::Nothing, isolated_both),
        ("by_one_path", Needs::Nothing, by_one_path),
    ];
    let named = |(name, needs, run)| trial(format!("agent_link_{name}"), needs, run);
    all.into_iter().map(named).collect()
}

/// An interval of 300 ms.
pub fn quick(priority: u8) -> Router {
    Router::new(priority)
}

/// An interval of a second, so that Skew_Time, 609 ms for priority 100, is
/// more than a busy machine is late.
pub fn second(priority: u8) -> Router {
    Router::new(priority).interval_ms(1000)
}

/// Active on a, Backup on b, and each knows all of the other.
pub struct Pair {
    pub lab: Lab,
    pub a: Host,
    pub b: Host,
    pub gateway: Host,
    pub cluster: Cluster,
    pub first: Agent,
    pub other: Agent,
    pub best: Router,
}

impl Pair {
    pub fn new(make: impl Fn(u8) -> Router) -> Self {
        Self::of([make(200), make(100)], |cluster| cluster)
    }

    pub fn of([best, second]: [Router; 2], change: impl FnOnce(Cluster) -> Cluster) -> Self {
        let lab = Lab::new();
        let ([a, b], gateway) = lab.nodes(["a", "b"]);
        let cluster = change(Cluster::of(&lab, &[&a, &b]));
        let first = cluster.agent(&lab, &a, best.clone());
        for address in best.parsed() {
            a.watch.wait(first.started, address, true, LONG);
        }
        let other = cluster.agent(&lab, &b, second);
        other.wait_state("web", "backup", LONG);
        acquainted(&first, "b");
        acquainted(&other, "a");
        // From here on the Backup has heard the Active.
        wait_heartbeats(&lab, "a", 1);
        Self {
            lab,
            a,
            b,
            gateway,
            cluster,
            first,
            other,
            best,
        }
    }

    /// The last of its addresses: the one that clients use.
    pub fn vip(&self) -> IpAddr {
        *self.best.parsed().last().expect("an address")
    }

    /// Of b, three intervals and Skew_Time.
    fn down_interval(&self) -> Duration {
        let mut router = self.best.clone();
        router.priority = 100;
        router.down_interval()
    }

    /// So long that a Backup that waited for the Active's advertisements would
    /// have claimed twice, nobody but a has the address.
    #[track_caller]
    fn stays_with_a(&self, since: Instant) {
        sleep(self.down_interval() * 2);
        let times = self.a.watch.times(since, self.vip());
        let logs = [&self.first, &self.other].map(|agent| agent.process.log());
        assert!(
            times.is_empty(),
            "{times:?}; a: {}; b: {}",
            logs[0],
            logs[1]
        );
        nobody_else(&self.lab, since, &[&self.b], self.vip());
        assert_eq!(self.first.state("web"), "active");
        assert_eq!(self.other.state("web"), "backup");
    }
}

/// `agent` hears the node and was told of its instance.
#[track_caller]
pub fn acquainted(agent: &Agent, node: &str) {
    agent.wait_node(node, "that tells of web", |node| {
        node["reachable"] == true && node["instances"][0]["name"] == "web"
    });
}

fn any_node_shows_all() {
    let pair = Pair::new(quick);
    pair.other.wait_node("a", "that is Active", |node| {
        node["instances"][0]["state"] == "active"
    });
    let told = pair.other.told("a", "web");
    let own = pair.first.instance("web");
    for key in ["state", "reason", "vrid", "version", "family"] {
        assert_eq!(told[key], own[key], "{key} of {told:#}");
    }
    assert_eq!(told["priority"], 200);
    assert_eq!(told["fitness"], "able");
    assert_eq!(told["source"], "192.0.2.1");
    assert_eq!(told["addresses"][0]["address"], "192.0.2.100/24");
    assert_eq!(told["addresses"][0]["held"], true);
    assert!(told["known_age_ms"].as_u64().is_some_and(|age| age < 2_000));
    // The two hosts have one clock here.
    let moment = |text: &serde_json::Value| {
        let text = text.as_str().expect("a moment");
        text.parse::<jiff::Timestamp>().expect("a moment")
    };
    let apart = moment(&told["since"]).duration_since(moment(&own["since"]));
    assert!(
        apart.abs() < jiff::SignedDuration::from_millis(500),
        "{apart}"
    );
    let back = pair.first.wait_node("b", "whose Active is a", |node| {
        node["instances"][0]["active_router"]["node"] == "a"
    });
    let back = &back["instances"][0];
    assert_eq!(back["state"], "backup");
    assert_eq!(back["addresses"][0]["held"], false);
    let source = pair.other.instance("web")["active_router"].clone();
    assert_eq!(
        source["node"], "a",
        "the source of advertisements has a name"
    );
    assert_eq!(source["address"], "192.0.2.1");
    for (agent, node) in [(&pair.first, "b"), (&pair.other, "a")] {
        let node = agent.node(node);
        let paths = node["paths"].as_array().expect("paths");
        assert_eq!(paths.len(), 2, "{node:#}");
        for path in paths {
            assert_eq!(path["reachable"], true, "{node:#}");
            assert!(path["error"].is_null(), "{node:#}");
        }
        let instance = agent.instance("web");
        for list in ["obstacles", "drift", "conflicts"] {
            assert_eq!(instance[list], serde_json::json!([]), "{list}");
        }
    }
    let refused = pair.other.status()["link"]["refused"].clone();
    let mut counts = refused.as_object().expect("counts").iter();
    assert!(counts.all(|(_, count)| count == 0), "{refused:#}");
    // For people, too.
    let text = pair.other.ask(&["status"]);
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(
        text.contains("reachable") && text.contains("192.0.2.1 up"),
        "{text}"
    );

    // It is not heard any more, and nothing is said of it as if it were.
    let mut pair = pair;
    pair.first.kill_with_guardian();
    let node = pair
        .other
        .wait_node("a", "that is gone", |node| node["reachable"] == false);
    assert_eq!(node["instances"], serde_json::json!([]), "{node:#}");
    assert_eq!(node["last_known"][0]["name"], "web");
    assert_eq!(node["last_known"][0]["last_known_state"], "active");
}

/// A firewall on the Backup eats what is sent to it, and on the Active.
fn blocked(make: Make) {
    let pair = Pair::new(make);
    let vip = || pair.vip();
    let client = pair.lab.host("client");
    // Over IPv6 the first contact of two hosts may cost some hundred probes.
    let first_contact = Prober::start(&client, vip());
    for _ in 0..500 {
        first_contact.wait_answered(LONG);
    }
    first_contact.stop();
    let prober = Prober::start(&client, vip());
    prober.wait_answered(LONG);
    let since = Instant::now();
    pair.b.block_incoming_advertisements();
    pair.a.block_incoming_advertisements();
    for (agent, of) in [(&pair.other, "node a"), (&pair.first, "node b")] {
        let said = agent.wait_instance("web", "that says why", |one| {
            codes(&one["obstacles"]) == ["split-heartbeat-path"]
        });
        assert_eq!(said["obstacles"][0]["source"], of, "{said:#}");
    }
    pair.stays_with_a(since);
    let report = prober.stop();
    let times = pair.a.watch.times(since, vip());
    let log = pair.first.process.log();
    assert_eq!(report.lost, 0, "{report:?}, {times:?}, a: {log}");
    pair.b.let_advertisements_in();
    pair.a.let_advertisements_in();
    for agent in [&pair.other, &pair.first] {
        agent.wait_instance("web", "without obstacles", |one| {
            codes(&one["obstacles"]).is_empty()
        });
    }
    pair.stays_with_a(since);
    // And it still takes over when it has to.
    let vip = vip();
    let mut pair = pair;
    pair.first.guardian(None);
    let killed = Instant::now();
    pair.first.process.kill();
    pair.b.watch.wait(killed, vip, true, LONG);
}

/// The Backup never heard an advertisement of the Active.
fn blocked_from_the_start() {
    let lab = Lab::new();
    let ([a, b], _gateway) = lab.nodes(["a", "b"]);
    let cluster = Cluster::of(&lab, &[&a, &b]);
    // The one that starts later is the better one, and may not preempt what
    // it does not hear either.
    for (incumbent, newcomer) in [(200, 100), (100, 200)] {
        let first = cluster.agent(&lab, &a, quick(incumbent));
        a.watch.wait(first.started, vip(), true, LONG);
        b.block_incoming_advertisements();
        let since = Instant::now();
        let other = cluster.agent(&lab, &b, quick(newcomer));
        other.wait_instance("web", "that says why", |one| {
            codes(&one["obstacles"]) == ["split-heartbeat-path"]
        });
        sleep(quick(100).down_interval() * 3);
        nobody_else(&lab, since, &[&b], vip());
        assert_eq!(other.state("web"), "backup");
        assert_eq!(first.state("web"), "active");
        b.let_advertisements_in();
        if newcomer > incumbent {
            b.watch.wait(since, vip(), true, LONG);
            a.watch.wait(since, vip(), false, LONG);
        }
    }
}

/// The healthy Active keeps the address: its witness answers.
fn backups_port_cut() {
    let pair = Pair::new(quick);
    let client = pair.lab.host("client");
    let prober = Prober::start(&client, vip());
    prober.wait_answered(LONG);
    let since = Instant::now();
    pair.lab.cut(&pair.b, "eth0");
    for agent in [&pair.other, &pair.first] {
        agent.wait_instance("web", "that says why", |one| {
            codes(&one["obstacles"]) == ["segment-undecided"]
        });
    }
    let node = pair.other.wait_node("a", "by one path", |node| {
        node["paths"][0]["reachable"] == false
    });
    assert_eq!(node["reachable"], true, "{node:#}");
    assert_eq!(node["paths"][1]["reachable"], true, "{node:#}");
    pair.stays_with_a(since);
    pair.lab.mend(&pair.b, "eth0");
    for agent in [&pair.other, &pair.first] {
        agent.wait_instance("web", "without obstacles", |one| {
            codes(&one["obstacles"]).is_empty()
        });
    }
    pair.stays_with_a(since);
    let report = prober.stop();
    assert_eq!(report.lost, 0, "{report:?}");
}

/// The other one can show that its segment works, and the Active cannot.
fn actives_port_cut(make: Make) {
    let pair = Pair::new(make);
    let vip = || pair.vip();
    let client = pair.lab.host("client");
    let prober = Prober::start(&client, vip());
    prober.wait_answered(LONG);
    let cut = Instant::now();
    pair.lab.cut(&pair.a, "eth0");
    let claimed = pair.b.watch.wait(cut, vip(), true, LONG);
    let released = pair.a.watch.wait(cut, vip(), false, LONG);
    let apart = released.max(claimed) - released.min(claimed);
    println!("    claimed and released {apart:?} apart");
    // The kernel may let an IPv6 address in half a second after it has it, and
    // who had it waits for that.
    assert_span("claim and release apart", apart, ms(0), ms(1000));
    // Silence, the look, and no Skew_Time.
    let most = quick(100).down_interval() + ms(250);
    assert_span("the takeover", claimed - cut, ms(500), most);
    assert_eq!(pair.first.state("web"), "backup");
    assert_eq!(pair.first.instance("web")["reason"], "segment-lost");
    client
        .watch
        .wait_neighbour(cut, vip(), pair.b.mac("eth0"), LONG);
    prober.wait_answered(LONG);
    // The one that is cut off knows by the other path who has it, and keeps
    // away from it.
    sleep(pair.down_interval() * 2);
    assert_eq!(pair.first.state("web"), "backup");
    assert_eq!(pair.other.state("web"), "active");
    assert!(!pair.a.has(vip()));
    // Healed, the better one preempts.
    let healed = Instant::now();
    pair.lab.mend(&pair.a, "eth0");
    pair.a.watch.wait(healed, vip(), true, LONG);
    pair.b.watch.wait(healed, vip(), false, LONG);
}

/// Either of the two, and nothing happens.
fn one_path_lost() {
    let pair = Pair::new(quick);
    let since = Instant::now();
    let half = |agent: &Agent, node: &str, lost: usize| {
        let node = agent.wait_node(node, "by one path", |node| {
            node["paths"][lost]["reachable"] == false
        });
        assert_eq!(node["reachable"], true, "{node:#}");
        assert_eq!(node["paths"][1 - lost]["reachable"], true, "{node:#}");
    };
    let whole = |agent: &Agent, node: &str| {
        agent.wait_node(node, "by both paths", |node| {
            (0..2).all(|path| node["paths"][path]["reachable"] == true)
        });
    };
    pair.lab.cut(&pair.a, "eth1");
    half(&pair.first, "b", 1);
    half(&pair.other, "a", 1);
    pair.stays_with_a(since);
    pair.lab.mend(&pair.a, "eth1");
    whole(&pair.first, "b");
    whole(&pair.other, "a");
    pair.a.block_link_by_segment();
    half(&pair.first, "b", 0);
    half(&pair.other, "a", 0);
    let path = pair.first.node("b")["paths"][0].clone();
    assert!(path["error"].is_string(), "EPERM has to be shown: {path:#}");
    pair.stays_with_a(since);
    pair.a.let_link_by_segment();
    whole(&pair.first, "b");
    whole(&pair.other, "a");
    let path = pair.first.node("b")["paths"][0].clone();
    assert!(path["error"].is_null(), "it can be sent again: {path:#}");
    for log in [pair.first.process.log(), pair.other.process.log()] {
        assert!(!log.contains("no longer heard"), "{log}");
    }
}

/// Nobody can know better: two Actives, until it heals.
fn both_lost() {
    let pair = Pair::new(quick);
    let cut = Instant::now();
    for interface in ["eth0", "eth1"] {
        pair.lab.cut(&pair.a, interface);
    }
    pair.b.watch.wait(cut, vip(), true, LONG);
    pair.first.wait_reachable("b", false);
    pair.other.wait_reachable("a", false);
    assert_eq!(
        pair.first.state("web"),
        "active",
        "{}",
        pair.first.process.log()
    );
    let healed = Instant::now();
    for interface in ["eth0", "eth1"] {
        pair.lab.mend(&pair.a, interface);
    }
    pair.first.wait_reachable("b", true);
    pair.other.wait_reachable("a", true);
    pair.b.watch.wait(healed, vip(), false, LONG);
    pair.other.wait_state("web", "backup", LONG);
    wait_heartbeats(&pair.lab, "a", 3);
    assert_eq!(pair.first.state("web"), "active");
    assert!(pair.a.watch.times(healed, vip()).is_empty(), "a gave way");
    for agent in [&pair.first, &pair.other] {
        let instance = agent.instance("web");
        assert_eq!(instance["conflicts"], serde_json::json!([]), "{instance:#}");
    }
}

/// Neither can show a segment: the gateway is cut off, and so is the Backup.
fn isolated_both() {
    let pair = Pair::new(quick);
    let since = Instant::now();
    pair.lab.cut(&pair.gateway, "eth0");
    pair.lab.cut(&pair.b, "eth0");
    for agent in [&pair.other, &pair.first] {
        agent.wait_instance("web", "that says why", |one| {
            codes(&one["obstacles"]) == ["segment-undecided"]
        });
    }
    pair.stays_with_a(since);
}

/// Allowed, and as good as plain VRRP where the segment is cut.
fn by_one_path() {
    let pair = Pair::of([quick(200), quick(100)], Cluster::by_one_path);
    let node = pair.first.node("b");
    assert_eq!(node["paths"].as_array().map(Vec::len), Some(1), "{node:#}");
    let cut = Instant::now();
    pair.lab.cut(&pair.b, "eth0");
    pair.b.watch.wait(cut, vip(), true, LONG);
    assert_eq!(pair.first.state("web"), "active");
    let healed = Instant::now();
    pair.lab.mend(&pair.b, "eth0");
    pair.b.watch.wait(healed, vip(), false, LONG);
    pair.first.wait_reachable("b", true);
    pair.other.wait_reachable("a", true);
}
