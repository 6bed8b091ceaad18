//! Faults of the peer link: of what is believed of it, and what follows.

use crate::list::{Mutation, fault};

const ADVERTS: &str = "core/src/agent/router/adverts.rs";
const GROUPS: &str = "core/src/agent/groups.rs";
const HASTE: &str = "core/src/agent/router/haste.rs";
const LOOK: &str = "core/src/agent/router/look.rs";
const NODES: &str = "core/src/agent/router/nodes.rs";
const PEER: &str = "core/src/agent/cluster/peer.rs";
const PROOF: &str = "core/src/agent/router/proof.rs";
const RIVALS: &str = "core/src/agent/router/rivals.rs";
const SHOWING: &str = "core/src/agent/router/showing.rs";
const TIMERS: &str = "core/src/agent/router/timers.rs";

pub const MUTATIONS: &[Mutation] = &[
    fault(
        "haste although a better node is heard",
        HASTE,
        "theirs.is_some_and(|theirs| outranks(theirs, ours)))",
        "theirs.is_none())",
    ),
    fault(
        "claims although an Active is told",
        TIMERS,
        "if let Some(node) = self.silent_active(turn, &backup, Duration::ZERO) {",
        "if let Some(node) = None::<NodeName> {",
    ),
    fault(
        "a delayed message affirms",
        PEER,
        "if message.revision == self.known && prompt {",
        "if message.revision == self.known {",
    ),
    fault(
        "a delayed record counts as fresh",
        PEER,
        "let told_at = Some(kept.told_at).filter(|_| kept.prompt);",
        "let told_at = Some(kept.told_at);",
    ),
    fault(
        "older records overwrite newer",
        PEER,
        "Some(old) if old.up_to >= up_to => {}",
        "Some(old) if old.up_to == up_to => {}",
    ),
    fault(
        "the loser of two Actives stays",
        PROOF,
        "                self.give_way_to(turn, &node);\n",
        "                let _ = &node;\n",
    ),
    fault(
        "an Active gives way to one that has gone",
        PROOF,
        "if !self.says_to_be_active(turn, &asking.node) {",
        "if self.proof.round == 0 {",
    ),
    fault(
        "a finding outlives its Active",
        PROOF,
        "found.filter(|found| self.says_to_be_active(turn, &found.node));",
        "found;",
    ),
    fault(
        "a known node's claim is a conflict",
        RIVALS,
        "nodes.has_hardware_address(claim.hardware_address)",
        "nodes.has_hardware_address(claim.hardware_address) && claim.solicited",
    ),
    fault(
        "an Active yields at the first claim",
        SHOWING,
        "same && showing.told && !showing.look.witness_answered",
        "same",
    ),
    fault(
        "a claim needs no witness",
        PROOF,
        "Some(false) if ours => Finding::Claims,",
        "Some(false) => Finding::Claims,",
    ),
    fault(
        "a resignation leaves a stale record in force",
        NODES,
        "told_at.is_some_and(|told_at| told_at <= at)",
        "told_at.is_some_and(|told_at| told_at < told_at.min(at))",
    ),
    fault(
        "a look goes on although an Active is heard",
        ADVERTS,
        "        self.proof.cancel();\n        self.look_for_drift",
        "        self.look_for_drift",
    ),
    fault(
        "a look that is woken late spins",
        LOOK,
        "            self.rounds = ROUNDS;\n",
        "            self.rounds += 0;\n",
    ),
    fault(
        "what was asked ahead decides at once",
        PROOF,
        "self.ask_about(turn.now, node, false);",
        "self.ask_about(turn.now, node, true);",
    ),
    fault(
        "an old look decides",
        LOOK,
        "now <= self.until + self.span",
        "self.until <= now",
    ),
    fault(
        "one that cannot send asks to be handed over to",
        GROUPS,
        "member.is_backup() && !member.is_mute()",
        "member.is_backup()",
    ),
    fault(
        "nothing is asked ahead",
        PROOF,
        "silence.then_some(at)",
        "silence.then_some(at).filter(|at| *at > backup.down_at)",
    ),
];
