//! What happened to a planned move, for the log.

use std::fmt;

use crate::agent::report::Level;
use crate::agent::values::NodeName;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MoveFact {
    /// An Active lets go for this node.
    Begun {
        to: NodeName,
    },
    /// It did not come to that.
    Broken {
        to: NodeName,
        why: String,
    },
    /// We take over from this node, by agreement.
    Taking {
        from: NodeName,
    },
    TakingBroken {
        from: NodeName,
        why: String,
    },
    /// The node that was asked to hand over does not.
    AskedInVain {
        node: NodeName,
        why: String,
    },
    /// Resigned for a drain, and nobody came.
    NotRelieved,
    /// The time that an operator gave a drain is over.
    DrainOver,
    /// The next agent would not know of drains and hand-overs.
    NotKept {
        error: String,
    },
}

impl MoveFact {
    pub fn level(&self) -> Level {
        match self {
            MoveFact::Begun { .. } | MoveFact::Taking { .. } | MoveFact::DrainOver => Level::Info,
            MoveFact::Broken { .. }
            | MoveFact::TakingBroken { .. }
            | MoveFact::AskedInVain { .. }
            | MoveFact::NotRelieved
            | MoveFact::NotKept { .. } => Level::Warning,
        }
    }
}

impl fmt::Display for MoveFact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MoveFact::Begun { to } => {
                write!(f, "{to} takes over by agreement; answering until it has")
            }
            MoveFact::Broken { to, why } => {
                write!(f, "not handed over to {to}: {why}; it stays here")
            }
            MoveFact::Taking { from } => write!(f, "taking over from {from}, by agreement"),
            MoveFact::TakingBroken { from, why } => {
                write!(
                    f,
                    "not taken over from {from}: {why}; the election's rules hold"
                )
            }
            MoveFact::AskedInVain { node, why } => write!(
                f,
                "{node} was asked to hand over and does not: {why}; preempting it"
            ),
            MoveFact::NotRelieved => f.write_str(
                "nobody took over within the Active_Down_Interval: Active again and not drained",
            ),
            MoveFact::DrainOver => f.write_str("the time of the drain is over; taking part again"),
            MoveFact::NotKept { error } => write!(
                f,
                "drains and hand-overs cannot be written down: {error}; a restarted agent will \
                 not know of them"
            ),
        }
    }
}
