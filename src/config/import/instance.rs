//! `vrrp_instance`: what each line comes to, in the order in which an operator
//! looks for it.

use super::addresses::{self, Holder};
use super::auth;
use super::desk::{Desk, Rows, number};
use super::globals::{self, Globals, Set, seconds, span, switch, whole};
use super::health::{self, Use};
use super::hooks;
use super::node::{Node, scalar};
use super::routes;
use super::tree::Row;
use super::unicast;
use crate::agent::values::{Family, Version};

const PRIORITY: u16 = 100;
const SECOND: u64 = 1_000_000;
const CENTISECOND: u64 = 10_000;
const OWNER: u16 = 255;

/// One block, sorted.
pub(super) struct Instance<'r> {
    pub row: &'r Row,
    pub name: String,
    pub rows: Rows<'r>,
    /// What it tracks itself, then what its group does.
    pub uses: Vec<Use>,
}

impl<'r> Instance<'r> {
    pub fn interface(&self) -> Option<&'r str> {
        let row = self.rows.get("interface")?.last()?;
        Some(row.arguments().first()?.text.as_str())
    }
}

/// An entry of `instances`.
pub(super) fn node(desk: &mut Desk, instance: &Instance, globals: &Globals) -> Node {
    let rows = &instance.rows;
    let interface = instance.interface().unwrap_or("").to_owned();
    let mut nodes = Vec::new();
    nodes.extend(word(desk, rows, "interface", "interface"));
    nodes.extend(word(desk, rows, "virtual_router_id", "vrid"));
    nodes.push(priority(desk, instance));
    let mut holder = Holder {
        interface: &interface,
        family: None,
    };
    let listed = desk.items(rows, "virtual_ipaddress");
    let mut addresses = addresses::items(desk, &listed, &mut holder, true);
    let unlisted = desk.items(rows, "virtual_ipaddress_excluded");
    addresses.extend(addresses::items(desk, &unlisted, &mut holder, false));
    let v6 = holder.family == Some(Family::Ipv6);
    let version = version(desk, rows, globals, v6);
    nodes.push(version_node(&version));
    if v6 {
        nodes.push(Node::key("family", "ipv6"));
    }
    nodes.push(Node::list("addresses", addresses));
    routing(desk, rows, &interface, &mut nodes);
    nodes.push(advert_interval(desk, rows, version.value));
    nodes.extend(down_after(desk, rows, globals));
    unicast::nodes(desk, rows, &mut nodes);
    start(desk, rows, globals, &mut nodes);
    nodes.extend(health::uses_node(desk, &instance.uses));
    nodes.extend(hooks::node(desk, rows, &globals.user));
    nodes.extend(announce(desk, rows, globals));
    nodes.extend(checksum(desk, rows, globals, version.value, v6));
    nodes.extend(auth::node(desk, &instance.name, rows, version.value));
    nodes.extend(virtual_mac(desk, rows));
    let head = instance.row.places();
    let node = Node::section(&instance.name, nodes).from(head).optional();
    let written = instance.row.arguments().first();
    match written.filter(|word| word.text != instance.name) {
        Some(word) => {
            desk.note_words(
                std::slice::from_ref(word),
                "a name has letters, digits, `-`, `_` and `.` here, and is used once: hooks are told the \
                 new one",
            );
            node.comment(format!(
                "{} in keepalived.conf",
                crate::config::fault::quoted(&word.text)
            ))
        }
        None => node,
    }
}

/// A line with one word, which vipward judges.
fn word(desk: &mut Desk, rows: &Rows, keyword: &str, key: &str) -> Option<Node> {
    let (row, text) = desk.value(rows, keyword)?;
    // A number is one here too; anything else is text.
    let value = match number(text) {
        Some(number) => number.to_string(),
        None => scalar(text),
    };
    Some(Node::key(key, value).from(row.places()))
}

fn priority(desk: &mut Desk, instance: &Instance) -> Node {
    let given = desk.value(&instance.rows, "priority");
    let (base, origin) = match given {
        None => (PRIORITY, Vec::new()),
        Some((row, text)) => {
            let value = number(text).and_then(|value| u16::try_from(value).ok());
            match value.filter(|value| (1..=255).contains(value)) {
                Some(value) => (value, row.places()),
                None => {
                    desk.note(row, "no priority: keepalived takes 100, and so it is here");
                    (PRIORITY, Vec::new())
                }
            }
        }
    };
    let raised = instance.uses.iter().any(Use::has_weight);
    if raised {
        for listed in instance.uses.iter().filter(|listed| listed.has_weight()) {
            desk.report.say(
                super::report::Kind::Noted,
                &desk.sources,
                listed.origin(),
                "weight".to_owned(),
                "a weight counts while the check fails here: where keepalived adds to the priority while \
                 all is well, `priority` is that much higher and the weight takes it away; between 1 and \
                 254 the sums are the same"
                    .to_owned(),
            );
        }
    }
    Node::priority(base).from(origin)
}

fn version(desk: &mut Desk, rows: &Rows, globals: &Globals, v6: bool) -> Set<Version> {
    let own = globals::version(desk, rows, "version");
    let own = own.or_else(|| globals.version.clone());
    let given = own.unwrap_or(Set {
        value: Version::V2,
        origin: Vec::new(),
    });
    match (v6, given.value) {
        // keepalived always speaks version 3 then.
        (true, Version::V2) => Set {
            value: Version::V3,
            ..given
        },
        (true, Version::V3) | (false, _) => given,
    }
}

fn version_node(version: &Set<Version>) -> Node {
    let number = version.value.number().to_string();
    Node::key("version", number).from(version.origin.iter().copied())
}

fn routing(desk: &mut Desk, rows: &Rows, interface: &str, nodes: &mut Vec<Node>) {
    let listed = desk.items(rows, "virtual_routes");
    let items = routes::routes(desk, &listed, interface);
    if !items.is_empty() {
        nodes.push(Node::list("routes", items).optional());
    }
    let listed = desk.items(rows, "virtual_rules");
    let items = routes::rules(desk, &listed);
    if !items.is_empty() {
        nodes.push(Node::list("rules", items).optional());
    }
}

/// Rounded as keepalived rounds it.
fn advert_interval(desk: &mut Desk, rows: &Rows, version: Version) -> Node {
    let Some(set) = seconds(desk, rows, "advert_int") else {
        return Node::key("advert_interval", "1s");
    };
    let (unit, most) = match version {
        Version::V2 => (SECOND, 255 * SECOND),
        Version::V3 => (CENTISECOND, 4095 * CENTISECOND),
    };
    let rounded = (set.value.saturating_add(unit / 2) / unit * unit).max(unit);
    let micros = match set.value == 0 || rounded > most {
        true => SECOND,
        false => rounded,
    };
    if micros != set.value {
        let number = version.number();
        desk.note_at(
            &set.origin,
            format!(
                "version {number} cannot say this interval: keepalived takes {}",
                span(micros)
            ),
        );
    }
    Node::key("advert_interval", span(micros)).from(set.origin)
}

fn down_after(desk: &mut Desk, rows: &Rows, globals: &Globals) -> Option<Node> {
    let own = whole(desk, rows, "down_timer_adverts");
    let set = own.or_else(|| globals.down_after.clone())?;
    let node = Node::key("down_after", set.value.to_string());
    Some(node.from(set.origin).optional())
}

/// `preempt` and `settle`.
fn start(desk: &mut Desk, rows: &Rows, globals: &Globals, nodes: &mut Vec<Node>) {
    let state = desk.value(rows, "state");
    let master = state.is_some_and(|(_, state)| state == "MASTER");
    if let Some((row, _)) = state {
        desk.note(
            row,
            "not needed: `priority` decides, and nobody begins as Active before it has listened",
        );
    }
    let never = switch(desk, rows, "nopreempt");
    let delay = seconds(desk, rows, "preempt_delay").filter(|delay| {
        delay.value > 0 || {
            desk.note_at(&delay.origin, "no delay: so by default");
            false
        }
    });
    let owner = desk
        .value(rows, "priority")
        .is_some_and(|(_, text)| number(text) == Some(OWNER.into()));
    let cleared = master || owner;
    for set in [
        never.as_ref().map(|set| &set.origin),
        delay.as_ref().map(|set| &set.origin),
    ] {
        if let Some(origin) = set.filter(|_| cleared) {
            desk.note_at(
                origin,
                "without effect in keepalived beside `state MASTER` or priority 255, and so left out: write \
                 `preempt: false` or a delay if it was meant",
            );
        }
    }
    let preempt = match (never, delay) {
        _ if cleared => None,
        (Some(never), delay) => {
            if let Some(delay) = delay {
                desk.note_at(&delay.origin, "without effect beside `nopreempt`");
            }
            Some(("false".to_owned(), never.origin))
        }
        (None, Some(delay)) => {
            desk.note_at(
                &delay.origin,
                "counted from the first advertisement of a lesser Active, not on top of the time of silence",
            );
            Some((span(delay.value), delay.origin))
        }
        (None, None) => None,
    };
    nodes
        .extend(preempt.map(|(value, origin)| Node::key("preempt", value).from(origin).optional()));
    let settle = globals.settle.clone();
    nodes.extend(settle.map(|set| {
        Node::key("settle", span(set.value))
            .from(set.origin)
            .optional()
    }));
}

fn announce(desk: &mut Desk, rows: &Rows, globals: &Globals) -> Option<Node> {
    let own = |desk: &mut Desk, key: &str, all: &Option<Set<u64>>| {
        whole(desk, rows, key).or_else(|| all.clone())
    };
    let settings = [
        (
            "repeat",
            own(desk, "garp_master_repeat", &globals.garp_repeat),
        ),
        ("delay", own(desk, "garp_master_delay", &globals.garp_delay)),
        (
            "refresh",
            own(desk, "garp_master_refresh", &globals.garp_refresh),
        ),
    ];
    let nodes: Vec<Node> = settings
        .into_iter()
        .filter_map(|(key, set)| {
            let set = set?;
            let value = match key {
                // keepalived takes 1 for 0.
                "repeat" => set.value.max(1).to_string(),
                _ => span(set.value.saturating_mul(SECOND)),
            };
            Some(Node::key(key, value).from(set.origin).optional())
        })
        .collect();
    (!nodes.is_empty()).then(|| Node::section("announce", nodes).optional())
}

fn checksum(
    desk: &mut Desk,
    rows: &Rows,
    globals: &Globals,
    version: Version,
    v6: bool,
) -> Option<Node> {
    let own = switch(desk, rows, "v3_checksum_as_v2");
    let set = own.or_else(|| globals.checksum_as_v2.clone())?;
    if v6 || version == Version::V2 {
        desk.note_at(&set.origin, "only for version 3 over IPv4");
        return None;
    }
    Some(Node::key("checksum", "rfc9568").from(set.origin).optional())
}

fn virtual_mac(desk: &mut Desk, rows: &Rows) -> Option<Node> {
    let row = desk.last(rows, "use_vmac")?;
    desk.block_extra(row);
    desk.note_words(
        row.arguments(),
        "vipward names the interface itself, and its MAC is the standard's",
    );
    let head = row.words.iter().take(1).flat_map(|word| &word.places);
    let node = Node::key("virtual_mac", "true");
    Some(node.from(head.copied()).optional())
}
