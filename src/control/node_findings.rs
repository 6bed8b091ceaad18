//! What of the peer link somebody may have to do something about, as
//! sentences.

use std::time::Duration;

use super::document::Document;
use super::findings::Row;
use super::nodes::{Node, Path};
use super::{picture, words};
use crate::agent::cluster::Refusal;

/// Names shown one by one; the rest is counted.
const SHOWN: usize = 5;

pub(super) fn problems(document: &Document) -> Vec<Row> {
    let mut rows: Vec<Row> = document
        .instances
        .iter()
        .filter_map(|one| claims(document, &one.name))
        .collect();
    for node in &document.nodes {
        match node.reachable {
            true => {
                rows.extend(paths_down(node));
                rows.extend(one_way(node));
            }
            false => rows.push(unreachable(node)),
        }
    }
    rows.extend(refused(document));
    rows
}

fn claims(document: &Document, name: &str) -> Option<Row> {
    let actives = picture::actives(document, name);
    (actives.len() > 1).then(|| {
        let text = format!(
            "{name} is Active on {}: each holds its addresses; unless this passes within seconds, \
             they do not hear each other's advertisements",
            words::list(&actives, SHOWN)
        );
        Row::new("two active", text)
    })
}

fn span(age_ms: u64) -> String {
    words::span(Duration::from_millis(age_ms))
}

fn unreachable(node: &Node) -> Row {
    let since = match node.last_heard_age_ms {
        Some(age) => format!("was last heard {} ago", span(age)),
        None => "was not heard since this agent started".to_owned(),
    };
    let paths: Vec<String> = node.paths.iter().map(silent).collect();
    let active = node
        .last_known
        .iter()
        .filter(|last| last.last_known_state == "active");
    let active: Vec<&str> = active.map(|last| last.name.as_str()).collect();
    let mut text = format!("{} {since}, by no path: {}", node.name, paths.join("; "));
    if !active.is_empty() {
        let names = words::list(&active, SHOWN);
        text.push_str(&format!(
            ". It was Active for {names} then; whether it still is, is not known"
        ));
    }
    Row::new("unreachable", text)
}

/// `10.0.0.2 (silent for 5 min; cannot be sent to: Network is unreachable)`.
fn silent(path: &Path) -> String {
    let silence = match path.last_heard_age_ms {
        Some(age) => format!("silent for {}", span(age)),
        None => "never heard".to_owned(),
    };
    match &path.error {
        Some(error) => format!("{} ({silence}, cannot be sent to: {error})", path.address),
        None => format!("{} ({silence})", path.address),
    }
}

/// Of a node that is reachable: what it is still reachable by matters as much.
fn paths_down(node: &Node) -> Option<Row> {
    let (up, down): (Vec<&Path>, Vec<&Path>) = node.paths.iter().partition(|path| path.reachable);
    let up: Vec<&str> = up.iter().map(|path| path.address.as_str()).collect();
    let down: Vec<String> = down.iter().map(|path| silent(path)).collect();
    (!down.is_empty()).then(|| {
        let text = format!(
            "{} is not heard by {}; left is {}, and when that fails too it is not known what \
             {} does",
            node.name,
            down.join("; "),
            words::list(&up, SHOWN),
            node.name
        );
        Row::new("path down", text)
    })
}

/// Heard here, and we not there.
fn one_way(node: &Node) -> Option<Row> {
    let one_way = node.paths.iter().filter(|path| path.is_one_way());
    let addresses: Vec<&str> = one_way.map(|path| path.address.as_str()).collect();
    (!addresses.is_empty()).then(|| {
        let text = format!(
            "{name} does not hear this node by {}, which this node hears it by: something on the \
             way to {name}, or its firewall, lets the peer link pass in one direction only",
            words::list(&addresses, SHOWN),
            name = node.name,
        );
        Row::new("one way", text)
    })
}

/// The reasons that were counted.
fn refused(document: &Document) -> Vec<Row> {
    let counted = document
        .link
        .refused
        .iter()
        .filter(|(_, count)| **count > 0);
    counted
        .map(|(name, count)| {
            let known = Refusal::ALL.into_iter().find(|why| why.name() == name);
            let text = match known {
                Some(why) => format!("{count} since the start: {} ({name})", why.meaning()),
                None => format!("{count} since the start: {name}"),
            };
            Row::new("refused", text)
        })
        .collect()
}
