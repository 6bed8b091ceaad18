//! Hooks that are awaited (PROTOCOL section 2). `before_active` stands before
//! the addresses when nobody is Active, and before the claim when somebody
//! is; `before_release` before the resignation on planned moves.

use super::health::Told;
use super::*;
use crate::agent::hooks::{ANSWER_MARGIN, Ended};
use crate::agent::jobs::{HookKind, HookOwner};
use crate::agent::report::Consequence;

/// From one failure to the next try; doubled with each, up to the longest.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_LONGEST: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, Default)]
pub(super) struct Awaited {
    promotion: Promotion,
    /// The last failure of `before_active`, until it succeeds.
    failure: Option<Box<Failure>>,
    departure: Option<Departure>,
}

/// What has become of `before_active` since the last claim was thought of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Promotion {
    #[default]
    Idle,
    Asked {
        since: Instant,
    },
    Passed,
}

#[derive(Clone, Debug)]
struct Failure {
    error: String,
    since: Instant,
    pause: Duration,
    retry_at: Instant,
    /// It came while we were advertising: a fault until `retry_at`.
    blocks: bool,
}

/// A planned release that waits for `before_release`.
#[derive(Clone, Copy, Debug)]
struct Departure {
    until: Instant,
    done: bool,
    failed: bool,
    /// It is handed over then; otherwise it resigns.
    to_successor: bool,
}

impl Departure {
    fn consequence(self) -> Consequence {
        match self.to_successor {
            true => Consequence::NotHandedOver,
            false => Consequence::ReleasedAllTheSame,
        }
    }
}

impl Awaited {
    /// For the clock.
    pub fn next(&self) -> Option<Instant> {
        let failure = self.failure.as_ref().filter(|failure| failure.blocks);
        let departure = self.departure.filter(|departure| !departure.done);
        let retry = failure.map(|failure| failure.retry_at);
        retry
            .into_iter()
            .chain(departure.map(|departure| departure.until))
            .min()
    }
}

impl VirtualRouter {
    fn has_hook(&self, hook: HookKind) -> bool {
        self.hooks.timeout(hook).is_some()
    }

    /// Some claim of ours, or of a mate, has to wait for a hook.
    pub fn awaits_promotion(&self) -> bool {
        self.has_hook(HookKind::BeforeActive)
    }

    /// Nothing of its own stands before the addresses.
    pub fn is_promoted(&self) -> bool {
        !self.awaits_promotion() || self.awaited.promotion == Promotion::Passed
    }

    /// `before_active` was asked for and has led to nothing yet.
    pub fn is_preparing(&self) -> bool {
        matches!(self.state, State::Backup(_)) && self.awaited.promotion != Promotion::Idle
    }

    /// The incumbent's silence is to be noticed although it does not outrank
    /// us: the hook runs, or has failed and is tried again later.
    pub(super) fn is_patient(&self, now: Instant) -> bool {
        self.is_preparing() || self.is_promised() || self.pause(now).is_some()
    }

    /// Until when a live Active is left alone after a failure.
    pub fn pause(&self, now: Instant) -> Option<Instant> {
        let failure = self.awaited.failure.as_ref();
        let retry_at = failure.map(|failure| failure.retry_at);
        retry_at.filter(|at| *at > now)
    }

    /// Asks for `before_active`, once for each claim.
    pub fn promote(&mut self, turn: &mut Turn<'_>) {
        if self.is_promoted() || self.awaited.promotion != Promotion::Idle {
            return;
        }
        self.awaited.promotion = Promotion::Asked { since: turn.now };
        let previous = self.told.map_or(StateName::Initialize, Told::state);
        let call = self.hook_call(HookKind::BeforeActive, Told::Master, previous);
        self.hooks.ask(turn, call);
        self.refresh(turn);
    }

    /// No claim comes of it. What it has done may have to be undone, so the
    /// hooks are told once more what we are.
    pub(super) fn abandon(&mut self) {
        if self.awaited.promotion == Promotion::Idle {
            return;
        }
        self.awaited.promotion = Promotion::Idle;
        self.hooks.forget(HookKind::BeforeActive);
        self.tell_again = self.told != Some(Told::Master);
    }

    /// A state was entered: only an Active goes on with what was awaited.
    pub(super) fn end_waiting(&mut self) {
        if !matches!(self.state, State::Active(_)) {
            self.abandon();
            self.awaited.departure = None;
        }
    }

    /// Active, and its addresses wait.
    pub fn is_barred(&self) -> bool {
        matches!(&self.state, State::Active(active) if active.barred)
    }

    /// Every hook before the addresses has succeeded.
    pub fn open(&mut self, turn: &mut Turn<'_>) {
        if let State::Active(active) = &mut self.state
            && std::mem::take(&mut active.barred)
        {
            self.raise_link(turn);
            self.holdings.claim(turn);
            self.refresh(turn);
        }
    }

    pub(super) fn on_ended(&mut self, turn: &mut Turn<'_>, ended: Ended) {
        let asked = matches!(self.awaited.promotion, Promotion::Asked { .. });
        match (ended.hook, ended.error) {
            (HookKind::BeforeActive, None) if asked && !ended.stale => {
                self.awaited.promotion = Promotion::Passed;
                self.awaited.failure = None;
                // It has held the addresses meanwhile: the service was demoted
                // for a move that came to nothing.
                self.tell_again |= self.is_active() && !self.is_barred();
                self.refresh(turn);
            }
            (HookKind::BeforeActive, Some(error)) if asked && !ended.stale => {
                self.promotion_failed(turn, error, ended.output);
            }
            (hook, error) => {
                let departure = self.awaited.departure.as_mut();
                let departure =
                    departure.filter(|_| hook == HookKind::BeforeRelease && !ended.stale);
                let consequence = match departure {
                    Some(departure) => {
                        departure.done = true;
                        departure.failed = error.is_some();
                        departure.consequence()
                    }
                    None => Consequence::None,
                };
                if let Some(error) = error {
                    self.hooks
                        .complain(turn, hook, error, ended.output, consequence);
                }
            }
        }
    }

    /// One that advertised is in fault for a while and resigns by that; a
    /// Backup leaves the incumbent alone for as long.
    fn promotion_failed(&mut self, turn: &mut Turn<'_>, error: String, output: String) {
        let before = self.awaited.failure.take();
        let pause = before.as_ref().map_or(PAUSE_FIRST, |failure| {
            (failure.pause * 2).min(PAUSE_LONGEST)
        });
        let blocks = matches!(self.state, State::Active(_) | State::Claiming(_));
        let text = match output.is_empty() {
            true => error.clone(),
            false => format!("{error}: {output}"),
        };
        self.awaited.failure = Some(Box::new(Failure {
            error: text,
            since: before.map_or(turn.now, |failure| failure.since),
            pause,
            retry_at: turn.now + pause,
            blocks,
        }));
        let consequence = match blocks {
            true => Consequence::Resigned { retry_in: pause },
            false => Consequence::NotClaimed { retry_in: pause },
        };
        self.hooks
            .complain(turn, HookKind::BeforeActive, error, output, consequence);
        self.abandon();
        if let State::Backup(backup) = &mut self.state {
            backup.preempt_at = Some(turn.now + pause);
        }
        self.refresh(turn);
    }

    /// What the clock says about what is awaited.
    pub(super) fn awaited_wakes(&mut self, turn: &mut Turn<'_>) {
        let over = |failure: &&mut Failure| failure.blocks && failure.retry_at <= turn.now;
        if let Some(failure) = self.awaited.failure.as_deref_mut().filter(over) {
            failure.blocks = false;
            self.refresh(turn);
        }
        let late = |departure: &&mut Departure| !departure.done && departure.until <= turn.now;
        if let Some(departure) = self.awaited.departure.as_mut().filter(late) {
            departure.done = true;
            departure.failed = true;
            let error = "has not ended in time".to_owned();
            self.hooks.forget(HookKind::BeforeRelease);
            let consequence = departure.consequence();
            let hook = HookKind::BeforeRelease;
            self.hooks
                .complain(turn, hook, error, String::new(), consequence);
        }
    }

    /// After a reload the pause is over: what failed may have been mended.
    pub(super) fn end_pause(&mut self, now: Instant) {
        let Some(failure) = &mut self.awaited.failure else {
            return;
        };
        if let State::Backup(backup) = &mut self.state
            && backup.preempt_at == Some(failure.retry_at)
        {
            backup.preempt_at = Some(now);
        }
        failure.blocks = false;
        failure.retry_at = failure.retry_at.min(now);
    }

    /// For `status`.
    pub(super) fn show_awaited(&mut self, now: Instant) {
        let source = || "hook before_active".to_owned();
        let acting = matches!(self.state, State::Active(_) | State::Backup(_));
        if let Promotion::Asked { since } = self.awaited.promotion
            && acting
        {
            let waits = match self.state {
                State::Backup(_) => "the claim waits",
                _ => "the addresses wait",
            };
            let text = format!("{waits} for its success");
            self.obstacles.show(since, "before-active", source(), text);
            return;
        }
        if let State::Active(active) = &self.state
            && active.barred
            && self.is_promoted()
        {
            let text = "the addresses wait for the hooks of other members".to_owned();
            self.obstacles
                .show(self.since, "group-waits", "group".to_owned(), text);
        }
        let Some(failure) = &self.awaited.failure else {
            return;
        };
        let (since, error) = (failure.since, &failure.error);
        if failure.blocks && failure.retry_at > now {
            let text = format!("{error}; tried again when a pause is over");
            self.obstacles
                .add_fault(since, "before-active", source(), text);
        } else {
            let text = format!("failed when it was last run: {error}");
            self.obstacles.show(since, "before-active", source(), text);
        }
    }

    /// The first step of a planned release, whoever plans it: an Active goes
    /// on advertising and answering while `before_release` runs, and resigns
    /// when that has ended, or its time is over. Members of a group wait for
    /// each other, so that they resign in one turn.
    pub(super) fn depart(&mut self, turn: &mut Turn<'_>, told: Told) {
        self.await_release(turn, told, false);
    }

    /// The same before a hand-over: whoever hands over goes on when that has
    /// succeeded, see [`VirtualRouter::demotion`].
    pub fn demote(&mut self, turn: &mut Turn<'_>) {
        self.await_release(turn, Told::Backup, true);
    }

    fn await_release(&mut self, turn: &mut Turn<'_>, told: Told, to_successor: bool) {
        if self.awaited.departure.is_some() {
            return;
        }
        let timeout = self.hooks.timeout(HookKind::BeforeRelease);
        self.awaited.departure = Some(Departure {
            until: turn.now + timeout.unwrap_or_default() + ANSWER_MARGIN,
            done: timeout.is_none(),
            failed: false,
            to_successor,
        });
        if timeout.is_some() {
            let call = self.hook_call(HookKind::BeforeRelease, told, StateName::Active);
            self.hooks.ask(turn, call);
        }
    }

    /// Before a hand-over: whether `before_release` has ended, and well.
    pub fn demotion(&self) -> Option<Result<(), ()>> {
        let departure = self.awaited.departure?;
        let outcome = if departure.failed { Err(()) } else { Ok(()) };
        departure.done.then_some(outcome)
    }

    /// What a hook on the way may take.
    pub fn hook_time(&self, hook: HookKind) -> Option<Duration> {
        self.hooks.timeout(hook)
    }

    pub(super) fn awaits_departure(&self) -> bool {
        self.awaited.departure.is_some()
    }

    /// Nothing came of a hand-over: what `before_release` did is undone, by
    /// the hooks that make an Active.
    pub fn stay(&mut self, turn: &mut Turn<'_>) {
        let Some(departure) = self.awaited.departure.take() else {
            return;
        };
        self.hooks.forget(HookKind::BeforeRelease);
        if !self.has_hook(HookKind::BeforeRelease) || !departure.to_successor {
            return;
        }
        if self.awaits_promotion() {
            self.awaited.promotion = Promotion::Idle;
            self.promote(turn);
        } else {
            self.tell_again = true;
        }
    }

    /// There is something to wait for before a resignation.
    pub(super) fn departs(&self) -> bool {
        let whole = matches!(&self.state, State::Active(active) if !active.barred);
        whole && (self.has_hook(HookKind::BeforeRelease) || self.bond.grouped)
    }

    /// `Some(true)`: on the point of resigning; `Some(false)`: its hook runs.
    pub fn departure(&self) -> Option<bool> {
        let departure = self.awaited.departure?;
        (!departure.to_successor).then_some(departure.done)
    }

    /// When a planned release begins at the latest.
    pub fn departs_by(&self) -> Option<Instant> {
        self.awaited.departure.map(|departure| departure.until)
    }

    /// Row 9, the second step of a planned release.
    pub fn resign(&mut self, turn: &mut Turn<'_>, planned: bool) {
        let from = self.state_name();
        self.advertise(turn, 0);
        self.announcer.end_all();
        self.taken_over.clear();
        let longest = self.own_interval().min(RESIGNATION_LONGEST);
        // What was not answered for yet is not missed.
        let answers = planned && self.holds();
        let state = if answers {
            State::Resigning(Resigning {
                until: turn.now + longest,
                repeat_at: None,
            })
        } else {
            State::Initialize(Initialize::default())
        };
        self.enter(turn, from, state, Reason::Shutdown);
        self.lengthen_resignation(turn.now);
        self.mend(turn);
    }
}

/// Whose hooks they are.
pub(super) fn owner(settings: &InstanceSettings) -> HookOwner {
    HookOwner::Instance(settings.name.clone())
}
