//! `notify` scripts.

use super::desk::{Desk, Rows};
use super::node::Node;
use super::script::{self, DefaultUser};

const HOOKS: [(&str, &str); 4] = [
    ("notify_master", "active"),
    ("notify_backup", "backup"),
    ("notify_fault", "fault"),
    ("notify", "change"),
];

/// `hooks` of an instance or group.
pub(super) fn node(desk: &mut Desk, rows: &Rows, user: &DefaultUser) -> Option<Node> {
    let mut hooks = Vec::new();
    for (keyword, hook) in HOOKS {
        let Some(row) = desk.last(rows, keyword) else {
            continue;
        };
        let Some(program) = script::program(desk, row, true) else {
            continue;
        };
        let origin = row.places();
        desk.report.say(
            super::report::Kind::Noted,
            &desk.sources,
            &origin,
            "notify scripts".to_owned(),
            "keepalived lets them run as long as they like; here they are killed after 10 s, unless \
             `timeout` says otherwise (up to 10m), and run one at a time"
                .to_owned(),
        );
        let default = match program.user {
            Some(_) => Vec::new(),
            None => user.origin.clone(),
        };
        let node = Node::key(hook, program.hook(user));
        hooks.push(node.from(origin).from(default).optional());
    }
    (!hooks.is_empty()).then(|| Node::section("hooks", hooks).optional())
}
