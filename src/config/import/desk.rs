//! What every part of the translation works with.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::ledger::Ledger;
use super::report::Report;
use super::source::Host;
use super::tables::{self, Meaning, Table};
use super::tree::Row;
use super::words::Word;
use crate::config::fault::{Place, Sources};

pub(super) struct Desk<'a> {
    pub host: &'a dyn Host,
    pub sources: Sources,
    pub ledger: Ledger,
    pub report: Report,
}

/// Lines of one block by their first word, those that are translated.
pub(super) type Rows<'r> = BTreeMap<&'r str, Vec<&'r Row>>;

impl Desk<'_> {
    pub fn left(&mut self, row: &Row, advice: impl Into<Cow<'static, str>>) {
        self.left_at(&row.all_places(), advice);
    }

    pub fn left_at(&mut self, places: &[Place], advice: impl Into<Cow<'static, str>>) {
        self.report
            .left(&self.sources, &mut self.ledger, places, advice);
    }

    pub fn note(&mut self, row: &Row, advice: impl Into<Cow<'static, str>>) {
        self.note_at(&row.all_places(), advice);
    }

    pub fn note_at(&mut self, places: &[Place], advice: impl Into<Cow<'static, str>>) {
        self.report
            .note(&self.sources, &mut self.ledger, places, advice);
    }

    pub fn note_words(&mut self, words: &[Word], advice: impl Into<Cow<'static, str>>) {
        let places: Vec<Place> = words
            .iter()
            .flat_map(|word| &word.places)
            .copied()
            .collect();
        if !places.is_empty() {
            self.note_at(&places, advice);
        }
    }

    /// Something to know of what is carried over.
    pub fn remark(&mut self, row: &Row, advice: impl Into<Cow<'static, str>>) {
        self.note_at(&row.places(), advice);
    }

    /// The lines of a block: those that are not translated get their advice
    /// at once.
    pub fn sort<'r>(
        &mut self,
        rows: impl IntoIterator<Item = &'r Row>,
        tables: &[&Table],
    ) -> Rows<'r> {
        let mut used = Rows::new();
        for row in rows {
            match tables::meaning(tables, row.keyword()) {
                Some(Meaning::Used) => used.entry(row.keyword()).or_default().push(row),
                Some(Meaning::Idle(why)) => self.note(row, why),
                Some(Meaning::Left(advice)) => self.left(row, advice),
                None => self.left(row, tables::UNKNOWN),
            }
        }
        used
    }

    /// The line that counts of those with one value: the last.
    pub fn last<'r>(&mut self, rows: &Rows<'r>, keyword: &str) -> Option<&'r Row> {
        let (last, earlier) = rows.get(keyword)?.split_last()?;
        for row in earlier {
            self.note(
                row,
                "said again further down: keepalived takes the last one",
            );
        }
        Some(last)
    }

    /// The value of the line that counts; what stands behind it is not read by
    /// keepalived either.
    pub fn value<'r>(&mut self, rows: &Rows<'r>, keyword: &str) -> Option<(&'r Row, &'r str)> {
        let row = self.last(rows, keyword)?;
        let Some((value, rest)) = row.arguments().split_first() else {
            self.left(row, "has no value here: keepalived takes its default");
            return None;
        };
        self.extra(rest);
        self.block_extra(row);
        Some((row, value.text.as_str()))
    }

    pub fn extra(&mut self, rest: &[Word]) {
        self.note_words(rest, "more than keepalived reads of such a line");
    }

    /// A block where there is none in keepalived.
    pub fn block_extra(&mut self, row: &Row) {
        for inner in row.block.iter().flatten() {
            self.left(inner, tables::UNKNOWN);
        }
    }

    /// The items of a block that is a list; words on the line of its `{` too
    /// are not read.
    pub fn items<'r>(&mut self, rows: &Rows<'r>, keyword: &str) -> Vec<&'r Row> {
        let mut items = Vec::new();
        for row in rows.get(keyword).into_iter().flatten() {
            self.extra(row.arguments());
            for place in row.words.iter().take(1).flat_map(|word| &word.places) {
                self.ledger.mark(*place, super::ledger::Fate::Structure);
            }
            items.extend(row.block.iter().flatten());
        }
        items
    }
}

/// A whole number as keepalived reads it.
pub(super) fn number(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits && !text.is_empty())
}

/// Seconds with up to six decimals, in microseconds.
pub(super) fn micros(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let fraction: String = fraction.chars().chain("000000".chars()).take(6).collect();
    let whole = match whole {
        "" => 0,
        whole => number(whole)?,
    };
    whole
        .checked_mul(1_000_000)?
        .checked_add(number(&fraction)?)
}
