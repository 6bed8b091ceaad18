//! Clocks, which matter where advertisements are signed.

use std::time::Duration;

use super::super::facts::{Facts, Subject};
use super::super::finding::Finding;
use crate::control::words;

/// A difference below this is not worth a line.
const NOTICED: Duration = Duration::from_secs(2);

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings: Vec<Finding> = facts
        .subjects
        .iter()
        .flat_map(|subject| differences(facts, subject))
        .collect();
    findings.extend(unsynchronised(facts));
    findings
}

fn differences(facts: &Facts, subject: &Subject) -> Vec<Finding> {
    let heard = facts.speakers(subject).filter(|speaker| !speaker.outgoing);
    let heard = heard.filter_map(|speaker| {
        let ahead = speaker.clock_ahead_ms.filter(|_| subject.signed)?;
        let difference = Duration::from_millis(ahead.unsigned_abs());
        let direction = if ahead > 0 { "ahead of" } else { "behind" };
        let source = speaker.source;
        let what = format!(
            "the clock of {source} is {} {direction} this host's, by what it signs",
            words::span(difference)
        );
        let finding = match subject.clock_window {
            Some(window) if difference > window => {
                let why = format!(
                    "`anti_replay: time` accepts {} and refuses its advertisements, so both hosts \
                     become Active",
                    words::span(window)
                );
                Finding::error("clock-difference", &subject.name, what).why(why)
            }
            Some(_) | None if difference > NOTICED => {
                Finding::warning("clock-difference", &subject.name, what)
                    .why("a sender that was never heard before has to agree with this clock once")
            }
            Some(_) | None => return None,
        };
        Some(
            finding
                .run("timedatectl set-ntp true")
                .run("timedatectl status")
                .advise("on both hosts: the one whose clock is wrong may be either"),
        )
    });
    heard.collect()
}

fn unsynchronised(facts: &Facts) -> Option<Finding> {
    let timed = facts
        .subjects
        .iter()
        .any(|subject| subject.clock_window.is_some());
    let signed = facts.subjects.iter().any(|subject| subject.signed);
    if facts.clock.synchronised != Some(false) || !signed {
        return None;
    }
    let what = "no program keeps this host's clock right, as far as the kernel knows";
    let finding = match timed {
        true => Finding::warning("clock-unsynchronised", "host", what).why(
            "with `anti_replay: time` a clock that drifts away makes the nodes deaf to each other",
        ),
        false => Finding::note("clock-unsynchronised", "host", what)
            .why("a node that was never heard before has to agree with this clock once"),
    };
    Some(finding.run("timedatectl set-ntp true"))
}
