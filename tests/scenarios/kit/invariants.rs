//! What must hold in every story at every moment, whatever goes wrong.
//! Judged after every step; a breach ends the story with its trace.

mod belongings;
mod seen;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use vipward::agent::Agent;
use vipward::agent::action::{Action, AddressOrder};
use vipward::agent::event::InterfaceState;
use vipward::agent::settings::{AddressSettings, GroupSettings, InstanceSettings};
use vipward::agent::status::StateName;
use vipward::agent::time::Instant;
use vipward::agent::values::{AddressIndex, InstanceId, InterfaceName};

use super::routing::{self, RoutingLedger};
use super::{HostId, Input, Lab, virtual_mac};

pub use belongings::{everywhere, held_where_it_belongs};
pub use seen::{Seen, Turn};

/// What the judge remembers of one agent.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Orders that the agent was not answered yet.
    pending: BTreeMap<(InstanceId, AddressIndex), Pending>,
    /// Added, acknowledged, and not ordered about since.
    acknowledged: BTreeSet<(InstanceId, AddressIndex)>,
    /// Removals that failed last time.
    stuck: BTreeSet<(InstanceId, AddressIndex)>,
    /// What was ordered under each index: after a reload an address's place
    /// in the list says nothing.
    ordered: BTreeMap<(InstanceId, AddressIndex), (InterfaceName, IpAddr)>,
    /// As the agent knows them.
    interfaces: BTreeMap<InterfaceName, Option<InterfaceState>>,
    /// Lost mastership and has not sent its parting advertisement.
    parting: BTreeSet<InstanceId>,
    /// Who resigned, or was overtaken by its successor while it was being
    /// drained, and may say so once more when nothing of it is left.
    farewell: BTreeSet<InstanceId>,
    /// Until when a resigning instance may keep its addresses.
    resigning: BTreeMap<InstanceId, Instant>,
    /// Those that the agent knows.
    pub groups: Vec<GroupSettings>,
    /// Wake-ups without effect in a row.
    idle_wakes: u32,
    pub routing: RoutingLedger,
    pub links: virtual_mac::LinkLedger,
    /// How the last turn left the agent.
    pub last: Option<Seen>,
}

impl Ledger {
    /// The index of an address at this place in the list.
    pub fn index_of(
        &self,
        instance: InstanceId,
        place: usize,
        (settings, address): (&InstanceSettings, &AddressSettings),
    ) -> AddressIndex {
        let here = AddressIndex(u16::try_from(place).expect("few addresses"));
        let on = virtual_mac::place(settings, address);
        let wanted = (on, address.network.addr());
        let lives = |key: &(InstanceId, AddressIndex)| {
            self.ordered.get(key) == Some(&wanted)
                && (self.pending.contains_key(key)
                    || self.acknowledged.contains(key)
                    || self.stuck.contains(key))
        };
        if lives(&(instance, here)) {
            return here;
        }
        let mut all = self.ordered.keys().filter(|(of, _)| *of == instance);
        all.find(|key| lives(key)).map_or(here, |(_, index)| *index)
    }

    /// Added, acknowledged, and not ordered about since.
    pub fn is_acknowledged(&self, instance: InstanceId, address: AddressIndex) -> bool {
        self.acknowledged.contains(&(instance, address))
    }

    /// An order about this address is not answered yet.
    pub fn is_pending(&self, instance: InstanceId, address: AddressIndex) -> bool {
        self.pending.contains_key(&(instance, address))
    }

    /// An order about one of its addresses is not answered yet, or a removal
    /// has to be tried again.
    pub fn waits(&self, instance: InstanceId) -> bool {
        let mut all = self.pending.keys().chain(&self.stuck);
        all.any(|(of, _)| *of == instance)
    }

    /// It resigns.
    pub fn resigns(&self, instance: InstanceId) -> bool {
        self.resigning.contains_key(&instance)
    }

    /// Its removal failed last time.
    pub fn is_stuck(&self, instance: InstanceId, address: AddressIndex) -> bool {
        self.stuck.contains(&(instance, address))
    }

    /// The interface as its agent was told of it.
    pub fn interface(&self, name: InterfaceName) -> Option<&InterfaceState> {
        self.interfaces.get(&name).and_then(Option::as_ref)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pending {
    Add,
    Renew,
    Remove,
}

/// Longer than this nobody resigns.
const RESIGNATION_LONGEST: Duration = Duration::from_secs(2);
/// Announcements in one turn.
const ANNOUNCEMENTS_PER_TURN: usize = 64;

/// Keeps the ledger: the agent was just told this.
pub fn told(lab: &mut Lab, id: HostId, input: &Input) {
    let host = lab.at_mut(id);
    let ledger = &mut host.ledger;
    match input {
        Input::Added {
            instance,
            address,
            outcome,
        } => {
            let key = (*instance, *address);
            ledger.pending.remove(&key);
            // One that never went stands, though it could not be added again.
            let ordered = ledger.ordered.get(&key);
            let stands = ordered.is_some_and(|(_, address)| host.kernel.may_be_ours(*address));
            if outcome.is_ok() || stands {
                ledger.acknowledged.insert(key);
            }
        }
        Input::Removed {
            instance,
            address,
            outcome,
        } => {
            let key = (*instance, *address);
            ledger.pending.remove(&key);
            match outcome {
                Ok(_) => ledger.stuck.remove(&key),
                Err(_) => ledger.stuck.insert(key),
            };
        }
        Input::Renewed {
            instance, address, ..
        } => {
            ledger.pending.remove(&(*instance, *address));
        }
        Input::Interface { interface, state } => {
            // What is gone need not be removed any more.
            let addresses = state.iter().flat_map(|state| &state.addresses);
            let there: BTreeSet<IpAddr> = addresses.map(|own| own.network.addr()).collect();
            let ordered = &ledger.ordered;
            ledger.stuck.retain(|key| {
                let place = ordered.get(key);
                place.is_none_or(|(on, address)| on != interface || there.contains(address))
            });
            ledger.interfaces.insert(*interface, state.clone());
        }
        Input::Reload(settings) => ledger.groups.clone_from(&settings.groups),
        Input::RoutingChanged { .. } | Input::Routing(_) => {
            routing::told(&mut ledger.routing, input);
        }
        Input::LinkChanged { instance, outcome } => {
            virtual_mac::told(ledger, *instance, outcome.is_ok());
        }
        Input::Wake
        | Input::Packet(_)
        | Input::Link(_)
        | Input::Claim { .. }
        | Input::Socket { .. }
        | Input::Unleased { .. }
        | Input::Done { .. }
        | Input::FileRead(_)
        | Input::Order { .. }
        | Input::Kept { .. }
        | Input::Clock(_)
        | Input::Stop
        | Input::StopNow => {}
    }
}

/// Every single action, in order, just before it is carried out.
pub fn action(lab: &mut Lab, turn: &Turn, action: &Action) {
    let id = turn.host;
    match action {
        Action::Advertise {
            instance,
            source,
            priority,
            link,
        } => {
            known_instance(lab, id, *instance);
            virtual_mac::sends(lab, turn, *instance, *link);
            source_is_usable(lab, id, *instance, *source);
            advert_is_due(lab, turn, *instance, *priority);
        }
        Action::AddAddress(order) => ordered(lab, id, order, Pending::Add),
        Action::RenewAddress(order) => {
            let key = (order.instance, order.address);
            if !lab.at(id).ledger.acknowledged.contains(&key) {
                lab.fail("a renewal of an address that is not held");
            }
            ordered(lab, id, order, Pending::Renew);
        }
        Action::RemoveAddress(order) => ordered(lab, id, order, Pending::Remove),
        Action::ChangeRouting(order) => routing::ordered(lab, id, order),
        Action::ChangeLink(order) => virtual_mac::ordered(lab, id, order),
        Action::Announce {
            instance,
            interface,
            address,
        } => {
            known_instance(lab, id, *instance);
            is_acknowledged(lab, id, *instance, *interface, *address);
        }
        Action::Probe {
            instance,
            source,
            address,
        } => {
            known_instance(lab, id, *instance);
            source_is_usable(lab, id, *instance, *source);
            let settings = lab.settings_of(id, *instance).expect("known");
            let interface = virtual_mac::home(settings);
            is_acknowledged(lab, id, *instance, interface, *address);
        }
        Action::Start(_) => {}
        Action::Solicit {
            interface, target, ..
        } => {
            // As the agent knows them: one that stops takes no new ones.
            let agents = lab.at(id).agent.iter().flat_map(Agent::instances);
            let mut all = agents.map(|(_, settings)| settings);
            let connected = lab.at(id).settings.cluster.is_some();
            if !connected
                && !all.any(|i| i.interface == *interface && i.unicast_peers.contains(target))
            {
                lab.fail(&format!("{target} on {interface} is no peer"));
            }
        }
        Action::Inquire { .. }
        | Action::Tell { .. }
        | Action::Keep { .. }
        | Action::Answer { .. }
        | Action::Report(_) => {}
    }
}

/// Nobody speaks of an address before the kernel has it.
fn is_acknowledged(
    lab: &Lab,
    id: HostId,
    instance: InstanceId,
    interface: InterfaceName,
    address: std::net::IpAddr,
) {
    let settings = lab.settings_of(id, instance).expect("known");
    let index = settings.addresses.iter().position(|configured| {
        configured.network.addr() == address
            && virtual_mac::place(settings, configured) == interface
    });
    let Some(place) = index else {
        lab.fail(&format!("{address} on {interface} is not of this instance"));
    };
    let configured = settings.addresses.get(place).expect("just found");
    let index = lab
        .at(id)
        .ledger
        .index_of(instance, place, (settings, configured));
    if !lab.at(id).ledger.acknowledged.contains(&(instance, index)) {
        lab.fail(&format!("{address} announced before it was acknowledged"));
    }
}

fn known_instance(lab: &Lab, id: HostId, instance: InstanceId) {
    if lab.settings_of(id, instance).is_none() {
        lab.fail(&format!("an action for unknown instance {instance:?}"));
    }
}

/// Nothing leaves by a dead link, and nothing from an address that the host
/// does not have.
fn source_is_usable(lab: &Lab, id: HostId, instance: InstanceId, source: std::net::IpAddr) {
    let settings = lab.settings_of(id, instance).expect("known");
    let known = lab.at(id).ledger.interfaces.get(&settings.interface);
    let Some(state) = known.and_then(Option::as_ref) else {
        lab.fail("advertised on an interface that does not exist");
    };
    if !state.up {
        lab.fail("advertised on an interface that is down");
    }
    let mut own = state.addresses.iter();
    if !own.any(|own| own.network.addr() == source && !own.tentative) {
        lab.fail(&format!("advertised from {source}, which is not there"));
    }
}

/// The Active advertises its priority. Whoever leaves sends 0. Whoever lost
/// sends one more, when nothing of its own is left.
fn advert_is_due(lab: &mut Lab, turn: &Turn, instance: InstanceId, priority: u8) {
    let id = turn.host;
    let was = turn.before.state(instance);
    let Some((is, own)) = turn.after.of_instance(instance) else {
        // Gone by a reload, with nothing of it left.
        let resigns = was == Some(StateName::Active) && priority == 0;
        if resigns || lab.at_mut(id).ledger.parting.remove(&instance) {
            return;
        }
        lab.fail("an advertisement of nobody");
    };
    if priority == 0 {
        // One that has just claimed takes it back when a mate cannot follow.
        let claimed = turn.takes_back.contains(&instance);
        // One that is being drained repeats it, and is called Initialize.
        let agent = lab.at(id).agent.as_ref();
        let custody = agent.and_then(|agent| agent.custody(instance));
        let waits = custody.is_some_and(|custody| custody.speaks);
        if !(was == Some(StateName::Active) || claimed || waits) || is == StateName::Active {
            lab.fail("priority 0 from one that does not leave");
        }
        return;
    }
    if is == StateName::Active {
        if priority != own {
            lab.fail("the Active advertises a priority that is not its own");
        }
        return;
    }
    if turn.takes_back.contains(&instance) {
        return;
    }
    let lost_now = was == Some(StateName::Active) && is == StateName::Backup;
    let ledger = &mut lab.at_mut(id).ledger;
    let owed = ledger.parting.remove(&instance) || ledger.farewell.remove(&instance);
    if !lost_now && !owed {
        lab.fail("an advertisement from one that is not Active");
    }
    if lost_now {
        lab.at_mut(id).ledger.parting.remove(&instance);
    }
    let settings = lab.settings_of(id, instance).expect("known");
    for (place, address) in settings.addresses.iter().enumerate() {
        let host = lab.at(id);
        let index = host.ledger.index_of(instance, place, (settings, address));
        let held = host.kernel.may_be_ours(address.network.addr());
        let ours = host.ledger.acknowledged.contains(&(instance, index));
        if held && ours {
            lab.fail("the parting advertisement left before the address");
        }
    }
}

fn ordered(lab: &mut Lab, id: HostId, order: &AddressOrder, kind: Pending) {
    known_instance(lab, id, order.instance);
    let settings = lab.settings_of(id, order.instance).expect("known");
    let fits = settings.addresses.iter().any(|configured| {
        virtual_mac::place(settings, configured) == order.interface
            && configured.network.addr() == order.network.addr()
    });
    let key = (order.instance, order.address);
    let ledger = &lab.at(id).ledger;
    let was_ours = ledger.acknowledged.contains(&key) || ledger.stuck.contains(&key);
    let departs = kind == Pending::Remove && was_ours;
    if !fits && !departs {
        lab.fail("an order for an address that is not configured");
    }
    let ledger = &mut lab.at_mut(id).ledger;
    let what = (order.interface, order.network.addr());
    ledger.ordered.insert(key, what);
    if kind != Pending::Renew {
        ledger.acknowledged.remove(&key);
    }
    ledger.stuck.remove(&key);
    if ledger.pending.insert(key, kind).is_some() {
        lab.fail("a second order for an address while one is under way");
    }
}

/// Once after each turn of one agent.
pub fn after_turn(lab: &mut Lab, turn: &Turn, input: &Input, actions: &[Action]) {
    let id = turn.host;
    let announced = actions
        .iter()
        .filter(|action| matches!(action, Action::Announce { .. }))
        .count();
    if !routing::gone_first(actions) {
        lab.fail("an address goes before a route that follows it");
    }
    if announced > ANNOUNCEMENTS_PER_TURN {
        lab.fail(&format!("{announced} announcements in one turn"));
    }
    let now = lab.local(id);
    let host = lab.at_mut(id);
    let Some(agent) = &host.agent else {
        return;
    };
    // Written down, and so under way.
    let drains = !host.moves.kept.drained.is_empty();
    let ledger = &mut host.ledger;
    for (instance, settings) in agent.instances() {
        let (was, is) = (turn.before.state(instance), turn.after.state(instance));
        if was == Some(StateName::Active) && is == Some(StateName::Backup) {
            let sent = actions.iter().any(|action| {
                matches!(action, Action::Advertise { instance: of, .. } if *of == instance)
            });
            if !sent {
                ledger.parting.insert(instance);
            }
        }
        if is != Some(StateName::Backup) {
            ledger.parting.remove(&instance);
        }
        let out = matches!(is, Some(StateName::Initialize | StateName::Drained));
        if was == Some(StateName::Active) && out {
            ledger.farewell.insert(instance);
        }
        let times = (settings.advert_interval.as_duration(), settings.down_after);
        resigns(ledger, (instance, was, is), input, now, (times, drains));
        // One that is no longer configured goes, resigning or not.
        let configured = |address: IpAddr| {
            let mut all = settings.addresses.iter();
            all.any(|own| own.network.addr() == address)
        };
        let removes = actions.iter().any(|action| {
            matches!(action, Action::RemoveAddress(order)
                if order.instance == instance && configured(order.network.addr()))
        });
        if removes {
            ledger.resigning.remove(&instance);
        }
    }
    let idle = matches!(input, Input::Wake)
        && actions.is_empty()
        && turn.after.deadline.is_some_and(|at| at <= now)
        && turn.after.deadline == turn.before.deadline;
    ledger.idle_wakes = if idle { ledger.idle_wakes + 1 } else { 0 };
    if ledger.idle_wakes > 3 {
        lab.fail("busy loop: woken again and again at the same moment for nothing");
    }
}

/// Until when it may keep its addresses, if it begins to resign in this turn.
fn resigns(
    ledger: &mut Ledger,
    (instance, was, is): (InstanceId, Option<StateName>, Option<StateName>),
    input: &Input,
    now: Instant,
    ((interval, down_after), drains): ((Duration, u8), bool),
) {
    let until = now + interval.min(RESIGNATION_LONGEST);
    let was_active = was == Some(StateName::Active);
    match input {
        Input::Stop | Input::Reload(_) if was_active && is != Some(StateName::Active) => {
            ledger.resigning.insert(instance, until);
        }
        // To be drained: until somebody has surely taken over, or it returns.
        // Its hook may come before that.
        _ if drains && was_active && is == Some(StateName::Initialize) => {
            let until = now + interval * (u32::from(down_after) + 1);
            ledger.resigning.insert(instance, until);
        }
        Input::StopNow => {
            ledger.resigning.remove(&instance);
        }
        // Its hook before the release has ended.
        _ if was_active && is == Some(StateName::Initialize) => {
            ledger.resigning.insert(instance, until);
        }
        _ => {}
    }
}
