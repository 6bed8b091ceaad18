//! `virtual_ipaddress` and `virtual_ipaddress_excluded`.

use std::net::IpAddr;

use super::desk::{Desk, number};
use super::node::{Node, flow_map, flow_scalar};
use super::tree::Row;
use super::words::Word;
use crate::agent::values::Family;
use crate::config::fault::Place;

const NOT_AN_ADDRESS: &str = "not an IP address: keepalived skips the line too";

/// Options that take a word with them.
const WITH_VALUE: [&str; 8] = [
    "dev",
    "label",
    "brd",
    "broadcast",
    "scope",
    "peer",
    "preferred_lft",
    "track_group",
];

/// What one line says.
struct Address {
    address: IpAddr,
    prefix: u8,
    interface: Option<String>,
    label: Option<String>,
    source_address: bool,
    places: Vec<Place>,
}

/// Where an instance holds addresses.
pub(super) struct Holder<'a> {
    pub interface: &'a str,
    /// Of the first address: keepalived ignores the others'.
    pub family: Option<Family>,
}

/// The items of `addresses`; `advertised` says whether the advertisements list
/// them.
pub(super) fn items(
    desk: &mut Desk,
    rows: &[&Row],
    holder: &mut Holder,
    advertised: bool,
) -> Vec<Node> {
    let mut nodes = Vec::new();
    for row in rows {
        desk.block_extra(row);
        let Some(address) = one(desk, row) else {
            continue;
        };
        let family = Family::of(address.address);
        if advertised && *holder.family.get_or_insert(family) != family {
            desk.left(
                row,
                "keepalived ignores it, because the first address is of the other family: with \
                 vipward it may ride along, so add it to `addresses` if it is wanted",
            );
            continue;
        }
        remarks(desk, row, &address);
        nodes.push(node(&address, holder, advertised));
    }
    nodes
}

fn remarks(desk: &mut Desk, row: &Row, address: &Address) {
    if address.address.is_ipv6() && address.prefix < 128 && !address.source_address {
        desk.remark(
            row,
            "keepalived lets the host's own connections start from an IPv6 address that is no /128; \
             here they do not: write `source_address: true` to have it so",
        );
    }
}

fn node(address: &Address, holder: &Holder, advertised: bool) -> Node {
    let network = format!("{}/{}", address.address, address.prefix);
    let mut entries = vec![("address", flow_scalar(&network))];
    let other = address.interface.as_deref();
    if let Some(interface) = other.filter(|name| *name != holder.interface) {
        entries.push(("interface", flow_scalar(interface)));
    }
    if let Some(label) = &address.label {
        entries.push(("label", flow_scalar(label)));
    }
    if !advertised
        && holder
            .family
            .is_none_or(|family| family == Family::of(address.address))
    {
        entries.push(("advertise", "false".to_owned()));
    }
    if address.source_address {
        entries.push(("source_address", "true".to_owned()));
    }
    let text = match entries.len() {
        1 => super::node::scalar(&network),
        _ => flow_map(&entries),
    };
    Node::item(text)
        .from(address.places.iter().copied())
        .optional()
}

fn one(desk: &mut Desk, row: &Row) -> Option<Address> {
    let parsed = row.words.first().and_then(|first| address(&first.text));
    let Some((ip, prefix)) = parsed else {
        desk.left(row, NOT_AN_ADDRESS);
        return None;
    };
    let first = row.words.first()?;
    let longest = if ip.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix {
        None => longest,
        Some(text) => match number(text).and_then(|prefix| u8::try_from(prefix).ok()) {
            Some(prefix) if prefix <= longest => prefix,
            _ => {
                desk.note_at(
                    &first.places,
                    format!("no prefix length: keepalived takes /{longest}, and so it is here"),
                );
                longest
            }
        },
    };
    let mut address = Address {
        address: ip,
        prefix,
        interface: None,
        label: None,
        source_address: false,
        places: first.places.clone(),
    };
    let mut words = row.arguments();
    while let Some((option, rest)) = words.split_first() {
        let with_value = WITH_VALUE.contains(&option.text.as_str());
        let (value, rest) = match rest.split_first() {
            Some((value, rest)) if with_value => (Some(value), rest),
            _ => (None, rest),
        };
        option_of(desk, &mut address, option, value);
        words = rest;
    }
    Some(address)
}

/// An address and, behind a `/`, what should be its prefix length.
fn address(text: &str) -> Option<(IpAddr, Option<&str>)> {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    Some((address.parse().ok()?, prefix))
}

fn option_of(desk: &mut Desk, address: &mut Address, option: &Word, value: Option<&Word>) {
    let places: Vec<Place> = [Some(option), value]
        .into_iter()
        .flatten()
        .flat_map(|word| word.places.iter().copied())
        .collect();
    let v4 = address.address.is_ipv4();
    match (option.text.as_str(), value.map(|word| word.text.as_str())) {
        ("dev", Some(name)) => {
            address.interface = Some(name.to_owned());
            address.places.extend(places);
        }
        ("label", Some(label)) if v4 => {
            address.label = Some(label.to_owned());
            address.places.extend(places);
        }
        ("preferred_lft", Some("forever")) if !v4 => {
            address.source_address = true;
            address.places.extend(places);
        }
        ("preferred_lft", Some("0")) => desk.note_at(&places, "always so here"),
        ("brd" | "broadcast", _) => desk.note_at(
            &places,
            "vipward sets no broadcast address: the kernel sends to the subnet's own without it",
        ),
        ("scope", Some("global")) => desk.note_at(&places, "always so here"),
        ("-nodad", _) => desk.note_at(&places, "always so here"),
        ("home" | "mngtmpaddr" | "noprefixroute" | "autojoin", _) => {
            desk.left_at(&places, "vipward has no such flag of an address");
        }
        ("no_track", _) => desk.note_at(
            &places,
            "vipward puts an address back that somebody deletes; nothing else depends on it",
        ),
        ("use_vmac", _) => desk.left_at(&places, "vipward has no virtual MAC for single addresses"),
        ("scope" | "peer" | "preferred_lft" | "label" | "track_group", _) => {
            desk.left_at(
                &places,
                "vipward has no such option of an address: it is held without it",
            );
        }
        _ => desk.left_at(
            &places,
            "keepalived does not know this option of an address either",
        ),
    }
}
