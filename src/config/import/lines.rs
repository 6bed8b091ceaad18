//! Lines of one file: comments off, definitions over several lines taken
//! together.

use std::rc::Rc;

use super::ledger::{Fate, Ledger};
use super::text::Text;
use crate::config::fault::{Finding, Place, SourceId};

/// A line as far as it means something.
#[derive(Debug)]
pub(super) struct Line {
    pub text: Text,
    /// It ended in a backslash, which is not in `text`.
    pub continued: Option<Place>,
}

/// A file that is being read.
pub(super) struct Reading {
    pub source: SourceId,
    /// The directory that relative names start from.
    pub directory: String,
    pub text: Rc<str>,
    at: usize,
}

impl Reading {
    pub fn new(source: SourceId, directory: String, text: &str) -> Self {
        Self {
            source,
            directory,
            text: text.into(),
            at: 0,
        }
    }

    /// The next line, empty ones too; nothing at the end. A quote without an
    /// end is noted.
    pub fn next(&mut self, ledger: &mut Ledger, faults: &mut Vec<Finding>) -> Option<Line> {
        let rest = self.text.get(self.at..).filter(|rest| !rest.is_empty())?;
        let length = rest.find('\n').map_or(rest.len(), |end| end + 1);
        let start = self.at;
        self.at += length;
        let line = rest.get(..length).unwrap_or(rest);
        let line = line.trim_end_matches(['\n', '\r']);
        Some(without_comment(self.source, start, line, ledger, faults))
    }
}

/// Comments begin with `!` or `#` outside of double quotes, unless a backslash
/// stands before it. Single quotes do not matter here.
fn without_comment(
    source: SourceId,
    start: usize,
    line: &str,
    ledger: &mut Ledger,
    faults: &mut Vec<Finding>,
) -> Line {
    let place = |from: usize, to: usize| Place {
        source,
        start: start + from,
        end: start + to,
    };
    let mut text = Text::default();
    let mut kept = 0;
    let mut quote = None;
    let mut end = line.len();
    let mut continued = None;
    let mut chars = line.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => quote = quote.map_or(Some(at), |_| None),
            '\\' => match chars.next() {
                Some((next, '#' | '!')) if quote.is_none() => {
                    text.push_file(source, start + kept, line.get(kept..at).unwrap_or(""));
                    ledger.mark(place(at, next), Fate::Structure);
                    kept = next;
                }
                Some(_) => {}
                None => {
                    continued = Some(place(at, line.len()));
                    end = at;
                }
            },
            '!' | '#' if quote.is_none() => {
                ledger.mark(place(at, line.len()), Fate::Structure);
                end = at;
                break;
            }
            _ => {}
        }
    }
    if let Some(at) = quote {
        faults.push(
            Finding::at(place(at, at + 1), "a quote without an end", "begins here").help(
                "quotes end on the line they begin on; write \\\" for a quote that is meant itself",
            ),
        );
    }
    text.push_file(source, start + kept, line.get(kept..end).unwrap_or(""));
    Line {
        text: text.trimmed(),
        continued,
    }
}
