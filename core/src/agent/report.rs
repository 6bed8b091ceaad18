//! What happened, for the log and the history: structured, so that one place
//! words it ([`Fact`]'s `Display`) and one names its parts for machines
//! ([`Fact::fields`]).

mod fields;
mod words;

pub use fields::Value;

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::cluster::Refusal;
use super::event::Claim;
use super::jobs::{CheckName, HookKind};
use super::moves::MoveFact;
use super::routing::RoutingFact;
use super::status::{CheckState, Counter, Reason, StateName};
use super::time::Instant;
use super::values::{Family, GroupName, InstanceName, InterfaceName, NodeName};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// When it happened.
    pub at: Instant,
    /// Absent where no instance can be named.
    pub instance: Option<InstanceName>,
    pub fact: Fact,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// A step of something that is told at another level; in the history, and
    /// in the log only where it is asked for.
    Detail,
    Info,
    Warning,
    Error,
}

impl Level {
    pub fn name(self) -> &'static str {
        match self {
            Level::Detail => "detail",
            Level::Info => "info",
            Level::Warning => "warning",
            Level::Error => "error",
        }
    }
}

/// Whose advertisement was heard last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastHeard {
    pub source: IpAddr,
    /// Where the peer link tells.
    pub node: Option<NodeName>,
    pub priority: u8,
    /// How long ago.
    pub ago: Duration,
}

/// How an address went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    Deleted,
    /// By the kernel, because nobody had begun its lease anew.
    Expired,
}

/// What became of an interface with a virtual hardware address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkFact {
    Failed {
        error: String,
        retry_in: Duration,
    },
    /// It was removed or lowered by somebody else, and is as it should be.
    Restored,
    /// Its parent may answer in its stead, for this reason.
    Unguarded {
        parent: InterfaceName,
        why: String,
    },
}

/// What was done about a stall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StallOutcome {
    AnnouncedAgain,
    /// It did so a moment ago, and will again when the pause is over.
    AnnouncesSoon,
    /// The peers' patience is over: one interval of listening, in case one
    /// has taken over and cannot be heard yet.
    ListensFirst,
    /// This one had taken over meanwhile, and we are Backup.
    AnotherIsActive(IpAddr),
}

/// What a hook's failure means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consequence {
    /// The election does not depend on it.
    None,
    /// The incumbent stays Active.
    NotClaimed { retry_in: Duration },
    /// Whoever was advertising sends priority 0 and holds no address.
    Resigned { retry_in: Duration },
    /// The planned release goes on.
    ReleasedAllTheSame,
    /// The planned move is broken off; the instance stays Active.
    NotHandedOver,
}

impl fmt::Display for Consequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Consequence::None => f.write_str("the election is unaffected"),
            Consequence::NotClaimed { retry_in } => write!(
                f,
                "not claimed, the Active stays what it is; next try in {} ms",
                retry_in.as_millis()
            ),
            Consequence::Resigned { retry_in } => write!(
                f,
                "resigned, the addresses are not held; next try in {} ms",
                retry_in.as_millis()
            ),
            Consequence::ReleasedAllTheSame => f.write_str("the release goes on"),
            Consequence::NotHandedOver => f.write_str("not handed over, it stays Active here"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    Transition {
        from: StateName,
        to: StateName,
        reason: Reason,
        /// What stands in the way, when it is a fault.
        obstacles: Vec<String>,
    },
    /// The Active_Down_Timer ended without an advertisement. Told once for
    /// each silence.
    Silence {
        /// Active_Down_Interval.
        patience: Duration,
        /// Absent: nobody was heard since we listen.
        last: Option<LastHeard>,
    },
    /// The Active resigned. At most four at once, then one a minute.
    Resigned {
        source: IpAddr,
        node: Option<NodeName>,
    },
    /// The kernel has answered for every address that was claimed.
    AddressesHeld {
        held: usize,
        of: usize,
        /// The first few.
        addresses: Vec<IpNet>,
    },
    /// Every address that is held was announced for the first time.
    Announced { addresses: usize },
    /// Nothing of ours is on the host any more.
    AddressesReleased,
    /// A packet was discarded. At most one report a minute for each counter
    /// of an instance or interface; `repeated` counts those since the last.
    Discarded {
        counter: Counter,
        interface: InterfaceName,
        source: IpAddr,
        detail: String,
        repeated: u64,
    },
    /// The Active's settings differ from ours; no longer, when `theirs` is absent.
    Drift {
        what: &'static str,
        ours: String,
        theirs: Option<String>,
        /// Of the node, where the peer link tells.
        node: Option<NodeName>,
    },
    AddressFailed {
        address: IpNet,
        interface: InterfaceName,
        error: String,
        retry_in: Duration,
    },
    /// Another router advertises as the owner of what we own.
    TwoOwners { source: IpAddr },
    /// About the interface with the virtual hardware address.
    VirtualLink {
        interface: InterfaceName,
        fact: LinkFact,
    },
    RemovalFailed {
        address: IpNet,
        interface: InterfaceName,
        error: String,
        retry_in: Duration,
    },
    /// An address that we hold went without our doing; it was put back.
    AddressRestored {
        address: IpNet,
        interface: InterfaceName,
        loss: Loss,
        /// What seems to configure the interface.
        manager: Option<&'static str>,
    },
    /// About a route or rule.
    Routing(RoutingFact),
    /// Another host claims an address that we hold.
    ForeignClaim {
        claim: Claim,
        interface: InterfaceName,
    },
    /// At most one report a minute; `repeated` counts those since the last.
    NotSent {
        error: String,
        /// It would have been the first of an Active.
        claiming: bool,
        repeated: u64,
    },
    /// A lease could not be begun anew.
    RenewalFailed {
        address: IpNet,
        interface: InterfaceName,
        error: String,
    },
    SocketFailed {
        interface: InterfaceName,
        family: Family,
        error: String,
    },
    /// A health check changed its state.
    Check {
        check: CheckName,
        from: CheckState,
        to: CheckState,
        output: String,
    },
    /// Failing checks changed an instance's priority.
    Priority { from: u8, to: u8 },
    HookDone {
        /// Absent for a hook of the instance itself.
        group: Option<GroupName>,
        hook: HookKind,
        /// Of its run.
        duration: Duration,
    },
    HookFailed {
        /// Absent for a hook of the instance itself.
        group: Option<GroupName>,
        hook: HookKind,
        error: String,
        output: String,
        /// What it means.
        consequence: Consequence,
    },
    /// Every member of a group has come to another state.
    Group {
        group: GroupName,
        from: StateName,
        to: StateName,
    },
    /// A new configuration was applied to an instance.
    Reconfigured,
    /// The agent did not run for longer than an advertisement interval while
    /// it was Active.
    Stalled {
        late: Duration,
        outcome: StallOutcome,
    },
    /// A down timer was handled late and the sockets were empty: one more
    /// interval is waited.
    LateDownTimer { late: Duration },
    /// Another node is heard over the peer link, for the first time or again.
    NodeHeard { node: NodeName },
    /// Nothing was heard from it for its patience.
    NodeLost { node: NodeName },
    /// A datagram of the peer link was discarded. At most one report a minute
    /// for each reason; `repeated` counts those since the last.
    LinkRefused {
        source: IpAddr,
        why: Refusal,
        repeated: u64,
    },
    /// A node that says to be Active is not heard; what came of looking.
    Inquired { node: NodeName, finding: Finding },
    /// Another node shows that its segment works, and ours does not.
    SegmentLost { node: NodeName },
    /// An order of an operator, or its end.
    Move(MoveFact),
    /// Every node that is known is drained, in fault or gone.
    NobodyAble,
    /// A host that is no node of ours goes on claiming an address.
    Yielded { address: IpAddr, retry_in: Duration },
}

/// What came of asking for an Active that is silent and yet tells that it is
/// there (DESIGN section 5.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Its host answers on the segment: only its advertisements are lost.
    SplitHeartbeatPath,
    /// Both or neither could show a working segment.
    Undecided,
    /// Ours works, its does not.
    Claims,
}

impl Finding {
    /// Of the obstacle that says so.
    pub fn code(self) -> &'static str {
        match self {
            Finding::SplitHeartbeatPath => "split-heartbeat-path",
            Finding::Undecided => "segment-undecided",
            Finding::Claims => "segment-lost",
        }
    }
}

impl Fact {
    /// Who has to wake up for it.
    pub fn level(&self) -> Level {
        match self {
            Fact::Transition {
                to: StateName::Fault,
                ..
            }
            | Fact::AddressFailed { .. }
            | Fact::RemovalFailed { .. }
            | Fact::RenewalFailed { .. }
            | Fact::TwoOwners { .. }
            | Fact::SocketFailed { .. } => Level::Error,
            Fact::Routing(fact) => fact.level(),
            Fact::VirtualLink { fact, .. } => match fact {
                LinkFact::Failed { .. } => Level::Error,
                LinkFact::Restored | LinkFact::Unguarded { .. } => Level::Warning,
            },
            Fact::Check {
                to: CheckState::Down,
                ..
            } => Level::Error,
            Fact::Group {
                to: StateName::Fault,
                ..
            } => Level::Error,
            Fact::HookFailed {
                consequence: Consequence::NotClaimed { .. } | Consequence::Resigned { .. },
                ..
            } => Level::Error,
            Fact::AddressesHeld { .. }
            | Fact::Announced { .. }
            | Fact::AddressesReleased
            | Fact::HookDone { .. } => Level::Detail,
            Fact::Silence { .. } | Fact::Resigned { .. } => Level::Info,
            Fact::Check { .. } | Fact::Reconfigured | Fact::Group { .. } => Level::Info,
            Fact::Transition { .. } => Level::Info,
            Fact::Drift { theirs: None, .. } => Level::Info,
            // What had failed works again.
            Fact::Priority { from, to } if to > from => Level::Info,
            Fact::Discarded { .. }
            | Fact::Drift { .. }
            | Fact::AddressRestored { .. }
            | Fact::ForeignClaim { .. }
            | Fact::NotSent { .. }
            | Fact::Priority { .. }
            | Fact::HookFailed { .. }
            | Fact::Stalled { .. }
            | Fact::NodeLost { .. }
            | Fact::LinkRefused { .. }
            | Fact::Inquired { .. }
            | Fact::SegmentLost { .. }
            | Fact::LateDownTimer { .. } => Level::Warning,
            Fact::Move(fact) => fact.level(),
            Fact::NobodyAble => Level::Error,
            Fact::NodeHeard { .. } => Level::Info,
            Fact::Yielded { .. } => Level::Error,
        }
    }
}
