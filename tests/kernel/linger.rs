//! What was handed over lingers: packets are taken, questions are not
//! answered, and nothing is left.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use vipward::agent::action::AddressOrder;
use vipward::agent::event::Removed;

use super::client::{Client, is_reached};
use super::{Orders, Test, ip, networks, order, set, veth};

pub fn tests() -> Vec<Test> {
    vec![
        (
            "linger::packets_are_taken_and_questions_are_not_answered",
            taken,
        ),
        ("linger::claimed_again_it_answers_at_once", claimed_again),
        ("linger::hundreds_linger_and_nothing_is_left", hundreds),
    ]
}

const VIRTUAL: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);

fn handed_over(network: &str) -> AddressOrder {
    AddressOrder {
        lingers: true,
        ..order(network)
    }
}

/// What a table of ours would show, and what stands on the loopback interface.
fn left() -> (String, Vec<String>, String) {
    let routes = ip("-6 route show table local proto 119");
    let tables = std::fs::read_to_string("/proc/sys/net/ipv4/conf/eth0/arp_ignore");
    (tables.unwrap(), networks("lo"), routes)
}

fn taken() {
    veth();
    ip("link set lo up");
    let client = Client::new();
    ip("addr add 192.0.2.1/24 dev eth0");
    ip("addr add 2001:db8::1/64 dev eth0 nodad");
    let eager = || {
        set("/proc/sys/net/ipv4/icmp_ratelimit", "0");
        set("/proc/sys/net/ipv6/icmp/ratelimit", "0");
    };
    eager();
    let before = left();
    let mut orders = Orders::start();
    let virtuals: [(&str, IpAddr); 2] = [
        ("192.0.2.10/32", VIRTUAL.into()),
        ("2001:db8::10/128", "2001:db8::10".parse().unwrap()),
    ];
    for (network, address) in virtuals {
        orders.add(order(network)).unwrap();
        client.learns(address);
    }
    // What it has learnt, it keeps.
    let links: serde_json::Value = serde_json::from_str(&ip("-json link show dev eth0")).unwrap();
    let mac = links[0]["address"].as_str().unwrap();
    for (_, address) in virtuals {
        client.ip(&format!(
            "neigh replace {address} lladdr {mac} dev far nud permanent"
        ));
    }
    for (network, _) in virtuals {
        assert_eq!(orders.remove(handed_over(network)), Ok(Removed::Deleted));
    }
    for (_, address) in virtuals {
        let any: IpAddr = match address {
            IpAddr::V4(_) => "0.0.0.0".parse().unwrap(),
            IpAddr::V6(_) => "::".parse().unwrap(),
        };
        client.0.run(|| is_reached(any, address)).unwrap();
    }
    let silent = Instant::now();
    client.ip("neigh del 192.0.2.10 dev far");
    assert_eq!(client.asks(VIRTUAL), "", "after {:?}", silent.elapsed());
    orders.netlink.outlast();
    assert_eq!(left(), before);
    // Where it is still wanted, it is answered for again.
    orders.add(order("192.0.2.10/32")).unwrap();
    let deadline = Instant::now() + Duration::from_secs(5);
    while client.asks(VIRTUAL).is_empty() {
        assert!(Instant::now() < deadline, "not answered for 5 s afterwards");
    }
}

/// Its successor was lost within the quarter of a second. On a machine that
/// takes longer there is nothing to end, so it is tried until there was.
fn claimed_again() {
    veth();
    ip("link set lo up");
    let client = Client::new();
    ip("addr add 192.0.2.1/24 dev eth0");
    let before = left();
    let mut orders = Orders::start();
    for network in ["192.0.2.10/32", "2001:db8::10/128"] {
        let lingered = (0..20).any(|_| {
            orders.add(order(network)).unwrap();
            assert_eq!(orders.remove(handed_over(network)), Ok(Removed::Deleted));
            let lingered = left() != before;
            orders.add(order(network)).unwrap();
            assert_eq!(left(), before, "{network}");
            lingered
        });
        assert!(lingered, "{network} never lingered");
    }
    assert_ne!(client.asks(VIRTUAL), "");
    orders.netlink.outlast();
    assert_ne!(client.asks(VIRTUAL), "", "what lingered took it along");
}

fn hundreds() {
    veth();
    ip("link set lo up");
    let before = left();
    let mut orders = Orders::start();
    let many = |n: u32| match n % 2 {
        0 => format!("10.9.{}.{}/32", n / 256, n % 256),
        _ => format!("2001:db8:9::{n:x}/128"),
    };
    for n in 0..300 {
        orders.add(order(&many(n))).unwrap();
    }
    for n in 0..300 {
        assert_eq!(orders.remove(handed_over(&many(n))), Ok(Removed::Deleted));
    }
    orders.netlink.outlast();
    // It waits for a second at most; a busy kernel takes longer for so many.
    let deadline = Instant::now() + Duration::from_secs(10);
    while left() != before {
        assert!(Instant::now() < deadline, "{:?}", left());
        std::thread::sleep(Duration::from_millis(20));
    }
}
