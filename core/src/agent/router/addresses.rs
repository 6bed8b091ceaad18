//! The addresses of one router: ordered, confirmed, announced (PROTOCOL
//! section 5).

use super::*;

impl VirtualRouter {
    /// Orders whatever is missing or too much, and sends the parting
    /// advertisement once the last address is gone.
    pub(super) fn mend(&mut self, turn: &mut Turn<'_>) {
        if self.holds() {
            if !self.doubts(turn.now) {
                self.raise_link(turn);
                self.holdings.complete(turn);
                self.routing.complete(turn, &self.holdings);
            }
            return;
        }
        self.announcer.end_all();
        self.routing.release(turn);
        self.holdings.release(turn);
        // Without addresses it says nothing. The kernel takes long to bring it
        // down, and others on the same kernel wait meanwhile: the successor
        // goes first.
        if !self.has_let_go() {
            self.rest_link(turn);
        }
        if self.holdings.are_gone() {
            self.tell_released(turn);
        }
        let gone = self.holdings.are_gone() && self.link.is_quiet();
        if let State::Backup(backup) = &mut self.state
            && gone
            && let Some(parting) = backup.parting.take()
            && (!parting.if_answered || self.holdings.answered_until_now())
        {
            self.solicit_peers(turn);
            self.advertise(turn, parting.priority);
        }
        self.bid_farewell(turn);
        self.leave_if_stopping(turn, gone);
    }

    /// A Backup that stops stays only for what it owes.
    fn leave_if_stopping(&mut self, turn: &mut Turn<'_>, gone: bool) {
        if gone && self.stopping && matches!(self.state, State::Backup(_)) {
            let from = self.state_name();
            let state = State::Initialize(Initialize::default());
            self.enter(turn, from, state, Reason::Shutdown);
        }
    }

    /// A unicast peer that was out of reach may stand in the kernel's table
    /// as one that is being given up, and what waits for it is thrown away
    /// then. A parting advertisement is sent once and must arrive.
    pub(super) fn solicit_peers(&self, turn: &mut Turn<'_>) {
        let Some(source) = self.source else {
            return;
        };
        for peer in &self.settings.unicast_peers {
            turn.act(Action::Solicit {
                interface: self.settings.interface,
                source,
                target: *peer,
            });
        }
    }

    pub fn on_added(
        &mut self,
        turn: &mut Turn<'_>,
        index: AddressIndex,
        outcome: Result<Added, String>,
    ) {
        let Some(outcome) = self.holdings.added(turn, index, outcome) else {
            return;
        };
        let Some(holding) = self.holdings.get(index) else {
            return;
        };
        let (network, interface) = (holding.settings().network, holding.place());
        // A reload may have taken it away meanwhile; it is removed at once.
        let wanted = matches!(self.state, State::Active(_)) && !holding.is_departing();
        match outcome {
            AddOutcome::Held { restored } => {
                if wanted {
                    self.teach_switches(turn);
                    self.announcer.begin(turn.now, index);
                    if let Some(loss) = restored {
                        let known = turn.world.interface(interface);
                        let state = known.and_then(|known| known.state.as_ref());
                        let fact = Fact::AddressRestored {
                            address: network,
                            interface,
                            loss,
                            manager: state.and_then(|state| state.manager),
                        };
                        turn.report(Some(&self.settings.name), fact);
                    }
                }
            }
            AddOutcome::Failed { error, retry_in } => {
                let fact = Fact::AddressFailed {
                    address: network,
                    interface,
                    error,
                    retry_in,
                };
                turn.report(Some(&self.settings.name), fact);
            }
        }
        self.refresh(turn);
        self.tell_held(turn);
        self.announce_due(turn);
    }

    pub fn on_removed(
        &mut self,
        turn: &mut Turn<'_>,
        index: AddressIndex,
        outcome: Result<Removed, String>,
    ) {
        let failed = self.holdings.removed(turn.now, index, outcome);
        if let Some((error, retry_in)) = failed
            && let Some(holding) = self.holdings.get(index)
        {
            let fact = Fact::RemovalFailed {
                address: holding.settings().network,
                interface: holding.place(),
                error,
                retry_in,
            };
            turn.report(Some(&self.settings.name), fact);
        }
        self.refresh(turn);
    }

    /// It is there, without the lease that it should have.
    pub fn on_unleased(&mut self, index: AddressIndex, reason: String) {
        self.holdings.unleased(index, reason);
    }

    /// Takes in an answer after which nothing is other than it was, be it a
    /// deadline or what a dead agent would leave: they come a thousand times a
    /// second. `false` for any other one, which [`Self::on_renewed`] is for.
    pub fn on_ordinary_renewal(
        &mut self,
        turn: &Turn<'_>,
        index: AddressIndex,
        outcome: &Result<(), NotRenewed>,
    ) -> bool {
        let settled = |router: &Self| router.holds() && router.holdings.is_settled(index);
        if outcome.is_err() || !settled(self) {
            return false;
        }
        let before = cfg!(debug_assertions).then(|| (self.deadline(), self.mark()));
        self.holdings.renewed(turn, index, Ok(()));
        let ordinary = settled(self);
        debug_assert!(
            !ordinary || before.is_none_or(|before| before == (self.deadline(), self.mark())),
            "an ordinary renewal changed something"
        );
        ordinary
    }

    pub fn on_renewed(
        &mut self,
        turn: &mut Turn<'_>,
        index: AddressIndex,
        outcome: Result<(), NotRenewed>,
    ) {
        let failed = self.holdings.renewed(turn, index, outcome);
        if let Some(error) = failed
            && let Some(holding) = self.holdings.get(index)
            && self.renewal_lines.take(turn.now, LINE_PACE)
        {
            let fact = Fact::RenewalFailed {
                address: holding.settings().network,
                interface: holding.place(),
                error,
            };
            turn.report(Some(&self.settings.name), fact);
        }
        self.refresh(turn);
    }

    /// Starts the bursts anew for what is held, on one interface or on all.
    pub(super) fn announce_on(&mut self, now: Instant, interface: Option<InterfaceName>) {
        for holding in self.holdings.iter().filter(|holding| holding.is_ours()) {
            if interface.is_none_or(|interface| holding.place() == interface) {
                self.announcer.begin(now, holding.index());
            }
        }
    }

    /// Sends the announcements that are due, as far as this turn allows.
    pub(super) fn announce_due(&mut self, turn: &mut Turn<'_>) {
        if self.doubts(turn.now) || self.is_yielding() {
            return;
        }
        while self.announcer.next().is_some_and(|at| at <= turn.now) {
            if !turn.may_announce() {
                return;
            }
            let Some(index) = self.announcer.take_due(turn.now) else {
                return;
            };
            let holding = self.holdings.get(index);
            if let Some(holding) = holding.filter(|holding| holding.is_ours()) {
                self.counters.announcements += 1;
                turn.act(Action::Announce {
                    instance: self.id,
                    interface: holding.place(),
                    address: holding.settings().network.addr(),
                });
            }
        }
        self.tell_announced(turn);
    }
}
