//! Deterministic simulation: hosts with real agents, one clock, one segment,
//! everything from one seed. `docs/testing.md` says how to read a trace and
//! how to replay a seed.
//!
//! Variables of the environment:
//! - `SIMULATION_SEEDS`: `20000` (that many from 0) or `100..200`
//! - `SIMULATION_SEED`: this one alone, with its trace
//! - `SIMULATION_FAULTS`: `none`, `all`, or names with commas between them,
//!   instead of those that each seed chooses
//! - `SIMULATION_CYCLES`: disturbed phases in each run
//! - `SIMULATION_SECONDS`: as many seeds as fit into this time

// The kit, which the scenarios have too, knows it by this name.
extern crate vipward_core as vipward;

mod attack;
mod auth;
mod bounds;
mod cast;
mod checks;
mod cluster;
mod deeds;
mod dice;
mod fault;
mod judge;
mod keepalived;
// The stories use it too, each of them not all of it.
#[allow(dead_code, unused_imports)]
#[path = "../../../tests/scenarios/kit/mod.rs"]
mod kit;
mod operators;
mod plan;
mod rules;
mod seeds;
mod sim;
mod together;
mod virtual_mac;
mod watch;
mod weather;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let trials = vec![
        Trial::test("every_seed_holds", seeds::every_seed_holds),
        Trial::test("a_seed_is_one_run", seeds::a_seed_is_one_run),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}
