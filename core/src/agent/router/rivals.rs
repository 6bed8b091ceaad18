//! Other hosts that claim our addresses: noticed, looked for, answered
//! (PROTOCOL section 5).

use super::*;
use crate::agent::holdings::Holding;

/// RFC 5227 section 2.4: at most one defence of an address in this time.
const DEFENCE_PAUSE: Duration = Duration::from_secs(10);
/// After a claim nobody is looked for as long as the first burst takes: it
/// tells everyone anyway, and whoever was relieved may still be leaving.
const BURST: Duration = Duration::from_secs(1);
/// In unicast a question is a broadcast; one in this time at most.
const BROADCAST_PAUSE: Duration = Duration::from_millis(100);

/// Whether another host answers for our addresses while we are Active.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rival {
    asked_at: Option<Instant>,
    /// The last question was answered.
    answered: bool,
    /// Somebody answered, and has not yet left a question unanswered.
    present: bool,
}

impl VirtualRouter {
    /// Another host claims an address, perhaps one of ours.
    pub fn on_claim(&mut self, turn: &mut Turn<'_>, interface: InterfaceName, claim: Claim) {
        self.proof_hears(turn, interface, claim);
        let ours = self.holdings.iter().any(|holding| {
            let settings = holding.settings();
            settings.interface == interface && settings.network.addr() == claim.address
        });
        if !ours || self.hears_twin(turn, claim) {
            return;
        }
        match self.state {
            State::Initialize(_) | State::Claiming(_) => {}
            State::Backup(_) if self.is_a_nodes(turn, claim) => {}
            State::Backup(_) => self.address_is_taken(turn, interface, claim),
            State::Resigning(_) if claim.solicited => {}
            State::Resigning(_) => self.on_relief(turn, claim.address),
            // One that is not up yet is announced as soon as it is; until
            // then it is not ours to defend.
            State::Active(_) if !self.is_held(claim.address) => {}
            // It answers somebody else on this host, perhaps from before.
            State::Active(active) if claim.solicited && active.rival.asked_at.is_none() => {}
            State::Active(active) if claim.solicited => {
                self.rival_answers(turn, active, interface, claim);
            }
            State::Active(_) if self.is_yielding() && self.is_a_nodes(turn, claim) => {}
            State::Active(active) if self.is_a_nodes(turn, claim) => {
                // Between nodes the election decides; clients are told again.
                self.reaffirm(turn, active);
                self.announce_due(turn);
            }
            State::Active(_) => self.defend(turn, interface, claim),
        }
    }

    /// Another node of ours, not a stranger.
    fn is_a_nodes(&self, turn: &Turn<'_>, claim: Claim) -> bool {
        let nodes = &turn.world.nodes;
        nodes.has_hardware_address(claim.hardware_address)
    }

    /// The successor has this address. When it has announced every one, each
    /// further answer of ours harms; until then those that it has not reached
    /// yet still need us.
    pub(super) fn on_relief(&mut self, turn: &mut Turn<'_>, address: IpAddr) {
        self.taken_over.insert(address);
        let remains = self.holdings.iter().any(|holding| {
            let address = holding.settings().network.addr();
            holding.is_present() && !self.taken_over.contains(&address)
        });
        if !remains {
            self.relieved(turn, true);
        }
    }

    fn defend(&mut self, turn: &mut Turn<'_>, interface: InterfaceName, claim: Claim) {
        if !self.note_conflict(turn.now, claim) {
            // RFC 5227 section 2.4 (b): a second time within the pause.
            self.leave_to(turn, claim);
            return;
        }
        let mut own = self.holdings.iter();
        let own = own.find(|holding| holding.settings().network.addr() == claim.address);
        self.counters.announcements += 1;
        turn.act(Action::Announce {
            instance: self.id,
            interface: own.map_or(interface, Holding::place),
            address: claim.address,
        });
        let fact = Fact::ForeignClaim { claim, interface };
        turn.report(Some(&self.settings.name), fact);
    }

    /// For `status`. Returns whether it is worth a defence and a line.
    pub(super) fn note_conflict(&mut self, now: Instant, claim: Claim) -> bool {
        let conflict = Conflict {
            address: claim.address,
            hardware_address: claim.hardware_address,
            last_seen: now,
            last_defended: now,
        };
        let mut known = self.conflicts.iter_mut();
        match known.find(|known| known.address == claim.address) {
            Some(known) if now.since(known.last_defended) < DEFENCE_PAUSE => {
                known.hardware_address = claim.hardware_address;
                known.last_seen = now;
                return false;
            }
            Some(known) => *known = conflict,
            None => self.conflicts.push(conflict),
        }
        self.counters.conflicts += 1;
        true
    }

    /// Of another time as Active; one that was met just before stays.
    pub(super) fn forget_conflicts(&mut self, now: Instant) {
        self.conflicts
            .retain(|conflict| now.since(conflict.last_seen) < DEFENCE_PAUSE);
    }

    /// Asks, just before an advertisement, who else answers for what we hold.
    /// An Active that loses to this very advertisement may leave without a
    /// word: its kernel's answer, given before it hears us, is then all that
    /// tells us that clients have learnt another host. Returns whether a
    /// rival has gone since the last question.
    pub(super) fn look_for_rival(&self, turn: &mut Turn<'_>, rival: &mut Rival) -> bool {
        let unicast = !self.settings.unicast_peers.is_empty();
        let asked = |pause| rival.asked_at.is_some_and(|at| turn.now.since(at) < pause);
        let moving = self.moves_with().is_some();
        if moving || turn.now.since(self.since) < BURST || (unicast && asked(BROADCAST_PAUSE)) {
            return false;
        }
        let (Some(source), Some(address)) = (self.source, self.representative()) else {
            return false;
        };
        turn.act(Action::Probe {
            instance: self.id,
            source,
            address,
        });
        let gone = rival.present && !rival.answered;
        *rival = Rival {
            asked_at: Some(turn.now),
            answered: false,
            present: rival.present && !gone,
        };
        gone
    }

    /// Who holds one advertised address holds all: the first is enough.
    fn representative(&self) -> Option<IpAddr> {
        let mut held = self.holdings.iter().filter(|holding| {
            holding.is_ours() && holding.settings().interface == self.settings.interface
        });
        let first = held.find(|holding| {
            let address = holding.settings().network.addr();
            self.advertised.contains(&address)
        })?;
        Some(first.settings().network.addr())
    }

    /// It may be about to leave, so everyone is told at once whose the
    /// address is; while it stays, an announcement more would only move
    /// clients to and fro. When it has left they are told once more.
    fn rival_answers(
        &mut self,
        turn: &mut Turn<'_>,
        mut active: Active,
        interface: InterfaceName,
        claim: Claim,
    ) {
        let known = active.rival.present;
        active.rival.answered = true;
        active.rival.present = true;
        self.state = State::Active(active);
        let stranger = !self.is_a_nodes(turn, claim);
        let news = stranger && self.note_conflict(turn.now, claim);
        if known {
            if stranger {
                self.leave_to(turn, claim);
            }
            return;
        }
        if news {
            let fact = Fact::ForeignClaim { claim, interface };
            turn.report(Some(&self.settings.name), fact);
        }
        self.reaffirm(turn, active);
        self.announce_due(turn);
    }

    fn is_held(&self, address: IpAddr) -> bool {
        self.holdings
            .iter()
            .any(|holding| holding.settings().network.addr() == address && holding.is_ours())
    }
}
