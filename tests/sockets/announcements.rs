//! Gratuitous ARP and neighbour advertisements from one host to the other.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use pnet_packet::icmpv6::{self, Icmpv6Packet};

use vipward::agent::event::Claim;
use vipward::agent::values::{Family, MacAddress};
use vipward::net::announce_socket::AnnounceSocket;
use vipward::wire::announcement::{
    BROADCAST, VRRP_GROUP, arp_probe, arp_request, gratuitous_arp_reply, gratuitous_arp_request,
    neighbour_solicitation, unsolicited_neighbour_advertisement,
};

use crate::Test;
use crate::link::{Host, Link, claim, ip, mac, send_until_heard, wait, watched};

pub const TESTS: &[Test] = &[
    ("announcements::foreign_arp_is_seen_and_ours_is_not", arp),
    ("announcements::other_arp_is_not_seen", other_arp),
    ("announcements::foreign_na_is_seen_and_ours_is_not", na),
    ("announcements::other_na_is_not_seen", other_na),
    ("announcements::a_kernel_answers_a_question", answers),
    (
        "announcements::watch_lives_through_down_and_up",
        down_and_up,
    ),
    ("announcements::neighbours_learn", neighbours_learn),
    ("announcements::short_frame_is_refused", short_frame),
];

const ARP_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
const MARKER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 77);

fn na_address() -> Ipv6Addr {
    "2001:db8::10".parse().expect("an address")
}

fn announce_socket(host: &Host) -> AnnounceSocket {
    host.run(|| AnnounceSocket::open().unwrap_or_else(|error| panic!("{error}")))
}

fn arp() {
    let link = Link::new();
    let (theirs, ours) = (announce_socket(&link.b), announce_socket(&link.a));
    let watch = link.a.watch("a0", Family::Ipv4);
    let reflected = link.b.watch("b0", Family::Ipv4);
    let (from_a, from_b) = (link.a.index("a0"), link.b.index("b0"));

    let request = gratuitous_arp_request(ARP_ADDRESS, mac(0, 1));
    ours.send(from_a, &request).expect("it is sent");
    assert_eq!(watched(&reflected), (ARP_ADDRESS.into(), mac(0, 1)));
    for frame in [
        gratuitous_arp_request(ARP_ADDRESS, mac(0, 2)),
        gratuitous_arp_reply(ARP_ADDRESS, mac(0, 2)),
    ] {
        theirs.send(from_b, &frame).expect("it is sent");
        assert_eq!(watched(&watch), (ARP_ADDRESS.into(), mac(0, 2)));
    }
    assert_eq!(watch.recv(&mut [0; 1500]).expect("recv"), None);
}

/// An ordinary request, a probe, an answer to somebody else, one for another
/// kind of network, and one that arrives by another link: the marker after them is the first to come.
fn other_arp() {
    let link = Link::new();
    let theirs = announce_socket(&link.b);
    let watch = link.a.watch("a0", Family::Ipv4);
    let index = link.b.index("b0");
    let good = gratuitous_arp_request(ARP_ADDRESS, mac(0, 2));
    let mut request = good;
    request[41] = 1;
    let probe = gratuitous_arp_request(Ipv4Addr::UNSPECIFIED, mac(0, 2));
    let mut strange = good;
    strange[15] = 6;
    let mut answer = gratuitous_arp_reply(ARP_ADDRESS, mac(0, 2));
    answer[41] = 1;
    let mut to_another = answer;
    to_another[..6].copy_from_slice(&mac(0, 9).0);
    for frame in [request, probe, strange, answer, to_another] {
        theirs.send(index, &frame).expect("it is sent");
    }
    theirs.send(link.b.index("b1"), &good).expect("it is sent");
    let marker = gratuitous_arp_request(MARKER, mac(0, 2));
    theirs.send(index, &marker).expect("it is sent");
    assert_eq!(first_packet(&watch), marker[14..]);
}

/// What the kernel lets through first, before this process filters again.
fn first_packet(watch: &vipward::net::announcement_watch::AnnouncementWatch) -> Vec<u8> {
    use std::os::fd::{AsFd, AsRawFd};
    wait(watch);
    let mut buffer = [0; 1500];
    let flags = nix::sys::socket::MsgFlags::MSG_PEEK;
    let length = nix::sys::socket::recv(watch.as_fd().as_raw_fd(), &mut buffer, flags);
    buffer[..length.expect("a packet")].to_vec()
}

fn na() {
    let link = Link::new();
    let (theirs, ours) = (announce_socket(&link.b), announce_socket(&link.a));
    let watch = link.a.watch("a0", Family::Ipv6);
    let reflected = link.b.watch("b0", Family::Ipv6);
    let (from_a, from_b) = (link.a.index("a0"), link.b.index("b0"));

    let frame = unsolicited_neighbour_advertisement(na_address(), mac(0, 1), false);
    ours.send(from_a, &frame).expect("it is sent");
    assert_eq!(watched(&reflected), (na_address().into(), mac(0, 1)));
    let frame = unsolicited_neighbour_advertisement(na_address(), mac(0, 2), true);
    theirs.send(from_b, &frame).expect("it is sent");
    assert_eq!(watched(&watch), (na_address().into(), mac(0, 2)));
    assert_eq!(watch.recv(&mut [0; 1500]).expect("recv"), None);
}

/// From behind a router, a solicitation, by another link: the marker after
/// them is the first to come.
fn other_na() {
    let link = Link::new();
    let theirs = announce_socket(&link.b);
    let watch = link.a.watch("a0", Family::Ipv6);
    let index = link.b.index("b0");
    let good = unsolicited_neighbour_advertisement(na_address(), mac(0, 2), false);
    let mut routed = good;
    routed[21] = 254;
    let mut solicitation = good;
    solicitation[54] = 135;
    repair_checksum(&mut solicitation, na_address());
    for frame in [routed, solicitation] {
        theirs.send(index, &frame).expect("it is sent");
    }
    theirs.send(link.b.index("b1"), &good).expect("it is sent");
    let address = "2001:db8::77".parse().expect("an address");
    let marker = unsolicited_neighbour_advertisement(address, mac(0, 2), false);
    theirs.send(index, &marker).expect("it is sent");
    assert_eq!(first_packet(&watch), marker[54..]);
}

/// The other kernel has the address and answers, whatever runs there, and
/// nobody but us hears it.
fn answers() {
    let link = Link::new();
    link.b.run(|| {
        ip(&format!("address add {ARP_ADDRESS}/24 dev b0"));
        ip(&format!("address add {}/64 dev b0 nodad", na_address()));
    });
    let ours = announce_socket(&link.a);
    let index = link.a.index("a0");
    let answer = |address| Claim {
        address,
        hardware_address: mac(0, 2),
        solicited: true,
    };
    for destination in [BROADCAST, VRRP_GROUP] {
        let watch = link.a.watch("a0", Family::Ipv4);
        let nobody = Ipv4Addr::new(192, 0, 2, 99);
        for address in [nobody, ARP_ADDRESS] {
            let probe = arp_probe(address, mac(0, 1), destination);
            ours.send(index, &probe).expect("it is sent");
        }
        assert_eq!(claim(&watch), answer(ARP_ADDRESS.into()));
        assert_eq!(watch.recv(&mut [0; 1500]).expect("recv"), None);
    }
    // The question of somebody who has an address.
    let watch = link.a.watch("a0", Family::Ipv4);
    let question = arp_request(Ipv4Addr::new(192, 0, 2, 1), mac(0, 1), ARP_ADDRESS);
    send_until_heard(&watch, || drop(ours.send(index, &question)));
    assert_eq!(claim(&watch), answer(ARP_ADDRESS.into()));
    let watch = link.a.watch("a0", Family::Ipv6);
    let source = "2001:db8::1".parse().expect("an address");
    let question = neighbour_solicitation(source, mac(0, 1), na_address());
    // The kernel lets the address in some time after it took it.
    send_until_heard(&watch, || drop(ours.send(index, &question)));
    assert_eq!(claim(&watch), answer(na_address().into()));
}

fn repair_checksum(frame: &mut [u8; 86], source: Ipv6Addr) {
    let all_nodes = "ff02::1".parse().expect("an address");
    let icmp = Icmpv6Packet::new(&frame[54..]).expect("ICMPv6");
    let checksum = icmpv6::checksum(&icmp, &source, &all_nodes);
    frame[56..58].copy_from_slice(&checksum.to_be_bytes());
}

fn down_and_up() {
    let link = Link::new();
    let theirs = announce_socket(&link.b);
    for family in [Family::Ipv4, Family::Ipv6] {
        let watch = link.a.watch("a0", family);
        link.a.run(|| ip("link set a0 down"));
        assert_eq!(watch.recv(&mut [0; 1500]).expect("no error"), None);
        link.a.run(|| ip("link set a0 up"));
        let (frame, address): (Vec<u8>, IpAddr) = match family {
            Family::Ipv4 => {
                let frame = gratuitous_arp_request(ARP_ADDRESS, mac(0, 2));
                (frame.into(), ARP_ADDRESS.into())
            }
            Family::Ipv6 => {
                let frame = unsolicited_neighbour_advertisement(na_address(), mac(0, 2), false);
                (frame.into(), na_address().into())
            }
        };
        let index = link.b.index("b0");
        send_until_heard(&watch, || drop(theirs.send(index, &frame)));
        assert_eq!(watched(&watch), (address, mac(0, 2)));
    }
}

/// What it is all for: a host that has an entry for the address changes it,
/// at once and even just after the entry was confirmed.
fn neighbours_learn() {
    let link = Link::new();
    let ours = announce_socket(&link.a);
    let index = link.a.index("a0");
    let send = |frame: &[u8]| ours.send(index, frame).expect("it is sent");

    let entry = |address: IpAddr, hardware: MacAddress| {
        let entry = format!("neigh replace {address} lladdr {hardware} dev b0 nud reachable");
        link.b.run(|| ip(&entry));
    };
    let learnt = |address: IpAddr, hardware: MacAddress| {
        let hardware = hardware.to_string();
        (0..200).any(|_| link.b.neighbour(address) == hardware)
    };
    let (old, new) = (mac(9, 9), mac(0, 1));
    entry(ARP_ADDRESS.into(), old);
    assert!(learnt(ARP_ADDRESS.into(), old));
    send(&gratuitous_arp_reply(ARP_ADDRESS, new));
    assert!(learnt(ARP_ADDRESS.into(), new), "from the reply form");
    entry(ARP_ADDRESS.into(), old);
    send(&gratuitous_arp_request(ARP_ADDRESS, new));
    assert!(learnt(ARP_ADDRESS.into(), new), "from the request form");
    entry(na_address().into(), old);
    assert!(learnt(na_address().into(), old));
    send(&unsolicited_neighbour_advertisement(
        na_address(),
        new,
        false,
    ));
    assert!(
        learnt(na_address().into(), new),
        "from the neighbour advertisement"
    );
}

fn short_frame() {
    let link = Link::new();
    let ours = announce_socket(&link.a);
    let error = ours
        .send(link.a.index("a0"), &[0; 13])
        .expect_err("too short");
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    let error = ours.send(4711, &[0; 60]).expect_err("no such interface");
    assert_eq!(error.raw_os_error(), Some(nix::libc::ENXIO));
}
