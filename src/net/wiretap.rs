//! Sees the advertisements of an interface as they cross the wire: what comes
//! in before any firewall of this host has judged it, and what goes out after
//! all of them have. For the examination of a host; the election never hears
//! by it.

use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use libc::{SKF_AD_OFF, SKF_AD_PROTOCOL, SKF_AD_VLAN_TAG_PRESENT};
use nix::sys::socket::{LinkAddr, recvfrom};
use socket2::{Domain, SockFilter, Socket, Type};

use super::filter::{DROP, EQUALS, LOAD_BYTE, LOAD_WORD, PASS, load};
use super::socket::{Opening, SocketError, is_nothing, link_address};
use crate::agent::event::Heard;
use crate::agent::values::InterfaceName;
use crate::wire::advertisement::{PROTOCOL, decode_ipv4, decode_ipv6};

/// Every type: only then the kernel shows what leaves, too.
const ETHERTYPE_ALL: [u8; 2] = [0x00, 0x03];
const IPV4: u32 = 0x0800;
const IPV6: u32 = 0x86dd;
const IPV6_HEADER_BYTES: usize = 40;

#[derive(Debug)]
pub struct Wiretap {
    socket: Socket,
    interface: InterfaceName,
}

/// A packet of protocol 112, sound or not.
#[derive(Debug)]
pub struct Tapped<'b> {
    /// This host sent it.
    pub outgoing: bool,
    pub heard: Heard<'b>,
}

impl Wiretap {
    /// On the interface that has `index` now.
    pub fn open(interface: InterfaceName, index: u32) -> Result<Self, SocketError> {
        let opening = Opening {
            interface: Some(interface),
            purpose: "see the advertisements on the wire",
        };
        // Deaf until it is bound, by which time the filter is in place.
        let socket = Socket::new(Domain::PACKET, Type::DGRAM.nonblocking(), None);
        let socket = opening.step("open a packet socket", socket)?;
        let filter = socket.attach_filter(&advertisements());
        opening.step("attach the filter", filter)?;
        let bound = link_address(index, ETHERTYPE_ALL).and_then(|address| socket.bind(&address));
        opening.step("bind to the interface", bound)?;
        Ok(Self { socket, interface })
    }

    /// The next packet; `None` when none waits.
    pub fn recv<'b>(&self, buffer: &'b mut [u8]) -> io::Result<Option<Tapped<'b>>> {
        let received = recvfrom::<LinkAddr>(self.socket.as_raw_fd(), buffer);
        let (length, from) = match received.map_err(io::Error::from) {
            Ok(received) => received,
            Err(error) if is_nothing(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let packet = buffer.get(..length).unwrap_or_default();
        let outgoing = from.is_some_and(|from| from.pkttype() == libc::PACKET_OUTGOING);
        let heard = match packet.first().map(|first| first >> 4) {
            Some(6) => ipv6(self.interface, packet),
            _ => Some(decode_ipv4(self.interface, packet)),
        };
        Ok(heard.map(|heard| Tapped { outgoing, heard }))
    }
}

impl AsFd for Wiretap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// RFC 8200 section 3. Extension headers were not let through.
fn ipv6(interface: InterfaceName, packet: &[u8]) -> Option<Heard<'_>> {
    let (header, rest) = packet.split_at_checked(IPV6_HEADER_BYTES)?;
    let length = header.get(4..6)?.try_into().ok().map(u16::from_be_bytes)?;
    let payload = rest.get(..usize::from(length))?;
    let address = |from: usize| {
        let bytes: [u8; 16] = header.get(from..from + 16)?.try_into().ok()?;
        Some(Ipv6Addr::from(bytes))
    };
    let (source, destination) = (address(8)?, address(24)?);
    let hop_limit = *header.get(7)?;
    let heard = decode_ipv6(interface, source, destination, hop_limit, payload);
    (heard.source != IpAddr::V6(Ipv6Addr::UNSPECIFIED)).then_some(heard)
}

/// `skip` instructions are left out when the condition holds.
const fn skip(condition: u16, value: u32, skip: u8) -> SockFilter {
    SockFilter::new(condition, skip, 0, value)
}

const fn ancillary(offset: i32) -> SockFilter {
    load(LOAD_WORD, (SKF_AD_OFF + offset).cast_unsigned())
}

/// Begins with the IP header: protocol 112 of either family, without a VLAN's
/// tag, which belongs to another interface.
fn advertisements() -> [SockFilter; 14] {
    let vrrp = u32::from(PROTOCOL);
    [
        ancillary(SKF_AD_VLAN_TAG_PRESENT),
        skip(EQUALS, 0, 1),
        DROP,
        ancillary(SKF_AD_PROTOCOL),
        skip(EQUALS, IPV4, 2),
        skip(EQUALS, IPV6, 4),
        DROP,
        // IPv4
        load(LOAD_BYTE, 9),
        skip(EQUALS, vrrp, 4),
        DROP,
        // IPv6
        load(LOAD_BYTE, 6),
        skip(EQUALS, vrrp, 1),
        DROP,
        PASS,
    ]
}
