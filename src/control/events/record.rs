//! One event as it is kept and told: JSON, one line each. Fields are added,
//! never renamed; the names of events and of their parts stay, too.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::fact::AgentFact;
use crate::agent::report::{self, Report};
use crate::agent::time::Instant;
use crate::control::clock::{Time, WallClock};

/// Characters of the words, and of each part; what is longer is cut.
const TEXT_MAX: usize = 1000;
const PART_MAX: usize = 500;
/// Items of a part that is a list.
const ITEMS_MAX: usize = 16;

/// What is handed in.
#[derive(Clone, Debug)]
pub struct Entry {
    pub at: Instant,
    pub what: What,
}

#[derive(Clone, Debug)]
pub enum What {
    Core(Report),
    Agent(AgentFact),
}

/// What is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Grows by one with each event of a run, and from run to run.
    pub id: u64,
    /// By the wall clock, which may have been set in between.
    pub time: Time,
    /// Which start of the agent on this node it was; grows by one.
    pub run: u64,
    /// On a clock that is never set; within a run differences of it are spans.
    pub monotonic_us: u64,
    /// `detail`, `info`, `warning` or `error`.
    pub level: String,
    /// What happened, in one word: `transition`, `silence`, ...
    pub event: String,
    /// This node.
    pub node: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Of a transition, as in `status`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The same for people.
    pub text: String,
    /// The parts of what happened, by name.
    #[serde(default)]
    pub details: BTreeMap<String, Value>,
}

impl Record {
    pub fn new(id: u64, run: u64, node: &str, clock: WallClock, entry: &Entry) -> Self {
        let (level, event, instance, reason, text, details) = match &entry.what {
            What::Core(Report { instance, fact, .. }) => (
                fact.level(),
                fact.name(),
                instance.as_ref().map(ToString::to_string),
                fact.reason().map(|reason| reason.name().to_owned()),
                fact.to_string(),
                fact.fields()
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), plain(value)))
                    .collect(),
            ),
            What::Agent(fact) => (
                fact.level(),
                fact.name(),
                None,
                None,
                fact.to_string(),
                fact.fields()
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), bounded(value)))
                    .collect(),
            ),
        };
        Self {
            id,
            time: clock.at(entry.at),
            run,
            monotonic_us: entry.at.as_nanos() / 1000,
            level: level.name().to_owned(),
            event: event.to_owned(),
            node: node.to_owned(),
            instance,
            reason,
            text: cut(text, TEXT_MAX),
            details,
        }
    }

    /// A part that is a whole number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.details.get(name)?.as_u64()
    }

    /// A part that is a text.
    pub fn part(&self, name: &str) -> Option<&str> {
        self.details.get(name)?.as_str()
    }
}

fn plain(value: report::Value) -> Value {
    bounded(match value {
        report::Value::Text(text) => Value::from(text),
        report::Value::Number(number) => Value::from(number),
        report::Value::Flag(flag) => Value::from(flag),
        report::Value::List(items) => Value::from(items),
    })
}

fn bounded(value: Value) -> Value {
    match value {
        Value::String(text) => Value::from(cut(text, PART_MAX)),
        Value::Array(items) => items.into_iter().take(ITEMS_MAX).map(bounded).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => value,
    }
}

fn cut(text: String, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        None => text,
        Some((end, _)) => {
            let mut text = text;
            text.truncate(end);
            text.push('…');
            text
        }
    }
}

/// An event of `id` seconds after 1970.
#[cfg(test)]
pub(crate) fn sample(id: u64, instance: &str) -> Record {
    let seconds = i64::try_from(id).unwrap();
    Record {
        id,
        time: Time(jiff::Timestamp::from_second(seconds).unwrap()),
        run: 1,
        monotonic_us: id * 1_000_000,
        level: "info".to_owned(),
        event: "reconfigured".to_owned(),
        node: "lb1".to_owned(),
        instance: Some(instance.to_owned()),
        reason: None,
        text: "the new configuration was applied".to_owned(),
        details: BTreeMap::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::report::Fact;
    use crate::agent::status::{Reason, StateName};
    use crate::agent::values::InstanceName;
    use serde_json::json;

    fn record(fact: Fact) -> Value {
        let at = Instant::from_nanos(1_234_567_890);
        let what = What::Core(Report {
            at,
            instance: Some(InstanceName::new("web")),
            fact,
        });
        let clock = WallClock::new(at, "2026-11-22T10:00:00.5Z".parse().unwrap());
        let record = Record::new(7, 3, "lb1", clock, &Entry { at, what });
        serde_json::to_value(record).unwrap()
    }

    /// Programs read this: what is here may be added to, and no more.
    #[test]
    fn a_transition_as_json() {
        let fact = Fact::Transition {
            from: StateName::Backup,
            to: StateName::Active,
            reason: Reason::NoResponse,
            obstacles: Vec::new(),
        };
        assert_eq!(
            record(fact),
            json!({
                "id": 7,
                "time": "2026-11-22T10:00:00.500Z",
                "run": 3,
                "monotonic_us": 1_234_567,
                "level": "info",
                "event": "transition",
                "node": "lb1",
                "instance": "web",
                "reason": "no-response",
                "text": "backup -> active (no-response)",
                "details": {"from": "backup", "to": "active", "obstacles": []},
            })
        );
    }

    #[test]
    fn whatever_a_hook_says_a_record_stays_small() {
        let fact = Fact::Transition {
            from: StateName::Backup,
            to: StateName::Fault,
            reason: Reason::Obstacle,
            obstacles: vec!["ö\n\u{1b}".repeat(100_000); 1000],
        };
        let line = record(fact).to_string();
        assert!(line.len() < 64 * 1024, "{}", line.len());
        assert!(!line.contains('\n'));
    }
}
