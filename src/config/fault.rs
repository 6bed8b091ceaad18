//! What is wrong with a file, where, and what to write instead; collected
//! while the files are read. How it is shown: `diagnostic`.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::diagnostic::{Diagnostic, Excerpt, Faults, Severity, Warning};

/// Findings of each kind that are kept for one run; those beyond are counted,
/// so that a file of garbage cannot fill the memory or the terminal.
pub(super) const FINDINGS_MAX: usize = 500;
/// Characters of a line that are shown on each side of a finding.
const EXCERPT_SIDE_MAX: usize = 100;

/// Position of a file in [`Sources`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SourceId(usize);

/// Bytes of one file's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub source: SourceId,
    pub start: usize,
    pub end: usize,
}

/// The texts that were read, to quote from.
#[derive(Default)]
pub(super) struct Sources(Vec<Source>);

struct Source {
    path: Arc<str>,
    text: String,
    /// Where each line starts.
    lines: Vec<usize>,
}

impl Sources {
    pub fn add(&mut self, path: &Path, text: &str) -> SourceId {
        let newlines = text.match_indices('\n').map(|(at, _)| at + 1);
        self.0.push(Source {
            path: shown_path(path),
            text: text.to_owned(),
            lines: std::iter::once(0).chain(newlines).collect(),
        });
        SourceId(self.0.len() - 1)
    }

    /// As it is shown to people.
    pub fn path(&self, source: SourceId) -> &str {
        self.0.get(source.0).map_or("", |source| &source.path)
    }

    /// The file as it is shown, and the line, from 1.
    pub fn line(&self, place: Place) -> Option<(Arc<str>, usize)> {
        let source = self.0.get(place.source.0)?;
        let line = source.lines.partition_point(|start| *start <= place.start);
        Some((Arc::clone(&source.path), line))
    }

    /// What was read, in the order of reading.
    pub fn texts(&self) -> impl Iterator<Item = (SourceId, &str)> {
        let sources = self.0.iter().enumerate();
        sources.map(|(index, source)| (SourceId(index), source.text.as_str()))
    }

    fn excerpt(&self, place: Place, label: &str) -> Option<Excerpt> {
        let source = self.0.get(place.source.0)?;
        let line = source.lines.partition_point(|start| *start <= place.start);
        let start = source.lines.get(line.checked_sub(1)?).copied()?;
        let rest = source.text.get(start..)?;
        let text = rest.lines().next().unwrap_or("");
        let from = (place.start - start).min(text.len());
        let to = place.end.saturating_sub(start).clamp(from, text.len());
        let (before, marked, after) = (text.get(..from)?, text.get(from..to)?, text.get(to..)?);
        let column = before.chars().count() + 1;
        let cut = column > EXCERPT_SIDE_MAX + 1;
        let before = last_chars(before, EXCERPT_SIDE_MAX);
        let marked = first_chars(marked, EXCERPT_SIDE_MAX);
        let after = first_chars(after, EXCERPT_SIDE_MAX);
        Some(Excerpt {
            source: place.source,
            path: Arc::clone(&source.path),
            line,
            column,
            marked: before.len()..before.len() + marked.len(),
            text: masked(&[before, marked, after].concat()),
            cut,
            label: label.to_owned(),
        })
    }
}

fn first_chars(text: &str, count: usize) -> &str {
    let end = text.char_indices().nth(count).map(|(at, _)| at);
    end.and_then(|end| text.get(..end)).unwrap_or(text)
}

fn last_chars(text: &str, count: usize) -> &str {
    let last = count.saturating_sub(1);
    let start = text.char_indices().rev().nth(last).map(|(at, _)| at);
    start.and_then(|start| text.get(start..)).unwrap_or(text)
}

pub(super) fn shown_path(path: &Path) -> Arc<str> {
    path.display()
        .to_string()
        .replace(char::is_control, "?")
        .into()
}

/// Without the digits of a key that somebody has written into the file: what
/// is said of a fault stands in logs. As long as before.
fn masked(text: &str) -> String {
    const PREFIX: &str = "hex:";
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(PREFIX) {
        let (before, key) = rest.split_at(at + PREFIX.len());
        let digits = key.bytes().take_while(u8::is_ascii_hexdigit).count();
        out.push_str(before);
        out.extend(std::iter::repeat_n('*', digits));
        rest = key.get(digits..).unwrap_or("");
    }
    out + rest
}

/// A piece of the file for a message: in backticks, on one line, not long.
pub(super) fn quoted(text: &str) -> String {
    const CHARS_MAX: usize = 60;
    let text = masked(text);
    let short = first_chars(&text, CHARS_MAX);
    let dots = if short.len() < text.len() { "..." } else { "" };
    let mut out = String::from("`");
    for character in short.chars() {
        match character {
            '"' | '\'' | '\\' => out.push(character),
            // Control characters and those that reorder a terminal's line.
            _ => out.extend(character.escape_debug()),
        }
    }
    out + dots + "`"
}

/// A fault or a warning while its file is being read. In a box, because it
/// travels as the rare `Err` of small values.
#[derive(Clone, Debug)]
pub(super) struct Finding(Box<Parts>);

#[derive(Clone, Debug)]
struct Parts {
    title: String,
    place: Option<Place>,
    label: String,
    related: Vec<(Place, String)>,
    help: Option<String>,
    /// Other nodes of whom it is true, and not of this one.
    nodes: Vec<String>,
    /// Not worth saying unless it is true of every node.
    everywhere: bool,
}

impl Finding {
    fn new(place: Option<Place>, title: String, label: String) -> Self {
        Self(Box::new(Parts {
            title,
            place,
            label,
            related: Vec::new(),
            help: None,
            nodes: Vec::new(),
            everywhere: false,
        }))
    }

    /// `title` says what is wrong; `label` stands behind the caret.
    pub fn at(place: Place, title: impl Into<String>, label: impl Into<String>) -> Self {
        Self::new(Some(place), title.into(), label.into())
    }

    /// About the file as a whole.
    pub fn of_file(title: impl Into<String>) -> Self {
        Self::new(None, title.into(), String::new())
    }

    /// As a fault of its own, outside of a run of [`Findings`].
    pub fn into_fault(self, path: &Path, sources: &Sources) -> Diagnostic {
        diagnostic(Severity::Error, *self.0, path, sources)
    }

    /// What to write, and why.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.0.help = Some(help.into());
        self
    }

    /// A warning that only stands if it is one for every node.
    pub fn if_everywhere(mut self) -> Self {
        self.0.everywhere = true;
        self
    }

    /// The same, told of `place` where it has none.
    pub fn placed(mut self, place: Place) -> Self {
        self.0.place.get_or_insert(place);
        self
    }

    /// Another place that belongs to it.
    pub fn see(mut self, place: Place, label: impl Into<String>) -> Self {
        self.0.related.push((place, label.into()));
        self
    }
}

/// Collects what is found in one run.
#[derive(Default)]
pub(super) struct Findings {
    faults: Vec<Finding>,
    faults_dropped: usize,
    warnings: Vec<Finding>,
    warnings_dropped: usize,
    /// Values whose own fault is noted: what else is wrong there follows from
    /// it.
    spoilt: BTreeSet<Place>,
}

impl Findings {
    pub fn spoil(&mut self, place: Place) {
        self.spoilt.insert(place);
    }

    /// For another judgement of the same files.
    pub fn again(&self) -> Self {
        Self {
            spoilt: self.spoilt.clone(),
            ..Self::default()
        }
    }

    /// Takes over the faults that are not noted yet, as those of `node`.
    /// Nothing that touches one of `unknown` places, whose values are others
    /// there.
    pub fn adopt(&mut self, other: Self, node: &str, unknown: &BTreeSet<Place>) {
        let doubtful = |place: &Place| {
            let mut within = unknown.range(Place { end: 0, ..*place }..);
            within
                .next()
                .is_some_and(|one| one.source == place.source && one.end <= place.end)
        };
        let same = |a: &Parts, b: &Parts| (a.place, &a.title) == (b.place, &b.title);
        let theirs = other.warnings;
        let also_there = |mine: &Finding| theirs.iter().any(|one| same(&one.0, &mine.0));
        self.warnings
            .retain(|mine| !mine.0.everywhere || also_there(mine));
        for mut finding in other.faults {
            let related = finding.0.related.iter().map(|(place, _)| place);
            if finding.0.place.iter().chain(related).any(doubtful) {
                continue;
            }
            let known = self.faults.iter_mut();
            let known = known
                .map(|known| &mut known.0)
                .find(|known| same(known, &finding.0));
            match known {
                None => {
                    finding.0.nodes.push(node.to_owned());
                    self.fault(finding);
                }
                // Only what is no fault of this node itself.
                Some(known) if !known.nodes.is_empty() => {
                    if known.nodes.last().is_none_or(|last| last != node) {
                        known.nodes.push(node.to_owned());
                    }
                }
                Some(_) => {}
            }
        }
    }

    pub fn fault(&mut self, finding: Finding) {
        let place = finding.0.place;
        if place.is_some_and(|place| self.spoilt.contains(&place)) {
            return;
        }
        if self.faults.len() < FINDINGS_MAX {
            self.faults.push(finding);
        } else {
            self.faults_dropped += 1;
        }
    }

    pub fn warn(&mut self, finding: Finding) {
        if self.warnings.len() < FINDINGS_MAX {
            self.warnings.push(finding);
        } else {
            self.warnings_dropped += 1;
        }
    }

    pub fn warnings(&mut self, findings: impl IntoIterator<Item = Finding>) {
        findings.into_iter().for_each(|finding| self.warn(finding));
    }

    /// The value, or the fault noted and nothing.
    pub fn keep<T>(&mut self, outcome: Result<T, Finding>) -> Option<T> {
        outcome.map_err(|finding| self.fault(finding)).ok()
    }

    /// The warnings, in the order of the file, if nothing is wrong.
    pub fn into_result(self, path: &Path, sources: &Sources) -> Result<Vec<Warning>, Faults> {
        if self.faults.is_empty() {
            let warnings = resolve(Severity::Warning, self.warnings, path, sources);
            Ok(with_rest(warnings, self.warnings_dropped, path))
        } else {
            Err(Faults {
                list: resolve(Severity::Error, self.faults, path, sources),
                dropped: self.faults_dropped,
            })
        }
    }
}

fn resolve(
    severity: Severity,
    findings: Vec<Finding>,
    path: &Path,
    sources: &Sources,
) -> Vec<Diagnostic> {
    let mut findings: Vec<Parts> = findings.into_iter().map(|finding| *finding.0).collect();
    findings.sort_by_key(|finding| finding.place);
    // What an alias repeats is wrong once.
    findings.dedup_by(|a, b| (a.place, &a.title) == (b.place, &b.title));
    findings
        .into_iter()
        .map(|finding| diagnostic(severity, finding, path, sources))
        .collect()
}

fn diagnostic(severity: Severity, finding: Parts, path: &Path, sources: &Sources) -> Diagnostic {
    let primary = finding
        .place
        .and_then(|place| sources.excerpt(place, &finding.label));
    let related = finding
        .related
        .iter()
        .filter_map(|(place, label)| sources.excerpt(*place, label));
    let nodes = finding.nodes.iter().map(|node| format!("`{node}`"));
    let nodes: Vec<String> = nodes.collect();
    Diagnostic {
        severity,
        title: match nodes.is_empty() {
            true => finding.title,
            false => format!("for {}: {}", nodes.join(", "), finding.title),
        },
        path: shown_path(path),
        excerpts: primary.into_iter().chain(related).collect(),
        help: finding.help,
    }
}

fn with_rest(mut warnings: Vec<Warning>, dropped: usize, path: &Path) -> Vec<Warning> {
    if dropped > 0 {
        warnings.push(Diagnostic {
            severity: Severity::Warning,
            title: format!("{dropped} more warnings are not shown"),
            path: shown_path(path),
            excerpts: Vec::new(),
            help: None,
        });
    }
    warnings
}
