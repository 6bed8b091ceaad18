//! Of checks, hooks and groups.

use super::agent::seconds;
use super::exposition::Exposition;
use crate::agent::status::{CheckState, HookStatus, StateName, Status};
use crate::control::document::Context;

pub(super) fn write(out: &mut Exposition, status: &Status, context: Context<'_>) {
    checks(out, status, context);
    hooks(out, status);
    let mut states = out.gauge(
        "vipward_group_state",
        "1 for the state that all members of the group are in, 0 for each other one.",
    );
    for group in &status.groups {
        for state in StateName::ALL {
            let labels = [("group", group.name.as_str()), ("state", state.name())];
            states.flag(&labels, group.state == state);
        }
    }
}

fn checks(out: &mut Exposition, status: &Status, context: Context<'_>) {
    let mut states = out.gauge(
        "vipward_check_state",
        "1 for the state that the check is in, 0 for each other one.",
    );
    for check in &status.checks {
        for state in CheckState::ALL {
            let labels = [("check", check.name.as_str()), ("state", state.name())];
            states.flag(&labels, check.state == state);
        }
    }
    let mut since = out.gauge(
        "vipward_check_state_changed_timestamp_seconds",
        "When that state was entered, as seconds since 1970.",
    );
    for check in &status.checks {
        let at = context.clock.at(check.since).0;
        since.sample(&[("check", check.name.as_str())], seconds(at));
    }
    // What follows a file, an interface or others is never run.
    let run = status.checks.iter();
    let run = run.filter(|check| check.tally.durations.count() > 0);
    let mut durations = out.histogram(
        "vipward_check_duration_seconds",
        "How long runs of the check took.",
    );
    for check in run.clone() {
        let labels = [("check", check.name.as_str())];
        durations.buckets(&labels, &check.tally.durations);
    }
    let mut failures = out.counter(
        "vipward_check_failures_total",
        "Runs of the check that said no or did not end in time, whatever its state.",
    );
    for check in run {
        failures.sample(&[("check", check.name.as_str())], check.tally.failures);
    }
}

fn hooks(out: &mut Exposition, status: &Status) {
    let of_instances = status.instances.iter().flat_map(|one| {
        let owner = (one.name.as_str(), "");
        one.hooks.iter().map(move |hook| (owner, hook))
    });
    let of_groups = status.groups.iter().flat_map(|one| {
        let owner = ("", one.name.as_str());
        one.hooks.iter().map(move |hook| (owner, hook))
    });
    let all: Vec<((&str, &str), &HookStatus)> = of_instances.chain(of_groups).collect();
    let mut durations = out.summary(
        "vipward_hook_duration_seconds",
        "How long runs of the hook of an instance or a group took.",
    );
    for (owner, hook) in &all {
        durations.sum_and_count(&owned(*owner, hook), &hook.tally.durations);
    }
    let mut failures = out.counter(
        "vipward_hook_failures_total",
        "Runs of the hook that failed, did not end in time or could not be run.",
    );
    for (owner, hook) in &all {
        failures.sample(&owned(*owner, hook), hook.tally.failures);
    }
    let mut last = out.gauge(
        "vipward_hook_last_run_successful",
        "Whether the last run of the hook succeeded.",
    );
    for (owner, hook) in &all {
        last.flag(&owned(*owner, hook), hook.error.is_none());
    }
}

/// An empty label is the same as none.
fn owned<'a>(
    (instance, group): (&'a str, &'a str),
    hook: &HookStatus,
) -> [(&'static str, &'a str); 3] {
    [
        ("vrrp_instance", instance),
        ("group", group),
        ("hook", hook.hook.name()),
    ]
}
