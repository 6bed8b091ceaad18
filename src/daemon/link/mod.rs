//! The peer link's sockets, and what comes and goes by them. Nothing in here
//! waits; what is told when is the core's decision.

pub mod sessions;
mod window;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;

use crate::agent::cluster::message::Message;
use crate::agent::cluster::{LinkEvent, PathIndex, Refusal};
use crate::agent::settings::ClusterSettings;
use crate::agent::values::NodeName;
use crate::config::Secret;
use crate::net::link_socket::{LinkSocket, Received};
use crate::net::poller::Poller;
use crate::wire::link::DATAGRAM_BYTES_MAX;
use crate::wire::link::sealing::{Boot, ClusterKey};
use sessions::{Opened, Sessions};

/// Datagrams taken from one socket in one turn. The rest waits in the kernel,
/// whose buffer drops what is too much; nodes are told again.
pub const DATAGRAMS_PER_SOCKET: usize = 64;

/// Tokens from here on are the link's.
const TOKENS: u64 = 1 << 63;

/// Off until it is told of a cluster.
#[derive(Default)]
pub struct Link {
    live: Option<Live>,
    /// Handed out so far; none is used twice.
    tokens: u64,
    /// The last number given to a session, whosever.
    serial: u64,
    /// For the core, of what could not be sent.
    news: Vec<LinkEvent>,
}

struct Live {
    settings: ClusterSettings,
    key: Secret,
    sessions: Sessions,
    ears: Vec<Ear>,
    /// Why the last message to a node could not be sent over a path; the core
    /// hears of it when that changes.
    unsent: BTreeMap<(NodeName, PathIndex), String>,
}

/// One socket, and the paths that end at its address.
struct Ear {
    address: SocketAddr,
    paths: Vec<PathIndex>,
    token: u64,
    socket: Option<LinkSocket>,
    /// It was said that it cannot be opened.
    complained: bool,
}

/// Whether a token of the poller is one of the link's sockets.
pub fn owns(token: u64) -> bool {
    token >= TOKENS
}

impl Link {
    /// Serves this cluster from now on. Sockets and sessions that stay needed
    /// stay; another key, and a node that is gone, make all sessions new.
    pub fn serve(
        &mut self,
        cluster: Option<&ClusterSettings>,
        key: Option<&Secret>,
        poller: &Poller,
    ) {
        let wanted = cluster.zip(key);
        let before = self.live.take();
        if let Some(live) = &before {
            self.serial = live.sessions.serial();
        }
        let (sessions, ears) = match before {
            Some(live) => {
                let same = wanted.is_some_and(|(_, key)| live.key == *key);
                (same.then_some(live.sessions), live.ears)
            }
            None => (None, Vec::new()),
        };
        let Some((settings, key)) = wanted else {
            ears.iter().for_each(|ear| ear.close(poller));
            return;
        };
        let going_on = sessions.and_then(|mut sessions| {
            let goes_on = sessions.follow(settings);
            goes_on.then_some(sessions)
        });
        let sessions = going_on.map_or_else(|| begin(settings, key, self.serial), Ok);
        let sessions = match sessions {
            Ok(sessions) => sessions,
            Err(error) => {
                tracing::error!(
                    "no peer link: {error}; other nodes are neither heard nor told, the \
                     election is unaffected; reload to try again"
                );
                ears.iter().for_each(|ear| ear.close(poller));
                return;
            }
        };
        let mut live = Live {
            settings: settings.clone(),
            key: key.clone(),
            sessions,
            ears: self.ears(settings, ears, poller),
            unsent: BTreeMap::new(),
        };
        live.open(poller);
        self.live = Some(live);
    }

    /// One for each address that our paths end at, or for the one where all
    /// do.
    fn ears(
        &mut self,
        settings: &ClusterSettings,
        mut before: Vec<Ear>,
        poller: &Poller,
    ) -> Vec<Ear> {
        let mut ears: Vec<Ear> = Vec::new();
        let own = settings.nodes.get(&settings.own);
        for (path, own) in (0..=u8::MAX).map(PathIndex).zip(own.into_iter().flatten()) {
            let listen = settings.listen;
            let at = match listen.ip().is_unspecified() {
                true => *own,
                false => listen.ip(),
            };
            let address = SocketAddr::new(at, listen.port());
            if let Some(ear) = ears.iter_mut().find(|ear| ear.address == address) {
                ear.paths.push(path);
                continue;
            }
            let known = before.iter().position(|ear| ear.address == address);
            let known = known.map(|place| before.swap_remove(place));
            let paths = vec![path];
            ears.push(match known {
                Some(ear) => Ear { paths, ..ear },
                None => {
                    self.tokens += 1;
                    Ear {
                        address,
                        paths,
                        token: TOKENS + self.tokens,
                        socket: None,
                        complained: false,
                    }
                }
            });
        }
        before.iter().for_each(|ear| ear.close(poller));
        ears
    }

    /// Tries again to open what could not be opened.
    pub fn retry(&mut self, poller: &Poller) {
        if let Some(live) = &mut self.live {
            live.open(poller);
        }
    }

    /// The next datagram of one socket; `None` when there is none.
    pub fn receive(&mut self, token: u64, buffer: &mut [u8]) -> io::Result<Option<LinkEvent>> {
        let Some(live) = &mut self.live else {
            return Ok(None);
        };
        let Some(ear) = live.ears.iter().find(|ear| ear.token == token) else {
            return Ok(None);
        };
        let Some(socket) = &ear.socket else {
            return Ok(None);
        };
        // A longer one is none of ours, whatever it begins with.
        let length = buffer.len().min(DATAGRAM_BYTES_MAX);
        let buffer = buffer.get_mut(..length).unwrap_or_default();
        let (source, datagram) = match socket.recv(buffer)? {
            Received::Nothing => return Ok(None),
            Received::Datagram(source, datagram) => (source, datagram),
            Received::CutOff(source) => {
                let why = Refusal::Malformed;
                return Ok(Some(LinkEvent::Refused { source, why }));
            }
        };
        Ok(Some(
            match live.sessions.open(&ear.paths, source, datagram) {
                Ok(Opened::Heard {
                    node,
                    path,
                    session,
                    message,
                }) => LinkEvent::Heard {
                    node,
                    path,
                    session,
                    message,
                },
                Ok(Opened::Greeted { node, path }) => LinkEvent::Greeted { node, path },
                Err(why) => LinkEvent::Refused { source, why },
            },
        ))
    }

    /// Sends what tells `node` this, over each of its paths.
    pub fn tell(&mut self, node: &NodeName, message: &Message) {
        if let Some(live) = &mut self.live {
            live.tell(node, message, &mut self.news);
        }
    }

    /// What came of telling, for the core. Each but once.
    pub fn news(&mut self) -> impl Iterator<Item = LinkEvent> {
        self.news.drain(..)
    }
}

fn begin(settings: &ClusterSettings, key: &Secret, serial: u64) -> Result<Sessions, String> {
    let key = ClusterKey::new(key.bytes()).map_err(|error| error.to_string())?;
    let mut boot = [0; 12];
    getrandom::fill(&mut boot).map_err(|error| format!("no random numbers: {error}"))?;
    Ok(Sessions::new(settings, key, Boot(boot), serial))
}

impl Live {
    fn open(&mut self, poller: &Poller) {
        for ear in &mut self.ears {
            ear.open(poller);
        }
    }

    fn tell(&mut self, node: &NodeName, message: &Message, news: &mut Vec<LinkEvent>) {
        let parcels = match self.sessions.seal(node, message) {
            Ok(parcels) => parcels,
            Err(error) => {
                let paths = self.settings.nodes.get(node).map_or(0, Vec::len);
                for path in (0..=u8::MAX).map(PathIndex).take(paths) {
                    self.note(node, path, Some(error.to_string()), news);
                }
                return;
            }
        };
        let port = self.settings.listen.port();
        for parcel in parcels {
            let error = self.send(parcel.path, &parcel.datagram, parcel.to, port);
            self.note(node, parcel.path, error, news);
        }
    }

    /// What kept it from being sent, if anything did.
    fn send(&self, path: PathIndex, datagram: &[u8], to: IpAddr, port: u16) -> Option<String> {
        let ear = self.ears.iter().find(|ear| ear.paths.contains(&path));
        let Some(socket) = ear.and_then(|ear| ear.socket.as_ref()) else {
            return Some("no socket is open".to_owned());
        };
        let error = socket.send(datagram, SocketAddr::new(to, port)).err()?;
        let own = socket.address().ip();
        Some(match error.raw_os_error() {
            // Depending on its age and family the kernel says any of these when
            // the source is none of its addresses.
            Some(libc::ENETUNREACH | libc::EINVAL | libc::EADDRNOTAVAIL) => {
                format!("{error}: there is no route, or {own} is not an address of this host now")
            }
            Some(_) | None => error.to_string(),
        })
    }

    fn note(
        &mut self,
        node: &NodeName,
        path: PathIndex,
        error: Option<String>,
        news: &mut Vec<LinkEvent>,
    ) {
        let key = (node.clone(), path);
        let Some(error) = error else {
            self.unsent.remove(&key);
            return;
        };
        if self.unsent.get(&key) == Some(&error) {
            return;
        }
        self.unsent.insert(key, error.clone());
        news.push(LinkEvent::Unsent {
            node: node.clone(),
            path,
            error,
        });
    }
}

impl Ear {
    fn open(&mut self, poller: &Poller) {
        if self.socket.is_some() {
            return;
        }
        let opened = LinkSocket::open(self.address).map_err(|error| error.to_string());
        let opened = opened.and_then(|socket| {
            let added = poller.add(socket.as_fd(), self.token);
            added.map_err(|error| error.to_string())?;
            Ok(socket)
        });
        match opened {
            Ok(socket) => {
                self.socket = Some(socket);
                if std::mem::take(&mut self.complained) {
                    tracing::info!("the peer link's socket at {} is open now", self.address);
                }
            }
            Err(error) if !self.complained => {
                self.complained = true;
                tracing::warn!(
                    "{error}; other nodes are not heard there, the election is unaffected, \
                     trying again"
                );
            }
            Err(_) => {}
        }
    }

    fn close(&self, poller: &Poller) {
        if let Some(socket) = &self.socket {
            // A socket leaves the poller when it is closed, in any case.
            let _ = poller.remove(socket.as_fd());
        }
    }
}
