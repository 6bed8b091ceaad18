//! Faults between instances: what each may have, and two may not.

use std::collections::BTreeMap;

use crate::agent::values::{InterfaceName, Priority};

use super::address::{self, AddressDraft};
use super::fault::{Finding, Findings};
use super::instance::Draft;
use super::judge;

pub(super) fn instances(drafts: &[Draft], out: &mut Findings) {
    same_vrid(drafts, out);
    same_address(drafts, out);
    own_source(drafts, out);
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

/// A virtual address that is this host's own, as any `source` shows. An owner
/// (priority 255) is the exception: its address is the virtual one.
fn own_source(drafts: &[Draft], out: &mut Findings) {
    let sources: BTreeMap<_, _> = drafts
        .iter()
        .filter_map(|draft| draft.source.given())
        .map(|source| (source.value, source.place))
        .collect();
    for draft in drafts {
        let priority = judge::priority(draft);
        if priority.is_none_or(Priority::is_owner) {
            continue;
        }
        for item in addresses(draft) {
            let Some(source) = sources.get(&item.address()) else {
                continue;
            };
            // A link-local address may be another on another interface.
            if address::is_link_local(item.address())
                && draft.source.given().map(|own| own.place) != Some(*source)
            {
                continue;
            }
            let title = format!(
                "{} is a virtual address and this host's own",
                item.address()
            );
            out.fault(
                Finding::at(item.place, title, "a virtual address belongs to no host")
                    .see(*source, "the host's own, as `source` says")
                    .help(
                        "it would be removed from the host at a release; choose another virtual \
                         address, or write `priority: 255` if this host owns it for ever",
                    ),
            );
        }
    }
}
