//! What the world tells the core.

use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;

use super::cluster::LinkEvent;
use super::jobs::{JobId, JobResult};
use super::moves::Order;
use super::routing::{Change, Effect, RoutingIndex, RoutingState};
use super::seal::{Seal, Witness};
use super::settings::Settings;
use super::time::WallTime;
use super::values::{
    AddressIndex, ChecksumForm, Family, InstanceId, InterfaceName, MacAddress, NodeName,
};
use super::virtual_link::LinkChanged;

#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// Time passed. The sockets were drained just before; a wake-up at the
    /// wrong moment does nothing.
    Wake,
    /// A packet of IP protocol 112 arrived, sound or not.
    Advert(Heard<'a>),
    /// The present state of an interface; `None`: it does not exist. Sent
    /// whole at start and after every change, whatever the change was.
    Interface {
        interface: InterfaceName,
        state: Option<InterfaceState>,
    },
    /// The socket for an interface and family was opened, or could not be.
    Socket {
        interface: InterfaceName,
        family: Family,
        outcome: Result<(), String>,
    },
    /// The kernel answered an [`super::action::Action::AddAddress`].
    AddressAdded {
        instance: InstanceId,
        address: AddressIndex,
        outcome: Result<Added, String>,
    },
    /// The kernel answered an [`super::action::Action::RemoveAddress`]. An
    /// absent address or interface is a success.
    AddressRemoved {
        instance: InstanceId,
        address: AddressIndex,
        outcome: Result<Removed, String>,
    },
    /// An address that is about to be reported as added carries no lease
    /// although one was ordered, for this reason.
    AddressUnleased {
        instance: InstanceId,
        address: AddressIndex,
        reason: String,
    },
    /// The kernel answered an [`super::action::Action::RenewAddress`].
    AddressRenewed {
        instance: InstanceId,
        address: AddressIndex,
        outcome: Result<(), NotRenewed>,
    },
    /// The kernel answered an [`super::action::Action::ChangeRouting`]. The
    /// removal of what is absent is a success.
    RoutingChanged {
        instance: InstanceId,
        index: RoutingIndex,
        change: Change,
        outcome: Result<Effect, String>,
    },
    /// The kernel answered an [`super::action::Action::ChangeLink`]. The
    /// removal of what is absent is a success.
    LinkChanged {
        instance: InstanceId,
        outcome: Result<LinkChanged, String>,
    },
    /// What bears our mark among the host's routes and rules. Sent whole at
    /// first and after every change, whatever the change was; only where
    /// [`super::Agent::wants_routing`].
    Routing(RoutingState),
    /// An [`super::action::Action::Advertise`] was handed to the kernel, or
    /// could not be.
    Advertised {
        instance: InstanceId,
        outcome: Result<(), NotSent>,
    },
    /// Another host claims `address`, not by one of our own interfaces.
    Claim {
        interface: InterfaceName,
        claim: Claim,
    },
    /// A check or hook that [`super::action::Action::Start`] ordered ended.
    JobDone { job: JobId, result: JobResult },
    /// An operator wants this; answered by [`super::action::Action::Answer`].
    Order {
        ticket: u64,
        /// Who is to do it; `None`: we.
        node: Option<NodeName>,
        order: Order,
    },
    /// What [`super::action::Action::Keep`] asked for was written at that
    /// time of day, or could not be.
    Kept {
        serial: u64,
        outcome: Result<WallTime, String>,
    },
    /// The time of day, now and then while [`super::Agent::wants_clock`].
    Clock(WallTime),
    /// What a file that a check follows says now; sent at first and after
    /// every change, whatever the change was.
    FileRead(FileRead),
    /// The peer link has something to tell.
    Link(LinkEvent),
    /// Apply the difference between these settings and the present ones.
    Reload(Box<Settings>),
    /// Resign everywhere, as planned, and then be finished.
    Stop,
    /// Release everything at once.
    StopNow,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRead {
    pub path: PathBuf,
    /// Its number, or a sentence why there is none.
    pub number: Result<i64, String>,
}

/// A gratuitous ARP or an unsolicited NA, or the answer to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    pub address: IpAddr,
    pub hardware_address: MacAddress,
    /// It answers a question of this host; no other host heard it.
    pub solicited: bool,
}

/// What an acknowledged addition changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// The address was not there before.
    Fresh,
    AlreadyPresent,
}

/// What an acknowledged removal changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removed {
    /// The address was there until now.
    Deleted,
    /// It, or its interface, was gone already.
    Absent,
}

/// Why a lease was not begun anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotRenewed {
    /// It came to its turn too late to be trusted; nothing was changed.
    TooOld,
    /// In words.
    Failed(String),
}

/// Why an advertisement did not leave. That a single peer is out of reach is
/// no such reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotSent {
    pub error: String,
    /// Some destinations were served all the same.
    pub partly: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceState {
    /// A new index under the same name is a new interface.
    pub index: u32,
    /// Administratively up and with carrier.
    pub up: bool,
    /// `None` where the link layer has no Ethernet-like address.
    pub hardware_address: Option<MacAddress>,
    pub mtu: u32,
    /// The host forwards IPv6 on this interface: its neighbour
    /// advertisements carry the Router bit.
    pub forwards_ipv6: bool,
    /// The program that seems to configure this interface, by the name that
    /// its users know it by.
    pub manager: Option<&'static str>,
    /// The next hops of the default routes over this interface, both families.
    pub gateways: Vec<IpAddr>,
    /// In the kernel's order, both families.
    pub addresses: Vec<InterfaceAddress>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterfaceAddress {
    /// With its prefix length, host bits kept.
    pub network: IpNet,
    /// IPv4: in the shadow of an earlier address of the same subnet.
    pub secondary: bool,
    /// IPv6: duplicate address detection is under way or has failed, so that
    /// nothing can be sent from it.
    pub tentative: bool,
    /// Marked by the kernel (IFA_PROTO) as added by an agent of ours.
    pub ours: bool,
}

/// A packet of protocol 112 as it arrived.
#[derive(Clone, Debug)]
pub struct Heard<'a> {
    pub interface: InterfaceName,
    pub family: Family,
    pub source: IpAddr,
    pub destination: IpAddr,
    /// TTL or hop limit.
    pub hop_limit: u8,
    pub message: Result<Message<'a>, Malformed>,
    /// Who can judge its seal; nothing where nobody can, and no seal is
    /// believed then.
    pub witness: Option<Witness<'a>>,
}

/// Why no header could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// The IPv4 header is not inside the datagram; source, destination and
    /// TTL of the [`Heard`] are then meaningless.
    IpHeader,
    /// Not protocol 112.
    Protocol,
    /// Fewer than the 8 bytes of a VRRP header.
    Length,
}

/// A VRRP message, taken apart but not yet judged: the receive ladder decides
/// in its own order which fault counts.
#[derive(Clone, Debug)]
pub struct Message<'a> {
    pub version: u8,
    pub kind: u8,
    pub vrid: u8,
    pub priority: u8,
    /// As the header says, not as the length implies.
    pub count: u8,
    /// The length is exactly what `version` and `count` demand, with or
    /// without an authentication trailer.
    pub length_exact: bool,
    /// The form under which the checksum is right, if any.
    pub checksum: Option<ChecksumForm>,
    pub timing: Timing,
    /// The address list; empty unless `length_exact`.
    pub addresses: AddressBytes<'a>,
    /// The authentication trailer, if there is one.
    pub seal: Option<Seal<'a>>,
}

/// The fields whose meaning depends on the version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timing {
    V2 {
        interval_seconds: u8,
        authentication: V2Authentication,
    },
    /// Twelve bits.
    V3 { interval_centiseconds: u16 },
    /// Of a version that we do not know.
    Unknown,
}

/// Version 2's authentication fields; all zero in an unauthenticated message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct V2Authentication {
    pub kind: u8,
    pub data: [u8; 8],
}

/// A list of addresses as it stood in the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressBytes<'a> {
    family: Family,
    bytes: &'a [u8],
}

impl<'a> AddressBytes<'a> {
    pub fn new(family: Family, bytes: &'a [u8]) -> Self {
        Self { family, bytes }
    }

    pub fn iter(&self) -> impl Iterator<Item = IpAddr> + 'a {
        let family = self.family;
        let size = match family {
            Family::Ipv4 => 4,
            Family::Ipv6 => 16,
        };
        self.bytes
            .chunks_exact(size)
            .filter_map(move |chunk| match family {
                Family::Ipv4 => <[u8; 4]>::try_from(chunk).ok().map(IpAddr::from),
                Family::Ipv6 => <[u8; 16]>::try_from(chunk).ok().map(IpAddr::from),
            })
    }
}
