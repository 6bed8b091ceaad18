//! The steps of a failover as they are told: the silence or resignation before
//! it, the addresses held, announced and let go. Nothing here decides anything.

use super::*;
use crate::agent::report::LastHeard;

/// Addresses that one line names.
const NAMED_MAX: usize = 4;

/// What of the present failover is still to be told.
#[derive(Clone, Debug)]
pub(super) struct Story {
    /// This silence was told.
    silent: bool,
    /// Addresses that were said to be held since the claim.
    held: usize,
    /// They have not all been announced since the claim.
    unannounced: bool,
    /// They are not all gone since we were Active.
    unreleased: bool,
    resignations: Allowance,
}

impl Story {
    pub fn new(now: Instant) -> Self {
        Self {
            silent: false,
            held: 0,
            unannounced: false,
            unreleased: false,
            resignations: Allowance::new(now),
        }
    }
}

impl VirtualRouter {
    /// Its name is about to be another than `from`.
    pub(super) fn begin_chapter(&mut self, from: StateName) {
        if matches!(self.state, State::Active(_)) {
            self.story.held = 0;
            self.story.unannounced = true;
            self.story.unreleased = false;
        } else if from == StateName::Active {
            self.story.unannounced = false;
            self.story.unreleased = self.holdings.left().next().is_some();
        }
    }

    /// Somebody was heard: the next silence is another one.
    pub(super) fn end_silence(&mut self) {
        self.story.silent = false;
    }

    pub(super) fn tell_silence(&mut self, turn: &mut Turn<'_>, backup: &Backup) {
        if backup.claim_reason != Reason::NoResponse
            || std::mem::replace(&mut self.story.silent, true)
        {
            return;
        }
        let last = self.active_router.as_ref().map(|active| LastHeard {
            source: active.address,
            node: active.node.clone(),
            priority: active.priority,
            ago: turn.now.since(active.last_advert),
        });
        let patience = self.down_interval(backup.active_interval);
        let fact = Fact::Silence { patience, last };
        turn.report(Some(&self.settings.name), fact);
    }

    pub(super) fn tell_resignation(&mut self, turn: &mut Turn<'_>, source: IpAddr) {
        if !self.story.resignations.take(turn.now, LINE_PACE) {
            return;
        }
        let node = self.node_at(turn, source).cloned();
        let fact = Fact::Resigned { source, node };
        turn.report(Some(&self.settings.name), fact);
    }

    /// Once nothing is awaited any more, and once more when others have come.
    pub(super) fn tell_held(&mut self, turn: &mut Turn<'_>) {
        if !matches!(self.state, State::Active(_)) || !self.holdings.are_decided() {
            return;
        }
        let ours = || self.holdings.iter().filter(|holding| holding.is_ours());
        let held = ours().count();
        if held <= self.story.held {
            return;
        }
        let networks = ours().map(|holding| holding.settings().network);
        let fact = Fact::AddressesHeld {
            held,
            of: self.holdings.iter().count(),
            addresses: networks.take(NAMED_MAX).collect(),
        };
        self.story.held = held;
        turn.report(Some(&self.settings.name), fact);
    }

    pub(super) fn tell_announced(&mut self, turn: &mut Turn<'_>) {
        if !self.story.unannounced || !self.holdings.are_decided() {
            return;
        }
        let Some(addresses) = self.announcer.all_announced() else {
            return;
        };
        self.story.unannounced = false;
        turn.report(Some(&self.settings.name), Fact::Announced { addresses });
    }

    /// Nothing of it is on the host, nor under way.
    pub(super) fn tell_released(&mut self, turn: &mut Turn<'_>) {
        if std::mem::take(&mut self.story.unreleased) {
            turn.report(Some(&self.settings.name), Fact::AddressesReleased);
        }
    }
}
