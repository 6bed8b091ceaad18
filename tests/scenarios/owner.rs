//! The address owner: priority 255, and an address that is the host's own
//! (RFC 9568 section 6.4.1, erratum 8298).

use rstest::rstest;
use vipward::agent::report::Fact;
use vipward::agent::settings::InstanceSettings;
use vipward::agent::status::StateName;
use vipward::agent::values::InstanceId;

use crate::kit::*;

const ACTIVE: StateName = StateName::Active;
const BACKUP: StateName = StateName::Backup;
const FAULT: StateName = StateName::Fault;

/// Host 1's own, on eth0.
const OWN: &str = "192.0.2.1";
const OWN6: &str = "2001:db8::1";

fn of_own(priority: u8) -> InstanceSettings {
    InstanceSettings {
        addresses: vec![address("192.0.2.1/24"), address("2001:db8::1/64")],
        ..web(priority)
    }
}

/// The owner, and another that stands in for it.
fn pair() -> (Lab, HostId, HostId) {
    let mut lab = Lab::new();
    let a = lab.host(vec![of_own(255)]);
    let b = lab.host(vec![of_own(100)]);
    lab.start_all();
    lab.run(secs(10));
    assert_eq!((lab.state(a), lab.state(b)), (ACTIVE, BACKUP));
    lab.mark();
    (lab, a, b)
}

fn owners(lab: &Lab, host: HostId) -> usize {
    lab.count_facts(host, |fact| matches!(fact, Fact::TwoOwners { .. }))
}

/// It claims at once, announces its own address, and says so by its source.
#[test]
fn its_own_address_is_claimed_and_announced_and_not_touched() {
    let mut lab = Lab::new();
    let a = lab.host(vec![of_own(255)]);
    let before = lab.at(a).kernel.state(interface("eth0"));
    lab.start(a);
    assert_eq!(lab.state(a), ACTIVE);
    lab.run(secs(100));
    assert!(lab.announced(a, OWN).len() > 5);
    assert!(lab.announced(a, OWN6).len() > 5);
    assert!(lab.status(a).addresses.iter().all(|own| own.held));
    assert_eq!(
        lab.status(a).active_router.map(|router| router.address),
        Some(ip(OWN))
    );
    let custody = lab
        .at(a)
        .agent
        .as_ref()
        .and_then(|agent| agent.custody(InstanceId(0)));
    assert_eq!(custody.map(|custody| custody.addresses), Some(Vec::new()));
    assert_eq!(lab.at(a).kernel.state(interface("eth0")), before);
}

/// However it ceases to be Active, the address is the host's.
#[rstest]
#[case::stop("stop")]
#[case::stop_at_once("stop-now")]
#[case::another_owner("loses")]
#[case::reload("reload")]
fn its_own_address_stays(#[case] way: &str) {
    let (mut lab, a, b) = pair();
    match way {
        "stop" => lab.stop(a),
        "stop-now" => lab.stop_now(a),
        "loses" => lab.forge(b, a, 255),
        _ => lab.reload(
            a,
            vec![InstanceSettings {
                addresses: vec![address("192.0.2.77/24")],
                ..web(255)
            }],
        ),
    }
    lab.run(secs(2));
    assert_eq!(lab.holds(a, OWN), Some(interface("eth0")));
    assert_eq!(lab.holds(a, OWN6), Some(interface("eth0")));
    assert_eq!(lab.removed(a), []);
}

/// Its host dies; somebody stands in; it returns and has its own again.
#[test]
fn it_returns_and_takes_over() {
    let (mut lab, a, b) = pair();
    lab.power_off(a);
    lab.run_until(b, ACTIVE, secs(5));
    lab.run(ms(50));
    assert_eq!(lab.holds(b, OWN), Some(interface("eth0")));
    lab.run(secs(20));
    lab.mark();
    lab.start(a);
    assert_eq!(lab.state(a), ACTIVE, "it waits for nobody");
    lab.run(ms(50));
    assert_eq!(lab.state(b), BACKUP);
    assert_eq!(lab.holds(b, OWN), None);
    assert_eq!(lab.holds(b, OWN6), None);
    // Once more, after the other has let go.
    lab.run(secs(1));
    assert!(lab.announced(a, OWN).iter().any(|at| *at > ms(4)));
}

/// Its link goes and comes: the same.
#[test]
fn its_link_returns() {
    let (mut lab, a, b) = pair();
    lab.part(a, b);
    lab.link(a, "eth0", false);
    lab.run_until(b, ACTIVE, secs(5));
    assert_eq!(lab.state(a), FAULT);
    lab.run(secs(20));
    lab.heal(a, b);
    lab.link(a, "eth0", true);
    lab.run(ms(100));
    assert_eq!((lab.state(a), lab.state(b)), (ACTIVE, BACKUP));
    assert_eq!(lab.holds(b, OWN), None);
    assert_eq!(lab.holds(a, OWN), Some(interface("eth0")));
}

/// Erratum 8298: not dropped but judged, so that one gives way; and told.
#[test]
fn of_two_owners_one_gives_way_and_both_say_so() {
    let mut lab = Lab::new();
    let a = lab.host(vec![web(255)]);
    let b = lab.host(vec![web(255)]);
    lab.start(a);
    lab.run(secs(10));
    lab.start(b);
    lab.run(secs(1));
    // The higher address wins.
    assert_eq!((lab.state(a), lab.state(b)), (BACKUP, ACTIVE));
    assert_eq!(lab.holds(a, WEB), None);
    assert_eq!((owners(&lab, a), owners(&lab, b)), (1, 1));
    for host in [a, b] {
        assert_eq!(lab.obstacles(host), ["two-owners"]);
    }
    lab.run(secs(100));
    assert_eq!((lab.state(a), lab.state(b)), (BACKUP, ACTIVE));
    assert_eq!(lab.obstacles(a), ["two-owners"], "it hears it still");
    assert_eq!(lab.obstacles(b), Vec::<&str>::new(), "the other is silent");
    assert_eq!(owners(&lab, a), 1);
    // Mended on the other host: by its next advertisement it is over here.
    lab.reload(b, vec![web(254)]);
    lab.run(secs(2));
    assert_eq!(lab.obstacles(a), Vec::<&str>::new());
    lab.run(secs(5));
    assert_eq!((lab.state(a), lab.state(b)), (ACTIVE, BACKUP));
}

/// Who is none says nothing of it, and a Backup below 255 is none.
#[test]
fn only_an_owner_knows_of_another() {
    let (mut lab, a, b) = pair();
    lab.run(secs(100));
    assert_eq!((owners(&lab, a), owners(&lab, b)), (0, 0));
    // It returns to somebody who stood in for it.
    lab.forge(b, a, 100);
    lab.forge(b, a, 254);
    assert_eq!(owners(&lab, a), 0);
    assert_eq!(lab.obstacles(a), Vec::<&str>::new());
    assert_eq!(lab.state(a), ACTIVE);
}
