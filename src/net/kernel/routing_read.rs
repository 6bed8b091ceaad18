//! The routes and rules of this network namespace that bear our mark.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use netlink_packet_core::{NLM_F_DUMP, NlasIterator, Parseable};
use netlink_packet_route::route::{
    RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteType,
};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleHeader, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::errno::Errno;
use nix::net::if_::if_indextoname;

use super::ROUTING_PROTOCOL;
use super::socket::{Refusal, RouteError, RouteSocket};
use crate::agent::routing::{Route, RoutingItem, RoutingState, Rule};
use crate::agent::values::{Family, InterfaceName};

/// For one answer of the kernel.
const PATIENCE: Duration = Duration::from_secs(10);

const ROUTE_HEADER_BYTES: usize = 12;
const RULE_HEADER_BYTES: usize = 12;

pub(super) const OURS: RouteProtocol = RouteProtocol::Other(ROUTING_PROTOCOL);

/// Reads over a socket of its own, which it opens again after a failure.
#[derive(Default)]
pub(super) struct RoutingReader {
    socket: Option<RouteSocket>,
}

impl RoutingReader {
    /// What [`read`] gives. Errors: it is unknown; the next call opens a new
    /// socket.
    pub fn read(&mut self) -> Result<(RoutingState, bool), RouteError> {
        let mut socket = match self.socket.take() {
            Some(socket) => socket,
            None => RouteSocket::open()?,
        };
        let found = read(&mut socket)?;
        self.socket = Some(socket);
        Ok(found)
    }
}

/// All with our mark, and whether no change disturbed the reading.
pub(super) fn read(socket: &mut RouteSocket) -> Result<(RoutingState, bool), RouteError> {
    let mut found = RoutingState::new();
    let mut settled = true;
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut question = RouteMessage::default();
        question.header.address_family = family;
        // Kernels since 4.20 answer with those alone.
        question.header.protocol = OURS;
        let question = RouteNetlinkMessage::GetRoute(question);
        settled &= dump(socket, question, &mut |kind, payload| {
            if kind == libc::RTM_NEWROUTE {
                let route = parse_route(payload, family);
                found.extend(route.map(RoutingItem::Route));
            }
        })?;
        let mut question = RuleMessage::default();
        question.header.family = family;
        let question = RouteNetlinkMessage::GetRule(question);
        settled &= dump(socket, question, &mut |kind, payload| {
            if kind == libc::RTM_NEWRULE {
                let rule = parse_rule(payload, family);
                found.extend(rule.map(RoutingItem::Rule));
            }
        })?;
    }
    Ok((found, settled))
}

/// Whether no change disturbed the reading.
pub(super) fn dump(
    socket: &mut RouteSocket,
    question: RouteNetlinkMessage,
    each: &mut dyn FnMut(u16, &[u8]),
) -> Result<bool, RouteError> {
    let deadline = Instant::now() + PATIENCE;
    match socket.ask(question, NLM_F_DUMP, deadline, each) {
        // A kernel without IPv6, or without rules, has none of them.
        Err(RouteError::Refused(Refusal {
            errno: Errno::EOPNOTSUPP | Errno::EAFNOSUPPORT,
            ..
        })) => Ok(true),
        outcome => outcome,
    }
}

/// `None` for one that is not ours, or has a form that we never give.
fn parse_route(payload: &[u8], family: AddressFamily) -> Option<Route> {
    let header = RouteHeader::parse(payload).ok()?;
    let fits = header.address_family == family
        && header.protocol == OURS
        && header.kind == RouteType::Unicast
        && !header.flags.contains(RouteFlags::Cloned);
    if !fits {
        return None;
    }
    let unspecified: IpNet = match family {
        AddressFamily::Inet => Ipv4Net::default().into(),
        _ => Ipv6Net::default().into(),
    };
    let mut to = unspecified.addr();
    let mut via = None;
    let mut source = None;
    let mut interface = None;
    let mut table = u32::from(header.table);
    let mut metric = 0;
    for attribute in NlasIterator::new(payload.get(ROUTE_HEADER_BYTES..)?) {
        let attribute = attribute.ok()?;
        let value = attribute.value();
        match attribute.kind() {
            libc::RTA_DST => to = address(value)?,
            libc::RTA_GATEWAY => via = Some(address(value)?),
            libc::RTA_PREFSRC => source = Some(address(value)?),
            libc::RTA_OIF => interface = name_of(word(value)?),
            libc::RTA_TABLE => table = word(value)?,
            libc::RTA_PRIORITY => metric = word(value)?,
            libc::RTA_MULTIPATH | libc::RTA_VIA => return None,
            _ => {}
        }
    }
    Some(Route {
        to: IpNet::new(to, header.destination_prefix_length).ok()?,
        via,
        interface: interface?,
        source,
        table,
        metric,
        onlink: header.flags.contains(RouteFlags::Onlink),
    })
}

/// As [`parse_route`].
fn parse_rule(payload: &[u8], family: AddressFamily) -> Option<Rule> {
    let header = RuleHeader::parse(payload).ok()?;
    if header.family != family || header.action != RuleAction::ToTable {
        return None;
    }
    let mut rule = Rule {
        family: match family {
            AddressFamily::Inet => Family::Ipv4,
            _ => Family::Ipv6,
        },
        from: None,
        to: None,
        iif: None,
        oif: None,
        fwmark: None,
        table: u32::from(header.table),
        priority: 0,
    };
    let mut ours = false;
    for attribute in NlasIterator::new(payload.get(RULE_HEADER_BYTES..)?) {
        match RuleAttribute::parse(&attribute.ok()?).ok()? {
            RuleAttribute::Source(from) => rule.from = IpNet::new(from, header.src_len).ok(),
            RuleAttribute::Destination(to) => rule.to = IpNet::new(to, header.dst_len).ok(),
            RuleAttribute::Iifname(name) => rule.iif = Some(name.parse().ok()?),
            RuleAttribute::Oifname(name) => rule.oif = Some(name.parse().ok()?),
            RuleAttribute::FwMark(mark) => rule.fwmark = Some(mark).filter(|mark| *mark > 0),
            RuleAttribute::Table(table) => rule.table = table,
            RuleAttribute::Priority(priority) => rule.priority = priority,
            RuleAttribute::Protocol(protocol) => ours = protocol == OURS,
            _ => {}
        }
    }
    ours.then_some(rule)
}

fn address(value: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(value).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(value).map(IpAddr::from))
        .ok()
}

fn word(value: &[u8]) -> Option<u32> {
    value.try_into().ok().map(u32::from_ne_bytes)
}

fn name_of(index: u32) -> Option<InterfaceName> {
    let name = if_indextoname(index).ok()?;
    name.to_str().ok()?.parse().ok()
}
