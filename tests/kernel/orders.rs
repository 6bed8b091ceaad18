//! Address orders.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use vipward::agent::action::AddressOrder;
use vipward::agent::event::{Added, Event, Removed};
use vipward::agent::values::AddressIndex;

use super::{Orders, Test, addresses, ip, networks, next, order, set, veth};

pub fn tests() -> Vec<Test> {
    vec![
        ("orders::ipv4_comes_and_goes", ipv4_comes_and_goes),
        ("orders::ipv6_comes_and_goes", ipv6_comes_and_goes),
        ("orders::ipv6_source_address", ipv6_source_address),
        ("orders::label", label),
        (
            "orders::present_and_absent_are_successes",
            present_and_absent,
        ),
        ("orders::no_prefix_route", no_prefix_route),
        ("orders::secondaries_stay", secondaries_stay),
        (
            "orders::promotion_by_all_is_enough",
            promotion_by_all_is_enough,
        ),
        ("orders::thousand_addresses", thousand_addresses),
        ("orders::missing_interface", missing_interface),
        ("orders::ipv6_disabled", ipv6_disabled),
        ("orders::small_mtu", small_mtu),
        ("orders::kernel_words", kernel_words),
        ("orders::mixed_chunk_keeps_order", mixed_chunk_keeps_order),
        ("orders::full_queue_gives_back", full_queue_gives_back),
        (
            "orders::dropped_handle_still_removes",
            dropped_handle_still_removes,
        ),
    ]
}

fn ipv4_comes_and_goes() {
    veth();
    let mut orders = Orders::start();
    assert_eq!(orders.add(order("192.0.2.10/24")), Ok(Added::Fresh));
    let [entry] = &addresses("eth0")[..] else {
        panic!()
    };
    assert_eq!(entry["local"], "192.0.2.10");
    assert_eq!(entry["prefixlen"], 24);
    assert_eq!(entry["label"], "eth0");
    assert_eq!(entry["valid_life_time"], u32::MAX);
    assert!(entry.get("broadcast").is_none());
    assert!(ip("route show dev eth0").contains("192.0.2.0/24"));

    assert_eq!(orders.remove(order("192.0.2.10/24")), Ok(Removed::Deleted));
    assert!(addresses("eth0").is_empty());
}

fn ipv6_comes_and_goes() {
    veth();
    // Without NODAD the address would stay tentative for this long.
    set("/proc/sys/net/ipv6/conf/eth0/dad_transmits", "60");
    let mut orders = Orders::start();
    assert_eq!(orders.add(order("2001:db8::10/64")), Ok(Added::Fresh));
    let [entry] = &addresses("eth0")[..] else {
        panic!()
    };
    assert_eq!(entry["local"], "2001:db8::10");
    assert_eq!(entry["prefixlen"], 64);
    assert_eq!(entry["nodad"], true);
    assert_eq!(entry["deprecated"], true);
    assert_eq!(entry["preferred_life_time"], 0);
    assert_eq!(entry["valid_life_time"], u32::MAX);
    assert!(entry.get("tentative").is_none());
    assert!(entry.get("noprefixroute").is_none());

    assert_eq!(
        orders.remove(order("2001:db8::10/64")),
        Ok(Removed::Deleted)
    );
    assert!(addresses("eth0").is_empty());
}

fn ipv6_source_address() {
    veth();
    let mut orders = Orders::start();
    let wanted = AddressOrder {
        source_address: true,
        ..order("2001:db8::10/64")
    };
    assert_eq!(orders.add(wanted), Ok(Added::Fresh));
    let [entry] = &addresses("eth0")[..] else {
        panic!()
    };
    assert!(entry.get("deprecated").is_none());
    assert_eq!(entry["preferred_life_time"], u32::MAX);
}

fn label() {
    veth();
    let mut orders = Orders::start();
    let labelled = AddressOrder {
        label: Some("eth0:web".into()),
        ..order("192.0.2.10/24")
    };
    assert_eq!(orders.add(labelled.clone()), Ok(Added::Fresh));
    let [entry] = &addresses("eth0")[..] else {
        panic!()
    };
    assert_eq!(entry["label"], "eth0:web");
    assert_eq!(orders.remove(labelled), Ok(Removed::Deleted));
    assert!(addresses("eth0").is_empty());
}

fn present_and_absent() {
    veth();
    let mut orders = Orders::start();
    for network in ["192.0.2.10/24", "2001:db8::10/64"] {
        ip(&format!("address add {network} dev eth0 nodad"));
        assert_eq!(orders.add(order(network)), Ok(Added::AlreadyPresent));
        assert_eq!(orders.remove(order(network)), Ok(Removed::Deleted));
        assert!(addresses("eth0").is_empty());
        assert_eq!(orders.remove(order(network)), Ok(Removed::Absent));
    }
}

fn no_prefix_route() {
    veth();
    let mut orders = Orders::start();
    for network in ["192.0.2.10/24", "2001:db8::10/64"] {
        let quiet = AddressOrder {
            no_prefix_route: true,
            ..order(network)
        };
        assert_eq!(orders.add(quiet.clone()), Ok(Added::Fresh));
        assert_eq!(addresses("eth0")[0]["noprefixroute"], true);
        let routes = ip("route show dev eth0") + &ip("-6 route show dev eth0");
        assert!(
            !routes.contains("192.0.2.0") && !routes.contains("2001:db8"),
            "{routes}"
        );
        assert_eq!(orders.remove(quiet), Ok(Removed::Deleted));
    }
}

const PROMOTE: &str = "/proc/sys/net/ipv4/conf/eth0/promote_secondaries";
const PROMOTE_ALL: &str = "/proc/sys/net/ipv4/conf/all/promote_secondaries";

fn secondaries_stay() {
    veth();
    set(PROMOTE, "0");
    set(PROMOTE_ALL, "0");
    let mut orders = Orders::start();
    let first = AddressOrder {
        promote_secondaries: true,
        ..order("192.0.2.10/24")
    };
    assert_eq!(orders.add(first.clone()), Ok(Added::Fresh));
    assert_eq!(fs::read_to_string(PROMOTE).unwrap().trim(), "1");
    ip("address add 192.0.2.1/24 dev eth0");
    ip("address add 192.0.2.2/24 dev eth0");
    // Somebody takes the setting back while the address is held.
    set(PROMOTE, "0");
    assert_eq!(orders.remove(first), Ok(Removed::Deleted));
    assert_eq!(networks("eth0"), ["192.0.2.1/24", "192.0.2.2/24"]);
    assert!(addresses("eth0")[0].get("secondary").is_none());

    // Not asked for, the setting is left alone.
    set(PROMOTE, "0");
    assert_eq!(orders.add(order("198.51.100.10/24")), Ok(Added::Fresh));
    assert_eq!(fs::read_to_string(PROMOTE).unwrap().trim(), "0");
}

fn promotion_by_all_is_enough() {
    veth();
    set(PROMOTE, "0");
    set(PROMOTE_ALL, "1");
    let mut orders = Orders::start();
    let first = AddressOrder {
        promote_secondaries: true,
        ..order("192.0.2.10/24")
    };
    assert_eq!(orders.add(first.clone()), Ok(Added::Fresh));
    assert_eq!(fs::read_to_string(PROMOTE).unwrap().trim(), "0");
    ip("address add 192.0.2.1/24 dev eth0");
    assert_eq!(orders.remove(first), Ok(Removed::Deleted));
    assert_eq!(networks("eth0"), ["192.0.2.1/24"]);
}

fn thousand() -> Vec<AddressOrder> {
    let network = |number: u16| {
        let [high, low] = number.to_be_bytes();
        if number.is_multiple_of(2) {
            format!("10.7.{high}.{low}/32")
        } else {
            format!("2001:db8::{number:x}/128")
        }
    };
    (1..=1_000)
        .map(|number| AddressOrder {
            address: AddressIndex(number),
            ..order(&network(number))
        })
        .collect()
}

fn thousand_addresses() {
    veth();
    let mut orders = Orders::start();
    let started = Instant::now();
    for order in thousand() {
        orders.netlink.add_address(order).unwrap();
    }
    let handed_over = started.elapsed();
    for expected in 1..=1_000 {
        match next(&mut orders.answers) {
            Event::AddressAdded {
                address, outcome, ..
            } => {
                assert_eq!(address, AddressIndex(expected));
                assert_eq!(outcome, Ok(Added::Fresh));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(addresses("eth0").len(), 1_000);
    for order in thousand() {
        orders.netlink.remove_address(order).unwrap();
    }
    for expected in 1..=1_000 {
        match next(&mut orders.answers) {
            Event::AddressRemoved {
                address,
                outcome: Ok(Removed::Deleted),
                ..
            } => {
                assert_eq!(address, AddressIndex(expected));
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(addresses("eth0").is_empty());
    assert!(
        handed_over < Duration::from_millis(100),
        "handing over took {handed_over:?}"
    );
}

fn missing_interface() {
    let mut orders = Orders::start();
    let refused = orders.add(order("192.0.2.10/24"));
    assert_eq!(refused, Err("there is no interface eth0".to_owned()));
    assert_eq!(orders.remove(order("192.0.2.10/24")), Ok(Removed::Absent));
    // It may come later.
    veth();
    assert_eq!(orders.add(order("192.0.2.10/24")), Ok(Added::Fresh));
}

fn ipv6_disabled() {
    veth();
    set("/proc/sys/net/ipv6/conf/eth0/disable_ipv6", "1");
    let mut orders = Orders::start();
    let refused = orders.add(order("2001:db8::10/64"));
    let text = "the kernel refused: Permission denied: IPv6 is disabled on eth0 \
                (sysctl net.ipv6.conf.eth0.disable_ipv6)";
    assert_eq!(refused, Err(text.to_owned()));
    assert_eq!(orders.remove(order("2001:db8::10/64")), Ok(Removed::Absent));
}

/// The kernel takes IPv6 away from an interface whose MTU is too small.
fn small_mtu() {
    veth();
    ip("link set eth0 mtu 1000");
    let mut orders = Orders::start();
    let refused = orders.add(order("2001:db8::10/64")).unwrap_err();
    assert!(
        refused.ends_with("IPv6 does not run on eth0; it needs an MTU of 1280 at least"),
        "{refused}"
    );
    assert_eq!(orders.remove(order("2001:db8::10/64")), Ok(Removed::Absent));
}

fn kernel_words() {
    veth();
    let mut orders = Orders::start();
    // A multicast address cannot be held; only the kernel's words say so.
    let refused = orders.add(order("ff02::99/64")).unwrap_err();
    let prefix = "the kernel refused: Cannot assign requested address: ";
    assert!(refused.starts_with(prefix), "{refused}");
    assert!(refused.len() > prefix.len(), "{refused}");
}

fn mixed_chunk_keeps_order() {
    veth();
    let mut orders = Orders::start();
    // The first keeps the worker busy while the others gather to a chunk.
    let elsewhere = AddressOrder {
        interface: "none".parse().unwrap(),
        ..order("192.0.2.9/24")
    };
    let Orders { netlink, answers } = &mut orders;
    netlink.add_address(order("2001:db8::1/64")).unwrap();
    netlink.add_address(order("192.0.2.10/24")).unwrap();
    netlink.add_address(elsewhere.clone()).unwrap();
    netlink.add_address(order("192.0.2.10/24")).unwrap();
    netlink.remove_address(elsewhere).unwrap();
    netlink.remove_address(order("192.0.2.10/24")).unwrap();
    netlink.remove_address(order("192.0.2.10/24")).unwrap();
    let outcomes: Vec<String> = (0..7)
        .map(|_| match next(answers) {
            Event::AddressAdded { outcome, .. } => format!("{outcome:?}"),
            Event::AddressRemoved { outcome, .. } => format!("removed {outcome:?}"),
            other => panic!("{other:?}"),
        })
        .collect();
    let expected = [
        "Ok(Fresh)",
        "Ok(Fresh)",
        "Err(\"there is no interface none\")",
        "Ok(AlreadyPresent)",
        "removed Ok(Absent)",
        "removed Ok(Deleted)",
        "removed Ok(Absent)",
    ];
    assert_eq!(outcomes, expected);
    assert_eq!(networks("eth0"), ["2001:db8::1/64"]);
}

fn full_queue_gives_back() {
    veth();
    // Nobody takes the answers, so the worker stands still before long.
    let orders = Orders::start();
    let mut taken = 0;
    let given_back = loop {
        match orders.netlink.remove_address(order("192.0.2.10/24")) {
            Ok(()) => taken += 1,
            Err(order) => break order,
        }
        assert!(taken < 50_000, "the queue has no bound");
    };
    assert!(taken >= 16_384, "only {taken} were taken");
    assert_eq!(given_back, order("192.0.2.10/24"));
}

fn dropped_handle_still_removes() {
    veth();
    ip("address add 192.0.2.10/24 dev eth0");
    let Orders { netlink, answers } = Orders::start();
    drop(answers);
    netlink.remove_address(order("192.0.2.10/24")).unwrap();
    netlink.add_address(order("192.0.2.11/24")).unwrap();
    drop(netlink);
    let deadline = Instant::now() + Duration::from_secs(5);
    while !addresses("eth0").is_empty() {
        assert!(
            Instant::now() < deadline,
            "still there: {:?}",
            networks("eth0")
        );
        thread::sleep(Duration::from_millis(5));
    }
    // The thread is gone, and what it was not to do it did not.
    while threads_named("vip-netlink") > 0 {
        assert!(Instant::now() < deadline, "the worker did not end");
        thread::sleep(Duration::from_millis(5));
    }
    assert!(addresses("eth0").is_empty());
}

pub fn threads_named(name: &str) -> usize {
    tasks_named(name).len()
}

/// Threads of this process, of this name, in the calling thread's namespace.
pub fn tasks_named(name: &str) -> Vec<PathBuf> {
    let ours = fs::read_link("/proc/thread-self/ns/net").unwrap();
    fs::read_dir("/proc/self/task")
        .unwrap()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|task| {
            let is_named =
                fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim() == name);
            is_named && fs::read_link(task.join("ns/net")).is_ok_and(|ns| ns == ours)
        })
        .collect()
}
