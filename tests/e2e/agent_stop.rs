//! Stop: a planned resignation answers until it is relieved.

use std::net::IpAddr;
use std::time::Instant;

use libtest_mimic::Trial;
use nix::sys::signal::Signal;

use crate::lab::config::Router;
use crate::lab::prober::Prober;
use crate::lab::{LONG, Lab, assert_span, ms, vip, vip6};
use crate::{Needs, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("agent_stop_loses_no_probe", Needs::Nothing, || {
            loses_no_probe(Router::new(200), Router::new(100), vip());
        }),
        trial("agent_stop_loses_no_probe_ipv6", Needs::Nothing, || {
            loses_no_probe(Router::new(200).ipv6(), Router::new(100).ipv6(), vip6());
        }),
        trial(
            "agent_stop_with_many_addresses_loses_no_probe",
            Needs::Nothing,
            many_addresses,
        ),
        trial("agent_stop_alone", Needs::Nothing, alone),
        trial("agent_stop_twice_releases_at_once", Needs::Nothing, twice),
        trial("agent_stop_by_ctrl_c", Needs::Nothing, interrupted),
        trial("agent_stop_of_a_backup_is_silent", Needs::Nothing, backup),
    ]
}

fn loses_no_probe(best: Router, second: Router, address: IpAddr) {
    let lab = Lab::new();
    let [a, b, client] = lab.hosts(["a", "b", "client"]);
    let mut first = lab.agent(&a, &[best]);
    a.watch.wait(first.started, address, true, LONG);
    let other = lab.agent(&b, std::slice::from_ref(&second));
    other.wait_state("web", "backup", LONG);
    let prober = Prober::start(&client, address);
    prober.wait_answered(LONG);
    std::thread::sleep(ms(200));

    let stopped = Instant::now();
    first.signal(Signal::SIGTERM);
    let farewell = lab.observer.wait_advert(stopped, "a", 0, LONG).at;
    assert_span("priority 0", farewell - stopped, ms(0), ms(50));
    let taken = lab.observer.wait_advert(farewell, "b", 100, LONG).at;
    assert_span(
        "the takeover",
        taken - farewell,
        second.skew(),
        second.skew(),
    );
    let announced = lab
        .observer
        .wait(farewell, "b's announcement", LONG, |frame| {
            frame.host == "b" && frame.announces() == Some(address)
        });
    let gone = a.watch.wait(stopped, address, false, LONG);
    assert!(
        gone > announced.at.min(taken + ms(50)),
        "released before it was relieved"
    );
    let (ended, status) = first.process.wait_exit(LONG);
    assert!(status.success(), "{status}");
    assert_span("the end", ended - stopped, ms(0), second.interval + ms(100));
    std::thread::sleep(ms(500));
    let report = prober.stop();
    report.assert_nothing_lost("the stop");
    assert!(report.sent > 300, "{report:?}");
    assert_eq!(client.neighbour(address), Some(b.mac("eth0").to_string()));
    // Once more, when its address is gone, and never after that.
    let after = lab.observer.adverts(farewell + ms(1), "a");
    let [(_, parting)] = after.as_slice() else {
        panic!("one parting advertisement: {after:?}");
    };
    assert_eq!(parting.priority, 100, "it loses to b's");
}

fn alone() {
    let lab = Lab::new();
    let a = lab.host("a");
    let router = Router::new(200).interval_ms(500);
    let mut agent = lab.agent(&a, &[router]);
    a.watch.wait(agent.started, vip(), true, LONG);
    let stopped = Instant::now();
    agent.signal(Signal::SIGTERM);
    let farewell = lab.observer.wait_advert(stopped, "a", 0, LONG).at;
    let gone = a.watch.wait(stopped, vip(), false, LONG);
    assert_span("the release", gone - farewell, ms(500), ms(500));
    let (ended, status) = agent.process.wait_exit(LONG);
    assert!(status.success(), "{status}");
    assert_span("the end", ended - stopped, ms(500), ms(600));
    assert!(
        !agent.socket().exists(),
        "the control socket is left behind"
    );
}

fn twice() {
    let lab = Lab::new();
    let a = lab.host("a");
    let router = Router::new(200).interval_ms(2000).with("down_after: 1");
    let mut agent = lab.agent(&a, &[router]);
    a.watch.wait(agent.started, vip(), true, LONG);
    agent.signal(Signal::SIGTERM);
    let stopped = Instant::now();
    std::thread::sleep(ms(300));
    assert!(a.has(vip()), "it answers until it is relieved");
    assert!(agent.process.is_running());
    let again = Instant::now();
    agent.signal(Signal::SIGTERM);
    let gone = a.watch.wait(stopped, vip(), false, LONG);
    assert_span("the release", gone - again, ms(0), ms(100));
    let (ended, _) = agent.process.wait_exit(LONG);
    assert_span("the end", ended - again, ms(0), ms(200));
}

fn interrupted() {
    let lab = Lab::new();
    let a = lab.host("a");
    let mut agent = lab.agent(&a, &[Router::new(200)]);
    a.watch.wait(agent.started, vip(), true, LONG);
    let stopped = Instant::now();
    agent.signal(Signal::SIGINT);
    lab.observer.wait_advert(stopped, "a", 0, LONG);
    let (_, status) = agent.process.wait_exit(LONG);
    assert!(status.success(), "{status}");
    assert!(!a.has(vip()));
}

fn backup() {
    let lab = Lab::new();
    let [a, b] = lab.hosts(["a", "b"]);
    let active = lab.agent(&a, &[Router::new(200)]);
    a.watch.wait(active.started, vip(), true, LONG);
    let mut agent = lab.agent(&b, &[Router::new(100)]);
    agent.wait_state("web", "backup", LONG);
    let stopped = Instant::now();
    agent.signal(Signal::SIGTERM);
    let (ended, status) = agent.process.wait_exit(LONG);
    assert!(status.success(), "{status}");
    assert_span("the end", ended - stopped, ms(0), ms(100));
    assert!(lab.observer.adverts(agent.started, "b").is_empty());
    assert!(
        a.watch.times(stopped, vip()).is_empty(),
        "the Active noticed"
    );
}

/// Each address is answered for until somebody else answers for that one.
fn many_addresses() {
    let lab = Lab::new();
    let [a, b, client] = lab.hosts(["a", "b", "client"]);
    let mut addresses: Vec<String> = (100..112).map(|n| format!("192.0.2.{n}/24")).collect();
    addresses.extend((0x100..0x10c).map(|n| format!("2001:db8::{n:x}/64")));
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let make = |priority| Router::new(priority).addresses(&addresses);
    let first = lab.agent(&a, &[make(200)]);
    let all = make(200).parsed();
    for address in &all {
        a.watch.wait(first.started, *address, true, LONG);
    }
    let other = lab.agent(&b, &[make(100)]);
    other.wait_state("web", "backup", LONG);
    // The first and the last of each family.
    let probers = [all[0], all[11], all[12], all[23]].map(|address| {
        let prober = Prober::start(&client, address);
        prober.wait_answered(LONG);
        prober
    });
    let stopped = Instant::now();
    first.signal(Signal::SIGTERM);
    for address in &all {
        b.watch.wait(stopped, *address, true, LONG);
        a.watch.wait(stopped, *address, false, LONG);
    }
    std::thread::sleep(ms(300));
    for prober in probers {
        let report = prober.stop();
        report.assert_nothing_lost("the stop");
    }
}
