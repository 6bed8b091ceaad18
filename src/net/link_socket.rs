//! The UDP socket of the peer link, at one address of this host.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::sys::socket::{MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};

use super::socket::is_nothing;

/// Internetwork control, as TOS or traffic class.
const TRAFFIC_CLASS: u32 = 0xc0;
/// Room for some 200 datagrams of the greatest length while this process does
/// not run. What does not fit is dropped by the kernel, and told again.
const RECEIVE_BUFFER: usize = 1 << 19;

#[derive(Debug)]
pub struct LinkSocket {
    socket: Socket,
    address: SocketAddr,
}

/// Why the socket could not be opened. Nothing of it is left behind.
#[derive(Debug)]
pub struct LinkSocketError {
    address: SocketAddr,
    step: &'static str,
    error: io::Error,
}

impl fmt::Display for LinkSocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            address,
            step,
            error,
        } = self;
        write!(
            f,
            "no socket for the peer link at {address}: {step}: {error}"
        )?;
        match error.kind() {
            io::ErrorKind::AddrInUse => f.write_str("; another program has this port"),
            io::ErrorKind::PermissionDenied => f.write_str(
                "; a port below 1024 needs the capability CAP_NET_BIND_SERVICE: take a higher one",
            ),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for LinkSocketError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

/// What one look at the socket gave.
#[derive(Debug, PartialEq, Eq)]
pub enum Received<'b> {
    Nothing,
    Datagram(IpAddr, &'b [u8]),
    /// It was longer than the buffer.
    CutOff(IpAddr),
}

impl LinkSocket {
    /// The address need not be on the host yet, nor stay on it.
    pub fn open(address: SocketAddr) -> Result<Self, LinkSocketError> {
        let failed = |step: &'static str| {
            move |error: io::Error| LinkSocketError {
                address,
                step,
                error,
            }
        };
        let datagrams = Type::DGRAM.nonblocking();
        let domain = Domain::for_address(address);
        let socket = Socket::new(domain, datagrams, Some(Protocol::UDP));
        let socket = socket.map_err(failed("open a socket"))?;
        set_up(&socket, address).map_err(failed("set it up"))?;
        // Without CAP_NET_ADMIN the system's limit applies, silently.
        setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER)
            .map_err(io::Error::from)
            .or_else(|_| socket.set_recv_buffer_size(RECEIVE_BUFFER))
            .map_err(failed("set the receive buffer"))?;
        socket.bind(&address.into()).map_err(failed("bind"))?;
        Ok(Self { socket, address })
    }

    /// As given to [`LinkSocket::open`].
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next datagram. Errors of earlier sending may come out here.
    pub fn recv<'b>(&self, buffer: &'b mut [u8]) -> io::Result<Received<'b>> {
        let received = recv_from(&self.socket, buffer);
        let (length, source) = match received {
            Ok(received) => received,
            Err(error) if is_nothing(&error) => return Ok(Received::Nothing),
            Err(error) => return Err(error),
        };
        Ok(match buffer.get(..length) {
            Some(datagram) => Received::Datagram(source, datagram),
            None => Received::CutOff(source),
        })
    }

    /// Hands one datagram to the kernel. Never blocks; after an error nothing
    /// was sent.
    pub fn send(&self, datagram: &[u8], to: SocketAddr) -> io::Result<()> {
        let flags = libc::MSG_DONTWAIT;
        self.socket
            .send_to_with_flags(datagram, &to.into(), flags)
            .map(drop)
    }
}

impl AsFd for LinkSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn set_up(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    match address {
        SocketAddr::V4(_) => {
            socket.set_freebind_v4(true)?;
            socket.set_tos_v4(TRAFFIC_CLASS)
        }
        SocketAddr::V6(_) => {
            socket.set_only_v6(true)?;
            socket.set_freebind_v6(true)?;
            socket.set_tclass_v6(TRAFFIC_CLASS)
        }
    }
}

/// The datagram's whole length, which may be more than the buffer's, and who
/// sent it.
fn recv_from(socket: &Socket, buffer: &mut [u8]) -> io::Result<(usize, IpAddr)> {
    let mut parts = [io::IoSliceMut::new(buffer)];
    let received = recvmsg::<SockaddrStorage>(
        socket.as_raw_fd(),
        &mut parts,
        None,
        MsgFlags::MSG_TRUNC | MsgFlags::MSG_DONTWAIT,
    )?;
    let source = received.address.as_ref();
    let v4 = source.and_then(|from| Some(IpAddr::V4(from.as_sockaddr_in()?.ip())));
    let source = v4.or_else(|| {
        let from = source?.as_sockaddr_in6()?;
        Some(IpAddr::V6(from.ip()))
    });
    let unnamed = || io::Error::other("a datagram without a sender's address");
    Ok((received.bytes, source.ok_or_else(unnamed)?))
}
