//! Which messages of other nodes are fresh, and what ours are sealed with. No
//! sockets, no clock.
//!
//! Each start of a node draws a boot identity, and every key is made of both
//! ends' identities. So a message sealed for *our* identity was made since our
//! start by somebody with the cluster's key: it is fresh, and both ends are
//! sure of it without a clock. What is sealed for another identity, or for
//! none (a hello), proves only that somebody with the key once made it: its
//! sender is a *guest*, whom we answer with a bare message for its identity.
//! When it is who it says, it answers that, for ours; then there is a session.
//!
//! ```text
//!     A                                  B
//!     hello (A, -)         ------>       A is a guest
//!     A's first session    <------       bare (B, A)
//!     message (A, B)       ------>       B's first session
//! ```
//!
//! A node that was started anew takes the place of its former life. The other
//! way round must not happen, however late a message of the former life comes:
//! so each end counts the sessions that it has begun with the other, tells the
//! number, and begins the next one with nobody who does not know it. Only who
//! was alive after the present session began can. Nothing has to be remembered
//! of lives that are over.
//!
//! Somebody without the key who repeats what was recorded brings about guests,
//! at most, and guests change no session.

use std::collections::VecDeque;
use std::net::IpAddr;

use super::window::Window;
use crate::agent::cluster::message::Message;
use crate::agent::cluster::{PathIndex, Refusal};
use crate::agent::settings::ClusterSettings;
use crate::agent::values::NodeName;
use crate::wire::link::sealing::{Boot, Cipher, ClusterKey, End, Head, NodeTag, Sealed, Way};
use crate::wire::link::{TooLong, decode, encode};

/// Guests of one node's name. Whoever repeats recordings of many boots without
/// end can keep the real one from being answered, as he could by dropping its
/// messages; he can do no more.
const GUESTS_MAX: usize = 4;

/// What a datagram came to.
#[derive(Debug)]
pub enum Opened {
    /// Fresh. Another `session` than before: a new life of theirs or ours.
    Heard {
        node: NodeName,
        path: PathIndex,
        session: u64,
        message: Box<Message>,
    },
    /// It wants an answer, and has shown nothing yet.
    Greeted { node: NodeName, path: PathIndex },
}

/// A datagram, and where to.
#[derive(Clone, Debug)]
pub struct Parcel {
    pub path: PathIndex,
    pub to: IpAddr,
    pub datagram: Vec<u8>,
}

pub struct Sessions {
    own: NodeName,
    key: ClusterKey,
    boot: Boot,
    tag: NodeTag,
    peers: Vec<Peer>,
    /// The last number given to a session.
    serial: u64,
}

struct Peer {
    name: NodeName,
    tag: NodeTag,
    addresses: Vec<IpAddr>,
    /// Of our last message to it. One row for all its identities, so none is
    /// used twice under one key.
    counter: u64,
    /// Sessions that we have begun with it.
    turn: u32,
    session: Option<Session>,
    guests: VecDeque<Guest>,
}

struct Session {
    serial: u64,
    /// The other end, as it was told last.
    end: End,
    window: Window,
    incoming: Cipher,
    outgoing: Cipher,
}

struct Guest {
    end: End,
    window: Window,
    /// It greeted, and was not answered since.
    waits: bool,
}

impl Sessions {
    /// `boot` is random, and never used before; `serial` the last number that
    /// was given to a session.
    pub fn new(settings: &ClusterSettings, key: ClusterKey, boot: Boot, serial: u64) -> Self {
        let mut sessions = Self {
            own: settings.own.clone(),
            tag: key.tag(&settings.own),
            boot,
            key,
            peers: Vec::new(),
            serial,
        };
        sessions.follow(settings);
        sessions
    }

    /// Goes on with these settings and keeps every session. `false`: a node is
    /// gone or we are another; nothing was changed. Then only new sessions
    /// will do, with another identity of ours: of a node that comes back all
    /// would be forgotten that must not come twice.
    pub fn follow(&mut self, settings: &ClusterSettings) -> bool {
        let stays = |peer: &Peer| settings.nodes.contains_key(&peer.name);
        if settings.own != self.own || !self.peers.iter().all(stays) {
            return false;
        }
        for (name, addresses) in &settings.nodes {
            match self.peers.iter_mut().find(|peer| peer.name == *name) {
                Some(peer) => peer.addresses.clone_from(addresses),
                None if *name == self.own => {}
                None => self.peers.push(Peer {
                    tag: self.key.tag(name),
                    name: name.clone(),
                    addresses: addresses.clone(),
                    counter: 0,
                    turn: 0,
                    session: None,
                    guests: VecDeque::new(),
                }),
            }
        }
        true
    }

    /// The last number that was given to a session.
    pub fn serial(&self) -> u64 {
        self.serial
    }

    /// Judges a datagram that came to the socket of `paths`. The cheap rungs
    /// come first, and nothing moves before the seal was found right.
    ///
    /// # Errors
    ///
    /// Why it is discarded; nothing was changed.
    pub fn open(
        &mut self,
        paths: &[PathIndex],
        source: IpAddr,
        datagram: &[u8],
    ) -> Result<Opened, Refusal> {
        let sealed = Sealed::read(datagram)?;
        let head = sealed.head;
        let Some(peer) = self.peers.iter_mut().find(|peer| peer.tag == head.tag) else {
            return Err(self.stranger(&head, paths, source));
        };
        let path = peer.path_from(paths, source);
        let path = path.ok_or(Refusal::UnexpectedSource)?;
        if !peer.admits(&head) {
            return Err(Refusal::Replayed);
        }
        let ours = head.receiver.boot == self.boot;
        let session = peer.session.as_ref();
        let session = session.filter(|session| ours && session.end.boot == head.sender.boot);
        let cipher = match session {
            Some(session) => session.incoming.clone(),
            None => self.key.cipher(&Way {
                from: (&peer.name, head.sender.boot),
                to: (&self.own, head.receiver.boot),
            }),
        };
        let message = cipher.open(path, &sealed)?;
        let node = peer.name.clone();
        if session.is_none() && !(ours && peer.expects(&head)) {
            peer.greeted(&head);
            return Ok(Opened::Greeted { node, path });
        }
        let message = Box::new(decode(&message)?);
        if session.is_none() {
            let outgoing = self.key.cipher(&Way {
                from: (&self.own, self.boot),
                to: (&peer.name, head.sender.boot),
            });
            self.serial += 1;
            peer.begin(self.serial, &head, cipher, outgoing);
        }
        let session = peer.heard(&head).ok_or(Refusal::Replayed)?;
        Ok(Opened::Heard {
            node,
            path,
            session,
            message,
        })
    }

    /// Tags are made with the key: a node with another one has another tag.
    /// Our own is nobody else's: what we sent does not come back.
    fn stranger(&self, head: &Head, paths: &[PathIndex], source: IpAddr) -> Refusal {
        let from_node = |peer: &Peer| peer.path_from(paths, source).is_some();
        match head.tag != self.tag && self.peers.iter().any(from_node) {
            true => Refusal::Forged,
            false => Refusal::UnknownNode,
        }
    }

    /// What has to be sent to tell `node` this, over each of its paths: the
    /// message in its session, something bare to each guest of its name, or a
    /// hello where there is neither. Nothing for a node that is not known.
    ///
    /// The message speaks of what was told before, in this session, so nobody
    /// else is given it.
    ///
    /// # Errors
    ///
    /// The message is too long; nothing is to be sent.
    pub fn seal(&mut self, node: &NodeName, message: &Message) -> Result<Vec<Parcel>, TooLong> {
        let Some(peer) = self.peers.iter_mut().find(|peer| peer.name == *node) else {
            return Ok(Vec::new());
        };
        let (own, boot, key) = (&self.own, self.boot, &self.key);
        let cipher_for = |to: Boot| {
            key.cipher(&Way {
                from: (own, boot),
                to: (node, to),
            })
        };
        let mut letters = Vec::new();
        if let Some(session) = &peer.session {
            letters.push((session.end, session.outgoing.clone(), encode(message)?));
        }
        for guest in &mut peer.guests {
            if std::mem::take(&mut guest.waits) {
                let cipher = cipher_for(guest.end.boot);
                letters.push((guest.end, cipher, encode(&bare(message))?));
            }
        }
        if letters.is_empty() {
            letters.push((End::NONE, cipher_for(Boot::NONE), Vec::new()));
        }
        let mut parcels = Vec::with_capacity(letters.len() * peer.addresses.len());
        for (path, to) in (0..=u8::MAX).map(PathIndex).zip(&peer.addresses) {
            for (receiver, cipher, text) in &letters {
                let Some(counter) = peer.counter.checked_add(1) else {
                    return Ok(parcels);
                };
                peer.counter = counter;
                let head = Head {
                    tag: self.tag,
                    sender: End {
                        boot,
                        turn: peer.turn,
                    },
                    receiver: *receiver,
                    counter,
                };
                parcels.push(Parcel {
                    path,
                    to: *to,
                    datagram: cipher.seal(path, &head, text),
                });
            }
        }
        Ok(parcels)
    }
}

/// True for whoever reads it, whatever he was told before.
fn bare(message: &Message) -> Message {
    Message {
        revision: message.revision,
        known: 0,
        pace: message.pace,
        clock_ms: 0,
        echo_ms: 0,
        heard_paths: None,
        program: message.program.clone(),
        news: None,
        words: Vec::new(),
    }
}

impl Peer {
    fn path_from(&self, paths: &[PathIndex], source: IpAddr) -> Option<PathIndex> {
        let is_from = |path: &&PathIndex| {
            let address = self.addresses.get(usize::from(path.0));
            address == Some(&source)
        };
        paths.iter().find(is_from).copied()
    }

    /// Not seen before, as far as can be told.
    fn admits(&self, head: &Head) -> bool {
        let session = self.session.iter();
        let windows = session.map(|session| (session.end.boot, &session.window));
        let guests = self.guests.iter();
        windows
            .chain(guests.map(|guest| (guest.end.boot, &guest.window)))
            .find(|(boot, _)| *boot == head.sender.boot)
            .is_none_or(|(_, window)| window.admits(head.counter))
    }

    /// It knows of the present session, so it is of a later life.
    fn expects(&self, head: &Head) -> bool {
        head.receiver.turn == self.turn && self.turn < u32::MAX
    }

    /// An authentic message in the session; its number.
    fn heard(&mut self, head: &Head) -> Option<u64> {
        let session = self.session.as_mut();
        let session = session.filter(|session| session.end.boot == head.sender.boot)?;
        session.window.mark(head.counter);
        session.end.turn = session.end.turn.max(head.sender.turn);
        Some(session.serial)
    }

    fn greeted(&mut self, head: &Head) {
        // It may not have heard us yet; what we tell it next will do.
        if self.heard(head).is_some() {
            return;
        }
        let mut guest = self.part_with(head.sender);
        guest.window.mark(head.counter);
        guest.end.turn = guest.end.turn.max(head.sender.turn);
        guest.waits = true;
        if self.guests.len() >= GUESTS_MAX {
            self.guests.pop_front();
        }
        self.guests.push_back(guest);
    }

    fn part_with(&mut self, end: End) -> Guest {
        let is_it = |guest: &Guest| guest.end.boot == end.boot;
        let place = self.guests.iter().position(is_it);
        let known = place.and_then(|place| self.guests.remove(place));
        known.unwrap_or(Guest {
            end,
            window: Window::default(),
            waits: false,
        })
    }

    /// It was made after the present session began, which is over.
    fn begin(&mut self, serial: u64, head: &Head, incoming: Cipher, outgoing: Cipher) {
        let Guest { end, window, .. } = self.part_with(head.sender);
        self.turn = self.turn.saturating_add(1);
        self.session = Some(Session {
            serial,
            end,
            window,
            incoming,
            outgoing,
        });
    }
}
