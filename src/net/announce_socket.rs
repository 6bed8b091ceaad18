//! The packet socket through which gratuitous ARP and neighbour
//! advertisements leave, on any interface.

use std::io;

use socket2::{Domain, Socket, Type};

use super::socket::{Opening, SocketError, invalid, link_address};

/// Hears nothing: its protocol is 0.
#[derive(Debug)]
pub struct AnnounceSocket {
    socket: Socket,
}

impl AnnounceSocket {
    pub fn open() -> Result<Self, SocketError> {
        let opening = Opening {
            interface: None,
            purpose: "announce addresses",
        };
        let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking(), None);
        let socket = opening.step("open a packet socket", socket)?;
        Ok(Self { socket })
    }

    /// Sends a whole Ethernet frame through the interface with this index.
    /// Never blocks: a full queue is `WouldBlock` or ENOBUFS, an interface
    /// that is down `NetworkDown`; the frame is then not sent.
    pub fn send(&self, index: u32, frame: &[u8]) -> io::Result<()> {
        let ethertype = frame
            .get(12..)
            .and_then(|rest| rest.first_chunk::<2>())
            .ok_or_else(|| invalid("a frame shorter than its Ethernet header"))?;
        let address = link_address(index, *ethertype)?;
        let flags = libc::MSG_DONTWAIT;
        // A frame goes as a whole or not at all.
        self.socket
            .send_to_with_flags(frame, &address, flags)
            .map(drop)
    }
}
