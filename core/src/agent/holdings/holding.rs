//! One address: on the host or not, and what was ordered about it.

use std::net::IpAddr;
use std::time::Duration;

use crate::agent::action::{Action, AddressOrder};
use crate::agent::event::Added;
use crate::agent::report::Loss;
use crate::agent::settings::AddressSettings;
use crate::agent::time::Instant;
use crate::agent::values::{AddressIndex, InstanceId, InterfaceName, Lease};
use crate::agent::world::{Turn, World};

/// Pause before a failed addition is tried again; doubled each time.
const ADD_PAUSE_FIRST: Duration = Duration::from_secs(5);
const ADD_PAUSE_LONGEST: Duration = Duration::from_secs(300);
/// An addition that the interface's state does not show by then is ordered
/// once more: the address may have been deleted between the two reports.
const CONFIRM_WITHIN: Duration = Duration::from_secs(1);
/// From one restoration of an address to the next, so that another daemon
/// that keeps deleting it gets no tight loop; doubled each time.
const RESTORE_PAUSE_FIRST: Duration = Duration::from_millis(100);
const RESTORE_PAUSE_LONGEST: Duration = Duration::from_secs(1);
/// Left alone for this long, it is restored at once the next time.
const LEFT_ALONE: Duration = Duration::from_secs(60);

#[derive(Clone, Debug)]
pub(in crate::agent) struct Holding {
    pub(super) instance: InstanceId,
    pub(super) index: AddressIndex,
    pub(super) settings: AddressSettings,
    /// The interface that it is on, which may be one with a virtual hardware
    /// address above the one in `settings`.
    pub(super) place: InterfaceName,
    /// Compared with a report of its interface since it was configured, at
    /// a time when no instance was about to go from it.
    pub(super) observed: bool,
    /// The kernel has it, as far as we know.
    pub(super) present: bool,
    /// It was there before we claimed it and belongs to the host: an
    /// owner's. Never removed.
    pub(super) belongs_to_host: bool,
    /// No longer configured: released whatever the state, then forgotten.
    pub(super) departing: bool,
    pub(super) pending: Option<Pending>,
    /// As it was added, for its removal.
    pub(super) order: Option<AddressOrder>,
    /// Acknowledged since it was last claimed.
    pub(super) confirmed: bool,
    /// It was ours and went without our doing.
    pub(super) vanished: Option<Loss>,
    /// Until then it is not put back again.
    pub(super) restore_after: Option<Instant>,
    /// When it was put back last, and the pause until the next time.
    restored: Option<(Instant, Duration)>,
    /// When the last addition or renewal that succeeded was ordered.
    pub(super) leased_at: Option<Instant>,
    /// The same of the one under way.
    pub(super) ordered_at: Instant,
    /// A renewal failed, and is to be tried again then.
    pub(super) renew_at: Option<Instant>,
    /// ... or now.
    pub(super) renew_due: bool,
    /// Why it carries no lease although one is configured.
    pub(super) unleased: Option<String>,
    pub(super) confirm_by: Option<Instant>,
    pub failure: Option<Box<Failure>>,
}

/// What an address is claimed with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    /// Priority 255: it may be the host's own.
    pub owner: bool,
    pub lease: Option<Lease>,
    /// An advertisement that left speaks for us.
    pub spoken: bool,
    /// Also those believed present.
    pub anew: bool,
    pub link_is_up: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pending {
    Add,
    Renew,
    Remove,
}

#[derive(Clone, Debug)]
pub(in crate::agent) struct Failure {
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
pub(in crate::agent) enum AddOutcome {
    /// `restored`: how it had gone before.
    Held {
        restored: Option<Loss>,
    },
    Failed {
        error: String,
        retry_in: Duration,
    },
}

/// It means nothing on another interface.
fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

impl Holding {
    pub(super) fn new(
        instance: InstanceId,
        index: AddressIndex,
        settings: AddressSettings,
        place: InterfaceName,
    ) -> Self {
        Self {
            instance,
            index,
            settings,
            place,
            observed: false,
            present: false,
            belongs_to_host: false,
            departing: false,
            pending: None,
            order: None,
            confirmed: false,
            vanished: None,
            restore_after: None,
            restored: None,
            leased_at: None,
            ordered_at: Instant::from_nanos(0),
            renew_at: None,
            renew_due: false,
            unleased: None,
            confirm_by: None,
            failure: None,
        }
    }

    pub fn index(&self) -> AddressIndex {
        self.index
    }

    /// The interface that it is on, or will be.
    pub fn place(&self) -> InterfaceName {
        self.place
    }

    pub fn settings(&self) -> &AddressSettings {
        &self.settings
    }

    /// Confirmed by the kernel, and not about to go.
    pub fn is_held(&self) -> bool {
        self.present && matches!(self.pending, None | Some(Pending::Renew))
    }

    /// Held, and acknowledged since it was last claimed: it may be spoken of.
    pub fn is_ours(&self) -> bool {
        self.is_held() && self.confirmed
    }

    /// Ours, or tried in vain, or to be put back later: nothing waits for it.
    pub(super) fn is_decided(&self) -> bool {
        let given_up = self.failure.is_some() || self.vanished.is_some();
        self.is_ours() || (given_up && self.pending.is_none())
    }

    pub fn is_present(&self) -> bool {
        self.present
    }

    pub(super) fn is_removable(&self) -> bool {
        self.present && !self.belongs_to_host
    }

    /// Nothing when that is not what the kernel was asked: what it was asked
    /// is still under way.
    pub(super) fn answered(&mut self, order: Pending) -> Option<Pending> {
        self.pending.take_if(|pending| *pending == order)
    }

    pub(super) fn may_try(&self, now: Instant) -> bool {
        self.pending.is_none()
            && self
                .failure
                .as_ref()
                .is_none_or(|failure| failure.retry_at <= now)
    }

    pub(super) fn vanish(&mut self, now: Instant) {
        self.vanished = Some(match self.ran_out(now) {
            true => Loss::Expired,
            false => Loss::Deleted,
        });
        self.present = false;
        self.confirmed = false;
        self.confirm_by = None;
        self.renew_at = None;
    }

    /// When one that vanished may be put back, if that has to wait.
    pub(super) fn restoration(&self) -> Option<Instant> {
        let waits = self.vanished.is_some() && !self.present && self.pending.is_none();
        self.restore_after.filter(|_| waits)
    }

    /// By when a report must show it. While an order is under way its answer
    /// tells.
    pub(super) fn confirmation(&self) -> Option<Instant> {
        self.confirm_by.filter(|_| self.pending.is_none())
    }

    /// The kernel has just said that it is there. Whether that answers a claim
    /// is another question.
    pub(super) fn exists(&mut self, now: Instant, seen: bool) {
        self.present = true;
        self.confirm_by = (!seen).then(|| now + CONFIRM_WITHIN);
    }

    pub(super) fn is_seen(&self, world: &World) -> bool {
        let known = world.interface(self.place);
        known.is_some_and(|known| known.has(self.settings.network.addr()))
    }

    pub(super) fn claim(&mut self, turn: &mut Turn<'_>, wish: Wish) {
        let Wish {
            owner,
            lease,
            spoken,
            anew,
            link_is_up,
        } = wish;
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
        if self.place != self.settings.interface && !link_is_up {
            return;
        }
        let settled = self.present && self.confirmed;
        // Nothing of ours has left since: who let it go by himself shall not
        // take it back by himself.
        if self.vanished == Some(Loss::Expired) && !spoken {
            return;
        }
        let too_soon = self.restoration().is_some_and(|at| at > turn.now);
        if settled || too_soon || !self.may_try(turn.now) {
            return;
        }
        let Some(known) = turn.world.interface(self.place) else {
            return;
        };
        let Some(state) = &known.state else {
            return;
        };
        let address = self.settings.network.addr();
        let found_there = known.has(address) && !known.has_marked(address);
        self.belongs_to_host = owner && (self.belongs_to_host || found_there);
        let kept = self.order.take();
        let mut order = match kept.filter(|_| self.present || self.belongs_to_host) {
            Some(order) => order,
            None => self.order_for(state, turn.world),
        };
        order.lease = lease.filter(|_| !self.belongs_to_host);
        self.unleased = None;
        self.order = Some(order.clone());
        self.pending = Some(Pending::Add);
        self.ordered_at = turn.now;
        if self.vanished.is_some() {
            let pause = self.restore_pause(turn.now);
            self.restored = Some((turn.now, pause));
            self.restore_after = Some(turn.now + pause);
        }
        turn.act(Action::AddAddress(order));
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

    pub(super) fn added(&mut self, turn: &Turn<'_>, outcome: Result<Added, String>) -> AddOutcome {
        let seen = self.is_seen(turn.world);
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
                self.exists(turn.now, seen);
                self.confirmed = true;
                self.failure = None;
                // One that stood there has whatever lifetime it had.
                self.leased_at = (added == Added::Fresh).then_some(self.ordered_at);
                let restored = self.vanished.take().filter(|_| added == Added::Fresh);
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

    /// The host's own, which no release removes.
    pub(super) fn stays_behind(&self) -> bool {
        self.present && self.belongs_to_host
    }

    /// `lingers`: another host has taken it over.
    pub(super) fn release(&mut self, turn: &mut Turn<'_>, lingers: bool) {
        self.confirmed = false;
        self.vanished = None;
        self.confirm_by = None;
        self.renew_at = None;
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
                // Where the interface goes down behind it nothing can linger.
                let stays = self.place == self.settings.interface;
                let lingers = lingers && stays && !is_link_local(order.network.addr());
                turn.act(Action::RemoveAddress(AddressOrder { lingers, ..order }));
            }
            None => self.present = false,
        }
    }

    pub(super) fn fail(&mut self, now: Instant, error: String, pause: Duration) {
        self.failure = Some(Box::new(Failure {
            error,
            pause,
            retry_at: now + pause,
            awaits_wake: true,
        }));
    }
}
