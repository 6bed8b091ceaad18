//! When each instance wants to be woken, in order, so that the next deadline
//! of thousands is found without looking at each.

use std::collections::{BTreeMap, BTreeSet};

use super::router::Timer;
use super::time::Instant;
use super::values::InstanceId;

#[derive(Clone, Debug, Default)]
pub(super) struct Schedule {
    deadlines: BTreeMap<InstanceId, (Instant, Timer)>,
    order: BTreeSet<(Instant, Timer, InstanceId)>,
}

impl Schedule {
    pub fn set(&mut self, instance: InstanceId, deadline: Option<(Instant, Timer)>) {
        let before = match deadline {
            Some(deadline) => self.deadlines.insert(instance, deadline),
            None => self.deadlines.remove(&instance),
        };
        if before == deadline {
            return;
        }
        if let Some((at, timer)) = before {
            self.order.remove(&(at, timer, instance));
        }
        if let Some((at, timer)) = deadline {
            self.order.insert((at, timer, instance));
        }
    }

    pub fn first(&self) -> Option<(Instant, Timer)> {
        self.order.first().map(|(at, timer, _)| (*at, *timer))
    }

    /// The instances whose deadline has come, the earliest first.
    pub fn due(&self, now: Instant) -> Vec<InstanceId> {
        self.order
            .iter()
            .take_while(|(at, _, _)| *at <= now)
            .map(|(_, _, instance)| *instance)
            .collect()
    }
}
