//! What the shell knows of what a dead agent would leave, kept as the shell
//! keeps it, and judged in every story after every turn: it is all there
//! before the first of the turn's orders.

use std::collections::BTreeMap;

use vipward::agent::action::Action;
use vipward::agent::custody::Custody;
use vipward::agent::values::InstanceId;

use super::{HostId, Input, Lab};

#[derive(Debug, Default)]
pub struct Account {
    /// Of which agent of this host.
    generation: u32,
    known: BTreeMap<InstanceId, Custody>,
}

/// Nothing was ordered and no order answered: what is on the host cannot be
/// another than before. The time that saves is most of what this costs.
fn changes_nothing(input: &Input, actions: &[Action]) -> bool {
    let quiet = match input {
        Input::Wake | Input::Packet(_) | Input::Claim { .. } | Input::Done { .. } => true,
        Input::Link(_) | Input::Socket { .. } | Input::FileRead(_) => true,
        Input::Interface { .. }
        | Input::Added { .. }
        | Input::Removed { .. }
        | Input::Unleased { .. }
        | Input::Renewed { .. }
        | Input::RoutingChanged { .. }
        | Input::Routing(_)
        | Input::LinkChanged { .. }
        | Input::Reload(_)
        | Input::Order { .. }
        | Input::Kept { .. }
        | Input::Clock(_)
        | Input::Stop
        | Input::StopNow => false,
    };
    quiet && actions.is_empty()
}

/// Before the actions of a turn are performed.
pub fn account(lab: &mut Lab, id: HostId, input: &Input, actions: &[Action]) {
    let host = lab.at_mut(id);
    let Some(agent) = &mut host.agent else {
        return;
    };
    if host.account.generation != host.generation {
        host.account = Account {
            generation: host.generation,
            known: BTreeMap::new(),
        };
    } else if changes_nothing(input, actions) && !agent.custody_has_changed() {
        return;
    }
    let known = &mut host.account.known;
    for instance in agent.take_custody_changes() {
        match agent.custody(instance) {
            Some(custody) => known.insert(instance, custody),
            None => known.remove(&instance),
        };
    }
    let host = lab.at(id);
    let (Some(agent), known) = (&host.agent, &host.account.known) else {
        return;
    };
    let mut left = 0;
    for (instance, settings) in agent.instances() {
        let custody = agent.custody(instance);
        // The host's own address is an owner's, and never in there.
        let owner = settings.priority.is_owner();
        let covers = |interface, address| {
            let mut all = custody.iter().flat_map(|custody| &custody.addresses);
            owner || all.any(|(on, network)| *on == interface && network.addr() == address)
        };
        for action in actions {
            let (Action::AddAddress(order) | Action::RemoveAddress(order)) = action else {
                continue;
            };
            let address = order.network.addr();
            if order.instance == instance && !covers(order.interface, address) {
                lab.fail(&format!("a dead agent's {address} would be forgotten"));
            }
        }
        left += usize::from(custody.is_some());
        if known.get(&instance) != custody.as_ref() {
            let told = known.get(&instance);
            lab.fail(&format!(
                "the shell was told {told:?} and would leave {custody:?}"
            ));
        }
    }
    if known.len() != left {
        lab.fail("the shell was told of instances that would leave nothing");
    }
}
