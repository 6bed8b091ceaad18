//! The status document, as `vipward status --json` prints it and the control
//! socket answers it. Scripts depend on it: fields are added, never renamed.
//!
//! Read back leniently: unknown fields are ignored, and values that may grow
//! (states, reasons, codes) are plain text.

mod instance;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::instance::{
    ActiveRouter, Address, Conflict, Drift, Hook, Instance, Obstacle, Priority, Rejection, Term,
    VirtualMac,
};
pub use super::clock::{Time, WallClock};
pub use super::groups::Group;
pub use super::moves::Drain;
pub use super::nodes::{Link, Node};
pub use super::routing::{Route, Rule};
use crate::agent::status;
use crate::agent::time::Instant;

/// What the agent knows of itself beside its protocol state.
#[derive(Clone, Debug)]
pub struct Identity {
    pub version: String,
    pub node: String,
    pub pid: u32,
    pub started_at: Timestamp,
    pub config_path: PathBuf,
    pub config_loaded_at: Timestamp,
    /// Of the effective configuration, so that two hosts can be compared.
    pub config_digest: String,
}

/// What turns a picture of the core into a document.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    pub identity: &'a Identity,
    /// When the picture was taken.
    pub now: Instant,
    pub clock: WallClock,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Document {
    pub version: String,
    pub node: String,
    pub pid: u32,
    pub started_at: Time,
    pub config: Config,
    pub instances: Vec<Instance>,
    pub checks: Vec<Check>,
    pub groups: Vec<Group>,
    /// The other nodes; empty without a peer link.
    #[serde(default)]
    pub nodes: Vec<Node>,
    #[serde(default)]
    pub link: Link,
    /// Packets that belong to no instance.
    pub counters: Counters,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    pub path: String,
    pub loaded_at: Time,
    pub digest: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    pub name: String,
    /// `unknown` until the first result, then `up` or `down`.
    pub state: String,
    pub since: Time,
    /// Of the last run.
    pub duration_ms: u64,
    /// Results in a row that speak against `state`, not yet enough to change
    /// it (`rise`, `fall`). 0 from an agent that does not tell.
    #[serde(default)]
    pub against: u8,
    /// The first line of the last run's output, or why it failed.
    pub output: String,
    /// `fault` or `handover`: what its failure means where it has no weight.
    /// Empty from an agent that does not tell.
    #[serde(default)]
    pub on_fail: String,
    /// What a file adds to the priority; absent where it is no file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    pub adverts_sent: u64,
    pub adverts_received: u64,
    pub priority_zero_sent: u64,
    pub priority_zero_received: u64,
    pub transitions: u64,
    /// Wake-ups that came late by more than an interval.
    pub stalls: u64,
    /// By the names of [`status::Counter`], each of them, zero or not.
    pub errors: BTreeMap<String, u64>,
}

impl Document {
    pub fn new(status: &status::Status, context: Context<'_>) -> Self {
        let identity = context.identity;
        Self {
            version: identity.version.clone(),
            node: identity.node.clone(),
            pid: identity.pid,
            started_at: Time(identity.started_at),
            config: Config {
                path: identity.config_path.display().to_string(),
                loaded_at: Time(identity.config_loaded_at),
                digest: identity.config_digest.clone(),
            },
            instances: status
                .instances
                .iter()
                .map(|instance| Instance::new(instance, context))
                .collect(),
            checks: status
                .checks
                .iter()
                .map(|check| Check::new(check, context.clock))
                .collect(),
            groups: status
                .groups
                .iter()
                .map(|group| Group::new(group, context.clock))
                .collect(),
            nodes: status
                .nodes
                .iter()
                .map(|node| Node::new(node, status, context))
                .collect(),
            link: Link::new(&status.link_refusals),
            counters: Counters::new(&status.counters),
        }
    }

    /// The text that the socket answers and `--json` prints.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        Ok(text)
    }

    pub fn group_of(&self, instance: &str) -> Option<&Group> {
        let mut groups = self.groups.iter();
        groups.find(|group| group.members.iter().any(|member| member == instance))
    }

    pub fn instance(&self, name: &str) -> Option<&Instance> {
        self.instances.iter().find(|instance| instance.name == name)
    }
}

impl Check {
    fn new(check: &status::CheckStatus, clock: WallClock) -> Self {
        Self {
            name: check.name.to_string(),
            state: check.state.to_string(),
            since: clock.at(check.since),
            duration_ms: milliseconds(check.duration),
            against: check.against,
            output: check.output.clone(),
            on_fail: check.on_fail.name().to_owned(),
            number: check.number.map(i64::from),
        }
    }
}

impl Counters {
    fn new(counters: &status::Counters) -> Self {
        Self {
            adverts_sent: counters.adverts_sent,
            adverts_received: counters.adverts_received,
            priority_zero_sent: counters.priority_zero_sent,
            priority_zero_received: counters.priority_zero_received,
            transitions: counters.transitions,
            stalls: counters.stalls,
            errors: counters
                .errors()
                .map(|(counter, value)| (counter.name().to_owned(), value))
                .collect(),
        }
    }
}

/// Whole milliseconds, cut off; saturates after 584 million years.
pub(super) fn milliseconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
