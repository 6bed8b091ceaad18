//! What there is to run: scripts, probes and hooks, as values. Those who run
//! them take them from here; nothing here touches the world.

pub mod measure;
pub mod parse;
pub mod probe;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use crate::agent::jobs::{CheckName, HookKind, HookOwner};

use probe::Probe;

/// One program, as the configuration has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// An absolute path and the arguments; started without a shell.
    pub command: Vec<String>,
    /// Whom it runs as when the runner is root; `nobody` where it is absent.
    /// A runner that is not root runs it as itself, and refuses another.
    pub user: Option<String>,
    /// From its start; then it has failed and its process group is killed.
    pub timeout: Duration,
}

/// Everything that checks and hooks can order, by name: exactly the checks
/// and hooks of [`crate::agent::settings::Settings`] that are run at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Work {
    pub scripts: BTreeMap<CheckName, Script>,
    pub probes: BTreeMap<CheckName, Probe>,
    /// Files whose numbers are added to priorities.
    pub files: BTreeSet<PathBuf>,
    pub hooks: BTreeMap<(HookOwner, HookKind), Script>,
}
