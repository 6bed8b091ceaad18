//! Every program that may be started, by name.

use std::collections::BTreeMap;

use crate::agent::jobs::{CheckName, HookKind};
use crate::agent::values::InstanceName;
pub use crate::config::work::Script;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalog {
    pub checks: BTreeMap<CheckName, Script>,
    pub hooks: BTreeMap<(InstanceName, HookKind), Script>,
}
