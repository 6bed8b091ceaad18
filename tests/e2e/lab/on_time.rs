//! Instruments that are to tell milliseconds on a busy machine: with real-time
//! scheduling for their own threads alone, where a benchmark asks for it. What
//! is measured is started by other threads, and has its own scheduling.

use std::sync::atomic::{AtomicBool, Ordering};

static WANTED: AtomicBool = AtomicBool::new(false);

/// From now on instruments are started so.
#[allow(dead_code, reason = "asked for by the benchmark")]
pub fn want() {
    WANTED.store(true, Ordering::Relaxed);
}

/// At the start of an instrument's thread. Without the right to it the thread
/// is an ordinary one, and the noise floor tells.
pub fn keep() {
    if WANTED.load(Ordering::Relaxed) {
        let _ = vipward::net::rights::raise_priority();
    }
}
