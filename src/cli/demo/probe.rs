//! The client's side: a probe to the virtual address every millisecond, and
//! what came back. Each host runs a small service at that address which
//! signs its answers, so that the client knows who it was.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::net::namespace::Namespace;

const PERIOD: Duration = Duration::from_millis(1);

/// How long a thread sleeps at most before it looks whether it shall end.
const ATTENTION: Duration = Duration::from_millis(50);

/// Two minutes of probes; a client that is left running sends no more.
const PROBES_MAX: usize = 120_000;

const PORT: u16 = 7_007;

/// Number of a host, as its answers carry it.
pub type HostNumber = u8;

/// A thread that ends when this is dropped.
struct Worker {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// `turn` is called again and again; it must return within [`ATTENTION`].
    fn start(name: &str, mut turn: impl FnMut() + Send + 'static) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let body = move || {
            while !told.load(Ordering::Acquire) {
                turn();
            }
        };
        let thread = thread::Builder::new().name(name.to_owned()).spawn(body)?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // A panic of a worker shows in the measurement already.
            let _ = thread.join();
        }
    }
}

/// Answers probes to `address` for as long as the host has it.
pub struct Service {
    _worker: Worker,
}

impl Service {
    pub fn start(host: &Namespace, number: HostNumber, address: Ipv4Addr) -> io::Result<Self> {
        let socket = host.run(|| -> io::Result<UdpSocket> {
            let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
            // Bound before the host has the address, and while it has not.
            socket.set_freebind_v4(true)?;
            let local = SocketAddr::from((address, PORT));
            socket.bind(&local.into())?;
            Ok(socket.into())
        })??;
        socket.set_read_timeout(Some(ATTENTION))?;
        let mut buffer = [0; 9];
        let turn = move || {
            // A failed exchange is a lost probe, and is counted as such.
            if let Ok((8, client)) = socket.recv_from(&mut buffer) {
                buffer[8] = number;
                let _ = socket.send_to(&buffer, client);
            }
        };
        let _worker = Worker::start("demo-service", turn)?;
        Ok(Self { _worker })
    }
}

#[derive(Clone, Copy, Debug)]
struct Answer {
    at: Instant,
    host: HostNumber,
}

/// Probes by sequence number: when sent, and the answer.
#[derive(Default)]
struct Log {
    probes: Vec<(Instant, Option<Answer>)>,
    /// In the order of arrival.
    answers: Vec<Answer>,
}

/// What a client noticed in a span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Survey {
    pub sent: usize,
    pub lost: usize,
    /// The longest time without an answer.
    pub gap_max: Duration,
}

/// A client that probes until it is dropped.
pub struct Client {
    log: Arc<Mutex<Log>>,
    _workers: [Worker; 2],
}

impl Client {
    pub fn start(namespace: &Namespace, address: Ipv4Addr) -> io::Result<Self> {
        let socket = namespace.run(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)))??;
        socket.set_read_timeout(Some(ATTENTION))?;
        let log = Arc::new(Mutex::new(Log::default()));
        let target = SocketAddrV4::new(address, PORT);
        let sender = sender(socket.try_clone()?, Arc::clone(&log), target);
        let receiver = receiver(socket, Arc::clone(&log));
        Ok(Self {
            log,
            _workers: [
                Worker::start("demo-sender", sender)?,
                Worker::start("demo-receiver", receiver)?,
            ],
        })
    }

    /// Who answered last, and when.
    pub fn last_answer(&self) -> Option<(HostNumber, Instant)> {
        let log = lock(&self.log);
        log.answers.last().map(|answer| (answer.host, answer.at))
    }

    /// What was noticed from `from` until `to`. Probes on their way at `to`
    /// are not judged if `to` lies some milliseconds back.
    pub fn survey(&self, from: Instant, to: Instant) -> Survey {
        survey(&lock(&self.log), from, to)
    }
}

fn survey(log: &Log, from: Instant, to: Instant) -> Survey {
    let during = |at: &Instant| (from..to).contains(at);
    let sent = log.probes.iter().filter(|(sent, _)| during(sent));
    let lost = sent.clone().filter(|(_, answer)| answer.is_none());
    let arrivals = log.answers.iter().map(|answer| answer.at).filter(during);
    let mut before = from;
    let gaps = arrivals.chain([to]).map(|at| {
        let gap = at.saturating_duration_since(before);
        before = at;
        gap
    });
    Survey {
        sent: sent.clone().count(),
        lost: lost.count(),
        gap_max: gaps.max().unwrap_or_default(),
    }
}

fn sender(
    socket: UdpSocket,
    log: Arc<Mutex<Log>>,
    target: SocketAddrV4,
) -> impl FnMut() + Send + 'static {
    let mut due = Instant::now();
    move || {
        thread::sleep(due.saturating_duration_since(Instant::now()).min(ATTENTION));
        let now = Instant::now();
        if now < due {
            return;
        }
        // After a stall of this machine: no volley of what was missed.
        due = (due + PERIOD).max(now);
        let number = {
            let mut log = lock(&log);
            if log.probes.len() >= PROBES_MAX {
                due = now + ATTENTION;
                return;
            }
            log.probes.push((now, None));
            log.probes.len() - 1
        };
        let number = u64::try_from(number).unwrap_or(u64::MAX);
        // A probe that cannot leave is lost.
        let _ = socket.send_to(&number.to_be_bytes(), target);
    }
}

fn receiver(socket: UdpSocket, log: Arc<Mutex<Log>>) -> impl FnMut() + Send + 'static {
    let mut buffer = [0; 9];
    move || match socket.recv_from(&mut buffer) {
        Ok((9, _)) => {
            let [number @ .., host] = buffer;
            let answer = Answer {
                at: Instant::now(),
                host,
            };
            let mut log = lock(&log);
            log.answers.push(answer);
            let number = usize::try_from(u64::from_be_bytes(number)).ok();
            let probe = number.and_then(|number| log.probes.get_mut(number));
            if let Some((_, slot @ None)) = probe {
                *slot = Some(answer);
            }
        }
        Ok(_) => {}
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
        // "Host unreachable" and the like arrive here while nobody has the
        // address; their pace is the kernel's.
        Err(_) => thread::sleep(PERIOD),
    }
}

fn lock(log: &Mutex<Log>) -> MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_survey_counts_losses_and_finds_the_longest_gap() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut log = Log::default();
        for millis in 0..100 {
            let answered = !(40..70).contains(&millis);
            let answer = answered.then(|| Answer {
                at: at(millis),
                host: 1,
            });
            log.probes.push((at(millis), answer));
            log.answers.extend(answer);
        }
        let whole = Survey {
            sent: 100,
            lost: 30,
            gap_max: Duration::from_millis(31),
        };
        assert_eq!(survey(&log, at(0), at(100)), whole);
        // A silence that lasts until the end counts as well.
        let first_half = Survey {
            sent: 60,
            lost: 20,
            gap_max: Duration::from_millis(21),
        };
        assert_eq!(survey(&log, at(0), at(60)), first_half);
    }
}
