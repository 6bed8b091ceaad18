//! Orders of operators, their answers, and what a host has written down.

use vipward::agent::cluster::message::Word;
use vipward::agent::moves::{Answer, DrainEnd, Kept, Order};
use vipward::agent::time::{Instant, WallTime};
use vipward::agent::values::{InstanceName, NodeName};

use super::host::Input;
use super::settings::ms;
use super::{HostId, Lab, What};

/// Of one host.
#[derive(Clone, Debug, Default)]
pub struct Moves {
    /// In its state directory.
    pub kept: Kept,
    /// The directory cannot be written.
    pub broken: bool,
    pub answers: Vec<(u64, Instant, Answer)>,
    asked: u64,
}

/// The hosts' time of day.
fn wall(now: Instant) -> WallTime {
    WallTime(now.as_nanos() / 1_000_000)
}

pub fn handover(instance: &str, to: Option<&str>) -> Order {
    Order::Handover {
        instance: InstanceName::new(instance),
        to: to.map(NodeName::new),
    }
}

pub fn drain(instance: &str) -> Order {
    Order::Drain {
        instance: Some(InstanceName::new(instance)),
        span: None,
        force: false,
    }
}

pub fn drain_by_force(instance: &str) -> Order {
    Order::Drain {
        instance: Some(InstanceName::new(instance)),
        span: None,
        force: true,
    }
}

pub fn undrain(instance: &str) -> Order {
    Order::Undrain {
        instance: Some(InstanceName::new(instance)),
    }
}

impl Lab {
    /// An operator's order at a host. Returns the number of its answer.
    pub fn order_at(&mut self, id: HostId, order: Order) -> u64 {
        self.order_for(id, None, order)
    }

    /// The same for another node.
    pub fn order_for(&mut self, id: HostId, node: Option<&str>, order: Order) -> u64 {
        self.tell(format!("{} is ordered: {order:?}", self.at(id).name));
        let moves = &mut self.at_mut(id).moves;
        moves.asked += 1;
        let ticket = moves.asked;
        let node = node.map(NodeName::new);
        let input = Input::Order {
            ticket,
            node,
            order,
        };
        self.feed(id, input);
        ticket
    }

    /// What came of an order, and when, if anything.
    pub fn answer(&self, id: HostId, ticket: u64) -> Option<(Instant, Answer)> {
        let mut answers = self.at(id).moves.answers.iter();
        let found = answers.find(|(of, _, _)| *of == ticket)?;
        Some((found.1, found.2.clone()))
    }

    /// What a host said to others by the peer link, since the mark.
    pub fn words(&self, id: HostId) -> Vec<Word> {
        let all = self.record(id).filter_map(|(_, what)| match what {
            What::Told(_, words) => Some(words.clone()),
            _ => None,
        });
        all.flatten().collect()
    }

    /// The time of day comes to the agent, as it does now and then.
    pub fn tell_time(&mut self, id: HostId) {
        let wall = wall(self.now());
        self.feed(id, Input::Clock(wall));
    }

    /// The disk takes a moment.
    pub(super) fn keep(&mut self, id: HostId, serial: u64, mut kept: Kept) {
        let now = wall(self.now());
        let moves = &mut self.at_mut(id).moves;
        let outcome = if moves.broken {
            Err("no space left on device".to_owned())
        } else {
            for (_, end) in &mut kept.drained {
                if let DrainEnd::After(span) = *end {
                    *end = DrainEnd::At(now + span);
                }
            }
            moves.kept = kept;
            Ok(now)
        };
        self.news_in(ms(2), id, Input::Kept { serial, outcome });
    }

    pub(super) fn answered(&mut self, id: HostId, ticket: u64, answer: Answer) {
        let now = self.now();
        let answers = &mut self.at_mut(id).moves.answers;
        answers.push((ticket, now, answer));
    }

    pub(super) fn restore_moves(&mut self, id: HostId) {
        let now = self.local(id);
        let host = self.at_mut(id);
        if let Some(agent) = &mut host.agent {
            agent.restore_moves(now, &host.moves.kept);
        }
    }
}
