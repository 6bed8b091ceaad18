//! With FRR's vrrpd as the other host, in both roles: version 3, IPv4
//! multicast. FRR answers under the virtual router's own hardware address.

use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use nix::sys::signal::Signal;

use crate::lab::config::Router;
use crate::lab::frame::Mac;
use crate::lab::prober::Prober;
use crate::lab::{LONG, Lab, assert_span, ms, vip};
use crate::{Needs, trial};

/// FRR counts in whole centiseconds.
const COARSE: Duration = Duration::from_millis(10);
const VIRTUAL_MAC: Mac = Mac([0, 0, 0x5e, 0, 1, 51]);

pub fn trials() -> Vec<Trial> {
    vec![
        trial("frr_follows_a_stopped_agent", Needs::Frr, follows_agent),
        trial(
            "frr_is_followed_when_it_stops",
            Needs::Frr,
            followed_on_stop,
        ),
        trial(
            "frr_is_followed_when_it_is_silent",
            Needs::Frr,
            followed_on_silence,
        ),
        trial("frr_is_preempted", Needs::Frr, preempted),
        trial("frr_preempts", Needs::Frr, preempts),
    ]
}

fn known(mac: Mac) -> Option<String> {
    Some(mac.to_string())
}

fn follows_agent() {
    let lab = Lab::new();
    let [a, b, client] = lab.hosts(["a", "b", "client"]);
    let agent = lab.agent(&a, &[Router::new(200)]);
    a.watch.wait(agent.started, vip(), true, LONG);
    let second = Router::new(100);
    let _frr = lab.frr(&b, &second);
    std::thread::sleep(second.down_interval() + ms(1000));
    let spoken = lab.observer.adverts(agent.started, "b");
    assert!(spoken.is_empty(), "FRR does not hear the agent: {spoken:?}");
    let prober = Prober::start(&client, vip());
    prober.wait_answered(LONG);
    let stopped = Instant::now();
    agent.signal(Signal::SIGTERM);
    let farewell = lab.observer.wait_advert(stopped, "a", 0, LONG).at;
    let taken = lab.observer.wait_advert(stopped, "b", 100, LONG).at;
    let skew = second.skew();
    // Its advertisement waits for its interface.
    assert_span(
        "FRR's takeover",
        taken - farewell,
        skew - COARSE,
        skew + ms(300),
    );
    a.watch.wait(stopped, vip(), false, LONG);
    client
        .watch
        .wait_neighbour(stopped, vip(), VIRTUAL_MAC, LONG);
    prober.wait_answered(LONG);
    let report = prober.stop();
    report.assert_gap(ms(500));
}

fn followed_on_stop() {
    let lab = Lab::new();
    let [a, b, client] = lab.hosts(["a", "b", "client"]);
    let began = Instant::now();
    let frr = lab.frr(&a, &Router::new(200));
    lab.observer.wait_advert(began, "a", 200, LONG);
    let second = Router::new(100);
    let agent = lab.agent(&b, std::slice::from_ref(&second));
    agent.wait_state("web", "backup", LONG);
    std::thread::sleep(second.down_interval() + ms(300));
    assert!(lab.observer.adverts(began, "b").is_empty());
    let instance = agent.instance("web");
    assert_eq!(
        instance["active_router"]["checksum"], "pseudo-header",
        "{instance:#}"
    );
    assert_eq!(instance["drift"], serde_json::json!([]), "{instance:#}");
    let prober = Prober::start(&client, vip());
    prober.wait_answered(LONG);
    let stopped = Instant::now();
    frr.vrrpd.signal(Signal::SIGTERM);
    let farewell = lab.observer.wait_advert(stopped, "a", 0, LONG).at;
    let taken = lab.observer.wait_advert(stopped, "b", 100, LONG).at;
    assert_span(
        "the takeover",
        taken - farewell,
        second.skew(),
        second.skew(),
    );
    client
        .watch
        .wait_neighbour(stopped, vip(), b.mac("eth0"), LONG);
    prober.wait_answered(LONG);
    assert_eq!(client.neighbour(vip()), known(b.mac("eth0")));
}

fn followed_on_silence() {
    let lab = Lab::new();
    let [a, b, client] = lab.hosts(["a", "b", "client"]);
    let began = Instant::now();
    let mut frr = lab.frr(&a, &Router::new(200));
    lab.observer.wait_advert(began, "a", 200, LONG);
    let second = Router::new(100);
    let agent = lab.agent(&b, std::slice::from_ref(&second));
    agent.wait_state("web", "backup", LONG);
    let prober = Prober::start(&client, vip());
    prober.wait_answered(LONG);
    frr.vrrpd.kill();
    frr.zebra.kill();
    lab.cut_carrier(&a);
    let taken = lab.observer.wait_advert(began, "b", 100, LONG).at;
    let silent = lab.observer.adverts(began, "a");
    let silent = silent.last().expect("an advertisement").0;
    let down = second.down_interval();
    assert_span("the takeover", taken - silent, down, down);
    client
        .watch
        .wait_neighbour(silent, vip(), b.mac("eth0"), LONG);
    prober.wait_answered(LONG);
}

fn preempted() {
    let lab = Lab::new();
    let [a, b, client] = lab.hosts(["a", "b", "client"]);
    let began = Instant::now();
    let _frr = lab.frr(&b, &Router::new(100));
    lab.observer.wait_advert(began, "b", 100, LONG);
    let prober = Prober::start(&client, vip());
    prober.wait_answered(LONG);
    let best = Router::new(200);
    let agent = lab.agent(&a, std::slice::from_ref(&best));
    let taken = lab.observer.wait_advert(agent.started, "a", 200, LONG).at;
    let down = best.down_interval();
    assert_span(
        "the preemption",
        taken - agent.started,
        down,
        down + ms(200),
    );
    client
        .watch
        .wait_neighbour(taken, vip(), a.mac("eth0"), LONG);
    std::thread::sleep(ms(1500));
    let spoken = lab.observer.adverts(taken + ms(500), "b");
    assert!(spoken.is_empty(), "FRR goes on: {spoken:?}");
    assert_eq!(client.neighbour(vip()), known(a.mac("eth0")));
    prober.wait_answered(LONG);
}

fn preempts() {
    let lab = Lab::new();
    let [a, b, client] = lab.hosts(["a", "b", "client"]);
    let agent = lab.agent(&b, &[Router::new(100)]);
    b.watch.wait(agent.started, vip(), true, LONG);
    let prober = Prober::start(&client, vip());
    prober.wait_answered(LONG);
    let began = Instant::now();
    let _frr = lab.frr(&a, &Router::new(200));
    let taken = lab.observer.wait_advert(began, "a", 200, LONG).at;
    let gone = b.watch.wait(began, vip(), false, LONG);
    assert_span("the release", gone - taken, ms(0), ms(50));
    agent.wait_state("web", "backup", LONG);
    client
        .watch
        .wait_neighbour(taken - ms(300), vip(), VIRTUAL_MAC, LONG);
    prober.wait_answered(LONG);
    std::thread::sleep(ms(1000));
    assert_eq!(
        agent.instance("web")["active_router"]["address"],
        a.v4().to_string()
    );
}
