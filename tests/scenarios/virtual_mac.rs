//! Instances that speak by the virtual router's hardware address, on an
//! interface of their own.

use rstest::rstest;
use vipward::agent::report::{Fact, LinkFact};
use vipward::agent::settings::InstanceSettings;
use vipward::agent::status::StateName;
use vipward::agent::values::MacAddress;

use crate::kit::*;

const ACTIVE: StateName = StateName::Active;
const BACKUP: StateName = StateName::Backup;
const FAULT: StateName = StateName::Fault;

const LINK: &str = "vr4-51-eth0";

fn by_mac(priority: u8) -> InstanceSettings {
    InstanceSettings {
        virtual_mac: true,
        ..web(priority)
    }
}

fn both_families(priority: u8) -> InstanceSettings {
    let mut settings = by_mac(priority);
    settings.addresses.push(address("2001:db8::100/64"));
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

fn pair() -> (Lab, HostId, HostId) {
    let mut lab = Lab::new();
    let a = lab.host(vec![by_mac(200)]);
    let b = lab.host(vec![by_mac(100)]);
    lab.start_all();
    lab.run_until(a, ACTIVE, secs(5));
    lab.run(secs(20));
    assert_eq!((lab.state(a), lab.state(b)), (ACTIVE, BACKUP));
    lab.mark();
    (lab, a, b)
}

fn is_up(lab: &Lab, host: HostId) -> Option<bool> {
    lab.virtual_link(host, LINK).map(|state| state.up)
}

fn words(lab: &Lab, host: HostId) -> Vec<String> {
    let deeds = lab.deeds(host).into_iter();
    deeds.map(|(_, deed)| deed).collect()
}

/// Interface before addresses, addresses before its end; the advertisement
/// that switches learn from before the first announcement.
#[test]
fn it_rises_before_the_addresses_and_sinks_after_them() {
    let mut lab = Lab::new();
    let a = lab.host(vec![both_families(100)]);
    lab.start(a);
    lab.run(secs(1));
    assert_eq!(is_up(&lab, a), Some(false), "made, and down in a Backup");
    assert_eq!(words(&lab, a), [format!("lower {LINK}")]);
    lab.mark();
    lab.run_until(a, ACTIVE, secs(5));
    lab.run(ms(10));
    assert_eq!(
        words(&lab, a),
        [
            "advert 100".to_owned(),
            format!("raise {LINK}"),
            "add 192.0.2.100/32".to_owned(),
            "add 2001:db8::100/128".to_owned(),
            format!("advert 100 by {LINK}"),
            "announce 192.0.2.100".to_owned(),
            "announce 2001:db8::100".to_owned(),
        ]
    );
    assert_eq!(lab.holds(a, WEB), Some(interface(LINK)));
    assert_eq!(lab.holds(a, WEB6), Some(interface(LINK)));
    lab.run(secs(5));
    let by_it = format!("advert 100 by {LINK}");
    assert!(words(&lab, a).iter().filter(|deed| **deed == by_it).count() > 4);
    lab.mark();
    lab.stop_now(a);
    // Beyond, a report that is older than the removals may repeat one.
    let all = words(&lab, a);
    assert_eq!(
        all,
        [
            format!("advert 0 by {LINK}"),
            "remove 2001:db8::100/128".to_owned(),
            "remove 192.0.2.100/32".to_owned(),
            format!("remove {LINK}"),
        ]
    );
    lab.run(secs(1));
    assert!(lab.is_finished(a));
    assert_eq!(is_up(&lab, a), None);
}

/// A switch must not learn the virtual address from who gave it up.
#[test]
fn the_loser_parts_by_its_own_address() {
    let (mut lab, a, b) = pair();
    lab.part(a, b);
    lab.run_until(b, ACTIVE, secs(10));
    lab.run(secs(1));
    assert_eq!(is_up(&lab, b), Some(true));
    lab.mark();
    lab.heal(a, b);
    lab.run(secs(2));
    assert_eq!(lab.state(b), BACKUP);
    assert_eq!(is_up(&lab, b), Some(false));
    let all = words(&lab, b);
    let last: Vec<&str> = all.iter().rev().take(3).rev().map(String::as_str).collect();
    assert_eq!(
        last,
        ["remove 192.0.2.100/32", "lower vr4-51-eth0", "advert 100"]
    );
}

/// The successor's announcement bears the address that is ours as well; who
/// resigns goes at once all the same.
#[test]
fn a_twin_s_announcement_relieves() {
    let (mut lab, a, b) = pair();
    lab.at_mut(b).kernel.acknowledge_after = ms(0);
    lab.stop(a);
    lab.run_until(b, ACTIVE, secs(2));
    lab.mark();
    lab.run(ms(20));
    // Once when it has the address, once more when the other has let go.
    assert_eq!(lab.announced(b, WEB).len(), 2, "{:?}", lab.deeds(b));
    let (at, _) = lab.removed(a).pop().expect("relieved");
    // The address and its interface, one announcement, one millisecond on the
    // way: by the advertisement alone it would have been 50 ms.
    assert!(at < ms(10), "{at:?}");
    lab.run(secs(1));
    assert!(lab.is_finished(a));
}

/// Every router of the virtual router has it: no conflict, no defence.
#[rstest]
#[case::active(200)]
#[case::backup(100)]
fn a_twin_s_claim_is_no_conflict(#[case] priority: u8) {
    let (mut lab, a, b) = pair();
    let host = if priority == 200 { a } else { b };
    let mac = MacAddress([0, 0, 0x5e, 0, 1, 51]);
    let before = lab.announced(host, WEB).len();
    lab.feed(host, Input::announcement("eth0", WEB, mac));
    assert_eq!(lab.announced(host, WEB).len(), before);
    assert_eq!(lab.status(host).conflicts, []);
    let stranger = MacAddress([2, 7, 7, 7, 7, 7]);
    lab.feed(host, Input::announcement("eth0", WEB, stranger));
    let noticed = usize::from(priority == 200);
    assert_eq!(lab.status(host).conflicts.len(), noticed);
}

/// By somebody else: all is as it was within a second, and a line says so.
#[rstest]
#[case::removed(true)]
#[case::lowered(false)]
fn what_somebody_does_to_it_is_mended(#[case] removed: bool) {
    let (mut lab, a) = active(both_families(100));
    if removed {
        lab.remove_interface(a, LINK);
    } else {
        lab.link(a, LINK, false);
    }
    lab.run(secs(1));
    assert_eq!(lab.state(a), ACTIVE);
    assert_eq!(is_up(&lab, a), Some(true));
    assert_eq!(lab.holds(a, WEB), Some(interface(LINK)));
    assert_eq!(lab.holds(a, WEB6), Some(interface(LINK)));
    let restored = |fact: &Fact| {
        matches!(
            fact,
            Fact::VirtualLink {
                fact: LinkFact::Restored,
                ..
            }
        )
    };
    assert_eq!(lab.count_facts(a, restored), 1);
}

/// A report that was under way when the kernel answered is no news.
#[test]
fn a_stale_report_changes_nothing() {
    let mut lab = Lab::new();
    let a = lab.host(vec![by_mac(100)]);
    lab.at_mut(a).kernel.report_after = ms(150);
    lab.start(a);
    lab.run_until(a, ACTIVE, secs(5));
    lab.run(secs(3));
    let raised = words(&lab, a);
    let raised = raised.iter().filter(|deed| deed.starts_with("raise"));
    assert_eq!(raised.count(), 1, "{:?}", lab.deeds(a));
}

#[test]
fn it_follows_the_parent_s_mtu() {
    let (mut lab, a) = active(by_mac(100));
    let parent = &mut lab.at_mut(a).kernel;
    parent
        .interfaces
        .get_mut(&interface("eth0"))
        .expect("there")
        .state
        .mtu = 1400;
    lab.report(a, interface("eth0"));
    lab.run(secs(1));
    assert_eq!(lab.virtual_link(a, LINK).map(|state| state.mtu), Some(1400));
    assert_eq!(lab.state(a), ACTIVE);
}

/// Known before it is needed: who cannot have it takes no part.
#[test]
fn without_it_the_instance_is_in_fault() {
    let mut lab = Lab::new();
    let a = lab.host(vec![by_mac(100)]);
    lab.at_mut(a).kernel.refuse_link = Some("eth0 is in use by a bridge".to_owned());
    lab.start(a);
    lab.run(secs(1));
    assert_eq!(lab.state(a), FAULT);
    assert_eq!(lab.obstacles(a), ["virtual-mac-failed"]);
    lab.run(secs(100));
    // 5, 10, 20, 40 s apart.
    assert_eq!(words(&lab, a).len(), 5, "{:?}", lab.deeds(a));
    lab.at_mut(a).kernel.refuse_link = None;
    lab.run(secs(80));
    assert_eq!(lab.state(a), ACTIVE);
    assert_eq!(lab.holds(a, WEB), Some(interface(LINK)));
}

/// In the middle of a claim: priority 0, and a pause before the next try.
#[test]
fn one_that_cannot_be_raised_gives_the_claim_back() {
    let mut lab = Lab::new();
    let a = lab.host(vec![by_mac(200)]);
    let b = lab.host(vec![by_mac(100)]);
    lab.start(a);
    lab.run(secs(1));
    lab.start(b);
    lab.run(secs(1));
    lab.at_mut(a).kernel.refuse_link = Some("no".to_owned());
    lab.run_until(b, ACTIVE, secs(5));
    assert_eq!(lab.state(a), FAULT);
    assert_eq!(lab.holds(a, WEB), None);
    lab.at_mut(a).kernel.refuse_link = None;
    lab.run(secs(20));
    assert_eq!(lab.state(a), ACTIVE);
    assert_eq!(lab.state(b), BACKUP);
}

#[test]
fn an_unguarded_parent_is_shown_and_costs_nothing() {
    let mut lab = Lab::new();
    let a = lab.host(vec![by_mac(100)]);
    lab.at_mut(a).kernel.unguarded = Some("no nf_tables".to_owned());
    lab.start(a);
    lab.run_until(a, ACTIVE, secs(5));
    lab.run(secs(1));
    assert_eq!(lab.state(a), ACTIVE);
    assert_eq!(lab.obstacles(a), ["virtual-mac-unguarded"]);
    assert!(lab.holds(a, WEB).is_some());
}

#[test]
fn the_parent_s_loss_and_return() {
    let (mut lab, a) = active(by_mac(100));
    // The kernel takes the one above along.
    lab.remove_interface(a, LINK);
    lab.remove_interface(a, "eth0");
    lab.run(secs(5));
    assert_eq!(lab.state(a), FAULT);
    lab.create_interface(a, "eth0");
    lab.run(secs(6));
    assert_eq!(lab.state(a), ACTIVE);
    assert_eq!(lab.holds(a, WEB), Some(interface(LINK)));
}

/// In a living Active: the addresses move, and it stays Active.
#[test]
fn switched_on_and_off_by_a_reload() {
    let (mut lab, a) = active(web(100));
    assert_eq!(lab.holds(a, WEB), Some(interface("eth0")));
    lab.reload(a, vec![by_mac(100)]);
    let state = None;
    lab.feed(
        a,
        Input::Interface {
            interface: interface(LINK),
            state,
        },
    );
    lab.run(secs(1));
    assert_eq!(lab.holds(a, WEB), Some(interface(LINK)));
    assert_eq!(lab.state(a), ACTIVE);
    lab.reload(a, vec![web(100)]);
    lab.run(secs(1));
    assert_eq!(lab.holds(a, WEB), Some(interface("eth0")));
    assert_eq!(is_up(&lab, a), None);
    assert_eq!(lab.state(a), ACTIVE);
    assert_eq!(lab.status(a).virtual_mac, None);
}

/// A switch of a segment with peers learns from what is announced.
#[test]
fn unicast_advertisements_leave_by_the_interface_s_own() {
    let mut settings = web_by(Way::V3Unicast, 100);
    settings.virtual_mac = true;
    let (lab, a) = active(settings);
    assert_eq!(lab.holds(a, WEB), Some(interface(LINK)));
    assert!(words(&lab, a).iter().all(|deed| !deed.contains(" by ")));
}

/// One with an interface of its own stands there; a link-local one is reached
/// by its own interface only, so it brings its route.
#[test]
fn which_addresses_it_carries() {
    let mut elsewhere = address("198.51.100.100/24");
    elsewhere.interface = interface("eth1");
    let mut settings = by_mac(100);
    settings.addresses.extend([
        elsewhere,
        address("fe80::100/64"),
        address("203.0.113.9/24"),
    ]);
    let mut lab = Lab::new();
    let a = lab.host(vec![settings]);
    lab.start(a);
    lab.run_until(a, ACTIVE, secs(5));
    lab.run(secs(1));
    let orders = lab.added(a).into_iter().map(|(_, order)| {
        let route = if order.no_prefix_route {
            " noprefixroute"
        } else {
            ""
        };
        format!("{} on {}{route}", order.network, order.interface)
    });
    assert_eq!(
        orders.collect::<Vec<_>>(),
        [
            "198.51.100.100/32 on eth1 noprefixroute",
            "192.0.2.100/32 on vr4-51-eth0 noprefixroute",
            "fe80::100/64 on vr4-51-eth0",
            "203.0.113.9/24 on vr4-51-eth0",
        ]
    );
}
