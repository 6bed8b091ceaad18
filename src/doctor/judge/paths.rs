//! Which paths to the peers work, in which direction, and how that is known.

use std::net::IpAddr;
use std::time::Duration;

use super::super::facts::{Agent, Echo, Facts, Passed, Subject};
use super::super::finding::{Direction, Finding, Path};
use super::firewall::{held_back, is_eaten, is_swallowed, meant_for, passed};
use crate::agent::ladder::group;
use crate::control::document::{Instance, Node};
use crate::control::nodes::NodeInstance;
use crate::control::words;

/// An obstacle of a node that is told of an Active, and does not hear it.
pub(super) const UNHEARD: &str = "split-heartbeat-path";
/// Of one that was handed over, or is being moved: it takes over all the same
/// when the other is lost.
const MOVED: [&str; 2] = ["yielded", "moving"];

/// Whether an obstacle is one of which nothing else tells.
pub(super) fn is_in_the_way(code: &str) -> bool {
    code != UNHEARD && !MOVED.contains(&code)
}

/// A peer of an instance.
struct Peer<'a> {
    address: IpAddr,
    node: Option<&'a Node>,
    told: Option<&'a NodeInstance>,
}

pub(super) fn paths(facts: &Facts) -> Vec<Path> {
    let mut paths = Vec::new();
    for subject in &facts.subjects {
        let peers = peers(facts, subject);
        if peers.is_empty() {
            paths.push(nobody(facts, subject));
        }
        for peer in peers {
            let (from_peer, to_peer) = both_ways(facts, subject, &peer);
            paths.push(Path {
                carries: "vrrp",
                instance: subject.name.clone(),
                node: peer.node.map(|node| node.name.clone()),
                address: peer.address.to_string(),
                from_peer,
                to_peer,
            });
        }
    }
    paths.extend(link(facts));
    paths.extend(echoes(facts));
    paths
}

/// Backups are silent: whether there are any is not known from here.
fn nobody(facts: &Facts, subject: &Subject) -> Path {
    let to_peer = match held_back(facts, subject, None) {
        Some(why) => Direction::fails(why),
        None => Direction::unknown("run `vipward doctor` on the other node: it says"),
    };
    Path {
        carries: "vrrp",
        instance: subject.name.clone(),
        node: None,
        address: String::new(),
        from_peer: Direction::unknown("nothing was heard; a Backup is silent"),
        to_peer,
    }
}

/// Those that are configured, told of, or were heard.
fn peers<'a>(facts: &'a Facts, subject: &Subject) -> Vec<Peer<'a>> {
    let nodes = facts
        .answers()
        .map_or(&[][..], |answers| &answers.after.nodes);
    let told = |node: &'a Node| {
        let told = node.instance(&subject.name)?;
        let source = told.source.as_deref()?.parse::<IpAddr>().ok()?;
        Some((source, node, told))
    };
    let told: Vec<_> = nodes.iter().filter_map(told).collect();
    let heard = meant_for(facts, subject).map(|speaker| speaker.source);
    let answered = passed(facts, subject)
        .filter(|passed| passed.answers_for.contains(&subject.vrid))
        .map(|passed| passed.source);
    let active = facts
        .told(subject)
        .and_then(|told| told.active_router.as_ref());
    let active = active.filter(|router| router.node.as_ref() != Some(&facts.node));
    let active = active.and_then(|router| router.address.parse().ok());
    let mut addresses: Vec<IpAddr> = subject.peers.clone();
    let found = told
        .iter()
        .map(|(source, ..)| *source)
        .chain(heard)
        .chain(answered)
        .chain(active);
    for address in found {
        if !addresses.contains(&address) && !facts.is_own(address) {
            addresses.push(address);
        }
    }
    let peer = |address: IpAddr| {
        let told = told.iter().find(|(source, ..)| *source == address);
        let by_address = || {
            nodes
                .iter()
                .find(|node| node.has_address(&address.to_string()))
        };
        Peer {
            address,
            node: told.map(|(_, node, _)| *node).or_else(by_address),
            told: told.map(|(.., told)| *told),
        }
    };
    addresses.into_iter().map(peer).collect()
}

/// Not older than an election takes.
fn is_fresh(here: &Instance, told: &NodeInstance) -> bool {
    told.known_age_ms <= here.active_down_interval_ms.max(2_000)
}

/// What is known of each way, and what follows for the other where a question
/// was asked by protocol 112.
fn both_ways(facts: &Facts, subject: &Subject, peer: &Peer) -> (Direction, Direction) {
    let from = adverts_from(facts, subject, peer);
    let to = adverts_to(facts, subject, peer);
    if !unanswered_question(facts, subject, peer) {
        return (from, to);
    }
    match (from.works, to.works) {
        (Some(true), None) => (
            from,
            Direction::fails("it answers no question of protocol 112"),
        ),
        (None, Some(true)) => (
            Direction::fails("it hears this node, and no answer of it arrives"),
            to,
        ),
        _ => (from, to),
    }
}

/// Asked, by a path that it would answer, and nothing came. Only of a node
/// that tells of itself it is known that it would.
fn unanswered_question(facts: &Facts, subject: &Subject, peer: &Peer) -> bool {
    let (Some(answers), Some(node), Some(told)) = (facts.answers(), peer.node, peer.told) else {
        return false;
    };
    let tests = facts.hearing.iter().flat_map(|hearing| &hearing.tests);
    let mut asked = tests.filter(|test| {
        test.interface == subject.interface
            && test.left > 0
            && (test.destination == peer.address || test.destination == group(subject.family))
    });
    let listens = matches!(told.state.as_str(), "active" | "backup")
        && node.reachable
        && node.version.as_ref() == Some(&answers.after.version)
        // Who is further away is not answered.
        && subject.ttl == u8::MAX;
    listens && asked.next().is_some() && answer(facts, subject, peer).is_none()
}

fn answer<'a>(facts: &'a Facts, subject: &'a Subject, peer: &Peer) -> Option<&'a Passed> {
    let mut all = passed(facts, subject);
    all.find(|passed| passed.source == peer.address && passed.answers_for.contains(&subject.vrid))
}

fn adverts_from(facts: &Facts, subject: &Subject, peer: &Peer) -> Direction {
    let mut heard = meant_for(facts, subject).filter(|speaker| speaker.source == peer.address);
    if let Some(speaker) = heard.next() {
        return match (is_eaten(speaker), speaker.delivered) {
            (true, _) => Direction::fails(format!(
                "{} arrived at {} and were dropped there",
                speaker.on_wire, subject.interface
            )),
            (false, 0) => Direction::unknown("too few were heard"),
            (false, delivered) => Direction::works(format!("{delivered} heard")),
        };
    }
    let mut tested = passed(facts, subject).filter(|passed| passed.source == peer.address);
    if let Some(passed) = tested.next() {
        if is_swallowed(passed) {
            return Direction::fails(format!(
                "{} questions or answers arrived at {} and were dropped there",
                passed.on_wire, subject.interface
            ));
        }
        if passed.delivered > 0 {
            return Direction::works(match passed.answers_for.is_empty() {
                true => "its questions of protocol 112 arrive",
                false => "answers by protocol 112",
            });
        }
    }
    let here = facts.told(subject);
    let router = here.and_then(|here| here.active_router.as_ref());
    let heard = router.filter(|router| router.address == peer.address.to_string());
    if let (Some(here), Some(router)) = (here, heard)
        && router.last_advert_age_ms <= here.active_down_interval_ms
    {
        let age = words::span(Duration::from_millis(router.last_advert_age_ms));
        return Direction::works(format!("heard {age} ago"));
    }
    match (here, peer.told) {
        (Some(here), Some(told)) if told.state == "active" && is_fresh(here, told) => {
            Direction::fails("it says that it is Active, and is not heard")
        }
        (_, Some(told)) => Direction::unknown(format!("it is {}, and silent", told.state)),
        (_, None) if facts.hearing.is_err() => Direction::unknown("nobody listened"),
        (_, None) => Direction::unknown("nothing heard; a Backup is silent"),
    }
}

fn adverts_to(facts: &Facts, subject: &Subject, peer: &Peer) -> Direction {
    if let Some(why) = held_back(facts, subject, Some(peer.address)) {
        return Direction::fails(why);
    }
    if answer(facts, subject, peer).is_some() {
        return Direction::works("it answers by protocol 112");
    }
    let Some(here) = facts.told(subject) else {
        return Direction::unknown(match &facts.agent {
            Agent::Answers(_) => "the agent does not have the instance",
            Agent::Absent(_) | Agent::Mute(_) | Agent::Forbidden(_) => "no agent speaks here",
        });
    };
    if here.state != "active" {
        return Direction::unknown(format!("this node is {}, and silent", here.state));
    }
    let Some(told) = peer.told.filter(|told| is_fresh(here, told)) else {
        return Direction::unknown("run `vipward doctor` there: it says");
    };
    if told
        .obstacles
        .iter()
        .any(|obstacle| obstacle.code == UNHEARD)
    {
        return Direction::fails("it says that none arrives");
    }
    let whom = told.active_router.as_ref();
    let ours = whom.is_some_and(|router| {
        let node = router.node.as_ref();
        node == Some(&facts.node)
            || router
                .address
                .parse()
                .is_ok_and(|address| facts.is_own(address))
    });
    match (ours, told.state.as_str()) {
        (true, _) => Direction::works("it takes this node for the Active"),
        (false, "active") => Direction::fails("it is Active itself, and does not hear this node"),
        (false, "backup") => Direction::fails("it knows of no Active"),
        (false, state) => Direction::unknown(format!("it is {state}, and does not listen")),
    }
}

fn link(facts: &Facts) -> Vec<Path> {
    let nodes = facts
        .answers()
        .map_or(&[][..], |answers| &answers.after.nodes);
    let mut paths = Vec::new();
    for node in nodes {
        for path in &node.paths {
            let from_peer = match (path.reachable, path.last_heard_age_ms) {
                (true, _) => Direction::works("heard"),
                (false, Some(age)) => Direction::fails(format!(
                    "silent for {}",
                    words::span(Duration::from_millis(age))
                )),
                (false, None) => Direction::fails("never heard"),
            };
            let to_peer = match (path.heard_there, &path.error) {
                (Some(true), _) => Direction::works("it says that it hears this node"),
                (Some(false), _) => Direction::fails("it says that it does not hear this node"),
                (None, Some(error)) => Direction::fails(format!("cannot be sent: {error}")),
                (None, None) => Direction::unknown("it tells nothing"),
            };
            paths.push(Path {
                carries: "peer-link",
                instance: String::new(),
                node: Some(node.name.clone()),
                address: path.address.clone(),
                from_peer,
                to_peer,
            });
        }
    }
    paths
}

/// What an echo shows is both ways, of another protocol.
fn echoes(facts: &Facts) -> Vec<Path> {
    let nodes = facts
        .answers()
        .map_or(&[][..], |answers| &answers.after.nodes);
    let all = facts.echoes.iter().map(|(address, echo)| {
        let direction = match echo {
            Echo::Answered => Direction::works("answers ping"),
            Echo::Silent => Direction::unknown("no answer to ping"),
            Echo::Failed(error) => Direction::unknown(error.clone()),
        };
        let told = nodes
            .iter()
            .find(|node| node.has_address(&address.to_string()));
        let told = told.map(|node| node.name.clone());
        Path {
            carries: "echo",
            instance: String::new(),
            node: told.or_else(|| configured(facts, *address)),
            address: address.to_string(),
            from_peer: direction.clone(),
            to_peer: direction,
        }
    });
    all.collect()
}

/// Whose address it is by the configuration.
fn configured(facts: &Facts, address: IpAddr) -> Option<String> {
    let nodes = facts.link.as_ref()?.nodes.iter();
    let mut owners = nodes.filter(|(_, addresses)| addresses.contains(&address));
    owners.next().map(|(name, _)| name.to_string())
}

/// The peer link has findings of its own, and so has what is dropped here.
pub(super) fn judge(facts: &Facts, paths: &[Path]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for path in paths {
        let whose = match &path.node {
            Some(node) => format!("{node} ({})", path.address),
            None => path.address.clone(),
        };
        if path.carries == "vrrp" {
            findings.extend(closed(facts, path, &whose));
        }
        if path.carries == "echo"
            && let Some(echo) = path
                .address
                .parse()
                .ok()
                .and_then(|at| facts.echoes.get(&at))
        {
            findings.extend(unanswered(path, &whose, echo, paths));
        }
    }
    findings
}

fn closed(facts: &Facts, path: &Path, whose: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let name = &path.instance;
    let subject = facts.subjects.iter().find(|subject| subject.name == *name);
    let dropped_here = subject.is_some_and(|subject| {
        let mut heard = meant_for(facts, subject);
        let mut tested = passed(facts, subject);
        heard.any(|speaker| speaker.source.to_string() == path.address && is_eaten(speaker))
            || tested
                .any(|passed| passed.source.to_string() == path.address && is_swallowed(passed))
    });
    let interface = subject
        .map(|subject| subject.interface.to_string())
        .unwrap_or_default();
    let finding = |code, what: String, advice: String| {
        Finding::error(code, name, what)
            .why("both hosts may become Active; the peer link alone keeps them apart")
            .run(format!("tcpdump -ni {interface} proto 112"))
            .advise(advice)
    };
    if path.from_peer.works == Some(false) && !dropped_here {
        findings.push(finding(
            "adverts-do-not-arrive",
            format!(
                "the advertisements of {whose} do not arrive: {}",
                path.from_peer.text
            ),
            format!(
                "nothing came to {interface}: let IP protocol 112 leave there ({whose}) and pass \
                 between; a switch with IGMP snooping may need a querier"
            ),
        ));
    }
    let address = path.address.parse().ok();
    // What does not even leave has a finding of its own.
    let held = subject.is_some_and(|subject| held_back(facts, subject, address).is_some());
    if path.to_peer.works == Some(false) && !held {
        findings.push(finding(
            "adverts-not-heard-there",
            format!(
                "this node's advertisements do not reach {whose}: {}",
                path.to_peer.text
            ),
            format!(
                "if they leave here, run `vipward doctor` on {whose}: it says whether they arrive \
                 and are dropped there"
            ),
        ));
    }
    findings
}

/// A ping that fails is no proof: many hosts refuse it.
fn unanswered(path: &Path, whose: &str, echo: &Echo, paths: &[Path]) -> Option<Finding> {
    // The peer link has findings of its own.
    let told = |other: &Path| {
        let works = [&other.from_peer, &other.to_peer].map(|way| way.works);
        other.carries == "peer-link" || (other.carries == "vrrp" && works.contains(&Some(true)))
    };
    let mut same = paths.iter().filter(|other| other.address == path.address);
    let told = same.any(told);
    let what = match echo {
        Echo::Answered => return None,
        _ if told => return None,
        Echo::Silent => format!("{whose} does not answer ping, and nothing else was heard of it"),
        Echo::Failed(error) => format!("{whose} could not be asked for an echo: {error}"),
    };
    Some(
        Finding::warning("peer-silent", path.node.as_deref().unwrap_or("host"), what)
            .why("it may be off, or not reachable from here; a host that refuses ping looks the same")
            .run(format!("ip route get {}", path.address))
            .run(format!("ip neighbour show {}", path.address)),
    )
}
