//! Checks that combine others by name: reading them, and whether they can be
//! worked out at all.

use std::collections::BTreeMap;

use super::kind::Kind;
use super::{Checks, Task};
use crate::agent::jobs::CheckName;
use crate::agent::settings::{CheckSource, Combination};
use crate::config::fault::{Finding, Findings, Place, quoted};
use crate::config::health;
use crate::config::read::{self, At, Read, Section};
use crate::config::yaml::{Node, Value};

pub(in crate::config) const MEMBERS_MAX: usize = 100;

/// As it is written.
#[derive(Clone, Debug)]
pub(in crate::config) struct Written {
    pub needed: usize,
    pub members: Vec<At<String>>,
}

impl Written {
    pub fn source(&self) -> CheckSource {
        let members = self.members.iter();
        CheckSource::Combination(Combination {
            needed: self.needed,
            members: members.map(|name| CheckName::new(&name.value)).collect(),
        })
    }
}

pub(super) fn read(section: &Section, kind: Kind, out: &mut Findings) -> Option<Written> {
    let field = section.field(kind.key(), out, |node| {
        if kind == Kind::AtLeast {
            return at_least(node);
        }
        let members = members(node, kind.key())?;
        let needed = if kind == Kind::Any { 1 } else { members.len() };
        Ok(Written { needed, members })
    });
    field.given().map(|at| at.value.clone())
}

/// `{ 2: [a, b, c] }`.
fn at_least(node: &Node) -> Read<Written> {
    const LIKE: &str = "write `at_least: { 2: [a, b, c] }`";
    let Value::Map(map) = &node.value else {
        let title = format!(
            "`at_least` says how many of which checks, and this is {}",
            node.value.kind()
        );
        return Err(Finding::at(node.place, title, LIKE));
    };
    let [(count, list)] = map.as_slice() else {
        let title = format!("`at_least` has one number, and this has {}", map.len());
        return Err(Finding::at(node.place, title, LIKE));
    };
    let members = members(list, "at_least")?;
    let most = u8::try_from(members.len()).unwrap_or(u8::MAX);
    let needed = read::integer(count, "how many must be up", 1..=most)?;
    let needed = needed.into();
    Ok(Written { needed, members })
}

fn members(node: &Node, key: &str) -> Read<Vec<At<String>>> {
    let items = read::list(node, &format!("`{key}`"))?;
    if items.is_empty() || items.len() > MEMBERS_MAX {
        let title = format!("`{key}` lists {} checks", items.len());
        let label = format!("list 1 to {MEMBERS_MAX}");
        return Err(Finding::at(node.place, title, label));
    }
    let name = |item: &Node| {
        let value = read::word(item, "the name of a check")?.to_owned();
        let place = item.place;
        Ok(At { value, place })
    };
    items.iter().map(name).collect()
}

/// Faults of members: unknown, listed twice, without an outcome, or in a
/// circle.
pub(super) fn judge(checks: &Checks, out: &mut Findings) {
    for members in checks
        .drafts
        .keys()
        .filter_map(|name| members_of(checks, name))
    {
        let mut seen: BTreeMap<&str, Place> = BTreeMap::new();
        for member in members {
            let name = member.value.as_str();
            let shown = quoted(name);
            if let Some(first) = seen.insert(name, member.place) {
                let title = format!("the check {shown} is listed twice");
                out.fault(Finding::at(member.place, title, "remove it").see(first, "first here"));
            }
            match checks.drafts.get(name) {
                None if checks.whole => out.fault(health::unknown(member, checks)),
                None => {}
                Some(draft) if draft.is_file() => {
                    let title =
                        format!("the check {shown} is a file, which is neither up nor down");
                    out.fault(
                        Finding::at(member.place, title, "remove it").help(
                            "its number is added to the priority of the instances that list it",
                        ),
                    );
                }
                Some(_) => {}
            }
        }
    }
    circles(checks, out);
}

pub(super) fn members_of<'c>(checks: &'c Checks, name: &str) -> Option<&'c [At<String>]> {
    match &checks.drafts.get(name)?.sound.as_ref()?.task {
        Task::Combination(written) => Some(&written.members),
        Task::Interface(_) | Task::Script(_) | Task::Probe(..) | Task::File(_) => None,
    }
}

/// Each circle once, at the name that closes it.
fn circles(checks: &Checks, out: &mut Findings) {
    let mut done: BTreeMap<&str, bool> = BTreeMap::new();
    for start in checks.drafts.keys() {
        if done.contains_key(start.as_str()) {
            continue;
        }
        done.insert(start, false);
        // The way to where we are: each check, and those of its members that
        // were not looked at yet.
        let mut way = vec![(
            start.as_str(),
            members_of(checks, start).unwrap_or_default(),
        )];
        while let Some((name, rest)) = way.last_mut() {
            let Some((member, others)) = rest.split_first() else {
                done.insert(name, true);
                way.pop();
                continue;
            };
            *rest = others;
            let name = member.value.as_str();
            match done.get(name) {
                Some(true) => {}
                Some(false) => out.fault(circle(name, member.place, &way)),
                None => {
                    if let Some((name, _)) = checks.drafts.get_key_value(name) {
                        done.insert(name, false);
                        way.push((name, members_of(checks, name).unwrap_or_default()));
                    }
                }
            }
        }
    }
}

fn circle(name: &str, place: Place, way: &[(&str, &[At<String>])]) -> Finding {
    let around = way.iter().map(|(name, _)| *name);
    let around: Vec<&str> = around.skip_while(|passed| *passed != name).collect();
    let title = format!("check {} depends on itself", quoted(name));
    let finding = Finding::at(place, title, "remove it from this list");
    match around.as_slice() {
        [_] | [] => finding.help("a check that combines others cannot be one of them"),
        [_, rest @ ..] => finding.help(format!(
            "{} needs {}, and that needs {} again",
            quoted(name),
            rest.join(", which needs "),
            quoted(name)
        )),
    }
}
