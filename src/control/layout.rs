//! Lines for people: tables within the width, and colours.

use comfy_table::presets::NOTHING;
use comfy_table::{ColumnConstraint, ContentArrangement, Table};

use super::findings::Row;

/// Fits the smallest usual terminal, and a mail.
pub const COLUMNS: u16 = 80;

/// Colours repeat what words already say, so they may be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    Off,
    On,
}

pub(super) fn pairs(rows: &[Row]) -> String {
    let mut table = plain_table();
    for row in rows {
        table.add_row([row.kind, &row.text]);
    }
    table.set_constraints([ColumnConstraint::ContentWidth]);
    if let Some(column) = table.column_mut(0) {
        column.set_padding((2, 2));
    }
    table.trim_fmt()
}

pub(crate) fn wrapped(text: &str) -> String {
    let mut table = plain_table();
    table.add_row([text]);
    if let Some(column) = table.column_mut(0) {
        column.set_padding((0, 0));
    }
    table.trim_fmt()
}

pub(crate) fn plain_table() -> Table {
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(COLUMNS);
    table
}

// A table counts the characters of an escape sequence as columns. So a state
// is first marked with invisible characters, which have no width (and which
// the client lets through from nobody), and painted when all is laid out.
pub(super) const MARKS: [(char, &str); 4] = [
    ('\u{2061}', "\x1b[32m"),
    ('\u{2062}', "\x1b[33m"),
    ('\u{2063}', "\x1b[1;31m"),
    ('\u{2064}', "\x1b[0m"),
];

pub(crate) fn marked(state: &str, colour: Colour) -> String {
    let [good, waiting, bad, end] = MARKS.map(|(mark, _)| mark);
    let mark = match (colour, state) {
        (Colour::Off, _) | (_, "backup" | "this node" | "note") => return state.to_owned(),
        (Colour::On, "active" | "up" | "reachable" | "works") => good,
        (Colour::On, "fault" | "down" | "unreachable" | "nobody" | "error" | "fails") => bad,
        (Colour::On, _) => waiting,
    };
    format!("{mark}{state}{end}")
}

pub(crate) fn paint(text: &str) -> String {
    MARKS.iter().fold(text.to_owned(), |text, (mark, code)| {
        text.replace(*mark, code)
    })
}
