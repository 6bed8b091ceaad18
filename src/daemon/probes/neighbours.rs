//! Whether a neighbour answers on an interface: ARP, or neighbour discovery.
//! The kernel's own table is not asked: it remembers those that are gone.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::net::if_::if_nametoindex;
use tokio::io::Interest;
use tokio::time::{Instant, timeout_at};

use super::outcome::{Doing, Trouble, own_shortage};
use crate::agent::values::{Family, InterfaceName, MacAddress};
use crate::net::announce_socket::AnnounceSocket;
use crate::net::announcement_watch::AnnouncementWatch;
use crate::net::socket::SocketError;
use crate::wire::announcement::{BROADCAST, arp_probe, arp_request, neighbour_solicitation};

/// Questions within one time-out, equally far apart.
pub(super) const QUESTIONS: u32 = 3;
/// More than an ARP message or a neighbour advertisement has.
const PACKET_BYTES: usize = 512;

/// In words who answered.
pub(super) async fn probe(
    target: IpAddr,
    interface: InterfaceName,
    (deadline, timeout): (Instant, Duration),
    doing: &Doing,
) -> Result<String, Trouble> {
    doing.now(format!(
        "while waiting for an answer of {target} on {interface}"
    ));
    let index = if_nametoindex(interface.as_str())
        .map_err(|_| Trouble::Failed(format!("the interface {interface} does not exist")))?;
    let own = Own::of(interface)?;
    if own.addresses.iter().any(|(address, _)| *address == target) {
        let why = format!("{target} is an address of this host, which does not answer itself");
        return Err(Trouble::Failed(why));
    }
    let question = own.question(target, interface)?;
    let watch = AnnouncementWatch::open(interface, index, Family::of(target)).map_err(unopened)?;
    let sender = AnnounceSocket::open().map_err(unopened)?;
    let ready = readiness(&watch)?;
    let mut buffer = [0; PACKET_BYTES];
    let mut ask_at = Instant::now();
    loop {
        if ask_at <= Instant::now() {
            sender
                .send(index, &question)
                .map_err(|error| unsent(&error, interface))?;
            ask_at += timeout / QUESTIONS;
        }
        let until = ask_at.min(deadline);
        let heard = ready.async_io(Interest::READABLE, || {
            let claim = watch.recv(&mut buffer)?;
            claim.ok_or_else(|| io::ErrorKind::WouldBlock.into())
        });
        match timeout_at(until, heard).await {
            Ok(Ok(claim)) if claim.address == target => {
                return Ok(format!("{target} is at {}", claim.hardware_address));
            }
            // Somebody else's, or time for the next question.
            Ok(Ok(_)) => {}
            Err(_) => tokio::task::yield_now().await,
            Ok(Err(error)) => return Err(unsent(&error, interface)),
        }
    }
}

/// What tells when the watch is readable: its descriptor once more.
fn readiness(watch: &AnnouncementWatch) -> Result<tokio::net::UdpSocket, Trouble> {
    let again = watch.as_fd().try_clone_to_owned();
    let again = again.and_then(|fd| tokio::net::UdpSocket::from_std(UdpSocket::from(fd)));
    again.map_err(|error| {
        own_shortage(&error).unwrap_or_else(|| Trouble::NotRun(format!("no socket: {error}")))
    })
}

fn unopened(error: SocketError) -> Trouble {
    Trouble::NotRun(error.to_string())
}

fn unsent(error: &io::Error, interface: InterfaceName) -> Trouble {
    match error.kind() {
        io::ErrorKind::NetworkDown => Trouble::Failed(format!("the interface {interface} is down")),
        io::ErrorKind::WouldBlock => Trouble::NotRun(format!("the queue of {interface} is full")),
        _ => own_shortage(error)
            .unwrap_or_else(|| Trouble::Failed(format!("nothing leaves by {interface}: {error}"))),
    }
}

/// What an interface has.
struct Own {
    hardware: Option<MacAddress>,
    /// With their prefix lengths; the primary one first.
    addresses: Vec<(IpAddr, u8)>,
}

impl Own {
    fn of(interface: InterfaceName) -> Result<Self, Trouble> {
        let mut own = Self {
            hardware: None,
            addresses: Vec::new(),
        };
        let all = nix::ifaddrs::getifaddrs();
        let all = all.map_err(|error| Trouble::NotRun(format!("no list of addresses: {error}")))?;
        for entry in all.filter(|entry| entry.interface_name == interface.as_str()) {
            let Some(address) = entry.address else {
                continue;
            };
            if let Some(link) = address.as_link_addr() {
                own.hardware = link.addr().map(MacAddress).or(own.hardware);
            }
            let mask = entry.netmask;
            if let Some(v4) = address.as_sockaddr_in() {
                let mask = mask.as_ref().and_then(|mask| mask.as_sockaddr_in());
                let bits = mask.map_or(32, |mask| mask.ip().to_bits().count_ones());
                own.addresses.push((v4.ip().into(), narrow(bits)));
            } else if let Some(v6) = address.as_sockaddr_in6() {
                let mask = mask.as_ref().and_then(|mask| mask.as_sockaddr_in6());
                let bits = mask.map_or(128, |mask| mask.ip().to_bits().count_ones());
                own.addresses.push((v6.ip().into(), narrow(bits)));
            }
        }
        Ok(own)
    }

    /// The frame that asks for the target.
    fn question(&self, target: IpAddr, interface: InterfaceName) -> Result<Vec<u8>, Trouble> {
        let none = |what: &str| Trouble::Failed(format!("the interface {interface} has no {what}"));
        let sender = self.hardware.ok_or_else(|| none("hardware address"))?;
        Ok(match target {
            IpAddr::V4(target) => match self.source_ipv4(target) {
                Some(source) => arp_request(source, sender, target).to_vec(),
                None => arp_probe(target, sender, BROADCAST).to_vec(),
            },
            IpAddr::V6(target) => {
                let source = self.link_local();
                let source = source.ok_or_else(|| none("IPv6 link-local address"))?;
                neighbour_solicitation(source, sender, target).to_vec()
            }
        })
    }

    /// One in the target's subnet; without one, the question has no sender.
    fn source_ipv4(&self, target: Ipv4Addr) -> Option<Ipv4Addr> {
        let own = self.addresses.iter();
        let mut own = own.filter_map(|(address, bits)| match address {
            IpAddr::V4(address) => Some((*address, ipnet::Ipv4Net::new(*address, *bits).ok()?)),
            IpAddr::V6(_) => None,
        });
        own.find(|(_, subnet)| subnet.contains(&target))
            .map(|(address, _)| address)
    }

    fn link_local(&self) -> Option<Ipv6Addr> {
        let own = self.addresses.iter();
        let mut own = own.filter_map(|(address, _)| match address {
            IpAddr::V6(address) => Some(*address),
            IpAddr::V4(_) => None,
        });
        own.find(Ipv6Addr::is_unicast_link_local)
    }
}

fn narrow(bits: u32) -> u8 {
    u8::try_from(bits).unwrap_or(128)
}
