//! Every program that may be started, by name.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::agent::jobs::{CheckName, HookKind};
use crate::agent::values::InstanceName;

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

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalog {
    pub checks: BTreeMap<CheckName, Script>,
    pub hooks: BTreeMap<(InstanceName, HookKind), Script>,
}
