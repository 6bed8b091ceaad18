//! Advertisements from one host to the other.

use std::io::ErrorKind;
use std::net::IpAddr;

use caps::CapSet;
use vipward::agent::event::{Malformed, V2Authentication};
use vipward::agent::ladder::{GROUP_IPV4, GROUP_IPV6};
use vipward::agent::values::{AdvertInterval, ChecksumForm, Family, Version, Vrid};
use vipward::net::advert_socket::AdvertSocket;
use vipward::net::announce_socket::AnnounceSocket;
use vipward::net::announcement_watch::AnnouncementWatch;
use vipward::net::rights;
use vipward::wire::advertisement::{Outgoing, encode};

use crate::Test;
use crate::link::{Link, captured, hear, interface, ip, send_until_heard};

pub const TESTS: &[Test] = &[
    ("adverts::multicast_ipv4", || multicast(Family::Ipv4)),
    ("adverts::multicast_ipv6", || multicast(Family::Ipv6)),
    ("adverts::unicast_ipv4", || unicast(Family::Ipv4)),
    ("adverts::unicast_ipv6", || unicast(Family::Ipv6)),
    ("adverts::link_local_unicast", link_local_unicast),
    ("adverts::own_multicast_is_not_heard_ipv4", || {
        own_multicast(Family::Ipv4)
    }),
    ("adverts::own_multicast_is_not_heard_ipv6", || {
        own_multicast(Family::Ipv6)
    }),
    ("adverts::unicast_socket_is_deaf_to_the_group_ipv4", || {
        deaf_to_group(Family::Ipv4)
    }),
    ("adverts::unicast_socket_is_deaf_to_the_group_ipv6", || {
        deaf_to_group(Family::Ipv6)
    }),
    ("adverts::unicast_socket_is_deaf_to_the_group_ipv6", || {
        deaf_to_group(Family::Ipv6)
    }),
    ("adverts::another_interface_is_not_heard", another_interface),
    ("adverts::truncated_is_malformed", truncated),
    ("adverts::interface_down_and_up", down_and_up),
    ("adverts::what_cannot_be_sent_is_an_error", not_sent),
    ("adverts::missing_rights_are_named", missing_rights),
    ("adverts::missing_interface_is_named", missing_interface),
];

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// Of host a, second address of host a, of host b, and the group.
fn addresses(family: Family) -> [IpAddr; 4] {
    match family {
        Family::Ipv4 => [
            address("192.0.2.1"),
            address("192.0.2.9"),
            address("192.0.2.2"),
            GROUP_IPV4.into(),
        ],
        Family::Ipv6 => [
            address("2001:db8::1"),
            address("2001:db8::9"),
            address("2001:db8::2"),
            GROUP_IPV6.into(),
        ],
    }
}

fn message(vrid: u8, source: IpAddr, destination: IpAddr) -> Vec<u8> {
    let listed = match source {
        IpAddr::V4(_) => address("192.0.2.10"),
        IpAddr::V6(_) => address("2001:db8::10"),
    };
    let outgoing = Outgoing {
        version: Version::V3,
        vrid: Vrid::new(vrid).expect("a VRID"),
        priority: 100,
        interval: AdvertInterval::from_centiseconds(100).expect("an interval"),
        checksum: ChecksumForm::PseudoHeader,
        v2_authentication: V2Authentication::default(),
        addresses: &[listed],
        source,
        destination,
        signature: None,
    };
    let mut buffer = Vec::new();
    encode(&outgoing, &mut buffer).expect("it can be written");
    buffer
}

fn send(socket: &AdvertSocket, vrid: u8, source: IpAddr, destination: IpAddr) {
    let message = message(vrid, source, destination);
    socket
        .send(&message, source, destination)
        .expect("it is sent");
}

/// Hears the advertisement with this VRID next, sound in every respect.
fn expect(socket: &AdvertSocket, vrid: u8, source: IpAddr, destination: IpAddr) {
    let mut buffer = [0; 1500];
    let heard = hear(socket, &mut buffer);
    assert_eq!((heard.source, heard.destination), (source, destination));
    assert_eq!(heard.family, Family::of(source));
    assert_eq!(heard.hop_limit, 255);
    let message = heard.message.expect("a message");
    assert_eq!(message.vrid, vrid);
    assert!(message.length_exact);
    assert_eq!(message.checksum, Some(ChecksumForm::PseudoHeader));
}

fn expect_silence(socket: &AdvertSocket) {
    let mut buffer = [0; 1500];
    let heard = socket.recv(&mut buffer).expect("recv");
    assert!(heard.is_none(), "{heard:?}");
}

/// Both sources of one socket; TTL, TOS and all as they stand in the frame.
fn multicast(family: Family) {
    let link = Link::new();
    let a = link.a.advert_socket("a0", family, true);
    let b = link.b.advert_socket("b0", family, true);
    let capture = link.b.capture();
    let [first, second, _, group] = addresses(family);
    send(&a, 1, first, group);
    expect(&b, 1, first, group);
    send(&a, 2, second, group);
    expect(&b, 2, second, group);
    expect_silence(&b);
    check_frame(&capture, family);
}

fn unicast(family: Family) {
    let link = Link::new();
    let a = link.a.advert_socket("a0", family, false);
    let b = link.b.advert_socket("b0", family, false);
    let capture = link.b.capture();
    let [first, second, peer, _] = addresses(family);
    send(&a, 1, second, peer);
    expect(&b, 1, second, peer);
    send(&b, 2, peer, first);
    expect(&a, 2, peer, first);
    check_frame(&capture, family);
}

/// The traffic class and the hop limit, read from an arriving frame.
fn check_frame(capture: &socket2::Socket, family: Family) {
    let vrrp = |frame: &[u8]| match family {
        Family::Ipv4 => frame[12..14] == [0x08, 0x00] && frame[23] == 112,
        Family::Ipv6 => frame[12..14] == [0x86, 0xdd] && frame[20] == 112,
    };
    let frame = captured(capture, vrrp);
    match family {
        Family::Ipv4 => assert_eq!((frame[15], frame[22]), (0xc0, 255)),
        Family::Ipv6 => {
            assert_eq!(frame[14..16], [0x6c, frame[15] & 0x0f]);
            assert_eq!((frame[15] >> 4, frame[21]), (0, 255));
        }
    }
}

fn link_local_unicast() {
    let link = Link::new();
    let a = link.a.advert_socket("a0", Family::Ipv6, false);
    let b = link.b.advert_socket("b0", Family::Ipv6, false);
    let (ours, theirs) = (address("fe80::ff:fe00:1"), address("fe80::ff:fe00:2"));
    send(&a, 1, ours, theirs);
    expect(&b, 1, ours, theirs);
}

fn own_multicast(family: Family) {
    let link = Link::new();
    let a = link.a.advert_socket("a0", family, true);
    let beside = link.a.advert_socket("a0", family, true);
    let b = link.b.advert_socket("b0", family, true);
    let [ours, _, theirs, group] = addresses(family);
    send(&a, 1, ours, group);
    expect(&b, 1, ours, group);
    send(&b, 2, theirs, group);
    for socket in [&a, &beside] {
        expect(socket, 2, theirs, group);
        expect_silence(socket);
    }
}

/// Over IPv4 although another socket made the host a member of the group;
/// over IPv6 the kernel gives such a host's packets to every raw socket.
fn deaf_to_group(family: Family) {
    let link = Link::new();
    let a = link.a.advert_socket("a0", family, true);
    let deaf = link.b.advert_socket("b0", family, false);
    let member = match family {
        Family::Ipv4 => Some(link.b.advert_socket("b0", family, true)),
        Family::Ipv6 => None,
    };
    let [ours, _, theirs, group] = addresses(family);
    send(&a, 1, ours, group);
    if let Some(member) = member {
        expect(&member, 1, ours, group);
    }
    send(&a, 2, ours, theirs);
    expect(&deaf, 2, ours, theirs);
    expect_silence(&deaf);
}

fn another_interface() {
    let link = Link::new();
    for family in [Family::Ipv4, Family::Ipv6] {
        let (a0, a1) = (
            link.a.advert_socket("a0", family, true),
            link.a.advert_socket("a1", family, true),
        );
        let (b0, b1) = (
            link.b.advert_socket("b0", family, true),
            link.b.advert_socket("b1", family, true),
        );
        let [ours, _, _, group] = addresses(family);
        let other = match family {
            Family::Ipv4 => address("198.51.100.1"),
            Family::Ipv6 => address("2001:db8:1::1"),
        };
        send(&a1, 1, other, group);
        expect(&b1, 1, other, group);
        send(&a0, 2, ours, group);
        expect(&b0, 2, ours, group);
        expect_silence(&b0);
        expect_silence(&b1);
    }
}

fn truncated() {
    let link = Link::new();
    for (family, expected) in [
        (Family::Ipv4, Malformed::IpHeader),
        (Family::Ipv6, Malformed::Length),
    ] {
        let a = link.a.advert_socket("a0", family, false);
        let b = link.b.advert_socket("b0", family, false);
        let [ours, _, theirs, _] = addresses(family);
        send(&a, 1, ours, theirs);
        let mut small = [0; 23];
        let heard = hear(&b, &mut small);
        assert_eq!(heard.message.err(), Some(expected));
        // The rest of it is gone, and the next one is whole.
        expect_silence(&b);
        send(&a, 2, ours, theirs);
        expect(&b, 2, ours, theirs);
    }
}

/// Membership and binding outlive a lost link, and nothing is an error.
fn down_and_up() {
    let link = Link::new();
    for family in [Family::Ipv4, Family::Ipv6] {
        let a = link.a.advert_socket("a0", family, true);
        let b = link.b.advert_socket("b0", family, true);
        link.b.run(|| ip("link set b0 down"));
        expect_silence(&b);
        link.b.run(|| ip("link set b0 up"));
        let (ours, group) = match family {
            Family::Ipv4 => (address("192.0.2.1"), GROUP_IPV4.into()),
            Family::Ipv6 => (address("fe80::ff:fe00:1"), GROUP_IPV6.into()),
        };
        // An error as long as the peer's interface has no carrier either.
        let message = message(1, ours, group);
        send_until_heard(&b, || drop(a.send(&message, ours, group)));
        expect(&b, 1, ours, group);
    }
}

fn not_sent() {
    let link = Link::new();
    let a = link.a.advert_socket("a0", Family::Ipv4, true);
    let [ours, _, theirs, group] = addresses(Family::Ipv4);
    let [ours6, _, theirs6, _] = addresses(Family::Ipv6);
    for (source, destination) in [(ours, theirs6), (ours6, theirs), (ours6, theirs6)] {
        let error = a
            .send(&[0; 8], source, destination)
            .expect_err("mixed families");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
    // The source is the other host's.
    let error = a
        .send(&[0; 8], theirs, group)
        .expect_err("a foreign source");
    let errno = error.raw_os_error();
    let known = [nix::libc::EINVAL, nix::libc::ENETUNREACH].map(Some);
    assert!(known.contains(&errno), "{error}");
}

/// Capabilities are a thread's own, so this one may give its up.
fn missing_rights() {
    let link = Link::new();
    let index = link.a.index("a0");
    assert_eq!(rights::missing_capabilities(), [""; 0]);
    rights::check().expect("nothing is missing");
    caps::clear(None, CapSet::Effective).expect("to give up rights");
    let family = Family::Ipv4;
    let errors = [
        AdvertSocket::open(interface("a0"), index, family, true).err(),
        AnnouncementWatch::open(interface("a0"), index, Family::Ipv4).err(),
        AnnouncementWatch::open(interface("a0"), index, Family::Ipv6).err(),
        AnnounceSocket::open().err(),
    ];
    for error in errors {
        let error = error.expect("it is refused").to_string();
        assert!(
            error.contains("the capability CAP_NET_RAW is missing"),
            "{error}"
        );
    }
    assert_eq!(
        rights::check().expect_err("both are missing").to_string(),
        "the right to change addresses and open raw sockets is missing (CAP_NET_ADMIN, \
         CAP_NET_RAW): run as root, or grant it, as with AmbientCapabilities=CAP_NET_ADMIN \
         CAP_NET_RAW in a systemd unit"
    );
}

fn missing_interface() {
    let _link = Link::new();
    for family in [Family::Ipv4, Family::Ipv6] {
        let error = AdvertSocket::open(interface("eth7"), 4711, family, false).expect_err("none");
        let text = error.to_string();
        assert!(
            text.starts_with("eth7: cannot send and hear VRRP over "),
            "{text}"
        );
        assert!(
            text.contains("bind to the interface: No such device"),
            "{text}"
        );
        let error = AnnouncementWatch::open(interface("eth7"), 4711, family).expect_err("none");
        assert!(error.to_string().contains("No such device"), "{error}");
    }
}
