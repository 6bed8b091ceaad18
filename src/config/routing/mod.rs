//! Routes and rules as they are written. What they mean in their instance and
//! between instances is judged in `judge`.

#[cfg(test)]
pub(super) mod arbitrary;
mod judge;
pub(super) mod print;

use std::net::IpAddr;

use ipnet::IpNet;

use super::address;
use super::fault::{Finding, Findings, Place, quoted};
use super::instance::{Items, absent_or_bad};
use super::keys;
use super::read::{self, At, Field, Read, Section};
use super::yaml::Node;
use crate::agent::routing::{TABLE_DEFAULT, TABLE_LOCAL, TABLE_MAIN};
use crate::agent::values::InterfaceName;
pub(super) use judge::{between, judge_routes, judge_rules};

/// Of each kind in one instance: an instance that leaves Active removes them
/// before its addresses, and may not be held up for long.
pub(super) const MOST: usize = 256;

/// Where a route leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// Of whichever family the rest says.
    Default,
    Network(IpNet),
}

/// One entry of `routes`, as far as it could be read.
#[derive(Clone, Debug)]
pub(super) struct RouteDraft {
    pub place: Place,
    pub to: At<Target>,
    pub via: Field<IpAddr>,
    pub interface: Field<InterfaceName>,
    pub source: Field<IpAddr>,
    pub table: Field<u32>,
    pub metric: Field<u32>,
    pub onlink: Field<bool>,
    pub required: Field<bool>,
}

/// One entry of `rules`.
#[derive(Clone, Debug)]
pub(super) struct RuleDraft {
    pub place: Place,
    pub from: Field<IpNet>,
    pub to: Field<IpNet>,
    pub iif: Field<InterfaceName>,
    pub oif: Field<InterfaceName>,
    pub fwmark: Field<u32>,
    pub table: At<u32>,
    pub priority: Field<u32>,
    pub required: Field<bool>,
}

pub(super) fn routes(section: &Section, out: &mut Findings) -> Field<Items<RouteDraft>> {
    entries(section, "routes", out, route)
}

pub(super) fn rules(section: &Section, out: &mut Findings) -> Field<Items<RuleDraft>> {
    entries(section, "rules", out, rule)
}

fn entries<T: Clone>(
    section: &Section,
    key: &str,
    out: &mut Findings,
    reader: fn(&Node, &mut Findings) -> Option<T>,
) -> Field<Items<T>> {
    let list = section.field(key, out, |node| {
        read::list(node, &format!("`{key}`")).map(|list| (list, node.place))
    });
    let Field::Given(list) = list else {
        return absent_or_bad(&list);
    };
    let (nodes, place) = list.value;
    if nodes.len() > MOST {
        let title = format!("{} `{key}` in one instance", nodes.len());
        out.fault(
            Finding::at(place, title, format!("{MOST} are the most"))
                .help("they go before the addresses do, which must not take long"),
        );
        return Field::Bad;
    }
    let items: Vec<T> = nodes.iter().filter_map(|node| reader(node, out)).collect();
    let whole = items.len() == nodes.len();
    let value = Items { items, whole };
    Field::Given(At { value, place })
}

fn route(node: &Node, out: &mut Findings) -> Option<RouteDraft> {
    let section = Section::open(node, &keys::ROUTE, out)?;
    let to = section.field("to", out, target);
    if section.lacks("to") {
        out.fault(
            Finding::at(node.place, "`to` is missing", "in this route")
                .help("write `{ to: 203.0.113.0/24, via: 192.0.2.254 }`, or `to: default`"),
        );
    }
    let draft = RouteDraft {
        place: node.place,
        via: section.field("via", out, address::host),
        interface: section.field("interface", out, address::interface),
        source: section.field("source", out, address::host),
        table: section.field("table", out, table),
        metric: section.field("metric", out, |node| {
            read::number(node, "`metric`", 0..=u32::MAX)
        }),
        onlink: section.field("onlink", out, read::boolean),
        required: section.field("required", out, read::boolean),
        to: to.given()?.clone(),
    };
    Some(draft)
}

fn rule(node: &Node, out: &mut Findings) -> Option<RuleDraft> {
    let section = Section::open(node, &keys::RULE, out)?;
    let table = section.field("table", out, table);
    if section.lacks("table") {
        out.fault(
            Finding::at(node.place, "`table` is missing", "in this rule")
                .help("write `{ from: 192.0.2.10/32, table: 100 }`"),
        );
    }
    let draft = RuleDraft {
        place: node.place,
        from: section.field("from", out, selector),
        to: section.field("to", out, selector),
        iif: section.field("iif", out, address::interface),
        oif: section.field("oif", out, address::interface),
        fwmark: section.field("fwmark", out, |node| {
            read::number(node, "`fwmark`", 1..=u32::MAX)
        }),
        priority: section.field("priority", out, |node| {
            read::number(node, "`priority` of a rule", 1..=u32::MAX)
        }),
        required: section.field("required", out, read::boolean),
        table: table.given()?.clone(),
    };
    Some(draft)
}

fn target(node: &Node) -> Read<Target> {
    match address::text(node)? {
        "default" => Ok(Target::Default),
        "all" | "any" => Err(Finding::at(
            node.place,
            "the route to everywhere is called `default`",
            "write `default`",
        )),
        _ => network(node).map(Target::Network),
    }
}

/// What a rule looks at: less than everything.
fn selector(node: &Node) -> Read<IpNet> {
    let everything = |written: &str| {
        let title = format!("{} chooses every packet", quoted(written));
        Finding::at(node.place, title, "remove it: that is so without it")
    };
    let text = address::text(node)?;
    if matches!(text, "all" | "any" | "default") {
        return Err(everything(text));
    }
    let network = network(node)?;
    match network.prefix_len() {
        0 => Err(everything(text)),
        _ => Ok(network),
    }
}

/// A subnet, or a host when there is no prefix length.
fn network(node: &Node) -> Read<IpNet> {
    let text = address::text(node)?;
    let Some((address_text, prefix_text)) = text.split_once('/') else {
        return address::address(node, text).map(IpNet::from);
    };
    let address = address::address(node, address_text)?;
    let network = address::prefix(prefix_text)
        .and_then(|prefix| IpNet::new(address, prefix).ok())
        .ok_or_else(|| address::bad_prefix(node, address, prefix_text))?;
    let subnet = network.trunc();
    if subnet.addr() == address {
        return Ok(network);
    }
    let title = format!("{} is a host of {subnet}, not a subnet", quoted(text));
    let host = IpNet::from(address);
    let label = format!("write `{subnet}`, or `{host}` for the host alone");
    Err(Finding::at(node.place, title, label))
}

/// A number, or one of the names that every host has.
fn table(node: &Node) -> Read<u32> {
    const WHAT: &str = "`table`";
    let scalar = read::scalar(node, "the number of a table, or `main`")?;
    match scalar.text.as_str() {
        "main" => Ok(TABLE_MAIN),
        "local" => Ok(TABLE_LOCAL),
        "default" => Ok(TABLE_DEFAULT),
        "0" | "unspec" | "all" => {
            let title = format!("there is no table {}", quoted(&scalar.text));
            Err(Finding::at(
                node.place,
                title,
                "write `main`, or a number from 1",
            ))
        }
        word if word.starts_with(|c: char| c.is_ascii_alphabetic()) => {
            let title = format!("the table {} is not known by its name", quoted(word));
            Err(Finding::at(node.place, title, "write its number").help(
                "the names are `main`, `local` and `default`; others are a matter of each host, in \
                 its file rt_tables, and hosts may differ",
            ))
        }
        _ => read::number(node, WHAT, 1..=u32::MAX),
    }
}
