//! When was which address on a host, and what did it take for its
//! neighbour's hardware address: the kernel's own notifications, with times.

use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::frame::Mac;
use super::namespace::Namespace;
use super::on_time;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Address { address: IpAddr, present: bool },
    Neighbour { address: IpAddr, mac: Option<Mac> },
}

pub struct Watch {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    changes: Mutex<Vec<(Instant, Change)>>,
    stop: AtomicBool,
}

impl Shared {
    fn changes(&self) -> MutexGuard<'_, Vec<(Instant, Change)>> {
        self.changes
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The kernel tells of an address that is there whenever its lease begins
    /// anew; that is no change.
    fn note(&self, at: Instant, change: Change) {
        let mut changes = self.changes();
        if let Change::Address { address, .. } = &change {
            let about = |(_, known): &&(Instant, Change)| matches!(known, Change::Address { address: other, .. } if other == address);
            let last = changes.iter().rev().find(about);
            if last.is_some_and(|(_, known)| *known == change) {
                return;
            }
        }
        changes.push((at, change));
    }
}

impl Watch {
    pub fn start(namespace: &Namespace) -> Self {
        let socket = namespace.run(open);
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        let thread = thread::spawn(move || listen(&socket, &of_thread));
        Self {
            shared,
            thread: Some(thread),
        }
    }

    /// When the first change was seen, if that was before `until`.
    pub fn began(&self, until: Instant) -> Option<Instant> {
        let changes = self.shared.changes();
        changes.first().map(|(at, _)| *at).filter(|at| *at <= until)
    }

    /// When `address` came (true) and went, from `since` on.
    pub fn times(&self, since: Instant, address: IpAddr) -> Vec<(Instant, bool)> {
        let changes = self.shared.changes();
        let mut times: Vec<(Instant, bool)> = Vec::new();
        for (at, change) in changes.iter().filter(|(at, _)| *at >= since) {
            match change {
                Change::Address {
                    address: changed,
                    present,
                } if *changed == address => times.push((*at, *present)),
                Change::Address { .. } | Change::Neighbour { .. } => {}
            }
        }
        times
    }

    /// When `address` came or went for the first time from `since` on; waits
    /// for it until `timeout` from now.
    #[track_caller]
    pub fn wait(
        &self,
        since: Instant,
        address: IpAddr,
        present: bool,
        timeout: Duration,
    ) -> Instant {
        let wanted = Change::Address { address, present };
        self.wait_change(since, timeout, &wanted)
    }

    /// When this host began to take `mac` for `address`, from `since` on.
    #[track_caller]
    pub fn wait_neighbour(
        &self,
        since: Instant,
        address: IpAddr,
        mac: Mac,
        timeout: Duration,
    ) -> Instant {
        let mac = Some(mac);
        self.wait_change(since, timeout, &Change::Neighbour { address, mac })
    }

    /// When this host began to take `mac` for `address`, if it did.
    pub fn learnt(&self, since: Instant, address: IpAddr, mac: Mac) -> Option<Instant> {
        let all = self.taken_for(address);
        let learnt = all.iter().find(|(at, taken)| *at >= since && *taken == mac);
        learnt.map(|(at, _)| *at)
    }

    /// What this host took for `address`, and when it began to; the moments in
    /// which it asked are left out.
    pub fn taken_for(&self, address: IpAddr) -> Vec<(Instant, Mac)> {
        let changes = self.shared.changes();
        let about = changes.iter().filter_map(|(at, change)| match change {
            Change::Neighbour {
                address: other,
                mac: Some(mac),
            } if *other == address => Some((*at, *mac)),
            Change::Neighbour { .. } | Change::Address { .. } => None,
        });
        about.collect()
    }

    #[track_caller]
    fn wait_change(&self, since: Instant, timeout: Duration, wanted: &Change) -> Instant {
        let end = Instant::now() + timeout;
        loop {
            let found = self
                .shared
                .changes()
                .iter()
                .find(|(at, change)| *at >= since && change == wanted)
                .map(|(at, _)| *at);
            if let Some(at) = found {
                return at;
            }
            assert!(
                Instant::now() < end,
                "not seen within {timeout:?}: {wanted:?}; seen: {:?}",
                self.shared
                    .changes()
                    .iter()
                    .map(|(at, change)| (at.saturating_duration_since(since), change.clone()))
                    .collect::<Vec<_>>()
            );
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn open() -> Socket {
    const GROUPS: [u32; 3] = [3, 5, 9]; // neighbours, IPv4 and IPv6 addresses
    let mut socket = Socket::new(NETLINK_ROUTE).expect("a netlink socket");
    socket
        .bind(&SocketAddr::new(0, 0))
        .expect("a netlink socket that is bound");
    for group in GROUPS {
        socket.add_membership(group).expect("a netlink group");
    }
    socket.set_rx_buf_sz(4_i32 << 20).expect("a large buffer");
    socket
}

fn listen(socket: &Socket, shared: &Shared) {
    on_time::keep();
    while !shared.stop.load(Ordering::Relaxed) {
        if !readable(socket) {
            continue;
        }
        let Ok((bytes, _)) = socket.recv_from_full() else {
            continue;
        };
        let now = Instant::now();
        let mut rest = bytes.as_slice();
        while let Ok(message) = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest) {
            let length = usize::try_from(message.header.length).unwrap_or(0);
            if let NetlinkPayload::InnerMessage(inner) = message.payload
                && let Some(change) = change(&inner)
            {
                shared.note(now, change);
            }
            match rest.get(length.next_multiple_of(4)..) {
                Some(next) if length > 0 && !next.is_empty() => rest = next,
                _ => break,
            }
        }
    }
}

fn readable(socket: &Socket) -> bool {
    let mut poll_set = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
    poll(&mut poll_set, PollTimeout::from(50_u8)).is_ok_and(|ready| ready > 0)
}

fn change(message: &RouteNetlinkMessage) -> Option<Change> {
    match message {
        RouteNetlinkMessage::NewAddress(message) => address(message, true),
        RouteNetlinkMessage::DelAddress(message) => address(message, false),
        RouteNetlinkMessage::NewNeighbour(message) => neighbour(message),
        _ => None,
    }
}

fn address(message: &AddressMessage, present: bool) -> Option<Change> {
    let mut found = None;
    for attribute in &message.attributes {
        match attribute {
            // The local address where there is one: the other is the peer's.
            AddressAttribute::Local(address) => found = Some(*address),
            AddressAttribute::Address(address) => found = found.or(Some(*address)),
            _ => {}
        }
    }
    found.map(|address| Change::Address { address, present })
}

fn neighbour(message: &NeighbourMessage) -> Option<Change> {
    let mut address = None;
    let mut mac = None;
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => {
                address = Some(IpAddr::from(*v4));
            }
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => {
                address = Some(IpAddr::from(*v6));
            }
            NeighbourAttribute::LinkLayerAddress(bytes) => {
                mac = bytes.as_slice().try_into().ok().map(Mac);
            }
            _ => {}
        }
    }
    Some(Change::Neighbour {
        address: address?,
        mac,
    })
}
