//! The receive ladder (PROTOCOL section 3): which packets are heard, and
//! under which name the others are counted. The order of the rungs decides.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::authentication::{self, Distrust, Mark, Marks};
use super::event::{Heard, Malformed, Message, Timing};
use super::settings::InstanceSettings;
use super::status::Counter;
use super::values::{AdvertInterval, ChecksumForm, Family, InstanceId, Version};

/// Where version 2 and 3 advertise over IPv4 (RFC 9568 section 5.1.1.2).
pub const GROUP_IPV4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
/// Where version 3 advertises over IPv6 (RFC 9568 section 5.1.2.2).
pub const GROUP_IPV6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);

pub fn group(family: Family) -> IpAddr {
    match family {
        Family::Ipv4 => GROUP_IPV4.into(),
        Family::Ipv6 => GROUP_IPV6.into(),
    }
}

/// An advertisement that passed every rung.
#[derive(Clone, Copy, Debug)]
pub(super) struct Advert<'m> {
    pub source: IpAddr,
    /// 0 resigns.
    pub priority: u8,
    /// The sender's interval.
    pub interval: AdvertInterval,
    pub checksum: ChecksumForm,
    pub message: &'m Message<'m>,
    /// Where it was proven who sent it: what is older is no longer believed.
    pub mark: Option<Mark>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Discard {
    pub counter: Counter,
    pub why: Why,
}

/// The detail of a discard; put into words only when it is reported.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Why {
    IpHeader,
    NotVrrp,
    OwnSource,
    Destination(IpAddr),
    NotAPeer,
    Ttl { got: u8, lowest: u8 },
    TooShort,
    UnknownVersion(u8),
    Type(u8),
    UnknownVrid(u8),
    OtherVersion { got: u8, ours: u8 },
    NoAddresses,
    Length,
    Checksum,
    Authentication(Distrust),
    ZeroInterval,
    Interval { theirs: u8, ours: AdvertInterval },
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::IpHeader => f.write_str("the IP header does not fit the datagram"),
            Why::NotVrrp => f.write_str("it is not IP protocol 112"),
            Why::OwnSource => f.write_str(
                "its source is an address of this host: our own advertisements come back, \
                 or two hosts have one address",
            ),
            Why::Destination(destination) => write!(
                f,
                "it was sent to {destination}, where this instance does not listen"
            ),
            Why::NotAPeer => f.write_str("its source is not listed in unicast_peers"),
            Why::Ttl { got, lowest } => write!(f, "TTL or hop limit {got} is below {lowest}"),
            Why::TooShort => f.write_str("it is shorter than a VRRP header"),
            Why::UnknownVersion(version) => write!(f, "VRRP version {version} is unknown"),
            Why::Type(kind) => write!(f, "type {kind} is no advertisement"),
            Why::UnknownVrid(vrid) => write!(
                f,
                "virtual router {vrid} is not configured here; another pair may use this segment"
            ),
            Why::OtherVersion { got, ours } => {
                write!(f, "it is VRRP version {got}, this instance speaks {ours}")
            }
            Why::NoAddresses => f.write_str("it lists no address"),
            Why::Length => f.write_str("its length does not fit its count of addresses"),
            Why::Checksum => f.write_str("its checksum is wrong in every known form"),
            Why::Authentication(distrust) => distrust.fmt(f),
            Why::ZeroInterval => f.write_str("its advertisement interval is 0"),
            Why::Interval { theirs, ours } => write!(
                f,
                "its interval is {theirs} s, ours is {} s: version 2 demands that they be equal",
                ours.as_duration().as_secs()
            ),
        }
    }
}

/// Facts about the receiving instance, if the VRID belongs to one.
#[derive(Clone, Copy)]
pub(super) struct Receiver<'s> {
    pub id: InstanceId,
    pub settings: &'s InstanceSettings,
    pub source: Option<IpAddr>,
    pub marks: &'s Marks,
}

/// Judges one packet. `own_source`: its source is an address of the interface
/// that it came in by.
pub(super) fn judge<'m>(
    heard: &'m Heard<'m>,
    receiver: Option<Receiver<'_>>,
    own_source: bool,
) -> Result<Advert<'m>, Discard> {
    let message = envelope(heard, receiver, own_source)?;
    let receiver = header(message, receiver)?;
    body(heard, message, &receiver)
}

fn fail<T>(counter: Counter, why: Why) -> Result<T, Discard> {
    Err(Discard { counter, why })
}

/// Rungs 1 to 6: the packet around the message.
fn envelope<'m>(
    heard: &'m Heard<'m>,
    receiver: Option<Receiver<'_>>,
    own_source: bool,
) -> Result<&'m Message<'m>, Discard> {
    match heard.message {
        Err(Malformed::IpHeader) => return fail(Counter::IpHeaderError, Why::IpHeader),
        Err(Malformed::Protocol) => return fail(Counter::ProtocolError, Why::NotVrrp),
        Err(Malformed::Length) | Ok(_) => {}
    }
    if own_source {
        return fail(Counter::Loop, Why::OwnSource);
    }
    if let Some(receiver) = receiver {
        let unicast = !receiver.settings.unicast_peers.is_empty();
        let expected = if unicast {
            receiver.source
        } else {
            Some(group(heard.family))
        };
        if expected != Some(heard.destination) {
            let why = Why::Destination(heard.destination);
            return fail(Counter::UnexpectedSource, why);
        }
        if unicast && !receiver.settings.unicast_peers.contains(&heard.source) {
            return fail(Counter::UnexpectedSource, Why::NotAPeer);
        }
    }
    let lowest = receiver.map_or(255, |receiver| receiver.settings.ttl);
    if heard.hop_limit < lowest {
        let got = heard.hop_limit;
        return fail(Counter::IpTtlError, Why::Ttl { got, lowest });
    }
    match &heard.message {
        Ok(message) => Ok(message),
        Err(_) => fail(Counter::PacketLengthError, Why::TooShort),
    }
}

/// Rungs 7 to 10: is it for us at all?
fn header<'s>(
    message: &Message<'_>,
    receiver: Option<Receiver<'s>>,
) -> Result<Receiver<'s>, Discard> {
    if message.version != 2 && message.version != 3 {
        return fail(Counter::VersionError, Why::UnknownVersion(message.version));
    }
    if message.kind != 1 {
        return fail(Counter::InvalidType, Why::Type(message.kind));
    }
    let Some(receiver) = receiver else {
        return fail(Counter::VridError, Why::UnknownVrid(message.vrid));
    };
    let ours = receiver.settings.version.number();
    if message.version != ours {
        let got = message.version;
        return fail(Counter::VersionError, Why::OtherVersion { got, ours });
    }
    Ok(receiver)
}

/// Rungs 11 to 16: the message itself.
fn body<'m>(
    heard: &Heard<'_>,
    message: &'m Message<'m>,
    receiver: &Receiver<'_>,
) -> Result<Advert<'m>, Discard> {
    let settings = receiver.settings;
    if message.count == 0 {
        return fail(Counter::PacketLengthError, Why::NoAddresses);
    }
    if !message.length_exact {
        return fail(Counter::PacketLengthError, Why::Length);
    }
    let Some(checksum) = message.checksum else {
        return fail(Counter::ChecksumError, Why::Checksum);
    };
    let mark = match authentication::judge(heard, message, receiver) {
        Ok(mark) => mark,
        Err(distrust) => {
            let why = Why::Authentication(distrust);
            return fail(Counter::AuthenticationError, why);
        }
    };
    let interval = match (message.timing, settings.version) {
        (
            Timing::V2 {
                interval_seconds, ..
            },
            Version::V2,
        ) => {
            if settings.advert_interval.as_seconds() != Some(interval_seconds) {
                let ours = settings.advert_interval;
                let theirs = interval_seconds;
                return fail(Counter::IntervalError, Why::Interval { theirs, ours });
            }
            settings.advert_interval
        }
        (
            Timing::V3 {
                interval_centiseconds,
            },
            Version::V3,
        ) => match AdvertInterval::from_centiseconds(interval_centiseconds) {
            Some(interval) => interval,
            None => return fail(Counter::IntervalError, Why::ZeroInterval),
        },
        // Rung 10 has matched the version; only a codec's mistake leads here.
        (Timing::V2 { .. }, Version::V3)
        | (Timing::V3 { .. }, Version::V2)
        | (Timing::Unknown, _) => {
            return fail(Counter::VersionError, Why::UnknownVersion(message.version));
        }
    };
    Ok(Advert {
        source: heard.source,
        priority: message.priority,
        interval,
        checksum,
        message,
        mark,
    })
}
