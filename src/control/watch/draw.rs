//! The lines of the view, for any size of terminal; made for 80 by 24.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{Model, Said};
use crate::control::document::{Document, Instance};
use crate::control::events::story::Step;
use crate::control::nodes::Node;
use crate::control::{findings, picture, words};

/// How a piece of a line looks. What it says never depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ink {
    Plain,
    Bold,
    Dim,
    Good,
    Warning,
    Bad,
    Reversed,
}

/// Pieces from the left.
pub type Line = Vec<(Ink, String)>;

/// Lines about the other nodes, and about what is wrong with the chosen
/// instance.
const NODES_MAX: usize = 4;
const PROBLEMS_MAX: usize = 3;
/// Rows for instances and events, if the terminal has them.
const INSTANCES_MIN: usize = 3;
const EVENTS_MIN: usize = 5;

/// Exactly `rows` lines of at most `columns` characters.
pub fn draw(model: &Model, now: Timestamp, columns: usize, rows: usize) -> Vec<Line> {
    let document = &model.document;
    let mut top = head(model, now, columns);
    top.extend(nodes(document, model.away.is_some()));
    top.push(vec![(Ink::Dim, HEADER.to_owned())]);
    let mut middle = problems(model, now);
    middle.extend(checks(document));
    let footer = footer(model);

    let fixed = top.len() + middle.len() + 1;
    let free = rows.saturating_sub(fixed);
    let instances_max = free.saturating_sub(EVENTS_MIN + 1).max(INSTANCES_MIN);
    let mut lines = top;
    lines.extend(instances(model, now, instances_max));
    lines.extend(middle);
    let left = rows.saturating_sub(lines.len() + 1);
    lines.extend(events(model, left));
    lines.truncate(rows.saturating_sub(1));
    lines.resize(rows.saturating_sub(1), Vec::new());
    lines.push(footer);
    lines.truncate(rows);
    for line in &mut lines {
        cut(line, columns);
    }
    lines
}

fn head(model: &Model, now: Timestamp, columns: usize) -> Vec<Line> {
    let document = &model.document;
    let up = words::span(document.started_at.age(now));
    let left = format!("{}  vipward {}, up {up}", document.node, document.version);
    let clock = now
        .to_zoned(TimeZone::UTC)
        .strftime("%H:%M:%S UTC")
        .to_string();
    let space = columns
        .saturating_sub(left.chars().count() + clock.len())
        .max(1);
    let first = vec![
        (Ink::Bold, left),
        (Ink::Plain, " ".repeat(space)),
        (Ink::Dim, clock),
    ];
    let second = match &model.away {
        Some((since, why)) => {
            let age = Duration::try_from(now.duration_since(*since)).unwrap_or_default();
            let age = words::span(age);
            vec![(
                Ink::Bad,
                format!("NO ANSWER for {age}; below is the past. {why}"),
            )]
        }
        None => vec![(Ink::Plain, verdict(document))],
    };
    let nodes = (!document.nodes.is_empty()).then(|| picture::verdict(document));
    let nodes = nodes.unwrap_or_default();
    let nodes = nodes
        .lines()
        .map(|line| vec![(Ink::Plain, line.to_owned())]);
    let mut lines = vec![first, second];
    lines.extend(nodes);
    lines.push(Vec::new());
    lines
}

fn verdict(document: &Document) -> String {
    let states = ["active", "backup", "fault", "initialize", "drained"];
    let counts = states.iter().filter_map(|state| {
        let all = document.instances.iter();
        let count = all.filter(|one| one.state == **state).count();
        (count > 0).then(|| format!("{count} {state}"))
    });
    let counts: Vec<String> = counts.collect();
    let total = words::count(document.instances.len(), "instance", "instances");
    match counts.is_empty() {
        true => total,
        false => format!("{total}: {}", words::list(&counts, states.len())),
    }
}

fn nodes(document: &Document, past: bool) -> Vec<Line> {
    let mut lines: Vec<Line> = document.nodes.iter().map(|one| node(one, past)).collect();
    let more = lines.len().saturating_sub(NODES_MAX);
    if more > 0 {
        lines.truncate(NODES_MAX - 1);
        let text = format!("{} more nodes", more + 1);
        lines.push(vec![(Ink::Dim, text)]);
    }
    if !lines.is_empty() {
        lines.push(Vec::new());
    }
    lines
}

fn node(node: &Node, past: bool) -> Line {
    let name = format!("node {:<12} ", words::cut(&node.name, 12));
    let ink = if past { Ink::Dim } else { Ink::Good };
    let state = match (node.reachable, node.last_heard_age_ms) {
        (true, _) => (ink, "reachable".to_owned()),
        (false, None) => (Ink::Bad, "never heard".to_owned()),
        (false, Some(age)) => {
            let age = words::span(Duration::from_millis(age));
            (Ink::Bad, format!("not heard for {age}"))
        }
    };
    let up = node.paths.iter().filter(|path| path.reachable).count();
    let all = node.paths.len();
    let ink = if up < all { Ink::Warning } else { Ink::Plain };
    let drained = node.instances.iter().any(|one| one.state == "drained");
    let drained = if drained { ", drained" } else { "" };
    let paths = (ink, format!(", {up} of {all} paths{drained}"));
    vec![(Ink::Plain, name), state, paths]
}

const HEADER: &str = "  INSTANCE          HERE        PRIO  FOR           ACTIVE ON         HELD";

fn instances(model: &Model, now: Timestamp, rows: usize) -> Vec<Line> {
    let all = &model.document.instances;
    let chosen = model.position();
    // The chosen one stays in sight.
    let first = (chosen + 1)
        .saturating_sub(rows)
        .min(all.len().saturating_sub(rows));
    let shown = all.iter().enumerate().skip(first).take(rows);
    let mut lines: Vec<Line> = shown
        .map(|(index, one)| instance(one, now, index == chosen, model.away.is_some()))
        .collect();
    if all.is_empty() {
        lines.push(vec![(Ink::Dim, "  none on this node".to_owned())]);
    }
    if all.len() > rows
        && let Some(last) = lines.last_mut()
    {
        let last_shown = first + rows;
        last.push((Ink::Dim, format!("  {last_shown}/{}", all.len())));
    }
    lines
}

fn instance(one: &Instance, now: Timestamp, chosen: bool, past: bool) -> Line {
    let ink = match one.state.as_str() {
        _ if past => Ink::Dim,
        "active" => Ink::Good,
        "fault" => Ink::Bad,
        "drained" | "initialize" => Ink::Warning,
        _ => Ink::Plain,
    };
    let mark = if chosen { '>' } else { ' ' };
    let name = format!("{mark} {:<17} ", words::cut(&one.name, 17));
    let held = one.addresses.iter().filter(|address| address.held).count();
    let required = one.addresses.iter().filter(|address| address.required);
    let short = one.state == "active" && required.into_iter().any(|address| !address.held);
    let rest = format!(
        " {:>4}  {:<12}  {:<16}  ",
        one.priority.effective,
        words::span(one.since.age(now)),
        words::cut(&active_on(one), 16),
    );
    let held = format!("{held} of {}", one.addresses.len());
    let obstacles = match one.obstacles.len() + one.conflicts.len() + one.drift.len() {
        0 => String::new(),
        _ => "  !".to_owned(),
    };
    vec![
        (if chosen { Ink::Reversed } else { Ink::Plain }, name),
        (ink, format!("{:<11}", one.state)),
        (Ink::Plain, rest),
        (if short { Ink::Bad } else { Ink::Plain }, held),
        (Ink::Bad, obstacles),
    ]
}

fn active_on(one: &Instance) -> String {
    if one.state == "active" {
        return "this node".to_owned();
    }
    let router = one.active_router.as_ref();
    router.map_or_else(
        || "-".to_owned(),
        |router| {
            router
                .node
                .clone()
                .unwrap_or_else(|| router.address.clone())
        },
    )
}

/// Of the chosen instance.
fn problems(model: &Model, now: Timestamp) -> Vec<Line> {
    let Some(instance) = model.chosen() else {
        return Vec::new();
    };
    let rows = findings::problems(&model.document, instance, now);
    let more = rows.len().saturating_sub(PROBLEMS_MAX);
    let mut lines: Vec<Line> = rows
        .iter()
        .take(PROBLEMS_MAX)
        .map(|row| {
            vec![(
                Ink::Warning,
                format!("    {}: {}", row.kind, plain(&row.text)),
            )]
        })
        .collect();
    if more > 0 {
        let text = format!("    {more} more: vipward status {}", instance.name);
        lines.push(vec![(Ink::Dim, text)]);
    }
    lines
}

fn checks(document: &Document) -> Vec<Line> {
    if document.checks.is_empty() {
        return Vec::new();
    }
    let up = document
        .checks
        .iter()
        .filter(|one| one.state == "up")
        .count();
    let failing = document.checks.iter().filter(|one| one.state != "up");
    let failing: Vec<String> = failing
        .map(|one| match one.output.is_empty() {
            true => format!("{} {}", one.name, one.state),
            false => format!("{} {} ({})", one.name, one.state, one.output),
        })
        .collect();
    let mut line = vec![
        (Ink::Dim, "CHECKS  ".to_owned()),
        (Ink::Plain, format!("{up} of {} up", document.checks.len())),
    ];
    if !failing.is_empty() {
        line.push((Ink::Bad, format!("; {}", words::list(&failing, 3))));
    }
    vec![Vec::new(), line]
}

fn events(model: &Model, rows: usize) -> Vec<Line> {
    let mut lines = vec![vec![(Ink::Dim, "EVENTS".to_owned())]];
    let room = rows.saturating_sub(1);
    let first = model.steps.len().saturating_sub(room);
    lines.extend(model.steps.iter().skip(first).map(event));
    lines
}

fn event(step: &Step) -> Line {
    let ink = match step.level.as_str() {
        "error" => Ink::Bad,
        "warning" => Ink::Warning,
        "detail" => Ink::Dim,
        _ => Ink::Plain,
    };
    let time = step.time.to_zoned(TimeZone::UTC).strftime("%H:%M:%S%.3f");
    let name = words::cut(&step.name, 12);
    let Step { delta, words, .. } = step;
    vec![(ink, format!("{time} {delta:>9}  {name:<8} {words}"))]
}

fn footer(model: &Model) -> Line {
    if let Some(question) = &model.question {
        let text = format!("{}? y: yes, any other key: no", question.text);
        return vec![(Ink::Bold, text)];
    }
    let keys = "up/down choose  h hand over  d drain  u undrain  q quit";
    let keys = (Ink::Dim, keys.to_owned());
    match &model.said {
        None => vec![keys],
        Some(Said::UnderWay(what)) => vec![(Ink::Warning, format!("under way: {what}"))],
        Some(Said::Done(done)) => vec![(Ink::Good, plain(done))],
        Some(Said::Failed(why)) => vec![(Ink::Bad, plain(why))],
    }
}

/// On one line, and nothing that moves a terminal's cursor.
fn plain(text: &str) -> String {
    text.replace(char::is_control, " ")
}

fn cut(line: &mut Line, columns: usize) {
    let mut left = columns;
    for (_, text) in line.iter_mut() {
        if text.contains(char::is_control) {
            *text = plain(text);
        }
        let length = text.chars().count();
        if length > left {
            *text = match left {
                0 => String::new(),
                _ => text.chars().take(left - 1).chain(['…']).collect(),
            };
        }
        left = left.saturating_sub(length);
    }
    line.retain(|(_, text)| !text.is_empty());
}
