//! What the monitor tells of routes and rules.

use std::time::{Duration, Instant};

use vipward::agent::event::Event;
use vipward::agent::routing::{RoutingItem, RoutingState};

use super::routing::{add, remove, rule, stage, via};
use super::{Orders, Test, Watched, ip, ip_batch, within};

pub fn tests() -> Vec<Test> {
    vec![
        ("routing::monitor_sees_them_come_and_go", monitor_sees),
        (
            "routing::monitor_sees_what_the_kernel_drops",
            monitor_dropped,
        ),
        ("routing::monitor_hears_of_ours_alone", monitor_ours_alone),
        ("routing::monitor_after_an_overrun", monitor_overrun),
    ]
}

/// The next report of routes and rules; those of interfaces are skipped.
fn report(watched: &mut Watched) -> Option<RoutingState> {
    let deadline = Instant::now() + Duration::from_secs(5);
    while Instant::now() < deadline {
        match within(deadline - Instant::now(), &mut watched.events) {
            Some(Event::Routing(state)) => return Some(state),
            Some(Event::Interface { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    None
}

/// The report after which nothing is left, or just these.
fn reports(watched: &mut Watched, items: &[&RoutingItem]) {
    let wanted: RoutingState = items.iter().map(|item| (*item).clone()).collect();
    let mut last = None;
    while last.as_ref() != Some(&wanted) {
        let state = report(watched);
        assert!(state.is_some(), "wanted {wanted:?}, last {last:?}");
        last = state;
    }
}

fn follow() -> Watched {
    let mut watched = Watched::start(&["eth0"]);
    watched.monitor.follow_routing(true);
    reports(&mut watched, &[]);
    watched
}

fn monitor_sees() {
    stage();
    let mut watched = follow();
    let mut orders = Orders::start();
    let route = RoutingItem::Route(via("203.0.113.0/24", "192.0.2.254"));
    let rule = RoutingItem::Rule(rule("192.0.2.10/32", 100, 30_000));
    add(&mut orders, route.clone()).unwrap();
    reports(&mut watched, &[&route]);
    add(&mut orders, rule.clone()).unwrap();
    reports(&mut watched, &[&route, &rule]);
    ip("rule del from 192.0.2.10 lookup 100");
    reports(&mut watched, &[&route]);
    ip("route del 203.0.113.0/24");
    reports(&mut watched, &[]);
    // Another program's takes its place: no deletion is told.
    add(&mut orders, route.clone()).unwrap();
    reports(&mut watched, &[&route]);
    ip("route replace 203.0.113.0/24 via 192.0.2.253 proto static");
    reports(&mut watched, &[]);
}

/// Without a word: with its source address, with the link.
fn monitor_dropped() {
    stage();
    let mut watched = follow();
    let mut orders = Orders::start();
    let mut from = via("203.0.113.0/24", "192.0.2.254");
    from.source = Some("192.0.2.10".parse().unwrap());
    let from = RoutingItem::Route(from);
    let plain = RoutingItem::Route(via("198.51.100.0/24", "192.0.2.254"));
    for item in [&from, &plain] {
        add(&mut orders, item.clone()).unwrap();
    }
    reports(&mut watched, &[&from, &plain]);
    ip("address del 192.0.2.10/32 dev eth0");
    reports(&mut watched, &[&plain]);
    ip("link set eth0 down");
    reports(&mut watched, &[]);
}

fn monitor_ours_alone() {
    stage();
    ip("route add 203.0.113.0/24 via 192.0.2.254 proto static");
    ip("rule add from 192.0.2.10 lookup 100 priority 30000");
    let mut watched = follow();
    ip("route add 198.51.100.0/24 via 192.0.2.254 proto static");
    ip("route del 198.51.100.0/24");
    let event = within(Duration::from_millis(300), &mut watched.events);
    let others = |event: &Event<'_>| !matches!(event, Event::Interface { .. });
    assert!(!event.as_ref().is_some_and(others), "{event:?}");
    // And no more of anything once nobody wants it.
    let mut orders = Orders::start();
    watched.monitor.follow_routing(false);
    let item = RoutingItem::Route(via("10.1.0.0/24", "192.0.2.254"));
    add(&mut orders, item.clone()).unwrap();
    watched.monitor.follow_routing(true);
    reports(&mut watched, &[&item]);
}

/// Tens of thousands of routes of another program in one go, and ours among
/// them: what was lost is read.
fn monitor_overrun() {
    stage();
    let mut watched = follow();
    let mut orders = Orders::start();
    let item = RoutingItem::Route(via("203.0.113.0/24", "192.0.2.254"));
    let commands = |verb: &str| -> Vec<String> {
        let all = (0..20_000u32).map(|n| (n / 256, n % 256));
        all.map(|(high, low)| {
            format!("route {verb} 10.{high}.{low}.0/24 via 192.0.2.254 proto static")
        })
        .collect()
    };
    ip_batch(&commands("add"));
    add(&mut orders, item.clone()).unwrap();
    ip_batch(&commands("del"));
    reports(&mut watched, &[&item]);
    remove(&mut orders, item).unwrap();
    reports(&mut watched, &[]);
}
