//! One simulated host: its agent, its kernel, and what has reached its
//! sockets but not yet its agent.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use vipward::agent::Agent;
use vipward::agent::action::Action;
use vipward::agent::cluster::LinkEvent;
use vipward::agent::event::{
    Added, Claim, Event, FileRead, InterfaceState, NotRenewed, NotSent, Removed,
};
use vipward::agent::jobs::{Job, JobId, JobResult};
use vipward::agent::moves::Order;
use vipward::agent::routing::{Change, Effect, RoutingIndex, RoutingState};
use vipward::agent::seal::Sequence;
use vipward::agent::settings::{InstanceSettings, Settings};
use vipward::agent::time::{Instant, WallTime};
use vipward::agent::values::{AddressIndex, Family, InstanceId, InterfaceName, NodeName};
use vipward::agent::virtual_link::LinkChanged;

use super::clock::Clock;
use super::custody::Account;
use super::foreign::Foreign;
use super::invariants::Ledger;
use super::kernel::Kernel;
use super::moves::Moves;
use super::signing::Signing;
use super::wire::Packet;

#[derive(Debug)]
pub struct Host {
    pub name: String,
    pub number: u8,
    pub settings: Settings,
    /// Absent while no agent runs there.
    pub agent: Option<Agent>,
    /// Grows with each agent, so that news for a dead one is thrown away.
    pub generation: u32,
    pub powered: bool,
    pub paused: bool,
    /// It runs again, and what has waited is being told to it.
    pub catching_up: bool,
    pub clock: Clock,
    /// Absent where nothing is authenticated.
    pub signing: Option<Box<Signing>>,
    /// Another program than ours runs here.
    pub foreign: Option<Box<dyn Foreign>>,
    /// Ordered by the agent, for whoever answers.
    pub started: Vec<Job>,
    pub kernel: Kernel,
    /// Arrived while the host did not run: drained before timers are judged.
    pub sockets: VecDeque<Input>,
    /// The same from the threads that watch the kernel.
    pub channels: VecDeque<Input>,
    pub ledger: Ledger,
    /// Instances that the last reload found, for what they still send.
    pub outboxes: BTreeMap<InstanceId, InstanceSettings>,
    pub account: Account,
    pub moves: Moves,
}

/// An [`Event`] that owns its bytes.
#[derive(Clone, Debug)]
pub enum Input {
    Wake,
    Packet(Rc<Packet>),
    Claim {
        interface: InterfaceName,
        claim: Claim,
    },
    Interface {
        interface: InterfaceName,
        state: Option<InterfaceState>,
    },
    Socket {
        interface: InterfaceName,
        family: Family,
        outcome: Result<(), String>,
    },
    Added {
        instance: InstanceId,
        address: AddressIndex,
        outcome: Result<Added, String>,
    },
    Removed {
        instance: InstanceId,
        address: AddressIndex,
        outcome: Result<Removed, String>,
    },
    Unleased {
        instance: InstanceId,
        address: AddressIndex,
        reason: String,
    },
    Renewed {
        instance: InstanceId,
        address: AddressIndex,
        outcome: Result<(), NotRenewed>,
    },
    Link(LinkEvent),
    RoutingChanged {
        instance: InstanceId,
        index: RoutingIndex,
        change: Change,
        outcome: Result<Effect, String>,
    },
    Routing(RoutingState),
    LinkChanged {
        instance: InstanceId,
        outcome: Result<LinkChanged, String>,
    },
    /// A check or hook ended.
    Done {
        job: JobId,
        result: JobResult,
    },
    FileRead(FileRead),
    Reload(Box<Settings>),
    /// Of an operator.
    Order {
        ticket: u64,
        node: Option<NodeName>,
        order: Order,
    },
    Kept {
        serial: u64,
        outcome: Result<WallTime, String>,
    },
    Clock(WallTime),
    Stop,
    StopNow,
}

impl Input {
    pub fn comes_by_socket(&self) -> bool {
        match self {
            Input::Packet(_) | Input::Claim { .. } | Input::Link(_) => true,
            Input::Wake
            | Input::Interface { .. }
            | Input::Socket { .. }
            | Input::Added { .. }
            | Input::Removed { .. }
            | Input::Unleased { .. }
            | Input::Renewed { .. }
            | Input::RoutingChanged { .. }
            | Input::Routing(_)
            | Input::LinkChanged { .. }
            | Input::Stop
            | Input::Done { .. }
            | Input::FileRead(_)
            | Input::Reload(_)
            | Input::Order { .. }
            | Input::Kept { .. }
            | Input::Clock(_)
            | Input::StopNow => false,
        }
    }

    /// With the host's wall clock, where it has one.
    pub fn event(&self, wall: Option<Sequence>) -> Event<'_> {
        match self.clone() {
            Input::Wake => Event::Wake,
            Input::Packet(_) => match self {
                Input::Packet(packet) => Event::Advert(packet.heard_at(wall)),
                _ => unreachable!("it was a packet"),
            },
            Input::Claim { interface, claim } => Event::Claim { interface, claim },
            Input::Interface { interface, state } => Event::Interface { interface, state },
            Input::Socket {
                interface,
                family,
                outcome,
            } => Event::Socket {
                interface,
                family,
                outcome,
            },
            Input::Added {
                instance,
                address,
                outcome,
            } => Event::AddressAdded {
                instance,
                address,
                outcome,
            },
            Input::Removed {
                instance,
                address,
                outcome,
            } => Event::AddressRemoved {
                instance,
                address,
                outcome,
            },
            Input::Unleased {
                instance,
                address,
                reason,
            } => Event::AddressUnleased {
                instance,
                address,
                reason,
            },
            Input::Renewed {
                instance,
                address,
                outcome,
            } => Event::AddressRenewed {
                instance,
                address,
                outcome,
            },
            Input::Link(event) => Event::Link(event),
            Input::RoutingChanged {
                instance,
                index,
                change,
                outcome,
            } => Event::RoutingChanged {
                instance,
                index,
                change,
                outcome,
            },
            Input::Routing(state) => Event::Routing(state),
            Input::LinkChanged { instance, outcome } => Event::LinkChanged { instance, outcome },
            Input::Stop => Event::Stop,
            Input::Done { job, result } => Event::JobDone { job, result },
            Input::FileRead(read) => Event::FileRead(read),
            Input::Reload(settings) => Event::Reload(settings),
            Input::Order {
                ticket,
                node,
                order,
            } => Event::Order {
                ticket,
                node,
                order,
            },
            Input::Kept { serial, outcome } => Event::Kept { serial, outcome },
            Input::Clock(wall) => Event::Clock(wall),
            Input::StopNow => Event::StopNow,
        }
    }

    /// In words, for the trace.
    pub fn words(&self) -> String {
        match self {
            Input::Wake => "wakes".to_owned(),
            Input::Packet(packet) => packet.words(),
            Input::Claim { interface, claim } => {
                let verb = if claim.solicited {
                    "answer for"
                } else {
                    "announce"
                };
                let (address, from) = (claim.address, claim.hardware_address);
                format!("sees {from} {verb} {address} on {interface}")
            }
            Input::Interface { interface, state } => match state {
                None => format!("sees {interface} missing"),
                Some(state) => {
                    let addresses: Vec<String> = state
                        .addresses
                        .iter()
                        .map(|own| format!("{}{}", own.network, if own.ours { "*" } else { "" }))
                        .collect();
                    let up = if state.up { "up" } else { "down" };
                    let index = state.index;
                    format!("sees {interface} ({index}, {up}): {}", addresses.join(" "))
                }
            },
            Input::Socket {
                interface, outcome, ..
            } => format!("socket on {interface}: {outcome:?}"),
            Input::Added {
                instance,
                address,
                outcome,
            } => format!("add #{}.{} done: {outcome:?}", instance.0, address.0),
            Input::Removed {
                instance,
                address,
                outcome,
            } => format!("remove #{}.{} done: {outcome:?}", instance.0, address.0),
            Input::Unleased {
                instance,
                address,
                reason,
            } => format!("#{}.{} has no lease: {reason}", instance.0, address.0),
            Input::Renewed {
                instance,
                address,
                outcome,
            } => format!("renew #{}.{} done: {outcome:?}", instance.0, address.0),
            Input::Link(LinkEvent::Heard { node, message, .. }) => {
                let news = message.news.as_ref().map_or(0, |news| news.records.len());
                format!("is told by {node}: {news} records, {:?}", message.words)
            }
            Input::Link(event) => format!("{event:?}"),
            Input::RoutingChanged {
                instance,
                index,
                change,
                outcome,
            } => format!(
                "{change:?} of #{}.r{} done: {outcome:?}",
                instance.0, index.0
            ),
            Input::Routing(state) => {
                let items: Vec<String> = state.iter().map(ToString::to_string).collect();
                format!("is shown the routes and rules [{}]", items.join("; "))
            }
            Input::LinkChanged { instance, outcome } => {
                format!("virtual MAC of #{} done: {outcome:?}", instance.0)
            }
            Input::Stop => "is told to stop".to_owned(),
            Input::Done { job, result } => format!("job {} ended: {:?}", job.0, result.verdict),
            Input::FileRead(read) => format!("reads {}: {:?}", read.path.display(), read.number),
            Input::Reload(_) => "is given a new configuration".to_owned(),
            Input::Order { order, .. } => format!("is ordered: {order:?}"),
            Input::Kept { outcome, .. } => format!("has written that down: {outcome:?}"),
            Input::Clock(wall) => format!("is told the time: {}", wall.0),
            Input::StopNow => "is told to stop at once".to_owned(),
        }
    }
}

/// Lets an agent act, and answers each of its advertisements before anything
/// else happens, as the loop does.
pub fn handle(
    agent: &mut Agent,
    now: Instant,
    event: Event<'_>,
    can_send: impl Fn(&Agent, InstanceId) -> Result<(), NotSent>,
) -> Vec<Action> {
    let mut actions = agent.handle(now, event);
    let mut answered = 0;
    while let Some(action) = actions.get(answered) {
        if let Action::Advertise { instance, .. } = *action {
            let outcome = can_send(agent, instance);
            let event = Event::Advertised { instance, outcome };
            agent.handle_into(now, event, &mut actions);
        }
        answered += 1;
    }
    actions
}

impl Host {
    pub fn runs(&self) -> bool {
        self.agent.is_some() && !self.paused
    }

    /// When it wants to be woken, by the laboratory's clock.
    pub fn wake_at(&self) -> Option<Instant> {
        if self.paused {
            return None;
        }
        let own = self
            .agent
            .as_ref()
            .and_then(|agent| match &self.ledger.last {
                // Nothing but a turn moves it.
                Some(seen) => seen.deadline,
                None => agent.deadline().map(|(at, _)| at),
            });
        let foreign = self.foreign.as_ref().and_then(|other| other.deadline());
        let at = own.into_iter().chain(foreign).min()?;
        Some(self.clock.woken(at))
    }
}
