//! Faults of `doctor`: what it overlooks, and what it is too sure of.

use crate::list::{Mutation, fault};

const AGENT: &str = "src/doctor/judge/agent.rs";
const FIREWALL: &str = "src/doctor/judge/firewall.rs";
const KERNEL: &str = "src/doctor/judge/kernel.rs";
const HOST_TESTS: &str = "src/daemon/path_tests.rs";
const LINK: &str = "src/doctor/judge/link.rs";
const PATHS: &str = "src/doctor/judge/paths.rs";
const PEER: &str = "core/src/agent/cluster/peer.rs";
const REPORT: &str = "src/doctor/report.rs";
const RULES: &str = "src/doctor/rules.rs";
const SEGMENT: &str = "src/doctor/judge/segment.rs";

pub const MUTATIONS: &[Mutation] = &[
    fault(
        "a flood of questions is answered whole",
        HOST_TESTS,
        "self.answered <= ANSWERS_MAX",
        "self.answered > 0",
    ),
    fault(
        "answers that no program hears are not missed",
        FIREWALL,
        "passed.on_wire >= STEADY && passed.delivered == 0",
        "passed.on_wire < STEADY && passed.delivered == 0",
    ),
    fault(
        "a question that is refused has left",
        FIREWALL,
        "(0, Some(error)) => Some(",
        "(1, Some(error)) => Some(",
    ),
    fault(
        "silence of a node that listens means nothing",
        PATHS,
        "if !unanswered_question(facts, subject, peer) {",
        "if unanswered_question(facts, subject, peer) {",
    ),
    fault(
        "filtered ARP is answered all the same",
        KERNEL,
        "(*interface == name && *way != name).then_some((network, *way))",
        "(*interface == name && *way == name).then_some((network, *way))",
    ),
    fault(
        "another interface of the subnet is trusted to be silent",
        KERNEL,
        "let answers = settings.arp_ignore == 0 && !settings.arp_filter;",
        "let answers = settings.arp_ignore == 9 && !settings.arp_filter;",
    ),
    fault(
        "what no program hears is not missed",
        FIREWALL,
        "speaker.on_wire >= STEADY && speaker.delivered == 0",
        "speaker.on_wire < STEADY && speaker.delivered == 0",
    ),
    fault(
        "a rule that may match is taken for one that does",
        RULES,
        "Verdict::Drop if certain => return End::Dropped(place()),",
        "Verdict::Drop if sure => return End::Dropped(place()),",
    ),
    fault(
        "yesterday's refusals are today's",
        AGENT,
        "let rising = known.is_none_or(|old| old.count < rejection.count);",
        "let rising = known.is_none_or(|old| old.count <= rejection.count);",
    ),
    fault(
        "strict filtering is always right",
        KERNEL,
        "Some(way) if *way == name => return None,",
        "Some(_) => return None,",
    ),
    fault(
        "the last word of a hand-over is a second Active",
        SEGMENT,
        "if speaker.on_wire >= STEADY && speaker.priority > 0 && goes_on(facts, speaker) {",
        "if speaker.on_wire > 0 && speaker.priority > 0 && goes_on(facts, speaker) {",
    ),
    fault(
        "whoever is reachable could take over",
        LINK,
        "(false, _) => Some(words::list(&texts, 3)),",
        "(false, _) => None,",
    ),
    fault(
        "warnings leave no exit code",
        REPORT,
        "(0, _) => 1,",
        "(0, _) => 0,",
    ),
    fault(
        "one path that is heard stands for all",
        PEER,
        "let heard = paths.filter(|(path, _)| path.is_heard(now, self.patience()));",
        "let heard = paths.filter(|_| self.reachable);",
    ),
];
