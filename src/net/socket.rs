//! What the sockets of this room have in common: the error that says why one
//! could not be opened, and the calls that the libraries lack.

use std::fmt;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd};

use socket2::{SockAddr, SockAddrStorage, Socket};

use crate::agent::values::InterfaceName;

/// Why a socket could not be opened. Nothing of it is left behind.
#[derive(Debug)]
pub struct SocketError {
    /// `None`: the socket serves all interfaces.
    interface: Option<InterfaceName>,
    /// What it would have been for, as in "cannot ...".
    purpose: &'static str,
    /// What was being done, in the kernel's terms.
    step: &'static str,
    error: io::Error,
}

impl SocketError {
    pub fn io_error(&self) -> &io::Error {
        &self.error
    }
}

impl fmt::Display for SocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(interface) = self.interface {
            write!(f, "{interface}: ")?;
        }
        write!(f, "cannot {}: ", self.purpose)?;
        match self.error.kind() {
            io::ErrorKind::PermissionDenied => f.write_str(
                "the capability CAP_NET_RAW is missing; run the agent as root or grant it that capability",
            ),
            _ => write!(f, "{}: {}", self.step, self.error),
        }
    }
}

impl std::error::Error for SocketError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

/// Names the step that failed.
pub(super) struct Opening {
    pub(super) interface: Option<InterfaceName>,
    pub(super) purpose: &'static str,
}

impl Opening {
    pub(super) fn step<T, E: Into<io::Error>>(
        &self,
        step: &'static str,
        outcome: Result<T, E>,
    ) -> Result<T, SocketError> {
        outcome.map_err(|error| SocketError {
            interface: self.interface,
            purpose: self.purpose,
            step,
            error: error.into(),
        })
    }
}

/// Interface indices are unsigned in some of the kernel's structures and
/// signed in others; real ones are small and positive.
pub(super) fn signed_index(index: u32) -> io::Result<i32> {
    i32::try_from(index).map_err(|_| invalid("no interface has such an index"))
}

pub(super) fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

/// Confines a socket to the interface with this index, whatever name that
/// interface has by now.
pub(super) fn bind_to_index(socket: &Socket, index: u32) -> io::Result<()> {
    let value = signed_index(index)?;
    set_option(socket, libc::SOL_SOCKET, libc::SO_BINDTOIFINDEX, &value)?;
    // The option accepts any number; asking for the name does not. Asked
    // afterwards, so that an interface deleted meanwhile cannot slip through.
    socket.device().map(drop)
}

/// setsockopt(2) for an option that neither socket2 nor nix has. `T` is the
/// C type of the option's value.
pub(super) fn set_option<T: Copy>(
    socket: &Socket,
    level: i32,
    name: i32,
    value: &T,
) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of::<T>())
        .map_err(|_| invalid("a socket option of that size"))?;
    // SAFETY: the pointer and the length describe `value`, which outlives the
    // call; the kernel only reads it.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            name,
            std::ptr::from_ref(value).cast(),
            length,
        )
    };
    match outcome {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The address of a packet socket: an interface and an Ethernet type, given
/// as the two bytes that stand in the frame.
pub(super) fn link_address(index: u32, ethertype: [u8; 2]) -> io::Result<SockAddr> {
    let index = signed_index(index)?;
    let family = libc::sa_family_t::try_from(libc::AF_PACKET)
        .map_err(|_| invalid("no packet sockets on this platform"))?;
    let length = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>())
        .map_err(|_| invalid("no packet sockets on this platform"))?;
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: `sockaddr_ll` is one of the address types that the storage is
    // made to hold, and all zeros is a valid one.
    let link = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    link.sll_family = family;
    link.sll_protocol = u16::from_ne_bytes(ethertype);
    link.sll_ifindex = index;
    // SAFETY: the storage holds an initialised `sockaddr_ll`, and `length` is
    // its size.
    Ok(unsafe { SockAddr::new(storage, length) })
}

/// Throws away what arrived before the socket was bound and filtered, which
/// may have come from anywhere. More than the bound cannot have arrived in
/// that moment; were it so, the rest would be judged like any packet.
pub(super) fn discard_early_arrivals(socket: &Socket) {
    const ARRIVALS_MAX: usize = 1024;
    let mut byte = [0];
    for _ in 0..ARRIVALS_MAX {
        let outcome = (&*socket).read(&mut byte);
        if outcome.is_err() {
            break;
        }
    }
}

/// One packet into `buffer`; `None` when nothing waits. An interface that
/// went down is nothing to read either: its state is told by other means.
pub(super) fn read_packet<'b>(
    socket: &Socket,
    buffer: &'b mut [u8],
) -> io::Result<Option<&'b [u8]>> {
    match (&*socket).read(buffer) {
        Ok(length) => Ok(buffer.get(..length)),
        Err(error) if is_nothing(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) fn is_nothing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted | io::ErrorKind::NetworkDown
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(errno: i32) -> String {
        let opening = Opening {
            interface: "eth0".parse().ok(),
            purpose: "hear VRRP over IPv4",
        };
        let failure: io::Result<()> = Err(io::Error::from_raw_os_error(errno));
        let outcome = opening.step("join the group", failure);
        outcome.expect_err("it failed").to_string()
    }

    #[test]
    fn a_missing_right_is_named() {
        assert_eq!(
            error(libc::EPERM),
            "eth0: cannot hear VRRP over IPv4: the capability CAP_NET_RAW is missing; \
             run the agent as root or grant it that capability"
        );
    }

    #[test]
    fn other_errors_say_where() {
        assert_eq!(
            error(libc::ENODEV),
            "eth0: cannot hear VRRP over IPv4: join the group: No such device (os error 19)"
        );
    }
}
