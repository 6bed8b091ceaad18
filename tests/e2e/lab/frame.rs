//! What a captured frame says: an own small reader, independent of the
//! product's codecs, so that a fault in those cannot hide itself.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    pub const BROADCAST: Mac = Mac([0xff; 6]);
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One frame as it left a host.
#[derive(Clone, Debug)]
pub struct Frame {
    pub at: Instant,
    /// Which host's interface it came out of.
    pub host: String,
    pub interface: String,
    pub source_mac: Mac,
    pub destination_mac: Mac,
    pub what: What,
    /// As they were on the wire.
    pub bytes: Vec<u8>,
}

#[derive(Clone, Debug)]
pub enum What {
    Advert(Advert),
    Arp(Arp),
    NeighbourAdvert(NeighbourAdvert),
}

#[derive(Clone, Debug)]
pub struct Advert {
    pub version: u8,
    pub vrid: u8,
    pub priority: u8,
    pub interval: Duration,
    pub source: IpAddr,
    pub destination: IpAddr,
    /// TTL or hop limit.
    pub ttl: u8,
    /// TOS or traffic class.
    pub tos: u8,
    pub checksum: Checksum,
    pub addresses: Vec<IpAddr>,
    /// Bytes after the message that the header announces.
    pub trailing: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    MessageOnly,
    PseudoHeader,
    Wrong,
}

#[derive(Clone, Debug)]
pub struct Arp {
    /// 1 request, 2 reply.
    pub operation: u16,
    pub sender_mac: Mac,
    pub sender: Ipv4Addr,
    pub target_mac: Mac,
    pub target: Ipv4Addr,
}

#[derive(Clone, Debug)]
pub struct NeighbourAdvert {
    pub source: Ipv6Addr,
    pub destination: Ipv6Addr,
    pub hop_limit: u8,
    pub router: bool,
    pub solicited: bool,
    pub overriding: bool,
    pub target: Ipv6Addr,
    pub target_mac: Option<Mac>,
}

/// For messages.
impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            What::Advert(a) => write!(
                f,
                "v{} vrid {} priority {} every {:?}, {} > {} {:?} {:?}",
                a.version,
                a.vrid,
                a.priority,
                a.interval,
                a.source,
                a.destination,
                a.checksum,
                a.addresses
            ),
            What::Arp(a) => write!(
                f,
                "arp {} {} is {}, to {} {}",
                a.operation, a.sender, a.sender_mac, a.target, a.target_mac
            ),
            What::NeighbourAdvert(n) => write!(
                f,
                "na {} is {:?}, {} > {}",
                n.target, n.target_mac, n.source, n.destination
            ),
        }
    }
}

impl Frame {
    pub fn advert(&self) -> Option<&Advert> {
        match &self.what {
            What::Advert(advert) => Some(advert),
            What::Arp(_) | What::NeighbourAdvert(_) => None,
        }
    }

    /// An advertisement of `host` with this priority.
    pub fn is_advert(&self, host: &str, priority: u8) -> bool {
        self.host == host && self.advert().is_some_and(|a| a.priority == priority)
    }

    /// The address that this frame announces to everyone, if it does: a
    /// gratuitous ARP or an unsolicited NA.
    pub fn announces(&self) -> Option<IpAddr> {
        match &self.what {
            What::Arp(arp) if arp.sender == arp.target => Some(arp.sender.into()),
            What::NeighbourAdvert(na) if !na.solicited => Some(na.target.into()),
            What::Advert(_) | What::Arp(_) | What::NeighbourAdvert(_) => None,
        }
    }
}

/// Reads the frame after its time and port are known; `None` when it is of no
/// interest here.
pub fn read(bytes: &[u8]) -> Option<(Mac, Mac, What)> {
    let destination = mac(bytes, 0)?;
    let source = mac(bytes, 6)?;
    let payload = bytes.get(14..)?;
    let what = match half(bytes, 12)? {
        0x0806 => What::Arp(arp(payload)?),
        0x0800 => What::Advert(advert_v4(payload)?),
        0x86dd if *payload.get(6)? == 112 => What::Advert(advert_v6(payload)?),
        0x86dd => What::NeighbourAdvert(neighbour_advert(payload)?),
        _ => return None,
    };
    Some((source, destination, what))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn mac(bytes: &[u8], at: usize) -> Option<Mac> {
    Some(Mac(bytes.get(at..at + 6)?.try_into().ok()?))
}

fn v4(bytes: &[u8], at: usize) -> Option<Ipv4Addr> {
    let octets: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(octets.into())
}

fn v6(bytes: &[u8], at: usize) -> Option<Ipv6Addr> {
    let octets: [u8; 16] = bytes.get(at..at + 16)?.try_into().ok()?;
    Some(octets.into())
}

fn arp(bytes: &[u8]) -> Option<Arp> {
    Some(Arp {
        operation: half(bytes, 6)?,
        sender_mac: mac(bytes, 8)?,
        sender: v4(bytes, 14)?,
        target_mac: mac(bytes, 18)?,
        target: v4(bytes, 24)?,
    })
}

fn advert_v4(bytes: &[u8]) -> Option<Advert> {
    if *bytes.get(9)? != 112 {
        return None;
    }
    let header = usize::from(bytes.first()? & 15) * 4;
    let message = bytes.get(header..usize::from(half(bytes, 2)?))?;
    advert(
        message,
        v4(bytes, 12)?.into(),
        v4(bytes, 16)?.into(),
        *bytes.get(8)?,
        *bytes.get(1)?,
    )
}

fn advert_v6(bytes: &[u8]) -> Option<Advert> {
    let class = u8::try_from((half(bytes, 0)? >> 4) & 0xff).ok()?;
    let message = bytes.get(40..40 + usize::from(half(bytes, 4)?))?;
    advert(
        message,
        v6(bytes, 8)?.into(),
        v6(bytes, 24)?.into(),
        *bytes.get(7)?,
        class,
    )
}

fn advert(message: &[u8], source: IpAddr, destination: IpAddr, ttl: u8, tos: u8) -> Option<Advert> {
    let version = message.first()? >> 4;
    let count = usize::from(*message.get(3)?);
    let size = if source.is_ipv4() { 4 } else { 16 };
    let end = 8 + count * size + if version == 2 { 8 } else { 0 };
    let interval = match version {
        2 => Duration::from_secs(u64::from(*message.get(5)?)),
        _ => Duration::from_millis(u64::from(half(message, 4)? & 0x0fff) * 10),
    };
    let addresses = (0..count)
        .map(|index| match size {
            4 => v4(message, 8 + index * 4).map(IpAddr::from),
            _ => v6(message, 8 + index * 16).map(IpAddr::from),
        })
        .collect::<Option<_>>()?;
    Some(Advert {
        version,
        vrid: *message.get(1)?,
        priority: *message.get(2)?,
        interval,
        source,
        destination,
        ttl,
        tos,
        checksum: checksum(message.get(..end)?, source, destination),
        addresses,
        trailing: message.len() - end,
    })
}

fn checksum(message: &[u8], source: IpAddr, destination: IpAddr) -> Checksum {
    if ones_complement_sum(message) == 0xffff {
        return Checksum::MessageOnly;
    }
    let covered = [
        pseudo_header(source, destination, message.len()),
        message.to_vec(),
    ]
    .concat();
    if ones_complement_sum(&covered) == 0xffff {
        return Checksum::PseudoHeader;
    }
    Checksum::Wrong
}

/// As RFC 768 (IPv4) and RFC 8200 section 8.1 (IPv6) draw it.
pub fn pseudo_header(source: IpAddr, destination: IpAddr, length: usize) -> Vec<u8> {
    let length = u16::try_from(length).expect("a message shorter than 64 KiB");
    let [high, low] = length.to_be_bytes();
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => [
            &source.octets()[..],
            &destination.octets(),
            &[0, 112, high, low],
        ]
        .concat(),
        (IpAddr::V6(source), IpAddr::V6(destination)) => [
            &source.octets()[..],
            &destination.octets(),
            &[0, 0, high, low, 0, 0, 0, 112],
        ]
        .concat(),
        _ => Vec::new(),
    }
}

/// RFC 1071; 0xffff over bytes that contain their own right checksum.
pub fn ones_complement_sum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u32::from))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap_or(u16::MAX)
}

fn neighbour_advert(bytes: &[u8]) -> Option<NeighbourAdvert> {
    let message = bytes.get(40..)?;
    if *bytes.get(6)? != 58 || *message.first()? != 136 {
        return None;
    }
    let flags = *message.get(4)?;
    let target_mac = match (message.get(24), message.get(25)) {
        (Some(2), Some(1)) => mac(message, 26),
        _ => None,
    };
    Some(NeighbourAdvert {
        source: v6(bytes, 8)?,
        destination: v6(bytes, 24)?,
        hop_limit: *bytes.get(7)?,
        router: flags & 0x80 != 0,
        solicited: flags & 0x40 != 0,
        overriding: flags & 0x20 != 0,
        target: v6(message, 8)?,
        target_mac,
    })
}
