//! Moving an address on purpose loses nothing: a client that probes a
//! thousand times a second, and resolves the address anew a hundred times a
//! second, has every probe answered.

use std::thread::sleep;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use nix::sys::signal::Signal;

use crate::agent_link::{Pair, acquainted};
use crate::lab::agent::Agent;
use crate::lab::client::Client;
use crate::lab::config::Router;
use crate::lab::{Host, LONG, Lab, ms};
use crate::{Needs, trial};

/// Of a planned move that is repeated, 3 or `VIPWARD_MOVES`; between two of them
/// a second passes.
pub fn runs() -> usize {
    let wanted = std::env::var("VIPWARD_MOVES").ok();
    wanted.and_then(|count| count.parse().ok()).unwrap_or(3)
}

pub const PAUSE: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Handover,
    Drain,
    Stop,
}

pub fn trials() -> Vec<Trial> {
    let mut all = Vec::new();
    for (way, named) in [
        (Way::Handover, "handover"),
        (Way::Drain, "drain"),
        (Way::Stop, "stop"),
    ] {
        for (v6, family) in [(false, "ipv4"), (true, "ipv6")] {
            for count in [1, 50] {
                let name = format!("agent_moves_{named}_{family}_{count}");
                all.push(trial(name, Needs::Nothing, move || linked(way, v6, count)));
            }
        }
    }
    for (way, named) in [(Way::Drain, "drain"), (Way::Stop, "stop")] {
        for (v6, family) in [(false, "ipv4"), (true, "ipv6")] {
            let name = format!("agent_moves_without_a_link_{named}_{family}");
            all.push(trial(name, Needs::Nothing, move || unlinked(way, v6)));
            let name = format!("agent_moves_to_keepalived_{named}_{family}");
            all.push(trial(name, Needs::Keepalived, move || {
                to_keepalived(way, v6);
            }));
        }
    }
    all.extend([
        trial("agent_moves_drain_lasts", Needs::Nothing, drain_lasts),
        trial("agent_moves_drain_ends", Needs::Nothing, drain_ends),
        trial("agent_moves_nobody_to_take_over", Needs::Nothing, nobody),
        trial("agent_moves_at_another_node", Needs::Nothing, elsewhere),
        trial("agent_moves_killed_on_the_way", Needs::Nothing, killed),
        trial("agent_moves_killed_after_it", Needs::Nothing, killed_after),
    ]);
    all
}

fn router(priority: u8, v6: bool, count: usize) -> Router {
    let addresses: Vec<String> = match v6 {
        false => (0..count)
            .map(|n| format!("192.0.2.{}/24", 100 + n))
            .collect(),
        true => std::iter::once("fe80::51/64".to_owned())
            .chain((0..count).map(|n| format!("2001:db8::{:x}/64", 0x100 + n)))
            .collect(),
    };
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let mut router = Router::new(priority);
    router.v6 = v6;
    router.addresses(&addresses)
}

#[track_caller]
pub fn ordered(agent: &Agent, arguments: &[&str]) -> String {
    let answer = agent.ask(arguments);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        answer.status.success(),
        "{arguments:?}: {}{}\n{}",
        text(&answer.stdout),
        text(&answer.stderr),
        agent.process.log()
    );
    text(&answer.stdout)
}

#[track_caller]
fn refused(agent: &Agent, arguments: &[&str]) -> String {
    let answer = agent.ask(arguments);
    assert_eq!(answer.status.code(), Some(1), "{arguments:?}: {answer:?}");
    String::from_utf8_lossy(&answer.stderr).into_owned()
}

fn linked(way: Way, v6: bool, count: usize) {
    let mut pair = Pair::of(
        [router(200, v6, count), router(100, v6, count)],
        |cluster| cluster,
    );
    let client = Client::start(&pair.lab, pair.vip());
    for run in 0..runs() {
        sleep(PAUSE);
        match way {
            Way::Handover if run % 2 == 0 => {
                let text = ordered(&pair.first, &["handover", "web"]);
                assert!(text.contains("was handed over to b"), "{text}");
                client.knows(&pair.b);
            }
            Way::Handover => {
                let text = ordered(&pair.other, &["handover", "web", "--to", "a"]);
                assert!(text.contains("was handed over to a"), "{text}");
                client.knows(&pair.a);
            }
            Way::Drain => {
                ordered(&pair.first, &["drain", "web"]);
                client.knows(&pair.b);
                assert_eq!(pair.first.state("web"), "drained");
                sleep(PAUSE);
                // It preempts, and is handed over to.
                ordered(&pair.first, &["undrain", "web"]);
                pair.first.wait_state("web", "active", LONG);
                pair.other.wait_state("web", "backup", LONG);
                client.knows(&pair.a);
            }
            Way::Stop => {
                pair.first.signal(Signal::SIGTERM);
                let (_, status) = pair.first.process.wait_exit(LONG);
                assert!(status.success(), "{status}");
                client.knows(&pair.b);
                sleep(PAUSE);
                pair.first = pair.cluster.agent(&pair.lab, &pair.a, pair.best.clone());
                acquainted(&pair.other, "a");
                pair.first.wait_state("web", "active", LONG);
                pair.other.wait_state("web", "backup", LONG);
                client.knows(&pair.a);
            }
        }
    }
    client.lost_nothing(&pair.lab, [&pair.a, &pair.b]);
}

fn unlinked(way: Way, v6: bool) {
    let lab = Lab::new();
    let [a, b] = lab.hosts(["a", "b"]);
    let best = router(200, v6, 1);
    let address = *best.parsed().last().expect("an address");
    let mut first = lab.agent(&a, std::slice::from_ref(&best));
    a.watch.wait(first.started, address, true, LONG);
    let other = lab.agent(&b, &[router(100, v6, 1)]);
    other.wait_state("web", "backup", LONG);
    let client = Client::start(&lab, address);
    let runs = runs();
    for run in 0..runs {
        sleep(PAUSE);
        leaves(way, &mut first);
        other.wait_state("web", "active", LONG);
        client.knows(&b);
        if run + 1 < runs {
            // Back by the same way, not by preemption, which costs a moment.
            first = returns(way, &lab, &a, first, &best);
            sleep(PAUSE);
            ordered(&other, &["drain", "web"]);
            first.wait_state("web", "active", LONG);
            client.knows(&a);
            ordered(&other, &["undrain", "web"]);
            other.wait_state("web", "backup", LONG);
        }
    }
    client.lost_nothing(&lab, [&a, &b]);
}

fn leaves(way: Way, agent: &mut Agent) {
    match way {
        Way::Stop => {
            agent.signal(Signal::SIGTERM);
            let (_, status) = agent.process.wait_exit(LONG);
            assert!(status.success(), "{status}");
        }
        Way::Drain | Way::Handover => {
            let text = ordered(agent, &["drain", "web"]);
            assert!(text.contains("web is drained"), "{text}");
        }
    }
}

/// As a Backup that preempts nobody.
fn returns(way: Way, lab: &Lab, host: &Host, agent: Agent, router: &Router) -> Agent {
    let patient = router.clone().preempt(crate::lab::config::Preempt::No);
    let agent = match way {
        Way::Stop => lab.agent(host, &[patient]),
        Way::Drain | Way::Handover => {
            agent.reload_with(&crate::lab::config::yaml(&host.name, &[patient]));
            ordered(&agent, &["undrain", "web"]);
            agent
        }
    };
    agent.wait_state("web", "backup", LONG);
    agent
}

fn to_keepalived(way: Way, v6: bool) {
    let lab = Lab::new();
    let [a, b] = lab.hosts(["a", "b"]);
    let best = router(200, v6, 1);
    let address = *best.parsed().last().expect("an address");
    let mut first = lab.agent(&a, std::slice::from_ref(&best));
    a.watch.wait(first.started, address, true, LONG);
    let _other = lab.keepalived(&b, &router(100, v6, 1));
    // It has heard the Active.
    sleep(best.down_interval());
    let mut host = lab.host("client");
    let runs = runs();
    for run in 0..runs {
        let client = Client::on(host, address);
        sleep(PAUSE);
        let left = Instant::now();
        leaves(way, &mut first);
        b.watch.wait(left, address, true, LONG);
        client.knows(&b);
        sleep(PAUSE);
        host = match v6 {
            // keepalived announces an IPv6 address when the kernel acknowledges
            // it, which is before the kernel lets packets in: mostly by less
            // than a probe, but the kernel's worker may have to wait.
            true => client.lost_no_more_than_its_successor(&lab, &b, left),
            false => client.lost_nothing(&lab, [&a, &b]),
        };
        if run + 1 < runs {
            first = preempts(way, &lab, &a, first, &best);
            b.watch.wait(left, address, false, LONG);
            sleep(PAUSE);
        }
    }
}

/// As the better one, which costs a moment.
fn preempts(way: Way, lab: &Lab, host: &Host, agent: Agent, router: &Router) -> Agent {
    let agent = match way {
        Way::Stop => lab.agent(host, std::slice::from_ref(router)),
        Way::Drain | Way::Handover => {
            ordered(&agent, &["undrain", "web"]);
            agent
        }
    };
    agent.wait_state("web", "active", LONG);
    agent
}

/// A drained node is never Active, whatever becomes of it and of others.
fn drain_lasts() {
    let mut pair = Pair::new(Router::new);
    ordered(&pair.first, &["drain"]);
    assert_eq!(pair.first.state("web"), "drained");
    assert_eq!(pair.other.state("web"), "active");
    pair.first.kill_with_guardian();
    let first = pair.cluster.agent(&pair.lab, &pair.a, pair.best.clone());
    first.wait_state("web", "drained", LONG);
    acquainted(&pair.other, "a");
    pair.other.wait_node("a", "that is drained", |node| {
        node["instances"][0]["state"] == "drained"
    });
    let killed = Instant::now();
    pair.other.kill_with_guardian();
    first.wait_instance("web", "which nobody could take", |one| {
        one["stranded"] == true
    });
    let text = first.ask(&["status"]);
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    let top = text.lines().take(4).collect::<Vec<_>>().join("\n");
    assert!(top.contains("web"), "not at the top: {text}");
    sleep(pair.best.down_interval() * 2);
    assert!(pair.a.watch.times(killed, pair.vip()).is_empty());
    assert_eq!(first.state("web"), "drained");
    ordered(&first, &["undrain", "web"]);
    first.wait_state("web", "active", LONG);
}

/// By the time of day.
fn drain_ends() {
    let pair = Pair::new(Router::new);
    ordered(&pair.first, &["drain", "web", "--for", "3s"]);
    let until = pair.first.instance("web")["drained"]["until"].clone();
    assert!(until.is_string(), "{until}");
    assert_eq!(pair.first.state("web"), "drained");
    pair.first.wait_state("web", "active", LONG);
    assert!(pair.first.instance("web")["drained"].is_null());
}

fn nobody() {
    let mut pair = Pair::new(Router::new);
    let since = Instant::now();
    ordered(&pair.other, &["drain"]);
    let why = refused(&pair.first, &["drain", "web"]);
    assert!(why.contains("nobody could take web over"), "{why}");
    assert!(why.contains("drained"), "{why}");
    let why = refused(&pair.first, &["handover", "web"]);
    assert!(why.contains("web is not handed over"), "{why}");
    let why = refused(&pair.first, &["handover", "wbe"]);
    assert!(
        why.contains("there is no instance `wbe` on a; did you mean `web`? It has: web"),
        "{why}"
    );
    let why = refused(&pair.first, &["handover", "web", "--to", "lb7"]);
    assert!(
        why.contains("there is no node `lb7` in the cluster; it has: a, b"),
        "{why}"
    );
    assert!(pair.a.watch.times(since, pair.vip()).is_empty());
    ordered(&pair.first, &["drain", "web", "--force"]);
    pair.a.watch.wait(since, pair.vip(), false, LONG);
    assert_eq!(pair.first.state("web"), "drained");
    // The one that is left alone has no link to ask by, and keeps it.
    ordered(&pair.other, &["undrain"]);
    pair.other.wait_state("web", "active", LONG);
    pair.first.kill_with_guardian();
    pair.other.wait_reachable("a", false);
    let why = refused(&pair.other, &["drain", "web"]);
    assert!(why.contains("is not heard over the peer link"), "{why}");
}

fn elsewhere() {
    let pair = Pair::new(Router::new);
    // From the node that is not Active, by itself and by name.
    let text = ordered(&pair.other, &["handover", "web", "--to", "b"]);
    assert_eq!(text.trim(), "a: web was handed over to b");
    assert_eq!(pair.other.state("web"), "active");
    let text = ordered(&pair.first, &["drain", "--node", "b"]);
    assert_eq!(text.trim(), "b: web is drained; a has taken over");
    assert_eq!(pair.other.state("web"), "drained");
    let text = ordered(&pair.first, &["undrain", "web", "--node", "b"]);
    assert_eq!(text.trim(), "b: web takes part again");
    pair.other.wait_state("web", "backup", LONG);
    let why = refused(&pair.first, &["drain", "--node", "lb9"]);
    assert!(why.contains("there is no node `lb9`"), "{why}");
}

/// While the exchange runs, for as long as a hook of the successor takes.
fn killed() {
    let mut pair = Pair::of(
        [
            Router::new(200)
                .with("hooks: { before_release: { run: [/bin/sleep, \"1\"], timeout: 5s } }"),
            Router::new(100)
                .with("hooks: { before_active: { run: [/bin/sleep, \"3\"], timeout: 5s } }"),
        ],
        |cluster| cluster,
    );
    let since = Instant::now();
    let first = &pair.first;
    std::thread::scope(|scope| {
        let order = scope.spawn(|| first.ask(&["handover", "web"]));
        pair.other
            .wait_instance("web", "about to take over", |one| {
                one["obstacles"]
                    .as_array()
                    .is_some_and(|all| all.iter().any(|o| o["code"] == "before-active"))
            });
        pair.other.process.kill();
        let answer = order.join().expect("an answer");
        assert_eq!(answer.status.code(), Some(1), "{answer:?}");
        let why = String::from_utf8_lossy(&answer.stderr).into_owned();
        assert!(why.contains("it stays here"), "{why}");
    });
    assert_eq!(pair.first.state("web"), "active");
    assert!(pair.a.watch.times(since, pair.vip()).is_empty(), "it went");
    assert!(!pair.b.has(pair.vip()));
    pair.first.signal(Signal::SIGTERM);
    pair.first.process.wait_exit(LONG);
    assert!(!pair.a.has(pair.vip()), "left behind");
}

/// While its old host still takes packets for the address: nothing is left.
fn killed_after() {
    for v6 in [false, true] {
        let mut pair = Pair::of([router(200, v6, 3), router(100, v6, 3)], |cluster| cluster);
        let untouched = left(&pair.a);
        ordered(&pair.first, &["handover", "web"]);
        pair.first.kill_with_guardian();
        pair.a.cleanup(&pair.first);
        let deadline = Instant::now() + LONG;
        while left(&pair.a) != untouched {
            assert!(
                Instant::now() < deadline,
                "left after {LONG:?}: {:?}, where there was {untouched:?}",
                left(&pair.a)
            );
            sleep(ms(20));
        }
        assert_eq!(pair.other.state("web"), "active");
    }
}

/// What a host that lingers has changed: nothing before and after.
fn left(host: &Host) -> Vec<String> {
    let path = "/proc/sys/net/ipv4/conf/eth0/arp_ignore";
    let setting = host.namespace.run(|| std::fs::read_to_string(path));
    let addresses = host.ip("-brief addr show dev lo");
    let routes = ["-4", "-6"].map(|family| host.ip(&format!("{family} route show table local")));
    let routes = routes.iter().flat_map(|text| text.lines());
    let by_loopback = routes.filter(|line| line.contains(" dev lo "));
    let settings = [setting.expect("a setting"), addresses];
    settings
        .into_iter()
        .chain(by_loopback.map(str::to_owned))
        .collect()
}
