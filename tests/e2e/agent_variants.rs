//! The same main job over every carrier: multicast and unicast, IPv4 and
//! IPv6, version 2, very short intervals, many instances in one process.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use nix::sys::signal::Signal;

use crate::lab::config::Router;
use crate::lab::frame::Checksum;
use crate::lab::{LONG, Lab, assert_span, ms, stall, vip};
use crate::{Needs, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("agent_pair_version_2", Needs::Nothing, version_2),
        trial("agent_pair_unicast", Needs::Nothing, || unicast(false)),
        trial("agent_pair_unicast_ipv6", Needs::Nothing, || unicast(true)),
        trial("agent_pair_ipv6", Needs::Nothing, || {
            moves(&Lab::new(), |priority, _| Router::new(priority).ipv6());
        }),
        trial(
            "agent_pair_message_only_checksum",
            Needs::Nothing,
            message_only,
        ),
        trial("agent_pair_every_10_ms", Needs::Nothing, ten_milliseconds),
        trial("agent_many_instances", Needs::Nothing, many),
    ]
}

/// One waits while the other is Active, follows when it stops, and gives way
/// when it comes back.
fn moves(lab: &Lab, make: impl Fn(u8, IpAddr) -> Router) {
    let [a, b] = lab.hosts(["a", "b"]);
    let v6 = make(1, b.v4()).v6;
    let of = |host: &crate::lab::Host| if v6 { host.v6() } else { host.v4() };
    let (best, second) = (make(200, of(&b)), make(100, of(&a)));
    let address = *best.advertised().last().expect("an address");
    let mut first = lab.agent(&a, std::slice::from_ref(&best));
    a.watch.wait(first.started, address, true, LONG);
    let other = lab.agent(&b, std::slice::from_ref(&second));
    other.wait_state("web", "backup", LONG);
    std::thread::sleep(best.down_interval() + ms(300));
    assert!(lab.observer.adverts(first.started, "b").is_empty());
    let stopped = Instant::now();
    first.signal(Signal::SIGTERM);
    let farewell = lab.observer.wait_advert(stopped, "a", 0, LONG).at;
    let taken = lab.observer.wait_advert(stopped, "b", 100, LONG).at;
    assert_span(
        "the takeover",
        taken - farewell,
        second.haste(),
        second.skew(),
    );
    b.watch.wait(stopped, address, true, LONG);
    first.process.wait_exit(LONG);
    let first = lab.agent(&a, std::slice::from_ref(&best));
    let back = lab.observer.wait_advert(first.started, "a", 200, LONG).at;
    let down = best.patience();
    assert_span("the return", back - first.started, down, down + ms(200));
    b.watch.wait(first.started, address, false, LONG);
    a.watch.wait(first.started, address, true, LONG);
    assert_eq!(other.state("web"), "backup");
}

fn version_2() {
    let lab = Lab::new();
    moves(&lab, |priority, _| Router::new(priority).version_2());
    let long_ago = Instant::now() - LONG * 4;
    let (_, advert) = lab.observer.adverts(long_ago, "a")[0].clone();
    assert_eq!(
        (advert.version, advert.interval),
        (2, Duration::from_secs(1))
    );
    assert_eq!(
        (advert.checksum, advert.trailing),
        (Checksum::MessageOnly, 0)
    );
}

fn unicast(v6: bool) {
    let lab = Lab::new();
    moves(&lab, |priority, peer| {
        let router = Router::new(priority);
        let router = if v6 { router.ipv6() } else { router };
        router.peers(&[peer])
    });
    let long_ago = Instant::now() - LONG * 4;
    let adverts = lab.observer.adverts(long_ago, "a");
    let (source, peer): (IpAddr, IpAddr) = if v6 {
        (
            "2001:db8::1".parse().unwrap(),
            "2001:db8::2".parse().unwrap(),
        )
    } else {
        ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap())
    };
    assert!(!adverts.is_empty());
    for (_, advert) in adverts {
        assert_eq!((advert.source, advert.destination), (source, peer));
        assert_eq!((advert.ttl, advert.checksum), (255, Checksum::PseudoHeader));
    }
}

/// The form that RFC 9568 asks for, heard as well as the common one.
fn message_only() {
    let lab = Lab::new();
    moves(&lab, |priority, _| {
        let router = Router::new(priority);
        if priority == 200 {
            router.with("checksum: rfc9568")
        } else {
            router
        }
    });
    let long_ago = Instant::now() - LONG * 4;
    for (host, form) in [("a", Checksum::MessageOnly), ("b", Checksum::PseudoHeader)] {
        let adverts = lab.observer.adverts(long_ago, host);
        assert!(!adverts.is_empty());
        assert!(
            adverts.iter().all(|(_, advert)| advert.checksum == form),
            "{adverts:?}"
        );
    }
}

/// Three missed advertisements are 30 ms here: on a machine that itself
/// stands still for longer the pair may change hands, and nothing is proved.
fn ten_milliseconds() {
    let lab = Lab::new();
    let [a, b] = lab.hosts(["a", "b"]);
    let first = lab.agent(&a, &[Router::new(200).interval_ms(10)]);
    a.watch.wait(first.started, vip(), true, LONG);
    let other = lab.agent(&b, &[Router::new(100).interval_ms(10)]);
    other.wait_state("web", "backup", LONG);
    let began = Instant::now();
    std::thread::sleep(ms(3000));
    let times: Vec<_> = lab
        .observer
        .adverts(began, "a")
        .iter()
        .map(|(at, _)| *at)
        .collect();
    let stray = lab.observer.adverts(began, "b").len();
    let stalled = stall::since(began);
    assert!(
        times.len() > 250 || stalled > ms(20),
        "{} advertisements in 3 s",
        times.len()
    );
    assert!(
        stray == 0 || stalled > ms(20),
        "{stray} stray advertisements; the machine stood still for {stalled:?}"
    );
    // Whatever happened, it ends well.
    first.wait_state("web", "active", LONG);
    other.wait_state("web", "backup", LONG);
    assert!(a.has(vip()) && !b.has(vip()));
}

const MANY: u8 = 25;

/// Fifty instances on two interfaces, moved together by one stop.
fn many() {
    let lab = Lab::new();
    let [a, b] = lab.hosts(["a", "b"]);
    for host in [&a, &b] {
        lab.plug(host, "eth1");
    }
    let make = |priority: u8| -> Vec<Router> {
        let one = |interface: &str, subnet: &str, number: u8| {
            let address = format!("{subnet}.{}/24", 100 + number);
            let mut router = Router::new(priority)
                .interval_ms(500)
                .addresses(&[&address]);
            router.interface = interface.to_owned();
            router.name = format!("{interface}-{number}");
            router.vrid = number + 1;
            router
        };
        (0..MANY)
            .flat_map(|n| [one("eth0", "192.0.2", n), one("eth1", "198.51.100", n)])
            .collect()
    };
    let (best, second) = (make(250), make(10));
    let mut first = lab.agent(&a, &best);
    let addresses: Vec<IpAddr> = best.iter().flat_map(Router::parsed).collect();
    for address in &addresses {
        a.watch.wait(first.started, *address, true, LONG);
    }
    let other = lab.agent(&b, &second);
    for router in &second {
        other.wait_state(&router.name, "backup", LONG);
    }
    std::thread::sleep(ms(2500));
    assert!(
        lab.observer.adverts(first.started, "b").is_empty(),
        "b is not silent"
    );
    // Sockets are shared by interface and family.
    let descriptors = std::fs::read_dir(format!("/proc/{}/fd", first.process.pid()))
        .expect("its descriptors")
        .count();
    assert!(descriptors < 40, "{descriptors} descriptors");

    let stopped = Instant::now();
    first.signal(Signal::SIGTERM);
    for address in &addresses {
        let taken = b.watch.wait(stopped, *address, true, LONG);
        let skew = second[0].skew();
        assert_span("an address", taken - stopped, skew, skew + ms(200));
        a.watch.wait(stopped, *address, false, LONG);
    }
    let (ended, _) = first.process.wait_exit(LONG);
    assert_span("the end", ended - stopped, ms(0), ms(600));
    assert!(other.ask(&["status", "--is", "active"]).status.success());
}
