//! Virtual links between network namespaces, for the demo: a bridge as the
//! switch, veth pairs as its cables. In the namespace of the thread that
//! opened the handle.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{
    InfoBridge, InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::net::if_::if_nametoindex;

use super::kernel::socket::{RouteError, RouteSocket};
use super::namespace::Namespace;

const PATIENCE: Duration = Duration::from_secs(5);

/// Errors of every method: what the kernel refused, with its words; nothing
/// was changed then.
pub struct Links {
    socket: RouteSocket,
}

impl Links {
    pub fn open() -> io::Result<Self> {
        let socket = RouteSocket::open()?;
        Ok(Self { socket })
    }

    /// A bridge that floods multicast to every port: snooping would make
    /// heartbeats depend on membership reports.
    pub fn add_bridge(&mut self, name: &str) -> io::Result<()> {
        let snooping = InfoBridge::MulticastSnooping(false);
        self.create(vec![
            LinkAttribute::IfName(name.to_owned()),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Bridge),
                LinkInfo::Data(InfoData::Bridge(vec![snooping])),
            ]),
        ])
    }

    /// A cable: `name` here, `far_name` in `far`.
    pub fn add_veth(&mut self, name: &str, far_name: &str, far: &Namespace) -> io::Result<()> {
        let mut peer = LinkMessage::default();
        peer.attributes = vec![
            LinkAttribute::IfName(far_name.to_owned()),
            LinkAttribute::NetNsFd(far.as_fd().as_raw_fd()),
        ];
        self.create(vec![
            LinkAttribute::IfName(name.to_owned()),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Veth),
                LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
            ]),
        ])
    }

    pub fn set_up(&mut self, name: &str, up: bool) -> io::Result<()> {
        let mut message = named(name)?;
        message.header.change_mask = LinkFlags::Up;
        message.header.flags.set(LinkFlags::Up, up);
        self.order(RouteNetlinkMessage::SetLink(message), 0)
    }

    /// Plugs `name` into the bridge.
    pub fn set_bridge(&mut self, name: &str, bridge: &str) -> io::Result<()> {
        let mut message = named(name)?;
        let bridge = if_nametoindex(bridge)?;
        message.attributes.push(LinkAttribute::Controller(bridge));
        self.order(RouteNetlinkMessage::SetLink(message), 0)
    }

    pub fn add_address(&mut self, name: &str, network: IpNet) -> io::Result<()> {
        let mut message = AddressMessage::default();
        message.header.index = if_nametoindex(name)?;
        message.header.prefix_len = network.prefix_len();
        message.header.family = match network {
            IpNet::V4(_) => AddressFamily::Inet,
            IpNet::V6(_) => AddressFamily::Inet6,
        };
        message.attributes = vec![
            AddressAttribute::Local(network.addr()),
            AddressAttribute::Address(network.addr()),
        ];
        let flags = NLM_F_CREATE | NLM_F_EXCL;
        self.order(RouteNetlinkMessage::NewAddress(message), flags)
    }

    fn create(&mut self, attributes: Vec<LinkAttribute>) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.attributes = attributes;
        let flags = NLM_F_CREATE | NLM_F_EXCL;
        self.order(RouteNetlinkMessage::NewLink(message), flags)
    }

    fn order(&mut self, change: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        self.socket
            .order(change, flags, deadline)
            .map_err(|error| match error {
                RouteError::Socket(error) => error,
                RouteError::Refused(refusal) => {
                    let kind = io::Error::from(refusal.errno).kind();
                    io::Error::new(kind, refusal.to_string())
                }
            })
    }
}

fn named(name: &str) -> io::Result<LinkMessage> {
    let mut message = LinkMessage::default();
    message.header.index = if_nametoindex(name)?;
    Ok(message)
}
