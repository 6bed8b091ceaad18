//! Hooks of one instance: one at a time, in order, and of those that wait
//! only the newest transition's.

use std::collections::BTreeMap;
use std::time::Duration;

use super::action::Action;
use super::jobs::{HookCall, HookKind, Job, JobId, JobResult, Task, Verdict};
use super::report::Fact;
use super::settings::InstanceSettings;
use super::status::HookStatus;
use super::time::Instant;
use super::values::InstanceName;
use super::world::Turn;

/// Beyond its time-out a hook is given this long to be answered.
const ANSWER_MARGIN: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
pub(super) struct Hooks {
    instance: InstanceName,
    timeouts: BTreeMap<HookKind, Duration>,
    running: Option<Running>,
    /// The hooks of one transition at most: its own, then `change`.
    waiting: Vec<HookCall>,
    results: BTreeMap<HookKind, HookStatus>,
}

#[derive(Clone, Debug)]
struct Running {
    job: JobId,
    hook: HookKind,
    give_up_at: Instant,
}

impl Hooks {
    pub fn new(settings: &InstanceSettings) -> Self {
        Self {
            instance: settings.name.clone(),
            timeouts: settings.hooks.clone(),
            running: None,
            waiting: Vec::new(),
            results: BTreeMap::new(),
        }
    }

    pub fn reconfigure(&mut self, settings: &InstanceSettings) {
        self.instance.clone_from(&settings.name);
        self.timeouts.clone_from(&settings.hooks);
        let timeouts = &self.timeouts;
        self.waiting
            .retain(|call| timeouts.contains_key(&call.hook));
    }

    /// A transition happened: what still waits of an older one is dropped.
    /// `call` makes the call of each hook that the instance has.
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

    pub fn on_result(&mut self, turn: &mut Turn<'_>, job: JobId, result: &JobResult) {
        let Some(running) = self.running.take_if(|running| running.job == job) else {
            return;
        };
        self.finish(turn, running.hook, result.clone());
    }

    pub fn next(&self) -> Option<Instant> {
        self.running.as_ref().map(|running| running.give_up_at)
    }

    pub fn on_wake(&mut self, turn: &mut Turn<'_>) {
        let late = |running: &mut Running| running.give_up_at <= turn.now;
        if let Some(running) = self.running.take_if(late) {
            let unanswered = JobResult {
                verdict: Verdict::NotRun("whoever runs hooks did not answer".to_owned()),
                duration: Duration::ZERO,
                output: String::new(),
            };
            self.finish(turn, running.hook, unanswered);
        }
    }

    fn finish(&mut self, turn: &mut Turn<'_>, hook: HookKind, result: JobResult) {
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
        if let Some(error) = &error {
            let fact = Fact::HookFailed {
                hook,
                error: error.clone(),
                output: output.clone(),
            };
            turn.report(Some(&self.instance), fact);
        }
        let status = HookStatus {
            hook,
            ended: turn.now,
            duration,
            error,
            output,
        };
        self.results.insert(hook, status);
        self.start_next(turn);
    }

    /// Nothing waits to be started; what runs is in others' hands.
    pub fn are_given(&self) -> bool {
        self.waiting.is_empty()
    }

    pub fn status(&self) -> Vec<HookStatus> {
        self.results.values().cloned().collect()
    }
}
