//! What failing checks do to the priority, and what the hooks are told.

use super::*;
use crate::agent::jobs::{HookCall, HookKind, JobId, JobResult};
use crate::agent::settings::CheckUse;

/// The words that hooks know, which are keepalived's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::agent) enum Told {
    Master,
    Backup,
    Fault,
    Stop,
}

impl Told {
    pub fn word(self) -> &'static str {
        match self {
            Told::Master => "MASTER",
            Told::Backup => "BACKUP",
            Told::Fault => "FAULT",
            Told::Stop => "STOP",
        }
    }

    /// The hook of its own beside `change`. One that stops demotes.
    pub fn hook(self) -> HookKind {
        match self {
            Told::Master => HookKind::Active,
            Told::Backup | Told::Stop => HookKind::Backup,
            Told::Fault => HookKind::Fault,
        }
    }

    pub fn state(self) -> StateName {
        match self {
            Told::Master => StateName::Active,
            Told::Backup => StateName::Backup,
            Told::Fault => StateName::Fault,
            Told::Stop => StateName::Initialize,
        }
    }
}

impl VirtualRouter {
    /// A Backup's timer moves by the change of its skew, an Active's next
    /// advertisement carries the new value.
    pub(super) fn reprioritize(&mut self, turn: &mut Turn<'_>) {
        let before = self.own_down_interval();
        self.weigh(turn);
        self.move_down_timer(turn.now, before);
    }

    /// The base with the terms of the checks that fail and of the files,
    /// within 1..=254; an owner's stays 255.
    pub(super) fn weigh(&mut self, turn: &mut Turn<'_>) {
        let delta = |check: &CheckUse| {
            let verdict = turn.world.check(&check.name)?;
            match verdict.number {
                Some(number) => (number != 0).then_some(number),
                None => check.weight.filter(|_| verdict.fails()),
            }
        };
        // In a group those of every member count, so that all stay equal.
        let listed = match self.bond.grouped {
            true => &self.bond.weights,
            false => &self.settings.checks,
        };
        let terms = listed.iter().filter_map(|check| {
            Some(PriorityTerm {
                source: format!("check {}", check.name),
                delta: delta(check)?,
            })
        });
        self.terms = terms.collect();
        let before = self.priority;
        self.priority = effective(self.settings.priority, &self.terms);
        if self.priority == before {
            return;
        }
        let (from, to) = (before.get(), self.priority.get());
        turn.report(Some(&self.settings.name), Fact::Priority { from, to });
    }

    /// Active_Down_Interval as it now is.
    pub(super) fn own_down_interval(&self) -> Duration {
        let interval = match &self.state {
            State::Backup(backup) => backup.active_interval,
            State::Claiming(claiming) => claiming.active_interval,
            State::Initialize(_) | State::Active(_) | State::Resigning(_) => self.own_interval(),
        };
        self.down_interval(interval)
    }

    /// The Active_Down_Timer counts from the last advertisement: it moves by
    /// what the interval changed, and ends now where that is in the past. One
    /// that is overdue already keeps its lateness: it tells of a stall.
    pub(super) fn move_down_timer(&mut self, now: Instant, before: Duration) {
        let after = self.own_down_interval();
        if let State::Backup(backup) = &mut self.state
            && after != before
        {
            let moved = (backup.down_at + after).minus(before);
            backup.down_at = moved.max(backup.down_at.min(now));
        }
    }

    /// The checks were weighed afresh.
    pub fn on_checks(&mut self, turn: &mut Turn<'_>) {
        self.refresh(turn);
    }

    /// Tells the hooks what the instance now is, if that is news. A router
    /// that resigns is still the one that answers; one that initializes
    /// without an obstacle is a Backup to them.
    pub fn tell(&mut self, turn: &mut Turn<'_>) {
        let now = match self.state {
            // It is told in a moment what this led to.
            State::Claiming(_) => return,
            State::Active(Active { barred: true, .. }) => return,
            State::Active(_) | State::Resigning(_) => Told::Master,
            State::Backup(_) => Told::Backup,
            State::Initialize(_) if self.stopping => Told::Stop,
            State::Initialize(_) if self.is_drained() => Told::Stop,
            State::Initialize(_) if self.obstacles.block() => Told::Fault,
            State::Initialize(_) if self.told.is_none() => return,
            State::Initialize(_) => Told::Backup,
        };
        let again = std::mem::take(&mut self.tell_again);
        match self.told.replace(now) {
            None => self.call_hooks(turn, now, StateName::Initialize, again),
            Some(before) if before != now || again => {
                self.call_hooks(turn, now, before.state(), again);
            }
            Some(_) => {}
        }
    }

    /// What the hooks were told last.
    pub fn told(&self) -> Option<Told> {
        self.told
    }

    fn call_hooks(&mut self, turn: &mut Turn<'_>, now: Told, previous: StateName, again: bool) {
        let demoted_already = now == Told::Stop && previous == StateName::Backup && !again;
        let own = (!demoted_already).then(|| now.hook());
        let call = self.hook_call(now.hook(), now, previous);
        self.hooks.on_transition(turn, own, |hook| HookCall {
            hook,
            ..call.clone()
        });
    }

    /// What a hook is told of a change to `now`.
    pub(super) fn hook_call(&self, hook: HookKind, now: Told, previous: StateName) -> HookCall {
        let addresses = self.settings.addresses.iter();
        HookCall {
            owner: owner(&self.settings),
            hook,
            word: now.word(),
            state: now.state().name(),
            previous: previous.name(),
            reason: self.reason.name(),
            priority: self.priority.get(),
            addresses: addresses.map(|a| a.network.addr()).collect(),
        }
    }

    pub fn priority(&self) -> Priority {
        self.priority
    }

    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// The job is a hook of ours that runs.
    pub fn awaits(&self, job: JobId) -> bool {
        self.hooks.awaits(job)
    }

    pub fn on_hook_done(&mut self, turn: &mut Turn<'_>, job: JobId, result: &JobResult) {
        if let Some(ended) = self.hooks.on_result(turn, job, result) {
            self.on_ended(turn, ended);
        }
    }
}

fn effective(base: Priority, terms: &[PriorityTerm]) -> Priority {
    if base.is_owner() {
        return base;
    }
    let sum: i32 = terms.iter().map(|term| i32::from(term.delta)).sum();
    let value = (i32::from(base.get()) + sum).clamp(1, 254);
    let value = u8::try_from(value).ok();
    value.and_then(Priority::new).unwrap_or(base)
}
