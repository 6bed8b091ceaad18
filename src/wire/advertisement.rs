//! VRRP advertisements, version 2 and 3.

use std::net::IpAddr;

use crate::agent::event::V2Authentication;
use crate::agent::values::{AdvertInterval, ChecksumForm, Version, Vrid};

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
}
