//! The peer link between two hosts: real datagrams over two paths.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use zeroize::Zeroizing;

use vipward::agent::cluster::message::Message;
use vipward::agent::cluster::{LinkEvent, PathIndex, Refusal};
use vipward::agent::settings::ClusterSettings;
use vipward::agent::values::NodeName;
use vipward::config::Secret;
use vipward::daemon::link::{DATAGRAMS_PER_SOCKET, Link as PeerLink, owns};
use vipward::net::poller::Poller;

use crate::Test;
use crate::link::{Host, Link, PATIENCE_MS, close, ip};

pub const TESTS: &[Test] = &[
    ("peer_link::two_nodes_over_two_paths", two_paths),
    ("peer_link::a_path_that_is_cut_is_told_once", cut_path),
    ("peer_link::an_address_may_come_later", late_address),
    ("peer_link::it_listens_where_it_is_told", told_where),
    ("peer_link::a_taken_port_is_tried_again", taken_port),
    ("peer_link::another_key_begins_anew", another_key),
    ("peer_link::garbage_is_refused_under_its_name", garbage),
    ("peer_link::a_flood_leaves_room_for_others", flood),
];

const PORT: u16 = 7112;
/// Over IPv4 by the first pair, over IPv6 by the second.
const A: [&str; 2] = ["192.0.2.1", "2001:db8:1::1"];
const B: [&str; 2] = ["192.0.2.2", "2001:db8:1::2"];

fn parsed(addresses: [&str; 2]) -> Vec<IpAddr> {
    let parsed = addresses.iter().map(|one| one.parse());
    parsed.collect::<Result<_, _>>().expect("addresses")
}

fn settings(own: &str) -> ClusterSettings {
    ClusterSettings {
        own: NodeName::new(own),
        nodes: [("a", A), ("b", B)]
            .map(|(name, addresses)| (NodeName::new(name), parsed(addresses)))
            .into(),
        listen: SocketAddr::new("0.0.0.0".parse().expect("an address"), PORT),
    }
}

fn key(byte: u8) -> Secret {
    Secret::new(Zeroizing::new(vec![byte; 32]))
}

fn message(number: u64) -> Message {
    Message {
        revision: number,
        known: number,
        pace: Duration::from_secs(1),
        clock_ms: 7,
        echo_ms: 5,
        heard_paths: Some(1),
        program: "1.2.3".to_owned(),
        news: None,
        words: Vec::new(),
    }
}

/// The link of one host, as the protocol loop has it.
struct Node<'h> {
    host: &'h Host,
    other: NodeName,
    poller: Poller,
    link: PeerLink,
    buffer: Vec<u8>,
    runtime: Runtime,
}

impl<'h> Node<'h> {
    fn new(host: &'h Host, own: &str) -> Self {
        let mut node = Self::idle(host, own);
        node.serve(&settings(own), 7);
        node
    }

    fn idle(host: &'h Host, own: &str) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let poller = runtime.block_on(async { Poller::new() });
        Self {
            host,
            other: NodeName::new(if own == "a" { "b" } else { "a" }),
            poller: poller.expect("a poller"),
            link: PeerLink::default(),
            buffer: vec![0; 16 * 1024],
            runtime,
        }
    }

    fn serve(&mut self, settings: &ClusterSettings, secret: u8) {
        let Self { link, poller, .. } = self;
        self.host
            .run(|| link.serve(Some(settings), Some(&key(secret)), poller));
    }

    fn tell(&mut self, number: u64) -> Vec<LinkEvent> {
        self.link.tell(&self.other, &message(number));
        self.link.news().collect()
    }

    /// Waits for something and takes what is there, at most as much as one
    /// turn of the loop does.
    fn turn(&mut self) -> Vec<LinkEvent> {
        let patience = Duration::from_millis(PATIENCE_MS.into());
        let readable = async { tokio::time::timeout(patience, self.poller.readable()).await };
        let readable = self.runtime.block_on(readable);
        readable.expect("nothing came").expect("readable");
        let mut tokens = Vec::new();
        self.poller.ready(&mut tokens).expect("a look");
        let mut events = Vec::new();
        for token in tokens {
            assert!(owns(token));
            for _ in 0..DATAGRAMS_PER_SOCKET {
                let event = self.link.receive(token, &mut self.buffer).expect("recv");
                let Some(event) = event else { break };
                events.push(event);
            }
        }
        events
    }

    /// Until so many events came.
    fn events(&mut self, count: usize) -> Vec<LinkEvent> {
        let mut events = Vec::new();
        while events.len() < count {
            events.extend(self.turn());
        }
        assert_eq!(events.len(), count, "{events:?}");
        events
    }

    /// Session, path and number of what is heard.
    fn heard(&mut self, count: usize) -> Vec<(u64, u8, u64)> {
        let events = self.events(count).into_iter();
        let mut heard: Vec<_> = events
            .map(|event| match event {
                LinkEvent::Heard {
                    node,
                    path,
                    session,
                    message,
                } => {
                    assert_eq!(node, self.other);
                    (session, path.0, message.revision)
                }
                other => panic!("{other:?}"),
            })
            .collect();
        heard.sort_unstable();
        heard
    }

    fn greeted(&mut self, count: usize) {
        let events = self.events(count);
        let greets = |event: &LinkEvent| matches!(event, LinkEvent::Greeted { .. });
        assert!(events.iter().all(greets), "{events:?}");
    }

    fn refusals(&mut self, count: usize) -> Vec<Refusal> {
        let events = self.events(count).into_iter();
        events
            .map(|event| match event {
                LinkEvent::Refused { why, .. } => why,
                other => panic!("{other:?}"),
            })
            .collect()
    }
}

/// By the number of paths that are open between them.
fn meet(a: &mut Node, b: &mut Node, paths: usize) {
    a.tell(1);
    b.greeted(paths);
    b.tell(2);
    a.heard(paths);
    a.tell(3);
    b.heard(paths);
}

fn two_paths() {
    let link = Link::new();
    let (mut a, mut b) = (Node::new(&link.a, "a"), Node::new(&link.b, "b"));
    assert!(a.tell(1).is_empty());
    b.greeted(2);
    b.tell(2);
    assert_eq!(a.heard(2), [(1, 0, 2), (1, 1, 2)]);
    a.tell(3);
    assert_eq!(b.heard(2), [(1, 0, 3), (1, 1, 3)]);
    b.tell(4);
    assert_eq!(a.heard(2), [(1, 0, 4), (1, 1, 4)]);
    // a is started anew.
    let mut a = {
        close(a);
        Node::new(&link.a, "a")
    };
    a.tell(1);
    b.greeted(2);
    b.tell(5);
    // Both of its lives are told, the one that is over in vain.
    let events = a.events(4);
    let heard = |event: &&LinkEvent| matches!(event, LinkEvent::Heard { .. });
    assert_eq!(events.iter().filter(heard).count(), 2, "{events:?}");
    a.tell(6);
    assert_eq!(b.heard(2), [(2, 0, 6), (2, 1, 6)]);
}

fn cut_path() {
    let link = Link::new();
    let (mut a, mut b) = (Node::new(&link.a, "a"), Node::new(&link.b, "b"));
    meet(&mut a, &mut b, 2);
    link.a.run(|| ip("route del 192.0.2.0/24 dev a0"));
    let news = a.tell(4);
    let [LinkEvent::Unsent { path, error, .. }] = &news[..] else {
        panic!("{news:?}");
    };
    assert_eq!(*path, PathIndex(0));
    assert!(error.contains("unreachable"), "{error}");
    assert!(a.tell(5).is_empty(), "told twice");
    assert_eq!(b.heard(2), [(1, 1, 4), (1, 1, 5)]);
    link.a.run(|| ip("route add 192.0.2.0/24 dev a0"));
    assert!(a.tell(6).is_empty());
    assert_eq!(b.heard(2), [(1, 0, 6), (1, 1, 6)]);
    link.a.run(|| ip("route del 192.0.2.0/24 dev a0"));
    assert_eq!(a.tell(7).len(), 1, "not told again");
}

fn late_address() {
    let link = Link::new();
    link.a.run(|| ip("addr del 192.0.2.1/24 dev a0"));
    // The segment is within reach by another address.
    link.a.run(|| ip("addr replace 192.0.2.9/24 dev a0"));
    let (mut a, mut b) = (Node::new(&link.a, "a"), Node::new(&link.b, "b"));
    let news = a.tell(1);
    let [LinkEvent::Unsent { path, error, .. }] = &news[..] else {
        panic!("{news:?}");
    };
    assert_eq!(*path, PathIndex(0));
    let says = "or 192.0.2.1 is not an address of this host now";
    assert!(error.ends_with(says), "{error}");
    b.greeted(1);
    link.a.run(|| ip("addr add 192.0.2.1/24 dev a0"));
    assert!(a.tell(1).is_empty());
    b.greeted(2);
}

fn told_where() {
    let link = Link::new();
    let (mut a, mut b) = (Node::idle(&link.a, "a"), Node::idle(&link.b, "b"));
    for (node, own, at) in [(&mut a, "a", "192.0.2.1"), (&mut b, "b", "192.0.2.2")] {
        let one = |address: &str| vec![address.parse::<IpAddr>().expect("an address")];
        let mut settings = settings(own);
        settings.nodes.insert(NodeName::new("a"), one("192.0.2.1"));
        settings.nodes.insert(NodeName::new("b"), one("192.0.2.2"));
        settings.listen = SocketAddr::new(at.parse().expect("an address"), PORT);
        node.serve(&settings, 7);
    }
    meet(&mut a, &mut b, 1);
}

fn taken_port() {
    let link = Link::new();
    let address: SocketAddr = (A[0].parse::<IpAddr>().expect("an address"), PORT).into();
    let taken = link.a.run(|| UdpSocket::bind(address).expect("the port"));
    let (mut a, mut b) = (Node::new(&link.a, "a"), Node::new(&link.b, "b"));
    assert_eq!(a.tell(1).len(), 1);
    b.greeted(1);
    a.host.run(|| a.link.retry(&a.poller));
    assert!(a.tell(1).is_empty(), "nothing has changed");
    b.greeted(1);
    close(taken);
    a.host.run(|| a.link.retry(&a.poller));
    a.tell(1);
    b.greeted(2);
}

fn another_key() {
    let link = Link::new();
    let (mut a, mut b) = (Node::new(&link.a, "a"), Node::new(&link.b, "b"));
    meet(&mut a, &mut b, 2);
    // The same again is no news.
    a.serve(&settings("a"), 7);
    a.tell(4);
    assert_eq!(b.heard(2), [(1, 0, 4), (1, 1, 4)]);
    a.serve(&settings("a"), 8);
    a.tell(5);
    assert_eq!(b.refusals(2), [Refusal::Forged; 2]);
    b.serve(&settings("b"), 8);
    a.tell(6);
    b.greeted(2);
    b.tell(7);
    assert_eq!(a.heard(2), [(2, 0, 7), (2, 1, 7)]);
    a.tell(8);
    assert_eq!(b.heard(2), [(2, 0, 8), (2, 1, 8)]);
    let Node {
        link: of_a, poller, ..
    } = &mut a;
    of_a.serve(None, None, poller);
    assert!(a.tell(9).is_empty());
    b.tell(9);
    let mut tokens = Vec::new();
    a.poller.ready(&mut tokens).expect("a look");
    assert!(tokens.is_empty(), "a socket stayed open");
}

fn garbage() {
    let link = Link::new();
    let mut b = Node::new(&link.b, "b");
    let to: SocketAddr = (B[0].parse::<IpAddr>().expect("an address"), PORT).into();
    let bind = |address: &str| {
        link.a
            .run(|| UdpSocket::bind((address, 0)).expect("a socket"))
    };
    let (node, stranger) = (bind("192.0.2.1"), bind("192.0.2.9"));
    let mut headed = b"vpl\x01".to_vec();
    headed.resize(200, 5);
    let mut newer = headed.clone();
    newer[3] = 2;
    let mut long = headed.clone();
    long.resize(1237, 0);
    for (socket, datagram, why) in [
        (&node, &b""[..], Refusal::Malformed),
        (&node, &b"vpl"[..], Refusal::Malformed),
        (&node, &[0; 1200][..], Refusal::Malformed),
        (&node, &newer[..], Refusal::OtherVersion),
        (&node, &headed[..], Refusal::Forged),
        (&stranger, &headed[..], Refusal::UnknownNode),
        (&node, &long[..], Refusal::Malformed),
        (&node, &[9; 1400][..], Refusal::Malformed),
    ] {
        socket.send_to(datagram, to).expect("it is sent");
        assert_eq!(b.refusals(1), [why], "{} bytes", datagram.len());
    }
}

/// Half of it forged as well as can be without the key: it costs an AEAD. The
/// node's own messages come through by the other path, at once; and a turn
/// ends after its bound although more is there.
fn flood() {
    const DATAGRAMS: usize = 10_000;
    let link = Link::new();
    let (mut a, mut b) = (Node::new(&link.a, "a"), Node::new(&link.b, "b"));
    meet(&mut a, &mut b, 2);
    let mut forged = vec![0; 1228];
    let observer = link.b.capture();
    a.tell(4);
    let seen = crate::link::captured(&observer, |frame| {
        frame.len() > 14 + 28 && frame[12..14] == [8, 0] && frame[42..46] == *b"vpl\x01"
    });
    b.heard(2);
    // A sound head of a life that nobody knows.
    forged[..52].copy_from_slice(&seen[42..94]);
    forged[12..24].fill(0xee);
    close(a);
    let from: SocketAddr = (A[0].parse::<IpAddr>().expect("an address"), PORT).into();
    let to: SocketAddr = (B[0].parse::<IpAddr>().expect("an address"), PORT).into();
    let flooder = link.a.run(|| UdpSocket::bind(from).expect("a socket"));
    let beside: SocketAddr = (A[1].parse::<IpAddr>().expect("an address"), 0).into();
    let beside = link.a.run(|| UdpSocket::bind(beside).expect("a socket"));
    let other: SocketAddr = (B[1].parse::<IpAddr>().expect("an address"), PORT).into();
    let (mut refused, mut spent, mut sent) = (0, Duration::ZERO, 0);
    while sent < DATAGRAMS {
        for _ in 0..100 {
            let datagram = if sent % 2 == 0 {
                &forged
            } else {
                &forged[..52].to_vec()
            };
            flooder.send_to(datagram, to).expect("it is sent");
            sent += 1;
        }
        beside.send_to(b"x", other).expect("it is sent");
        let begun = Instant::now();
        let events = b.turn();
        spent += begun.elapsed();
        assert!(events.len() <= DATAGRAMS_PER_SOCKET + 1, "{}", events.len());
        let by_the_other = |event: &&LinkEvent| matches!(event, LinkEvent::Refused { source, .. } if *source == other_source());
        let came = events.iter().filter(by_the_other).count();
        assert_eq!(came, 1, "the other path waits behind the flood");
        refused += events.len();
    }
    println!("{refused} datagrams of a flood in {spent:?}, built without optimisation");
    assert!(refused > DATAGRAMS / 2);
    // Sessions are as they were: a guest at most costs an answer.
    let mut news = b.tell(9);
    news.retain(|event| !matches!(event, LinkEvent::Unsent { .. }));
    assert!(news.is_empty());
}

fn other_source() -> IpAddr {
    A[1].parse().expect("an address")
}
