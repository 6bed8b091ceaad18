//! The client: asks the virtual address a thousand times a second whether it
//! is there (ICMP echo), and counts what was never answered.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::Host;
use super::frame::ones_complement_sum;
use super::on_time;
use super::resolver::Resolver;
use super::stamped;

const EVERY: Duration = Duration::from_millis(1);
/// An answer later than this does not count.
const PATIENCE: Duration = Duration::from_secs(1);
/// One later than this is a gap to whoever waits for it, though not lost.
#[allow(dead_code, reason = "read by the benchmark")]
const IN_TIME: Duration = Duration::from_millis(100);
/// When it could not run for this long, the prober leaves probes out.
const OWN_STALL: Duration = Duration::from_millis(5);
/// Probes; a hundred times a second.
const RESOLVED_EVERY: usize = 10;
const MARK: u16 = 0x7677;

pub struct Prober {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    thread: Option<JoinHandle<ProbeReport>>,
}

#[derive(Clone, Debug)]
pub struct ProbeReport {
    #[allow(dead_code, reason = "read in the message of a failure")]
    pub target: IpAddr,
    pub sent: usize,
    /// Never answered within a second, of those sent after the first answer: an
    /// address that has just come may not be reachable yet, and until it is
    /// resolved the kernel keeps a few probes and drops the rest.
    pub lost: usize,
    /// The longest time between two probes that were answered in time, with
    /// some between them that were not: a prober that did not run itself has
    /// left none out. The end of the probing ends the last one.
    pub longest_gap: Duration,
    /// When the probe before the longest gap was sent.
    #[allow(dead_code, reason = "read in the message of a failure")]
    pub longest_gap_at: Instant,
    /// When the first lost one was sent.
    #[allow(dead_code, reason = "read in the message of a failure")]
    pub first_lost_at: Option<Instant>,
    /// How often the target was resolved anew.
    #[allow(dead_code, reason = "read by those who ask for it")]
    pub resolved: usize,
    /// The longest time in which the prober itself did not run.
    #[allow(dead_code, reason = "read in the message of a failure")]
    pub own_stall: Duration,
    #[allow(dead_code, reason = "read by the benchmark, and in messages")]
    pub answers: Answers,
}

/// When each probe was sent and, if it was, answered.
#[derive(Clone, Default)]
pub struct Answers(Vec<(Instant, Option<Instant>)>);

#[allow(dead_code, reason = "read by the benchmark")]
impl Answers {
    /// How many of those sent from `since` until `until` were never answered.
    pub fn lost(&self, since: Instant, until: Instant) -> usize {
        let meant = |(sent, answer): &&(Instant, Option<Instant>)| {
            answer.is_none() && *sent >= since && *sent < until
        };
        self.0.iter().filter(meant).count()
    }

    /// For the message of a failure: when those around `at` were sent, and
    /// answered, as milliseconds after it.
    pub fn around(&self, at: Instant) -> String {
        let begin = self.0.partition_point(|(sent, _)| *sent < at);
        let near = self.0.iter().skip(begin.saturating_sub(15)).take(130);
        let after = |moment: Instant| {
            let late = moment.saturating_duration_since(at).as_secs_f64();
            (late - at.saturating_duration_since(moment).as_secs_f64()) * 1e3
        };
        near.map(|(sent, answer)| match answer {
            Some(answer) => format!("{:.1} {:.1}\n", after(*sent), after(*answer)),
            None => format!("{:.1} -\n", after(*sent)),
        })
        .collect()
    }

    /// As in a report, of those gaps that began from `since` until `until`.
    pub fn longest_gap(&self, since: Instant, until: Instant) -> Duration {
        let longest = self.longest(since, until);
        longest.map_or(Duration::ZERO, |(_, gap)| gap)
    }

    /// When the probe before the longest gap was sent, and the gap.
    fn longest(&self, since: Instant, until: Instant) -> Option<(Instant, Duration)> {
        let in_time = |(sent, answer): &(Instant, Option<Instant>)| {
            answer.is_some_and(|at| at.duration_since(*sent) <= IN_TIME)
        };
        let mut longest: Option<(Instant, Duration)> = None;
        let (mut before, mut missed) = (None, false);
        let last = self.0.len().saturating_sub(1);
        for (place, probe) in self.0.iter().enumerate() {
            if !in_time(probe) {
                missed = true;
                if place < last {
                    continue;
                }
            }
            if let Some(from) = before
                && missed
                && from >= since
                && from < until
            {
                let gap = probe.0.duration_since(from);
                if longest.is_none_or(|(_, known)| gap > known) {
                    longest = Some((from, gap));
                }
            }
            (before, missed) = (Some(probe.0), false);
        }
        longest
    }

    /// The longest time between two answers that arrived from `since` until
    /// `until`, whatever the reason.
    pub fn longest_silence(&self, since: Instant, until: Instant) -> Duration {
        let arrivals = self.0.iter().filter_map(|probe| probe.1);
        let mut arrivals: Vec<_> = arrivals.filter(|at| *at >= since && *at < until).collect();
        arrivals.sort();
        let pairs = arrivals.windows(2).map(|pair| pair[1] - pair[0]);
        pairs.max().unwrap_or_default()
    }
}

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of them", self.0.len())
    }
}

impl Prober {
    /// Probes `target` from `client` until it is stopped.
    pub fn start(client: &Host, target: IpAddr) -> Self {
        Self::with(client, target, None)
    }

    /// The same by a client that resolves `target` anew every 10 ms.
    pub fn start_resolving(client: &Host, target: IpAddr) -> Self {
        Self::with(client, target, Some(Resolver::new(client, target)))
    }

    fn with(client: &Host, target: IpAddr, resolver: Option<Resolver>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicUsize::new(0));
        let socket = client.namespace.run(|| open(target));
        let probing = Probing {
            socket,
            target,
            destination: SocketAddr::new(target, 0).into(),
            v4: target.is_ipv4(),
            probes: Vec::new(),
            resolver,
            resolved: 0,
            stop: Arc::clone(&stop),
            answered: Arc::clone(&answered),
        };
        Self {
            stop,
            answered,
            thread: Some(thread::spawn(move || probing.run())),
        }
    }

    /// Waits until the target answers.
    #[track_caller]
    pub fn wait_answered(&self, timeout: Duration) {
        let before = self.answered.load(Ordering::Relaxed);
        let end = Instant::now() + timeout;
        while self.answered.load(Ordering::Relaxed) <= before {
            assert!(Instant::now() < end, "no probe answered within {timeout:?}");
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Stops, waits for the last answers, and tells.
    pub fn stop(mut self) -> ProbeReport {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("stopped once");
        thread.join().expect("a prober that ends well")
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn open(target: IpAddr) -> Socket {
    let (domain, protocol) = match target {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
    };
    let socket = Socket::new(domain, Type::RAW, Some(protocol)).expect("a raw socket");
    socket.set_nonblocking(true).expect("not blocking");
    stamped::want(&socket);
    socket
        .set_recv_buffer_size(1 << 20)
        .expect("a large buffer");
    socket
}

struct Probing {
    socket: Socket,
    target: IpAddr,
    destination: SockAddr,
    v4: bool,
    /// When each was sent and, if it was, answered.
    probes: Vec<(Instant, Option<Instant>)>,
    resolver: Option<Resolver>,
    resolved: usize,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
}

impl Probing {
    fn run(mut self) -> ProbeReport {
        on_time::keep();
        let mut next = Instant::now();
        let mut own_stall = Duration::ZERO;
        while !self.stop.load(Ordering::Relaxed) {
            let now = Instant::now();
            if now >= next {
                let late = now.duration_since(next);
                own_stall = own_stall.max(late);
                self.resolve_anew();
                self.send(now);
                next = if late > OWN_STALL { now } else { next } + EVERY;
            }
            self.receive_until(next);
        }
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end && self.probes.iter().any(|(_, answer)| answer.is_none()) {
            self.receive_until(Instant::now() + Duration::from_millis(20));
        }
        self.report(own_stall)
    }

    /// Not while a probe is under way, which would be lost by that.
    fn resolve_anew(&mut self) {
        let answered = |probe: &(Instant, Option<Instant>)| probe.1.is_some();
        let quiet = self.probes.last().is_some_and(answered);
        if let Some(resolver) = &self.resolver
            && quiet
            && self.probes.len() >= (self.resolved + 1) * RESOLVED_EVERY
            && resolver.forget()
        {
            self.resolved += 1;
        }
    }

    fn send(&mut self, now: Instant) {
        let number = u32::try_from(self.probes.len()).expect("few enough probes");
        self.probes.push((now, None));
        let kind = if self.v4 { 8 } else { 128 };
        let mut packet = vec![kind, 0, 0, 0];
        packet.extend(MARK.to_be_bytes());
        packet.extend([0, 0]);
        packet.extend(number.to_be_bytes());
        if self.v4 {
            let sum = !ones_complement_sum(&packet);
            packet[2..4].copy_from_slice(&sum.to_be_bytes());
        }
        // A probe that cannot even leave is a lost one.
        let _ = self.socket.send_to(&packet, &self.destination);
    }

    fn receive_until(&mut self, until: Instant) {
        let left = until.saturating_duration_since(Instant::now());
        let mut poll_set = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        if !ppoll(&mut poll_set, Some(TimeSpec::from(left)), None).is_ok_and(|ready| ready > 0) {
            return;
        }
        let mut buffer = [0; 256];
        while let Some(arrived) = stamped::receive(&self.socket, &mut buffer) {
            let packet = buffer.get(..arrived.length).unwrap_or_default();
            self.take(packet, arrived.at);
        }
    }

    fn take(&mut self, packet: &[u8], at: Instant) {
        let (header, kind) = if self.v4 { (20, 0) } else { (0, 129) };
        let Some(message) = packet.get(header..) else {
            return;
        };
        let ours = message.first() == Some(&kind) && message.get(4..6) == Some(&MARK.to_be_bytes());
        let number: Option<[u8; 4]> = message.get(8..12).and_then(|four| four.try_into().ok());
        let (true, Some(number)) = (ours, number) else {
            return;
        };
        let number = usize::try_from(u32::from_be_bytes(number)).unwrap_or(usize::MAX);
        if let Some((sent, answer)) = self.probes.get_mut(number)
            && at.saturating_duration_since(*sent) <= PATIENCE
            && answer.is_none()
        {
            // The two clocks are read a moment apart.
            *answer = Some(at.max(*sent));
            self.answered.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn report(self, own_stall: Duration) -> ProbeReport {
        let arrivals = self.probes.iter().filter_map(|(_, answer)| *answer);
        let known = arrivals.min();
        let unanswered = self
            .probes
            .iter()
            .filter(|(sent, answer)| answer.is_none() && known.is_none_or(|known| *sent >= known));
        let first_lost_at = unanswered.clone().next().map(|(sent, _)| *sent);
        let lost = unanswered.count();
        let sent = self.probes.len();
        let start = self.probes.first().map_or_else(Instant::now, |one| one.0);
        let answers = Answers(self.probes);
        let longest = answers.longest(start, Instant::now());
        let (longest_gap_at, longest_gap) = longest.unwrap_or((start, Duration::ZERO));
        ProbeReport {
            target: self.target,
            first_lost_at,
            sent,
            resolved: self.resolved,
            lost,
            longest_gap,
            longest_gap_at,
            own_stall,
            answers,
        }
    }
}
