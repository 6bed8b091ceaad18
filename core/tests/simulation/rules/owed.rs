//! What an instance still owes: announcements to those who may have learnt
//! another host, and the parting advertisement of one that lost.

use super::*;
use crate::kit::virtual_mac::place;
use crate::virtual_mac::is_up;

/// From a losing advertisement to the last of the announcements it causes.
const REAFFIRMED_WITHIN: Duration = Duration::from_secs(1);

/// Everything is to be announced again.
pub(super) fn owes(watch: &mut Watch, part: &Part<'_>) {
    for address in &part.settings.addresses {
        let address = address.network.addr();
        let by = part.now + REAFFIRMED_WITHIN;
        watch.owed.entry(address).or_insert(by);
    }
}

pub(super) fn announcements(watch: &mut Watch, part: &Part<'_>) {
    let host = part.lab.at(part.host);
    if part.stage.yields() {
        watch.owed.clear();
    } else if part.stage.broken_off(part) {
        owes(watch, part);
    }
    for action in part.actions {
        if let Action::Announce {
            instance, address, ..
        } = action
            && *instance == part.id
        {
            watch.owed.remove(address);
            watch.announced.insert(*address, part.now);
        }
    }
    // What is not there is announced when it is.
    watch.owed.retain(|address, _| {
        let places = part.settings.addresses.iter().enumerate();
        let mut same = places.filter(|(_, known)| known.network.addr() == *address);
        same.any(|(place, known)| {
            let index = host.ledger.index_of(part.id, place, (part.settings, known));
            let shaken = part.settings.virtual_mac
                && (host.ledger.links.is_pending(part.id)
                    || !is_up(part.lab, part.host, part.settings));
            let waits = host.ledger.is_pending(part.id, index) || shaken;
            host.kernel.holds(*address).is_some() && !waits
        })
    });
}

pub(super) fn partings(watch: &mut Watch, part: &Part<'_>) {
    if !watch.parting {
        return;
    }
    if part.unsent || part.sent.iter().any(|priority| *priority > 0) {
        watch.parting = false;
        return;
    }
    let host = part.lab.at(part.host);
    // One that somebody else deleted is there until the agent hears of it.
    let mut all = part.settings.addresses.iter();
    let remains = all.any(|address| {
        let known = host.ledger.interface(place(part.settings, address));
        let known = known.into_iter().flat_map(|state| &state.addresses);
        let wanted = address.network.addr();
        host.kernel.holds(wanted).is_some()
            || known.map(|own| own.network.addr()).any(|own| own == wanted)
    });
    // What carries them is lowered first, too.
    let carries =
        host.ledger.links.is_pending(part.id) || is_up(part.lab, part.host, part.settings);
    if !remains && !carries && !host.ledger.waits(part.id) {
        part.fail("all addresses are gone, and no parting advertisement");
    }
}
