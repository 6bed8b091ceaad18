//! The limit: what the same advertisements cost when nothing is done beside
//! the system calls, over the same pairs of interfaces; and the same for
//! renewals of as many leases.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_REPLACE, NLM_F_REQUEST};
use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::address::{AddressAttribute, AddressMessage, CacheInfo};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{setsockopt, sockopt};
use nix::time::{ClockId, clock_gettime};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockAddr, Socket, Type};

use crate::lab::ms;
use crate::load::{Load, Part};
use crate::stage::Stage;

const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
const VRRP: i32 = 112;
/// Seconds of the load that are played; the figures are for a minute.
const SECONDS: u32 = 10;
/// Requests to the kernel in one message, as the agent does it.
const CHUNK: usize = 100;

#[derive(Clone, Copy, Debug, Default)]
pub struct Limit {
    /// Advertisements a minute.
    pub count: usize,
    pub send: Duration,
    pub receive: Duration,
    pub renew: Duration,
}

pub fn measure(load: Load) -> Limit {
    let stage = Stage::new(load);
    let minute = |spent: Duration| spent * 60 / SECONDS;
    let senders = stage.a.run(|| sockets(load, false));
    let hearers = stage.b.run(|| sockets(load, true));
    let parts = load.parts();
    let heard = SECONDS as usize * parts.len();
    let (send, receive) = scope(|scope| {
        let receiving = scope.spawn(|| receive(&hearers, heard));
        let sending = scope.spawn(|| send(&senders, &parts));
        let sent = sending.join().expect("the sender");
        (sent, receiving.join().expect("the receiver"))
    });
    Limit {
        count: parts.len() * 60,
        send: minute(send),
        receive: minute(receive),
        renew: minute(stage.a.run(|| renew(&parts))),
    }
}

fn sockets(load: Load, member: bool) -> Vec<Socket> {
    let open = |number| {
        let index = if_nametoindex(format!("e{number}").as_str()).expect("it exists");
        let protocol = Some(Protocol::from(VRRP));
        let socket = Socket::new(Domain::IPV4, Type::RAW.nonblocking(), protocol);
        let socket = socket.expect("a raw socket");
        let name = format!("e{number}");
        socket.bind_device(Some(name.as_bytes())).expect("bound");
        socket.set_multicast_ttl_v4(255).expect("a TTL");
        socket.set_multicast_loop_v4(false).expect("no loop");
        setsockopt(&socket, sockopt::RcvBufForce, &(4 << 20)).expect("a large buffer");
        if member {
            let index = InterfaceIndexOrAddress::Index(index);
            socket.join_multicast_v4_n(&GROUP, &index).expect("joined");
        }
        socket
    };
    (0..load.interfaces()).map(open).collect()
}

fn processor() -> Duration {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID);
    Duration::from(time.expect("every thread has this clock"))
}

/// The advertisements of a second at once, then as many a little later.
fn send(sockets: &[Socket], parts: &[Part]) -> Duration {
    let group = SockAddr::from(SocketAddr::new(GROUP.into(), 0));
    let mut spent = Duration::ZERO;
    for _ in 0..SECONDS {
        let before = processor();
        for part in parts {
            let message = message(part);
            sockets[part.interface]
                .send_to(&message, &group)
                .expect("sent");
        }
        spent += processor() - before;
        sleep(ms(100));
    }
    spent
}

/// As long as it should be; nobody looks inside.
fn message(part: &Part) -> Vec<u8> {
    let mut message = vec![0; 8 + 4 * part.advertised];
    message[..4].copy_from_slice(&[0x31, part.vrid, 100, 1]);
    message
}

/// A wait for each burst, then one call for each advertisement.
fn receive(sockets: &[Socket], wanted: usize) -> Duration {
    use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
    let epoll = Epoll::new(EpollCreateFlags::empty()).expect("an epoll");
    for (number, socket) in (0_u64..).zip(sockets) {
        let event = EpollEvent::new(EpollFlags::EPOLLIN, number);
        epoll.add(socket, event).expect("added");
    }
    let mut events = [EpollEvent::empty(); 64];
    let mut bytes = [0_u8; 2048];
    let mut got = 0;
    let end = Instant::now() + Duration::from_secs(60);
    let before = processor();
    while got < wanted && Instant::now() < end {
        let ready = epoll
            .wait(&mut events, EpollTimeout::from(1000_u16))
            .unwrap_or(0);
        for event in &events[..ready] {
            let number = usize::try_from(event.data()).expect("a small number");
            let socket = sockets[number].as_raw_fd();
            while let Ok(length) = nix::unistd::read(&sockets[number], &mut bytes) {
                got += usize::from(length > 0 && socket >= 0);
            }
        }
    }
    assert!(got >= wanted, "{got} of {wanted} advertisements arrived");
    processor() - before
}

/// Each address is given its lifetime anew, once for each second.
fn renew(parts: &[Part]) -> Duration {
    let mut socket = netlink_sys::Socket::new(NETLINK_ROUTE).expect("a netlink socket");
    socket.bind_auto().expect("bound");
    let kernel = netlink_sys::SocketAddr::new(0, 0);
    socket.connect(&kernel).expect("connected");
    let chunks: Vec<(Vec<u8>, usize)> = requests(parts)
        .chunks(CHUNK)
        .map(|chunk| (chunk.concat(), chunk.len()))
        .collect();
    let round = || {
        let before = processor();
        for (bytes, count) in &chunks {
            socket.send(bytes, 0).expect("sent");
            let mut answers = 0;
            while answers < *count {
                let (bytes, _) = socket.recv_from_full().expect("an answer");
                let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&bytes);
                let payload = answer.expect("an answer that can be read").payload;
                assert!(matches!(&payload, NetlinkPayload::Error(e) if e.code.is_none()));
                answers += 1;
            }
        }
        processor() - before
    };
    // The first adds them.
    round();
    (0..SECONDS).map(|_| round()).sum()
}

fn requests(parts: &[Part]) -> Vec<Vec<u8>> {
    let addresses = parts.iter().flat_map(|part| {
        let name = format!("e{}", part.interface);
        let index = if_nametoindex(name.as_str()).expect("it exists");
        part.addresses.iter().map(move |address| (index, *address))
    });
    let request = |(index, address): (u32, Ipv4Addr)| {
        let mut message = AddressMessage::default();
        message.header.family = AddressFamily::Inet;
        message.header.prefix_len = 32;
        message.header.index = index;
        let mut lifetimes = CacheInfo::default();
        (lifetimes.ifa_valid, lifetimes.ifa_preferred) = (2, 2);
        message.attributes = vec![
            AddressAttribute::Local(address.into()),
            AddressAttribute::Address(address.into()),
            AddressAttribute::CacheInfo(lifetimes),
        ];
        let mut request = NetlinkMessage::from(RouteNetlinkMessage::NewAddress(message));
        request.header.flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        bytes
    };
    addresses.map(request).collect()
}
