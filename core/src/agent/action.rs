//! What the core asks of the world. The order of the actions is the order of
//! their effects.

use std::net::IpAddr;

use ipnet::IpNet;

use super::cluster::message::Message;
use super::jobs::Job;
use super::moves::{Answer, Kept};
use super::report::Report;
use super::routing::RoutingOrder;
use super::values::{AddressIndex, InstanceId, InterfaceName, Lease, NodeName};
use super::virtual_link::LinkOrder;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send one advertisement of this instance, to the group or to every
    /// unicast peer. Answered, in the same turn of the loop, by
    /// [`super::event::Event::Advertised`].
    Advertise {
        instance: InstanceId,
        source: IpAddr,
        /// 0 resigns.
        priority: u8,
        /// The interface of the virtual hardware address, while it is up; the
        /// instance's own where that does not work.
        link: Option<InterfaceName>,
    },
    /// Answered by [`super::event::Event::AddressAdded`].
    AddAddress(AddressOrder),
    /// Begins an address's lease anew; ordered when an advertisement has left,
    /// and worth nothing 200 ms later. Answered by
    /// [`super::event::Event::AddressRenewed`].
    RenewAddress(AddressOrder),
    /// Answered by [`super::event::Event::AddressRemoved`].
    RemoveAddress(AddressOrder),
    /// Answered by [`super::event::Event::RoutingChanged`]. Carried out in
    /// order with those about addresses.
    ChangeRouting(RoutingOrder),
    /// Answered by [`super::event::Event::LinkChanged`]. Carried out in order
    /// with those about addresses.
    ChangeLink(LinkOrder),
    /// One gratuitous ARP in each form, or one unsolicited NA.
    Announce {
        instance: InstanceId,
        interface: InterfaceName,
        address: IpAddr,
    },
    /// Run a check or hook; answered by [`super::event::Event::JobDone`].
    Start(Job),
    /// Ask the segment for the hardware address of `target`, so that what is
    /// sent to it next does not wait behind a resolution that is failing.
    Solicit {
        interface: InterfaceName,
        source: IpAddr,
        target: IpAddr,
    },
    /// Ask whether another host answers for `address`, without telling anyone
    /// that it is ours. Reaches those who hear the instance's advertisements;
    /// answered by [`super::event::Event::Claim`], or not at all.
    Probe {
        instance: InstanceId,
        /// Of our advertisements.
        source: IpAddr,
        address: IpAddr,
    },
    /// Ask everyone on `interface` who has `address`, without telling anyone
    /// that it is ours (RFC 5227 section 2.1.1; a neighbour solicitation).
    /// Answered by [`super::event::Event::Claim`], or not at all.
    Inquire {
        interface: InterfaceName,
        address: IpAddr,
    },
    /// Send this over every path to the node. Where there is no session with
    /// it yet, one is asked for instead.
    Tell {
        node: NodeName,
        message: Box<Message>,
    },
    /// Write this down, so that it survives whatever comes; answered by
    /// [`super::event::Event::Kept`].
    Keep { serial: u64, kept: Box<Kept> },
    /// What came of an [`super::event::Event::Order`].
    Answer { ticket: u64, answer: Answer },
    /// For the log and the history.
    Report(Report),
}

/// All that the kernel has to be told about one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressOrder {
    pub instance: InstanceId,
    pub address: AddressIndex,
    pub interface: InterfaceName,
    /// With the prefix length under which it is added, which is the host's
    /// (/32, /128) where the interface already has the subnet.
    pub network: IpNet,
    /// Add no route to the subnet (IFA_F_NOPREFIXROUTE).
    pub no_prefix_route: bool,
    /// Set `promote_secondaries` on the interface first, so that removing
    /// this address takes no other of its subnet along.
    pub promote_secondaries: bool,
    pub label: Option<String>,
    /// IPv6: when false the preferred lifetime is 0.
    pub source_address: bool,
    /// The kernel removes it by itself this long after the last renewal;
    /// `None`: never.
    pub lease: Option<Lease>,
    /// A removal: another host has taken it over, and for a moment this one
    /// goes on taking packets for it, without answering who has it.
    pub lingers: bool,
}
