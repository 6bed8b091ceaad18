//! One member of a group, as the group sees it: what it wants, what it holds
//! back, and what it does when the group has decided. An instance without a
//! group is a group of its own.

use super::*;
use crate::agent::settings::CheckUse;

/// What the group lets a member know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::agent) struct Bond {
    pub grouped: bool,
    /// The member that every host knows as the first, by VRID and family.
    pub leads: bool,
    /// Some member has a hook before its addresses.
    pub awaits: bool,
    /// What checks of any member may add to the priority of each: the
    /// members' own, and those of their mates.
    pub weights: Vec<CheckUse>,
}

/// Why Actives of a group give way.
#[derive(Clone, Copy, Debug)]
pub(in crate::agent) struct Cause {
    /// The priority of the Active that a mate gave way to; `None`: a mate
    /// cannot send.
    priority: Option<u8>,
    /// The mate's timer, so that all are as patient.
    down_at: Instant,
    active_interval: Duration,
}

impl VirtualRouter {
    pub fn set_bond(&mut self, bond: Bond) {
        self.bond = bond;
    }

    /// Checks whose terms count for every member of its group.
    pub fn weights(&self) -> &[CheckUse] {
        &self.bond.weights
    }

    /// By what it has of its own, and since when.
    pub fn own_fault(&self) -> Option<MateInFault> {
        let (since, text) = self.obstacles.own()?;
        Some(MateInFault {
            mate: self.settings.name.clone(),
            since,
            text,
            by_checks: self.obstacles.own_only_checks(),
        })
    }

    /// What a mate's fault means is seen in the next look at the host.
    pub fn set_mates_in_fault(&mut self, turn: &mut Turn<'_>, mates: Vec<MateInFault>) {
        if self.mates_in_fault != mates {
            self.mates_in_fault = mates;
            self.refresh(turn);
        }
    }

    /// Settled, and waiting for its mates.
    pub fn is_ready(&self) -> bool {
        matches!(
            self.state,
            State::Initialize(Initialize { ready: true, .. })
        )
    }

    /// An Active was heard, which has not resigned since.
    pub fn has_heard(&self) -> bool {
        self.active_router.is_some()
    }

    /// Takes part from now on. `heard`: somebody is Active where it listens, or
    /// where one of its mates does.
    pub fn begin(&mut self, turn: &mut Turn<'_>, heard: bool) {
        let owner = self.priority.is_owner() && self.yielded().is_none();
        if owner && !(heard && self.bond.awaits) {
            self.claim(turn, Reason::Startup);
            return;
        }
        self.become_backup(turn, Reason::Startup, self.own_interval(), None);
        // Somebody is Active, and hooks come before an owner's claim, too.
        self.wish = owner.then_some(Reason::Startup);
    }

    pub fn takes_part(&self) -> bool {
        matches!(
            self.state,
            State::Backup(_) | State::Claiming(_) | State::Active(_)
        )
    }

    pub fn is_backup(&self) -> bool {
        matches!(self.state, State::Backup(_))
    }

    pub fn is_claiming(&self) -> bool {
        matches!(self.state, State::Claiming(_))
    }

    pub fn is_active(&self) -> bool {
        matches!(self.state, State::Active(_))
    }

    pub fn wishes(&self) -> bool {
        self.wish.is_some()
    }

    /// It would have claimed, were it alone.
    pub fn take_wish(&mut self) -> Option<Reason> {
        self.wish.take()
    }

    /// No advertisement of it could leave when it last tried.
    pub fn is_mute(&self) -> bool {
        self.is_backup() && self.cannot_send.is_some()
    }

    /// Longer than this nobody is silent who is well; shorter than the
    /// silence that the first member to notice a dead Active sees on the
    /// others, whose advertisements come up to an interval later.
    fn sign_of_life(&self) -> Duration {
        let interval = match &self.state {
            State::Backup(backup) => backup.active_interval,
            State::Initialize(_) | State::Claiming(_) | State::Active(_) | State::Resigning(_) => {
                self.own_interval()
            }
        };
        let spare = self.down_interval(interval).saturating_sub(interval);
        spare.max(interval + interval / 2)
    }

    /// When the Active that it hears last resigned.
    pub fn heard_resignation(&self) -> Option<Instant> {
        match &self.state {
            State::Backup(backup) => backup.resigned_at,
            State::Initialize(_) | State::Claiming(_) | State::Active(_) | State::Resigning(_) => {
                None
            }
        }
    }

    /// Until when it keeps its group from claiming: it hears an Active that
    /// it has to respect, or takes no part. `resigned`: what was heard before
    /// means nothing, for the Active's group has resigned.
    pub fn holds_back(&self, now: Instant, resigned: Option<Instant>) -> Option<Instant> {
        if self.stopping {
            return Some(now + self.own_interval());
        }
        match &self.state {
            State::Backup(_) => self.respects(now, resigned),
            State::Initialize(_) | State::Resigning(_) => Some(now + self.own_interval()),
            State::Claiming(_) | State::Active(_) => None,
        }
    }

    /// Until when the Active that it hears counts as alive.
    fn respects(&self, now: Instant, resigned: Option<Instant>) -> Option<Instant> {
        let State::Backup(backup) = &self.state else {
            return None;
        };
        let active = self.active_router.as_ref().map(|active| active.address);
        if self.takes_from(active) {
            return None;
        }
        let heard = backup.better_heard_at?;
        let until = heard + self.sign_of_life();
        let void = resigned.is_some_and(|at| at >= heard);
        (until > now && !void).then_some(until)
    }

    /// Somebody is Active where it listens, better or not.
    pub fn hears_incumbent(&self, now: Instant) -> bool {
        if self.is_taking() {
            return self.is_backup();
        }
        let heard = self.active_router.as_ref().filter(|_| self.is_backup());
        heard.is_some_and(|router| {
            router.priority > 0 && now.since(router.last_advert) < self.sign_of_life()
        })
    }

    /// What was heard of an Active has been judged: the group claims.
    pub fn respect_no_longer(&mut self) {
        if let State::Backup(backup) = &mut self.state {
            backup.better_heard_at = None;
        }
    }

    /// Claims, unless it has done so already.
    pub fn follow(&mut self, turn: &mut Turn<'_>, reason: Reason) {
        if self.is_backup() {
            self.claim(turn, reason);
        }
    }

    /// The group does not claim before `until`. What was prepared is undone.
    pub fn stand_back(&mut self, turn: &mut Turn<'_>, until: Instant, mate: Option<&InstanceName>) {
        if self.is_backup() {
            self.abandon();
        }
        self.postpone(turn, until, mate);
    }

    /// Timers that have ended, and found it held up, end again at `until`.
    pub fn postpone(&mut self, turn: &mut Turn<'_>, until: Instant, mate: Option<&InstanceName>) {
        self.wish = None;
        let silence = self.silence_ends(turn.now);
        let State::Backup(backup) = &mut self.state else {
            return;
        };
        if backup.down_at <= turn.now {
            backup.down_at = silence.unwrap_or(until);
            let mate = mate.filter(|mate| **mate != self.settings.name);
            if let Some(mate) = mate {
                let since = self.waits_for.take().map_or(turn.now, |(since, _)| since);
                self.waits_for = Some((since, mate.clone()));
                self.refresh(turn);
            }
        }
        let State::Backup(backup) = &mut self.state else {
            return;
        };
        if backup.preempt_at.is_some_and(|at| at <= turn.now) {
            backup.preempt_at = Some(until);
        }
    }

    /// `before_active` runs while the incumbent is alive: from now on the
    /// timer tells when that ends.
    pub fn prepare(&mut self, turn: &mut Turn<'_>, wish: Option<Reason>) {
        // One that could not send tries once the hooks have succeeded.
        self.wish = wish.filter(|_| self.is_mute());
        self.promote(turn);
        let silence = self.silence_ends(turn.now);
        let patience = self.own_down_interval();
        if let State::Backup(backup) = &mut self.state {
            if backup.down_at <= turn.now {
                backup.down_at = silence.unwrap_or(turn.now + patience);
            }
            backup.claim_reason = Reason::NoResponse;
            backup.preempt_at = None;
        }
    }

    /// When an incumbent that is heard would have been silent for too long.
    fn silence_ends(&self, now: Instant) -> Option<Instant> {
        let heard = self
            .active_router
            .as_ref()
            .filter(|_| self.is_patient(now))?;
        Some(heard.last_advert + self.own_down_interval()).filter(|at| *at > now)
    }

    /// Why its mates, Active, have to follow it out of that.
    pub fn gave_way(&self, now: Instant) -> Option<Cause> {
        let State::Backup(backup) = &self.state else {
            return None;
        };
        let respects = self.respects(now, None).is_some();
        (respects || self.is_mute()).then(|| Cause {
            priority: self
                .active_router
                .as_ref()
                .filter(|_| respects)
                .map(|router| router.priority),
            down_at: backup.down_at,
            active_interval: backup.active_interval,
        })
    }

    /// Out of Active because a mate is. Says so: by priority 0 where nobody
    /// is known to have taken over; otherwise by a parting advertisement that
    /// loses to whoever did, whatever its address on our segment is.
    pub fn give_way(&mut self, turn: &mut Turn<'_>, cause: Cause) {
        if !matches!(self.state, State::Active(_) | State::Claiming(_)) {
            return;
        }
        let slept = matches!(&self.state, State::Active(active) if active.overslept(turn.now));
        let parting = match (cause.priority, &self.state) {
            (Some(better), State::Active(_)) => {
                if !slept {
                    self.linger();
                }
                let priority = self.priority.get().min(better.saturating_sub(1));
                (priority > 0).then_some(Parting {
                    priority,
                    if_answered: slept,
                })
            }
            (None, _) | (Some(_), _) => {
                self.advertise(turn, 0);
                None
            }
        };
        self.become_backup(turn, Reason::Group, cause.active_interval, parting);
        if let State::Backup(backup) = &mut self.state {
            backup.down_at = cause.down_at;
        }
        self.refresh(turn);
    }

    /// A tie that the first member lost: its group waits longer than another
    /// that lost by another member to us, so that one of both claims first.
    pub(super) fn stand_behind(&mut self) {
        if let State::Backup(backup) = &mut self.state
            && self.bond.grouped
            && self.bond.leads
        {
            backup.down_at = backup.down_at + backup.active_interval;
        }
    }

    /// For `status`.
    pub(super) fn show_mates(&mut self) {
        if let Some((since, mate)) = &self.waits_for {
            let source = format!("instance {mate}");
            let text = "the group does not claim: this member of it hears an Active, or takes no \
                        part yet, while nobody is heard here"
                .to_owned();
            self.obstacles.show(*since, "group-waits", source, text);
        }
    }
}
