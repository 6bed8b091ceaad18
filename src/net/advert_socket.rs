//! The raw socket that carries the advertisements of one interface and
//! family, for all instances on it.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn6, recvmsg, setsockopt, sockopt};
use socket2::{Domain, InterfaceIndexOrAddress, MsgHdr, Protocol, SockAddr, Socket, Type};

use super::datagrams::Datagrams;
use super::socket::{
    Opening, SocketError, bind_to_index, discard_early_arrivals, invalid, is_nothing, read_packet,
    signed_index,
};
use crate::agent::event::{Heard, Malformed};
use crate::agent::ladder::{GROUP_IPV4, GROUP_IPV6};
use crate::agent::values::{Family, InterfaceName};
use crate::wire::advertisement::{HOP_LIMIT, PROTOCOL, decode_ipv4, decode_ipv6};

/// Internetwork control, as TOS or traffic class.
const TRAFFIC_CLASS: u32 = 0xc0;
/// TC_PRIO_CONTROL: ahead of everything in the interface's queue. It needs
/// CAP_NET_ADMIN; the next lower value needs nothing.
const QUEUE_PRIORITY: u32 = 7;
const QUEUE_PRIORITY_UNPRIVILEGED: u32 = 6;
/// Room for some 1,000 advertisements while this process does not run.
const RECEIVE_BUFFER: usize = 1 << 20;

#[derive(Debug)]
pub struct AdvertSocket {
    socket: Socket,
    interface: InterfaceName,
    index: u32,
    family: Family,
}

impl AdvertSocket {
    /// Opens the socket for the interface that has `index` now, under
    /// whatever name. With `multicast` it is a member of the group as long as
    /// it and the interface live; without, it hears unicast only (over IPv6
    /// also multicast, where another process made the host a member).
    pub fn open(
        interface: InterfaceName,
        index: u32,
        family: Family,
        multicast: bool,
    ) -> Result<Self, SocketError> {
        let (domain, purpose) = match family {
            Family::Ipv4 => (Domain::IPV4, "send and hear VRRP over IPv4"),
            Family::Ipv6 => (Domain::IPV6, "send and hear VRRP over IPv6"),
        };
        let opening = Opening {
            interface: Some(interface),
            purpose,
        };
        let protocol = Protocol::from(i32::from(PROTOCOL));
        let socket = Socket::new(domain, Type::RAW.nonblocking(), Some(protocol));
        let socket = opening.step("open a raw socket of protocol 112", socket)?;
        opening.step("bind to the interface", bind_to_index(&socket, index))?;
        match family {
            Family::Ipv4 => set_up_ipv4(&opening, &socket)?,
            Family::Ipv6 => set_up_ipv6(&opening, &socket)?,
        }
        // After the TOS, which sets a priority of its own.
        let priority = socket
            .set_priority(QUEUE_PRIORITY)
            .or_else(|_| socket.set_priority(QUEUE_PRIORITY_UNPRIVILEGED));
        opening.step("set the queue priority", priority)?;
        // Without CAP_NET_ADMIN the system's limit applies, silently.
        let buffer = setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER)
            .or_else(|_| socket.set_recv_buffer_size(RECEIVE_BUFFER));
        opening.step("set the receive buffer", buffer)?;
        if multicast {
            let joined = match family {
                Family::Ipv4 => {
                    socket.join_multicast_v4_n(&GROUP_IPV4, &InterfaceIndexOrAddress::Index(index))
                }
                Family::Ipv6 => socket.join_multicast_v6(&GROUP_IPV6, index),
            };
            opening.step("join the VRRP multicast group", joined)?;
        }
        discard_early_arrivals(&socket);
        Ok(Self {
            socket,
            interface,
            index,
            family,
        })
    }

    pub fn serves(&self, interface: InterfaceName, family: Family) -> bool {
        (self.interface, self.family) == (interface, family)
    }

    /// The next packet of protocol 112, sound or not; `None` when none waits.
    /// One that did not fit in `buffer` comes out as malformed.
    pub fn recv<'b>(&self, buffer: &'b mut [u8]) -> io::Result<Option<Heard<'b>>> {
        match self.family {
            Family::Ipv4 => {
                let datagram = read_packet(&self.socket, buffer)?;
                Ok(datagram.map(|datagram| decode_ipv4(self.interface, datagram)))
            }
            Family::Ipv6 => self.recv_ipv6(buffer),
        }
    }

    /// As many as wait and fit, of an IPv4 socket; each begins with its header.
    pub fn recv_many(&self, datagrams: &mut Datagrams) -> io::Result<()> {
        datagrams.receive(&self.socket)
    }

    fn recv_ipv6<'b>(&self, buffer: &'b mut [u8]) -> io::Result<Option<Heard<'b>>> {
        let mut control = ControlBuffer([0; 128]);
        let mut parts = [IoSliceMut::new(buffer)];
        let received = recvmsg::<SockaddrIn6>(
            self.socket.as_raw_fd(),
            &mut parts,
            Some(&mut control.0),
            MsgFlags::empty(),
        );
        let received = match received.map_err(io::Error::from) {
            Ok(received) => received,
            Err(error) if is_nothing(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        // What the kernel does not tell stays at a value that no rung of the
        // ladder accepts.
        let mut destination = Ipv6Addr::UNSPECIFIED;
        let mut hop_limit = 0;
        for message in received.cmsgs().into_iter().flatten() {
            if let ControlMessageOwned::Ipv6PacketInfo(info) = message {
                destination = Ipv6Addr::from(info.ipi6_addr.s6_addr);
            } else if let ControlMessageOwned::Ipv6HopLimit(limit) = message {
                hop_limit = u8::try_from(limit).unwrap_or(0);
            }
        }
        let source = received
            .address
            .map_or(Ipv6Addr::UNSPECIFIED, |address| address.ip());
        let truncated = received.flags.contains(MsgFlags::MSG_TRUNC);
        let length = received.bytes;
        let payload = buffer.get(..length).unwrap_or_default();
        let mut heard = decode_ipv6(self.interface, source, destination, hop_limit, payload);
        if truncated {
            heard.message = Err(Malformed::Length);
        }
        Ok(Some(heard))
    }

    /// Hands one message to the kernel, which adds the IP header. `source`
    /// must be an address of this host. Never blocks: a full queue is
    /// `WouldBlock`, and the message is not sent.
    pub fn send(&self, message: &[u8], source: IpAddr, destination: IpAddr) -> io::Result<()> {
        let (family, index) = (self.family, self.index);
        send(&self.socket, family, index, message, source, destination)
    }
}

/// By any socket of protocol 112 and `family`, through the interface with
/// `index`. As [`AdvertSocket::send`].
pub(super) fn send(
    socket: &Socket,
    family: Family,
    index: u32,
    message: &[u8],
    source: IpAddr,
    destination: IpAddr,
) -> io::Result<()> {
    let control = match (family, source, destination) {
        (Family::Ipv4, IpAddr::V4(source), IpAddr::V4(_)) => {
            // struct in_pktinfo: index, source, and a field for receivers.
            let mut info = [0; 12];
            let index = signed_index(index)?.to_ne_bytes();
            fill(&mut info, index.into_iter().chain(source.octets()));
            ControlMessage::new(libc::IPPROTO_IP, libc::IP_PKTINFO, &info)
        }
        (Family::Ipv6, IpAddr::V6(source), IpAddr::V6(_)) => {
            // struct in6_pktinfo: source, index.
            let mut info = [0; 20];
            let index = index.to_ne_bytes();
            fill(&mut info, source.octets().into_iter().chain(index));
            ControlMessage::new(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info)
        }
        _ => return Err(invalid("an address that is not of the socket's family")),
    };
    // Link-local addresses need no scope: the index says which link.
    let destination = SockAddr::from(SocketAddr::new(destination, 0));
    let parts = [IoSlice::new(message)];
    let header = MsgHdr::new()
        .with_addr(&destination)
        .with_buffers(&parts)
        .with_control(control.bytes());
    // A datagram goes as a whole or not at all.
    socket.sendmsg(&header, libc::MSG_DONTWAIT).map(drop)
}

impl AsFd for AdvertSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

pub(super) fn set_up_ipv4(opening: &Opening, socket: &Socket) -> Result<(), SocketError> {
    let hops = u32::from(HOP_LIMIT);
    opening.step("set the TTL", socket.set_ttl_v4(hops))?;
    opening.step("set the multicast TTL", socket.set_multicast_ttl_v4(hops))?;
    opening.step("set the TOS", socket.set_tos_v4(TRAFFIC_CLASS))?;
    let looped = socket.set_multicast_loop_v4(false);
    opening.step("turn multicast loop off", looped)?;
    // Otherwise a group that any process joined is heard here too.
    let all = socket.set_multicast_all_v4(false);
    opening.step("refuse the groups of others", all)
}

pub(super) fn set_up_ipv6(opening: &Opening, socket: &Socket) -> Result<(), SocketError> {
    let hops = u32::from(HOP_LIMIT);
    opening.step("set the hop limit", socket.set_unicast_hops_v6(hops))?;
    let multicast = socket.set_multicast_hops_v6(hops);
    opening.step("set the multicast hop limit", multicast)?;
    let class = socket.set_tclass_v6(TRAFFIC_CLASS);
    opening.step("set the traffic class", class)?;
    // IPV6_MULTICAST_ALL would change nothing: raw sockets do not ask it.
    let looped = socket.set_multicast_loop_v6(false);
    opening.step("turn multicast loop off", looped)?;
    let hop_limit = socket.set_recv_hoplimit_v6(true);
    opening.step("ask for the hop limit of arrivals", hop_limit)?;
    let info = setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true);
    opening.step("ask for the destination of arrivals", info)
}

/// Where recvmsg(2) puts control messages, aligned as their headers are.
#[repr(align(8))]
struct ControlBuffer([u8; 128]);

/// One control message to send, as cmsg(3) lays it out: its length, level and
/// type, then the data, which begins aligned because the header ends so.
struct ControlMessage {
    bytes: [u8; 40],
    length: usize,
}

impl ControlMessage {
    /// `data` has at most 24 bytes.
    fn new(level: i32, kind: i32, data: &[u8]) -> Self {
        let length = size_of::<usize>() + size_of::<i32>() * 2 + data.len();
        let mut bytes = [0; 40];
        let header = length.to_ne_bytes().into_iter();
        let header = header.chain(level.to_ne_bytes()).chain(kind.to_ne_bytes());
        fill(&mut bytes, header.chain(data.iter().copied()));
        Self { bytes, length }
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

fn fill(buffer: &mut [u8], bytes: impl Iterator<Item = u8>) {
    for (slot, byte) in buffer.iter_mut().zip(bytes) {
        *slot = byte;
    }
}
