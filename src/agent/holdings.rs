//! The addresses of one instance: what should be on the host, what is, and
//! the orders that mend the difference. At most one order for an address is
//! under way at a time, so the kernel's last answer is the truth.

mod leftovers;
mod order;

use std::collections::BTreeMap;
use std::time::Duration;

use super::action::{Action, AddressOrder};
use super::event::{Added, Removed};
use super::settings::{AddressSettings, InstanceSettings};
use super::status::AddressStatus;
use super::time::Instant;
use super::values::{AddressIndex, InstanceId, InterfaceName};
use super::world::{Turn, World};

/// Pause before a failed addition is tried again; doubled each time.
const ADD_PAUSE_FIRST: Duration = Duration::from_secs(5);
const ADD_PAUSE_LONGEST: Duration = Duration::from_secs(300);
/// Pause before a failed removal is tried again: short, since two hosts may
/// answer for the address meanwhile.
const REMOVE_PAUSE: Duration = Duration::from_secs(1);
/// An addition that the interface's state does not show by then is ordered
/// once more: the address may have been deleted between the two reports.
const CONFIRM_WITHIN: Duration = Duration::from_secs(1);
/// From one restoration of an address to the next, so that another daemon
/// that keeps deleting it gets no tight loop.
const RESTORE_PAUSE: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
pub(super) struct Holdings {
    instance: InstanceId,
    owner: bool,
    /// In configuration order, as far as no reload added to it. An index is
    /// never used for another address.
    holdings: BTreeMap<AddressIndex, Holding>,
    next_index: u16,
}

#[derive(Clone, Debug)]
pub(super) struct Holding {
    instance: InstanceId,
    index: AddressIndex,
    settings: AddressSettings,
    /// Compared with a report of its interface since it was configured, at
    /// a time when no instance was about to go from it.
    observed: bool,
    /// The kernel has it, as far as we know.
    present: bool,
    /// It was there before we claimed it and belongs to the host: an
    /// owner's. Never removed.
    belongs_to_host: bool,
    /// No longer configured: released whatever the state, then forgotten.
    departing: bool,
    pending: Option<Pending>,
    /// As it was added, for its removal.
    order: Option<AddressOrder>,
    /// Acknowledged since it was last claimed.
    confirmed: bool,
    /// It was ours and went without our doing.
    vanished: bool,
    /// Until then it is not put back again.
    restore_after: Option<Instant>,
    confirm_by: Option<Instant>,
    pub failure: Option<Failure>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pending {
    Add,
    Remove,
}

#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub error: String,
    pub pause: Duration,
    /// Until then nothing is tried.
    pub retry_at: Instant,
    /// No wake-up has come since `retry_at`. Other events may: they are no
    /// reason to forget it.
    pub awaits_wake: bool,
}

/// What an answer to an addition amounts to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum AddOutcome {
    Held { restored: bool },
    Failed { error: String, retry_in: Duration },
}

impl Holdings {
    pub fn new(instance: InstanceId, settings: &InstanceSettings) -> Self {
        let mut holdings = Self {
            instance,
            owner: false,
            holdings: BTreeMap::new(),
            next_index: 0,
        };
        holdings.reconfigure(settings);
        holdings
    }

    /// Keeps what stays the same, adds what is new, and returns what departs.
    pub fn reconfigure(&mut self, settings: &InstanceSettings) -> Vec<AddressIndex> {
        self.owner = settings.priority.is_owner();
        for holding in self.holdings.values_mut() {
            holding.departing = true;
        }
        for wanted in &settings.addresses {
            let known = self
                .holdings
                .values_mut()
                .find(|holding| holding.departing && holding.settings.is_held_like(wanted));
            match known {
                Some(holding) => {
                    holding.departing = false;
                    holding.settings = wanted.clone();
                }
                None => {
                    let index = self.free_index();
                    let holding = Holding::new(self.instance, index, wanted.clone());
                    self.holdings.insert(index, holding);
                }
            }
        }
        let departing = self.holdings.values().filter(|holding| holding.departing);
        departing.map(|holding| holding.index).collect()
    }

    /// The next index that no address has, be it a departing one.
    fn free_index(&mut self) -> AddressIndex {
        while self.holdings.contains_key(&AddressIndex(self.next_index)) {
            self.next_index = self.next_index.wrapping_add(1);
        }
        let index = AddressIndex(self.next_index);
        self.next_index = self.next_index.wrapping_add(1);
        index
    }

    /// Those that are configured.
    pub fn iter(&self) -> impl Iterator<Item = &Holding> {
        self.holdings.values().filter(|holding| !holding.departing)
    }

    pub fn get(&self, index: AddressIndex) -> Option<&Holding> {
        self.holdings.get(&index)
    }

    fn get_mut(&mut self, index: AddressIndex) -> Option<&mut Holding> {
        self.holdings.get_mut(&index)
    }

    /// Nothing of ours is on the host and nothing is under way.
    pub fn are_gone(&self) -> bool {
        self.holdings
            .values()
            .all(|holding| holding.pending.is_none() && !holding.is_removable())
    }

    /// Orders every address, those believed present too: a claim begins by
    /// making sure.
    pub fn claim(&mut self, turn: &mut Turn<'_>) {
        for holding in self.holdings.values_mut() {
            holding.claim(turn, self.owner, true);
        }
    }

    /// Orders what is missing.
    pub fn complete(&mut self, turn: &mut Turn<'_>) {
        self.release_departing(turn);
        for holding in self.holdings.values_mut() {
            holding.claim(turn, self.owner, false);
        }
    }

    /// Orders the removal of what is no longer configured.
    pub fn release_departing(&mut self, turn: &mut Turn<'_>) {
        for holding in self.holdings.values_mut().rev() {
            if holding.departing {
                holding.release(turn);
            }
        }
        self.forget_departed();
    }

    /// Orders the removal of what is there, the last first.
    pub fn release(&mut self, turn: &mut Turn<'_>) {
        for holding in self.holdings.values_mut().rev() {
            holding.release(turn);
        }
        self.forget_departed();
    }

    pub fn added(
        &mut self,
        turn: &Turn<'_>,
        index: AddressIndex,
        outcome: Result<Added, String>,
    ) -> Option<AddOutcome> {
        let holding = self.get_mut(index)?;
        holding.answered(Pending::Add)?;
        Some(holding.added(turn, outcome))
    }

    /// The error and the pause before the next try, if it failed.
    pub fn removed(
        &mut self,
        now: Instant,
        index: AddressIndex,
        outcome: Result<Removed, String>,
    ) -> Option<(String, Duration)> {
        let holding = self.get_mut(index)?;
        holding.answered(Pending::Remove)?;
        match outcome {
            Ok(_) => {
                holding.present = false;
                holding.order = None;
                holding.failure = None;
                None
            }
            Err(error) => {
                holding.fail(now, error.clone(), REMOVE_PAUSE);
                Some((error, REMOVE_PAUSE))
            }
        }
    }

    /// Compares with what `interface` now has. Returns the addresses that
    /// went without our doing.
    pub fn observe(
        &mut self,
        world: &World,
        interface: InterfaceName,
        renewed: bool,
    ) -> Vec<AddressIndex> {
        let mut gone = Vec::new();
        let Some(known) = world.interface(interface) else {
            return gone;
        };
        for holding in self.holdings.values_mut() {
            if holding.settings.interface != interface {
                continue;
            }
            if renewed && !holding.is_removable() {
                holding.failure = None;
            }
            if holding.pending.is_some() {
                continue;
            }
            let address = holding.settings.network.addr();
            holding.find(world, known);
            if known.has(address) {
                holding.confirm_by = None;
            } else if holding.present
                && (holding.confirm_by.is_none() || renewed || known.state.is_none())
            {
                // Otherwise the report may be older than the addition: it is
                // given until `confirm_by`.
                holding.vanish();
                // It was a removal's; there is nothing to remove any more.
                holding.failure = None;
                gone.push(holding.index);
            }
        }
        gone
    }

    /// A wake-up: treats what was not confirmed in time as gone, and ends the
    /// pauses that are over; the next completion orders what is wanted.
    pub fn expire(&mut self, now: Instant) {
        for holding in self.holdings.values_mut() {
            if holding.confirm_by.is_some_and(|at| at <= now) {
                holding.vanish();
            }
            holding.restore_after = holding.restore_after.filter(|at| *at > now);
            if let Some(failure) = &mut holding.failure {
                failure.awaits_wake &= failure.retry_at > now;
            }
        }
    }

    /// When something has to be tried again or confirmed. It stands until a
    /// wake-up comes, however many other events come first: what is sent to
    /// a Backup moves nothing here.
    pub fn next(&self) -> Option<Instant> {
        let all = self.holdings.values().flat_map(|holding| {
            let failure = holding.failure.as_ref();
            let retry = failure.filter(|failure| failure.awaits_wake);
            [
                retry.map(|failure| failure.retry_at),
                holding.restoration(),
                holding.confirm_by,
            ]
        });
        all.flatten().min()
    }

    pub fn status(&self) -> Vec<AddressStatus> {
        self.iter()
            .map(|holding| AddressStatus {
                network: holding.settings.network,
                interface: holding.settings.interface,
                held: holding.is_held(),
                required: holding.settings.required,
                lease: None,
            })
            .collect()
    }
}

impl Holding {
    fn new(instance: InstanceId, index: AddressIndex, settings: AddressSettings) -> Self {
        Self {
            instance,
            index,
            settings,
            observed: false,
            present: false,
            belongs_to_host: false,
            departing: false,
            pending: None,
            order: None,
            confirmed: false,
            vanished: false,
            restore_after: None,
            confirm_by: None,
            failure: None,
        }
    }

    pub fn index(&self) -> AddressIndex {
        self.index
    }

    pub fn settings(&self) -> &AddressSettings {
        &self.settings
    }

    /// Confirmed by the kernel, and not about to go.
    pub fn is_held(&self) -> bool {
        self.present && self.pending.is_none()
    }

    pub fn is_present(&self) -> bool {
        self.present
    }

    fn is_removable(&self) -> bool {
        self.present && !self.belongs_to_host
    }

    /// Nothing when that is not what the kernel was asked: what it was asked
    /// is still under way.
    fn answered(&mut self, order: Pending) -> Option<Pending> {
        self.pending.take_if(|pending| *pending == order)
    }

    fn may_try(&self, now: Instant) -> bool {
        self.pending.is_none()
            && self
                .failure
                .as_ref()
                .is_none_or(|failure| failure.retry_at <= now)
    }

    fn vanish(&mut self) {
        self.present = false;
        self.confirmed = false;
        self.vanished = true;
        self.confirm_by = None;
    }

    /// When one that vanished may be put back, if that has to wait.
    fn restoration(&self) -> Option<Instant> {
        let waits = self.vanished && !self.present && self.pending.is_none();
        self.restore_after.filter(|_| waits)
    }

    fn claim(&mut self, turn: &mut Turn<'_>, owner: bool, anew: bool) {
        if self.departing {
            return;
        }
        if anew {
            self.confirmed = false;
        }
        if self.present {
            // A removal that failed is no longer wanted.
            self.failure = None;
        }
        let settled = self.present && self.confirmed;
        let too_soon = self.restoration().is_some_and(|at| at > turn.now);
        if settled || too_soon || !self.may_try(turn.now) {
            return;
        }
        let Some(known) = turn.world.interface(self.settings.interface) else {
            return;
        };
        let Some(state) = &known.state else {
            return;
        };
        let address = self.settings.network.addr();
        let found_there = known.has(address) && !known.has_marked(address);
        self.belongs_to_host = owner && (self.belongs_to_host || found_there);
        let kept = self.order.take();
        let order = match kept.filter(|_| self.present || self.belongs_to_host) {
            Some(order) => order,
            None => self.order_for(state, turn.world),
        };
        self.order = Some(order.clone());
        self.pending = Some(Pending::Add);
        if self.vanished {
            self.restore_after = Some(turn.now + RESTORE_PAUSE);
        }
        turn.act(Action::AddAddress(order));
    }

    fn added(&mut self, turn: &Turn<'_>, outcome: Result<Added, String>) -> AddOutcome {
        let address = self.settings.network.addr();
        let known = turn.world.interface(self.settings.interface);
        let seen = known.is_some_and(|known| known.has(address));
        let outcome = match outcome {
            // One that never went, its removal having been refused, stands
            // although the kernel would not add it again. Were it taken for
            // absent, nobody would remove it. A report that is older than its
            // disappearance is followed by one that is not.
            Err(_) if self.present && seen => Ok(Added::AlreadyPresent),
            outcome => outcome,
        };
        match outcome {
            Ok(added) => {
                self.present = true;
                self.confirmed = true;
                self.failure = None;
                self.confirm_by = (!seen).then(|| turn.now + CONFIRM_WITHIN);
                let restored = std::mem::take(&mut self.vanished) && added == Added::Fresh;
                AddOutcome::Held { restored }
            }
            Err(error) => {
                self.present = false;
                self.order = None;
                let pause = self.failure.as_ref().map_or(ADD_PAUSE_FIRST, |failure| {
                    (failure.pause * 2).min(ADD_PAUSE_LONGEST)
                });
                self.fail(turn.now, error.clone(), pause);
                AddOutcome::Failed {
                    error,
                    retry_in: pause,
                }
            }
        }
    }

    fn release(&mut self, turn: &mut Turn<'_>) {
        self.confirmed = false;
        self.vanished = false;
        self.confirm_by = None;
        if !self.present {
            return;
        }
        if self.belongs_to_host {
            self.present = false;
            self.order = None;
            return;
        }
        if !self.may_try(turn.now) {
            return;
        }
        let order = self.order.clone().or_else(|| self.leftover(turn.world));
        match order {
            Some(order) => {
                self.pending = Some(Pending::Remove);
                turn.act(Action::RemoveAddress(order));
            }
            None => self.present = false,
        }
    }

    fn fail(&mut self, now: Instant, error: String, pause: Duration) {
        self.failure = Some(Failure {
            error,
            pause,
            retry_at: now + pause,
            awaits_wake: true,
        });
    }
}
