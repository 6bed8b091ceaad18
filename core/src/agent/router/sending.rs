//! Claiming by advertisement, and what it means when none can leave. Only an
//! advertisement that has left makes an Active, and keeps one.

use super::*;

/// Lines about advertisements that could not be sent: one in this time.
const QUIET: Duration = Duration::from_secs(60);

impl VirtualRouter {
    /// Rows 1 and 5, up to the advertisement: who cannot be heard does not
    /// claim.
    pub(super) fn claim(&mut self, turn: &mut Turn<'_>, reason: Reason) {
        let active_interval = match &self.state {
            State::Backup(backup) => backup.active_interval,
            _ => self.own_interval(),
        };
        // Whoever was asked about ahead of a silence is not waited for.
        self.proof.cancel();
        self.state = State::Claiming(Claiming {
            from: self.state_name(),
            reason,
            active_interval,
            until: turn.now + self.own_interval(),
        });
        self.advertise(turn, self.priority.get());
    }

    /// Rows 1 and 5. The addresses are ordered after the advertisement and
    /// announced when the kernel has confirmed them.
    fn become_active(&mut self, turn: &mut Turn<'_>, reason: Reason, advert_at: Instant) {
        let from = self.state_name();
        let active = Active {
            advert_at,
            last_left: turn.now,
            patience: self.peers_patience(turn),
            doubts_until: None,
            answers: Allowance::new(turn.now),
            last_reaffirmed: None,
            last_awakened: None,
            reaffirm_at: None,
            rival: Rival::default(),
            barred: self.bond.awaits && reason != Reason::Returned,
        };
        self.active_router = None;
        self.drift.clear();
        self.forget_conflicts(turn.now);
        self.enter(turn, from, State::Active(active), reason);
        self.holdings.renew(turn, turn.now + self.own_interval());
        self.set_yielded(None);
        if self.bond.awaits {
            self.promote(turn);
        }
        if !self.is_barred() {
            self.raise_link(turn);
            self.holdings.claim(turn);
            self.routing.claim_anew();
        }
    }

    pub(super) fn advertise(&mut self, turn: &mut Turn<'_>, priority: u8) {
        let Some(source) = self.source else {
            return;
        };
        self.last_sent = turn.now;
        self.counters.adverts_sent += 1;
        self.counters.priority_zero_sent += u64::from(priority == 0);
        turn.act(Action::Advertise {
            instance: self.id,
            source,
            priority,
            link: self.advert_link(),
        });
    }

    /// The kernel took the last advertisement, or refused it.
    pub fn on_advertised(&mut self, turn: &mut Turn<'_>, outcome: Result<(), NotSent>) {
        match outcome {
            Ok(()) => self.left(turn),
            Err(failure) => {
                self.complain(turn, failure.error.clone());
                if failure.partly {
                    self.left(turn);
                } else {
                    self.stuck(turn, failure.error);
                }
            }
        }
    }

    fn left(&mut self, turn: &mut Turn<'_>) {
        let mut changed = self.cannot_send.take().is_some() || self.doubts(turn.now);
        let patience = self.peers_patience(turn);
        match &mut self.state {
            State::Claiming(claiming) => {
                // Counted from the claim, not from its outcome: who claimed
                // together goes on in step, and is woken once for all.
                let (reason, next) = (claiming.reason, claiming.until);
                self.become_active(turn, reason, next);
            }
            State::Active(active) => {
                active.last_left = turn.now;
                active.patience = patience;
                active.doubts_until = None;
                let until = turn.now + self.settings.advert_interval.as_duration();
                changed |= self.holdings.renew(turn, until);
            }
            // It answers until it is relieved, which takes as long as a lease
            // may still have.
            State::Resigning(resigning) => {
                let until = resigning.until;
                self.holdings.renew(turn, until);
            }
            State::Initialize(_) | State::Backup(_) => {}
        }
        if changed {
            self.refresh(turn);
            self.announce_due(turn);
        }
    }

    /// Nobody hears us. An Active gives up when its peers' patience is over,
    /// for they will claim then; whoever was about to claim does not.
    fn stuck(&mut self, turn: &mut Turn<'_>, error: String) {
        let interval = self.own_interval();
        let known = self.cannot_send.is_some();
        let since = self.cannot_send.as_ref().map_or(turn.now, |(at, _)| *at);
        match &self.state {
            State::Claiming(claiming) => {
                let active_interval = claiming.active_interval;
                self.cannot_send = Some((since, error));
                self.fall_silent(turn, active_interval);
            }
            State::Active(active) => {
                let patience = interval * u32::from(self.settings.down_after);
                // Timers are a little late, and some later than others.
                let over = turn.now.since(active.last_left) + interval / 2 >= patience;
                self.cannot_send = Some((since, error));
                if over {
                    self.fall_silent(turn, interval);
                } else if !known {
                    self.refresh(turn);
                }
            }
            State::Initialize(_) | State::Backup(_) | State::Resigning(_) => {}
        }
    }

    /// Back to Backup with its ordinary timer: the next claim will show
    /// whether advertisements leave again.
    pub(super) fn fall_silent(&mut self, turn: &mut Turn<'_>, active_interval: Duration) {
        self.active_router = None;
        self.become_backup(turn, Reason::CannotSend, active_interval, None);
        self.refresh(turn);
    }

    /// For `status`: why an Active may lack its addresses, or a Backup not
    /// claim.
    pub(super) fn show_silence(&mut self, now: Instant) {
        if let State::Active(active) = &self.state
            && self.doubts(now)
        {
            let source = "agent".to_owned();
            let text = "stood still for longer than its peers' patience; listens for one \
                        interval before it goes on"
                .to_owned();
            let since = active.last_left + active.patience;
            self.obstacles.show(since, "stalled", source, text);
        }
        if let Some((since, error)) = &self.cannot_send {
            let source = format!("interface {}", self.settings.interface);
            let consequence = match self.state {
                State::Active(_) => "given up when its peers' patience is over",
                _ => "not claiming until one does",
            };
            let text = format!(
                "no advertisement could leave when it was last tried: {error}; {consequence}"
            );
            self.obstacles.show(*since, "cannot-send", source, text);
        }
    }

    /// At most one line a minute; the others are counted in it.
    fn complain(&mut self, turn: &mut Turn<'_>, error: String) {
        self.counters.count(Counter::SendError);
        if let Some((last, repeated)) = &mut self.last_send_report
            && turn.now.since(*last) < QUIET
        {
            *repeated += 1;
            return;
        }
        let repeated = self.last_send_report.map_or(0, |(_, repeated)| repeated);
        self.last_send_report = Some((turn.now, 0));
        let fact = Fact::NotSent {
            error,
            claiming: matches!(self.state, State::Claiming(_)),
            repeated,
        };
        turn.report(Some(&self.settings.name), fact);
    }
}
