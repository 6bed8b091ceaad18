//! Did the machine itself stand still? One thread wants to run every few
//! milliseconds and notes when it could not; another wants the kernel's network
//! lock, which whoever makes or ends a namespace beside us may hold for long.
//! Upper bounds are judged with it: a busy machine is no fault of the agent's.

use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_millis(5);
/// Between two wishes for the network lock.
const LOCK_TICK: Duration = Duration::from_millis(20);
/// Shorter ones are ordinary.
const NOTED: Duration = Duration::from_millis(15);

/// Standstills: when each ended and how long it was.
struct Meter(Mutex<Vec<(Instant, Duration)>>);

static PROCESSOR: Meter = Meter(Mutex::new(Vec::new()));
static NETWORK_LOCK: Meter = Meter(Mutex::new(Vec::new()));

impl Meter {
    fn note(&self, stalled: Duration) {
        if stalled > NOTED {
            self.all().push((Instant::now(), stalled));
        }
    }

    fn all(&self) -> std::sync::MutexGuard<'_, Vec<(Instant, Duration)>> {
        self.0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn since(&self, from: Instant) -> Duration {
        let all = self.all();
        let late = all.iter().filter(|(ended, _)| *ended >= from);
        late.map(|(_, late)| *late).sum()
    }
}

pub fn start_meter() {
    thread::spawn(|| {
        let mut last = Instant::now();
        loop {
            thread::sleep(TICK);
            let now = Instant::now();
            PROCESSOR.note(now.duration_since(last).saturating_sub(TICK));
            last = now;
        }
    });
    thread::spawn(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
        loop {
            let asked = Instant::now();
            take_network_lock(&socket);
            NETWORK_LOCK.note(asked.elapsed());
            thread::sleep(LOCK_TICK);
        }
    });
}

/// Gives the loopback interface the MTU it has: the kernel takes its lock for
/// that, and changes nothing.
#[allow(unsafe_code, clippy::cast_possible_wrap)]
fn take_network_lock(socket: &UdpSocket) {
    // SAFETY: `ifreq` is plain data for which zeros are valid, and both requests
    // read and write no more than one.
    unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
            *to = *from as libc::c_char;
        }
        let socket = socket.as_raw_fd();
        let got = libc::ioctl(socket, libc::SIOCGIFMTU, &raw mut request);
        let set = libc::ioctl(socket, libc::SIOCSIFMTU, &raw mut request);
        assert_eq!((got, set), (0, 0), "{}", std::io::Error::last_os_error());
    }
}

/// All standstills that ended between `from` and now, of the processor or of
/// what is done to interfaces and addresses: what takes several steps may wait
/// several times.
pub fn since(from: Instant) -> Duration {
    processor_since(from).max(NETWORK_LOCK.since(from))
}

/// The same, of the processor alone: of what needs nothing but that.
pub fn processor_since(from: Instant) -> Duration {
    PROCESSOR.since(from)
}
