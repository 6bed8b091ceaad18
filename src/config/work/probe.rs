//! What a built-in probe does, as values: they compare equal when nothing
//! changed, and nothing here touches the world.

use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

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
