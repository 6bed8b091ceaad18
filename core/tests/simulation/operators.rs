//! Operators in a run: what they order where, what they were answered, and
//! what must be true from then on.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use vipward::agent::moves::{Answer, Order};
use vipward::agent::status::StateName;
use vipward::agent::time::Instant;
use vipward::agent::values::{InstanceName, NodeName};

use crate::cluster::Cluster;
use crate::dice::Dice;
use crate::fault::Fault;
use crate::kit::{HostId, Lab, START, link};
use crate::plan::{Deed, Phase, Planner};
use crate::sim::Sim;

/// Of casts with a peer link, and of all others.
const PERCENT: [u64; 2] = [50, 5];
/// How often an agent that wants to is told the time of day.
const CLOCK: Duration = Duration::from_millis(100);
/// The time of day is told in milliseconds.
const MILLISECOND: Duration = Duration::from_millis(1);

pub fn are_there(seed: u64) -> bool {
    let percent = if Cluster::is_of(seed) {
        PERCENT[0]
    } else {
        PERCENT[1]
    };
    Dice::new(seed, "operators").chance(percent)
}

/// What an operator knows of an instance on a host, by the answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    TakesPart,
    /// If its time ends: not before the first, and by the second.
    Drained(Option<(Instant, Instant)>),
    /// The last answer is not there, or says so.
    Unsure,
}

#[derive(Clone, Debug)]
struct Pending {
    at: HostId,
    ticket: u64,
    /// Whose agent is to do it.
    by: HostId,
    order: Order,
    since: Instant,
    /// The agent that was asked.
    generation: u32,
    /// It was not the only order about that host.
    crossed: bool,
    /// What was Active there.
    served: Vec<InstanceName>,
    /// Whose agents ran.
    ran: Vec<HostId>,
}

#[derive(Debug, Default)]
pub struct Operators {
    pending: Vec<Pending>,
    known: BTreeMap<(HostId, InstanceName), Known>,
    /// When each host is told the time of day next.
    clocks: BTreeMap<HostId, Instant>,
    /// The disk of these was full since they started.
    forgetful: BTreeSet<HostId>,
    pub answered: u64,
}

impl Planner<'_> {
    pub fn operators(&mut self, dice: &mut Dice, phase: Phase) {
        for _ in 0..dice.between(1, 4) {
            let (from, to) = self.within(dice, phase);
            let host = dice.index(self.hosts);
            let target = dice.chance(30).then(|| dice.index(self.hosts));
            let node = target.map(|target| link::node(HostId(target)));
            let group = dice.index(self.cast.groups.len());
            let name = self.cast.settings[0].instances[group].name.clone();
            let one = dice.chance(75).then(|| name.clone());
            let undrain = Order::Undrain {
                instance: one.clone(),
            };
            let order = match dice.below(10) {
                0..=4 => Order::Handover {
                    instance: name,
                    to: self.successor(dice),
                },
                5..=8 => {
                    let spanned = dice.chance(30);
                    let span = dice.span(self.cast.unit, self.cast.unit * 10);
                    Order::Drain {
                        instance: one,
                        span: spanned.then_some(span),
                        force: dice.chance(30),
                    }
                }
                _ => undrain.clone(),
            };
            let drains = matches!(order, Order::Drain { .. });
            let deed = Deed::Order(host, node.clone(), order.clone());
            self.at(from, deed);
            // Twice at once, or another as quickly.
            if dice.chance(10) {
                let again = Deed::Order(host, node.clone(), order);
                self.at(from + dice.span(Duration::ZERO, MILLISECOND * 3), again);
            }
            if drains && dice.chance(70) {
                self.at(to, Deed::Order(host, node, undrain));
            }
            let soon = from + dice.span(Duration::ZERO, self.cast.unit);
            let victim = if dice.chance(50) {
                host
            } else {
                dice.index(self.hosts)
            };
            match dice.below(10) {
                0 => self.at(soon, Deed::Kill(victim)),
                1 => self.at(soon, Deed::Stop(victim)),
                2 => {
                    let before = from.saturating_sub(dice.span(Duration::ZERO, MILLISECOND * 5));
                    let after = from + dice.span(Duration::ZERO, MILLISECOND * 5);
                    let after = if dice.chance(50) {
                        after
                    } else {
                        to.max(after)
                    };
                    self.at(before, Deed::Disk(victim, true));
                    self.at(after, Deed::Disk(victim, false));
                    continue;
                }
                _ => continue,
            }
            let back = dice.span(soon, phase.to.max(soon));
            self.at(back, Deed::Start(victim));
        }
    }

    fn successor(&self, dice: &mut Dice) -> Option<NodeName> {
        match dice.below(10) {
            0..=4 => None,
            5 => Some(NodeName::new("Z")),
            _ => Some(link::node(HostId(dice.index(self.hosts)))),
        }
    }
}

impl Sim {
    pub fn operator_deed(&mut self, deed: Deed) {
        match deed {
            Deed::Order(host, node, order) => self.order(HostId(host), node, order),
            Deed::Disk(host, broken) => {
                self.lab.at_mut(HostId(host)).moves.broken = broken;
                if broken {
                    self.operators.forgetful.insert(HostId(host));
                }
            }
            _ => unreachable!("not of operators"),
        }
    }

    fn order(&mut self, at: HostId, node: Option<NodeName>, order: Order) {
        let host = self.lab.at(at);
        if !host.runs() {
            return;
        }
        let generation = host.generation;
        let named = node.as_ref().and_then(|node| {
            let mut all = self.ids();
            all.find(|id| link::node(*id) == *node)
        });
        let by = named.unwrap_or(at);
        let ticket = self
            .lab
            .order_for(at, node.as_ref().map(NodeName::as_str), order.clone());
        let served = self.served(by, &order);
        let ran = self.ids().filter(|id| self.serves(*id)).collect();
        let operators = &mut self.operators;
        let mut crossed = false;
        for other in operators.pending.iter_mut().filter(|other| other.by == by) {
            other.crossed = true;
            crossed = true;
        }
        operators.pending.push(Pending {
            at,
            ticket,
            by,
            order,
            since: self.lab.now(),
            generation,
            crossed,
            served,
            ran,
        });
    }

    /// After each step: answers, and what is overdue.
    pub fn operators_look(&mut self) {
        if !self.cast.faults.has(Fault::Moves) {
            return;
        }
        self.tell_the_time();
        // Those that come later see those that are left.
        let mut pending = std::mem::take(&mut self.operators.pending);
        while let Some(mut one) = pending.pop() {
            let host = self.lab.at(one.at);
            if let Some((_, answer)) = self.lab.answer(one.at, one.ticket) {
                self.operators.answered += 1;
                self.disturbed = self.disturbed.max(self.lab.now());
                self.judge.dirty = true;
                let alone = pending.is_empty() && self.operators.pending.is_empty();
                self.conclude(&one, &answer, alone && !one.crossed);
                continue;
            }
            if host.agent.is_none() || host.generation != one.generation {
                self.unsure(one.by);
                continue;
            }
            if host.paused {
                one.since = self.lab.now();
            }
            if self.lab.now().since(one.since) > self.bounds.order {
                let name = &host.name;
                let text = format!("{name} does not answer {:?}", one.order);
                self.lab.fail(&text);
            }
            self.operators.pending.push(one);
        }
        self.operators.pending.reverse();
        self.drains_hold();
    }

    fn tell_the_time(&mut self) {
        let now = self.lab.now();
        for id in self.ids() {
            let host = self.lab.at(id);
            let wants = host.runs() && host.agent.as_ref().is_some_and(|a| a.wants_clock());
            let next = self.operators.clocks.get(&id).copied().unwrap_or(START);
            if wants && next <= now {
                self.operators.clocks.insert(id, now + CLOCK);
                self.lab.tell_time(id);
            }
        }
    }

    /// The instances that an order is about, on the host that does it.
    fn meant(&self, order: &Order) -> Vec<InstanceName> {
        let all = &self.cast.settings[0].instances;
        let place = order
            .instance()
            .and_then(|name| all.iter().position(|one| one.name == *name));
        match place {
            Some(place) => {
                let with = self.cast.with(place);
                with.iter().map(|place| all[*place].name.clone()).collect()
            }
            None => all.iter().map(|one| one.name.clone()).collect(),
        }
    }

    /// Of those that an order is about, which are Active there.
    fn served(&self, by: HostId, order: &Order) -> Vec<InstanceName> {
        let mut all = self.meant(order);
        all.retain(|name| self.is_active(by, name));
        all
    }

    fn is_active(&self, id: HostId, name: &InstanceName) -> bool {
        let host = self.lab.at(id);
        let all = host.agent.iter().flat_map(|agent| agent.instances());
        let mut all = all.filter(|(_, settings)| settings.name == *name);
        let seen = host.ledger.last.as_ref();
        all.any(|(id, _)| seen.and_then(|seen| seen.state(id)) == Some(StateName::Active))
    }

    fn serves(&self, id: HostId) -> bool {
        self.lab.at(id).runs() && self.hosts[id.0].stopping.is_none()
    }

    /// Whoever is drained, and not by force, has a successor then.
    fn has_successor(&self, one: &Pending) {
        let Order::Drain { force: false, .. } = one.order else {
            return;
        };
        let mut faults = self.cast.faults.0.iter();
        let quiet = faults.all(|fault| *fault == Fault::Moves);
        let run = one.ran.iter().all(|id| self.serves(*id));
        if !(quiet && run) {
            return;
        }
        for name in &one.served {
            if !self.ids().any(|id| self.is_active(id, name)) {
                let host = &self.lab.at(one.by).name;
                let text = format!("{host} {name}: was drained, and nobody has taken over");
                self.lab.fail(&text);
            }
        }
    }

    /// `alone`: nothing else was ordered meanwhile.
    fn conclude(&mut self, one: &Pending, answer: &Answer, alone: bool) {
        let now = self.lab.now();
        let several = one.order.instance().is_none();
        let nobody_knows = |why: &str| why.contains("may have done it all the same");
        let known = match (&one.order, answer) {
            (Order::Handover { .. }, _) => return,
            // Its end may come while it is being answered.
            (Order::Drain { span, .. }, Ok(_)) => {
                if alone {
                    self.has_successor(one);
                }
                Known::Drained(span.map(|span| (one.since + span, now + span)))
            }
            (Order::Undrain { .. }, Ok(_)) => Known::TakesPart,
            (Order::Drain { .. } | Order::Undrain { .. }, Err(why)) => {
                if several || nobody_knows(why) {
                    self.unsure(one.by);
                }
                return;
            }
        };
        let known = if one.crossed { Known::Unsure } else { known };
        for name in self.meant(&one.order) {
            self.operators.known.insert((one.by, name), known);
        }
    }

    /// Of a host nothing is certain until the next answer.
    pub fn unsure(&mut self, host: HostId) {
        for ((of, _), known) in &mut self.operators.known {
            if *of == host {
                *known = Known::Unsure;
            }
        }
        for settings in &self.cast.settings[0].instances {
            let key = (host, settings.name.clone());
            self.operators.known.insert(key, Known::Unsure);
        }
    }

    /// An agent starts: what could not be written down was forgotten.
    pub fn operators_start(&mut self, host: HostId) {
        if self.operators.forgetful.remove(&host) {
            self.unsure(host);
        }
        if self.lab.at(host).moves.broken {
            self.operators.forgetful.insert(host);
        }
    }

    /// Whoever was said to be drained is, and nobody else.
    fn drains_hold(&self) {
        let now = self.lab.now();
        for id in self.ids() {
            let host = self.lab.at(id);
            let busy = self.operators.pending.iter().any(|one| one.by == id);
            if !host.runs() || host.catching_up || busy {
                continue;
            }
            let seen = host.ledger.last.as_ref();
            let all = host.agent.iter().flat_map(|agent| agent.instances());
            for (instance, settings) in all {
                let Some(state) = seen.and_then(|seen| seen.state(instance)) else {
                    continue;
                };
                let key = (id, settings.name.clone());
                let known = self.operators.known.get(&key);
                let known = known.copied().unwrap_or(Known::TakesPart);
                self.drain_holds(id, &settings.name, state, known, now);
            }
        }
    }

    fn drain_holds(
        &self,
        id: HostId,
        name: &InstanceName,
        state: StateName,
        known: Known,
        now: Instant,
    ) {
        let host = &self.lab.at(id).name;
        let is = state == StateName::Drained;
        let late = CLOCK * 2 + self.cast.late_max + MILLISECOND * 2;
        match known {
            Known::Drained(Some((_, last))) if now > last + late => {
                // A host that stood still hears the time later.
                let told = self.operators.clocks.get(&id);
                if is && told.is_some_and(|next| *next > last + CLOCK + late) {
                    let text = format!("{host} {name}: still drained, and its time is over");
                    self.lab.fail(&text);
                }
            }
            Known::Drained(end) => {
                let over = end.is_some_and(|(first, _)| now + MILLISECOND * 2 >= first);
                let relieved = state == StateName::Initialize;
                if !is && !over && !relieved {
                    let text = format!("{host} {name}: was said to be drained and is {state}");
                    self.lab.fail(&text);
                }
            }
            Known::TakesPart if is => {
                let text = format!("{host} {name}: is drained, and nobody was told so");
                self.lab.fail(&text);
            }
            Known::TakesPart | Known::Unsure => {}
        }
    }
}

/// What this host has written down of an instance.
pub fn is_kept(lab: &Lab, host: HostId, name: &InstanceName) -> bool {
    let kept = &lab.at(host).moves.kept;
    kept.drained.iter().any(|(known, _)| known == name)
}
