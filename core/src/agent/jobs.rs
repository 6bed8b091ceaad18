//! Work that others do for the core: checks and hooks. Ordered by name,
//! answered once.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::values::{GroupName, InstanceName};

/// Name of a check: the key under `checks`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CheckName(Arc<str>);

impl CheckName {
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CheckName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which of the hooks of an instance or a group; a group has none that is
/// awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HookKind {
    /// Awaited: the addresses, or the claim itself, wait for its success.
    BeforeActive,
    /// Awaited on planned moves: the resignation waits for its end.
    BeforeRelease,
    Active,
    Backup,
    Fault,
    /// Every transition, with keepalived's arguments.
    Change,
}

impl HookKind {
    pub const ALL: [HookKind; 6] = [
        HookKind::BeforeActive,
        HookKind::BeforeRelease,
        HookKind::Active,
        HookKind::Backup,
        HookKind::Fault,
        HookKind::Change,
    ];

    /// As in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            HookKind::BeforeActive => "before_active",
            HookKind::BeforeRelease => "before_release",
            HookKind::Active => "active",
            HookKind::Backup => "backup",
            HookKind::Fault => "fault",
            HookKind::Change => "change",
        }
    }
}

/// Whose hook it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HookOwner {
    Instance(InstanceName),
    Group(GroupName),
}

impl HookOwner {
    /// As `change` is told, which is keepalived's way.
    pub fn word(&self) -> &'static str {
        match self {
            HookOwner::Instance(_) => "INSTANCE",
            HookOwner::Group(_) => "GROUP",
        }
    }

    pub fn name(&self) -> &str {
        match self {
            HookOwner::Instance(name) => name.as_str(),
            HookOwner::Group(name) => name.as_str(),
        }
    }
}

/// Names one order; never used twice in the life of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u64);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    pub id: JobId,
    pub task: Task,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// Run this check once.
    Check(CheckName),
    Hook(HookCall),
}

/// What a hook is told. keepalived's words are for `change` and for existing
/// scripts; the environment has ours as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookCall {
    pub owner: HookOwner,
    pub hook: HookKind,
    /// MASTER, BACKUP, FAULT or STOP.
    pub word: &'static str,
    /// VIPWARD_STATE and VIPWARD_PREVIOUS: `active`, `backup`, ...
    pub state: &'static str,
    pub previous: &'static str,
    /// VIPWARD_REASON.
    pub reason: &'static str,
    /// VIPWARD_PRIORITY, and the last argument of `change`.
    pub priority: u8,
    /// VIPWARD_ADDRESSES, separated by spaces.
    pub addresses: Vec<IpAddr>,
}

/// How an order ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobResult {
    pub verdict: Verdict,
    /// From its start to its end; zero when it was not started.
    pub duration: Duration,
    /// The first line of what it printed, cut at 256 bytes.
    pub output: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Passed,
    /// Ran and said no; in words, such as `exit code 1` or `status 503`.
    Failed(String),
    /// Did not end in time; it was killed, whether or not it is gone.
    TimedOut,
    /// Must not be run at all: missing, not executable, writable by others.
    Refused(String),
    /// Was not run this time through no fault of its own: too many others
    /// are running, or whoever runs it is away. Says nothing about the service.
    NotRun(String),
}
