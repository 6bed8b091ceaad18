//! Of the other nodes and the peer link. Without a cluster there is nothing.

use super::exposition::Exposition;
use crate::agent::cluster::Refusal;
use crate::agent::status::Status;
use crate::agent::time::Instant;

pub(super) fn write(out: &mut Exposition, status: &Status, now: Instant) {
    if status.nodes.is_empty() {
        return;
    }
    let mut reachable = out.gauge(
        "vipward_peer_reachable",
        "Whether the node is heard over the peer link, by some path.",
    );
    for node in &status.nodes {
        reachable.flag(&[("peer", node.name.as_str())], node.reachable);
    }
    let mut age = out.gauge(
        "vipward_peer_last_heard_age_seconds",
        "Since the node was heard over the peer link. Not there while it never was.",
    );
    for node in &status.nodes {
        if let Some(at) = node.last_heard {
            age.seconds(&[("peer", node.name.as_str())], now.since(at));
        }
    }
    paths(out, status, now);
    let mut discarded = out.counter(
        "vipward_peer_link_discarded_total",
        "Datagrams of the peer link that were not believed, by the reason.",
    );
    for why in Refusal::ALL {
        let count = status.link_refusals.get(&why).copied().unwrap_or(0);
        discarded.sample(&[("reason", why.name())], count);
    }
}

fn paths(out: &mut Exposition, status: &Status, now: Instant) {
    let paths = || {
        status.nodes.iter().flat_map(|node| {
            let paths = node.paths.iter();
            paths.map(|path| (node.name.as_str(), path.address.to_string(), path))
        })
    };
    let mut reachable = out.gauge(
        "vipward_peer_path_reachable",
        "Whether the node is heard at this address of its.",
    );
    for (peer, address, path) in paths() {
        reachable.flag(&[("peer", peer), ("address", &address)], path.reachable);
    }
    let mut failing = out.gauge(
        "vipward_peer_path_send_failing",
        "Whether the last message to this address could not be sent.",
    );
    for (peer, address, path) in paths() {
        failing.flag(
            &[("peer", peer), ("address", &address)],
            path.error.is_some(),
        );
    }
    let mut age = out.gauge(
        "vipward_peer_path_last_heard_age_seconds",
        "Since the node was heard at this address. Not there while it never was.",
    );
    for (peer, address, path) in paths() {
        if let Some(at) = path.last_heard {
            age.seconds(&[("peer", peer), ("address", &address)], now.since(at));
        }
    }
}
