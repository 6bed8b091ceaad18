//! Events for people: one line each, and how long after the one before of the
//! same instance, so that a failover reads as one story.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::record::Record;
use crate::control::render::Colour;

/// After a longer pause it is another story.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// Instances that are remembered; beyond it all are forgotten.
const INSTANCES_MAX: usize = 4096;
/// For names, at first.
const NAME_WIDTH: usize = 8;

/// One line of a story.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub time: Timestamp,
    /// Since the one before of the same instance, such as `+12 ms`, or empty.
    pub delta: String,
    /// The instance, or `-`.
    pub name: String,
    pub words: String,
    /// As in the record.
    pub level: String,
}

/// Goes along a list of events.
#[derive(Debug)]
pub struct Story {
    colour: Colour,
    name_width: usize,
    /// Of each instance: the run, and when in it something happened last.
    last: BTreeMap<String, (u64, u64)>,
}

impl Story {
    pub fn new(colour: Colour) -> Self {
        Self {
            colour,
            name_width: NAME_WIDTH,
            last: BTreeMap::new(),
        }
    }

    /// Its lines, each with its end.
    pub fn tell(&mut self, record: &Record) -> String {
        let steps = self.steps(record);
        steps.iter().map(|step| self.line(step)).collect()
    }

    /// What is to be read of it, one line each.
    pub fn steps(&mut self, record: &Record) -> Vec<Step> {
        let step = |time, delta, words: &str| Step {
            time,
            delta,
            name: record.instance.clone().unwrap_or_else(|| "-".to_owned()),
            // What is kept for machines, such as a reload's faults, has more lines.
            words: words.replace('\n', " "),
            level: record.level.clone(),
        };
        let heard = last_heard(record);
        let heard = heard.map(|(then, words)| step(then, String::new(), &words));
        let delta = self.delta(record).map(span).unwrap_or_default();
        let this = step(record.time.0, delta, &record.text);
        heard.into_iter().chain([this]).collect()
    }

    fn line(&mut self, step: &Step) -> String {
        let Step { delta, name, .. } = step;
        self.name_width = self.name_width.max(name.chars().count().min(24));
        let width = self.name_width;
        let time = step.time.to_zoned(TimeZone::UTC);
        let time = time.strftime("%Y-%m-%d %H:%M:%S%.3f");
        let line = format!("{time} {delta:>10}  {name:width$}  {}", step.words);
        match (self.colour, step.level.as_str()) {
            (Colour::On, "error") => format!("\u{1b}[31m{line}\u{1b}[0m\n"),
            (Colour::On, "warning") => format!("\u{1b}[33m{line}\u{1b}[0m\n"),
            (Colour::On, "detail") => format!("\u{1b}[2m{line}\u{1b}[0m\n"),
            (Colour::On | Colour::Off, _) => format!("{line}\n"),
        }
    }

    /// Since the one before of the same instance, in the same story.
    fn delta(&mut self, record: &Record) -> Option<Duration> {
        let name = record.instance.clone()?;
        if self.last.len() >= INSTANCES_MAX {
            self.last.clear();
        }
        let now = (record.run, record.monotonic_us);
        let before = self.last.insert(name, now);
        if let Some(ago) = record.number("last_heard_ago_ms") {
            return Some(Duration::from_millis(ago));
        }
        let (run, then) = before?;
        let passed = Duration::from_micros(record.monotonic_us.checked_sub(then)?);
        (run == record.run && passed <= PAUSE_MAX).then_some(passed)
    }
}

/// A silence begins with the last advertisement.
fn last_heard(record: &Record) -> Option<(Timestamp, String)> {
    let ago = record.number("last_heard_ago_ms")?;
    let then = record.time.0.checked_sub(Duration::from_millis(ago)).ok()?;
    let source = record.part("source")?;
    let whose = match record.part("node") {
        Some(node) => format!("{node}, {source}"),
        None => source.to_owned(),
    };
    let priority = record.number("priority")?;
    let words = format!("the last advertisement of {whose}, priority {priority}");
    Some((then, words))
}

fn span(span: Duration) -> String {
    match span.as_millis() {
        millis @ 0..10_000 => format!("+{millis} ms"),
        millis => format!("+{}.{} s", millis / 1000, millis % 1000 / 100),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::report::{Fact, LastHeard, Report};
    use crate::agent::status::{Reason, StateName};
    use crate::agent::time::Instant;
    use crate::agent::values::{InstanceName, NodeName};
    use crate::control::clock::WallClock;
    use crate::control::events::fact::AgentFact;
    use crate::control::events::record::{Entry, What};

    fn records(facts: &[(u64, Option<&str>, Fact)]) -> Vec<Record> {
        let start = Instant::from_nanos(100_000_000_000);
        let clock = WallClock::new(start, "2026-11-29T16:13:12Z".parse().unwrap());
        let records = facts.iter().zip(1..).map(|((millis, name, fact), id)| {
            let at = start + Duration::from_millis(*millis);
            let instance = name.map(InstanceName::new);
            let fact = fact.clone();
            let what = What::Core(Report { at, instance, fact });
            Record::new(id, 1, "lb2", clock, &Entry { at, what })
        });
        records.collect()
    }

    #[test]
    fn a_failover_reads_as_one_story() {
        let last = LastHeard {
            source: "192.0.2.1".parse().unwrap(),
            node: Some(NodeName::new("lb1")),
            priority: 150,
            ago: Duration::from_millis(3609),
        };
        let patience = Duration::from_millis(3609);
        let silence = Fact::Silence {
            patience,
            last: Some(last),
        };
        let claim = Fact::Transition {
            from: StateName::Backup,
            to: StateName::Active,
            reason: Reason::NoResponse,
            obstacles: Vec::new(),
        };
        let held = Fact::AddressesHeld {
            held: 5,
            of: 6,
            addresses: vec!["192.0.2.10/24".parse().unwrap()],
        };
        let done = Fact::HookDone {
            group: None,
            hook: crate::agent::jobs::HookKind::Active,
            duration: Duration::from_millis(31),
        };
        let web = Some("web");
        let lost = Fact::NodeLost {
            node: NodeName::new("lb1"),
        };
        let records = records(&[
            (0, web, silence),
            (0, web, claim),
            (1, None, lost),
            (2, web, held),
            (2, web, Fact::Announced { addresses: 5 }),
            (45, web, done),
            (90_000, web, Fact::Reconfigured),
        ]);
        let mut story = Story::new(Colour::Off);
        let told: String = records.iter().map(|record| story.tell(record)).collect();
        insta::assert_snapshot!(told);
    }

    #[test]
    fn a_new_run_and_a_clock_that_was_set_make_no_spans() {
        let mut records = records(&[
            (500, Some("web"), Fact::Reconfigured),
            (600, Some("web"), Fact::Reconfigured),
            (400, Some("web"), Fact::Reconfigured),
        ]);
        records[1].run = 2;
        records[2].run = 2;
        let mut story = Story::new(Colour::Off);
        for record in &records {
            let line = story.tell(record);
            assert!(!line.contains('+'), "{line}");
        }
    }

    #[test]
    fn many_lines_are_one() {
        let at = Instant::from_nanos(0);
        let clock = WallClock::new(at, "2026-11-29T16:13:12Z".parse().unwrap());
        let fact = AgentFact::NotReloaded {
            by: "root".to_owned(),
            why: "one\ntwo".to_owned(),
        };
        let what = What::Agent(fact);
        let record = Record::new(1, 1, "lb2", clock, &Entry { at, what });
        let line = Story::new(Colour::Off).tell(&record);
        assert_eq!(line.lines().count(), 1, "{line}");
        let line = Story::new(Colour::On).tell(&record);
        assert!(line.starts_with("\u{1b}[31m") && line.ends_with("\u{1b}[0m\n"));
    }
}
