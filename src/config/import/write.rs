//! What stands above the result: where it comes from, and what it lacks.

use std::fmt::Write;
use std::path::Path;

use super::report::{Entry, Kind};

const WIDTH: usize = 96;

pub(super) fn header(path: &Path, entries: &[Entry]) -> String {
    let mut out = String::new();
    let made = format!("Made by `vipward import` from {}.", path.display());
    wrapped(&made, "# ", &mut out);
    out.push_str(
        "# Read it, judge it with `vipward validate`, and give it to one host at a time.\n",
    );
    let left: Vec<&Entry> = entries
        .iter()
        .filter(|entry| entry.kind == Kind::Left)
        .collect();
    if !left.is_empty() {
        out.push_str("#\n# Not carried over, to be done by hand:\n");
        for entry in left {
            let head = format!("{} {}", entry.place(), entry.words);
            wrapped(&head, "#   ", &mut out);
            wrapped(&entry.advice, "#       ", &mut out);
        }
    }
    out.push('\n');
    out
}

/// The list for people: what is to be done, then what differs.
pub fn list(entries: &[Entry]) -> String {
    let mut out = String::new();
    for (kind, title) in [
        (Kind::Left, "Not carried over, to be done by hand:"),
        (Kind::Noted, "Carried over or not needed, and good to know:"),
    ] {
        let mut own = entries.iter().filter(|entry| entry.kind == kind).peekable();
        if own.peek().is_some() {
            let _ = writeln!(out, "{title}\n");
        }
        for entry in own {
            let head = format!("{} {}", entry.place(), entry.words);
            wrapped(&head, "  ", &mut out);
            wrapped(&entry.advice, "      ", &mut out);
            out.push('\n');
        }
    }
    out
}

/// Lines of at most `WIDTH` characters, each behind `lead`; what is no plain
/// text cannot end a comment.
fn wrapped(text: &str, lead: &str, out: &mut String) {
    let text = text.replace(char::is_control, "?");
    let mut line = String::new();
    let mut flush = |line: &mut String| {
        if !line.is_empty() {
            let _ = writeln!(out, "{lead}{line}");
            line.clear();
        }
    };
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let length = lead.len() + line.chars().count() + 1 + word.chars().count();
        if length > WIDTH {
            flush(&mut line);
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    flush(&mut line);
}
