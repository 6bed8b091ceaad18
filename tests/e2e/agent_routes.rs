//! Routes and rules that come and go with the address: what a host sends by
//! them, and what is left of them when it is over.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use nix::sys::signal::Signal;

use crate::lab::agent::Agent;
use crate::lab::config::{Router, yaml};
use crate::lab::guardian::said;
use crate::lab::{Host, LONG, Lab, assert_span, ms, vip, wait_until, write};
use crate::{Needs, trial};

pub fn trials() -> Vec<Trial> {
    let trials: [(&str, fn()); 7] = [
        ("agent_routes_through_a_takeover", takeover),
        ("agent_routes_of_ipv6", ipv6),
        ("agent_route_and_rule_are_put_back", put_back),
        ("agent_routes_are_removed_by_the_guardian", guardian),
        ("agent_routes_are_removed_by_cleanup", cleanup),
        ("agent_routes_reload", reload),
        ("agent_route_that_is_another_s", taken),
    ];
    trials
        .map(|(name, run)| trial(name, Needs::Nothing, run))
        .into()
}

/// What stands behind the gateway, which is the lab's third host.
const BEHIND: &str = "203.0.113.1";

/// Out by table 100 what starts from the virtual address, and from that
/// address what goes behind the gateway.
fn routed(priority: u8) -> Router {
    Router::new(priority)
        .with("routes:")
        .with("  - { to: 203.0.113.0/24, via: 192.0.2.3, source: 192.0.2.100 }")
        .with("  - { to: default, via: 192.0.2.3, table: 100 }")
        .with("rules: [{ from: 192.0.2.100/32, table: 100 }]")
}

/// With a service behind the gateway that tells everyone who he is.
fn gateway(lab: &Lab) -> Host {
    let gateway = lab.host("gateway");
    gateway.ip(&format!("address add {BEHIND}/32 dev lo"));
    gateway.ip("address add 2001:db8:7::1/128 dev lo nodad");
    for address in [BEHIND, "2001:db8:7::1"] {
        let address: IpAddr = address.parse().expect("an address");
        let socket = gateway.namespace.run(|| UdpSocket::bind((address, 7)));
        let socket = socket.expect("a port");
        thread::spawn(move || {
            let mut buffer = [0; 64];
            while let Ok((_, from)) = socket.recv_from(&mut buffer) {
                let _ = socket.send_to(from.ip().to_string().as_bytes(), from);
            }
        });
    }
    gateway
}

/// As whom the service behind the gateway sees the host; an error where the
/// host has no way there.
fn seen_as(host: &Host, behind: &str) -> io::Result<IpAddr> {
    let service = SocketAddr::new(behind.parse().expect("an address"), 7);
    let any = match service.is_ipv4() {
        true => "0.0.0.0:0",
        false => "[::]:0",
    };
    let socket = host.namespace.run(|| -> io::Result<UdpSocket> {
        let socket = UdpSocket::bind(any)?;
        socket.connect(service)?;
        Ok(socket)
    })?;
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    socket.send(b"who am I?")?;
    let mut buffer = [0; 64];
    let length = socket.recv(&mut buffer)?;
    let text = std::str::from_utf8(&buffer[..length]).expect("text");
    Ok(text.parse().expect("an address"))
}

/// The lines of ours, without the mark.
fn ours(host: &Host) -> Vec<String> {
    let mut lines = Vec::new();
    for command in [
        "-4 route show table all",
        "-6 route show table all",
        "rule show",
        "-6 rule show",
    ] {
        let text = host.ip(command);
        let marked = text.lines().filter(|line| line.contains("proto 118"));
        lines.extend(marked.map(str::to_owned));
    }
    lines
}

fn wait_ours(host: &Host, count: usize) -> Instant {
    let what = format!("{count} routes and rules on {}", host.name);
    wait_until(&what, LONG, || ours(host).len() == count)
}

fn held(agent: &Agent) -> bool {
    let instance = agent.instance("web");
    let lists = [&instance["routes"], &instance["rules"]];
    let mut all = lists
        .iter()
        .flat_map(|list| list.as_array().into_iter().flatten());
    let first = all.next().expect("one at least");
    first["held"] == true && all.all(|item| item["held"] == true)
}

fn takeover() {
    let lab = Lab::new();
    let [a, b] = lab.hosts(["a", "b"]);
    let _gateway = gateway(&lab);
    let mut best = lab.agent(&a, &[routed(200)]);
    let second = lab.agent(&b, &[routed(100)]);
    best.wait_state("web", "active", LONG);
    second.wait_state("web", "backup", LONG);
    wait_ours(&a, 3);
    assert_eq!(seen_as(&a, BEHIND).expect("an answer"), vip());
    assert!(seen_as(&b, BEHIND).is_err(), "the Backup has no way");
    wait_until("the status", LONG, || held(&best) && !held(&second));
    let text = String::from_utf8(best.ask(&["status", "web"]).stdout).expect("text");
    let line = "203.0.113.0/24 via 192.0.2.3 dev eth0 src 192.0.2.100: held";
    assert!(text.contains(line), "{text}");
    // A planned resignation.
    let stopped = Instant::now();
    best.signal(Signal::SIGTERM);
    let there = wait_ours(&b, 3);
    assert_span("the routes", there - stopped, ms(0), ms(500));
    assert_eq!(seen_as(&b, BEHIND).expect("an answer"), vip());
    best.process.wait_exit(LONG);
    assert_eq!(ours(&a), [] as [&str; 0]);
    // And back again, by preemption.
    let again = lab.agent(&a, &[routed(200)]);
    again.wait_state("web", "active", LONG);
    wait_ours(&a, 3);
    wait_ours(&b, 0);
    assert_eq!(seen_as(&a, BEHIND).expect("an answer"), vip());
    assert!(seen_as(&b, BEHIND).is_err());
}

fn ipv6() {
    let lab = Lab::new();
    let a = lab.host("a");
    let _unused = lab.host("b");
    let _gateway = gateway(&lab);
    let router = Router::new(200)
        .ipv6()
        .with("routes: [{ to: 2001:db8:7::/64, via: 2001:db8::3, source: 2001:db8::100 }]")
        .with("rules: [{ from: 2001:db8::100, table: main, priority: 500 }]");
    let mut agent = lab.agent(&a, &[router]);
    agent.wait_state("web", "active", LONG);
    wait_ours(&a, 2);
    let own: IpAddr = "2001:db8::100".parse().expect("an address");
    assert_eq!(seen_as(&a, "2001:db8:7::1").expect("an answer"), own);
    // With its source the route is another; it gets it back.
    a.ip("address del 2001:db8::100/128 dev eth0");
    let what = "the route from its source";
    wait_until(what, LONG, || {
        let all = ours(&a);
        all.iter().any(|line| line.contains("src 2001:db8::100"))
    });
    assert_eq!(seen_as(&a, "2001:db8:7::1").expect("an answer"), own);
    agent.signal(Signal::SIGTERM);
    agent.process.wait_exit(LONG);
    assert_eq!(ours(&a), [] as [&str; 0]);
}

fn put_back() {
    let lab = Lab::new();
    let a = lab.host("a");
    let _unused = lab.host("b");
    let _gateway = gateway(&lab);
    let agent = lab.agent(&a, &[routed(200)]);
    agent.wait_state("web", "active", LONG);
    wait_ours(&a, 3);
    let before = ours(&a);
    for command in [
        "route del 203.0.113.0/24",
        "route del default table 100",
        "rule del from 192.0.2.100 lookup 100",
    ] {
        let deleted = Instant::now();
        a.ip(command);
        let back = wait_ours(&a, 3);
        assert_span(command, back - deleted, ms(0), ms(100));
        assert_eq!(ours(&a), before);
    }
    let log = agent.process.log();
    let said = "was deleted by someone else, or went with its address or link; put back";
    assert_eq!(log.matches(said).count(), 3, "{log}");
    // The kernel takes the route with the address, and says nothing of it.
    a.ip("address del 192.0.2.100/32 dev eth0");
    wait_until("everything", LONG, || a.has(vip()) && ours(&a) == before);
    assert_eq!(seen_as(&a, BEHIND).expect("an answer"), vip());
    assert_eq!(agent.state("web"), "active");
}

fn guardian() {
    let lab = Lab::new();
    let a = lab.host("a");
    a.ip("route add 198.51.100.0/24 via 192.0.2.2 proto static");
    let before = (a.ip("route show table all"), a.ip("rule show"));
    let mut agent = lab.agent(&a, &[routed(200)]);
    agent.wait_state("web", "active", LONG);
    wait_ours(&a, 3);
    let killed = Instant::now();
    agent.process.signal_alone(Signal::SIGKILL);
    let gone = wait_ours(&a, 0);
    assert_span("the end", gone - killed, ms(0), ms(200));
    agent.process.wait_exit(LONG);
    assert_eq!((a.ip("route show table all"), a.ip("rule show")), before);
}

/// Both dead: `cleanup` knows them by the record, and by the mark without one.
fn cleanup() {
    let lab = Lab::new();
    let a = lab.host("a");
    a.ip("route add 198.51.100.0/24 via 192.0.2.2 proto static");
    let before = (a.ip("route show table all"), a.ip("rule show"));
    for record in [true, false] {
        let mut agent = lab.agent(&a, &[routed(200)]);
        agent.wait_state("web", "active", LONG);
        wait_ours(&a, 3);
        agent.kill_with_guardian();
        assert_eq!(ours(&a).len(), 3);
        if !record {
            let file = agent.runtime.join("addresses.json");
            std::fs::remove_file(file).expect("the record");
        }
        let words = said(&a.cleanup(&agent));
        for line in [
            "removed the rule from 192.0.2.100/32 table 100 priority 30000",
            "removed the route 203.0.113.0/24 via 192.0.2.3 dev eth0 src 192.0.2.100",
            "removed the route default via 192.0.2.3 dev eth0 table 100",
            "removed 192.0.2.100/32 from eth0",
        ] {
            assert!(words.lines().any(|said| said == line), "{words}");
        }
        assert_eq!((a.ip("route show table all"), a.ip("rule show")), before);
        assert_eq!(said(&a.cleanup(&agent)), "nothing was left\n");
    }
}

/// Another file's worth of routes; nothing else happens, and no advertisement
/// is missed.
fn reload() {
    let lab = Lab::new();
    let [a, b] = lab.hosts(["a", "b"]);
    let _gateway = gateway(&lab);
    // So that a machine that stands still for a moment loses no election.
    let plain = Router::new(200).interval_ms(1000);
    let agent = lab.agent(&a, std::slice::from_ref(&plain));
    let other = lab.agent(&b, &[Router::new(100).interval_ms(1000)]);
    agent.wait_state("web", "active", LONG);
    other.wait_state("web", "backup", LONG);
    let began = Instant::now();
    let apply = |router: Router, count: usize| {
        write(&agent.config, &yaml("a", &[router]));
        assert!(agent.ask(&["reload"]).status.success());
        wait_ours(&a, count);
    };
    apply(routed(200).interval_ms(1000), 3);
    assert_eq!(seen_as(&a, BEHIND).expect("an answer"), vip());
    let less = plain
        .clone()
        .with("routes: [{ to: 203.0.113.0/24, via: 192.0.2.3, source: 192.0.2.100, metric: 5 }]");
    apply(less, 1);
    assert!(ours(&a)[0].contains("metric 5"), "{:?}", ours(&a));
    assert_eq!(seen_as(&a, BEHIND).expect("an answer"), vip());
    apply(plain, 0);
    assert!(seen_as(&a, BEHIND).is_err());
    assert_eq!(agent.transitions("web"), 2);
    assert_eq!(other.transitions("web"), 1);
    for _ in 0..2 {
        lab.observer.wait_advert(Instant::now(), "a", 200, LONG);
    }
    let adverts = lab.observer.adverts(began, "a");
    let gaps = adverts.windows(2).map(|pair| pair[1].0 - pair[0].0);
    let widest = gaps.max().expect("some");
    assert_span("the widest gap", widest, ms(0), ms(1000));
    assert!(lab.observer.adverts(began, "b").is_empty());
}

/// It stays as it was; the instance is in fault and says why, and a route
/// that is not required only says so.
fn taken() {
    let lab = Lab::new();
    let a = lab.host("a");
    a.ip("route add 203.0.113.0/24 via 192.0.2.2 proto static");
    let before = a.ip("route show");
    let agent = lab.agent(&a, &[routed(200)]);
    agent.wait_state("web", "fault", LONG);
    let obstacles = agent.instance("web")["obstacles"].clone();
    let text = obstacles[0]["text"].as_str().expect("a text");
    assert_eq!(obstacles[0]["code"], "routing-failed");
    assert!(text.contains("which is another program's"), "{text}");
    wait_ours(&a, 0);
    assert_eq!(a.ip("route show"), before);
    let optional = Router::new(200).with(
        "routes: [{ to: 203.0.113.0/24, via: 192.0.2.3, source: 192.0.2.100, required: false }]",
    );
    write(&agent.config, &yaml("a", &[optional]));
    assert!(agent.ask(&["reload"]).status.success());
    agent.wait_state("web", "active", LONG);
    wait_until("the obstacle", LONG, || {
        agent.instance("web")["obstacles"][0]["code"] == "routing-failed"
    });
    assert_eq!(agent.state("web"), "active");
    a.ip("route del 203.0.113.0/24");
    wait_until("the route", LONG, || ours(&a).len() == 1);
}
