//! The tables. A cell says with `data-label` what its column is, for narrow
//! screens, where a row becomes a card.

use std::time::Duration;

use jiff::Timestamp;
use maud::{Markup, html};

use super::shown;
use crate::control::checks::last_result;
use crate::control::document::{Document, Instance, Time};
use crate::control::nodes::Node;
use crate::control::picture::{self, Seen, View};
use crate::control::words;

/// A state by a sign, a word and a colour.
fn state(state: &str) -> Markup {
    let (class, sign) = match state {
        "active" | "up" | "reachable" => ("good", "\u{25cf}"),
        "backup" | "this node" => ("calm", "\u{25cb}"),
        "fault" | "down" | "unreachable" | "nobody" => ("bad", "\u{2715}"),
        // Initialize, drained, unknown, and what a newer agent may say.
        _ => ("waits", "\u{25d0}"),
    };
    html! {
        span.state.(class) { span aria-hidden="true" { (sign) " " } (shown(state)) }
    }
}

/// For how long.
fn span(since: Time, now: Timestamp) -> Markup {
    html! {
        time datetime=(since) title=(since) { (words::span(since.age(now))) }
    }
}

fn ago(age_ms: Option<u64>) -> String {
    match age_ms {
        Some(age) => format!("{} ago", words::span(Duration::from_millis(age))),
        None => "never".to_owned(),
    }
}

fn part(id: &str, title: &str, empty: bool, head: &[&str], body: Markup) -> Markup {
    let labelled = format!("{id}-title");
    html! {
        section id=(id) data-part hidden[empty] aria-labelledby=(labelled) {
            h2 id=(labelled) { (title) }
            @if !empty {
                table {
                    thead { tr { @for title in head { th scope="col" { (title) } } } }
                    tbody { (body) }
                }
            }
        }
    }
}

/// Who is Active where. Without other nodes the next table says it all.
pub(super) fn cluster(document: &Document, now: Timestamp) -> Markup {
    let empty = document.nodes.is_empty();
    let names = picture::names(document);
    let body = html! {
        @for name in names {
            @let views = picture::views(document, name);
            @let first = views.iter().find(|view| view.is_active()).and_then(View::report);
            tr {
                th scope="row" { (shown(name)) }
                td data-label="Active on" { (active_on(document, name, &views)) }
                td data-label="For" { @if let Some(first) = &first { (span(first.since, now)) } }
                td data-label="Why" {
                    @if let Some(first) = &first { (shown(first.reason)) }
                }
                td data-label="The others" {
                    ul.plain {
                        @for view in views.iter().filter(|view| !view.is_active()) {
                            li { (other(view)) }
                        }
                    }
                }
            }
        }
    };
    let head = ["Instance", "Active on", "For", "Why", "The others"];
    part("cluster", "Who is Active", empty, &head, body)
}

fn active_on(document: &Document, name: &str, views: &[View<'_>]) -> Markup {
    let active: Vec<&str> = views
        .iter()
        .filter(|view| view.is_active())
        .map(|view| view.node)
        .collect();
    // Each of several holds the addresses: that is worse than nobody.
    let (class, sign) = match active.len() {
        0 | 1 => ("good", "\u{25cf} "),
        _ => ("bad", "\u{25b2} "),
    };
    html! {
        @match (active.is_empty(), picture::heard(document, name)) {
            (false, _) => {
                ul.plain {
                    @for node in &active {
                        li { span.state.(class) {
                            span aria-hidden="true" { (sign) } (shown(node))
                        } }
                    }
                    @if active.len() > 1 { li { "more than one" } }
                }
            }
            (true, Some(router)) => { (shown(&router)) ", by its advertisements" }
            (true, None) => { (state("nobody")) }
        }
    }
}

fn other(view: &View<'_>) -> Markup {
    html! {
        (shown(view.node)) " "
        @match (&view.seen, view.report()) {
            (Seen::Unreachable, _) => { (state("unreachable")) }
            (Seen::Here(_) | Seen::There(_), Some(report)) => {
                (state(report.state)) " "
                @match report.obstacle {
                    Some(source) => { (shown(source)) }
                    None => { "priority " (report.priority) }
                }
            }
            (Seen::Lacks | Seen::Here(_) | Seen::There(_), _) => { "does not have it" }
        }
    }
}

pub(super) fn instances(document: &Document, now: Timestamp) -> Markup {
    let title = match document.nodes.is_empty() {
        true => "Instances",
        false => "Instances on this node",
    };
    let body = html! {
        @for one in &document.instances {
            tr {
                th scope="row" {
                    (shown(&one.name))
                    span.minor { (shown(&one.interface)) ", VRID " (one.vrid) }
                }
                td data-label="State" { (state(&one.state)) }
                td data-label="For" { (span(one.since, now)) }
                td data-label="Why" { (shown(&one.reason)) }
                td.number data-label="Priority" {
                    (one.priority.effective)
                    @if one.priority.effective != one.priority.base {
                        span.minor { "of " (one.priority.base) }
                    }
                }
                td data-label="Active router" { (router(document, one)) }
                td data-label="Addresses" { (addresses(one)) }
            }
        }
    };
    let head = [
        "Instance",
        "State",
        "For",
        "Why",
        "Priority",
        "Active router",
        "Addresses",
    ];
    part(
        "instances",
        title,
        document.instances.is_empty(),
        &head,
        body,
    )
}

fn router(document: &Document, instance: &Instance) -> Markup {
    html! {
        @match &instance.active_router {
            None => { "none known" }
            Some(router) => {
                @match &router.node {
                    Some(node) if *node == document.node => { "this node" }
                    Some(node) => { (shown(node)) }
                    None => { (shown(&router.address)) }
                }
                span.minor {
                    "heartbeat " (ago(Some(router.last_advert_age_ms)))
                }
            }
        }
    }
}

/// The first ones; the count has all.
const ADDRESSES_SHOWN: usize = 4;

fn addresses(instance: &Instance) -> Markup {
    let all = &instance.addresses;
    let held = all.iter().filter(|address| address.held).count();
    html! {
        (held) " of " (all.len()) " held"
        ul.plain.minor {
            @for address in all.iter().take(ADDRESSES_SHOWN) {
                li {
                    (shown(&address.address))
                    @if !address.held && instance.state == "active" { " (not held)" }
                }
            }
            @if all.len() > ADDRESSES_SHOWN {
                li { "and " (all.len() - ADDRESSES_SHOWN) " more" }
            }
        }
    }
}

pub(super) fn nodes(document: &Document, _now: Timestamp) -> Markup {
    let empty = document.nodes.is_empty();
    let body = html! {
        tr {
            th scope="row" { (shown(&document.node)) }
            td data-label="State" { (state("this node")) }
            td data-label="Heard" { "" }
            td data-label="Version" { (shown(&document.version)) }
            td data-label="Paths" { "" }
        }
        @for node in &document.nodes {
            tr {
                th scope="row" { (shown(&node.name)) }
                td data-label="State" {
                    (state(if node.reachable { "reachable" } else { "unreachable" }))
                }
                td data-label="Heard" { (ago(node.last_heard_age_ms)) }
                td data-label="Version" {
                    @if let Some(version) = &node.version { (shown(version)) }
                }
                td data-label="Paths" { (paths(node)) }
            }
        }
    };
    let head = ["Node", "State", "Heard", "Version", "Paths"];
    part("nodes", "Nodes", empty, &head, body)
}

fn paths(node: &Node) -> Markup {
    html! {
        ul.plain {
            @for path in &node.paths {
                li {
                    (shown(&path.address)) " "
                    (state(if path.reachable { "up" } else { "down" }))
                    @if let Some(error) = &path.error { " " (shown(error)) }
                }
            }
        }
    }
}

pub(super) fn groups(document: &Document, now: Timestamp) -> Markup {
    let body = html! {
        @for group in &document.groups {
            tr {
                th scope="row" { (shown(&group.name)) }
                td data-label="State" { (state(&group.state)) }
                td data-label="For" { (span(group.since, now)) }
                td data-label="Members" { (shown(&group.members.join(", "))) }
            }
        }
    };
    let head = ["Group", "State", "For", "Members"];
    part("groups", "Groups", document.groups.is_empty(), &head, body)
}

pub(super) fn checks(document: &Document, now: Timestamp) -> Markup {
    let body = html! {
        @for check in &document.checks {
            tr {
                th scope="row" { (shown(&check.name)) }
                td data-label="State" { (state(&check.state)) }
                td data-label="For" { (span(check.since, now)) }
                td.number data-label="Took" { (words::exact_ms(check.duration_ms)) }
                td.output data-label="Last result" { (shown(&last_result(check))) }
            }
        }
    };
    let head = ["Check", "State", "For", "Took", "Last result"];
    part("checks", "Checks", document.checks.is_empty(), &head, body)
}
