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

#[cfg(test)]
pub(super) mod tests {
    use super::super::tests::custody;
    use super::*;

    pub(in crate::daemon::leftovers) fn route() -> Route {
        Route {
            to: "203.0.113.0/24".parse().unwrap(),
            via: Some([192, 0, 2, 254].into()),
            interface: "eth0".parse().unwrap(),
            source: Some([192, 0, 2, 10].into()),
            table: 100,
            metric: 7,
            onlink: true,
        }
    }

    pub(in crate::daemon::leftovers) fn rule() -> Rule {
        Rule {
            family: Family::Ipv4,
            from: Some("192.0.2.10/32".parse().unwrap()),
            to: None,
            iif: Some("eth1".parse().unwrap()),
            oif: None,
            fwmark: Some(9),
            table: 100,
            priority: 30_000,
        }
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let mut plain = route();
        (plain.via, plain.source) = (None, None);
        let mut six = rule();
        (six.family, six.from) = (Family::Ipv6, None);
        six.to = Some("2001:db8::/64".parse().unwrap());
        let mut custody = custody("web", &["192.0.2.10/24"]);
        custody.routing = vec![
            RoutingItem::Route(route()),
            RoutingItem::Route(plain.clone()),
            RoutingItem::Rule(rule()),
            RoutingItem::Rule(six.clone()),
        ];
        let fragment = serde_json::to_vec(&Left::from(custody)).unwrap();
        let read: Left = serde_json::from_slice(&fragment).unwrap();
        let read = Leftovers {
            format: super::super::FORMAT,
            instances: vec![read],
        };
        let items: Vec<RoutingItem> = read.routing().collect();
        let wanted = [
            RoutingItem::Rule(six),
            RoutingItem::Rule(rule()),
            RoutingItem::Route(plain),
            RoutingItem::Route(route()),
        ];
        assert_eq!(items, wanted);
    }

    /// A record of an older agent has none; a damaged one names none.
    #[test]
    fn what_cannot_be_read_is_left_out() {
        let old = serde_json::to_string(&Left::from(custody("web", &[]))).unwrap();
        assert!(!old.contains("routes") && !old.contains("rules"));
        let mut left: Left = serde_json::from_str(&old).unwrap();
        left.note(vec![RoutingItem::Route(route()), RoutingItem::Rule(rule())]);
        left.routes[0].to = "nowhere".to_owned();
        left.rules[0].iif = Some("a/b".to_owned());
        let read = Leftovers {
            format: super::super::FORMAT,
            instances: vec![left],
        };
        assert_eq!(read.routing().count(), 0);
    }
}
