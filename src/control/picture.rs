//! One picture of all nodes, for people: who is Active where, since when and
//! why, and what keeps the others from it. A node that is not reachable is
//! never shown by its last word.

use std::collections::BTreeSet;
use std::time::Duration;

use comfy_table::{ColumnConstraint, Width};
use jiff::Timestamp;

use super::document::{Document, Instance, Time};
use super::findings::Row;
use super::layout::{Colour, marked, plain_table, wrapped};
use super::nodes::{Node, NodeInstance};
use super::words;

/// Reachable nodes affirm what they told several times a second; older than
/// this is worth a word.
const FRESH: Duration = Duration::from_secs(5);
/// Of a node's name in the table of instances.
const NAME_SHOWN: usize = 20;

/// How one node stands to one instance.
pub(super) enum Seen<'a> {
    Here(&'a Instance),
    There(&'a NodeInstance),
    /// Nothing is known of the present.
    Unreachable,
    /// It told of others, and not of this.
    Lacks,
}

pub(super) struct View<'a> {
    pub node: &'a str,
    pub seen: Seen<'a>,
}

/// What a node that is seen says of an instance.
pub(super) struct Report<'a> {
    pub state: &'a str,
    pub since: Time,
    pub reason: &'a str,
    pub priority: u8,
    /// Source of the first obstacle.
    pub obstacle: Option<&'a str>,
    known: Duration,
}

impl<'a> View<'a> {
    pub fn report(&self) -> Option<Report<'a>> {
        match self.seen {
            Seen::Here(instance) => Some(Report {
                state: &instance.state,
                since: instance.since,
                reason: &instance.reason,
                priority: instance.priority.effective,
                obstacle: instance.obstacles.first().map(|o| o.source.as_str()),
                known: Duration::ZERO,
            }),
            Seen::There(instance) => Some(Report {
                state: &instance.state,
                since: instance.since,
                reason: &instance.reason,
                priority: instance.priority,
                obstacle: instance.obstacles.first().map(|o| o.source.as_str()),
                known: Duration::from_millis(instance.known_age_ms),
            }),
            Seen::Unreachable | Seen::Lacks => None,
        }
    }

    pub fn is_active(&self) -> bool {
        self.report().is_some_and(|report| report.state == "active")
    }

    /// `lb2 backup 100`, `lb2 fault: check nginx`.
    fn short(&self, colour: Colour) -> String {
        let node = words::cut(self.node, NAME_SHOWN);
        match (&self.seen, self.report()) {
            (Seen::Unreachable, _) => format!("{node} {}", marked("unreachable", colour)),
            (Seen::Lacks, _) | (_, None) => format!("{node} does not have it"),
            (Seen::Here(_) | Seen::There(_), Some(report)) => {
                let state = marked(report.state, colour);
                let mut text = match report.obstacle {
                    Some(source) => format!("{node} {state}: {source}"),
                    None => format!("{node} {state} {}", report.priority),
                };
                if report.known > FRESH {
                    text.push_str(&format!(", {} ago", words::span(report.known)));
                }
                text
            }
        }
    }
}

/// This node first.
pub(super) fn views<'a>(document: &'a Document, name: &str) -> Vec<View<'a>> {
    let here = View {
        node: &document.node,
        seen: document.instance(name).map_or(Seen::Lacks, Seen::Here),
    };
    let there = document.nodes.iter().map(|node| View {
        node: &node.name,
        seen: match (node.reachable, node.instance(name)) {
            (false, _) => Seen::Unreachable,
            (true, Some(instance)) => Seen::There(instance),
            (true, None) => Seen::Lacks,
        },
    });
    std::iter::once(here).chain(there).collect()
}

/// Of every node, also those that are only remembered.
pub(super) fn names(document: &Document) -> BTreeSet<&str> {
    let here = document.instances.iter().map(|one| one.name.as_str());
    let there = document.nodes.iter().flat_map(|node| {
        let now = node.instances.iter().map(|one| one.name.as_str());
        now.chain(node.last_known.iter().map(|one| one.name.as_str()))
    });
    here.chain(there).collect()
}

/// Who says of themselves that they are Active, this node and others.
pub(super) fn actives<'a>(document: &'a Document, name: &str) -> Vec<&'a str> {
    let views = views(document, name).into_iter();
    views
        .filter(View::is_active)
        .map(|view| view.node)
        .collect()
}

/// `3 nodes, not reachable: lb3; no Active known: mail; Active twice: cache`.
pub(super) fn verdict(document: &Document) -> String {
    let count = document.nodes.len() + 1;
    let away = document.nodes.iter().filter(|node| !node.reachable);
    let away: Vec<&str> = away.map(|node| node.name.as_str()).collect();
    let mut parts = vec![match away.is_empty() {
        true => format!("{count} nodes, all reachable"),
        false => format!("{count} nodes, not reachable: {}", words::list(&away, 3)),
    }];
    let (mut none, mut several) = (Vec::new(), Vec::new());
    for name in names(document) {
        match actives(document, name).len() {
            0 if heard(document, name).is_none() => none.push(name),
            0 | 1 => {}
            _ => several.push(name),
        }
    }
    for (what, which) in [
        ("no Active known", none),
        ("Active more than once", several),
    ] {
        if !which.is_empty() {
            parts.push(format!("{what}: {}", words::list(&which, 3)));
        }
    }
    wrapped(&parts.join("; "))
}

/// The Active as its advertisements show it, where nobody says that it is.
pub(super) fn heard(document: &Document, name: &str) -> Option<String> {
    let router = document.instance(name)?.active_router.as_ref()?;
    let ours = router.node.as_ref() == Some(&document.node);
    let who = router.node.as_ref().unwrap_or(&router.address);
    (!ours).then(|| words::cut(who, NAME_SHOWN))
}

/// Every node on a line.
pub(super) fn nodes(document: &Document, colour: Colour) -> String {
    let mut table = plain_table();
    table.set_header(["NODE", "STATE", "HEARD", "VERSION", "PATHS"]);
    table.add_row([
        document.node.clone(),
        "this node".to_owned(),
        String::new(),
        document.version.clone(),
        String::new(),
    ]);
    for node in &document.nodes {
        let state = if node.reachable {
            "reachable"
        } else {
            "unreachable"
        };
        table.add_row([
            node.name.clone(),
            marked(state, colour),
            ago(node.last_heard_age_ms),
            node.version.clone().unwrap_or_default(),
            paths(node, colour),
        ]);
    }
    let whole = ColumnConstraint::ContentWidth;
    let most = ColumnConstraint::UpperBoundary(Width::Fixed(20));
    table.set_constraints([most, whole, whole, most]);
    if let Some(column) = table.column_mut(0) {
        column.set_padding((0, 1));
    }
    table.trim_fmt()
}

fn ago(age_ms: Option<u64>) -> String {
    match age_ms {
        Some(age) => format!("{} ago", words::span(Duration::from_millis(age))),
        None => "never".to_owned(),
    }
}

/// One on a line.
fn paths(node: &Node, colour: Colour) -> String {
    let path = |path: &super::nodes::Path| {
        let state = match (path.reachable, path.is_one_way()) {
            (false, _) => "down",
            (true, true) => "one way",
            (true, false) => "up",
        };
        format!("{} {}", path.address, marked(state, colour))
    };
    let lines: Vec<String> = node.paths.iter().map(path).collect();
    lines.join("\n")
}

/// Every instance of every node.
pub(super) fn instances(document: &Document, now: Timestamp, colour: Colour) -> String {
    let mut table = plain_table();
    table.set_header(["INSTANCE", "ACTIVE ON", "FOR", "WHY", "THE OTHERS"]);
    for name in names(document) {
        let views = views(document, name);
        let (active, others): (Vec<&View>, Vec<&View>) =
            views.iter().partition(|view| view.is_active());
        let first = active.first().and_then(|view| view.report());
        let others: Vec<String> = others.iter().map(|view| view.short(colour)).collect();
        let on: Vec<String> = active
            .iter()
            .map(|view| words::cut(view.node, NAME_SHOWN))
            .collect();
        let on = match (on.is_empty(), heard(document, name)) {
            (false, _) => on.join("\nand "),
            (true, Some(router)) => format!("{router}, by its\nadverts"),
            (true, None) => marked("nobody", colour),
        };
        let (span, why) = match first {
            Some(report) => (words::span(report.since.age(now)), report.reason.to_owned()),
            None => (String::new(), String::new()),
        };
        table.add_row([name.to_owned(), on, span, why, others.join("\n")]);
    }
    table.set_constraints([
        ColumnConstraint::UpperBoundary(Width::Fixed(20)),
        ColumnConstraint::UpperBoundary(Width::Fixed(20)),
        ColumnConstraint::ContentWidth,
        ColumnConstraint::ContentWidth,
    ]);
    if let Some(column) = table.column_mut(0) {
        column.set_padding((0, 1));
    }
    table.trim_fmt()
}

/// One instance on the other nodes, a line or more for each.
pub(super) fn elsewhere(document: &Document, name: &str, now: Timestamp) -> Vec<Row> {
    let mut rows = Vec::new();
    for node in &document.nodes {
        let Some(instance) = node.instance(name) else {
            rows.push(Row::new("elsewhere", without(node, name)));
            continue;
        };
        let held = instance.addresses.iter().filter(|address| address.held);
        let more = usize::from(instance.addresses_total) > instance.addresses.len();
        let text = format!(
            "{}: {} for {} ({}), priority {}, holds {}{} of {}, known {} ago",
            node.name,
            instance.state,
            words::span(instance.since.age(now)),
            instance.reason,
            instance.priority,
            held.count(),
            if more { " or more" } else { "" },
            instance.addresses_total,
            words::span(Duration::from_millis(instance.known_age_ms)),
        );
        rows.push(Row::new("elsewhere", text));
        let obstacles = instance.obstacles.iter().map(|obstacle| {
            let text = format!("{}: {} ({})", obstacle.source, obstacle.text, obstacle.code);
            Row::new("elsewhere", format!("{}: {text}", node.name))
        });
        rows.extend(obstacles);
    }
    rows
}

fn without(node: &Node, name: &str) -> String {
    let last = node.last_known.iter().find(|last| last.name == name);
    match (node.reachable, last, node.last_heard_age_ms) {
        (true, _, _) => format!("{} does not have it", node.name),
        (false, Some(last), _) => format!(
            "{}: unreachable; {} ago it was {} there",
            node.name,
            words::span(Duration::from_millis(last.known_age_ms)),
            last.last_known_state
        ),
        (false, None, age) => format!("{}: unreachable, heard {}", node.name, ago(age)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::render::{detail, overview};
    use crate::control::sample;

    #[test]
    fn three_nodes_of_which_one_is_silent() {
        let text = overview(&sample::cluster(), sample::wall(), Colour::Off);
        sample::fits(&text);
        insta::assert_snapshot!(text);
    }

    #[test]
    fn one_instance_on_all_nodes() {
        let document = sample::cluster();
        for name in ["web", "mail"] {
            let instance = document.instance(name).unwrap();
            let text = detail(&document, instance, sample::wall(), Colour::Off);
            sample::fits(&text);
            insta::assert_snapshot!(format!("cluster_detail_{name}"), text);
        }
    }

    #[test]
    fn what_a_silent_node_said_last_is_nowhere_taken_for_the_present() {
        let document = sample::cluster();
        let lb3 = document
            .nodes
            .iter()
            .find(|node| node.name == "lb3")
            .unwrap();
        assert!(lb3.instances.is_empty() && lb3.checks.is_empty());
        assert_eq!(actives(&document, "web"), ["lb1"]);
        let json = serde_json::to_value(lb3).unwrap();
        assert_eq!(json["last_known"][0]["last_known_state"], "active");
        assert!(!json.to_string().contains("\"state\""), "{json}");
    }

    #[test]
    fn an_active_that_only_its_advertisements_show_is_named() {
        let mut document = sample::cluster();
        document.nodes[0]
            .instances
            .retain(|one| one.name != "cache");
        assert_eq!(heard(&document, "cache").as_deref(), Some("lb2"));
        assert!(!verdict(&document).contains("cache"));
        document.instances[1].active_router = None;
        let verdict = verdict(&document).replace('\n', " ");
        assert!(verdict.contains("no Active known: cache, "), "{verdict}");
    }

    #[test]
    fn twenty_instances_on_three_nodes_are_a_page() {
        let mut document = sample::cluster();
        let web = document.instance("web").unwrap().clone();
        let lb2 = document.nodes[0].instance("web").unwrap().clone();
        document.instances.clear();
        document
            .nodes
            .iter_mut()
            .for_each(|node| node.instances.clear());
        for number in 1..=20 {
            let name = format!("service-{number:02}");
            document.instances.push(Instance {
                name: name.clone(),
                ..web.clone()
            });
            let known_age_ms = 80;
            for node in &mut document.nodes {
                node.reachable = true;
                node.last_known.clear();
                let name = name.clone();
                node.instances.push(NodeInstance {
                    name,
                    known_age_ms,
                    ..lb2.clone()
                });
            }
        }
        let text = instances(&document, sample::wall(), Colour::Off);
        sample::fits(&text);
        let lines = text.lines().count();
        assert!(lines <= 1 + 2 * 20, "{lines} lines\n{text}");
        let first: Vec<&str> = text.lines().skip(1).take(2).map(str::trim).collect();
        assert_eq!(
            first,
            [
                "service-01  lb1        3 h 12 min  no-response  lb2 backup 100",
                "lb3 backup 100"
            ]
        );
    }

    #[test]
    fn colours_change_no_word() {
        let document = sample::cluster();
        let painted = overview(&document, sample::wall(), Colour::On);
        assert!(
            painted.contains("\x1b[1;31munreachable\x1b[0m"),
            "{painted}"
        );
        let codes = ["\x1b[32m", "\x1b[33m", "\x1b[1;31m", "\x1b[0m"];
        let bare = codes
            .iter()
            .fold(painted.clone(), |text, code| text.replace(code, ""));
        assert_eq!(bare, overview(&document, sample::wall(), Colour::Off));
    }

    #[test]
    fn long_names_and_many_nodes_stay_within_the_width() {
        let mut document = sample::cluster();
        let node = document.nodes[0].clone();
        document.nodes = vec![node; 15];
        for (number, node) in document.nodes.iter_mut().enumerate() {
            node.name = format!("a-node-whose-name-has-no-end-{number}.example.net");
            node.version = Some("0.1.0-of-a-long-pre-release".to_owned());
            for path in &mut node.paths {
                path.address = "2001:db8:1234:5678:9abc:def0:1234:5678".to_owned();
            }
        }
        sample::fits(&overview(&document, sample::wall(), Colour::Off));
    }
}
