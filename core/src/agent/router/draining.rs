//! One instance that an operator takes out of the election.

use super::health::Told;
use super::moving::{Drained, Part};
use super::*;
use crate::agent::moves::DrainEnd;

impl VirtualRouter {
    pub fn drained(&self) -> Option<DrainEnd> {
        self.moving.drained.map(|drained| drained.end)
    }

    pub(super) fn is_drained(&self) -> bool {
        self.moving.drained.is_some()
    }

    pub fn is_leaving(&self) -> bool {
        self.moving.leaving.is_some()
    }

    /// The end of the drain for which it resigns.
    pub fn leaves_for(&self) -> Option<DrainEnd> {
        self.moving.leaving
    }

    /// As an earlier agent kept it.
    pub fn restore_drain(&mut self, now: Instant, end: DrainEnd) {
        self.moving.drained = Some(Drained { since: now, end });
    }

    /// Out of the election, or back. An Active is to be brought out of that
    /// first: here it would fall.
    pub fn set_drained(&mut self, turn: &mut Turn<'_>, end: Option<DrainEnd>) {
        let from = self.state_name();
        self.moving.leaving = None;
        let since = self.moving.drained.map_or(turn.now, |old| old.since);
        self.moving.drained = end.map(|end| Drained { since, end });
        if end.is_some() {
            self.moving.part = Part::None;
            self.set_yielded(None);
        }
        self.refresh_from(turn, from);
    }

    /// The successor has everything: out at once.
    pub fn withdraw(&mut self, turn: &mut Turn<'_>, end: DrainEnd) {
        let from = self.state_name();
        self.linger();
        self.moving.part = Part::None;
        self.moving.drained = Some(Drained {
            since: turn.now,
            end,
        });
        self.enter(
            turn,
            from,
            State::Initialize(Initialize::default()),
            Reason::Drained,
        );
        self.refresh(turn);
    }

    /// Priority 0, and answers until it is relieved; then it is drained.
    /// `returns`: if nobody takes over within the Active_Down_Interval it is
    /// Active again, and not drained.
    pub fn resign_to_drain(&mut self, turn: &mut Turn<'_>, end: DrainEnd, returns: bool) {
        self.moving.leaving = Some(end);
        self.moving.returns = returns;
        if self.departs() {
            // Its hook first, and its mates'.
            self.depart(turn, Told::Backup);
        } else {
            self.resign(turn, true);
        }
    }

    /// Resigning from now on; one that is to return waits for longer, and
    /// repeats itself.
    pub(super) fn lengthen_resignation(&mut self, now: Instant) {
        let interval = self.own_interval();
        let until = now + self.down_interval(interval);
        let returns = self.moving.leaving.is_some() && std::mem::take(&mut self.moving.returns);
        if let (State::Resigning(resigning), true) = (&mut self.state, returns) {
            resigning.repeat_at = Some(now + interval);
            resigning.until = until;
        }
    }

    /// Another took over while its hook ran: nothing is left to give up.
    pub fn overtaken(&mut self, turn: &mut Turn<'_>) {
        if let State::Backup(backup) = &mut self.state
            && let Some(end) = self.moving.leaving
        {
            // Owed all the same when its addresses are gone.
            self.farewell = backup.parting.take().map(|parting| parting.priority);
            self.set_drained(turn, Some(end));
        }
    }

    /// Nobody came for a mate, which is Active again.
    pub fn return_too(&mut self, turn: &mut Turn<'_>) {
        if matches!(&self.state, State::Resigning(resigning) if resigning.repeat_at.is_some()) {
            self.moving.leaving = None;
            self.claim(turn, Reason::Returned);
        }
    }

    /// A mate was relieved, or the agent stops: so are we, soon.
    pub fn stay_out(&mut self, now: Instant) {
        let interval = self.own_interval();
        if let State::Resigning(resigning) = &mut self.state
            && resigning.repeat_at.take().is_some()
        {
            resigning.until = resigning.until.min(now + interval);
        }
    }

    /// Somebody took over, or will.
    pub fn is_relieved(&self) -> bool {
        match &self.state {
            State::Resigning(resigning) => resigning.repeat_at.is_none(),
            State::Initialize(_) | State::Backup(_) | State::Claiming(_) | State::Active(_) => {
                self.is_drained()
            }
        }
    }

    pub fn is_resigning(&self) -> bool {
        matches!(self.state, State::Resigning(_))
    }

    /// A resignation's clock.
    pub(super) fn resigning_wakes(&mut self, turn: &mut Turn<'_>, mut resigning: Resigning) {
        let returns = resigning.repeat_at.is_some();
        if resigning.until <= turn.now {
            if returns {
                self.moving.leaving = None;
                self.claim(turn, Reason::Returned);
            } else {
                self.relieved(turn, false);
            }
            return;
        }
        if let Some(at) = resigning.repeat_at.filter(|at| *at <= turn.now) {
            resigning.repeat_at = Some((at + self.own_interval()).max(turn.now));
            self.state = State::Resigning(resigning);
            self.advertise(turn, 0);
        }
    }

    /// Initialize was entered: one that was leaving is out now.
    pub(super) fn left_for_good(&mut self, now: Instant) -> bool {
        let end = self.moving.leaving.take();
        if let Some(end) = end {
            self.moving.drained = Some(Drained { since: now, end });
        }
        end.is_some()
    }

    /// Whether nobody who is known can be Active.
    pub(super) fn look_for_able(&mut self, turn: &mut Turn<'_>) {
        let out = |state| matches!(state, StateName::Fault | StateName::Drained);
        let name = &self.settings.name;
        let here = matches!(self.state_name(), StateName::Fault | StateName::Drained);
        let mut nodes = turn.world.nodes.iter().peekable();
        let alone = nodes.peek().is_none();
        let stranded = here
            && !alone
            && nodes.all(|(_, peer)| {
                let news = peer.instance_now(turn.now, name);
                news.map_or(!peer.is_reachable(), |news| out(news.state))
            });
        if stranded && !self.moving.stranded {
            turn.report(Some(name), Fact::NobodyAble);
        }
        self.moving.stranded = stranded;
    }

    pub(super) fn stranded(&self) -> bool {
        self.moving.stranded
    }
}
