//! `virtual_mac`: with what it can go together.

use std::collections::BTreeMap;

use crate::agent::values::Priority;
use crate::agent::virtual_link::VirtualLink;

use super::fault::{Finding, Findings, Place};
use super::instance::Draft;
use super::judge;

/// Whether the instance has one; `None` where that is a fault.
pub(super) fn judge(draft: &Draft, out: &mut Findings) -> Option<bool> {
    let wanted = draft.virtual_mac.or(false)?;
    let owner = judge::priority(draft).is_some_and(Priority::is_owner);
    if !wanted || !owner {
        return Some(wanted);
    }
    let title = "`virtual_mac` for an address owner";
    out.fault(
        Finding::at(place(draft), title, "remove it, or lower the priority")
            .see(
                draft.priority.place(draft.name.place),
                "255 says that the addresses are this host's own",
            )
            .help(
                "the host's own addresses stand on its own interface, and the kernel answers for \
                 them with the MAC address of that",
            ),
    );
    None
}

fn place(draft: &Draft) -> Place {
    draft.virtual_mac.place(draft.name.place)
}

fn link(draft: &Draft) -> Option<VirtualLink> {
    draft.virtual_mac.given().filter(|given| given.value)?;
    Some(VirtualLink::new(
        draft.interface.given()?.value,
        judge::family(draft)?,
        draft.vrid.given()?.value,
    ))
}

/// Names are made of what instances are known by, and long ones are cut.
pub(super) fn between(drafts: &[Draft], out: &mut Findings) {
    let mut seen = BTreeMap::new();
    let used = drafts.iter().filter_map(|draft| {
        let interface = draft.interface.given()?;
        Some((interface.value, interface.place))
    });
    let used: BTreeMap<_, _> = used.collect();
    for draft in drafts {
        let Some(link) = link(draft) else {
            continue;
        };
        let identity = (link.parent, link.hardware_address);
        let known = seen.insert(link.name, (identity, place(draft)));
        let taken = match known {
            // The same VRID twice is told elsewhere.
            Some((other, place)) if other != identity => Some(place),
            Some(_) | None => used.get(&link.name).copied(),
        };
        if let Some(other) = taken {
            let title = format!("the name `{}` is needed for its interface", link.name);
            out.fault(
                Finding::at(place(draft), title, "used twice")
                    .see(other, "and used here")
                    .help("the agent makes an interface of that name; choose another VRID"),
            );
        }
    }
}
