//! The exhaustive check: every interleaving of a bounded number of events over
//! the real core, and from every state that is reached, agreement once nothing
//! disturbs. `docs/testing.md` says what it covers.
//!
//! `EXHAUSTIVE_EVENTS` sets the bound of every check instead of its own.

// The kit, which the scenarios have too, knows it by this name.
extern crate vipward_core as vipward;

mod calm;
mod canon;
// The stories use it too, each of them not all of it.
#[allow(dead_code, unused_imports)]
#[path = "../../../tests/scenarios/kit/mod.rs"]
mod kit;
mod model;
mod node;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};
use stateright::{Checker, Model};
use vipward::agent::settings::{AnnounceSettings, InstanceSettings, Preempt};

use kit::web;
use model::{Budget, World};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let trials = vec![
        Trial::test("keys", keys),
        Trial::test("two_hosts", || {
            check(&[150, 100], Preempt::Immediately, EVERYTHING, 5)
        }),
        Trial::test("two_hosts_deep", || {
            check(&[150, 100], Preempt::Immediately, LOSSES, 9)
        }),
        Trial::test("two_equal_hosts", || {
            check(&[100, 100], Preempt::Immediately, EVERYTHING, 5)
        }),
        Trial::test("two_hosts_without_preemption", || {
            check(&[150, 100], Preempt::Never, EVERYTHING, 5)
        }),
        Trial::test("three_hosts", || {
            check(&[150, 120, 100], Preempt::Immediately, EVERYTHING, 5)
        }),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

const EVERYTHING: Budget = Budget {
    losses: 2,
    latenesses: 1,
    priorities: 1,
    stops: 1,
    deaths: 1,
    starts: 1,
    refusals: 1,
};
/// Nothing but packets, timers and the kernel.
const LOSSES: Budget = Budget {
    losses: 3,
    latenesses: 0,
    priorities: 0,
    stops: 0,
    deaths: 0,
    starts: 0,
    refusals: 0,
};

fn host(priority: u8, preempt: Preempt) -> InstanceSettings {
    InstanceSettings {
        on_all_fail: Default::default(),
        on_conflict: Default::default(),
        virtual_mac: false,
        witnesses: Vec::new(),
        preempt,
        // One announcement: how many there are is no part of the election.
        announce: AnnounceSettings {
            repeat: 1,
            delay: Duration::ZERO,
            refresh: Duration::ZERO,
        },
        ..web(priority)
    }
}

fn check(priorities: &[u8], preempt: Preempt, limits: Budget, events: usize) -> Result<(), Failed> {
    let wanted = std::env::var("EXHAUSTIVE_EVENTS").ok();
    let events: usize = wanted.map_or(Ok(events), |text| text.parse())?;
    let hosts = priorities.iter().map(|value| host(*value, preempt));
    let world = World {
        hosts: hosts.collect(),
        limits,
        other_priority: 130,
    };
    let started = Instant::now();
    // One thread: with more, a state may be reached first by a longer way and
    // not be explored to the bound. The checks run side by side instead.
    // Depth counts states, of which there is one more than events.
    let checker = world.checker().threads(1).target_max_depth(events + 1);
    let checker = checker.spawn_bfs().join();
    eprintln!(
        "priorities {priorities:?}, {events} events: {} states, {} of them different, in {:.1} s",
        checker.state_count(),
        checker.unique_state_count(),
        started.elapsed().as_secs_f64(),
    );
    let mut why = Vec::new();
    for (name, path) in checker.discoveries() {
        if name == "two are Active" || name == "nobody is Active" {
            continue;
        }
        let last = path.last_state().clone();
        let text = last.broken.clone().unwrap_or_else(|| {
            let agreed = last.agrees_in_the_end();
            agreed.err().unwrap_or_default()
        });
        let acts: Vec<String> = path
            .into_actions()
            .iter()
            .map(|act| format!("  {act:?}"))
            .collect();
        why.push(format!("{name}: {text}\n{}", acts.join("\n")));
    }
    if checker.discovery("two are Active").is_none() {
        why.push("two are never Active: nothing was explored".to_owned());
    }
    if why.is_empty() {
        Ok(())
    } else {
        Err(why.join("\n").into())
    }
}

/// What the model takes for equal: an agent that lives a shift later is the
/// same, one whose timer has come nearer is not.
fn keys() -> Result<(), Failed> {
    let key = |start: u64, waited: u64| {
        let mut node = node::Node::new(1, host(100, Preempt::Immediately));
        node.pass(Duration::from_nanos(start));
        node.start()?;
        node.pass(Duration::from_nanos(waited));
        node.renew_key();
        Ok::<u64, String>(node.key)
    };
    let shifted = key(0, 5)? == key(77_000_000_000, 5)?;
    let waited = key(0, 5)? != key(0, 6)?;
    if shifted && waited {
        Ok(())
    } else {
        Err("keys are wrong".into())
    }
}
