//! The codecs against themselves over all values, and against another's
//! arithmetic.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use pnet_packet::Packet;
use pnet_packet::ip::IpNextHeaderProtocol;
use pnet_packet::ipv4::Ipv4Packet;
use pnet_packet::util;
use proptest::prelude::*;

use vipward::agent::event::{Heard, Malformed, Message, Timing, V2Authentication};
use vipward::agent::ladder::{GROUP_IPV4, GROUP_IPV6};
use vipward::agent::values::Family::{self, Ipv4, Ipv6};
use vipward::agent::values::Version::{self, V2, V3};
use vipward::agent::values::{AdvertInterval, ChecksumForm, InterfaceName, Vrid};
use vipward::wire::advertisement::{
    EncodeError, Outgoing, PROTOCOL, decode_ipv4, decode_ipv6, encode,
};
use vipward::wire::announcement::{parse_arp_claim, parse_neighbour_claim};

fn interface() -> InterfaceName {
    "eth0".parse().expect("a plain name")
}

/// An IPv4 datagram around `payload`; `options` in words of four bytes.
fn datagram(source: Ipv4Addr, destination: Ipv4Addr, options: u8, payload: &[u8]) -> Vec<u8> {
    let header = 20 + usize::from(options) * 4;
    let length = u16::try_from(header + payload.len()).expect("it fits");
    let mut bytes = vec![0x45 + options, 0xc0];
    bytes.extend(length.to_be_bytes());
    bytes.extend([0, 1, 0, 0, 255, PROTOCOL, 0, 0]);
    bytes.extend(source.octets());
    bytes.extend(destination.octets());
    bytes.resize(header, 1);
    bytes.extend(payload);
    assert_eq!(
        Ipv4Packet::new(&bytes).map(|ip| ip.packet().len()),
        Some(bytes.len())
    );
    bytes
}

#[derive(Clone, Debug)]
struct Fields {
    version: Version,
    vrid: u8,
    priority: u8,
    centiseconds: u16,
    seconds: u8,
    checksum: ChecksumForm,
    authentication: V2Authentication,
    addresses: Vec<IpAddr>,
    source: IpAddr,
    destination: IpAddr,
    trailer: Option<[u8; 28]>,
    /// Over IPv6, where a kernel computed it.
    sum_covers_trailer: bool,
    options: u8,
    hop_limit: u8,
}

fn fields() -> impl Strategy<Value = Fields> {
    let address = |family| match family {
        Ipv4 => any::<Ipv4Addr>().prop_map(IpAddr::from).boxed(),
        Ipv6 => any::<Ipv6Addr>().prop_map(IpAddr::from).boxed(),
    };
    let shapes = prop_oneof![Just((V2, Ipv4)), Just((V3, Ipv4)), Just((V3, Ipv6))];
    shapes.prop_flat_map(move |(version, family)| {
        let ends = (address(family), address(family));
        let addresses = proptest::collection::vec(address(family), 1..=255);
        let numbers = (1..=255_u8, any::<u8>(), 1..=4095_u16, 1..=255_u8);
        let form = prop_oneof![
            Just(ChecksumForm::MessageOnly),
            Just(ChecksumForm::PseudoHeader)
        ];
        let trailer = any::<(Option<[u8; 28]>, bool)>();
        let rest = (any::<(u8, [u8; 8])>(), trailer, 0..=10_u8, any::<u8>());
        (ends, addresses, numbers, form, rest).prop_map(
            move |(ends, addresses, numbers, checksum, rest)| {
                let (kind, data) = rest.0;
                Fields {
                    version,
                    vrid: numbers.0,
                    priority: numbers.1,
                    centiseconds: numbers.2,
                    seconds: numbers.3,
                    checksum,
                    authentication: V2Authentication { kind, data },
                    addresses,
                    source: ends.0,
                    destination: ends.1,
                    trailer: rest.1.0,
                    sum_covers_trailer: rest.1.1 && family == Ipv6,
                    options: rest.2,
                    hop_limit: rest.3,
                }
            },
        )
    })
}

impl Fields {
    fn payload(&self) -> Vec<u8> {
        let interval = match self.version {
            V2 => AdvertInterval::from_seconds(self.seconds),
            V3 => AdvertInterval::from_centiseconds(self.centiseconds),
        };
        let outgoing = Outgoing {
            version: self.version,
            vrid: Vrid::new(self.vrid).expect("not zero"),
            priority: self.priority,
            interval: interval.expect("within range"),
            checksum: self.checksum,
            v2_authentication: self.authentication,
            addresses: &self.addresses,
            source: self.source,
            destination: self.destination,
            signature: None,
        };
        let mut buffer = b"what was there before".to_vec();
        encode(&outgoing, &mut buffer).expect("it can be written");
        buffer.extend(self.trailer.iter().flatten());
        if let (true, IpAddr::V6(source), IpAddr::V6(destination)) =
            (self.sum_covers_trailer, self.source, self.destination)
        {
            let protocol = IpNextHeaderProtocol(PROTOCOL);
            let sum = util::ipv6_checksum(&buffer, 3, &[], &source, &destination, protocol);
            buffer[6..8].copy_from_slice(&sum.to_be_bytes());
        }
        buffer
    }

    /// The form in which this is sent.
    fn form(&self) -> ChecksumForm {
        match (self.version, Family::of(self.source)) {
            (V2, _) => ChecksumForm::MessageOnly,
            (V3, Ipv4) => self.checksum,
            (V3, Ipv6) => ChecksumForm::PseudoHeader,
        }
    }

    /// The pseudo-header happens to sum to nothing, as one in 65,535 does, so
    /// that nobody can tell the two forms apart.
    fn another_form_fits(&self, payload: &[u8]) -> bool {
        let (IpAddr::V4(source), IpAddr::V4(destination)) = (self.source, self.destination) else {
            return false;
        };
        let length = payload.len() - self.trailer.map_or(0, |trailer| trailer.len());
        let protocol = IpNextHeaderProtocol(PROTOCOL);
        let message = &payload[..length];
        let with = util::ipv4_checksum(message, 3, &[], &source, &destination, protocol);
        with % 0xffff == util::checksum(message, 3) % 0xffff
    }

    fn compare(&self, heard: &Heard<'_>) {
        assert_eq!(
            (heard.source, heard.destination),
            (self.source, self.destination)
        );
        assert_eq!(heard.family, Family::of(self.source));
        assert_eq!(heard.hop_limit, self.hop_limit);
        let message: &Message<'_> = heard.message.as_ref().expect("a message");
        assert_eq!(message.version, self.version.number());
        assert_eq!(
            (message.kind, message.vrid, message.priority),
            (1, self.vrid, self.priority)
        );
        assert_eq!(usize::from(message.count), self.addresses.len());
        assert!(message.length_exact);
        let timing = match self.version {
            V2 => Timing::V2 {
                interval_seconds: self.seconds,
                authentication: self.authentication,
            },
            V3 => Timing::V3 {
                interval_centiseconds: self.centiseconds,
            },
        };
        assert_eq!(message.timing, timing);
        assert_eq!(message.checksum, Some(self.form()));
        assert_eq!(message.addresses.iter().collect::<Vec<_>>(), self.addresses);
        assert_eq!(message.seal.map(|seal| seal.trailer), self.trailer.as_ref());
    }
}

/// Decodes as the family of the ends demands.
fn decode<'a>(fields: &Fields, payload: &'a [u8], buffer: &'a mut Vec<u8>) -> Heard<'a> {
    match (fields.source, fields.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            *buffer = datagram(source, destination, fields.options, payload);
            buffer[8] = fields.hop_limit;
            // Padding behind the datagram, as a short Ethernet frame has it.
            buffer.extend([0; 9]);
            decode_ipv4(interface(), buffer)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            decode_ipv6(interface(), source, destination, fields.hop_limit, payload)
        }
        ends => panic!("mixed: {ends:?}"),
    }
}

proptest! {
    #[test]
    fn what_was_encoded_decodes_to_the_same_values(fields in fields()) {
        let payload = fields.payload();
        prop_assume!(!fields.another_form_fits(&payload));
        let mut buffer = Vec::new();
        fields.compare(&decode(&fields, &payload, &mut buffer));
    }

    /// One changed bit is noticed, wherever it is: by the checksum, the
    /// length, or the version. (The trailer is the HMAC's to guard.)
    #[test]
    fn a_changed_bit_is_noticed(mut fields in fields(), at: prop::sample::Index, bit in 0..8_u8) {
        fields.trailer = None;
        let mut payload = fields.payload();
        let position = at.index(payload.len());
        payload[position] ^= 1 << bit;
        let mut buffer = Vec::new();
        let heard = decode(&fields, &payload, &mut buffer);
        let message = heard.message.expect("long enough");
        let sound = message.version == fields.version.number()
            && message.length_exact
            && message.checksum == Some(fields.form());
        prop_assert!(!sound, "{message:?}");
    }

    /// The checksum that we send, by another's arithmetic.
    #[test]
    fn checksum_agrees_with_pnet(mut fields in fields()) {
        fields.trailer = None;
        let payload = fields.payload();
        let protocol = IpNextHeaderProtocol(PROTOCOL);
        let expected = match (fields.version, fields.source, fields.destination, fields.checksum) {
            (V3, IpAddr::V4(source), IpAddr::V4(destination), ChecksumForm::PseudoHeader) =>
                util::ipv4_checksum(&payload, 3, &[], &source, &destination, protocol),
            (V3, IpAddr::V6(source), IpAddr::V6(destination), _) =>
                util::ipv6_checksum(&payload, 3, &[], &source, &destination, protocol),
            _ => util::checksum(&payload, 3),
        };
        prop_assert_eq!(&payload[6..8], expected.to_be_bytes());
    }

    #[test]
    fn decoding_never_panics(
        bytes in proptest::collection::vec(any::<u8>(), 0..700),
        source: Ipv6Addr,
        destination: Ipv6Addr,
    ) {
        let _ = decode_ipv4(interface(), &bytes);
        let _ = decode_ipv6(interface(), source, destination, 1, &bytes);
        let _ = parse_arp_claim(&bytes);
        let _ = parse_neighbour_claim(&bytes);
    }

    /// The same with headers that lead further in.
    #[test]
    fn decoding_almost_sound_bytes_never_panics(
        fields in fields(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        kept in any::<prop::sample::Index>(),
    ) {
        let payload = fields.payload();
        let mut bytes = match (fields.source, fields.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) =>
                datagram(source, destination, fields.options, &payload),
            _ => payload,
        };
        for (position, value) in changes {
            let position = position.index(bytes.len().min(40));
            bytes[position] = value;
        }
        bytes.truncate(kept.index(bytes.len() + 1));
        let _ = decode_ipv4(interface(), &bytes);
        let _ = decode_ipv6(interface(), Ipv6Addr::LOCALHOST, GROUP_IPV6, 255, &bytes);
    }
}

const HOST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const PEER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

fn plain(addresses: &[IpAddr]) -> Outgoing<'_> {
    Outgoing {
        version: V3,
        vrid: Vrid::new(7).expect("a VRID"),
        priority: 100,
        interval: AdvertInterval::from_centiseconds(100).expect("an interval"),
        checksum: ChecksumForm::PseudoHeader,
        v2_authentication: V2Authentication::default(),
        addresses,
        source: HOST.into(),
        destination: PEER.into(),
        signature: None,
    }
}

#[test]
fn unicast_with_the_groups_pseudo_header_is_recognised() {
    let addresses = [IpAddr::from([192, 0, 2, 10])];
    let mut buffer = Vec::new();
    let group = Outgoing {
        destination: GROUP_IPV4.into(),
        ..plain(&addresses)
    };
    encode(&group, &mut buffer).expect("it can be written");
    let bytes = datagram(HOST, PEER, 0, &buffer);
    let message = decode_ipv4(interface(), &bytes).message.expect("a message");
    assert_eq!(message.checksum, Some(ChecksumForm::PseudoHeaderOfGroup));
}

/// A pseudo-header that sums to nothing leaves the forms alike.
#[test]
fn of_several_forms_the_first_is_reported() {
    let addresses = [IpAddr::from([192, 0, 2, 10])];
    let mut buffer = Vec::new();
    let outgoing = Outgoing {
        checksum: ChecksumForm::MessageOnly,
        ..plain(&addresses)
    };
    encode(&outgoing, &mut buffer).expect("it can be written");
    let source = Ipv4Addr::new(0xff, 0xff - 112 - 12, 0, 0);
    let bytes = datagram(source, Ipv4Addr::UNSPECIFIED, 0, &buffer);
    let message = decode_ipv4(interface(), &bytes).message.expect("a message");
    assert_eq!(message.checksum, Some(ChecksumForm::PseudoHeader));
}

#[test]
fn reserved_bits_are_no_part_of_the_interval() {
    let mut buffer = Vec::new();
    encode(&plain(&[IpAddr::from([192, 0, 2, 10])]), &mut buffer).expect("it can be written");
    buffer[4] |= 0xf0;
    let bytes = datagram(HOST, PEER, 0, &buffer);
    let message = decode_ipv4(interface(), &bytes).message.expect("a message");
    let interval_centiseconds = 100;
    assert_eq!(
        message.timing,
        Timing::V3 {
            interval_centiseconds
        }
    );
}

#[test]
fn ffff_in_the_checksum_field_stands_for_zero() {
    // An address that brings the sum to 0xffff, so that the field is zero.
    let mut buffer = Vec::new();
    encode(&plain(&[IpAddr::from([0, 0, 0, 0])]), &mut buffer).expect("it can be written");
    let missing = u16::from_be_bytes([buffer[6], buffer[7]]).to_be_bytes();
    let addresses = [IpAddr::from([missing[0], missing[1], 0, 0])];
    encode(&plain(&addresses), &mut buffer).expect("it can be written");
    assert_eq!(buffer[6..8], [0, 0]);
    for field in [[0, 0], [0xff, 0xff]] {
        buffer[6..8].copy_from_slice(&field);
        let bytes = datagram(HOST, PEER, 0, &buffer);
        let message = decode_ipv4(interface(), &bytes).message.expect("a message");
        assert_eq!(message.checksum, Some(ChecksumForm::PseudoHeader));
    }
}

#[test]
fn bad_headers_are_named() {
    let mut buffer = Vec::new();
    encode(&plain(&[IpAddr::from([192, 0, 2, 10])]), &mut buffer).expect("it can be written");
    let good = datagram(HOST, PEER, 0, &buffer);
    let fault = |bytes: &[u8]| decode_ipv4(interface(), bytes).message.err();
    let changed = |position: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[position] = value;
        fault(&bytes)
    };
    assert_eq!(fault(&good), None);
    assert_eq!(fault(&good[..19]), Some(Malformed::IpHeader));
    assert_eq!(fault(&good[..good.len() - 1]), Some(Malformed::IpHeader));
    assert_eq!(
        changed(0, 0x44),
        Some(Malformed::IpHeader),
        "IHL of 4 words"
    );
    assert_eq!(
        changed(0, 0x4f),
        Some(Malformed::IpHeader),
        "IHL past the end"
    );
    assert_eq!(changed(0, 0x65), Some(Malformed::IpHeader), "version 6");
    assert_eq!(changed(3, 19), Some(Malformed::IpHeader), "total length");
    assert_eq!(changed(9, 17), Some(Malformed::Protocol));
    assert_eq!(
        changed(3, 27),
        Some(Malformed::Length),
        "7 bytes of message"
    );
    let short = decode_ipv6(
        interface(),
        Ipv6Addr::LOCALHOST,
        GROUP_IPV6,
        255,
        &buffer[..7],
    );
    assert_eq!(short.message.err(), Some(Malformed::Length));
}

#[test]
fn a_length_that_is_not_exact_says_so() {
    let mut buffer = Vec::new();
    encode(&plain(&[IpAddr::from([192, 0, 2, 10])]), &mut buffer).expect("it can be written");
    for extra in [1, 4, 8, 27, 29, 32, 56] {
        let mut longer = buffer.clone();
        longer.extend(vec![0; extra]);
        let bytes = datagram(HOST, PEER, 0, &longer);
        let message = decode_ipv4(interface(), &bytes).message.expect("a message");
        assert!(!message.length_exact, "{extra} bytes too many");
        assert_eq!(message.checksum, None);
        assert!(message.seal.is_none());
        assert_eq!(message.addresses.iter().count(), 0);
    }
    // Version 2 exists over IPv4 only.
    buffer[0] = 0x21;
    let heard = decode_ipv6(interface(), Ipv6Addr::LOCALHOST, GROUP_IPV6, 255, &buffer);
    assert!(!heard.message.expect("a message").length_exact);
}

#[test]
fn what_cannot_be_represented_is_refused() {
    let v4 = [IpAddr::from([192, 0, 2, 10])];
    let v6 = [IpAddr::V6(Ipv6Addr::LOCALHOST)];
    let many = [v4[0]; 256];
    let attempt = |outgoing: Outgoing<'_>| {
        let mut buffer = vec![1, 2, 3];
        let error = encode(&outgoing, &mut buffer).expect_err("it cannot be written");
        assert!(buffer.is_empty(), "{error}");
        error
    };
    assert_eq!(attempt(plain(&[])), EncodeError::AddressCount(0));
    assert_eq!(attempt(plain(&many)), EncodeError::AddressCount(256));
    assert!(matches!(
        attempt(plain(&v6)),
        EncodeError::MixedFamilies { .. }
    ));
    let destination = GROUP_IPV6.into();
    let mixed = Outgoing {
        destination,
        ..plain(&v4)
    };
    assert!(matches!(attempt(mixed), EncodeError::MixedEnds { .. }));
    let source = v6[0];
    let old = Outgoing {
        version: V2,
        source,
        destination,
        ..plain(&v6)
    };
    assert_eq!(attempt(old), EncodeError::Version2OverIpv6);
    let interval = AdvertInterval::from_seconds(255).expect("an interval");
    let slow = Outgoing {
        interval,
        ..plain(&v4)
    };
    let error = attempt(slow);
    assert_eq!(
        error.to_string(),
        "an interval of 255000 ms does not exist in version 3"
    );
    let interval = AdvertInterval::from_centiseconds(150).expect("an interval");
    let odd = Outgoing {
        version: V2,
        interval,
        ..plain(&v4)
    };
    assert_eq!(attempt(odd), EncodeError::Interval(interval, V2));
}
