//! The socket by which a host is asked for an echo: one for users without
//! rights where this host allows it, otherwise a raw one.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

use super::socket::{Opening, SocketError};
use crate::agent::values::{Family, InterfaceName};

/// A datagram socket that hears `target` alone, by `interface` alone where one
/// is given. What it sends and hears begins with the ICMP header; a raw one
/// hears the IPv4 header before it.
///
/// # Errors
///
/// Without CAP_NET_RAW and outside `net.ipv4.ping_group_range`; no route to the
/// target; no such interface.
pub fn open(target: IpAddr, interface: Option<InterfaceName>) -> Result<UdpSocket, SocketError> {
    let opening = Opening {
        interface,
        purpose: "ask for an echo",
    };
    let (domain, protocol) = match Family::of(target) {
        Family::Ipv4 => (Domain::IPV4, Protocol::ICMPV4),
        Family::Ipv6 => (Domain::IPV6, Protocol::ICMPV6),
    };
    let kinds = [Type::DGRAM, Type::RAW];
    let [unprivileged, raw] =
        kinds.map(|kind| move || Socket::new(domain, kind.nonblocking(), Some(protocol)));
    let socket = unprivileged().or_else(|_: io::Error| raw());
    let socket = opening.step("open an ICMP socket", socket)?;
    if let Some(interface) = interface {
        let bound = socket.bind_device(Some(interface.as_str().as_bytes()));
        opening.step("bind to the interface", bound)?;
    }
    let connected = socket.connect(&SocketAddr::new(target, 0).into());
    opening.step("find the way to the target", connected)?;
    Ok(socket.into())
}
