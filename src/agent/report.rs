//! What happened, for the log: structured, so that one place words it.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::event::Claim;
use super::jobs::{CheckName, HookKind};
use super::status::{CheckState, Counter, Reason, StateName};
use super::values::{Family, InstanceName, InterfaceName};

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
    /// Somebody deleted an address that we hold; it was put back.
    AddressRestored {
        address: IpNet,
        interface: InterfaceName,
    },
    /// Another host claims an address that we hold.
    ForeignClaim {
        claim: Claim,
        interface: InterfaceName,
    },
    NotSent {
        error: String,
        repeated: u64,
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
    Priority {
        from: u8,
        to: u8,
    },
    HookFailed {
        hook: HookKind,
        error: String,
        output: String,
    },
    /// A new configuration was applied to an instance.
    Reconfigured,
    /// The agent did not run for longer than an advertisement interval while
    /// it was Active.
    Stalled {
        late: Duration,
    },
    /// A down timer was handled late and the sockets were empty: one more
    /// interval is waited.
    LateDownTimer {
        late: Duration,
    },
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
            | Fact::SocketFailed { .. } => Level::Error,
            Fact::Check {
                to: CheckState::Down,
                ..
            } => Level::Error,
            Fact::Check { .. } | Fact::Reconfigured => Level::Info,
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
            | Fact::LateDownTimer { .. } => Level::Warning,
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
            } => write!(
                f,
                "the Active's {what} differ: ours {ours}, theirs {theirs}; mastership is unaffected"
            ),
            Fact::Drift {
                what, theirs: None, ..
            } => write!(f, "the Active's {what} agree with ours again"),
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
            Fact::AddressRestored { address, interface } => write!(
                f,
                "{address} was deleted from {interface} by someone else; put back and announced again"
            ),
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
            Fact::NotSent { error, repeated } => {
                write!(
                    f,
                    "cannot send advertisements: {error}; peers may take over"
                )?;
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
                hook,
                error,
                output,
            } => {
                write!(f, "hook {} failed: {error}", hook.name())?;
                if !output.is_empty() {
                    write!(f, ": {output}")?;
                }
                f.write_str("; the election is unaffected")
            }
            Fact::Reconfigured => f.write_str("the new configuration was applied"),
            Fact::Stalled { late } => write!(
                f,
                "did not run for {} ms beyond an advertisement's time; announced again",
                late.as_millis()
            ),
            Fact::LateDownTimer { late } => write!(
                f,
                "the Active_Down_Timer was handled {} ms late, which says nothing about the peer; waiting one interval more",
                late.as_millis()
            ),
        }
    }
}
