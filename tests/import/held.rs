//! Addresses, routes and rules: what their words come to, and what is left.

use rstest::rstest;
use vipward::agent::settings::InstanceSettings;

use crate::kit::{Outcome, imported, instance};

fn one(outcome: &Outcome) -> &InstanceSettings {
    match &outcome.loaded().settings.instances[..] {
        [one] => one,
        _ => panic!("one instance: {}", outcome.yaml()),
    }
}

fn addressed(lines: &str) -> String {
    instance("").replace("192.0.2.10/24", &format!("\n{lines}\n"))
}

#[test]
fn addresses_with_their_options() {
    let lines =
        "192.0.2.10/24 brd 192.0.2.255 dev eth0 label eth0:1 scope global\n192.0.2.11/24 dev eth1";
    let outcome = imported(&addressed(lines));
    let addresses = &one(&outcome).addresses;
    assert_eq!(addresses[0].label.as_deref(), Some("eth0:1"));
    assert_eq!(addresses[0].interface.to_string(), "eth0");
    assert_eq!(addresses[1].interface.to_string(), "eth1");
    assert!(outcome.is_whole(), "{outcome:?}");
    outcome.noted(5, "no broadcast address");
}

#[test]
fn what_keepalived_does_with_a_prefix_that_is_none() {
    let outcome = imported(&addressed("192.0.2.10/255.255.255.0\n192.0.2.11/33"));
    let networks: Vec<String> = one(&outcome)
        .addresses
        .iter()
        .map(|one| one.network.to_string())
        .collect();
    assert_eq!(networks, ["192.0.2.10/32", "192.0.2.11/32"]);
    outcome.noted(5, "/32");
}

#[test]
fn excluded_addresses_are_held_and_not_advertised() {
    let lines = "virtual_ipaddress_excluded {\n 192.0.2.11/24\n 2001:db8::1/64\n 2001:db8::2\n}";
    let outcome = imported(&instance(lines));
    let seen: Vec<(String, bool)> = one(&outcome)
        .addresses
        .iter()
        .map(|one| (one.network.to_string(), one.advertise))
        .collect();
    let expected = [
        ("192.0.2.10/24", true),
        ("192.0.2.11/24", false),
        ("2001:db8::1/64", false),
        ("2001:db8::2/128", false),
    ];
    assert_eq!(
        seen,
        expected.map(|(network, advertise)| (network.to_owned(), advertise))
    );
    outcome.noted(7, "source_address: true");
    assert!(
        outcome
            .at(vipward::config::import::Kind::Noted, 8)
            .is_empty()
    );
}

#[test]
fn an_address_of_the_other_family_is_left() {
    let outcome = imported(&addressed("192.0.2.10/24\n2001:db8::1"));
    assert_eq!(one(&outcome).addresses.len(), 1);
    outcome.left(6, "of the other family");
}

#[rstest]
#[case("fe80::1/64 preferred_lft forever", true)]
#[case("fe80::1/64 preferred_lft 0", false)]
fn preferred_lifetimes(#[case] line: &str, #[case] expected: bool) {
    let outcome = imported(&addressed(line));
    assert_eq!(one(&outcome).addresses[0].source_address, expected);
    assert!(outcome.is_whole());
}

#[rstest]
#[case("192.0.2.300", "not an IP address")]
#[case("192.0.2.11 scope link", "no such option")]
#[case("192.0.2.11 peer 192.0.2.12", "no such option")]
#[case("192.0.2.11 home", "no such flag")]
#[case("192.0.2.11 use_vmac", "no virtual MAC")]
#[case("192.0.2.11 nonsense", "does not know")]
#[case("192.0.2.10/24", "listed twice")]
#[case("127.0.0.1", "loopback")]
#[case("192.0.2.11 label eth1:x", "does not begin with")]
fn addresses_that_are_left(#[case] line: &str, #[case] why: &str) {
    let outcome = imported(&addressed(&format!("192.0.2.10/24\n{line}")));
    outcome.left(6, why);
}

#[test]
fn routes() {
    let lines = "virtual_routes {\nsrc 192.0.2.10 to 198.51.100.0/24 via 192.0.2.254 dev eth1\n\
                 0.0.0.0/0 gw 192.0.2.254 table 100 metric 5 onlink\n203.0.113.0/24 dev eth0 scope link no_track\n\
                 default via inet 192.0.2.254 dev eth0\n}";
    let outcome = imported(&instance(lines));
    let body = outcome.body();
    for route in [
        "- { to: 198.51.100.0/24, via: 192.0.2.254, interface: eth1, source: 192.0.2.10 }",
        "- { to: default, via: 192.0.2.254, table: 100, metric: 5, onlink: true }",
        "- { to: 203.0.113.0/24 }",
        "- { to: default, via: 192.0.2.254 }",
    ] {
        assert!(body.contains(route), "{route}: {body}");
    }
    outcome.noted(7, "by which interface the router is reached");
    assert!(outcome.is_whole());
}

#[rstest]
#[case("192.0.9.0/24 via 192.0.2.1 or 192.0.2.2", "over several routers")]
#[case("192.0.9.0/24 nexthop via 192.0.2.1 weight 1", "over several routers")]
#[case("blackhole 192.0.9.0/24", "lead nowhere")]
#[case("192.0.9.0/24 via 192.0.2.1 mtu 1400", "have no `mtu`")]
#[case("192.0.9.0/24 via 192.0.2.1 scope site", "no `scope`")]
#[case("192.0.9.0/24 via", "without a router")]
#[case("192.0.9.1/24 via 192.0.2.1", "is a host of")]
#[case("192.0.9.0/24 via 192.0.2.10", "a virtual address of this instance")]
#[case("via 192.0.2.1", "leads nowhere")]
#[case("192.0.9.0/24 via 192.0.2.1 table isp", "not known by its name")]
fn routes_that_are_left(#[case] line: &str, #[case] why: &str) {
    let outcome = imported(&instance(&format!("virtual_routes {{\n{line}\n}}")));
    outcome.left(6, why);
}

#[test]
fn rules() {
    let lines = "virtual_rules {\nfrom 192.0.2.10 table 100\nto 198.51.100.0/24 iif eth1 fwmark 0x10 lookup 5 preference 33\n}";
    let outcome = imported(&instance(lines));
    for rule in [
        "- { from: 192.0.2.10, table: 100, priority: 16384 }",
        "- { to: 198.51.100.0/24, iif: eth1, fwmark: 16, table: 5, priority: 33 }",
    ] {
        assert!(outcome.body().contains(rule), "{}", outcome.body());
    }
    assert!(outcome.is_whole());
}

#[rstest]
#[case("from 192.0.2.10", "without a table")]
#[case("from 192.0.2.10 table 5 fwmark 1/3", "without a mask")]
#[case("from 192.0.2.10 table 5 tos 4", "have no `tos`")]
#[case("from all table 5", "a rule for every packet")]
#[case("from 192.0.2.10 goto 5", "have no `goto`")]
fn rules_that_are_left(#[case] line: &str, #[case] why: &str) {
    let outcome = imported(&instance(&format!("virtual_rules {{\n{line}\n}}")));
    outcome.left(6, why);
}
