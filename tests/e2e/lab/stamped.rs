//! What arrives at a socket, with the moment at which it reached the kernel:
//! whoever reads it late, because the machine was busy, is not misled.

use std::io::IoSliceMut;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant, SystemTime};

use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrLike, SockaddrStorage, recvmsg, setsockopt, sockopt,
};
use socket2::Socket;

pub struct Stamped {
    pub length: usize,
    /// Of the interface, from a packet socket.
    #[allow(dead_code, reason = "read by those with packet sockets")]
    pub index: Option<usize>,
    pub at: Instant,
}

/// From now on what arrives is stamped.
pub fn want(socket: &Socket) {
    setsockopt(socket, sockopt::ReceiveTimestampns, &true).expect("timestamps");
}

/// The next one, as the socket is set to wait. None if there was none in time,
/// or none with a stamp.
pub fn receive(socket: &Socket, bytes: &mut [u8]) -> Option<Stamped> {
    let mut control = nix::cmsg_space!(nix::sys::time::TimeSpec);
    let mut buffers = [IoSliceMut::new(bytes)];
    let message = recvmsg::<SockaddrStorage>(
        socket.as_raw_fd(),
        &mut buffers,
        Some(&mut control),
        MsgFlags::empty(),
    )
    .ok()?;
    let stamp = message.cmsgs().ok()?.find_map(|one| match one {
        ControlMessageOwned::ScmTimestampns(time) => Some(Duration::from(time)),
        _ => None,
    })?;
    let link = message.address.filter(|address| address.len() > 0);
    let index = link.and_then(|address| Some(address.as_link_addr()?.ifindex()));
    Some(Stamped {
        length: message.bytes,
        index,
        at: on_our_clock(stamp),
    })
}

/// The kernel stamps by the wall clock; everything else here is monotonic.
fn on_our_clock(stamp: Duration) -> Instant {
    let now = Instant::now();
    let age = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH + stamp);
    now.checked_sub(age.unwrap_or_default()).unwrap_or(now)
}
