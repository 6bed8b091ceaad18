//! Health checks: when each runs, what its results amount to. Whoever
//! carries a check out answers with one result; here it is decided whether
//! the service is up.

use std::collections::BTreeMap;
use std::time::Duration;

use super::action::Action;
use super::jobs::{CheckName, Job, JobId, JobResult, Task, Verdict};
use super::report::Fact;
use super::settings::{CheckSettings, CheckSource};
use super::status::{CheckState, CheckStatus};
use super::time::Instant;
use super::world::{self, Turn, World};

/// Beyond its time-out a check is given this long to be answered: whoever
/// runs it kills and reports it, and may be late.
const ANSWER_MARGIN: Duration = Duration::from_secs(1);
/// A check that was not run is ordered again after this, or after its
/// interval where that is shorter.
const NOT_RUN_PAUSE: Duration = Duration::from_millis(250);

#[derive(Clone, Debug, Default)]
pub(super) struct Checks {
    checks: BTreeMap<CheckName, Check>,
    running: BTreeMap<JobId, CheckName>,
}

#[derive(Clone, Debug)]
struct Check {
    settings: CheckSettings,
    state: CheckState,
    since: Instant,
    /// Results in a row that speak against `state`.
    against: u8,
    phase: Phase,
    /// Since when it could not be run; its last result holds for a while.
    not_run_since: Option<Instant>,
    duration: Duration,
    output: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// To be started then.
    Waiting { next_at: Instant },
    /// Without an answer by then it failed.
    Running {
        job: JobId,
        started: Instant,
        give_up_at: Instant,
    },
    /// Follows an interface; never run.
    Followed,
}

impl Phase {
    /// A shorter interval counts from now on, not after the old one.
    fn no_later_than(self, soonest: Instant) -> Self {
        match self {
            Phase::Waiting { next_at } => Phase::Waiting {
                next_at: next_at.min(soonest),
            },
            Phase::Running { .. } | Phase::Followed => self,
        }
    }
}

impl Checks {
    pub fn new(settings: &[CheckSettings], now: Instant) -> Self {
        let checks = settings
            .iter()
            .map(|settings| (settings.name.clone(), Check::new(settings.clone(), now)));
        Self {
            checks: checks.collect(),
            running: BTreeMap::new(),
        }
    }

    /// Takes over new settings. A check whose settings did not change keeps
    /// its state, and so does one whose times alone changed.
    pub fn reconfigure(&mut self, settings: &[CheckSettings], now: Instant) {
        let mut old = std::mem::take(&mut self.checks);
        for settings in settings {
            let check = match old.remove(&settings.name) {
                Some(check) if check.settings.same_question(settings) => Check {
                    phase: check.phase.no_later_than(now + settings.interval),
                    settings: settings.clone(),
                    ..check
                },
                Some(_) | None => Check::new(settings.clone(), now),
            };
            self.checks.insert(settings.name.clone(), check);
        }
        let checks = &self.checks;
        self.running.retain(|job, name| {
            let phase = checks.get(name).map(|check| check.phase);
            matches!(phase, Some(Phase::Running { job: current, .. }) if current == *job)
        });
    }

    pub fn settings(&self) -> impl Iterator<Item = &CheckSettings> {
        self.checks.values().map(|check| &check.settings)
    }

    /// What each check amounts to.
    pub fn verdicts(&self) -> impl Iterator<Item = (CheckName, world::Verdict)> {
        self.checks.iter().map(|(name, check)| {
            let verdict = world::Verdict {
                state: check.state,
                text: check.output.clone(),
            };
            (name.clone(), verdict)
        })
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
        changed
    }

    /// A result came. One that nobody waits for any more is dropped.
    pub fn on_result(&mut self, turn: &mut Turn<'_>, job: JobId, result: JobResult) -> bool {
        let Some(name) = self.running.remove(&job) else {
            return false;
        };
        let Some(check) = self.checks.get_mut(&name) else {
            return false;
        };
        match check.phase {
            Phase::Running {
                job: current,
                started,
                ..
            } if current == job => check.finish(turn, started, result),
            Phase::Running { .. } | Phase::Waiting { .. } | Phase::Followed => false,
        }
    }

    /// Checks of the kind `interface` follow what is known of it.
    pub fn observe(&mut self, turn: &mut Turn<'_>) -> bool {
        let mut changed = false;
        for check in self.checks.values_mut() {
            let CheckSource::Interface(interface) = check.settings.source else {
                continue;
            };
            let Some((up, text)) = link(turn.world, interface) else {
                continue;
            };
            check.output = text.to_owned();
            let state = if up { CheckState::Up } else { CheckState::Down };
            changed |= check.enter(turn, state);
        }
        changed
    }

    pub fn status(&self) -> Vec<CheckStatus> {
        let status = self.checks.iter().map(|(name, check)| CheckStatus {
            name: name.clone(),
            state: check.state,
            since: check.since,
            duration: check.duration,
            against: check.against,
            output: check.output.clone(),
        });
        status.collect()
    }
}

fn link(world: &World, interface: super::values::InterfaceName) -> Option<(bool, &'static str)> {
    let known = world.interface(interface)?;
    Some(match (&known.state, known.is_up()) {
        (None, _) => (false, "the interface does not exist"),
        (Some(_), false) => (false, "the interface is down or has no carrier"),
        (Some(_), true) => (true, ""),
    })
}

impl Check {
    fn new(settings: CheckSettings, now: Instant) -> Self {
        let phase = match settings.source {
            CheckSource::Interface(_) => Phase::Followed,
            CheckSource::Elsewhere { .. } => Phase::Waiting { next_at: now },
        };
        Self {
            state: settings.initial.unwrap_or(CheckState::Unknown),
            settings,
            since: now,
            against: 0,
            phase,
            not_run_since: None,
            duration: Duration::ZERO,
            output: String::new(),
        }
    }

    /// Weighs one result and plans the next run: an interval after the start
    /// of this one, at once when that has passed.
    fn finish(&mut self, turn: &mut Turn<'_>, started: Instant, result: JobResult) -> bool {
        let next = started + self.settings.interval;
        let (passed, output) = match result.verdict {
            Verdict::NotRun(why) => return self.was_not_run(turn, started, &why),
            Verdict::Passed => (true, result.output),
            Verdict::Failed(why) if result.output.is_empty() => (false, why),
            Verdict::Failed(why) => (false, format!("{why}: {}", result.output)),
            Verdict::TimedOut => {
                let limit = self.settings.timeout.as_millis();
                let text = format!("no end within {limit} ms");
                let detail = (!result.output.is_empty()).then_some(result.output);
                let detail = detail.map(|detail| format!("{text}: {detail}"));
                (false, detail.unwrap_or(text))
            }
            Verdict::Refused(why) => (false, why),
        };
        self.not_run_since = None;
        self.duration = result.duration;
        self.output = output;
        self.phase = Phase::Waiting {
            next_at: next.max(turn.now),
        };
        self.weigh(turn, passed)
    }

    fn was_not_run(&mut self, turn: &mut Turn<'_>, started: Instant, why: &str) -> bool {
        let pause = NOT_RUN_PAUSE.min(self.settings.interval);
        self.phase = Phase::Waiting {
            next_at: turn.now + pause,
        };
        let since = *self.not_run_since.get_or_insert(started);
        self.output = format!("could not be run: {why}");
        // As long as it takes to notice a service that fails.
        let settings = &self.settings;
        let patience = (settings.interval * u32::from(settings.fall)).max(settings.timeout);
        if turn.now.since(since) < patience {
            return false;
        }
        self.against = 0;
        self.enter(turn, CheckState::Down)
    }

    /// The first result decides; afterwards `rise` or `fall` in a row.
    fn weigh(&mut self, turn: &mut Turn<'_>, passed: bool) -> bool {
        let (verdict, needed) = if passed {
            (CheckState::Up, self.settings.rise)
        } else {
            (CheckState::Down, self.settings.fall)
        };
        if verdict == self.state {
            self.against = 0;
            return false;
        }
        self.against = self.against.saturating_add(1);
        if self.state != CheckState::Unknown && self.against < needed {
            return false;
        }
        self.against = 0;
        self.enter(turn, verdict)
    }

    fn enter(&mut self, turn: &mut Turn<'_>, state: CheckState) -> bool {
        if self.state == state {
            return false;
        }
        let from = self.state;
        self.state = state;
        self.since = turn.now;
        let fact = Fact::Check {
            check: self.settings.name.clone(),
            from,
            to: state,
            output: self.output.clone(),
        };
        turn.report(None, fact);
        true
    }
}
