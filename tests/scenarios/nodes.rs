//! Nodes that know each other: what the peer link spares, and what it keeps
//! from happening.

use rstest::rstest;
use vipward::agent::cluster::message::Fitness;
use vipward::agent::jobs::CheckName;
use vipward::agent::report::Fact;
use vipward::agent::settings::{
    CheckSettings, CheckSource, CheckUse, InstanceSettings, OnAllFail, OnConflict, OnFail,
};
use vipward::agent::status::{NodeStatus, StateName};
use vipward::agent::values::MacAddress;

use crate::kit::*;

pub const ACTIVE: StateName = StateName::Active;
pub const BACKUP: StateName = StateName::Backup;
pub const NEVER: [std::time::Duration; 0] = [];

/// A (priority 200) is Active, B (100) and perhaps C (50) are Backup; they
/// know each other, and a gateway answers to all.
pub fn settled(hosts: usize) -> (Lab, HostId, HostId) {
    settled_as([web(200), web(100), web(50)].into_iter().take(hosts))
}

pub fn settled_as(settings: impl Iterator<Item = InstanceSettings>) -> (Lab, HostId, HostId) {
    let mut lab = Lab::new();
    for one in settings {
        lab.host(vec![one]);
    }
    lab.connect(2);
    lab.gateway();
    lab.start_all();
    let (a, b) = (HostId(0), HostId(1));
    lab.run_until(a, ACTIVE, secs(5));
    lab.run(secs(10));
    assert_eq!(lab.state(b), BACKUP);
    assert!(lab.holds(a, WEB).is_some());
    lab.mark();
    (lab, a, b)
}

pub fn node_status(lab: &Lab, on: HostId, of: HostId) -> NodeStatus {
    let agent = lab.at(on).agent.as_ref().expect("it runs");
    let mut nodes = agent.status().nodes.into_iter();
    let found = nodes.find(|status| status.name == link::node(of));
    found.expect("it is configured")
}

/// When a host became Active since the mark.
pub fn became_active(lab: &Lab, host: HostId) -> Vec<std::time::Duration> {
    let all = lab.transitions(host).into_iter();
    all.filter(|(_, state, _)| *state == ACTIVE)
        .map(|(at, _, _)| at)
        .collect()
}

#[test]
fn every_node_shows_what_the_others_are() {
    let (lab, a, b) = settled(3);
    let c = HostId(2);
    let seen = node_status(&lab, b, a);
    assert!(seen.reachable);
    assert!(seen.paths.iter().all(|path| path.reachable), "{seen:?}");
    let web = &seen.instances[0].news;
    assert_eq!(web.state, ACTIVE);
    assert_eq!(web.priority, 200);
    assert_eq!(web.addresses, [(network(WEB), true)]);
    assert!(web.holds);
    let age = lab.local(b).since(seen.instances[0].known_at);
    assert!(age <= ms(250), "{age:?}");
    let seen = node_status(&lab, a, c);
    assert_eq!(seen.instances[0].news.state, BACKUP);
    assert_eq!(seen.instances[0].news.fitness, Fitness::Able);
    assert_eq!(seen.instances[0].news.active_router, Some(ip("192.0.2.1")));
    let shown = lab.status(b).active_router.expect("it is heard");
    assert_eq!(shown.node, Some(link::node(a)));
}

fn network(address: &str) -> ipnet::IpNet {
    format!("{address}/24").parse().expect("a network")
}

/// An idle pair costs five small messages a second and node.
#[test]
fn an_idle_link_is_quiet() {
    let (mut lab, _, _) = settled(2);
    let before = lab.link.told;
    lab.run(secs(10));
    let told = lab.link.told - before;
    assert!((96..=104).contains(&told), "{told} messages of both");
}

#[rstest]
#[case::with_the_link(true, ms(4))]
#[case::without(false, skew(100) + ms(1))]
fn a_stop_is_followed_at_once(#[case] linked: bool, #[case] at_most: std::time::Duration) {
    let (mut lab, a, b) = settled(2);
    if !linked {
        lab.cut_link();
        lab.run(secs(2));
    }
    lab.mark();
    lab.stop(a);
    lab.run(secs(2));
    let [at] = became_active(&lab, b)[..] else {
        panic!("B takes over once: {:?}", lab.transitions(b));
    };
    assert!(at <= at_most, "{at:?}");
}

/// Two who know each other need not find out by waiting.
#[test]
fn only_the_best_follows_a_resignation() {
    let (mut lab, a, b) = settled(3);
    lab.stop(a);
    lab.run(secs(5));
    assert_eq!(became_active(&lab, b).len(), 1);
    assert_eq!(became_active(&lab, HostId(2)), NEVER);
}

/// Unicast with one peer, and that one resigns: there is nobody else.
#[test]
fn the_only_peer_is_followed_at_once() {
    let mut lab = Lab::new();
    let only = |value, peer| {
        let mut settings = web(value);
        settings.unicast_peers = vec![ip(peer)];
        settings
    };
    let a = lab.host(vec![only(200, "192.0.2.2")]);
    let b = lab.host(vec![only(100, "192.0.2.1")]);
    lab.start_all();
    lab.run_until(a, ACTIVE, secs(5));
    lab.run(secs(5));
    lab.mark();
    lab.stop(a);
    lab.run(secs(2));
    assert_eq!(became_active(&lab, b), [ms(1)]);
}

/// A dies with its host: silence on both, at slightly different times.
#[test]
fn silence_costs_a_tenth_at_most() {
    let (mut lab, a, b) = settled(2);
    lab.power_off(a);
    let after = lab.run_until(b, ACTIVE, secs(5));
    // Its last advertisement was heard up to an interval before.
    assert!(after <= ms(3_102), "{after:?}");
    assert!(after >= ms(2_000), "{after:?}");
}

/// With the link cut long before, Skew_Time orders as ever... but for a node
/// that is not heard there is nobody to wait for.
#[test]
fn silence_on_both_costs_nothing_more() {
    let (mut lab, a, b) = settled(2);
    lab.cut_link();
    lab.run(secs(3));
    lab.mark();
    lab.power_off(a);
    let after = lab.run_until(b, ACTIVE, secs(5));
    assert!(after <= ms(3_002), "{after:?}");
}

#[test]
fn an_active_that_fails_is_followed_by_what_it_tells() {
    let (mut lab, a, b) = settled(2);
    lab.link(a, "eth0", false);
    let after = lab.run_until(b, ACTIVE, secs(5));
    assert!(after <= ms(10), "{after:?}");
}

#[rstest]
#[case::reported(OnConflict::Report, ACTIVE)]
#[case::left_to_it(OnConflict::Yield, StateName::Fault)]
fn an_address_that_a_stranger_has(#[case] on_conflict: OnConflict, #[case] expected: StateName) {
    let mut lab = Lab::new();
    let mut settings = web(100);
    settings.on_conflict = on_conflict;
    let a = lab.host(vec![settings]);
    let mac = MacAddress([2, 9, 9, 9, 9, 9]);
    lab.link.strangers.insert(ip(WEB), mac);
    lab.start(a);
    lab.run(adi(100) + ms(10));
    assert_eq!(lab.state(a), expected);
    let conflicts = lab.status(a).conflicts;
    assert_eq!(conflicts[0].hardware_address, mac);
    let told = lab.count_facts(a, |fact| matches!(fact, Fact::ForeignClaim { .. }));
    assert_eq!(told, 1);
    if on_conflict == OnConflict::Yield {
        assert_eq!(lab.obstacles(a), ["address-conflict"]);
        lab.link.strangers.clear();
        lab.run(secs(10));
        assert_eq!(lab.state(a), ACTIVE, "it tries again");
    }
}

/// The questions add no time, and go only where no Active was heard.
#[test]
fn an_address_is_asked_for_at_the_end_of_the_wait() {
    let mut lab = Lab::new();
    let a = lab.host(vec![web(200)]);
    let b = lab.host(vec![web(100)]);
    lab.start(a);
    let waited = lab.run_until(a, ACTIVE, secs(5));
    assert_eq!(waited, adi(200));
    let asked = lab.inquired(a, WEB);
    let end = waited;
    assert_eq!(asked, [end - ms(200), end - ms(100)]);
    lab.start(b);
    lab.run(secs(5));
    lab.power_off(a);
    lab.run_until(b, ACTIVE, secs(5));
    assert_eq!(lab.inquired(b, WEB), NEVER, "it heard an Active");
}

/// Nodes are no strangers: while both are Active there is no conflict.
#[test]
fn a_nodes_claim_is_no_conflict() {
    let (mut lab, a, b) = settled(2);
    lab.cut_link();
    lab.part(a, b);
    lab.run(secs(10));
    lab.heal(a, b);
    lab.heal_link();
    lab.run(secs(3));
    assert_eq!(lab.status(a).conflicts, []);
    assert_eq!(lab.state(b), BACKUP);
}

#[test]
fn differences_are_shown_on_both_sides() {
    let mut other = web(100);
    other.addresses = vec![address("192.0.2.101/24")];
    other.advert_interval = centiseconds(200);
    other.down_after = 5;
    let (lab, a, b) = settled_as([web(200), other].into_iter());
    for (on, of) in [(a, b), (b, a)] {
        let drift = lab.status(on).drift;
        let codes: Vec<&str> = drift.iter().map(|one| one.code).collect();
        assert_eq!(codes, ["advert-interval", "down-after", "addresses"]);
        assert!(drift.iter().all(|one| one.node == Some(link::node(of))));
    }
    let drift = lab.status(a).drift;
    assert_eq!(drift[0].ours, "1000 ms");
    assert_eq!(drift[0].theirs, "2000 ms");
    assert_eq!(drift[2].ours, "192.0.2.100/24");
    assert_eq!(drift[2].theirs, "192.0.2.101/24");
}

#[test]
fn equal_priorities_are_shown() {
    let mut lab = Lab::new();
    let a = lab.host(vec![web(100)]);
    let b = lab.host(vec![web(100)]);
    lab.connect(1);
    lab.start_all();
    lab.run(secs(10));
    for host in [a, b] {
        let codes: Vec<&str> = lab.status(host).drift.iter().map(|one| one.code).collect();
        assert_eq!(codes, ["equal-priority"]);
    }
}

/// Another VRID under the same name is another virtual router.
#[test]
fn another_router_under_the_same_name_does_not_count() {
    let mut other = web(100);
    other.vrid = vipward::agent::values::Vrid::new(52).expect("a VRID");
    let mut lab = Lab::new();
    let a = lab.host(vec![web(200)]);
    let b = lab.host(vec![other]);
    lab.connect(1);
    lab.start_all();
    lab.run(secs(10));
    for host in [a, b] {
        let codes: Vec<&str> = lab.status(host).drift.iter().map(|one| one.code).collect();
        assert_eq!(codes, ["virtual-router"]);
    }
}

/// The service fails on every node: it stays where it is, and goes to the
/// first that recovers.
#[test]
fn kept_while_all_fail() {
    // A check that the core judges by itself.
    let uplink = CheckName::new("uplink");
    let with = |value| {
        let mut settings = web(value);
        settings.on_all_fail = OnAllFail::Keep;
        settings.checks = vec![CheckUse {
            name: uplink.clone(),
            weight: None,
        }];
        settings
    };
    let mut lab = Lab::new();
    let a = lab.host(vec![with(200)]);
    let b = lab.host(vec![with(100)]);
    lab.connect(1);
    for host in [a, b] {
        lab.at_mut(host).settings.checks = vec![CheckSettings {
            name: uplink.clone(),
            source: CheckSource::Interface(interface("eth1")),
            interval: secs(1),
            timeout: secs(1),
            rise: 1,
            fall: 1,
            initial: None,
            on_fail: OnFail::Fault,
        }];
    }
    lab.start_all();
    lab.run(secs(10));
    assert_eq!(lab.state(a), ACTIVE);
    lab.link(b, "eth1", false);
    lab.run(secs(5));
    assert_eq!(lab.state(b), StateName::Fault);
    lab.mark();
    lab.link(a, "eth1", false);
    lab.run(secs(10));
    assert_eq!(lab.transitions(a), [], "kept, degraded");
    assert_eq!(lab.obstacles(a), ["check-failed"]);
    lab.link(b, "eth1", true);
    lab.run(secs(10));
    assert_eq!(lab.state(a), StateName::Fault);
    assert_eq!(lab.state(b), ACTIVE);
}
