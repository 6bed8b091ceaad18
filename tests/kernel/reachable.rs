//! An address that was reported as added answers.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use vipward::agent::action::AddressOrder;
use vipward::agent::event::{Added, Event, Removed};
use vipward::agent::values::AddressIndex;

use super::{Orders, Test, ip, order, veth};

pub fn tests() -> Vec<Test> {
    vec![
        (
            "reachable::ipv6_answers_once_added",
            ipv6_answers_once_added,
        ),
        ("reachable::link_local", link_local),
        (
            "reachable::a_dead_link_costs_a_moment",
            a_dead_link_costs_a_moment,
        ),
    ]
}

/// The kernel acknowledges an IPv6 address before it lets packets in, and
/// takes long over that while others change the network too.
fn ipv6_answers_once_added() {
    veth();
    let mut orders = Orders::start();
    let receiver = UdpSocket::bind("[::]:0").unwrap();
    // To this host itself: it comes at once on an idle machine, or never.
    receiver
        .set_read_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    let port = receiver.local_addr().unwrap().port();
    let sender = UdpSocket::bind("[::]:0").unwrap();
    let ended = AtomicBool::new(false);
    let mut deaf = Vec::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                ip("link add other0 type veth peer name other1");
                ip("link delete other0");
            }
        });
        for number in 1..=200_u16 {
            let address = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, number);
            let wanted = AddressOrder {
                address: AddressIndex(number),
                ..order(&format!("{address}/64"))
            };
            orders.netlink.add_address(wanted).unwrap();
            let answer = at_once(&mut orders);
            let sent = sender.send_to(&[1], SocketAddr::new(IpAddr::V6(address), port));
            let mut buffer = [0; 8];
            if sent.is_err() || receiver.recv(&mut buffer).is_err() {
                deaf.push(address);
            }
            assert!(
                matches!(
                    &answer,
                    Event::AddressAdded {
                        outcome: Ok(Added::Fresh),
                        ..
                    }
                ),
                "{answer:?}"
            );
        }
        ended.store(true, Ordering::Relaxed);
    });
    assert!(deaf.is_empty(), "{} of 200: {deaf:?}", deaf.len());
}

/// Without the pauses of [`super::next`].
fn at_once(orders: &mut Orders) -> Event<'static> {
    let deadline = Instant::now() + super::PATIENCE;
    loop {
        match orders.answers.try_recv() {
            Ok(event) => return event,
            Err(_) => assert!(Instant::now() < deadline, "no answer came"),
        }
    }
}

fn link_local() {
    veth();
    let mut orders = Orders::start();
    let started = Instant::now();
    assert_eq!(orders.add(order("fe80::100/64")), Ok(Added::Fresh));
    // Less than the bound: it was found to answer.
    assert!(started.elapsed() < Duration::from_millis(90));
}

/// Nothing comes in by an interface that is down. The address is there, the
/// answer comes, and a later order is carried out.
fn a_dead_link_costs_a_moment() {
    veth();
    ip("link set eth0 down");
    let mut orders = Orders::start();
    let started = Instant::now();
    assert_eq!(orders.add(order("2001:db8::10/64")), Ok(Added::Fresh));
    assert!(started.elapsed() < Duration::from_secs(2));
    assert_eq!(
        orders.remove(order("2001:db8::10/64")),
        Ok(Removed::Deleted)
    );
}
