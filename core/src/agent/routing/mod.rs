//! Routes and rules that come and go with an instance's addresses: what they
//! are, what should be on the host, what is, and the orders that mend the
//! difference.

mod account;
mod entry;
mod host;
mod report;

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use super::values::{Family, InstanceId, InterfaceName};
pub(super) use account::Routing;
pub use report::RoutingFact;

/// The kernel's own tables, as `ip route` names them.
pub const TABLE_MAIN: u32 = 254;
pub const TABLE_LOCAL: u32 = 255;
pub const TABLE_DEFAULT: u32 = 253;
/// What the kernel takes for the metric of an IPv6 route that has none.
pub const IPV6_METRIC: u32 = 1024;
/// Of a rule that says none: ahead of the kernel's own for the main table,
/// and the same at each claim, which the kernel's choice is not.
pub const RULE_PRIORITY: u32 = 30_000;

/// A unicast route, as the kernel keeps it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Route {
    /// Without host bits; of length 0 it is the default route.
    pub to: IpNet,
    /// Of the family of `to`. Without one the destinations are on the link.
    pub via: Option<IpAddr>,
    pub interface: InterfaceName,
    /// The address from which the host's own connections start.
    pub source: Option<IpAddr>,
    pub table: u32,
    /// The lowest is preferred. Never 0 for IPv6.
    pub metric: u32,
    /// `via` is a neighbour whatever the subnets of the interface say.
    pub onlink: bool,
}

/// A rule that sends packets to a table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rule {
    pub family: Family,
    /// Without host bits and never of length 0.
    pub from: Option<IpNet>,
    pub to: Option<IpNet>,
    pub iif: Option<InterfaceName>,
    pub oif: Option<InterfaceName>,
    /// All 32 bits of it.
    pub fwmark: Option<u32>,
    pub table: u32,
    /// The lowest is asked first.
    pub priority: u32,
}

/// One of either.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RoutingItem {
    Route(Route),
    Rule(Rule),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteSettings {
    pub route: Route,
    /// When false, a route that cannot be added is reported and does not put
    /// the instance in fault.
    pub required: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleSettings {
    pub rule: Rule,
    /// As for routes.
    pub required: bool,
}

/// Handle of a route or rule within its instance; never used for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoutingIndex(pub u16);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Change {
    Add,
    Remove,
}

/// All that the kernel has to be told about one route or rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoutingOrder {
    pub instance: InstanceId,
    pub index: RoutingIndex,
    pub item: RoutingItem,
    pub change: Change,
}

/// What an acknowledged order amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The kernel did it now.
    Done,
    /// It was so already: there, with our mark, or absent.
    Already,
}

/// Every route and rule of the host that bears our mark.
pub type RoutingState = BTreeSet<RoutingItem>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteStatus {
    pub route: Route,
    /// The kernel confirmed that it is there.
    pub held: bool,
    pub required: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleStatus {
    pub rule: Rule,
    /// As for routes.
    pub held: bool,
    pub required: bool,
}

impl RoutingItem {
    /// Without which it cannot be there.
    pub fn interface(&self) -> Option<InterfaceName> {
        match self {
            RoutingItem::Route(route) => Some(route.interface),
            // The kernel keeps a rule whose interface is not there.
            RoutingItem::Rule(_) => None,
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to.prefix_len() {
            0 => write!(f, "default")?,
            _ => write!(f, "{}", self.to)?,
        }
        if let Some(via) = self.via {
            write!(f, " via {via}")?;
        }
        write!(f, " dev {}", self.interface)?;
        if let Some(source) = self.source {
            write!(f, " src {source}")?;
        }
        if self.table != TABLE_MAIN {
            write!(f, " table {}", table_name(self.table))?;
        }
        if self.metric != default_metric(Family::of(self.to.addr())) {
            write!(f, " metric {}", self.metric)?;
        }
        if self.onlink {
            write!(f, " onlink")?;
        }
        Ok(())
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.from {
            Some(from) => write!(f, "from {from}")?,
            None => write!(f, "from all")?,
        }
        if let Some(to) = self.to {
            write!(f, " to {to}")?;
        }
        if let Some(iif) = self.iif {
            write!(f, " iif {iif}")?;
        }
        if let Some(oif) = self.oif {
            write!(f, " oif {oif}")?;
        }
        if let Some(fwmark) = self.fwmark {
            write!(f, " fwmark {fwmark}")?;
        }
        write!(
            f,
            " table {} priority {}",
            table_name(self.table),
            self.priority
        )
    }
}

impl fmt::Display for RoutingItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RoutingItem::Route(route) => write!(f, "route {route}"),
            RoutingItem::Rule(rule) => match rule.family {
                Family::Ipv4 => write!(f, "rule {rule}"),
                Family::Ipv6 => write!(f, "IPv6 rule {rule}"),
            },
        }
    }
}

/// The metric that a route has which says none.
pub fn default_metric(family: Family) -> u32 {
    match family {
        Family::Ipv4 => 0,
        Family::Ipv6 => IPV6_METRIC,
    }
}

/// `main`, `local`, `default`, or the number.
pub fn table_name(table: u32) -> String {
    match table {
        TABLE_MAIN => "main".to_owned(),
        TABLE_LOCAL => "local".to_owned(),
        TABLE_DEFAULT => "default".to_owned(),
        other => other.to_string(),
    }
}
