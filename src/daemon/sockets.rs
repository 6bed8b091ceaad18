//! The ears of the agent: one advertisement socket for each interface and
//! family however many instances share it, and one watch for the
//! announcements of others. They follow their interface when it is deleted
//! and created again.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};

use crate::agent::event::{Event, InterfaceState};
use crate::agent::settings::InstanceSettings;
use crate::agent::values::{Family, InterfaceName};
use crate::net::advert_socket::AdvertSocket;
use crate::net::announcement_watch::AnnouncementWatch;
use crate::net::poller::Poller;

pub struct Sockets {
    poller: Poller,
    ears: Vec<Ear>,
    /// Where an interface's advertisement socket stands in `ears`.
    adverts: BTreeMap<(InterfaceName, Family), usize>,
}

/// One socket that should be open whenever its interface exists. Its place
/// in the list is its token in the poller.
struct Ear {
    interface: InterfaceName,
    family: Family,
    kind: Kind,
    /// Of the interface as last reported; `None` while it does not exist.
    index: Option<u32>,
    open: Option<Open>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Adverts { multicast: bool },
    Watch,
}

enum Open {
    Adverts(AdvertSocket),
    Watch(AnnouncementWatch),
}

impl AsFd for Open {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Open::Adverts(socket) => socket.as_fd(),
            Open::Watch(watch) => watch.as_fd(),
        }
    }
}

impl Sockets {
    /// Decides which sockets the instances need; none is open yet.
    pub fn new<'s>(instances: impl Iterator<Item = &'s InstanceSettings>) -> io::Result<Self> {
        let mut multicast = BTreeMap::new();
        let mut watches = BTreeMap::new();
        for instance in instances {
            let key = (instance.interface, instance.family);
            *multicast.entry(key).or_insert(false) |= instance.unicast_peers.is_empty();
            for address in &instance.addresses {
                let family = Family::of(address.network.addr());
                watches.insert((address.interface, family), ());
            }
        }
        let ear = |(interface, family), kind| Ear {
            interface,
            family,
            kind,
            index: None,
            open: None,
        };
        let mut ears = Vec::new();
        let mut adverts = BTreeMap::new();
        for (key, multicast) in multicast {
            adverts.insert(key, ears.len());
            ears.push(ear(key, Kind::Adverts { multicast }));
        }
        ears.extend(watches.into_keys().map(|key| ear(key, Kind::Watch)));
        Ok(Self {
            poller: Poller::new()?,
            ears,
            adverts,
        })
    }

    /// Opens, closes or reopens the sockets of an interface. What came of it
    /// is for the core.
    pub fn follow(
        &mut self,
        interface: InterfaceName,
        state: Option<&InterfaceState>,
    ) -> Vec<Event<'static>> {
        let index = state.map(|state| state.index);
        let mut events = Vec::new();
        for (token, ear) in (0..).zip(&mut self.ears) {
            if ear.interface == interface && ear.index != index {
                ear.close(&self.poller);
                ear.index = index;
                events.extend(ear.open(&self.poller, token));
            }
        }
        events
    }

    /// Tries again to open what could not be opened.
    pub fn retry(&mut self) -> Vec<Event<'static>> {
        let mut events = Vec::new();
        for (token, ear) in (0..).zip(&mut self.ears) {
            if ear.open.is_none() {
                events.extend(ear.open(&self.poller, token));
            }
        }
        events
    }

    /// Completes when some socket has something to read.
    pub async fn readable(&self) -> io::Result<()> {
        self.poller.readable().await
    }

    /// Appends the tokens of the sockets that have something to read now.
    pub fn ready(&self, tokens: &mut Vec<u64>) -> io::Result<()> {
        self.poller.ready(tokens)
    }

    /// The next packet of one socket; `None` when there is none.
    pub fn receive<'b>(&self, token: u64, buffer: &'b mut [u8]) -> io::Result<Option<Event<'b>>> {
        let position = usize::try_from(token).ok();
        let Some(ear) = position.and_then(|position| self.ears.get(position)) else {
            return Ok(None);
        };
        match &ear.open {
            None => Ok(None),
            Some(Open::Adverts(socket)) => Ok(socket.recv(buffer)?.map(Event::Advert)),
            Some(Open::Watch(watch)) => {
                let heard = watch.recv(buffer)?;
                Ok(
                    heard.map(|(address, hardware_address)| Event::Announcement {
                        interface: ear.interface,
                        address,
                        hardware_address,
                    }),
                )
            }
        }
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
        let ear = self.adverts.get(&key).and_then(|at| self.ears.get(*at));
        match ear.and_then(|ear| ear.open.as_ref()) {
            Some(Open::Adverts(socket)) => socket.send(message, source, destination),
            Some(Open::Watch(_)) | None => Err(io::Error::new(
                io::ErrorKind::NotConnected,
                format!("no socket is open on {interface}"),
            )),
        }
    }
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
