//! Orders of operators, as values.

use std::net::IpAddr;
use std::time::Duration;

use crate::agent::time::WallTime;
use crate::agent::values::{InstanceName, NodeName};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Move an instance, with its group, to this node or the best one.
    Handover {
        instance: InstanceName,
        to: Option<NodeName>,
    },
    /// Give the addresses up and stay out: one instance with its group, or
    /// all. Where nobody can take over it is refused, unless `force`.
    Drain {
        instance: Option<InstanceName>,
        span: Option<Duration>,
        force: bool,
    },
    /// Take part again.
    Undrain { instance: Option<InstanceName> },
}

/// What came of an order: sentences for people. An error changed nothing,
/// unless it says so.
pub type Answer = Result<String, String>;

/// When a drain ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrainEnd {
    Never,
    /// So long after it was written down, which tells the time then.
    After(Duration),
    At(WallTime),
}

/// To whom an instance was handed over, and whom it does not preempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Yielded {
    pub node: NodeName,
    /// Where that advertised from last: so it is known again before, or
    /// without, a word over the peer link.
    pub source: Option<IpAddr>,
}

/// What outlives the agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Sorted by name.
    pub drained: Vec<(InstanceName, DrainEnd)>,
    /// Sorted by name.
    pub yielded: Vec<(InstanceName, Yielded)>,
}

impl Order {
    /// The instance that it names.
    pub fn instance(&self) -> Option<&InstanceName> {
        match self {
            Order::Handover { instance, .. } => Some(instance),
            Order::Drain { instance, .. } | Order::Undrain { instance } => instance.as_ref(),
        }
    }

    /// Never less than its encoded size, in bytes.
    pub fn size_max(&self) -> usize {
        let name = self.instance().map_or(0, |name| name.as_str().len());
        let to = match self {
            Order::Handover { to: Some(node), .. } => node.as_str().len(),
            Order::Handover { to: None, .. } | Order::Drain { .. } | Order::Undrain { .. } => 0,
        };
        48 + name + to
    }
}
