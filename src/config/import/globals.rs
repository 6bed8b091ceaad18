//! `global_defs`: what holds for every instance.

use super::desk::{Desk, micros, number};
use super::node::{Node, scalar};
use super::script::{self, DefaultUser};
use super::tables;
use super::tree::Row;
use crate::agent::values::Version;
use crate::config::duration;
use crate::config::fault::Place;
use crate::config::host::is_node_name;

/// A setting and the words that it comes from.
#[derive(Clone, Debug)]
pub(super) struct Set<T> {
    pub value: T,
    pub origin: Vec<Place>,
}

#[derive(Debug)]
pub(super) struct Globals {
    pub node: Option<Node>,
    pub version: Option<Set<Version>>,
    pub garp_delay: Option<Set<u64>>,
    pub garp_repeat: Option<Set<u64>>,
    pub garp_refresh: Option<Set<u64>>,
    pub settle: Option<Set<u64>>,
    pub down_after: Option<Set<u64>>,
    pub checksum_as_v2: Option<Set<()>>,
    pub min_garp: Option<Set<()>>,
    pub user: DefaultUser,
}

impl Globals {
    /// The places of what holds only where an instance does not say otherwise.
    pub fn defaults(&self) -> Vec<Place> {
        let numbers = [
            &self.garp_delay,
            &self.garp_repeat,
            &self.garp_refresh,
            &self.settle,
            &self.down_after,
        ];
        let numbers = numbers.into_iter().flatten().flat_map(|set| &set.origin);
        let version = self.version.iter().flat_map(|set| &set.origin);
        let switches = [&self.checksum_as_v2, &self.min_garp];
        let switches = switches.into_iter().flatten().flat_map(|set| &set.origin);
        numbers.chain(version).chain(switches).copied().collect()
    }
}

/// Another group than the standard's.
pub(super) const GROUP: &str = "vipward speaks to 224.0.0.18 and ff02::12 only: bring all hosts back to those first, or use \
     `unicast_peers`; until then they do not hear each other, and both would be Active";

pub(super) fn read(desk: &mut Desk, blocks: &[&Row]) -> Globals {
    let mut all = super::desk::Rows::new();
    for block in blocks {
        desk.extra(block.arguments());
        for place in block.places() {
            desk.ledger.mark(place, super::ledger::Fate::Structure);
        }
        let rows = block.block.as_deref().unwrap_or_default();
        let tables: [&tables::Table; 3] = [&tables::GLOBAL, &tables::GLOBAL_TOO, &tables::TOP];
        for (keyword, rows) in desk.sort(rows, &tables) {
            all.entry(keyword).or_default().extend(rows);
        }
    }
    let used =
        |keyword: &&str| tables::meaning(&[&tables::TOP], keyword) == Some(tables::Meaning::Used);
    for keyword in all.keys().copied().filter(used).collect::<Vec<_>>() {
        for row in all.remove(keyword).into_iter().flatten() {
            desk.left(
                row,
                "does not belong into `global_defs`: keepalived ignores it",
            );
        }
    }
    let mut globals = Globals {
        node: node(desk, &all),
        version: version(desk, &all, "vrrp_version"),
        garp_delay: whole(desk, &all, "vrrp_garp_master_delay"),
        garp_repeat: whole(desk, &all, "vrrp_garp_master_repeat"),
        garp_refresh: whole(desk, &all, "vrrp_garp_master_refresh"),
        settle: seconds(desk, &all, "vrrp_startup_delay"),
        down_after: whole(desk, &all, "vrrp_down_timer_adverts"),
        checksum_as_v2: switch(desk, &all, "v3_checksum_as_v2"),
        min_garp: switch(desk, &all, "vrrp_min_garp"),
        user: user(desk, &all),
    };
    if let Some(set) = &globals.min_garp {
        let origin = || set.origin.clone();
        let absent = |value| Set {
            value,
            origin: origin(),
        };
        globals.garp_repeat.get_or_insert_with(|| absent(1));
        globals.garp_delay.get_or_insert_with(|| absent(0));
    }
    if let Some(settle) = &globals.settle {
        desk.note_at(
            &settle.origin,
            "`settle` also holds after each return of the link, not only after the start",
        );
    }
    for (keyword, standard) in [
        ("vrrp_mcast_group4", "224.0.0.18"),
        ("vrrp_mcast_group6", "ff02::12"),
    ] {
        if let Some((row, value)) = desk.value(&all, keyword) {
            match value == standard {
                true => desk.note(row, "the standard's own"),
                false => desk.left(row, GROUP),
            }
        }
    }
    globals
}

fn node(desk: &mut Desk, rows: &super::desk::Rows) -> Option<Node> {
    let (row, name) = desk.value(rows, "router_id")?;
    if !is_node_name(name) {
        desk.left(
            row,
            "no name of a host: write `node: ...`, or leave it out for the host's own name",
        );
        return None;
    }
    desk.remark(
        row,
        "the name of this host in `status`, and in a `cluster`: another on each host",
    );
    Some(
        Node::key("node", scalar(name))
            .from(row.places())
            .optional(),
    )
}

fn user(desk: &mut Desk, rows: &super::desk::Rows) -> DefaultUser {
    let written = desk
        .last(rows, "script_user")
        .and_then(|row| Some((script::user(desk, row)?, row.places())));
    match written {
        Some((name, origin)) => {
            // Also where no script is run.
            for place in &origin {
                desk.ledger.mark(*place, super::ledger::Fate::Carried);
            }
            DefaultUser { name, origin }
        }
        None => {
            let own = "keepalived_script";
            let name = if desk.host.has_user(own) { own } else { "root" };
            DefaultUser {
                name: name.to_owned(),
                origin: Vec::new(),
            }
        }
    }
}

/// Of an instance (`version`), or for all.
pub(super) fn version(
    desk: &mut Desk,
    rows: &super::desk::Rows,
    keyword: &str,
) -> Option<Set<Version>> {
    let (row, text) = desk.value(rows, keyword)?;
    let value = match text {
        "2" => Version::V2,
        "3" => Version::V3,
        _ => {
            desk.note(row, "no version that keepalived knows: it ignores the line");
            return None;
        }
    };
    let origin = row.places();
    Some(Set { value, origin })
}

/// A whole number; what is none is ignored, as keepalived does.
pub(super) fn whole(desk: &mut Desk, rows: &super::desk::Rows, keyword: &str) -> Option<Set<u64>> {
    let (row, text) = desk.value(rows, keyword)?;
    let Some(value) = number(text) else {
        desk.note(row, "no whole number: keepalived takes its default");
        return None;
    };
    let origin = row.places();
    Some(Set { value, origin })
}

/// Seconds, in microseconds.
pub(super) fn seconds(
    desk: &mut Desk,
    rows: &super::desk::Rows,
    keyword: &str,
) -> Option<Set<u64>> {
    let (row, text) = desk.value(rows, keyword)?;
    let Some(value) = micros(text) else {
        desk.note(row, "no time in seconds: keepalived takes its default");
        return None;
    };
    let origin = row.places();
    Some(Set { value, origin })
}

/// A word alone, or with `on`, `true`, `yes` or their opposites.
pub(super) fn switch(desk: &mut Desk, rows: &super::desk::Rows, keyword: &str) -> Option<Set<()>> {
    let row = desk.last(rows, keyword)?;
    desk.block_extra(row);
    match row.arguments() {
        [] => {}
        [value, rest @ ..] => {
            desk.extra(rest);
            if matches!(value.text.as_str(), "off" | "false" | "no") {
                desk.note(row, "switched off: so by default");
                return None;
            }
        }
    }
    let origin = row.places();
    Some(Set { value: (), origin })
}

/// Microseconds as vipward writes them.
pub(super) fn span(micros: u64) -> String {
    duration::print(std::time::Duration::from_micros(micros))
}
