//! Every fact as a name and named values, for machines. Names stay; what is
//! added gets a new one.

use std::time::Duration;

use super::*;
use crate::agent::routing::RoutingItem;

/// One value of a fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Text(String),
    Number(u64),
    Flag(bool),
    List(Vec<String>),
}

pub type Field = (&'static str, Value);

impl Fact {
    /// What happened, in one word.
    pub fn name(&self) -> &'static str {
        match self {
            Fact::Transition { .. } => "transition",
            Fact::Silence { .. } => "silence",
            Fact::Resigned { .. } => "resigned",
            Fact::AddressesHeld { .. } => "addresses-held",
            Fact::Announced { .. } => "announced",
            Fact::AddressesReleased => "addresses-released",
            Fact::Discarded { .. } => "advert-discarded",
            Fact::Drift { .. } => "drift",
            Fact::AddressFailed { .. } => "address-failed",
            Fact::TwoOwners { .. } => "two-owners",
            Fact::VirtualLink { fact, .. } => match fact {
                LinkFact::Failed { .. } => "virtual-mac-failed",
                LinkFact::Restored => "virtual-mac-restored",
                LinkFact::Unguarded { .. } => "virtual-mac-unguarded",
            },
            Fact::RemovalFailed { .. } => "removal-failed",
            Fact::AddressRestored { .. } => "address-restored",
            Fact::Routing(fact) => match fact {
                RoutingFact::AddFailed { .. } => "route-failed",
                RoutingFact::RemovalFailed { .. } => "route-removal-failed",
                RoutingFact::Restored { .. } => "route-restored",
            },
            Fact::ForeignClaim { .. } => "foreign-claim",
            Fact::NotSent { .. } => "not-sent",
            Fact::RenewalFailed { .. } => "renewal-failed",
            Fact::SocketFailed { .. } => "socket-failed",
            Fact::Check { .. } => "check",
            Fact::Priority { .. } => "priority",
            Fact::HookDone { .. } => "hook-done",
            Fact::HookFailed { .. } => "hook-failed",
            Fact::Group { .. } => "group",
            Fact::Reconfigured => "reconfigured",
            Fact::Stalled { .. } => "stalled",
            Fact::LateDownTimer { .. } => "late-down-timer",
            Fact::NodeHeard { .. } => "node-heard",
            Fact::NodeLost { .. } => "node-lost",
            Fact::LinkRefused { .. } => "link-refused",
            Fact::Inquired { .. } => "inquired",
            Fact::SegmentLost { .. } => "segment-lost",
            Fact::Move(fact) => move_name(fact),
            Fact::NobodyAble => "nobody-able",
            Fact::Yielded { .. } => "yielded",
        }
    }

    /// Why, where that is not in the words alone: of a transition one of RFC
    /// 8347's new-master-reasons where one fits.
    pub fn reason(&self) -> Option<Reason> {
        if let Fact::Transition { reason, .. } = self {
            return Some(*reason);
        }
        None
    }

    /// Its parts; spans in milliseconds.
    pub fn fields(&self) -> Vec<Field> {
        match self {
            Fact::Transition {
                from,
                to,
                reason: _,
                obstacles,
            } => vec![
                text("from", from),
                text("to", to),
                ("obstacles", Value::List(obstacles.clone())),
            ],
            Fact::Silence { patience, last } => {
                let mut fields = vec![millis("patience_ms", *patience)];
                if let Some(last) = last {
                    fields.push(text("source", last.source));
                    fields.extend(optional("node", last.node.as_ref()));
                    fields.push(number("priority", last.priority));
                    fields.push(millis("last_heard_ago_ms", last.ago));
                }
                fields
            }
            Fact::Resigned { source, node } => {
                let node = optional("node", node.as_ref());
                [text("source", source)].into_iter().chain(node).collect()
            }
            Fact::AddressesHeld {
                held,
                of,
                addresses,
            } => vec![
                count("held", *held),
                count("of", *of),
                ("addresses", list(addresses)),
            ],
            Fact::Announced { addresses } => vec![count("addresses", *addresses)],
            Fact::HookDone {
                group,
                hook,
                duration,
            } => hook_fields(group, *hook)
                .chain([millis("duration_ms", *duration)])
                .collect(),
            Fact::HookFailed {
                group,
                hook,
                error,
                output,
                consequence,
            } => hook_fields(group, *hook)
                .chain([
                    text("error", error),
                    text("output", output),
                    text("consequence", consequence),
                ])
                .collect(),
            Fact::Check {
                check,
                from,
                to,
                output,
            } => vec![
                text("check", check),
                text("from", from),
                text("to", to),
                text("output", output),
            ],
            Fact::Priority { from, to } => vec![number("from", *from), number("to", *to)],
            Fact::Group { group, from, to } => {
                vec![text("group", group), text("from", from), text("to", to)]
            }
            Fact::NodeHeard { node } | Fact::NodeLost { node } | Fact::SegmentLost { node } => {
                vec![text("node", node)]
            }
            Fact::Inquired { node, finding } => {
                vec![text("node", node), text("finding", finding.code())]
            }
            Fact::Stalled { late, outcome } => stalled(*late, *outcome),
            Fact::LateDownTimer { late } => vec![millis("late_ms", *late)],
            Fact::Move(fact) => move_fields(fact),
            Fact::AddressesReleased | Fact::Reconfigured | Fact::NobodyAble => Vec::new(),
            Fact::Discarded {
                counter,
                interface,
                source,
                detail,
                repeated,
            } => vec![
                text("counter", counter),
                text("interface", interface),
                text("source", source),
                text("detail", detail),
                number("repeated", *repeated),
            ],
            Fact::Drift {
                what,
                ours,
                theirs,
                node,
            } => [text("what", what), text("ours", ours)]
                .into_iter()
                .chain(optional("theirs", theirs.as_ref()))
                .chain(optional("node", node.as_ref()))
                .collect(),
            Fact::TwoOwners { source } => vec![text("source", source)],
            Fact::ForeignClaim { claim, interface } => vec![
                text("address", claim.address),
                text("hardware_address", claim.hardware_address),
                ("solicited", Value::Flag(claim.solicited)),
                text("interface", interface),
            ],
            Fact::NotSent {
                error,
                claiming,
                repeated,
            } => vec![
                text("error", error),
                ("claiming", Value::Flag(*claiming)),
                number("repeated", *repeated),
            ],
            Fact::LinkRefused {
                source,
                why,
                repeated,
            } => vec![
                text("source", source),
                text("why", why.name()),
                number("repeated", *repeated),
            ],
            Fact::Yielded { address, retry_in } => {
                vec![text("address", address), millis("retry_in_ms", *retry_in)]
            }
            Fact::AddressFailed {
                address,
                interface,
                error,
                retry_in,
            }
            | Fact::RemovalFailed {
                address,
                interface,
                error,
                retry_in,
            } => vec![
                text("address", address),
                text("interface", interface),
                text("error", error),
                millis("retry_in_ms", *retry_in),
            ],
            Fact::AddressRestored {
                address,
                interface,
                loss,
                manager,
            } => {
                let loss = match loss {
                    Loss::Deleted => "deleted",
                    Loss::Expired => "expired",
                };
                let fields = [
                    text("address", address),
                    text("interface", interface),
                    text("loss", loss),
                ];
                let manager = optional("manager", manager.as_ref());
                fields.into_iter().chain(manager).collect()
            }
            Fact::RenewalFailed {
                address,
                interface,
                error,
            } => vec![
                text("address", address),
                text("interface", interface),
                text("error", error),
            ],
            Fact::SocketFailed {
                interface,
                family,
                error,
            } => vec![
                text("interface", interface),
                text("family", family.name()),
                text("error", error),
            ],
            Fact::VirtualLink { interface, fact } => {
                let mut fields = vec![text("interface", interface)];
                match fact {
                    LinkFact::Failed { error, retry_in } => {
                        fields.extend([text("error", error), millis("retry_in_ms", *retry_in)])
                    }
                    LinkFact::Restored => {}
                    LinkFact::Unguarded { parent, why } => {
                        fields.extend([text("parent", parent), text("why", why)]);
                    }
                }
                fields
            }
            Fact::Routing(fact) => routing(fact),
        }
    }
}

fn stalled(late: Duration, outcome: StallOutcome) -> Vec<Field> {
    let late = millis("late_ms", late);
    match outcome {
        StallOutcome::AnnouncedAgain => vec![late, text("outcome", "announced-again")],
        StallOutcome::AnnouncesSoon => vec![late, text("outcome", "announces-soon")],
        StallOutcome::ListensFirst => vec![late, text("outcome", "listens-first")],
        StallOutcome::AnotherIsActive(source) => vec![
            late,
            text("outcome", "another-is-active"),
            text("source", source),
        ],
    }
}

fn routing(fact: &RoutingFact) -> Vec<Field> {
    let named = |item: &RoutingItem| text("item", item);
    match fact {
        RoutingFact::AddFailed {
            item,
            error,
            retry_in,
        }
        | RoutingFact::RemovalFailed {
            item,
            error,
            retry_in,
        } => vec![
            named(item),
            text("error", error),
            millis("retry_in_ms", *retry_in),
        ],
        RoutingFact::Restored { item } => vec![named(item)],
    }
}

fn move_name(fact: &MoveFact) -> &'static str {
    match fact {
        MoveFact::Begun { .. } => "handing-over",
        MoveFact::Broken { .. } => "handover-broken",
        MoveFact::Taking { .. } => "taking-over",
        MoveFact::TakingBroken { .. } => "takeover-broken",
        MoveFact::AskedInVain { .. } => "asked-in-vain",
        MoveFact::NotRelieved => "not-relieved",
        MoveFact::DrainOver => "drain-over",
        MoveFact::NotKept { .. } => "moves-not-kept",
    }
}

fn move_fields(fact: &MoveFact) -> Vec<Field> {
    match fact {
        MoveFact::Begun { to } => vec![text("node", to)],
        MoveFact::Taking { from } => vec![text("node", from)],
        MoveFact::Broken { to: node, why }
        | MoveFact::TakingBroken { from: node, why }
        | MoveFact::AskedInVain { node, why } => vec![text("node", node), text("why", why)],
        MoveFact::NotRelieved | MoveFact::DrainOver => Vec::new(),
        MoveFact::NotKept { error } => vec![text("error", error)],
    }
}

fn hook_fields(group: &Option<GroupName>, hook: HookKind) -> impl Iterator<Item = Field> {
    let group = optional("group", group.as_ref());
    group.into_iter().chain([text("hook", hook.name())])
}

fn text(name: &'static str, value: impl ToString) -> Field {
    (name, Value::Text(value.to_string()))
}

fn optional(name: &'static str, value: Option<impl ToString>) -> Option<Field> {
    value.map(|value| text(name, value))
}

fn list(values: &[impl ToString]) -> Value {
    Value::List(values.iter().map(ToString::to_string).collect())
}

fn number(name: &'static str, value: impl Into<u64>) -> Field {
    (name, Value::Number(value.into()))
}

fn count(name: &'static str, value: usize) -> Field {
    number(name, u64::try_from(value).unwrap_or(u64::MAX))
}

fn millis(name: &'static str, span: Duration) -> Field {
    number(name, u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}
