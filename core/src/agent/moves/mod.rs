//! Moving an address on purpose: hand-over between two nodes, drain, and the
//! orders of operators that ask for them. The exchange itself is of all
//! members of a group at once; what each of them does is in `router/moving`.

mod desk;
mod drain;
mod fact;
mod incumbent;
mod keeping;
mod order;
mod remote;
mod step;
mod successor;
mod task;
mod unit;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::time::Instant;
use super::values::{InstanceId, NodeName};
pub use fact::MoveFact;
use incumbent::Outgoing;
pub use order::{Answer, DrainEnd, Kept, Order, Yielded};
use remote::Remote;
pub use step::{Step, WHY_BYTES_MAX};
use successor::Incoming;
use task::Tasks;

/// For the other node to answer a message of an exchange.
pub const REPLY: Duration = Duration::from_millis(300);
/// What was not answered is said again.
const REPEAT: Duration = Duration::from_millis(50);

/// Everything about planned moves.
#[derive(Clone, Debug, Default)]
pub(super) struct Moves {
    /// By the first member of each group.
    exchanges: BTreeMap<InstanceId, Exchange>,
    /// Those of which a member has acted.
    touched: BTreeSet<InstanceId>,
    /// Which unit wants to be handed over to us, by whom.
    wanted: BTreeMap<InstanceId, NodeName>,
    /// Active although a check warns.
    warned: BTreeSet<InstanceId>,
    /// What is kept for the next agent is another than was last written.
    keep: bool,
    /// Some drain ends by the time of day.
    timed: bool,
    tasks: Tasks,
    remote: Remote,
}

#[derive(Clone, Debug)]
enum Exchange {
    /// We are Active.
    Outgoing(Outgoing),
    /// The other one is.
    Incoming(Incoming),
}

/// How an exchange stands after a look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Progress {
    Continues,
    /// The successor has everything, and the incumbent knows.
    Done,
    /// The incumbent stays; why, in words.
    Broken(String),
}

impl Exchange {
    fn node(&self) -> &NodeName {
        match self {
            Exchange::Outgoing(outgoing) => &outgoing.node,
            Exchange::Incoming(incoming) => &incoming.node,
        }
    }

    fn next(&self) -> Instant {
        match self {
            Exchange::Outgoing(outgoing) => outgoing.next(),
            Exchange::Incoming(incoming) => incoming.next(),
        }
    }
}

/// What an instance wants of this room.
#[derive(Clone, Debug)]
pub(super) struct Wishes {
    /// To be handed over to us by this node.
    pub wants: Option<NodeName>,
    /// To be handed over to another, because a check warns.
    pub warned: bool,
    /// What is kept of it is another.
    pub yielded_moved: bool,
}

impl Moves {
    /// A member of this unit has acted.
    pub fn note(&mut self, unit: InstanceId, news: Wishes) {
        let Wishes {
            wants,
            warned,
            yielded_moved,
        } = news;
        if warned {
            self.warned.insert(unit);
        }
        if self.exchanges.contains_key(&unit) || self.tasks.concern(unit) {
            self.touched.insert(unit);
        }
        if let Some(node) = wants {
            self.wanted.insert(unit, node);
        }
        self.keep |= yielded_moved;
    }

    pub fn deadline(&self) -> Option<Instant> {
        let exchanges = self.exchanges.values().map(Exchange::next);
        exchanges.chain(self.remote.next()).min()
    }

    /// When the last move that was begun will have ended, one way or another.
    pub fn ends_by(&self) -> Option<Instant> {
        let outgoing = self
            .exchanges
            .values()
            .filter_map(|exchange| match exchange {
                Exchange::Outgoing(outgoing) => Some(outgoing.ends_by()),
                Exchange::Incoming(_) => None,
            });
        outgoing.max()
    }
}
