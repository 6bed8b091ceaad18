//! What a built-in probe does, as values: they compare equal when nothing
//! changed, and nothing here touches the world.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use crate::agent::values::InterfaceName;

/// One thing to be asked, again and again, whether it is well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    pub kind: ProbeKind,
    /// For the whole of it, from resolving the name to the last byte read.
    pub timeout: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeKind {
    /// Passes when a connection is accepted; it is closed at once, and not a
    /// byte is sent.
    Tcp {
        target: HostPort,
    },
    Http(HttpProbe),
    Process(ProcessProbe),
    /// A unit of the service manager is active.
    Unit {
        name: String,
    },
    /// A neighbour answers ARP, or neighbour discovery, on an interface.
    Arp {
        target: IpAddr,
        interface: InterfaceName,
    },
    /// A host answers an ICMP echo request.
    Ping {
        target: Host,
        /// By this one only; otherwise by whichever the routes say.
        interface: Option<InterfaceName>,
    },
    Dns(DnsProbe),
    Disk(DiskProbe),
    Pressure(PressureProbe),
    /// Errors of an interface, received and sent ones, since the last look.
    LinkErrors {
        interface: InterfaceName,
        /// A second; more fails.
        above: u32,
    },
}

/// At least one of `name` and `pid_file`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessProbe {
    /// As the kernel has it in /proc/PID/comm.
    pub name: Option<String>,
    /// The one process that it names is looked at.
    pub pid_file: Option<PathBuf>,
    /// How many run at least, and at most; 1 and any with a pid file.
    pub min: u32,
    pub max: Option<u32>,
}

/// A name has an address, says this server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsProbe {
    pub name: String,
    pub server: SocketAddr,
    /// Among the answers.
    pub expect: Option<IpAddr>,
}

/// At least one of `free` and `inodes`: what must be left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskProbe {
    pub path: PathBuf,
    pub free: Option<Room>,
    pub inodes: Option<Percent>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    Percent(Percent),
    Bytes(Bytes),
}

impl fmt::Display for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Room::Percent(percent) => percent.fmt(f),
            Room::Bytes(bytes) => bytes.fmt(f),
        }
    }
}

/// In hundredths of a percent, up to 10,000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(pub u16);

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0 / 100, self.0 % 100) {
            (whole, 0) => write!(f, "{whole}%"),
            (whole, rest) if rest % 10 == 0 => write!(f, "{whole}.{}%", rest / 10),
            (whole, rest) => write!(f, "{whole}.{rest:02}%"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

impl Bytes {
    /// Largest first.
    pub(super) const UNITS: [(&str, u64); 4] = [
        ("TiB", 1 << 40),
        ("GiB", 1 << 30),
        ("MiB", 1 << 20),
        ("KiB", 1 << 10),
    ];
}

/// Exactly, by the largest unit that fits.
impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut units = Self::UNITS.iter();
        match units.find(|(_, unit)| self.0 >= *unit && self.0.is_multiple_of(*unit)) {
            Some((name, unit)) => write!(f, "{}{name}", self.0 / unit),
            None => write!(f, "{} bytes", self.0),
        }
    }
}

/// What the kernel tells of how long work stood still for want of something
/// (Documentation/accounting/psi.rst of the kernel).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PressureProbe {
    pub resource: Resource,
    pub stalled: Stalled,
    pub average: Average,
    /// More fails.
    pub above: Percent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    Cpu,
    Memory,
    Io,
}

impl Resource {
    pub const ALL: [Resource; 3] = [Resource::Cpu, Resource::Memory, Resource::Io];

    /// As in the configuration, and of the kernel's file.
    pub fn name(self) -> &'static str {
        match self {
            Resource::Cpu => "cpu",
            Resource::Memory => "memory",
            Resource::Io => "io",
        }
    }
}

/// Who stood still: some task, or all of them at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stalled {
    Some,
    Full,
}

impl Stalled {
    pub const ALL: [Stalled; 2] = [Stalled::Some, Stalled::Full];

    pub fn name(self) -> &'static str {
        match self {
            Stalled::Some => "some",
            Stalled::Full => "full",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Average {
    TenSeconds,
    Minute,
    FiveMinutes,
}

impl Average {
    pub const ALL: [Average; 3] = [Average::TenSeconds, Average::Minute, Average::FiveMinutes];

    /// As in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Average::TenSeconds => "10s",
            Average::Minute => "60s",
            Average::FiveMinutes => "300s",
        }
    }

    /// As in the kernel's file.
    pub fn key(self) -> &'static str {
        match self {
            Average::TenSeconds => "avg10",
            Average::Minute => "avg60",
            Average::FiveMinutes => "avg300",
        }
    }
}

/// A GET that passes when the answer's status is within `status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpProbe {
    pub url: HttpUrl,
    /// A redirect outside of it is followed, a bounded number of times.
    /// [`HttpProbe::new`] has 200-299.
    pub status: Vec<RangeInclusive<u16>>,
    /// The name in the `Host` header, and the one that the certificate must
    /// have, instead of the URL's host: for a service that is asked by its
    /// address. Does not apply to another host that a redirect leads to.
    pub host: Option<String>,
    pub trust: Trust,
}

impl HttpProbe {
    pub fn new(url: HttpUrl) -> Self {
        Self {
            url,
            status: vec![200..=299],
            host: None,
            trust: Trust::System,
        }
    }
}

/// Whose certificates are accepted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trust {
    /// Those of the authorities that the host trusts.
    System,
    /// `ca`: only those of the authorities in this PEM file.
    File(PathBuf),
    /// `insecure: true`: any. Whoever answers at that address passes.
    Anyone,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Host {
    Address(IpAddr),
    /// Resolved again by each probe, as the host's own programs would.
    Name(String),
}

/// As in a URL: an IPv6 address stands in brackets.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
            Host::Address(IpAddr::V4(address)) => write!(f, "{address}"),
            Host::Name(name) => f.write_str(name),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostPort {
    pub host: Host,
    pub port: u16,
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// An `http` or `https` URL without user, password and fragment. Made by
/// [`super::parse::http`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpUrl {
    pub(super) tls: bool,
    pub(super) target: HostPort,
    /// Path and query; starts with a slash.
    pub(super) path: String,
}

impl HttpUrl {
    pub fn tls(&self) -> bool {
        self.tls
    }

    pub fn target(&self) -> &HostPort {
        &self.target
    }

    pub fn path(&self) -> &str {
        &self.path
    }

    /// Host and port as a `Host` header has them: the scheme's own port is
    /// left out (RFC 9110 section 7.2).
    pub fn authority(&self) -> String {
        let default = if self.tls { 443 } else { 80 };
        if self.target.port == default {
            self.target.host.to_string()
        } else {
            self.target.to_string()
        }
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}
