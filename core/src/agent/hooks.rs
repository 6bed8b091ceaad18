//! Hooks of one instance or group: one at a time, in order, and of those that
//! wait only the newest transition's, or the one that is awaited.

use std::collections::BTreeMap;
use std::time::Duration;

use super::action::Action;
use super::jobs::{HookCall, HookKind, HookOwner, Job, JobId, JobResult, Task, Verdict};
use super::report::{Consequence, Fact};
use super::status::HookStatus;
use super::tally::Runs;
use super::time::Instant;
use super::values::{GroupName, InstanceName};
use super::world::Turn;

/// Beyond its time-out a hook is given this long to be answered.
pub(super) const ANSWER_MARGIN: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
pub(super) struct Hooks {
    owner: HookOwner,
    timeouts: BTreeMap<HookKind, Duration>,
    running: Option<Running>,
    /// The hooks of one transition at most, its own, then `change`; or the
    /// one that is awaited.
    waiting: Vec<HookCall>,
    results: BTreeMap<HookKind, HookStatus>,
}

#[derive(Clone, Debug)]
struct Running {
    job: JobId,
    hook: HookKind,
    give_up_at: Instant,
}

/// One that is awaited ended; whoever awaits it reports its failure.
#[derive(Clone, Debug)]
pub(super) struct Ended {
    pub hook: HookKind,
    pub error: Option<String>,
    pub output: String,
    /// The same hook was asked for anew meanwhile, and that run is to come.
    pub stale: bool,
}

impl Hooks {
    pub fn new(owner: HookOwner, timeouts: &BTreeMap<HookKind, Duration>) -> Self {
        Self {
            owner,
            timeouts: timeouts.clone(),
            running: None,
            waiting: Vec::new(),
            results: BTreeMap::new(),
        }
    }

    pub fn reconfigure(&mut self, owner: HookOwner, timeouts: &BTreeMap<HookKind, Duration>) {
        self.owner = owner;
        self.timeouts.clone_from(timeouts);
        self.waiting
            .retain(|call| timeouts.contains_key(&call.hook));
    }

    pub fn timeout(&self, hook: HookKind) -> Option<Duration> {
        self.timeouts.get(&hook).copied()
    }

    /// A transition happened: what still waits of an older one is dropped.
    /// `call` makes the call of each hook that there is.
    pub fn on_transition(
        &mut self,
        turn: &mut Turn<'_>,
        own: Option<HookKind>,
        call: impl Fn(HookKind) -> HookCall,
    ) {
        let hooks = own.into_iter().chain([HookKind::Change]);
        self.waiting = hooks
            .filter(|hook| self.timeouts.contains_key(hook))
            .map(call)
            .collect();
        self.start_next(turn);
    }

    /// Asks for one that is awaited: next, in place of whatever waits, and
    /// never beside another that still runs.
    pub fn ask(&mut self, turn: &mut Turn<'_>, call: HookCall) {
        self.waiting = vec![call];
        self.start_next(turn);
    }

    /// One that was asked for and has not begun is no longer wanted.
    pub fn forget(&mut self, hook: HookKind) {
        self.waiting.retain(|call| call.hook != hook);
    }

    fn start_next(&mut self, turn: &mut Turn<'_>) {
        if self.running.is_some() || self.waiting.is_empty() {
            return;
        }
        let call = self.waiting.remove(0);
        let timeout = self.timeouts.get(&call.hook).copied().unwrap_or_default();
        let job = turn.next_job();
        self.running = Some(Running {
            job,
            hook: call.hook,
            give_up_at: turn.now + timeout + ANSWER_MARGIN,
        });
        turn.act(Action::Start(Job {
            id: job,
            task: Task::Hook(call),
        }));
    }

    pub fn awaits(&self, job: JobId) -> bool {
        self.running
            .as_ref()
            .is_some_and(|running| running.job == job)
    }

    pub fn on_result(
        &mut self,
        turn: &mut Turn<'_>,
        job: JobId,
        result: &JobResult,
    ) -> Option<Ended> {
        let running = self.running.take_if(|running| running.job == job)?;
        self.finish(turn, running.hook, result.clone())
    }

    pub fn next(&self) -> Option<Instant> {
        self.running.as_ref().map(|running| running.give_up_at)
    }

    pub fn on_wake(&mut self, turn: &mut Turn<'_>) -> Option<Ended> {
        let late = |running: &mut Running| running.give_up_at <= turn.now;
        let running = self.running.take_if(late)?;
        let unanswered = JobResult {
            verdict: Verdict::NotRun("whoever runs hooks did not answer".to_owned()),
            duration: Duration::ZERO,
            output: String::new(),
        };
        self.finish(turn, running.hook, unanswered)
    }

    fn finish(&mut self, turn: &mut Turn<'_>, hook: HookKind, result: JobResult) -> Option<Ended> {
        let JobResult {
            verdict,
            duration,
            output,
        } = result;
        let error = match verdict {
            Verdict::Passed => None,
            Verdict::Failed(why) | Verdict::Refused(why) | Verdict::NotRun(why) => Some(why),
            Verdict::TimedOut => Some("did not end in time; killed".to_owned()),
        };
        let before = self.results.get(&hook);
        let mut tally = before.map_or_else(Runs::default, |before| before.tally.clone());
        tally.note(duration, error.is_some());
        let status = HookStatus {
            tally,
            hook,
            ended: turn.now,
            duration,
            error: error.clone(),
            output: output.clone(),
        };
        self.results.insert(hook, status);
        if error.is_none() {
            let fact = Fact::HookDone {
                group: self.group().cloned(),
                hook,
                duration,
            };
            turn.report(self.instance(), fact);
        }
        let ended = match hook {
            HookKind::BeforeActive | HookKind::BeforeRelease => Some(Ended {
                hook,
                error,
                output,
                stale: self.waiting.iter().any(|call| call.hook == hook),
            }),
            HookKind::Active | HookKind::Backup | HookKind::Fault | HookKind::Change => {
                if let Some(error) = error {
                    self.complain(turn, hook, error, output, Consequence::None);
                }
                None
            }
        };
        self.start_next(turn);
        ended
    }

    /// One line about a failure.
    pub fn complain(
        &self,
        turn: &mut Turn<'_>,
        hook: HookKind,
        error: String,
        output: String,
        consequence: Consequence,
    ) {
        let fact = Fact::HookFailed {
            group: self.group().cloned(),
            hook,
            error,
            output,
            consequence,
        };
        turn.report(self.instance(), fact);
    }

    fn instance(&self) -> Option<&InstanceName> {
        match &self.owner {
            HookOwner::Instance(name) => Some(name),
            HookOwner::Group(_) => None,
        }
    }

    fn group(&self) -> Option<&GroupName> {
        match &self.owner {
            HookOwner::Instance(_) => None,
            HookOwner::Group(name) => Some(name),
        }
    }

    /// Nothing waits to be started; what runs is in others' hands.
    pub fn are_given(&self) -> bool {
        self.waiting.is_empty()
    }

    pub fn status(&self) -> Vec<HookStatus> {
        self.results.values().cloned().collect()
    }
}
