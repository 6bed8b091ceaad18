//! Settings as stories need them: sensible, short to write, easy to bend.

use std::net::IpAddr;
use std::time::Duration;

use vipward::agent::event::Timing;
use vipward::agent::settings::{AddressSettings, AnnounceSettings, InstanceSettings, Preempt};
use vipward::agent::values::{
    AdvertInterval, ChecksumForm, Family, InstanceName, InterfaceName, Priority, Version, Vrid,
};

pub fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub fn us(micros: u64) -> Duration {
    Duration::from_micros(micros)
}

pub fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

pub fn interface(name: &str) -> InterfaceName {
    name.parse().expect("an interface name")
}

pub fn priority(value: u8) -> Priority {
    Priority::new(value).expect("a priority")
}

pub fn centiseconds(value: u16) -> AdvertInterval {
    AdvertInterval::from_centiseconds(value).expect("an interval")
}

/// One address as it is written in the configuration, on eth0.
pub fn address(network: &str) -> AddressSettings {
    AddressSettings {
        network: network.parse().expect("an address with its length"),
        interface: interface("eth0"),
        label: None,
        advertise: true,
        required: true,
        source_address: false,
    }
}

/// The address that version 3 over IPv4 carries in most stories.
pub const WEB: &str = "192.0.2.100";
/// The same for IPv6.
pub const WEB6: &str = "2001:db8::100";

/// Version 3, IPv4, multicast, one second: the default configuration.
pub fn web(value: u8) -> InstanceSettings {
    InstanceSettings {
        checks: Vec::new(),
        on_all_fail: Default::default(),
        on_conflict: Default::default(),
        virtual_mac: false,
        witnesses: Vec::new(),
        hooks: Default::default(),
        name: InstanceName::new("web"),
        interface: interface("eth0"),
        vrid: Vrid::new(51).expect("a VRID"),
        priority: priority(value),
        version: Version::V3,
        family: Family::Ipv4,
        addresses: vec![address("192.0.2.100/24")],
        routes: Vec::new(),
        rules: Vec::new(),
        advert_interval: centiseconds(100),
        down_after: 3,
        unicast_peers: Vec::new(),
        source: None,
        preempt: Preempt::Immediately,
        settle: Duration::ZERO,
        announce: AnnounceSettings::default(),
        lease: None,
        checksum: ChecksumForm::PseudoHeader,
        ttl: 255,
        authentication: Default::default(),
    }
}

/// The ways in which most stories must end alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    V2,
    V3,
    V3Unicast,
    V6,
    V6Unicast,
}

/// [`web`] the other way round; unicast lists hosts 1 to 3 as peers.
pub fn web_by(way: Way, value: u8) -> InstanceSettings {
    let mut web = web(value);
    match way {
        Way::V2 => web.version = Version::V2,
        Way::V3 => {}
        Way::V3Unicast => web.unicast_peers = (1..=3).map(|n| own_ipv4("eth0", n)).collect(),
        Way::V6 | Way::V6Unicast => {
            web.family = Family::Ipv6;
            web.addresses = vec![address("2001:db8::100/64")];
        }
    }
    if way == Way::V6Unicast {
        web.unicast_peers = (1..=3).map(|n| own_ipv6("eth0", n)).collect();
    }
    web
}

/// Host `number`'s address on an interface.
pub fn own_ipv4(interface: &str, number: u8) -> IpAddr {
    match interface {
        "eth0" => IpAddr::from([192, 0, 2, number]),
        _ => IpAddr::from([198, 51, 100, number]),
    }
}

pub fn own_ipv6(interface: &str, number: u8) -> IpAddr {
    let net = if interface == "eth0" { 0 } else { 1 };
    IpAddr::from([0x2001, 0xdb8, 0, net, 0, 0, 0, u16::from(number)])
}

pub fn own_link_local(number: u8) -> IpAddr {
    IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, u16::from(number)])
}

/// Where host `number` advertises from.
pub fn own_source(settings: &InstanceSettings, number: u8) -> IpAddr {
    match (settings.family, settings.unicast_peers.is_empty()) {
        (Family::Ipv4, _) => own_ipv4("eth0", number),
        (Family::Ipv6, true) => own_link_local(number),
        (Family::Ipv6, false) => own_ipv6("eth0", number),
    }
}

/// The address of [`web_by`].
pub fn vip(way: Way) -> &'static str {
    match way {
        Way::V2 | Way::V3 | Way::V3Unicast => WEB,
        Way::V6 | Way::V6Unicast => WEB6,
    }
}

/// Skew_Time at an interval of so many centiseconds, from the formula of
/// RFC 9568 section 6.1, in nanoseconds.
pub fn skew_at(value: u8, centiseconds: u64) -> Duration {
    Duration::from_nanos(10_000_000 * centiseconds * (256 - u64::from(value)) / 256)
}

/// Skew_Time at one second.
pub fn skew(value: u8) -> Duration {
    skew_at(value, 100)
}

/// Active_Down_Interval at one second.
pub fn adi(value: u8) -> Duration {
    secs(3) + skew(value)
}

pub fn v3_timing(interval_centiseconds: u16) -> Timing {
    Timing::V3 {
        interval_centiseconds,
    }
}
