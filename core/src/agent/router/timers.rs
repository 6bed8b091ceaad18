//! What the passing of time does (rows 5 and 10, PROTOCOL section 6). The
//! sockets were drained just before.

use super::*;

/// Why the core wants to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    Settle,
    ActiveDown,
    PreemptDelay,
    Advert,
    Resignation,
    Announcement,
    /// An address, route or rule to be tried again or confirmed.
    Address,
    /// A hook that was not answered for.
    Hook,
    /// A check to be started, or not answered for.
    Check,
    /// A message to other nodes, or the end of patience with one.
    Link,
    /// A question to the segment about an Active that is not heard.
    Proof,
    /// A question who else has an address that is about to be claimed.
    Inquiry,
    /// A planned move: to be repeated, or given up.
    Move,
}

impl VirtualRouter {
    /// The earliest of this router's deadlines.
    pub fn deadline(&self) -> Option<(Instant, Timer)> {
        let [first, second] = match &self.state {
            State::Initialize(initialize) => {
                let settled_at = initialize.settled_at.filter(|_| !initialize.ready);
                [settled_at.map(|at| (at, Timer::Settle)), None]
            }
            State::Backup(backup) => [
                Some((backup.down_at, Timer::ActiveDown)),
                backup.preempt_at.map(|at| (at, Timer::PreemptDelay)),
            ],
            State::Claiming(claiming) => [Some((claiming.until, Timer::Advert)), None],
            State::Active(active) => [
                Some((active.advert_at, Timer::Advert)),
                active
                    .reaffirm_at
                    .filter(|_| active.doubts_until.is_none() && !self.is_yielding())
                    .map(|(at, _)| (at, Timer::Announcement)),
            ],
            State::Resigning(resigning) => [
                Some((resigning.until, Timer::Resignation)),
                resigning.repeat_at.map(|at| (at, Timer::Advert)),
            ],
        };
        let doubts = matches!(&self.state, State::Active(active) if active.doubts_until.is_some());
        let quiet = doubts || self.is_yielding();
        let announcement = self.announcer.next().filter(|_| !quiet);
        let announcement = announcement.map(|at| (at, Timer::Announcement));
        let address = self.next_mending().map(|at| (at, Timer::Address));
        let hook = self.hooks.next().into_iter().chain(self.awaited.next());
        let hook = hook.min().map(|at| (at, Timer::Hook));
        let proof = self.proof.next().map(|at| (at, Timer::Proof));
        let left = self.left_until().map(|at| (at, Timer::Address));
        let (inquiry, look_ahead) = match &self.state {
            State::Backup(backup) => (self.inquiry_at(backup), self.look_ahead_at(backup)),
            State::Initialize(_) | State::Claiming(_) | State::Active(_) | State::Resigning(_) => {
                (None, None)
            }
        };
        let inquiry = inquiry.map(|at| (at, Timer::Inquiry));
        let look_ahead = look_ahead.map(|at| (at, Timer::Proof));
        let warning = self.warned_again_at().map(|at| (at, Timer::Move));
        [
            warning,
            first,
            second,
            announcement,
            address,
            hook,
            proof,
            left,
            inquiry,
            look_ahead,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    pub fn on_wake(&mut self, turn: &mut Turn<'_>) {
        // First: what has failed is not advertised once more.
        if let Some(ended) = self.hooks.on_wake(turn) {
            self.on_ended(turn, ended);
        }
        self.awaited_wakes(turn);
        // One that gives way by what it found advertises no more.
        if self.proof.next().is_some_and(|at| at <= turn.now) {
            self.proof_wakes(turn);
        }
        match self.state {
            State::Initialize(_) => self.start_if_settled(turn),
            State::Backup(backup) => {
                self.inquire(turn, &backup);
                self.look_ahead(turn, &backup);
                self.backup_wakes(turn, backup);
            }
            State::Claiming(claiming) => {
                if claiming.until <= turn.now {
                    let error = "nothing was heard of it".to_owned();
                    self.cannot_send = Some((turn.now, error));
                    self.fall_silent(turn, claiming.active_interval);
                }
            }
            State::Active(active) => self.active_wakes(turn, active),
            State::Resigning(resigning) => self.resigning_wakes(turn, resigning),
        }
        if self.next_mending().is_some_and(|at| at <= turn.now) {
            self.holdings.expire(turn.now);
            self.routing.expire(turn.now);
            self.link.expire(turn.now, turn.world);
            self.refresh(turn);
        }
        if self.warned_again_at().is_some_and(|at| at <= turn.now) {
            self.refresh(turn);
        }
        self.take_again(turn);
        self.announce_due(turn);
    }

    fn backup_wakes(&mut self, turn: &mut Turn<'_>, mut backup: Backup) {
        if backup.down_at <= turn.now {
            let late = turn.now.since(backup.down_at);
            if late > backup.active_interval && !backup.forgiven {
                // This host did not run; that says nothing about the peer.
                backup.forgiven = true;
                // An Active that slept as long listens for one interval, too,
                // and goes first.
                let skew = self.skew(backup.active_interval);
                backup.down_at = turn.now + backup.active_interval + skew;
                self.state = State::Backup(backup);
                self.stalled(turn, Fact::LateDownTimer { late });
                return;
            }
            self.tell_silence(turn, &backup);
            if let Some(node) = self.silent_active(turn, &backup, Duration::ZERO) {
                backup.down_at = turn.now + self.down_interval(backup.active_interval);
                self.state = State::Backup(backup);
                self.begin_proof(turn, node);
                return;
            }
            self.wish = Some(backup.claim_reason);
        } else if backup.preempt_at.is_some_and(|at| at <= turn.now) {
            self.wish = Some(Reason::Preempted);
        }
    }

    pub(super) fn stalled(&mut self, turn: &mut Turn<'_>, fact: Fact) {
        self.counters.stalls += 1;
        if self.stall_lines.take(turn.now, LINE_PACE) {
            turn.report(Some(&self.settings.name), fact);
        }
    }

    fn active_wakes(&mut self, turn: &mut Turn<'_>, mut active: Active) {
        let interval = self.own_interval();
        let late = turn.now.since(active.advert_at);
        if self.is_silent() && active.advert_at <= turn.now && !active.overslept(turn.now) {
            active.advert_at = turn.now + interval;
            self.state = State::Active(active);
            return;
        }
        // One that ran and could not send has its last try: in it it gives up.
        let tried = self.cannot_send.is_some() && late < interval;
        if active.doubts_until.is_none() && active.overslept(turn.now) && !tried {
            active.doubts_until = Some(turn.now + interval);
            active.advert_at = turn.now + interval;
            self.state = State::Active(active);
            let outcome = StallOutcome::ListensFirst;
            self.stalled(turn, Fact::Stalled { late, outcome });
            self.refresh(turn);
            return;
        }
        let doubted = active.doubts_until.take_if(|until| *until <= turn.now);
        let mut rival_gone = false;
        if active.advert_at <= turn.now {
            self.counters.lateness.note(late);
            rival_gone = self.look_for_rival(turn, &mut active.rival);
            self.advertise(turn, self.priority.get());
            // On schedule, so that lateness does not add up; but what was
            // missed is not made up for.
            active.advert_at = if late < interval {
                active.advert_at + interval
            } else {
                turn.now + interval
            };
            self.state = State::Active(active);
            self.settle_between(turn);
        }
        let owed = active.reaffirm_at.filter(|(at, _)| *at <= turn.now);
        let stalled = late > interval || doubted.is_some();
        let upon = [
            rival_gone.then_some(Upon::Another),
            owed.map(|(_, upon)| upon),
            stalled.then_some(Upon::Stall),
        ];
        if let Some(upon) = upon.into_iter().flatten().next() {
            self.reaffirm_upon(turn, active, upon);
        }
        if late > interval {
            let owed = |active: &Active| active.reaffirm_at.is_some();
            let outcome = match &self.state {
                State::Active(active) if owed(active) => StallOutcome::AnnouncesSoon,
                _ => StallOutcome::AnnouncedAgain,
            };
            self.stalled(turn, Fact::Stalled { late, outcome });
        }
    }

    /// Active, and not sure of it, whether or not the timer has said so yet.
    pub(super) fn doubts(&self, now: Instant) -> bool {
        matches!(&self.state, State::Active(active)
            if active.doubts_until.is_some() || active.overslept(now))
    }
}
