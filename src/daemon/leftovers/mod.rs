//! What a dead agent leaves: one picture, in the same bytes for the guardian
//! (by shared memory), for the next run and for `cleanup` (by a file). It
//! says all that is needed, so that whoever reads it needs no configuration.

pub mod farewell;
mod ledger;
pub mod memory;
pub mod record;
mod routing;
pub mod sweep;

pub use ledger::Ledger;
pub use routing::{LeftRoute, LeftRule};

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::agent::custody::Custody;
use crate::agent::event::V2Authentication;
use crate::agent::settings::Authentication;
use crate::agent::values::{AdvertInterval, ChecksumForm, InterfaceName, Version, Vrid};
use crate::wire::advertisement::Outgoing;
use crate::wire::authentication::Signature;

/// Of the document. Another one is not understood.
pub const FORMAT: u8 = 1;
/// A larger picture is cut at an instance, with a line in the log. Some
/// 100,000 addresses fit.
pub const BYTES_MAX: usize = 8 * 1024 * 1024;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leftovers {
    pub format: u8,
    pub instances: Vec<Left>,
}

/// One instance's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    pub name: String,
    /// Where its advertisements go.
    pub interface: String,
    /// Active or resigning: others rely on its word.
    pub speaks: bool,
    /// Absent where there is no source address.
    pub farewell: Option<Farewell>,
    pub addresses: Vec<LeftAddress>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<LeftRoute>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<LeftRule>,
    /// The interface with its virtual hardware address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

/// An advertisement of priority 0, in its parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Farewell {
    pub vrid: u8,
    pub version: u8,
    pub interval_cs: u16,
    /// Over IPv4: with the pseudo-header.
    pub pseudo_header: bool,
    pub source: IpAddr,
    pub destinations: Vec<IpAddr>,
    pub advertised: Vec<IpAddr>,
    /// Version 2's simple password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<[u8; 8]>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seal: Option<LeftSeal>,
}

/// What the farewell is signed with. The key itself is in the guardian's
/// memory alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftSeal {
    /// Where it is there.
    pub slot: u32,
    pub key: u8,
    /// Receivers look at their clock: the window in milliseconds.
    pub by_time_ms: Option<u64>,
}

/// As it is on the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftAddress {
    pub interface: String,
    pub address: IpAddr,
    pub prefix_length: u8,
}

impl Leftovers {
    /// # Errors
    ///
    /// Why it is no such document, for people.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let read: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if read.format == FORMAT {
            Ok(read)
        } else {
            Err(format!("its format is {}, not {FORMAT}", read.format))
        }
    }

    /// What says that nothing is left.
    pub fn nothing() -> Vec<u8> {
        ledger::compose(std::iter::empty()).0
    }

    /// Each address once, the last added first.
    pub fn addresses(&self) -> impl Iterator<Item = (InterfaceName, IpNet)> {
        let all = self.instances.iter().rev();
        let all = all.flat_map(|left| left.addresses.iter().rev());
        all.filter_map(LeftAddress::parts)
    }

    /// The interfaces with virtual hardware addresses.
    pub fn links(&self) -> impl Iterator<Item = InterfaceName> {
        let all = self.instances.iter().rev();
        all.filter_map(|left| left.link.as_ref()?.parse().ok())
    }
}

impl LeftAddress {
    /// `None` where it is none.
    pub fn parts(&self) -> Option<(InterfaceName, IpNet)> {
        let network = IpNet::new(self.address, self.prefix_length).ok()?;
        Some((self.interface.parse().ok()?, network))
    }
}

impl From<Custody> for Left {
    fn from(custody: Custody) -> Self {
        let farewell = custody.source.map(|source| Farewell {
            vrid: custody.vrid.get(),
            version: custody.version.number(),
            interval_cs: custody.interval.as_centiseconds(),
            pseudo_header: custody.checksum != ChecksumForm::MessageOnly,
            source,
            destinations: custody.destinations,
            advertised: custody.advertised,
            password: match &custody.authentication {
                Authentication::Password(password) => Some(password.0),
                Authentication::None | Authentication::Hmac(_) => None,
            },
            seal: None,
        });
        let addresses = custody.addresses.into_iter();
        let mut left = Left {
            name: custody.name.to_string(),
            interface: custody.interface.to_string(),
            speaks: custody.speaks,
            farewell,
            addresses: addresses
                .map(|(interface, network)| LeftAddress {
                    interface: interface.to_string(),
                    address: network.addr(),
                    prefix_length: network.prefix_len(),
                })
                .collect(),
            routes: Vec::new(),
            rules: Vec::new(),
            link: custody.link.map(|link| link.name.to_string()),
        };
        left.note(custody.routing);
        left
    }
}

impl Farewell {
    /// The message for one destination; `None` where a value is none that
    /// could be sent.
    pub fn outgoing<'s>(
        &'s self,
        destination: IpAddr,
        signature: Option<Signature<'s>>,
    ) -> Option<Outgoing<'s>> {
        let interval = match self.version {
            2 => AdvertInterval::from_seconds(u8::try_from(self.interval_cs / 100).ok()?)?,
            _ => AdvertInterval::from_centiseconds(self.interval_cs)?,
        };
        Some(Outgoing {
            version: match self.version {
                2 => Version::V2,
                3 => Version::V3,
                _ => return None,
            },
            vrid: Vrid::new(self.vrid)?,
            priority: 0,
            interval,
            checksum: if self.pseudo_header {
                ChecksumForm::PseudoHeader
            } else {
                ChecksumForm::MessageOnly
            },
            v2_authentication: v2_authentication(self.password),
            addresses: &self.advertised,
            source: self.source,
            destination,
            signature,
        })
    }
}

/// The fields of version 2: type 1 with a password, otherwise none.
pub fn v2_authentication(password: Option<[u8; 8]>) -> V2Authentication {
    password.map_or_else(V2Authentication::default, |data| V2Authentication {
        kind: 1,
        data,
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::agent::values::InstanceName;

    pub(crate) fn custody(name: &str, addresses: &[&str]) -> Custody {
        let interface: InterfaceName = "eth0".parse().unwrap();
        let networks = addresses.iter().map(|text| text.parse::<IpNet>().unwrap());
        Custody {
            name: InstanceName::new(name),
            interface,
            speaks: true,
            source: Some([192, 0, 2, 1].into()),
            destinations: vec![[224, 0, 0, 18].into()],
            vrid: Vrid::new(51).unwrap(),
            version: Version::V3,
            interval: AdvertInterval::from_centiseconds(100).unwrap(),
            checksum: ChecksumForm::PseudoHeader,
            authentication: Authentication::None,
            advertised: networks.clone().map(|network| network.addr()).collect(),
            addresses: networks.map(|network| (interface, network)).collect(),
            routing: Vec::new(),
            link: None,
        }
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let left = Left::from(custody("web", &["192.0.2.10/24", "2001:db8::10/128"]));
        let fragment = serde_json::to_vec(&left).unwrap();
        let (bytes, cut) = ledger::compose([fragment.as_slice()].into_iter());
        assert_eq!(cut, 0);
        let read = Leftovers::read(&bytes).unwrap();
        assert_eq!(read.instances, [left]);
        let words: Vec<String> = read
            .addresses()
            .map(|(interface, network)| format!("{network} on {interface}"))
            .collect();
        assert_eq!(words, ["2001:db8::10/128 on eth0", "192.0.2.10/24 on eth0"]);
        let nothing = Leftovers::read(&Leftovers::nothing()).unwrap();
        assert_eq!(nothing.instances, []);
    }

    /// Byte for byte what the agent itself sends when it resigns.
    #[test]
    fn the_farewell_is_the_agent_s_own() {
        use crate::wire::advertisement::encode;
        for (version, checksum) in [
            (Version::V2, ChecksumForm::MessageOnly),
            (Version::V3, ChecksumForm::MessageOnly),
            (Version::V3, ChecksumForm::PseudoHeader),
        ] {
            let mut custody = custody("web", &["192.0.2.10/24"]);
            (custody.version, custody.checksum) = (version, checksum);
            let (source, destination) = (custody.source.unwrap(), custody.destinations[0]);
            let advertised = custody.advertised.clone();
            let own = Outgoing {
                version,
                vrid: custody.vrid,
                priority: 0,
                interval: custody.interval,
                checksum,
                v2_authentication: V2Authentication::default(),
                addresses: &advertised,
                source,
                destination,
                signature: None,
            };
            let mut expected = Vec::new();
            encode(&own, &mut expected).unwrap();
            let left = Left::from(custody);
            let mut sent = Vec::new();
            let farewell = left.farewell.unwrap();
            encode(&farewell.outgoing(destination, None).unwrap(), &mut sent).unwrap();
            assert_eq!(sent, expected);
        }
    }

    #[test]
    fn what_is_no_picture_is_refused_with_a_reason() {
        for bytes in [&b""[..], b"{", b"[]", b"{\"format\":1}", b"\xff\xfe"] {
            assert!(Leftovers::read(bytes).is_err(), "{bytes:?}");
        }
        let later = Leftovers::read(b"{\"format\":2,\"instances\":[]}").unwrap_err();
        assert_eq!(later, "its format is 2, not 1");
        let mut farewell = Left::from(custody("web", &[])).farewell.unwrap();
        farewell.version = 4;
        assert!(farewell.outgoing([224, 0, 0, 18].into(), None).is_none());
    }
}
