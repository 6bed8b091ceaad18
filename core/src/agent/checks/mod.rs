//! Health checks: when each runs, what its results amount to. Whoever
//! carries a check out answers with one result; here it is decided whether
//! the service is up. Some are not run: they follow an interface, a file, or
//! other checks.

mod check;
mod combination;

use std::collections::BTreeMap;
use std::time::Duration;

use super::action::Action;
use super::event::FileRead;
use super::jobs::{CheckName, Job, JobId, JobResult, Task, Verdict};
use super::settings::CheckSettings;
use super::status::CheckStatus;
use super::time::Instant;
use super::world::{self, Turn};
use check::{Check, Phase};

/// Beyond its time-out a check is given this long to be answered: whoever
/// runs it kills and reports it, and may be late.
const ANSWER_MARGIN: Duration = Duration::from_secs(1);

#[derive(Clone, Debug, Default)]
pub(super) struct Checks {
    checks: BTreeMap<CheckName, Check>,
    running: BTreeMap<JobId, CheckName>,
    /// The combinations, each after those that are members of it.
    combinations: Vec<CheckName>,
}

impl Checks {
    pub fn new(settings: &[CheckSettings], now: Instant) -> Self {
        let checks = settings
            .iter()
            .map(|settings| (settings.name.clone(), Check::new(settings.clone(), now)));
        let mut checks = Self {
            checks: checks.collect(),
            running: BTreeMap::new(),
            combinations: Vec::new(),
        };
        checks.order();
        checks.combine_at_first();
        checks
    }

    /// Takes over new settings. A check whose settings did not change keeps
    /// its state, and so does one whose times alone changed.
    pub fn reconfigure(&mut self, settings: &[CheckSettings], now: Instant) {
        let mut old = std::mem::take(&mut self.checks);
        for settings in settings {
            let check = match old.remove(&settings.name) {
                Some(check) if check.settings.same_question(settings) => {
                    check.with(settings.clone(), now)
                }
                Some(_) | None => Check::new(settings.clone(), now),
            };
            self.checks.insert(settings.name.clone(), check);
        }
        let checks = &self.checks;
        self.running.retain(|job, name| {
            let phase = checks.get(name).map(|check| check.phase);
            matches!(phase, Some(Phase::Running { job: current, .. }) if current == *job)
        });
        self.order();
    }

    pub fn settings(&self) -> impl Iterator<Item = &CheckSettings> {
        self.checks.values().map(|check| &check.settings)
    }

    /// What each check amounts to.
    pub fn verdicts(&self) -> impl Iterator<Item = (CheckName, world::Verdict)> {
        let checks = self.checks.iter();
        checks.map(|(name, check)| (name.clone(), check.verdict()))
    }

    /// The job is a check's that runs.
    pub fn awaits(&self, job: JobId) -> bool {
        self.running.contains_key(&job)
    }

    pub fn deadline(&self) -> Option<Instant> {
        let deadlines = self.checks.values().filter_map(|check| match check.phase {
            Phase::Waiting { next_at } => Some(next_at),
            Phase::Running { give_up_at, .. } => Some(give_up_at),
            Phase::Followed => None,
        });
        deadlines.min()
    }

    /// Starts what is due and gives up what was not answered. Returns whether
    /// the state of some check changed.
    pub fn on_wake(&mut self, turn: &mut Turn<'_>) -> bool {
        let mut changed = false;
        for (name, check) in &mut self.checks {
            match check.phase {
                Phase::Waiting { next_at } if next_at <= turn.now => {
                    let job = turn.next_job();
                    self.running.insert(job, name.clone());
                    check.phase = Phase::Running {
                        job,
                        started: turn.now,
                        give_up_at: turn.now + check.settings.timeout + ANSWER_MARGIN,
                    };
                    turn.act(Action::Start(Job {
                        id: job,
                        task: Task::Check(name.clone()),
                    }));
                }
                Phase::Running {
                    job,
                    started,
                    give_up_at,
                } if give_up_at <= turn.now => {
                    self.running.remove(&job);
                    let unanswered = JobResult {
                        verdict: Verdict::NotRun("no answer in time".to_owned()),
                        duration: turn.now.since(started),
                        output: String::new(),
                    };
                    changed |= check.finish(turn, started, unanswered);
                }
                Phase::Waiting { .. } | Phase::Running { .. } | Phase::Followed => {}
            }
        }
        self.concluded(turn, changed)
    }

    /// A result came. One that nobody waits for any more is dropped.
    pub fn on_result(&mut self, turn: &mut Turn<'_>, job: JobId, result: JobResult) -> bool {
        let Some(name) = self.running.remove(&job) else {
            return false;
        };
        let Some(check) = self.checks.get_mut(&name) else {
            return false;
        };
        let changed = match check.phase {
            Phase::Running {
                job: current,
                started,
                ..
            } if current == job => check.finish(turn, started, result),
            Phase::Running { .. } | Phase::Waiting { .. } | Phase::Followed => false,
        };
        self.concluded(turn, changed)
    }

    /// A file was read. One that nobody follows any more is nothing.
    pub fn on_file(&mut self, turn: &mut Turn<'_>, read: &FileRead) -> bool {
        let mut changed = false;
        for check in self.checks.values_mut() {
            changed |= check.read(turn, read);
        }
        self.concluded(turn, changed)
    }

    /// What is known of interfaces, and what follows from new settings, is
    /// taken over.
    pub fn observe(&mut self, turn: &mut Turn<'_>) -> bool {
        let mut changed = false;
        for check in self.checks.values_mut() {
            changed |= check.follow(turn);
        }
        self.combine(turn) || changed
    }

    /// What follows from a change for those that combine others.
    fn concluded(&mut self, turn: &mut Turn<'_>, changed: bool) -> bool {
        if changed {
            self.combine(turn);
        }
        changed
    }

    pub fn status(&self) -> Vec<CheckStatus> {
        self.checks.values().map(Check::status).collect()
    }
}
