//! A TCP connection to a host and port, and why there is none, in words.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::outcome::{Doing, Trouble, own_shortage};
use super::resolve::Resolver;
use crate::config::work::probe::{Host, HostPort};

/// Addresses of one name that are tried; the others are not.
const ADDRESSES_MAX: usize = 8;

/// Tries the addresses in the resolver's order, and takes the first that
/// accepts. One that stays silent has its share of the time until `deadline`,
/// so that the next has one too.
pub(super) async fn connect(
    resolver: &Resolver,
    target: &HostPort,
    deadline: Instant,
    doing: &Doing,
) -> Result<TcpStream, Trouble> {
    let mut addresses = match &target.host {
        Host::Address(address) => vec![*address],
        Host::Name(name) => resolver.addresses(name, doing).await?,
    };
    addresses.truncate(ADDRESSES_MAX);
    let mut complaints = Vec::new();
    let mut left = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
    for address in addresses {
        let address = SocketAddr::new(address, target.port);
        doing.now(format!("while connecting to {address}"));
        let now = Instant::now();
        let share = deadline.saturating_duration_since(now) / left.max(1);
        // The last one waits for the deadline itself, which others watch.
        let until = if left <= 1 { None } else { Some(now + share) };
        left = left.saturating_sub(1);
        match attempt(address, until).await {
            Ok(stream) => return Ok(stream),
            Err(error) => {
                if let Some(shortage) = own_shortage(&error) {
                    return Err(shortage);
                }
                complaints.push(refusal(&error, address));
            }
        }
    }
    Err(Trouble::Failed(complaints.join(", ")))
}

async fn attempt(address: SocketAddr, until: Option<Instant>) -> io::Result<TcpStream> {
    let stream = match until {
        None => TcpStream::connect(address).await?,
        Some(until) => match timeout_at(until, TcpStream::connect(address)).await {
            Ok(connected) => connected?,
            Err(_) => return Err(ErrorKind::TimedOut.into()),
        },
    };
    if meets_itself(&stream, address)? {
        return Err(ErrorKind::ConnectionRefused.into());
    }
    Ok(stream)
}

/// A connection to a port of this host that nobody listens on can meet itself,
/// when the kernel happens to choose that port as its source. The peer's address
/// is not asked of the socket: one that was reset meanwhile has none.
fn meets_itself(stream: &TcpStream, target: SocketAddr) -> io::Result<bool> {
    Ok(stream.local_addr()? == target)
}

fn refusal(error: &io::Error, address: SocketAddr) -> String {
    match error.kind() {
        ErrorKind::ConnectionRefused => format!("connection refused by {address}"),
        ErrorKind::ConnectionReset => format!("connection reset by {address}"),
        ErrorKind::TimedOut => format!("no answer from {address}"),
        ErrorKind::HostUnreachable => format!("host {} cannot be reached", address.ip()),
        ErrorKind::NetworkUnreachable => format!("there is no route to {}", address.ip()),
        ErrorKind::AddrNotAvailable => {
            format!("no address of this host, or no free port, to connect to {address} from")
        }
        ErrorKind::PermissionDenied => {
            format!("connecting to {address} is forbidden on this host, by a firewall or a policy")
        }
        _ => format!("cannot connect to {address}: {error}"),
    }
}

/// What went wrong on a connection that was open.
pub(super) fn breakage(error: &io::Error, target: &HostPort) -> String {
    match error.kind() {
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
            format!("{target} reset the connection")
        }
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionAborted => {
            format!("{target} closed the connection early")
        }
        _ => format!("the connection to {target} broke: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_to_itself_is_told_apart() {
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        let any = "127.0.0.1:0".parse().expect("an address");
        socket.bind(any).expect("a port");
        let own = socket.local_addr().expect("its number");
        let stream = socket.connect(own).await.expect("the kernel allows it");
        assert!(meets_itself(&stream, own).expect("its address"));

        let listener = tokio::net::TcpListener::bind(any).await.expect("a port");
        let other = listener.local_addr().expect("its number");
        let stream = TcpStream::connect(other).await.expect("it listens");
        assert!(!meets_itself(&stream, other).expect("its address"));
    }

    #[tokio::test]
    async fn the_time_is_shared_among_the_addresses_of_a_name() {
        let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
        // A full backlog: the kernel answers no further SYN.
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket.bind(any).expect("a port");
        let listener = socket.listen(0).expect("to listen");
        let address = listener.local_addr().expect("its number");
        let _first = TcpStream::connect(address).await.expect("room for one");
        let until = Instant::now() + std::time::Duration::from_millis(200);
        let error = attempt(address, Some(until)).await.expect_err("silence");
        assert_eq!(
            refusal(&error, address),
            format!("no answer from {address}")
        );
        assert!(Instant::now() >= until);
    }
}
