//! The way out: a fault, a stop, a resignation that is over, and the end.

use super::*;

/// Of a Backup, the least that RFC 9568 allows.
const LOWEST: u8 = 1;

impl VirtualRouter {
    /// The service fails everywhere: better degraded than nowhere.
    pub(super) fn stays_degraded(&self, turn: &Turn<'_>) -> bool {
        self.settings.on_all_fail == OnAllFail::Keep
            && matches!(self.state, State::Active(_))
            && self.obstacles.only_checks()
            && turn
                .world
                .nodes
                .all_fail_by_checks(turn.now, &self.settings.name)
    }

    /// Out of Active because of an obstacle: the service may be broken, so
    /// nothing is awaited. Priority 0 first, while it can still leave.
    pub(super) fn fall(&mut self, turn: &mut Turn<'_>, from: StateName) {
        let known = turn.world.interface(self.settings.interface);
        let up = known.is_some_and(|known| known.is_up());
        if up {
            self.advertise(turn, 0);
        }
        let state = State::Initialize(Initialize::default());
        self.enter(turn, from, state, Reason::Obstacle);
    }

    /// Row 9 and row 4. `planned`: the service still works, so its addresses
    /// are answered for until a successor has them.
    pub fn stop(&mut self, turn: &mut Turn<'_>, planned: bool) {
        self.stopping = true;
        let from = self.state_name();
        match &self.state {
            State::Active(_) if planned && self.departs() => self.depart(turn, Told::Stop),
            State::Active(_) => self.resign(turn, planned),
            // For a drain, perhaps: it does not come back any more.
            State::Resigning(_) if planned => self.stay_out(turn.now),
            State::Initialize(_) | State::Backup(_) | State::Claiming(_) | State::Resigning(_) => {
                let state = State::Initialize(Initialize::default());
                self.enter(turn, from, state, Reason::Shutdown);
            }
        }
        self.mend(turn);
    }

    /// A resigning router is done. `claimed`: by another host that announced
    /// what it holds, perhaps before its advertisement was read.
    pub(super) fn relieved(&mut self, turn: &mut Turn<'_>, claimed: bool) {
        let from = self.state_name();
        let source = self.source;
        let ours = source.map(|source| (self.priority.get(), source));
        let successor = self.active_router.as_ref().filter(|_| !self.retired);
        self.farewell = match successor.zip(ours) {
            Some((router, ours)) => losing_priority((router.priority, router.address), ours),
            // Whoever it is wins against the lowest.
            None => (claimed && !self.retired).then_some(LOWEST),
        };
        if successor.is_some() || claimed {
            self.linger();
        }
        let state = State::Initialize(Initialize::default());
        self.enter(turn, from, state, Reason::Shutdown);
        self.refresh(turn);
    }

    /// The last of its addresses is gone, and its successor announces again
    /// on hearing this: a client may have been answered by us meanwhile.
    pub(super) fn bid_farewell(&mut self, turn: &mut Turn<'_>) {
        if matches!(self.state, State::Initialize(_))
            && self.holdings.are_gone()
            && let Some(priority) = self.farewell.take()
        {
            self.solicit_peers(turn);
            self.advertise(turn, priority);
        }
    }

    /// Stopped, and nothing of ours is left on the host.
    pub fn is_finished(&self) -> bool {
        self.stopping
            && matches!(self.state, State::Initialize(_))
            && self.holdings.are_gone()
            && self.routing.are_gone()
            && self.link.is_gone()
            && self.hooks.are_given()
    }
}
