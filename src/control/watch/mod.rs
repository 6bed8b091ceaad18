//! The view of `status --watch`, without its terminal: what it knows
//! ([`Model`]), what a key does, and the lines it shows ([`draw::draw`]).

pub mod draw;

use std::collections::VecDeque;

use jiff::Timestamp;

use super::document::{Document, Instance};
use super::events::record::Record;
use super::events::story::{Step, Story};
use super::moves::Wish;
use super::render::Colour;
use crate::agent::moves::Order;
use crate::agent::values::InstanceName;

/// Lines of events that are remembered; a higher terminal shows no more.
const STEPS_MAX: usize = 200;

/// A key, as far as it means something here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    Up,
    Down,
    Letter(char),
    /// Escape, or the interrupt key.
    Leave,
    Interrupt,
}

/// What is to be done about a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    Quit,
    Order(Wish),
}

/// What the agent last told, and what the operator is about to do.
#[derive(Debug)]
pub struct Model {
    pub(crate) document: Document,
    pub(crate) steps: VecDeque<Step>,
    story: Story,
    /// Since when, and why, the agent does not answer.
    pub(crate) away: Option<(Timestamp, String)>,
    /// By name: the list may change under it.
    pub(crate) chosen: Option<String>,
    pub(crate) question: Option<Question>,
    pub(crate) said: Option<Said>,
}

/// An order that waits for a yes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    pub(crate) text: String,
    wish: Wish,
}

/// What the last order has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    UnderWay(String),
    Done(String),
    Failed(String),
}

impl Model {
    pub fn new(document: Document) -> Self {
        let mut model = Self {
            document,
            steps: VecDeque::new(),
            story: Story::new(Colour::Off),
            away: None,
            chosen: None,
            question: None,
            said: None,
        };
        model.choose_one();
        model
    }

    /// The agent answered.
    pub fn update(&mut self, document: Document) {
        self.document = document;
        self.away = None;
        self.choose_one();
    }

    /// What has happened since it was last asked.
    pub fn add_events(&mut self, records: impl IntoIterator<Item = Record>) {
        for record in records {
            self.steps.extend(self.story.steps(&record));
        }
        let surplus = self.steps.len().saturating_sub(STEPS_MAX);
        self.steps.drain(..surplus);
    }

    /// It does not answer; what it told last stays to be seen.
    pub fn lose(&mut self, now: Timestamp, why: String) {
        let since = self.away.take().map_or(now, |(since, _)| since);
        self.away = Some((since, why));
    }

    /// What an order has come to.
    pub fn hear(&mut self, outcome: Result<String, String>) {
        self.said = Some(match outcome {
            Ok(done) => Said::Done(done),
            Err(why) => Said::Failed(why),
        });
    }

    fn choose_one(&mut self) {
        let known = |name: &String| self.document.instance(name).is_some();
        if !self.chosen.as_ref().is_some_and(known) {
            let first = self.document.instances.first();
            self.chosen = first.map(|instance| instance.name.clone());
            self.question = None;
        }
    }

    pub(crate) fn position(&self) -> usize {
        let mut names = self.document.instances.iter().map(|one| Some(&one.name));
        names
            .position(|name| name == self.chosen.as_ref())
            .unwrap_or(0)
    }

    pub(crate) fn chosen(&self) -> Option<&Instance> {
        self.document.instance(self.chosen.as_ref()?)
    }

    pub fn key(&mut self, key: Key) -> Option<Deed> {
        if let Some(question) = self.question.take() {
            return match key {
                Key::Interrupt => Some(Deed::Quit),
                Key::Letter('y') => {
                    self.said = Some(Said::UnderWay(question.text));
                    Some(Deed::Order(question.wish))
                }
                Key::Up | Key::Down | Key::Letter(_) | Key::Leave => None,
            };
        }
        // It was read; what is still under way stays to be seen.
        self.said.take_if(|said| !matches!(said, Said::UnderWay(_)));
        match key {
            Key::Interrupt | Key::Leave | Key::Letter('q') => return Some(Deed::Quit),
            Key::Up | Key::Letter('k') => self.go(self.position().checked_sub(1)),
            Key::Down | Key::Letter('j') => self.go(self.position().checked_add(1)),
            Key::Letter('h') => self.ask("hand over", |instance| Order::Handover {
                instance,
                to: None,
            }),
            Key::Letter('d') => self.ask("drain", |instance| Order::Drain {
                instance: Some(instance),
                span: None,
                force: false,
            }),
            Key::Letter('u') => self.ask("undrain", |instance| Order::Undrain {
                instance: Some(instance),
            }),
            Key::Letter(_) => {}
        }
        None
    }

    fn go(&mut self, to: Option<usize>) {
        let instance = to.and_then(|to| self.document.instances.get(to));
        if let Some(instance) = instance {
            self.chosen = Some(instance.name.clone());
        }
    }

    fn ask(&mut self, verb: &str, order: impl FnOnce(InstanceName) -> Order) {
        // One at a time, and nothing is ordered of who does not answer.
        let busy = matches!(self.said, Some(Said::UnderWay(_)));
        let (Some(name), false, None) = (&self.chosen, busy, &self.away) else {
            return;
        };
        let group = self.document.group_of(name);
        let with = group.map_or_else(String::new, |group| format!(", with group {}", group.name));
        self.question = Some(Question {
            text: format!("{verb} {name}{with}"),
            wish: Wish {
                node: None,
                order: order(InstanceName::new(name)),
            },
        });
    }
}

#[cfg(test)]
mod tests;
