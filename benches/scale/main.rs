//! Many instances on one host, of vipward and of keepalived in the same run:
//! processor time and memory of standing by, start, mass takeover, thaw,
//! reload, planned stop; and the bare system calls of as many advertisements
//! in the same network as the limit.
//!
//! `cargo bench --bench scale`; `docs/scale.md` says what is measured and how.
//! `VIPWARD_BENCH_SIZES` (1,50,255,1000,4000,500a: instances, or addresses of
//! one instance), `VIPWARD_BENCH_WINDOW` (20) seconds for processor time,
//! `VIPWARD_BENCH_ROUNDS` (1), `VIPWARD_BENCH_WHO`: only those whose words
//! contain this. Needs what the end-to-end tests need, and their namespaces.

#[path = "../../tests/e2e/lab/mod.rs"]
#[allow(dead_code, reason = "the laboratory serves the end-to-end tests too")]
mod lab;

mod bare;
mod cost;
mod figures;
mod load;
mod speaker;
mod stage;
mod tape;
mod trial;

use std::process::ExitCode;
use std::time::Duration;

use lab::{isolation, tools};
use load::Load;
use speaker::Who;

fn main() -> ExitCode {
    isolation::enter();
    if let Some(reason) = isolation::missing() {
        eprintln!("nothing measured: {reason}");
        return ExitCode::FAILURE;
    }
    let text = |name| std::env::var(name).unwrap_or_default();
    let number = |name, otherwise| text(name).parse().unwrap_or(otherwise);
    let window = Duration::from_secs(number("VIPWARD_BENCH_WINDOW", 20));
    let rounds = number("VIPWARD_BENCH_ROUNDS", 1);
    let wanted = text("VIPWARD_BENCH_WHO");
    let sizes = match text("VIPWARD_BENCH_SIZES") {
        all if all.is_empty() => "1,50,255,1000,4000,500a".to_owned(),
        some => some,
    };
    let Some(loads) = sizes
        .split(',')
        .map(Load::parse)
        .collect::<Option<Vec<_>>>()
    else {
        eprintln!("VIPWARD_BENCH_SIZES: numbers of instances, and 500a for one with 500 addresses");
        return ExitCode::FAILURE;
    };
    let mut whos = Who::ALL.to_vec();
    whos.retain(|who| who.name().contains(&wanted));
    if let Err(reason) = tools::keepalived() {
        eprintln!("without keepalived: {reason}");
        whos.retain(|who| *who != Who::Keepalived);
    }
    figures::print_head();
    for load in loads {
        let mut rows = vec![Vec::new(); whos.len()];
        let mut limits = Vec::new();
        for _ in 0..rounds {
            limits.push(bare::measure(load));
            for (row, who) in rows.iter_mut().zip(&whos) {
                eprintln!("{}: {}", load.name(), who.name());
                row.push(trial::run(load, *who, window));
            }
        }
        figures::print_limits(load, &limits);
        for (row, who) in rows.iter().zip(&whos) {
            figures::print(load, *who, row);
        }
    }
    ExitCode::SUCCESS
}
