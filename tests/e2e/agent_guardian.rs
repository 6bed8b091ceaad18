//! The agent dies without goodbye, and its guardian speaks and cleans up for
//! it; the guardian dies, and nothing else happens.

use std::net::IpAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use nix::sys::signal::Signal;

use crate::lab::agent::Agent;
use crate::lab::config::{Router, yaml};
use crate::lab::guardian::{catches, lives, signal};
use crate::lab::prober::Prober;
use crate::lab::{Host, LONG, Lab, assert_span, ms, vip, wait_until};
use crate::{Needs, trial};

/// A router of this priority, towards this peer.
type Make = fn(u8, IpAddr) -> Router;

pub fn trials() -> Vec<Trial> {
    let variants: [(&str, Make); 4] = [
        ("", |priority, _| {
            Router::new(priority).addresses(&["192.0.2.100/24", "2001:db8::100/64"])
        }),
        ("_v2", |priority, _| Router::new(priority).version_2()),
        ("_unicast", |priority, peer| {
            Router::new(priority).peers(&[peer])
        }),
        ("_ipv6", |priority, _| Router::new(priority).ipv6()),
    ];
    let killed = variants.map(|(name, router)| {
        trial(
            format!("agent_guardian_speaks_and_removes{name}"),
            Needs::Nothing,
            move || speaks_and_removes(router),
        )
    });
    let others: [(&str, fn()); 8] = [
        ("agent_guardian_killed_is_replaced", replaced),
        ("agent_guardian_is_deaf_to_signals", deaf),
        ("agent_guardian_waits_while_the_agent_is_stopped", stopped),
        ("agent_guardian_is_silent_at_a_clean_stop", clean_stop),
        ("agent_guardian_of_a_backup_is_silent", backup),
        (
            "agent_guardian_after_a_death_among_200_additions",
            two_hundred,
        ),
        ("agent_guardian_keeps_the_lock_until_it_is_done", lock),
        ("agent_guardian_is_waited_for_and_signals_wait_too", early),
    ];
    let others = others.map(|(name, run)| trial(name, Needs::Nothing, run));
    killed.into_iter().chain(others).collect()
}

/// Active on `a`.
fn active(lab: &Lab, a: &Host, router: &Router) -> Agent {
    let agent = lab.agent(a, std::slice::from_ref(router));
    for address in router.parsed() {
        a.watch.wait(agent.started, address, true, LONG);
    }
    agent
}

/// Far more than it takes: figures are the benchmark's.
const SOON: Duration = Duration::from_millis(1000);

fn speaks_and_removes(router: Make) {
    let lab = Lab::new();
    let [a, b, client] = lab.hosts(["a", "b", "client"]);
    let (best, second) = (router(200, b.v4()), router(100, a.v4()));
    let mut first = active(&lab, &a, &best);
    let other = lab.agent(&b, std::slice::from_ref(&second));
    other.wait_state("web", "backup", LONG);
    let address = *best.advertised().last().expect("an address");
    let prober = Prober::start(&client, address);
    prober.wait_answered(LONG);
    let guardian = first.guardian(None);

    let killed = Instant::now();
    first.process.kill();
    let farewell = lab.observer.wait_advert(killed, "a", 0, LONG);
    assert_span("priority 0", farewell.at - killed, ms(0), SOON);
    let advert = farewell.advert().expect("an advertisement");
    assert_eq!(advert.addresses, best.advertised());
    for address in best.parsed() {
        let gone = a.watch.wait(killed, address, false, LONG);
        assert_span("the address's end", gone - killed, ms(0), SOON);
    }
    let taken = lab.observer.wait_advert(farewell.at, "b", 100, LONG).at;
    let skew = second.haste();
    assert_span("the takeover", taken - farewell.at, skew, second.skew());
    client
        .watch
        .wait_neighbour(killed, address, b.mac("eth0"), LONG);
    prober.wait_answered(LONG);
    let report = prober.stop();
    report.assert_gap(skew + SOON);

    wait_until("the guardian's end", SOON, || !lives(guardian));
    let log = first.process.log();
    let lines: Vec<&str> = log
        .lines()
        .filter(|l| l.starts_with("guardian: "))
        .collect();
    let [line] = lines.as_slice() else {
        panic!("not one sentence of the guardian: {log}");
    };
    assert!(line.contains("sent priority 0 for web"), "{line}");
    assert!(line.contains(&address.to_string()), "{line}");
    // It has said one thing, once, and nothing of it is left.
    sleep(ms(500));
    assert_eq!(lab.observer.adverts(killed, "a").len(), 1);
    let cleaned = a.cleanup(&first);
    assert_eq!(crate::lab::guardian::said(&cleaned), "nothing was left\n");
}

fn replaced() {
    let lab = Lab::new();
    let [a, b] = lab.hosts(["a", "b"]);
    let mut agent = active(&lab, &a, &Router::new(200));
    let other = lab.agent(&b, &[Router::new(100)]);
    other.wait_state("web", "backup", LONG);
    let mut guardian = agent.guardian(None);
    let transitions = (agent.transitions("web"), other.transitions("web"));
    let began = Instant::now();
    for _ in 0..3 {
        signal(guardian, Signal::SIGKILL);
        let killed = Instant::now();
        guardian = agent.guardian(Some(guardian));
        assert_span("another", killed.elapsed(), ms(0), ms(2000));
    }
    sleep(ms(1000));
    assert_eq!(agent.guardian(None), guardian);
    assert_eq!(
        transitions,
        (agent.transitions("web"), other.transitions("web"))
    );
    let adverts = lab.observer.adverts(began, "a");
    assert!(adverts.iter().all(|(_, advert)| advert.priority == 200));
    assert_eq!(a.watch.times(began, vip()), []);
    let log = agent.process.log();
    let told = log.matches("another is on guard").count();
    assert_eq!(told, 1, "one line a minute: {log}");
    // The last of them is as good as the first.
    let killed = Instant::now();
    agent.process.kill();
    lab.observer.wait_advert(killed, "a", 0, LONG);
    let gone = a.watch.wait(killed, vip(), false, LONG);
    assert_span("the address's end", gone - killed, ms(0), SOON);
}

fn deaf() {
    let lab = Lab::new();
    let a = lab.host("a");
    let agent = active(&lab, &a, &Router::new(200));
    let guardian = agent.guardian(None);
    let began = Instant::now();
    for word in [
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGHUP,
        Signal::SIGQUIT,
        Signal::SIGABRT,
    ] {
        signal(guardian, word);
        sleep(ms(50));
        assert!(lives(guardian), "{word}");
    }
    sleep(ms(300));
    assert_eq!(agent.guardian(None), guardian);
    assert_eq!(a.watch.times(began, vip()), []);
}

/// As long as it lives, the agent is the only one who speaks.
fn stopped() {
    let lab = Lab::new();
    let a = lab.host("a");
    let agent = active(&lab, &a, &Router::new(200));
    let guardian = agent.guardian(None);
    let began = Instant::now();
    agent.process.signal_alone(Signal::SIGSTOP);
    sleep(ms(1000));
    // It had been told to speak, had it been asked.
    assert!(lives(guardian));
    assert_eq!(a.watch.times(began, vip()), []);
    agent.process.signal_alone(Signal::SIGCONT);
    agent.wait_state("web", "active", LONG);
    let adverts = lab.observer.adverts(began, "a");
    assert!(adverts.iter().all(|(_, advert)| advert.priority == 200));
    assert_eq!(agent.guardian(None), guardian);
}

fn clean_stop() {
    let lab = Lab::new();
    let [a, b, client] = lab.hosts(["a", "b", "client"]);
    let mut agent = active(&lab, &a, &Router::new(200));
    let other = lab.agent(&b, &[Router::new(100)]);
    other.wait_state("web", "backup", LONG);
    let prober = Prober::start(&client, vip());
    prober.wait_answered(LONG);
    let guardian = agent.guardian(None);
    let stopped = Instant::now();
    // As a service manager does: to all of them.
    signal(guardian, Signal::SIGTERM);
    agent.signal(Signal::SIGTERM);
    let (ended, status) = agent.process.wait_exit(LONG);
    assert!(status.success(), "{status}");
    let alone = wait_until("the guardian's end", SOON, || !lives(guardian));
    assert_span("the guardian's end", alone - ended, ms(0), ms(100));
    sleep(ms(500));
    let farewells = lab.observer.adverts(stopped, "a");
    let farewells = farewells.iter().filter(|(_, advert)| advert.priority == 0);
    assert_eq!(farewells.count(), 1);
    let report = prober.stop();
    assert_eq!(report.lost, 0, "{report:?}");
    let log = agent.process.log();
    assert!(!log.contains("guardian: "), "{log}");
    let record = std::fs::read_to_string(agent.runtime.join("addresses.json"));
    let record = record.expect("the record");
    assert_eq!(record.trim(), "{\"format\":1,\"instances\":[]}");
}

fn backup() {
    let lab = Lab::new();
    let [a, b] = lab.hosts(["a", "b"]);
    let _first = active(&lab, &a, &Router::new(200));
    let mut other = lab.agent(&b, &[Router::new(100)]);
    other.wait_state("web", "backup", LONG);
    let guardian = other.guardian(None);
    other.process.kill();
    wait_until("the guardian's end", SOON, || !lives(guardian));
    sleep(ms(300));
    assert!(lab.observer.adverts(other.started, "b").is_empty());
    let log = other.process.log();
    assert!(!log.contains("guardian: "), "{log}");
}

fn two_hundred() {
    let lab = Lab::new();
    let a = lab.host("a");
    let mut router = Router::new(200);
    let many = (1..=100).flat_map(|n| {
        [
            format!("198.51.100.{n}/24"),
            format!("2001:db8:1::{n:x}/64"),
        ]
    });
    router.addresses = many.collect();
    let own = || {
        let links = a.namespace.ip_json("addr show");
        let links = links.as_array().cloned().unwrap_or_default();
        let all = links
            .iter()
            .flat_map(|link| link["addr_info"].as_array().cloned());
        let all = all.flatten().map(|entry| entry["local"].to_string());
        let ours = |text: &String| text.contains("198.51.100.") || text.contains("2001:db8:1::");
        all.filter(ours).count()
    };
    let configuration = yaml("a", std::slice::from_ref(&router))
        .replace("addresses: [", "addresses: [\"192.0.2.100/24\", ");
    let mut most = 0;
    for round in 0..6_u64 {
        let mut agent = lab.agent_with(&a, &configuration);
        a.watch.wait(agent.started, vip(), true, LONG);
        let guardian = agent.guardian(None);
        sleep(Duration::from_micros(round * 1700));
        let killed = Instant::now();
        agent.process.kill();
        wait_until("the guardian's end", LONG, || !lives(guardian));
        let took = killed.elapsed();
        assert_eq!(own(), 0, "after {took:?}, in round {round}");
        assert!(!a.has(vip()), "after {took:?}, in round {round}");
        assert!(a.has(a.v4()) && a.has(a.v6()));
        let log = agent.process.log();
        let line = log.lines().rfind(|line| line.starts_with("guardian: "));
        let line = line.unwrap_or_else(|| panic!("no word of the guardian: {log}"));
        let more = line
            .rsplit_once(", ")
            .and_then(|(_, last)| last.split_once(" more"));
        most = most.max(more.and_then(|(count, _)| count.parse().ok()).unwrap_or(0));
    }
    assert!(
        most > 0,
        "it was killed before there was more than one, each time"
    );
}

/// Whoever wants the runtime directory waits for it, or is told.
fn lock() {
    let lab = Lab::new();
    let a = lab.host("a");
    let mut agent = active(&lab, &a, &Router::new(200));
    let guardian = agent.guardian(None);
    signal(guardian, Signal::SIGSTOP);
    let pid = agent.process.pid();
    agent.process.kill();
    let refused = a.cleanup(&agent);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    let expected = format!("the guardian of an agent that died (pid {pid}) holds ");
    assert!(words.contains(&expected), "{words}");
    assert!(words.contains("nothing was removed"), "{words}");
    let woken = Instant::now();
    signal(guardian, Signal::SIGCONT);
    let cleaned = a.cleanup(&agent);
    assert_eq!(crate::lab::guardian::said(&cleaned), "nothing was left\n");
    assert!(!a.has(vip()), "{:?} after it", woken.elapsed());
}

/// A start that has to wait: a reload asked for meanwhile comes after it.
fn early() {
    let lab = Lab::new();
    let a = lab.host("a");
    let router = Router::new(200);
    let mut dead = active(&lab, &a, &router);
    let guardian = dead.guardian(None);
    signal(guardian, Signal::SIGSTOP);
    dead.process.kill();
    let agent = lab.agent(&a, &[router]);
    wait_until("it to listen for SIGHUP", LONG, || {
        catches(agent.process.pid(), Signal::SIGHUP)
    });
    agent.signal(Signal::SIGHUP);
    signal(guardian, Signal::SIGCONT);
    agent.wait_state("web", "active", LONG);
    wait_until("the reload", LONG, || {
        agent.process.log().contains("reloaded, asked by a signal")
    });
}
