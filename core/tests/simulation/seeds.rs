//! Many seeds on all processors; a failing one is made small and printed with
//! the command that replays it.

use std::cell::Cell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, Once};
use std::time::{Duration, Instant};

use libtest_mimic::Failed;

use crate::fault::Faults;
use crate::kit::START;
use crate::sim::Sim;

const SEEDS: u64 = 6_000;
const CYCLES: u64 = 2;
/// So much of a trace is printed; the whole of it is in a file.
const LINES_PRINTED: usize = 120;

/// What a run came to.
#[derive(Debug, Default)]
struct Outcome {
    simulated: Duration,
    steps: u64,
    agreements: u64,
    failure: Option<String>,
    trace: String,
}

thread_local! {
    /// The panic of a run is a breach; it is printed by whoever caught it.
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
}

fn hush() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !CAUGHT.get() {
                usual(info);
            }
        }));
    });
}

fn run(seed: u64, faults: &Faults, cycles: u64, record: bool) -> Outcome {
    hush();
    let mut sim = Sim::new(seed, faults, cycles, record);
    let head = sim.cast.describe();
    CAUGHT.set(true);
    let ended = catch_unwind(AssertUnwindSafe(|| sim.run()));
    CAUGHT.set(false);
    let failure = ended.err().map(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        text.unwrap_or_else(|| "a panic without words".to_owned())
    });
    let trace = if record {
        let whole = sim.lab.whole_trace();
        format!("seed {seed}, faults {faults}, {cycles} cycles\n{head}{whole}")
    } else {
        String::new()
    };
    Outcome {
        simulated: sim.lab.now().since(START),
        steps: sim.steps,
        agreements: sim.judge.agreements,
        failure,
        trace,
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn number(name: &str) -> Result<Option<u64>, Failed> {
    let parse = |text: String| {
        text.parse()
            .map_err(|_| format!("{name}={text}: no number"))
    };
    Ok(variable(name).map(parse).transpose()?)
}

fn range() -> Result<Range<u64>, Failed> {
    let Some(text) = variable("SIMULATION_SEEDS") else {
        return Ok(0..SEEDS);
    };
    let (from, to) = text.split_once("..").unwrap_or(("0", &text));
    let parse = |part: &str| part.parse::<u64>();
    match (parse(from), parse(to)) {
        (Ok(from), Ok(to)) => Ok(from..to),
        _ => Err(format!("SIMULATION_SEEDS={text}: neither a number nor from..to").into()),
    }
}

/// Those that the environment names, or those of the seed.
fn faults_of(seed: u64) -> Result<Faults, Failed> {
    match variable("SIMULATION_FAULTS") {
        Some(names) => Ok(Faults::parse(&names)?),
        None => Ok(Faults::of_seed(seed)),
    }
}

/// Every seed, or the one that is asked for with its trace.
pub fn every_seed_holds() -> Result<(), Failed> {
    let cycles = number("SIMULATION_CYCLES")?.unwrap_or(CYCLES);
    if let Some(seed) = number("SIMULATION_SEED")? {
        let outcome = run(seed, &faults_of(seed)?, cycles, true);
        show(seed, &outcome);
        return match outcome.failure {
            Some(why) => Err(format!("seed {seed}: {why}").into()),
            None => Ok(()),
        };
    }
    let limit = number("SIMULATION_SECONDS")?.map(Duration::from_secs);
    let seeds = if limit.is_some() && variable("SIMULATION_SEEDS").is_none() {
        0..u64::MAX
    } else {
        range()?
    };
    // Said before the first run rather than by every thread.
    faults_of(seeds.start)?;
    sweep(seeds, cycles, limit)
}

fn sweep(seeds: Range<u64>, cycles: u64, limit: Option<Duration>) -> Result<(), Failed> {
    let started = Instant::now();
    let next = AtomicU64::new(seeds.start);
    let sum = Mutex::new((Outcome::default(), 0_u64));
    let failed = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            let late = limit.is_some_and(|limit| started.elapsed() > limit);
            let enough = failed.lock().expect("no panic").len() >= failures_wanted();
            if seed >= seeds.end || late || enough {
                return;
            }
            let Ok(faults) = faults_of(seed) else { return };
            let outcome = run(seed, &faults, cycles, false);
            let mut sum = sum.lock().expect("no panic");
            sum.0.simulated += outcome.simulated;
            sum.0.steps += outcome.steps;
            sum.0.agreements += outcome.agreements;
            sum.1 += 1;
            drop(sum);
            if let Some(why) = outcome.failure {
                failed.lock().expect("no panic").push((seed, why));
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let (sum, runs) = sum.into_inner().expect("no panic");
    report(&sum, runs, started.elapsed());
    let mut failed = failed.into_inner().expect("no panic");
    failed.sort();
    if failed.is_empty() {
        return Ok(());
    }
    for (seed, why) in &failed {
        eprintln!("seed {seed}: {why}");
    }
    let (seed, why) = failed.first().cloned().expect("not empty");
    explain(seed, cycles);
    Err(format!("seed {seed}: {why}").into())
}

fn failures_wanted() -> usize {
    let wanted = number("SIMULATION_FAILURES").ok().flatten();
    wanted
        .and_then(|wanted| usize::try_from(wanted).ok())
        .unwrap_or(1)
}

fn report(sum: &Outcome, runs: u64, took: Duration) {
    let seconds = took.as_secs_f64().max(0.001);
    let hours = sum.simulated.as_secs_f64() / 3600.0;
    eprintln!(
        "{runs} seeds in {seconds:.1} s: {:.0} seeds a second, {hours:.1} simulated hours, \
         {:.2} of them for each second; {} steps, {} agreements",
        seconds_to(runs, seconds),
        hours / seconds,
        sum.steps,
        sum.agreements,
    );
}

fn seconds_to(runs: u64, seconds: f64) -> f64 {
    u32::try_from(runs).map_or(f64::NAN, f64::from) / seconds
}

/// Leaves out what is not needed for the failure, and shows the rest.
fn explain(seed: u64, cycles: u64) {
    let Ok(mut faults) = faults_of(seed) else {
        return;
    };
    let fails = |faults: &Faults, cycles| run(seed, faults, cycles, false).failure.is_some();
    let mut fewest = cycles;
    while fewest > 0 && fails(&faults, fewest - 1) {
        fewest -= 1;
    }
    for fault in faults.0.clone() {
        let mut without = faults.clone();
        without.0.remove(&fault);
        if fails(&without, fewest) {
            faults = without;
        }
    }
    let outcome = run(seed, &faults, fewest, true);
    show(seed, &outcome);
    eprintln!("replay it, made as small as it still fails:");
    eprintln!(
        "  SIMULATION_SEED={seed} SIMULATION_FAULTS={faults} SIMULATION_CYCLES={fewest} \
         cargo test --test simulation every_seed_holds"
    );
}

/// The end of the trace here, the whole of it in a file.
fn show(seed: u64, outcome: &Outcome) {
    let lines: Vec<&str> = outcome.trace.lines().collect();
    let head = lines.iter().take_while(|line| !line.contains("==="));
    for line in head {
        eprintln!("{line}");
    }
    let skipped = lines.len().saturating_sub(LINES_PRINTED);
    eprintln!("... the last lines:");
    for line in lines.iter().skip(skipped) {
        eprintln!("{line}");
    }
    match &outcome.failure {
        Some(why) => eprintln!("FAILED after {:?}: {why}", outcome.simulated),
        None => eprintln!("held for {:?}", outcome.simulated),
    }
    let path = std::env::temp_dir().join(format!("vipward-simulation-{seed}.txt"));
    match std::fs::write(&path, &outcome.trace) {
        Ok(()) => eprintln!("the whole trace: {}", path.display()),
        Err(error) => eprintln!("the whole trace could not be written: {error}"),
    }
}

/// Two runs of one seed are the same to the letter.
pub fn a_seed_is_one_run() -> Result<(), Failed> {
    for seed in [1, 7, 42, 1_000_003] {
        let faults = Faults::parse("all")?;
        let (one, other) = (run(seed, &faults, 1, true), run(seed, &faults, 1, true));
        if one.trace != other.trace || one.trace.lines().count() < 100 {
            return Err(format!("seed {seed} ran in two ways").into());
        }
        if run(seed + 1, &faults, 1, true).trace == one.trace {
            return Err("another seed, the same run".into());
        }
    }
    Ok(())
}
