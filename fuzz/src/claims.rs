//! ARP and neighbour advertisements, as the packet sockets deliver them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use vipward::agent::event::Claim;
use vipward::wire::announcement::{
    gratuitous_arp_reply, gratuitous_arp_request, parse_arp_claim, parse_neighbour_claim,
    unsolicited_neighbour_advertisement,
};

/// From the ARP header on. A claim says what stands in the packet, and the
/// announcement of the same address is that packet again.
pub fn arp(data: &[u8]) {
    let Some(claim) = parse_arp_claim(data) else {
        return;
    };
    let (packet, padding) = data.split_at(28);
    assert_eq!(
        parse_arp_claim(packet),
        Some(claim),
        "padding {padding:?} counted"
    );
    assert_eq!(claim.hardware_address.0, packet[8..14]);
    let sender = Ipv4Addr::from(<[u8; 4]>::try_from(&packet[14..18]).expect("four bytes"));
    assert_eq!(claim.address, IpAddr::V4(sender));
    assert!(!sender.is_unspecified(), "nobody's address is claimed");
    let reply = packet[7] == 2;
    assert!(reply || !claim.solicited, "a request answers nothing");
    let ours = match reply {
        true => gratuitous_arp_reply(sender, claim.hardware_address),
        false => gratuitous_arp_request(sender, claim.hardware_address),
    };
    // What another sender may fill in as it likes: whom it names as target.
    assert_eq!(ours[14..32], packet[..18]);
    assert_eq!(claim.solicited, packet[24..28] != sender.octets());
}

/// From the ICMPv6 header on.
pub fn neighbour(data: &[u8]) {
    let Some(claim) = parse_neighbour_claim(data) else {
        return;
    };
    assert_eq!(data[..2], [136, 0], "no neighbour advertisement");
    let target = Ipv6Addr::from(<[u8; 16]>::try_from(&data[8..24]).expect("sixteen bytes"));
    assert_eq!(claim.address, IpAddr::V6(target));
    assert!(!target.is_multicast() && !target.is_unspecified());
    assert_eq!(claim.solicited, data[4] & 0x40 != 0);
    // Options begin at every eighth byte, wherever they end.
    let mut options = data[24..].chunks_exact(8);
    let named = options.any(|o| o[..2] == [2, 1] && o[2..] == claim.hardware_address.0);
    assert!(named, "{claim:?} is nowhere in the packet");

    let ours = unsolicited_neighbour_advertisement(target, claim.hardware_address, false);
    let unsolicited = Claim {
        solicited: false,
        ..claim
    };
    assert_eq!(parse_neighbour_claim(&ours[54..]), Some(unsolicited));
}
