//! The interfaces that carry virtual hardware addresses: macvlans of our own.
//!
//! Their mode is bridge, so that containers of this host which have macvlans
//! on the same interface reach the addresses too. What they need is set on
//! them alone, and goes with them:
//!
//! * `arp_ignore` 1: not to answer for the parent's addresses
//! * `rp_filter` 2: answers leave by the parent, so what comes in does not come
//!   from where answers go. The kernel takes the larger of this and `all`, and
//!   2 is the larger of any two
//! * `forwarding`, both families: as the parent's
//! * no link-local address, `accept_ra` and `autoconf` 0: it takes nothing from
//!   the segment that is not a virtual address

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::time::{Duration, Instant};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NlasIterator};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    AfSpecInet, AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InetDevConf, InfoData, InfoKind,
    InfoMacVlan, LinkAttribute, LinkExtentMask, LinkFlags, LinkHeader, LinkInfo, LinkMessage,
    MacVlanMode,
};
use nix::errno::Errno;

use super::guard::{Guard, Guards};
use super::request::{read_setting, setting_path};
use super::snapshot::{LINK_HEADER_BYTES, parse_name};
use super::socket::{Refusal, RouteError, RouteSocket};
use crate::agent::event::Event;
use crate::agent::values::{InterfaceName, MacAddress};
use crate::agent::virtual_link::{
    LinkChanged, LinkOrder, LinkState, Raised, VirtualLink, is_virtual,
};

/// IFLA_GROUP of every interface that we make, set in the same request: with
/// its kind and its hardware address, how a later run tells ours from others.
pub const LINK_GROUP: u32 = 0x76;

const KIND: &str = "macvlan";
/// The kernel works on a request while it is being sent; the answer waits then.
const PATIENCE: Duration = Duration::from_secs(10);

/// What RTM_GETLINK tells.
#[derive(Debug)]
struct Found {
    name: Option<InterfaceName>,
    index: u32,
    up: bool,
    /// The index of the interface below.
    lower: Option<u32>,
    group: u32,
    kind: String,
    hardware_address: Option<MacAddress>,
}

impl Found {
    /// Made by an agent of ours.
    fn is_marked(&self) -> bool {
        self.group == LINK_GROUP
            && self.kind == KIND
            && self.hardware_address.is_some_and(is_virtual)
    }
}

/// Carries out orders about them.
#[derive(Default)]
pub(super) struct Links {
    guards: Guards,
    /// Those that wait, down, with all their settings: a hand-over waits for
    /// what is still to be done.
    waiting: BTreeMap<InterfaceName, u32>,
}

impl Links {
    /// Brings the state about that is ordered, whatever there is. Never leaves
    /// one up without its settings.
    pub fn carry_out(
        &mut self,
        socket: &mut Option<RouteSocket>,
        order: &LinkOrder,
    ) -> Event<'static> {
        let outcome = self.bring(socket, order);
        if let Err(RouteError::Socket(error)) = &outcome {
            tracing::warn!(
                "{}: {error}; a new netlink socket will be opened",
                order.link.name
            );
            *socket = None;
        }
        Event::LinkChanged {
            instance: order.instance,
            outcome: outcome.map_err(|error| words(&order.link, &error)),
        }
    }

    fn bring(
        &mut self,
        socket: &mut Option<RouteSocket>,
        order: &LinkOrder,
    ) -> Result<LinkChanged, RouteError> {
        let socket = match socket {
            Some(socket) => socket,
            none => none.insert(RouteSocket::open()?),
        };
        let link = &order.link;
        let mut unguarded = None;
        let waiting = self.waiting.remove(&link.name);
        match &order.state {
            LinkState::Absent => {
                remove(socket, link.name)?;
                self.guards.remove(link.name);
            }
            LinkState::Down => {
                let (found, _) = provide(socket, link, None)?;
                if found.up {
                    switch(socket, &found, false, None)?;
                }
                self.guards.remove(link.name);
                self.waiting.insert(link.name, found.index);
            }
            LinkState::Up(raised) => {
                let (found, parent) = provide(socket, link, waiting)?;
                unguarded = self.guard(link, &parent, raised).err();
                follow_forwarding(link);
                switch(socket, &found, true, Some(raised.mtu))?;
            }
        }
        Ok(LinkChanged { unguarded })
    }

    fn guard(&mut self, link: &VirtualLink, parent: &Found, raised: &Raised) -> Result<(), String> {
        let guard = Guard {
            parent: link.parent,
            parent_index: parent.index,
            addresses: raised.guarded.clone(),
            speaks_as: raised.speaks_as,
        };
        self.guards.set(link.name, guard)
    }
}

/// It as it is, made or made anew where it was not right; and its parent. The
/// one with the index `waiting` has its settings.
fn provide(
    socket: &mut RouteSocket,
    link: &VirtualLink,
    waiting: Option<u32>,
) -> Result<(Found, Found), RouteError> {
    let parent =
        find(socket, link.parent)?.ok_or_else(|| refused(Errno::ENODEV, "its parent is gone"))?;
    // The kernel puts it above what a macvlan parent stands above.
    let below = |found: &Found| {
        found.lower == Some(parent.index) || (parent.kind == KIND && found.lower == parent.lower)
    };
    if let Some(found) = find(socket, link.name)? {
        if !found.is_marked() {
            let what = "an interface of that name exists, and no agent of ours made it; rename or remove it";
            return Err(refused(Errno::EEXIST, what));
        }
        if below(&found) && found.hardware_address == Some(link.hardware_address) {
            if found.up || waiting != Some(found.index) {
                configure(socket, &found, link)?;
            }
            return Ok((found, parent));
        }
        delete(socket, found.index)?;
    }
    let flags = NLM_F_CREATE | NLM_F_EXCL;
    socket.order(creation(link, parent.index), flags, deadline())?;
    let found = find(socket, link.name)?;
    let found = found.ok_or_else(|| refused(Errno::ENODEV, "it was removed at once"))?;
    configure(socket, &found, link)?;
    Ok((found, parent))
}

fn creation(link: &VirtualLink, parent: u32) -> RouteNetlinkMessage {
    let mut message = LinkMessage::default();
    message.attributes = vec![
        LinkAttribute::IfName(link.name.as_str().to_owned()),
        LinkAttribute::Link(parent),
        LinkAttribute::Address(link.hardware_address.0.to_vec()),
        LinkAttribute::Group(LINK_GROUP),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::MacVlan),
            LinkInfo::Data(InfoData::MacVlan(vec![InfoMacVlan::Mode(
                MacVlanMode::Bridge,
            )])),
        ]),
    ];
    RouteNetlinkMessage::NewLink(message)
}

/// Before it is up. The kernel takes none of this when it makes one.
fn configure(
    socket: &mut RouteSocket,
    found: &Found,
    link: &VirtualLink,
) -> Result<(), RouteError> {
    let mut ipv4 = InetDevConf::default();
    ipv4.arp_ignore = 1;
    ipv4.rp_filter = 2;
    let alias = format!("vipward: virtual MAC address on {}", link.parent);
    let attributes = vec![
        LinkAttribute::IfAlias(alias),
        LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet(vec![AfSpecInet::DevConfRequest(
            ipv4,
        )])]),
    ];
    socket.order(change(found.index, attributes), 0, deadline())?;
    let no_link_local = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
    let attributes = vec![LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(
        vec![no_link_local],
    )])];
    match socket.order(change(found.index, attributes), 0, deadline()) {
        // A kernel without IPv6, or an interface where it does not run.
        Err(RouteError::Refused(Refusal {
            errno: Errno::EAFNOSUPPORT | Errno::EOPNOTSUPP,
            ..
        })) => return Ok(()),
        outcome => outcome?,
    }
    for key in ["accept_ra", "autoconf", "accept_dad", "dad_transmits"] {
        // It works without, and may have one address more than it should.
        if let Err(error) = set("ipv6", link.name, key, "0") {
            tracing::warn!("{}: {error}", link.name);
        }
    }
    Ok(())
}

/// A router's clients send to the virtual address what is to go elsewhere.
fn follow_forwarding(link: &VirtualLink) {
    for family in ["ipv4", "ipv6"] {
        let Some(wanted) = read_setting(family, link.parent.as_str(), "forwarding") else {
            continue;
        };
        if let Err(error) = set(family, link.name, "forwarding", &wanted) {
            tracing::warn!(
                "{} does not forward as {} does: {error}",
                link.name,
                link.parent
            );
        }
    }
}

/// Written only where it is another.
fn set(family: &str, interface: InterfaceName, key: &str, value: &str) -> io::Result<()> {
    match read_setting(family, interface.as_str(), key) {
        Some(present) if present != value => {
            let path = setting_path(family, interface.as_str(), key);
            fs::write(&path, value).map_err(|error| {
                io::Error::other(format!("{path} could not be set to {value}: {error}"))
            })
        }
        Some(_) | None => Ok(()),
    }
}

fn change(index: u32, attributes: Vec<LinkAttribute>) -> RouteNetlinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes = attributes;
    RouteNetlinkMessage::SetLink(message)
}

fn switch(
    socket: &mut RouteSocket,
    found: &Found,
    up: bool,
    mtu: Option<u32>,
) -> Result<(), RouteError> {
    let mut message = LinkMessage::default();
    message.header.index = found.index;
    message.header.change_mask = LinkFlags::Up;
    message.header.flags = if up {
        LinkFlags::Up
    } else {
        LinkFlags::empty()
    };
    message.attributes = mtu.map(LinkAttribute::Mtu).into_iter().collect();
    socket.order(RouteNetlinkMessage::SetLink(message), 0, deadline())
}

/// One that is not there, or not ours, is left alone. True where it was there.
pub(super) fn remove(socket: &mut RouteSocket, name: InterfaceName) -> Result<bool, RouteError> {
    match find(socket, name)? {
        Some(found) if found.is_marked() => delete(socket, found.index),
        Some(_) | None => Ok(false),
    }
}

fn delete(socket: &mut RouteSocket, index: u32) -> Result<bool, RouteError> {
    let mut message = LinkMessage::default();
    message.header.index = index;
    match socket.order(RouteNetlinkMessage::DelLink(message), 0, deadline()) {
        Err(RouteError::Refused(Refusal {
            errno: Errno::ENODEV,
            ..
        })) => Ok(false),
        outcome => outcome.map(|()| true),
    }
}

/// Those on this host that an agent of ours made, and whether the reading was
/// undisturbed.
pub(super) fn marked(socket: &mut RouteSocket) -> Result<(Vec<InterfaceName>, bool), RouteError> {
    let mut question = LinkMessage::default();
    question.attributes = vec![LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats])];
    let question = RouteNetlinkMessage::GetLink(question);
    let mut names = Vec::new();
    let undisturbed = socket.ask(question, NLM_F_DUMP, deadline(), &mut |kind, payload| {
        if kind == libc::RTM_NEWLINK {
            let found = parse(payload).filter(Found::is_marked);
            names.extend(found.and_then(|found| found.name));
        }
    })?;
    Ok((names, undisturbed))
}

fn find(socket: &mut RouteSocket, name: InterfaceName) -> Result<Option<Found>, RouteError> {
    let mut question = LinkMessage::default();
    question.attributes = vec![
        LinkAttribute::IfName(name.as_str().to_owned()),
        LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]),
    ];
    let question = RouteNetlinkMessage::GetLink(question);
    let mut found = None;
    let asked = socket.ask(question, 0, deadline(), &mut |kind, payload| {
        if kind == libc::RTM_NEWLINK {
            found = parse(payload);
        }
    });
    match asked {
        Ok(_) => Ok(found),
        Err(RouteError::Refused(Refusal {
            errno: Errno::ENODEV,
            ..
        })) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Only what we need: an unknown form of another attribute hides nothing.
fn parse(payload: &[u8]) -> Option<Found> {
    const INFO_KIND: u16 = 1;
    let header = LinkHeader::parse(payload).ok()?;
    let mut found = Found {
        name: None,
        index: header.index,
        up: header.flags.contains(LinkFlags::Up),
        lower: None,
        group: 0,
        kind: String::new(),
        hardware_address: None,
    };
    for attribute in NlasIterator::new(payload.get(LINK_HEADER_BYTES..)?) {
        let attribute = attribute.ok()?;
        let value = attribute.value();
        let number = || value.try_into().ok().map(u32::from_ne_bytes);
        match attribute.kind() {
            libc::IFLA_IFNAME => found.name = parse_name(value)?.parse().ok(),
            libc::IFLA_LINK => found.lower = number(),
            libc::IFLA_GROUP => found.group = number().unwrap_or(0),
            libc::IFLA_ADDRESS => found.hardware_address = value.try_into().ok().map(MacAddress),
            libc::IFLA_LINKINFO => {
                let kind = NlasIterator::new(value).map_while(Result::ok);
                let kind = kind.filter(|inner| inner.kind() == INFO_KIND);
                let kind = kind.filter_map(|inner| parse_name(inner.value()).map(str::to_owned));
                found.kind = kind.last().unwrap_or_default();
            }
            _ => {}
        }
    }
    Some(found)
}

fn deadline() -> Instant {
    Instant::now() + PATIENCE
}

fn refused(errno: Errno, words: &str) -> RouteError {
    RouteError::Refused(Refusal {
        errno,
        words: Some(words.to_owned()),
    })
}

/// For people.
fn words(link: &VirtualLink, error: &RouteError) -> String {
    match error {
        RouteError::Refused(refusal) => match refusal.errno {
            Errno::EPERM => "the agent lacks CAP_NET_ADMIN".to_owned(),
            Errno::EOPNOTSUPP if refusal.words.is_none() => {
                "this kernel has no macvlan (CONFIG_MACVLAN)".to_owned()
            }
            Errno::EBUSY => format!(
                "{} is in use by a bridge, a bond or an ipvlan, which leave no room for a macvlan: {refusal}",
                link.parent
            ),
            Errno::EEXIST | Errno::ENODEV => {
                refusal.words.clone().unwrap_or_else(|| refusal.to_string())
            }
            _ => refusal.to_string(),
        },
        RouteError::Socket(error) => error.to_string(),
    }
}
