//! The tables: what decides each row, side by side, and all that was seen.

use std::time::Duration;

use crate::plan::{ALL, Figure, Who, goal};
use crate::run::Seen;
use crate::{Figured, Line, Row};

/// What a probe each millisecond cannot tell apart: one lost, and some delay.
const GRAIN: f64 = 2.5;
/// Of a median of long spans.
const LIKE: f64 = 0.01;

/// Median, least and most.
pub struct Spread {
    pub median: f64,
    pub least: f64,
    pub most: f64,
}

impl Spread {
    pub fn of(mut all: Vec<f64>) -> Option<Self> {
        all.sort_by(f64::total_cmp);
        let (low, high) = (
            all.get(all.len().saturating_sub(1) / 2)?,
            all.get(all.len() / 2)?,
        );
        Some(Self {
            median: (low + high) / 2.0,
            least: *all.first()?,
            most: *all.last()?,
        })
    }
}

/// As many digits as tell something.
fn number(value: f64) -> String {
    match value {
        value if value == value.round() && value.abs() < 1000.0 => format!("{value:.0}"),
        value if value.abs() < 100.0 => format!("{value:.1}"),
        value => {
            let whole = format!("{value:.0}");
            let digits = whole.len();
            let mut text = String::new();
            for (place, digit) in whole.chars().enumerate() {
                if place > 0 && (digits - place).is_multiple_of(3) {
                    text.push(',');
                }
                text.push(digit);
            }
            text
        }
    }
}

fn spread(values: Vec<f64>) -> String {
    match Spread::of(values) {
        Some(s) if number(s.least) == number(s.most) => number(s.median),
        Some(s) => format!(
            "{} ({} to {})",
            number(s.median),
            number(s.least),
            number(s.most)
        ),
        None => "-".to_owned(),
    }
}

/// What decides: the same figure for all, the goal of each, and the verdict.
pub fn decisive(lines: &[Line]) {
    println!(
        "| what | figure | keepalived | vipward | goal | met | with the peer link | goal | met |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for line in lines {
        for (place, step) in line.scenario.steps.iter().enumerate() {
            let cells = ALL.map(|who| {
                let row = line.rows.iter().find(|row| row.who == who);
                row.map(|row| row.figures(place, step.figure))
                    .unwrap_or_default()
            });
            let [keepalived, plain, linked] = &cells;
            let verdicts = [(Who::Vipward, plain), (Who::Linked, linked)].map(|(who, ours)| {
                let most = goal(line.scenario.case, place, who, line.interval);
                let most = most.filter(|_| !ours.is_empty());
                let met = verdict(step.figure, most, ours, keepalived, line.interval * 3);
                (most.map(number).unwrap_or_default(), met)
            });
            let [(goal, met), (linked_goal, linked_met)] = verdicts;
            let [keepalived, plain, linked] = cells.map(|all| spread(values(&all)));
            println!(
                "| {} | {} | {keepalived} | {plain} | {goal} | {met} | {linked} | {linked_goal} | {linked_met} |",
                step.text,
                step.figure.text(),
            );
        }
    }
}

fn values(figures: &[Figured]) -> Vec<f64> {
    figures.iter().map(|one| one.value).collect()
}

/// Whether the goal was met: by all runs, by the median alone, or by how much
/// it was missed; and whether the other is ahead. A run in which the machine
/// stood still for longer than `patience` says little.
fn verdict(
    figure: Figure,
    most: Option<f64>,
    ours: &[Figured],
    theirs: &[Figured],
    patience: Duration,
) -> String {
    let Some(spread) = Spread::of(values(ours)) else {
        return String::new();
    };
    let mut words = Vec::new();
    if let Some(most) = most {
        let missed: Vec<_> = ours.iter().filter(|one| one.value > most).collect();
        let still = missed.iter().filter(|one| one.stood_still > patience);
        let still = match still.count() {
            0 => String::new(),
            still => format!(", the machine stood still in {still} of the others"),
        };
        let of_all = format!("{} of {}{still}", ours.len() - missed.len(), ours.len());
        words.push(match spread.median <= most {
            _ if missed.is_empty() => "yes".to_owned(),
            true => format!("median; {of_all}"),
            false => format!("**no**, by {}; {of_all}", number(spread.median - most)),
        });
    }
    if let Some(theirs) = Spread::of(values(theirs)) {
        let grain = match figure {
            Figure::Lost => 0.0,
            Figure::Gap | Figure::Two => GRAIN.max(theirs.median * LIKE),
        };
        match spread.median > theirs.median + grain {
            true => words.push("**behind**".to_owned()),
            false if most.is_none() => words.push("not behind".to_owned()),
            false => {}
        }
    }
    words.join("; ")
}

/// Everything that was seen.
pub fn whole(lines: &[Line]) {
    println!(
        "| what | who | n | lost | without an answer | between two answers | the machine stood still | two owners | no owner | the other is taken for it | advertisements a, b | announcements a, b |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    for line in lines {
        for (number, step) in line.scenario.steps.iter().enumerate() {
            for row in &line.rows {
                println!(
                    "| {} | {} | {} |",
                    step.text,
                    row.who.text(),
                    seen(row, number)
                );
            }
        }
    }
}

fn seen(row: &Row, step: usize) -> String {
    let runs = row.runs.lock().expect("all lanes have ended");
    let of = |value: &dyn Fn(&Seen) -> f64| {
        let all = runs.iter().filter_map(|run| Some(value(run.get(step)?)));
        spread(all.collect())
    };
    let ms = |span: Duration| span.as_secs_f64() * 1e3;
    let count = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    let taken: Vec<f64> = runs
        .iter()
        .filter_map(|run| run.get(step)?.taken.map(ms))
        .collect();
    let never = match runs.len() - taken.len() {
        0 => String::new(),
        never => format!(", {never} never"),
    };
    let failed = match row.failed() {
        0 => String::new(),
        failed => format!(", {failed} failed"),
    };
    let cells = [
        format!("{}{failed}", runs.len()),
        of(&|seen| count(seen.lost)),
        of(&|seen| ms(seen.gap)),
        of(&|seen| ms(seen.silence)),
        of(&|seen| ms(seen.stood_still)),
        of(&|seen| ms(seen.two)),
        of(&|seen| ms(seen.none)),
        spread(taken) + &never,
        format!(
            "{}, {}",
            of(&|seen| count(seen.adverts[0])),
            of(&|seen| count(seen.adverts[1]))
        ),
        format!(
            "{}, {}",
            of(&|seen| count(seen.announcements[0])),
            of(&|seen| count(seen.announcements[1]))
        ),
    ];
    cells.join(" | ")
}
