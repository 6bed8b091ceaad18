//! When two agents are the same: what decides about their future is equal.
//! The core shows all of its state by `Debug`; instants count from now, and
//! what only tells of the past is left out.

use std::fmt::{self, Write};
use std::hash::{DefaultHasher, Hash, Hasher};

use vipward::agent::Agent;
use vipward::agent::time::Instant;

/// Fields that no action but a report or a question for a rival depends on.
const HISTORY: [&str; 12] = [
    "counters",
    "tally",
    "custody_changes",
    "custody_mark",
    "drift_lines",
    "stall_lines",
    "story",
    "since",
    "last_sent",
    "last_advert",
    "last_seen",
    "reason",
];
/// Longer ago than any span that the core measures backwards.
const LONG_AGO_NS: i128 = 11_000_000_000;

pub fn agent_key(agent: &Agent, now: Instant) -> u64 {
    let mut digest = Digest {
        hasher: DefaultHasher::new(),
        now: i128::from(now.as_nanos()),
        instant: false,
        skipped: None,
    };
    write!(digest, "{agent:?}").expect("it never fails");
    digest.hasher.finish()
}

/// Takes in what `Debug` writes, piece by piece: a name, a bracket, a comma
/// or a value at a time.
struct Digest {
    hasher: DefaultHasher,
    now: i128,
    /// The next number is an instant's.
    instant: bool,
    /// The value of a field of the past is being written: so many brackets
    /// are open.
    skipped: Option<u32>,
}

impl Write for Digest {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        let opens = matches!(piece, " { " | "{" | "(" | "[");
        let closes = matches!(piece, " }" | "}" | ")" | "]");
        if let Some(depth) = self.skipped {
            self.skipped = match depth {
                _ if opens => Some(depth + 1),
                0 if closes || piece == ", " => None,
                _ if closes => Some(depth - 1),
                _ => Some(depth),
            };
            if self.skipped.is_some() {
                return Ok(());
            }
        }
        if piece == "Instant" {
            self.instant = true;
        } else if self.instant && !opens {
            let nanos: i128 = piece.parse().map_err(|_| fmt::Error)?;
            let from_now = nanos - self.now;
            from_now.max(-LONG_AGO_NS).hash(&mut self.hasher);
            self.instant = false;
        } else if HISTORY.contains(&piece) {
            self.skipped = Some(0);
        } else {
            self.hasher.write(piece.as_bytes());
        }
        Ok(())
    }
}
