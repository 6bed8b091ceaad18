//! The list of what was not carried over, and of what differs.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::ledger::{Fate, Ledger};
use crate::config::fault::{Place, Sources, quoted};

/// Lines that one entry names; more are counted.
const LINES_SHOWN_MAX: usize = 12;

/// Whether there is something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Not carried over: to be done by hand.
    Left,
    /// Behaves differently, or needs nothing.
    Noted,
}

/// Where something stands: the file as it was named, and lines of it.
pub type Lines = BTreeMap<Arc<str>, Vec<usize>>;

/// One thing that is to be known, and all the lines that it concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub kind: Kind,
    /// The words of the first of them, shortened.
    pub words: String,
    pub advice: String,
    pub lines: Lines,
}

/// Entries in the order in which they were found; those of the same advice are
/// one.
#[derive(Debug, Default)]
pub(super) struct Report {
    entries: Vec<Entry>,
    known: BTreeMap<(Kind, String, String), usize>,
}

impl Report {
    pub fn left(
        &mut self,
        sources: &Sources,
        ledger: &mut Ledger,
        places: &[Place],
        advice: impl Into<Cow<'static, str>>,
    ) {
        self.add(Kind::Left, sources, ledger, places, advice.into());
    }

    pub fn note(
        &mut self,
        sources: &Sources,
        ledger: &mut Ledger,
        places: &[Place],
        advice: impl Into<Cow<'static, str>>,
    ) {
        self.add(Kind::Noted, sources, ledger, places, advice.into());
    }

    fn add(
        &mut self,
        kind: Kind,
        sources: &Sources,
        ledger: &mut Ledger,
        places: &[Place],
        advice: Cow<'static, str>,
    ) {
        let fate = match kind {
            Kind::Left => Fate::Left,
            Kind::Noted => Fate::Noted,
        };
        for place in places {
            ledger.mark(*place, fate);
        }
        let words = words(sources, places);
        self.say(kind, sources, places, words, advice.into_owned());
    }

    /// Without a word on what becomes of the places.
    pub fn say(
        &mut self,
        kind: Kind,
        sources: &Sources,
        places: &[Place],
        words: String,
        advice: String,
    ) {
        // What is to be done is told of each word, what differs once for all.
        let first = words.split(' ').next().filter(|_| kind == Kind::Left);
        let key = (kind, first.unwrap_or("").to_owned(), advice);
        let index = match self.known.get(&key) {
            Some(index) => *index,
            None => {
                self.known.insert(key.clone(), self.entries.len());
                self.entries.push(Entry {
                    kind,
                    words,
                    advice: key.2,
                    lines: Lines::new(),
                });
                self.entries.len() - 1
            }
        };
        let Some(entry) = self.entries.get_mut(index) else {
            return;
        };
        for (path, line) in places.iter().filter_map(|place| sources.line(*place)) {
            let lines = entry.lines.entry(path).or_default();
            if lines.last() != Some(&line) {
                lines.push(line);
            }
        }
    }

    /// In the order of the files, what is to be done first.
    pub fn finish(mut self) -> Vec<Entry> {
        for lines in self
            .entries
            .iter_mut()
            .flat_map(|entry| entry.lines.values_mut())
        {
            lines.sort_unstable();
            lines.dedup();
        }
        let first = |entry: &Entry| {
            let mut firsts = entry
                .lines
                .values()
                .filter_map(|lines| lines.first().copied());
            firsts.next()
        };
        self.entries
            .sort_by_key(|entry| (entry.kind, entry.lines.keys().next().cloned(), first(entry)));
        self.entries
    }
}

/// What stands there, on one line.
fn words(sources: &Sources, places: &[Place]) -> String {
    const PLACES_MAX: usize = 12;
    let line = |place: &Place| sources.line(*place);
    let first = places.first().and_then(line);
    let same = places.iter().take_while(|place| line(place) == first);
    let texts = sources.texts();
    let texts: BTreeMap<_, _> = texts.collect();
    let mut words: Vec<String> = Vec::new();
    let mut end = None;
    for place in same.take(PLACES_MAX) {
        let text = texts.get(&place.source);
        let text = text
            .and_then(|text| text.get(place.start..place.end))
            .unwrap_or("");
        match words
            .last_mut()
            .filter(|_| end == Some((place.source, place.start)))
        {
            Some(word) => word.push_str(text),
            None => words.push(text.to_owned()),
        }
        end = Some((place.source, place.end));
    }
    secretless(&words.join(" "))
}

/// A password and a key are not repeated.
fn secretless(line: &str) -> String {
    if let Some((before, _)) = line.split_once("auth_pass") {
        return quoted(&format!("{before}auth_pass ..."));
    }
    let mut split = line.split_whitespace();
    split.by_ref().find(|word| *word == "key");
    match (split.next(), split.next()) {
        (Some(number), Some(value)) if !value.starts_with("file:") => {
            quoted(&format!("key {number} ..."))
        }
        _ => quoted(line),
    }
}

impl Entry {
    /// `keepalived.conf:3, 17-40`.
    pub fn place(&self) -> String {
        let mut parts = Vec::new();
        for (path, lines) in &self.lines {
            let runs = runs(lines);
            let mut shown: Vec<String> = runs.iter().take(LINES_SHOWN_MAX).cloned().collect();
            if runs.len() > shown.len() {
                shown.push(format!("and {} more", runs.len() - shown.len()));
            }
            parts.push(format!("{path}:{}", shown.join(", ")));
        }
        parts.join("; ")
    }
}

/// Ascending numbers, neighbours taken together.
fn runs(lines: &[usize]) -> Vec<String> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for line in lines {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 >= *line => *last = *line,
            _ => runs.push((*line, *line)),
        }
    }
    let shown = runs.into_iter().map(|(first, last)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    });
    shown.collect()
}
