//! One address order as a netlink request, and a refusal of it in words for
//! the person who reads them.

use std::fs;
use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeader, AddressMessage, AddressProtocol, CacheInfo,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::errno::Errno;

use super::ADDRESS_PROTOCOL;
use super::socket::Refusal;
use crate::agent::action::AddressOrder;
use crate::agent::event::{Added, Event, Removed};
use crate::agent::values::{Family, InterfaceName, Lease};

const FOR_EVER: u32 = u32::MAX;

/// The request and its flags.
pub(super) fn addition(order: &AddressOrder, index: u32) -> (RouteNetlinkMessage, u16) {
    let flags = NLM_F_CREATE | NLM_F_EXCL;
    (presence(order, index), flags)
}

/// The same address with a new lifetime. The kernel changes that, the mark
/// (IFA_PROTO), the metric and, for IPv6, the flags of what is there, and its
/// prefix route's lifetime. An IPv4 address keeps its label and flags. It
/// creates an address that is not there: that cannot be forbidden.
pub(super) fn renewal(order: &AddressOrder, index: u32) -> (RouteNetlinkMessage, u16) {
    (presence(order, index), NLM_F_REPLACE)
}

fn presence(order: &AddressOrder, index: u32) -> RouteNetlinkMessage {
    let mut message = common(order, index);
    let mut flags = AddressFlags::empty();
    flags.set(AddressFlags::Noprefixroute, order.no_prefix_route);
    match order.network {
        IpNet::V4(_) => {
            let label = order.label.clone().map(AddressAttribute::Label);
            message.attributes.extend(label);
        }
        // Duplicate address detection would hold the address back for a
        // second, and the election has settled the question already.
        IpNet::V6(_) => flags |= AddressFlags::Nodad,
    }
    message.attributes.push(lifetime(order));
    message.attributes.push(AddressAttribute::Flags(flags));
    let protocol = AddressProtocol::Other(ADDRESS_PROTOCOL);
    message
        .attributes
        .push(AddressAttribute::Protocol(protocol));
    RouteNetlinkMessage::NewAddress(message)
}

/// The request and its flags. Names neither label nor flags, so that the
/// address goes also when somebody put it back in a form of his own.
pub(super) fn removal(order: &AddressOrder, index: u32) -> (RouteNetlinkMessage, u16) {
    let message = common(order, index);
    (RouteNetlinkMessage::DelAddress(message), 0)
}

fn common(order: &AddressOrder, index: u32) -> AddressMessage {
    let address = order.network.addr();
    let mut message = AddressMessage::default();
    message.header = AddressHeader {
        family: match address {
            IpAddr::V4(_) => AddressFamily::Inet,
            IpAddr::V6(_) => AddressFamily::Inet6,
        },
        prefix_len: order.network.prefix_len(),
        index,
        ..AddressHeader::default()
    };
    message.attributes = vec![
        AddressAttribute::Local(address),
        AddressAttribute::Address(address),
    ];
    message
}

/// Valid as long as the lease. With a preferred lifetime of 0 the host's own
/// connections do not start from an IPv6 address; for IPv4 it means nothing,
/// and must only not be the longer one.
fn lifetime(order: &AddressOrder) -> AddressAttribute {
    let valid = order.lease.map_or(FOR_EVER, Lease::seconds);
    let preferred = match order.network {
        IpNet::V6(_) if !order.source_address => 0,
        IpNet::V4(_) | IpNet::V6(_) => valid,
    };
    let mut lifetime = CacheInfo::default();
    lifetime.ifa_valid = valid;
    lifetime.ifa_preferred = preferred;
    AddressAttribute::CacheInfo(lifetime)
}

/// Told before the address is reported as added or renewed.
pub(super) fn unleased(order: &AddressOrder, reason: String) -> Event<'static> {
    Event::AddressUnleased {
        instance: order.instance,
        address: order.address,
        reason,
    }
}

pub(super) fn judge_addition(
    order: &AddressOrder,
    verdict: Result<(), Refusal>,
) -> Result<Added, String> {
    match verdict {
        Ok(()) => Ok(Added::Fresh),
        Err(refusal) if refusal.errno == Errno::EEXIST => Ok(Added::AlreadyPresent),
        Err(refusal) => Err(words(order, refusal)),
    }
}

pub(super) fn judge_renewal(
    order: &AddressOrder,
    verdict: Result<(), Refusal>,
) -> Result<(), String> {
    verdict.map_err(|refusal| words(order, refusal))
}

/// An address that is not there counts as removed; so does one whose
/// interface, or whose whole family, is not there.
pub(super) fn judge_removal(
    order: &AddressOrder,
    verdict: Result<(), Refusal>,
) -> Result<Removed, String> {
    let ipv6 = Family::of(order.network.addr()) == Family::Ipv6;
    match verdict {
        Ok(()) => Ok(Removed::Deleted),
        Err(refusal) => match refusal.errno {
            Errno::EADDRNOTAVAIL | Errno::ENODEV | Errno::ENXIO => Ok(Removed::Absent),
            Errno::EOPNOTSUPP | Errno::EAFNOSUPPORT if ipv6 => Ok(Removed::Absent),
            _ => Err(words(order, refusal)),
        },
    }
}

/// The refusal with the cause in the operator's terms when it can be told,
/// else in the kernel's.
fn words(order: &AddressOrder, mut refusal: Refusal) -> String {
    let interface = order.interface;
    let ipv6 = Family::of(order.network.addr()) == Family::Ipv6;
    let cause = match refusal.errno {
        Errno::EPERM => Some("the agent lacks CAP_NET_ADMIN".to_owned()),
        Errno::EOPNOTSUPP | Errno::EAFNOSUPPORT if ipv6 => Some(
            "this kernel runs without IPv6 (not built in, or ipv6.disable=1 at boot)".to_owned(),
        ),
        _ if ipv6 && ipv6_is_disabled(interface) => Some(format!(
            "IPv6 is disabled on {interface} (sysctl {})",
            sysctl_name("ipv6", interface, "disable_ipv6")
        )),
        Errno::EINVAL if ipv6 && ipv6_is_absent(interface) => Some(format!(
            "IPv6 does not run on {interface}; it needs an MTU of 1280 at least"
        )),
        Errno::ENODEV | Errno::ENXIO if refusal.words.is_none() => {
            Some(format!("{interface} has just disappeared"))
        }
        _ => None,
    };
    refusal.words = cause.or(refusal.words);
    refusal.to_string()
}

fn ipv6_is_disabled(interface: InterfaceName) -> bool {
    read_setting("ipv6", interface.as_str(), "disable_ipv6").is_some_and(|value| value == "1")
}

/// The kernel has IPv6, the interface has not.
fn ipv6_is_absent(interface: InterfaceName) -> bool {
    let setting = |name| read_setting("ipv6", name, "disable_ipv6");
    setting("all").is_some() && setting(interface.as_str()).is_none()
}

/// `net.ipv4.conf.eth0.key`, or with slashes where the interface's name has dots.
fn sysctl_name(family: &str, interface: InterfaceName, key: &str) -> String {
    let separator = if interface.as_str().contains('.') {
        '/'
    } else {
        '.'
    };
    let parts = ["net", family, "conf", interface.as_str(), key];
    parts.join(&separator.to_string())
}

/// `interface`: a name, or `all`. In the calling thread's network namespace.
pub(super) fn setting_path(family: &str, interface: &str, key: &str) -> String {
    format!("/proc/sys/net/{family}/conf/{interface}/{key}")
}

pub(super) fn read_setting(family: &str, interface: &str, key: &str) -> Option<String> {
    let value = fs::read_to_string(setting_path(family, interface, key)).ok()?;
    Some(value.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vlan_interface_is_named_as_sysctl_wants_it() {
        let plain = "eth0".parse().unwrap();
        let vlan = "eth0.10".parse().unwrap();
        assert_eq!(sysctl_name("ipv6", plain, "k"), "net.ipv6.conf.eth0.k");
        assert_eq!(sysctl_name("ipv6", vlan, "k"), "net/ipv6/conf/eth0.10/k");
    }
}
