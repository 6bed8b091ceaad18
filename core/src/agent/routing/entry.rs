//! One route or rule: on the host or not, and what was ordered about it.

use std::time::Duration;

use super::{Change, Effect, RoutingIndex, RoutingItem, RoutingOrder};
use crate::agent::action::Action;
use crate::agent::holdings::Failure;
use crate::agent::time::Instant;
use crate::agent::values::InstanceId;
use crate::agent::world::{Turn, World};

/// Pause before a failed addition is tried again; doubled each time.
const ADD_PAUSE_FIRST: Duration = Duration::from_secs(5);
const ADD_PAUSE_LONGEST: Duration = Duration::from_secs(300);
/// Pause before a failed removal is tried again.
const REMOVE_PAUSE: Duration = Duration::from_secs(1);
/// An addition that no report shows by then is ordered once more.
const CONFIRM_WITHIN: Duration = Duration::from_secs(1);
/// From one restoration to the next; doubled each time, so that another
/// program that keeps deleting it gets no tight loop.
const RESTORE_PAUSE_FIRST: Duration = Duration::from_millis(100);
const RESTORE_PAUSE_LONGEST: Duration = Duration::from_secs(1);
/// Left alone for this long, it is restored at once the next time.
const LEFT_ALONE: Duration = Duration::from_secs(60);

#[derive(Clone, Debug)]
pub(in crate::agent) struct Entry {
    pub(super) instance: InstanceId,
    pub(super) index: RoutingIndex,
    pub(super) item: RoutingItem,
    pub(super) required: bool,
    /// The kernel has it, as far as we know.
    pub(super) present: bool,
    /// Acknowledged since it was last claimed.
    pub(super) confirmed: bool,
    /// No longer configured: removed whatever the state, then forgotten.
    pub(super) departing: bool,
    pub(super) pending: Option<Change>,
    /// It was ours and went without our doing.
    pub(super) vanished: bool,
    /// Until then it is not put back again.
    pub(super) restore_after: Option<Instant>,
    /// When it was put back last, and the pause until the next time.
    restored: Option<(Instant, Duration)>,
    /// A report that was made before the addition may still come: it is given
    /// until then.
    pub(super) confirm_by: Option<Instant>,
    pub(super) failure: Option<Failure>,
}

/// What an answer of the kernel amounts to.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::agent) enum Outcome {
    Nothing,
    Restored,
    Failed { error: String, retry_in: Duration },
}

impl Entry {
    pub(super) fn new(instance: InstanceId, index: RoutingIndex, item: RoutingItem) -> Self {
        Self {
            instance,
            index,
            item,
            required: true,
            present: false,
            confirmed: false,
            departing: false,
            pending: None,
            vanished: false,
            restore_after: None,
            restored: None,
            confirm_by: None,
            failure: None,
        }
    }

    pub fn item(&self) -> &RoutingItem {
        &self.item
    }

    pub fn is_required(&self) -> bool {
        self.required
    }

    pub fn is_present(&self) -> bool {
        self.present
    }

    pub fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// Confirmed by the kernel, and not about to go.
    pub(super) fn is_held(&self) -> bool {
        self.present && self.pending.is_none()
    }

    /// On the host by our doing, or may be.
    pub(super) fn is_left(&self) -> bool {
        self.present || self.pending.is_some()
    }

    /// Added, or tried in vain, or to be put back later: nobody waits for it.
    pub(super) fn is_decided(&self) -> bool {
        let given_up = self.failure.is_some() || self.vanished;
        self.pending.is_none() && ((self.present && self.confirmed) || given_up)
    }

    fn may_try(&self, now: Instant) -> bool {
        let over = |failure: &Failure| failure.retry_at <= now;
        self.pending.is_none() && self.failure.as_ref().is_none_or(over)
    }

    /// When one that vanished may be put back, if that has to wait.
    pub(super) fn restoration(&self) -> Option<Instant> {
        let waits = self.vanished && !self.present && self.pending.is_none();
        self.restore_after.filter(|_| waits)
    }

    /// By when a report must show it. While an order is under way its answer
    /// tells.
    pub(super) fn confirmation(&self) -> Option<Instant> {
        self.confirm_by.filter(|_| self.pending.is_none())
    }

    pub(super) fn retry(&self) -> Option<Instant> {
        let failure = self.failure.as_ref()?;
        failure.awaits_wake.then_some(failure.retry_at)
    }

    pub(super) fn vanish(&mut self) {
        self.vanished = true;
        self.present = false;
        self.confirmed = false;
        self.confirm_by = None;
    }

    /// Its interface is there and up, or it needs none.
    fn can_be_there(&self, world: &World) -> bool {
        let known = self.item.interface().map(|name| world.interface(name));
        known.is_none_or(|known| known.is_some_and(|known| known.is_up()))
    }

    pub(super) fn claim(&mut self, turn: &mut Turn<'_>) {
        if self.departing {
            return;
        }
        if self.present {
            // A removal that failed is no longer wanted.
            self.failure = None;
        }
        let settled = self.present && self.confirmed;
        let too_soon = self.restoration().is_some_and(|at| at > turn.now);
        if settled || too_soon || !self.may_try(turn.now) || !self.can_be_there(turn.world) {
            return;
        }
        if self.vanished {
            let pause = self.restore_pause(turn.now);
            self.restored = Some((turn.now, pause));
            self.restore_after = Some(turn.now + pause);
        }
        self.order(turn, Change::Add);
    }

    /// Until it may be put back once more.
    fn restore_pause(&self, now: Instant) -> Duration {
        match self.restored {
            Some((at, pause)) if now.since(at) < LEFT_ALONE => {
                (pause * 2).min(RESTORE_PAUSE_LONGEST)
            }
            _ => RESTORE_PAUSE_FIRST,
        }
    }

    pub(super) fn release(&mut self, turn: &mut Turn<'_>) {
        self.confirmed = false;
        self.vanished = false;
        self.confirm_by = None;
        if self.present && self.may_try(turn.now) {
            self.order(turn, Change::Remove);
        }
    }

    fn order(&mut self, turn: &mut Turn<'_>, change: Change) {
        self.pending = Some(change);
        turn.act(Action::ChangeRouting(RoutingOrder {
            instance: self.instance,
            index: self.index,
            item: self.item.clone(),
            change,
        }));
    }

    /// The kernel's answer to an addition; `seen`: the last report has it.
    pub(super) fn added(
        &mut self,
        now: Instant,
        seen: bool,
        outcome: Result<Effect, String>,
    ) -> Outcome {
        match outcome {
            Ok(effect) => {
                self.present = true;
                self.confirmed = true;
                self.confirm_by = (!seen).then(|| now + CONFIRM_WITHIN);
                self.failure = None;
                let vanished = std::mem::take(&mut self.vanished);
                match vanished && effect == Effect::Done {
                    true => Outcome::Restored,
                    false => Outcome::Nothing,
                }
            }
            Err(error) => {
                // One whose removal was refused may be there all the same; the
                // next report tells.
                self.present = self.present && seen;
                let pause = self.failure.as_ref().map_or(ADD_PAUSE_FIRST, |failure| {
                    (failure.pause * 2).min(ADD_PAUSE_LONGEST)
                });
                self.fail(now, error, pause)
            }
        }
    }

    pub(super) fn removed(&mut self, now: Instant, outcome: Result<Effect, String>) -> Outcome {
        match outcome {
            Ok(Effect::Done | Effect::Already) => {
                self.present = false;
                self.failure = None;
                Outcome::Nothing
            }
            Err(error) => self.fail(now, error, REMOVE_PAUSE),
        }
    }

    fn fail(&mut self, now: Instant, error: String, pause: Duration) -> Outcome {
        self.failure = Some(Failure {
            error: error.clone(),
            pause,
            retry_at: now + pause,
            awaits_wake: true,
        });
        Outcome::Failed {
            error,
            retry_in: pause,
        }
    }

    /// Compares with a report that has it or not. `leaving`: an instance that
    /// is about to go answers for it.
    pub(super) fn observe(&mut self, seen: bool, leaving: bool) {
        if self.pending.is_some() {
            return;
        }
        if seen && !self.present && !leaving {
            // Left by a dead agent, or an addition whose answer was lost.
            self.present = true;
            self.failure = None;
        }
        if seen {
            self.confirm_by = None;
        } else if self.present && self.confirm_by.is_none() {
            self.vanish();
            // It was a removal's; there is nothing to remove any more.
            self.failure = None;
        }
    }

    /// A wake-up: what was not confirmed in time is gone, and pauses end.
    pub(super) fn expire(&mut self, now: Instant) {
        if self.confirmation().is_some_and(|at| at <= now) {
            self.vanish();
        }
        self.restore_after = self.restore_after.filter(|at| *at > now);
        if let Some(failure) = &mut self.failure {
            failure.awaits_wake &= failure.retry_at > now;
        }
    }
}
