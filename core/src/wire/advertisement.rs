//! VRRP advertisements, version 2 and 3: taken apart without judging them
//! (the receive ladder does that), and put together.
//!
//! Version 3 (RFC 9568 section 5.1):
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |Version| Type  | Virtual Rtr ID|   Priority    |IPvX Addr Count|
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |Reserve| Max Advertise Interval|          Checksum             |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                    IPv4 or IPv6 addresses                     |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```
//!
//! Version 2 (RFC 3768 section 5.1) differs in the second word and the end:
//!
//! ```text
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |   Auth Type   |   Adver Int   |          Checksum             |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                         IPv4 addresses                        |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                 Authentication Data, 8 bytes                  |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use pnet_packet::ipv4::Ipv4Packet;

use super::authentication::{self, Signature};
use super::checksum::Sum;
use crate::agent::event::{AddressBytes, Heard, Malformed, Message, Timing, V2Authentication};
use crate::agent::ladder::group;
use crate::agent::seal::{Seal, Sequence, TRAILER_BYTES};
use crate::agent::values::{AdvertInterval, ChecksumForm, Family, InterfaceName, Version, Vrid};

/// IP protocol number of VRRP.
pub const PROTOCOL: u8 = 112;
/// TTL or hop limit of every advertisement.
pub const HOP_LIMIT: u8 = 255;

const TYPE_ADVERTISEMENT: u8 = 1;
pub(super) const HEADER_LENGTH: usize = 8;
const V2_AUTHENTICATION_LENGTH: usize = 8;

/// An advertisement to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    pub version: Version,
    pub vrid: Vrid,
    /// 0 resigns.
    pub priority: u8,
    pub interval: AdvertInterval,
    /// Version 3 over IPv4; the others have one form only.
    pub checksum: ChecksumForm,
    pub v2_authentication: V2Authentication,
    /// At most 255, all of the family that `source` is of.
    pub addresses: &'a [IpAddr],
    pub source: IpAddr,
    pub destination: IpAddr,
    /// Adds the authentication trailer.
    pub signature: Option<Signature<'a>>,
}

/// Why an advertisement cannot be written. Nothing was encoded and the buffer
/// is empty; settings that passed validation cause none of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    #[error("an advertisement lists 1 to 255 addresses, not {0}")]
    AddressCount(usize),
    #[error("{address} cannot be listed in an advertisement that leaves from {source_address}")]
    MixedFamilies {
        address: IpAddr,
        source_address: IpAddr,
    },
    #[error("an advertisement from {source_address} cannot go to {destination}")]
    MixedEnds {
        source_address: IpAddr,
        destination: IpAddr,
    },
    #[error("version 2 has no IPv6")]
    Version2OverIpv6,
    #[error("an interval of {}0 ms does not exist in version {}", .0.as_centiseconds(), .1.number())]
    Interval(AdvertInterval, Version),
}

/// Takes apart a datagram as a raw socket delivers it, beginning with the
/// IPv4 header. Its options are skipped and bytes after its total length are
/// no part of it.
pub fn decode_ipv4(interface: InterfaceName, datagram: &[u8]) -> Heard<'_> {
    let mut heard = Heard {
        interface,
        family: Family::Ipv4,
        source: Ipv4Addr::UNSPECIFIED.into(),
        destination: Ipv4Addr::UNSPECIFIED.into(),
        hop_limit: 0,
        message: Err(Malformed::IpHeader),
        witness: None,
    };
    let Some(header) = Ipv4Packet::new(datagram) else {
        return heard;
    };
    let header_length = usize::from(header.get_header_length()) * 4;
    let total_length = usize::from(header.get_total_length());
    if header.get_version() != 4 || header_length < Ipv4Packet::minimum_packet_size() {
        return heard;
    }
    // A datagram cut short for want of buffer ends here too.
    let Some(payload) = datagram.get(header_length..total_length) else {
        return heard;
    };
    let (source, destination) = (header.get_source(), header.get_destination());
    heard.source = source.into();
    heard.destination = destination.into();
    heard.hop_limit = header.get_ttl();
    heard.message = if header.get_next_level_protocol().0 == PROTOCOL {
        decode_message(heard.source, heard.destination, payload)
    } else {
        Err(Malformed::Protocol)
    };
    heard
}

/// Takes apart a payload that begins with the VRRP header, as an IPv6 raw
/// socket delivers it; the rest comes from its control messages.
pub fn decode_ipv6(
    interface: InterfaceName,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    hop_limit: u8,
    payload: &[u8],
) -> Heard<'_> {
    Heard {
        interface,
        family: Family::Ipv6,
        source: source.into(),
        destination: destination.into(),
        hop_limit,
        message: decode_message(source.into(), destination.into(), payload),
        witness: None,
    }
}

fn decode_message(
    source: IpAddr,
    destination: IpAddr,
    payload: &[u8],
) -> Result<Message<'_>, Malformed> {
    let family = Family::of(source);
    let (header, _) = payload
        .split_first_chunk::<HEADER_LENGTH>()
        .ok_or(Malformed::Length)?;
    let [version_and_type, vrid, priority, count, high, low, _, _] = *header;
    let version = version_and_type >> 4;

    let parts = Parts::split(version, family, count, payload);
    let timing = match version {
        2 => Timing::V2 {
            interval_seconds: low,
            authentication: V2Authentication {
                kind: high,
                data: parts.map(|parts| parts.authentication).unwrap_or_default(),
            },
        },
        3 => Timing::V3 {
            // The upper four bits are reserved and ignored.
            interval_centiseconds: u16::from_be_bytes([high & 0x0f, low]),
        },
        _ => Timing::Unknown,
    };
    Ok(Message {
        version,
        kind: version_and_type & 0x0f,
        vrid,
        priority,
        count,
        length_exact: parts.is_some(),
        checksum: parts.and_then(|parts| parts.checksum(version, source, destination, payload)),
        timing,
        addresses: AddressBytes::new(family, parts.map_or(&[], |parts| parts.addresses)),
        seal: parts.and_then(|parts| parts.seal()),
    })
}

/// A payload whose length is exactly right.
#[derive(Clone, Copy)]
struct Parts<'a> {
    /// Up to the trailer.
    message: &'a [u8],
    addresses: &'a [u8],
    authentication: [u8; V2_AUTHENTICATION_LENGTH],
    trailer: Option<&'a [u8; TRAILER_BYTES]>,
}

impl<'a> Parts<'a> {
    fn split(version: u8, family: Family, count: u8, payload: &'a [u8]) -> Option<Self> {
        let (address_length, authentication_length) = match (version, family) {
            (2, Family::Ipv4) => (4, V2_AUTHENTICATION_LENGTH),
            (3, Family::Ipv4) => (4, 0),
            (3, Family::Ipv6) => (16, 0),
            _ => return None,
        };
        let addresses_end = HEADER_LENGTH + usize::from(count) * address_length;
        let (message, rest) = payload.split_at_checked(addresses_end + authentication_length)?;
        // Known by its length alone: what it says is judged with the keys.
        let trailer = match rest.len() {
            0 => None,
            TRAILER_BYTES => Some(rest.first_chunk()?),
            _ => return None,
        };
        let authentication = match authentication_length {
            0 => [0; V2_AUTHENTICATION_LENGTH],
            _ => *message.last_chunk()?,
        };
        Some(Self {
            message,
            addresses: message.get(HEADER_LENGTH..addresses_end)?,
            authentication,
            trailer,
        })
    }

    fn seal(&self) -> Option<Seal<'a>> {
        let trailer = self.trailer?;
        let (head, _) = trailer.split_first_chunk::<4>()?;
        let [kind, key, ..] = *head;
        let sequence = trailer.get(4..)?.first_chunk::<8>()?;
        Some(Seal {
            kind,
            key,
            sequence: Sequence::from_bits(u64::from_be_bytes(*sequence)),
            message: self.message,
            trailer,
        })
    }

    /// The first form that fits, in the order of likelihood.
    fn checksum(
        &self,
        version: u8,
        source: IpAddr,
        destination: IpAddr,
        payload: &[u8],
    ) -> Option<ChecksumForm> {
        let sound = |form, covered| message_sum(form, source, destination, covered).is_sound();
        match (version, Family::of(source)) {
            (2, _) => {
                sound(ChecksumForm::MessageOnly, self.message).then_some(ChecksumForm::MessageOnly)
            }
            (_, Family::Ipv4) => [
                ChecksumForm::PseudoHeader,
                ChecksumForm::MessageOnly,
                ChecksumForm::PseudoHeaderOfGroup,
            ]
            .into_iter()
            .find(|form| sound(*form, self.message)),
            // Where the sender's kernel computes it, it covers the trailer.
            (_, Family::Ipv6) => [self.message, payload]
                .into_iter()
                .any(|covered| sound(ChecksumForm::PseudoHeader, covered))
                .then_some(ChecksumForm::PseudoHeader),
        }
    }
}

fn message_sum(form: ChecksumForm, source: IpAddr, destination: IpAddr, message: &[u8]) -> Sum {
    let named = match form {
        ChecksumForm::MessageOnly => return Sum::default().bytes(message),
        ChecksumForm::PseudoHeader => destination,
        ChecksumForm::PseudoHeaderOfGroup => group(Family::of(source)),
    };
    Sum::pseudo_header(source, named, PROTOCOL, message.len()).bytes(message)
}

/// Writes the message, checksum included, in place of what `buffer` held. The
/// IP header is the kernel's work; over IPv6 the checksum is not left to it.
///
/// Without an error when the settings are sound: see [`EncodeError`]. No
/// allocation once the buffer has grown to its size.
pub fn encode(outgoing: &Outgoing<'_>, buffer: &mut Vec<u8>) -> Result<(), EncodeError> {
    buffer.clear();
    let count = check(outgoing)?;
    let interval = outgoing.interval;
    let inexact = EncodeError::Interval(interval, outgoing.version);
    let [high, low] = match outgoing.version {
        Version::V2 => [
            outgoing.v2_authentication.kind,
            interval.as_seconds().ok_or(inexact)?,
        ],
        Version::V3 if interval.as_centiseconds() > AdvertInterval::V3_MAX_CENTISECONDS => {
            return Err(inexact);
        }
        Version::V3 => interval.as_centiseconds().to_be_bytes(),
    };
    let version_and_type = outgoing.version.number() << 4 | TYPE_ADVERTISEMENT;
    buffer.extend([
        version_and_type,
        outgoing.vrid.get(),
        outgoing.priority,
        count,
    ]);
    buffer.extend([high, low, 0, 0]);
    for address in outgoing.addresses {
        match address {
            IpAddr::V4(address) => buffer.extend(address.octets()),
            IpAddr::V6(address) => buffer.extend(address.octets()),
        }
    }
    let form = match (outgoing.version, Family::of(outgoing.source)) {
        (Version::V2, _) => {
            buffer.extend(outgoing.v2_authentication.data);
            ChecksumForm::MessageOnly
        }
        (Version::V3, Family::Ipv4) => outgoing.checksum,
        (Version::V3, Family::Ipv6) => ChecksumForm::PseudoHeader,
    };
    let signed = outgoing.signature.and_then(|signature| {
        // Over the checksum as zero, which it still is.
        authentication::trailer(&signature, outgoing.source, buffer)
    });
    // Over IPv6 the receiver's kernel may check it, over all that arrives.
    let covered_whole = Family::of(outgoing.source) == Family::Ipv6;
    let trailer = signed
        .as_ref()
        .map_or(&[][..], <[u8; TRAILER_BYTES]>::as_slice);
    if covered_whole {
        buffer.extend(trailer);
    }
    let sum = message_sum(form, outgoing.source, outgoing.destination, buffer);
    if let Some(field) = buffer.get_mut(6..HEADER_LENGTH) {
        field.copy_from_slice(&sum.checksum().to_be_bytes());
    }
    if !covered_whole {
        buffer.extend(trailer);
    }
    Ok(())
}

/// The number of addresses, when all that is to be encoded fits together.
fn check(outgoing: &Outgoing<'_>) -> Result<u8, EncodeError> {
    let (source_address, destination) = (outgoing.source, outgoing.destination);
    let family = Family::of(source_address);
    if outgoing.version == Version::V2 && family == Family::Ipv6 {
        return Err(EncodeError::Version2OverIpv6);
    }
    if Family::of(destination) != family {
        return Err(EncodeError::MixedEnds {
            source_address,
            destination,
        });
    }
    let stranger = |address: &&IpAddr| Family::of(**address) != family;
    if let Some(&address) = outgoing.addresses.iter().find(stranger) {
        return Err(EncodeError::MixedFamilies {
            address,
            source_address,
        });
    }
    let length = outgoing.addresses.len();
    u8::try_from(length)
        .ok()
        .filter(|count| *count > 0)
        .ok_or(EncodeError::AddressCount(length))
}
