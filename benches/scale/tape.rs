//! What leaves both hosts and which addresses they have, with times: the
//! kernel's own for advertisements, for addresses when its notification was
//! read. It costs the hosts something, so it runs only where it is needed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use nix::net::if_::if_nametoindex;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use crate::lab::namespace::Namespace;
use crate::lab::stamped;
use crate::stage::Stage;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Host {
    A,
    B,
}

/// An interface and a VRID.
pub type Router = (usize, u8);

/// One advertisement.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    pub at: Instant,
    pub host: Host,
    pub router: Router,
    pub priority: u8,
}

#[derive(Clone, Copy, Debug)]
pub struct Moved {
    pub at: Instant,
    pub host: Host,
    pub address: Ipv4Addr,
    pub present: bool,
}

#[derive(Default)]
struct Shared {
    seen: Mutex<Vec<Seen>>,
    moved: Mutex<Vec<Moved>>,
    stop: AtomicBool,
}

pub struct Tape {
    shared: Arc<Shared>,
    /// Which host had which address when the tape began.
    pub before: BTreeSet<(Host, Ipv4Addr)>,
    threads: Vec<JoinHandle<()>>,
}

impl Tape {
    pub fn start(stage: &Stage) -> Self {
        let shared = Arc::new(Shared::default());
        let mut threads = Vec::new();
        let mut before = BTreeSet::new();
        for (host, namespace) in [(Host::A, &stage.a), (Host::B, &stage.b)] {
            let (packets, indices) = namespace.run(|| (open_packets(), indices(stage.interfaces)));
            let of_thread = Arc::clone(&shared);
            let capture = move || capture(&packets, host, &indices, &of_thread);
            threads.push(thread::spawn(capture));
            let addresses = namespace.run(open_addresses);
            let of_thread = Arc::clone(&shared);
            let watch = move || watch(&addresses, host, &of_thread);
            threads.push(thread::spawn(watch));
            before.extend(
                present(namespace)
                    .into_iter()
                    .map(|address| (host, address)),
            );
        }
        Self {
            shared,
            before,
            threads,
        }
    }

    /// Every advertisement so far.
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.shared.seen).clone()
    }

    /// Every address that came or went so far.
    pub fn moved(&self) -> Vec<Moved> {
        lock(&self.shared.moved).clone()
    }

    /// When each virtual router of `host` first spoke from `since` on.
    pub fn first(&self, host: Host, since: Instant) -> BTreeMap<Router, Instant> {
        let mut found = BTreeMap::new();
        for seen in lock(&self.shared.seen).iter() {
            if seen.host == host && seen.at >= since && seen.priority > 0 {
                found.entry(seen.router).or_insert(seen.at);
            }
        }
        found
    }

    /// Which addresses `host` has now.
    pub fn held(&self, host: Host) -> BTreeSet<Ipv4Addr> {
        let before = self.before.iter().filter(|(of, _)| *of == host);
        let mut held: BTreeSet<Ipv4Addr> = before.map(|(_, address)| *address).collect();
        for moved in lock(&self.shared.moved)
            .iter()
            .filter(|one| one.host == host)
        {
            match moved.present {
                true => held.insert(moved.address),
                false => held.remove(&moved.address),
            };
        }
        held
    }
}

impl Drop for Tape {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no tape panics")
}

/// The virtual addresses that are there now: /32, unlike the hosts' own.
fn present(namespace: &Namespace) -> Vec<Ipv4Addr> {
    let links = namespace.ip_json("-4 addr show");
    let entries = links.as_array().into_iter().flatten();
    let entries = entries.flat_map(|link| link["addr_info"].as_array().into_iter().flatten());
    let virtual_ones = entries.filter(|entry| entry["prefixlen"] == 32);
    virtual_ones
        .filter_map(|entry| entry["local"].as_str()?.parse().ok())
        .collect()
}

fn indices(interfaces: usize) -> BTreeMap<usize, usize> {
    let index = |number: usize| {
        let index = if_nametoindex(format!("e{number}").as_str()).expect("it exists");
        (usize::try_from(index).expect("a small index"), number)
    };
    (0..interfaces).map(index).collect()
}

/// What goes out, and of that VRRP over IPv4.
fn filter() -> Vec<SockFilter> {
    const BYTE: u16 = 0x30;
    const HALF: u16 = 0x28;
    const IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const PACKET_TYPE: u32 = 0xffff_f004;
    const OUTGOING: u32 = 4;
    let f = SockFilter::new;
    vec![
        f(BYTE, 0, 0, PACKET_TYPE),
        f(IF_EQUAL, 0, 5, OUTGOING),
        f(HALF, 0, 0, 12),
        f(IF_EQUAL, 0, 3, 0x0800),
        f(BYTE, 0, 0, 23),
        f(IF_EQUAL, 0, 1, 112),
        f(RETURN, 0, 0, 64),
        f(RETURN, 0, 0, 0),
    ]
}

fn open_packets() -> Socket {
    let everything = i32::from(u16::try_from(libc::ETH_P_ALL).expect("16 bits").to_be());
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(everything)));
    let socket = socket.expect("a packet socket");
    socket.attach_filter(&filter()).expect("the filter");
    setsockopt(&socket, sockopt::RcvBufForce, &(32 << 20)).expect("a large buffer");
    socket
        .set_read_timeout(Some(Duration::from_millis(50)))
        .expect("a time-out");
    stamped::want(&socket);
    socket
}

fn capture(socket: &Socket, host: Host, indices: &BTreeMap<usize, usize>, shared: &Shared) {
    let mut bytes = [0; 64];
    while !shared.stop.load(Ordering::Relaxed) {
        let Some(stamped::Stamped { index, at, .. }) = stamped::receive(socket, &mut bytes) else {
            continue; // the time-out
        };
        let Some(interface) = index.and_then(|index| indices.get(&index)).copied() else {
            continue;
        };
        let [vrid, priority] = [bytes[35], bytes[36]];
        lock(&shared.seen).push(Seen {
            at,
            host,
            router: (interface, vrid),
            priority,
        });
    }
}

fn open_addresses() -> netlink_sys::Socket {
    const IPV4_ADDRESSES: u32 = 5;
    let mut socket = netlink_sys::Socket::new(NETLINK_ROUTE).expect("a netlink socket");
    let any = netlink_sys::SocketAddr::new(0, 0);
    socket.bind(&any).expect("a netlink socket that is bound");
    socket
        .add_membership(IPV4_ADDRESSES)
        .expect("a netlink group");
    setsockopt(&socket, sockopt::RcvBufForce, &(32 << 20)).expect("a large buffer");
    socket
}

fn watch(socket: &netlink_sys::Socket, host: Host, shared: &Shared) {
    let mut known = BTreeMap::new();
    while !shared.stop.load(Ordering::Relaxed) {
        let mut wanted = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
        if !poll(&mut wanted, PollTimeout::from(50_u8)).is_ok_and(|ready| ready > 0) {
            continue;
        }
        let Ok((bytes, _)) = socket.recv_from_full() else {
            panic!("address events were lost: nothing that is measured would be true");
        };
        let at = Instant::now();
        let Ok(message) = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&bytes) else {
            continue;
        };
        let (address, present) = match message.payload {
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewAddress(message)) => {
                (local(&message), true)
            }
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelAddress(message)) => {
                (local(&message), false)
            }
            _ => continue,
        };
        let Some(address) = address else {
            continue;
        };
        // A lease that begins anew is told, too, and is no change.
        if known.insert(address, present) != Some(present) {
            lock(&shared.moved).push(Moved {
                at,
                host,
                address,
                present,
            });
        }
    }
}

fn local(message: &AddressMessage) -> Option<Ipv4Addr> {
    message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            AddressAttribute::Local(IpAddr::V4(address)) => Some(*address),
            _ => None,
        })
}
