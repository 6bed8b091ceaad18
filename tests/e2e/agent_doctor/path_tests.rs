//! Questions of protocol 112: what they show where nobody speaks, and that
//! nobody minds them.

use std::time::Instant;

use super::{Pair, active, command, doctor, provide_nft};
use crate::lab::config::Router;
use crate::lab::process::Process;
use crate::lab::{Host, LONG, Lab, ms};

/// No peer link: what a silent Backup hears only it could tell.
pub fn silent_backup() {
    for carrier in ["multicast", "unicast", "ipv6"] {
        let lab = Lab::new();
        let [a, b] = lab.hosts(["a", "b"]);
        let router = |priority, peer: &Host| match carrier {
            "multicast" => Router::new(priority),
            "unicast" => Router::new(priority).peers(&[peer.v4()]),
            _ => Router::new(priority).ipv6(),
        };
        let address = |host: &Host| match carrier {
            "ipv6" => host.link_local(),
            _ => host.v4(),
        };
        let first = active(&lab, &a, &router(200, &b));
        let other = lab.agent(&b, &[router(100, &a)]);
        other.wait_state("web", "backup", LONG);
        for (host, agent, peer) in [(&a, &first, &b), (&b, &other, &a)] {
            let report = doctor(host, agent);
            let ways = report.path("vrrp", address(peer));
            assert_eq!(ways, [Some(true); 2], "{carrier}: {:#}", report.json);
            assert!(report.trouble().is_empty(), "{:#}", report.json);
        }
        other.wait_state("web", "backup", LONG);
        assert_eq!(other.instance("web")["counters"]["transitions"], 1);
        assert_eq!(other.status()["counters"]["errors"]["vrid-error"], 0);
    }
}

/// A firewall in each of the four places, and which way it closes.
pub fn one_way() {
    provide_nft();
    let pair = Pair::linked();
    let [a, b] = &pair.hosts;
    let [first, other] = &pair.agents;

    // The Active's own ears: the Backup answers, and is not heard.
    a.block_incoming_advertisements();
    let report = doctor(a, first);
    let finding = report.is_error("adverts-dropped-here");
    let what = finding["what"].as_str().unwrap_or_default();
    assert!(
        what.contains(&b.v4().to_string()) && what.contains("chain in of inet deaf"),
        "{what}"
    );
    assert_eq!(report.path("vrrp", b.v4()), [Some(false), Some(true)]);
    a.let_advertisements_in();

    // The Backup's mouth: nothing would leave when it is needed.
    b.block_advertisements();
    let report = doctor(b, other);
    let finding = report.is_error("adverts-do-not-leave");
    let what = finding["what"].as_str().unwrap_or_default();
    assert!(
        what.contains("Operation not permitted") && what.contains("chain out of inet blocked"),
        "{what}"
    );
    assert_eq!(report.path("vrrp", a.v4()), [Some(true), Some(false)]);
    let report = doctor(a, first);
    report.is_error("adverts-do-not-arrive");
    assert_eq!(report.path("vrrp", b.v4()), [Some(false), Some(true)]);
    b.let_advertisements_out();

    // The Active's ears again, as the Backup sees it: its questions are lost.
    a.block_incoming_advertisements();
    let report = doctor(b, other);
    report.is_error("adverts-not-heard-there");
    assert_eq!(report.path("vrrp", a.v4()), [Some(true), Some(false)]);
    a.let_advertisements_in();
    for report in pair.doctors() {
        assert!(report.trouble().is_empty(), "{:#}", report.json);
    }
}

/// `--silent` sends nothing at all.
pub fn silent() {
    let lab = Lab::new();
    let [a, b] = lab.hosts(["a", "b"]);
    let _first = active(&lab, &a, &Router::new(200));
    let other = lab.agent(&b, &[Router::new(100)]);
    other.wait_state("web", "backup", LONG);
    let runtime = other.runtime.display().to_string();
    let sent = |arguments: &[&str]| {
        let began = Instant::now();
        let mut all = vec!["--runtime-dir", &runtime];
        all.extend(arguments);
        let output = command(&b, &all).output().expect("it starts");
        let report = super::Report::of(&output);
        assert!(report.trouble().is_empty(), "{:#}", report.json);
        lab.observer.adverts(began, "b").len()
    };
    assert_eq!(sent(&[]), 3);
    assert_eq!(sent(&["--silent"]), 0);
}

/// Neither its state nor its log changes, whichever role it has.
pub fn keepalived() {
    for (theirs, ours) in [(200, 100), (100, 200)] {
        let lab = Lab::new();
        let [a, b] = lab.hosts(["a", "b"]);
        let began = Instant::now();
        let process = lab.keepalived(&b, &Router::new(theirs));
        let agent = settled(&lab, &a, began, theirs, ours);
        unmoved(&lab, &a, &agent, &[&process], theirs > ours);
    }
}

pub fn frr() {
    for (theirs, ours) in [(200, 100), (100, 200)] {
        let lab = Lab::new();
        let [a, b] = lab.hosts(["a", "b"]);
        let began = Instant::now();
        let frr = lab.frr(&b, &Router::new(theirs));
        let agent = settled(&lab, &a, began, theirs, ours);
        unmoved(&lab, &a, &agent, &[&frr.vrrpd, &frr.zebra], theirs > ours);
    }
}

fn settled(lab: &Lab, a: &Host, began: Instant, theirs: u8, ours: u8) -> crate::lab::agent::Agent {
    if theirs > ours {
        lab.observer.wait_advert(began, "b", theirs, LONG);
        let agent = lab.agent(a, &[Router::new(ours)]);
        agent.wait_state("web", "backup", LONG);
        return agent;
    }
    let agent = active(lab, a, &Router::new(ours));
    // Long enough for it to speak, had it not heard.
    std::thread::sleep(Router::new(theirs).down_interval() + ms(1000));
    agent
}

fn unmoved(
    lab: &Lab,
    a: &Host,
    agent: &crate::lab::agent::Agent,
    others: &[&Process],
    speaks: bool,
) {
    let logs = || others.iter().map(|one| one.log()).collect::<Vec<_>>();
    let (before, began) = (logs(), Instant::now());
    let report = doctor(a, agent);
    assert_eq!(logs(), before);
    let spoken = lab.observer.adverts(began, "b");
    assert_eq!(!spoken.is_empty(), speaks, "{spoken:?}");
    let asked = lab.observer.adverts(began, "a");
    let asked = asked.iter().filter(|(_, advert)| advert.vrid == 0);
    assert_eq!(asked.count(), 3, "{:#}", report.json);
    assert!(report.code < Some(2), "{:#}", report.json);
}
