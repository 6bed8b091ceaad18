//! What must outlive the agent: drains, and who was handed over to whom.

use std::collections::BTreeMap;

use super::MoveFact;
use super::order::{DrainEnd, Kept, Order};
use super::task::TaskId;
use crate::agent::Agent;
use crate::agent::action::Action;
use crate::agent::report::Fact;
use crate::agent::time::{Instant, WallTime};
use crate::agent::values::InstanceName;
use crate::agent::world::Turn;

impl Agent {
    /// Has everything written down that the next agent must know.
    pub(super) fn write(&mut self, actions: &mut Vec<Action>) {
        self.moves.keep = false;
        self.moves.tasks.writes += 1;
        let kept = self.kept();
        let timed = |(_, end): &(InstanceName, DrainEnd)| *end != DrainEnd::Never;
        self.moves.timed = kept.drained.iter().any(timed);
        actions.push(Action::Keep {
            serial: self.moves.tasks.writes,
            kept: Box::new(kept),
        });
    }

    pub(super) fn kept(&self) -> Kept {
        let mut kept = Kept::default();
        let mut ending = BTreeMap::new();
        for task in self.moves.tasks.tasks.values() {
            let end = match &task.order {
                Order::Drain { span, .. } => Some(span.map_or(DrainEnd::Never, DrainEnd::After)),
                Order::Undrain { .. } if task.writing.is_some() => None,
                Order::Undrain { .. } | Order::Handover { .. } => continue,
            };
            ending.extend(task.units.iter().map(|unit| (*unit, end)));
        }
        let staying = self.routers.iter();
        for (id, router) in staying.filter(|(id, _)| !self.retired.contains(id)) {
            let name = router.settings().name.clone();
            let ordered = ending.get(&self.groups.unit(*id));
            let known = || router.drained().or(router.leaves_for());
            if let Some(end) = ordered.copied().unwrap_or_else(known) {
                kept.drained.push((name.clone(), end));
            }
            let undrained = ordered == Some(&None);
            if let Some(yielded) = router.yielded().filter(|_| !undrained) {
                kept.yielded.push((name, yielded.clone()));
            }
        }
        kept.drained.sort_by(|a, b| a.0.cmp(&b.0));
        kept.yielded.sort_by(|a, b| a.0.cmp(&b.0));
        kept
    }

    pub(in crate::agent) fn on_kept(
        &mut self,
        now: Instant,
        actions: &mut Vec<Action>,
        serial: u64,
        outcome: Result<WallTime, String>,
    ) {
        let tasks = self.moves.tasks.tasks.iter();
        let waiting = tasks.filter(|(_, task)| task.writing.is_some_and(|at| at <= serial));
        let waiting: Vec<TaskId> = waiting.map(|(id, _)| *id).collect();
        match outcome {
            Ok(written_at) => {
                for id in waiting {
                    self.begin_task(now, actions, id, written_at);
                }
            }
            Err(error) => {
                // A later order may have had written down what fails here.
                self.moves.keep |= !waiting.is_empty() && serial < self.moves.tasks.writes;
                if waiting.is_empty() {
                    let error = error.clone();
                    Turn::new(now, &self.world, &mut self.errands, actions)
                        .report(None, Fact::Move(MoveFact::NotKept { error }));
                }
                for id in waiting {
                    if let Some(task) = self.moves.tasks.tasks.remove(&id) {
                        let why = format!("cannot be written down: {error}; nothing was changed");
                        self.reply(now, actions, task.asker, Err(why));
                    }
                }
            }
        }
    }

    /// What an earlier agent kept, before anything else happens. What it says
    /// of instances that are no longer there means nothing.
    pub fn restore_moves(&mut self, now: Instant, kept: &Kept) {
        let timed = |(_, end): &(InstanceName, DrainEnd)| *end != DrainEnd::Never;
        self.moves.timed = kept.drained.iter().any(timed);
        for (name, end) in &kept.drained {
            let id = self.by_name.get(name);
            if let Some(router) = id.and_then(|id| self.routers.get_mut(id)) {
                router.restore_drain(now, *end);
            }
        }
        for (name, yielded) in &kept.yielded {
            let id = self.by_name.get(name);
            if let Some(router) = id.and_then(|id| self.routers.get_mut(id)) {
                router.set_yielded(Some(yielded.clone()));
                let _ = router.yielded_moved();
            }
        }
    }
}
