//! Whose an address is, at every moment.

use super::super::Host;
use super::*;

/// Over the whole laboratory, whenever a story pauses.
pub fn everywhere(lab: &Lab) {
    for (id, host) in (0..).map(HostId).zip(&lab.hosts) {
        if let Some(seen) = host.ledger.last.as_ref().filter(|_| host.runs()) {
            held_where_it_belongs(lab, id, seen);
        }
    }
}

/// Outside Active and resigning nobody keeps an address of ours, apart from
/// one whose removal is under way or was refused. One that a reload moves is
/// the old instance's for as long as that one resigns.
pub fn held_where_it_belongs(lab: &Lab, id: HostId, seen: &Seen) {
    let host = lab.at(id);
    let Some(agent) = &host.agent else {
        return;
    };
    let now = lab.local(id);
    let late_max = host.clock.late_max * 2;
    let holds = |instance: InstanceId| {
        let resigning = host.ledger.resigning.get(&instance);
        let resigns = resigning.is_some_and(|until| now <= *until + late_max || host.catching_up);
        resigns || seen.state(instance) == Some(StateName::Active)
    };
    routing::held_where_it_belongs(lab, id, holds, |instance| seen.state(instance));
    for (instance, settings) in agent.instances().filter(|(instance, _)| !holds(*instance)) {
        for (place, configured) in settings.addresses.iter().enumerate() {
            let address = configured.network.addr();
            let ledger = &host.ledger;
            // Most are elsewhere, and that is quickly seen.
            let of = (settings, configured);
            if !host.kernel.may_be_ours(address) || may_wait(ledger, instance, place, of) {
                continue;
            }
            let key = (instance, ledger.index_of(instance, place, of));
            let known = ledger
                .interfaces
                .get(&virtual_mac::place(settings, configured));
            let shown = known.and_then(Option::as_ref).is_some_and(|state| {
                let mut own = state.addresses.iter();
                own.any(|own| own.network.addr() == address && own.ours)
            });
            let suspect = ledger.acknowledged.contains(&key) || shown;
            if suspect && !is_rightful(host, of, holds) {
                let state = seen.state(instance);
                let name = &host.name;
                lab.fail(&format!("{name} is {state:?} and still has {address}"));
            }
        }
    }
}

/// An order about it is under way, or its removal was refused.
fn may_wait(
    ledger: &Ledger,
    instance: InstanceId,
    place: usize,
    configured: (&InstanceSettings, &AddressSettings),
) -> bool {
    let key = (instance, ledger.index_of(instance, place, configured));
    ledger.pending.contains_key(&key) || ledger.stuck.contains(&key)
}

/// Some instance has this address, or waits for its removal.
fn is_rightful(
    host: &Host,
    (owner, wanted): (&InstanceSettings, &AddressSettings),
    holds: impl Fn(InstanceId) -> bool,
) -> bool {
    let wanted_place = virtual_mac::place(owner, wanted);
    let mut all = host.agent.iter().flat_map(Agent::instances);
    all.any(|(instance, settings)| {
        let mut addresses = settings.addresses.iter().enumerate();
        addresses.any(|(place, configured)| {
            let of = (settings, configured);
            virtual_mac::place(settings, configured) == wanted_place
                && configured.network.addr() == wanted.network.addr()
                && (holds(instance) || may_wait(&host.ledger, instance, place, of))
        })
    })
}
