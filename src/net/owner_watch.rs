//! Hears the advertisements of an address owner while this host stands in for
//! it. They come from the very address that this host holds meanwhile, and the
//! kernel drops what claims to come from one of its own before any raw socket
//! sees it. Over IPv6 they come from a link-local address, and are not dropped.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use socket2::{Domain, SockFilter, Socket, Type};

use super::filter::{
    DROP, EQUALS, LOAD_BYTE, LOAD_BYTE_BEHIND_X, LOAD_DIRECTION, PASS, SKIP_UNLESS_OURS_OR_OTHERS,
    load, skip_if,
};
use super::socket::{Opening, SocketError, link_address, read_packet};
use crate::agent::event::Heard;
use crate::agent::values::InterfaceName;
use crate::wire::advertisement::decode_ipv4;

const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];

#[derive(Debug)]
pub struct OwnerWatch {
    socket: Socket,
    interface: InterfaceName,
}

impl OwnerWatch {
    /// On the interface that has `index` now.
    pub fn open(interface: InterfaceName, index: u32) -> Result<Self, SocketError> {
        let opening = Opening {
            interface: Some(interface),
            purpose: "hear the owner of an address that is held here",
        };
        // Deaf until it is bound, by which time the filter is in place.
        let socket = Socket::new(Domain::PACKET, Type::DGRAM.nonblocking(), None);
        let socket = opening.step("open a packet socket", socket)?;
        let filter = socket.attach_filter(&owners());
        opening.step("attach the filter", filter)?;
        let bound = link_address(index, ETHERTYPE_IPV4).and_then(|address| socket.bind(&address));
        opening.step("bind to the interface", bound)?;
        Ok(Self { socket, interface })
    }

    /// The next advertisement with priority 255, whoever sent it: those from
    /// an address that is not held here come by the raw socket as well.
    pub fn recv<'b>(&self, buffer: &'b mut [u8]) -> io::Result<Option<Heard<'b>>> {
        let datagram = read_packet(&self.socket, buffer)?;
        Ok(datagram.map(|datagram| decode_ipv4(self.interface, datagram)))
    }
}

impl AsFd for OwnerWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// X becomes the length of the IPv4 header at this offset.
const HEADER_LENGTH_TO_X: SockFilter = SockFilter::new(0xb1, 0, 0, 0);
const VRRP: u32 = 112;
/// In the VRRP header.
const PRIORITY_AT: u32 = 2;

/// Begins with the IPv4 header: priority 255 in a packet of protocol 112.
fn owners() -> [SockFilter; 11] {
    [
        LOAD_DIRECTION,
        SKIP_UNLESS_OURS_OR_OTHERS,
        DROP,
        load(LOAD_BYTE, 9),
        skip_if(EQUALS, VRRP),
        DROP,
        HEADER_LENGTH_TO_X,
        load(LOAD_BYTE_BEHIND_X, PRIORITY_AT),
        skip_if(EQUALS, 255),
        DROP,
        PASS,
    ]
}
