//! Start: alone, together, with a settle time; what is sent then, and when.

use std::time::{Duration, Instant};

use libtest_mimic::Trial;

use crate::lab::agent::Agent;
use crate::lab::config::Router;
use crate::lab::frame::{Checksum, Mac, What};
use crate::lab::{Host, LONG, Lab, assert_span, ms, vip, vip6};
use crate::{Needs, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("agent_start_alone", Needs::Nothing, alone),
        trial(
            "agent_start_announces_in_two_bursts",
            Needs::Nothing,
            bursts,
        ),
        trial("agent_start_alone_ipv6", Needs::Nothing, alone_ipv6),
        trial("agent_start_together", Needs::Nothing, together),
        trial("agent_start_as_owner_at_once", Needs::Nothing, owner),
        trial("agent_start_settles_first", Needs::Nothing, settle),
    ]
}

/// The program itself takes a moment to start.
const START: Duration = Duration::from_millis(200);

/// The first advertisement, judged: not before Active_Down_Interval, nothing
/// before it, and the address after it.
fn first_advert(lab: &Lab, host: &Host, agent: &Agent, router: &Router) -> Instant {
    let first = lab
        .observer
        .wait_advert(agent.started, &host.name, router.priority, LONG);
    let down = router.down_interval();
    assert_span(
        "the first advertisement",
        first.at - agent.started,
        down,
        down + START,
    );
    for address in router.parsed() {
        let added = host.watch.wait(agent.started, address, true, ms(1000));
        assert!(added >= first.at, "{address} came before the advertisement");
        let announced = lab
            .observer
            .wait(agent.started, "the announcement", LONG, |frame| {
                frame.announces() == Some(address)
            });
        assert!(
            announced.at > first.at,
            "announced before the advertisement"
        );
        assert_span("the announcement", announced.at - first.at, ms(0), ms(100));
    }
    let all = lab.observer.adverts(agent.started, &host.name);
    assert_eq!(all.first().map(|(at, _)| *at), Some(first.at), "{all:?}");
    first.at
}

fn alone() {
    let lab = Lab::new();
    let a = lab.host("a");
    let router = Router::new(100);
    let agent = lab.agent(&a, std::slice::from_ref(&router));
    let first = first_advert(&lab, &a, &agent, &router);

    let frame = lab.observer.wait_advert(first, "a", 100, LONG);
    assert_eq!(frame.destination_mac, Mac([0x01, 0, 0x5e, 0, 0, 0x12]));
    assert_eq!(frame.source_mac, a.mac("eth0"));
    let advert = frame.advert().expect("an advertisement");
    assert_eq!((advert.version, advert.vrid), (3, 51));
    assert_eq!((advert.interval, advert.trailing), (ms(300), 0));
    assert_eq!((advert.ttl, advert.tos), (255, 0xc0));
    assert_eq!(advert.checksum, Checksum::PseudoHeader);
    assert_eq!(advert.source, a.v4());
    assert_eq!(
        advert.destination,
        "224.0.0.18".parse::<std::net::IpAddr>().unwrap()
    );
    assert_eq!(advert.addresses, [vip()]);
    // The interface has the subnet already.
    let entry = a.address_entry(vip()).expect("the address");
    assert_eq!(
        (&entry["prefixlen"], &entry["noprefixroute"]),
        (&32.into(), &true.into())
    );

    std::thread::sleep(ms(300) * 10);
    let times: Vec<_> = lab
        .observer
        .adverts(first, "a")
        .iter()
        .map(|(at, _)| *at)
        .collect();
    assert!(times.len() >= 9, "{times:?}");
    let span = times[times.len() - 1] - times[0];
    let even = ms(300) * u32::try_from(times.len() - 1).unwrap();
    assert_span("the last of many advertisements", span, even, even);
    assert_eq!(agent.state("web"), "active");
}

fn alone_ipv6() {
    let lab = Lab::new();
    let a = lab.host("a");
    let router = Router::new(100).ipv6();
    let agent = lab.agent(&a, std::slice::from_ref(&router));
    let first = first_advert(&lab, &a, &agent, &router);
    let frame = lab.observer.wait_advert(first, "a", 100, LONG);
    assert_eq!(frame.destination_mac, Mac([0x33, 0x33, 0, 0, 0, 0x12]));
    let advert = frame.advert().expect("an advertisement");
    assert_eq!((advert.ttl, advert.tos), (255, 0xc0));
    assert_eq!(advert.checksum, Checksum::PseudoHeader);
    assert_eq!(advert.source, a.link_local());
    assert_eq!(
        advert.destination,
        "ff02::12".parse::<std::net::IpAddr>().unwrap()
    );
    assert_eq!(advert.addresses, ["fe80::51".parse().unwrap(), vip6()]);

    let announced = lab.observer.wait(first, "an NA", LONG, |frame| {
        frame.announces() == Some(vip6())
    });
    let What::NeighbourAdvert(na) = &announced.what else {
        panic!("{announced:?}");
    };
    assert_eq!(
        (na.hop_limit, na.overriding, na.solicited, na.router),
        (255, true, false, false)
    );
    assert_eq!(na.target_mac, Some(a.mac("eth0")));
    assert_eq!(
        na.source,
        "2001:db8::100".parse::<std::net::Ipv6Addr>().unwrap()
    );
    assert_eq!(
        na.destination,
        "ff02::1".parse::<std::net::Ipv6Addr>().unwrap()
    );
    // The host's own connections do not start from an address that moves.
    let entry = a.address_entry(vip6()).expect("the address");
    assert_eq!(entry["preferred_life_time"], 0, "{entry}");
    assert_eq!(entry["tentative"], serde_json::Value::Null, "{entry}");
}

fn bursts() {
    let lab = Lab::new();
    let a = lab.host("a");
    let router = Router::new(200).with("announce: { repeat: 5, delay: 2s, refresh: 1s }");
    let agent = lab.agent(&a, &[router]);
    let first = lab.observer.wait_advert(agent.started, "a", 200, LONG).at;
    std::thread::sleep(ms(5800));
    let mut requests = Vec::new();
    let mut replies = Vec::new();
    for frame in lab.observer.announcements(first, "a", vip()) {
        let What::Arp(arp) = &frame.what else {
            panic!("{frame:?}");
        };
        assert_eq!(frame.destination_mac, Mac::BROADCAST);
        assert_eq!(
            (frame.source_mac, arp.sender_mac),
            (a.mac("eth0"), a.mac("eth0"))
        );
        if arp.operation == 1 {
            requests.push(frame.at);
        } else {
            // Linux takes the reply for gratuitous only when it names the
            // sender here too.
            assert_eq!((arp.operation, arp.target_mac), (2, a.mac("eth0")));
            replies.push(frame.at);
        }
    }
    let planned = [
        0, 20, 100, 300, 1000, 2000, 2020, 2100, 2300, 3000, 4000, 5000,
    ];
    assert!(requests.len() >= planned.len(), "{} only", requests.len());
    for (at, after) in requests.iter().zip(planned) {
        let what = format!("the announcement planned after {after} ms");
        assert_span(&what, *at - requests[0], ms(after), ms(after));
    }
    assert!(replies.len().abs_diff(requests.len()) <= 1);
    for (request, reply) in requests.iter().zip(&replies) {
        let apart =
            reply.saturating_duration_since(*request) + request.saturating_duration_since(*reply);
        assert_span("the other form", apart, ms(0), ms(10));
    }
}

fn together() {
    let lab = Lab::new();
    let [a, b] = lab.hosts(["a", "b"]);
    let (best, second) = (Router::new(250), Router::new(10));
    let loser = lab.agent(&b, &[second]);
    let winner = lab.agent(&a, std::slice::from_ref(&best));
    first_advert(&lab, &a, &winner, &best);
    std::thread::sleep(ms(1500));
    let stray = lab.observer.adverts(loser.started, "b");
    assert!(stray.is_empty(), "the second one advertised: {stray:?}");
    assert!(a.has(vip()) && !b.has(vip()));
    assert_eq!(
        (winner.state("web").as_str(), loser.state("web").as_str()),
        ("active", "backup")
    );
}

fn owner() {
    let lab = Lab::new();
    let a = lab.host("a");
    let agent = lab.agent(&a, &[Router::new(255).interval_ms(1000)]);
    let first = lab.observer.wait_advert(agent.started, "a", 255, LONG);
    assert_span(
        "the owner's first advertisement",
        first.at - agent.started,
        ms(0),
        START,
    );
    a.watch.wait(agent.started, vip(), true, ms(1000));
}

fn settle() {
    let lab = Lab::new();
    let a = lab.host("a");
    let router = Router::new(200).with("settle: 2s");
    let agent = lab.agent(&a, std::slice::from_ref(&router));
    assert_eq!(agent.state("web"), "initialize");
    let first = lab.observer.wait_advert(agent.started, "a", 200, LONG);
    let wait = ms(2000) + router.down_interval();
    assert_span(
        "the first advertisement",
        first.at - agent.started,
        wait,
        wait + START,
    );
    // After a link return as well.
    a.watch.wait(agent.started, vip(), true, LONG);
    lab.cut_carrier(&a);
    a.watch.wait(first.at, vip(), false, LONG);
    let healed = Instant::now();
    lab.heal(&a);
    let again = lab.observer.wait_advert(healed, "a", 200, LONG);
    assert_span(
        "the first one after the return",
        again.at - healed,
        wait,
        wait + START,
    );
}
