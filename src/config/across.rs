//! Faults between instances: what each may have, and two may not.

use std::collections::BTreeMap;

use crate::agent::values::{InterfaceName, Priority};

use super::address::{self, AddressDraft};
use super::fault::{Finding, Findings, Place};
use super::instance::Draft;
use super::judge;
use super::virtual_mac;

pub(super) fn instances(drafts: &[Draft], out: &mut Findings) {
    same_vrid(drafts, out);
    same_address(drafts, out);
    of_a_host(drafts, out);
    virtual_mac::between(drafts, out);
}

/// Hosts on a segment tell instances apart by VRID and family alone.
fn same_vrid(drafts: &[Draft], out: &mut Findings) {
    let mut seen = BTreeMap::new();
    for draft in drafts {
        let (Some(interface), Some(vrid), Some(family)) = (
            draft.interface.given(),
            draft.vrid.given(),
            judge::family(draft),
        ) else {
            continue;
        };
        let key = (interface.value, family, vrid.value);
        if let Some(first) = seen.insert(key, draft) {
            let title = format!(
                "VRID {} is used twice on {} over {}",
                vrid.value,
                interface.value,
                family.name()
            );
            out.fault(
                Finding::at(
                    vrid.place,
                    title,
                    format!("by instance `{}`", draft.name.value),
                )
                .see(
                    first.vrid.place(first.name.place),
                    format!("and by instance `{}`", first.name.value),
                )
                .help(
                    "give one of them another VRID, on every host alike; VRIDs used by other \
                         routers on the segment are taken too",
                ),
            );
        }
    }
}

fn interface_of(draft: &Draft, item: &AddressDraft) -> Option<InterfaceName> {
    let own = item.interface.given().or(draft.interface.given())?;
    Some(own.value)
}

fn addresses(draft: &Draft) -> impl Iterator<Item = &AddressDraft> {
    let list = draft.addresses.given().into_iter();
    list.flat_map(|list| &list.value.items)
}

/// One of the two would take it away under the other.
fn same_address(drafts: &[Draft], out: &mut Findings) {
    let mut seen: BTreeMap<_, (&Draft, &AddressDraft)> = BTreeMap::new();
    for draft in drafts {
        for item in addresses(draft) {
            let Some(interface) = interface_of(draft, item) else {
                continue;
            };
            let key = (interface, item.address());
            let Some((first, earlier)) = seen.insert(key, (draft, item)) else {
                continue;
            };
            if first.name.value == draft.name.value {
                // Within one instance it is a fault of that instance.
                continue;
            }
            let title = format!("{} on {interface} belongs to two instances", item.address());
            out.fault(
                Finding::at(item.place, title, format!("to `{}`", draft.name.value))
                    .see(earlier.place, format!("and to `{}`", first.name.value))
                    .help(
                        "remove it from one: the one that releases it would take it from the other",
                    ),
            );
        }
    }
}

/// A virtual address that is a host's own: ours, as a `source` shows, or a
/// peer's. An owner (priority 255) may keep its own as a virtual one.
fn of_a_host(drafts: &[Draft], out: &mut Findings) {
    let mut sources = BTreeMap::new();
    let mut peers = BTreeMap::new();
    for draft in drafts {
        let source = draft.source.given().into_iter();
        sources.extend(source.map(|source| (source.value, (source.place, draft))));
        let list = draft.unicast_peers.given().into_iter();
        let list = list.flat_map(|list| &list.value.items);
        peers.extend(list.map(|peer| (peer.value, (peer.place, draft))));
    }
    for draft in drafts {
        let owner = judge::priority(draft).is_none_or(Priority::is_owner);
        for item in addresses(draft) {
            // A link-local address may be another on another interface.
            let same_link = |(_, other): &&(Place, &Draft)| {
                !address::is_link_local(item.address())
                    || interface_of(draft, item) == other.interface.given().map(|name| name.value)
            };
            let source = sources.get(&item.address()).filter(same_link);
            if let Some((place, _)) = source.filter(|_| !owner) {
                out.fault(ours(item, *place));
            }
            let peer = peers.get(&item.address()).filter(same_link);
            if let Some((place, _)) = peer {
                out.fault(theirs(item, *place));
            }
        }
    }
}

fn ours(item: &AddressDraft, source: Place) -> Finding {
    let title = format!(
        "{} is a virtual address and this host's own",
        item.address()
    );
    Finding::at(item.place, title, "a virtual address belongs to no host")
        .see(source, "the host's own, as `source` says")
        .help(
            "it would be removed from the host at a release; choose another virtual address, or \
             write `priority: 255` if this host owns it for ever",
        )
}

fn theirs(item: &AddressDraft, peer: Place) -> Finding {
    let title = format!("{} is a virtual address and a peer's own", item.address());
    Finding::at(item.place, title, "a virtual address belongs to no host")
        .see(peer, "listed as a peer here")
        .help(
            "once we hold it, what we send to the peer would come to ourselves; choose another \
             virtual address, or write the peer's own address",
        )
}
