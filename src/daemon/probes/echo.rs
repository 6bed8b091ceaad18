//! Whether a host answers `ping`.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

use super::neighbours::QUESTIONS;
use super::outcome::{Doing, Trouble, own_shortage};
use super::resolve::Resolver;
use crate::agent::values::{Family, InterfaceName};
use crate::config::work::probe::Host;
use crate::net::echo_socket;
use crate::wire::echo::{Token, echo_request, is_echo_reply};

/// More than a reply has; the rest is not looked at.
const PACKET_BYTES: usize = 512;

/// In words who answered. Of a name, its first address is asked.
pub(super) async fn probe(
    resolver: &Resolver,
    (target, interface): (&Host, Option<InterfaceName>),
    (deadline, timeout): (Instant, Duration),
    doing: &Doing,
) -> Result<String, Trouble> {
    let target = match target {
        Host::Address(address) => *address,
        Host::Name(name) => {
            let addresses = resolver.addresses(name, doing).await?;
            let first = addresses.first().copied();
            first.ok_or_else(|| Trouble::Failed(format!("the name `{name}` has no address")))?
        }
    };
    doing.now(format!("while waiting for an echo of {target}"));
    let socket =
        echo_socket::open(target, interface).map_err(|error| match error.io_error().kind() {
            io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => {
                Trouble::Failed(format!("there is no route to {target}"))
            }
            io::ErrorKind::PermissionDenied => Trouble::NotRun(error.to_string()),
            _ => {
                own_shortage(error.io_error()).unwrap_or_else(|| Trouble::Failed(error.to_string()))
            }
        })?;
    let socket = UdpSocket::from_std(socket);
    let socket = socket.map_err(|error| Trouble::NotRun(format!("no socket: {error}")))?;
    let mut token = Token::default();
    getrandom::fill(&mut token)
        .map_err(|error| Trouble::NotRun(format!("no random numbers: {error}")))?;
    exchange(&socket, target, &token, (deadline, timeout)).await?;
    Ok(format!("{target} answers"))
}

async fn exchange(
    socket: &UdpSocket,
    target: IpAddr,
    token: &Token,
    (deadline, timeout): (Instant, Duration),
) -> Result<(), Trouble> {
    let family = Family::of(target);
    let mut buffer = [0; PACKET_BYTES];
    let mut sequence = 0;
    let mut ask_at = Instant::now();
    loop {
        if ask_at <= Instant::now() {
            let request = echo_request(family, sequence, token);
            let sent = socket.send(&request).await;
            sent.map_err(|error| refusal(&error, target))?;
            sequence = sequence.wrapping_add(1);
            ask_at += timeout / QUESTIONS;
        }
        match timeout_at(ask_at.min(deadline), socket.recv(&mut buffer)).await {
            Ok(Ok(length)) => {
                let packet = buffer.get(..length).unwrap_or_default();
                if is_echo_reply(family, packet, token) {
                    return Ok(());
                }
            }
            Ok(Err(error)) => return Err(refusal(&error, target)),
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

fn refusal(error: &io::Error, target: IpAddr) -> Trouble {
    let why = match error.kind() {
        io::ErrorKind::HostUnreachable => format!("host {target} cannot be reached"),
        io::ErrorKind::NetworkUnreachable => format!("there is no route to {target}"),
        io::ErrorKind::PermissionDenied => {
            format!("a ping to {target} is forbidden on this host, by a firewall or a policy")
        }
        _ => {
            return own_shortage(error).unwrap_or_else(|| {
                Trouble::Failed(format!("{target} cannot be asked for an echo: {error}"))
            });
        }
    };
    Trouble::Failed(why)
}
