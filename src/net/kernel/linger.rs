//! Addresses that another host has taken over: for a moment this host goes on
//! taking packets for them, without answering who has them.
//!
//! As long as both hosts answer, a client may learn either. So the old one has
//! to stop answering before it stops taking packets: what a client sends by
//! what it had learnt is still served, until the new host's announcements have
//! reached it. An IPv4 address moves to the loopback interface, with a
//! lifetime of its own, and ARP in its name is dropped by a table in nf_tables
//! that the kernel removes with its socket; for IPv6 a route of the host to
//! itself does, which expires likewise and is not answered for. So everything
//! ends by itself should this process die.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE, Parseable};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::net::if_::if_nametoindex;

use super::nft::transact;
use super::request::{removal, renewal};
use super::routing_read;
use super::socket::{RouteError, RouteSocket};
use crate::agent::action::AddressOrder;
use crate::agent::values::{AddressIndex, InstanceId, Lease};

/// The successor announces again within a few milliseconds of the release.
const LINGER: Duration = Duration::from_millis(250);
const PATIENCE: Duration = Duration::from_secs(2);
const LOOPBACK: &str = "lo";
/// Of the addresses that are the host's (linux/rtnetlink.h).
const TABLE_LOCAL: u8 = 255;
/// Of routes that end by themselves: nobody has to know them again.
const LINGER_PROTOCOL: u8 = 0x77;

/// What lingers now. Shared with the threads that end it.
#[derive(Clone, Default)]
pub(super) struct Lingering(Arc<Moments>);

#[derive(Default)]
struct Moments {
    standing: Mutex<Standing>,
    ended: Condvar,
}

#[derive(Default)]
struct Standing {
    begun: u64,
    moments: BTreeMap<u64, Moment>,
    /// Taken out, and not yet through with the kernel.
    ending: usize,
}

impl Lingering {
    /// Before these addresses are removed. What does not linger is removed
    /// as always.
    pub fn begin(&self, orders: &[&AddressOrder]) {
        let Some(moment) = moment(orders) else {
            return;
        };
        let mut standing = self.0.standing();
        standing.begun += 1;
        let number = standing.begun;
        standing.moments.insert(number, moment);
        drop(standing);
        let moments = Arc::clone(&self.0);
        let end = move || {
            std::thread::sleep(LINGER);
            moments.end(|other, _| other == number);
        };
        if let Err(error) = super::spawn("vip-linger", end) {
            tracing::debug!("no address lingers: {error}");
            self.0.end(|other, _| other == number);
        }
    }

    /// Before these addresses are added: what lingers with one of them ends,
    /// since nobody would hear its announcement.
    pub fn end(&self, orders: &[&AddressOrder]) {
        let wanted = |address: &IpAddr| orders.iter().any(|one| one.network.addr() == *address);
        self.0.end(|_, moment| moment.placed.iter().any(wanted));
    }

    /// Until nothing lingers any more, or a second has passed.
    pub fn wait(&self) {
        let waiting = self
            .0
            .ended
            .wait_timeout_while(self.0.standing(), LINGER * 4, |standing| {
                !standing.moments.is_empty() || standing.ending > 0
            });
        drop(waiting);
    }
}

impl Moments {
    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The kernel takes milliseconds for each: nobody else waits for that.
    fn end(&self, which: impl Fn(u64, &Moment) -> bool) {
        let mut standing = self.standing();
        let ended: Vec<(u64, Moment)> = standing
            .moments
            .extract_if(.., |number, moment| which(*number, moment))
            .collect();
        standing.ending += ended.len();
        drop(standing);
        for moment in ended {
            drop(moment);
            self.standing().ending -= 1;
        }
        self.ended.notify_all();
    }
}

/// Ends what lingers when it is dropped.
struct Moment {
    placed: Vec<IpAddr>,
    /// The kernel removes the table when this is closed.
    silence: Option<RouteSocket>,
}

impl Drop for Moment {
    fn drop(&mut self) {
        if let Ok(mut socket) = RouteSocket::open() {
            for address in &self.placed {
                take_away(&mut socket, *address);
            }
        }
        self.silence = None;
    }
}

fn moment(orders: &[&AddressOrder]) -> Option<Moment> {
    let addresses = orders.iter().map(|order| order.network.addr());
    let ipv4: Vec<Ipv4Addr> = addresses
        .filter_map(|address| match address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        })
        .collect();
    let silence = silence(&ipv4);
    let mut socket = RouteSocket::open().ok()?;
    let placed = orders
        .iter()
        .map(|order| order.network.addr())
        .filter(|address| address.is_ipv6() || silence.is_some())
        .filter(|address| place(&mut socket, *address))
        .collect();
    Some(Moment { placed, silence })
}

/// No ARP in the name of these addresses until the socket is closed, by
/// whatever death. None where the kernel cannot promise that (before 5.12, or
/// without nf_tables): then they do not linger.
fn silence(addresses: &[Ipv4Addr]) -> Option<RouteSocket> {
    if addresses.is_empty() {
        return None;
    }
    let silent = || {
        let mut socket = RouteSocket::open_netfilter()?;
        let table = format!("vipward-linger-{}", socket.port()?);
        transact(&mut socket, |batch| {
            batch.add_table(&table, true);
            batch.hush(&table, addresses);
        })?;
        Ok::<_, RouteError>(socket)
    };
    silent()
        .inspect_err(|error| tracing::debug!("IPv4 addresses do not linger: {error}"))
        .ok()
}

/// Takes packets for the address by the loopback interface, for two seconds
/// at most.
fn place(socket: &mut RouteSocket, address: IpAddr) -> bool {
    let Ok(index) = if_nametoindex(LOOPBACK) else {
        return false;
    };
    let (request, flags) = match address {
        IpAddr::V4(_) => {
            let (request, flags) = renewal(&there(address), index);
            (request, flags | NLM_F_CREATE)
        }
        IpAddr::V6(address) => {
            let request = RouteNetlinkMessage::NewRoute(route(address, index));
            (request, NLM_F_CREATE | NLM_F_REPLACE)
        }
    };
    let placed = socket.order(request, flags, Instant::now() + PATIENCE);
    if let Err(error) = &placed {
        tracing::debug!("{address} does not linger: {error}");
    }
    placed.is_ok()
}

fn take_away(socket: &mut RouteSocket, address: IpAddr) {
    // Gone by itself, perhaps.
    let _ = remove(socket, address);
}

/// The IPv6 addresses whose route the kernel has not yet swept away: it stops
/// obeying an expired one at once, and may show it for minutes.
pub(super) fn left(socket: &mut RouteSocket) -> Result<Vec<Ipv6Addr>, RouteError> {
    let mut question = RouteMessage::default();
    question.header.address_family = AddressFamily::Inet6;
    question.header.protocol = RouteProtocol::Other(LINGER_PROTOCOL);
    question.header.table = TABLE_LOCAL;
    let question = RouteNetlinkMessage::GetRoute(question);
    let mut found = Vec::new();
    routing_read::dump(socket, question, &mut |kind, payload| {
        if kind == libc::RTM_NEWROUTE {
            found.extend(parse(payload));
        }
    })?;
    Ok(found)
}

/// Kernels before 4.20 show the routes of others too.
fn parse(payload: &[u8]) -> Option<Ipv6Addr> {
    let header = RouteHeader::parse(payload).ok()?;
    if header.protocol != RouteProtocol::Other(LINGER_PROTOCOL) || header.table != TABLE_LOCAL {
        return None;
    }
    let message = RouteMessage::parse(payload).ok()?;
    message
        .attributes
        .into_iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::Destination(RouteAddress::Inet6(address)) => Some(address),
            _ => None,
        })
}

/// Takes packets for the address no longer.
pub(super) fn remove(socket: &mut RouteSocket, address: IpAddr) -> Result<(), RouteError> {
    let index = if_nametoindex(LOOPBACK).map_err(io::Error::from)?;
    let (request, flags) = match address {
        IpAddr::V4(_) => removal(&there(address), index),
        IpAddr::V6(address) => {
            let request = RouteNetlinkMessage::DelRoute(route(address, index));
            (request, 0)
        }
    };
    socket.order(request, flags, Instant::now() + PATIENCE)
}

/// A route of the host to itself: unlike that of an address it is there at
/// once, and no question about the address is answered for it.
fn route(address: Ipv6Addr, index: u32) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: AddressFamily::Inet6,
        destination_prefix_length: 128,
        table: TABLE_LOCAL,
        protocol: RouteProtocol::Other(LINGER_PROTOCOL),
        kind: RouteType::Local,
        ..RouteHeader::default()
    };
    message.attributes = vec![
        RouteAttribute::Destination(RouteAddress::Inet6(address)),
        RouteAttribute::Oif(index),
        RouteAttribute::Expires(Lease::SHORTEST.seconds()),
    ];
    message
}

/// On the loopback interface.
fn there(address: IpAddr) -> AddressOrder {
    AddressOrder {
        instance: InstanceId(0),
        address: AddressIndex(0),
        interface: LOOPBACK.parse().unwrap_or_else(|_| unreachable!("a name")),
        network: IpNet::from(address),
        no_prefix_route: true,
        promote_secondaries: false,
        label: None,
        source_address: false,
        lease: Some(Lease::SHORTEST),
        lingers: false,
    }
}
