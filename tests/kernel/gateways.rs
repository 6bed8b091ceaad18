//! The gateways of interfaces, as the monitor reports them.

use vipward::agent::event::InterfaceState;

use super::{Test, Watched, ip, veth};

pub fn tests() -> Vec<Test> {
    vec![
        ("gateways::come_and_go_with_their_routes", come_and_go),
        ("gateways::of_several_next_hops", several_next_hops),
        ("gateways::are_gone_with_the_link", gone_with_the_link),
        ("gateways::are_there_at_the_start", there_at_the_start),
    ]
}

fn addressed() {
    veth();
    ip("address add 192.0.2.1/24 dev eth0");
    ip("address add 2001:db8::1/64 dev eth0 nodad");
}

fn gateways(state: Option<&InterfaceState>) -> Vec<String> {
    let known = state.into_iter().flat_map(|state| &state.gateways);
    known.map(ToString::to_string).collect()
}

fn until(watched: &mut Watched, expected: &[&str]) {
    watched.until("eth0", |state| gateways(state) == expected);
}

fn come_and_go() {
    addressed();
    let mut watched = Watched::start(&["eth0"]);
    watched.until("eth0", |state| state.unwrap().addresses.len() == 2);
    ip("route add default via 192.0.2.254");
    until(&mut watched, &["192.0.2.254"]);
    ip("route add default via 2001:db8::fe dev eth0");
    until(&mut watched, &["192.0.2.254", "2001:db8::fe"]);
    // Not a default route; one without a gateway; one that leads nowhere.
    ip("route add 198.51.100.0/24 via 192.0.2.253");
    ip("route add default dev eth0 metric 900");
    ip("route add blackhole default metric 901");
    ip("route add default via 192.0.2.252 table 77");
    until(
        &mut watched,
        &["192.0.2.252", "192.0.2.254", "2001:db8::fe"],
    );
    ip("route delete default via 192.0.2.254");
    until(&mut watched, &["192.0.2.252", "2001:db8::fe"]);
    ip("-6 route flush default");
    until(&mut watched, &["192.0.2.252"]);
}

fn several_next_hops() {
    addressed();
    ip("link add eth1 type veth peer name far1");
    ip("link set far1 up");
    ip("link set eth1 up");
    ip("address add 198.51.100.1/24 dev eth1");
    let mut watched = Watched::start(&["eth0"]);
    ip(
        "route add default nexthop via 192.0.2.253 nexthop via 198.51.100.254 nexthop via 192.0.2.254",
    );
    until(&mut watched, &["192.0.2.253", "192.0.2.254"]);
}

/// The kernel says nothing of routes that go with their interface.
fn gone_with_the_link() {
    addressed();
    ip("route add default via 192.0.2.254");
    let mut watched = Watched::start(&["eth0"]);
    until(&mut watched, &["192.0.2.254"]);
    ip("link set eth0 down");
    watched.until("eth0", |state| {
        !state.unwrap().up && gateways(state).is_empty()
    });
}

fn there_at_the_start() {
    addressed();
    ip("route add default via 2001:db8::fe dev eth0");
    let mut watched = Watched::start(&["eth0"]);
    until(&mut watched, &["2001:db8::fe"]);
    watched.quiet();
}
