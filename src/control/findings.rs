//! What of an instance somebody may have to do something about, as sentences.

use std::time::Duration;

use jiff::Timestamp;

use super::document::{Conflict, Counters, Document, Drift, Hook, Instance, Obstacle, Rejection};
use super::{routing, words};

/// Addresses named one by one; the rest is counted.
pub(super) const ADDRESSES_SHOWN: usize = 3;

/// A line of a section: what it is, and the sentence.
#[derive(Debug)]
pub(super) struct Row {
    pub kind: &'static str,
    pub text: String,
}

impl Row {
    pub fn new(kind: &'static str, text: impl Into<String>) -> Self {
        Self {
            kind,
            text: text.into(),
        }
    }
}

/// What somebody may have to do something about.
pub(super) fn problems(document: &Document, instance: &Instance, now: Timestamp) -> Vec<Row> {
    let mut rows = misplaced(instance);
    rows.extend(routing::misplaced(instance));
    rows.extend(obstacles(instance, now));
    let priority = &instance.priority;
    if priority.base != priority.effective || !priority.terms.is_empty() {
        rows.push(Row::new("priority", words::priority(priority)));
    }
    rows.extend(drift(document, instance));
    rows.extend(conflicts(instance, now));
    rows.extend(rejections(document, instance, now));
    let failed = instance.hooks.iter().filter(|hook| hook.error.is_some());
    rows.extend(failed.map(|hook| Row::new("hook", last_run(hook, now))));
    if instance.counters.stalls > 0 {
        let text = format!(
            "{} since the start: the agent ran late by more than an interval; \
             the host is overloaded or was suspended",
            instance.counters.stalls
        );
        rows.push(Row::new("stalls", text));
    }
    rows.extend(errors(&instance.counters));
    rows
}

/// Addresses that are not where the state says.
fn misplaced(instance: &Instance) -> Vec<Row> {
    let active = instance.state == "active";
    let wrong: Vec<String> = instance
        .addresses
        .iter()
        .filter(|address| address.held != active)
        .map(|address| {
            let optional = if address.required {
                ""
            } else {
                " (not required)"
            };
            format!("{} on {}{optional}", address.address, address.interface)
        })
        .collect();
    if wrong.is_empty() {
        return Vec::new();
    }
    let list = words::list(&wrong, ADDRESSES_SHOWN);
    vec![if active {
        Row::new("not held", format!("{list}, although this node is Active"))
    } else if instance.reason == "shutdown" {
        Row::new(
            "still held",
            format!("{list}, until another node takes over"),
        )
    } else {
        let text = format!("{list}, although this node is not Active; two hosts may answer");
        Row::new("still held", text)
    }]
}

pub(super) fn obstacles(instance: &Instance, now: Timestamp) -> Vec<Row> {
    let row = |obstacle: &Obstacle| {
        let text = format!(
            "{}: {} ({}, for {})",
            obstacle.source,
            obstacle.text,
            obstacle.code,
            words::span(obstacle.since.age(now))
        );
        Row::new("obstacle", text)
    };
    instance.obstacles.iter().map(row).collect()
}

/// `lb2, 192.0.2.2`, or the address alone where the node is not known.
fn named(document: &Document, address: &str) -> String {
    let node = document.nodes.iter().find(|node| node.has_address(address));
    match node {
        Some(node) => format!("{}, {address}", node.name),
        None => address.to_owned(),
    }
}

pub(super) fn drift(document: &Document, instance: &Instance) -> Vec<Row> {
    let row = |drift: &Drift| {
        let text = format!(
            "{}: {} has {}; this node has {}; make the two configurations agree",
            drift.code,
            match &drift.node {
                Some(node) => node.clone(),
                None => named(document, &drift.source),
            },
            drift.theirs,
            drift.ours
        );
        Row::new("drift", text)
    };
    instance.drift.iter().map(row).collect()
}

pub(super) fn conflicts(instance: &Instance, now: Timestamp) -> Vec<Row> {
    let row = |conflict: &Conflict| {
        let text = format!(
            "{} claimed {} while it was ours, {} ago; another host has it too",
            conflict.hardware_address,
            conflict.address,
            words::span(conflict.last_seen.age(now))
        );
        Row::new("conflict", text)
    };
    instance.conflicts.iter().map(row).collect()
}

pub(super) fn rejections(document: &Document, instance: &Instance, now: Timestamp) -> Vec<Row> {
    let row = |rejection: &Rejection| {
        let text = format!(
            "{} of {}: {} ({}, the last {} ago)",
            words::count(
                usize::try_from(rejection.count).unwrap_or(usize::MAX),
                "advertisement",
                "advertisements"
            ),
            named(document, &rejection.source),
            rejection.text,
            rejection.kind,
            words::span(rejection.last_seen.age(now))
        );
        Row::new("rejected", text)
    };
    instance.rejections.iter().map(row).collect()
}

/// `change failed 5 min 12 s ago, after 40 ms: exit code 1: no such file`.
pub(super) fn last_run(hook: &Hook, now: Timestamp) -> String {
    let how = if hook.error.is_some() {
        "failed"
    } else {
        "succeeded"
    };
    let mut text = format!(
        "{} {how} {} ago, after {}",
        hook.hook,
        words::span(hook.ended.age(now)),
        words::span(Duration::from_millis(hook.duration_ms))
    );
    let said = hook.error.iter().chain([&hook.output]);
    for part in said.filter(|part| !part.is_empty()) {
        text.push_str(": ");
        text.push_str(part);
    }
    text
}

/// The counters that are not zero.
pub(super) fn errors(counters: &Counters) -> Vec<Row> {
    let counters = counters.errors.iter().filter(|(_, value)| **value > 0);
    counters
        .map(|(name, value)| {
            let text = match words::counter(name) {
                Some(words) => format!("{value} since the start: {words} ({name})"),
                None => format!("{value} since the start: {name}"),
            };
            Row::new("error", text)
        })
        .collect()
}
