//! `vrrp_sync_group`: instances that move together.

use std::collections::BTreeSet;

use super::desk::{Desk, Rows};
use super::health::{Checks, Use};
use super::hooks;
use super::instance::Instance;
use super::names::Names;
use super::node::{Node, scalar};
use super::script::DefaultUser;
use super::tables;
use super::tree::Row;

/// One block, sorted.
pub(super) struct Group<'r> {
    row: &'r Row,
    name: String,
    rows: Rows<'r>,
    /// Names as they are written, each with its row.
    members: Vec<&'r Row>,
    /// Its members' own weights count.
    weighs: bool,
}

pub(super) fn read<'r>(desk: &mut Desk, row: &'r Row, names: &mut Names) -> Option<Group<'r>> {
    let Some((name, rest)) = row.arguments().split_first() else {
        desk.left(row, "a group without a name");
        return None;
    };
    desk.extra(rest);
    let inner = row.block.as_deref().unwrap_or_default();
    let weighs = inner.iter().any(|row| {
        matches!(
            row.keyword(),
            "sync_group_tracking_weight" | "global_tracking"
        )
    });
    let named = |row: &&Row| {
        let known = tables::meaning(&[&tables::GROUP], row.keyword()).is_some();
        !known && row.arguments().is_empty() && row.block.is_none()
    };
    for row in inner.iter().filter(named) {
        desk.left(
            row,
            "stands outside of `group { ... }`, where keepalived reads no names of members",
        );
    }
    let rows = desk.sort(inner.iter().filter(|row| !named(row)), &[&tables::GROUP]);
    let members = desk.items(&rows, "group");
    Some(Group {
        row,
        name: names.free(&name.text),
        rows,
        members,
        weighs,
    })
}

impl<'r> Group<'r> {
    pub fn uses(&self, desk: &mut Desk, checks: &mut Checks<'r>) -> Vec<Use> {
        checks.uses(desk, &self.rows, None)
    }

    /// Those that there are, as vipward calls them.
    pub fn members<'n>(&self, names: &'n Names) -> BTreeSet<&'n str> {
        let words = self.members.iter().flat_map(|row| &row.words);
        words.filter_map(|word| names.known(&word.text)).collect()
    }

    /// What the group tracks (`uses`) is tracked by each of its members.
    pub fn track(&self, desk: &mut Desk, uses: &[Use], instance: &mut Instance) {
        if !self.weighs {
            let own = std::mem::take(&mut instance.uses);
            let (weighted, kept): (Vec<Use>, Vec<Use>) = own.into_iter().partition(Use::has_weight);
            instance.uses = kept;
            for one in weighted {
                desk.note_at(
                    one.origin(),
                    "keepalived ignores what a member of a sync group tracks with a weight, and so it is \
                     left out: a weight in the group itself counts, there and here",
                );
            }
        }
        instance.uses.extend(uses.iter().cloned());
    }

    /// An entry of `groups`; `alike` says of each instance what its members
    /// must have in common.
    pub fn node(
        &self,
        desk: &mut Desk,
        user: &DefaultUser,
        names: &Names,
        alike: &dyn Fn(&str) -> Option<String>,
    ) -> Option<Node> {
        let mut members = Vec::new();
        let mut wants: Vec<String> = Vec::new();
        for word in self.members.iter().flat_map(|row| &row.words) {
            let Some(name) = names.known(&word.text) else {
                desk.left_at(
                    &word.places,
                    "there is no such instance: keepalived leaves it out of the group too",
                );
                continue;
            };
            wants.extend(alike(name));
            let node = Node::item(scalar(name));
            members.push(node.from(word.places.iter().copied()).optional());
        }
        if members.is_empty() {
            desk.left(self.row, "a group without members (they are named in a block `group { ... }`): keepalived removes it too");
            return None;
        }
        wants.dedup();
        if wants.len() > 1 {
            desk.left(
                self.row,
                "its members differ in priority, advert_int or preemption: vipward moves a group as one, so make \
                 them the same on each host, and name them under `groups`",
            );
            return None;
        }
        let mut nodes = vec![Node::list("members", members)];
        nodes.extend(hooks::node(desk, &self.rows, user));
        let node = Node::section(&self.name, nodes);
        Some(node.from(self.row.places()).optional())
    }
}
