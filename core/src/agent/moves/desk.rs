//! Where planned moves meet the rest of the core: words of other nodes, the
//! clock, and what became of the members in a turn.

use std::collections::BTreeSet;

use super::incumbent::{Outgoing, Purpose};
use super::step::Step;
use super::successor::Incoming;
use super::unit::{self, Members};
use super::{Exchange, Progress};
use crate::agent::Agent;
use crate::agent::action::Action;
use crate::agent::cluster::message::Word;
use crate::agent::groups;
use crate::agent::jobs::HookKind;
use crate::agent::router::VirtualRouter;
use crate::agent::time::Instant;
use crate::agent::values::{InstanceId, InstanceName, NodeName};
use crate::agent::world::Turn;

/// Who said something of a planned move, and under which name: an answer bears
/// the same, whatever that instance is part of here.
struct Asked<'a> {
    node: &'a NodeName,
    instance: InstanceName,
    serial: u64,
}

impl Asked<'_> {
    fn answer(&self, turn: &mut Turn<'_>, step: Step) {
        let word = Word::Move {
            instance: self.instance.clone(),
            serial: self.serial,
            step,
        };
        turn.say(self.node, word);
    }
}

impl Agent {
    /// Lets the members of a group, or one instance, act together, and draws
    /// the conclusions for all of them. `None` where there is none.
    pub(in crate::agent) fn with_unit<R>(
        &mut self,
        now: Instant,
        actions: &mut Vec<Action>,
        unit: InstanceId,
        act: impl FnOnce(&mut Turn<'_>, Members<'_, '_>) -> R,
    ) -> Option<R> {
        let ids = self.groups.members_of(unit);
        let mut members: Vec<(InstanceId, Box<VirtualRouter>)> = ids
            .into_iter()
            .filter_map(|id| Some((id, self.routers.remove(&id)?)))
            .collect();
        if members.is_empty() {
            return None;
        }
        let mut turn = Turn::new(now, &self.world, &mut self.errands, actions);
        let mut routers: Vec<&mut VirtualRouter> = members
            .iter_mut()
            .map(|(_, router)| &mut **router)
            .collect();
        let result = act(&mut turn, &mut routers);
        let group = self.groups.of(unit);
        match group {
            Some(group) => self.groups.settle(&mut turn, group, &mut routers),
            None => groups::settle(&mut turn, &mut routers),
        }
        for router in &mut routers {
            router.tell(&mut turn);
        }
        if let Some(group) = group {
            self.groups.tell(&mut turn, group, &routers);
        }
        for (id, router) in members {
            self.put_back(id, router);
        }
        self.forget_retired();
        Some(result)
    }

    pub(super) fn begin_exchange(&mut self, unit: InstanceId, exchange: Exchange) {
        self.moves.exchanges.insert(unit, exchange);
    }

    /// Another node said something about a planned move.
    pub(in crate::agent) fn on_move(
        &mut self,
        now: Instant,
        actions: &mut Vec<Action>,
        node: &NodeName,
        (instance, serial, step): (InstanceName, u64, Step),
    ) {
        let unit = self.by_name.get(&instance);
        let unit = unit.map(|id| self.groups.unit(*id));
        let asked = Asked {
            node,
            instance,
            serial,
        };
        let Some(unit) = unit else {
            let why = format!("there is no instance {} there", asked.instance);
            let mut turn = Turn::new(now, &self.world, &mut self.errands, actions);
            asked.answer(&mut turn, Step::Refuse { why });
            return;
        };
        let before = (self.moves.exchanges.get(&unit))
            .filter(|exchange| exchange.node() == node)
            .filter(|exchange| match exchange {
                Exchange::Outgoing(outgoing) => outgoing.serial == serial,
                Exchange::Incoming(incoming) => incoming.serial == serial,
            });
        if before.is_some() {
            self.hear_step(now, actions, unit, step);
            return;
        }
        match step {
            Step::Offer { members } => self.on_offer(now, actions, unit, (asked, members)),
            Step::Request { members } => self.on_request(now, actions, unit, (asked, members)),
            Step::Yield { members } => self.on_yield(now, actions, unit, (asked, members)),
            Step::Working { .. } | Step::Taken => {
                let why = "the exchange is over there".to_owned();
                let mut turn = Turn::new(now, &self.world, &mut self.errands, actions);
                asked.answer(&mut turn, Step::BreakOff { why });
            }
            Step::Accept { .. } | Step::Refuse { .. } | Step::Released | Step::BreakOff { .. } => {}
        }
    }

    fn hear_step(&mut self, now: Instant, actions: &mut Vec<Action>, unit: InstanceId, step: Step) {
        let Some(mut exchange) = self.moves.exchanges.remove(&unit) else {
            return;
        };
        match &mut exchange {
            Exchange::Outgoing(outgoing) => {
                self.with_unit(now, actions, unit, |turn, members| {
                    outgoing.hear(turn.now, members, step);
                });
            }
            Exchange::Incoming(incoming) => incoming.hear(now, step),
        }
        self.moves.exchanges.insert(unit, exchange);
        self.moves.touched.insert(unit);
    }

    /// Asked whether we would take it: whoever says yes promises nothing.
    fn on_offer(
        &mut self,
        now: Instant,
        actions: &mut Vec<Action>,
        unit: InstanceId,
        (asked, theirs): (Asked<'_>, u64),
    ) {
        let busy = self.moves.exchanges.get(&unit);
        let busy = busy.is_some_and(|exchange| match exchange {
            Exchange::Outgoing(_) => true,
            Exchange::Incoming(incoming) => !incoming.is_requesting(),
        });
        self.with_unit(now, actions, unit, |turn, members| {
            let busy = busy.then(|| "it is being moved there already".to_owned());
            let declined = busy.or_else(|| unit::declines(turn, members, asked.node, theirs));
            let hooks = unit::hook_time(members, HookKind::BeforeActive);
            let step = declined.map_or(Step::Accept { hooks }, |why| Step::Refuse { why });
            asked.answer(turn, step);
        });
    }

    /// A node that would preempt asks us to let go instead.
    fn on_request(
        &mut self,
        now: Instant,
        actions: &mut Vec<Action>,
        unit: InstanceId,
        (asked, theirs): (Asked<'_>, u64),
    ) {
        let stopping = self.stopping;
        let repeated = match self.moves.exchanges.get(&unit) {
            Some(Exchange::Outgoing(outgoing)) => {
                outgoing.purpose == Purpose::Request && outgoing.node == *asked.node
            }
            Some(Exchange::Incoming(_)) | None => false,
        };
        let busy = self.moves.exchanges.contains_key(&unit) && !repeated;
        let outgoing = self.with_unit(now, actions, unit, |turn, members| {
            let why = if busy || stopping {
                Some("it is being moved already")
            } else if theirs != unit::digest(members) {
                Some("its group has other members here")
            } else if !(repeated || unit::is_whole(turn, members)) {
                Some("it is not Active here, or not ready for a move")
            } else {
                None
            };
            if let Some(why) = why {
                let why = why.to_owned();
                asked.answer(turn, Step::Refuse { why });
                return None;
            }
            let hooks = unit::hook_time(members, HookKind::BeforeRelease);
            asked.answer(turn, Step::Accept { hooks });
            (!repeated).then(|| Outgoing::comply(turn, members, asked.node.clone()))
        });
        if let Some(Some(outgoing)) = outgoing {
            self.begin_exchange(unit, Exchange::Outgoing(outgoing));
            self.moves.touched.insert(unit);
        }
    }

    /// An Active lets go for us.
    fn on_yield(
        &mut self,
        now: Instant,
        actions: &mut Vec<Action>,
        unit: InstanceId,
        (asked, theirs): (Asked<'_>, u64),
    ) {
        let busy = match self.moves.exchanges.get(&unit) {
            // We asked for it, or what we knew of it is out of date.
            Some(exchange @ Exchange::Incoming(_)) => exchange.node() != asked.node,
            Some(Exchange::Outgoing(_)) => true,
            None => false,
        };
        let incoming = self.with_unit(now, actions, unit, |turn, members| {
            let busy = busy.then(|| "it is being moved there already".to_owned());
            let declined = busy.or_else(|| unit::declines(turn, members, asked.node, theirs));
            if let Some(why) = declined {
                asked.answer(turn, Step::Refuse { why });
                return None;
            }
            Some(Incoming::take(
                turn,
                members,
                asked.node.clone(),
                asked.serial,
            ))
        });
        if let Some(Some(incoming)) = incoming {
            self.begin_exchange(unit, Exchange::Incoming(incoming));
            self.moves.touched.insert(unit);
        }
    }

    /// At the end of each turn.
    pub(in crate::agent) fn settle_moves(&mut self, now: Instant, actions: &mut Vec<Action>) {
        for (unit, node) in std::mem::take(&mut self.moves.wanted) {
            self.request(now, actions, unit, node);
        }
        for unit in std::mem::take(&mut self.moves.warned) {
            self.leave_in_time(now, actions, unit);
        }
        for unit in std::mem::take(&mut self.moves.touched) {
            self.advance(now, actions, unit);
            self.look_at_drains(now, actions, unit);
        }
        if self.moves.keep {
            self.write(actions);
        }
    }

    pub(in crate::agent) fn moves_wake(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let exchanges = self.moves.exchanges.iter();
        let due = exchanges.filter(|(_, exchange)| exchange.next() <= now);
        let due: BTreeSet<InstanceId> = due.map(|(unit, _)| *unit).collect();
        self.moves.touched.extend(due);
        self.remote_wakes(now, actions);
    }

    /// A check warns: to the best node that has no such warning.
    fn leave_in_time(&mut self, now: Instant, actions: &mut Vec<Action>, unit: InstanceId) {
        if self.stopping || self.moves.exchanges.contains_key(&unit) {
            return;
        }
        let outgoing = self.with_unit(now, actions, unit, |turn, members| {
            if !unit::is_whole(turn, members) {
                return None;
            }
            let node = unit::unwarned_successor(turn, members)?;
            Some(Outgoing::offer(turn, members, node, Purpose::Warning))
        });
        if let Some(Some(outgoing)) = outgoing {
            self.begin_exchange(unit, Exchange::Outgoing(outgoing));
        }
    }

    fn request(
        &mut self,
        now: Instant,
        actions: &mut Vec<Action>,
        unit: InstanceId,
        node: NodeName,
    ) {
        if self.moves.exchanges.contains_key(&unit) {
            return;
        }
        let incoming = self.with_unit(now, actions, unit, |turn, members| {
            Incoming::request(turn, members, node)
        });
        if let Some(incoming) = incoming {
            self.begin_exchange(unit, Exchange::Incoming(incoming));
        }
    }

    fn advance(&mut self, now: Instant, actions: &mut Vec<Action>, unit: InstanceId) {
        let Some(mut exchange) = self.moves.exchanges.remove(&unit) else {
            return;
        };
        let progress = self.with_unit(now, actions, unit, |turn, members| match &mut exchange {
            Exchange::Outgoing(outgoing) => outgoing.advance(turn, members),
            Exchange::Incoming(incoming) => incoming.advance(turn, members),
        });
        let gone = || Progress::Broken("it is no longer configured here".to_owned());
        let broken = match progress.unwrap_or_else(gone) {
            Progress::Continues => {
                self.moves.exchanges.insert(unit, exchange);
                return;
            }
            Progress::Done => None,
            Progress::Broken(why) => Some(why),
        };
        if let Exchange::Outgoing(outgoing) = exchange {
            self.moved(now, actions, unit, outgoing, broken);
        }
    }

    /// Whatever was under way with this unit is broken off. `leaves`: it will
    /// not be here, and so does not preempt whom it had asked either.
    pub(super) fn drop_exchange(
        &mut self,
        now: Instant,
        actions: &mut Vec<Action>,
        unit: InstanceId,
        (why, leaves): (&str, bool),
    ) {
        let Some(exchange) = self.moves.exchanges.remove(&unit) else {
            return;
        };
        match exchange {
            Exchange::Outgoing(mut outgoing) => {
                self.with_unit(now, actions, unit, |turn, members| {
                    outgoing.break_off(turn, members, why.to_owned());
                });
                self.moved(now, actions, unit, outgoing, Some(why.to_owned()));
            }
            Exchange::Incoming(mut incoming) => {
                self.with_unit(now, actions, unit, |turn, members| {
                    incoming.end(turn, members, why.to_owned(), true);
                    if leaves {
                        members.iter_mut().for_each(|m| {
                            let _ = m.take_wish();
                        });
                    }
                });
            }
        }
    }

    pub(in crate::agent) fn drop_exchanges(
        &mut self,
        now: Instant,
        actions: &mut Vec<Action>,
        why: &str,
    ) {
        let leaves = self.stopping;
        let units: Vec<InstanceId> = self.moves.exchanges.keys().copied().collect();
        for unit in units {
            self.drop_exchange(now, actions, unit, (why, leaves));
        }
    }

    /// A planned stop: hands over what can be. Returns what cannot.
    pub(in crate::agent) fn hand_over_all(
        &mut self,
        now: Instant,
        actions: &mut Vec<Action>,
    ) -> Vec<InstanceId> {
        let ids: Vec<InstanceId> = self.routers.keys().copied().collect();
        let units: BTreeSet<InstanceId> = ids.iter().map(|id| self.groups.unit(*id)).collect();
        let mut left = Vec::new();
        for unit in units {
            self.drop_exchange(now, actions, unit, ("the agent is stopping", true));
            let outgoing = self.with_unit(now, actions, unit, |turn, members| {
                if !unit::is_whole(turn, members) {
                    return None;
                }
                let node = unit::successor(turn, members).ok()?;
                Some(Outgoing::offer(turn, members, node, Purpose::Stop))
            });
            match outgoing.flatten() {
                Some(outgoing) => self.begin_exchange(unit, Exchange::Outgoing(outgoing)),
                None => left.extend(self.groups.members_of(unit)),
            }
        }
        left
    }
}
