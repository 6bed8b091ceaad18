//! The neutral observer: captures what comes out of every host, with the
//! kernel's own timestamps, in the namespace that is the network.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use super::frame::{Advert, Frame, read};
use super::namespace::Namespace;
use super::stamped;

pub struct Observer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    /// Host and interface behind each port's index.
    ports: Mutex<HashMap<usize, (String, String)>>,
    frames: Mutex<Vec<Frame>>,
    arrived: Condvar,
    stop: AtomicBool,
}

impl Observer {
    pub fn start(segment: &Namespace) -> Self {
        let shared = Arc::new(Shared::default());
        let socket = segment.run(open);
        let of_thread = Arc::clone(&shared);
        let thread = thread::spawn(move || capture(&socket, &of_thread));
        Self {
            shared,
            thread: Some(thread),
        }
    }

    /// From now on what enters by port `index` is `host`'s.
    pub fn know_port(&self, index: usize, host: &str, interface: &str) {
        lock(&self.shared.ports).insert(index, (host.to_owned(), interface.to_owned()));
    }

    /// All frames from `since` on, in the order of their capture.
    pub fn frames(&self, since: Instant) -> Vec<Frame> {
        let frames = lock(&self.shared.frames);
        frames.iter().filter(|f| f.at >= since).cloned().collect()
    }

    /// The first frame from `since` on that `wanted` accepts. Waits for it
    /// until `timeout` after now, then panics saying what was awaited.
    #[track_caller]
    pub fn wait(
        &self,
        since: Instant,
        what: &str,
        timeout: Duration,
        wanted: impl Fn(&Frame) -> bool,
    ) -> Frame {
        match self.wait_quietly(since, timeout, wanted) {
            Some(frame) => frame,
            None => panic!(
                "not seen within {timeout:?}: {what}\nthe last frames:\n{}",
                self.last(12)
            ),
        }
    }

    fn wait_quietly(
        &self,
        since: Instant,
        timeout: Duration,
        wanted: impl Fn(&Frame) -> bool,
    ) -> Option<Frame> {
        let end = Instant::now() + timeout;
        let mut frames = lock(&self.shared.frames);
        let mut seen = 0;
        loop {
            let fresh = frames.iter().skip(seen);
            if let Some(frame) = fresh.filter(|f| f.at >= since).find(|f| wanted(f)) {
                return Some(frame.clone());
            }
            seen = frames.len();
            let left = end.checked_duration_since(Instant::now())?;
            frames = match self.shared.arrived.wait_timeout(frames, left) {
                Ok((frames, _)) => frames,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }

    /// The first advertisement of `host` with `priority` from `since` on.
    #[track_caller]
    pub fn wait_advert(
        &self,
        since: Instant,
        host: &str,
        priority: u8,
        timeout: Duration,
    ) -> Frame {
        let what = format!("an advertisement of {host} with priority {priority}");
        self.wait(since, &what, timeout, |f| f.is_advert(host, priority))
    }

    /// The advertisements of `host` from `since` on, with their times.
    pub fn adverts(&self, since: Instant, host: &str) -> Vec<(Instant, Advert)> {
        self.frames(since)
            .into_iter()
            .filter(|frame| frame.host == host)
            .filter_map(|frame| Some((frame.at, frame.advert()?.clone())))
            .collect()
    }

    /// When `host` announced `address`, from `since` on.
    pub fn announcements(&self, since: Instant, host: &str, address: IpAddr) -> Vec<Frame> {
        let mut frames = self.frames(since);
        frames.retain(|frame| frame.host == host && frame.announces() == Some(address));
        frames
    }

    /// For messages: what was seen so long before and after a moment.
    pub fn around(&self, moment: Instant, span: Duration) -> String {
        let frames = self.frames(moment - span);
        let near = frames.iter().filter(|frame| frame.at <= moment + span);
        let line = |frame: &Frame| {
            let (sign, apart) = match frame.at >= moment {
                true => ('+', frame.at - moment),
                false => ('-', moment - frame.at),
            };
            let ms = apart.as_secs_f64() * 1e3;
            let (host, interface) = (&frame.host, &frame.interface);
            format!("  {sign}{ms:.3} ms, {host} {interface}: {}\n", frame.what)
        };
        near.map(line).collect()
    }

    /// For messages: the last frames, times relative to the last one.
    pub fn last(&self, count: usize) -> String {
        let frames = lock(&self.shared.frames);
        let Some(end) = frames.last().map(|frame| frame.at) else {
            return "  none at all".to_owned();
        };
        frames
            .iter()
            .skip(frames.len().saturating_sub(count))
            .map(|frame| {
                let before = end.duration_since(frame.at);
                format!(
                    "  {:>9.3} ms before the last, {} {}: {}\n",
                    before.as_secs_f64() * 1e3,
                    frame.host,
                    frame.interface,
                    frame.what
                )
            })
            .collect()
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Only what came in by a port (so each frame once), and of that ARP, VRRP
/// and neighbour advertisements: a client's thousand probes a second stay out.
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
        f(IF_EQUAL, 12, 0, OUTGOING), // to drop
        f(HALF, 0, 0, 12),
        f(IF_EQUAL, 9, 0, 0x0806), // ARP: to keep
        f(IF_EQUAL, 0, 2, 0x0800), // IPv4, or on to IPv6
        f(BYTE, 0, 0, 23),
        f(IF_EQUAL, 6, 7, 112),
        f(IF_EQUAL, 0, 6, 0x86dd),
        f(BYTE, 0, 0, 20),
        f(IF_EQUAL, 3, 0, 112),
        f(IF_EQUAL, 0, 3, 58), // ICMPv6
        f(BYTE, 0, 0, 54),
        f(IF_EQUAL, 0, 1, 136),  // neighbour advertisement
        f(RETURN, 0, 0, 0xffff), // keep
        f(RETURN, 0, 0, 0),      // drop
    ]
}

fn open() -> Socket {
    let everything = i32::from(u16::try_from(libc::ETH_P_ALL).expect("16 bits").to_be());
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(everything)))
        .expect("a packet socket");
    socket.attach_filter(&filter()).expect("the filter");
    socket
        .set_recv_buffer_size(4 << 20)
        .expect("a large buffer");
    socket
        .set_read_timeout(Some(Duration::from_millis(50)))
        .expect("a time-out");
    stamped::want(&socket);
    socket
}

fn capture(socket: &Socket, shared: &Shared) {
    let mut bytes = [0; 2048];
    while !shared.stop.load(Ordering::Relaxed) {
        let Some(stamped::Stamped { length, index, at }) = stamped::receive(socket, &mut bytes)
        else {
            continue; // the time-out
        };
        let port = index.and_then(|index| lock(&shared.ports).get(&index).cloned());
        let Some((host, interface)) = port else {
            continue;
        };
        if let Some((source_mac, destination_mac, what)) = bytes.get(..length).and_then(read) {
            lock(&shared.frames).push(Frame {
                at,
                host,
                interface,
                source_mac,
                destination_mac,
                what,
                bytes: bytes.get(..length).unwrap_or_default().to_vec(),
            });
            shared.arrived.notify_all();
        }
    }
}
