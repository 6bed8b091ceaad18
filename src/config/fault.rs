//! What is wrong with a file, where, and what to write instead; and how that
//! is shown to people.

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

/// Findings of each kind that are kept for one run; those beyond are counted,
/// so that a file of garbage cannot fill the memory or the terminal.
const FINDINGS_MAX: usize = 500;
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

fn shown_path(path: &Path) -> Arc<str> {
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
}

impl Finding {
    fn new(place: Option<Place>, title: String, label: String) -> Self {
        Self(Box::new(Parts {
            title,
            place,
            label,
            related: Vec::new(),
            help: None,
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
}

impl Findings {
    pub fn fault(&mut self, finding: Finding) {
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
    Diagnostic {
        severity,
        title: finding.title,
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Severity {
    Error,
    Warning,
}

/// One line of a file with a part of it marked.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Excerpt {
    path: Arc<str>,
    line: usize,
    /// In characters, from 1.
    column: usize,
    /// The line, or the surroundings of the place when it is long.
    text: String,
    /// The line began earlier.
    cut: bool,
    /// Bytes of `text`.
    marked: Range<usize>,
    label: String,
}

/// A fault or a warning with all that is needed to show it.
///
/// `Display` is one line, `path:line:column: what (what to write)`, for logs;
/// [`Diagnostic::render`] quotes the line and marks the place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    severity: Severity,
    title: String,
    path: Arc<str>,
    /// The place first, then those that belong to it.
    excerpts: Vec<Excerpt>,
    help: Option<String>,
}

/// Legal, and unwise.
pub type Warning = Diagnostic;

/// Whether terminal colours are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    Plain,
    Coloured,
}

impl Diagnostic {
    /// Control characters are left out.
    pub(super) fn helped(mut self, help: String) -> Self {
        self.help = Some(help);
        self
    }

    pub(super) fn titled(mut self, title: String) -> Self {
        self.title = title.replace(char::is_control, "?");
        self
    }

    /// Without its place: what, and what to write.
    pub(super) fn said(&self) -> String {
        let labels = self.excerpts.iter().take(1).map(|excerpt| &excerpt.label);
        let parts = labels.filter(|label| !label.is_empty()).chain(&self.help);
        let mut said = self.title.clone();
        for part in parts {
            said.push_str("; ");
            said.push_str(part);
        }
        said
    }

    /// For sorting: line and column, those without a place first.
    pub(super) fn position(&self) -> Option<(usize, usize)> {
        self.excerpts.first().map(|at| (at.line, at.column))
    }

    /// Several lines, without a newline at the end.
    pub fn render(&self, style: Style) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group = Group::with_title(level.primary_title(self.title.as_str()));
        if self.excerpts.is_empty() {
            group = group.element(Origin::path(self.path.as_ref()));
        }
        for (index, excerpt) in self.excerpts.iter().enumerate() {
            let kind = match index {
                0 => AnnotationKind::Primary,
                _ => AnnotationKind::Context,
            };
            let mut mark = kind.span(excerpt.marked.clone());
            if !excerpt.label.is_empty() {
                mark = mark.label(excerpt.label.as_str());
            }
            let mut snippet = Snippet::source(excerpt.text.as_str())
                .line_start(excerpt.line)
                .annotation(mark);
            if excerpt.cut {
                // The column cannot be counted in what is left of the line.
                let origin = Origin::path(excerpt.path.as_ref());
                let origin = origin.line(excerpt.line).char_column(excerpt.column);
                group = group.element(origin);
            } else {
                snippet = snippet.path(excerpt.path.as_ref());
            }
            group = group.element(snippet);
        }
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        let renderer = match style {
            Style::Plain => Renderer::plain(),
            Style::Coloured => Renderer::styled(),
        };
        renderer.render(&[group])
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.excerpts.first() {
            Some(at) => write!(f, "{}:{}:{}: {}", at.path, at.line, at.column, self.title)?,
            None => write!(f, "{}: {}", self.path, self.title)?,
        }
        for label in self.excerpts.iter().map(|excerpt| &excerpt.label) {
            if !label.is_empty() {
                write!(f, "; {label}")?;
            }
        }
        match &self.help {
            Some(help) => write!(f, "; {help}"),
            None => Ok(()),
        }
    }
}

/// Everything that is wrong with a configuration; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults {
    list: Vec<Diagnostic>,
    dropped: usize,
}

impl Faults {
    /// A file that could not be read at all.
    pub(super) fn of_file(path: &Path, what: impl Into<String>, help: &str) -> Self {
        Self {
            list: vec![Diagnostic {
                severity: Severity::Error,
                title: what.into(),
                path: shown_path(path),
                excerpts: Vec::new(),
                help: Some(help.to_owned()),
            }],
            dropped: 0,
        }
    }

    /// Faults of one file, in any order; nothing when there is none.
    pub(super) fn of_several(mut list: Vec<Diagnostic>) -> Option<Self> {
        list.sort_by_key(Diagnostic::position);
        // What an alias repeats is wrong once.
        list.dedup_by(|a, b| (a.position(), &a.title) == (b.position(), &b.title));
        let dropped = list.len().saturating_sub(FINDINGS_MAX);
        list.truncate(FINDINGS_MAX);
        (!list.is_empty()).then_some(Self { list, dropped })
    }

    /// In the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.list.iter()
    }

    /// Those not kept for being too many included.
    pub fn count(&self) -> usize {
        self.list.len().saturating_add(self.dropped)
    }

    /// All of them, an empty line between two, how many at the end.
    pub fn render(&self, style: Style) -> String {
        let mut parts: Vec<String> = self.iter().map(|fault| fault.render(style)).collect();
        let mut summary = match self.count() {
            1 => "1 fault; the file was not used".to_owned(),
            count => format!("{count} faults; the file was not used"),
        };
        if self.dropped > 0 {
            summary = format!("{summary}; the first {} are shown", self.list.len());
        }
        parts.push(summary);
        parts.join("\n\n")
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(Style::Plain))
    }
}

impl std::error::Error for Faults {}
