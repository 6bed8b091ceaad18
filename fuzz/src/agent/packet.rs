//! Advertisements of a script, as the codec takes them apart.

use std::net::IpAddr;

use vipward::agent::event::{AddressBytes, Heard, Malformed, Message, Timing, V2Authentication};
use vipward::agent::ladder::group;
use vipward::agent::settings::InstanceSettings;
use vipward::agent::values::{ChecksumForm, Family, Version};

use super::plan::{interface, own_ipv4, own_ipv6, pooled};
use super::script::Sent;

/// The addresses that it lists: some of the pool, or what the instance would.
pub fn listed(settings: &InstanceSettings, sent: Sent) -> Vec<IpAddr> {
    let lists = |address: &IpAddr| Family::of(*address) == settings.family;
    let networks = pooled(sent.addresses);
    let others = networks.map(|n| n.parse::<ipnet::IpNet>().expect("an address").addr());
    let listed: Vec<IpAddr> = others.filter(lists).collect();
    if listed.is_empty() {
        return settings.advertised().collect();
    }
    listed
}

pub fn octets(address: &IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// As the codec takes it apart. A sound one unless `fault` says otherwise.
pub fn heard<'a>(
    settings: &InstanceSettings,
    sent: Sent,
    listed: &[IpAddr],
    bytes: &'a [u8],
) -> Heard<'a> {
    let which = u8::from(settings.interface == interface(1));
    let unicast = !settings.unicast_peers.is_empty();
    let address = |host| match settings.family {
        Family::Ipv4 => own_ipv4(which, host),
        Family::Ipv6 => own_ipv6(which, host, !unicast),
    };
    let fault = |what: u8| sent.fault == 128 + what;
    let own = settings.advert_interval;
    let timing = match settings.version {
        Version::V2 => Timing::V2 {
            interval_seconds: own.as_seconds().unwrap_or(1) ^ u8::from(fault(0)),
            authentication: V2Authentication {
                kind: u8::from(fault(1)),
                data: [0; 8],
            },
        },
        Version::V3 if fault(1) => Timing::Unknown,
        Version::V3 => Timing::V3 {
            interval_centiseconds: match sent.interval & 0x0fff {
                _ if fault(0) => 0,
                0 => own.as_centiseconds(),
                other => other,
            },
        },
    };
    let message = Message {
        version: settings.version.number() ^ u8::from(fault(2)),
        kind: 1 + u8::from(fault(3)),
        vrid: settings.vrid.get() ^ u8::from(fault(4)),
        priority: sent.priority,
        count: if fault(5) {
            0
        } else {
            u8::try_from(listed.len()).expect("few")
        },
        length_exact: !fault(6),
        checksum: (!fault(7)).then_some(ChecksumForm::PseudoHeader),
        timing,
        addresses: AddressBytes::new(settings.family, if fault(6) { &[] } else { bytes }),
        seal: None,
    };
    let destination = match unicast {
        _ if fault(8) => address(77),
        true => address(1),
        false => group(settings.family),
    };
    Heard {
        interface: if fault(9) {
            interface(which + 1)
        } else {
            settings.interface
        },
        family: settings.family,
        source: address(1 + sent.from % 4),
        destination,
        hop_limit: 255 - u8::from(fault(10)),
        message: if fault(11) {
            Err(Malformed::Length)
        } else {
            Ok(message)
        },
        witness: None,
    }
}
