//! Interfaces with virtual hardware addresses.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use serde_json::Value;
use vipward::agent::event::{Added, Event};
use vipward::agent::values::{Family, InstanceId, Vrid};
use vipward::agent::virtual_link::{LinkChanged, LinkOrder, LinkState, Raised, VirtualLink};
use vipward::net::kernel::Cleaner;

use super::client::Client;
use super::{Orders, Test, ip, networks, next, order, set, veth};

pub fn tests() -> Vec<Test> {
    vec![
        (
            "links::comes_rises_sinks_and_goes",
            comes_rises_sinks_and_goes,
        ),
        (
            "links::takes_nothing_from_the_segment",
            takes_nothing_from_the_segment,
        ),
        ("links::each_state_from_each", each_state_from_each),
        (
            "links::another_s_interface_stays",
            another_s_interface_stays,
        ),
        ("links::one_above_another_parent_is_made_anew", made_anew),
        ("links::without_its_parent", without_its_parent),
        ("links::goes_with_its_parent", goes_with_its_parent),
        ("links::the_parent_in_use", parent_in_use),
        ("links::follows_the_parent_s_mtu", follows_the_mtu),
        ("links::forwards_as_its_parent", forwards_as_its_parent),
        ("links::in_order_with_addresses", in_order_with_addresses),
        (
            "links::neighbours_learn_one_address",
            neighbours_learn_one_address,
        ),
        (
            "links::the_guard_goes_with_the_worker",
            guard_goes_with_the_worker,
        ),
        ("links::four_thousand_guarded", four_thousand_guarded),
        ("links::what_a_dead_agent_left", what_a_dead_agent_left),
    ]
}

const NAME: &str = "vr4-51-eth0";
const MAC: &str = "00:00:5e:00:01:33";

fn link() -> VirtualLink {
    VirtualLink::new(
        "eth0".parse().unwrap(),
        Family::Ipv4,
        Vrid::new(51).unwrap(),
    )
}

fn up(guarded: &[&str]) -> LinkState {
    LinkState::Up(Raised {
        mtu: 1500,
        guarded: guarded.iter().map(|text| text.parse().unwrap()).collect(),
        speaks_as: Ipv4Addr::new(192, 0, 2, 1),
    })
}

fn change(orders: &mut Orders, state: LinkState) -> Result<LinkChanged, String> {
    let order = LinkOrder {
        instance: InstanceId(7),
        link: link(),
        state,
    };
    orders.netlink.change_link(order).unwrap();
    match next(&mut orders.answers) {
        Event::LinkChanged {
            instance: InstanceId(7),
            outcome,
        } => outcome,
        other => panic!("{other:?}"),
    }
}

const DONE: Result<LinkChanged, String> = Ok(LinkChanged { unguarded: None });

/// As `ip` shows it; nothing where there is none.
fn shown(name: &str) -> Option<Value> {
    let links: Value = serde_json::from_str(&ip("-details -json link show")).unwrap();
    let mut links = links.as_array().unwrap().iter();
    links.find(|link| link["ifname"] == name).cloned()
}

fn is_up() -> bool {
    let flags = shown(NAME).expect("it is there")["flags"].clone();
    flags.as_array().unwrap().iter().any(|flag| flag == "UP")
}

fn setting(family: &str, interface: &str, key: &str) -> String {
    let path = format!("/proc/sys/net/{family}/conf/{interface}/{key}");
    fs::read_to_string(path).unwrap().trim().to_owned()
}

fn comes_rises_sinks_and_goes() {
    veth();
    let mut orders = Orders::start();
    assert_eq!(change(&mut orders, LinkState::Down), DONE);
    let made = shown(NAME).expect("made");
    assert_eq!(made["address"], MAC);
    assert_eq!(made["link"], "eth0");
    assert_eq!(made["linkinfo"]["info_kind"], "macvlan");
    assert_eq!(made["linkinfo"]["info_data"]["mode"], "bridge");
    assert_eq!(made["group"], "118");
    assert_eq!(made["inet6_addr_gen_mode"], "none");
    assert_eq!(made["ifalias"], "vipward: virtual MAC address on eth0");
    assert!(!is_up());
    // Down, the parent takes no frame for it.
    assert!(!ip("-json -details address show dev eth0").contains(MAC));

    assert_eq!(change(&mut orders, up(&["192.0.2.10"])), DONE);
    assert!(is_up());
    assert_eq!(change(&mut orders, LinkState::Down), DONE);
    assert!(!is_up());
    assert_eq!(change(&mut orders, LinkState::Absent), DONE);
    assert_eq!(shown(NAME), None);
}

/// Its own settings, and nobody else's.
fn takes_nothing_from_the_segment() {
    veth();
    let before = ["arp_ignore", "arp_announce", "rp_filter", "forwarding"]
        .map(|key| ["eth0", "all", "default"].map(|name| setting("ipv4", name, key)));
    let mut orders = Orders::start();
    assert_eq!(change(&mut orders, up(&["192.0.2.10"])), DONE);
    assert_eq!(setting("ipv4", NAME, "arp_ignore"), "1");
    assert_eq!(setting("ipv4", NAME, "rp_filter"), "2");
    for key in ["accept_ra", "autoconf", "accept_dad"] {
        assert_eq!(setting("ipv6", NAME, key), "0", "{key}");
    }
    assert_eq!(networks(NAME), Vec::<String>::new());
    let after = ["arp_ignore", "arp_announce", "rp_filter", "forwarding"]
        .map(|key| ["eth0", "all", "default"].map(|name| setting("ipv4", name, key)));
    assert_eq!(before, after);
}

/// Orders say where to go, not how.
fn each_state_from_each() {
    veth();
    let mut orders = Orders::start();
    let states = [LinkState::Absent, LinkState::Down, up(&["192.0.2.10"])];
    for from in &states {
        for to in &states {
            assert_eq!(change(&mut orders, from.clone()), DONE);
            assert_eq!(change(&mut orders, to.clone()), DONE, "{from:?} {to:?}");
            match to {
                LinkState::Absent => assert_eq!(shown(NAME), None),
                LinkState::Down => assert!(!is_up(), "{from:?}"),
                LinkState::Up(_) => assert!(is_up(), "{from:?}"),
            }
        }
    }
}

fn another_s_interface_stays() {
    veth();
    ip(&format!("link add {NAME} type veth peer name other"));
    let mut orders = Orders::start();
    let refused = change(&mut orders, LinkState::Down).unwrap_err();
    assert!(refused.contains("no agent of ours made it"), "{refused}");
    // Not even by its removal.
    assert_eq!(change(&mut orders, LinkState::Absent), DONE);
    assert!(shown(NAME).is_some());
    // One with the right name and address, that somebody made by hand.
    ip(&format!("link del {NAME}"));
    ip(&format!(
        "link add {NAME} link eth0 address {MAC} type macvlan mode bridge"
    ));
    change(&mut orders, up(&[])).unwrap_err();
    assert!(!is_up());
}

/// Interfaces were renamed under it.
fn made_anew() {
    veth();
    let mut orders = Orders::start();
    assert_eq!(change(&mut orders, up(&[])), DONE);
    ip("link set eth0 down");
    ip("link set eth0 name was0");
    ip("link set was0 up");
    ip("link add eth0 type veth peer name far0");
    ip("link set far0 up");
    ip("link set eth0 up");
    assert_eq!(shown(NAME).unwrap()["link"], "was0");
    assert_eq!(change(&mut orders, up(&[])), DONE);
    assert_eq!(shown(NAME).unwrap()["link"], "eth0");
}

fn without_its_parent() {
    let mut orders = Orders::start();
    let refused = change(&mut orders, LinkState::Down).unwrap_err();
    assert_eq!(refused, "its parent is gone");
    assert_eq!(change(&mut orders, LinkState::Absent), DONE);
}

fn goes_with_its_parent() {
    veth();
    let mut orders = Orders::start();
    assert_eq!(change(&mut orders, up(&["192.0.2.10"])), DONE);
    ip("link del eth0");
    assert_eq!(shown(NAME), None);
    assert_eq!(change(&mut orders, LinkState::Absent), DONE);
}

fn parent_in_use() {
    veth();
    ip("link add br0 type bridge");
    ip("link set eth0 master br0");
    let mut orders = Orders::start();
    let refused = change(&mut orders, LinkState::Down).unwrap_err();
    assert!(refused.contains("eth0 is in use by a bridge"), "{refused}");
    assert_eq!(shown(NAME), None);
}

fn follows_the_mtu() {
    veth();
    ip("link set eth0 mtu 1400");
    let mut orders = Orders::start();
    let raised = |mtu| {
        LinkState::Up(Raised {
            mtu,
            guarded: Vec::new(),
            speaks_as: Ipv4Addr::UNSPECIFIED,
        })
    };
    assert_eq!(change(&mut orders, raised(1400)), DONE);
    assert_eq!(shown(NAME).unwrap()["mtu"], 1400);
    ip("link set eth0 mtu 1300");
    assert_eq!(shown(NAME).unwrap()["mtu"], 1300, "by the kernel itself");
    ip("link set eth0 mtu 1500");
    assert_eq!(shown(NAME).unwrap()["mtu"], 1300);
    assert_eq!(change(&mut orders, raised(1500)), DONE);
    assert_eq!(shown(NAME).unwrap()["mtu"], 1500);
}

fn forwards_as_its_parent() {
    veth();
    set("/proc/sys/net/ipv4/conf/eth0/forwarding", "1");
    set("/proc/sys/net/ipv6/conf/eth0/forwarding", "1");
    let mut orders = Orders::start();
    assert_eq!(change(&mut orders, up(&[])), DONE);
    for family in ["ipv4", "ipv6"] {
        assert_eq!(setting(family, NAME, "forwarding"), "1");
        set(&format!("/proc/sys/net/{family}/conf/eth0/forwarding"), "0");
    }
    assert_eq!(change(&mut orders, up(&[])), DONE);
    for family in ["ipv4", "ipv6"] {
        assert_eq!(setting(family, NAME, "forwarding"), "0");
    }
}

/// One queue: what was ordered first has happened first.
fn in_order_with_addresses() {
    veth();
    let orders = Orders::start();
    let mut address = order("192.0.2.10/32");
    address.interface = NAME.parse().unwrap();
    let order = |state| LinkOrder {
        instance: InstanceId(7),
        link: link(),
        state,
    };
    let netlink = &orders.netlink;
    netlink.change_link(order(up(&["192.0.2.10"]))).unwrap();
    netlink.add_address(address.clone()).unwrap();
    netlink.remove_address(address.clone()).unwrap();
    netlink.change_link(order(LinkState::Absent)).unwrap();
    netlink.add_address(address).unwrap();
    let mut answers = orders.answers;
    assert!(matches!(
        next(&mut answers),
        Event::LinkChanged { outcome: Ok(_), .. }
    ));
    assert!(matches!(
        next(&mut answers),
        Event::AddressAdded {
            outcome: Ok(Added::Fresh),
            ..
        }
    ));
    assert!(matches!(
        next(&mut answers),
        Event::AddressRemoved { outcome: Ok(_), .. }
    ));
    assert!(matches!(
        next(&mut answers),
        Event::LinkChanged { outcome: Ok(_), .. }
    ));
    let last = next(&mut answers);
    assert!(
        matches!(
            last,
            Event::AddressAdded {
                outcome: Err(_),
                ..
            }
        ),
        "{last:?}"
    );
}

/// Whoever asks first: the host asked, or asking in the name of the address.
fn neighbours_learn_one_address() {
    veth();
    let client = Client::new();
    ip("addr add 192.0.2.1/24 dev eth0");
    ip("addr add 2001:db8::1/64 dev eth0 nodad");
    // By which the kernel asks for neighbours of an address elsewhere.
    ip("addr add fe80::1/64 dev eth0 nodad");
    // That a port is closed is told once a second only, otherwise.
    let eager = || {
        set("/proc/sys/net/ipv4/icmp_ratelimit", "0");
        set("/proc/sys/net/ipv6/icmp/ratelimit", "0");
    };
    client.0.run(eager).unwrap();
    eager();
    // The strictest that a distribution sets.
    set("/proc/sys/net/ipv4/conf/all/rp_filter", "1");
    let mut orders = Orders::start();
    assert_eq!(change(&mut orders, up(&["192.0.2.10"])), DONE);
    for network in ["192.0.2.10/32", "2001:db8::10/128"] {
        let mut address = order(network);
        address.interface = NAME.parse().unwrap();
        address.no_prefix_route = true;
        assert_eq!(orders.add(address), Ok(Added::Fresh));
    }
    let [ipv4, ipv6]: [IpAddr; 2] = [[192, 0, 2, 10].into(), "2001:db8::10".parse().unwrap()];
    let own = shown("eth0").unwrap()["address"]
        .as_str()
        .unwrap()
        .to_owned();
    for _ in 0..5 {
        assert_eq!(client.learns(ipv4), MAC);
        assert_eq!(client.learns(ipv6), MAC);
        assert_eq!(client.learns([192, 0, 2, 1].into()), own, "the host's own");
        client.learns(ipv4);
        for (from, to) in [("192.0.2.10", "192.0.2.3"), ("2001:db8::10", "2001:db8::3")] {
            ip("neigh flush all");
            let socket = UdpSocket::bind((from.parse::<IpAddr>().unwrap(), 0)).unwrap();
            socket
                .set_read_timeout(Some(Duration::from_secs(3)))
                .unwrap();
            socket.connect((to.parse::<IpAddr>().unwrap(), 9)).unwrap();
            socket.send(b"?").unwrap();
            let refused = socket.recv(&mut [0; 8]).unwrap_err();
            assert_eq!(
                refused.kind(),
                std::io::ErrorKind::ConnectionRefused,
                "{to} answers {from}"
            );
            assert_eq!(client.knows(from.parse().unwrap()), MAC);
        }
    }
    // Gone, it is nobody's.
    assert_eq!(change(&mut orders, LinkState::Down), DONE);
    assert_ne!(client.knows(ipv4), own);
}

const GUARDED: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);

/// By whatever death: the kernel removes it.
fn guard_goes_with_the_worker() {
    veth();
    let client = Client::new();
    ip("addr add 192.0.2.1/24 dev eth0");
    let mut orders = Orders::start();
    assert_eq!(change(&mut orders, up(&["192.0.2.10"])), DONE);
    // On the parent, where it does not belong: the guard keeps it quiet.
    ip("addr add 192.0.2.10/32 dev eth0");
    client.ip("neigh add 192.0.2.1 lladdr 02:00:00:00:00:01 nud permanent dev far");
    assert_eq!(client.asks(GUARDED), "", "guarded");
    drop(orders);
    let deadline = Instant::now() + Duration::from_secs(5);
    while client.asks(GUARDED).is_empty() {
        assert!(Instant::now() < deadline, "the guard outlives its agent");
    }
}

/// As many as an instance may have.
fn four_thousand_guarded() {
    veth();
    let mut orders = Orders::start();
    let many: Vec<String> = (0..4_096)
        .map(|n| format!("10.0.{}.{}", n / 256, n % 256))
        .collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(change(&mut orders, up(&many)), DONE);
    // And another list, in place of it.
    assert_eq!(change(&mut orders, up(&many[..10])), DONE);
}

fn what_a_dead_agent_left() {
    veth();
    ip(&format!(
        "link add vr4-9-eth0 link eth0 address {MAC} type macvlan mode bridge"
    ));
    let mut orders = Orders::start();
    assert_eq!(change(&mut orders, up(&[])), DONE);
    let mut cleaner = Cleaner::open().unwrap();
    let left = cleaner.survey().unwrap().links;
    assert_eq!(
        left,
        [NAME.parse().unwrap()],
        "that of somebody else is not ours"
    );
    assert_eq!(cleaner.remove_link(left[0]), Ok(true));
    assert_eq!(cleaner.remove_link(left[0]), Ok(false));
    assert_eq!(shown(NAME), None);
    assert_eq!(
        cleaner.remove_link("vr4-9-eth0".parse().unwrap()),
        Ok(false)
    );
    assert!(shown("vr4-9-eth0").is_some());
}
