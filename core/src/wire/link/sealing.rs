//! Heads, keys and seals of the peer link. What is fresh is judged elsewhere.

use std::fmt;

use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::{DATAGRAM_BYTES_MAX, HEAD_BYTES, TAG_BYTES};
use crate::agent::cluster::{PathIndex, Refusal};
use crate::agent::values::NodeName;
use crate::wire::authentication::{KEY_BYTES_MAX, KEY_BYTES_MIN, KeyLength};

const MAGIC: [u8; 3] = *b"vpl";
const FORM: u8 = 1;

/// What keys and tags are made for; each ends in a zero, so that none is the
/// beginning of another.
const FOR_TAGS: &[u8] = b"vipward peer link 1: tag\0";
const FOR_SEALS: &[u8] = b"vipward peer link 1: seal\0";

/// One life of one node: drawn at its start, and never the same again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Boot(pub [u8; 12]);

impl Boot {
    /// Stands for a boot that is not known.
    pub const NONE: Boot = Boot([0; 12]);
}

/// One end of the link, as the other sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    pub boot: Boot,
    /// How many sessions this life has begun with the other end.
    pub turn: u32,
}

impl End {
    pub const NONE: End = End {
        boot: Boot::NONE,
        turn: 0,
    };
}

/// Stands for a node's name, which is not shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeTag([u8; 8]);

/// From whom to whom a message goes.
#[derive(Clone, Copy, Debug)]
pub struct Way<'n> {
    pub from: (&'n NodeName, Boot),
    pub to: (&'n NodeName, Boot),
}

/// The cluster's key, ready for use: wiped from memory when it goes.
#[derive(Clone)]
pub struct ClusterKey(Hmac<Sha256>);

impl fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterKey(..)")
    }
}

impl ClusterKey {
    /// # Errors
    ///
    /// The length is none of a key's.
    pub fn new(bytes: &[u8]) -> Result<Self, KeyLength> {
        let fits = (KEY_BYTES_MIN..=KEY_BYTES_MAX).contains(&bytes.len());
        fits.then(|| Self(keyed(bytes)))
            .ok_or(KeyLength(bytes.len()))
    }

    pub fn tag(&self, node: &NodeName) -> NodeTag {
        let mut mac = self.0.clone();
        mac.update(FOR_TAGS);
        mac.update(node.as_str().as_bytes());
        NodeTag(beginning(&mac.finalize().into_bytes()))
    }

    /// What seals everything that goes this way, and nothing else.
    pub fn cipher(&self, way: &Way<'_>) -> Cipher {
        let mut mac = self.0.clone();
        mac.update(FOR_SEALS);
        for (name, _) in [way.from, way.to] {
            let length = u64::try_from(name.as_str().len()).unwrap_or(u64::MAX);
            mac.update(&length.to_be_bytes());
            mac.update(name.as_str().as_bytes());
        }
        mac.update(&way.from.1.0);
        mac.update(&way.to.1.0);
        let mut key = Key::from(mac.finalize().into_bytes());
        let cipher = Cipher(ChaCha20Poly1305::new(&key));
        zeroize::Zeroize::zeroize(key.as_mut_slice());
        cipher
    }
}

fn keyed(bytes: &[u8]) -> Hmac<Sha256> {
    let mut block = Zeroizing::new([0; 64]);
    for (to, from) in block.iter_mut().zip(bytes) {
        *to = *from;
    }
    // HMAC fills a shorter key up with zeros to this very block.
    Hmac::new(&(*block).into())
}

fn beginning<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.first_chunk().copied().unwrap_or([0; N])
}

/// What stands in front of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The sender's.
    pub tag: NodeTag,
    pub sender: End,
    /// As the sender knows it; [`End::NONE`] in a hello.
    pub receiver: End,
    /// Grows with each message of the sender to the receiver, from 1.
    pub counter: u64,
}

impl Head {
    fn bytes(&self) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        let fields: [&[u8]; 8] = [
            &MAGIC,
            &[FORM],
            &self.tag.0,
            &self.sender.boot.0,
            &self.sender.turn.to_be_bytes(),
            &self.receiver.boot.0,
            &self.receiver.turn.to_be_bytes(),
            &self.counter.to_be_bytes(),
        ];
        for (to, from) in bytes.iter_mut().zip(fields.into_iter().flatten()) {
            *to = *from;
        }
        bytes
    }
}

/// A datagram taken apart, of which nothing is believed yet.
#[derive(Clone, Copy, Debug)]
pub struct Sealed<'d> {
    pub head: Head,
    clear: &'d [u8],
    body: &'d [u8],
}

impl<'d> Sealed<'d> {
    /// # Errors
    ///
    /// [`Refusal::Malformed`] or [`Refusal::OtherVersion`].
    pub fn read(datagram: &'d [u8]) -> Result<Self, Refusal> {
        let lengths = HEAD_BYTES + TAG_BYTES..=DATAGRAM_BYTES_MAX;
        if !datagram.starts_with(&MAGIC) || !lengths.contains(&datagram.len()) {
            return Err(Refusal::Malformed);
        }
        let (clear, body) = datagram
            .split_at_checked(HEAD_BYTES)
            .ok_or(Refusal::Malformed)?;
        let rest = clear.get(MAGIC.len()..).ok_or(Refusal::Malformed)?;
        let ([form], rest) = rest.split_first_chunk().ok_or(Refusal::Malformed)?;
        if *form != FORM {
            return Err(Refusal::OtherVersion);
        }
        let (tag, rest) = rest.split_first_chunk().ok_or(Refusal::Malformed)?;
        let (sender, rest) = end(rest).ok_or(Refusal::Malformed)?;
        let (receiver, rest) = end(rest).ok_or(Refusal::Malformed)?;
        let counter = rest.first_chunk().ok_or(Refusal::Malformed)?;
        let head = Head {
            tag: NodeTag(*tag),
            sender,
            receiver,
            counter: u64::from_be_bytes(*counter),
        };
        if head.sender.boot == Boot::NONE || head.counter == 0 {
            return Err(Refusal::Malformed);
        }
        Ok(Self { head, clear, body })
    }
}

fn end(bytes: &[u8]) -> Option<(End, &[u8])> {
    let (boot, rest) = bytes.split_first_chunk()?;
    let (turn, rest) = rest.split_first_chunk()?;
    let end = End {
        boot: Boot(*boot),
        turn: u32::from_be_bytes(*turn),
    };
    Some((end, rest))
}

/// Seals and opens the messages of one way.
#[derive(Clone)]
pub struct Cipher(ChaCha20Poly1305);

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cipher(..)")
    }
}

impl Cipher {
    /// The whole datagram. Never twice with one counter, whatever the path.
    pub fn seal(&self, path: PathIndex, head: &Head, message: &[u8]) -> Vec<u8> {
        let mut datagram = Vec::with_capacity(HEAD_BYTES + message.len() + TAG_BYTES);
        let clear = head.bytes();
        let mut body = message.to_vec();
        let sealed = self
            .0
            .encrypt_in_place(&nonce(path, head), &clear, &mut body);
        datagram.extend(clear);
        // It fails for messages of many gigabytes only; what then goes out is
        // refused as malformed, and shows nothing.
        if sealed.is_ok() {
            datagram.extend(body);
        }
        datagram
    }

    /// The message inside.
    ///
    /// # Errors
    ///
    /// [`Refusal::Forged`]: it was not sealed for this way and path.
    pub fn open(&self, path: PathIndex, sealed: &Sealed<'_>) -> Result<Vec<u8>, Refusal> {
        let mut body = sealed.body.to_vec();
        self.0
            .decrypt_in_place(&nonce(path, &sealed.head), sealed.clear, &mut body)
            .map_err(|_| Refusal::Forged)?;
        Ok(body)
    }
}

/// The path stands in no message; both ends know it. So none is believed on
/// another path than its own.
fn nonce(path: PathIndex, head: &Head) -> Nonce {
    let [a, b, c, d, e, f, g, h] = head.counter.to_be_bytes();
    Nonce::from([path.0, 0, 0, 0, a, b, c, d, e, f, g, h])
}
