//! Routes and rules in the document, and for people.

use serde::{Deserialize, Serialize};

use super::document::Instance;
use super::findings::{ADDRESSES_SHOWN, Row};
use super::words;
use crate::agent::routing::{RouteStatus, RuleStatus, table_name};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// With its prefix length; the default route is `0.0.0.0/0` or `::/0`.
    pub to: String,
    pub via: Option<String>,
    pub interface: String,
    pub source: Option<String>,
    /// `main`, `local`, `default` or a number.
    pub table: String,
    pub metric: u32,
    pub onlink: bool,
    /// The kernel confirmed that it is there.
    pub held: bool,
    /// Without it an Active instance is not whole.
    pub required: bool,
    /// All of it as one line, in the words of `ip route`.
    pub text: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// `ipv4` or `ipv6`.
    pub family: String,
    /// With its prefix length; null where any will do.
    pub from: Option<String>,
    pub to: Option<String>,
    pub iif: Option<String>,
    pub oif: Option<String>,
    pub fwmark: Option<u32>,
    /// As of a route.
    pub table: String,
    pub priority: u32,
    pub held: bool,
    pub required: bool,
    pub text: String,
}

impl Route {
    pub(super) fn new(status: &RouteStatus) -> Self {
        let route = &status.route;
        Self {
            to: route.to.to_string(),
            via: route.via.map(|via| via.to_string()),
            interface: route.interface.to_string(),
            source: route.source.map(|source| source.to_string()),
            table: table_name(route.table),
            metric: route.metric,
            onlink: route.onlink,
            held: status.held,
            required: status.required,
            text: route.to_string(),
        }
    }
}

impl Rule {
    pub(super) fn new(status: &RuleStatus) -> Self {
        let rule = &status.rule;
        Self {
            family: rule.family.name().to_owned(),
            from: rule.from.map(|from| from.to_string()),
            to: rule.to.map(|to| to.to_string()),
            iif: rule.iif.map(|iif| iif.to_string()),
            oif: rule.oif.map(|oif| oif.to_string()),
            fwmark: rule.fwmark,
            table: table_name(rule.table),
            priority: rule.priority,
            held: status.held,
            required: status.required,
            text: rule.to_string(),
        }
    }
}

/// Each with whether it is there.
struct Line<'a> {
    kind: &'static str,
    text: &'a str,
    held: bool,
    required: bool,
}

fn lines(instance: &Instance) -> impl Iterator<Item = Line<'_>> {
    let routes = instance.routes.iter().map(|route| Line {
        kind: "route",
        text: &route.text,
        held: route.held,
        required: route.required,
    });
    let rules = instance.rules.iter().map(|rule| Line {
        kind: "rule",
        text: &rule.text,
        held: rule.held,
        required: rule.required,
    });
    routes.chain(rules)
}

/// All of an instance.
pub(super) fn rows(instance: &Instance) -> Vec<Row> {
    let row = |line: Line<'_>| {
        let held = if line.held { "held" } else { "not held" };
        let optional = if line.required { "" } else { " (not required)" };
        Row::new(line.kind, format!("{}: {held}{optional}", line.text))
    };
    lines(instance).map(row).collect()
}

/// Those that are not where the state says.
pub(super) fn misplaced(instance: &Instance) -> Option<Row> {
    let active = instance.state == "active";
    let wrong = lines(instance).filter(|line| line.held != active);
    let wrong: Vec<String> = wrong
        .map(|line| {
            let optional = if line.required { "" } else { " (not required)" };
            format!("{} {}{optional}", line.kind, line.text)
        })
        .collect();
    if wrong.is_empty() {
        return None;
    }
    let list = words::list(&wrong, ADDRESSES_SHOWN);
    Some(if active {
        Row::new("not held", format!("{list}, although this node is Active"))
    } else if instance.reason == "shutdown" {
        Row::new(
            "still held",
            format!("{list}, until another node takes over"),
        )
    } else {
        Row::new(
            "still held",
            format!("{list}, although this node is not Active"),
        )
    })
}
