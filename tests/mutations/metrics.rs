//! Faults of what is counted, and of how it is shown.

use crate::list::{Mutation, fault};

const EXPOSITION: &str = "src/control/metrics/exposition.rs";
const INSTANCES: &str = "src/control/metrics/instances.rs";
const PAGE: &str = "src/control/page/mod.rs";

pub const MUTATIONS: &[Mutation] = &[
    fault(
        "lateness of advertisements not noted",
        "core/src/agent/router/timers.rs",
        "            self.counters.lateness.note(late);\n",
        "",
    ),
    fault(
        "a transition is counted under no reason",
        "core/src/agent/status/counters.rs",
        "if let Some(value) = self.reasons.get_mut(reason as usize) {",
        "if let Some(value) = self.reasons.get_mut(reason as usize + 99) {",
    ),
    fault(
        "announcements not counted",
        "core/src/agent/router/addresses.rs",
        "                self.counters.announcements += 1;\n",
        "",
    ),
    fault(
        "a check's successes are counted as failures",
        "core/src/agent/checks/check.rs",
        "self.tally.note(result.duration, !passed);",
        "self.tally.note(result.duration, passed);",
    ),
    fault(
        "a bound of a histogram does not include itself",
        "core/src/agent/tally.rs",
        "duration <= *bound",
        "duration < *bound",
    ),
    fault(
        "a value can leave its quotes",
        EXPOSITION,
        "'\"' => text.push_str(\"\\\\\\\"\"),",
        "'\"' => text.push('\"'),",
    ),
    fault(
        "errors of sending count as discarded packets",
        INSTANCES,
        "*counter != Counter::SendError",
        "*counter != Counter::Loop",
    ),
    fault(
        "texts on the page are markup",
        PAGE,
        "harmless.as_str().render_to(buffer);",
        "buffer.push_str(&harmless);",
    ),
];
