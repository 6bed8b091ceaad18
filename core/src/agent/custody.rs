//! What this agent would leave behind if it died now, as facts: for those who
//! speak and clean up for a dead agent, which know no configuration.

use std::net::IpAddr;

use ipnet::IpNet;

use super::routing::RoutingItem;
use super::settings::Authentication;
use super::values::{AdvertInterval, ChecksumForm, InstanceName, InterfaceName, Version, Vrid};
use super::virtual_link::VirtualLink;

/// One instance that is Active or resigning, or has addresses on the host by
/// our doing, or may have: their addition or removal is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Custody {
    pub name: InstanceName,
    pub interface: InterfaceName,
    /// Active, or resigning: others rely on its word.
    pub speaks: bool,
    /// Of its advertisements; `None` while there is none.
    pub source: Option<IpAddr>,
    /// The group, or every unicast peer.
    pub destinations: Vec<IpAddr>,
    pub vrid: Vrid,
    pub version: Version,
    pub interval: AdvertInterval,
    pub checksum: ChecksumForm,
    pub authentication: Authentication,
    /// What its advertisements list.
    pub advertised: Vec<IpAddr>,
    /// Where, and with the prefix length under which they are on the host.
    /// None that belongs to the host itself.
    pub addresses: Vec<(InterfaceName, IpNet)>,
    /// Routes before rules.
    pub routing: Vec<RoutingItem>,
    /// The interface with its virtual hardware address.
    pub link: Option<VirtualLink>,
}
