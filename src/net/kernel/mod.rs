//! Netlink: address orders on a worker thread, interface states from another.
//!
//! The kernel can take seconds over a netlink request, so none is made on the
//! thread that sends advertisements. [`Netlink`] carries out orders and
//! answers each by an event; [`Monitor`] reports what interfaces look like.
//! Both threads live in the network namespace of the thread that started them.

mod monitor;
mod orders;
mod request;
mod snapshot;
pub(in crate::net) mod socket;

pub use monitor::Monitor;
pub use orders::Netlink;

use std::io;
use std::thread;

/// IFA_PROTO of every address that we add: how a later run tells ours from
/// others. The kernel itself uses 1 to 3; kernels before 5.18 skip the
/// attribute, as they do every unknown one, and report none.
pub const ADDRESS_PROTOCOL: u8 = 0x76;

/// Of both threads: nothing in them recurses, and locked memory is dear.
const STACK_BYTES: usize = 256 * 1024;

/// Starts a thread with ordinary scheduling, whatever its parent's is.
fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new()
        .name(name.to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || {
            leave_real_time();
            body();
        })
        .map(drop)
}

/// A real-time parent hands its policy down; a netlink worker must never
/// compete with the thread that sends advertisements.
fn leave_real_time() {
    let ordinary = libc::sched_param { sched_priority: 0 };
    // SAFETY: the structure is initialised and outlives the call; pid 0 is
    // the calling thread.
    let outcome = unsafe { libc::sched_setscheduler(0, libc::SCHED_OTHER, &ordinary) };
    if outcome != 0 {
        let error = io::Error::last_os_error();
        tracing::warn!("a netlink thread keeps its parent's scheduling: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_of_a_real_time_parent_is_ordinary() {
        let (tell, told) = std::sync::mpsc::channel();
        let parent = thread::spawn(move || {
            let fifo = libc::sched_param { sched_priority: 1 };
            // SAFETY: as above.
            if unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &fifo) } != 0 {
                println!("skipped: real-time scheduling is not permitted here");
                return;
            }
            spawn("ordinary", move || {
                // SAFETY: no memory is passed.
                let _ = tell.send(unsafe { libc::sched_getscheduler(0) });
            })
            .unwrap();
            assert_eq!(told.recv().unwrap(), libc::SCHED_OTHER);
        });
        parent.join().unwrap();
    }
}
