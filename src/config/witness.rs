//! `witnesses`: whose answer shows that a segment works.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::address::{self, AddressDraft};
use super::fault::{Finding, Findings};
use super::instance::{Draft, Items, absent_or_bad};
use super::read::{self, At, Field, Section};
use super::yaml::Node;

/// All of them are asked within 100 ms.
pub(super) const WITNESSES_MAX: usize = 8;

pub(super) fn draft(section: &Section, out: &mut Findings) -> Field<Items<At<IpAddr>>> {
    let list = section.field("witnesses", out, |node| {
        read::list(node, "`witnesses`").map(|list| (list, node.place))
    });
    let Field::Given(list) = list else {
        return absent_or_bad(&list);
    };
    let (nodes, place) = list.value;
    if nodes.len() > WITNESSES_MAX {
        let title = format!("{} witnesses of one instance", nodes.len());
        out.fault(
            Finding::at(place, title, format!("{WITNESSES_MAX} are the most"))
                .help("one answer is enough: list those that are least likely to fail together"),
        );
        return Field::Bad;
    }
    let witness = |node: &Node| {
        address::host(node).map(|value| At {
            value,
            place: node.place,
        })
    };
    let items: Vec<At<IpAddr>> = nodes
        .iter()
        .filter_map(|node| out.keep(witness(node)))
        .collect();
    let whole = items.len() == nodes.len();
    let value = Items { items, whole };
    Field::Given(At { value, place })
}

/// Who answers only for ourselves is no witness.
pub(super) fn judge(drafts: &[Draft], out: &mut Findings) {
    let mut kept = BTreeMap::new();
    for draft in drafts {
        let list = draft.addresses.given().into_iter();
        let each = list.flat_map(|list| &list.value.items);
        let each =
            each.map(|item: &AddressDraft| (item.address(), (item.place, &draft.name.value)));
        kept.extend(each);
    }
    for draft in drafts {
        let mut seen = BTreeMap::new();
        for witness in of(draft) {
            let address = witness.value;
            if let Some(first) = seen.insert(address, witness.place) {
                let title = format!("the witness {address} is listed twice");
                out.fault(Finding::at(witness.place, title, "remove it").see(first, "first here"));
            }
            let source = draft.source.given().filter(|at| at.value == address);
            if let Some(source) = source {
                let title = format!("{address} is a witness and this host's own `source`");
                out.fault(
                    Finding::at(witness.place, title, "name another host")
                        .see(source.place, "our own address")
                        .help("an answer of our own shows nothing: a router or switch of the segment is best"),
                );
            }
            if let Some((place, instance)) = kept.get(&address) {
                let title = format!("{address} is a witness and a virtual address");
                out.fault(
                    Finding::at(witness.place, title, "name another host")
                        .see(*place, format!("kept by instance `{instance}`"))
                        .help("its Active would be its own witness: a router or switch of the segment is best"),
                );
            }
        }
    }
}

/// As far as they could be read.
pub(super) fn of(draft: &Draft) -> impl Iterator<Item = &At<IpAddr>> {
    let list = draft.witnesses.given().into_iter();
    list.flat_map(|list| &list.value.items)
}
