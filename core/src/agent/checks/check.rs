//! One check: what its results, the file that it follows or its members
//! amount to.

use std::time::Duration;

use crate::agent::event::FileRead;
use crate::agent::jobs::{JobId, JobResult, Verdict};
use crate::agent::report::Fact;
use crate::agent::settings::{CheckSettings, CheckSource};
use crate::agent::status::{CheckState, CheckStatus};
use crate::agent::tally::Runs;
use crate::agent::time::Instant;
use crate::agent::values::InterfaceName;
use crate::agent::world::{self, Turn, World};

/// A check that was not run is ordered again after this, or after its
/// interval where that is shorter.
const NOT_RUN_PAUSE: Duration = Duration::from_millis(250);
/// More would move no priority further: it goes from 1 to 254.
const NUMBER_MAX: i16 = 254;

#[derive(Clone, Debug)]
pub(super) struct Check {
    pub settings: CheckSettings,
    pub state: CheckState,
    since: Instant,
    /// Results in a row that speak against `state`.
    against: u8,
    pub phase: Phase,
    /// Since when it could not be run; its last result holds for a while.
    not_run_since: Option<Instant>,
    duration: Duration,
    tally: Runs,
    pub output: String,
    /// Of a file.
    number: Option<i16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// To be started then.
    Waiting { next_at: Instant },
    /// Without an answer by then it failed.
    Running {
        job: JobId,
        started: Instant,
        give_up_at: Instant,
    },
    /// Follows an interface, a file or other checks; never run.
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

impl Check {
    pub fn new(settings: CheckSettings, now: Instant) -> Self {
        let phase = match settings.source {
            CheckSource::Interface(_) | CheckSource::File(_) | CheckSource::Combination(_) => {
                Phase::Followed
            }
            CheckSource::Elsewhere { .. } => Phase::Waiting { next_at: now },
        };
        let number = matches!(settings.source, CheckSource::File(_)).then_some(0);
        Self {
            state: settings.initial.unwrap_or(CheckState::Unknown),
            settings,
            since: now,
            against: 0,
            phase,
            not_run_since: None,
            duration: Duration::ZERO,
            tally: Runs::default(),
            output: String::new(),
            number,
        }
    }

    /// The same question at other times.
    pub fn with(self, settings: CheckSettings, now: Instant) -> Self {
        Self {
            phase: self.phase.no_later_than(now + settings.interval),
            settings,
            ..self
        }
    }

    pub fn verdict(&self) -> world::Verdict {
        world::Verdict {
            state: self.state,
            text: self.output.clone(),
            on_fail: self.settings.on_fail,
            number: self.number,
        }
    }

    pub fn status(&self) -> CheckStatus {
        CheckStatus {
            name: self.settings.name.clone(),
            state: self.state,
            since: self.since,
            duration: self.duration,
            tally: self.tally.clone(),
            against: self.against,
            output: self.output.clone(),
            on_fail: self.settings.on_fail,
            number: self.number,
        }
    }

    /// What is known of an interface; nothing until it was reported.
    pub fn follow(&mut self, turn: &mut Turn<'_>) -> bool {
        let CheckSource::Interface(interface) = self.settings.source else {
            return false;
        };
        let Some((up, text)) = link(turn.world, interface) else {
            return false;
        };
        self.output = text.to_owned();
        let state = if up { CheckState::Up } else { CheckState::Down };
        self.enter(turn, state)
    }

    /// A file was read: is it ours? Without a number it adds nothing.
    pub fn read(&mut self, turn: &mut Turn<'_>, read: &FileRead) -> bool {
        match &self.settings.source {
            CheckSource::File(path) if *path == read.path => {}
            CheckSource::File(_)
            | CheckSource::Interface(_)
            | CheckSource::Elsewhere { .. }
            | CheckSource::Combination(_) => return false,
        }
        let (state, number, output) = match &read.number {
            Err(why) => (CheckState::Down, 0, why.clone()),
            Ok(wanted) => {
                let most = i64::from(NUMBER_MAX);
                let number = i16::try_from((*wanted).clamp(-most, most)).unwrap_or_default();
                let output = match *wanted == i64::from(number) {
                    true => number.to_string(),
                    false => format!("{wanted} counts as {number}: a priority goes from 1 to 254"),
                };
                (CheckState::Up, number, output)
            }
        };
        let news = self.number.replace(number) != Some(number) || self.output != output;
        self.output = output;
        self.enter(turn, state) || news
    }

    /// What its members amount to; see [`super::combination`].
    pub fn amount_to(&mut self, turn: &mut Turn<'_>, state: CheckState, text: String) -> bool {
        self.output = text;
        self.enter(turn, state)
    }

    /// The same before there is a turn to report it in.
    pub fn begin_as(&mut self, state: CheckState, text: String) {
        self.output = text;
        self.state = state;
    }

    /// Weighs one result and plans the next run: an interval after the start
    /// of this one, at once when that has passed.
    pub fn finish(&mut self, turn: &mut Turn<'_>, started: Instant, result: JobResult) -> bool {
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
        self.tally.note(result.duration, !passed);
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

fn link(world: &World, interface: InterfaceName) -> Option<(bool, &'static str)> {
    let known = world.interface(interface)?;
    Some(match (&known.state, known.is_up()) {
        (None, _) => (false, "the interface does not exist"),
        (Some(_), false) => (false, "the interface is down or has no carrier"),
        (Some(_), true) => (true, ""),
    })
}
