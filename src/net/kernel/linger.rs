//! Addresses that another host has taken over by agreement: for a moment this
//! host goes on taking packets for them, without answering who has them.
//!
//! As long as both hosts answer, a client may learn either. So the old one has
//! to stop answering before it stops taking packets: what a client sends by
//! what it had learnt is still served, until the new host's announcements have
//! reached it. An IPv4 address moves to the loopback interface, with a
//! lifetime of its own, and the kernel answers for none of another interface
//! with `arp_ignore` 1; for IPv6 a route of the host to itself does, which
//! expires likewise.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use netlink_packet_core::{DefaultNla, NLM_F_ACK, NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::link::{AfSpecInet, AfSpecUnspec, LinkAttribute, LinkMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::net::if_::if_nametoindex;

use super::request::{read_setting, removal, renewal, setting_path};
use super::socket::RouteSocket;
use crate::agent::action::AddressOrder;
use crate::agent::values::{AddressIndex, InstanceId, InterfaceName, Lease};

/// The successor announces again within a few milliseconds of the release.
const LINGER: Duration = Duration::from_millis(250);
const PATIENCE: Duration = Duration::from_secs(2);
const LOOPBACK: &str = "lo";
/// Of the addresses that are the host's (linux/rtnetlink.h).
const TABLE_LOCAL: u8 = 255;
/// Of routes that end by themselves: nobody has to know them again.
const LINGER_PROTOCOL: u8 = 0x77;
const KEY: &str = "arp_ignore";
/// Of IFLA_AF_SPEC's AF_INET part, and of the setting in it (linux/ip.h).
const IFLA_INET_CONF: u16 = 1;
const IPV4_DEVCONF_ARP_IGNORE: u16 = 19;
const NLA_F_NESTED: u16 = 0x8000;

/// What lingers now. Shared with the threads that end it.
#[derive(Clone, Debug, Default)]
pub(super) struct Lingering(Arc<(Mutex<State>, Condvar)>);

#[derive(Debug, Default)]
struct State {
    /// Moments that have not ended.
    moments: usize,
    /// Interfaces that do not answer for others' addresses on our account,
    /// by how many moments want that.
    quiet: BTreeMap<InterfaceName, usize>,
}

impl Lingering {
    /// Before these addresses are removed. What does not linger is removed
    /// as always.
    pub fn begin(&self, orders: &[&AddressOrder]) {
        let mut interfaces: Vec<InterfaceName> = orders
            .iter()
            .filter(|order| order.network.addr().is_ipv4())
            .map(|order| order.interface)
            .collect();
        interfaces.sort_unstable();
        interfaces.dedup();
        let Ok(mut socket) = RouteSocket::open() else {
            return;
        };
        interfaces.retain(|interface| self.keep_quiet(&mut socket, *interface));
        let mut moved = Vec::new();
        for order in orders {
            let quiet = order.network.addr().is_ipv6() || interfaces.contains(&order.interface);
            if quiet && place(&mut socket, order) {
                moved.push(order.network.addr());
            }
        }
        if moved.is_empty() && interfaces.is_empty() {
            return;
        }
        self.lock().moments += 1;
        let own = self.clone();
        let end = move || {
            std::thread::sleep(LINGER);
            own.end(&moved, &interfaces);
        };
        if super::spawn("vip-linger", end).is_err() {
            // The addresses end by themselves; the setting stays as it is.
            self.lock().moments -= 1;
        }
    }

    /// Whether IPv4 answers on this interface for its own addresses alone.
    fn keep_quiet(&self, socket: &mut RouteSocket, interface: InterfaceName) -> bool {
        let mut state = self.lock();
        if let Some(users) = state.quiet.get_mut(&interface) {
            *users += 1;
            return true;
        }
        let strict = |name: &str| {
            let value = read_setting("ipv4", name, KEY);
            value.is_some_and(|value| value != "0")
        };
        if strict("all") || strict(interface.as_str()) {
            return true;
        }
        let set = set_arp_ignore(socket, interface, 1);
        if set {
            state.quiet.insert(interface, 1);
        }
        set
    }

    fn end(&self, moved: &[IpAddr], interfaces: &[InterfaceName]) {
        if let Ok(mut socket) = RouteSocket::open() {
            for address in moved {
                take_away(&mut socket, *address);
            }
            let mut state = self.lock();
            for interface in interfaces {
                let Some(users) = state.quiet.get_mut(interface) else {
                    continue;
                };
                *users -= 1;
                if *users == 0 {
                    state.quiet.remove(interface);
                    set_arp_ignore(&mut socket, *interface, 0);
                }
            }
        }
        self.lock().moments -= 1;
        self.0.1.notify_all();
    }

    /// Until nothing lingers any more, or a second has passed.
    pub fn wait(&self) {
        let deadline = Instant::now() + LINGER * 4;
        let mut state = self.lock();
        while state.moments > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.0.1.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes packets for the address by the loopback interface, for two seconds
/// at most.
fn place(socket: &mut RouteSocket, order: &AddressOrder) -> bool {
    let Ok(index) = if_nametoindex(LOOPBACK) else {
        return false;
    };
    let (request, flags) = match order.network.addr() {
        IpAddr::V4(_) => {
            let there = AddressOrder {
                lease: Some(Lease::SHORTEST),
                label: None,
                ..there(order.network.addr())
            };
            let (request, flags) = renewal(&there, index);
            (request, flags | NLM_F_CREATE)
        }
        IpAddr::V6(address) => {
            let request = RouteNetlinkMessage::NewRoute(route(address, index));
            (request, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE)
        }
    };
    let placed = socket.order(request, flags, Instant::now() + PATIENCE);
    if let Err(error) = &placed {
        tracing::debug!("{} does not linger: {error}", order.network.addr());
    }
    placed.is_ok()
}

fn take_away(socket: &mut RouteSocket, address: IpAddr) {
    let Ok(index) = if_nametoindex(LOOPBACK) else {
        return;
    };
    let (request, flags) = match address {
        IpAddr::V4(_) => removal(&there(address), index),
        IpAddr::V6(address) => {
            let request = RouteNetlinkMessage::DelRoute(route(address, index));
            (request, NLM_F_ACK)
        }
    };
    // Gone by itself, perhaps.
    let _ = socket.order(request, flags, Instant::now() + PATIENCE);
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
        lease: None,
        lingers: false,
    }
}

/// By netlink, which a sandbox with a read-only /proc/sys allows too.
fn set_arp_ignore(socket: &mut RouteSocket, interface: InterfaceName, value: u32) -> bool {
    let Ok(index) = if_nametoindex(interface.as_str()) else {
        return false;
    };
    let mut setting = Vec::with_capacity(8);
    setting.extend(8_u16.to_ne_bytes());
    setting.extend(IPV4_DEVCONF_ARP_IGNORE.to_ne_bytes());
    setting.extend(value.to_ne_bytes());
    let configuration = DefaultNla::new(IFLA_INET_CONF | NLA_F_NESTED, setting);
    let ipv4 = AfSpecUnspec::Inet(vec![AfSpecInet::Other(configuration)]);
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes = vec![LinkAttribute::AfSpecUnspec(vec![ipv4])];
    let request = RouteNetlinkMessage::SetLink(message);
    let deadline = Instant::now() + PATIENCE;
    if socket.order(request, NLM_F_ACK, deadline).is_ok() {
        return true;
    }
    let path = setting_path("ipv4", interface.as_str(), KEY);
    fs::write(&path, value.to_string()).is_ok()
}
