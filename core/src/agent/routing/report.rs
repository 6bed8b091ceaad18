//! What happened to a route or rule, for the log.

use std::fmt;
use std::time::Duration;

use super::RoutingItem;
use crate::agent::report::Level;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoutingFact {
    AddFailed {
        item: RoutingItem,
        error: String,
        retry_in: Duration,
    },
    RemovalFailed {
        item: RoutingItem,
        error: String,
        retry_in: Duration,
    },
    /// It was there by our doing and went without it; it was put back.
    Restored { item: RoutingItem },
}

impl RoutingFact {
    pub fn level(&self) -> Level {
        match self {
            RoutingFact::AddFailed { .. } | RoutingFact::RemovalFailed { .. } => Level::Error,
            RoutingFact::Restored { .. } => Level::Warning,
        }
    }
}

impl fmt::Display for RoutingFact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RoutingFact::AddFailed {
                item,
                error,
                retry_in,
            } => write!(
                f,
                "cannot add the {item}: {error}; it is not there, next try in {} ms",
                retry_in.as_millis()
            ),
            RoutingFact::RemovalFailed {
                item,
                error,
                retry_in,
            } => write!(
                f,
                "cannot remove the {item}: {error}; it may still be there, next try in {} ms",
                retry_in.as_millis()
            ),
            RoutingFact::Restored { item } => write!(
                f,
                "the {item} was deleted by someone else, or went with its address or link; put back"
            ),
        }
    }
}
