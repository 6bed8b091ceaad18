//! Gratuitous ARP and unsolicited neighbour advertisements, and the questions
//! who has an address: whole Ethernet frames going out, the payload behind the
//! network header coming in.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use pnet_base::MacAddr;
use pnet_packet::arp::{
    ArpHardwareTypes, ArpOperation, ArpOperations, ArpPacket, MutableArpPacket,
};
use pnet_packet::ethernet::{EtherType, EtherTypes, MutableEthernetPacket};
use pnet_packet::icmpv6::ndp::{
    MutableNdpOptionPacket, MutableNeighborAdvertPacket, NdpOptionTypes, NeighborAdvertFlags,
    NeighborAdvertPacket,
};
use pnet_packet::icmpv6::{Icmpv6Type, Icmpv6Types};
use pnet_packet::ip::IpNextHeaderProtocols;
use pnet_packet::ipv6::MutableIpv6Packet;

use super::checksum::Sum;
use crate::agent::event::Claim;
use crate::agent::values::MacAddress;

const ETHERNET_HEADER: usize = 14;
const IPV6_HEADER: usize = 40;
const NA_HEADER: usize = 24;
pub const BROADCAST: MacAddress = MacAddress([0xff; 6]);
/// To which 224.0.0.18 maps (RFC 1112 section 6.4): whoever hears multicast
/// advertisements of IPv4, and nobody else.
pub const VRRP_GROUP: MacAddress = MacAddress([0x01, 0x00, 0x5e, 0x00, 0x00, 0x12]);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// RFC 4861 section 7.1.2: a router has not passed it on.
const HOP_LIMIT: u8 = 255;

pub type ArpFrame = [u8; 42];
/// A neighbour advertisement or solicitation with its one option.
pub type NeighbourFrame = [u8; 86];

/// A broadcast ARP request for the sender's own `address` (RFC 5227 section
/// 2.3).
pub fn gratuitous_arp_request(address: Ipv4Addr, sender: MacAddress) -> ArpFrame {
    let everyone = MacAddr::broadcast();
    arp_frame(
        BROADCAST,
        ArpOperations::Request,
        (address, sender),
        (address, everyone),
    )
}

/// A broadcast ARP request for `target`, from `source`.
pub fn arp_request(source: Ipv4Addr, sender: MacAddress, target: Ipv4Addr) -> ArpFrame {
    question(BROADCAST, (source, sender), target)
}

/// The question whether somebody has `address`, which claims nothing (RFC 5227
/// section 2.1.1). It need not be a broadcast.
pub fn arp_probe(address: Ipv4Addr, sender: MacAddress, destination: MacAddress) -> ArpFrame {
    question(destination, (Ipv4Addr::UNSPECIFIED, sender), address)
}

fn question(destination: MacAddress, sender: (Ipv4Addr, MacAddress), target: Ipv4Addr) -> ArpFrame {
    let target = (target, MacAddr::zero());
    arp_frame(destination, ArpOperations::Request, sender, target)
}

/// A broadcast ARP reply. It names the sender's hardware address as the
/// target's too: Linux otherwise does not take it for gratuitous and ignores
/// it for a second after its entry was last updated.
pub fn gratuitous_arp_reply(address: Ipv4Addr, sender: MacAddress) -> ArpFrame {
    let own = sender.0.into();
    arp_frame(
        BROADCAST,
        ArpOperations::Reply,
        (address, sender),
        (address, own),
    )
}

fn arp_frame(
    destination: MacAddress,
    operation: ArpOperation,
    sender: (Ipv4Addr, MacAddress),
    target: (Ipv4Addr, MacAddr),
) -> ArpFrame {
    let mut frame = [0; 42];
    let destination = destination.0.into();
    let body = ethernet_header(&mut frame, destination, sender.1, EtherTypes::Arp);
    if let Some(mut arp) = MutableArpPacket::new(body) {
        arp.set_hardware_type(ArpHardwareTypes::Ethernet);
        arp.set_protocol_type(EtherTypes::Ipv4);
        arp.set_hw_addr_len(6);
        arp.set_proto_addr_len(4);
        arp.set_operation(operation);
        arp.set_sender_hw_addr(sender.1.0.into());
        arp.set_sender_proto_addr(sender.0);
        arp.set_target_hw_addr(target.1);
        arp.set_target_proto_addr(target.0);
    }
    frame
}

/// An unsolicited neighbour advertisement to all nodes (RFC 4861 sections 4.4
/// and 7.2.6): Override set, Solicited clear, and the Router bit as `router`
/// says. Its source is the address itself.
pub fn unsolicited_neighbour_advertisement(
    address: Ipv6Addr,
    sender: MacAddress,
    router: bool,
) -> NeighbourFrame {
    let router = if router {
        NeighborAdvertFlags::Router
    } else {
        0
    };
    let mut frame = [0; 86];
    let mut neighbour = Neighbour {
        frame: &mut frame,
        sender,
        source: address,
        destination: ALL_NODES,
    };
    neighbour.message(Icmpv6Types::NeighborAdvert, address, |message| {
        if let Some(mut na) = MutableNeighborAdvertPacket::new(message) {
            na.set_flags(NeighborAdvertFlags::Override | router);
        }
    });
    frame
}

/// A neighbour solicitation for `target`, to its solicited-node group (RFC
/// 4861 section 4.3).
pub fn neighbour_solicitation(
    source: Ipv6Addr,
    sender: MacAddress,
    target: Ipv6Addr,
) -> NeighbourFrame {
    let [.., a, b, c] = target.octets();
    let group = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c];
    let mut frame = [0; 86];
    let mut neighbour = Neighbour {
        frame: &mut frame,
        sender,
        source,
        destination: group.into(),
    };
    neighbour.message(Icmpv6Types::NeighborSolicit, target, |_| {});
    frame
}

/// What the messages of neighbour discovery have in common: an IPv6 header, a
/// target, and the sender's hardware address as the one option.
struct Neighbour<'f> {
    frame: &'f mut NeighbourFrame,
    sender: MacAddress,
    source: Ipv6Addr,
    /// A multicast group.
    destination: Ipv6Addr,
}

impl Neighbour<'_> {
    fn message(&mut self, kind: Icmpv6Type, target: Ipv6Addr, flags: impl FnOnce(&mut [u8])) {
        let [.., a, b, c, d] = self.destination.octets();
        let group_mac = MacAddr(0x33, 0x33, a, b, c, d);
        let body = ethernet_header(self.frame, group_mac, self.sender, EtherTypes::Ipv6);
        let (header, message) = body.split_at_mut(IPV6_HEADER);
        if let Some(mut ipv6) = MutableIpv6Packet::new(header) {
            ipv6.set_version(6);
            ipv6.set_payload_length(32);
            ipv6.set_next_header(IpNextHeaderProtocols::Icmpv6);
            ipv6.set_hop_limit(HOP_LIMIT);
            ipv6.set_source(self.source);
            ipv6.set_destination(self.destination);
        }
        let (header, option) = message.split_at_mut(NA_HEADER);
        flags(header);
        // Type, checksum and target stand at the same places in both.
        if let Some(mut neighbour) = MutableNeighborAdvertPacket::new(header) {
            neighbour.set_icmpv6_type(kind);
            neighbour.set_target_addr(target);
        }
        if let Some(mut option) = MutableNdpOptionPacket::new(option) {
            option.set_option_type(match kind {
                Icmpv6Types::NeighborSolicit => NdpOptionTypes::SourceLLAddr,
                _ => NdpOptionTypes::TargetLLAddr,
            });
            option.set_length(1);
            option.set_data(&self.sender.0);
        }
        let (from, to) = (self.source.into(), self.destination.into());
        let protocol = IpNextHeaderProtocols::Icmpv6.0;
        let sum = Sum::pseudo_header(from, to, protocol, message.len());
        let checksum = sum.bytes(message).checksum();
        if let Some(mut neighbour) = MutableNeighborAdvertPacket::new(message) {
            neighbour.set_checksum(checksum);
        }
    }
}

/// Fills the Ethernet header in; what follows it in `frame`.
fn ethernet_header(
    frame: &mut [u8],
    destination: MacAddr,
    source: MacAddress,
    kind: EtherType,
) -> &mut [u8] {
    if let Some(mut ethernet) = MutableEthernetPacket::new(frame) {
        ethernet.set_destination(destination);
        ethernet.set_source(source.0.into());
        ethernet.set_ethertype(kind);
    }
    frame.get_mut(ETHERNET_HEADER..).unwrap_or_default()
}

/// What a gratuitous ARP of either form claims, or the answer to a question;
/// `None` for any other ARP and for what is no ARP. `payload` begins with the
/// ARP header. Whether an answer was meant for this host is the receiver's to
/// check.
pub fn parse_arp_claim(payload: &[u8]) -> Option<Claim> {
    let arp = ArpPacket::new(payload)?;
    let address = arp.get_sender_proto_addr();
    let target = arp.get_target_proto_addr();
    let operation = arp.get_operation();
    let reply = operation == ArpOperations::Reply;
    // A gratuitous one is for the address that it tells of.
    let solicited = reply && target != address;
    let claims = arp.get_hardware_type() == ArpHardwareTypes::Ethernet
        && arp.get_protocol_type() == EtherTypes::Ipv4
        && arp.get_hw_addr_len() == 6
        && arp.get_proto_addr_len() == 4
        && (reply || operation == ArpOperations::Request)
        && (target == address || solicited)
        && !address.is_unspecified();
    claims.then(|| Claim {
        address: IpAddr::V4(address),
        hardware_address: MacAddress(arp.get_sender_hw_addr().octets()),
        solicited,
    })
}

/// What a neighbour advertisement claims; `None` for one that lacks the
/// hardware address, as only an unsolicited one must not (RFC 4861 section
/// 7.2.6), and for what section 7.1.2 does not call valid. `payload` begins
/// with the ICMPv6 header; hop limit and checksum are the receiver's to check.
pub fn parse_neighbour_claim(payload: &[u8]) -> Option<Claim> {
    let (header, options) = payload.split_at_checked(NA_HEADER)?;
    let na = NeighborAdvertPacket::new(header)?;
    let target = na.get_target_addr();
    let claims = na.get_icmpv6_type() == Icmpv6Types::NeighborAdvert
        && na.get_icmpv6_code().0 == 0
        && !target.is_multicast()
        && !target.is_unspecified();
    let hardware_address = target_link_layer_address(options)??;
    claims.then(|| Claim {
        address: IpAddr::V6(target),
        hardware_address,
        solicited: na.get_flags() & NeighborAdvertFlags::Solicited != 0,
    })
}

/// Outer `None`: the options are malformed.
fn target_link_layer_address(mut options: &[u8]) -> Option<Option<MacAddress>> {
    let mut found = None;
    // Every option is at least eight bytes long: this ends.
    while !options.is_empty() {
        let (&[kind, units], _) = options.split_first_chunk::<2>()?;
        let length = usize::from(units) * 8;
        if length == 0 {
            return None;
        }
        let (option, rest) = options.split_at_checked(length)?;
        if kind == NdpOptionTypes::TargetLLAddr.0 && units == 1 {
            found = option.last_chunk().copied().map(MacAddress);
        }
        options = rest;
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use pnet_packet::icmpv6::{self, Icmpv6Packet};
    use pnet_packet::ipv6::Ipv6Packet;

    use super::*;

    const SENDER: MacAddress = MacAddress([0x22, 0x7f, 0xbb, 0x66, 0x43, 0x36]);

    #[test]
    fn router_bit_and_its_checksum() {
        let address = "2001:db8::10".parse().expect("an address");
        let frame = unsolicited_neighbour_advertisement(address, SENDER, true);
        assert_eq!(frame[58], 0xa0);
        let ip = Ipv6Packet::new(&frame[14..]).expect("IPv6");
        assert_eq!(ip.get_next_header(), IpNextHeaderProtocols::Icmpv6);
        let icmp = Icmpv6Packet::new(&frame[54..]).expect("ICMPv6");
        assert_eq!(icmp.get_icmpv6_type(), Icmpv6Types::NeighborAdvert);
        let expected = icmpv6::checksum(&icmp, &ip.get_source(), &ip.get_destination());
        assert_eq!(icmp.get_checksum(), expected);
    }

    #[test]
    fn what_announces_nothing_is_refused() {
        let arp = gratuitous_arp_request(Ipv4Addr::new(192, 0, 2, 10), SENDER);
        // Position in the frame and a value there that makes it another thing:
        // hardware type, protocol, both lengths, operation, sender, target.
        for (position, value) in [
            (15, 6),
            (16, 9),
            (18, 8),
            (19, 16),
            (21, 3),
            (31, 1),
            (41, 1),
        ] {
            let mut other = arp;
            other[position] = value;
            assert_eq!(parse_arp_claim(&other[14..]), None, "byte {position}");
        }
        let probe = arp_probe(Ipv4Addr::new(192, 0, 2, 10), SENDER, VRRP_GROUP);
        assert_eq!(parse_arp_claim(&probe[14..]), None);
        assert_eq!(parse_arp_claim(&arp[14..41]), None);

        let address = "2001:db8::10".parse().expect("an address");
        let na = unsolicited_neighbour_advertisement(address, SENDER, false);
        // Type, code, multicast target, option of length zero, option longer
        // than the packet.
        for (position, value) in [(54, 135), (55, 1), (62, 0xff), (79, 0), (79, 2)] {
            let mut other = na;
            other[position] = value;
            let parsed = parse_neighbour_claim(&other[54..]);
            assert_eq!(parsed, None, "byte {position} as {value}");
        }
        let bare = &na[54..78];
        assert_eq!(parse_neighbour_claim(bare), None);
        assert_eq!(parse_neighbour_claim(&na[54..77]), None);
    }

    #[test]
    fn the_answer_to_a_question_is_told_from_an_announcement() {
        let address = Ipv4Addr::new(192, 0, 2, 10);
        let announced = Claim {
            address: IpAddr::V4(address),
            hardware_address: SENDER,
            solicited: false,
        };
        let answered = Claim {
            solicited: true,
            ..announced
        };
        let mut reply = gratuitous_arp_reply(address, SENDER);
        assert_eq!(parse_arp_claim(&reply[14..]), Some(announced));
        reply[38..42].fill(0);
        assert_eq!(parse_arp_claim(&reply[14..]), Some(answered));
        // A request for no address is nothing.
        reply[21] = 1;
        assert_eq!(parse_arp_claim(&reply[14..]), None);

        let address = "2001:db8::10".parse().expect("an address");
        let mut na = unsolicited_neighbour_advertisement(address, SENDER, false);
        let announced = Claim {
            address: IpAddr::V6(address),
            ..announced
        };
        assert_eq!(parse_neighbour_claim(&na[54..]), Some(announced));
        na[58] |= 0x40;
        let answered = Claim {
            solicited: true,
            ..announced
        };
        assert_eq!(parse_neighbour_claim(&na[54..]), Some(answered));
    }
}
