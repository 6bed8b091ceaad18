//! The ears of the agent: one advertisement socket for each interface and
//! family however many instances share it, one watch for the
//! announcements of others, and one for owners whose address is held here. They follow their interface when it is deleted
//! and created again.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};

use crate::agent::event::{Event, InterfaceState};
use crate::agent::settings::InstanceSettings;
use crate::agent::values::{Family, InterfaceName};
use crate::net::advert_socket::AdvertSocket;
use crate::net::announcement_watch::AnnouncementWatch;
use crate::net::datagrams::Datagrams;
use crate::net::owner_watch::OwnerWatch;
use crate::net::poller::Poller;
use crate::wire::path_test::Vrids;

pub struct Sockets {
    poller: Poller,
    /// By their tokens in the poller, which are never used again.
    ears: BTreeMap<u64, Ear>,
    next_token: u64,
    /// What each interface has, as last reported.
    local: BTreeMap<InterfaceName, Vec<IpAddr>>,
    /// The advertisement socket of an interface.
    adverts: BTreeMap<(InterfaceName, Family), u64>,
    /// The virtual routers that speak by it.
    vrids: BTreeMap<(InterfaceName, Family), Vrids>,
}

/// One socket that should be open whenever its interface exists.
struct Ear {
    interface: InterfaceName,
    family: Family,
    kind: Kind,
    /// Of the interface as last reported; `None` while it does not exist.
    index: Option<u32>,
    open: Option<Open>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Adverts { multicast: bool },
    Watch,
    Owners,
}

enum Open {
    Adverts(AdvertSocket),
    Watch(AnnouncementWatch),
    Owners(OwnerWatch),
}

impl AsFd for Open {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Open::Adverts(socket) => socket.as_fd(),
            Open::Watch(watch) => watch.as_fd(),
            Open::Owners(watch) => watch.as_fd(),
        }
    }
}

impl Sockets {
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            poller: Poller::new()?,
            ears: BTreeMap::new(),
            next_token: 0,
            local: BTreeMap::new(),
            adverts: BTreeMap::new(),
            vrids: BTreeMap::new(),
        })
    }

    /// Decides which sockets the instances need. Those that stay needed stay
    /// open; new ones open when their interface is next reported by
    /// [`Sockets::follow`].
    pub fn serve<'s>(&mut self, instances: impl Iterator<Item = &'s InstanceSettings>) {
        self.vrids.clear();
        let instances = instances.inspect(|instance| {
            let key = (instance.interface, instance.family);
            let vrids = self.vrids.entry(key).or_default();
            vrids.insert(instance.vrid.get());
        });
        let mut needed = needs(instances);
        self.ears.retain(|_, ear| {
            let stays = needed.remove(&(ear.interface, ear.family, ear.kind));
            if !stays {
                ear.close(&self.poller);
            }
            stays
        });
        for (interface, family, kind) in needed {
            let ear = Ear {
                interface,
                family,
                kind,
                index: None,
                open: None,
            };
            self.ears.insert(self.next_token, ear);
            self.next_token += 1;
        }
        let adverts = self.ears.iter();
        let adverts = adverts.filter(|(_, ear)| matches!(ear.kind, Kind::Adverts { .. }));
        self.adverts = adverts
            .map(|(token, ear)| ((ear.interface, ear.family), *token))
            .collect();
    }

    /// Opens, closes or reopens the sockets of an interface. What came of it
    /// is for the core.
    pub fn follow(
        &mut self,
        interface: InterfaceName,
        state: Option<&InterfaceState>,
    ) -> Vec<Event<'static>> {
        let mut addresses: Vec<_> = state.iter().flat_map(|state| &state.addresses).collect();
        // The host's own before those that it only has for now.
        addresses.sort_by_key(|own| own.ours);
        let addresses = addresses.into_iter().map(|own| own.network.addr());
        self.local.insert(interface, addresses.collect());
        let index = state.map(|state| state.index);
        let mut events = Vec::new();
        for (token, ear) in &mut self.ears {
            if ear.interface == interface && ear.index != index {
                ear.close(&self.poller);
                ear.index = index;
                events.extend(ear.open(&self.poller, *token));
            }
        }
        events
    }

    /// Tries again to open what could not be opened.
    pub fn retry(&mut self) -> Vec<Event<'static>> {
        let mut events = Vec::new();
        for (token, ear) in &mut self.ears {
            if ear.open.is_none() {
                events.extend(ear.open(&self.poller, *token));
            }
        }
        events
    }

    /// Where the link's sockets are looked after, too.
    pub fn poller(&self) -> &Poller {
        &self.poller
    }

    /// Completes when some socket has something to read.
    pub async fn readable(&self) -> io::Result<()> {
        self.poller.readable().await
    }

    /// Appends the tokens of the sockets that have something to read now.
    pub fn ready(&self, tokens: &mut Vec<u64>) -> io::Result<()> {
        self.poller.ready(tokens)
    }

    /// Whether [`Sockets::receive_many`] serves this one.
    pub fn gives_many(&self, token: u64) -> bool {
        self.ears.get(&token).is_some_and(|ear| {
            ear.family == Family::Ipv4 && matches!(ear.kind, Kind::Adverts { .. })
        })
    }

    /// Whether what comes by this one are claims of addresses.
    pub fn hears_announcements(&self, token: u64) -> bool {
        let ear = self.ears.get(&token);
        ear.is_some_and(|ear| matches!(ear.kind, Kind::Watch | Kind::Owners))
    }

    /// Replaces `datagrams` by those that wait, IPv4 headers and all, as many
    /// as fit. Returns where they came in.
    pub fn receive_many(&self, token: u64, datagrams: &mut Datagrams) -> io::Result<InterfaceName> {
        datagrams.clear();
        let ear = self.ears.get(&token).ok_or(io::ErrorKind::NotFound)?;
        if let Some(Open::Adverts(socket)) = &ear.open {
            socket.recv_many(datagrams)?;
        }
        Ok(ear.interface)
    }

    /// The next packet of one socket; `None` when there is none.
    pub fn receive<'b>(&self, token: u64, buffer: &'b mut [u8]) -> io::Result<Option<Event<'b>>> {
        let Some(ear) = self.ears.get(&token) else {
            return Ok(None);
        };
        match &ear.open {
            None => Ok(None),
            Some(Open::Adverts(socket)) => Ok(socket.recv(buffer)?.map(Event::Advert)),
            Some(Open::Owners(watch)) => {
                let heard = watch.recv(buffer)?;
                // Any other has come by the raw socket.
                let local = |source| self.local.values().flatten().any(|own| *own == source);
                Ok(heard.filter(|heard| local(heard.source)).map(Event::Advert))
            }
            Some(Open::Watch(watch)) => {
                let heard = watch.recv(buffer)?;
                let interface = ear.interface;
                Ok(heard.map(|claim| Event::Claim { interface, claim }))
            }
        }
    }

    /// The virtual routers that advertise by `interface`.
    pub fn vrids(&self, interface: InterfaceName, family: Family) -> Vrids {
        let vrids = self.vrids.get(&(interface, family));
        vrids.copied().unwrap_or_default()
    }

    /// What `interface` has of `family`, the host's own first.
    pub fn local(
        &self,
        interface: InterfaceName,
        family: Family,
    ) -> impl Iterator<Item = IpAddr> + '_ {
        let all = self.local.get(&interface).into_iter().flatten().copied();
        all.filter(move |address| Family::of(*address) == family)
    }

    /// Sends one advertisement of an instance on `interface`.
    pub fn send(
        &self,
        interface: InterfaceName,
        message: &[u8],
        source: IpAddr,
        destination: IpAddr,
    ) -> io::Result<()> {
        let key = (interface, Family::of(source));
        let ear = self.adverts.get(&key).and_then(|at| self.ears.get(at));
        match ear.and_then(|ear| ear.open.as_ref()) {
            Some(Open::Adverts(socket)) => socket.send(message, source, destination),
            Some(Open::Watch(_) | Open::Owners(_)) | None => Err(io::Error::new(
                io::ErrorKind::NotConnected,
                format!("no socket is open on {interface}"),
            )),
        }
    }
}

/// Every socket that these instances need, each once. One multicast instance
/// makes the shared socket a member of the group.
fn needs<'s>(
    instances: impl Iterator<Item = &'s InstanceSettings>,
) -> BTreeSet<(InterfaceName, Family, Kind)> {
    let mut multicast = BTreeMap::new();
    let mut needed = BTreeSet::new();
    for instance in instances {
        let key = (instance.interface, instance.family);
        *multicast.entry(key).or_insert(false) |= instance.unicast_peers.is_empty();
        // There answer the other routers and the witnesses.
        needed.insert((instance.interface, instance.family, Kind::Watch));
        for address in &instance.addresses {
            let family = Family::of(address.network.addr());
            needed.insert((address.interface, family, Kind::Watch));
        }
    }
    for ((interface, family), multicast) in multicast {
        if multicast && family == Family::Ipv4 {
            needed.insert((interface, family, Kind::Owners));
        }
        needed.insert((interface, family, Kind::Adverts { multicast }));
    }
    needed
}

impl Ear {
    fn close(&mut self, poller: &Poller) {
        if let Some(open) = self.open.take() {
            // A socket leaves the poller when it is closed, in any case.
            let _ = poller.remove(open.as_fd());
        }
    }

    fn open(&mut self, poller: &Poller, token: u64) -> Option<Event<'static>> {
        let index = self.index?;
        let (interface, family) = (self.interface, self.family);
        let opened = match self.kind {
            Kind::Adverts { multicast } => AdvertSocket::open(interface, index, family, multicast)
                .map(Open::Adverts)
                .map_err(|error| error.to_string()),
            Kind::Owners => OwnerWatch::open(interface, index)
                .map(Open::Owners)
                .map_err(|error| error.to_string()),
            Kind::Watch => AnnouncementWatch::open(interface, index, family)
                .map(Open::Watch)
                .map_err(|error| error.to_string()),
        };
        let outcome = opened.and_then(|open| {
            poller
                .add(open.as_fd(), token)
                .map_err(|error| error.to_string())?;
            self.open = Some(open);
            Ok(())
        });
        match self.kind {
            Kind::Adverts { .. } => Some(Event::Socket {
                interface,
                family,
                outcome,
            }),
            Kind::Owners => {
                if let Err(error) = outcome {
                    tracing::warn!(
                        "{error}; an owner that returns while this host stands in for it is \
                         not heard; trying again"
                    );
                }
                None
            }
            Kind::Watch => {
                if let Err(error) = outcome {
                    tracing::warn!(
                        "cannot watch {interface} for foreign announcements ({}): {error}; \
                         the election is unaffected, trying again",
                        family.name()
                    );
                }
                None
            }
        }
    }
}
