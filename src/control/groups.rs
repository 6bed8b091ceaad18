//! Groups, in the document and for people.

use comfy_table::ColumnConstraint;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::document::{Document, Hook, Time, WallClock};
use super::findings::{Row, last_run};
use super::layout::{Colour, marked, plain_table};
use super::words;
use crate::agent::status;

/// Of a name; longer ones are cut, since each group has one line.
const NAME_SHOWN: usize = 20;
/// Members named one by one; the rest is counted.
const MEMBERS_SHOWN: usize = 4;

/// Instances that move together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    pub name: String,
    /// Of every member; `initialize` while they differ and none is in fault.
    pub state: String,
    pub since: Time,
    /// Sorted by name.
    pub members: Vec<String>,
    /// The last run of each of its hooks that ran.
    #[serde(default)]
    pub hooks: Vec<Hook>,
}

impl Group {
    pub(super) fn new(group: &status::GroupStatus, clock: WallClock) -> Self {
        Self {
            name: group.name.to_string(),
            state: group.state.to_string(),
            since: clock.at(group.since),
            members: group.members.iter().map(ToString::to_string).collect(),
            hooks: group
                .hooks
                .iter()
                .map(|hook| Hook::new(hook, clock))
                .collect(),
        }
    }
}

/// One line each.
pub(super) fn table(document: &Document, now: Timestamp, colour: Colour) -> String {
    let mut table = plain_table();
    table.set_header(["GROUP", "STATE", "FOR", "MEMBERS"]);
    for group in &document.groups {
        table.add_row([
            words::cut(&group.name, NAME_SHOWN),
            marked(&group.state, colour),
            words::span(group.since.age(now)),
            words::list(&group.members, MEMBERS_SHOWN),
        ]);
    }
    table.set_constraints([ColumnConstraint::ContentWidth; 3]);
    if let Some(column) = table.column_mut(0) {
        column.set_padding((0, 1));
    }
    table.trim_fmt()
}

/// Hooks that failed; all else is its members'.
pub(super) fn problems(group: &Group, now: Timestamp) -> Vec<Row> {
    let failed = group.hooks.iter().filter(|hook| hook.error.is_some());
    failed
        .map(|hook| Row::new("hook", last_run(hook, now)))
        .collect()
}

/// For one of its members.
pub(super) fn in_words(group: &Group) -> String {
    let members = words::list(&group.members, MEMBERS_SHOWN);
    format!("{}, {}: {members} move together", group.name, group.state)
}
