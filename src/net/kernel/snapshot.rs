//! The present state of one interface, asked for as a whole.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_DUMP, NlasIterator, Parseable};
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeader, AddressMessage, AddressProtocol,
};
use netlink_packet_route::link::{
    LinkAttribute, LinkExtentMask, LinkFlags, LinkHeader, LinkLayerType, LinkMessage,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::errno::Errno;

use super::ADDRESS_PROTOCOL;
use super::gateways::Gateways;
use super::request::read_setting;
use super::socket::{Refusal, RouteError, RouteSocket};
use crate::agent::event::{InterfaceAddress, InterfaceState};
use crate::agent::values::{InterfaceName, MacAddress};
use crate::net::manager::Managers;

/// For one answer of the kernel.
const PATIENCE: Duration = Duration::from_secs(10);

/// Between two looks at who configures an interface.
const MANAGER_GAP: Duration = Duration::from_secs(1);

/// Interfaces whose manager is remembered; beyond, all are looked up again.
const MANAGERS_MAX: usize = 4_096;

/// How often a disturbed or overtaken reading is repeated at once.
const ATTEMPTS: usize = 3;

pub(super) const ADDRESS_HEADER_BYTES: usize = 8;
pub(super) const LINK_HEADER_BYTES: usize = 16;

/// What was read.
pub(super) struct Snapshot {
    /// `None`: there is no such interface.
    pub state: Option<InterfaceState>,
    /// False when addresses changed during the reading, every time: read again.
    pub settled: bool,
}

/// Reads interfaces over a socket of its own, which it opens again after a
/// failure.
pub(super) struct Reader {
    socket: Option<RouteSocket>,
    managers: KnownManagers,
    pub gateways: Gateways,
}

/// Who configures an interface changes seldom, and finding out costs a dozen
/// system calls, so it is found out once in a while only.
#[derive(Default)]
struct KnownManagers {
    managers: Managers,
    known: BTreeMap<InterfaceName, (Instant, u32, Option<&'static str>)>,
}

impl KnownManagers {
    fn of(&mut self, interface: InterfaceName, index: u32, now: Instant) -> Option<&'static str> {
        if let Some((at, of, manager)) = self.known.get(&interface)
            && *of == index
            && now.saturating_duration_since(*at) < MANAGER_GAP
        {
            return *manager;
        }
        let manager = self.managers.of(interface, index);
        if self.known.len() >= MANAGERS_MAX {
            self.known.clear();
        }
        self.known.insert(interface, (now, index, manager));
        manager
    }
}

/// What RTM_GETLINK tells.
struct Link {
    /// The kernel's own; the interface may have been asked for by another.
    name: String,
    index: u32,
    up: bool,
    hardware_address: Option<MacAddress>,
    mtu: u32,
}

impl Reader {
    pub fn open() -> io::Result<Self> {
        let socket = Some(RouteSocket::open()?);
        let managers = KnownManagers::default();
        let gateways = Gateways::new();
        Ok(Self {
            socket,
            managers,
            gateways,
        })
    }

    /// Errors: the state is unknown; the next call opens a new socket.
    pub fn read(&mut self, interface: InterfaceName) -> Result<Snapshot, RouteError> {
        let mut socket = match self.socket.take() {
            Some(socket) => socket,
            None => RouteSocket::open()?,
        };
        let mut snapshot = read(&mut socket, &mut self.managers, interface)?;
        self.socket = Some(socket);
        if let Some(state) = &mut snapshot.state {
            state.gateways = self.gateways.of(state.index);
        }
        Ok(snapshot)
    }

    /// Reads the default routes of the host.
    pub fn read_gateways(&mut self, now: Instant) -> Result<(), RouteError> {
        let mut socket = match self.socket.take() {
            Some(socket) => socket,
            None => RouteSocket::open()?,
        };
        self.gateways.read(&mut socket, now)?;
        self.socket = Some(socket);
        Ok(())
    }
}

fn read(
    socket: &mut RouteSocket,
    managers: &mut KnownManagers,
    interface: InterfaceName,
) -> Result<Snapshot, RouteError> {
    let mut latest = None;
    for _ in 0..ATTEMPTS {
        let Some(link) = link(socket, interface)? else {
            return Ok(Snapshot {
                state: None,
                settled: true,
            });
        };
        let Some((addresses, settled)) = addresses(socket, link.index)? else {
            // The interface went away between the two questions.
            continue;
        };
        let forwards_ipv6 =
            read_setting("ipv6", &link.name, "forwarding").is_some_and(|value| value != "0");
        let state = InterfaceState {
            gateways: Vec::new(),
            index: link.index,
            up: link.up,
            hardware_address: link.hardware_address,
            mtu: link.mtu,
            forwards_ipv6,
            manager: managers.of(interface, link.index, Instant::now()),
            addresses,
        };
        if settled {
            return Ok(Snapshot {
                state: Some(state),
                settled,
            });
        }
        latest = Some(state);
    }
    Ok(Snapshot {
        state: latest,
        settled: false,
    })
}

fn link(socket: &mut RouteSocket, interface: InterfaceName) -> Result<Option<Link>, RouteError> {
    let mut question = LinkMessage::default();
    question.attributes = vec![
        LinkAttribute::IfName(interface.as_str().to_owned()),
        LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]),
    ];
    let question = RouteNetlinkMessage::GetLink(question);
    let mut found = None;
    let deadline = Instant::now() + PATIENCE;
    let asked = socket.ask(question, 0, deadline, &mut |kind, payload| {
        if kind == libc::RTM_NEWLINK {
            found = parse_link(payload);
        }
    });
    match asked {
        Ok(_) => found.map(Some).ok_or_else(|| {
            io::Error::other(format!(
                "the kernel's description of {interface} is unreadable"
            ))
            .into()
        }),
        Err(RouteError::Refused(Refusal {
            errno: Errno::ENODEV,
            ..
        })) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Takes only the attributes that we need: an unknown form of another must
/// not hide an interface from us.
fn parse_link(payload: &[u8]) -> Option<Link> {
    let header = LinkHeader::parse(payload).ok()?;
    // Up by the administrator, carrier below, and operational by RFC 2863
    // (802.1X or a bond may hold an interface dormant although it has carrier).
    let up = LinkFlags::Up | LinkFlags::LowerUp | LinkFlags::Running;
    let mut link = Link {
        name: String::new(),
        index: header.index,
        up: header.flags.contains(up),
        hardware_address: None,
        mtu: 0,
    };
    for attribute in NlasIterator::new(payload.get(LINK_HEADER_BYTES..)?) {
        let attribute = attribute.ok()?;
        let value = attribute.value();
        match attribute.kind() {
            libc::IFLA_IFNAME => link.name = parse_name(value)?.to_owned(),
            libc::IFLA_MTU => link.mtu = u32::from_ne_bytes(value.try_into().ok()?),
            libc::IFLA_ADDRESS if header.link_layer_type == LinkLayerType::Ether => {
                link.hardware_address = value.try_into().ok().map(MacAddress);
            }
            _ => {}
        }
    }
    Some(link)
}

/// Without the closing zero.
pub(super) fn parse_name(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(value.strip_suffix(&[0]).unwrap_or(value)).ok()
}

/// Both families, in the kernel's order, and whether no change disturbed the
/// reading. `None`: there is no interface of this index.
fn addresses(
    socket: &mut RouteSocket,
    index: u32,
) -> Result<Option<(Vec<InterfaceAddress>, bool)>, RouteError> {
    let mut addresses = Vec::new();
    let mut settled = true;
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut question = AddressMessage::default();
        question.header.family = family;
        // Filters on kernels since 4.20; we filter ourselves for the others.
        question.header.index = index;
        let question = RouteNetlinkMessage::GetAddress(question);
        let deadline = Instant::now() + PATIENCE;
        let asked = socket.ask(question, NLM_F_DUMP, deadline, &mut |kind, payload| {
            if kind == libc::RTM_NEWADDR {
                addresses.extend(parse_address(payload, family, index));
            }
        });
        match asked {
            Ok(undisturbed) => settled &= undisturbed,
            Err(RouteError::Refused(Refusal {
                errno: Errno::ENODEV,
                ..
            })) => return Ok(None),
            // A kernel without IPv6 has no addresses of it.
            Err(RouteError::Refused(Refusal {
                errno: Errno::EOPNOTSUPP | Errno::EAFNOSUPPORT,
                ..
            })) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Some((addresses, settled)))
}

fn parse_address(payload: &[u8], family: AddressFamily, index: u32) -> Option<InterfaceAddress> {
    let (found_on, address, _) = parse_host_address(payload, family)?;
    (found_on == index).then_some(address)
}

/// The interface's index, the address, and whether the kernel says who added
/// it.
pub(super) fn parse_host_address(
    payload: &[u8],
    family: AddressFamily,
) -> Option<(u32, InterfaceAddress, bool)> {
    let header = AddressHeader::parse(payload).ok()?;
    // Without IPv6 the kernel answers a question for it with everything it has.
    if header.family != family {
        return None;
    }
    let mut flags = AddressFlags::from_bits_retain(u32::from(header.flags.bits()));
    let mut local = None;
    let mut address = None;
    let mut protocol = None;
    for attribute in NlasIterator::new(payload.get(ADDRESS_HEADER_BYTES..)?) {
        match AddressAttribute::parse(&attribute.ok()?).ok()? {
            AddressAttribute::Local(value) => local = Some(value),
            AddressAttribute::Address(value) => address = Some(value),
            AddressAttribute::Flags(value) => flags = value,
            AddressAttribute::Protocol(value) => protocol = Some(value),
            _ => {}
        }
    }
    // On a point-to-point interface IFA_ADDRESS is the other end's.
    let address: IpAddr = local.or(address)?;
    let found = InterfaceAddress {
        network: IpNet::new(address, header.prefix_len).ok()?,
        // In IPv6 the same bit marks a temporary address.
        secondary: address.is_ipv4() && flags.contains(AddressFlags::Secondary),
        tentative: address.is_ipv6() && is_tentative(flags),
        ours: protocol == Some(AddressProtocol::Other(ADDRESS_PROTOCOL)),
    };
    Some((header.index, found, protocol.is_some()))
}

/// An optimistic address is tentative and usable all the same (RFC 4429).
fn is_tentative(flags: AddressFlags) -> bool {
    flags.contains(AddressFlags::Dadfailed)
        || (flags.contains(AddressFlags::Tentative) && !flags.contains(AddressFlags::Optimistic))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manager_is_looked_up_again_after_a_while_and_for_a_new_interface() {
        let run = tempfile::tempdir().unwrap();
        let links = run.path().join("systemd/netif/links");
        std::fs::create_dir_all(&links).unwrap();
        let mut managers = KnownManagers {
            managers: Managers::below(run.path()),
            ..KnownManagers::default()
        };
        let interface = "eth0".parse().unwrap();
        let now = Instant::now();
        assert_eq!(managers.of(interface, 7, now), None);
        std::fs::write(links.join("7"), "ADMIN_STATE=configured\n").unwrap();
        std::fs::write(links.join("8"), "ADMIN_STATE=configured\n").unwrap();
        assert_eq!(managers.of(interface, 7, now), None);
        let networkd = Some("systemd-networkd");
        assert_eq!(managers.of(interface, 8, now), networkd);
        assert_eq!(managers.of(interface, 7, now + MANAGER_GAP), networkd);
    }

    #[test]
    fn an_optimistic_address_can_be_used_until_detection_fails() {
        let tentative = AddressFlags::Tentative;
        let optimistic = AddressFlags::Tentative | AddressFlags::Optimistic;
        let failed = AddressFlags::Optimistic | AddressFlags::Dadfailed;
        assert!(is_tentative(tentative));
        assert!(!is_tentative(optimistic));
        assert!(is_tentative(failed));
        assert!(!is_tentative(AddressFlags::Permanent));
    }
}
