//! Checks, for people.

use comfy_table::ColumnConstraint;
use jiff::Timestamp;

use super::document::{Check, Document};
use super::layout::{COLUMNS, Colour, marked, plain_table};
use super::words;

/// Of a check's name; longer ones are cut, since each check has one line.
const CHECK_NAME_SHOWN: usize = 30;

/// One line each; what they printed is cut to what room there is.
pub(super) fn table(document: &Document, now: Timestamp, colour: Colour) -> String {
    let header = ["CHECK", "STATE", "FOR", "LAST RESULT"];
    let names = document.checks.iter().map(|check| &check.name);
    let names: Vec<String> = names.map(|n| words::cut(n, CHECK_NAME_SHOWN)).collect();
    let ages = document.checks.iter().map(|check| check.since.age(now));
    let ages: Vec<String> = ages.map(words::span).collect();
    let states: Vec<&String> = document.checks.iter().map(|check| &check.state).collect();
    let room = usize::from(COLUMNS)
        .saturating_sub(column_width("CHECK", &names))
        .saturating_sub(column_width("STATE", &states))
        .saturating_sub(column_width("FOR", &ages));
    let mut table = plain_table();
    table.set_header(header);
    for ((check, name), age) in document.checks.iter().zip(names).zip(ages) {
        let state = marked(&check.state, colour);
        table.add_row([name, state, age, words::cut(&last_result(check), room)]);
    }
    let whole = ColumnConstraint::ContentWidth;
    table.set_constraints([whole; 3]);
    for (column, padding) in [(0, (0, 1)), (3, (1, 0))] {
        if let Some(column) = table.column_mut(column) {
            column.set_padding(padding);
        }
    }
    table.trim_fmt()
}

/// What the last run said, with how many speak against the state so far.
pub(super) fn last_result(check: &Check) -> String {
    if check.state == "unknown" && check.output.is_empty() {
        return "waiting for the first result".to_owned();
    }
    let kind = match check.state.as_str() {
        "up" => "failed",
        _ => "passed",
    };
    let run = match check.against {
        0 => return check.output.clone(),
        1 => kind.to_owned(),
        times => format!("{kind} {times} times"),
    };
    if check.output.is_empty() {
        run
    } else {
        format!("{run}: {}", check.output)
    }
}

/// With the two columns of padding to the next.
fn column_width(title: &str, cells: &[impl AsRef<str>]) -> usize {
    let cells = cells.iter().map(|cell| cell.as_ref().chars().count());
    cells.max().unwrap_or_default().max(title.len()) + 2
}
