//! Before an address is claimed that no Active was heard of: does anybody have
//! it (RFC 5227 section 2.1)? And what is done about one who goes on claiming
//! what is ours.

use super::*;
use crate::agent::settings::OnConflict;

/// The end of the Active_Down_Timer in which the segment is asked; it is no
/// longer for that.
const WINDOW: Duration = Duration::from_millis(200);
const ROUNDS: u8 = 2;
const ROUND: Duration = Duration::from_millis(100);
/// How long an address is left to another host before it is tried again:
/// doubled each time, up to the longest.
const PAUSE_FIRST: Duration = Duration::from_secs(5);
const PAUSE_LONGEST: Duration = Duration::from_secs(300);

/// Questions who has our addresses, while we are Backup and heard no Active.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Inquiry {
    asked: u8,
    /// Addresses of the present round that were asked for.
    done: usize,
    last: Option<Instant>,
}

/// The address was left to another host.
#[derive(Clone, Debug)]
pub(super) struct Left {
    pub since: Instant,
    pub until: Instant,
    pub address: IpAddr,
    pub hardware_address: MacAddress,
    pause: Duration,
    /// It may be tried again.
    pub over: bool,
}

impl Inquiry {
    /// When to ask next, for a timer that ends at `down_at`.
    pub fn next(&self, down_at: Instant) -> Option<Instant> {
        let first = down_at.minus(WINDOW);
        let at = match self.last {
            _ if self.asked >= ROUNDS => return None,
            Some(last) if self.done == 0 => last + ROUND,
            Some(last) => last,
            None => first,
        };
        (at < down_at).then_some(at)
    }
}

impl VirtualRouter {
    /// When to ask next, if at all: nodes that heard an Active never do.
    pub(super) fn inquiry_at(&self, backup: &Backup) -> Option<Instant> {
        let stranger = backup.preempt_at.is_none() && !self.heard_active;
        let inquires = stranger && backup.claim_reason == Reason::NoResponse;
        self.inquiry.next(backup.down_at).filter(|_| inquires)
    }

    pub(super) fn inquire(&mut self, turn: &mut Turn<'_>, backup: &Backup) {
        if self.inquiry_at(backup).is_none_or(|at| at > turn.now) {
            return;
        }
        self.inquiry.last = Some(turn.now);
        let all = self.settings.addresses.iter();
        for address in all.skip(self.inquiry.done) {
            if !turn.may_announce() {
                return;
            }
            self.inquiry.done += 1;
            let known = turn.world.interface(address.interface);
            if known.is_some_and(|known| known.is_up()) {
                turn.act(Action::Inquire {
                    interface: address.interface,
                    address: address.network.addr(),
                });
            }
        }
        self.inquiry.done = 0;
        self.inquiry.asked += 1;
    }

    /// Somebody has an address of ours that no Active was heard of.
    pub(super) fn address_is_taken(
        &mut self,
        turn: &mut Turn<'_>,
        interface: InterfaceName,
        claim: Claim,
    ) {
        if self.inquiry.last.is_none() || self.heard_active {
            return;
        }
        if self.note_conflict(turn.now, claim) {
            let fact = Fact::ForeignClaim { claim, interface };
            turn.report(Some(&self.settings.name), fact);
        }
        self.leave_to(turn, claim);
    }

    /// Where the operator says so, the address is the other's for a while.
    pub(super) fn leave_to(&mut self, turn: &mut Turn<'_>, claim: Claim) {
        if self.settings.on_conflict != OnConflict::Yield {
            return;
        }
        let recent = self
            .left
            .as_ref()
            .filter(|left| turn.now.since(left.until) < PAUSE_LONGEST);
        let pause = recent.map_or(PAUSE_FIRST, |left| (left.pause * 2).min(PAUSE_LONGEST));
        self.left = Some(Box::new(Left {
            since: turn.now,
            until: turn.now + pause,
            address: claim.address,
            hardware_address: claim.hardware_address,
            pause,
            over: false,
        }));
        let fact = Fact::Yielded {
            address: claim.address,
            retry_in: pause,
        };
        turn.report(Some(&self.settings.name), fact);
        self.refresh(turn);
    }

    /// Until when an address is left to another host, while it is.
    pub(super) fn left_until(&self) -> Option<Instant> {
        let left = self.left.as_ref().filter(|left| !left.over);
        left.map(|left| left.until)
    }

    /// The address may be tried again, if it is time.
    pub(super) fn take_again(&mut self, turn: &mut Turn<'_>) {
        if self.left_until().is_none_or(|until| until > turn.now) {
            return;
        }
        if let Some(left) = &mut self.left {
            left.over = true;
        }
        self.refresh(turn);
    }

    pub(super) fn show_left(&mut self) {
        if let Some(left) = self.left.as_ref().filter(|left| !left.over) {
            let source = format!("address {}", left.address);
            let text = format!(
                "another host ({}) claims it; left to that one for now (on_conflict: yield)",
                left.hardware_address
            );
            self.obstacles
                .add_fault(left.since, "address-conflict", source, text);
        }
    }
}
