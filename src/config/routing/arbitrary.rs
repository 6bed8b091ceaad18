//! Routes and rules for the properties.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use crate::agent::routing::{Route, RouteSettings, Rule, RuleSettings, default_metric};
use crate::agent::values::{Family, InterfaceName};
use crate::config::properties::interface;

fn network(family: Family, octets: [u8; 2], length: u8) -> IpNet {
    let [high, low] = octets;
    let address: IpAddr = match family {
        Family::Ipv4 => Ipv4Addr::new(172, high, low, 0).into(),
        Family::Ipv6 => Ipv6Addr::new(0x2001, 0xdb8, high.into(), low.into(), 0, 0, 0, 0).into(),
    };
    let length = if address.is_ipv6() {
        length + 32
    } else {
        length
    };
    IpNet::new(address, length).unwrap().trunc()
}

fn host(family: Family) -> IpAddr {
    match family {
        Family::Ipv4 => Ipv4Addr::new(192, 0, 2, 254).into(),
        Family::Ipv6 => Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 254).into(),
    }
}

fn family() -> impl Strategy<Value = Family> {
    select(vec![Family::Ipv4, Family::Ipv6])
}

fn table() -> impl Strategy<Value = u32> {
    select(vec![1u32, 100, 253, 254, 255, 256, u32::MAX])
}

/// `place` keeps the routes of all instances apart.
fn route(place: u32, own: InterfaceName) -> impl Strategy<Value = RouteSettings> {
    let flags = any::<(bool, bool, bool)>();
    let networks = (family(), any::<[u8; 2]>(), select(vec![0u8, 16, 24, 32]));
    (
        networks,
        flags,
        option::of(interface()),
        table(),
        any::<bool>(),
    )
        .prop_map(
            move |((family, octets, length), flags, interface, table, best)| {
                let (with_via, onlink, required) = flags;
                let to = match (length, family) {
                    (0, Family::Ipv4) => "0.0.0.0/0".parse().unwrap(),
                    (0, Family::Ipv6) => "::/0".parse().unwrap(),
                    (length, family) => network(family, octets, length),
                };
                let metric = match best && place == 0 {
                    true => default_metric(family),
                    false => place + 1,
                };
                let route = Route {
                    to,
                    via: with_via.then(|| host(family)),
                    interface: interface.unwrap_or(own),
                    source: None,
                    table,
                    metric,
                    onlink: onlink && with_via,
                };
                RouteSettings { route, required }
            },
        )
}

fn rule(place: u32) -> impl Strategy<Value = RuleSettings> {
    let networks = (family(), any::<[u8; 2]>(), select(vec![12u8, 24, 32]));
    let selectors = (
        any::<(bool, bool)>(),
        option::of(interface()),
        option::of(interface()),
        option::of(1..=u32::MAX),
    );
    (networks, selectors, table(), any::<bool>()).prop_map(
        move |((family, octets, length), selectors, table, required)| {
            let ((from, to), iif, oif, fwmark) = selectors;
            let network = network(family, octets, length);
            let rule = Rule {
                family,
                // One of the two tells the family.
                from: (from || !to).then_some(network),
                to: to.then_some(network),
                iif,
                oif,
                fwmark,
                table,
                priority: 30_000 + place,
            };
            RuleSettings { rule, required }
        },
    )
}

pub(in crate::config) fn routing(
    index: u8,
    own: InterfaceName,
) -> impl Strategy<Value = (Vec<RouteSettings>, Vec<RuleSettings>)> {
    let first = u32::from(index - 1) * 10;
    let routes = (0..4).map(|place| route(first + place, own));
    let rules = (0..4).map(|place| rule(first + place));
    let kept = (vec(any::<bool>(), 4), vec(any::<bool>(), 4));
    (routes.collect::<Vec<_>>(), rules.collect::<Vec<_>>(), kept).prop_map(
        |(mut routes, mut rules, (some_routes, some_rules))| {
            let mut kept = some_routes.into_iter();
            routes.retain(|_| kept.next().unwrap_or(false));
            let mut kept = some_rules.into_iter();
            rules.retain(|_| kept.next().unwrap_or(false));
            (routes, rules)
        },
    )
}
