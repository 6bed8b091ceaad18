//! Routes and rules in the picture: named as they are on the host.

use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Left, Leftovers};
use crate::agent::routing::{Route, RoutingItem, Rule};
use crate::agent::values::Family;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftRoute {
    /// With its prefix length.
    pub to: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<IpAddr>,
    pub interface: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<IpAddr>,
    pub table: u32,
    pub metric: u32,
    pub onlink: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftRule {
    /// For IPv6, otherwise for IPv4.
    pub ipv6: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iif: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oif: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fwmark: Option<u32>,
    pub table: u32,
    pub priority: u32,
}

impl Leftovers {
    /// Each once, the last added first: rules before the routes they lead to.
    pub fn routing(&self) -> impl Iterator<Item = RoutingItem> {
        let all = self.instances.iter().rev();
        all.flat_map(|left| {
            let rules = left.rules.iter().rev().filter_map(LeftRule::parts);
            let routes = left.routes.iter().rev().filter_map(LeftRoute::parts);
            let rules = rules.map(RoutingItem::Rule);
            rules.chain(routes.map(RoutingItem::Route))
        })
    }
}

impl Left {
    /// Also what is to be removed.
    pub(super) fn note(&mut self, routing: Vec<RoutingItem>) {
        for item in routing {
            match item {
                RoutingItem::Route(route) => self.routes.push(route.into()),
                RoutingItem::Rule(rule) => self.rules.push(rule.into()),
            }
        }
    }
}

impl LeftRoute {
    /// `None` where it is none.
    fn parts(&self) -> Option<Route> {
        Some(Route {
            to: self.to.parse().ok()?,
            via: self.via,
            interface: self.interface.parse().ok()?,
            source: self.source,
            table: self.table,
            metric: self.metric,
            onlink: self.onlink,
        })
    }
}

impl LeftRule {
    /// `None` where it is none.
    fn parts(&self) -> Option<Rule> {
        Some(Rule {
            family: match self.ipv6 {
                true => Family::Ipv6,
                false => Family::Ipv4,
            },
            from: parsed(&self.from)?,
            to: parsed(&self.to)?,
            iif: parsed(&self.iif)?,
            oif: parsed(&self.oif)?,
            fwmark: self.fwmark,
            table: self.table,
            priority: self.priority,
        })
    }
}

/// The outer `None`: there is one, and it cannot be read.
fn parsed<T: FromStr>(text: &Option<String>) -> Option<Option<T>> {
    match text {
        Some(text) => text.parse().ok().map(Some),
        None => Some(None),
    }
}

impl From<Route> for LeftRoute {
    fn from(route: Route) -> Self {
        Self {
            to: route.to.to_string(),
            via: route.via,
            interface: route.interface.to_string(),
            source: route.source,
            table: route.table,
            metric: route.metric,
            onlink: route.onlink,
        }
    }
}

impl From<Rule> for LeftRule {
    fn from(rule: Rule) -> Self {
        Self {
            ipv6: rule.family == Family::Ipv6,
            from: rule.from.map(|from| from.to_string()),
            to: rule.to.map(|to| to.to_string()),
            iif: rule.iif.map(|iif| iif.to_string()),
            oif: rule.oif.map(|oif| oif.to_string()),
            fwmark: rule.fwmark,
            table: rule.table,
            priority: rule.priority,
        }
    }
}
