//! The account of one instance's link: what it should be, what it is, and the
//! one order at a time that mends the difference.

use std::time::Duration;

use super::{LinkChanged, LinkOrder, LinkState, VirtualLink};
use crate::agent::action::Action;
use crate::agent::time::Instant;
use crate::agent::values::{InstanceId, InterfaceName};
use crate::agent::world::{Turn, World};

/// Pause before an order that failed is given again; doubled each time.
const PAUSE_FIRST: Duration = Duration::from_secs(5);
const PAUSE_LONGEST: Duration = Duration::from_secs(300);
/// A report that contradicts the kernel's answer may be older than it for so
/// long. It is also the shortest time from one restoration to the next.
const REPORTS_LAG: Duration = Duration::from_millis(200);

#[derive(Clone, Debug)]
pub(in crate::agent) struct LinkAccount {
    instance: InstanceId,
    link: Option<VirtualLink>,
    /// A reload took it away: removed whatever the state, then forgotten.
    departing: bool,
    /// As the kernel's last answer has it; `None` where that is not known.
    reached: Option<LinkState>,
    pending: Option<LinkState>,
    /// It may be on the host by our doing.
    made: bool,
    failure: Option<Box<LinkFailure>>,
    unguarded: Option<String>,
    /// Until then reports are not believed against the last answer.
    doubted_until: Instant,
    /// One does say otherwise; looked at again then.
    look_at: Option<Instant>,
    /// It was up or down by our doing, and went otherwise.
    lost: bool,
}

#[derive(Clone, Debug)]
pub(in crate::agent) struct LinkFailure {
    pub error: String,
    pub since: Instant,
    pub retry_at: Instant,
    pause: Duration,
    /// It could not be raised; whether it is there does not matter then.
    raising: bool,
    /// No wake-up has come since `retry_at`.
    awaits_wake: bool,
}

/// What an answer amounts to, where it is worth a line.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::agent) enum LinkNews {
    Failed {
        error: String,
        retry_in: Duration,
    },
    /// Somebody else had removed or lowered it.
    Restored,
    Unguarded(String),
}

impl LinkAccount {
    pub fn new(instance: InstanceId, link: Option<VirtualLink>) -> Self {
        Self {
            instance,
            link,
            departing: false,
            reached: None,
            pending: None,
            made: false,
            failure: None,
            unguarded: None,
            doubted_until: Instant::from_nanos(0),
            look_at: None,
            lost: false,
        }
    }

    /// Its identity follows from what a reload cannot change of an instance:
    /// it is wanted from now on, or no longer.
    pub fn reconfigure(&mut self, link: Option<VirtualLink>) {
        self.departing = link.is_none() && self.link.is_some();
        self.link = link.or(self.link);
        self.failure = None;
    }

    /// The one that is configured.
    pub fn configured(&self) -> Option<VirtualLink> {
        self.link.filter(|_| !self.departing)
    }

    /// That there may be, be it about to go.
    pub fn left(&self) -> Option<VirtualLink> {
        self.link.filter(|_| self.made || self.pending.is_some())
    }

    /// Confirmed by the kernel to be up, and to stay so.
    pub fn is_up(&self) -> bool {
        matches!(self.reached, Some(LinkState::Up(_)))
            && matches!(self.pending, None | Some(LinkState::Up(_)))
    }

    /// Nothing of ours is there, and nothing is under way.
    pub fn is_gone(&self) -> bool {
        !self.made && self.pending.is_none()
    }

    /// It takes no frame for us any more.
    pub fn is_quiet(&self) -> bool {
        let up = matches!(self.reached, Some(LinkState::Up(_)));
        self.is_gone() || (!up && self.pending.is_none())
    }

    /// Nothing is known of it yet.
    pub fn is_awaited(&self) -> bool {
        self.configured().is_some() && self.reached.is_none() && self.failure.is_none()
    }

    /// Why an instance cannot do its work with it.
    pub fn failure(&self, now: Instant) -> Option<&LinkFailure> {
        let failure = self.failure.as_deref().filter(|_| !self.departing);
        failure.filter(|failure| !failure.raising || failure.retry_at > now)
    }

    pub fn unguarded(&self) -> Option<&str> {
        self.unguarded.as_deref().filter(|_| self.is_up())
    }

    /// One word for `status`.
    pub fn word(&self) -> &'static str {
        match &self.reached {
            Some(LinkState::Up(_)) => "up",
            Some(LinkState::Down) => "down",
            Some(LinkState::Absent) => "absent",
            None => "unknown",
        }
    }

    /// Gives the order that brings it there, if one is needed and may be given.
    pub fn bring(&mut self, turn: &mut Turn<'_>, wanted: LinkState) {
        let Some(link) = self.link else {
            return;
        };
        self.look(turn.now, turn.world);
        let wanted = match self.departing {
            true => LinkState::Absent,
            false => wanted,
        };
        let parent = turn.world.interface(link.parent);
        let orphaned = parent.is_none_or(|parent| parent.state.is_none());
        if wanted == LinkState::Absent && !self.made && self.pending.is_none() {
            self.forget_departed();
            return;
        }
        // The kernel removes it with its parent, and makes none without.
        if orphaned && wanted != LinkState::Absent {
            return;
        }
        let waits = self.failure.as_ref().is_some_and(|failure| {
            let concerned = !failure.raising || matches!(wanted, LinkState::Up(_));
            concerned && failure.retry_at > turn.now
        });
        if self.pending.is_some() || self.reached.as_ref() == Some(&wanted) || waits {
            return;
        }
        self.made |= wanted != LinkState::Absent;
        self.pending = Some(wanted.clone());
        turn.act(Action::ChangeLink(LinkOrder {
            instance: self.instance,
            link,
            state: wanted,
        }));
    }

    /// The kernel's answer to the order under way.
    pub fn changed(
        &mut self,
        now: Instant,
        outcome: Result<LinkChanged, String>,
    ) -> Option<LinkNews> {
        let wanted = self.pending.take()?;
        let raising = matches!(wanted, LinkState::Up(_));
        self.doubted_until = now + REPORTS_LAG;
        match outcome {
            Ok(changed) => {
                self.made = wanted != LinkState::Absent;
                self.reached = Some(wanted);
                // One that cannot be raised can be there all the same.
                self.failure.take_if(|failure| !failure.raising || raising);
                let before = std::mem::replace(&mut self.unguarded, changed.unguarded);
                let restored = std::mem::take(&mut self.lost) && self.made;
                let unguarded = self.unguarded.clone().filter(|_| before.is_none());
                self.forget_departed();
                match unguarded {
                    Some(why) => Some(LinkNews::Unguarded(why)),
                    None => restored.then_some(LinkNews::Restored),
                }
            }
            Err(error) => {
                self.reached = None;
                let before = self.failure.as_ref();
                let pause =
                    before.map_or(PAUSE_FIRST, |before| (before.pause * 2).min(PAUSE_LONGEST));
                self.failure = Some(Box::new(LinkFailure {
                    error: error.clone(),
                    since: before.map_or(now, |before| before.since),
                    retry_at: now + pause,
                    pause,
                    raising,
                    awaits_wake: true,
                }));
                Some(LinkNews::Failed {
                    error,
                    retry_in: pause,
                })
            }
        }
    }

    /// Its parent came back or is another: what was tried before says nothing.
    pub fn renew(&mut self, interface: InterfaceName) {
        if self.link.is_some_and(|link| link.parent == interface) {
            self.failure = None;
        }
    }

    /// A wake-up: pauses that are over end, and lasting contradictions count.
    pub fn expire(&mut self, now: Instant, world: &World) {
        self.look(now, world);
        if let Some(failure) = &mut self.failure {
            failure.awaits_wake &= failure.retry_at > now;
        }
    }

    /// When something has to be tried again or looked at.
    pub fn next(&self) -> Option<Instant> {
        let retry = self.failure.as_ref().filter(|failure| failure.awaits_wake);
        let retry = retry.map(|failure| failure.retry_at);
        [retry, self.look_at].into_iter().flatten().min()
    }

    fn look(&mut self, now: Instant, world: &World) {
        self.look_at = None;
        if !self.contradicts(world) {
            return;
        }
        if now < self.doubted_until {
            self.look_at = Some(self.doubted_until);
            return;
        }
        self.reached = None;
        self.lost = true;
    }

    /// The reports say otherwise than the kernel's last answer.
    fn contradicts(&self, world: &World) -> bool {
        let (Some(link), Some(reached), None) = (self.link, &self.reached, &self.pending) else {
            return false;
        };
        let Some(known) = world.interface(link.name) else {
            return false;
        };
        let parent = world.interface(link.parent);
        let parent_is_up = parent.is_some_and(|parent| parent.is_up());
        match (reached, &known.state) {
            (LinkState::Absent, _) => false,
            (LinkState::Down | LinkState::Up(_), None) => true,
            (LinkState::Down, Some(state)) => state.up,
            (LinkState::Up(raised), Some(state)) => {
                state.hardware_address != Some(link.hardware_address)
                    || state.mtu != raised.mtu
                    || (!state.up && parent_is_up)
            }
        }
    }

    fn forget_departed(&mut self) {
        if self.departing && self.is_gone() {
            self.link = None;
            self.departing = false;
            self.reached = None;
        }
    }
}
