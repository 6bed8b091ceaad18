//! `vrrp_sync_group`: instances that move together.

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
    let rows = desk.sort(inner, &[&tables::GROUP]);
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
    /// What the group tracks is tracked by each of its members.
    pub fn track(
        &self,
        desk: &mut Desk,
        checks: &mut Checks<'r>,
        instances: &mut [Instance<'r>],
        names: &Names,
    ) {
        let uses = checks.uses(desk, &self.rows, None);
        let members: Vec<&str> = self
            .members
            .iter()
            .flat_map(|row| &row.words)
            .filter_map(|word| names.known(&word.text))
            .collect();
        for instance in instances.iter_mut() {
            if !members.contains(&instance.name.as_str()) {
                continue;
            }
            if !self.weighs {
                let (kept, weighted): (Vec<Use>, Vec<Use>) = std::mem::take(&mut instance.uses)
                    .into_iter()
                    .partition(|one| !one.has_weight());
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
