//! The thread that watches interfaces. Level-triggered: a netlink message only
//! says that an interface may have changed; its state is then read whole and
//! compared with what was last reported. A lost message costs a delay, never
//! a wrong state.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use netlink_packet_core::NlasIterator;
use netlink_packet_route::address::AddressHeader;
use netlink_packet_route::link::LinkHeader;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use socket2::SockRef;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::gateways::changes_gateways;
use super::refreshes::all_but_refreshes;
use super::routing_watch::{self, RoutingWatch};
use super::snapshot::{LINK_HEADER_BYTES, Reader, parse_name};
use super::socket::{messages, receive_now, widen_receive_buffer};
use crate::agent::event::{Event, InterfaceState};
use crate::agent::values::InterfaceName;

const RECEIVE_BUFFER_BYTES: usize = 8 * 1024 * 1024;
const DATAGRAM_BYTES_MAX: usize = 64 * 1024;

/// Datagrams taken before states are read again; the rest waits in the
/// socket, and the loop comes back to it at once.
const DATAGRAMS_PER_TURN: usize = 4_096;

/// Between two readings of one interface: a burst of changes becomes a few
/// reports. The first change after a quiet time is reported at once.
const READING_GAP: Duration = Duration::from_millis(10);

/// Until a report that the full channel did not take is tried again.
const FULL_CHANNEL_GAP: Duration = Duration::from_millis(20);

/// Until the kernel is asked again after a failure.
const FAILURE_GAP: Duration = Duration::from_secs(1);

/// Every interface is read this often although nothing was heard of it.
const SWEEP_GAP: Duration = Duration::from_secs(10);

struct Shared {
    /// A new set to watch, until the thread takes it.
    wanted: Mutex<Option<BTreeSet<InterfaceName>>>,
    /// Routes and rules with our mark are of interest.
    routing: AtomicBool,
    stop: AtomicBool,
    wake: EventFd,
}

impl Shared {
    fn wake(&self) {
        // Fails only when 2^64 - 2 wake-ups wait, and then it is awake.
        let _ = self.wake.write(1);
    }
}

/// Watches interfaces until it is dropped.
pub struct Monitor {
    shared: Arc<Shared>,
}

impl Monitor {
    /// Starts watching in the caller's network namespace, and reports the
    /// present state of every watched interface as [`Event::Interface`],
    /// later every state that differs from the last reported. While the
    /// channel is full nothing is lost: the state is reported, as it is by
    /// then, when there is room. The thread ends when the channel is closed.
    ///
    /// Errors: no socket or no thread could be had; nothing was started.
    pub fn start(
        watched: BTreeSet<InterfaceName>,
        events: mpsc::Sender<Event<'static>>,
    ) -> io::Result<Monitor> {
        let watcher = Watcher::new(watched, events)?;
        let shared = Arc::clone(&watcher.shared);
        super::spawn("vip-monitor", move || watcher.run())?;
        Ok(Monitor { shared })
    }

    /// Replaces the set of watched interfaces. Every newly watched one is
    /// reported; nothing more is heard of the others, except what is in the
    /// channel already.
    pub fn watch(&self, watched: BTreeSet<InterfaceName>) {
        *self
            .shared
            .wanted
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(watched);
        self.shared.wake();
    }
}

impl Monitor {
    /// From now on, or no longer, reports the routes and rules that bear our
    /// mark as [`Event::Routing`], in the same way.
    pub fn follow_routing(&self, wanted: bool) {
        self.shared.routing.store(wanted, Ordering::Release);
        self.shared.wake();
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.wake();
    }
}

/// What is known of one watched interface.
#[derive(Default)]
struct Watch {
    /// Last reported; `None` when nothing was yet.
    reported: Option<Option<InterfaceState>>,
    /// When to read it next; `None` while it is believed unchanged.
    due: Option<Instant>,
    /// Earliest time of the next reading.
    rested: Option<Instant>,
    /// An address went. The kernel may make a secondary one its subnet's
    /// first just afterwards, and of that nothing is heard where it is ours.
    unsettled: bool,
}

impl Watch {
    fn index(&self) -> Option<u32> {
        let state = self.reported.as_ref()?.as_ref()?;
        Some(state.index)
    }

    fn touch(&mut self, now: Instant) {
        let soonest = self.rested.map_or(now, |rested| rested.max(now));
        self.due = Some(self.due.map_or(soonest, |due| due.min(soonest)));
    }
}

/// What a reading of the event socket means for the next one.
#[derive(Debug, PartialEq, Eq)]
enum Heard {
    More,
    All,
    Broken,
}

struct Watcher {
    shared: Arc<Shared>,
    events: mpsc::Sender<Event<'static>>,
    /// `None` after a failure, until it can be opened again.
    socket: Option<Socket>,
    reader: Reader,
    watched: BTreeMap<InterfaceName, Watch>,
    routing: RoutingWatch,
    next_sweep: Instant,
    buffer: Box<[u8]>,
}

impl Watcher {
    fn new(
        watched: BTreeSet<InterfaceName>,
        events: mpsc::Sender<Event<'static>>,
    ) -> io::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let shared = Shared {
            wanted: Mutex::new(Some(watched)),
            routing: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            wake: EventFd::from_value_and_flags(0, flags)?,
        };
        Ok(Self {
            shared: Arc::new(shared),
            events,
            socket: Some(open_event_socket(false)?),
            reader: Reader::open()?,
            watched: BTreeMap::new(),
            routing: RoutingWatch::default(),
            next_sweep: Instant::now() + SWEEP_GAP,
            buffer: vec![0; DATAGRAM_BYTES_MAX].into_boxed_slice(),
        })
    }

    fn run(mut self) {
        while !self.shared.stop.load(Ordering::Acquire) && !self.events.is_closed() {
            self.adopt_wanted();
            self.hear();
            let now = Instant::now();
            if now >= self.next_sweep {
                self.next_sweep = now + SWEEP_GAP;
                self.touch_all(now);
            }
            self.report(now);
            self.follow_gateways(now);
            self.routing.report(now, &self.events);
            self.wait();
        }
    }

    fn adopt_wanted(&mut self) {
        let routing = self.shared.routing.load(Ordering::Acquire);
        if self.routing.want(routing, Instant::now()) {
            // Opened anew at once, with the right groups; then everything is
            // read again.
            self.socket = None;
        }
        let wanted = self
            .shared
            .wanted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(wanted) = wanted else { return };
        self.watched.retain(|name, _| wanted.contains(name));
        let now = Instant::now();
        for name in wanted {
            self.watched.entry(name).or_insert_with(|| Watch {
                due: Some(now),
                ..Watch::default()
            });
        }
    }

    /// Takes what the kernel has sent and marks the interfaces it is about.
    fn hear(&mut self) {
        let now = Instant::now();
        let Some(socket) = self.socket.take().or_else(|| self.reopen(now)) else {
            return;
        };
        for _ in 0..DATAGRAMS_PER_TURN {
            let received = receive_now(&socket, &mut self.buffer);
            match self.judge(received, now) {
                Heard::More => {}
                Heard::All => break,
                Heard::Broken => return,
            }
        }
        self.socket = Some(socket);
    }

    fn judge(&mut self, received: io::Result<usize>, now: Instant) -> Heard {
        match received {
            Ok(length) => {
                let datagram = self.buffer.get(..length).unwrap_or(&[]);
                for message in messages(datagram) {
                    if changes_gateways(message.kind, message.payload) {
                        self.reader.gateways.touch();
                    }
                    mark(&mut self.watched, message.kind, message.payload, now);
                    self.routing.hear(&message, now);
                }
                Heard::More
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Heard::All,
            // An overrun: messages were lost, anything may have changed.
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                self.touch_all(now);
                Heard::More
            }
            Err(error) => {
                tracing::warn!("netlink events: {error}; the socket will be opened again");
                Heard::Broken
            }
        }
    }

    /// After a failure. Without a socket the sweep still finds changes.
    fn reopen(&mut self, now: Instant) -> Option<Socket> {
        match open_event_socket(self.routing.is_wanted()) {
            Ok(socket) => {
                self.touch_all(now);
                Some(socket)
            }
            Err(error) => {
                tracing::warn!("no netlink socket for events could be opened: {error}");
                None
            }
        }
    }

    fn touch_all(&mut self, now: Instant) {
        self.reader.gateways.touch();
        for watch in self.watched.values_mut() {
            watch.touch(now);
        }
        self.routing.touch(now);
    }

    /// Reads what is due and reports what changed.
    fn report(&mut self, now: Instant) {
        for (interface, watch) in &mut self.watched {
            if watch.due.is_none_or(|due| due > now) {
                continue;
            }
            watch.rested = Some(now + READING_GAP);
            watch.due = match self.reader.read(*interface) {
                Ok(snapshot) => {
                    let settled = snapshot.settled && !std::mem::take(&mut watch.unsettled);
                    let again = (!settled).then_some(now + READING_GAP);
                    if watch.reported.as_ref() == Some(&snapshot.state) {
                        again
                    } else {
                        let event = Event::Interface {
                            interface: *interface,
                            state: snapshot.state.clone(),
                        };
                        match self.events.try_send(event) {
                            Ok(()) => {
                                watch.reported = Some(snapshot.state);
                                again
                            }
                            // A closed channel ends the loop at its next turn.
                            Err(TrySendError::Full(_) | TrySendError::Closed(_)) => {
                                Some(now + FULL_CHANNEL_GAP)
                            }
                        }
                    }
                }
                Err(error) => {
                    tracing::warn!("the state of {interface} could not be read: {error}");
                    Some(now + FAILURE_GAP)
                }
            };
        }
    }

    /// After the reports, so that none waits for a long table of routes.
    fn follow_gateways(&mut self, now: Instant) {
        if self.reader.gateways.due().is_none_or(|due| due > now) {
            return;
        }
        if let Err(error) = self.reader.read_gateways(now) {
            tracing::warn!("the default routes could not be read: {error}");
            return;
        }
        for watch in self.watched.values_mut() {
            let state = watch.reported.as_ref().and_then(Option::as_ref);
            let moved =
                state.is_some_and(|state| state.gateways != self.reader.gateways.of(state.index));
            if moved {
                watch.touch(now);
            }
        }
    }

    /// Until the kernel or the handle has something to say, or a time comes.
    fn wait(&self) {
        let due = self.watched.values().filter_map(|watch| watch.due);
        let due = due.chain(self.reader.gateways.due());
        let due = due.chain(self.routing.due());
        let mut until = due.min().unwrap_or(self.next_sweep).min(self.next_sweep);
        let mut ready = vec![PollFd::new(self.shared.wake.as_fd(), PollFlags::POLLIN)];
        match &self.socket {
            Some(socket) => ready.push(PollFd::new(socket.as_fd(), PollFlags::POLLIN)),
            None => until = until.max(Instant::now() + FAILURE_GAP),
        }
        let patience = until.saturating_duration_since(Instant::now());
        let rounded_up = patience + Duration::from_micros(999);
        let patience = PollTimeout::try_from(rounded_up).unwrap_or(PollTimeout::MAX);
        match poll(&mut ready, patience) {
            // Woken for nothing, the loop looks around and waits again.
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => {
                tracing::warn!("waiting for netlink events failed: {}", errno.desc());
                std::thread::sleep(FAILURE_GAP);
            }
        }
        // Non-blocking: an error means that no wake-up waits.
        let _ = self.shared.wake.read();
    }
}

fn open_event_socket(routing: bool) -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    widen_receive_buffer(&socket, RECEIVE_BUFFER_BYTES)?;
    // Woken for nothing it works as well, by the second for each lease.
    let _ = SockRef::from(&socket).attach_filter(&all_but_refreshes());
    socket.bind(&SocketAddr::new(0, 0))?;
    for group in [
        libc::RTNLGRP_LINK,
        libc::RTNLGRP_IPV4_IFADDR,
        libc::RTNLGRP_IPV6_IFADDR,
        libc::RTNLGRP_IPV4_ROUTE,
        libc::RTNLGRP_IPV6_ROUTE,
    ] {
        socket.add_membership(group)?;
    }
    for group in routing_watch::GROUPS.into_iter().filter(|_| routing) {
        socket.add_membership(group)?;
    }
    Ok(socket)
}

/// Marks the interfaces that a message is about; all when it cannot be read.
fn mark(watched: &mut BTreeMap<InterfaceName, Watch>, kind: u16, payload: &[u8], now: Instant) {
    let (index, named) = match kind {
        libc::RTM_NEWLINK | libc::RTM_DELLINK => {
            let header = LinkHeader::parse(payload).ok();
            (header.map(|header| header.index), true)
        }
        libc::RTM_NEWADDR | libc::RTM_DELADDR => {
            let header = AddressHeader::parse(payload).ok();
            (header.map(|header| header.index), false)
        }
        _ => return,
    };
    for (interface, watch) in watched {
        let by_index = index.is_none_or(|index| watch.index() == Some(index));
        // By name too: an interface that did not exist, or was renamed to it.
        if by_index || (named && is_called(payload, *interface)) {
            watch.touch(now);
            watch.unsettled |= kind == libc::RTM_DELADDR;
        }
    }
}

fn is_called(payload: &[u8], interface: InterfaceName) -> bool {
    let Some(attributes) = payload.get(LINK_HEADER_BYTES..) else {
        return false;
    };
    NlasIterator::new(attributes)
        .map_while(Result::ok)
        .filter(|attribute| attribute.kind() == libc::IFLA_IFNAME)
        .any(|attribute| parse_name(attribute.value()) == Some(interface.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Watches `lo` and has reported it; needs no rights.
    fn watcher() -> (Watcher, mpsc::Receiver<Event<'static>>) {
        let (tell, events) = mpsc::channel(16);
        let watched = BTreeSet::from(["lo".parse().unwrap()]);
        let mut watcher = Watcher::new(watched, tell).unwrap();
        watcher.adopt_wanted();
        watcher.report(Instant::now());
        (watcher, events)
    }

    fn due(watcher: &Watcher) -> Vec<Option<Instant>> {
        watcher.watched.values().map(|watch| watch.due).collect()
    }

    #[test]
    fn after_an_overrun_everything_is_read_again() {
        let (mut watcher, mut events) = watcher();
        assert!(matches!(
            events.try_recv(),
            Ok(Event::Interface { state: Some(_), .. })
        ));
        assert_eq!(due(&watcher), [None]);
        let overrun = io::Error::from_raw_os_error(libc::ENOBUFS);
        let now = Instant::now() + READING_GAP;
        assert_eq!(watcher.judge(Err(overrun), now), Heard::More);
        assert_eq!(due(&watcher), [Some(now)]);
        // It was read and is as reported: nothing to say.
        watcher.report(now);
        assert_eq!(due(&watcher), [None]);
        assert!(events.try_recv().is_err());
    }

    #[test]
    fn a_broken_event_socket_is_replaced_and_everything_read_again() {
        let (mut watcher, _events) = watcher();
        let error = io::Error::from_raw_os_error(libc::EBADF);
        assert_eq!(watcher.judge(Err(error), Instant::now()), Heard::Broken);
        watcher.socket = None;
        watcher.hear();
        assert!(watcher.socket.is_some());
        assert!(due(&watcher).iter().all(Option::is_some));
    }

    /// What follows from a removal may be told to nobody.
    #[test]
    fn after_a_removal_an_interface_is_read_twice() {
        let (mut watcher, _events) = watcher();
        let index = watcher.watched.values().find_map(Watch::index).unwrap();
        let header = [&[2, 32, 0, 0][..], &index.to_ne_bytes()].concat();
        let now = Instant::now() + READING_GAP;
        for (kind, again) in [(libc::RTM_NEWADDR, None), (libc::RTM_DELADDR, Some(()))] {
            let now = now + READING_GAP * 2 * u32::from(kind);
            mark(&mut watcher.watched, kind, &header, now);
            assert_eq!(due(&watcher), [Some(now)]);
            watcher.report(now);
            assert_eq!(due(&watcher), [again.map(|()| now + READING_GAP)]);
        }
        watcher.report(now + READING_GAP * 1_000);
        assert_eq!(due(&watcher), [None]);
    }
}
