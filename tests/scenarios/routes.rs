//! Routes and rules that come and go with the virtual address.

use rstest::rstest;
use vipward::agent::report::Fact;
use vipward::agent::routing::{Route, RoutingFact, RoutingItem, Rule};
use vipward::agent::settings::InstanceSettings;
use vipward::agent::status::StateName;

use crate::kit::routing::{required_route, required_rule, route, rule};
use crate::kit::*;

const ACTIVE: StateName = StateName::Active;
const BACKUP: StateName = StateName::Backup;
const FAULT: StateName = StateName::Fault;

/// From the virtual address through a router, in a table of its own.
fn from_web() -> Route {
    let mut route = route("203.0.113.0/24", Some("192.0.2.254"));
    route.source = Some(ip(WEB));
    route.table = 100;
    route
}

fn web_rule() -> Rule {
    rule("192.0.2.100/32", 100)
}

fn routed(value: u8) -> InstanceSettings {
    let mut settings = web(value);
    settings.routes = vec![required_route(from_web())];
    settings.rules = vec![required_rule(web_rule())];
    settings
}

fn active(settings: InstanceSettings) -> (Lab, HostId) {
    let mut lab = Lab::new();
    let a = lab.host(vec![settings]);
    lab.start(a);
    lab.run_until(a, ACTIVE, secs(5));
    lab.run(secs(20));
    assert_eq!(lab.state(a), ACTIVE);
    lab.mark();
    (lab, a)
}

fn there(lab: &Lab, host: HostId) -> (bool, bool) {
    let kernel = &lab.at(host).kernel;
    (kernel.has_route(&from_web()), kernel.has_rule(&web_rule()))
}

fn orders(lab: &Lab, host: HostId) -> Vec<String> {
    let all = lab.routing_orders(host).into_iter();
    all.map(|(_, words)| words).collect()
}

fn restored(lab: &Lab, host: HostId) -> usize {
    lab.count_facts(host, |fact| {
        matches!(fact, Fact::Routing(RoutingFact::Restored { .. }))
    })
}

const ADD_ROUTE: &str =
    "add route 203.0.113.0/24 via 192.0.2.254 dev eth0 src 192.0.2.100 table 100";
const ADD_RULE: &str = "add rule from 192.0.2.100/32 table 100 priority 30000";

#[test]
fn they_come_after_the_address_and_go_before_it() {
    let mut lab = Lab::new();
    let a = lab.host(vec![routed(100)]);
    lab.start(a);
    lab.run_until(a, ACTIVE, secs(5));
    lab.run(secs(1));
    let deeds: Vec<String> = lab.deeds(a).into_iter().map(|(_, deed)| deed).collect();
    let place = |deed: &str| deeds.iter().position(|other| other == deed);
    assert!(place("add 192.0.2.100/32") < place(ADD_ROUTE), "{deeds:?}");
    assert!(place(ADD_ROUTE) < place(ADD_RULE), "{deeds:?}");
    assert_eq!(there(&lab, a), (true, true));
    lab.mark();
    lab.stop_now(a);
    lab.run(secs(1));
    let deeds: Vec<String> = lab.deeds(a).into_iter().map(|(_, deed)| deed).collect();
    let gone = [
        "advert 0",
        &ADD_RULE.replace("add", "remove"),
        &ADD_ROUTE.replace("add", "remove"),
        "remove 192.0.2.100/32",
    ];
    // A report that is older than the removal may cause another.
    assert_eq!(deeds[..4], gone);
    assert!(lab.is_finished(a));
    assert_eq!(there(&lab, a), (false, false));
}

/// The order is given when the kernel has confirmed, not when it was asked.
#[test]
fn a_route_waits_for_every_address_of_its_interface() {
    let mut settings = routed(100);
    settings.addresses.push(address("192.0.2.101/24"));
    let mut lab = Lab::new();
    let a = lab.host(vec![settings]);
    lab.at_mut(a).kernel.add_takes = ms(40);
    lab.start(a);
    lab.run_until(a, ACTIVE, secs(5));
    lab.mark();
    lab.run(ms(39));
    assert_eq!(orders(&lab, a), [] as [&str; 0]);
    lab.run(ms(2));
    assert_eq!(orders(&lab, a), [ADD_ROUTE]);
    // The answer to the second address was awaited, too.
    let deeds: Vec<String> = lab.deeds(a).into_iter().map(|(_, deed)| deed).collect();
    let place = |deed: &str| deeds.iter().position(|other| other == deed);
    assert!(
        place("announce 192.0.2.100") < place(ADD_ROUTE),
        "{deeds:?}"
    );
    lab.run(ms(40));
    assert_eq!(orders(&lab, a), [ADD_ROUTE, ADD_RULE]);
}

/// Wherever that is held.
#[test]
fn a_route_waits_for_its_source() {
    let mut settings = web(100);
    let mut elsewhere = address("198.51.100.100/24");
    elsewhere.interface = interface("eth1");
    settings.addresses.push(elsewhere);
    let mut own = from_web();
    own.source = Some(ip("198.51.100.100"));
    settings.routes = vec![required_route(own.clone())];
    // That none is ordered before is judged in every story.
    let (lab, a) = active(settings);
    assert!(lab.at(a).kernel.has_route(&own));
}

#[test]
fn a_takeover_moves_them() {
    let mut lab = Lab::new();
    let a = lab.host(vec![routed(200)]);
    let b = lab.host(vec![routed(100)]);
    lab.start_all();
    lab.run_until(a, ACTIVE, secs(5));
    lab.run(secs(2));
    assert_eq!(
        (there(&lab, a), there(&lab, b)),
        ((true, true), (false, false))
    );
    lab.power_off(a);
    lab.run_until(b, ACTIVE, secs(5));
    lab.run(ms(20));
    assert_eq!(there(&lab, b), (true, true));
    lab.start(a);
    lab.run_until(a, ACTIVE, secs(10));
    lab.run(ms(20));
    assert_eq!(
        (there(&lab, a), there(&lab, b)),
        ((true, true), (false, false))
    );
}

/// A planned resignation answers, and routes, until it is relieved.
#[test]
fn whoever_resigns_keeps_them_until_it_is_relieved() {
    let (mut lab, a) = active(routed(100));
    lab.stop(a);
    lab.run(ms(900));
    assert_eq!(there(&lab, a), (true, true));
    assert_eq!(orders(&lab, a), [] as [&str; 0]);
    lab.run(ms(200));
    assert_eq!(there(&lab, a), (false, false));
    assert!(lab.is_finished(a));
}

#[rstest]
#[case::route(RoutingItem::Route(from_web()))]
#[case::rule(RoutingItem::Rule(web_rule()))]
fn a_deleted_one_is_put_back_at_once_and_no_faster_than_once_a_second(#[case] item: RoutingItem) {
    let (mut lab, a) = active(routed(100));
    lab.delete_routing(a, &item);
    lab.run(ms(5));
    assert_eq!(there(&lab, a), (true, true));
    assert_eq!(restored(&lab, a), 1);
    let begun = lab.now();
    let mut times = 0;
    while lab.now().since(begun) < secs(10) {
        if there(&lab, a) == (true, true) {
            lab.delete_routing(a, &item);
            times += 1;
        }
        lab.run(ms(10));
    }
    assert!((10..=14).contains(&times), "put back {times} times in 10 s");
    lab.run(secs(2));
    assert_eq!(there(&lab, a), (true, true));
    assert_eq!(lab.state(a), ACTIVE);
}

/// The kernel drops the route with its source, and says no more of it.
#[test]
fn a_route_returns_with_its_address() {
    let (mut lab, a) = active(routed(100));
    lab.delete_address(a, "eth0", "192.0.2.100/32");
    assert_eq!(there(&lab, a), (false, true));
    lab.run(ms(20));
    assert_eq!(there(&lab, a), (true, true));
    assert_eq!(orders(&lab, a), [ADD_ROUTE]);
    // Deleted again, the address is put back after a while only.
    lab.delete_address(a, "eth0", "192.0.2.100/32");
    lab.run(ms(20));
    assert_eq!(lab.holds(a, WEB), None);
    assert_eq!(orders(&lab, a), [ADD_ROUTE]);
    lab.run(secs(1));
    assert_eq!(there(&lab, a), (true, true));
    assert_eq!(restored(&lab, a), 2);
}

/// An IPv6 route stays, without its source.
#[test]
fn an_ipv6_route_gets_its_source_back() {
    let mut settings = web_by(Way::V6, 100);
    let mut own = route("2001:db8:7::/64", Some("fe80::254"));
    own.source = Some(ip(WEB6));
    settings.routes = vec![required_route(own.clone())];
    let (mut lab, a) = active(settings);
    assert!(lab.at(a).kernel.has_route(&own));
    let network = lab.at(a).kernel.state(interface("eth0")).unwrap();
    let network = network
        .addresses
        .iter()
        .find(|held| held.network.addr() == ip(WEB6));
    let network = network.expect("it is held").network.to_string();
    lab.delete_address(a, "eth0", &network);
    assert!(!lab.at(a).kernel.has_route(&own));
    lab.run(secs(1));
    assert!(lab.at(a).kernel.has_route(&own));
    assert_eq!(lab.at(a).kernel.tables.ours.len(), 1);
}

/// A report that is older than the addition, or none at all.
#[test]
fn an_addition_that_no_report_shows_is_ordered_again() {
    let (mut lab, a) = active(routed(100));
    lab.at_mut(a).kernel.report_after = secs(3);
    lab.reload(a, vec![web(100)]);
    lab.run(secs(5));
    lab.mark();
    lab.reload(a, vec![routed(100)]);
    lab.run(ms(10));
    let item = RoutingItem::Rule(web_rule());
    lab.at_mut(a).kernel.tables.ours.remove(&item);
    lab.run(ms(900));
    assert_eq!(orders(&lab, a), [ADD_ROUTE, ADD_RULE]);
    lab.run(secs(1));
    assert_eq!(there(&lab, a), (true, true));
    assert_eq!(lab.state(a), ACTIVE);
}

#[test]
fn one_that_cannot_be_added_puts_the_instance_in_fault() {
    let mut lab = Lab::new();
    let a = lab.host(vec![routed(100)]);
    lab.at_mut(a).kernel.tables.refuse_add = Some("no such thing".to_owned());
    lab.start(a);
    lab.run_until(a, FAULT, secs(10));
    assert_eq!(lab.obstacles(a), ["routing-failed"]);
    lab.run(ms(10));
    assert_eq!(lab.holds(a, WEB), None);
    // Tried again after 5 s, 10 s and so on; each time with the address.
    lab.mark();
    lab.run(secs(60));
    let tries = orders(&lab, a).into_iter();
    let tries = tries.filter(|order| order == ADD_ROUTE).count();
    assert!((2..=3).contains(&tries), "{tries} tries in a minute");
    lab.at_mut(a).kernel.tables.refuse_add = None;
    lab.run(secs(60));
    assert_eq!(lab.state(a), ACTIVE);
    assert_eq!(there(&lab, a), (true, true));
    assert_eq!(lab.obstacles(a), [] as [&str; 0]);
}

#[test]
fn one_that_is_not_required_is_shown_and_costs_nothing_else() {
    let mut settings = routed(100);
    settings.routes[0].required = false;
    let mut lab = Lab::new();
    let a = lab.host(vec![settings]);
    let taken = RoutingItem::Route(from_web());
    lab.at_mut(a).kernel.tables.foreign.insert(taken);
    lab.start(a);
    lab.run_until(a, ACTIVE, secs(5));
    lab.run(secs(2));
    assert_eq!(lab.state(a), ACTIVE);
    assert_eq!(there(&lab, a), (false, true));
    assert_eq!(lab.obstacles(a), ["routing-failed"]);
    lab.run(secs(60));
    lab.at_mut(a).kernel.tables.foreign.clear();
    lab.run(secs(60));
    assert_eq!(there(&lab, a), (true, true));
}

#[test]
fn a_removal_that_fails_is_tried_again_and_shown() {
    let (mut lab, a) = active(routed(100));
    lab.at_mut(a).kernel.tables.refuse_remove = Some("busy".to_owned());
    let b = lab.host(vec![routed(200)]);
    lab.forge(b, a, 200);
    lab.run(secs(2));
    assert_eq!(lab.state(a), BACKUP);
    assert_eq!(lab.holds(a, WEB), None, "the address does not wait for it");
    assert_eq!(
        lab.obstacles(a),
        ["routing-not-removed"],
        "the route went with its source, the rule stays"
    );
    lab.at_mut(a).kernel.tables.refuse_remove = None;
    lab.run(ms(1100));
    assert_eq!(there(&lab, a), (false, false));
}

#[test]
fn what_a_dead_agent_left_is_removed_by_its_mark() {
    let (mut lab, a) = active(routed(100));
    lab.kill(a);
    assert_eq!(there(&lab, a), (true, true));
    lab.start(a);
    lab.run(ms(100));
    assert_eq!(there(&lab, a), (false, false));
}

#[test]
fn a_reload_changes_what_changed() {
    let (mut lab, a) = active(routed(100));
    let mut other = route("198.51.100.0/24", Some("192.0.2.253"));
    other.table = 100;
    let mut changed = routed(100);
    changed.routes.push(required_route(other.clone()));
    lab.reload(a, vec![changed.clone()]);
    lab.run(ms(100));
    assert_eq!(
        orders(&lab, a),
        ["add route 198.51.100.0/24 via 192.0.2.253 dev eth0 table 100"]
    );
    lab.mark();
    changed.routes[1].route.via = Some(ip("192.0.2.252"));
    lab.reload(a, vec![changed]);
    lab.run(ms(100));
    assert_eq!(
        orders(&lab, a),
        [
            "remove route 198.51.100.0/24 via 192.0.2.253 dev eth0 table 100",
            "add route 198.51.100.0/24 via 192.0.2.252 dev eth0 table 100"
        ]
    );
    lab.mark();
    lab.reload(a, vec![web(100)]);
    lab.run(secs(5));
    assert_eq!(lab.at(a).kernel.tables.ours.len(), 0);
    let adverts = lab.deeds(a).into_iter();
    let adverts = adverts.filter(|(_, deed)| deed == "advert 100");
    assert_eq!(adverts.count(), 5, "no heartbeat was missed");
    assert_eq!(lab.state(a), ACTIVE);
}

/// With the address that it starts from, in one step: the route goes first.
#[test]
fn a_reload_takes_an_address_and_its_route_together() {
    let mut settings = routed(100);
    settings.addresses.push(address("192.0.2.101/24"));
    settings.routes[0].route.source = Some(ip("192.0.2.101"));
    let (mut lab, a) = active(settings);
    lab.reload(a, vec![web(100)]);
    lab.run(ms(100));
    let deeds: Vec<String> = lab.deeds(a).into_iter().map(|(_, deed)| deed).collect();
    assert_eq!(
        deeds[..3],
        [
            "remove rule from 192.0.2.100/32 table 100 priority 30000",
            "remove route 203.0.113.0/24 via 192.0.2.254 dev eth0 src 192.0.2.101 table 100",
            "remove 192.0.2.101/32"
        ]
    );
}

/// A route over another interface: without that the host cannot serve.
#[test]
fn a_route_over_another_link_needs_that_link() {
    let mut settings = web(100);
    let mut own = route("203.0.113.0/24", Some("198.51.100.254"));
    own.interface = interface("eth1");
    settings.routes = vec![required_route(own.clone())];
    let (mut lab, a) = active(settings);
    lab.link(a, "eth1", false);
    lab.run(ms(100));
    assert_eq!(lab.state(a), FAULT);
    assert_eq!(lab.obstacles(a), ["link-down"]);
    lab.link(a, "eth1", true);
    lab.run(secs(10));
    assert_eq!(lab.state(a), ACTIVE);
    assert!(lab.at(a).kernel.has_route(&own));
    lab.remove_interface(a, "eth1");
    lab.run(ms(100));
    assert_eq!(lab.obstacles(a), ["interface-missing"]);
    assert!(lab.at(a).kernel.tables.ours.is_empty());
}
