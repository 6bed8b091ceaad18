//! Routes and rules as netlink requests, carried out in chunks between those
//! about addresses. What is ours bears our mark: nothing else is ever removed
//! or replaced.

use std::time::{Duration, Instant};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::route::{
    RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleHeader, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::errno::Errno;

use super::ROUTING_PROTOCOL;
use super::batch::{Line, Progress};
use super::indexes::{Indexes, look_up, no_interface};
use super::routing_read::read;
use super::socket::{Refusal, RouteError, RouteSocket};
use crate::agent::event::Event;
use crate::agent::routing::{
    Change, Effect, Route, RoutingItem, RoutingOrder, RoutingState, Rule, table_name,
};
use crate::agent::values::Family;

/// For one answer of the kernel.
const PATIENCE: Duration = Duration::from_secs(10);

/// The request and its flags. `index`: of the route's interface.
fn request(item: &RoutingItem, change: Change, index: u32) -> (RouteNetlinkMessage, u16) {
    match (item, change) {
        (RoutingItem::Route(route), Change::Add) => (
            RouteNetlinkMessage::NewRoute(addition(route, index)),
            NLM_F_CREATE | NLM_F_EXCL,
        ),
        (RoutingItem::Route(route), Change::Remove) => {
            (RouteNetlinkMessage::DelRoute(removal(route, index)), 0)
        }
        (RoutingItem::Rule(rule), Change::Add) => (
            RouteNetlinkMessage::NewRule(rule_message(rule)),
            NLM_F_CREATE | NLM_F_EXCL,
        ),
        (RoutingItem::Rule(rule), Change::Remove) => {
            (RouteNetlinkMessage::DelRule(rule_message(rule)), 0)
        }
    }
}

fn addition(route: &Route, index: u32) -> RouteMessage {
    let mut message = common(route, index);
    message.header.scope = match (route.to.addr().is_ipv4(), route.via) {
        (true, None) => RouteScope::Link,
        (true, Some(_)) | (false, _) => RouteScope::Universe,
    };
    message.header.flags.set(RouteFlags::Onlink, route.onlink);
    message
}

/// Of any scope.
fn removal(route: &Route, index: u32) -> RouteMessage {
    let mut message = common(route, index);
    message.header.scope = match route.to.addr().is_ipv4() {
        true => RouteScope::NoWhere,
        false => RouteScope::Universe,
    };
    message
}

fn common(route: &Route, index: u32) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: family(Family::of(route.to.addr())),
        destination_prefix_length: route.to.prefix_len(),
        // Larger numbers stand in the attribute alone.
        table: u8::try_from(route.table).unwrap_or(RouteHeader::RT_TABLE_UNSPEC),
        protocol: RouteProtocol::Other(ROUTING_PROTOCOL),
        kind: RouteType::Unicast,
        ..RouteHeader::default()
    };
    let attributes = &mut message.attributes;
    if route.to.prefix_len() > 0 {
        attributes.push(RouteAttribute::Destination(route.to.addr().into()));
    }
    attributes.push(RouteAttribute::Oif(index));
    attributes.extend(route.via.map(|via| RouteAttribute::Gateway(via.into())));
    let source = route.source.map(Into::into);
    attributes.extend(source.map(RouteAttribute::PrefSource));
    attributes.push(RouteAttribute::Table(route.table));
    if route.metric > 0 {
        attributes.push(RouteAttribute::Priority(route.metric));
    }
    message
}

fn rule_message(rule: &Rule) -> RuleMessage {
    let length = |network: Option<ipnet::IpNet>| network.map_or(0, |network| network.prefix_len());
    let mut message = RuleMessage::default();
    message.header = RuleHeader {
        family: family(rule.family),
        dst_len: length(rule.to),
        src_len: length(rule.from),
        table: u8::try_from(rule.table).unwrap_or(RouteHeader::RT_TABLE_UNSPEC),
        action: RuleAction::ToTable,
        ..RuleHeader::default()
    };
    let attributes = &mut message.attributes;
    let from = rule.from.map(|network| network.addr());
    attributes.extend(from.map(RuleAttribute::Source));
    let to = rule.to.map(|network| network.addr());
    attributes.extend(to.map(RuleAttribute::Destination));
    let name = |interface: crate::agent::values::InterfaceName| interface.to_string();
    attributes.extend(rule.iif.map(name).map(RuleAttribute::Iifname));
    attributes.extend(rule.oif.map(name).map(RuleAttribute::Oifname));
    attributes.extend(rule.fwmark.map(RuleAttribute::FwMark));
    attributes.push(RuleAttribute::Table(rule.table));
    attributes.push(RuleAttribute::Priority(rule.priority));
    let protocol = RouteProtocol::Other(ROUTING_PROTOCOL);
    attributes.push(RuleAttribute::Protocol(protocol));
    message
}

fn family(family: Family) -> AddressFamily {
    match family {
        Family::Ipv4 => AddressFamily::Inet,
        Family::Ipv6 => AddressFamily::Inet6,
    }
}

/// Carries out a chunk; one answer for each order, in their order. The text is
/// there when the socket failed.
pub(super) fn carry_out(
    line: &mut Line,
    chunk: &[RoutingOrder],
) -> (Vec<Event<'static>>, Option<String>) {
    let mut indexes = Indexes::new();
    let requests: Vec<_> = chunk
        .iter()
        .map(|order| prepare(order, &mut indexes))
        .collect();
    let (progress, failure) = line.submit(requests);
    // Read once where the kernel says that something is there already.
    let mut ours = None;
    let events = chunk.iter().zip(progress).map(|(order, progress)| {
        let outcome = match progress {
            Progress::Settled(Ok(())) => Ok(Effect::Already),
            Progress::Settled(Err(text)) => Err(text),
            Progress::Sent => {
                let why = failure.as_deref().unwrap_or("the kernel's answer was lost");
                Err(format!("{why}; it may be there or not"))
            }
            Progress::Answered(Err(refusal))
                if order.change == Change::Add && refusal.errno == Errno::EEXIST =>
            {
                already_there(line, order, &mut indexes, &mut ours)
            }
            Progress::Answered(verdict) => judge(&order.item, order.change, verdict),
        };
        Event::RoutingChanged {
            instance: order.instance,
            index: order.index,
            change: order.change,
            outcome,
        }
    });
    let events = events.collect();
    (events, failure)
}

fn prepare(
    order: &RoutingOrder,
    indexes: &mut Indexes,
) -> Result<(RouteNetlinkMessage, u16), Result<(), String>> {
    let index = match order.item.interface() {
        None => 0,
        Some(interface) => match (look_up(interface, indexes), order.change) {
            (Ok(index), _) => index,
            // The kernel has dropped its routes.
            (Err(Errno::ENODEV | Errno::ENXIO), Change::Remove) => return Err(Ok(())),
            (Err(errno), _) => return Err(Err(no_interface(interface, errno))),
        },
    };
    Ok(request(&order.item, order.change, index))
}

/// What is absent counts as removed; so does what went with its interface, its
/// table or its whole family.
pub(super) fn judge(
    item: &RoutingItem,
    change: Change,
    verdict: Result<(), Refusal>,
) -> Result<Effect, String> {
    let Err(refusal) = verdict else {
        return Ok(Effect::Done);
    };
    let absent = matches!(
        refusal.errno,
        Errno::ESRCH
            | Errno::ENOENT
            | Errno::ENODEV
            | Errno::ENXIO
            | Errno::ENETDOWN
            | Errno::EOPNOTSUPP
            | Errno::EAFNOSUPPORT
    );
    match change {
        Change::Remove if absent => Ok(Effect::Already),
        Change::Add | Change::Remove => Err(words(item, refusal)),
    }
}

/// The refusal with the cause in the operator's terms when it can be told,
/// else in the kernel's.
fn words(item: &RoutingItem, mut refusal: Refusal) -> String {
    let cause = match (refusal.errno, item) {
        (Errno::EPERM, _) => Some("the agent lacks CAP_NET_ADMIN".to_owned()),
        (Errno::EOPNOTSUPP | Errno::EAFNOSUPPORT, _) if refusal.words.is_none() => Some(
            "this kernel runs without policy routing, or without the address family".to_owned(),
        ),
        (Errno::ENETUNREACH | Errno::EHOSTUNREACH | Errno::EINVAL, RoutingItem::Route(route)) => {
            cause_of_no_route(route, refusal.words.as_deref())
        }
        _ => None,
    };
    refusal.words = cause.or(refusal.words);
    refusal.to_string()
}

fn cause_of_no_route(route: &Route, words: Option<&str>) -> Option<String> {
    let words = words.unwrap_or_default();
    if words.contains("prefsrc") || words.contains("source address") {
        let source = route.source?;
        return Some(format!("this host does not have its source {source}"));
    }
    if words.contains("gateway") || words.is_empty() {
        let via = route.via?;
        return Some(format!(
            "{via} is in no subnet of {}; where it is a neighbour all the same, write `onlink: true`",
            route.interface
        ));
    }
    None
}

/// The kernel has such a one already: ours as it should be, ours in another
/// form, or another program's, which stays.
fn already_there(
    line: &mut Line,
    order: &RoutingOrder,
    indexes: &mut Indexes,
    ours: &mut Option<RoutingState>,
) -> Result<Effect, String> {
    let mut socket = line
        .take()
        .map_err(|error| format!("no netlink socket could be opened: {error}"))?;
    let outcome = settle(&mut socket, order, indexes, ours);
    match outcome {
        Err(RouteError::Socket(error)) => Err(format!(
            "such a one is there already, and whose it is cannot be read: {error}"
        )),
        Err(RouteError::Refused(refusal)) => {
            line.give_back(socket);
            Err(words(&order.item, refusal))
        }
        Ok(Some(effect)) => {
            line.give_back(socket);
            Ok(effect)
        }
        Ok(None) => {
            line.give_back(socket);
            Err(taken(&order.item))
        }
    }
}

/// `None`: another program's.
fn settle(
    socket: &mut RouteSocket,
    order: &RoutingOrder,
    indexes: &mut Indexes,
    ours: &mut Option<RoutingState>,
) -> Result<Option<Effect>, RouteError> {
    let known = match ours {
        Some(known) => known,
        None => ours.insert(read(socket)?.0),
    };
    if known.contains(&order.item) {
        return Ok(Some(Effect::Already));
    }
    let RoutingItem::Route(wanted) = &order.item else {
        return Ok(None);
    };
    let same_place = |item: &&RoutingItem| match item {
        RoutingItem::Route(route) => {
            (route.to, route.table, route.metric) == (wanted.to, wanted.table, wanted.metric)
        }
        RoutingItem::Rule(_) => false,
    };
    // Such as an IPv6 route that lost its source with the address.
    let Some(other) = known.iter().find(same_place).cloned() else {
        return Ok(None);
    };
    remove(socket, &other)?;
    known.remove(&other);
    let index = look_up(wanted.interface, indexes).map_err(std::io::Error::from)?;
    let (message, flags) = request(&order.item, Change::Add, index);
    socket.order(message, flags, Instant::now() + PATIENCE)?;
    Ok(Some(Effect::Done))
}

fn taken(item: &RoutingItem) -> String {
    match item {
        RoutingItem::Route(route) => format!(
            "table {} has a route to {} with metric {} already, which is another program's; remove \
             that, or give this one another `metric` or `table`",
            table_name(route.table),
            route.to,
            route.metric
        ),
        RoutingItem::Rule(_) => {
            "such a rule is there already, and is another program's; remove it, or give this one \
             another `priority`"
                .to_owned()
        }
    }
}

/// Removes one, by whoever calls; false where it was gone.
pub(super) fn remove(socket: &mut RouteSocket, item: &RoutingItem) -> Result<bool, RouteError> {
    let index = match item.interface() {
        None => 0,
        Some(interface) => match look_up(interface, &mut Indexes::new()) {
            Ok(index) => index,
            Err(Errno::ENODEV | Errno::ENXIO) => return Ok(false),
            Err(errno) => return Err(std::io::Error::from(errno).into()),
        },
    };
    let (message, flags) = request(item, Change::Remove, index);
    match socket.order(message, flags, Instant::now() + PATIENCE) {
        Ok(()) => Ok(true),
        Err(RouteError::Refused(refusal)) => {
            match judge(item, Change::Remove, Err(refusal.clone())) {
                Ok(_) => Ok(false),
                Err(_) => Err(RouteError::Refused(refusal)),
            }
        }
        Err(error) => Err(error),
    }
}
