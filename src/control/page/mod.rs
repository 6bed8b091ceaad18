//! The page: one picture of this node and the others, read only, whole in one
//! answer. Without JavaScript it is a page of tables; with it, the parts that
//! changed are exchanged every few seconds for those of a newer page.
//!
//! Every text from elsewhere passes [`shown`]: escaped, and without characters
//! that hide or turn what stands around them.

mod tables;
mod timeline;

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hyper::header::HeaderValue;
use jiff::Timestamp;
use maud::{DOCTYPE, Markup, PreEscaped, Render, html};
use sha2::{Digest, Sha256};

use super::client::printable_char;
use super::document::{Document, Time};
use super::events::record::Record;
use super::findings::{self, Row};
use super::{groups, node_findings, words};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Nothing from anywhere but the page's own style and script, by their
/// hashes, and the address that it came from.
pub(super) fn content_security_policy() -> HeaderValue {
    static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
        let hash = |text: &str| BASE64.encode(Sha256::digest(text));
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; \
             connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            hash(STYLE),
            hash(SCRIPT)
        );
        HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
    });
    POLICY.clone()
}

/// Of the time line.
pub(super) const EVENTS_SHOWN: usize = 60;

/// `now` is the moment of the picture.
pub(super) fn html(document: &Document, events: &[Record], now: Timestamp) -> String {
    let trouble = troubles(document, now);
    let node = shown(&document.node);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (headline(&trouble)) " - " (node) " - vipward" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    p.brand { "vipward" }
                    h1 { (node) }
                    p #summary .summary role="status" { (summary(&trouble)) }
                    p #moment .moment { (moment(document, now)) }
                    p #live .live hidden {}
                }
                main {
                    (attention(&trouble.urgent))
                    (tables::cluster(document, now))
                    (tables::instances(document, now))
                    (tables::nodes(document, now))
                    (tables::groups(document, now))
                    (tables::checks(document, now))
                    (timeline::section(events))
                    (noted(&trouble.noted))
                }
                footer {
                    p {
                        "Read only. Orders are given on the host: " code { "vipward drain" } ", "
                        code { "vipward handover" } "."
                    }
                    nav aria-label="The same for programs" {
                        a href="metrics" { "Metrics" } " "
                        a href="api/status" { "Status as JSON" } " "
                        a href="api/events" { "Events as JSON" } " "
                        a href="healthz" { "Is the agent well?" }
                    }
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string()
}

/// What somebody may have to do something about, by what it is about.
#[derive(Default)]
struct Troubles {
    urgent: Vec<(String, Vec<Row>)>,
    /// Counts since the start, of what may long be over.
    noted: Vec<(String, Vec<Row>)>,
}

fn troubles(document: &Document, now: Timestamp) -> Troubles {
    let mut troubles = Troubles::default();
    let stranded = document.instances.iter().filter(|one| one.stranded);
    let stranded = stranded.map(|one| {
        let text = "every node that is known is drained, in fault or not heard";
        (one.name.clone(), vec![Row::new("nobody", text)])
    });
    let instances = document.instances.iter().map(|one| {
        let rows = findings::problems(document, one, now);
        (one.name.clone(), rows)
    });
    let groups = document.groups.iter().map(|one| {
        let rows = groups::problems(one, now);
        (format!("group {}", one.name), rows)
    });
    let checks = document.checks.iter().filter(|check| check.state == "down");
    let checks = checks.map(|check| {
        let text = super::checks::last_result(check);
        (
            format!("check {}", check.name),
            vec![Row::new("down", text)],
        )
    });
    let nodes = [("nodes".to_owned(), node_findings::problems(document))];
    let strays = findings::errors(&document.counters);
    let strays = [("packets of no instance".to_owned(), strays)];
    let all = stranded.chain(nodes).chain(instances).chain(groups);
    for (about, rows) in all.chain(checks).chain(strays) {
        let counted = |row: &Row| matches!(row.kind, "error" | "stalls" | "rejected" | "refused");
        let (noted, urgent): (Vec<Row>, Vec<Row>) = rows.into_iter().partition(counted);
        for (list, rows) in [(&mut troubles.urgent, urgent), (&mut troubles.noted, noted)] {
            if !rows.is_empty() {
                list.push((about.clone(), rows));
            }
        }
    }
    troubles
}

fn headline(troubles: &Troubles) -> String {
    let count: usize = troubles.urgent.iter().map(|(_, rows)| rows.len()).sum();
    match count {
        0 => "All well".to_owned(),
        count => words::count(count, "thing to look at", "things to look at"),
    }
}

fn summary(troubles: &Troubles) -> Markup {
    let (class, sign) = match troubles.urgent.is_empty() {
        true => ("good", "\u{2713}"),
        false => ("bad", "\u{25b2}"),
    };
    html! {
        span class=(class) { span aria-hidden="true" { (sign) " " } (headline(troubles)) }
    }
}

fn moment(document: &Document, now: Timestamp) -> Markup {
    let text = now.strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
    html! {
        "As of " time datetime=(Time(now)) { (text) } ", version " (shown(&document.version)) ", up "
        (words::span(document.started_at.age(now)))
    }
}

fn attention(troubles: &[(String, Vec<Row>)]) -> Markup {
    html! {
        section #attention data-part hidden[troubles.is_empty()] aria-labelledby="attention-title" {
            h2 #attention-title { "To look at" }
            (rows(troubles))
        }
    }
}

fn noted(troubles: &[(String, Vec<Row>)]) -> Markup {
    html! {
        section #noted data-part hidden[troubles.is_empty()] aria-labelledby="noted-title" {
            h2 #noted-title { "Counted since the start" }
            (rows(troubles))
        }
    }
}

fn rows(troubles: &[(String, Vec<Row>)]) -> Markup {
    html! {
        dl {
            @for (about, rows) in troubles {
                div {
                    dt { (shown(about)) }
                    @for row in rows {
                        dd { strong { (row.kind) } " " (shown(&row.text)) }
                    }
                }
            }
        }
    }
}

/// A text from elsewhere.
fn shown(text: &str) -> Shown<'_> {
    Shown(text)
}

struct Shown<'a>(&'a str);

impl Render for Shown<'_> {
    fn render_to(&self, buffer: &mut String) {
        let harmless: String = self.0.chars().map(printable_char).collect();
        harmless.as_str().render_to(buffer);
    }
}

#[cfg(test)]
mod tests;
