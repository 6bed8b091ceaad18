//! The address owner: priority 255 for an address that is the host's own.

use std::time::Instant;

use libtest_mimic::Trial;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::lab::agent::Agent;
use crate::lab::config::Router;
use crate::lab::prober::Prober;
use crate::lab::{Host, LONG, Lab, assert_span, ms, wait_until};
use crate::{Needs, trial};

pub fn trials() -> Vec<Trial> {
    let trials: [(&str, fn()); 3] = [
        ("agent_owner_keeps_its_own_address", keeps_its_own),
        (
            "agent_owner_of_ipv6_keeps_its_own_address",
            keeps_its_own_ipv6,
        ),
        ("agent_owners_of_the_same_address", two_owners),
    ];
    let alone = trials.map(|(name, run)| trial(name, Needs::Nothing, run));
    let beside: [(&str, fn()); 2] = [
        ("agent_owner_returns_to_an_agent", || returns(false)),
        ("agent_owner_returns_to_keepalived", || returns(true)),
    ];
    let needs = [Needs::Nothing, Needs::Keepalived];
    let beside = beside.into_iter().zip(needs);
    let beside = beside.map(|((name, run), needs)| trial(name, needs, run));
    alone.into_iter().chain(beside).collect()
}

/// For the address that is `owner`'s own.
fn router(owner: &Host, priority: u8) -> Router {
    let address = format!("{}/24", owner.v4());
    Router::new(priority).addresses(&[&address])
}

fn is_untouched(host: &Host, before: &Value) {
    let now = host.address_entry(host.v4()).expect("its own address");
    assert_eq!(&now, before);
}

/// Through start, reload, stop and violent death it is as the host has it.
fn keeps_its_own() {
    let lab = Lab::new();
    let [a, client] = lab.hosts(["a", "client"]);
    let before = a.address_entry(a.v4()).expect("its own address");
    let prober = Prober::start(&client, a.v4());
    prober.wait_answered(LONG);
    let agent = lab.agent(&a, &[router(&a, 255)]);
    lab.observer.wait_advert(agent.started, "a", 255, LONG);
    lab.observer
        .wait(agent.started, "a's announcement", LONG, |frame| {
            frame.host == "a" && frame.announces() == Some(a.v4())
        });
    let told = agent.instance("web");
    assert_eq!(told["addresses"][0]["held"], true);
    assert!(told["addresses"][0]["lease_s"].is_null());
    is_untouched(&a, &before);
    let stopped = Instant::now();
    agent.signal(Signal::SIGTERM);
    lab.observer.wait_advert(stopped, "a", 0, LONG);
    wait_until("the end of the agent", LONG, || {
        agent.ask(&["status"]).status.code() == Some(3)
    });
    is_untouched(&a, &before);
    let mut agent = lab.agent(&a, &[router(&a, 255)]);
    lab.observer.wait_advert(agent.started, "a", 255, LONG);
    let killed = agent.kill_with_guardian();
    std::thread::sleep(ms(100));
    let words = crate::lab::guardian::said(&a.cleanup(&agent));
    assert!(!words.contains("removed"), "{words}");
    is_untouched(&a, &before);
    let mut agent = lab.agent(&a, &[router(&a, 255)]);
    lab.observer
        .wait_advert(agent.started.max(killed), "a", 255, LONG);
    agent.guardian(None);
    let dead = Instant::now();
    agent.process.kill();
    lab.observer.wait_advert(dead, "a", 0, LONG);
    std::thread::sleep(ms(200));
    is_untouched(&a, &before);
    let report = prober.stop();
    assert_eq!(report.lost, 0, "{report:?}");
}

fn keeps_its_own_ipv6() {
    let lab = Lab::new();
    let a = lab.host("a");
    let before = a.address_entry(a.v6()).expect("its own address");
    let mut router = router(&a, 255);
    router.v6 = true;
    router.addresses = vec![format!("{}/64", a.v6())];
    let agent = lab.agent(&a, &[router]);
    lab.observer
        .wait(agent.started, "a's announcement", LONG, |frame| {
            frame.host == "a" && frame.announces() == Some(a.v6())
        });
    agent.signal(Signal::SIGTERM);
    wait_until("the end of the agent", LONG, || {
        agent.ask(&["status"]).status.code() == Some(3)
    });
    assert_eq!(a.address_entry(a.v6()), Some(before));
}

/// Its host is cut off, somebody stands in for it, and it has its own again
/// when it returns.
fn returns(to_keepalived: bool) {
    let lab = Lab::new();
    let [a, b, client] = lab.hosts(["a", "b", "client"]);
    let began = Instant::now();
    let before = a.address_entry(a.v4()).expect("its own address");
    let _owner = lab.agent(&a, &[router(&a, 255)]);
    lab.observer.wait_advert(began, "a", 255, LONG);
    let other = router(&a, 100);
    let (agent, keepalived);
    if to_keepalived {
        // Its kernel would drop what the owner says: it comes from the address
        // that this host holds. An agent of ours hears it all the same.
        let lets_in = [("ipv4/conf/eth0/accept_local", "1")];
        b.namespace.sysctl(&lets_in);
        keepalived = lab.keepalived(&b, &other);
        let _ = &keepalived;
        std::thread::sleep(other.down_interval() + ms(200));
    } else {
        agent = lab.agent(&b, std::slice::from_ref(&other));
        Agent::wait_state(&agent, "web", "backup", LONG);
    }
    assert!(lab.observer.adverts(began, "b").is_empty());
    let prober = Prober::start(&client, a.v4());
    prober.wait_answered(LONG);
    let cut = Instant::now();
    lab.cut_carrier(&a);
    b.watch.wait(cut, a.v4(), true, LONG);
    client
        .watch
        .wait_neighbour(cut, a.v4(), b.mac("eth0"), LONG);
    std::thread::sleep(ms(1500));
    let healed = Instant::now();
    lab.heal(&a);
    lab.observer.wait_advert(healed, "a", 255, LONG);
    let gone = b.watch.wait(healed, a.v4(), false, LONG);
    assert_span("the other's release", gone - healed, ms(0), ms(1000));
    client
        .watch
        .wait_neighbour(healed, a.v4(), a.mac("eth0"), LONG);
    std::thread::sleep(ms(1500));
    let known = client.neighbour(a.v4());
    assert_eq!(known, Some(a.mac("eth0").to_string()));
    is_untouched(&a, &before);
    prober.wait_answered(LONG);
    let _ = prober.stop();
    let spoken = lab.observer.adverts(gone + ms(500), "b");
    assert!(spoken.is_empty(), "b goes on: {spoken:?}");
}

/// Erratum 8298: the mistake is told, and one of the two gives way.
fn two_owners() {
    let lab = Lab::new();
    let [a, b] = lab.hosts(["a", "b"]);
    let virtual_one = Router::new(255);
    let one = lab.agent(&a, std::slice::from_ref(&virtual_one));
    lab.observer.wait_advert(one.started, "a", 255, LONG);
    let two = lab.agent(&b, &[virtual_one]);
    one.wait_state("web", "backup", LONG);
    two.wait_state("web", "active", LONG);
    for agent in [&one, &two] {
        wait_until("the obstacle", LONG, || {
            agent.instance("web")["obstacles"][0]["code"] == "two-owners"
        });
        assert!(
            agent
                .process
                .log()
                .contains("the addresses have two owners")
        );
    }
}
