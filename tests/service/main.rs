//! The service on booted machines: the real units under a real systemd, on
//! two hosts with a client beside them. Every trial has machines of its own.

use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

mod beside;
mod death;
mod environment;
// The trials of the packages use more of it.
#[allow(dead_code)]
mod lab;
mod reload;
mod sandbox;
mod scripts;
mod shutdown;
mod start;
mod stop;
mod units;

use lab::isolation;

/// Most of a trial is waiting, so more of them than cores run side by side.
const SIDE_BY_SIDE: usize = 4;

pub type Test = (&'static str, fn());

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    if !arguments.list {
        isolation::enter();
        lab::stall::start_meter();
    }
    arguments.test_threads.get_or_insert(SIDE_BY_SIDE);
    let trials = [
        start::TESTS,
        sandbox::TESTS,
        beside::TESTS,
        reload::TESTS,
        environment::TESTS,
        scripts::TESTS,
        death::TESTS,
        shutdown::TESTS,
        stop::TESTS,
        units::TESTS,
    ]
    .concat()
    .into_iter()
    .map(|(name, test)| {
        Trial::ignorable_test(name, move || -> Result<Completion, Failed> {
            if let Some(reason) = isolation::missing() {
                return Ok(Completion::ignored_with(reason));
            }
            test();
            Ok(Completion::Completed)
        })
    })
    .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}
