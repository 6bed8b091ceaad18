//! Every fact as one line for people: what happened, where, what it did to
//! state, what to do.

use super::*;

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
            Fact::Silence { patience, last } => {
                let patience = patience.as_millis();
                match last {
                    None => write!(f, "nobody was heard for {patience} ms"),
                    Some(last) => {
                        f.write_str("no advertisement of ")?;
                        if let Some(node) = &last.node {
                            write!(f, "{node}, ")?;
                        }
                        let (source, ago) = (last.source, last.ago.as_millis());
                        write!(f, "{source}, for {ago} ms; ")?;
                        write!(f, "the Active_Down_Interval is {patience} ms")
                    }
                }
            }
            Fact::Resigned { source, node } => {
                write!(f, "{} resigned (priority 0)", router(*source, node))
            }
            Fact::AddressesHeld {
                held,
                of,
                addresses,
            } => {
                write!(f, "{held} of {of} addresses held")?;
                for (index, address) in addresses.iter().enumerate() {
                    let before = if index == 0 { ": " } else { ", " };
                    write!(f, "{before}{address}")?;
                }
                match held.saturating_sub(addresses.len()) {
                    0 => Ok(()),
                    more => write!(f, " and {more} more"),
                }
            }
            Fact::Announced { addresses } => {
                let noun = if *addresses == 1 {
                    "address"
                } else {
                    "addresses"
                };
                write!(f, "{addresses} {noun} announced for the first time")
            }
            Fact::AddressesReleased => f.write_str("the addresses are gone from this host"),
            Fact::HookDone {
                group,
                hook,
                duration,
            } => {
                write!(f, "hook {}", hook.name())?;
                if let Some(group) = group {
                    write!(f, " of group {group}")?;
                }
                write!(f, " done, after {} ms", duration.as_millis())
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
            Fact::Move(fact) => fact.fmt(f),
            Fact::NobodyAble => f.write_str(
                "no node that is known could be Active: each is drained, in fault or not heard",
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
            Fact::TwoOwners { source } => write!(
                f,
                "{source} advertises priority 255 as this host does: the addresses have two \
                 owners, of whom the one with the higher address stays; lower the priority of \
                 one of the two"
            ),
            Fact::VirtualLink { interface, fact } => match fact {
                LinkFact::Failed { error, retry_in } => write!(
                    f,
                    "the interface {interface} for the virtual MAC address cannot be had as it \
                     must be: {error}; next try in {} ms",
                    retry_in.as_millis()
                ),
                LinkFact::Restored => write!(
                    f,
                    "the interface {interface} was removed or changed by somebody else, and is \
                     as it was again"
                ),
                LinkFact::Unguarded { parent, why } => write!(
                    f,
                    "{parent} may answer for the addresses on {interface} with its own MAC \
                     address: {why}; set net.ipv4.conf.{parent}.arp_ignore to 1 and arp_announce \
                     to 2"
                ),
            },
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
                    StallOutcome::AnnouncesSoon => {
                        f.write_str("announced a moment ago, and will again within a second")
                    }
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

fn router(source: IpAddr, node: &Option<NodeName>) -> String {
    match node {
        Some(node) => format!("{node} ({source})"),
        None => source.to_string(),
    }
}

fn whose(node: &Option<NodeName>) -> String {
    match node {
        Some(node) => format!("{node}'s"),
        None => "the Active's".to_owned(),
    }
}
