//! The parts by themselves: codecs, the core's turn for each kind of event at
//! 1, 1,000 and 4,000 instances, steps of the simulation.
//!
//! `cargo bench --bench micro`; a word after `--` chooses what to measure.

#[path = "../../tests/steady/fleet.rs"]
#[allow(dead_code, reason = "tests use the rest")]
mod fleet;
#[path = "../../tests/scenarios/kit/mod.rs"]
#[allow(dead_code, unused_imports, reason = "stories use the rest")]
mod kit;

mod codecs;
mod core;
mod simulated;

use kit::settings;

fn main() {
    divan::main();
}
