//! `groups`: instances that move together, as they are written and judged.

use std::collections::BTreeMap;

use crate::agent::jobs::{HookKind, HookOwner};
use crate::agent::settings::{GroupSettings, InstanceSettings, Preempt};
use crate::agent::values::{GroupName, InstanceName};

use super::command::Written;
use super::duration;
use super::fault::{Finding, Findings, Place, quoted};
use super::health::{self, Hooks};
use super::instance::{self, is_name};
use super::keys::{self, nearest};
use super::read::{self, At, Section};
use super::work::Work;
use super::yaml::Node;

/// A group, as far as it could be read.
pub(super) struct Draft {
    name: GroupName,
    place: Place,
    members: Vec<At<String>>,
    hooks: Hooks,
}

/// Reads every group; absent is none.
pub(super) fn drafts(top: &Section, out: &mut Findings) -> Vec<Draft> {
    let Some(node) = top.node("groups") else {
        return Vec::new();
    };
    let Some(entries) = read::entries(node, "`groups`", out) else {
        return Vec::new();
    };
    let entries = read::unique(entries, out);
    let read = entries
        .into_iter()
        .filter_map(|(name, place, node)| draft(name, place, node, out));
    read.collect()
}

fn draft(name: &str, place: Place, node: &Node, out: &mut Findings) -> Option<Draft> {
    if !is_name(name) {
        let title = format!("{} cannot be the name of a group", quoted(name));
        out.fault(Finding::at(place, title, "choose another name").help(
            "a name has letters, digits, `-`, `_` and `.`, and begins with a letter or digit",
        ));
        return None;
    }
    let section = Section::open(node, &keys::GROUP, out)?;
    if section.lacks("members") {
        let title = format!("`members` of group `{name}` is missing");
        out.fault(Finding::at(
            place,
            title,
            "write `members: [inside, outside]` below",
        ));
    }
    let hooks = health::hooks(&section, &keys::GROUP_HOOKS, out);
    let members = section.field("members", out, |node| {
        let items = read::list(node, "`members` of a group")?;
        let member = |node: &Node| {
            Ok(At {
                value: read::word(node, "the name of an instance")?.to_owned(),
                place: node.place,
            })
        };
        let members: Vec<At<String>> = items.iter().map(member).collect::<read::Read<_>>()?;
        if members.is_empty() {
            let title = "`members` is empty, so the group has nothing to move";
            let label = "write the names of instances";
            return Err(Finding::at(node.place, title, label));
        }
        Ok(members)
    });
    Some(Draft {
        name: GroupName::new(name),
        place,
        members: members.given()?.value.clone(),
        hooks,
    })
}

/// Faults of groups and between them, and what sound ones come to: sorted by
/// name. `drafts` are all instances, `judged` those without a fault.
pub(super) fn judge(
    groups: &[Draft],
    drafts: &[instance::Draft],
    judged: &[InstanceSettings],
    out: &mut Findings,
) -> Vec<GroupSettings> {
    let mut taken: BTreeMap<&str, (&Draft, Place)> = BTreeMap::new();
    let mut settings = Vec::new();
    for group in groups {
        for member in &group.members {
            known(member, drafts, out);
            if let Some((first, place)) = taken.insert(&member.value, (group, member.place)) {
                out.fault(twice(group, member, first, place));
            }
        }
        alike(group, drafts, judged, out);
        settings.push(GroupSettings {
            name: group.name.clone(),
            members: group
                .members
                .iter()
                .map(|member| InstanceName::new(&member.value))
                .collect(),
            hooks: group
                .hooks
                .iter()
                .map(|(kind, hook)| (*kind, hook.script.timeout))
                .collect(),
        });
    }
    settings.sort_by(|a, b| a.name.cmp(&b.name));
    settings
}

/// One member only: legal, and moves with nobody.
pub(super) fn advice(groups: &[Draft], out: &mut Findings) {
    for group in groups {
        if let [member] = group.members.as_slice() {
            let title = format!("group `{}` has one member", group.name);
            out.warn(
                Finding::at(member.place, title, "it moves with nobody")
                    .help("list the instances that are to move together with it"),
            );
        }
    }
}

fn known(member: &At<String>, drafts: &[instance::Draft], out: &mut Findings) {
    let names = || drafts.iter().map(|draft| draft.name.value.as_str());
    if names().any(|name| name == member.value) {
        return;
    }
    let title = format!("there is no instance {}", quoted(&member.value));
    let label = match nearest(&member.value, names()) {
        Some(near) => format!("write `{near}`"),
        None => "write the name of an instance".to_owned(),
    };
    let shown: Vec<&str> = names().take(10).collect();
    let fault = Finding::at(member.place, title, label);
    out.fault(match shown.is_empty() {
        true => fault,
        false => fault.help(format!("`instances` has {}", shown.join(", "))),
    });
}

fn twice(group: &Draft, member: &At<String>, first: &Draft, place: Place) -> Finding {
    let name = quoted(&member.value);
    if std::ptr::eq(group, first) {
        let title = format!("{name} is listed twice in group `{}`", group.name);
        return Finding::at(member.place, title, "remove it").see(place, "first here");
    }
    let title = format!("instance {name} is in two groups");
    let label = format!("in `{}`", group.name);
    Finding::at(member.place, title, label)
        .see(place, format!("and in `{}`", first.name))
        .help("make one group of both: whatever moves with it moves with all of them")
}

/// What one member wins, all must win, and at the same time.
fn alike(
    group: &Draft,
    drafts: &[instance::Draft],
    judged: &[InstanceSettings],
    out: &mut Findings,
) {
    let find = |member: &At<String>| {
        let settings = judged
            .iter()
            .find(|one| one.name.as_str() == member.value)?;
        let draft = drafts.iter().find(|one| one.name.value == settings.name)?;
        Some((draft, settings))
    };
    let mut members = group.members.iter().filter_map(find);
    let Some(first) = members.next() else {
        return;
    };
    for member in members {
        for (key, value, place) in KEYS {
            let (ours, theirs) = (value(member.1), value(first.1));
            if ours == theirs {
                continue;
            }
            let title = format!(
                "members of group `{}` differ in `{key}`: {ours} and {theirs}",
                group.name
            );
            let label = format!("{ours} in `{}`", member.1.name);
            let other = format!("{theirs} in `{}`", first.1.name);
            out.fault(
                Finding::at(place(member.0), title, label)
                    .see(place(first.0), other)
                    .see(group.place, "they move together")
                    .help(format!("write the same `{key}` in each of them")),
            );
        }
    }
}

type Compared = (
    &'static str,
    fn(&InstanceSettings) -> String,
    fn(&instance::Draft) -> Place,
);

const KEYS: [Compared; 3] = [
    (
        "priority",
        |settings| settings.priority.to_string(),
        |draft| draft.priority.place(draft.name.place),
    ),
    (
        "advert_interval",
        |settings| duration::print(settings.advert_interval.as_duration()),
        |draft| draft.advert_interval.place(draft.name.place),
    ),
    (
        "preempt",
        |settings| match settings.preempt {
            Preempt::Never => "false".to_owned(),
            Preempt::Immediately => "true".to_owned(),
            Preempt::After(delay) => duration::print(delay),
        },
        |draft| draft.preempt.place(draft.name.place),
    ),
];

/// Adds what the groups run.
pub(super) fn work(groups: &[Draft], work: &mut Work, scripts: &mut Vec<(String, Written)>) {
    for group in groups {
        for (kind, written) in &group.hooks {
            let owner = HookOwner::Group(group.name.clone());
            work.hooks.insert((owner, *kind), written.script.clone());
            let whose = format!("the hook `{}` of group `{}`", kind.name(), group.name);
            scripts.push((whose, written.clone()));
        }
    }
}

/// Every hook that is written.
pub(super) fn hooks(groups: &[Draft]) -> impl Iterator<Item = (&HookKind, &Written)> {
    groups.iter().flat_map(|group| &group.hooks)
}
