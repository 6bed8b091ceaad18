//! End to end: the real binary in real network namespaces, watched by a
//! neutral observer on the wire. Every trial has a lab of its own. See
//! CONTRIBUTING.md for how to run one of them.

use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

mod agent_addresses;
mod agent_adverts;
mod agent_auth;
mod agent_auth_forgeries;
mod agent_awaited_hooks;
mod agent_checks;
mod agent_cleanup;
mod agent_control;
mod agent_doctor;
mod agent_events;
mod agent_failure;
mod agent_files;
mod agent_groups;
mod agent_guardian;
mod agent_health;
mod agent_hooks;
mod agent_link;
mod agent_link_attacks;
mod agent_link_files;
mod agent_link_moves;
mod agent_local_checks;
mod agent_metrics;
mod agent_moves;
mod agent_moves_virtual_mac;
mod agent_owner;
mod agent_preempt;
mod agent_reload;
mod agent_routes;
mod agent_runner;
mod agent_start;
mod agent_stop;
mod agent_variants;
mod agent_virtual_mac;
#[path = "../control/exposition.rs"]
mod exposition;
mod failures;
mod frr;
mod keepalived;
mod lab;
mod lab_itself;
mod migration;
#[path = "../control/promtool.rs"]
mod promtool;
mod readme;
mod rollout;
mod spacing;

use lab::isolation;
use lab::tools;

/// Most of a trial is waiting, so more of them than cores run side by side.
const SIDE_BY_SIDE: usize = 8;

/// What a trial needs besides namespaces.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    Nothing,
    Keepalived,
    Frr,
    Nft,
    /// A terminal for a program.
    Script,
}

/// A trial that is skipped, with the reason, where its needs are not met.
pub fn trial(name: impl Into<String>, needs: Needs, run: impl FnOnce() + Send + 'static) -> Trial {
    Trial::ignorable_test(name, move || -> Result<Completion, Failed> {
        let missing = isolation::missing().or_else(|| match needs {
            Needs::Nothing => None,
            Needs::Keepalived => tools::keepalived().err(),
            Needs::Frr => tools::frr().err(),
            Needs::Nft => tools::nft().err(),
            Needs::Script => tools::script().err(),
        });
        if let Some(reason) = missing {
            return Ok(Completion::ignored_with(reason));
        }
        run();
        Ok(Completion::Completed)
    })
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    if !arguments.list {
        isolation::enter();
        lab::stall::start_meter();
    }
    arguments.test_threads.get_or_insert(SIDE_BY_SIDE);
    let mut trials = Vec::new();
    trials.extend(lab_itself::trials());
    trials.extend(failures::trials());
    trials.extend(agent_groups::trials());
    trials.extend(agent_guardian::trials());
    trials.extend(agent_health::trials());
    trials.extend(agent_addresses::trials());
    trials.extend(agent_adverts::trials());
    trials.extend(agent_auth::trials());
    trials.extend(agent_auth_forgeries::trials());
    trials.extend(agent_awaited_hooks::trials());
    trials.extend(agent_checks::trials());
    trials.extend(agent_cleanup::trials());
    trials.extend(agent_control::trials());
    trials.extend(agent_events::trials());
    trials.extend(agent_doctor::trials());
    trials.extend(agent_failure::trials());
    trials.extend(agent_files::trials());
    trials.extend(agent_hooks::trials());
    trials.extend(agent_link::trials());
    trials.extend(agent_link_attacks::trials());
    trials.extend(agent_link_files::trials());
    trials.extend(agent_link_moves::trials());
    trials.extend(agent_metrics::trials());
    trials.extend(agent_moves::trials());
    trials.extend(agent_moves_virtual_mac::trials());
    trials.extend(agent_owner::trials());
    trials.extend(agent_local_checks::trials());
    trials.extend(agent_preempt::trials());
    trials.extend(agent_reload::trials());
    trials.extend(agent_routes::trials());
    trials.extend(agent_runner::trials());
    trials.extend(agent_start::trials());
    trials.extend(agent_stop::trials());
    trials.extend(agent_variants::trials());
    trials.extend(agent_virtual_mac::trials());
    trials.extend(keepalived::trials());
    trials.extend(frr::trials());
    trials.extend(migration::trials());
    trials.extend(readme::trials());
    trials.extend(rollout::trials());
    trials.extend(spacing::trials());
    libtest_mimic::run(&arguments, trials).exit_code()
}
