//! The picture of the present, as plain values. Times are [`Instant`]s; the
//! shell turns them into wall-clock times and JSON.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::cluster::Refusal;
use super::cluster::message::{CheckNews, InstanceNews};
use super::jobs::{CheckName, HookKind};
use super::moves::DrainEnd;
use super::routing::{RouteStatus, RuleStatus};
use super::settings::OnFail;
use super::tally::Runs;
use super::time::Instant;
use super::values::{
    ChecksumForm, Family, GroupName, InstanceName, InterfaceName, Lease, MacAddress, NodeName,
    Priority, Version, Vrid,
};

mod counters;

pub use counters::{Counter, Counters};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Sorted by name.
    pub instances: Vec<InstanceStatus>,
    /// Sorted by name.
    pub checks: Vec<CheckStatus>,
    /// Sorted by name.
    pub groups: Vec<GroupStatus>,
    /// Packets that belong to no instance.
    pub counters: Counters,
    /// The other nodes, sorted by name; empty without a peer link.
    pub nodes: Vec<NodeStatus>,
    /// Datagrams of the peer link that were discarded, by reason.
    pub link_refusals: BTreeMap<Refusal, u64>,
}

/// What is known of another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeStatus {
    pub name: NodeName,
    /// It was heard within its patience, by some path.
    pub reachable: bool,
    pub last_heard: Option<Instant>,
    /// Of its program; empty until it was first heard.
    pub program: String,
    /// In the order of the configuration.
    pub paths: Vec<PathStatus>,
    /// As it last told, each with how old that knowledge is; sorted by name.
    pub instances: Vec<Known<InstanceNews>>,
    pub checks: Vec<Known<CheckNews>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathStatus {
    /// The node's.
    pub address: IpAddr,
    pub reachable: bool,
    pub last_heard: Option<Instant>,
    /// Why the last message could not be sent, if it could not.
    pub error: Option<String>,
    /// The node says that it hears us by this path; `None` while it says
    /// nothing, or is of a version that does not tell.
    pub heard_there: Option<bool>,
}

/// Something that a node told about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known<T> {
    pub news: T,
    /// When it was told.
    pub told_at: Instant,
    /// When it was last affirmed to be still so.
    pub known_at: Instant,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceStatus {
    pub name: InstanceName,
    pub interface: InterfaceName,
    pub vrid: Vrid,
    pub version: Version,
    pub family: Family,
    pub state: StateName,
    pub since: Instant,
    /// Why it is in this state.
    pub reason: Reason,
    pub obstacles: Vec<Obstacle>,
    pub base_priority: Priority,
    pub effective_priority: Priority,
    /// What failing checks add to the base.
    pub priority_terms: Vec<PriorityTerm>,
    pub virtual_mac: Option<VirtualMacStatus>,
    pub addresses: Vec<AddressStatus>,
    pub routes: Vec<RouteStatus>,
    pub rules: Vec<RuleStatus>,
    /// Who is Active as far as we know; ourselves included.
    pub active_router: Option<ActiveRouter>,
    pub advert_interval: Duration,
    pub active_down_interval: Duration,
    /// When an operator's drain ends, if it was drained.
    pub drained: Option<DrainEnd>,
    /// The node that it was handed over to and does not preempt.
    pub yielded_to: Option<NodeName>,
    /// No node that is known could be Active.
    pub stranded: bool,
    pub drift: Vec<Drift>,
    pub conflicts: Vec<Conflict>,
    /// The last run of each hook that ran.
    pub hooks: Vec<HookStatus>,
    /// `none`, `password`, `receive-only`, `permissive` or `enforce`.
    pub authentication: &'static str,
    /// Whose advertisements were not believed, and why.
    pub rejections: Vec<Rejected>,
    pub counters: Counters,
}

/// The virtual router's hardware address, where it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VirtualMacStatus {
    pub address: MacAddress,
    /// The one that has it.
    pub interface: InterfaceName,
    /// `up`, `down`, `absent`, or `unknown` while it is being found out.
    pub state: &'static str,
}

/// Instances that move together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupStatus {
    pub name: GroupName,
    /// Of every member; `Initialize` while they differ and none is in fault.
    pub state: StateName,
    pub since: Instant,
    /// Sorted by name.
    pub members: Vec<InstanceName>,
    /// The last run of each hook that ran.
    pub hooks: Vec<HookStatus>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriorityTerm {
    /// `check uplink`.
    pub source: String,
    pub delta: i16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CheckState {
    /// No result yet.
    Unknown,
    Up,
    Down,
}

impl CheckState {
    pub const ALL: [CheckState; 3] = [CheckState::Unknown, CheckState::Up, CheckState::Down];

    pub fn name(self) -> &'static str {
        match self {
            CheckState::Unknown => "unknown",
            CheckState::Up => "up",
            CheckState::Down => "down",
        }
    }
}

impl fmt::Display for CheckState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckStatus {
    pub name: CheckName,
    pub state: CheckState,
    pub since: Instant,
    /// Of the last run.
    pub duration: Duration,
    pub tally: Runs,
    /// Results in a row that speak against `state`.
    pub against: u8,
    /// The first line of the last run's output, or why it failed.
    pub output: String,
    pub on_fail: OnFail,
    /// What a file adds to the priority. `None`: it is no file.
    pub number: Option<i16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookStatus {
    pub hook: HookKind,
    pub ended: Instant,
    pub duration: Duration,
    /// `None` when it succeeded.
    pub error: Option<String>,
    /// The first line of its output.
    pub output: String,
    pub tally: Runs,
}

/// `state` in `status`. `Fault` is Initialize with obstacles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StateName {
    Initialize,
    Backup,
    Active,
    Fault,
    /// Initialize, by an operator's order.
    Drained,
}

impl StateName {
    pub const ALL: [StateName; 5] = [
        StateName::Initialize,
        StateName::Backup,
        StateName::Active,
        StateName::Fault,
        StateName::Drained,
    ];

    pub fn name(self) -> &'static str {
        match self {
            StateName::Initialize => "initialize",
            StateName::Backup => "backup",
            StateName::Active => "active",
            StateName::Fault => "fault",
            StateName::Drained => "drained",
        }
    }
}

impl fmt::Display for StateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a state was entered. The names of RFC 8347's new-master-reason where
/// one fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Nothing was heard for Active_Down_Interval.
    NoResponse,
    /// The Active resigned with priority 0.
    Priority,
    /// Somebody of higher priority took over: we from another, or another from us.
    Preempted,
    Startup,
    Shutdown,
    /// The agent did not run, and another took over meanwhile.
    Stalled,
    /// An obstacle appeared; the list of obstacles says which.
    Obstacle,
    /// No advertisement could leave this host.
    CannotSend,
    /// Another node showed a working segment, and we could not.
    SegmentLost,
    /// Its group took over, or gave way.
    Group,
    /// A planned move: from another node, or to one.
    HandedOver,
    /// An operator took it out.
    Drained,
    /// Nobody relieved it when it was to be drained.
    Returned,
}

impl Reason {
    pub const ALL: [Reason; 13] = [
        Reason::NoResponse,
        Reason::Priority,
        Reason::Preempted,
        Reason::Startup,
        Reason::Shutdown,
        Reason::Stalled,
        Reason::Obstacle,
        Reason::CannotSend,
        Reason::SegmentLost,
        Reason::Group,
        Reason::HandedOver,
        Reason::Drained,
        Reason::Returned,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Reason::NoResponse => "no-response",
            Reason::Priority => "priority",
            Reason::Preempted => "preempted",
            Reason::Startup => "startup",
            Reason::Shutdown => "shutdown",
            Reason::Stalled => "stalled",
            Reason::Obstacle => "obstacle",
            Reason::CannotSend => "cannot-send",
            Reason::SegmentLost => "segment-lost",
            Reason::Group => "group",
            Reason::HandedOver => "handover",
            Reason::Drained => "drained",
            Reason::Returned => "returned",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Something that keeps an instance from its work, or its addresses from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// Stable, kebab-case: `interface-missing`, `link-down`, ...
    pub code: &'static str,
    /// `interface eth0`, `address 192.0.2.10/24`, ...
    pub source: String,
    pub since: Instant,
    /// For people.
    pub text: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressStatus {
    pub network: IpNet,
    pub interface: InterfaceName,
    /// The kernel confirmed that it is there.
    pub held: bool,
    pub required: bool,
    /// How long the kernel keeps it without us; `None`: for ever, or it is
    /// not held.
    pub lease: Option<Lease>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActiveRouter {
    pub address: IpAddr,
    pub priority: u8,
    /// Heard, or sent when it is ourselves.
    pub last_advert: Instant,
    /// It is ourselves.
    pub ourselves: bool,
    /// How it makes its checksum.
    pub checksum: Option<ChecksumForm>,
    /// Whose address that is, where it is known.
    pub node: Option<NodeName>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    /// `addresses`, `advert-interval`.
    pub code: &'static str,
    pub ours: String,
    pub theirs: String,
    /// Whose advertisement showed it, unless the peer link did.
    pub source: Option<IpAddr>,
    /// The node that it is with, where that is known.
    pub node: Option<NodeName>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict {
    pub address: IpAddr,
    pub hardware_address: MacAddress,
    pub last_seen: Instant,
    /// When we last announced the address against it.
    pub last_defended: Instant,
}

/// One sender's advertisements that were not believed for one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// As the packet said, which anyone may write.
    pub source: IpAddr,
    pub kind: Rejection,
    pub count: u64,
    pub last: Instant,
}

/// The kinds of `authentication-error`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rejection {
    /// Version 2: another type of authentication.
    Type,
    /// Version 2: another simple password.
    Password,
    Missing,
    UnknownTrailer,
    UnknownKey,
    WrongKey,
    Replayed,
    Stale,
    Clock,
    NoMark,
}

impl Rejection {
    pub fn name(self) -> &'static str {
        match self {
            Rejection::Type => "type",
            Rejection::Password => "password",
            Rejection::Missing => "missing",
            Rejection::UnknownTrailer => "unknown-trailer",
            Rejection::UnknownKey => "unknown-key",
            Rejection::WrongKey => "wrong-key",
            Rejection::Replayed => "replayed",
            Rejection::Stale => "stale",
            Rejection::Clock => "clock",
            Rejection::NoMark => "no-mark",
        }
    }

    /// What it means, for people.
    pub fn meaning(self) -> &'static str {
        match self {
            Rejection::Type => "it uses another type of authentication",
            Rejection::Password => "its simple password is another",
            Rejection::Missing => "it carries no authentication, and this instance demands it",
            Rejection::UnknownTrailer => "its trailer is of an unknown type",
            Rejection::UnknownKey => "this instance has no key of that number",
            Rejection::WrongKey => {
                "the signature is wrong: the sender's key of that number is another, or it was forged"
            }
            Rejection::Replayed => {
                "the same or a newer one of this sender was heard before: somebody repeats it, or \
                 the sender's numbers went back"
            }
            Rejection::Stale => {
                "it was signed too long ago: somebody repeats it, or a clock is wrong"
            }
            Rejection::Clock => "it was signed in the future: a clock is wrong",
            Rejection::NoMark => {
                "nothing authentic was heard of this sender before, and the clocks differ too much \
                 to begin: set them right"
            }
        }
    }
}
