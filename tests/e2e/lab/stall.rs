//! Did the machine itself stand still? A thread that wants to run every few
//! milliseconds notes when it could not. Upper bounds are judged with it: a
//! busy machine is no fault of the agent's.

use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_millis(5);
/// Shorter ones are ordinary.
const NOTED: Duration = Duration::from_millis(15);

/// When a stall ended and how long it was.
static STALLS: Mutex<Vec<(Instant, Duration)>> = Mutex::new(Vec::new());

pub fn start_meter() {
    thread::spawn(|| {
        let mut last = Instant::now();
        loop {
            thread::sleep(TICK);
            let now = Instant::now();
            let late = now.duration_since(last).saturating_sub(TICK);
            if late > NOTED {
                stalls().push((now, late));
            }
            last = now;
        }
    });
}

fn stalls() -> std::sync::MutexGuard<'static, Vec<(Instant, Duration)>> {
    STALLS
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// The longest standstill that ended between `from` and now.
pub fn worst_since(from: Instant) -> Duration {
    stalls()
        .iter()
        .filter(|(ended, _)| *ended >= from)
        .map(|(_, late)| *late)
        .max()
        .unwrap_or_default()
}
