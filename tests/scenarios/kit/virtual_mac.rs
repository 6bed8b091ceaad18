//! Interfaces with virtual hardware addresses: the simulated kernel's side,
//! and what must hold for them in every story. An address comes when its
//! interface is up and goes before that is lowered; nobody but the Active, or
//! one that resigns, has one that is up, and nobody else advertises by it.

use std::collections::{BTreeMap, BTreeSet};

use vipward::agent::event::InterfaceState;
use vipward::agent::settings::{AddressSettings, InstanceSettings};
use vipward::agent::status::StateName;
use vipward::agent::values::{InstanceId, InterfaceName};
use vipward::agent::virtual_link::{LinkChanged, LinkOrder, LinkState, VirtualLink};

use super::invariants::{Ledger, Turn};
use super::kernel::{Interface, Kernel};
use super::{Coming, HostId, Input, Lab};

#[derive(Clone, Debug, Default)]
pub struct LinkLedger {
    pending: BTreeMap<InstanceId, LinkState>,
    /// Raised, by the kernel's last answer.
    raised: BTreeSet<InstanceId>,
}

impl LinkLedger {
    /// An order about an instance's is not answered yet.
    pub fn is_pending(&self, instance: InstanceId) -> bool {
        self.pending.contains_key(&instance)
    }
}

/// Where an address belongs.
pub fn place(settings: &InstanceSettings, address: &AddressSettings) -> InterfaceName {
    match VirtualLink::of(settings) {
        Some(link) if link.parent == address.interface => link.name,
        Some(_) | None => address.interface,
    }
}

/// Where the addresses of the instance's own interface are.
pub fn home(settings: &InstanceSettings) -> InterfaceName {
    VirtualLink::of(settings).map_or(settings.interface, |link| link.name)
}

/// For the trace, in short.
pub fn words(order: &LinkOrder) -> String {
    let verb = match order.state {
        LinkState::Absent => "remove",
        LinkState::Down => "lower",
        LinkState::Up(_) => "raise",
    };
    format!("{verb} {}", order.link.name)
}

pub fn told(ledger: &mut Ledger, instance: InstanceId, succeeded: bool) {
    let links = &mut ledger.links;
    let ordered = links.pending.remove(&instance);
    match ordered {
        Some(LinkState::Up(_)) if succeeded => links.raised.insert(instance),
        _ => links.raised.remove(&instance),
    };
}

pub fn ordered(lab: &mut Lab, id: HostId, order: &LinkOrder) {
    let pending = &mut lab.at_mut(id).ledger.links.pending;
    if pending
        .insert(order.instance, order.state.clone())
        .is_some()
    {
        lab.fail("a second order for a virtual interface while one is under way");
    }
    let custody = lab
        .at(id)
        .agent
        .as_ref()
        .and_then(|agent| agent.custody(order.instance));
    let covered = custody.is_some_and(|custody| custody.link == Some(order.link));
    if !covered {
        lab.fail("a dead agent's virtual interface would be forgotten");
    }
}

/// By the virtual address speaks only who is the virtual router.
pub fn sends(lab: &Lab, turn: &Turn, instance: InstanceId, link: Option<InterfaceName>) {
    let Some(link) = link else {
        return;
    };
    let known = [turn.before.state(instance), turn.after.state(instance)];
    let resigns = lab.at(turn.host).ledger.resigns(instance);
    if !known.contains(&Some(StateName::Active)) && !resigns {
        lab.fail("advertised by the virtual address and is not Active");
    }
    // Somebody else may have lowered it a moment ago: then it leaves by the
    // interface below, as the shell sends it.
    let links = &lab.at(turn.host).ledger.links;
    let lowers = !matches!(links.pending.get(&instance), None | Some(LinkState::Up(_)));
    if lowers || !links.raised.contains(&instance) {
        lab.fail(&format!(
            "advertised by {link}, which is not known to be up"
        ));
    }
}

impl Kernel {
    fn change_link(&mut self, order: &LinkOrder) -> Result<LinkChanged, String> {
        if let Some(error) = &self.refuse_link {
            return Err(error.clone());
        }
        let link = &order.link;
        if order.state == LinkState::Absent {
            self.interfaces.remove(&link.name);
            return Ok(LinkChanged { unguarded: None });
        }
        let Some(parent) = self.state(link.parent) else {
            return Err("its parent is gone".to_owned());
        };
        if self.state(link.name).is_none() {
            let state = InterfaceState {
                index: self.next_index(),
                up: false,
                hardware_address: Some(link.hardware_address),
                addresses: Vec::new(),
                gateways: Vec::new(),
                ..parent.clone()
            };
            let made = Interface {
                state,
                promote_secondaries: false,
                raised: false,
            };
            self.interfaces.insert(link.name, made);
        }
        let known = self.interfaces.get_mut(&link.name).expect("it was made");
        match &order.state {
            LinkState::Up(raised) => {
                known.raised = true;
                known.state.up = parent.up;
                known.state.mtu = raised.mtu;
            }
            LinkState::Down | LinkState::Absent => {
                known.raised = false;
                known.state.up = false;
                // As Linux does.
                known
                    .state
                    .addresses
                    .retain(|own| own.network.addr().is_ipv4());
            }
        }
        let unguarded = self.unguarded.clone();
        let raised = matches!(order.state, LinkState::Up(_));
        Ok(LinkChanged {
            unguarded: unguarded.filter(|_| raised),
        })
    }
}

impl Lab {
    pub(super) fn order_link(&mut self, id: HostId, order: LinkOrder) {
        let now = self.now;
        let host = self.at_mut(id);
        let at = host.kernel.done_at(now, host.kernel.link_takes);
        let generation = host.generation;
        self.at_time(at, id, Coming::Interface(generation, order));
    }

    pub(super) fn carry_out_link(&mut self, id: HostId, generation: u32, order: &LinkOrder) {
        let host = self.at_mut(id);
        if !host.powered {
            return;
        }
        let before = host.kernel.state(order.link.name);
        let outcome = host.kernel.change_link(order);
        let acknowledge_after = host.kernel.acknowledge_after;
        let changed = before != host.kernel.state(order.link.name);
        let instance = order.instance;
        let input = Input::LinkChanged { instance, outcome };
        self.later(acknowledge_after, id, Coming::News(generation, input));
        if changed {
            self.report(id, order.link.name);
        }
    }

    /// The state that was ordered last, by word.
    pub fn virtual_link(&self, id: HostId, name: &str) -> Option<InterfaceState> {
        self.at(id).kernel.state(super::interface(name))
    }
}
