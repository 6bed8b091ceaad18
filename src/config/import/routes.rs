//! `virtual_routes` and `virtual_rules`.

use std::net::IpAddr;

use super::desk::{Desk, number};
use super::node::{Node, flow_map, flow_scalar};
use super::tree::Row;
use super::words::Word;

/// Options of a line, each with what follows it.
struct Options<'a> {
    words: &'a [Word],
}

impl<'a> Options<'a> {
    fn next(&mut self) -> Option<&'a Word> {
        let (first, rest) = self.words.split_first()?;
        self.words = rest;
        Some(first)
    }

    fn value(&mut self) -> Option<&'a str> {
        self.next().map(|word| word.text.as_str())
    }
}

type Entries = Vec<(&'static str, String)>;

/// A number as one, anything else as text.
fn plain(value: &str) -> String {
    match number(value) {
        Some(number) => number.to_string(),
        None => flow_scalar(value),
    }
}

/// The items of `routes`.
pub(super) fn routes(desk: &mut Desk, rows: &[&Row], interface: &str) -> Vec<Node> {
    let translate = |row: &Row| route(row, interface);
    items(desk, rows, translate, |desk, row, entries| {
        let says = |key| entries.iter().any(|(known, _)| *known == key);
        if says("via") && !says("interface") {
            desk.remark(
                row,
                "keepalived leaves it to the kernel by which interface the router is reached; here it is \
                 the instance's: write `interface: ...` in the route where it is another",
            );
        }
    })
}

/// The items of `rules`.
pub(super) fn rules(desk: &mut Desk, rows: &[&Row]) -> Vec<Node> {
    items(desk, rows, rule, |_, _, _| {})
}

fn items(
    desk: &mut Desk,
    rows: &[&Row],
    translate: impl Fn(&Row) -> Result<Entries, String>,
    remark: impl Fn(&mut Desk, &Row, &Entries),
) -> Vec<Node> {
    let mut nodes = Vec::new();
    for row in rows {
        desk.block_extra(row);
        match translate(row) {
            Err(why) => desk.left(row, why),
            Ok(entries) => {
                remark(desk, row, &entries);
                let node = Node::item(flow_map(&entries));
                nodes.push(node.from(row.places()).optional());
            }
        }
    }
    nodes
}

fn route(row: &Row, own: &str) -> Result<Entries, String> {
    let mut options = Options { words: &row.words };
    let (mut to, mut via, mut interface, mut source) = (None, None, None, None);
    let (mut table, mut metric, mut onlink, mut scope) = (None, None, false, None);
    while let Some(word) = options.next() {
        let place = match word.text.as_str() {
            "src" => &mut source,
            "to" => &mut to,
            "dev" => &mut interface,
            "table" => &mut table,
            "metric" | "priority" | "preference" => &mut metric,
            "scope" => &mut scope,
            "via" | "gw" => {
                let mut value = options.value();
                if matches!(value, Some("inet" | "inet6")) {
                    value = options.value();
                }
                via = Some(value.ok_or("`via` without a router")?);
                continue;
            }
            "onlink" => {
                onlink = true;
                continue;
            }
            // Whose it is, where it goes in and whether it is watched are vipward's to say.
            "proto" | "protocol" => {
                options.value();
                continue;
            }
            "no_track" | "prepend" | "inet" | "inet6" | "unicast" => continue,
            text if to.is_none() && is_target(text) => {
                to = Some(text);
                continue;
            }
            other => return Err(unsupported(other)),
        };
        let value = options.value();
        *place = Some(value.ok_or_else(|| format!("`{}` without a value", word.text))?);
    }
    let to = to.ok_or("leads nowhere that vipward could read")?;
    if scope.is_some_and(|scope| scope != "global" && !(scope == "link" && via.is_none())) {
        return Err("vipward has no `scope` of a route: the kernel's choice is by whether it has a router; \
                    write the route without it if that is right"
            .to_owned());
    }
    let mut entries: Entries = vec![("to", flow_scalar(&target(to)))];
    let mut add = |key, value: Option<&str>| {
        entries.extend(value.map(|value| (key, plain(value))));
    };
    add("via", via);
    add("interface", interface.filter(|name| *name != own));
    add("source", source);
    add("table", table);
    add("metric", metric);
    if onlink {
        entries.push(("onlink", "true".to_owned()));
    }
    Ok(entries)
}

fn is_target(text: &str) -> bool {
    let address = text.split_once('/').map_or(text, |(address, _)| address);
    text == "default" || address.parse::<IpAddr>().is_ok()
}

/// The route to everywhere has a name here.
fn target(text: &str) -> String {
    match text {
        "0.0.0.0/0" | "::/0" => "default".to_owned(),
        other => other.to_owned(),
    }
}

fn unsupported(word: &str) -> String {
    match word {
        "or" | "nexthop" => {
            "vipward has no route over several routers: write one of them, or let a \
                             hook `active` set it"
                .to_owned()
        }
        "blackhole" | "unreachable" | "prohibit" | "throw" => {
            "vipward has no routes that lead nowhere: let the hooks `active` and `backup` set and \
             remove it"
                .to_owned()
        }
        other => format!(
            "vipward's routes have no {}: write the route without it, or let a hook `active` set it",
            crate::config::fault::quoted(other)
        ),
    }
}

fn rule(row: &Row) -> Result<Entries, String> {
    let mut options = Options { words: &row.words };
    let (mut from, mut to, mut iif, mut oif) = (None, None, None, None);
    let (mut fwmark, mut table, mut priority) = (None, None, None);
    while let Some(word) = options.next() {
        let place = match word.text.as_str() {
            "from" => &mut from,
            "to" => &mut to,
            "iif" | "dev" => &mut iif,
            "oif" => &mut oif,
            "fwmark" => &mut fwmark,
            "table" | "lookup" => &mut table,
            "preference" | "priority" | "order" => &mut priority,
            "protocol" => {
                options.value();
                continue;
            }
            "no_track" | "inet" | "inet6" => continue,
            other => {
                return Err(format!(
                    "vipward's rules have no {}: let the hooks `active` and `backup` set and remove it",
                    crate::config::fault::quoted(other)
                ));
            }
        };
        let value = options.value();
        *place = Some(value.ok_or_else(|| format!("`{}` without a value", word.text))?);
    }
    let mark = fwmark.map(mark).transpose()?;
    let mut entries = Entries::new();
    let mut add = |key, value: Option<&str>| {
        entries.extend(value.map(|value| (key, plain(value))));
    };
    let some = |value: &&str| !matches!(*value, "all" | "any" | "default" | "0.0.0.0/0" | "::/0");
    add("from", from.filter(some));
    add("to", to.filter(some));
    add("iif", iif);
    add("oif", oif);
    add("fwmark", mark.as_deref());
    add(
        "table",
        Some(table.ok_or("a rule without a table: vipward's lead to one")?),
    );
    // Where keepalived is not told it counts down from there.
    add("priority", Some(priority.unwrap_or("16384")));
    Ok(entries)
}

/// All bits of the packet's mark, in decimal.
fn mark(text: &str) -> Result<String, String> {
    let value = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => number(text),
    };
    match value {
        Some(value) => Ok(value.to_string()),
        None => Err(
            "vipward's rules look at all bits of a mark: write the rule without a mask".to_owned(),
        ),
    }
}
