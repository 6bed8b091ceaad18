//! Faults of groups and of hooks that are awaited.

use crate::list::{Mutation, fault};

const HEALTH: &str = "core/src/agent/router/health.rs";
const SENDING: &str = "core/src/agent/router/sending.rs";
const HOOKS: &str = "core/src/agent/hooks.rs";
const GROUPS: &str = "core/src/agent/groups.rs";
const MEMBER: &str = "core/src/agent/router/group.rs";
const AWAITING: &str = "core/src/agent/router/awaiting.rs";

pub const MUTATIONS: &[Mutation] = &[
    // Groups.
    fault(
        "a member's fault is its own",
        GROUPS,
        "        member.set_mates_in_fault(turn, others);",
        "        let _: Vec<_> = others;",
    ),
    fault(
        "the others of a group keep what one lost",
        GROUPS,
        "        members.iter_mut().for_each(|m| m.give_way(turn, cause));",
        "        let _ = cause;",
    ),
    fault(
        "a member that hears an Active holds nobody back",
        MEMBER,
        "            State::Backup(_) => self.respects(now, resigned),",
        "            State::Backup(_) => self.respects(now, resigned).filter(|_| false),",
    ),
    fault(
        "a lost priority 0 is waited out",
        MEMBER,
        "        let void = resigned.is_some_and(|at| at >= heard);",
        "        let void = resigned.is_some_and(|at| at >= heard) && false;",
    ),
    fault(
        "a member's own weights alone",
        HEALTH,
        "            true => &self.bond.weights,",
        "            true => &self.settings.checks,",
    ),
    fault(
        "a tie that both groups lose comes back",
        MEMBER,
        "            && self.bond.leads",
        "            && self.bond.leads && false",
    ),
    fault(
        "an owner's members begin by what each has heard",
        GROUPS,
        "        ready.for_each(|member| member.begin(turn, heard));",
        "        ready.for_each(|member| member.begin(turn, heard && member.has_heard()));",
    ),
    fault(
        "one that could not send waits for its own timer after a mate's hook",
        MEMBER,
        "        self.wish = wish.filter(|_| self.is_mute());",
        "        self.wish = wish.filter(|_| false);",
    ),
    fault(
        "a group claims although no timer has ended",
        GROUPS,
        "    let prepares = members.iter().any(|m| m.is_preparing());",
        "    let prepares = members.iter().any(|m| m.is_preparing() || m.is_backup());",
    ),
    // Hooks that are awaited.
    fault(
        "one that could not send waits for its own timer again",
        GROUPS,
        "member.is_mute() && (wish.is_some() || member.is_preparing())",
        "member.is_mute() && wish.is_some()",
    ),
    fault(
        "a hook that failed while we advertised is no fault",
        AWAITING,
        "        if failure.blocks && failure.retry_at > now {",
        "        if failure.blocks && failure.retry_at < now {",
    ),
    fault(
        "the release does not wait for its hook",
        AWAITING,
        "            done: timeout.is_none(),",
        "            done: timeout.is_none_or(|timeout| !timeout.is_zero()),",
    ),
    fault(
        "addresses do not wait for before_active",
        SENDING,
        "            barred: self.bond.awaits && reason != Reason::Returned,",
        "            barred: false,",
    ),
    fault(
        "a live Active is preempted before the hook",
        GROUPS,
        "    } else if incumbent && !members.iter().all(|m| m.is_promoted()) {",
        "    } else if incumbent && members.is_empty() {",
    ),
    fault(
        "the pause does not grow",
        AWAITING,
        "(failure.pause * 2).min(PAUSE_LONGEST)",
        "failure.pause.min(PAUSE_LONGEST)",
    ),
    fault(
        "a result of an older run is taken for the new one's",
        HOOKS,
        "stale: self.waiting.iter().any(|call| call.hook == hook),",
        "stale: false,",
    ),
    fault(
        "what led to nothing is not undone",
        AWAITING,
        "        self.tell_again = self.told != Some(Told::Master);",
        "        self.tell_again = false;",
    ),
    fault(
        "before_release has no bound of its own",
        AWAITING,
        "!departure.done && departure.until <= turn.now",
        "!departure.done && departure.until < Instant::from_nanos(0)",
    ),
];
