//! vipward beside keepalived, in the same run on the same machine: what each
//! event of a pair's life costs its clients, and how evenly it speaks on a
//! machine that is busy. See docs/benchmarks.md.
//!
//! `cargo bench --bench compare`, and `-- killed` for those rows alone whose
//! words contain that (`-- "killed, 10 ms"`; `-- steady`; `-- extra` for the
//! rows beyond). `VIPWARD_BENCH_RUNS` (9) of each row, `VIPWARD_BENCH_LANES`
//! (4) laboratories side by side, half of them below an interval of 1 s, `VIPWARD_BENCH_MINUTES` (10) of steadiness,
//! `VIPWARD_BENCH_TRACES`: a directory for what was seen where a goal was
//! missed. Runs in namespaces of its own, as the end-to-end tests do, and needs
//! what they need.

#[path = "../../tests/e2e/lab/mod.rs"]
#[allow(dead_code, reason = "the laboratory serves the end-to-end tests too")]
mod lab;

mod pair;
mod plan;
mod run;
mod steady;
mod strike;
mod table;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::scope;
use std::time::{Duration, Instant};

use lab::{isolation, ms, on_time, stall, tools};
use plan::{Case, Figure, SCENARIOS, Scenario, Who};
use run::Seen;

const INTERVALS: [Duration; 3] = [ms(1000), ms(100), ms(10)];

/// A scenario at an interval, of everybody.
pub struct Line {
    scenario: &'static Scenario,
    interval: Duration,
    rows: Vec<Row>,
}

/// What a run says in a figure, and how long the machine stood still in it.
pub struct Figured {
    value: f64,
    stood_still: Duration,
}

pub struct Row {
    who: Who,
    runs: Mutex<Vec<Vec<Seen>>>,
    /// Runs that came to nothing: the pair did not come to rest.
    failed: AtomicUsize,
}

impl Row {
    fn failed(&self) -> usize {
        self.failed.load(Ordering::Relaxed)
    }

    fn figures(&self, step: usize, figure: Figure) -> Vec<Figured> {
        let runs = self.runs.lock().expect("no lane panics in here");
        let all = runs.iter().filter_map(|run| run.get(step));
        let figured = |seen: &Seen| Figured {
            value: seen.figure(figure),
            stood_still: seen.stood_still,
        };
        all.map(figured).collect()
    }
}

fn main() -> ExitCode {
    isolation::enter();
    if let Some(reason) = isolation::missing() {
        eprintln!("nothing measured: {reason}");
        return ExitCode::FAILURE;
    }
    stall::start_meter();
    on_time::want();
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with("--"))
        .collect();
    println!("{}", surroundings());
    let runs = number("VIPWARD_BENCH_RUNS", 9);
    let lanes: usize = number("VIPWARD_BENCH_LANES", 4);
    let mut all = lines(&wanted);
    for interval in INTERVALS {
        let (group, others): (Vec<Line>, Vec<Line>) =
            all.into_iter().partition(|line| line.interval == interval);
        all = others;
        if group.is_empty() {
            continue;
        }
        // What waits less disturbs more.
        let lanes = if interval < ms(1000) {
            lanes.div_ceil(2)
        } else {
            lanes
        };
        measure(&group, runs, lanes);
        println!("\nAn interval of {interval:?}, {lanes} laboratories side by side.\n");
        table::decisive(&group);
        println!();
        table::whole(&group);
        println!("\n{}", surroundings());
    }
    if wanted.is_empty() || wanted.iter().any(|word| word == "steady") {
        steady::measure(number("VIPWARD_BENCH_MINUTES", 10.0));
        println!("\n{}", surroundings());
    }
    ExitCode::SUCCESS
}

fn number<T: FromStr>(name: &str, default: T) -> T {
    let text = std::env::var(name).ok();
    text.and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Those that are wanted; without a wish, all but the extra ones.
fn lines(wanted: &[String]) -> Vec<Line> {
    let keepalived = tools::keepalived();
    if let Err(reason) = &keepalived {
        eprintln!("without keepalived: {reason}");
    }
    let mut lines = Vec::new();
    for scenario in SCENARIOS {
        if scenario.case == Case::Blocked && tools::nft().is_err() {
            continue;
        }
        for interval in scenario.intervals.iter().map(|count| ms(*count)) {
            let extra = if scenario.extra { "extra " } else { "" };
            let steps: Vec<_> = scenario.steps.iter().map(|step| step.text).collect();
            let text = format!("{extra}{}, {} ms", steps.join(", "), interval.as_millis());
            let named = wanted.iter().any(|word| text.contains(word));
            let by_default = wanted.is_empty() && !scenario.extra;
            if !named && !by_default {
                continue;
            }
            let whos = scenario.whos.iter().copied();
            let there = whos.filter(|who| *who != Who::Keepalived || keepalived.is_ok());
            lines.push(Line {
                scenario,
                interval,
                rows: there.map(Row::new).collect(),
            });
        }
    }
    lines
}

impl Row {
    fn new(who: Who) -> Self {
        Self {
            who,
            runs: Mutex::default(),
            failed: AtomicUsize::new(0),
        }
    }
}

/// Of one line after the other, so that a noisy time disturbs few; within it
/// the programs take turns.
fn measure(lines: &[Line], runs: usize, lanes: usize) {
    let jobs = lines.iter().flat_map(|line| {
        let parts = (0..runs).map(move |run| (run as f64 + 0.5) / runs as f64);
        parts.flat_map(move |part| line.rows.iter().map(move |row| (line, row, part)))
    });
    let jobs = Mutex::new(jobs);
    let next = || jobs.lock().expect("no lane panics in here").next();
    scope(|scope| {
        for _ in 0..lanes {
            scope.spawn(|| {
                while let Some((line, row, part)) = next() {
                    let once = || run::run(line.scenario, row.who, line.interval, part);
                    match catch_unwind(AssertUnwindSafe(once)) {
                        Ok(seen) => {
                            tell(line, row, &seen);
                            row.runs.lock().expect("none panics in here").push(seen);
                        }
                        // The panic itself has told why.
                        Err(_) => drop(row.failed.fetch_add(1, Ordering::Relaxed)),
                    }
                }
            });
        }
    });
}

/// For whoever waits.
fn tell(line: &Line, row: &Row, seen: &[Seen]) {
    for (step, seen) in line.scenario.steps.iter().zip(seen) {
        eprintln!(
            "{:?} {}, {:?}: {} lost, {:.1} ms without an answer, two owners {:.1} ms",
            row.who,
            step.text,
            line.interval,
            seen.lost,
            seen.gap.as_secs_f64() * 1e3,
            seen.two.as_secs_f64() * 1e3,
        );
    }
}

/// When, and how busy the machine is.
fn surroundings() -> String {
    static BEGAN: Mutex<Option<Instant>> = Mutex::new(None);
    let mut began = BEGAN.lock().expect("one thread");
    let began = began.get_or_insert_with(Instant::now);
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    format!(
        "{} s; load {}; standstills of an ordinary thread {} ms in all; {}; Linux {}",
        began.elapsed().as_secs(),
        read("/proc/loadavg").trim(),
        stall::since(*began).as_millis(),
        keepalived_version(),
        read("/proc/sys/kernel/osrelease").trim(),
    )
}

fn keepalived_version() -> String {
    let Ok(program) = tools::keepalived() else {
        return "no keepalived".to_owned();
    };
    let output = program.command().arg("--version").output();
    let text = output.map(|output| output.stderr).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    text.lines().next().unwrap_or_default().to_owned()
}
