//! Links and interfaces that go and come, addresses of the host's own that
//! are late.

use rstest::rstest;
use vipward::agent::status::StateName;

use crate::kit::*;

const ACTIVE: StateName = StateName::Active;
const BACKUP: StateName = StateName::Backup;
const FAULT: StateName = StateName::Fault;

#[test]
fn with_the_link_down_nothing_is_sent_and_the_address_goes() {
    let mut lab = Lab::new();
    let a = lab.host(vec![web(150)]);
    let b = lab.host(vec![web(100)]);
    lab.start_all();
    lab.run(secs(10));
    lab.mark();
    lab.link(a, "eth0", false);
    lab.run(ms(1));
    assert_eq!(lab.state(a), FAULT);
    assert_eq!(lab.obstacles(a), ["link-down"]);
    assert_eq!(lab.removed(a).len(), 1);
    lab.run(secs(100));
    assert_eq!(lab.sent(a), []);
    assert_eq!(lab.announced(a, WEB), [std::time::Duration::ZERO; 0]);
    assert_eq!(lab.holds(a, WEB), None);
    assert_eq!(lab.state(b), ACTIVE);
    lab.mark();
    lab.link(a, "eth0", true);
    let took = lab.run_until(a, ACTIVE, secs(5));
    assert_eq!(took, ms(1) + adi(150));
    lab.run(ms(2));
    assert_eq!(lab.announced(a, WEB), [took + ms(2)]);
}

#[test]
fn a_backup_whose_link_goes_does_not_take_silence_for_death() {
    let mut lab = Lab::new();
    let a = lab.host(vec![web(150)]);
    let b = lab.host(vec![web(100)]);
    lab.start_all();
    lab.run(secs(10));
    lab.mark();
    lab.link(b, "eth0", false);
    lab.run(secs(100));
    assert_eq!(lab.state(b), FAULT);
    lab.link(b, "eth0", true);
    lab.run(secs(100));
    assert_eq!((lab.state(a), lab.state(b)), (ACTIVE, BACKUP));
    assert_eq!(lab.deeds(b), []);
}

#[rstest]
fn an_interface_missing_at_start_is_waited_for(#[values(Way::V3, Way::V6)] way: Way) {
    let mut lab = Lab::new();
    let a = lab.host(vec![web_by(way, 100)]);
    lab.remove_interface(a, "eth0");
    lab.start(a);
    assert_eq!(lab.state(a), FAULT);
    assert_eq!(lab.obstacles(a), ["interface-missing"]);
    lab.run(secs(3_600));
    assert_eq!(lab.deeds(a), []);
    lab.create_interface(a, "eth0");
    let took = lab.run_until(a, ACTIVE, secs(5));
    assert_eq!(took, ms(1) + adi(100));
}

#[test]
fn before_the_first_reports_nothing_is_said() {
    let mut lab = Lab::new();
    let a = lab.host(vec![web(255)]);
    lab.boot(a);
    assert_eq!(lab.state(a), StateName::Initialize);
    lab.open_sockets(a);
    assert_eq!(
        lab.state(a),
        StateName::Initialize,
        "the interface is unknown"
    );
    lab.run(secs(1));
    lab.report(a, interface("eth0"));
    lab.run(ms(1));
    assert_eq!(lab.state(a), ACTIVE);
}

#[test]
fn without_its_socket_it_waits_and_with_a_broken_one_it_is_in_fault() {
    let mut lab = Lab::new();
    let a = lab.host(vec![web(255)]);
    lab.boot(a);
    lab.report(a, interface("eth0"));
    lab.run(secs(5));
    assert_eq!(lab.state(a), StateName::Initialize);
    let socket = |outcome: Result<(), &str>| Input::Socket {
        interface: interface("eth0"),
        family: vipward::agent::values::Family::Ipv4,
        outcome: outcome.map_err(str::to_owned),
    };
    lab.mark();
    for _ in 0..100 {
        lab.feed(a, socket(Err("Operation not permitted")));
        lab.run(secs(1));
    }
    assert_eq!((lab.state(a), lab.obstacles(a)), (FAULT, vec!["socket"]));
    let lines = lab.facts(a).len();
    assert_eq!(lines, 2, "the transition and one line about the socket");
    lab.feed(a, socket(Ok(())));
    assert_eq!(lab.state(a), ACTIVE);
    lab.feed(a, socket(Err("Network is down")));
    assert_eq!(lab.state(a), FAULT);
    assert_eq!(lab.sent(a).last().map(|(_, value)| *value), Some(0));
}

#[test]
fn a_late_ipv4_address_is_waited_for() {
    let mut lab = Lab::new();
    let a = lab.host(vec![web(100)]);
    lab.at_mut(a).kernel.create("eth0");
    lab.start(a);
    assert_eq!(
        (lab.state(a), lab.obstacles(a)),
        (FAULT, vec!["no-source-address"])
    );
    lab.run(secs(30));
    lab.add_own_address(a, "eth0", "192.0.2.1/24", false);
    let took = lab.run_until(a, ACTIVE, secs(5));
    assert_eq!(took, ms(1) + adi(100));
}

#[test]
fn a_tentative_link_local_address_is_waited_for() {
    let mut lab = Lab::new();
    let a = lab.host(vec![web_by(Way::V6, 100)]);
    lab.at_mut(a).kernel.create("eth0");
    lab.add_own_address(a, "eth0", "2001:db8::1/64", false);
    lab.add_own_address(a, "eth0", "fe80::1/64", true);
    lab.start(a);
    lab.run(secs(30));
    assert_eq!(
        (lab.state(a), lab.obstacles(a)),
        (FAULT, vec!["no-source-address"])
    );
    let known = lab.at_mut(a).kernel.interfaces.get_mut(&interface("eth0"));
    for own in &mut known.expect("eth0").state.addresses {
        own.tentative = false;
    }
    lab.report(a, interface("eth0"));
    let took = lab.run_until(a, ACTIVE, secs(5));
    assert_eq!(took, ms(1) + adi(100));
}

/// IPv6 unicast is sent from a global address when the peers have such.
#[test]
fn unicast_over_ipv6_takes_an_address_of_its_peers_scope() {
    let mut lab = Lab::new();
    let a = lab.host(vec![web_by(Way::V6Unicast, 100)]);
    lab.at_mut(a).kernel.create("eth0");
    lab.add_own_address(a, "eth0", "fe80::1/64", false);
    lab.start(a);
    assert_eq!(lab.obstacles(a), ["no-source-address"]);
    lab.add_own_address(a, "eth0", "2001:db8::1/64", false);
    lab.run_until(a, ACTIVE, secs(5));
}

#[test]
fn a_configured_source_is_waited_for_and_used() {
    let mut lab = Lab::new();
    let mut settings = web(100);
    settings.source = Some(ip("192.0.2.55"));
    let a = lab.host(vec![settings]);
    lab.start(a);
    lab.run(secs(30));
    assert_eq!(
        (lab.state(a), lab.obstacles(a)),
        (FAULT, vec!["no-source-address"])
    );
    lab.add_own_address(a, "eth0", "192.0.2.55/24", false);
    lab.run_until(a, ACTIVE, secs(5));
    let known = lab.status(a).active_router.map(|known| known.address);
    assert_eq!(known, Some(ip("192.0.2.55")));
    lab.run(ms(300));
    lab.mark();
    lab.delete_address(a, "eth0", "192.0.2.55/24");
    lab.run(secs(5));
    assert_eq!(lab.state(a), FAULT);
    assert_eq!(lab.sent(a), [], "not from another address");
    assert_eq!(lab.holds(a, WEB), None);
}

/// The host's own address came after a virtual one of the same subnet, so
/// that the kernel calls it secondary.
#[test]
fn an_own_address_in_the_shadow_of_a_virtual_one_is_a_source() {
    let mut lab = Lab::new();
    let mut six = web_by(Way::V6, 255);
    six.addresses.push(address("203.0.113.100/24"));
    let mut four = web(100);
    four.name = vipward::agent::values::InstanceName::new("zfour");
    four.addresses = vec![address("203.0.113.200/24")];
    let a = lab.host(vec![six, four]);
    lab.at_mut(a).kernel.create("eth0");
    lab.add_own_address(a, "eth0", "fe80::1/64", false);
    lab.start(a);
    lab.run(secs(10));
    let second = vipward::agent::values::InstanceId(1);
    assert_eq!(lab.status_of(a, second).state, FAULT);
    lab.add_own_address(a, "eth0", "203.0.113.1/24", false);
    lab.run(secs(10));
    let status = lab.status_of(a, second);
    assert_eq!(status.state, ACTIVE);
    let own = status.active_router.map(|known| known.address);
    assert_eq!(own, Some(ip("203.0.113.1")));
}

/// An address of the virtual router is never the source of a mere Backup.
#[test]
fn a_virtual_address_is_no_source() {
    let mut lab = Lab::new();
    let a = lab.host(vec![web(100)]);
    lab.at_mut(a).kernel.create("eth0");
    lab.add_own_address(a, "eth0", "192.0.2.100/24", false);
    lab.start(a);
    assert_eq!(lab.obstacles(a), ["no-source-address"]);
}

#[test]
fn deleted_and_created_again_it_starts_anew() {
    let mut lab = Lab::new();
    let a = lab.host(vec![web(100)]);
    lab.start(a);
    lab.run_until(a, ACTIVE, secs(5));
    lab.run(secs(10));
    lab.mark();
    lab.remove_interface(a, "eth0");
    lab.run(secs(5));
    assert_eq!(
        (lab.state(a), lab.obstacles(a)),
        (FAULT, vec!["interface-missing"])
    );
    assert_eq!(lab.deeds(a), [], "there is nothing to remove it from");
    lab.create_interface(a, "eth0");
    let took = lab.run_until(a, ACTIVE, secs(5));
    assert_eq!(took, ms(1) + adi(100));
    lab.run(secs(1));
    assert!(lab.holds(a, WEB).is_some());
    assert!(!lab.announced(a, WEB).is_empty());
}

/// Both changes seen as one: the Active puts its address on the new one.
#[test]
fn replaced_under_an_active_it_gets_its_address_back_at_once() {
    let mut lab = Lab::new();
    let a = lab.host(vec![web(100)]);
    lab.start(a);
    lab.run_until(a, ACTIVE, secs(5));
    lab.run(secs(10));
    lab.mark();
    lab.replace_interface(a, "eth0");
    lab.run(secs(2));
    assert_eq!(lab.state(a), ACTIVE);
    assert!(lab.holds(a, WEB).is_some());
    let first = lab.announced(a, WEB).first().copied();
    assert_eq!(first, Some(ms(1) + ms(2)));
}

/// The old socket was deaf for a while, so that silence proves nothing.
#[test]
fn replaced_under_a_backup_its_patience_begins_anew() {
    let mut lab = Lab::new();
    let mut settings = web(100);
    settings.settle = secs(7);
    let a = lab.host(vec![settings]);
    let b = lab.host(vec![web(200)]);
    lab.start(a);
    lab.run(secs(8));
    lab.forge(b, a, 200);
    lab.run(secs(3));
    assert_eq!(lab.state(a), BACKUP);
    lab.replace_interface(a, "eth0");
    let took = lab.run_until(a, ACTIVE, secs(30));
    assert_eq!(took, ms(1) + secs(7) + adi(100), "as after a link return");
}

#[test]
fn another_interface_coming_back_is_announced_on() {
    let mut lab = Lab::new();
    let mut settings = web(100);
    let mut other = address("198.51.100.100/24");
    other.interface = interface("eth1");
    settings.addresses.push(other);
    let a = lab.host(vec![settings]);
    lab.start(a);
    lab.run_until(a, ACTIVE, secs(5));
    lab.run(secs(20));
    lab.link(a, "eth1", false);
    lab.run(secs(5));
    assert_eq!(lab.state(a), ACTIVE);
    lab.mark();
    lab.link(a, "eth1", true);
    lab.run(secs(2));
    let burst: Vec<_> = [1, 21, 101, 301, 1_001].map(ms).into();
    assert_eq!(lab.announced(a, "198.51.100.100"), burst);
    assert_eq!(
        lab.announced(a, WEB),
        [std::time::Duration::ZERO; 0],
        "only there"
    );
}
