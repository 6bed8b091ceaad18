//! What must hold in every story at every moment, whatever goes wrong.
//! Judged after every step; a breach ends the story with its trace.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use vipward::agent::Agent;
use vipward::agent::action::{Action, AddressOrder};
use vipward::agent::event::InterfaceState;
use vipward::agent::status::{InstanceStatus, StateName};
use vipward::agent::time::Instant;
use vipward::agent::values::{AddressIndex, InstanceId, InterfaceName};

use super::{HostId, Input, Lab};

/// What the judge remembers of one agent.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Orders that the agent was not answered yet.
    pending: BTreeMap<(InstanceId, AddressIndex), Pending>,
    /// Added, acknowledged, and not ordered about since.
    acknowledged: BTreeSet<(InstanceId, AddressIndex)>,
    /// Removals that failed last time.
    stuck: BTreeSet<(InstanceId, AddressIndex)>,
    /// As the agent knows them.
    interfaces: BTreeMap<InterfaceName, Option<InterfaceState>>,
    /// Lost mastership and has not sent its parting advertisement.
    parting: BTreeSet<InstanceId>,
    /// Until when a resigning instance may keep its addresses.
    resigning: BTreeMap<InstanceId, Instant>,
    /// Wake-ups without effect in a row.
    idle_wakes: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pending {
    Add,
    Remove,
}

/// Longer than this nobody resigns.
const RESIGNATION_LONGEST: Duration = Duration::from_secs(2);
/// Announcements in one turn.
const ANNOUNCEMENTS_PER_TURN: u32 = 64;

/// The agent before a turn.
pub struct Before {
    deadline: Option<Instant>,
    states: BTreeMap<InstanceId, StateName>,
}

impl Before {
    pub fn of(agent: &Agent) -> Self {
        Self {
            deadline: agent.deadline().map(|(at, _)| at),
            states: states(agent),
        }
    }
}

fn instances(agent: &Agent) -> BTreeMap<InstanceId, InstanceStatus> {
    let ids = agent.instances().map(|(id, _)| id);
    ids.zip(agent.status().instances).collect()
}

fn states(agent: &Agent) -> BTreeMap<InstanceId, StateName> {
    let all = instances(agent).into_iter();
    all.map(|(id, status)| (id, status.state)).collect()
}

/// Keeps the ledger: the agent was just told this.
pub fn told(lab: &mut Lab, id: HostId, input: &Input) {
    let ledger = &mut lab.at_mut(id).ledger;
    match input {
        Input::Added {
            instance,
            address,
            outcome,
        } => {
            let key = (*instance, *address);
            ledger.pending.remove(&key);
            if outcome.is_ok() {
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
                Ok(()) => ledger.stuck.remove(&key),
                Err(_) => ledger.stuck.insert(key),
            };
        }
        Input::Interface { interface, state } => {
            ledger.interfaces.insert(*interface, state.clone());
        }
        Input::Wake
        | Input::Packet(_)
        | Input::Announcement { .. }
        | Input::Socket { .. }
        | Input::NotSent { .. }
        | Input::Stop
        | Input::StopNow => {}
    }
}

/// Every single action, in order, just before it is carried out.
pub fn action(lab: &mut Lab, id: HostId, action: &Action, before: &Before) {
    match action {
        Action::Advertise {
            instance,
            source,
            priority,
        } => {
            known_instance(lab, id, *instance);
            source_is_usable(lab, id, *instance, *source);
            advert_is_due(lab, id, *instance, *priority, before);
        }
        Action::AddAddress(order) => ordered(lab, id, order, Pending::Add),
        Action::RemoveAddress(order) => ordered(lab, id, order, Pending::Remove),
        Action::Announce {
            instance,
            interface,
            address,
        } => {
            known_instance(lab, id, *instance);
            let settings = lab.settings_of(id, *instance).expect("known");
            let index = settings.addresses.iter().position(|configured| {
                configured.network.addr() == *address && configured.interface == *interface
            });
            let Some(index) = index.and_then(|index| u16::try_from(index).ok()) else {
                lab.fail(&format!("{address} on {interface} is not of this instance"));
            };
            let key = (*instance, AddressIndex(index));
            if !lab.at(id).ledger.acknowledged.contains(&key) {
                lab.fail(&format!("{address} announced before it was acknowledged"));
            }
        }
        Action::Report(_) => {}
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
fn advert_is_due(lab: &mut Lab, id: HostId, instance: InstanceId, priority: u8, before: &Before) {
    let agent = lab.at(id).agent.as_ref().expect("it acts");
    let after = instances(agent).remove(&instance).expect("known");
    let was = before.states.get(&instance).copied();
    if priority == 0 {
        if was != Some(StateName::Active) || after.state == StateName::Active {
            lab.fail("priority 0 from one that does not leave");
        }
        return;
    }
    if after.state == StateName::Active {
        if priority != after.effective_priority.get() {
            lab.fail("the Active advertises a priority that is not its own");
        }
        return;
    }
    let lost_now = was == Some(StateName::Active) && after.state == StateName::Backup;
    if !lost_now && !lab.at_mut(id).ledger.parting.remove(&instance) {
        lab.fail("an advertisement from one that is not Active");
    }
    if lost_now {
        lab.at_mut(id).ledger.parting.remove(&instance);
    }
    let settings = lab.settings_of(id, instance).expect("known");
    for (index, address) in (0..).map(AddressIndex).zip(&settings.addresses) {
        let host = lab.at(id);
        let held = host.kernel.holds(address.network.addr()).is_some();
        let ours = host.ledger.acknowledged.contains(&(instance, index));
        if held && ours {
            lab.fail("the parting advertisement left before the address");
        }
    }
}

fn ordered(lab: &mut Lab, id: HostId, order: &AddressOrder, kind: Pending) {
    known_instance(lab, id, order.instance);
    let settings = lab.settings_of(id, order.instance).expect("known");
    let configured = settings.addresses.get(usize::from(order.address.0));
    let fits = configured.is_some_and(|configured| {
        configured.interface == order.interface && configured.network.addr() == order.network.addr()
    });
    if !fits {
        lab.fail("an order for an address that is not configured");
    }
    let key = (order.instance, order.address);
    let ledger = &mut lab.at_mut(id).ledger;
    ledger.acknowledged.remove(&key);
    ledger.stuck.remove(&key);
    if ledger.pending.insert(key, kind).is_some() {
        lab.fail("a second order for an address while one is under way");
    }
}

/// Once after each turn of one agent.
pub fn after_turn(
    lab: &mut Lab,
    id: HostId,
    input: &Input,
    before: &Before,
    actions: &[Action],
    announced: u32,
) {
    if announced > ANNOUNCEMENTS_PER_TURN {
        lab.fail(&format!("{announced} announcements in one turn"));
    }
    let now = lab.now;
    let Some(agent) = &lab.at(id).agent else {
        return;
    };
    let deadline = agent.deadline().map(|(at, _)| at);
    let after = states(agent);
    let settings: Vec<_> = agent
        .instances()
        .map(|(id, settings)| (id, settings.advert_interval.as_duration()))
        .collect();
    let ledger = &mut lab.at_mut(id).ledger;
    for (instance, interval) in settings {
        let was = before.states.get(&instance).copied();
        let is = after.get(&instance).copied();
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
        match input {
            Input::Stop if was == Some(StateName::Active) => {
                let until = now + interval.min(RESIGNATION_LONGEST);
                ledger.resigning.insert(instance, until);
            }
            Input::StopNow => {
                ledger.resigning.remove(&instance);
            }
            _ => {}
        }
        let removes = actions.iter().any(
            |action| matches!(action, Action::RemoveAddress(order) if order.instance == instance),
        );
        if removes {
            ledger.resigning.remove(&instance);
        }
    }
    let idle = matches!(input, Input::Wake)
        && actions.is_empty()
        && deadline.is_some_and(|at| at <= now)
        && deadline == before.deadline;
    ledger.idle_wakes = if idle { ledger.idle_wakes + 1 } else { 0 };
    if ledger.idle_wakes > 3 {
        lab.fail("busy loop: woken again and again at the same moment for nothing");
    }
}

/// Over the whole laboratory, after every step.
pub fn everywhere(lab: &Lab) {
    for id in (0..lab.hosts.len()).map(HostId) {
        if lab.at(id).runs() {
            addresses_are_where_they_belong(lab, id);
        }
    }
}

/// Outside Active and resigning nobody keeps an address of ours, apart from
/// one whose removal is under way or was refused.
fn addresses_are_where_they_belong(lab: &Lab, id: HostId) {
    let host = lab.at(id);
    let Some(agent) = &host.agent else {
        return;
    };
    for ((instance, settings), status) in agent.instances().zip(agent.status().instances) {
        let resigning = host.ledger.resigning.get(&instance);
        let resigns = resigning.is_some_and(|until| lab.now <= *until);
        if status.state == StateName::Active || resigns {
            continue;
        }
        for (index, configured) in (0..).map(AddressIndex).zip(&settings.addresses) {
            let address = configured.network.addr();
            let known = host.ledger.interfaces.get(&configured.interface);
            let seen = known.and_then(Option::as_ref).is_some_and(|state| {
                let mut own = state.addresses.iter();
                own.any(|own| own.network.addr() == address && own.ours)
            });
            let key = (instance, index);
            let ours = host.ledger.acknowledged.contains(&key) || seen;
            let excused =
                host.ledger.pending.contains_key(&key) || host.ledger.stuck.contains(&key);
            let present = host.kernel.holds(address) == Some(configured.interface);
            if present && ours && !excused && !settings.priority.is_owner() {
                lab.fail(&format!(
                    "{} is {} and still has {address}",
                    host.name, status.state
                ));
            }
        }
    }
}
