//! What every advertisement of an instance has in common, prepared once.

use std::net::IpAddr;

use crate::agent::settings::{Authentication, InstanceSettings};
use crate::agent::values::{AdvertInterval, ChecksumForm, InterfaceName, Version, Vrid};

pub(super) struct Outbox {
    pub interface: InterfaceName,
    pub version: Version,
    pub vrid: Vrid,
    pub interval: AdvertInterval,
    pub checksum: ChecksumForm,
    pub authentication: Authentication,
    pub advertised: Box<[IpAddr]>,
    /// The group, or the peers.
    pub destinations: Box<[IpAddr]>,
    pub unicast: bool,
}

impl Outbox {
    pub fn new(settings: &InstanceSettings) -> Self {
        Self {
            interface: settings.interface,
            version: settings.version,
            vrid: settings.vrid,
            interval: settings.advert_interval,
            checksum: settings.checksum,
            authentication: settings.authentication.clone(),
            advertised: settings.advertised().collect(),
            destinations: settings.destinations().into(),
            unicast: !settings.unicast_peers.is_empty(),
        }
    }
}
