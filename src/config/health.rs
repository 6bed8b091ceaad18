//! The health of one instance as it is written: the checks it listens to, and
//! its hooks.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::agent::jobs::HookKind;
use crate::agent::settings::{OnAllFail, OnFail};

use super::check::{self, Checks};
use super::command::{self, Written};
use super::fault::{Finding, Findings, Place, quoted};
use super::instance::{Draft, Items, absent_or_bad};
use super::keys::{self, Keys, nearest};
use super::read::{self, At, Field, Read, Section};
use super::work::Script;
use super::yaml::{Node, Value};

const HOOK_TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_mins(10);
const HOOK_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
/// From the highest priority to the lowest, and one at least.
const WEIGHT: RangeInclusive<i16> = -254..=-1;

/// A check that an instance listens to.
#[derive(Clone, Debug)]
pub(super) struct UseDraft {
    pub name: At<String>,
    pub weight: Field<i16>,
}

pub(super) type Hooks = BTreeMap<HookKind, Written>;

pub(super) fn uses(section: &Section, out: &mut Findings) -> Field<Items<UseDraft>> {
    let list = section.field("checks", out, |node| {
        read::list(node, "`checks` of an instance").map(|list| (list, node.place))
    });
    let Field::Given(list) = list else {
        return absent_or_bad(&list);
    };
    let (nodes, place) = list.value;
    let items: Vec<UseDraft> = nodes.iter().filter_map(|node| one_use(node, out)).collect();
    let whole = items.len() == nodes.len();
    let value = Items { items, whole };
    Field::Given(At { value, place })
}

/// A name, or a section with `name` and `weight`.
fn one_use(node: &Node, out: &mut Findings) -> Option<UseDraft> {
    if !matches!(node.value, Value::Map(_)) {
        return Some(UseDraft {
            name: out.keep(name(node))?,
            weight: Field::Absent,
        });
    }
    let section = Section::open(node, &keys::USE, out)?;
    if section.lacks("name") {
        out.fault(
            Finding::at(node.place, "`name` is missing", "in this entry").help(
                "write `{ name: web, weight: -50 }` with the name of a check, or the name alone",
            ),
        );
    }
    let name = section.field("name", out, name);
    let weight = section.field("weight", out, weight);
    Some(UseDraft {
        name: name.given()?.value.clone(),
        weight,
    })
}

fn name(node: &Node) -> Read<At<String>> {
    let value = read::word(node, "the name of a check")?.to_owned();
    let place = node.place;
    Ok(At { value, place })
}

fn weight(node: &Node) -> Read<i16> {
    let scalar = read::scalar(node, "a whole number from -254 to -1")?;
    let text = scalar.text.as_str();
    let number = text.parse::<i64>().ok();
    // `-050` is another number to some readers.
    let number = number.filter(|number| number.to_string() == text || *number >= 0);
    let weight = number.and_then(|number| i16::try_from(number).ok());
    let weight = weight.filter(|weight| WEIGHT.contains(weight));
    if let Some(weight) = weight.filter(|_| scalar.unquoted()) {
        return Ok(weight);
    }
    let title = format!(
        "`weight` is a whole number from -254 to -1, and this is {}",
        quoted(text)
    );
    let fault = |label: String| Finding::at(node.place, title.clone(), label);
    Err(match (weight, number) {
        (Some(weight), _) => fault(format!("write `{weight}` without quotes")),
        (None, Some(0)) => fault("remove it, or write `-50`".to_owned()).help(
            "it is added to the priority while the check fails; without it a failing check puts the \
             instance in fault",
        ),
        (None, Some(number @ 1..)) => {
            let negative = (-number).max(i64::from(*WEIGHT.start()));
            fault(format!("write `{negative}`")).help(
                "it is added while the check fails, not while it passes: raise `priority` by as much \
                 and write the negative weight",
            )
        }
        (None, Some(_)) => fault("write at least `-254`".to_owned())
            .help("a priority goes from 1 to 254, so more has no effect"),
        (None, None) => fault("write a number such as `-50`".to_owned()),
    })
}

pub(super) fn on_all_fail(section: &Section, out: &mut Findings) -> Field<OnAllFail> {
    let choices = [OnAllFail::Release, OnAllFail::Keep];
    let choices = choices.map(|choice| (choice.name(), choice));
    section.field("on_all_fail", out, |node| {
        read::one_of(node, "`on_all_fail`", &choices)
    })
}

/// The hooks that could be read, of those that `keys` knows.
pub(super) fn hooks(section: &Section, keys: &'static Keys, out: &mut Findings) -> Hooks {
    let mut hooks = Hooks::new();
    let section = section.node("hooks");
    let section = section.and_then(|node| Section::open(node, keys, out));
    let Some(section) = section else {
        return hooks;
    };
    for kind in HookKind::ALL {
        let node = section.field(kind.name(), out, Ok);
        let hook = node.given().and_then(|at| hook(kind, at.value, out));
        hooks.extend(hook.map(|hook| (kind, hook)));
    }
    hooks
}

/// A section, or the list of `run` alone.
fn hook(kind: HookKind, node: &Node, out: &mut Findings) -> Option<Written> {
    let key = kind.name();
    let (words, user, timeout) = match &node.value {
        Value::Map(_) => {
            let section = Section::open(node, &keys::HOOK, out)?;
            if section.lacks("run") {
                let title = format!("`run` of the hook `{key}` is missing");
                out.fault(
                    Finding::at(node.place, title, "in this section")
                        .help("write `{ run: [/usr/local/lib/notify], timeout: 10s }`"),
                );
            }
            let words = section.field("run", out, |node| command::words(node, "run"));
            let user = section.field("user", out, command::user);
            let timeout = command::span(&section, "timeout", HOOK_TIMEOUT, out);
            let words = words.given()?.value.clone();
            (
                words,
                command::optional(&user)?,
                timeout.or(HOOK_TIMEOUT_DEFAULT)?,
            )
        }
        Value::Null | Value::Scalar(_) | Value::List(_) => {
            let words = out.keep(command::words(node, key))?;
            (words, None, HOOK_TIMEOUT_DEFAULT)
        }
    };
    Some(Written {
        script: Script {
            command: words.iter().map(|word| word.value.clone()).collect(),
            user,
            timeout,
        },
        words,
    })
}

/// Faults of what instances listen to: a check that is not there, or twice.
pub(super) fn judge(drafts: &[Draft], checks: &Checks, out: &mut Findings) {
    for draft in drafts {
        let mut seen: BTreeMap<&str, Place> = BTreeMap::new();
        for item in of(draft) {
            let name = item.name.value.as_str();
            if let Some(first) = seen.insert(name, item.name.place) {
                let title = format!("the check {} is listed twice", quoted(name));
                out.fault(
                    Finding::at(item.name.place, title, "remove it")
                        .see(first, "first here")
                        .help("one check either puts the instance in fault or lowers its priority"),
                );
            }
            match checks.drafts.get(name) {
                None if checks.whole => out.fault(unknown(&item.name, checks)),
                None => {}
                Some(check) => out_of_place(item, check, out),
            }
        }
    }
}

/// A weight of what cannot have one.
fn out_of_place(item: &UseDraft, check: &check::Draft, out: &mut Findings) {
    let Some(weight) = item.weight.given() else {
        return;
    };
    let name = quoted(&item.name.value);
    if check.is_file() {
        let title = format!("check {name} is a file and has no weight");
        out.fault(Finding::at(weight.place, title, "remove it").help(
            "the number in the file is added to the priority as it is; write it into the file as it \
             should count",
        ));
    } else if check.on_fail() == Some(OnFail::Handover) {
        let title = format!("check {name} is to move the instance, and to lower its priority");
        out.fault(Finding::at(weight.place, title, "remove it").help(
            "or leave out `on_fail: handover` of the check: with a weight the election decides",
        ));
    }
}

/// For a check that is named and not there.
pub(super) fn unknown(named: &At<String>, checks: &Checks) -> Finding {
    let name = &named.value;
    let title = format!("there is no check {}", quoted(name));
    let fault = |label: String| Finding::at(named.place, title.clone(), label);
    let names = || checks.drafts.keys().map(String::as_str);
    if let Some(near) = nearest(name, names()) {
        return fault(format!("write `{near}`"));
    }
    const SHOWN_MAX: usize = 10;
    let shown: Vec<&str> = names().take(SHOWN_MAX).collect();
    let label = match shown.is_empty() {
        true => "describe it",
        false => "write one of `checks`",
    };
    let fault = fault(label.to_owned());
    match shown.len() {
        0 => fault.help(
            "checks are described under `checks:` at the top level, as `web: { tcp: \"127.0.0.1:80\" }`",
        ),
        shown_count if shown_count < checks.drafts.len() => {
            fault.help(format!("`checks` has {} and others", shown.join(", ")))
        }
        _ => fault.help(format!("`checks` has {}", shown.join(", "))),
    }
}

/// What the instance listens to, as far as it could be read.
pub(super) fn of(draft: &Draft) -> impl Iterator<Item = &UseDraft> {
    let list = draft.checks.given().into_iter();
    list.flat_map(|list| &list.value.items)
}
