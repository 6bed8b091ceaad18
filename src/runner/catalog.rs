//! Every program that may be started, by name.

use std::collections::BTreeMap;

use crate::agent::jobs::{CheckName, HookKind, HookOwner};
pub use crate::config::work::Script;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalog {
    pub checks: BTreeMap<CheckName, Script>,
    pub hooks: BTreeMap<(HookOwner, HookKind), Script>,
}
