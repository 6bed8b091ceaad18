//! Proof of the lab, with keepalived on both sides: what it measures there is
//! known, so it may be believed elsewhere.

use std::time::Instant;

use libtest_mimic::Trial;
use nix::sys::signal::Signal;

use crate::lab::config::Router;
use crate::lab::frame::{Checksum, Mac};
use crate::lab::prober::Prober;
use crate::lab::{LONG, Lab, assert_span, ms};
use crate::{Needs, trial};

pub fn trials() -> Vec<Trial> {
    let mut trials = vec![
        trial(
            "lab_two_hosts_hear_each_other",
            Needs::Nothing,
            hosts_hear_each_other,
        ),
        trial(
            "lab_a_cut_is_felt_by_the_client",
            Needs::Nothing,
            cut_is_felt,
        ),
    ];
    for (name, variant) in VARIANTS {
        let name = format!("lab_keepalived_takeover_on_stop_{name}");
        trials.push(trial(name, Needs::Keepalived, move || {
            takeover_on_stop(variant)
        }));
    }
    trials
}

#[derive(Clone, Copy)]
enum Variant {
    V2Multicast,
    V3Multicast,
    V3Unicast,
    V3Ipv6,
}

const VARIANTS: [(&str, Variant); 4] = [
    ("v2_multicast", Variant::V2Multicast),
    ("v3_multicast", Variant::V3Multicast),
    ("v3_unicast", Variant::V3Unicast),
    ("v3_ipv6", Variant::V3Ipv6),
];

fn hosts_hear_each_other() {
    let lab = Lab::new();
    let [a, client] = lab.hosts(["a", "client"]);
    for address in [a.v4(), a.v6(), a.link_local()] {
        if address == a.link_local() {
            continue; // needs a scope; its neighbours are asked below
        }
        let prober = Prober::start(&client, address);
        for _ in 0..100 {
            prober.wait_answered(LONG);
        }
        let report = prober.stop();
        assert_eq!(report.lost, 0, "{report:?}");
        assert!(report.sent >= 100, "{report:?}");
        let mac = a.mac("eth0");
        assert_eq!(client.neighbour(address), Some(mac.to_string()));
        client
            .watch
            .wait_neighbour(Instant::now() - LONG, address, mac, ms(100));
    }
    assert!(a.has(a.link_local()), "{}", a.ip("addr show"));
}

fn cut_is_felt() {
    let lab = Lab::new();
    let [a, client] = lab.hosts(["a", "client"]);
    let prober = Prober::start(&client, a.v4());
    prober.wait_answered(LONG);
    lab.silence(&a);
    std::thread::sleep(ms(300));
    lab.heal(&a);
    prober.wait_answered(LONG);
    lab.cut_carrier(&a);
    a.wait_carrier("eth0", false);
    std::thread::sleep(ms(500));
    lab.heal(&a);
    a.wait_carrier("eth0", true);
    prober.wait_answered(LONG);
    let report = prober.stop();
    // A prober that stood still asked less often, and lost less.
    assert!(report.lost >= 10, "{report:?}");
    assert_span("the longest gap", report.longest_gap, ms(500), ms(700));
}

fn takeover_on_stop(variant: Variant) {
    let lab = Lab::new();
    let [a, b] = lab.hosts(["a", "b"]);
    let make = |priority, peer| {
        let router = Router::new(priority);
        match variant {
            Variant::V2Multicast => router.version_2(),
            Variant::V3Multicast => router,
            Variant::V3Unicast => router.peers(&[peer]),
            Variant::V3Ipv6 => router.ipv6(),
        }
    };
    let (best, second) = (make(200, b.v4()), make(100, a.v4()));
    let began = Instant::now();
    let first = lab.keepalived(&a, &best);
    let _other = lab.keepalived(&b, &second);
    let advert = lab.observer.wait_advert(began, "a", 200, LONG);
    let seen = advert.advert().expect("an advertisement");
    assert_eq!(
        seen.version,
        if matches!(variant, Variant::V2Multicast) {
            2
        } else {
            3
        }
    );
    assert_eq!(
        (seen.vrid, seen.interval, seen.ttl),
        (51, best.interval, 255)
    );
    assert_eq!(seen.addresses, best.advertised());
    let (form, source, destination) = match variant {
        Variant::V2Multicast => (Checksum::MessageOnly, a.v4(), [224, 0, 0, 18].into()),
        Variant::V3Multicast => (Checksum::PseudoHeader, a.v4(), [224, 0, 0, 18].into()),
        Variant::V3Unicast => (Checksum::PseudoHeader, a.v4(), b.v4()),
        Variant::V3Ipv6 => (
            Checksum::PseudoHeader,
            a.link_local(),
            [0xff02, 0, 0, 0, 0, 0, 0, 0x12].into(),
        ),
    };
    assert_eq!(
        (seen.checksum, seen.source, seen.destination),
        (form, source, destination)
    );
    let address = *best.advertised().last().expect("an address");
    a.watch.wait(began, address, true, LONG);
    lab.observer.wait(began, "its announcement", LONG, |frame| {
        frame.host == "a" && frame.announces() == Some(address)
    });

    let stopped = Instant::now();
    first.signal_alone(Signal::SIGTERM);
    let farewell = lab.observer.wait_advert(stopped, "a", 0, LONG).at;
    let taken = lab.observer.wait_advert(stopped, "b", 100, LONG).at;
    assert_span(
        "the takeover",
        taken - farewell,
        second.skew(),
        second.skew(),
    );
    b.watch.wait(stopped, address, true, LONG);
    let announced = lab
        .observer
        .wait(stopped, "b's announcement", LONG, |frame| {
            frame.host == "b" && frame.announces() == Some(address)
        });
    assert_eq!(announced.source_mac, b.mac("eth0"));
    assert!(announced.destination_mac == Mac::BROADCAST || best.v6);
}
