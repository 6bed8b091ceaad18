//! The codecs against captures of another implementation (`vectors/`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use pnet_packet::ethernet::{EtherTypes, EthernetPacket};
use pnet_packet::ip::IpNextHeaderProtocol;
use pnet_packet::ipv6::Ipv6Packet;
use pnet_packet::util;
use rstest::rstest;

use vipward::agent::event::{Heard, Timing, V2Authentication};
use vipward::agent::ladder::{GROUP_IPV4, GROUP_IPV6};
use vipward::agent::seal::Sequence;
use vipward::agent::values::{
    AdvertInterval, ChecksumForm, Family, InterfaceName, MacAddress, Version, Vrid,
};
use vipward::wire::advertisement::{Outgoing, PROTOCOL, decode_ipv4, decode_ipv6, encode};
use vipward::wire::announcement::{
    gratuitous_arp_reply, gratuitous_arp_request, parse_arp_claim, parse_neighbour_claim,
    unsolicited_neighbour_advertisement,
};
use vipward::wire::authentication::{Key, Signature, is_genuine};

const SENDER: MacAddress = MacAddress([0x22, 0x7f, 0xbb, 0x66, 0x43, 0x36]);

fn interface() -> InterfaceName {
    "eth0".parse().expect("a plain name")
}

/// The frames of a little-endian, microsecond, Ethernet pcap file.
fn frames(file: &str) -> Vec<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/vectors")
        .join(file);
    let bytes = std::fs::read(&path).expect("the capture is there");
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
    assert_eq!(
        (word(0), word(20)),
        (0xa1b2_c3d4, 1),
        "{file}: not the pcap we read"
    );
    let mut frames = Vec::new();
    let mut at = 24;
    while at < bytes.len() {
        let (kept, original) = (word(at + 8), word(at + 12));
        assert_eq!(kept, original, "{file}: a frame was cut short");
        let end = at + 16 + kept as usize;
        frames.push(bytes[at + 16..end].to_vec());
        at = end;
    }
    frames
}

/// Decodes the advertisement that a frame holds, if it holds one, and gives
/// its payload too.
fn advert(frame: &[u8]) -> Option<(Heard<'_>, &[u8])> {
    let body = &frame[14..];
    match EthernetPacket::new(frame)?.get_ethertype() {
        EtherTypes::Ipv4 if body[9] == PROTOCOL => {
            Some((decode_ipv4(interface(), body), &body[20..]))
        }
        EtherTypes::Ipv6 if body[6] == PROTOCOL => {
            let ip = Ipv6Packet::new(body)?;
            let (source, destination) = (ip.get_source(), ip.get_destination());
            let payload = &body[40..];
            let heard = decode_ipv6(
                interface(),
                source,
                destination,
                ip.get_hop_limit(),
                payload,
            );
            Some((heard, payload))
        }
        _ => None,
    }
}

/// Key 1 of the captures that have an HMAC.
fn key_of_the_captures() -> Key {
    let bytes: Vec<u8> = (0..32).collect();
    Key::new(&bytes).expect("a key")
}

/// What `vectors/README.md` says of one capture.
struct Facts {
    version: Version,
    family: Family,
    unicast: bool,
    password: &'static [u8],
    trailer: bool,
    adverts: usize,
}

impl Facts {
    fn source(&self) -> IpAddr {
        match (self.family, self.unicast) {
            (Family::Ipv4, _) => Ipv4Addr::new(192, 0, 2, 1).into(),
            (Family::Ipv6, false) => "fe80::207f:bbff:fe66:4336".parse().expect("an address"),
            (Family::Ipv6, true) => "2001:db8::1".parse().expect("an address"),
        }
    }

    fn destination(&self) -> IpAddr {
        match (self.family, self.unicast) {
            (Family::Ipv4, false) => GROUP_IPV4.into(),
            (Family::Ipv4, true) => Ipv4Addr::new(192, 0, 2, 2).into(),
            (Family::Ipv6, false) => GROUP_IPV6.into(),
            (Family::Ipv6, true) => "2001:db8::2".parse().expect("an address"),
        }
    }

    fn addresses(&self) -> [IpAddr; 2] {
        let addresses = match self.family {
            Family::Ipv4 => ["192.0.2.10", "192.0.2.11"],
            Family::Ipv6 => ["fe80::51", "2001:db8::10"],
        };
        addresses.map(|address| address.parse().expect("an address"))
    }

    fn authentication(&self) -> V2Authentication {
        let mut authentication = V2Authentication::default();
        authentication.data[..self.password.len()].copy_from_slice(self.password);
        authentication.kind = u8::from(!self.password.is_empty());
        authentication
    }

    fn timing(&self) -> Timing {
        match self.version {
            Version::V2 => Timing::V2 {
                interval_seconds: 1,
                authentication: self.authentication(),
            },
            Version::V3 => Timing::V3 {
                interval_centiseconds: 50,
            },
        }
    }

    fn checksum(&self) -> ChecksumForm {
        match self.version {
            Version::V2 => ChecksumForm::MessageOnly,
            Version::V3 => ChecksumForm::PseudoHeader,
        }
    }

    fn interval(&self) -> AdvertInterval {
        let interval = match self.version {
            Version::V2 => AdvertInterval::from_seconds(1),
            Version::V3 => AdvertInterval::from_centiseconds(50),
        };
        interval.expect("an interval")
    }

    fn check(&self, heard: &Heard<'_>, last: bool) {
        assert_eq!(heard.interface, interface());
        assert_eq!(heard.family, self.family);
        assert_eq!(heard.source, self.source());
        assert_eq!(heard.destination, self.destination());
        // This sender leaves IPv6 unicast at the kernel's default.
        let unlimited = self.family == Family::Ipv4 || !self.unicast;
        assert_eq!(heard.hop_limit, if unlimited { 255 } else { 64 });
        let message = heard.message.as_ref().expect("a message");
        assert_eq!(message.version, self.version.number());
        assert_eq!(message.kind, 1);
        assert_eq!(message.vrid, 51);
        assert_eq!(message.priority, if last { 0 } else { 200 });
        assert_eq!(message.count, 2);
        assert!(message.length_exact);
        assert_eq!(message.checksum, Some(self.checksum()));
        assert_eq!(message.timing, self.timing());
        assert_eq!(
            message.addresses.iter().collect::<Vec<_>>(),
            self.addresses()
        );
        assert_eq!(message.seal.is_some(), self.trailer);
    }

    /// What we write for the same facts.
    fn encoded(&self, priority: u8, signature: Option<Signature<'_>>) -> Vec<u8> {
        let outgoing = Outgoing {
            version: self.version,
            vrid: Vrid::new(51).expect("a VRID"),
            priority,
            interval: self.interval(),
            checksum: self.checksum(),
            v2_authentication: self.authentication(),
            addresses: &self.addresses(),
            source: self.source(),
            destination: self.destination(),
            signature,
        };
        let mut buffer = Vec::new();
        encode(&outgoing, &mut buffer).expect("it can be written");
        buffer
    }
}

use Family::{Ipv4, Ipv6};
use Version::{V2, V3};

#[rstest]
#[case("keepalived-2.2.7-v2-multicast.pcap", V2, Ipv4, false, b"", false, 5)]
#[case(
    "keepalived-2.2.7-v2-multicast-password.pcap",
    V2,
    Ipv4,
    false,
    b"s3cret",
    false,
    5
)]
#[case("keepalived-2.2.7-v2-unicast.pcap", V2, Ipv4, true, b"", false, 5)]
#[case("keepalived-2.2.7-v3-multicast.pcap", V3, Ipv4, false, b"", false, 12)]
#[case("keepalived-2.2.7-v3-unicast.pcap", V3, Ipv4, true, b"", false, 12)]
#[case(
    "keepalived-2.2.7-v3-ipv6-multicast.pcap",
    V3,
    Ipv6,
    false,
    b"",
    false,
    12
)]
#[case(
    "keepalived-2.4.3-v2-multicast-hmac.pcap",
    V2,
    Ipv4,
    false,
    b"",
    true,
    5
)]
#[case(
    "keepalived-2.4.3-v3-multicast-hmac.pcap",
    V3,
    Ipv4,
    false,
    b"",
    true,
    12
)]
#[case("keepalived-2.4.3-v3-unicast-hmac.pcap", V3, Ipv4, true, b"", true, 12)]
#[case(
    "keepalived-2.4.3-v3-ipv6-unicast.pcap",
    V3,
    Ipv6,
    true,
    b"",
    false,
    12
)]
#[case(
    "keepalived-2.4.3-v3-ipv6-multicast-hmac.pcap",
    V3,
    Ipv6,
    false,
    b"",
    true,
    12
)]
fn captured_adverts_decode_and_encode_to_the_same_bytes(
    #[case] file: &str,
    #[case] version: Version,
    #[case] family: Family,
    #[case] unicast: bool,
    #[case] password: &'static [u8],
    #[case] trailer: bool,
    #[case] adverts: usize,
) {
    let facts = Facts {
        version,
        family,
        unicast,
        password,
        trailer,
        adverts,
    };
    let frames = frames(file);
    let heard: Vec<_> = frames.iter().filter_map(|frame| advert(frame)).collect();
    assert_eq!(heard.len(), facts.adverts, "{file}: advertisements");
    for (position, (heard, payload)) in heard.iter().enumerate() {
        let last = position + 1 == facts.adverts;
        facts.check(heard, last);
        let mut ours = facts.encoded(if last { 0 } else { 200 }, None);
        let (message, rest) = payload.split_at(ours.len());
        if facts.family == Ipv6 && facts.trailer {
            // The sender's kernel summed the trailer too, so the field alone
            // must differ from ours; the oracle says what it has to be.
            assert_ne!(ours, message);
            let (source, destination) = ipv6_ends(heard);
            let protocol = IpNextHeaderProtocol(PROTOCOL);
            let covered = util::ipv6_checksum(payload, 3, &[], &source, &destination, protocol);
            ours[6..8].copy_from_slice(&covered.to_be_bytes());
        }
        assert_eq!(ours, message, "{file}: advertisement {position}");
        assert_eq!(rest.len(), if facts.trailer { 28 } else { 0 });
        assert_eq!(
            heard
                .message
                .as_ref()
                .expect("a message")
                .seal
                .map_or(&[][..], |seal| seal.trailer),
            rest
        );
    }
}

#[rstest]
#[case("keepalived-2.4.3-v2-multicast-hmac.pcap", V2, Ipv4, false, 5)]
#[case("keepalived-2.4.3-v3-multicast-hmac.pcap", V3, Ipv4, false, 12)]
#[case("keepalived-2.4.3-v3-unicast-hmac.pcap", V3, Ipv4, true, 12)]
#[case("keepalived-2.4.3-v3-ipv6-multicast-hmac.pcap", V3, Ipv6, false, 12)]
fn captured_trailers_are_genuine_and_rebuilt_to_the_same_bytes(
    #[case] file: &str,
    #[case] version: Version,
    #[case] family: Family,
    #[case] unicast: bool,
    #[case] adverts: usize,
) {
    let facts = Facts {
        version,
        family,
        unicast,
        password: b"",
        trailer: true,
        adverts,
    };
    let key = key_of_the_captures();
    let other = Key::new(&[7; 32]).expect("a key");
    let frames = frames(file);
    let heard: Vec<_> = frames.iter().filter_map(|frame| advert(frame)).collect();
    assert_eq!(heard.len(), adverts, "{file}: advertisements");
    let mut last: Option<Sequence> = None;
    for (position, (heard, payload)) in heard.iter().enumerate() {
        let message = heard.message.as_ref().expect("a message");
        let seal = message.seal.expect("a trailer");
        assert!(is_genuine(&key, heard), "{file}: advertisement {position}");
        assert!(!is_genuine(&other, heard), "{file}: any key fits");
        assert_eq!((seal.kind, seal.key), (1, 1));
        assert!(last.is_none_or(|last| seal.sequence.is_newer_than(last)));
        last = Some(seal.sequence);
        let signature = Signature {
            key: &key,
            key_id: seal.key,
            sequence: seal.sequence,
        };
        // The whole message: over IPv6 the checksum covers the trailer.
        let ours = facts.encoded(message.priority, Some(signature));
        assert_eq!(ours, *payload, "{file}: advertisement {position}");
    }
}

/// Whichever bit of a captured message is turned, it is genuine no more: the
/// checksum aside, which it does not cover.
#[rstest]
#[case("keepalived-2.4.3-v2-multicast-hmac.pcap", 14 + 20)]
#[case("keepalived-2.4.3-v3-multicast-hmac.pcap", 14 + 20)]
#[case("keepalived-2.4.3-v3-ipv6-multicast-hmac.pcap", 14 + 40)]
fn a_turned_bit_is_noticed(#[case] file: &str, #[case] message_at: usize) {
    let key = key_of_the_captures();
    let frames = frames(file);
    let frame = frames
        .iter()
        .find(|frame| advert(frame).is_some())
        .expect("an advertisement");
    let (_, payload) = advert(frame).expect("an advertisement");
    let source = match message_at {
        34 => 26..30,
        _ => 22..38,
    };
    for at in source.chain(message_at..message_at + payload.len()) {
        for bit in 0..8 {
            let mut turned = frame.clone();
            turned[at] ^= 1 << bit;
            let checksum = (message_at + 6..message_at + 8).contains(&at);
            let (heard, _) = advert(&turned).expect("an advertisement still");
            assert_eq!(
                is_genuine(&key, &heard),
                checksum,
                "{file}: byte {at}, bit {bit}"
            );
        }
    }
}

fn ipv6_ends(heard: &Heard<'_>) -> (Ipv6Addr, Ipv6Addr) {
    match (heard.source, heard.destination) {
        (IpAddr::V6(source), IpAddr::V6(destination)) => (source, destination),
        ends => panic!("not IPv6: {ends:?}"),
    }
}

#[test]
fn every_capture_has_a_case() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let captures = std::fs::read_dir(directory)
        .expect("the captures are there")
        .filter(|entry| {
            let name = entry.as_ref().expect("an entry").file_name();
            name.to_string_lossy().ends_with(".pcap")
        })
        .count();
    assert_eq!(captures, 11);
}

#[rstest]
#[case("keepalived-2.2.7-v2-multicast.pcap", 8)]
#[case("keepalived-2.2.7-v3-multicast.pcap", 8)]
#[case("keepalived-2.4.3-v3-unicast-hmac.pcap", 8)]
fn our_gratuitous_arp_is_the_captured_one(#[case] file: &str, #[case] expected: usize) {
    let mut seen = Vec::new();
    for frame in frames(file) {
        if frame[12..14] != [0x08, 0x06] {
            continue;
        }
        let claim = parse_arp_claim(&frame[14..]).expect("gratuitous");
        let IpAddr::V4(address) = claim.address else {
            panic!("{claim:?}")
        };
        let sender = claim.hardware_address;
        assert_eq!((sender, claim.solicited), (SENDER, false));
        assert_eq!(gratuitous_arp_request(address, sender).as_slice(), frame);
        // The reply form differs in the operation and the target's hardware
        // address, and is understood by the same parser.
        let reply = gratuitous_arp_reply(address, sender);
        let mut changed = frame.clone();
        changed[21] = 2;
        changed[32..38].copy_from_slice(&sender.0);
        assert_eq!(reply.as_slice(), changed);
        assert_eq!(parse_arp_claim(&reply[14..]), Some(claim));
        seen.push(address);
    }
    assert_eq!(seen.len(), expected);
    seen.sort();
    seen.dedup();
    assert_eq!(
        seen,
        [Ipv4Addr::new(192, 0, 2, 10), Ipv4Addr::new(192, 0, 2, 11)]
    );
}

#[rstest]
#[case("keepalived-2.2.7-v3-ipv6-multicast.pcap", 20)]
#[case("keepalived-2.4.3-v3-ipv6-unicast.pcap", 20)]
#[case("keepalived-2.4.3-v3-ipv6-multicast-hmac.pcap", 20)]
fn our_neighbour_advertisement_is_the_captured_one(#[case] file: &str, #[case] expected: usize) {
    let mut seen = Vec::new();
    for frame in frames(file) {
        let solicitation_or_other =
            frame[12..14] != [0x86, 0xdd] || frame[20] != 58 || frame[54] != 136;
        if solicitation_or_other {
            continue;
        }
        let claim = parse_neighbour_claim(&frame[54..]).expect("unsolicited");
        let IpAddr::V6(address) = claim.address else {
            panic!("{claim:?}")
        };
        assert_eq!((claim.hardware_address, claim.solicited), (SENDER, false));
        assert_eq!(
            unsolicited_neighbour_advertisement(address, SENDER, false).as_slice(),
            frame
        );
        seen.push(address);
    }
    assert_eq!(seen.len(), expected);
    seen.sort();
    seen.dedup();
    let expected: [Ipv6Addr; 2] =
        ["2001:db8::10", "fe80::51"].map(|a| a.parse().expect("an address"));
    assert_eq!(seen, expected);
}
