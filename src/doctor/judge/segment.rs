//! Who else speaks VRRP where our instances listen, by what was heard.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use super::super::facts::{Facts, Speaker, Subject};
use super::super::finding::Finding;
use super::{SHOWN, printed, then_reloaded};
use crate::control::words;

/// For intervals that are shorter than a busy host's delays.
const LEAST_PATIENCE: Duration = Duration::from_millis(500);

/// Advertisements that make a speaker, not the last word of a hand-over.
pub(super) const STEADY: u32 = 2;

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings: Vec<Finding> = facts
        .subjects
        .iter()
        .flat_map(|subject| of_instance(facts, subject))
        .collect();
    findings.extend(several_active(facts));
    findings.extend(other_routers(facts));
    findings.extend(deaf(facts));
    findings
}

/// What other hosts said with the instance's VRID.
pub(super) fn foreign<'a>(
    facts: &'a Facts,
    subject: &'a Subject,
) -> impl Iterator<Item = &'a Speaker> {
    let all = facts.speakers(subject);
    all.filter(|speaker| !speaker.outgoing && !facts.is_own(speaker.source))
}

/// Whether a node of the cluster speaks from this address; nothing where that
/// cannot be known.
fn is_known(facts: &Facts, subject: &Subject, source: IpAddr) -> Option<bool> {
    if !subject.peers.is_empty() {
        return Some(subject.peers.contains(&source));
    }
    let link = facts.link.as_ref()?;
    let listed = link
        .nodes
        .values()
        .flatten()
        .any(|address| *address == source);
    let told = facts.answers().is_some_and(|answers| {
        let mut nodes = answers.after.nodes.iter();
        nodes.any(|node| node.has_address(&source.to_string()))
    });
    // Over IPv6 the source is link-local, and known once its node told it.
    let tellable = facts
        .answers()
        .is_some_and(|answers| answers.after.nodes.iter().all(|node| node.reachable));
    match (listed || told, source.is_ipv6()) {
        (true, _) => Some(true),
        (false, true) if !tellable => None,
        (false, _) => Some(false),
    }
}

fn of_instance(facts: &Facts, subject: &Subject) -> Vec<Finding> {
    let heard = foreign(facts, subject);
    heard
        .filter_map(|speaker| wrong(facts, subject, speaker))
        .collect()
}

/// The first thing that is wrong with what was heard.
fn wrong(facts: &Facts, subject: &Subject, speaker: &Speaker) -> Option<Finding> {
    let (name, source, vrid) = (&subject.name, speaker.source, subject.vrid);
    let strange = !speaker.addresses.is_empty()
        && !subject.advertised.is_empty()
        && !speaker
            .addresses
            .iter()
            .any(|address| subject.advertised.contains(address));
    if strange {
        let listed: Vec<String> = speaker.addresses.iter().map(ToString::to_string).collect();
        let what = format!(
            "another virtual router has VRID {vrid} on {}: {source} advertises {}",
            subject.interface,
            words::list(&listed, SHOWN)
        );
        let finding = Finding::error("vrid-clash", name, what)
            .why(
                "each takes the other's advertisements for its own: one of the two services \
                 loses its addresses",
            )
            .advise(format!(
                "give {name} another `vrid` on all its nodes, one that is not heard below, and on \
                 each:"
            ));
        return Some(then_reloaded(facts, finding));
    }
    if is_known(facts, subject, source) == Some(false) {
        let what = format!(
            "{source} advertises VRID {vrid} on {} with priority {}, and is no node of ours",
            subject.interface, speaker.priority
        );
        let finding = Finding::error("foreign-speaker", name, what)
            .why(
                "a multicast instance gives way to whoever has the higher priority; a unicast \
                 one ignores it, and both hold the addresses",
            )
            .advise(format!(
                "stop VRRP on {source}, or list it under `unicast_peers` or `cluster.nodes` \
                 (`auth` keeps strangers out for good), then:"
            ));
        return Some(then_reloaded(facts, finding));
    }
    if speaker.version != subject.version {
        let what = format!(
            "{source} speaks VRRP version {}, and this instance version {}",
            speaker.version, subject.version
        );
        let finding = Finding::error("version-mismatch", name, what)
            .why("each ignores the other, and both become Active")
            .advise(format!(
                "write `version: {}` on this side, or change the other, then:",
                speaker.version
            ));
        return Some(then_reloaded(facts, finding));
    }
    unsound(facts, subject, speaker).or_else(|| differing(facts, subject, speaker))
}

fn unsound(facts: &Facts, subject: &Subject, speaker: &Speaker) -> Option<Finding> {
    let (name, source) = (&subject.name, speaker.source);
    if speaker.hop_limit < subject.ttl {
        let what = format!(
            "the advertisements of {source} arrive with a TTL of {}, and {} is the least",
            speaker.hop_limit, subject.ttl
        );
        let finding = Finding::error("ttl", name, what)
            .why("they crossed a router or were forged, and are discarded")
            .advise("put both nodes on one segment; for routed unicast lower `ttl` on both, then:");
        return Some(then_reloaded(facts, finding));
    }
    if !speaker.checksum_sound {
        let what = format!("the advertisements of {source} have a wrong checksum");
        return Some(
            Finding::error("checksum", name, what)
                .why("they are discarded, and both hosts become Active")
                .run(format!("tcpdump -ni {} -vv proto 112", subject.interface))
                .run(format!("ethtool -K {} rx off", subject.interface))
                .advise("something on the way changes them: look at offloading (`ethtool -k`), NAT and tunnels"),
        );
    }
    // The agent tells better: it knows the keys.
    if facts.answers().is_none() && subject.enforces && !speaker.sealed {
        let what =
            format!("the advertisements of {source} carry no authentication, which is demanded");
        let finding = Finding::error("authentication-missing", name, what)
            .why("they will be refused, and both hosts become Active")
            .advise("on the other node: the same `auth` section and key files, then:");
        return Some(then_reloaded(facts, finding));
    }
    None
}

/// Legal, and wrong all the same. Where an agent runs it says so itself.
fn differing(facts: &Facts, subject: &Subject, speaker: &Speaker) -> Option<Finding> {
    if facts.answers().is_some() {
        return None;
    }
    let (name, source) = (&subject.name, speaker.source);
    if let Some(interval) = speaker
        .interval
        .filter(|interval| *interval != subject.interval)
    {
        let (theirs, ours) = (words::span(interval), words::span(subject.interval));
        let what = format!("{source} advertises every {theirs}, and this instance every {ours}");
        let finding = Finding::warning("drift", name, what).why(
            "the two nodes take over after different times; version 2 discards such advertisements",
        );
        return Some(printed(facts, finding).advise("make `advert_interval` agree on both nodes"));
    }
    let set = |addresses: &[IpAddr]| addresses.iter().copied().collect::<BTreeSet<_>>();
    let differ = !subject.advertised.is_empty()
        && !speaker.addresses.is_empty()
        && set(&speaker.addresses) != set(&subject.advertised);
    differ.then(|| {
        let show = |addresses: &[IpAddr]| {
            let all: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            words::list(&all, SHOWN)
        };
        let what = format!(
            "{source} advertises {}, and this instance {}",
            show(&speaker.addresses),
            show(&subject.advertised)
        );
        let finding = Finding::warning("drift", name, what)
            .why("after a failover some addresses are on no host");
        printed(facts, finding).advise("make `addresses` agree on both nodes")
    })
}

/// It was not relieved while this command listened.
fn goes_on(facts: &Facts, speaker: &Speaker) -> bool {
    let span = facts.hearing.as_ref().map(|hearing| hearing.span);
    let silent = span.unwrap_or_default().saturating_sub(speaker.last_at);
    let patience = speaker.interval.unwrap_or_default() * 2;
    silent <= patience.max(LEAST_PATIENCE)
}

/// More than one that goes on speaking.
fn several_active(facts: &Facts) -> Vec<Finding> {
    let all = facts.subjects.iter().filter_map(|subject| {
        let mut sources = BTreeSet::new();
        for speaker in facts.speakers(subject) {
            if speaker.on_wire >= STEADY && speaker.priority > 0 && goes_on(facts, speaker) {
                sources.insert(speaker.source);
            }
        }
        let listed = sources.iter().map(|source| match facts.is_own(*source) {
            true => format!("{source} (this host)"),
            false => source.to_string(),
        });
        let listed: Vec<String> = listed.into_iter().collect();
        (sources.len() > 1).then(|| {
            let what = format!(
                "{} advertise VRID {} at the same time: {}",
                words::count(sources.len(), "host", "hosts"),
                subject.vrid,
                words::list(&listed, SHOWN)
            );
            Finding::error("two-active", &subject.name, what)
                .why(
                    "each holds the addresses and answers for them: they do not hear, or do not \
                     believe, each other",
                )
                .run("vipward doctor")
                .advise("run it on each of them: what is found below, or there, says which way is closed")
        })
    });
    all.collect()
}

/// Other virtual routers of the segment, which are nobody's fault.
fn other_routers(facts: &Facts) -> Option<Finding> {
    let hearing = facts.hearing.as_ref().ok()?;
    let ours = |speaker: &Speaker| {
        facts
            .subjects
            .iter()
            .any(|subject| subject.interface == speaker.interface && subject.vrid == speaker.vrid)
    };
    let others = hearing.speakers.iter();
    let others = others.filter(|speaker| !speaker.outgoing && !ours(speaker));
    let listed: BTreeSet<String> = others
        .map(|speaker| {
            format!(
                "{} on {} ({})",
                speaker.vrid, speaker.interface, speaker.source
            )
        })
        .collect();
    let listed: Vec<String> = listed.into_iter().collect();
    (!listed.is_empty()).then(|| {
        let what = format!(
            "other virtual routers were heard, VRID {}",
            words::list(&listed, 16)
        );
        Finding::note("other-routers", "host", what).why(
            "these numbers are taken there; a mistyped `vrid` of the other node shows here, too",
        )
    })
}

fn deaf(facts: &Facts) -> Vec<Finding> {
    match &facts.hearing {
        // The lack of rights is a finding of its own.
        Err(_) if !facts.rights.missing.is_empty() => Vec::new(),
        Err(error) => vec![
            Finding::warning(
                "not-listened",
                "host",
                format!("nobody could listen: {error}"),
            )
            .why("who speaks on the segment is not known")
            .run("sudo vipward doctor"),
        ],
        Ok(hearing) => {
            let each = hearing.deaf.iter().filter(|(name, _)| {
                facts
                    .interface(**name)
                    .is_some_and(|interface| interface.carrier)
            });
            let each = each.map(|(name, why)| {
                Finding::warning("not-listened", name, format!("nobody could listen: {why}"))
                    .why("who speaks on the segment is not known")
                    .run(format!("ip -details link show dev {name}"))
            });
            each.collect()
        }
    }
}
