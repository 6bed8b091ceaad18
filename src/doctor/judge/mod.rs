//! Facts in, findings out. Nothing is asked and nothing is changed here.

mod agent;
mod clock;
mod firewall;
mod interfaces;
mod kernel;
mod link;
mod managers;
mod paths;
mod rights;
mod segment;
#[cfg(test)]
mod tests;

use super::facts::{Facts, Subject};
use super::finding::{Finding, Path};
use crate::agent::values::InterfaceName;
use crate::control::words;

/// What the facts come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The worst first.
    pub findings: Vec<Finding>,
    pub paths: Vec<Path>,
}

pub fn judge(facts: &Facts) -> Verdict {
    let paths = paths::paths(facts);
    // Of equally bad ones the cause comes before what follows from it.
    let mut findings = agent::judge(facts);
    for judge in [
        rights::judge,
        interfaces::judge,
        kernel::judge,
        firewall::judge,
        segment::judge,
        clock::judge,
        link::judge,
    ] {
        findings.extend(judge(facts));
    }
    findings.extend(paths::judge(facts, &paths));
    findings.extend(agent::instances(facts));
    findings.extend(managers::judge(facts));
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    Verdict { findings, paths }
}

/// For what is mended in the file.
fn then_reloaded(facts: &Facts, finding: Finding) -> Finding {
    let path = facts.configuration.path.display();
    finding.run(format!("vipward validate {path} && vipward reload"))
}

/// The effective configuration, to be compared between nodes.
fn printed(facts: &Facts, finding: Finding) -> Finding {
    let path = facts.configuration.path.display();
    finding.run(format!("vipward validate {path} --print"))
}

/// Names shown one by one; the rest is counted.
const SHOWN: usize = 4;

/// `eth0 (web, mail)`: an interface, and who needs it.
fn about_interface(facts: &Facts, interface: InterfaceName) -> String {
    let users = facts.subjects.iter();
    let users = users.filter(|subject| subject.interfaces().any(|used| used == interface));
    let users: Vec<&str> = users.map(|subject| subject.name.as_str()).collect();
    match users.is_empty() {
        true => interface.to_string(),
        false => format!("{interface} ({})", words::list(&users, SHOWN)),
    }
}

/// Those who use an interface.
fn users(facts: &Facts, interface: InterfaceName) -> impl Iterator<Item = &Subject> {
    let all = facts.subjects.iter();
    all.filter(move |subject| subject.interfaces().any(|used| used == interface))
}
