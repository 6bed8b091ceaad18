//! vipward's own judge decides what stays: what it refuses is left out, with its
//! reason, until nothing is refused any more.

use std::path::Path;

use super::desk::Desk;
use super::ledger::Fate;
use super::node::{self, Node, refuse};
use crate::config::diagnostic::{Diagnostic, Faults};
use crate::config::fault::Place;
use crate::config::parse;

/// Each round leaves something out; what hangs together takes some.
const ROUNDS_MAX: usize = 25;

/// Of a configuration, see `config::file`.
const BYTES_MAX: usize = 4 * 1024 * 1024 - 256 * 1024;

/// A sound text; nothing where there is no instance left.
///
/// # Errors
///
/// What is refused cannot be left out.
pub(super) fn settle(desk: &mut Desk, nodes: &mut [Node]) -> Result<Option<String>, Faults> {
    let path = Path::new("the result");
    for _ in 0..ROUNDS_MAX {
        let instances = nodes.iter().filter(|node| node.is("instances"));
        if instances
            .flat_map(Node::children)
            .all(|node| node.refused.is_some())
        {
            return Ok(None);
        }
        let written = node::write(nodes);
        if written.text.len() > BYTES_MAX {
            let what = format!("the result would have {} bytes", written.text.len());
            let help = format!("a configuration has at most {BYTES_MAX}: import parts of the file");
            return Err(Faults::of_file(path, what, &help));
        }
        let host = desk.host.name();
        let name = match crate::config::host::is_node_name(&host) {
            true => host.as_str(),
            false => "localhost",
        };
        let judged = parse(path, &written.text, name);
        let judged = judged.and_then(|loaded| desk.host.judge(&loaded).map(|()| loaded));
        let Err(faults) = judged else {
            return Ok(Some(written.text));
        };
        let mut left_out = false;
        for fault in faults.iter() {
            left_out |= leave_out(nodes, &written.owners, fault);
        }
        if !left_out {
            return Err(faults);
        }
    }
    Err(Faults::of_file(
        path,
        "there is no end of what vipward refuses",
        "import the parts of the file one by one",
    ))
}

fn leave_out(nodes: &mut [Node], owners: &[Option<node::Path>], fault: &Diagnostic) -> bool {
    let line = fault.position().map(|(_, line, _)| line.saturating_sub(1));
    let owner = line.and_then(|line| owners.get(line)?.as_ref());
    owner.is_some_and(|path| refuse(nodes, path, &fault.said()))
}

/// What was kept was carried over, what was not is named.
pub(super) fn account(desk: &mut Desk, nodes: &[Node], written: bool) {
    for node in nodes {
        one(desk, node, &[], None, written);
    }
}

/// The places of everything in a node.
fn below(node: &Node, places: &mut Vec<Place>) {
    for child in node.children() {
        places.extend(&child.origin);
        below(child, places);
    }
}

/// `origin` is of whatever is around it; `refused` says that this is left out.
fn one(desk: &mut Desk, node: &Node, around: &[Place], refused: Option<&str>, written: bool) {
    let origin = match node.origin.is_empty() {
        true => around,
        false => &node.origin,
    };
    let mut refused = refused.map(str::to_owned);
    match (&node.refused, &refused) {
        (Some(why), None) => {
            let advice = format!("vipward does not take it: {why}");
            let mut places = origin.to_vec();
            below(node, &mut places);
            desk.left_at(&places, advice);
            refused = Some(why.clone());
        }
        (Some(_) | None, Some(_)) => {
            for place in &node.origin {
                desk.ledger.mark(*place, Fate::Left);
            }
        }
        (None, None) => {
            let fate = if written { Fate::Carried } else { Fate::Left };
            for place in &node.origin {
                desk.ledger.mark(*place, fate);
            }
        }
    }
    for child in node.children() {
        one(desk, child, origin, refused.as_deref(), written);
    }
}
