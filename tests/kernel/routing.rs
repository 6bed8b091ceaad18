//! Routes and rules against the real kernel.

use std::thread;
use std::time::{Duration, Instant};

use vipward::agent::action::AddressOrder;
use vipward::agent::event::Event;
use vipward::agent::routing::{
    Change, Effect, Route, RoutingIndex, RoutingItem, RoutingOrder, RoutingState, Rule, TABLE_MAIN,
    default_metric,
};
use vipward::agent::values::{Family, InstanceId};
use vipward::net::kernel::{Cleaner, ROUTING_PROTOCOL};

use super::{Orders, Test, ip, next, order, set, veth};

const LONG: Duration = Duration::from_secs(10);

pub fn tests() -> Vec<Test> {
    vec![
        ("routing::ipv4_route_comes_and_goes", ipv4_route),
        ("routing::ipv6_route_comes_and_goes", ipv6_route),
        ("routing::forms_of_a_route", forms_of_a_route),
        ("routing::what_is_absent_is_removed", absent),
        ("routing::routes_of_others_stay", others_stay),
        ("routing::source_must_be_there", source_must_be_there),
        ("routing::kernel_words", kernel_words),
        ("routing::order_with_addresses_is_kept", order_is_kept),
        ("routing::ipv6_route_that_lost_its_source", lost_source),
        ("routing::hundreds_at_once", hundreds),
        ("routing::cleaner_removes_ours_alone", cleaner),
    ]
}

fn route(to: &str) -> Route {
    let to: ipnet::IpNet = to.parse().unwrap();
    Route {
        to,
        via: None,
        interface: "eth0".parse().unwrap(),
        source: None,
        table: TABLE_MAIN,
        metric: default_metric(Family::of(to.addr())),
        onlink: false,
    }
}

pub fn via(to: &str, via: &str) -> Route {
    let via = Some(via.parse().unwrap());
    Route { via, ..route(to) }
}

pub fn rule(from: &str, table: u32, priority: u32) -> Rule {
    let from: ipnet::IpNet = from.parse().unwrap();
    Rule {
        family: Family::of(from.addr()),
        from: Some(from),
        to: None,
        iif: None,
        oif: None,
        fwmark: None,
        table,
        priority,
    }
}

fn change(item: RoutingItem, change: Change) -> RoutingOrder {
    RoutingOrder {
        instance: InstanceId(7),
        index: RoutingIndex(3),
        item,
        change,
    }
}

fn answer(orders: &mut Orders) -> Result<Effect, String> {
    match next(&mut orders.answers) {
        Event::RoutingChanged {
            instance: InstanceId(7),
            index: RoutingIndex(3),
            outcome,
            ..
        } => outcome,
        other => panic!("{other:?}"),
    }
}

pub fn add(orders: &mut Orders, item: RoutingItem) -> Result<Effect, String> {
    orders
        .netlink
        .change_routing(change(item, Change::Add))
        .unwrap();
    answer(orders)
}

pub fn remove(orders: &mut Orders, item: RoutingItem) -> Result<Effect, String> {
    orders
        .netlink
        .change_routing(change(item, Change::Remove))
        .unwrap();
    answer(orders)
}

/// The host's own subnets, and the virtual address.
pub fn stage() {
    veth();
    ip("address add 192.0.2.1/24 dev eth0");
    ip("address add 192.0.2.10/32 dev eth0");
    ip("address add 2001:db8::1/64 dev eth0 nodad");
    ip("address add 2001:db8::10/128 dev eth0 nodad");
    settled();
}

/// The kernel adds the routes of IPv6 addresses and of a carrier some time
/// after it has acknowledged both.
fn settled() {
    let end = Instant::now() + LONG;
    loop {
        let routes = ip("route show table all");
        let missing = [
            "local 2001:db8::1 ",
            "local 2001:db8::10 ",
            "ff00::/8 dev eth0 ",
        ]
        .into_iter()
        .filter(|wanted| !routes.contains(wanted))
        .collect::<Vec<_>>();
        if missing.is_empty() && !routes.contains("linkdown") {
            return;
        }
        assert!(
            Instant::now() < end,
            "awaited {missing:?} and no linkdown within {LONG:?}, saw:\n{routes}"
        );
        thread::sleep(Duration::from_millis(2));
    }
}

/// `ip route` says it without the mark, which is checked by itself.
fn shown(command: &str) -> Vec<String> {
    let text = ip(command);
    let mark = format!("proto {ROUTING_PROTOCOL} ");
    let lines = text.lines().filter(|line| line.contains(&mark));
    let lines = lines.map(|line| line.replace(&mark, ""));
    lines
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect()
}

fn ipv4_route() {
    stage();
    let before = ip("route show table all");
    let mut orders = Orders::start();
    let mut wanted = via("203.0.113.0/24", "192.0.2.254");
    wanted.source = Some("192.0.2.10".parse().unwrap());
    let item = RoutingItem::Route(wanted);
    assert_eq!(add(&mut orders, item.clone()), Ok(Effect::Done));
    assert_eq!(
        shown("route show"),
        ["203.0.113.0/24 via 192.0.2.254 dev eth0 src 192.0.2.10"]
    );
    assert_eq!(add(&mut orders, item.clone()), Ok(Effect::Already));
    assert_eq!(remove(&mut orders, item.clone()), Ok(Effect::Done));
    assert_eq!(remove(&mut orders, item), Ok(Effect::Already));
    assert_eq!(ip("route show table all"), before, "the host is as it was");
}

fn ipv6_route() {
    stage();
    let before = ip("-6 route show table all");
    let mut orders = Orders::start();
    let mut wanted = via("2001:db8:7::/64", "2001:db8::fe");
    wanted.source = Some("2001:db8::10".parse().unwrap());
    let item = RoutingItem::Route(wanted);
    assert_eq!(add(&mut orders, item.clone()), Ok(Effect::Done));
    assert_eq!(
        shown("-6 route show"),
        ["2001:db8:7::/64 via 2001:db8::fe dev eth0 src 2001:db8::10 metric 1024 pref medium"]
    );
    assert_eq!(add(&mut orders, item.clone()), Ok(Effect::Already));
    assert_eq!(remove(&mut orders, item.clone()), Ok(Effect::Done));
    assert_eq!(remove(&mut orders, item), Ok(Effect::Already));
    assert_eq!(ip("-6 route show table all"), before);
}

fn forms_of_a_route() {
    stage();
    let mut orders = Orders::start();
    let mut onlink = via("198.51.100.0/24", "10.9.9.9");
    onlink.onlink = true;
    let mut far = via("0.0.0.0/0", "192.0.2.254");
    far.table = 100_000;
    far.metric = 7;
    let mut low = route("198.51.100.7/32");
    low.table = 100;
    let mut six = via("::/0", "fe80::1");
    six.table = 100;
    six.metric = 5;
    six.onlink = true;
    let all = [onlink, far, low, six].map(RoutingItem::Route);
    for item in &all {
        assert_eq!(add(&mut orders, item.clone()), Ok(Effect::Done), "{item}");
        // As it is read back it is the same.
        assert_eq!(
            add(&mut orders, item.clone()),
            Ok(Effect::Already),
            "{item}"
        );
    }
    assert_eq!(
        shown("route show table 100000"),
        ["default via 192.0.2.254 dev eth0 metric 7"]
    );
    assert_eq!(
        shown("route show table 100"),
        ["198.51.100.7 dev eth0 scope link"]
    );
    assert_eq!(
        shown("route show"),
        ["198.51.100.0/24 via 10.9.9.9 dev eth0 onlink"]
    );
    for item in all {
        assert_eq!(
            remove(&mut orders, item.clone()),
            Ok(Effect::Done),
            "{item}"
        );
    }
    for command in ["route show table all", "-6 route show table all"] {
        assert_eq!(shown(command), [] as [&str; 0]);
    }
}

/// Nothing of it is there: neither the route, nor its table, nor its link.
fn absent() {
    stage();
    let mut orders = Orders::start();
    let mut elsewhere = route("203.0.113.0/24");
    elsewhere.interface = "nowhere".parse().unwrap();
    let mut table = via("203.0.113.0/24", "192.0.2.254");
    table.table = 4711;
    let mut down = route("203.0.113.0/24");
    down.interface = "far".parse().unwrap();
    ip("link set far down");
    let routes = [
        elsewhere,
        table,
        down,
        via("2001:db8:7::/64", "2001:db8::fe"),
    ];
    for item in routes.map(RoutingItem::Route) {
        assert_eq!(
            remove(&mut orders, item.clone()),
            Ok(Effect::Already),
            "{item}"
        );
    }
    let none = RoutingItem::Rule(rule("192.0.2.10/32", 100, 30_000));
    assert_eq!(remove(&mut orders, none), Ok(Effect::Already));
}

/// What was there before and is not ours is neither taken over nor removed.
fn others_stay() {
    stage();
    ip("route add 203.0.113.0/24 via 192.0.2.254 proto static");
    ip("-6 route add 2001:db8:7::/64 via 2001:db8::fe proto static");
    let before = (ip("route show"), ip("-6 route show"));
    let mut orders = Orders::start();
    for item in [
        via("203.0.113.0/24", "192.0.2.254"),
        via("203.0.113.0/24", "192.0.2.253"),
        via("2001:db8:7::/64", "2001:db8::fe"),
        via("2001:db8:7::/64", "2001:db8::fd"),
    ]
    .map(RoutingItem::Route)
    {
        let error = add(&mut orders, item.clone()).unwrap_err();
        assert!(error.contains("another program's"), "{error}");
        assert_eq!(
            remove(&mut orders, item.clone()),
            Ok(Effect::Already),
            "{item}"
        );
    }
    assert_eq!((ip("route show"), ip("-6 route show")), before);
    // Beside it there is room for ours.
    let mut beside = via("203.0.113.0/24", "192.0.2.254");
    beside.metric = 9;
    let beside = RoutingItem::Route(beside);
    assert_eq!(add(&mut orders, beside.clone()), Ok(Effect::Done));
    assert_eq!(remove(&mut orders, beside), Ok(Effect::Done));
    assert_eq!((ip("route show"), ip("-6 route show")), before);
}

fn source_must_be_there() {
    stage();
    let mut orders = Orders::start();
    for (to, gateway, source) in [
        ("203.0.113.0/24", "192.0.2.254", "192.0.2.11"),
        ("2001:db8:7::/64", "2001:db8::fe", "2001:db8::11"),
    ] {
        let mut wanted = via(to, gateway);
        wanted.source = Some(source.parse().unwrap());
        let error = add(&mut orders, RoutingItem::Route(wanted)).unwrap_err();
        let words = format!("this host does not have its source {source}");
        assert!(error.contains(&words), "{error}");
    }
}

fn kernel_words() {
    stage();
    let mut orders = Orders::start();
    let item = RoutingItem::Route(via("203.0.113.0/24", "10.9.9.9"));
    let error = add(&mut orders, item).unwrap_err();
    assert!(
        error.contains("10.9.9.9 is in no subnet of eth0; where it is a neighbour"),
        "{error}"
    );
    ip("link set eth0 down");
    let error = add(&mut orders, RoutingItem::Route(route("203.0.113.0/24"))).unwrap_err();
    assert!(error.contains("down"), "{error}");
    let mut elsewhere = route("203.0.113.0/24");
    elsewhere.interface = "nowhere".parse().unwrap();
    let error = add(&mut orders, RoutingItem::Route(elsewhere)).unwrap_err();
    assert_eq!(error, "there is no interface nowhere");
}

/// One queue: the route finds the address that was ordered just before, and
/// goes before it.
fn order_is_kept() {
    veth();
    ip("address add 192.0.2.1/24 dev eth0");
    let mut orders = Orders::start();
    let address = AddressOrder {
        no_prefix_route: true,
        ..order("192.0.2.77/32")
    };
    let mut wanted = via("203.0.113.0/24", "192.0.2.254");
    wanted.source = Some("192.0.2.77".parse().unwrap());
    let item = RoutingItem::Route(wanted);
    let netlink = &orders.netlink;
    for _ in 0..20 {
        netlink.add_address(address.clone()).unwrap();
        let adds = change(item.clone(), Change::Add);
        netlink.change_routing(adds).unwrap();
        let removes = change(item.clone(), Change::Remove);
        netlink.change_routing(removes).unwrap();
        netlink.remove_address(address.clone()).unwrap();
    }
    for _ in 0..20 {
        let four: Vec<Event<'_>> = (0..4).map(|_| next(&mut orders.answers)).collect();
        assert!(
            matches!(
                &four[..],
                [
                    Event::AddressAdded { outcome: Ok(_), .. },
                    Event::RoutingChanged {
                        outcome: Ok(Effect::Done),
                        change: Change::Add,
                        ..
                    },
                    Event::RoutingChanged {
                        outcome: Ok(Effect::Done),
                        change: Change::Remove,
                        ..
                    },
                    Event::AddressRemoved { outcome: Ok(_), .. },
                ]
            ),
            "{four:?}"
        );
    }
}

/// The kernel keeps the route and forgets the source; ours in another form
/// gives way to what it should be.
fn lost_source() {
    stage();
    let mut orders = Orders::start();
    let mut wanted = via("2001:db8:7::/64", "2001:db8::fe");
    wanted.source = Some("2001:db8::10".parse().unwrap());
    let item = RoutingItem::Route(wanted);
    assert_eq!(add(&mut orders, item.clone()), Ok(Effect::Done));
    ip("address del 2001:db8::10/128 dev eth0");
    assert_eq!(
        shown("-6 route show"),
        ["2001:db8:7::/64 via 2001:db8::fe dev eth0 metric 1024 pref medium"]
    );
    ip("address add 2001:db8::10/128 dev eth0 nodad");
    assert_eq!(add(&mut orders, item.clone()), Ok(Effect::Done));
    assert_eq!(
        shown("-6 route show"),
        ["2001:db8:7::/64 via 2001:db8::fe dev eth0 src 2001:db8::10 metric 1024 pref medium"]
    );
    assert_eq!(remove(&mut orders, item), Ok(Effect::Done));
}

fn hundreds() {
    stage();
    let mut orders = Orders::start();
    let items: Vec<RoutingItem> = (0..256)
        .map(|number| RoutingItem::Route(via(&format!("10.1.{number}.0/24"), "192.0.2.254")))
        .collect();
    let began = Instant::now();
    for wanted in [Change::Add, Change::Remove] {
        for item in &items {
            let order = change(item.clone(), wanted);
            orders.netlink.change_routing(order).unwrap();
        }
        for _ in &items {
            assert_eq!(answer(&mut orders), Ok(Effect::Done));
        }
    }
    println!("256 routes came and went in {:?}", began.elapsed());
    assert_eq!(shown("route show"), [] as [&str; 0]);
}

fn cleaner() {
    stage();
    set("/proc/sys/net/ipv4/ip_forward", "0");
    let before = (
        ip("route show table all"),
        ip("-6 route show table all"),
        ip("rule show"),
    );
    let mut orders = Orders::start();
    let mut six = via("2001:db8:7::/64", "2001:db8::fe");
    six.source = Some("2001:db8::10".parse().unwrap());
    let items = [
        RoutingItem::Route(via("203.0.113.0/24", "192.0.2.254")),
        RoutingItem::Route(six),
        RoutingItem::Rule(rule("192.0.2.10/32", 100, 30_000)),
    ];
    for item in &items {
        add(&mut orders, item.clone()).unwrap();
    }
    let mut cleaner = Cleaner::open().unwrap();
    let found = cleaner.survey().unwrap().routing;
    assert_eq!(found, items.iter().cloned().collect::<RoutingState>());
    for item in found.iter().rev() {
        assert_eq!(cleaner.remove_routing(item), Ok(true), "{item}");
        assert_eq!(cleaner.remove_routing(item), Ok(false), "{item}");
    }
    let after = (
        ip("route show table all"),
        ip("-6 route show table all"),
        ip("rule show"),
    );
    assert_eq!(after, before);
}
