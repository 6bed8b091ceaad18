//! `virtual_mac`: clients keep one hardware address whoever is Active, beside
//! another agent and beside keepalived's `use_vmac`; and the interface that
//! carries it goes with its agent, by whatever death.

use std::thread::sleep;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::lab::agent::Agent;
use crate::lab::config::{Router, yaml};
use crate::lab::frame::Mac;
use crate::lab::guardian::said;
use crate::lab::prober::Prober;
use crate::lab::{Host, LONG, assert_span, ms, vip, vip6, wait_until, write};
use crate::{Needs, trial};

const NAME: &str = "vr4-51-eth0";

mod stage;

use stage::{Carrier, Carrier::*, Stage};

pub fn trials() -> Vec<Trial> {
    let alone: [(&str, fn()); 10] = [
        ("virtual_mac_stop_ipv4", || stop(Ipv4)),
        ("virtual_mac_stop_ipv6", || stop(Ipv6)),
        ("virtual_mac_cut_ipv4", || cut(Ipv4)),
        ("virtual_mac_cut_ipv6", || cut(Ipv6)),
        ("virtual_mac_is_down_in_a_backup", down_in_a_backup),
        ("virtual_mac_tampered_with", tampered_with),
        ("virtual_mac_goes_with_a_killed_agent", killed),
        ("virtual_mac_cleaned_up_after_both_died", both_killed),
        ("virtual_mac_by_reload", by_reload),
        (
            "virtual_mac_in_unicast_and_with_riders",
            unicast_with_riders,
        ),
    ];
    let beside: [(&str, fn()); 4] = [
        ("virtual_mac_from_keepalived_ipv4", || from_keepalived(Ipv4)),
        ("virtual_mac_from_keepalived_ipv6", || from_keepalived(Ipv6)),
        ("virtual_mac_to_keepalived_ipv4", || to_keepalived(Ipv4)),
        ("virtual_mac_to_keepalived_ipv6", || to_keepalived(Ipv6)),
    ];
    let alone = alone.map(|(name, run)| trial(name, Needs::Nothing, run));
    let beside = beside.map(|(name, run)| trial(name, Needs::Keepalived, run));
    alone.into_iter().chain(beside).collect()
}

/// The flags of an interface, if there is one.
fn flags(host: &Host, name: &str) -> Option<Vec<String>> {
    let links = host.namespace.ip_json("link show");
    let mut all = links.as_array().into_iter().flatten();
    let link = all.find(|link| link["ifname"] == name)?;
    let flags = link["flags"].as_array().into_iter().flatten();
    Some(
        flags
            .filter_map(|flag| flag.as_str().map(str::to_owned))
            .collect(),
    )
}

fn is_up(host: &Host, name: &str) -> bool {
    flags(host, name).is_some_and(|flags| flags.iter().any(|flag| flag == "UP"))
}

fn virtual_mac(agent: &Agent) -> Value {
    agent.instance("web")["virtual_mac"].clone()
}

/// A planned move and the way back: no packet is lost, no neighbour learns.
fn stop(carrier: Carrier) {
    let stage = Stage::new(carrier);
    let a = stage.agent(&stage.a, 200);
    stage.wait_held(&stage.a, stage.began);
    let b = stage.agent(&stage.b, 100);
    b.wait_state("web", "backup", LONG);
    let prober = stage.prober();
    let stopped = Instant::now();
    a.signal(Signal::SIGTERM);
    stage.wait_held(&stage.b, stopped);
    stage.a.watch.wait(stopped, carrier.address(), false, LONG);
    sleep(ms(1500));
    stage.client_never_learnt_another();
    stage.spoke_by_it("a", stage.began);
    stage.spoke_by_it("b", stopped);
    // It returns and preempts.
    let returned = Instant::now();
    let _a = stage.agent(&stage.a, 200);
    stage.wait_held(&stage.a, returned);
    stage.b.watch.wait(returned, carrier.address(), false, LONG);
    sleep(ms(1500));
    stage.client_never_learnt_another();
    stage.spoke_by_it("a", returned);
    let report = prober.stop();
    report.assert_gap(ms(60));
}

/// The Active's cable is pulled.
fn cut(carrier: Carrier) {
    let stage = Stage::new(carrier);
    let _a = stage.agent(&stage.a, 200);
    stage.wait_held(&stage.a, stage.began);
    let b = stage.agent(&stage.b, 100);
    b.wait_state("web", "backup", LONG);
    let prober = stage.prober();
    let cut = Instant::now();
    stage.lab.cut_carrier(&stage.a);
    stage.wait_held(&stage.b, cut);
    stage.a.watch.wait(cut, carrier.address(), false, LONG);
    prober.wait_answered(LONG);
    sleep(ms(1000));
    stage.client_never_learnt_another();
    stage.spoke_by_it("b", cut);
    let healed = Instant::now();
    stage.lab.heal(&stage.a);
    stage.wait_held(&stage.a, healed);
    stage.b.watch.wait(healed, carrier.address(), false, LONG);
    sleep(ms(1500));
    prober.wait_answered(LONG);
    stage.client_never_learnt_another();
    let _ = prober.stop();
}

/// keepalived is Active and leaves; the agent follows, and gives it back.
fn from_keepalived(carrier: Carrier) {
    let stage = Stage::new(carrier);
    let keepalived = stage.keepalived(&stage.a, 200);
    stage.wait_held(&stage.a, stage.began);
    let b = stage.agent(&stage.b, 100);
    b.wait_state("web", "backup", LONG);
    let prober = stage.prober();
    let stopped = Instant::now();
    keepalived.signal_alone(Signal::SIGTERM);
    stage.wait_held(&stage.b, stopped);
    prober.wait_answered(LONG);
    sleep(ms(1000));
    stage.client_never_learnt_another();
    stage.spoke_by_it("b", stopped);
    let returned = Instant::now();
    let _keepalived = stage.keepalived(&stage.a, 200);
    stage.lab.observer.wait_advert(returned, "a", 200, LONG);
    stage.b.watch.wait(returned, carrier.address(), false, LONG);
    sleep(ms(1500));
    prober.wait_answered(LONG);
    stage.client_never_learnt_another();
    let _ = prober.stop();
}

/// The other way round.
fn to_keepalived(carrier: Carrier) {
    let stage = Stage::new(carrier);
    let a = stage.agent(&stage.a, 200);
    stage.wait_held(&stage.a, stage.began);
    let _keepalived = stage.keepalived(&stage.b, 100);
    // Long enough to have spoken, had it not heard.
    sleep(carrier.router(100).down_interval() + ms(200));
    let spoken = stage.lab.observer.adverts(stage.began, "b");
    assert!(spoken.is_empty(), "keepalived does not hear us: {spoken:?}");
    let prober = stage.prober();
    let stopped = Instant::now();
    a.signal(Signal::SIGTERM);
    stage.lab.observer.wait_advert(stopped, "b", 100, LONG);
    stage.a.watch.wait(stopped, carrier.address(), false, LONG);
    sleep(ms(1000));
    prober.wait_answered(LONG);
    stage.client_never_learnt_another();
    let returned = Instant::now();
    let _a = stage.agent(&stage.a, 200);
    stage.wait_held(&stage.a, returned);
    sleep(ms(1500));
    prober.wait_answered(LONG);
    stage.client_never_learnt_another();
    stage.spoke_by_it("a", returned);
    let _ = prober.stop();
}

/// Made at the start, up in the Active alone, gone at the end; `status` tells.
fn down_in_a_backup() {
    let stage = Stage::new(Ipv4);
    let a = stage.agent(&stage.a, 200);
    stage.wait_held(&stage.a, stage.began);
    let b = stage.agent(&stage.b, 100);
    b.wait_state("web", "backup", LONG);
    wait_until("b's interface", LONG, || flags(&stage.b, NAME).is_some());
    assert!(is_up(&stage.a, NAME) && !is_up(&stage.b, NAME));
    let told = |agent: &Agent| {
        let told = virtual_mac(agent);
        assert_eq!(told["address"], "00:00:5e:00:01:33");
        assert_eq!(told["interface"], NAME);
        told["state"].clone()
    };
    assert_eq!(told(&a), "up");
    assert_eq!(told(&b), "down");
    assert_eq!(a.instance("web")["addresses"][0]["interface"], NAME);
    let entry = stage.a.address_entry(vip()).expect("held");
    assert_eq!(entry["label"], NAME);
    let text = String::from_utf8(a.ask(&["status", "web"]).stdout).expect("text");
    assert!(
        text.contains("00:00:5e:00:01:33 on vr4-51-eth0, which is up"),
        "{text}"
    );
    // The parent's settings are as they were.
    for key in ["arp_ignore", "arp_announce", "rp_filter"] {
        let path = format!("/proc/sys/net/ipv4/conf/eth0/{key}");
        let value = stage.a.namespace.run(|| std::fs::read_to_string(&path));
        let value = value.expect("a setting");
        assert_eq!(value.trim(), "0", "{key}");
    }
    let stopped = Instant::now();
    b.signal(Signal::SIGTERM);
    wait_until("the end of b's interface", LONG, || {
        flags(&stage.b, NAME).is_none()
    });
    a.signal(Signal::SIGTERM);
    wait_until("the end of a's interface", LONG, || {
        flags(&stage.a, NAME).is_none()
    });
    assert!(stage.lab.observer.adverts(stopped, "b").is_empty());
}

/// By an administrator, or a program that thinks that the interface is its own.
fn tampered_with() {
    let stage = Stage::new(Ipv4);
    let router = Router::new(200)
        .addresses(&["192.0.2.100/24", "2001:db8::100/64"])
        .with("virtual_mac: true");
    let agent = stage.lab.agent(&stage.a, &[router]);
    stage.wait_held(&stage.a, stage.began);
    stage.a.watch.wait(stage.began, vip6(), true, LONG);
    let prober = stage.prober();
    for deed in [
        format!("link del {NAME}"),
        format!("link set {NAME} down"),
        format!("link set {NAME} mtu 1300"),
        format!("addr flush dev {NAME}"),
    ] {
        let done = Instant::now();
        stage.a.ip(&deed);
        wait_until(&format!("all as it was after `{deed}`"), ms(3000), || {
            let links = stage.a.namespace.ip_json("link show");
            let mut all = links.as_array().into_iter().flatten();
            let mtu = all
                .find(|link| link["ifname"] == NAME)
                .map(|link| link["mtu"].clone());
            is_up(&stage.a, NAME)
                && mtu == Some(1500.into())
                && stage.a.has(vip())
                && stage.a.has(vip6())
        });
        let healed = done.elapsed();
        assert!(healed < ms(1500), "{deed}: {healed:?}");
        prober.wait_answered(LONG);
    }
    assert_eq!(agent.state("web"), "active");
    let mac = Ipv4.mac();
    stage.client.ip("neigh flush dev eth0");
    prober.wait_answered(LONG);
    wait_until("the neighbour entry", LONG, || {
        stage.client.neighbour(vip()) == Some(mac.to_string())
    });
    // The interface below goes, and comes back.
    stage.lab.unplug(&stage.a, "eth0");
    agent.wait_state("web", "fault", LONG);
    let back = Instant::now();
    stage.lab.plug(&stage.a, "eth0");
    stage.wait_held(&stage.a, back);
    prober.wait_answered(LONG);
    wait_until("the neighbour entry", LONG, || {
        stage.client.neighbour(vip()) == Some(mac.to_string())
    });
    let _ = prober.stop();
}

/// Its guardian removes it, in a Backup's case too.
fn killed() {
    let stage = Stage::new(Ipv4);
    let mut a = stage.agent(&stage.a, 200);
    stage.wait_held(&stage.a, stage.began);
    let mut b = stage.agent(&stage.b, 100);
    b.wait_state("web", "backup", LONG);
    wait_until("b's interface", LONG, || flags(&stage.b, NAME).is_some());
    b.guardian(None);
    b.process.kill();
    wait_until("the end of b's interface", LONG, || {
        flags(&stage.b, NAME).is_none()
    });
    a.guardian(None);
    let dead = Instant::now();
    a.process.kill();
    wait_until("the end of a's interface", LONG, || {
        flags(&stage.a, NAME).is_none()
    });
    let gone = stage.a.watch.wait(dead, vip(), false, LONG);
    assert_span("the end of the address", gone - dead, ms(0), ms(200));
    stage.lab.observer.wait_advert(dead, "a", 0, LONG);
}

/// `cleanup`, and the next start, whatever it is configured to.
fn both_killed() {
    let stage = Stage::new(Ipv4);
    let mut a = stage.agent(&stage.a, 200);
    stage.wait_held(&stage.a, stage.began);
    a.kill_with_guardian();
    let words = said(&stage.a.cleanup(&a));
    assert_eq!(
        words.lines().collect::<Vec<_>>(),
        [
            "sent priority 0 for web",
            "removed 192.0.2.100/32 from vr4-51-eth0",
            "removed the interface vr4-51-eth0",
        ]
    );
    assert_eq!(flags(&stage.a, NAME), None);
    let begun = Instant::now();
    let mut a = stage.agent(&stage.a, 200);
    stage.wait_held(&stage.a, begun);
    a.kill_with_guardian();
    assert!(flags(&stage.a, NAME).is_some());
    let again = stage.lab.agent(&stage.a, &[Router::new(200)]);
    stage.a.watch.wait(again.started, vip(), true, LONG);
    wait_until("the address on eth0", LONG, || {
        let entry = stage.a.address_entry(vip());
        entry.is_some_and(|entry| entry["label"] == "eth0")
    });
    assert_eq!(flags(&stage.a, NAME), None);
}

/// Switched on and off in a living Active.
fn by_reload() {
    let stage = Stage::new(Ipv4);
    let agent = stage.lab.agent(&stage.a, &[Router::new(200)]);
    stage.wait_held(&stage.a, stage.began);
    let prober = Prober::start(&stage.client, vip());
    prober.wait_answered(LONG);
    let reload = |router: Router, mac: Mac| {
        write(&agent.config, &yaml("a", &[router]));
        let output = agent.ask(&["reload"]);
        assert!(output.status.success(), "{output:?}");
        wait_until(&format!("the client takes {mac} for it"), LONG, || {
            stage.client.neighbour(vip()) == Some(mac.to_string())
        });
        prober.wait_answered(LONG);
    };
    reload(Ipv4.router(200), Ipv4.mac());
    assert!(is_up(&stage.a, NAME));
    reload(Router::new(200), stage.a.mac("eth0"));
    wait_until("the end of the interface", LONG, || {
        flags(&stage.a, NAME).is_none()
    });
    assert!(virtual_mac(&agent).is_null());
    reload(Ipv4.router(200), Ipv4.mac());
    assert_eq!(agent.transitions("web"), 2, "it never left");
    let _ = prober.stop();
}

/// Advertisements to peers leave by the interface's own hardware address;
/// addresses of both families by the one of the instance's.
fn unicast_with_riders() {
    let stage = Stage::new(Ipv4);
    let router = |priority, peer| {
        Ipv4.router(priority)
            .addresses(&["192.0.2.100/24", "2001:db8::100/64", "203.0.113.7/24"])
            .peers(&[peer])
    };
    let a = stage.lab.agent(&stage.a, &[router(200, stage.b.v4())]);
    let b = stage.lab.agent(&stage.b, &[router(100, stage.a.v4())]);
    stage.wait_held(&stage.a, stage.began);
    b.wait_state("web", "backup", LONG);
    let prober = stage.prober();
    let six = Prober::start(&stage.client, vip6());
    six.wait_answered(LONG);
    let mac = Ipv4.mac().to_string();
    assert_eq!(stage.client.neighbour(vip6()), Some(mac.clone()));
    let stopped = Instant::now();
    a.signal(Signal::SIGTERM);
    stage.wait_held(&stage.b, stopped);
    stage.b.watch.wait(stopped, vip6(), true, LONG);
    sleep(Duration::from_secs(1));
    prober.wait_answered(LONG);
    six.wait_answered(LONG);
    assert_eq!(stage.client.neighbour(vip6()), Some(mac));
    stage.client_never_learnt_another();
    let frames = stage.lab.observer.frames(stage.began);
    let mut adverts = frames.iter().filter(|frame| frame.advert().is_some());
    assert!(adverts.all(|frame| frame.source_mac != Ipv4.mac()));
    let _ = (prober.stop(), six.stop());
}
