//! The thread that renews: what it refuses, what it waits for.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use vipward::agent::action::AddressOrder;
use vipward::agent::event::{Added, Event, NotRenewed};
use vipward::agent::values::AddressIndex;
use vipward::net::kernel::{Netlink, Renewals};

use super::leases::{Renewing, entry, leased, outcome};
use super::monitor::{SWEEP, listed};
use super::orders::tasks_named;
use super::{Orders, Test, Watched, addresses, ip, networks, next, veth};

pub fn tests() -> Vec<Test> {
    vec![
        ("renewals::what_is_gone", renewal_of_what_is_gone),
        ("renewals::old_orders_are_refused", old_orders_are_refused),
        (
            "renewals::do_not_wait_for_additions",
            renewals_do_not_wait_for_additions,
        ),
        ("renewals::full_queue_gives_back", full_queue_gives_back),
        (
            "renewals::the_monitor_sleeps_through_them",
            sleeps_through_renewals,
        ),
        (
            "renewals::the_monitor_hears_what_came_back",
            what_a_renewal_brought_back,
        ),
    ]
}

fn renewal_of_what_is_gone() {
    let mut renewing = Renewing::start();
    let failed = |words: &str| Err(NotRenewed::Failed(words.to_owned()));
    assert_eq!(
        renewing.renew(leased("192.0.2.10/24")),
        failed("there is no interface eth0")
    );
    veth();
    assert_eq!(
        renewing.renew(leased("2001:db8::10/64")),
        failed("2001:db8::10 is not on eth0 any more; nothing was changed")
    );
    assert!(addresses("eth0").is_empty());
    // For IPv4 there is no such question. What comes back is what was ordered.
    let labelled = AddressOrder {
        label: Some("eth0:web".into()),
        ..leased("192.0.2.10/24")
    };
    assert_eq!(renewing.renew(labelled), Ok(()));
    assert_eq!(entry("192.0.2.10")["label"], "eth0:web");
    assert!(entry("192.0.2.10")["valid_life_time"].as_u64().unwrap() <= 2);
}

fn old_orders_are_refused() {
    veth();
    let (tell, mut answers) = mpsc::channel(1);
    let renewals = Renewals::start(tell).unwrap();
    let numbered = |number: u16| AddressOrder {
        address: AddressIndex(number),
        ..leased(&format!("192.0.2.{number}/32"))
    };
    // The first answer fills the channel, the second holds the thread up.
    renewals.renew(numbered(1)).unwrap();
    thread::sleep(Duration::from_millis(50));
    renewals.renew(numbered(2)).unwrap();
    thread::sleep(Duration::from_millis(50));
    renewals.renew(numbered(3)).unwrap();
    thread::sleep(Duration::from_millis(150));
    renewals.renew(numbered(4)).unwrap();
    thread::sleep(Duration::from_millis(60));
    for (number, expected) in [
        (1, Ok(())),
        (2, Ok(())),
        (3, Err(NotRenewed::TooOld)),
        (4, Ok(())),
    ] {
        assert_eq!(outcome(next(&mut answers), AddressIndex(number)), expected);
    }
    assert_eq!(
        networks("eth0"),
        ["192.0.2.1/32", "192.0.2.2/32", "192.0.2.4/32"]
    );
}

fn renewals_do_not_wait_for_additions() {
    veth();
    let (tell, mut added) = mpsc::channel(4_096);
    let netlink = Netlink::start(tell).unwrap();
    let mut renewing = Renewing::start();
    let held = leased("192.0.2.10/24");
    netlink.add_address(held.clone()).unwrap();
    next(&mut added);
    let thousand = || {
        (1..=1_000).map(|number| AddressOrder {
            address: AddressIndex(number),
            ..leased(&format!("2001:db8::{number:x}/64"))
        })
    };
    // Twice: addresses that were there shortly before take the kernel longer.
    for round in 0..2 {
        let started = Instant::now();
        thousand().for_each(|order| netlink.add_address(order).unwrap());
        let (mut fresh, mut delays) = (0, Vec::new());
        while fresh < 1_000 {
            let ordered = Instant::now();
            assert_eq!(renewing.renew(held.clone()), Ok(()));
            delays.push(ordered.elapsed());
            while let Ok(event) = added.try_recv() {
                assert!(matches!(
                    event,
                    Event::AddressAdded {
                        outcome: Ok(Added::Fresh),
                        ..
                    }
                ));
                fresh += 1;
            }
            assert!(started.elapsed() < Duration::from_secs(30));
        }
        delays.sort();
        println!(
            "round {round}: 1000 additions {:?}, {} renewals, median {:?}, longest {:?}",
            started.elapsed(),
            delays.len(),
            delays[delays.len() / 2],
            delays[delays.len() - 1]
        );
        assert!(delays.len() >= 3, "nothing was measured");
        assert!(
            delays[delays.len() - 1] < Duration::from_millis(500),
            "{delays:?}"
        );
        thousand().for_each(|order| netlink.remove_address(order).unwrap());
        for _ in 0..1_000 {
            next(&mut added);
        }
    }
}

fn full_queue_gives_back() {
    veth();
    // Nobody takes the answers, so the thread stands still before long.
    let (tell, mut answers) = mpsc::channel(1);
    let renewals = Renewals::start(tell).unwrap();
    let mut taken = 0;
    let given_back = loop {
        match renewals.renew(leased("192.0.2.10/32")) {
            Ok(()) => taken += 1,
            Err(order) => break order,
        }
        assert!(taken < 50_000, "the queue has no bound");
    };
    assert!(taken >= 16_384, "only {taken} were taken");
    assert_eq!(given_back, leased("192.0.2.10/32"));
    // Every one is answered, and no more than those.
    drop(renewals);
    for _ in 0..taken {
        assert!(matches!(next(&mut answers), Event::AddressRenewed { .. }));
    }
    assert!(answers.blocking_recv().is_none());
}

/// How often the monitor's thread has waited.
fn waits() -> u64 {
    let [task] = &tasks_named("vip-monitor")[..] else {
        panic!("one monitor");
    };
    let status = fs::read_to_string(task.join("status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.unwrap().trim().parse().unwrap()
}

fn sleeps_through_renewals() {
    veth();
    let both = ["192.0.2.10/24", "2001:db8::10/64"];
    let mut orders = Orders::start();
    let mut renewing = Renewing::start();
    for network in both {
        orders.add(leased(network)).unwrap();
    }
    let mut watched = Watched::start(&["eth0"]);
    watched.until("eth0", |state| {
        state.is_some_and(|state| listed(state).len() == 2)
    });
    // Past the kernel's tick in which they were made.
    thread::sleep(Duration::from_millis(100));
    let before = waits();
    for _ in 0..100 {
        for network in both {
            assert_eq!(renewing.renew(leased(network)), Ok(()));
        }
    }
    let woken = waits() - before;
    // The sweep is due every ten seconds, whoever renews.
    assert!(woken < 20, "woken {woken} times by 200 renewals");
    // What another does to them is heard.
    for change in [
        "address change 192.0.2.10/24 dev eth0 valid_lft 60 preferred_lft 60",
        "address change 2001:db8::10/64 dev eth0 valid_lft 60 preferred_lft 60",
    ] {
        ip(change);
    }
    watched.until_within(SWEEP / 2, "eth0", |state| {
        state.is_some_and(|state| state.addresses.iter().all(|address| !address.ours))
    });
}

fn what_a_renewal_brought_back() {
    veth();
    let mut renewing = Renewing::start();
    let mut watched = Watched::start(&["eth0"]);
    watched.report();
    // For IPv6 a renewal asks first, and brings nothing back.
    assert_eq!(renewing.renew(leased("192.0.2.10/24")), Ok(()));
    watched.until_within(SWEEP / 2, "eth0", |state| {
        state.is_some_and(|state| listed(state) == ["192.0.2.10/24"])
    });
}
