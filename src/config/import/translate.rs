//! All blocks of the top level, in an order in which each finds what it needs.

use std::collections::{BTreeMap, BTreeSet};

use super::desk::Desk;
use super::globals;
use super::groups::{self, Group};
use super::health::{Checks, Tracked, Use};
use super::instance::{self, Instance};
use super::names::Names;
use super::node::Node;
use super::tables;
use super::tree::Row;
use crate::config::fault::Place;

/// The configuration, and the places of defaults that it may take nothing from.
pub(super) fn translate(desk: &mut Desk, rows: &[Row]) -> (Vec<Node>, Vec<Place>) {
    let tables: [&tables::Table; 1] = [&tables::TOP];
    let mut top = desk.sort(rows, &tables);
    let mut take = |keyword: &str| top.remove(keyword).unwrap_or_default();
    let globals = globals::read(desk, &take("global_defs"));
    let mut checks = described(desk, &mut take);
    let mut names = Names::default();
    let mut instances = Vec::new();
    for row in take("vrrp_instance") {
        instances.extend(open(desk, row, &mut names));
    }
    for instance in &mut instances {
        instance.uses = checks.uses(desk, &instance.rows, instance.interface());
    }
    let mut group_names = Names::default();
    let groups: Vec<Group> = take("vrrp_sync_group")
        .into_iter()
        .filter_map(|row| groups::read(desk, row, &mut group_names))
        .collect();
    let positions = instances.iter().enumerate();
    let positions: BTreeMap<String, usize> = positions
        .map(|(index, instance)| (instance.name.clone(), index))
        .collect();
    for group in &groups {
        let uses = group.uses(desk, &mut checks);
        for name in group.members(&names) {
            let index = positions.get(name).copied();
            if let Some(instance) = index.and_then(|index| instances.get_mut(index)) {
                group.track(desk, &uses, instance);
            }
        }
    }
    let alike = |name: &str| {
        let instance = instances.get(*positions.get(name)?)?;
        Some(in_common(instance))
    };
    let members: Vec<Node> = groups
        .iter()
        .filter_map(|group| group.node(desk, &globals.user, &names, &alike))
        .collect();
    let nodes: Vec<Node> = instances
        .iter()
        .map(|instance| instance::node(desk, instance, &globals))
        .collect();
    let uses = instances.iter().flat_map(|instance| &instance.uses);
    let listed: BTreeSet<&str> = uses.map(Use::check).collect();
    let checks = checks.node(desk, &globals.user, &listed);
    let defaults = globals.defaults();
    let mut all = Vec::new();
    all.extend(globals.node);
    if !nodes.is_empty() {
        all.push(Node::section("instances", nodes));
    }
    if !members.is_empty() {
        all.push(Node::section("groups", members).optional());
    }
    all.extend(checks);
    (all, defaults)
}

/// Everything that can be tracked.
fn described<'r>(desk: &mut Desk, take: &mut impl FnMut(&str) -> Vec<&'r Row>) -> Checks<'r> {
    let mut checks = Checks::default();
    for (keyword, kind) in [
        ("vrrp_script", Tracked::Script),
        ("vrrp_track_process", Tracked::Process),
        ("track_file", Tracked::File),
        ("vrrp_track_file", Tracked::File),
    ] {
        for row in take(keyword) {
            checks.describe(desk, kind, row);
        }
    }
    checks
}

fn open<'r>(desk: &mut Desk, row: &'r Row, names: &mut Names) -> Option<Instance<'r>> {
    let Some((name, rest)) = row.arguments().split_first() else {
        desk.left(row, "an instance without a name");
        return None;
    };
    if names.known(&name.text).is_some() {
        desk.left(
            row,
            "an instance of that name was there before: keepalived ignores this one",
        );
        return None;
    }
    desk.extra(rest);
    let inner = row.block.as_deref().unwrap_or_default();
    Some(Instance {
        row,
        name: names.of(&name.text),
        rows: desk.sort(inner, &[&tables::INSTANCE]),
        uses: Vec::new(),
    })
}

/// What vipward wants to be the same in all members of a group, as it is
/// written.
fn in_common(instance: &Instance) -> String {
    let value = |keyword: &str, default: &str| {
        let row = instance.rows.get(keyword).and_then(|rows| rows.last());
        match row {
            Some(row) => row
                .arguments()
                .first()
                .map_or("", |word| &word.text)
                .to_owned(),
            None => default.to_owned(),
        }
    };
    let never = instance.rows.contains_key("nopreempt");
    let master = value("state", "") == "MASTER";
    format!(
        "{} {} {} {}",
        value("priority", "100"),
        value("advert_int", "1"),
        never && !master,
        if master {
            String::new()
        } else {
            value("preempt_delay", "")
        }
    )
}
