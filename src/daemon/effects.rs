//! Carries out what the core asked for.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr};

use super::desk::Desk;
use super::leftovers::{Ledger, v2_authentication};
use super::link::Link;
use super::moves::Mover;
use super::outbox::Outbox;
use super::signing::Signing;
use super::signing::keeper::{Keeper, KeptMark};
use super::sockets::Sockets;
use super::work::Work;
use crate::agent::Agent;
use crate::agent::action::{Action, AddressOrder};
use crate::agent::event::{Event, InterfaceState, NotRenewed, NotSent};
use crate::agent::routing::RoutingOrder;
use crate::agent::seal::Witness;
use crate::agent::settings::{Authentication, InstanceSettings};
use crate::agent::values::{InstanceId, InterfaceName, MacAddress};
use crate::agent::virtual_link::LinkOrder;
use crate::config::Keys;
use crate::control::events::recorder::Recorder;
use crate::net::announce_socket::AnnounceSocket;
use crate::net::farewell_socket::FarewellSocket;
use crate::net::kernel::{Netlink, Renewals};
use crate::wire::advertisement::{self, Outgoing};
use crate::wire::announcement::{self, BROADCAST, VRRP_GROUP};

const TOO_MANY: &str = "too many changes wait for the kernel; nothing was changed";

pub struct Effects {
    netlink: Netlink,
    renewals: Renewals,
    announcements: AnnounceSocket,
    /// For advertisements that leave by interfaces of our own.
    speaker_socket: FarewellSocket,
    work: Work,
    link: Link,
    ledger: Ledger,
    signing: Signing,
    keeper: Keeper,
    mover: Mover,
    desk: Desk,
    recorder: Recorder,
    /// As they were kept last.
    marks: Vec<KeptMark>,
    /// As last reported; where announcements go and what they carry.
    interfaces: BTreeMap<InterfaceName, InterfaceState>,
    outboxes: BTreeMap<InstanceId, Outbox>,
    message: Vec<u8>,
}

impl Effects {
    pub fn new(
        netlink: Netlink,
        renewals: Renewals,
        announcements: AnnounceSocket,
        work: Work,
        ledger: Ledger,
        (signing, keeper): (Signing, Keeper),
        (mover, recorder): (Mover, Recorder),
    ) -> Self {
        Self {
            netlink,
            renewals,
            announcements,
            speaker_socket: FarewellSocket::open(),
            work,
            link: Link::default(),
            ledger,
            signing,
            keeper,
            mover,
            desk: Desk::default(),
            recorder,
            marks: Vec::new(),
            interfaces: BTreeMap::new(),
            outboxes: BTreeMap::new(),
            message: Vec::with_capacity(2048),
        }
    }

    /// Sends for these instances from now on.
    pub fn serve<'s>(
        &mut self,
        instances: impl Iterator<Item = (InstanceId, &'s InstanceSettings)> + Clone,
        keys: &Keys,
    ) {
        self.signing.serve(instances.clone(), keys);
        let outboxes = instances.map(|(id, settings)| (id, Outbox::new(settings)));
        self.outboxes = outboxes.collect();
    }

    /// Before the core hears of instances that use them.
    pub fn learn(&mut self, keys: &Keys) {
        self.ledger.learn(keys);
    }

    /// Some instance has keys.
    pub fn verifies(&self) -> bool {
        self.signing.has_keys()
    }

    /// For what is heard next.
    pub fn witness(&self) -> Witness<'_> {
        self.signing.witness()
    }

    /// Has the marks written down, if some moved. Makes no call that waits.
    pub fn keep_marks(&mut self, agent: &Agent) {
        let marks: Vec<KeptMark> = kept(agent);
        if marks != self.marks {
            self.marks.clone_from(&marks);
            self.keeper.keep_marks(marks);
        }
    }

    /// At the very end, when waiting harms nobody any more.
    pub fn close(&mut self, agent: &Agent) {
        self.netlink.outlast();
        let signed = self.signing.has_signed();
        let last = signed.then(|| self.signing.numbers().monotonic);
        let marks = kept(agent);
        let moved = marks != self.marks;
        self.keeper.close(last, moved.then_some(marks));
    }

    /// For what happens to the agent itself.
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    pub fn work(&mut self) -> &mut Work {
        &mut self.work
    }

    pub fn desk(&mut self) -> &mut Desk {
        &mut self.desk
    }

    pub fn link(&mut self) -> &mut Link {
        &mut self.link
    }

    /// Every interface that was reported, as it last was.
    pub fn interfaces(&self) -> Vec<(InterfaceName, InterfaceState)> {
        let known = self.interfaces.iter();
        known.map(|(name, state)| (*name, state.clone())).collect()
    }

    pub fn set_interface(&mut self, name: InterfaceName, state: Option<&InterfaceState>) {
        match state {
            Some(state) => self.interfaces.insert(name, state.clone()),
            None => self.interfaces.remove(&name),
        };
    }

    /// Tells the guardian and the record what a dead agent would leave, if
    /// that changed. The record is written ahead of any order that follows.
    pub fn keep_account(&mut self, agent: &mut Agent) {
        if let Some(account) = self.ledger.update(agent) {
            self.netlink.record(account);
        }
    }

    /// Performs one action. An event is returned where it failed at once.
    pub fn perform(&mut self, sockets: &Sockets, action: Action) -> Option<Event<'static>> {
        match action {
            Action::Advertise {
                instance,
                source,
                priority,
                link,
            } => {
                let outcome = self.advertise(sockets, instance, (source, link), priority);
                Some(Event::Advertised { instance, outcome })
            }
            Action::AddAddress(order) => self.add_address(order),
            Action::RenewAddress(order) => self.renew_address(order),
            Action::RemoveAddress(order) => self.remove_address(order),
            Action::ChangeRouting(order) => self.change_routing(order),
            Action::ChangeLink(order) => self.change_link(order),
            Action::Announce {
                instance: _,
                interface,
                address,
            } => {
                if let Err(error) = self.announce(interface, address) {
                    tracing::warn!("cannot announce {address} on {interface}: {error}");
                }
                None
            }
            Action::Start(job) => self.work.start(job),
            Action::Solicit {
                interface,
                source,
                target,
            } => {
                if let Err(error) = self.solicit(interface, source, target) {
                    tracing::debug!("cannot ask for {target} on {interface}: {error}");
                }
                None
            }
            Action::Probe {
                instance,
                source,
                address,
            } => {
                if let Err(error) = self.probe(instance, source, address) {
                    tracing::debug!("cannot ask who else has {address}: {error}");
                }
                None
            }
            Action::Inquire { interface, address } => {
                if let Err(error) = self.inquire(interface, address) {
                    tracing::debug!("cannot ask for {address} on {interface}: {error}");
                }
                None
            }
            Action::Tell { node, message } => {
                self.link.tell(&node, &message);
                None
            }
            Action::Keep { serial, kept } => self.mover.keep(serial, *kept),
            Action::Answer { ticket, answer } => {
                self.desk.answer(ticket, answer);
                None
            }
            Action::Report(report) => {
                self.recorder.report(report);
                None
            }
        }
    }

    fn add_address(&mut self, order: AddressOrder) -> Option<Event<'static>> {
        let refusal = self.netlink.add_address(order).err();
        refusal.map(|order| Event::AddressAdded {
            instance: order.instance,
            address: order.address,
            outcome: Err(refused(&order)),
        })
    }

    fn renew_address(&mut self, order: AddressOrder) -> Option<Event<'static>> {
        let refusal = self.renewals.renew(order).err();
        refusal.map(|order| Event::AddressRenewed {
            instance: order.instance,
            address: order.address,
            outcome: Err(NotRenewed::Failed(refused(&order))),
        })
    }

    fn remove_address(&mut self, order: AddressOrder) -> Option<Event<'static>> {
        let refusal = self.netlink.remove_address(order).err();
        refusal.map(|order| Event::AddressRemoved {
            instance: order.instance,
            address: order.address,
            outcome: Err(refused(&order)),
        })
    }

    fn change_routing(&mut self, order: RoutingOrder) -> Option<Event<'static>> {
        let refusal = self.netlink.change_routing(order).err();
        refusal.map(|order| Event::RoutingChanged {
            instance: order.instance,
            index: order.index,
            change: order.change,
            outcome: Err(TOO_MANY.to_owned()),
        })
    }

    fn change_link(&mut self, order: LinkOrder) -> Option<Event<'static>> {
        let refusal = self.netlink.change_link(order).err();
        refusal.map(|order| Event::LinkChanged {
            instance: order.instance,
            outcome: Err(TOO_MANY.to_owned()),
        })
    }

    /// Sends to the group or to every peer. That one peer is out of reach is
    /// that peer's trouble and no error of ours.
    fn advertise(
        &mut self,
        sockets: &Sockets,
        instance: InstanceId,
        (source, link): (IpAddr, Option<InterfaceName>),
        priority: u8,
    ) -> Result<(), NotSent> {
        let nothing_left = |error: &str| {
            Err(NotSent {
                error: error.to_owned(),
                partly: false,
            })
        };
        let Some(outbox) = self.outboxes.get(&instance) else {
            return nothing_left("the instance is not known");
        };
        let authentication = &outbox.authentication;
        let signature = match authentication {
            Authentication::Hmac(hmac) if hmac.signs() => {
                let Some(signature) = self.signing.sign(instance, hmac) else {
                    return nothing_left("the key to sign it with is missing");
                };
                Some(signature)
            }
            Authentication::None | Authentication::Password(_) | Authentication::Hmac(_) => None,
        };
        let password = match authentication {
            Authentication::Password(password) => Some(password.0),
            Authentication::None | Authentication::Hmac(_) => None,
        };
        let mut failure = None;
        let mut served = false;
        for destination in outbox.destinations.iter() {
            let outgoing = Outgoing {
                version: outbox.version,
                vrid: outbox.vrid,
                priority,
                interval: outbox.interval,
                checksum: outbox.checksum,
                v2_authentication: v2_authentication(password),
                addresses: &outbox.advertised,
                source,
                destination: *destination,
                signature,
            };
            let sent = advertisement::encode(&outgoing, &mut self.message)
                .map_err(io::Error::other)
                .and_then(|()| {
                    let ways = (sockets, &self.speaker_socket);
                    let by = (outbox.interface, link);
                    emit(ways, by, &self.message, (source, *destination))
                });
            match sent {
                Err(error) if is_the_peers(&error) => {
                    tracing::debug!("{destination} is out of reach: {error}");
                    served = true;
                }
                Err(error) => failure = Some(error),
                Ok(()) => served = true,
            }
        }
        if signature.is_some() {
            self.ledger.note_numbers(self.signing.numbers());
        }
        failure.map_or(Ok(()), |error| {
            Err(NotSent {
                error: error.to_string(),
                partly: served,
            })
        })
    }

    /// The interface and its hardware address; without one there is no
    /// neighbour cache to speak to.
    fn speaker(&self, name: InterfaceName) -> io::Result<Option<(&InterfaceState, MacAddress)>> {
        let Some(interface) = self.interfaces.get(&name) else {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                "the interface does not exist",
            ));
        };
        Ok(interface.hardware_address.map(|mac| (interface, mac)))
    }

    fn solicit(&self, name: InterfaceName, source: IpAddr, target: IpAddr) -> io::Result<()> {
        let Some((interface, sender)) = self.speaker(name)? else {
            return Ok(());
        };
        let index = interface.index;
        match (source, target) {
            (IpAddr::V4(source), IpAddr::V4(target)) => {
                let frame = announcement::arp_request(source, sender, target);
                self.announcements.send(index, &frame)
            }
            (IpAddr::V6(source), IpAddr::V6(target)) => {
                let frame = announcement::neighbour_solicitation(source, sender, target);
                self.announcements.send(index, &frame)
            }
            // The configuration refuses peers of another family.
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => Ok(()),
        }
    }

    fn probe(&self, instance: InstanceId, source: IpAddr, address: IpAddr) -> io::Result<()> {
        let Some(outbox) = self.outboxes.get(&instance) else {
            return Ok(());
        };
        let name = outbox.interface;
        let IpAddr::V4(address) = address else {
            // Goes to those only who may have the address.
            return self.solicit(name, source, address);
        };
        let Some((interface, sender)) = self.speaker(name)? else {
            return Ok(());
        };
        let destination = if outbox.unicast {
            BROADCAST
        } else {
            VRRP_GROUP
        };
        let frame = announcement::arp_probe(address, sender, destination);
        self.announcements.send(interface.index, &frame)
    }

    fn inquire(&self, name: InterfaceName, address: IpAddr) -> io::Result<()> {
        let Some((interface, sender)) = self.speaker(name)? else {
            return Ok(());
        };
        match address {
            IpAddr::V4(address) => {
                let frame = announcement::arp_probe(address, sender, BROADCAST);
                self.announcements.send(interface.index, &frame)
            }
            IpAddr::V6(address) => {
                let source = link_local(interface).ok_or_else(|| {
                    io::Error::other("the interface has no usable link-local address")
                })?;
                let frame = announcement::neighbour_solicitation(source, sender, address);
                self.announcements.send(interface.index, &frame)
            }
        }
    }

    fn announce(&self, name: InterfaceName, address: IpAddr) -> io::Result<()> {
        let Some((interface, sender)) = self.speaker(name)? else {
            return Ok(());
        };
        let index = interface.index;
        match address {
            IpAddr::V4(address) => {
                let request = announcement::gratuitous_arp_request(address, sender);
                let reply = announcement::gratuitous_arp_reply(address, sender);
                self.announcements.send(index, &request)?;
                self.announcements.send(index, &reply)
            }
            IpAddr::V6(address) => {
                let router = interface.forwards_ipv6;
                let frame =
                    announcement::unsolicited_neighbour_advertisement(address, sender, router);
                self.announcements.send(index, &frame)
            }
        }
    }
}

/// By the instance's own interface or, where it has one, the one that its
/// virtual MAC lives on.
fn emit(
    (sockets, speaker): (&Sockets, &FarewellSocket),
    (interface, link): (InterfaceName, Option<InterfaceName>),
    message: &[u8],
    (source, destination): (IpAddr, IpAddr),
) -> io::Result<()> {
    let own = || sockets.send(interface, message, source, destination);
    match link {
        // Somebody may be taking it away at this moment.
        Some(link) => speaker
            .send(link, message, source, destination)
            .or_else(|_| own()),
        None => own(),
    }
}

fn link_local(interface: &InterfaceState) -> Option<Ipv6Addr> {
    let usable = interface.addresses.iter().filter(|one| !one.tentative);
    let mut own = usable.filter_map(|one| match one.network.addr() {
        IpAddr::V6(address) => Some(address),
        IpAddr::V4(_) => None,
    });
    own.find(Ipv6Addr::is_unicast_link_local)
}

fn kept(agent: &Agent) -> Vec<KeptMark> {
    let marks = agent.marks();
    marks
        .map(|(name, mark)| KeptMark::new(name, mark))
        .collect()
}

fn refused(order: &AddressOrder) -> String {
    format!(
        "too many address changes wait for the kernel; nothing was changed on {}",
        order.interface
    )
}

/// The error speaks of the other end, not of our ability to send.
pub(super) fn is_the_peers(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EHOSTUNREACH | libc::ECONNREFUSED | libc::EHOSTDOWN)
    )
}
