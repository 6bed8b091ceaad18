//! A fault or a warning with all that is needed to show it, and how it is
//! shown to people.

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use super::fault::{FINDINGS_MAX, SourceId, shown_path};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Severity {
    Error,
    Warning,
}

/// One line of a file with a part of it marked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Excerpt {
    pub(super) source: SourceId,
    pub(super) path: Arc<str>,
    pub(super) line: usize,
    /// In characters, from 1.
    pub(super) column: usize,
    /// The line, or the surroundings of the place when it is long.
    pub(super) text: String,
    /// The line began earlier.
    pub(super) cut: bool,
    /// Bytes of `text`.
    pub(super) marked: Range<usize>,
    pub(super) label: String,
}

/// A fault or a warning with all that is needed to show it.
///
/// `Display` is one line, `path:line:column: what (what to write)`, for logs;
/// [`Diagnostic::render`] quotes the line and marks the place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    pub(super) severity: Severity,
    pub(super) title: String,
    pub(super) path: Arc<str>,
    /// The place first, then those that belong to it.
    pub(super) excerpts: Vec<Excerpt>,
    pub(super) help: Option<String>,
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

    /// For sorting: file, line and column, those without a place first.
    pub(super) fn position(&self) -> Option<(SourceId, usize, usize)> {
        let first = self.excerpts.first();
        first.map(|at| (at.source, at.line, at.column))
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
    pub(super) list: Vec<Diagnostic>,
    pub(super) dropped: usize,
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
