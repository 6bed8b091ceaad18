//! Interface states.

use std::thread;
use std::time::{Duration, Instant};

use vipward::agent::event::{Event, InterfaceState};

use super::orders::threads_named;
use super::{Orders, Test, Watched, ip, ip_batch, names, networks, order, set, veth, within};

pub fn tests() -> Vec<Test> {
    vec![
        ("monitor::initial_state", initial_state),
        ("monitor::up_needs_carrier", up_needs_carrier),
        ("monitor::addresses_by_hand", addresses_by_hand),
        ("monitor::order_and_secondaries", order_and_secondaries),
        ("monitor::point_to_point", point_to_point),
        ("monitor::ours_is_marked", ours_is_marked),
        ("monitor::tentative", tentative),
        (
            "monitor::other_interfaces_are_not_reported",
            others_are_not_reported,
        ),
        (
            "monitor::deleted_and_created_again",
            deleted_and_created_again,
        ),
        ("monitor::renamed", renamed),
        (
            "monitor::mtu_and_hardware_address",
            mtu_and_hardware_address,
        ),
        ("monitor::forwarding_is_noticed_by_the_sweep", forwarding),
        ("monitor::watch_replaces_the_set", watch_replaces_the_set),
        ("monitor::burst_ends_right", burst_ends_right),
        (
            "monitor::full_channel_loses_nothing",
            full_channel_loses_nothing,
        ),
        (
            "monitor::thousand_addresses_on_one_interface",
            thousand_addresses,
        ),
        ("monitor::ends_when_dropped", ends_when_dropped),
        (
            "monitor::ends_when_nobody_listens",
            ends_when_nobody_listens,
        ),
    ]
}

/// Everything is read this often, whatever was heard.
pub const SWEEP: Duration = Duration::from_secs(10);

pub fn listed(state: &InterfaceState) -> Vec<String> {
    let addresses = state.addresses.iter();
    addresses
        .map(|address| address.network.to_string())
        .collect()
}

/// What must hold whenever the kernel has come to rest.
fn agrees_with_ip(state: &InterfaceState) {
    assert_eq!(listed(state), networks("eth0"));
}

fn initial_state() {
    veth();
    ip("address add 192.0.2.1/24 dev eth0");
    ip("address add 2001:db8::1/64 dev eth0 nodad");
    let mut watched = Watched::start(&["eth0", "lo", "nowhere"]);
    let mut seen: Vec<_> = (0..3).map(|_| watched.report()).collect();
    seen.sort_by(|one, other| one.0.cmp(&other.0));
    let [(_, Some(eth0)), (_, Some(lo)), (_, None)] = &seen[..] else {
        panic!("{seen:?}");
    };
    assert!(eth0.up && lo.up);
    assert_eq!(eth0.mtu, 1500);
    assert!(eth0.hardware_address.is_some());
    assert!(lo.hardware_address.is_none());
    assert!(!eth0.forwards_ipv6);
    assert_eq!(listed(eth0), ["192.0.2.1/24", "2001:db8::1/64"]);
    assert!(
        eth0.addresses
            .iter()
            .all(|address| !address.ours && !address.tentative)
    );
    assert_eq!(listed(lo), ["127.0.0.1/8", "::1/128"]);
    watched.quiet();
}

fn up_needs_carrier() {
    veth();
    let mut watched = Watched::start(&["eth0"]);
    assert!(watched.report().1.unwrap().up);
    let started = Instant::now();
    // The far end goes down: this one loses carrier and stays IFF_UP.
    ip("link set far down");
    assert!(
        !watched
            .until("eth0", |state| !state.unwrap().up)
            .unwrap()
            .up
    );
    let took = started.elapsed();
    assert!(took < Duration::from_millis(500), "noticed after {took:?}");
    ip("link set far up");
    watched.until("eth0", |state| state.unwrap().up);
    ip("link set eth0 down");
    watched.until("eth0", |state| !state.unwrap().up);
    ip("link set eth0 up");
    watched.until("eth0", |state| state.unwrap().up);
}

fn addresses_by_hand() {
    veth();
    let mut watched = Watched::start(&["eth0"]);
    assert!(watched.report().1.unwrap().addresses.is_empty());
    ip("address add 192.0.2.1/24 dev eth0");
    let state = watched.report().1.unwrap();
    assert_eq!(listed(&state), ["192.0.2.1/24"]);
    ip("address add 2001:db8::1/64 dev eth0 nodad");
    let state = watched
        .until("eth0", |state| state.unwrap().addresses.len() == 2)
        .unwrap();
    agrees_with_ip(&state);
    ip("address delete 192.0.2.1/24 dev eth0");
    let state = watched
        .until("eth0", |state| state.unwrap().addresses.len() == 1)
        .unwrap();
    assert_eq!(listed(&state), ["2001:db8::1/64"]);
    ip("address flush dev eth0");
    watched.until("eth0", |state| state.unwrap().addresses.is_empty());
    watched.quiet();
}

fn order_and_secondaries() {
    veth();
    set("/proc/sys/net/ipv4/conf/eth0/promote_secondaries", "1");
    for number in 1..=3 {
        ip(&format!("address add 192.0.2.{number}/24 dev eth0"));
    }
    ip("address add 198.51.100.1/24 dev eth0");
    let mut watched = Watched::start(&["eth0"]);
    let state = watched.report().1.unwrap();
    agrees_with_ip(&state);
    let secondary = |state: &InterfaceState| -> Vec<String> {
        let shadowed = state.addresses.iter().filter(|address| address.secondary);
        shadowed
            .map(|address| address.network.to_string())
            .collect()
    };
    assert_eq!(secondary(&state), ["192.0.2.2/24", "192.0.2.3/24"]);
    ip("address delete 192.0.2.1/24 dev eth0");
    let state = watched
        .until("eth0", |state| state.unwrap().addresses.len() == 3)
        .unwrap();
    agrees_with_ip(&state);
    assert_eq!(secondary(&state), ["192.0.2.3/24"]);
}

fn point_to_point() {
    veth();
    ip("address add 192.0.2.1 peer 192.0.2.2/32 dev eth0");
    ip("address add 2001:db8::1 peer 2001:db8::2/128 dev eth0 nodad");
    let mut watched = Watched::start(&["eth0"]);
    let state = watched.report().1.unwrap();
    assert_eq!(listed(&state), ["192.0.2.1/32", "2001:db8::1/128"]);
}

fn ours_is_marked() {
    veth();
    let mut orders = Orders::start();
    orders.add(order("192.0.2.10/24")).unwrap();
    orders.add(order("2001:db8::10/64")).unwrap();
    ip("address add 192.0.2.1/32 dev eth0");
    let mut watched = Watched::start(&["eth0"]);
    let state = watched.report().1.unwrap();
    let ours: Vec<(String, bool)> = state
        .addresses
        .iter()
        .map(|address| (address.network.to_string(), address.ours))
        .collect();
    let expected = [
        ("192.0.2.10/24".to_owned(), true),
        ("192.0.2.1/32".to_owned(), false),
        ("2001:db8::10/64".to_owned(), true),
    ];
    assert_eq!(ours, expected);
}

fn tentative() {
    veth();
    set("/proc/sys/net/ipv6/conf/eth0/dad_transmits", "1");
    let mut watched = Watched::start(&["eth0"]);
    watched.report();
    ip("address add 2001:db8::1/64 dev eth0");
    let is_tentative = |state: Option<&InterfaceState>| {
        state
            .unwrap()
            .addresses
            .first()
            .map(|address| address.tentative)
    };
    watched.until("eth0", |state| is_tentative(state) == Some(true));
    watched.until("eth0", |state| is_tentative(state) == Some(false));

    // The far end has the address already: detection fails for good.
    ip("address add 2001:db8::2/64 dev far nodad");
    ip("address add 2001:db8::2/64 dev eth0");
    let deadline = Instant::now() + Duration::from_secs(5);
    while !ip("address show dev eth0").contains("dadfailed") {
        assert!(Instant::now() < deadline, "detection did not fail");
        thread::sleep(Duration::from_millis(20));
    }
    watched.until("eth0", |state| {
        let addresses = &state.unwrap().addresses;
        addresses
            .iter()
            .any(|address| address.tentative && address.network.to_string() == "2001:db8::2/64")
    });
    thread::sleep(Duration::from_millis(100));
    while watched.events.try_recv().is_ok() {}
    watched.quiet();
}

fn others_are_not_reported() {
    veth();
    let mut watched = Watched::start(&["eth0"]);
    watched.report();
    ip("address add 192.0.2.1/24 dev lo");
    ip("address add 192.0.2.2/24 dev far");
    ip("link add other type veth peer name another");
    // A message about eth0 itself that changes nothing of its state.
    ip("link set eth0 alias uplink");
    watched.quiet();
}

fn deleted_and_created_again() {
    let mut watched = Watched::start(&["eth0"]);
    assert_eq!(watched.report(), ("eth0".to_owned(), None));
    veth();
    let first = watched
        .until("eth0", |state| state.is_some_and(|state| state.up))
        .unwrap();
    ip("link delete eth0");
    watched.until("eth0", |state| state.is_none());
    veth();
    ip("address add 192.0.2.1/24 dev eth0");
    let second = watched
        .until("eth0", |state| {
            state.is_some_and(|state| !state.addresses.is_empty())
        })
        .unwrap();
    assert_ne!(first.index, second.index);
    agrees_with_ip(&second);
}

fn renamed() {
    veth();
    let mut watched = Watched::start(&["eth0", "wan0"]);
    let index = watched.report().1.unwrap().index;
    assert_eq!(watched.report(), ("wan0".to_owned(), None));
    ip("link set eth0 down");
    ip("link set eth0 name wan0");
    let mut gone = false;
    let mut there = false;
    while !(gone && there) {
        match watched.report() {
            (name, None) if name == "eth0" => gone = true,
            (name, Some(state)) if name == "wan0" => there = state.index == index,
            (_, _) => {}
        }
    }
}

fn mtu_and_hardware_address() {
    veth();
    let mut watched = Watched::start(&["eth0"]);
    watched.report();
    ip("link set eth0 mtu 1400");
    watched.until("eth0", |state| state.unwrap().mtu == 1400);
    ip("link set eth0 address 02:00:00:00:00:07");
    watched.until("eth0", |state| {
        let address = state.unwrap().hardware_address;
        address.is_some_and(|address| address.to_string() == "02:00:00:00:00:07")
    });
}

fn forwarding() {
    veth();
    let mut watched = Watched::start(&["eth0"]);
    assert!(!watched.report().1.unwrap().forwards_ipv6);
    // No message of the watched groups tells of it.
    set("/proc/sys/net/ipv6/conf/eth0/forwarding", "1");
    watched.until_within(SWEEP + Duration::from_secs(2), "eth0", |state| {
        state.unwrap().forwards_ipv6
    });
}

fn watch_replaces_the_set() {
    veth();
    let mut watched = Watched::start(&["eth0"]);
    watched.report();
    watched.monitor.watch(names(&["far", "lo"]));
    assert_eq!(watched.report().0, "far");
    assert_eq!(watched.report().0, "lo");
    ip("address add 192.0.2.1/24 dev eth0");
    watched.quiet();
    // Watched again, it is reported although it did not change meanwhile.
    watched.monitor.watch(names(&["eth0", "far", "lo"]));
    let (name, state) = watched.report();
    assert_eq!(name, "eth0");
    agrees_with_ip(&state.unwrap());
    watched.quiet();
}

/// Adds and removes addresses until `count` messages were caused; 192.0.2.7
/// is there at the end, and nothing else.
fn churn(count: usize) {
    let commands: Vec<String> = (0..count - 1)
        .map(|number| {
            let verb = if number % 2 == 0 { "add" } else { "delete" };
            format!(
                "address {verb} 198.51.100.{}/32 dev eth0",
                (number / 2) % 200 + 1
            )
        })
        .collect();
    ip_batch(&commands);
    ip("address flush dev eth0");
    ip("address add 192.0.2.7/24 dev eth0");
}

fn burst_ends_right() {
    veth();
    let mut watched = Watched::start(&["eth0"]);
    watched.report();
    let (mut reports, mut last) = (0, None);
    thread::scope(|scope| {
        let churning = scope.spawn(|| churn(2_000));
        let deadline = Instant::now() + Duration::from_secs(20);
        while !churning.is_finished() {
            assert!(Instant::now() < deadline, "the burst does not end");
            if let Some(event) = within(Duration::from_millis(1), &mut watched.events) {
                last = Some(event);
                reports += 1;
            }
        }
    });
    // Whatever was reported on the way, the last report is the truth.
    while let Some(event) = within(Duration::from_millis(200), &mut watched.events) {
        last = Some(event);
    }
    let Some(Event::Interface {
        state: Some(state), ..
    }) = last
    else {
        panic!("{last:?}");
    };
    assert_eq!(networks("eth0"), ["192.0.2.7/24"]);
    agrees_with_ip(&state);
    assert!(
        reports < 1_000,
        "{reports} reports: bursts are not coalesced"
    );
}

fn full_channel_loses_nothing() {
    veth();
    let mut watched = Watched::with_room(&["eth0", "far", "lo", "nowhere"], 1);
    thread::sleep(Duration::from_millis(100));
    churn(100);
    ip("link set far mtu 1400");
    thread::sleep(Duration::from_millis(100));
    // One report waits; the other interfaces' and the changes come after it.
    let mut latest = std::collections::BTreeMap::new();
    while let Some(Event::Interface { interface, state }) =
        within(Duration::from_millis(500), &mut watched.events)
    {
        latest.insert(interface.to_string(), state);
    }
    assert_eq!(latest.len(), 4, "{latest:?}");
    agrees_with_ip(latest["eth0"].as_ref().unwrap());
    assert_eq!(latest["far"].as_ref().unwrap().mtu, 1400);
    assert!(latest["lo"].is_some());
    assert!(latest["nowhere"].is_none());
}

fn thousand_addresses() {
    veth();
    let mut watched = Watched::start(&["eth0"]);
    watched.report();
    let commands: Vec<String> = (0..1_000)
        .map(|number| {
            format!(
                "address add 10.9.{}.{}/32 dev eth0",
                number / 250,
                number % 250
            )
        })
        .collect();
    thread::scope(|scope| {
        scope.spawn(|| ip_batch(&commands));
        let state = watched.until("eth0", |state| state.unwrap().addresses.len() == 1_000);
        agrees_with_ip(&state.unwrap());
    });
    let mut again = Watched::start(&["eth0"]);
    assert_eq!(again.report().1.unwrap().addresses.len(), 1_000);
}

fn ended() {
    let deadline = Instant::now() + Duration::from_secs(5);
    while threads_named("vip-monitor") > 0 {
        assert!(Instant::now() < deadline, "the monitor did not end");
        thread::sleep(Duration::from_millis(5));
    }
}

fn ends_when_dropped() {
    let mut watched = Watched::start(&["lo"]);
    watched.report();
    assert_eq!(threads_named("vip-monitor"), 1);
    let Watched { monitor, events } = watched;
    drop(monitor);
    ended();
    drop(events);
}

fn ends_when_nobody_listens() {
    let mut watched = Watched::start(&["lo"]);
    watched.report();
    let Watched { monitor, events } = watched;
    drop(events);
    // Any sign of life from the kernel, or the sweep, wakes it.
    ip("address add 192.0.2.1/24 dev lo");
    ended();
    drop(monitor);
}
