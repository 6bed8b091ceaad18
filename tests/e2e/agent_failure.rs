//! Failures: a host that is gone, frozen, cut off and back; a link that is
//! lost; three hosts.

use std::time::Instant;

use libtest_mimic::Trial;
use nix::sys::signal::Signal;

use crate::lab::agent::Agent;
use crate::lab::config::Router;
use crate::lab::prober::Prober;
use crate::lab::{Host, LONG, Lab, assert_span, ms, parting_advert, vip};
use crate::{Needs, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("agent_silence", Needs::Nothing, silence),
        trial("agent_link_down_and_up", Needs::Nothing, link),
        trial(
            "agent_interface_down_and_up",
            Needs::Nothing,
            administratively,
        ),
        trial("agent_frozen_sends_nothing_stale", Needs::Nothing, frozen),
        trial("agent_healed_cut", Needs::Nothing, healed_cut),
        trial("agent_three_hosts", Needs::Nothing, three_hosts),
        trial("agent_restart_finds_what_it_left", Needs::Nothing, restart),
    ]
}

/// Active on the first host, Backup on the second.
fn pair(lab: &Lab, a: &Host, b: &Host, best: &Router, second: &Router) -> (Agent, Agent) {
    let first = lab.agent(a, std::slice::from_ref(best));
    a.watch.wait(first.started, vip(), true, LONG);
    let other = lab.agent(b, std::slice::from_ref(second));
    other.wait_state("web", "backup", LONG);
    (first, other)
}

/// When `host` last advertised.
fn last_advert(lab: &Lab, host: &str, since: Instant) -> Instant {
    let all = lab.observer.adverts(since, host);
    all.last().expect("an advertisement").0
}

fn silence() {
    let lab = Lab::new();
    let [a, b, client] = lab.hosts(["a", "b", "client"]);
    let (best, second) = (Router::new(200), Router::new(100));
    let (mut first, _other) = pair(&lab, &a, &b, &best, &second);
    let prober = Prober::start(&client, vip());
    prober.wait_answered(LONG);
    let cut = Instant::now();
    lab.cut_carrier(&a);
    first.process.kill();
    let taken = lab.observer.wait_advert(first.started, "b", 100, LONG).at;
    let silent = last_advert(&lab, "a", first.started);
    let down = second.down_interval();
    assert_span("the takeover", taken - silent, down, down);
    let learnt = client.watch.wait_neighbour(cut, vip(), b.mac("eth0"), LONG);
    assert_span("the client's knowledge", learnt - taken, ms(0), ms(100));
    prober.wait_answered(LONG);
    let report = prober.stop();
    assert!(report.lost > 0, "the cut was not felt: {report:?}");
    report.assert_gap(down + ms(100));
}

fn link() {
    let lab = Lab::new();
    let [a, b] = lab.hosts(["a", "b"]);
    let (best, second) = (Router::new(200), Router::new(100));
    let (first, _other) = pair(&lab, &a, &b, &best, &second);
    let cut = Instant::now();
    lab.cut_carrier(&a);
    let gone = a.watch.wait(cut - ms(200), vip(), false, LONG);
    assert_span(
        "the release",
        gone.saturating_duration_since(cut),
        ms(0),
        ms(100),
    );
    first.wait_state("web", "fault", LONG);
    let obstacles = first.instance("web")["obstacles"].clone();
    assert_eq!(obstacles[0]["code"], "link-down", "{obstacles}");
    let taken = lab.observer.wait_advert(first.started, "b", 100, LONG).at;
    let down = second.down_interval();
    let silent = last_advert(&lab, "a", first.started);
    assert_span("the takeover", taken - silent, down, down);

    let healed = Instant::now();
    lab.heal(&a);
    let back = lab.observer.wait_advert(healed, "a", 200, LONG).at;
    let wait = best.down_interval();
    assert_span("the return", back - healed, wait, wait + ms(100));
    a.watch.wait(back - ms(5), vip(), true, LONG);
    b.watch.wait(back - ms(5), vip(), false, LONG);
    assert_eq!(first.state("web"), "active");
}

fn administratively() {
    let lab = Lab::new();
    let a = lab.host("a");
    let router = Router::new(200).addresses(&["192.0.2.100/24", "2001:db8::100/64"]);
    let agent = lab.agent(&a, std::slice::from_ref(&router));
    a.watch.wait(agent.started, vip(), true, LONG);
    a.ip("link set eth0 down");
    agent.wait_state("web", "fault", LONG);
    a.watch.wait(agent.started, vip(), false, LONG);
    let up = Instant::now();
    a.ip("link set eth0 up");
    let back = lab.observer.wait_advert(up, "a", 200, LONG).at;
    let wait = router.down_interval();
    assert_span("the return", back - up, wait, wait + ms(100));
    for address in router.parsed() {
        a.watch.wait(up, address, true, LONG);
        lab.observer.wait(up, "the announcement", LONG, |frame| {
            frame.announces() == Some(address)
        });
    }
}

/// A process that slept through its successor's takeover is overruled, not
/// overruling: it releases before it says anything.
fn frozen() {
    let lab = Lab::new();
    let [a, b] = lab.hosts(["a", "b"]);
    let (best, second) = (Router::new(200), Router::new(100));
    let (first, _other) = pair(&lab, &a, &b, &best, &second);
    first.signal(Signal::SIGSTOP);
    lab.observer.wait_advert(first.started, "b", 100, LONG);
    b.watch.wait(first.started, vip(), true, LONG);
    std::thread::sleep(ms(600));
    let woken = Instant::now();
    first.signal(Signal::SIGCONT);
    let gone = a.watch.wait(woken, vip(), false, LONG);
    assert_span("the release", gone - woken, ms(0), ms(100));
    let next = lab.observer.wait_advert(woken, "a", 200, LONG).at;
    assert!(
        next > gone,
        "a stale advertisement {:?} after waking",
        next - woken
    );
    assert_span(
        "the regular preemption",
        next - woken,
        best.down_interval(),
        best.down_interval(),
    );
    a.watch.wait(next - ms(5), vip(), true, LONG);
    b.watch.wait(next - ms(5), vip(), false, LONG);
    let log = first.process.log();
    assert!(log.contains("(stalled)"), "{log}");
}

/// Both were Active; when they hear each other again the loser goes, parts,
/// and the winner announces again: the client is right within a second.
fn healed_cut() {
    let lab = Lab::new();
    let [a, b, client] = lab.hosts(["a", "b", "client"]);
    let (best, second) = (Router::new(200), Router::new(100));
    let (first, other) = pair(&lab, &a, &b, &best, &second);
    let prober = Prober::start(&client, vip());
    prober.wait_answered(LONG);
    let cut = Instant::now();
    lab.silence(&a);
    b.watch.wait(cut, vip(), true, LONG);
    client.watch.wait_neighbour(cut, vip(), b.mac("eth0"), LONG);
    assert_eq!(
        (first.state("web").as_str(), other.state("web").as_str()),
        ("active", "active")
    );
    std::thread::sleep(ms(2500));

    // b has just spoken: what it says next is its parting.
    lab.observer.wait_advert(Instant::now(), "b", 100, LONG);
    let healed = Instant::now();
    lab.heal(&a);
    let gone = b.watch.wait(healed, vip(), false, LONG);
    assert_span(
        "the end of the double claim",
        gone - healed,
        ms(0),
        best.interval,
    );
    let parting = parting_advert(&lab, healed, gone);
    let again = lab
        .observer
        .wait(parting, "a's announcement after it", LONG, |frame| {
            frame.host == "a" && frame.announces() == Some(vip())
        });
    assert_span("that announcement", again.at - parting, ms(0), ms(100));
    let learnt = client
        .watch
        .wait_neighbour(healed, vip(), a.mac("eth0"), LONG);
    assert_span(
        "the client's knowledge",
        learnt - healed,
        ms(0),
        ms(1000) - crate::lab::ROOM,
    );
    std::thread::sleep((healed + ms(1000)).saturating_duration_since(Instant::now()));
    for _ in 0..10 {
        assert_eq!(client.neighbour(vip()), Some(a.mac("eth0").to_string()));
        std::thread::sleep(ms(100));
    }
    prober.wait_answered(LONG);
    assert!(
        a.watch
            .times(healed, vip())
            .iter()
            .all(|(_, present)| *present)
    );
}

fn three_hosts() {
    let lab = Lab::new();
    let [a, b, c] = lab.hosts(["a", "b", "c"]);
    let (best, second, third) = (Router::new(250), Router::new(150), Router::new(10));
    let (mut first, mut middle) = pair(&lab, &a, &b, &best, &second);
    let last = lab.agent(&c, std::slice::from_ref(&third));
    last.wait_state("web", "backup", LONG);
    lab.cut_carrier(&a);
    first.process.kill();
    let taken = lab.observer.wait_advert(first.started, "b", 150, LONG).at;
    let silent = last_advert(&lab, "a", first.started);
    let down = second.down_interval();
    assert_span("the second's takeover", taken - silent, down, down);
    b.watch.wait(first.started, vip(), true, LONG);
    std::thread::sleep(ms(1000));
    assert!(
        lab.observer.adverts(first.started, "c").is_empty(),
        "the third one spoke"
    );
    lab.cut_carrier(&b);
    middle.process.kill();
    let taken = lab.observer.wait_advert(first.started, "c", 10, LONG).at;
    let silent = last_advert(&lab, "b", first.started);
    let down = third.down_interval();
    assert_span("the third's takeover", taken - silent, down, down);
    c.watch.wait(first.started, vip(), true, LONG);
}

/// An agent that is killed with its guardian leaves its address; the next one
/// must neither be misled by it nor leave it there while somebody else is
/// Active.
fn restart() {
    let lab = Lab::new();
    let [a, b] = lab.hosts(["a", "b"]);
    let (best, second) = (Router::new(200), Router::new(100));
    let mut first = lab.agent(&a, std::slice::from_ref(&best));
    a.watch.wait(first.started, vip(), true, LONG);
    first.kill_with_guardian();
    assert!(a.has(vip()), "the dead remove nothing");
    let other = lab.agent(&b, std::slice::from_ref(&second));
    b.watch.wait(other.started, vip(), true, LONG);
    let again = lab.agent(&a, &[best.preempt(crate::lab::config::Preempt::No)]);
    again.wait_state("web", "backup", LONG);
    let gone = a.watch.wait(again.started, vip(), false, LONG);
    assert_span(
        "the left address's end",
        gone - again.started,
        ms(0),
        ms(1000),
    );
    std::thread::sleep(ms(1500));
    // For what it found it said goodbye, and no more.
    let adverts = lab.observer.adverts(again.started, "a");
    assert!(
        adverts.iter().all(|(_, advert)| advert.priority == 0),
        "{adverts:?}"
    );
    assert!(b.has(vip()) && !a.has(vip()));
}
