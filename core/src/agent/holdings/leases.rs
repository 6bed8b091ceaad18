//! Leases: the kernel takes an address away by itself unless we begin its
//! lifetime anew, which we do with advertisements that have left.

use std::time::Duration;

use super::{Holding, Holdings, Pending};
use crate::agent::action::Action;
use crate::agent::event::NotRenewed;
use crate::agent::report::Loss;
use crate::agent::time::Instant;
use crate::agent::values::{AddressIndex, Lease};
use crate::agent::world::Turn;

/// Until a renewal that failed is tried again.
const RENEW_PAUSE: Duration = Duration::from_millis(200);
/// A lease younger than this part of it is left alone: each renewal wakes
/// every program that listens to the host's addresses.
const YOUNG: u32 = 5;

impl Holdings {
    /// An advertisement has left, and speaks for us until `until`. Whether
    /// something has waited for that.
    pub fn renew(&mut self, turn: &mut Turn<'_>, until: Instant) -> bool {
        self.spoken_until = until;
        for holding in self.holdings.values_mut() {
            holding.renew(turn, self.lease);
        }
        let mut all = self.holdings.values();
        all.any(|holding| holding.vanished == Some(Loss::Expired))
    }

    pub(super) fn speaks(&self, now: Instant) -> bool {
        now <= self.spoken_until
    }

    /// Orders those anew that failed, unless our last advertisement is too
    /// old to answer for it.
    pub(super) fn renew_again(&mut self, turn: &mut Turn<'_>) {
        let spoken = self.speaks(turn.now);
        for holding in self.holdings.values_mut() {
            let due = std::mem::take(&mut holding.renew_due);
            if due && spoken {
                holding.renew(turn, self.lease);
            }
        }
    }

    /// Takes in an answer; the error, if it is worth one.
    pub fn renewed(
        &mut self,
        turn: &Turn<'_>,
        index: AddressIndex,
        outcome: Result<(), NotRenewed>,
    ) -> Option<String> {
        let holding = self.get_mut(index)?;
        holding.answered(Pending::Renew)?;
        holding.renew_at = None;
        match outcome {
            Ok(()) => {
                holding.leased_at = Some(holding.ordered_at);
                let seen = holding.is_seen(turn.world);
                holding.exists(turn.now, seen);
                None
            }
            Err(NotRenewed::TooOld) => {
                holding.renew_due = true;
                None
            }
            Err(NotRenewed::Failed(error)) => {
                holding.renew_at = Some(turn.now + RENEW_PAUSE);
                Some(error)
            }
        }
    }

    /// The address is where it should be, and nothing is the matter with it.
    pub fn is_settled(&self, index: AddressIndex) -> bool {
        self.get(index).is_some_and(Holding::is_settled)
    }

    /// It was added without the lease that it should have.
    pub fn unleased(&mut self, index: AddressIndex, reason: String) {
        if let Some(holding) = self.get_mut(index)
            && let Some(order) = &mut holding.order
        {
            order.lease = None;
            holding.unleased = Some(reason);
        }
    }
}

impl Holding {
    /// That the address now carries.
    pub(super) fn lease(&self) -> Option<Lease> {
        let order = self.order.as_ref().filter(|_| self.is_held());
        order.and_then(|order| order.lease)
    }

    /// Why it carries none.
    pub fn unleased_because(&self) -> Option<&str> {
        self.unleased.as_deref()
    }

    fn renew(&mut self, turn: &mut Turn<'_>, lease: Option<Lease>) {
        if !self.present || !self.confirmed || self.pending.is_some() {
            return;
        }
        if self.belongs_to_host || self.departing || self.unleased.is_some() {
            return;
        }
        let Some(order) = &mut self.order else {
            return;
        };
        let young = |lease: Lease| {
            let age = self.leased_at.map(|at| turn.now.since(at));
            age.is_some_and(|age| age < lease.as_duration() / YOUNG)
        };
        let due = match (order.lease, lease) {
            (None, None) => false,
            (before, Some(lease)) => before != Some(lease) || !young(lease),
            // The last one, which makes it permanent.
            (Some(_), None) => true,
        };
        if !due {
            return;
        }
        order.lease = lease;
        self.pending = Some(Pending::Renew);
        self.ordered_at = turn.now;
        self.renew_at = None;
        turn.act(Action::RenewAddress(order.clone()));
    }

    fn is_settled(&self) -> bool {
        let held = self.present && self.confirmed && self.observed;
        let troubled = self.failure.is_some() || self.vanished.is_some() || self.renew_due;
        let later = [self.restore_after, self.renew_at, self.confirm_by];
        let waits = later.iter().any(Option::is_some);
        let other = self.departing || self.belongs_to_host || self.unleased.is_some();
        held && !(troubled || waits || other)
    }

    /// Its lease is over, unless somebody else began it anew.
    pub(super) fn ran_out(&self, now: Instant) -> bool {
        let lease = self.order.as_ref().and_then(|order| order.lease);
        let begun = self.leased_at.zip(lease);
        begun.is_some_and(|(at, lease)| now.since(at) >= lease.as_duration())
    }

    /// A wake-up: the next completion may try again.
    pub(super) fn end_renewal_pause(&mut self, now: Instant) {
        if self.renew_at.is_some_and(|at| at <= now) {
            self.renew_at = None;
            self.renew_due = true;
        }
    }
}
