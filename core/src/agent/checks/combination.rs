//! Checks that combine others. They are recomputed from their members whenever
//! one changed, and never counted up and down.

use std::collections::BTreeSet;

use super::{Check, Checks};
use crate::agent::jobs::CheckName;
use crate::agent::settings::{CheckSource, Combination};
use crate::agent::status::CheckState;
use crate::agent::world::Turn;

/// Of the text that says which members fail, and why.
const TEXT_BYTES_MAX: usize = 256;

impl Checks {
    /// Puts members before those that combine them. Settings have no circles;
    /// were there one, its checks would see each other's last state.
    pub(super) fn order(&mut self) {
        let mut ordered = Vec::new();
        let mut seen = BTreeSet::new();
        // What is left to look at; `true`: its members have been looked at.
        let mut open: Vec<(&CheckName, bool)> = Vec::new();
        for name in self.checks.keys() {
            open.push((name, false));
            while let Some((name, done)) = open.pop() {
                if done {
                    ordered.push(name.clone());
                    continue;
                }
                let Some(combination) = self.checks.get(name).and_then(combined) else {
                    continue;
                };
                if !seen.insert(name) {
                    continue;
                }
                open.push((name, true));
                let members = combination.members.iter();
                open.extend(members.map(|member| (member, false)));
            }
        }
        self.combinations = ordered;
    }

    /// Whether the state of one changed.
    pub(super) fn combine(&mut self, turn: &mut Turn<'_>) -> bool {
        let mut changed = false;
        for at in 0..self.combinations.len() {
            if let Some((check, state, text)) = self.amount(at) {
                changed |= check.amount_to(turn, state, text);
            }
        }
        changed
    }

    /// Before anything was heard: by what `initial` says of the members.
    pub(super) fn combine_at_first(&mut self) {
        for at in 0..self.combinations.len() {
            if let Some((check, state, text)) = self.amount(at) {
                check.begin_as(state, text);
            }
        }
    }

    /// What the members of the combination at this position amount to.
    fn amount(&mut self, at: usize) -> Option<(&mut Check, CheckState, String)> {
        let name = self.combinations.get(at)?;
        let check = self.checks.get(name)?;
        let combination = combined(check)?;
        let members = combination.members.iter();
        let members: Vec<&Check> = members.filter_map(|name| self.checks.get(name)).collect();
        let count = |state| {
            members
                .iter()
                .filter(|member| member.state == state)
                .count()
        };
        let (up, unknown) = (count(CheckState::Up), count(CheckState::Unknown));
        let state = if up >= combination.needed {
            CheckState::Up
        } else if up + unknown < combination.needed {
            CheckState::Down
        } else {
            check.settings.initial.unwrap_or(CheckState::Unknown)
        };
        let text = words(combination, up, &members);
        let name = name.clone();
        Some((self.checks.get_mut(&name)?, state, text))
    }
}

fn combined(check: &Check) -> Option<&Combination> {
    match &check.settings.source {
        CheckSource::Combination(combination) => Some(combination),
        CheckSource::Interface(_) | CheckSource::Elsewhere { .. } | CheckSource::File(_) => None,
    }
}

/// Such as `1 of 3 is up, 2 must be: api: connection refused; db`.
fn words(combination: &Combination, up: usize, members: &[&Check]) -> String {
    let total = combination.members.len();
    let is = if up == 1 { "is" } else { "are" };
    let mut text = format!("{up} of {total} {is} up");
    if up < combination.needed {
        text.push_str(&format!(", {} must be", combination.needed));
    }
    let failing = members
        .iter()
        .filter(|member| member.state == CheckState::Down);
    let failing = failing.map(|member| match member.output.as_str() {
        "" => member.settings.name.to_string(),
        output => format!("{}: {output}", member.settings.name),
    });
    let failing: Vec<String> = failing.collect();
    if !failing.is_empty() {
        text.push_str(": ");
        text.push_str(&failing.join("; "));
    }
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}
