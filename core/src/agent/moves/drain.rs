//! Drains: out of the election by an operator's order, after somebody has
//! taken over, and back.

use std::collections::BTreeSet;

use super::incumbent::{Outgoing, Purpose};
use super::order::{DrainEnd, Order};
use super::task::TaskId;
use super::unit::{self, Members};
use super::{Exchange, MoveFact};
use crate::agent::Agent;
use crate::agent::action::Action;
use crate::agent::report::Fact;
use crate::agent::router::VirtualRouter;
use crate::agent::time::{Instant, WallTime};
use crate::agent::values::InstanceId;
use crate::agent::world::Turn;

impl Agent {
    /// Whether somebody is there to take over, for those that are Active.
    pub(super) fn may_drain(
        &mut self,
        now: Instant,
        actions: &mut Vec<Action>,
        units: &BTreeSet<InstanceId>,
        force: bool,
    ) -> Result<(), String> {
        let linked = self.link.is_used();
        let mut reasons = Vec::new();
        for unit in units {
            if self.moves.exchanges.contains_key(unit) || self.moves.tasks.concern(*unit) {
                reasons.push(format!("{} is being moved already", self.unit_name(*unit)));
                continue;
            }
            let why = self.with_unit(now, actions, *unit, |turn, members| {
                let active = members.iter().any(|member| member.is_active());
                let successor = unit::successor(turn, members);
                successor.err().filter(|_| active && linked && !force)
            });
            if let Some(Some(why)) = why {
                let name = self.unit_name(*unit);
                reasons.push(format!("nobody could take {name} over: {why}"));
            }
        }
        match reasons.as_slice() {
            [] => Ok(()),
            _ => Err(format!(
                "not drained: {}; nothing was changed (`--force` gives it up all the same)",
                reasons.join("; ")
            )),
        }
    }

    pub(super) fn begin_drain(
        &mut self,
        now: Instant,
        actions: &mut Vec<Action>,
        id: TaskId,
        unit: InstanceId,
        end: DrainEnd,
        force: bool,
    ) {
        // A move that began meanwhile is over, or breaks off here.
        self.drop_exchange(now, actions, unit, ("it is to be drained", true));
        let linked = self.link.is_used();
        let outgoing = self.with_unit(now, actions, unit, |turn, members| {
            let whole = unit::is_whole(turn, members);
            if linked
                && whole
                && let Ok(node) = unit::successor(turn, members)
            {
                let purpose = Purpose::Drain(id, end);
                return Some(Outgoing::offer(turn, members, node, purpose));
            }
            drain_without(turn, members, end, !linked && !force);
            None
        });
        if let Some(Some(outgoing)) = outgoing {
            self.begin_exchange(unit, Exchange::Outgoing(outgoing));
        }
        self.look_at_drain(now, actions, id, unit);
    }

    /// Not while it is being drained: what is written down then would no
    /// longer be what happens.
    pub(super) fn may_undrain(&self, units: &BTreeSet<InstanceId>) -> Result<(), String> {
        let mut all = units.iter();
        match all.find(|unit| self.moves.tasks.drain(**unit)) {
            Some(unit) => Err(format!(
                "{} is just being drained; nothing was changed, try again when that has been \
                 answered",
                self.unit_name(*unit)
            )),
            None => Ok(()),
        }
    }

    pub(super) fn undrain(
        &mut self,
        now: Instant,
        actions: &mut Vec<Action>,
        id: TaskId,
        unit: InstanceId,
    ) {
        let changed = self.with_unit(now, actions, unit, |turn, members| {
            let mut changed = false;
            for member in members.iter_mut() {
                changed |= member.drained().is_some() || member.yielded().is_some();
                member.set_yielded(None);
                // That is written already.
                let _ = member.yielded_moved();
                if member.drained().is_some() {
                    member.set_drained(turn, None);
                }
            }
            changed
        });
        let name = self.unit_name(unit);
        let line = match changed {
            Some(true) => format!("{name} takes part again"),
            Some(false) | None => format!("{name} was not drained"),
        };
        self.note_good(id, unit, line);
    }

    pub(super) fn drain_broken(
        &mut self,
        now: Instant,
        actions: &mut Vec<Action>,
        (id, unit, end): (TaskId, InstanceId, DrainEnd),
        why: &str,
    ) {
        let task = self.moves.tasks.get_mut(id);
        let forced =
            task.is_some_and(|task| matches!(task.order, Order::Drain { force: true, .. }));
        if forced {
            self.with_unit(now, actions, unit, |turn, members| {
                drain_without(turn, members, end, false);
            });
            self.look_at_drain(now, actions, id, unit);
        } else {
            let name = self.unit_name(unit);
            self.note_bad(
                id,
                unit,
                format!("{name} is not drained: {why}; it stays here"),
            );
            self.moves.keep = true;
            self.finish_task(now, actions, id);
        }
    }

    /// How a drain without an exchange stands.
    pub(super) fn look_at_drains(
        &mut self,
        now: Instant,
        actions: &mut Vec<Action>,
        unit: InstanceId,
    ) {
        for id in self.moves.tasks.waiting(unit) {
            self.look_at_drain(now, actions, id, unit);
        }
    }

    pub(super) fn look_at_drain(
        &mut self,
        now: Instant,
        actions: &mut Vec<Action>,
        id: TaskId,
        unit: InstanceId,
    ) {
        if self.moves.exchanges.contains_key(&unit) {
            return;
        }
        let outcome = self.with_unit(now, actions, unit, |turn, members| {
            members.iter_mut().for_each(|m| m.overtaken(turn));
            if members.iter().any(|member| member.is_relieved()) {
                members.iter_mut().for_each(|m| m.stay_out(turn.now));
            } else if members.iter().any(|member| member.is_active()) {
                members.iter_mut().for_each(|m| m.return_too(turn));
            }
            if members.iter().all(|member| member.drained().is_some()) {
                return Some(true);
            }
            let waits = |member: &&mut VirtualRouter| {
                member.is_resigning() || member.is_leaving() || member.is_claiming()
            };
            (!members.iter().any(waits)).then_some(false)
        });
        let name = self.unit_name(unit);
        match outcome {
            Some(Some(true)) => self.note_good(id, unit, format!("{name} is drained")),
            Some(Some(false)) => {
                let line = format!(
                    "{name} is not drained: nobody took it over within its \
                     Active_Down_Interval, so it is Active here again (`--force` gives it up all \
                     the same)"
                );
                self.note_bad(id, unit, line);
                self.moves.keep = true;
                if let Some(router) = self.routers.get(&unit) {
                    let instance = router.settings().name.clone();
                    Turn::new(now, &self.world, &mut self.errands, actions)
                        .report(Some(&instance), Fact::Move(MoveFact::NotRelieved));
                }
            }
            Some(None) => return,
            None => self.note_bad(id, unit, "it is no longer configured".to_owned()),
        }
        self.finish_task(now, actions, id);
    }

    /// Ends the drains whose time is over.
    pub(in crate::agent) fn on_clock(
        &mut self,
        now: Instant,
        actions: &mut Vec<Action>,
        wall: WallTime,
    ) {
        let over = |router: &VirtualRouter| match router.drained() {
            Some(DrainEnd::At(end)) => end <= wall,
            Some(DrainEnd::Never | DrainEnd::After(_)) | None => false,
        };
        let ids = self.routers.iter().filter(|(_, router)| over(router));
        let units: BTreeSet<InstanceId> = ids.map(|(id, _)| self.groups.unit(*id)).collect();
        for unit in units {
            self.with_unit(now, actions, unit, |turn, members| {
                for member in members.iter_mut() {
                    let fact = Fact::Move(MoveFact::DrainOver);
                    turn.report(Some(&member.settings().name), fact);
                    member.set_drained(turn, None);
                }
            });
            self.moves.keep = true;
        }
    }

    /// Some drain ends by the time of day.
    pub fn wants_clock(&self) -> bool {
        self.moves.timed
    }

    /// After a reload: one of a group that is drained has all of it out.
    pub(in crate::agent) fn spread_drains(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let ids = self.routers.iter();
        let drained = ids.filter_map(|(id, router)| Some((*id, router.drained()?)));
        let drained: Vec<_> = drained
            .map(|(id, end)| (self.groups.unit(id), end))
            .collect();
        for (unit, end) in drained {
            let news = self.with_unit(now, actions, unit, |turn, members| {
                let news = members.iter().any(|member| member.drained().is_none());
                if news {
                    drain_without(turn, members, end, false);
                }
                news
            });
            self.moves.keep |= news == Some(true);
        }
    }
}

/// Without a hand-over: those that are Active resign, the others are out.
fn drain_without(turn: &mut Turn<'_>, members: Members<'_, '_>, end: DrainEnd, returns: bool) {
    for member in members.iter_mut() {
        if member.is_active() {
            member.resign_to_drain(turn, end, returns);
        } else if !member.is_resigning() {
            member.set_drained(turn, Some(end));
        }
    }
}
