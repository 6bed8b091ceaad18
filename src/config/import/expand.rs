//! From files to lines as keepalived understands them: conditions on the host,
//! definitions, sequences, included files.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::ledger::{Fate, Ledger};
use super::lines::{Line, Reading};
use super::replace::{self, Definition, Definitions};
use super::report::Report;
use super::sequence::{self, Repeat};
use super::source::{self, Host};
use super::text::Text;
use super::tree::Builder;
use super::words;
use crate::config::diagnostic::Faults;
use crate::config::fault::{Finding, Findings, Place, Sources};

/// Lines that all files come to.
const LINES_MAX: usize = 100_000;
/// Bytes of them.
const BYTES_MAX: usize = 16 * 1024 * 1024;
/// Files, repetitions and definitions within each other.
const DEPTH_MAX: usize = 32;
const INCLUDES: [&str; 6] = [
    "include", "includer", "includem", "includew", "includeb", "includea",
];

/// What is being read, the innermost last.
enum Work {
    /// With its name from / on.
    File(Reading, PathBuf),
    /// Files of one `include`, those not yet read, and where it stands.
    Files(VecDeque<PathBuf>, Text),
    Lines(Rc<[Text]>, usize),
    Repeat(Repeat),
}

/// All that one run reads and notes.
pub(super) struct Expansion<'a> {
    pub host: &'a dyn Host,
    /// What `@` is followed by on lines for this host.
    pub config_id: String,
    pub sources: Sources,
    pub ledger: Ledger,
    pub report: Report,
    pub findings: Findings,
    definitions: Definitions,
    work: Vec<Work>,
    builder: Builder,
    files: usize,
    lines: usize,
    bytes_read: usize,
    bytes: usize,
    /// Nothing more is read after that.
    stopped: bool,
}

impl<'a> Expansion<'a> {
    pub fn new(host: &'a dyn Host, config_id: String) -> Self {
        Self {
            host,
            config_id,
            sources: Sources::default(),
            ledger: Ledger::default(),
            report: Report::default(),
            findings: Findings::default(),
            definitions: Definitions::default(),
            work: Vec::new(),
            builder: Builder::default(),
            files: 0,
            lines: 0,
            bytes_read: 0,
            bytes: 0,
            stopped: false,
        }
    }

    /// Reads everything; the blocks, as far as there were no faults.
    ///
    /// # Errors
    ///
    /// The first file cannot be read.
    pub fn run(&mut self, path: &Path) -> Result<Vec<super::tree::Row>, Faults> {
        let text = self.host.read(path)?;
        self.open(path, &text);
        while !self.stopped {
            let Some(work) = self.work.last_mut() else {
                break;
            };
            match work {
                Work::File(reading, _) => {
                    let mut faults = Vec::new();
                    let line = reading.next(&mut self.ledger, &mut faults);
                    faults
                        .into_iter()
                        .for_each(|fault| self.findings.fault(fault));
                    match line {
                        None => drop(self.work.pop()),
                        Some(line) => self.file_line(line),
                    }
                }
                Work::Files(files, text) => {
                    let text = text.clone();
                    match files.pop_front() {
                        None => drop(self.work.pop()),
                        Some(path) => self.include_file(&path, &text),
                    }
                }
                Work::Lines(lines, next) => {
                    let line = lines.get(*next).cloned();
                    *next += 1;
                    match line {
                        None => drop(self.work.pop()),
                        Some(line) => self.line(line),
                    }
                }
                Work::Repeat(repeat) => match repeat.next() {
                    None => drop(self.work.pop()),
                    Some((values, rest)) => {
                        for (name, value) in values {
                            self.definitions.set_value(name, value);
                        }
                        self.line(rest);
                    }
                },
            }
        }
        for place in self.definitions.unused() {
            self.report.note(
                &self.sources,
                &mut self.ledger,
                &[place],
                "a definition that is not used",
            );
        }
        let builder = std::mem::take(&mut self.builder);
        if self.stopped {
            // What is open then is no fault of its own.
            return Ok(Vec::new());
        }
        Ok(builder.finish(&mut self.findings))
    }

    fn open(&mut self, path: &Path, text: &str) {
        self.files += 1;
        self.bytes_read += text.len();
        let absolute = self.host.absolute(path);
        let directory = absolute.parent().unwrap_or(Path::new("/"));
        let directory = directory.to_string_lossy().into_owned();
        let source = self.sources.add(path, text);
        self.ledger.open(source, text);
        let reading = Reading::new(source, directory, text);
        self.work.push(Work::File(reading, absolute));
    }

    fn stop(&mut self, finding: Finding) {
        self.findings.fault(finding);
        self.stopped = true;
    }

    /// A line as it stands in a file; those of a definition are taken at once.
    fn file_line(&mut self, line: Line) {
        let Some(continued) = line.continued else {
            return self.line(line.text);
        };
        let Some(text) = self.condition(line.text) else {
            return;
        };
        let Some((name, value)) = replace::definition(&text) else {
            // Elsewhere a backslash at the end is a word of the line.
            let mut text = text;
            text.push_instead(" \\\\", continued);
            return self.line(text);
        };
        self.ledger.mark(continued, Fate::Structure);
        let mut lines = Vec::new();
        if !value.is_empty() {
            lines.push(value);
        }
        while let Some(Work::File(reading, _)) = self.work.last_mut() {
            let mut faults = Vec::new();
            let Some(next) = reading.next(&mut self.ledger, &mut faults) else {
                break;
            };
            faults
                .into_iter()
                .for_each(|fault| self.findings.fault(fault));
            if !next.text.is_empty() {
                lines.push(next.text);
            }
            match next.continued {
                None => break,
                Some(place) => self.ledger.mark(place, Fate::Structure),
            }
        }
        let whole = text.places(0..text.chars.len());
        self.define(name, whole, Definition::lines(lines));
    }

    fn define(&mut self, name: String, whole: Vec<Place>, definition: Definition) {
        let fits = self.definitions.set(name, whole.clone(), definition);
        for place in &whole {
            self.ledger.mark(*place, Fate::Structure);
        }
        if !fits && let Some(place) = whole.first() {
            let label = format!("{} are the most", replace::DEFINITIONS_MAX);
            self.stop(Finding::at(*place, "too many definitions", label));
        }
    }

    /// Without `@host`; nothing where the line is for another host.
    fn condition(&mut self, text: Text) -> Option<Text> {
        let mut text = text;
        while let Some(rest) = text.chars.strip_prefix('@') {
            let (negated, id) = match rest.strip_prefix('^') {
                Some(id) => (true, id),
                None => (false, rest),
            };
            let id = id.split([' ', '\t']).next().unwrap_or("");
            let length = 1 + usize::from(negated) + id.len();
            let ours = (id == self.config_id) != negated;
            let alone = text.chars.len() == length;
            if !ours || alone {
                let advice = match alone {
                    true => "a condition without a line".to_owned(),
                    false => format!("a line for other hosts: this one is `{}`", self.config_id),
                };
                let places = text.places(0..text.chars.len());
                self.report
                    .note(&self.sources, &mut self.ledger, &places, advice);
                return None;
            }
            for place in text.places(0..length) {
                self.ledger.mark(place, Fate::Structure);
            }
            text = text.slice(length..text.chars.len()).trimmed();
        }
        Some(text)
    }

    fn line(&mut self, text: Text) {
        let Some(mut text) = self.condition(text) else {
            return;
        };
        if text.is_empty() {
            return;
        }
        self.lines += 1;
        self.bytes += text.chars.len();
        if self.lines > LINES_MAX || self.bytes > BYTES_MAX {
            return self.too_much(&text);
        }
        if text.chars.len() > replace::LINE_BYTES_MAX {
            let finding = at_text(&text, format!("a line of {} bytes", text.chars.len()));
            let help = format!("{} are the most", replace::LINE_BYTES_MAX);
            return self.findings.fault(finding.help(help));
        }
        if let Some((name, value)) = replace::definition(&text) {
            let whole = text.places(0..text.chars.len());
            return self.define(name, whole, Definition::value(value));
        }
        if text.chars.starts_with("~SEQ") || text.chars.starts_with("~LST") {
            return self.repeat(&text);
        }
        match self.definitions.replace(&text, &self.predefined()) {
            Err(fault) => return self.findings.fault(fault),
            Ok(None) => {}
            Ok(Some(replaced)) => {
                for place in replaced.references {
                    self.ledger.mark(place, Fate::Structure);
                }
                let mut lines = replaced.lines.into_iter();
                let first = lines.next().unwrap_or_default();
                let rest: Rc<[Text]> = lines.collect();
                let again = first.chars.starts_with(['@', '~', '$']);
                if !rest.is_empty() || again {
                    let all: Rc<[Text]> = [first].into_iter().chain(rest.iter().cloned()).collect();
                    return self.push(Work::Lines(all, 0), &text);
                }
                text = first;
            }
        }
        if let Some(pattern) = self.include(&text) {
            return self.include_files(&pattern, &text);
        }
        match words::parts(&text) {
            Err(fault) => self.findings.fault(fault),
            Ok(parts) => {
                for part in parts {
                    if let Err(fault) = self.builder.take(part, &mut self.ledger) {
                        self.stop(fault);
                    }
                }
            }
        }
    }

    fn predefined(&self) -> BTreeMap<&'static str, String> {
        let directory = self.work.iter().rev().find_map(|work| match work {
            Work::File(reading, _) => Some(reading.directory.clone()),
            Work::Files(..) | Work::Lines(..) | Work::Repeat(_) => None,
        });
        BTreeMap::from([
            ("_PWD", directory.unwrap_or_default()),
            ("_INSTANCE", self.config_id.clone()),
            ("_HASH", "#".to_owned()),
            ("_BANG", "!".to_owned()),
        ])
    }

    fn push(&mut self, work: Work, at: &Text) {
        if self.work.len() >= DEPTH_MAX {
            let finding = at_text(at, "definitions, sequences and files lead into each other");
            let help = format!("{DEPTH_MAX} levels are the most; does one of them name itself?");
            return self.stop(finding.help(help));
        }
        self.work.push(work);
    }

    fn too_much(&mut self, at: &Text) {
        let finding = at_text(at, "the files come to too much");
        self.stop(finding.help(format!(
            "{LINES_MAX} lines and {} MiB are the most after definitions and sequences are worked \
             out; import the parts one by one",
            BYTES_MAX / (1024 * 1024)
        )));
    }

    fn repeat(&mut self, text: &Text) {
        match sequence::read(text) {
            Err(fault) => self.findings.fault(fault),
            Ok((repeat, head)) => {
                for place in text.places(0..head) {
                    self.ledger.mark(place, Fate::Structure);
                }
                self.push(Work::Repeat(repeat), text);
            }
        }
    }

    /// The pattern of an `include` line.
    fn include(&self, text: &Text) -> Option<String> {
        let first = text.chars.split([' ', '\t']).next()?;
        let rest = text.chars.get(first.len()..)?.trim();
        let known = INCLUDES.contains(&first) && !rest.is_empty();
        known.then(|| rest.trim_matches('"').to_owned())
    }

    fn include_files(&mut self, pattern: &str, text: &Text) {
        let places = text.places(0..text.chars.len());
        for place in &places {
            self.ledger.mark(*place, Fate::Structure);
        }
        let directory = self.predefined().remove("_PWD").unwrap_or_default();
        let whole = Path::new(&directory).join(pattern);
        let whole = whole.to_string_lossy();
        let patterns = source::alternatives(&whole);
        let found: BTreeSet<PathBuf> = patterns
            .iter()
            .flat_map(|pattern| self.host.matching(pattern))
            .collect();
        if found.is_empty() {
            let must = matches!(
                text.chars.split([' ', '\t']).next(),
                Some("includea" | "includem")
            );
            return self.nothing_included(pattern, text, must);
        }
        self.push(Work::Files(found.into_iter().collect(), text.clone()), text);
    }

    fn nothing_included(&mut self, pattern: &str, text: &Text, must: bool) {
        let places = text.places(0..text.chars.len());
        if must {
            let finding = at_text(text, "no file to include here");
            return self
                .findings
                .fault(finding.help("keepalived would not start either"));
        }
        let wild = pattern.contains(['*', '?', '[', '{']);
        let advice = "no file of that name: what it holds on other hosts is not imported";
        let (sources, ledger) = (&self.sources, &mut self.ledger);
        match wild {
            true => self
                .report
                .note(sources, ledger, &places, "no file matches"),
            false => self.report.left(sources, ledger, &places, advice),
        }
    }

    fn include_file(&mut self, path: &Path, text: &Text) {
        let absolute = self.host.absolute(path);
        let itself = self.work.iter().any(|work| match work {
            Work::File(_, open) => *open == absolute,
            Work::Files(..) | Work::Lines(..) | Work::Repeat(_) => false,
        });
        if itself {
            let finding = at_text(text, format!("{} includes itself", path.display()));
            return self.stop(finding.help("remove one of the `include` lines of the loop"));
        }
        let most = self.files >= source::FILES_MAX || self.bytes_read >= source::BYTES_MAX;
        if most {
            let finding = at_text(text, "too many files are included");
            let help = format!(
                "{} files and {} MiB are the most",
                source::FILES_MAX,
                source::BYTES_MAX / (1024 * 1024)
            );
            return self.stop(finding.help(help));
        }
        match self.host.read(path) {
            Ok(content) => self.open(path, &content),
            Err(faults) => {
                let said: Vec<String> = faults.iter().map(|fault| fault.said()).collect();
                self.findings.fault(at_text(text, said.join("; ")));
            }
        }
    }
}

fn at_text(text: &Text, title: impl Into<String>) -> Finding {
    match text.place(0..text.chars.len()) {
        Some(place) => Finding::at(place, title, ""),
        None => Finding::of_file(title),
    }
}
