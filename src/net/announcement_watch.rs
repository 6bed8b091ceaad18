//! Hears who else claims an address: gratuitous ARP, answers to ARP questions
//! of this host, neighbour advertisements. The kernel drops everything else before this
//! process is woken.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use libc::SKF_NET_OFF;
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use super::filter::{
    DROP, EQUALS, EQUALS_X, LOAD_BYTE, LOAD_DIRECTION, LOAD_HALF, LOAD_WORD, MOVE_FROM_X, PASS,
    SKIP_UNLESS_OURS_OR_OTHERS, TO_X, load, skip_if, skip_unless,
};
use super::socket::{
    Opening, SocketError, bind_to_index, discard_early_arrivals, link_address, read_packet,
    set_option,
};
use crate::agent::event::Claim;
use crate::agent::values::{Family, InterfaceName};
use crate::wire::announcement::{parse_arp_claim, parse_neighbour_claim};

const ETHERTYPE_ARP: [u8; 2] = [0x08, 0x06];
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
/// Packets looked at in one call; the rest waits for the next.
const PACKETS_MAX: usize = 64;

#[derive(Debug)]
pub struct AnnouncementWatch {
    socket: Socket,
    family: Family,
}

impl AnnouncementWatch {
    /// Opens the watch on the interface that has `index` now. It lives
    /// through the interface going down and up, not through its deletion.
    pub fn open(interface: InterfaceName, index: u32, family: Family) -> Result<Self, SocketError> {
        let purpose = match family {
            Family::Ipv4 => "watch for the ARP of other hosts",
            Family::Ipv6 => "watch for the neighbour advertisements of other hosts",
        };
        let opening = Opening {
            interface: Some(interface),
            purpose,
        };
        let socket = match family {
            Family::Ipv4 => open_arp(&opening, index)?,
            Family::Ipv6 => open_icmpv6(&opening, index)?,
        };
        Ok(Self { socket, family })
    }

    /// The next claim; `None` when none waits, and also after a bound of
    /// packets that were none: the socket then stays readable.
    pub fn recv(&self, buffer: &mut [u8]) -> io::Result<Option<Claim>> {
        for _ in 0..PACKETS_MAX {
            let Some(packet) = read_packet(&self.socket, buffer)? else {
                return Ok(None);
            };
            let claim = match self.family {
                Family::Ipv4 => parse_arp_claim(packet),
                Family::Ipv6 => parse_neighbour_claim(packet),
            };
            if claim.is_some() {
                return Ok(claim);
            }
        }
        Ok(None)
    }
}

impl AsFd for AnnouncementWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn open_arp(opening: &Opening, index: u32) -> Result<Socket, SocketError> {
    // Deaf until it is bound, by which time the filter is in place.
    let socket = Socket::new(Domain::PACKET, Type::DGRAM.nonblocking(), None);
    let socket = opening.step("open a packet socket", socket)?;
    let filter = socket.attach_filter(&arp_claim_filter());
    opening.step("attach the filter", filter)?;
    let bound = link_address(index, ETHERTYPE_ARP).and_then(|address| socket.bind(&address));
    opening.step("bind to the interface", bound)?;
    Ok(socket)
}

fn open_icmpv6(opening: &Opening, index: u32) -> Result<Socket, SocketError> {
    let raw = Type::RAW.nonblocking();
    let socket = Socket::new(Domain::IPV6, raw, Some(Protocol::ICMPV6));
    let socket = opening.step("open a raw ICMPv6 socket", socket)?;
    let passed = Icmp6Filter::passing(NEIGHBOUR_ADVERTISEMENT);
    let passed = set_option(&socket, libc::IPPROTO_ICMPV6, ICMP6_FILTER, &passed);
    opening.step("set the ICMPv6 filter", passed)?;
    let filter = socket.attach_filter(&advertisement_filter());
    opening.step("attach the filter", filter)?;
    opening.step("bind to the interface", bind_to_index(&socket, index))?;
    discard_early_arrivals(&socket);
    Ok(socket)
}

/// Option of a raw ICMPv6 socket (RFC 3542 section 3.2).
const ICMP6_FILTER: i32 = 1;

/// A set bit blocks its type. Cheaper than a filter program: it is asked
/// before the packet is copied.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct Icmp6Filter([u32; 8]);

impl Icmp6Filter {
    fn passing(kind: u8) -> Self {
        let mut words = [u32::MAX; 8];
        if let Some(word) = words.get_mut(usize::from(kind >> 5)) {
            *word &= !(1 << (kind & 31));
        }
        Self(words)
    }
}

const PACKET_HOST: u32 = 0;

/// Begins with the ARP header.
fn arp_claim_filter() -> [SockFilter; 24] {
    [
        LOAD_DIRECTION,
        SKIP_UNLESS_OURS_OR_OTHERS,
        DROP,
        // Ethernet, IPv4.
        load(LOAD_WORD, 0),
        skip_if(EQUALS, 0x0001_0800),
        DROP,
        // The sender has an address.
        load(LOAD_WORD, 14),
        skip_unless(EQUALS, 0),
        DROP,
        // The target's is the same: gratuitous.
        TO_X,
        load(LOAD_WORD, 24),
        skip_unless(EQUALS_X, 0),
        PASS,
        // Otherwise only a reply: to a probe, whose sender has no address,
        TO_X,
        load(LOAD_HALF, 6),
        skip_if(EQUALS, 2),
        DROP,
        SockFilter::new(MOVE_FROM_X, 0, 0, 0),
        skip_unless(EQUALS, 0),
        PASS,
        // or to a question of this host: sent to it alone.
        LOAD_DIRECTION,
        skip_if(EQUALS, PACKET_HOST),
        DROP,
        PASS,
    ]
}

/// Begins with the ICMPv6 header.
fn advertisement_filter() -> [SockFilter; 10] {
    [
        LOAD_DIRECTION,
        SKIP_UNLESS_OURS_OR_OTHERS,
        DROP,
        // The hop limit of the IPv6 header: no router has passed it on.
        load(LOAD_BYTE, (SKF_NET_OFF + 7).cast_unsigned()),
        skip_if(EQUALS, 255),
        DROP,
        // Type and code.
        load(LOAD_HALF, 0),
        skip_if(EQUALS, 0x8800),
        DROP,
        PASS,
    ]
}
