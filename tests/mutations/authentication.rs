//! Faults of authentication: of who is believed, and of the numbers that only
//! grow.

use crate::list::{Mutation, fault};

const ADVERTS: &str = "core/src/agent/router/adverts.rs";
const AGENT: &str = "core/src/agent/mod.rs";
const AUTHENTICATION: &str = "core/src/agent/authentication.rs";
const NUMBERS: &str = "core/src/agent/numbers/mod.rs";
const CEILING: &str = "core/src/agent/numbers/ceiling.rs";

pub const MUTATIONS: &[Mutation] = &[
    fault(
        "a mark does not move",
        ADVERTS,
        "            self.marks.set(mark);\n",
        "            let _ = mark;\n",
    ),
    fault(
        "only the newest number is old",
        AUTHENTICATION,
        "mark.is_some_and(|mark| !seal.sequence.is_newer_than(mark))",
        "mark.is_some_and(|mark| seal.sequence == mark)",
    ),
    fault(
        "any HMAC is taken for genuine",
        AUTHENTICATION,
        "if !witness.verifier.is_genuine(receiver.id, heard) {",
        "if !witness.verifier.is_genuine(receiver.id, heard) && key == 0 {",
    ),
    fault(
        "a missing trailer passes",
        AUTHENTICATION,
        "Mode::Enforce => Err(Distrust::Missing),",
        "Mode::Enforce => Ok(None),",
    ),
    fault(
        "captures are believed where there is no mark",
        AUTHENTICATION,
        "(AntiReplay::Monotonic, None) => Err(Distrust::NoMark { by, window }),",
        "(AntiReplay::Monotonic, None) => Ok(()),",
    ),
    fault(
        "staleness is not looked at",
        AUTHENTICATION,
        "    if by <= window {\n",
        "    if by <= window || settings.anti_replay == AntiReplay::Time {\n",
    ),
    fault(
        "marks are not restored",
        AGENT,
        "            router.restore_mark(mark);\n",
        "            let _ = (router, mark);\n",
    ),
    fault(
        "the ceiling is ignored at the start",
        NUMBERS,
        "monotonic: start.unwrap_or(clock),",
        "monotonic: start.map_or(clock, |_| clock),",
    ),
    fault(
        "a clock that was put back is not followed",
        NUMBERS,
        "self.time = if ahead { clock } else { self.time.after(clock) };",
        "self.time = if ahead { self.time.next() } else { self.time.after(clock) };",
    ),
    fault(
        "numbers go beyond the ceiling",
        CEILING,
        "number: if beyond { last.next() } else { wanted },",
        "number: if beyond { last.after(clock) } else { wanted },",
    ),
];
