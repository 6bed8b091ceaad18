//! What is tracked: scripts, interfaces, processes and files become checks, and
//! what an instance or a group tracks becomes what its instances list.

use std::collections::{BTreeMap, BTreeSet};

use super::desk::{Desk, Rows, micros, number};
use super::names::Names;
use super::node::{Node, flow_list, flow_map, flow_scalar, scalar};
use super::script::{self, DefaultUser};
use super::tables;
use super::tree::Row;
use super::words::Word;
use crate::config::duration;
use crate::config::fault::Place;

const REVERSED: &str = "vipward has no reversed weight: turn the sense of what is checked around, and track \
                        that";

/// What can be tracked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tracked {
    Script,
    Process,
    File,
    Interface,
}

impl Tracked {
    pub const ALL: [Tracked; 4] = [
        Tracked::Script,
        Tracked::Process,
        Tracked::File,
        Tracked::Interface,
    ];

    /// The block that lists what is tracked.
    pub fn block(self) -> &'static str {
        match self {
            Tracked::Script => "track_script",
            Tracked::Process => "track_process",
            Tracked::File => "track_file",
            Tracked::Interface => "track_interface",
        }
    }

    /// What keepalived takes where no weight is written.
    fn weight(self) -> i64 {
        match self {
            Tracked::Script | Tracked::Interface => 0,
            Tracked::Process | Tracked::File => 1,
        }
    }
}

/// How failing tells on the priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Weight {
    value: i64,
    reverse: bool,
}

/// Everything that the file describes and that can be tracked.
#[derive(Default)]
pub(super) struct Checks<'r> {
    described: BTreeMap<(Tracked, String), &'r Row>,
    names: Names,
    used: BTreeMap<(Tracked, String), String>,
}

/// One entry of an instance's `checks`.
#[derive(Clone, Debug)]
pub(super) struct Use {
    check: String,
    /// What the priority is lower by while it fails; nothing for a fault.
    weight: Option<u16>,
    /// What the base is higher by.
    raises: u16,
    origin: Vec<Place>,
}

impl Use {
    pub fn check(&self) -> &str {
        &self.check
    }

    pub fn has_weight(&self) -> bool {
        self.weight.is_some()
    }

    pub fn origin(&self) -> &[Place] {
        &self.origin
    }

    fn node(&self) -> Node {
        let value = match self.weight {
            None => scalar(&self.check),
            Some(weight) => flow_map(&[
                ("name", scalar(&self.check)),
                ("weight", format!("-{weight}")),
            ]),
        };
        Node::item(value)
            .from(self.origin.iter().copied())
            .raising(self.raises)
            .optional()
    }
}

/// The list of an instance; each check once.
pub(super) fn uses_node(desk: &mut Desk, uses: &[Use]) -> Option<Node> {
    let mut seen = BTreeSet::new();
    let mut items = Vec::new();
    for listed in uses {
        match seen.insert(&listed.check) {
            true => items.push(listed.node()),
            false => desk.note_at(&listed.origin, "tracked twice: the first one counts"),
        }
    }
    (!items.is_empty()).then(|| Node::list("checks", items).optional())
}

impl<'r> Checks<'r> {
    /// A block at the top level.
    pub fn describe(&mut self, desk: &mut Desk, kind: Tracked, row: &'r Row) {
        let Some((name, rest)) = row.arguments().split_first() else {
            return desk.left(row, "has no name, so nothing can track it");
        };
        desk.extra(rest);
        let key = (kind, name.text.clone());
        match self.described.entry(key) {
            std::collections::btree_map::Entry::Occupied(_) => {
                desk.left(row, "described twice: the first one counts");
            }
            std::collections::btree_map::Entry::Vacant(free) => {
                free.insert(row);
            }
        }
    }

    /// What a `track_` block lists. `own` is the interface of the instance.
    pub fn uses(&mut self, desk: &mut Desk, rows: &Rows, own: Option<&str>) -> Vec<Use> {
        let mut uses = Vec::new();
        for kind in Tracked::ALL {
            for item in desk.items(rows, kind.block()) {
                uses.extend(self.one_use(desk, kind, item, own));
            }
        }
        uses
    }

    fn one_use(
        &mut self,
        desk: &mut Desk,
        kind: Tracked,
        item: &Row,
        own: Option<&str>,
    ) -> Option<Use> {
        desk.block_extra(item);
        let name = item.keyword();
        if kind == Tracked::Interface && own == Some(name) {
            desk.note(
                item,
                "not needed: an instance always watches its own interface",
            );
            return None;
        }
        let described = self.described.get(&(kind, name.to_owned())).copied();
        if kind != Tracked::Interface && described.is_none() {
            desk.note(item, "described nowhere: keepalived ignores it too");
            return None;
        }
        let default = Weight {
            value: kind.weight(),
            reverse: false,
        };
        let default = match described {
            Some(row) => default_weight(row).unwrap_or(default),
            None => default,
        };
        let weight = weight(desk, item.arguments(), default);
        if let Some(why) = unsupported(kind, weight) {
            desk.left(item, why);
            return None;
        }
        let amount = u16::try_from(weight.value.unsigned_abs().min(254)).unwrap_or(254);
        let file = kind == Tracked::File;
        Some(Use {
            check: self.name(kind, name),
            weight: (amount > 0 && !file).then_some(amount),
            raises: if weight.value > 0 && !file { amount } else { 0 },
            origin: item.places(),
        })
    }

    fn name(&mut self, kind: Tracked, name: &str) -> String {
        let key = (kind, name.to_owned());
        if let Some(known) = self.used.get(&key) {
            return known.clone();
        }
        let wished = match kind {
            Tracked::Interface => format!("link-{name}"),
            Tracked::Script | Tracked::Process | Tracked::File => name.to_owned(),
        };
        let free = self.names.free(&wished);
        self.used.insert(key, free.clone());
        free
    }

    /// `checks` of the top level; `listed` are those that an instance lists.
    pub fn node(
        &self,
        desk: &mut Desk,
        user: &DefaultUser,
        listed: &BTreeSet<&str>,
    ) -> Option<Node> {
        let is_listed = |key| {
            let name = self.used.get(key);
            name.is_some_and(|name| listed.contains(name.as_str()))
        };
        for (key, row) in &self.described {
            if !is_listed(key) {
                desk.note(row, "nothing tracks it: keepalived does not run it either");
            }
        }
        let mut nodes = Vec::new();
        for (key, check) in self.used.iter().filter(|(key, _)| is_listed(*key)) {
            let (kind, name) = key;
            let row = self.described.get(&(*kind, name.clone())).copied();
            let node = match (kind, row) {
                (Tracked::Interface, _) => {
                    let value = flow_map(&[("interface", scalar(name))]);
                    Some(Node::key(check, value))
                }
                (Tracked::Script, Some(row)) => script_node(desk, check, row, user),
                (Tracked::Process, Some(row)) => process_node(desk, check, row),
                (Tracked::File, Some(row)) => file_node(desk, check, row),
                (Tracked::Script | Tracked::Process | Tracked::File, None) => None,
            };
            let head = row.map(Row::places).unwrap_or_default();
            nodes.extend(node.map(|node| node.from(head).optional()));
        }
        (!nodes.is_empty()).then(|| Node::section("checks", nodes).optional())
    }
}

/// The weight that the description of a script, process or file has.
fn default_weight(row: &Row) -> Option<Weight> {
    let mut rows = row.block.iter().flatten();
    let weight = rows.rfind(|row| row.keyword() == "weight")?;
    let value = weight.arguments().first()?.text.parse().ok()?;
    let reverse = weight
        .arguments()
        .get(1)
        .is_some_and(|word| word.text == "reverse");
    (-253..=254)
        .contains(&value)
        .then_some(Weight { value, reverse })
}

/// `[weight N [reverse]]`.
fn weight(desk: &mut Desk, words: &[Word], default: Weight) -> Weight {
    let [keyword, rest @ ..] = words else {
        return default;
    };
    let value = rest.first().and_then(|word| word.text.parse().ok());
    let value = value.filter(|value| (-254..=254).contains(value));
    let (Some(value), "weight") = (value, keyword.text.as_str()) else {
        desk.note_words(words, "no weight that keepalived takes: the default counts");
        return default;
    };
    let (reverse, rest) = match rest.get(1).map(|word| word.text.as_str()) {
        Some("reverse") => (true, rest.get(2..)),
        Some("noreverse" | "no_reverse") => (false, rest.get(2..)),
        _ => (false, rest.get(1..)),
    };
    desk.extra(rest.unwrap_or_default());
    Weight { value, reverse }
}

/// Why something cannot be tracked like that.
fn unsupported(kind: Tracked, weight: Weight) -> Option<&'static str> {
    match kind {
        _ if weight.reverse => Some(REVERSED),
        Tracked::File if weight.value != 1 => Some(
            "vipward adds the number of the file as it is: write a number there that is already \
             multiplied by the weight",
        ),
        Tracked::Script | Tracked::Process | Tracked::File | Tracked::Interface => None,
    }
}

fn script_node(desk: &mut Desk, check: &str, row: &Row, user: &DefaultUser) -> Option<Node> {
    let inner = row.block.as_deref().unwrap_or_default();
    let rows = desk.sort(inner, &[&tables::SCRIPT]);
    let mut origin: Vec<Place> = Vec::new();
    let Some(script) = desk.last(&rows, "script") else {
        desk.left(row, "has no `script`, so there is nothing to run");
        return None;
    };
    let Some(program) = script::program(desk, script, false) else {
        desk.left(row, "its program is none that vipward can run");
        return None;
    };
    let mut entries = vec![("script", flow_list(&program.words))];
    origin.extend(script.places());
    let mut take = |entry: Option<(&'static str, String, Vec<Place>)>| {
        if let Some((key, value, places)) = entry {
            entries.push((key, value));
            origin.extend(places);
        }
    };
    let (interval, places) = interval(desk, &rows, "interval").unwrap_or((1_000_000, Vec::new()));
    take(Some(("interval", span(interval), places)));
    // Without one keepalived takes the interval.
    let timeout = self::interval(desk, &rows, "timeout").unwrap_or((interval, Vec::new()));
    take(Some(("timeout", span(timeout.0), timeout.1)));
    for key in ["rise", "fall"] {
        let (count, places) = count(desk, &rows, key).unwrap_or((1, Vec::new()));
        take(Some((key, count.to_string(), places)));
    }
    let own = desk
        .last(&rows, "user")
        .and_then(|row| Some((script::user(desk, row)?, row.places())));
    let (name, places) = own.unwrap_or_else(|| (user.name.clone(), user.origin.clone()));
    take(Some(("user", scalar(&name), places)));
    if let Some(row) = desk.last(&rows, "init_fail") {
        desk.extra(row.arguments());
        desk.block_extra(row);
        take(Some(("initial", "down".to_owned(), row.places())));
    }
    if let Some(row) = desk.last(&rows, "weight") {
        weight_line(desk, row, &mut origin);
    }
    Some(Node::key(check, flow_map(&entries)).from(origin))
}

/// The weight of a description is the default of what lists it.
fn weight_line(desk: &mut Desk, row: &Row, origin: &mut Vec<Place>) {
    desk.block_extra(row);
    match row.arguments() {
        [value, rest @ ..]
            if value
                .text
                .parse::<i64>()
                .is_ok_and(|value| (-253..=254).contains(&value)) =>
        {
            let reverse = rest.first().is_some_and(|word| word.text == "reverse");
            desk.extra(rest.get(usize::from(reverse)..).unwrap_or_default());
            origin.extend(row.places());
        }
        _ => desk.note(row, "no weight that keepalived takes: it ignores this line"),
    }
}

fn span(micros: u64) -> String {
    // Scripts are timed to the millisecond.
    duration::print(std::time::Duration::from_millis(micros.div_ceil(1_000)))
}

/// In microseconds.
fn interval(desk: &mut Desk, rows: &Rows, key: &str) -> Option<(u64, Vec<Place>)> {
    let (row, text) = desk.value(rows, key)?;
    match micros(text).filter(|micros| *micros > 0) {
        Some(micros) => Some((micros, row.places())),
        None => {
            desk.note(row, "no time that keepalived takes: it takes one second");
            Some((1_000_000, Vec::new()))
        }
    }
}

fn count(desk: &mut Desk, rows: &Rows, key: &str) -> Option<(u64, Vec<Place>)> {
    let (row, text) = desk.value(rows, key)?;
    match number(text).filter(|count| *count > 0) {
        Some(count) => Some((count, row.places())),
        None => {
            desk.note(row, "no count that keepalived takes: it takes 1");
            None
        }
    }
}

const PROCESS_MORE: &str =
    "vipward looks for processes by their name and counts them: let a script look if more is asked";
/// keepalived's bound on both counts.
const QUORUM_MAX: u64 = 65_535;

fn process_node(desk: &mut Desk, check: &str, row: &Row) -> Option<Node> {
    let mut origin = Vec::new();
    let mut named = None;
    let mut counts = BTreeMap::new();
    for inner in row.block.iter().flatten() {
        match (inner.keyword(), inner.arguments()) {
            ("process", [name]) => {
                named = Some(name.text.clone());
                origin.extend(inner.places());
            }
            ("weight", _) => weight_line(desk, inner, &mut origin),
            (key @ ("quorum" | "quorum_max"), [count]) => match quorum(key, &count.text) {
                Some(entry) => {
                    counts.insert(entry.0, entry.1);
                    origin.extend(inner.places());
                }
                None => desk.note(
                    inner,
                    "no count that keepalived takes: it ignores this line",
                ),
            },
            _ => desk.left(inner, PROCESS_MORE),
        }
    }
    let Some(name) = named else {
        desk.left(row, "names no process that vipward can look for");
        return None;
    };
    let mut entries = vec![("process", flow_scalar(&name))];
    entries.extend(counts);
    Some(Node::key(check, flow_map(&entries)).from(origin))
}

/// `min` and `max` of a check.
fn quorum(key: &str, count: &str) -> Option<(&'static str, String)> {
    let (key, least) = match key {
        "quorum" => ("min", 1),
        _ => ("max", 0),
    };
    let count = number(count).filter(|count| (least..=QUORUM_MAX).contains(count))?;
    Some((key, count.to_string()))
}

fn file_node(desk: &mut Desk, check: &str, row: &Row) -> Option<Node> {
    let mut origin = Vec::new();
    let mut named = None;
    for inner in row.block.iter().flatten() {
        match (inner.keyword(), inner.arguments()) {
            ("file", [name]) => {
                named = Some(name.text.clone());
                origin.extend(inner.places());
            }
            ("weight", _) => weight_line(desk, inner, &mut origin),
            ("init_file", _) => desk.left(
                inner,
                "vipward writes no such file: write it before the agent starts",
            ),
            _ => desk.left(inner, tables::UNKNOWN),
        }
    }
    let Some(name) = named else {
        desk.left(row, "names no file");
        return None;
    };
    Some(Node::key(check, flow_map(&[("file", flow_scalar(&name))])).from(origin))
}
