//! Addresses: put back when deleted, on other interfaces, of both families,
//! beside others; interfaces that come late, go and come again.

use std::net::IpAddr;
use std::time::Instant;

use libtest_mimic::Trial;
use nix::sys::signal::Signal;

use crate::lab::config::{Router, yaml};
use crate::lab::inject::gratuitous_arp;
use crate::lab::{LONG, Lab, assert_span, ms, vip, vip6};
use crate::{Needs, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial(
            "agent_deleted_address_is_put_back",
            Needs::Nothing,
            put_back,
        ),
        trial(
            "agent_flushed_addresses_are_put_back",
            Needs::Nothing,
            flushed,
        ),
        trial("agent_interface_missing_at_start", Needs::Nothing, missing),
        trial(
            "agent_interface_deleted_and_created",
            Needs::Nothing,
            recreated,
        ),
        trial("agent_own_address_late", Needs::Nothing, own_address_late),
        trial("agent_riders_of_the_other_family", Needs::Nothing, riders),
        trial(
            "agent_address_on_another_interface",
            Needs::Nothing,
            other_interface,
        ),
        trial(
            "agent_secondary_addresses_survive",
            Needs::Nothing,
            secondaries,
        ),
        trial(
            "agent_address_that_cannot_be_added",
            Needs::Nothing,
            impossible,
        ),
        trial(
            "agent_foreign_claim_is_defended",
            Needs::Nothing,
            foreign_claim,
        ),
    ]
}

fn put_back() {
    let lab = Lab::new();
    let [a, client] = lab.hosts(["a", "client"]);
    let agent = lab.agent(
        &a,
        &[Router::new(200).addresses(&["192.0.2.100/24", "2001:db8::100/64"])],
    );
    for address in [vip(), vip6()] {
        a.watch.wait(agent.started, address, true, LONG);
    }
    for address in [vip(), vip6()] {
        let entry = a.address_entry(address).expect("the address");
        let deleted = Instant::now();
        a.ip(&format!(
            "addr del {address}/{} dev eth0",
            entry["prefixlen"]
        ));
        a.watch.wait(deleted, address, false, LONG);
        let back = a.watch.wait(deleted, address, true, LONG);
        assert_span(
            "the return",
            back - deleted,
            ms(0),
            ms(1000) - crate::lab::ROOM,
        );
        lab.observer
            .wait(back - ms(20), "its announcement", ms(1000), |frame| {
                frame.announces() == Some(address)
            });
    }
    assert_eq!(agent.state("web"), "active");
    let log = agent.process.log();
    assert!(
        log.lines()
            .any(|line| line.contains("192.0.2.100") && line.contains("back")),
        "{log}"
    );
    client.ip("link show"); // the client is there only to be announced to
}

/// A network manager that sweeps the interface, its own address included.
fn flushed() {
    let lab = Lab::new();
    let a = lab.host("a");
    let agent = lab.agent(&a, &[Router::new(200)]);
    a.watch.wait(agent.started, vip(), true, LONG);
    let flushed = Instant::now();
    a.ip("-4 addr flush dev eth0");
    a.watch.wait(flushed, vip(), false, LONG);
    agent.wait_state("web", "fault", LONG);
    a.ip(&format!("addr add {}/24 dev eth0", a.v4()));
    let back = a.watch.wait(flushed, vip(), true, LONG);
    assert_span(
        "the return",
        back - flushed,
        ms(0),
        Router::new(200).down_interval() + ms(500),
    );
    agent.wait_state("web", "active", LONG);
}

fn missing() {
    let lab = Lab::new();
    let a = lab.bare_host("a");
    let router = Router::new(200);
    let agent = lab.agent(&a, std::slice::from_ref(&router));
    agent.wait_state("web", "fault", LONG);
    assert_eq!(
        agent.instance("web")["obstacles"][0]["code"],
        "interface-missing"
    );
    let plugged = Instant::now();
    lab.plug(&a, "eth0");
    let first = lab.observer.wait_advert(plugged, "a", 200, LONG).at;
    let down = router.down_interval();
    assert_span(
        "the first advertisement",
        first - plugged,
        down,
        down + ms(300),
    );
    a.watch.wait(first, vip(), true, LONG);
    agent.wait_state("web", "active", LONG);
    let obstacles = agent.instance("web")["obstacles"].clone();
    assert_eq!(obstacles, serde_json::json!([]));
}

fn recreated() {
    let lab = Lab::new();
    let a = lab.host("a");
    let router = Router::new(200);
    let agent = lab.agent(&a, std::slice::from_ref(&router));
    a.watch.wait(agent.started, vip(), true, LONG);
    for _ in 0..2 {
        lab.unplug(&a, "eth0");
        agent.wait_state("web", "fault", LONG);
        assert_eq!(
            agent.instance("web")["obstacles"][0]["code"],
            "interface-missing"
        );
        let plugged = Instant::now();
        lab.plug(&a, "eth0");
        let first = lab.observer.wait_advert(plugged, "a", 200, LONG).at;
        let down = router.down_interval();
        assert_span(
            "the first advertisement",
            first - plugged,
            down,
            down + ms(300),
        );
        a.watch.wait(first, vip(), true, LONG);
        lab.observer.wait(first, "the announcement", LONG, |frame| {
            frame.announces() == Some(vip())
        });
    }
}

fn own_address_late() {
    let lab = Lab::new();
    let a = lab.bare_host("a");
    lab.plug_without_addresses(&a, "eth0");
    let router = Router::new(200);
    let agent = lab.agent(&a, std::slice::from_ref(&router));
    agent.wait_state("web", "fault", LONG);
    assert_eq!(
        agent.instance("web")["obstacles"][0]["code"],
        "no-source-address"
    );
    let given = Instant::now();
    a.ip(&format!("addr add {}/24 dev eth0", a.v4()));
    let first = lab.observer.wait_advert(given, "a", 200, LONG);
    let down = router.down_interval();
    assert_span(
        "the first advertisement",
        first.at - given,
        down,
        down + ms(100),
    );
    assert_eq!(first.advert().expect("an advertisement").source, a.v4());
    a.watch.wait(first.at, vip(), true, LONG);
}

fn riders() {
    let lab = Lab::new();
    let [a, b] = lab.hosts(["a", "b"]);
    let over_v4 = Router::new(200).addresses(&["192.0.2.100/24", "2001:db8::100/64"]);
    let mut over_v6 =
        Router::new(200)
            .ipv6()
            .addresses(&["fe80::51/64", "2001:db8::200/64", "192.0.2.200/24"]);
    over_v6.name = "six".to_owned();
    let mut agent = lab.agent(&a, &[over_v4.clone(), over_v6.clone()]);
    for router in [&over_v4, &over_v6] {
        for address in router.parsed() {
            a.watch.wait(agent.started, address, true, LONG);
            lab.observer
                .wait(agent.started, "the announcement", LONG, |frame| {
                    frame.announces() == Some(address)
                });
        }
        let advert = lab
            .observer
            .wait(agent.started, "the advertisement", LONG, |frame| {
                frame
                    .advert()
                    .is_some_and(|advert| advert.source.is_ipv6() == router.v6)
            });
        let listed = advert.advert().map(|advert| advert.addresses.clone());
        assert_eq!(listed, Some(router.advertised()));
    }
    drop(b);
    agent.signal(Signal::SIGTERM);
    agent.process.wait_exit(LONG);
    for address in [over_v4.parsed(), over_v6.parsed()].concat() {
        assert!(!a.has(address), "{address} is left behind");
    }
}

fn other_interface() {
    let lab = Lab::new();
    let [a, b] = lab.hosts(["a", "b"]);
    lab.plug(&a, "eth1");
    lab.plug(&b, "eth1");
    let elsewhere: IpAddr = [198, 51, 100, 200].into();
    let held: IpAddr = [192, 0, 2, 101].into();
    let mut router = Router::new(200);
    let list = "[192.0.2.100/24, { address: 198.51.100.200/32, interface: eth1, label: \"eth1:web\" }, \
                { address: 192.0.2.101/24, advertise: false }]";
    let configuration =
        yaml("a", std::slice::from_ref(&router)).replace("[\"192.0.2.100/24\"]", list);
    let agent = lab.agent_with(&a, &configuration);
    for address in [vip(), elsewhere, held] {
        a.watch.wait(agent.started, address, true, LONG);
    }
    let entry = a.address_entry(elsewhere).expect("the address");
    assert_eq!(
        (&entry["label"], &entry["prefixlen"]),
        (&"eth1:web".into(), &32.into())
    );
    let announced = lab
        .observer
        .wait(agent.started, "the announcement on eth1", LONG, |frame| {
            frame.announces() == Some(elsewhere)
        });
    assert_eq!(announced.interface, "eth1");
    assert_eq!(announced.source_mac, a.mac("eth1"));
    lab.observer.wait(
        agent.started,
        "the announcement of the unlisted one",
        LONG,
        |frame| frame.interface == "eth0" && frame.announces() == Some(held),
    );
    let advert = lab.observer.wait_advert(agent.started, "a", 200, LONG);
    let listed = advert.advert().map(|advert| advert.addresses.clone());
    assert_eq!(listed, Some(vec![vip(), elsewhere]));
    // A better one comes, and all three go.
    router.priority = 250;
    let other = lab.agent_with(&b, &configuration.replace("priority: 200", "priority: 250"));
    for address in [vip(), elsewhere, held] {
        b.watch.wait(other.started, address, true, LONG);
        a.watch.wait(other.started, address, false, LONG);
    }
}

/// Neither the host's own address nor one added by hand goes with ours.
fn secondaries() {
    let lab = Lab::new();
    let a = lab.host("a");
    let first: IpAddr = [203, 0, 113, 5].into();
    let by_hand: IpAddr = [203, 0, 113, 9].into();
    let router =
        Router::new(200).addresses(&["203.0.113.5/24", "203.0.113.6/24", "192.0.2.100/24"]);
    let mut agent = lab.agent(&a, std::slice::from_ref(&router));
    for address in router.parsed() {
        a.watch.wait(agent.started, address, true, LONG);
    }
    // In the shadow of ours, if ours is the first of its subnet.
    a.ip(&format!("addr add {by_hand}/24 dev eth0"));
    let stopped = Instant::now();
    agent.signal(Signal::SIGTERM);
    agent.process.wait_exit(LONG);
    a.watch.wait(stopped, first, false, LONG);
    for address in router.parsed() {
        assert!(!a.has(address), "{address} is left behind");
    }
    assert!(a.has(by_hand), "the other's address went along");
    assert!(a.has(a.v4()), "the host's own address went along");
}

/// With no IPv6 on the host, an address of that family cannot be added: the
/// instance is in fault, or not, as the address says.
fn impossible() {
    let lab = Lab::new();
    let a = lab.host("a");
    a.namespace.sysctl(&[("ipv6/conf/eth0/disable_ipv6", "1")]);
    let strict = Router::new(200).addresses(&["192.0.2.100/24", "2001:db8::100/64"]);
    let configuration = yaml("a", std::slice::from_ref(&strict));
    let mut agent = lab.agent_with(&a, &configuration);
    agent.wait_state("web", "fault", LONG);
    let instance = agent.instance("web");
    assert_eq!(
        instance["obstacles"][0]["code"], "address-failed",
        "{instance:#}"
    );
    a.watch.wait(agent.started, vip(), true, LONG);
    a.watch.wait(agent.started, vip(), false, LONG);
    agent.signal(Signal::SIGTERM);
    agent.process.wait_exit(LONG);

    let lenient = configuration.replace(
        "\"2001:db8::100/64\"",
        "{ address: \"2001:db8::100/64\", required: false }",
    );
    let agent = lab.agent_with(&a, &lenient);
    agent.wait_state("web", "active", LONG);
    std::thread::sleep(ms(500));
    let instance = agent.instance("web");
    assert_eq!(instance["state"], "active", "{instance:#}");
    assert_eq!(
        instance["obstacles"][0]["code"], "address-failed",
        "{instance:#}"
    );
    assert!(a.has(vip()));
    assert!(agent.ask(&["status", "--is", "active"]).status.success());
}

/// Another host claims the address as its own, outside of any election.
fn foreign_claim() {
    let lab = Lab::new();
    let [a, x] = lab.hosts(["a", "x"]);
    let router = Router::new(200).with("announce: { repeat: 1, delay: 0s, refresh: 0s }");
    let agent = lab.agent(&a, &[router]);
    a.watch.wait(agent.started, vip(), true, LONG);
    std::thread::sleep(ms(200));
    let claimed = Instant::now();
    x.send(&[gratuitous_arp(&x, [192, 0, 2, 100].into())]);
    let claim = lab
        .observer
        .wait(claimed, "the foreign claim", LONG, |frame| {
            frame.host == "x" && frame.announces() == Some(vip())
        });
    let defence = lab.observer.wait(claim.at, "the defence", LONG, |frame| {
        frame.host == "a" && frame.announces() == Some(vip())
    });
    assert_span("the defence", defence.at - claim.at, ms(0), ms(100));
    let conflicts = agent.instance("web")["conflicts"].clone();
    assert_eq!(
        conflicts[0]["hardware_address"],
        x.mac("eth0").to_string(),
        "{conflicts}"
    );
    assert_eq!(agent.state("web"), "active");
}
