//! Small values that refuse nonsense at construction.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU8;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// Virtual router identifier, 1..=255 (RFC 9568 section 5.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vrid(NonZeroU8);

impl Vrid {
    pub fn new(value: u8) -> Option<Self> {
        NonZeroU8::new(value).map(Self)
    }

    pub fn get(self) -> u8 {
        self.0.get()
    }
}

impl fmt::Display for Vrid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A priority that takes part in the election, 1..=255; 255 is the address
/// owner's. Priority 0 exists only on the wire, where it resigns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(NonZeroU8);

impl Priority {
    pub const OWNER: Priority = Priority(NonZeroU8::MAX);

    pub fn new(value: u8) -> Option<Self> {
        NonZeroU8::new(value).map(Self)
    }

    pub fn get(self) -> u8 {
        self.0.get()
    }

    pub fn is_owner(self) -> bool {
        self == Self::OWNER
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Protocol version of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// RFC 3768; IPv4 only, whole seconds.
    V2,
    /// RFC 9568; IPv4 and IPv6, centiseconds.
    V3,
}

impl Version {
    pub fn number(self) -> u8 {
        match self {
            Version::V2 => 2,
            Version::V3 => 3,
        }
    }
}

/// How long the kernel keeps an address without a renewal: whole seconds, at
/// least 2 (its own clock for addresses is that coarse).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lease(u32);

impl Lease {
    pub const SHORTEST: Lease = Lease(2);

    /// `None` below two seconds, and for the number that means "for ever".
    pub fn from_seconds(seconds: u32) -> Option<Self> {
        (Self::SHORTEST.0..u32::MAX)
            .contains(&seconds)
            .then_some(Self(seconds))
    }

    pub fn seconds(self) -> u32 {
        self.0
    }

    pub fn as_duration(self) -> Duration {
        Duration::from_secs(u64::from(self.0))
    }
}

/// Address family that carries an instance's advertisements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    Ipv4,
    Ipv6,
}

impl Family {
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Family::Ipv4,
            IpAddr::V6(_) => Family::Ipv6,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Family::Ipv4 => "ipv4",
            Family::Ipv6 => "ipv6",
        }
    }
}

/// How the checksum of a version 3 advertisement over IPv4 is made. Version 2
/// is always `MessageOnly`, version 3 over IPv6 always `PseudoHeader`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChecksumForm {
    /// Over the VRRP message alone (RFC 9568 section 5.2.8 for IPv4).
    MessageOnly,
    /// With the pseudo-header; what keepalived and FRR send.
    PseudoHeader,
    /// With a pseudo-header that names the multicast group although the
    /// packet went to a unicast peer: old keepalived. Received, never sent.
    PseudoHeaderOfGroup,
}

impl ChecksumForm {
    pub fn name(self) -> &'static str {
        match self {
            ChecksumForm::MessageOnly => "rfc9568",
            ChecksumForm::PseudoHeader => "pseudo-header",
            ChecksumForm::PseudoHeaderOfGroup => "pseudo-header-of-group",
        }
    }
}

/// Advertisement interval: 1..=4095 centiseconds in version 3, 1..=255 whole
/// seconds in version 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AdvertInterval {
    centiseconds: u16,
}

impl AdvertInterval {
    pub const V3_MAX_CENTISECONDS: u16 = 4095;

    pub fn from_centiseconds(centiseconds: u16) -> Option<Self> {
        (1..=Self::V3_MAX_CENTISECONDS)
            .contains(&centiseconds)
            .then_some(Self { centiseconds })
    }

    pub fn from_seconds(seconds: u8) -> Option<Self> {
        (seconds > 0).then(|| Self {
            centiseconds: u16::from(seconds) * 100,
        })
    }

    /// The interval that `span` is, exactly; `None` when the version cannot
    /// carry it.
    pub fn from_duration(version: Version, span: Duration) -> Option<Self> {
        match version {
            Version::V2 => {
                let seconds = u8::try_from(span.as_secs()).ok()?;
                (span.subsec_nanos() == 0).then_some(())?;
                Self::from_seconds(seconds)
            }
            Version::V3 => {
                (span.as_nanos().is_multiple_of(10_000_000)).then_some(())?;
                Self::from_centiseconds(u16::try_from(span.as_millis() / 10).ok()?)
            }
        }
    }

    pub fn as_duration(self) -> Duration {
        Duration::from_millis(u64::from(self.centiseconds) * 10)
    }

    /// Version 3's field; at most 4095 when made for version 3.
    pub fn as_centiseconds(self) -> u16 {
        self.centiseconds
    }

    /// Version 2's field; `None` when it is no whole number of seconds.
    pub fn as_seconds(self) -> Option<u8> {
        (self.centiseconds.is_multiple_of(100))
            .then(|| u8::try_from(self.centiseconds / 100).ok())
            .flatten()
    }
}

/// Name of a network interface; 1..=15 bytes as the kernel allows them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceName {
    bytes: [u8; 15],
    length: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadInterfaceName;

impl fmt::Display for BadInterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "an interface name has 1 to 15 characters without space, '/' or ':', and is not '.' or '..'",
        )
    }
}

impl std::error::Error for BadInterfaceName {}

impl FromStr for InterfaceName {
    type Err = BadInterfaceName;

    fn from_str(name: &str) -> Result<Self, BadInterfaceName> {
        let length = u8::try_from(name.len()).map_err(|_| BadInterfaceName)?;
        let mut bytes = [0; 15];
        let forbidden =
            |byte: u8| byte == b'/' || byte == b':' || byte == 0 || byte.is_ascii_whitespace();
        if name.is_empty() || name == "." || name == ".." || name.bytes().any(forbidden) {
            return Err(BadInterfaceName);
        }
        bytes
            .get_mut(..name.len())
            .ok_or(BadInterfaceName)?
            .copy_from_slice(name.as_bytes());
        Ok(Self { bytes, length })
    }
}

impl InterfaceName {
    pub fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..usize::from(self.length));
        bytes
            .and_then(|bytes| std::str::from_utf8(bytes).ok())
            .unwrap_or("")
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// Of an instance's, a check's or a node's name.
pub const NAME_BYTES_MAX: usize = 64;

/// What instances, checks and nodes may be called, in the configuration as in
/// messages of other nodes: names stand in the log, in metrics and as
/// arguments of hooks.
pub fn is_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let begins = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    begins && name.chars().all(allowed) && name.len() <= NAME_BYTES_MAX
}

/// Name of an instance: the key under `instances`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceName(Arc<str>);

impl InstanceName {
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InstanceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Name of a node: the key under `cluster.nodes`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName(Arc<str>);

impl NodeName {
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Name of a group: the key under `groups`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupName(Arc<str>);

impl GroupName {
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Handle of an instance for as long as the agent lives. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId(pub u32);

/// Position of an address in its instance's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressIndex(pub u16);

/// Hardware address of an Ethernet-like interface.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddress(pub [u8; 6]);

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
