//! What happened, for the log: structured, so that one place words it.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::cluster::Refusal;
use super::event::Claim;
use super::jobs::{CheckName, HookKind};
use super::routing::RoutingFact;
use super::status::{CheckState, Counter, Reason, StateName};
use super::values::{Family, GroupName, InstanceName, InterfaceName, NodeName};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Absent where no instance can be named.
    pub instance: Option<InstanceName>,
    pub fact: Fact,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Info,
    Warning,
    Error,
}

/// How an address went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    Deleted,
    /// By the kernel, because nobody had begun its lease anew.
    Expired,
}

/// What was done about a stall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StallOutcome {
    AnnouncedAgain,
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
            | Fact::SocketFailed { .. } => Level::Error,
            Fact::Routing(fact) => fact.level(),
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
            Fact::Check { .. } | Fact::Reconfigured | Fact::Group { .. } => Level::Info,
            Fact::Transition { .. } => Level::Info,
            Fact::Drift { theirs: None, .. } => Level::Info,
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
            Fact::NodeHeard { .. } => Level::Info,
            Fact::Yielded { .. } => Level::Error,
        }
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fact::Transition {
                from,
                to,
                reason,
                obstacles,
            } => {
                write!(f, "{from} -> {to} ({reason})")?;
                for obstacle in obstacles {
                    write!(f, "; {obstacle}")?;
                }
                Ok(())
            }
            Fact::NodeHeard { node } => {
                write!(f, "node {node} is heard over the peer link")
            }
            Fact::NodeLost { node } => write!(
                f,
                "node {node} is no longer heard over the peer link; what it last told no longer counts"
            ),
            Fact::LinkRefused {
                source,
                why,
                repeated,
            } => {
                write!(
                    f,
                    "message of the peer link from {source} discarded ({}): {}; state unchanged",
                    why.name(),
                    why.meaning()
                )?;
                if *repeated > 0 {
                    write!(f, "; {repeated} more of this kind since the last such line")?;
                }
                Ok(())
            }
            Fact::Inquired { node, finding } => {
                write!(
                    f,
                    "no advertisement of {node} is heard, which says to be Active: "
                )?;
                f.write_str(match finding {
                    Finding::SplitHeartbeatPath => {
                        "its host answers on this segment, so something eats its advertisements \
                         (a firewall that drops protocol 112?); not claiming"
                    }
                    Finding::Undecided => {
                        "its host does not answer here, and it is not clear whose segment works; \
                         not claiming"
                    }
                    Finding::Claims => {
                        "its host does not answer here, this segment works and its does not; \
                         claiming"
                    }
                })
            }
            Fact::SegmentLost { node } => write!(
                f,
                "no witness answers on this segment, and {node} shows that its own works: given up"
            ),
            Fact::Yielded { address, retry_in } => write!(
                f,
                "another host goes on claiming {address}: given up (on_conflict: yield), next try \
                 in {} ms",
                retry_in.as_millis()
            ),
            Fact::Discarded {
                counter,
                interface,
                source,
                detail,
                repeated,
            } => {
                write!(
                    f,
                    "advertisement from {source} on {interface} discarded ({counter}): {detail}; state unchanged"
                )?;
                if *repeated > 0 {
                    write!(f, "; {repeated} more of this kind since the last such line")?;
                }
                Ok(())
            }
            Fact::Drift {
                what,
                ours,
                theirs: Some(theirs),
                node,
            } => write!(
                f,
                "{} {what} differ: ours {ours}, theirs {theirs}; mastership is unaffected",
                whose(node)
            ),
            Fact::Drift {
                what,
                theirs: None,
                node,
                ..
            } => write!(f, "{} {what} agree with ours again", whose(node)),
            Fact::AddressFailed {
                address,
                interface,
                error,
                retry_in,
            } => write!(
                f,
                "cannot add {address} to {interface}: {error}; the address is not held, next try in {} ms",
                retry_in.as_millis()
            ),
            Fact::RemovalFailed {
                address,
                interface,
                error,
                retry_in,
            } => write!(
                f,
                "cannot remove {address} from {interface}: {error}; the address may still be on {interface}, next try in {} ms",
                retry_in.as_millis()
            ),
            Fact::AddressRestored {
                address,
                interface,
                loss: Loss::Expired,
                ..
            } => write!(
                f,
                "the lease of {address} on {interface} ran out before the agent could begin it anew; put back and announced again"
            ),
            Fact::AddressRestored {
                address,
                interface,
                loss: Loss::Deleted,
                manager,
            } => {
                write!(
                    f,
                    "{address} was deleted from {interface} by someone else; put back and announced again"
                )?;
                match manager {
                    Some(manager) => write!(
                        f,
                        "; {manager} configures {interface}: tell it to leave addresses alone that it did not add"
                    ),
                    None => Ok(()),
                }
            }
            Fact::RenewalFailed {
                address,
                interface,
                error,
            } => write!(
                f,
                "the lease of {address} on {interface} could not be begun anew: {error}; tried again at once and with each advertisement, until it runs out"
            ),
            Fact::Routing(fact) => fact.fmt(f),
            Fact::ForeignClaim { claim, interface } => write!(
                f,
                "{} {} {} on {interface} while it is ours; announced again",
                claim.hardware_address,
                if claim.solicited {
                    "answers for"
                } else {
                    "announced"
                },
                claim.address
            ),
            Fact::NotSent {
                error,
                claiming,
                repeated,
            } => {
                let consequence = if *claiming {
                    "not claiming, since nobody would hear of it; tried again after one Active_Down_Interval"
                } else {
                    "peers may take over"
                };
                write!(f, "cannot send advertisements: {error}; {consequence}")?;
                if *repeated > 0 {
                    write!(f, "; {repeated} more since the last such line")?;
                }
                Ok(())
            }
            Fact::SocketFailed {
                interface,
                family,
                error,
            } => write!(
                f,
                "cannot open the {} socket on {interface}: {error}; its instances stay in fault until it opens",
                family.name()
            ),
            Fact::Check {
                check,
                from,
                to,
                output,
            } => {
                write!(f, "check {check}: {from} -> {to}")?;
                if output.is_empty() {
                    return Ok(());
                }
                write!(f, "; {output}")
            }
            Fact::Priority { from, to } => {
                write!(f, "checks changed the priority from {from} to {to}")
            }
            Fact::HookFailed {
                group,
                hook,
                error,
                output,
                consequence,
            } => {
                write!(f, "hook {}", hook.name())?;
                if let Some(group) = group {
                    write!(f, " of group {group}")?;
                }
                write!(f, " failed: {error}")?;
                if !output.is_empty() {
                    write!(f, ": {output}")?;
                }
                write!(f, "; {consequence}")
            }
            Fact::Group { group, from, to } => write!(f, "group {group}: {from} -> {to}"),
            Fact::Reconfigured => f.write_str("the new configuration was applied"),
            Fact::Stalled { late, outcome } => {
                let late = late.as_millis();
                write!(
                    f,
                    "did not run for {late} ms beyond an advertisement's time; "
                )?;
                match outcome {
                    StallOutcome::AnnouncedAgain => f.write_str("announced again"),
                    StallOutcome::ListensFirst => f.write_str(
                        "its peers' patience is over, so it listens for one interval before it goes on",
                    ),
                    StallOutcome::AnotherIsActive(other) => {
                        write!(f, "{other} has taken over meanwhile and stays Active")
                    }
                }
            }
            Fact::LateDownTimer { late } => write!(
                f,
                "the Active_Down_Timer was handled {} ms late, which says nothing about the peer; waiting one interval and Skew_Time more",
                late.as_millis()
            ),
        }
    }
}

fn whose(node: &Option<NodeName>) -> String {
    match node {
        Some(node) => format!("{node}'s"),
        None => "the Active's".to_owned(),
    }
}
