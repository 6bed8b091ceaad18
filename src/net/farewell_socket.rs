//! Sends advertisements on any interface and hears nothing: for whoever
//! speaks in a dead agent's place, and for those that leave by an interface
//! with a virtual hardware address.

use std::io;
use std::net::IpAddr;

use nix::net::if_::if_nametoindex;
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use super::advert_socket::{send, set_up_ipv4, set_up_ipv6};
use super::socket::{Opening, SocketError, set_option};
use crate::agent::values::{Family, InterfaceName};
use crate::wire::advertisement::PROTOCOL;

/// TC_PRIO_CONTROL; the lower one needs no right.
const QUEUE_PRIORITIES: [u32; 2] = [7, 6];

/// One socket for each family, made before it is needed.
#[derive(Debug)]
pub struct FarewellSocket {
    ipv4: Result<Socket, SocketError>,
    ipv6: Result<Socket, SocketError>,
}

impl FarewellSocket {
    /// In the network namespace of the calling thread. A family of which no
    /// socket could be had says so when it is to be sent.
    pub fn open() -> Self {
        Self {
            ipv4: open(Family::Ipv4),
            ipv6: open(Family::Ipv6),
        }
    }

    /// Hands one message to the kernel. `source` must be an address of this
    /// host. Never blocks; after an error nothing was sent.
    pub fn send(
        &self,
        interface: InterfaceName,
        message: &[u8],
        source: IpAddr,
        destination: IpAddr,
    ) -> io::Result<()> {
        let family = Family::of(source);
        let socket = match family {
            Family::Ipv4 => &self.ipv4,
            Family::Ipv6 => &self.ipv6,
        };
        let socket = socket
            .as_ref()
            .map_err(|error| io::Error::new(error.io_error().kind(), error.to_string()))?;
        let index = if_nametoindex(interface.as_str())?;
        send(socket, family, index, message, source, destination)
    }
}

fn open(family: Family) -> Result<Socket, SocketError> {
    let (domain, purpose) = match family {
        Family::Ipv4 => (Domain::IPV4, "send VRRP over IPv4"),
        Family::Ipv6 => (Domain::IPV6, "send VRRP over IPv6"),
    };
    let opening = Opening {
        interface: None,
        purpose,
    };
    let protocol = Protocol::from(i32::from(PROTOCOL));
    let socket = Socket::new(domain, Type::RAW.nonblocking(), Some(protocol));
    let socket = opening.step("open a raw socket of protocol 112", socket)?;
    // BPF_RET, 0 bytes: every arrival is dropped before it takes memory.
    let nothing = [SockFilter::new(0x06, 0, 0, 0)];
    opening.step("hear nothing", socket.attach_filter(&nothing))?;
    match family {
        Family::Ipv4 => set_up_ipv4(&opening, &socket)?,
        Family::Ipv6 => {
            set_up_ipv6(&opening, &socket)?;
            // A link-local source may be that of the interface below.
            let freed = set_option(&socket, libc::IPPROTO_IPV6, libc::IPV6_FREEBIND, &1_i32);
            opening.step("send from another interface's address", freed)?;
        }
    }
    let mut priorities = QUEUE_PRIORITIES.into_iter();
    // After the TOS, which sets a priority of its own; without one it is
    // sent all the same.
    let _ = priorities.any(|priority| socket.set_priority(priority).is_ok());
    Ok(socket)
}
