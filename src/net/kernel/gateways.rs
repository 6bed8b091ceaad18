//! The gateways of an interface: the next hops of the default routes over it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use netlink_packet_core::{NLM_F_DUMP, Parseable};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteNextHop, RouteType, RouteVia,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::errno::Errno;

use super::socket::{Refusal, RouteError, RouteSocket};

/// Of one interface; the ones with the smallest addresses are taken.
const GATEWAYS_MAX: usize = 16;

/// For one answer of the kernel.
const PATIENCE: Duration = Duration::from_secs(10);

/// Between two readings of the routes. The first change after a quiet time is
/// read at once.
const READING_GAP: Duration = Duration::from_millis(250);

/// A table of more routes is dear to read, and read no more often than this.
const LARGE_TABLE: usize = 10_000;
const LARGE_TABLE_GAP: Duration = Duration::from_secs(60);

/// The default routes of the host, as they were read last.
pub(super) struct Gateways {
    /// Interface and next hop; both families.
    known: BTreeSet<(u32, IpAddr)>,
    /// Before then they are not read again.
    rested: Instant,
    stale: bool,
}

impl Gateways {
    /// Nothing is known yet.
    pub fn new() -> Self {
        Self {
            known: BTreeSet::new(),
            rested: Instant::now(),
            stale: true,
        }
    }

    /// A route changed, or may have: those of an interface that goes down are
    /// removed without a word.
    pub fn touch(&mut self) {
        self.stale = true;
    }

    /// When the routes should be read again; `None` while they are believed
    /// unchanged.
    pub fn due(&self) -> Option<Instant> {
        self.stale.then_some(self.rested)
    }

    /// Reads the routes of the host. After an error what was known stays, and
    /// it is tried again a while later.
    pub fn read(&mut self, socket: &mut RouteSocket, now: Instant) -> Result<(), RouteError> {
        self.rested = now + LARGE_TABLE_GAP;
        let mut known = BTreeSet::new();
        let mut routes = 0;
        let mut settled = true;
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut question = RouteMessage::default();
            question.header.address_family = family;
            // Filters on kernels since 4.20; we filter ourselves for the others.
            question.header.kind = RouteType::Unicast;
            let question = RouteNetlinkMessage::GetRoute(question);
            let deadline = Instant::now() + PATIENCE;
            let asked = socket.ask(question, NLM_F_DUMP, deadline, &mut |kind, payload| {
                if kind == libc::RTM_NEWROUTE {
                    routes += 1;
                    known.extend(next_hops(payload));
                }
            });
            match asked {
                Ok(undisturbed) => settled &= undisturbed,
                // A kernel without IPv6 has no routes of it.
                Err(RouteError::Refused(Refusal {
                    errno: Errno::EOPNOTSUPP | Errno::EAFNOSUPPORT,
                    ..
                })) => {}
                Err(error) => return Err(error),
            }
        }
        if routes <= LARGE_TABLE {
            self.rested = now + READING_GAP;
        }
        self.stale = !settled;
        self.known = known;
        Ok(())
    }

    /// At most [`GATEWAYS_MAX`].
    pub fn of(&self, index: u32) -> Vec<IpAddr> {
        let own = self.known.iter().filter(|(over, _)| *over == index);
        own.map(|(_, gateway)| *gateway)
            .take(GATEWAYS_MAX)
            .collect()
    }
}

/// Whether the kernel's message may mean that gateways are others now. Asked
/// for every change of every route, so it looks at heads only.
pub(super) fn changes_gateways(kind: u16, payload: &[u8]) -> bool {
    match kind {
        libc::RTM_NEWROUTE | libc::RTM_DELROUTE => concerns_default_route(payload),
        libc::RTM_NEWLINK | libc::RTM_DELLINK | libc::RTM_NEWADDR | libc::RTM_DELADDR => true,
        _ => false,
    }
}

fn concerns_default_route(payload: &[u8]) -> bool {
    RouteHeader::parse(payload).map_or(true, |header| is_default(&header))
}

/// Of whichever table: a default route of a policy's table leads out, too.
fn is_default(header: &RouteHeader) -> bool {
    header.destination_prefix_length == 0 && header.kind == RouteType::Unicast
}

/// Interface and gateway of each next hop of a default route.
fn next_hops(payload: &[u8]) -> Vec<(u32, IpAddr)> {
    if !concerns_default_route(payload) {
        return Vec::new();
    }
    let Ok(route) = RouteMessage::parse(payload) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    let mut over = None;
    let mut gateway = None;
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Oif(index) => over = Some(*index),
            RouteAttribute::MultiPath(hops) => found.extend(hops.iter().filter_map(hop)),
            other => gateway = gateway.or_else(|| next_hop(other)),
        }
    }
    found.extend(over.zip(gateway));
    found
}

fn hop(hop: &RouteNextHop) -> Option<(u32, IpAddr)> {
    let gateway = hop.attributes.iter().find_map(next_hop)?;
    Some((hop.interface_index, gateway))
}

fn next_hop(attribute: &RouteAttribute) -> Option<IpAddr> {
    match attribute {
        RouteAttribute::Gateway(RouteAddress::Inet(gateway)) => Some(IpAddr::V4(*gateway)),
        RouteAttribute::Gateway(RouteAddress::Inet6(gateway)) => Some(IpAddr::V6(*gateway)),
        // An IPv4 route by a gateway of IPv6.
        RouteAttribute::Via(RouteVia::Inet6(gateway)) => Some(IpAddr::V6(*gateway)),
        _ => None,
    }
}
