//! The frames that ask for a peer's hardware address, read by another library.

#[test]
fn questions_for_a_peer_are_what_an_independent_reader_sees() {
    use pnet_packet::Packet;
    use pnet_packet::arp::{ArpOperations, ArpPacket};
    use pnet_packet::icmpv6::ndp::{NdpOptionTypes, NeighborSolicitPacket};
    use pnet_packet::icmpv6::{Icmpv6Packet, checksum};
    use pnet_packet::ipv6::Ipv6Packet;
    use vipward::agent::values::MacAddress;
    use vipward::wire::announcement::{arp_request, neighbour_solicitation};

    let mac = MacAddress([2, 0, 0, 0, 0, 9]);
    let (own, peer) = ([192, 0, 2, 2].into(), [192, 0, 2, 1].into());
    let frame = arp_request(own, mac, peer);
    assert_eq!(
        frame[..14],
        [&[0xff; 6][..], &mac.0, &[0x08, 0x06]].concat()
    );
    let arp = ArpPacket::new(&frame[14..]).expect("ARP");
    assert_eq!(arp.get_operation(), ArpOperations::Request);
    assert_eq!(
        (arp.get_sender_proto_addr(), arp.get_target_proto_addr()),
        (own, peer)
    );
    assert_eq!(arp.get_sender_hw_addr().octets(), mac.0);
    assert_eq!(arp.get_target_hw_addr().octets(), [0; 6]);

    let own = "fe80::2".parse().expect("an address");
    let peer = "2001:db8::12:3456".parse().expect("an address");
    let group: std::net::Ipv6Addr = "ff02::1:ff12:3456".parse().expect("an address");
    let frame = neighbour_solicitation(own, mac, peer);
    assert_eq!(frame[..6], [0x33, 0x33, 0xff, 0x12, 0x34, 0x56]);
    let ipv6 = Ipv6Packet::new(&frame[14..]).expect("IPv6");
    assert_eq!((ipv6.get_source(), ipv6.get_destination()), (own, group));
    assert_eq!((ipv6.get_hop_limit(), ipv6.get_payload_length()), (255, 32));
    let icmp = Icmpv6Packet::new(ipv6.payload()).expect("ICMPv6");
    assert_eq!(icmp.get_checksum(), checksum(&icmp, &own, &group));
    let question = NeighborSolicitPacket::new(ipv6.payload()).expect("a solicitation");
    assert_eq!(
        (question.get_icmpv6_type().0, question.get_target_addr()),
        (135, peer)
    );
    let options = question.get_options();
    assert_eq!(options.len(), 1);
    assert_eq!(options[0].option_type, NdpOptionTypes::SourceLLAddr);
    assert_eq!(options[0].data, mac.0);
}
