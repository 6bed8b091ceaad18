//! Whom an instance speaks to, from where, and what it accepts.

use std::net::IpAddr;

use super::desk::{Desk, Rows, number};
use super::globals;
use super::node::{Node, scalar};
use super::tree::Row;
use crate::config::fault::Place;

const SENT_TTL: &str = "vipward always sends with a TTL of 255, and accepts what arrives with at least `ttl`: \
                        lower that by the routers between the hosts";

/// A number and the words that say it.
type Ttl = (u64, Vec<Place>);

/// `unicast_peers`, `source`, `ttl`.
pub(super) fn nodes(desk: &mut Desk, rows: &Rows, nodes: &mut Vec<Node>) {
    let mut lowest = None;
    let mut heads = Vec::new();
    let mut peers = Vec::new();
    for row in desk.items(rows, "unicast_peer") {
        desk.block_extra(row);
        let Ok(address) = row.keyword().parse::<IpAddr>() else {
            desk.left(row, "not an IP address: keepalived skips the line too");
            continue;
        };
        lowest_ttl(desk, row, &mut lowest);
        heads.extend(row.places());
        let node = Node::item(address.to_string());
        peers.push(node.from(row.places()).optional());
    }
    let unicast = !peers.is_empty();
    if unicast {
        nodes.push(Node::list("unicast_peers", peers).optional());
    }
    source(desk, rows, nodes);
    let ttl = ttl(desk, rows, lowest, unicast);
    if unicast && ttl.is_none() {
        desk.note_at(
            &heads,
            "keepalived accepts unicast advertisements of any TTL, vipward of 255 only: write `ttl: 254`, or \
             less, where there are routers between the hosts",
        );
    }
    if let Some((ttl, places)) = ttl.filter(|(ttl, _)| unicast && *ttl < 255) {
        let ttl = ttl.max(1).to_string();
        nodes.push(Node::key("ttl", ttl).from(places).optional());
    }
    if let Some((row, group)) = desk.value(rows, "mcast_dst_ip") {
        match matches!(group, "224.0.0.18" | "ff02::12") || unicast {
            true => desk.note(row, "the standard's own, or without effect in unicast"),
            false => desk.left(row, globals::GROUP),
        }
    }
}

/// `min_ttl` of one peer; the lowest of all counts.
fn lowest_ttl(desk: &mut Desk, row: &Row, lowest: &mut Option<Ttl>) {
    let mut words = row.arguments();
    while let Some((option, rest)) = words.split_first() {
        let value = rest.first().and_then(|word| number(&word.text));
        match (option.text.as_str(), value) {
            ("min_ttl", Some(ttl)) => {
                let low = lowest.as_ref().map_or(ttl, |(low, _)| (*low).min(ttl));
                *lowest = Some((low, row.places()));
            }
            ("max_ttl", Some(255)) => {}
            _ => desk.left(row, "vipward has a lowest `ttl` only"),
        }
        words = rest.get(1..).unwrap_or_default();
    }
}

/// What arrives with the TTL that our own peers send with is accepted.
fn ttl(desk: &mut Desk, rows: &Rows, lowest: Option<Ttl>, unicast: bool) -> Option<Ttl> {
    let sent = desk.value(rows, "unicast_ttl");
    match (lowest, sent) {
        (Some(lowest), sent) => {
            if let Some((row, _)) = sent {
                desk.note(row, SENT_TTL);
            }
            Some(lowest)
        }
        (None, Some((row, text))) if unicast => {
            desk.remark(row, SENT_TTL);
            number(text).map(|ttl| (ttl, row.places()))
        }
        (None, Some((row, _))) => {
            desk.note(row, "only for unicast");
            None
        }
        (None, None) => None,
    }
}

fn source(desk: &mut Desk, rows: &Rows, nodes: &mut Vec<Node>) {
    let unicast = desk.value(rows, "unicast_src_ip");
    let multicast = desk.value(rows, "mcast_src_ip");
    let (first, second) = (unicast.or(multicast), unicast.and(multicast));
    if let Some((row, _)) = second {
        desk.note(row, "the other source address counts");
    }
    if let Some((row, text)) = first {
        let node = Node::key("source", scalar(text));
        nodes.push(node.from(row.places()).optional());
    }
}
