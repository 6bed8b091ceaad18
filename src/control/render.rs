//! `vipward status` for people: at most 80 columns, the trouble last, where
//! the eye is when the prompt returns.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use comfy_table::{ColumnConstraint, Width};
use jiff::Timestamp;

use super::document::{Address, Counters, Document, Instance, Time};
use super::findings::{
    ADDRESSES_SHOWN, Row, conflicts, drift, errors, last_run, obstacles, problems, rejections,
};
pub use super::layout::{COLUMNS, Colour};
use super::layout::{marked, paint, pairs, plain_table, wrapped};
use super::{checks, groups, node_findings, picture, routing, words};

/// Every instance on a line, then what is wrong with which.
pub fn overview(document: &Document, now: Timestamp, colour: Colour) -> String {
    let mut text = headline(document, now);
    text.push_str(&stranded(document, colour));
    let _ = writeln!(text, "{}", wrapped(&verdict(document)));
    if !document.nodes.is_empty() {
        let _ = writeln!(text, "{}", picture::verdict(document));
        let _ = writeln!(text, "\n{}", picture::nodes(document, colour));
        let _ = writeln!(text, "\n{}", picture::instances(document, now, colour));
        let _ = writeln!(text, "\nOn this node:");
    }
    if !document.instances.is_empty() {
        let _ = writeln!(text, "\n{}", instances(document, now, colour));
    }
    if !document.groups.is_empty() {
        let _ = writeln!(text, "\n{}", groups::table(document, now, colour));
    }
    if !document.checks.is_empty() {
        let _ = writeln!(text, "\n{}", checks::table(document, now, colour));
    }
    let mut quiet = document.checks.iter().all(|check| check.state == "up");
    for instance in &document.instances {
        let problems = problems(document, instance, now);
        if !problems.is_empty() {
            quiet = false;
            let _ = writeln!(text, "\n{}:\n{}", instance.name, pairs(&problems));
        }
    }
    for group in &document.groups {
        let problems = groups::problems(group, now);
        if !problems.is_empty() {
            quiet = false;
            let _ = writeln!(text, "\ngroup {}:\n{}", group.name, pairs(&problems));
        }
    }
    let strays = errors(&document.counters);
    if !strays.is_empty() {
        quiet = false;
        let _ = writeln!(text, "\npackets of no instance:\n{}", pairs(&strays));
    }
    let link = node_findings::problems(document);
    if !link.is_empty() {
        quiet = false;
        let _ = writeln!(text, "\nnodes:\n{}", pairs(&link));
    }
    if quiet {
        text.push_str("\nNo obstacles, failing checks, drift, conflicts or errors.\n");
    }
    paint(&text)
}

/// Everything about one instance.
pub fn detail(document: &Document, instance: &Instance, now: Timestamp, colour: Colour) -> String {
    let mut text = headline(document, now);
    let _ = writeln!(text, "\n{}:", instance.name);
    let mut rows = vec![
        Row::new("state", state_in_words(instance, now, colour)),
        Row::new("reason", reason_in_words(instance)),
        Row::new("active router", active_router(document, instance, true)),
        Row::new("priority", words::priority(&instance.priority)),
        Row::new(
            "sends on",
            format!(
                "{}, {}, VRRP version {}, VRID {}",
                instance.interface, instance.family, instance.version, instance.vrid
            ),
        ),
        Row::new(
            "times",
            format!(
                "advertises every {}, takes over after {} of silence",
                words::exact_ms(instance.advert_interval_ms),
                words::exact_ms(instance.active_down_interval_ms)
            ),
        ),
    ];
    let mac = instance.virtual_mac.as_ref();
    rows.extend(mac.map(|mac| {
        let words = format!(
            "{} on {}, which is {}",
            mac.address, mac.interface, mac.state
        );
        Row::new("virtual MAC", words)
    }));
    let addresses = instance.addresses.iter().map(address_in_words);
    rows.extend(addresses.map(|words| Row::new("address", words)));
    rows.extend(picture::elsewhere(document, &instance.name, now));
    rows.extend(routing::rows(instance));
    rows.extend(or_none("obstacle", obstacles(instance, now)));
    rows.extend(or_none("drift", drift(document, instance)));
    rows.extend(or_none("conflict", conflicts(instance, now)));
    rows.extend(rejections(document, instance, now));
    let group = document.group_of(&instance.name);
    rows.extend(group.map(|group| Row::new("group", groups::in_words(group))));
    let hooks = instance.hooks.iter();
    rows.extend(hooks.map(|hook| Row::new("hook", last_run(hook, now))));
    rows.extend(counts(&instance.counters));
    rows.extend(or_none("error", errors(&instance.counters)));
    let _ = writeln!(text, "{}", pairs(&rows));
    paint(&text)
}

/// What no node can take, first of all.
fn stranded(document: &Document, colour: Colour) -> String {
    let all = document.instances.iter().filter(|one| one.stranded);
    let names: Vec<&str> = all.map(|one| one.name.as_str()).collect();
    if names.is_empty() {
        return String::new();
    }
    let nobody = marked("nobody", colour);
    let text = format!(
        "{nobody} can be Active for {}: every node that is known is drained, in fault or not heard",
        words::list(&names, 5)
    );
    wrapped(&text) + "\n"
}

fn headline(document: &Document, now: Timestamp) -> String {
    let text = format!(
        "{}: vipward {}, pid {}, up {}, since {}",
        document.node,
        document.version,
        document.pid,
        words::span(document.started_at.age(now)),
        clock(document.started_at),
    );
    wrapped(&text) + "\n"
}

/// `3 instances: 1 fault (mail), 1 active, 1 backup`, the worst first.
fn verdict(document: &Document) -> String {
    let mut states: BTreeMap<(u8, &str), Vec<&str>> = BTreeMap::new();
    for instance in &document.instances {
        let state = instance.state.as_str();
        let names = states.entry((severity(state), state)).or_default();
        names.push(&instance.name);
    }
    let parts: Vec<String> = states
        .into_iter()
        .map(|((_, state), names)| match state {
            "fault" => format!("{} {state} ({})", names.len(), words::list(&names, 3)),
            _ => format!("{} {state}", names.len()),
        })
        .collect();
    let all = words::count(document.instances.len(), "instance", "instances");
    format!("{all}: {}", words::list(&parts, parts.len()))
}

fn severity(state: &str) -> u8 {
    match state {
        "fault" => 0,
        "active" => 2,
        "backup" => 3,
        // Initialize, and what a newer agent may say.
        _ => 1,
    }
}

fn instances(document: &Document, now: Timestamp, colour: Colour) -> String {
    let mut table = plain_table();
    table.set_header([
        "INSTANCE",
        "STATE",
        "FOR, WHY",
        "PRIO",
        "ACTIVE ROUTER",
        "HELD",
    ]);
    for instance in &document.instances {
        let span = words::span(instance.since.age(now));
        table.add_row([
            instance.name.clone(),
            marked(&instance.state, colour),
            format!("{span}\n{}", instance.reason),
            instance.priority.effective.to_string(),
            active_router(document, instance, false),
            held(instance),
        ]);
    }
    table.set_constraints([
        ColumnConstraint::UpperBoundary(Width::Fixed(20)),
        ColumnConstraint::ContentWidth,
        ColumnConstraint::ContentWidth,
        ColumnConstraint::ContentWidth,
        // An IPv4 address and its age stay on one line.
        ColumnConstraint::LowerBoundary(Width::Fixed(26)),
    ]);
    if let Some(column) = table.column_mut(0) {
        column.set_padding((0, 1));
    }
    table.trim_fmt()
}

fn state_in_words(instance: &Instance, now: Timestamp, colour: Colour) -> String {
    format!(
        "{} for {}, since {}",
        marked(&instance.state, colour),
        words::span(instance.since.age(now)),
        clock(instance.since)
    )
}

fn reason_in_words(instance: &Instance) -> String {
    match words::reason(&instance.reason, &instance.state) {
        Some(words) => format!("{}: {words}", instance.reason),
        None => instance.reason.clone(),
    }
}

fn active_router(document: &Document, instance: &Instance, full: bool) -> String {
    let Some(router) = &instance.active_router else {
        return "nobody known".to_owned();
    };
    let age = words::span(Duration::from_millis(router.last_advert_age_ms));
    let ours = router.node.as_ref() == Some(&document.node);
    let who = match (&router.node, ours) {
        (_, true) => format!("this node, {}", router.address),
        (Some(node), false) => format!("{node}, {}", router.address),
        (None, false) => router.address.clone(),
    };
    if !full {
        // Our own last advertisement is news only when it is late.
        return if ours {
            who
        } else {
            format!("{who}, {age} ago")
        };
    }
    let verb = if ours { "sent" } else { "heard" };
    let mut text = format!(
        "{who}, priority {}, last advertisement {verb} {age} ago",
        router.priority
    );
    if let Some(form) = &router.checksum {
        let _ = write!(text, ", checksum {form}");
    }
    text
}

fn held(instance: &Instance) -> String {
    let held: Vec<&str> = instance
        .addresses
        .iter()
        .filter(|address| address.held)
        .map(|address| without_prefix(&address.address))
        .collect();
    let all = instance.addresses.len();
    if held.is_empty() {
        return format!("0 of {all}");
    }
    // One on a line, so that each can be copied.
    let mut text = format!("{} of {all}: ", held.len());
    let shown: Vec<&str> = held.iter().copied().take(ADDRESSES_SHOWN).collect();
    text.push_str(&shown.join("\n"));
    let rest = held.len().saturating_sub(ADDRESSES_SHOWN);
    if rest > 0 {
        let _ = write!(text, "\nand {rest} more");
    }
    text
}

/// The address alone: the overview is short of room.
fn without_prefix(address: &str) -> &str {
    address.split_once('/').map_or(address, |(bare, _)| bare)
}

fn address_in_words(address: &Address) -> String {
    let held = if address.held { "held" } else { "not held" };
    let mut text = format!("{} on {}: {held}", address.address, address.interface);
    if !address.required {
        text.push_str(" (not required)");
    }
    if let Some(seconds) = address.lease_s {
        let _ = write!(text, ", leased for {seconds} s");
    }
    text
}

fn counts(counters: &Counters) -> [Row; 4] {
    let adverts = |all: u64, zero: u64| format!("{all} advertisements, {zero} of priority 0");
    [
        Row::new(
            "sent",
            adverts(counters.adverts_sent, counters.priority_zero_sent),
        ),
        Row::new(
            "received",
            adverts(counters.adverts_received, counters.priority_zero_received),
        ),
        Row::new("transitions", counters.transitions.to_string()),
        Row::new("stalls", counters.stalls.to_string()),
    ]
}

/// A list that says so when it is empty.
fn or_none(kind: &'static str, rows: Vec<Row>) -> Vec<Row> {
    if rows.is_empty() {
        vec![Row::new(kind, "none")]
    } else {
        rows
    }
}

/// To the second: `2026-11-22 10:00:03 UTC`.
fn clock(time: Time) -> String {
    time.0.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::layout::MARKS;
    use crate::control::sample;

    #[test]
    fn everything_at_once() {
        let text = overview(&sample::document(), sample::wall(), Colour::Off);
        sample::fits(&text);
        insta::assert_snapshot!(text);
    }

    #[test]
    fn all_is_well() {
        let mut document = sample::document();
        document.counters.errors.clear();
        document.instances.retain(|one| one.name == "cache");
        document.instances[0].priority.effective = 150;
        document.instances[0].priority.terms.clear();
        document.checks.retain(|check| check.state == "up");
        document.groups[0].hooks.clear();
        let text = overview(&document, sample::wall(), Colour::Off);
        sample::fits(&text);
        insta::assert_snapshot!(text);
    }

    #[test]
    fn one_in_full() {
        let document = sample::document();
        for name in ["web", "mail", "cache"] {
            let instance = document.instance(name).unwrap();
            let text = detail(&document, instance, sample::wall(), Colour::Off);
            sample::fits(&text);
            insta::assert_snapshot!(format!("detail_{name}"), text);
        }
    }

    #[test]
    fn colours_change_no_word_and_no_width() {
        let document = sample::document();
        let painted = overview(&document, sample::wall(), Colour::On);
        assert!(painted.contains("\x1b[1;31mfault\x1b[0m"), "{painted}");
        assert!(painted.contains("\x1b[32mactive\x1b[0m"), "{painted}");
        assert!(painted.contains("\x1b[1;31mdown\x1b[0m"), "{painted}");
        let codes = MARKS.map(|(_, code)| code);
        let bare = codes
            .iter()
            .fold(painted, |text, code| text.replace(code, ""));
        assert_eq!(bare, overview(&document, sample::wall(), Colour::Off));
    }

    #[test]
    fn long_names_and_lists_stay_within_the_width() {
        let mut document = sample::document();
        for (number, instance) in document.instances.iter_mut().enumerate() {
            instance.name = format!("an-instance-whose-name-has-no-end-{number}");
            if let Some(address) = instance.addresses.first().cloned() {
                let long = Address {
                    address: "2001:db8:1234:5678:9abc:def0:1234:5678/128".to_owned(),
                    held: true,
                    ..address
                };
                instance.addresses = vec![long; 1000];
            }
        }
        for check in &mut document.checks {
            check.name = "a-check-whose-name-has-no-end-".repeat(3);
            check.output = "so much to say\n".repeat(100);
        }
        let text = overview(&document, sample::wall(), Colour::On);
        let codes = MARKS.map(|(_, code)| code);
        let text = codes.iter().fold(text, |text, code| text.replace(code, ""));
        for line in text.lines().filter(|line| !line.ends_with(':')) {
            sample::fits(line);
        }
        assert!(text.contains("and 997 more"), "{text}");
        let results = text.matches("so much to say...").count();
        assert_eq!(results, document.checks.len(), "one line each: {text}");
    }

    #[test]
    fn results_that_are_not_enough_yet_are_counted() {
        let mut check = sample::document().checks[0].clone();
        let mut shown = |state: &str, against, output: &str| {
            check.state = state.to_owned();
            check.against = against;
            check.output = output.to_owned();
            checks::last_result(&check)
        };
        assert_eq!(shown("up", 0, "200"), "200");
        assert_eq!(shown("up", 1, "500"), "failed: 500");
        assert_eq!(shown("up", 2, ""), "failed 2 times");
        assert_eq!(shown("down", 2, "200"), "passed 2 times: 200");
        assert_eq!(shown("unknown", 0, ""), "waiting for the first result");
    }
}
