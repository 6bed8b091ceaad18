//! The examination's outcome: as JSON, and for people within 80 columns, the
//! worst first.

use std::fmt::Write;

use comfy_table::{ColumnConstraint, Width};
use serde::Serialize;

use super::facts::{Agent, Facts, Speaker};
use super::finding::{Direction, Finding, Mend, Path, Severity};
use super::judge::Verdict;
use crate::control::layout::{Colour, marked, paint, plain_table, wrapped};
use crate::control::words;

/// Fields are added, never renamed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    pub version: String,
    pub node: String,
    pub config: Config,
    pub agent: AgentReport,
    /// Null where nobody could listen.
    pub listened_ms: Option<u64>,
    pub errors: usize,
    pub warnings: usize,
    /// The worst first.
    pub findings: Vec<Finding>,
    pub paths: Vec<Path>,
    pub heard: Vec<Heard>,
    /// What was looked at, for people.
    pub examined: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Config {
    pub path: String,
    pub sound: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AgentReport {
    pub answers: bool,
    pub pid: Option<u32>,
}

/// A virtual router that was heard, this host's own included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Heard {
    pub interface: String,
    pub vrid: u8,
    pub source: String,
    pub ours: bool,
    pub version: u8,
    pub priority: u8,
    pub interval_ms: Option<u64>,
    pub addresses: Vec<String>,
    /// They crossed the wire, and they reached a program.
    pub on_wire: u32,
    pub delivered: u32,
}

impl Report {
    pub fn new(facts: &Facts, verdict: Verdict) -> Self {
        let count = |severity| {
            let all = verdict.findings.iter();
            all.filter(|finding| finding.severity == severity).count()
        };
        let hearing = facts.hearing.as_ref().ok();
        let speakers = hearing.map_or(&[][..], |hearing| &hearing.speakers);
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node: facts.node.clone(),
            config: Config {
                path: facts.configuration.path.display().to_string(),
                sound: facts.configuration.faults.is_none(),
            },
            agent: AgentReport {
                answers: facts.answers().is_some(),
                pid: facts.answers().map(|answers| answers.after.pid),
            },
            listened_ms: hearing
                .map(|hearing| u64::try_from(hearing.span.as_millis()).unwrap_or(u64::MAX)),
            errors: count(Severity::Error),
            warnings: count(Severity::Warning),
            heard: speakers
                .iter()
                .map(|speaker| heard(facts, speaker))
                .collect(),
            examined: examined(facts),
            findings: verdict.findings,
            paths: verdict.paths,
        }
    }

    /// 0, 1 with warnings, 2 with errors.
    pub fn exit_code(&self) -> u8 {
        match (self.errors, self.warnings) {
            (0, 0) => 0,
            (0, _) => 1,
            (_, _) => 2,
        }
    }

    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        Ok(text)
    }

    pub fn for_people(&self, colour: Colour) -> String {
        let mut text = self.headline(colour);
        let examined = format!("Examined: {}.", self.examined.join("; "));
        let _ = writeln!(text, "{}", wrapped(&examined));
        let noted = |finding: &&Finding| finding.severity == Severity::Note;
        for finding in self.findings.iter().filter(|one| !noted(one)) {
            let _ = writeln!(text, "\n{}", section(finding, colour));
        }
        if !self.paths.is_empty() {
            let _ = writeln!(text, "\n{}", self.path_table(colour));
        }
        if !self.heard.is_empty() {
            let _ = writeln!(text, "\n{}", self.heard_table());
        }
        for finding in self.findings.iter().filter(noted) {
            let _ = writeln!(text, "\n{}", section(finding, colour));
        }
        if self.errors + self.warnings == 0 {
            let mut end = "Nothing was found that would keep failover from working.".to_owned();
            let unknown =
                |path: &Path| path.from_peer.works.is_none() || path.to_peer.works.is_none();
            if self
                .paths
                .iter()
                .any(|path| path.carries == "vrrp" && unknown(path))
            {
                end.push_str(" What is unknown above the other node can tell: run it there, too.");
            }
            let _ = writeln!(text, "\n{}", wrapped(&end));
        }
        paint(&text)
    }

    fn headline(&self, colour: Colour) -> String {
        let notes = self.findings.len() - self.errors - self.warnings;
        let counted = [
            (self.errors, "error", "errors"),
            (self.warnings, "warning", "warnings"),
            (notes, "note", "notes"),
        ];
        let counted: Vec<String> = counted
            .into_iter()
            .filter(|(count, ..)| *count > 0)
            .map(|(count, one, many)| {
                let noun = if count == 1 { one } else { many };
                format!("{count} {}", marked_as(noun, one, colour))
            })
            .collect();
        match counted.is_empty() {
            true => format!("{}: all is well\n", self.node),
            false => format!("{}: {}\n", self.node, counted.join(", ")),
        }
    }

    fn path_table(&self, colour: Colour) -> String {
        let mut table = plain_table();
        table.set_header(["PATH", "PEER", "FROM IT", "TO IT"]);
        for path in &self.paths {
            let what = match path.instance.is_empty() {
                true => path.carries.to_owned(),
                false => format!("{}: {}", path.instance, path.carries),
            };
            let peer = match &path.node {
                Some(node) => format!("{node}\n{}", path.address),
                None if path.address.is_empty() => "nobody known".to_owned(),
                None => path.address.clone(),
            };
            let [from, to] = [&path.from_peer, &path.to_peer].map(|way| direction(way, colour));
            table.add_row([what, peer, from, to]);
        }
        table.set_constraints([
            ColumnConstraint::UpperBoundary(Width::Fixed(18)),
            ColumnConstraint::UpperBoundary(Width::Fixed(20)),
        ]);
        if let Some(column) = table.column_mut(0) {
            column.set_padding((0, 1));
        }
        table.trim_fmt()
    }

    fn heard_table(&self) -> String {
        let mut table = plain_table();
        table.set_header(["HEARD", "VRID", "FROM", "PRIO", "EVERY", "ADDRESSES"]);
        for one in &self.heard {
            let from = match one.ours {
                true => format!("{} (this host)", one.source),
                false => one.source.clone(),
            };
            let every = one.interval_ms.map(words::exact_ms).unwrap_or_default();
            table.add_row([
                one.interface.clone(),
                one.vrid.to_string(),
                from,
                one.priority.to_string(),
                every,
                words::list(&one.addresses, 3),
            ]);
        }
        let whole = ColumnConstraint::ContentWidth;
        table.set_constraints([
            ColumnConstraint::UpperBoundary(Width::Fixed(17)),
            whole,
            ColumnConstraint::UpperBoundary(Width::Fixed(26)),
            whole,
            whole,
        ]);
        if let Some(column) = table.column_mut(0) {
            column.set_padding((0, 1));
        }
        table.trim_fmt()
    }
}

/// `word`, painted as `severity` is.
fn marked_as(word: &str, severity: &str, colour: Colour) -> String {
    marked(severity, colour).replacen(severity, word, 1)
}

fn direction(direction: &Direction, colour: Colour) -> String {
    let word = match direction.works {
        Some(true) => marked("works", colour),
        Some(false) => marked("fails", colour),
        None => "unknown".to_owned(),
    };
    format!("{word}: {}", direction.text)
}

fn section(finding: &Finding, colour: Colour) -> String {
    let severity = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    };
    let head = format!(
        "{}, {} ({})",
        marked(severity, colour),
        finding.about,
        finding.code
    );
    let mut text = wrapped(&head);
    let _ = write!(text, "\n{}", labelled("", &sentence(&finding.what)));
    if !finding.why.is_empty() {
        let _ = write!(text, "\n{}", labelled("Why:", &sentence(&finding.why)));
    }
    for mend in &finding.mend {
        match mend {
            // Whole, so that it can be copied.
            Mend::Run(command) => {
                let _ = write!(text, "\n  Run:  {command}");
            }
            Mend::Do(advice) => {
                let _ = write!(text, "\n{}", labelled("Mend:", &sentence(advice)));
            }
        }
    }
    text
}

fn labelled(label: &str, body: &str) -> String {
    let mut table = plain_table();
    let indented = if label.is_empty() { "  " } else { "" };
    match label.is_empty() {
        true => {
            table.add_row([body]);
            if let Some(column) = table.column_mut(0) {
                column.set_padding((2, 0));
            }
        }
        false => {
            table.add_row([format!("{indented}{label}"), body.to_owned()]);
            table.set_constraints([ColumnConstraint::Absolute(Width::Fixed(8))]);
            if let Some(column) = table.column_mut(0) {
                column.set_padding((2, 0));
            }
            if let Some(column) = table.column_mut(1) {
                column.set_padding((0, 0));
            }
        }
    }
    table.trim_fmt()
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    // Names and paths stay as they are.
    let first_word = text.split(' ').next().unwrap_or_default();
    let plain = !first_word.is_empty()
        && first_word
            .chars()
            .all(|c| c.is_ascii_lowercase() || c == '\'');
    let head: String = match letters.next() {
        Some(first) if plain => first.to_uppercase().collect(),
        Some(first) => first.to_string(),
        None => String::new(),
    };
    let end = if text.ends_with(['.', ':', '?']) {
        ""
    } else {
        "."
    };
    format!("{head}{}{end}", letters.as_str())
}

fn heard(facts: &Facts, speaker: &Speaker) -> Heard {
    Heard {
        interface: speaker.interface.to_string(),
        vrid: speaker.vrid,
        source: speaker.source.to_string(),
        ours: speaker.outgoing || facts.is_own(speaker.source),
        version: speaker.version,
        priority: speaker.priority,
        interval_ms: speaker
            .interval
            .map(|span| u64::try_from(span.as_millis()).unwrap_or(u64::MAX)),
        addresses: speaker.addresses.iter().map(ToString::to_string).collect(),
        on_wire: speaker.on_wire,
        delivered: speaker.delivered,
    }
}

/// What was looked at, so that silence is not taken for health.
fn examined(facts: &Facts) -> Vec<String> {
    let path = facts.configuration.path.display();
    let count = words::count(facts.subjects.len(), "instance", "instances");
    let mut examined = vec![
        match (facts.configuration.digest.is_some(), facts.answers()) {
            (true, _) => format!("{path} ({count})"),
            (false, Some(_)) => format!("what the agent says of its {count}"),
            (false, None) => "no instance".to_owned(),
        },
    ];
    examined.push(match &facts.agent {
        Agent::Answers(answers) => format!("the agent (pid {})", answers.after.pid),
        Agent::Absent(_) => "no agent, since none runs".to_owned(),
        Agent::Mute(_) | Agent::Forbidden(_) => "no agent, since it did not tell".to_owned(),
    });
    examined.push("rights, limits, kernel settings, the clock".to_owned());
    let interfaces: Vec<String> = facts.interfaces.keys().map(ToString::to_string).collect();
    if !interfaces.is_empty() {
        examined.push(format!(
            "{} and who configures them",
            words::list(&interfaces, 6)
        ));
    }
    examined.push(match facts.firewall.rulesets.is_empty() {
        true => "no rules of a firewall".to_owned(),
        false => "the firewall's rules".to_owned(),
    });
    examined.push(match &facts.hearing {
        Ok(hearing) if !hearing.span.is_zero() => {
            format!("{} of listening", words::span(hearing.span))
        }
        Ok(_) | Err(_) => "nothing by listening".to_owned(),
    });
    if !facts.echoes.is_empty() {
        let peers = words::count(facts.echoes.len(), "peer address", "peer addresses");
        examined.push(format!("a ping to {peers}"));
    }
    let tests = facts.hearing.iter().flat_map(|hearing| &hearing.tests);
    if tests.count() > 0 {
        examined.push("questions of IP protocol 112".to_owned());
    }
    examined
}
