//! What the core knows of the host it runs on, and the turn it is taking.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::action::Action;
use super::cluster::Nodes;
use super::cluster::message::Word;
use super::event::InterfaceState;
use super::jobs::{CheckName, JobId};
use super::report::{Fact, Report};
use super::routing::{RoutingItem, RoutingState};
use super::settings::{InstanceSettings, OnFail};
use super::status::CheckState;
use super::time::Instant;
use super::values::{Family, InstanceName, InterfaceName, MacAddress, NodeName};
use super::virtual_link::VirtualLink;

/// Announcements sent in one turn at most. The rest stays due, so the loop
/// comes back for it after looking at its sockets.
const ANNOUNCEMENTS_PER_TURN: u32 = 64;

#[derive(Clone, Debug, Default)]
pub(super) struct World {
    interfaces: BTreeMap<InterfaceName, Interface>,
    sockets: BTreeMap<(InterfaceName, Family), Result<(), String>>,
    /// Every address of every instance: none of them is the host's own.
    virtual_addresses: BTreeSet<IpAddr>,
    /// The hardware addresses of virtual routers, where they are used.
    virtual_macs: BTreeSet<(InterfaceName, MacAddress)>,
    /// On the host by instances that a reload took away.
    leaving: BTreeSet<(InterfaceName, IpAddr)>,
    checks: BTreeMap<CheckName, Verdict>,
    /// What the peer link tells.
    pub nodes: Nodes,
    /// What bears our mark; `None` until it was first reported.
    routing: Option<RoutingState>,
    /// As `leaving`.
    routing_leaving: RoutingState,
}

/// What a check amounts to now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub state: CheckState,
    /// Why it is down, for people.
    pub text: String,
    pub on_fail: OnFail,
    /// What a file adds to the priority. `None`: it is no file.
    pub number: Option<i16>,
}

impl Verdict {
    /// It is down. What a file says is no failure, whatever it is.
    pub fn fails(&self) -> bool {
        self.state == CheckState::Down && self.number.is_none()
    }
}

/// An interface that was reported, existing or not.
#[derive(Clone, Debug, Default)]
pub(super) struct Interface {
    pub state: Option<InterfaceState>,
    /// The addresses of `state`, and whether each bears our mark.
    present: BTreeMap<IpAddr, bool>,
}

impl Interface {
    pub fn has(&self, address: IpAddr) -> bool {
        self.present.contains_key(&address)
    }

    /// Present, and added by an agent of ours.
    pub fn has_marked(&self, address: IpAddr) -> bool {
        self.present.get(&address).copied().unwrap_or(false)
    }

    pub fn is_up(&self) -> bool {
        self.state.as_ref().is_some_and(|state| state.up)
    }
}

impl World {
    /// Learns which addresses move.
    pub fn set_instances<'s>(
        &mut self,
        instances: impl Iterator<Item = &'s InstanceSettings> + Clone,
    ) {
        let links = instances.clone().filter_map(VirtualLink::of);
        self.virtual_macs = links
            .map(|link| (link.parent, link.hardware_address))
            .collect();
        self.virtual_addresses = instances
            .flat_map(|instance| &instance.addresses)
            .map(|address| address.network.addr())
            .collect();
    }

    /// How many may move at once, from this host or to it.
    pub fn address_count(&self) -> usize {
        self.virtual_addresses.len()
    }

    /// Learns what instances that are about to go have on the host.
    pub fn set_leaving(&mut self, leaving: BTreeSet<(InterfaceName, IpAddr)>) {
        self.leaving = leaving;
    }

    /// The same for routes and rules.
    pub fn set_routing_leaving(&mut self, leaving: RoutingState) {
        self.routing_leaving = leaving;
    }

    pub fn set_routing(&mut self, state: RoutingState) {
        self.routing = Some(state);
    }

    pub fn knows_routing(&self) -> bool {
        self.routing.is_some()
    }

    /// As it was last reported.
    pub fn has_routing(&self, item: &RoutingItem) -> bool {
        let known = self.routing.as_ref();
        known.is_some_and(|known| known.contains(item))
    }

    pub fn is_routing_leaving(&self, item: &RoutingItem) -> bool {
        self.routing_leaving.contains(item)
    }

    /// Returns what was known before.
    pub fn set_interface(
        &mut self,
        name: InterfaceName,
        state: Option<InterfaceState>,
    ) -> Option<Interface> {
        let mut present = BTreeMap::new();
        for address in state.iter().flat_map(|state| &state.addresses) {
            *present.entry(address.network.addr()).or_insert(false) |= address.ours;
        }
        self.interfaces.insert(name, Interface { state, present })
    }

    /// Returns whether that is news.
    pub fn set_socket(
        &mut self,
        interface: InterfaceName,
        family: Family,
        outcome: Result<(), String>,
    ) -> bool {
        let before = self.sockets.insert((interface, family), outcome.clone());
        before != Some(outcome)
    }

    /// `None` until it was first reported.
    pub fn interface(&self, name: InterfaceName) -> Option<&Interface> {
        self.interfaces.get(&name)
    }

    /// `None` until it was first tried.
    pub fn socket(&self, interface: InterfaceName, family: Family) -> Option<&Result<(), String>> {
        self.sockets.get(&(interface, family))
    }

    pub fn set_check(&mut self, name: CheckName, verdict: Verdict) {
        self.checks.insert(name, verdict);
    }

    /// `None`: no such check.
    pub fn check(&self, name: &CheckName) -> Option<&Verdict> {
        self.checks.get(name)
    }

    /// The failing checks because of which an instance should move by the
    /// planned way (`on_fail: handover`), with the reason of each.
    pub fn handover_wanted<'w>(
        &'w self,
        settings: &'w InstanceSettings,
    ) -> impl Iterator<Item = (&'w CheckName, &'w str)> {
        let verdicts = settings.checks.iter();
        let verdicts = verdicts.filter_map(|listed| Some((listed, self.checks.get(&listed.name)?)));
        let wanted = verdicts.filter(|(listed, verdict)| {
            listed.weight.is_none() && verdict.fails() && verdict.on_fail == OnFail::Handover
        });
        wanted.map(|(listed, verdict)| (&listed.name, verdict.text.as_str()))
    }

    pub fn is_leaving(&self, interface: InterfaceName, address: IpAddr) -> bool {
        self.leaving.contains(&(interface, address))
    }

    pub fn is_virtual(&self, address: IpAddr) -> bool {
        self.virtual_addresses.contains(&address)
    }

    /// Whether a packet with this source came from this very interface.
    pub fn is_own(&self, interface: InterfaceName, source: IpAddr) -> bool {
        self.interface(interface)
            .is_some_and(|interface| interface.has(source))
    }

    /// Every router of a virtual router on this segment has it.
    pub fn is_shared(&self, interface: InterfaceName, address: MacAddress) -> bool {
        self.virtual_macs.contains(&(interface, address))
    }

    /// Some interface of this host that we know has it.
    pub fn has_hardware_address(&self, address: MacAddress) -> bool {
        let states = self
            .interfaces
            .values()
            .filter_map(|known| known.state.as_ref());
        let mut own = states.filter_map(|state| state.hardware_address);
        own.any(|own| own == address)
    }

    /// The source of an instance's advertisements: the configured one when
    /// it is there, otherwise the interface's first own address of the right
    /// kind (link-local for IPv6 multicast, of the peer's scope for unicast);
    /// one in the shadow of another, if there is no better.
    pub fn source(&self, settings: &InstanceSettings) -> Option<IpAddr> {
        let state = self.interface(settings.interface)?.state.as_ref()?;
        let usable = state.addresses.iter().filter(|own| !own.tentative);
        if let Some(source) = settings.source {
            let mut own = usable.map(|own| own.network.addr());
            return own.find(|own| *own == source);
        }
        let link_local = settings.unicast_peers.first().is_none_or(is_link_local);
        let owner = settings.priority.is_owner();
        usable
            .filter(|own| {
                let address = own.network.addr();
                Family::of(address) == settings.family
                    && (settings.family == Family::Ipv4 || is_link_local(&address) == link_local)
                    && (owner || !(own.ours || self.is_virtual(address)))
            })
            .min_by_key(|own| own.secondary)
            .map(|own| own.network.addr())
    }
}

fn is_link_local(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// One call of [`super::Agent::handle`]: the time, what is known, and what is
/// to be done about it.
pub(super) struct Turn<'a> {
    pub now: Instant,
    pub world: &'a World,
    actions: &'a mut Vec<Action>,
    announcements_left: u32,
    errands: &'a mut Errands,
}

/// What outlives a turn of what was ordered in it.
#[derive(Clone, Debug, Default)]
pub(super) struct Errands {
    /// Jobs ordered so far.
    jobs: u64,
    /// For other nodes, said in this turn.
    pub words: Vec<(NodeName, Word)>,
}

impl<'a> Turn<'a> {
    pub fn new(
        now: Instant,
        world: &'a World,
        errands: &'a mut Errands,
        actions: &'a mut Vec<Action>,
    ) -> Self {
        Self {
            errands,
            now,
            world,
            actions,
            announcements_left: ANNOUNCEMENTS_PER_TURN,
        }
    }

    pub fn act(&mut self, action: Action) {
        self.actions.push(action);
    }

    pub fn report(&mut self, instance: Option<&InstanceName>, fact: Fact) {
        self.actions.push(Action::Report(Report {
            at: self.now,
            instance: instance.cloned(),
            fact,
        }));
    }

    /// To another node, over the peer link.
    pub fn say(&mut self, node: &NodeName, word: Word) {
        self.errands.words.push((node.clone(), word));
    }

    pub fn next_job(&mut self) -> JobId {
        let job = JobId(self.errands.jobs);
        self.errands.jobs += 1;
        job
    }

    /// Takes one announcement from this turn's allowance.
    pub fn may_announce(&mut self) -> bool {
        let allowed = self.announcements_left > 0;
        self.announcements_left = self.announcements_left.saturating_sub(1);
        allowed
    }
}
