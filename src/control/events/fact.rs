//! What happened to the agent itself, which its core cannot know.

use std::fmt;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::agent::report::Level;
use crate::control::words;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentFact {
    Started {
        version: String,
        instances: usize,
        /// The agent before it wrote no `agent-stopped`.
        after_death: bool,
    },
    Stopping,
    Stopped {
        /// What may still be on the host.
        left: Vec<String>,
    },
    /// It could not begin, or go on.
    Failed {
        error: String,
    },
    Reloaded {
        by: String,
        summary: String,
        /// As this node is called from now on.
        node: String,
    },
    NotReloaded {
        by: String,
        why: String,
    },
    /// An operator's order, as it stands on the command line.
    Ordered {
        by: String,
        order: String,
    },
    Done {
        done: String,
    },
    NotDone {
        why: String,
    },
    /// More happened at once than could be taken down.
    Gap {
        lost: u64,
    },
    /// Lines of the files are no events: torn or overwritten.
    Damaged {
        path: PathBuf,
        lines: usize,
    },
    /// Events wait in memory.
    Unwritten {
        path: PathBuf,
        error: String,
    },
    /// They are written again, but for so many that memory had no room for.
    Written {
        path: PathBuf,
        lost: u64,
    },
}

impl AgentFact {
    pub fn name(&self) -> &'static str {
        match self {
            AgentFact::Started { .. } => "agent-started",
            AgentFact::Stopping => "agent-stopping",
            AgentFact::Stopped { .. } => STOPPED,
            AgentFact::Failed { .. } => "agent-failed",
            AgentFact::Reloaded { .. } => "reloaded",
            AgentFact::NotReloaded { .. } => "not-reloaded",
            AgentFact::Ordered { .. } => "ordered",
            AgentFact::Done { .. } => "order-done",
            AgentFact::NotDone { .. } => "order-not-done",
            AgentFact::Gap { .. } => "gap",
            AgentFact::Damaged { .. } => "history-damaged",
            AgentFact::Unwritten { .. } => "history-unwritten",
            AgentFact::Written { .. } => "history-written",
        }
    }

    pub fn level(&self) -> Level {
        match self {
            AgentFact::Started {
                after_death: false, ..
            }
            | AgentFact::Stopping
            | AgentFact::Reloaded { .. }
            | AgentFact::Ordered { .. }
            | AgentFact::Done { .. }
            | AgentFact::Written { lost: 0, .. } => Level::Info,
            AgentFact::Stopped { left } if left.is_empty() => Level::Info,
            AgentFact::Started { .. }
            | AgentFact::NotDone { .. }
            | AgentFact::Gap { .. }
            | AgentFact::Damaged { .. }
            | AgentFact::Unwritten { .. }
            | AgentFact::Written { .. } => Level::Warning,
            AgentFact::Stopped { .. }
            | AgentFact::Failed { .. }
            | AgentFact::NotReloaded { .. } => Level::Error,
        }
    }

    /// Its parts, by name.
    pub fn fields(&self) -> Vec<(&'static str, Value)> {
        match self {
            AgentFact::Started {
                version,
                instances,
                after_death,
            } => vec![
                ("version", json!(version)),
                ("instances", json!(instances)),
                ("after_death", json!(after_death)),
            ],
            AgentFact::Stopping => Vec::new(),
            AgentFact::Stopped { left } => vec![("left", json!(left))],
            AgentFact::Failed { error } => vec![("error", json!(error))],
            AgentFact::Reloaded { by, summary, .. } => {
                vec![("by", json!(by)), ("summary", json!(summary))]
            }
            AgentFact::NotReloaded { by, why } => vec![("by", json!(by)), ("why", json!(why))],
            AgentFact::Ordered { by, order } => vec![("by", json!(by)), ("order", json!(order))],
            AgentFact::Done { done } => vec![("done", json!(done))],
            AgentFact::NotDone { why } => vec![("why", json!(why))],
            AgentFact::Gap { lost } => vec![("lost", json!(lost))],
            AgentFact::Damaged { path, lines } => {
                vec![
                    ("path", json!(path.display().to_string())),
                    ("lines", json!(lines)),
                ]
            }
            AgentFact::Unwritten { path, error } => {
                vec![
                    ("path", json!(path.display().to_string())),
                    ("error", json!(error)),
                ]
            }
            AgentFact::Written { path, lost } => {
                vec![
                    ("path", json!(path.display().to_string())),
                    ("lost", json!(lost)),
                ]
            }
        }
    }
}

/// Of the last one, if it ended in an orderly way.
pub const STOPPED: &str = "agent-stopped";

impl fmt::Display for AgentFact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AgentFact::Started {
                version,
                instances,
                after_death,
            } => {
                let noun = if *instances == 1 {
                    "instance"
                } else {
                    "instances"
                };
                write!(f, "vipward {version} started, with {instances} {noun}")?;
                if *after_death {
                    f.write_str("; the one before it did not stop in an orderly way")?;
                }
                Ok(())
            }
            AgentFact::Stopping => f.write_str("stopping: resigning, and answering until relieved"),
            AgentFact::Stopped { left } if left.is_empty() => {
                f.write_str("stopped; every address was released")
            }
            AgentFact::Stopped { left } => write!(
                f,
                "stopped, but these addresses could not be removed and may still be there: {}",
                left.join(", ")
            ),
            AgentFact::Failed { error } => write!(f, "the agent ended: {error}"),
            AgentFact::Reloaded { by, summary, .. } => {
                write!(f, "reloaded, asked by {by}: {summary}")
            }
            AgentFact::NotReloaded { by, why } => write!(f, "not reloaded, asked by {by}: {why}"),
            AgentFact::Ordered { by, order } => write!(f, "ordered by {by}: {order}"),
            AgentFact::Done { done } => write!(f, "done: {done}"),
            AgentFact::NotDone { why } => write!(f, "not done: {why}"),
            AgentFact::Gap { lost } => write!(
                f,
                "{lost} events were not taken down: too many at once; the election is unaffected"
            ),
            AgentFact::Damaged { path, lines } => write!(
                f,
                "{} of {} skipped; what was said there is lost",
                words::count(*lines, "damaged line", "damaged lines"),
                path.display()
            ),
            AgentFact::Unwritten { path, error } => write!(
                f,
                "events cannot be written to {}: {error}; they are kept in memory and written \
                 when that is over, and the election is unaffected",
                path.display()
            ),
            AgentFact::Written { path, lost: 0 } => {
                write!(
                    f,
                    "events are written to {} again; none is lost",
                    path.display()
                )
            }
            AgentFact::Written { path, lost } => write!(
                f,
                "events are written to {} again; {lost} of them are lost",
                path.display()
            ),
        }
    }
}
