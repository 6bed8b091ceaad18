//! The frames that claim and ask for addresses: every field, by another's
//! parser, and back again by our own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use pnet_packet::Packet;
use pnet_packet::arp::{ArpHardwareTypes, ArpOperation, ArpOperations, ArpPacket};
use pnet_packet::ethernet::{EtherType, EtherTypes, EthernetPacket};
use pnet_packet::icmpv6::ndp::{
    NdpOption, NdpOptionType, NdpOptionTypes, NeighborAdvertFlags, NeighborAdvertPacket,
    NeighborSolicitPacket,
};
use pnet_packet::icmpv6::{self, Icmpv6Packet};
use pnet_packet::ip::IpNextHeaderProtocols;
use pnet_packet::ipv6::Ipv6Packet;
use proptest::prelude::*;

use vipward::agent::event::Claim;
use vipward::agent::values::MacAddress;
use vipward::wire::announcement::{
    ArpFrame, BROADCAST, VRRP_GROUP, arp_probe, arp_request, gratuitous_arp_reply,
    gratuitous_arp_request, neighbour_solicitation, parse_arp_claim, parse_neighbour_claim,
    unsolicited_neighbour_advertisement,
};

const ZERO: MacAddress = MacAddress([0; 6]);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

fn mac() -> impl Strategy<Value = MacAddress> {
    any::<[u8; 6]>().prop_map(MacAddress)
}

fn ipv4() -> impl Strategy<Value = Ipv4Addr> {
    any::<Ipv4Addr>().prop_filter("somebody's", |address| !address.is_unspecified())
}

fn ipv6() -> impl Strategy<Value = Ipv6Addr> {
    any::<Ipv6Addr>().prop_filter("a unicast address", |address| {
        !address.is_unspecified() && !address.is_multicast()
    })
}

/// What follows the Ethernet header, of which every field is checked.
fn body(frame: &[u8], to: MacAddress, from: MacAddress, kind: EtherType) -> Vec<u8> {
    let ethernet = EthernetPacket::new(frame).expect("an Ethernet frame");
    assert_eq!(ethernet.get_destination().octets(), to.0);
    assert_eq!(ethernet.get_source().octets(), from.0);
    assert_eq!(ethernet.get_ethertype(), kind);
    ethernet.payload().to_vec()
}

/// The ARP packet that it has to be, in every field.
fn check_arp(
    frame: &ArpFrame,
    to: MacAddress,
    operation: ArpOperation,
    sender: (Ipv4Addr, MacAddress),
    target: (Ipv4Addr, MacAddress),
) -> Vec<u8> {
    let body = body(frame, to, sender.1, EtherTypes::Arp);
    let arp = ArpPacket::new(&body).expect("an ARP packet");
    assert_eq!(arp.get_hardware_type(), ArpHardwareTypes::Ethernet);
    assert_eq!(arp.get_protocol_type(), EtherTypes::Ipv4);
    assert_eq!((arp.get_hw_addr_len(), arp.get_proto_addr_len()), (6, 4));
    assert_eq!(arp.get_operation(), operation);
    assert_eq!(arp.get_sender_hw_addr().octets(), sender.1.0);
    assert_eq!(arp.get_sender_proto_addr(), sender.0);
    assert_eq!(arp.get_target_hw_addr().octets(), target.1.0);
    assert_eq!(arp.get_target_proto_addr(), target.0);
    assert_eq!(body.len(), 28);
    body
}

/// The ICMPv6 message behind an IPv6 header of which every field is checked.
fn icmp(frame: &[u8], from: (Ipv6Addr, MacAddress), to: Ipv6Addr) -> Vec<u8> {
    let [.., a, b, c, d] = to.octets();
    let group = MacAddress([0x33, 0x33, a, b, c, d]);
    let body = body(frame, group, from.1, EtherTypes::Ipv6);
    let ip = Ipv6Packet::new(&body).expect("an IPv6 packet");
    assert_eq!((ip.get_version(), ip.get_hop_limit()), (6, 255));
    assert_eq!((ip.get_traffic_class(), ip.get_flow_label()), (0, 0));
    assert_eq!(ip.get_next_header(), IpNextHeaderProtocols::Icmpv6);
    assert_eq!(usize::from(ip.get_payload_length()), body.len() - 40);
    assert_eq!((ip.get_source(), ip.get_destination()), (from.0, to));
    let icmp = Icmpv6Packet::new(ip.payload()).expect("an ICMPv6 message");
    assert_eq!(icmp.get_checksum(), icmpv6::checksum(&icmp, &from.0, &to));
    assert_eq!(icmp.get_icmpv6_code().0, 0);
    ip.payload().to_vec()
}

fn check_option(options: &[NdpOption], kind: NdpOptionType, mac: MacAddress) {
    let [option] = options else {
        panic!("one option, not {options:?}");
    };
    assert_eq!((option.option_type, option.length), (kind, 1));
    assert_eq!(option.data, mac.0);
}

fn claim(address: impl Into<IpAddr>, hardware_address: MacAddress, solicited: bool) -> Claim {
    Claim {
        address: address.into(),
        hardware_address,
        solicited,
    }
}

proptest! {
    #[test]
    fn gratuitous_arp_claims_in_both_forms(address in ipv4(), mac in mac(), padding in 0..30usize) {
        let own = (address, mac);
        let request = check_arp(
            &gratuitous_arp_request(address, mac),
            BROADCAST, ArpOperations::Request, own, (address, BROADCAST),
        );
        let reply = check_arp(
            &gratuitous_arp_reply(address, mac),
            BROADCAST, ArpOperations::Reply, own, own,
        );
        for mut packet in [request, reply] {
            // As a short Ethernet frame has it.
            packet.resize(28 + padding, 0);
            prop_assert_eq!(parse_arp_claim(&packet), Some(claim(address, mac, false)));
        }
    }

    /// A question claims nothing, whoever is asked; unless somebody asks for
    /// what he has.
    #[test]
    fn an_arp_question_claims_nothing(
        source in ipv4(), target in ipv4(), mac in mac(), group: bool,
    ) {
        let request = check_arp(
            &arp_request(source, mac, target),
            BROADCAST, ArpOperations::Request, (source, mac), (target, ZERO),
        );
        prop_assert_eq!(parse_arp_claim(&request), (source == target).then(|| claim(source, mac, false)));
        let to = if group { VRRP_GROUP } else { BROADCAST };
        let probe = check_arp(
            &arp_probe(target, mac, to),
            to, ArpOperations::Request, (Ipv4Addr::UNSPECIFIED, mac), (target, ZERO),
        );
        prop_assert_eq!(parse_arp_claim(&probe), None);
    }

    /// What a kernel answers to our probe or request: RFC 826, the two ends swapped.
    #[test]
    fn the_answer_to_a_question_is_a_solicited_claim(
        address in ipv4(), asker in mac(), owner in mac(),
    ) {
        let probe = arp_probe(address, asker, VRRP_GROUP);
        let mut answer = probe[14..].to_vec();
        answer[7] = 2;
        answer[8..14].copy_from_slice(&owner.0);
        answer[14..18].copy_from_slice(&probe[38..42]);
        answer[18..24].copy_from_slice(&probe[22..28]);
        answer[24..28].copy_from_slice(&probe[28..32]);
        prop_assert_eq!(parse_arp_claim(&answer), Some(claim(address, owner, true)));
        // The same for somebody who has an address, unless it is this one.
        answer[24..28].copy_from_slice(&[192, 0, 2, 77]);
        let gratuitous = address == Ipv4Addr::new(192, 0, 2, 77);
        prop_assert_eq!(parse_arp_claim(&answer), Some(claim(address, owner, !gratuitous)));
    }

    #[test]
    fn a_neighbour_advertisement_claims(
        address in ipv6(), mac in mac(), router: bool,
        more in proptest::collection::vec((3..=255u8, 1..4usize), 0..4), before: bool,
    ) {
        let frame = unsolicited_neighbour_advertisement(address, mac, router);
        let mut message = icmp(&frame, (address, mac), ALL_NODES);
        let na = NeighborAdvertPacket::new(&message).expect("an advertisement");
        prop_assert_eq!(na.get_icmpv6_type().0, 136);
        let flags = NeighborAdvertFlags::Override | if router { NeighborAdvertFlags::Router } else { 0 };
        prop_assert_eq!(na.get_flags(), flags);
        prop_assert_eq!(na.get_target_addr(), address);
        check_option(&na.get_options(), NdpOptionTypes::TargetLLAddr, mac);

        // Options that others add, wherever they stand.
        let mut options: Vec<u8> = Vec::new();
        for (kind, units) in more {
            options.extend([kind, u8::try_from(units).expect("few")]);
            options.resize(options.len() + units * 8 - 2, 0xaa);
        }
        let at = if before { 24 } else { message.len() };
        message.splice(at..at, options);
        prop_assert_eq!(parse_neighbour_claim(&message), Some(claim(address, mac, false)));
        message[4] |= 0x40;
        prop_assert_eq!(parse_neighbour_claim(&message), Some(claim(address, mac, true)));
        message.pop();
        prop_assert_eq!(parse_neighbour_claim(&message), None);
    }

    #[test]
    fn a_neighbour_solicitation_asks_the_targets_group(
        source in ipv6(), target in ipv6(), mac in mac(),
    ) {
        let frame = neighbour_solicitation(source, mac, target);
        // RFC 4291 section 2.7.1.
        let [.., a, b, c] = target.octets();
        let group = u128::from_be_bytes(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 0).octets());
        let group = Ipv6Addr::from(group | u128::from(u32::from_be_bytes([0, a, b, c])));
        let message = icmp(&frame, (source, mac), group);
        let ns = NeighborSolicitPacket::new(&message).expect("a solicitation");
        prop_assert_eq!(ns.get_icmpv6_type().0, 135);
        prop_assert_eq!(ns.get_target_addr(), target);
        check_option(&ns.get_options(), NdpOptionTypes::SourceLLAddr, mac);
        prop_assert_eq!(parse_neighbour_claim(&message), None);
    }
}
