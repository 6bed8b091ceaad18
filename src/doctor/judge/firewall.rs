//! This host's firewall: what it was seen to drop, and what its rules say.

use std::net::IpAddr;

use super::super::facts::{Facts, Passed, Speaker, Subject};
use super::super::finding::Finding;
use super::super::rules::{Fate, Hook, Packet};
use super::segment::{STEADY, foreign};
use crate::agent::ladder::group;
use crate::agent::values::Family;
use crate::control::document::Document;
use crate::control::words;

const VRRP: u8 = 112;
const UDP: u8 = 17;

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for subject in &facts.subjects {
        findings.extend(incoming(facts, subject));
        findings.extend(outgoing(facts, subject));
    }
    findings.extend(peer_link(facts));
    findings.extend(unread(facts));
    findings
}

/// Those of a peer that the instance should have heard.
pub(super) fn meant_for<'a>(
    facts: &'a Facts,
    subject: &'a Subject,
) -> impl Iterator<Item = &'a Speaker> {
    foreign(facts, subject).filter(|speaker| match subject.peers.is_empty() {
        true => speaker.destination == group(subject.family),
        false => subject.peers.contains(&speaker.source) && facts.is_own(speaker.destination),
    })
}

/// Questions and answers of protocol 112 that came the way its advertisements
/// do.
pub(super) fn passed<'a>(
    facts: &'a Facts,
    subject: &'a Subject,
) -> impl Iterator<Item = &'a Passed> {
    let all = facts.hearing.iter().flat_map(|hearing| &hearing.passed);
    all.filter(|passed| {
        passed.interface == subject.interface
            && Family::of(passed.source) == subject.family
            && !facts.is_own(passed.source)
            && match subject.peers.is_empty() {
                true => passed.destination == group(subject.family),
                false => subject.peers.contains(&passed.source) && facts.is_own(passed.destination),
            }
    })
}

/// Why a question to `peer` did not even leave this host; to any where none is
/// named.
pub(super) fn held_back(facts: &Facts, subject: &Subject, peer: Option<IpAddr>) -> Option<String> {
    let tests = facts.hearing.iter().flat_map(|hearing| &hearing.tests);
    let mut tests = tests.filter(|test| {
        let to_it = peer.is_none_or(|peer| test.destination == peer);
        let asked = match subject.peers.as_slice() {
            [] => test.destination == group(subject.family),
            peers => peers.contains(&test.destination) && to_it,
        };
        test.interface == subject.interface && asked
    });
    tests.find_map(|test| match (test.left, &test.error) {
        (0, Some(error)) => Some(format!("a question could not be sent: {error}")),
        (0, None) if test.sent > 0 => Some(format!(
            "{} were sent and none left {}",
            words::count(
                usize::try_from(test.sent).unwrap_or(usize::MAX),
                "question",
                "questions"
            ),
            test.interface
        )),
        (_, _) => None,
    })
}

fn adverts(facts: &Facts, subject: &Subject, hook: Hook) -> Packet {
    let peer = match subject.peers.as_slice() {
        [peer] => Some(*peer),
        _ => None,
    };
    let own = subject.source.or_else(|| own_address(facts, subject));
    let (source, destination) = match (hook, subject.peers.is_empty()) {
        (Hook::Incoming, true) => (None, Some(group(subject.family))),
        (Hook::Incoming, false) => (peer, own),
        (Hook::Outgoing | Hook::Other, true) => (own, Some(group(subject.family))),
        (Hook::Outgoing | Hook::Other, false) => (own, peer),
    };
    Packet {
        hook,
        family: subject.family,
        protocol: VRRP,
        interface: subject.interface.to_string(),
        source,
        destination,
        destination_port: None,
        answers: false,
    }
}

fn own_address(facts: &Facts, subject: &Subject) -> Option<IpAddr> {
    let interface = facts.interface(subject.interface)?;
    let mut all = interface.state.addresses.iter();
    let own = all.find(|own| {
        Family::of(own.network.addr()) == subject.family
            && !own.ours
            && !subject.is_virtual(own.network.addr())
    });
    own.map(|own| own.network.addr())
}

/// The first rule that drops it, or may.
fn fate(facts: &Facts, packet: &Packet) -> Fate {
    let fates = facts.firewall.rulesets.iter();
    let fates = fates.map(|ruleset| ruleset.fate(packet));
    fates.fold(Fate::Passes, |so_far, this| match (&so_far, &this) {
        (Fate::Dropped(_), _) | (_, Fate::Passes) => so_far,
        (Fate::MayBeDropped(_), Fate::MayBeDropped(_)) => so_far,
        (Fate::Passes | Fate::MayBeDropped(_), _) => this,
    })
}

/// `; it may be RULE`.
fn suspect(fate: &Fate) -> String {
    match fate {
        Fate::Passes => String::new(),
        Fate::MayBeDropped(place) => format!("; it may be {place}"),
        Fate::Dropped(place) => format!("; it is {place}"),
    }
}

/// With a command for the firewall at hand.
fn mended(finding: Finding, packet: &Packet, fate: &Fate) -> Finding {
    let interface = &packet.interface;
    let place = match fate {
        Fate::Passes => {
            return finding
                .run("nft list ruleset")
                .run("iptables-save")
                .advise(format!("let IP protocol 112 pass on {interface}"));
        }
        Fate::MayBeDropped(place) | Fate::Dropped(place) => place,
    };
    let (chain, incoming) = (&place.chain, packet.hook == Hook::Incoming);
    let command = match (place.table.split_once(' '), packet.destination_port) {
        (Some((tool @ ("iptables" | "ip6tables"), table)), port) => {
            let what = match port {
                Some(port) => format!("-p udp --dport {port}"),
                None => "-p 112".to_owned(),
            };
            let letter = if incoming { "-i" } else { "-o" };
            format!("{tool} -t {table} -I {chain} 1 {letter} {interface} {what} -j ACCEPT")
        }
        (_, port) => {
            let what = match port {
                Some(port) => format!("udp dport {port}"),
                None => "meta l4proto 112".to_owned(),
            };
            let key = if incoming { "iifname" } else { "oifname" };
            let table = &place.table;
            format!("nft insert rule {table} {chain} {key} {interface} {what} accept")
        }
    };
    finding
        .run(command)
        .advise("write the same into the firewall's own configuration, so that it lasts")
}

/// Packets that came to the interface and to no program.
pub(super) fn is_eaten(speaker: &Speaker) -> bool {
    speaker.on_wire >= STEADY && speaker.delivered == 0
}

/// The same of questions and answers.
pub(super) fn is_swallowed(passed: &Passed) -> bool {
    passed.on_wire >= STEADY && passed.delivered == 0
}

/// What a peer sent and no program heard: whose, how many, of what.
fn swallowed(facts: &Facts, subject: &Subject) -> Vec<(IpAddr, u32, [&'static str; 2])> {
    let mut all: Vec<(IpAddr, u32, [&str; 2])> = meant_for(facts, subject)
        .filter(|speaker| is_eaten(speaker))
        .map(|one| (one.source, one.on_wire, ["advertisement", "advertisements"]))
        .collect();
    for passed in passed(facts, subject).filter(|passed| is_swallowed(passed)) {
        if !all.iter().any(|(source, ..)| *source == passed.source) {
            let nouns = ["packet of protocol 112", "packets of protocol 112"];
            all.push((passed.source, passed.on_wire, nouns));
        }
    }
    all
}

fn incoming(facts: &Facts, subject: &Subject) -> Vec<Finding> {
    let packet = adverts(facts, subject, Hook::Incoming);
    let fate = fate(facts, &packet);
    let mut findings = Vec::new();
    let mut passes = told_to_arrive(facts, subject);
    passes |= meant_for(facts, subject).any(|speaker| speaker.delivered > 0);
    passes |= self::passed(facts, subject).any(|passed| passed.delivered > 0);
    for (source, on_wire, [one, many]) in swallowed(facts, subject) {
        let filtered = facts.interface(subject.interface).is_some_and(|interface| {
            interface.settings.rp_filter == 1 && facts.ways.get(&source) != Some(&subject.interface)
        });
        if filtered {
            continue;
        }
        let rule = suspect(&fate);
        let what = format!(
            "{} of {source} reached {} and none of them a program: this host's firewall drops \
             them{rule}",
            words::count(usize::try_from(on_wire).unwrap_or(usize::MAX), one, many),
            subject.interface
        );
        let finding = Finding::error("adverts-dropped-here", &subject.name, what)
            .why("this node cannot hear that the other is Active, and becomes Active as well");
        findings.push(mended(finding, &packet, &fate));
    }
    if findings.is_empty() && !passes {
        findings.extend(by_rule(subject, &packet, &fate));
    }
    findings
}

/// The agent hears a peer now.
fn told_to_arrive(facts: &Facts, subject: &Subject) -> bool {
    let told = facts.told(subject);
    let router = told.and_then(|told| told.active_router.as_ref());
    router.is_some_and(|router| {
        router.node.as_ref() != Some(&facts.node) && router.last_advert_age_ms < 3_000
    })
}

fn outgoing(facts: &Facts, subject: &Subject) -> Vec<Finding> {
    let packet = adverts(facts, subject, Hook::Outgoing);
    let fate = fate(facts, &packet);
    let tests = facts.hearing.iter().flat_map(|hearing| &hearing.tests);
    let mut tests = tests.filter(|test| test.interface == subject.interface);
    let sent = facts.speakers(subject).any(|speaker| speaker.outgoing)
        || tests.any(|test| test.left > 0 && Family::of(test.source) == subject.family);
    if let Some(finding) = unsent(facts, subject, &fate) {
        return vec![mended(finding, &packet, &fate)];
    }
    match sent {
        true => Vec::new(),
        false => by_rule(subject, &packet, &fate).into_iter().collect(),
    }
}

/// An Active that nobody can hear, all through the listening.
fn unsent(facts: &Facts, subject: &Subject, fate: &Fate) -> Option<Finding> {
    let rule = suspect(fate);
    let finding = |what: String| {
        Finding::error("adverts-do-not-leave", &subject.name, what)
            .why("the other nodes hear nobody, and become Active as well")
    };
    if let Some(why) = held_back(facts, subject, None) {
        let what = format!(
            "packets of protocol 112 do not leave {}: {why}{rule}",
            subject.interface
        );
        return Some(finding(what));
    }
    let answers = facts.answers()?;
    let hearing = facts.hearing.as_ref().ok()?;
    let active = |document: &Document| {
        let found = document.instance(&subject.name);
        found.is_some_and(|found| found.state == "active" && found.virtual_mac.is_none())
    };
    let patient = hearing.span >= subject.interval * 2;
    let heard = facts.speakers(subject).any(|speaker| speaker.outgoing);
    let deaf = hearing.deaf.contains_key(&subject.interface);
    let all_along = active(&answers.before) && active(&answers.after) && patient;
    if !all_along || heard || deaf {
        return None;
    }
    let what = format!(
        "this node is Active, and none of its advertisements left {} within {}{rule}",
        subject.interface,
        words::span(hearing.span)
    );
    Some(finding(what))
}

/// What the rules alone say; nothing was seen.
fn by_rule(subject: &Subject, packet: &Packet, fate: &Fate) -> Option<Finding> {
    let direction = match packet.hook {
        Hook::Incoming => "the advertisements of other nodes",
        Hook::Outgoing | Hook::Other => "this node's advertisements",
    };
    let finding = match fate {
        Fate::Passes => return None,
        Fate::Dropped(rule) => Finding::error(
            "firewall-drops-vrrp",
            &subject.name,
            format!("a rule drops {direction}: {rule}"),
        ),
        Fate::MayBeDropped(rule) => Finding::warning(
            "firewall-may-drop-vrrp",
            &subject.name,
            format!("a rule may drop {direction}: {rule}"),
        ),
    };
    let finding = finding.why("a node that is not heard, or hears nobody, leaves two hosts Active");
    Some(mended(finding, packet, fate))
}

/// The peer link's port, where no agent tells that its paths work.
fn peer_link(facts: &Facts) -> Vec<Finding> {
    let Some(link) = &facts.link else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    let others = link.nodes.iter().filter(|(name, _)| **name != link.own);
    for (name, addresses) in others {
        let told = facts.answers().and_then(|answers| {
            let mut nodes = answers.after.nodes.iter();
            nodes.find(|node| node.name == name.as_str())
        });
        for address in addresses {
            let path = told.and_then(|node| {
                let mut paths = node.paths.iter();
                paths.find(|path| path.address == address.to_string())
            });
            let works = [
                (Hook::Incoming, path.map(|path| path.reachable)),
                (Hook::Outgoing, path.and_then(|path| path.heard_there)),
            ];
            for (hook, works) in works {
                if works != Some(true) {
                    findings.extend(link_rule(facts, name.as_str(), *address, hook));
                }
            }
        }
    }
    findings
}

fn link_rule(facts: &Facts, node: &str, address: IpAddr, hook: Hook) -> Option<Finding> {
    let port = facts.link.as_ref()?.listen.port();
    let interface = facts.ways.get(&address)?;
    let incoming = hook == Hook::Incoming;
    let packet = Packet {
        hook,
        family: Family::of(address),
        protocol: UDP,
        interface: interface.to_string(),
        source: Some(address).filter(|_| incoming),
        destination: Some(address).filter(|_| !incoming),
        destination_port: Some(port),
        answers: true,
    };
    let direction = if incoming { "from" } else { "to" };
    let fate = fate(facts, &packet);
    let finding = match &fate {
        Fate::Passes => return None,
        Fate::Dropped(rule) => Finding::error(
            "firewall-drops-peer-link",
            node,
            format!("a rule drops the peer link {direction} {address}, UDP port {port}: {rule}"),
        ),
        Fate::MayBeDropped(rule) => Finding::warning(
            "firewall-may-drop-peer-link",
            node,
            format!("a rule may drop the peer link {direction} {address}, UDP port {port}: {rule}"),
        ),
    };
    let finding = finding.why(
        "without the peer link nodes do not know of each other, and planned moves lose packets",
    );
    Some(mended(finding, &packet, &fate))
}

fn unread(facts: &Facts) -> Option<Finding> {
    let unread = &facts.firewall.unread;
    (!unread.is_empty() && facts.rights.missing.is_empty()).then(|| {
        let what = format!(
            "the firewall's rules could not be read: {}",
            unread.join("; ")
        );
        let finding = Finding::note("firewall-unread", "host", what)
            .why("what they drop shows only where somebody speaks while this command listens");
        match unread.iter().any(|why| why.contains("is installed")) {
            true => finding.advise("install nftables, whose `nft` reads them"),
            false => finding.run("nft list ruleset").run("iptables-save"),
        }
    })
}
