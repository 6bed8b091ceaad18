//! One interface and the ways that leave this host, asked for by whoever
//! examines it: one question at a time, nothing is changed.

use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use netlink_packet_core::NlasIterator;
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkHeader, LinkMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::errno::Errno;
use nix::net::if_::if_indextoname;

use super::snapshot::Reader;
use super::socket::{Refusal, RouteError, RouteSocket};
use crate::agent::event::InterfaceState;
use crate::agent::values::InterfaceName;

/// For one answer of the kernel.
const PATIENCE: Duration = Duration::from_secs(2);
/// Where in a routing message its type stands, and how long its header is
/// (linux/rtnetlink.h, rtmsg).
const TYPE_OFFSET: usize = 7;
const ROUTE_HEADER_BYTES: usize = 12;

/// An interface as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspected {
    pub state: InterfaceState,
    /// An administrator set it up.
    pub enabled: bool,
    pub carrier: bool,
    /// It can carry multicast.
    pub multicast: bool,
}

/// What the kernel would do with a packet that leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    pub interface: InterfaceName,
    /// The address is one of this host's own.
    pub local: bool,
}

/// Asks over sockets of its own, in the network namespace of the thread that
/// opened it.
pub struct Inspector {
    reader: Reader,
    socket: RouteSocket,
}

impl Inspector {
    pub fn open() -> io::Result<Self> {
        let mut reader = Reader::open()?;
        // Without its gateways an interface is still worth a look.
        let _ = reader.read_gateways(Instant::now());
        let socket = RouteSocket::open()?;
        Ok(Self { reader, socket })
    }

    /// `None`: there is no such interface.
    ///
    /// # Errors
    ///
    /// In words; the kernel would not tell.
    pub fn interface(&mut self, name: InterfaceName) -> Result<Option<Inspected>, String> {
        let words = |error: RouteError| format!("{name} could not be read: {error}");
        let Some(flags) = self.flags(name).map_err(words)? else {
            return Ok(None);
        };
        let snapshot = self.reader.read(name).map_err(words)?;
        Ok(snapshot.state.map(|state| Inspected {
            state,
            enabled: flags.contains(LinkFlags::Up),
            carrier: flags.contains(LinkFlags::LowerUp | LinkFlags::Running),
            multicast: flags.contains(LinkFlags::Multicast),
        }))
    }

    fn flags(&mut self, name: InterfaceName) -> Result<Option<LinkFlags>, RouteError> {
        let mut question = LinkMessage::default();
        question.attributes = vec![LinkAttribute::IfName(name.as_str().to_owned())];
        let question = RouteNetlinkMessage::GetLink(question);
        let mut flags = None;
        let mut each = |kind, payload: &[u8]| {
            if kind == libc::RTM_NEWLINK {
                flags = LinkHeader::parse(payload).ok().map(|header| header.flags);
            }
        };
        let deadline = Instant::now() + PATIENCE;
        match self.socket.ask(question, 0, deadline, &mut each) {
            Ok(_) => Ok(flags),
            Err(RouteError::Refused(Refusal {
                errno: Errno::ENODEV,
                ..
            })) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// By which interface a packet to `target` leaves; `None`: by none.
    ///
    /// # Errors
    ///
    /// In words; the kernel would not tell.
    pub fn way_to(&mut self, target: IpAddr) -> Result<Option<Way>, String> {
        let mut found = None;
        let mut each = |kind, payload: &[u8]| {
            if kind == libc::RTM_NEWROUTE {
                found = way(payload);
            }
        };
        let deadline = Instant::now() + PATIENCE;
        match self.socket.ask(question(target), 0, deadline, &mut each) {
            Ok(_) => Ok(found),
            Err(RouteError::Refused(_)) => Ok(None),
            Err(error) => Err(format!(
                "the way to {target} could not be asked for: {error}"
            )),
        }
    }
}

fn question(target: IpAddr) -> RouteNetlinkMessage {
    let (family, length, address) = match target {
        IpAddr::V4(address) => (AddressFamily::Inet, 32, RouteAddress::Inet(address)),
        IpAddr::V6(address) => (AddressFamily::Inet6, 128, RouteAddress::Inet6(address)),
    };
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: family,
        destination_prefix_length: length,
        ..RouteHeader::default()
    };
    message.attributes = vec![RouteAttribute::Destination(address)];
    RouteNetlinkMessage::GetRoute(message)
}

fn way(payload: &[u8]) -> Option<Way> {
    let attributes = NlasIterator::new(payload.get(ROUTE_HEADER_BYTES..)?);
    let mut attributes = attributes.map_while(Result::ok);
    let index = attributes.find(|attribute| attribute.kind() == libc::RTA_OIF)?;
    let index = u32::from_ne_bytes(index.value().try_into().ok()?);
    let name = if_indextoname(index).ok()?;
    Some(Way {
        interface: name.to_str().ok()?.parse().ok()?,
        local: payload.get(TYPE_OFFSET) == Some(&u8::from(RouteType::Local)),
    })
}
