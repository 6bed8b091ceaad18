//! The members of a group, or one instance alone, as one thing that moves.

use std::time::Duration;

use crate::agent::cluster::message::{Fitness, InstanceNews};
use crate::agent::digest::fnv1a;
use crate::agent::jobs::HookKind;
use crate::agent::router::VirtualRouter;
use crate::agent::status::StateName;
use crate::agent::values::NodeName;
use crate::agent::world::Turn;

pub(super) type Members<'m, 'r> = &'m mut [&'r mut VirtualRouter];

/// Of the names of those that move, in order: both nodes must mean the same.
pub(super) fn digest(members: &[&mut VirtualRouter]) -> u64 {
    let mut names: Vec<String> = members
        .iter()
        .map(|member| format!("{}\n", member.settings().name))
        .collect();
    names.sort_unstable();
    fnv1a(names.concat().into_bytes())
}

/// What the members' runs of a hook may take; they run side by side.
pub(super) fn hook_time(members: &[&mut VirtualRouter], hook: HookKind) -> Duration {
    let times = members.iter().filter_map(|member| member.hook_time(hook));
    times.max().unwrap_or_default()
}

/// Why the unit would not take over from `node`, in words.
pub(super) fn declines(
    turn: &Turn<'_>,
    members: &[&mut VirtualRouter],
    node: &NodeName,
    theirs: u64,
) -> Option<String> {
    if theirs != digest(members) {
        return Some("its group has other members there".to_owned());
    }
    members.iter().find_map(|m| m.declines(turn, node))
}

pub(super) fn is_whole(turn: &Turn<'_>, members: &[&mut VirtualRouter]) -> bool {
    members.iter().all(|member| member.is_whole(turn.now))
}

/// One that no check warns of.
pub(super) fn unwarned_successor(
    turn: &Turn<'_>,
    members: &[&mut VirtualRouter],
) -> Option<NodeName> {
    let warned = |node: &NodeName| {
        members.iter().any(|member| {
            let peer = turn.world.nodes.get(node);
            let news = peer.and_then(|peer| peer.instance(&member.settings().name));
            let mut told = news.into_iter().flat_map(|news| &news.obstacles);
            told.any(|one| one.code == "early-warning")
        })
    };
    best(turn, members, |node| !warned(node)).ok()
}

/// The node that would be the best successor, or why none would be.
pub(super) fn successor(
    turn: &Turn<'_>,
    members: &[&mut VirtualRouter],
) -> Result<NodeName, String> {
    best(turn, members, |_| true)
}

fn best(
    turn: &Turn<'_>,
    members: &[&mut VirtualRouter],
    wanted: impl Fn(&NodeName) -> bool,
) -> Result<NodeName, String> {
    let mut best = None;
    let mut reasons = Vec::new();
    for (node, _) in turn.world.nodes.iter().filter(|(node, _)| wanted(node)) {
        match able(turn, members, node) {
            Ok(rank) if best.as_ref().is_none_or(|(known, _)| *known < rank) => {
                best = Some((rank, node.clone()));
            }
            Ok(_) => {}
            Err(why) => reasons.push(why),
        }
    }
    best.map(|(_, node)| node).ok_or_else(|| reasons.join("; "))
}

/// How good a successor a node is, by what it tells; or why it is none.
pub(super) fn able(
    turn: &Turn<'_>,
    members: &[&mut VirtualRouter],
    node: &NodeName,
) -> Result<(u8, Option<std::net::IpAddr>), String> {
    let Some(peer) = turn.world.nodes.get(node) else {
        return Err(format!("{node} is no node of this cluster"));
    };
    if !peer.is_reachable() {
        return Err(format!("{node} is not heard over the peer link"));
    }
    let mut rank = None;
    for member in members {
        let name = &member.settings().name;
        let Some(news) = peer.instance_now(turn.now, name) else {
            return Err(format!("{node} tells nothing of {name}"));
        };
        if news.state != StateName::Backup || news.fitness != Fitness::Able {
            return Err(format!(
                "{node}: {name} is {}{}",
                news.state,
                first_reason(news)
            ));
        }
        let theirs = (news.priority, news.source);
        rank = Some(rank.map_or(theirs, |rank: (u8, _)| rank.min(theirs)));
    }
    rank.ok_or_else(|| "nothing to move".to_owned())
}

fn first_reason(news: &InstanceNews) -> String {
    let first = news.obstacles.first();
    first.map_or(String::new(), |one| {
        format!(" ({}: {})", one.source, one.text)
    })
}

/// A third node that may take over from the successor at once.
pub(super) fn rival(
    turn: &Turn<'_>,
    members: &[&mut VirtualRouter],
    successor: &NodeName,
) -> Option<NodeName> {
    members.iter().find_map(|member| {
        let name = &member.settings().name;
        let told = || turn.world.nodes.tell(turn.now, name);
        let (_, chosen) = told().find(|(node, _)| *node == successor)?;
        let third = told().find(|(node, news)| {
            *node != successor && news.is_candidate() && news.priority > chosen.priority
        });
        third.map(|(node, _)| node.clone())
    })
}
