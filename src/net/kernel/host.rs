//! The addresses of the whole host, and their removal, for those who clean up
//! after a dead agent: one question at a time, by whoever calls.

use std::io;
use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use netlink_packet_core::NLM_F_DUMP;
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::errno::Errno;
use nix::net::if_::{if_indextoname, if_nametoindex};

use super::promotion;
use super::request::{judge_removal, removal};
use super::snapshot::parse_host_address;
use super::socket::{Refusal, RouteError, RouteSocket};
use super::{guard, linger, links};
use super::{routing, routing_read};
use crate::agent::action::AddressOrder;
use crate::agent::event::Removed;
use crate::agent::routing::{RoutingItem, RoutingState};
use crate::agent::values::{AddressIndex, InstanceId, InterfaceName};

/// For one answer of the kernel.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a reading that a change disturbed is repeated.
const ATTEMPTS: usize = 5;

/// An address of this network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostAddress {
    pub interface: InterfaceName,
    pub network: IpNet,
    /// It bears our mark.
    pub ours: bool,
}

/// What the host has now.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    pub addresses: Vec<HostAddress>,
    /// The kernel remembers who added an address: one without our mark is
    /// another's.
    pub marks_are_kept: bool,
    /// The routes and rules with our mark, which every kernel keeps.
    pub routing: RoutingState,
    /// The interfaces with virtual hardware addresses that we made.
    pub links: Vec<InterfaceName>,
    /// What was handed over by one that died before it could forget it, and
    /// the kernel has not yet.
    pub lingering: Vec<Ipv6Addr>,
}

/// Asks and removes, over a socket of its own.
pub struct Cleaner {
    socket: RouteSocket,
}

impl Cleaner {
    /// In the network namespace of the calling thread.
    pub fn open() -> io::Result<Self> {
        let socket = RouteSocket::open()?;
        Ok(Self { socket })
    }

    /// Every address of both families, and what of the routes and rules is
    /// ours. One that changed during the reading
    /// may be missing after [`ATTEMPTS`] disturbed ones.
    pub fn survey(&mut self) -> Result<Survey, String> {
        let mut survey = Survey::default();
        for _ in 0..ATTEMPTS {
            survey = Survey {
                addresses: Vec::new(),
                marks_are_kept: kernel_keeps_marks(),
                routing: RoutingState::new(),
                links: Vec::new(),
                lingering: linger::left(&mut self.socket)
                    .map_err(|error| format!("the routes could not be read: {error}"))?,
            };
            let (links, mut settled) = links::marked(&mut self.socket)
                .map_err(|error| format!("the interfaces could not be read: {error}"))?;
            survey.links = links;
            let (routing, undisturbed) = routing_read::read(&mut self.socket)
                .map_err(|error| format!("the routes and rules could not be read: {error}"))?;
            survey.routing = routing;
            settled &= undisturbed;
            for family in [AddressFamily::Inet, AddressFamily::Inet6] {
                settled &= self
                    .read(family, &mut survey)
                    .map_err(|error| format!("the addresses could not be read: {error}"))?;
            }
            if settled {
                break;
            }
        }
        Ok(survey)
    }

    fn read(&mut self, family: AddressFamily, survey: &mut Survey) -> Result<bool, RouteError> {
        let mut question = AddressMessage::default();
        question.header.family = family;
        let question = RouteNetlinkMessage::GetAddress(question);
        let deadline = Instant::now() + PATIENCE;
        let asked = self
            .socket
            .ask(question, NLM_F_DUMP, deadline, &mut |kind, payload| {
                if kind != libc::RTM_NEWADDR {
                    return;
                }
                let Some((index, address, marked)) = parse_host_address(payload, family) else {
                    return;
                };
                survey.marks_are_kept |= marked;
                let name = if_indextoname(index).ok();
                let name = name.and_then(|name| name.to_str().ok()?.parse().ok());
                survey.addresses.extend(name.map(|interface| HostAddress {
                    interface,
                    network: address.network,
                    ours: address.ours,
                }));
            });
        match asked {
            // A kernel without IPv6 has no addresses of it.
            Err(RouteError::Refused(Refusal {
                errno: Errno::EOPNOTSUPP | Errno::EAFNOSUPPORT,
                ..
            })) => Ok(true),
            outcome => outcome,
        }
    }

    /// Removes one address; true where it was there. Others of its subnet
    /// stay.
    ///
    /// # Errors
    ///
    /// A sentence for people; the address may still be there.
    pub fn remove(&mut self, interface: InterfaceName, network: IpNet) -> Result<bool, String> {
        let index = match if_nametoindex(interface.as_str()) {
            Ok(index) => index,
            Err(Errno::ENODEV | Errno::ENXIO) => return Ok(false),
            Err(errno) => return Err(format!("{interface}: {}", errno.desc())),
        };
        if let IpNet::V4(network) = network
            && network.prefix_len() < network.max_prefix_len()
        {
            // Set when it was added; where it no longer can be, going is
            // still better than staying.
            let _ = promotion::ensure(interface);
        }
        let order = AddressOrder {
            instance: InstanceId(0),
            address: AddressIndex(0),
            interface,
            network,
            no_prefix_route: false,
            promote_secondaries: false,
            label: None,
            source_address: false,
            lease: None,
            lingers: false,
        };
        let (request, flags) = removal(&order, index);
        let deadline = Instant::now() + PATIENCE;
        match self.socket.order(request, flags, deadline) {
            Ok(()) => Ok(true),
            Err(RouteError::Refused(refusal)) => {
                judge_removal(&order, Err(refusal)).map(|removed| removed == Removed::Deleted)
            }
            Err(error) => Err(self.after(error)),
        }
    }
}

impl Cleaner {
    /// Removes an interface with a virtual hardware address; true where it was
    /// there. One that no agent of ours made stays.
    ///
    /// # Errors
    ///
    /// As [`Cleaner::remove`].
    pub fn remove_link(&mut self, name: InterfaceName) -> Result<bool, String> {
        let removed = links::remove(&mut self.socket, name).map_err(|error| self.after(error));
        if removed == Ok(true) {
            guard::remove_left(name);
        }
        removed
    }

    /// Takes packets for an address of [`Survey::lingering`] no longer.
    ///
    /// # Errors
    ///
    /// As [`Cleaner::remove`].
    pub fn remove_lingering(&mut self, address: Ipv6Addr) -> Result<(), String> {
        match linger::remove(&mut self.socket, address.into()) {
            Ok(())
            | Err(RouteError::Refused(Refusal {
                errno: Errno::ESRCH,
                ..
            })) => Ok(()),
            Err(error) => Err(self.after(error)),
        }
    }

    /// The next answer may be to this question: another socket, then.
    fn after(&mut self, error: RouteError) -> String {
        if matches!(error, RouteError::Socket(_))
            && let Ok(socket) = RouteSocket::open()
        {
            self.socket = socket;
        }
        error.to_string()
    }

    /// Removes a route or rule of ours; true where it was there.
    ///
    /// # Errors
    ///
    /// As [`Cleaner::remove`].
    pub fn remove_routing(&mut self, item: &RoutingItem) -> Result<bool, String> {
        routing::remove(&mut self.socket, item).map_err(|error| self.after(error))
    }
}

/// IFA_PROTO is of Linux 5.18; some older ones have it all the same.
fn kernel_keeps_marks() -> bool {
    let Ok(names) = nix::sys::utsname::uname() else {
        return false;
    };
    let release = names.release().to_string_lossy();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let mut number = || numbers.next().and_then(|text| text.parse::<u32>().ok());
    (number(), number()) >= (Some(5), Some(18))
}
