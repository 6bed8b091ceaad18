//! Netlink: orders about addresses, routes and rules on a worker thread, renewals of their leases on
//! another, interface states from a third.
//!
//! The kernel can take seconds over a netlink request, so none is made on the
//! thread that sends advertisements. [`Netlink`] carries out orders and
//! answers each by an event; [`Renewals`] does so for leases, which cannot wait
//! behind other orders; [`Monitor`] reports what interfaces look like.
//! The threads live in the network namespace of the thread that started them.

mod batch;
mod gateways;
mod guard;
mod host;
mod indexes;
mod inspect;
mod linger;
mod links;
mod monitor;
mod nft;
mod orders;
mod promotion;
mod reachable;
mod refreshes;
mod renewals;
mod request;
mod routing;
mod routing_read;
mod routing_watch;
mod snapshot;
pub(in crate::net) mod socket;
mod worker;

pub use host::{Cleaner, HostAddress, Survey};
pub use inspect::{Inspected, Inspector, Way};
pub use links::LINK_GROUP;
pub use monitor::Monitor;
pub use orders::{Keep, Netlink};
pub use renewals::Renewals;

use std::io;
use std::thread;

/// IFA_PROTO of every address that we add: how a later run tells ours from
/// others. The kernel itself uses 1 to 3; kernels before 5.18 skip the
/// attribute, as they do every unknown one, and report none.
pub const ADDRESS_PROTOCOL: u8 = 0x76;

/// The protocol (RTPROT, FRA_PROTOCOL) of every route and rule that we add.
/// Below 4 the kernel speaks; 4 to 18, 42, 80, 84 and 186 to 198 are in use by
/// routing programs; this one is nobody's in their lists.
pub const ROUTING_PROTOCOL: u8 = 0x76;

/// Of every thread here: nothing in them recurses, and locked memory is dear.
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

/// The same with real-time scheduling where that is permitted, one step below
/// the thread that sends advertisements; where it is not, that one says so.
fn spawn_in_time(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    spawn(name, || {
        let _ = super::rights::raise_priority_below();
        body();
    })
}

/// A real-time parent hands its policy down; no thread here may compete with
/// the one that sends advertisements.
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
