//! The model: hosts with clocks that know nothing of each other, a segment
//! that delivers in any order, at any time, or not at all.
//!
//! An event reaches a host at one of three times: at once; at the very
//! moment its next timer ends, and before that timer is looked at; or, as the
//! one lateness that a run may have, long after. A timer likewise ends on
//! time or long after.

use std::hash::{Hash, Hasher};
use std::time::Duration;

use stateright::{Model, Property};
use vipward::agent::event::Event;
use vipward::agent::settings::{InstanceSettings, Preempt};
use vipward::agent::status::StateName;
use vipward::agent::values::Priority;

use crate::node::{Node, Said};

/// Late by more than anybody's patience.
const LATE: Duration = Duration::from_secs(10);
/// Packets on their way to one host at most; what would be one more is not
/// explored.
const UNDER_WAY_MAX: usize = 3;

/// Which hosts there are, and how much may happen.
#[derive(Clone, Debug)]
pub struct World {
    pub hosts: Vec<InstanceSettings>,
    pub limits: Budget,
    /// The highest priority and the lowest change places with this.
    pub other_priority: u8,
}

/// How often each of these may still happen.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub struct Budget {
    pub losses: u8,
    pub latenesses: u8,
    pub priorities: u8,
    pub stops: u8,
    pub deaths: u8,
    pub starts: u8,
    pub refusals: u8,
}

#[derive(Clone, Debug)]
pub struct State {
    pub nodes: Vec<Node>,
    /// From, to, what: in any order.
    pub under_way: Vec<(usize, usize, Said)>,
    pub left: Budget,
    /// The kernel has refused something.
    pub refused: bool,
    pub broken: Option<String>,
}

#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub enum When {
    Now,
    AtDeadline,
    Late,
}

#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub enum Act {
    Deliver(usize, usize, Said, When),
    Lose(usize, usize, Said),
    TimeOut(usize, When),
    Kernel(usize, bool),
    Priority(usize),
    Stop(usize),
    Die(usize),
    Start(usize),
}

/// The agents' keys stand for the agents.
impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        let node = |node: &Node| {
            let priority = node.settings.priority;
            (
                node.agent.is_some(),
                node.has,
                node.stuck,
                node.key,
                priority,
                node.orders.clone(),
            )
        };
        let nodes = self.nodes.iter().map(node);
        nodes.eq(other.nodes.iter().map(node))
            && self.under_way == other.under_way
            && self.left == other.left
            && self.broken == other.broken
    }
}

impl Hash for State {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        for node in &self.nodes {
            (node.agent.is_some(), node.has, node.stuck, node.key).hash(hasher);
            node.orders.hash(hasher);
            node.settings.priority.hash(hasher);
        }
        self.under_way.hash(hasher);
        self.left.hash(hasher);
        self.broken.is_some().hash(hasher);
    }
}

impl State {
    pub fn start(world: &World) -> Self {
        let nodes = (1..).zip(&world.hosts);
        Self {
            nodes: nodes
                .map(|(number, settings)| Node::new(number, settings.clone()))
                .collect(),
            under_way: Vec::new(),
            left: world.limits,
            refused: false,
            broken: None,
        }
    }

    /// What a host said goes to every other that runs.
    pub fn spread(&mut self, from: usize, said: Result<Vec<Said>, String>) {
        match said {
            Ok(said) => {
                for said in said {
                    for to in 0..self.nodes.len() {
                        if to != from && self.nodes[to].agent.is_some() {
                            self.under_way.push((from, to, said));
                        }
                    }
                }
                self.under_way.sort_unstable();
            }
            Err(why) => self.broken = Some(why),
        }
    }

    pub fn deliver(&mut self, packet: (usize, usize, Said)) {
        let (from, to, said) = packet;
        let known = self.under_way.iter().position(|other| *other == packet);
        let Some(position) = known else {
            return;
        };
        self.under_way.remove(position);
        let (number, sender) = (self.nodes[from].number, self.nodes[from].settings.clone());
        let answer = self.nodes[to].hear(number, &sender, said);
        self.spread(to, answer);
    }

    fn go(&mut self, host: usize, when: When) {
        let Some((due, _)) = self.nodes[host].deadline() else {
            return;
        };
        match when {
            When::Now => {}
            When::AtDeadline => self.nodes[host].jump(due),
            When::Late => {
                self.left.latenesses -= 1;
                self.nodes[host].jump(due + LATE);
            }
        }
    }

    fn apply(&mut self, world: &World, act: Act) {
        let before = self.nodes.iter().map(|node| (node.agent.clone(), node.now));
        let before: Vec<_> = before.collect();
        match act {
            Act::Deliver(from, to, said, when) => {
                self.go(to, when);
                self.deliver((from, to, said));
            }
            Act::Lose(from, to, said) => {
                self.left.losses -= 1;
                let packet = (from, to, said);
                if let Some(at) = self.under_way.iter().position(|other| *other == packet) {
                    self.under_way.remove(at);
                }
            }
            Act::TimeOut(host, when) => {
                self.go(host, when);
                let said = self.nodes[host].feed(Event::Wake);
                self.spread(host, said);
            }
            Act::Kernel(host, willing) => {
                self.left.refusals -= u8::from(!willing);
                self.refused |= !willing;
                let said = self.nodes[host].kernel(willing);
                self.spread(host, said);
            }
            Act::Priority(host) => {
                self.left.priorities -= 1;
                let value = Priority::new(world.other_priority).expect("a priority");
                self.nodes[host].settings.priority = value;
                let said = self.nodes[host].reload();
                self.spread(host, said);
            }
            Act::Stop(host) => {
                self.left.stops -= 1;
                let said = self.nodes[host].feed(Event::Stop);
                self.spread(host, said);
            }
            Act::Die(host) => {
                self.left.deaths -= 1;
                self.nodes[host].agent = None;
                self.nodes[host].orders.clear();
            }
            Act::Start(host) => {
                self.left.starts -= 1;
                let said = self.nodes[host].start();
                self.spread(host, said);
            }
        }
        for (node, before) in self.nodes.iter_mut().zip(before) {
            let same = match (&node.agent, &before.0) {
                (Some(one), Some(other)) => std::sync::Arc::ptr_eq(one, other),
                (None, None) => true,
                (Some(_), None) | (None, Some(_)) => false,
            };
            if !same || node.now != before.1 {
                node.renew_key();
            }
        }
        let nodes = &self.nodes;
        self.under_way
            .retain(|(_, to, _)| nodes[*to].agent.is_some());
    }

    fn whens(&self, host: usize) -> impl Iterator<Item = When> {
        let due = self.nodes[host].deadline().map(|(at, _)| at);
        let ahead = due.is_some_and(|at| at > self.nodes[host].now);
        let late = due.is_some() && self.left.latenesses > 0;
        let all = [
            (When::Now, true),
            (When::AtDeadline, ahead),
            (When::Late, late),
        ];
        all.into_iter()
            .filter(|(_, may)| *may)
            .map(|(when, _)| when)
    }
}

impl Model for World {
    type State = State;
    type Action = Act;

    /// All just started, and all agreed.
    fn init_states(&self) -> Vec<State> {
        let mut fresh = State::start(self);
        for host in 0..fresh.nodes.len() {
            let said = fresh.nodes[host].start();
            fresh.spread(host, said);
        }
        let mut agreed = fresh.clone();
        agreed.calm(crate::calm::BOUND).expect("nothing disturbs");
        for state in [&mut fresh, &mut agreed] {
            state.nodes.iter_mut().for_each(Node::renew_key);
        }
        vec![fresh, agreed]
    }

    fn actions(&self, state: &State, acts: &mut Vec<Act>) {
        if state.broken.is_some() {
            return;
        }
        let mut last = None;
        for packet in &state.under_way {
            if last.replace(packet) == Some(packet) {
                continue;
            }
            let (from, to, said) = *packet;
            acts.extend(
                state
                    .whens(to)
                    .map(|when| Act::Deliver(from, to, said, when)),
            );
            if state.left.losses > 0 {
                acts.push(Act::Lose(from, to, said));
            }
        }
        for (host, node) in state.nodes.iter().enumerate() {
            if node.agent.is_none() {
                if state.left.starts > 0 {
                    acts.push(Act::Start(host));
                }
                continue;
            }
            // A timer that is due now is not earlier than one that is.
            let whens = state.whens(host).filter(|when| {
                *when != When::Now || node.deadline().is_some_and(|(at, _)| at <= node.now)
            });
            acts.extend(whens.map(|when| Act::TimeOut(host, when)));
            if !node.orders.is_empty() {
                acts.push(Act::Kernel(host, true));
                if state.left.refusals > 0 {
                    acts.push(Act::Kernel(host, false));
                }
            }
            let other = node.settings.priority.get() != self.other_priority;
            if state.left.priorities > 0 && other {
                acts.push(Act::Priority(host));
            }
            if state.left.stops > 0 {
                acts.push(Act::Stop(host));
            }
            if state.left.deaths > 0 {
                acts.push(Act::Die(host));
            }
        }
    }

    fn next_state(&self, state: &State, act: Act) -> Option<State> {
        let mut next = state.clone();
        next.apply(self, act);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("no turn breaks a rule", |_, state: &State| {
                state.broken.is_none()
            }),
            Property::always("left alone, the hosts agree", |_, state: &State| {
                state.broken.is_some() || state.agrees_in_the_end().is_ok()
            }),
            Property::sometimes("two are Active", |_, state: &State| {
                let active = |node: &&Node| node.state() == Some(StateName::Active);
                state.nodes.iter().filter(active).count() > 1
            }),
            Property::sometimes("nobody is Active", |_, state: &State| {
                let active = |node: &Node| node.state() == Some(StateName::Active);
                !state.nodes.iter().any(active)
            }),
        ]
    }

    fn within_boundary(&self, state: &State) -> bool {
        (0..state.nodes.len()).all(|host| {
            let to_it = state.under_way.iter().filter(|(_, to, _)| *to == host);
            to_it.count() <= UNDER_WAY_MAX
        })
    }
}

/// Whether one of these takes the address from a lower one.
pub fn preempts(settings: &InstanceSettings) -> bool {
    settings.preempt != Preempt::Never || settings.priority.is_owner()
}
