//! The authentication trailer (draft-cassen-vrrp-auth-hmac, as keepalived
//! 2.4.2 and later speak it), behind the VRRP message:
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! | Extension = 1 |    Key ID     |           Reserved            |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                         Seconds, UTC                          |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |            1/65536 s          |            Counter            |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |            HMAC-SHA-256, its first 128 bits                   |
//! |                                                               |
//! |                                                               |
//! |                                                               |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```
//!
//! It covers a pseudo-header, the message with its checksum field as zero,
//! and the trailer with its HMAC as zero. Over IPv6 the checksum covers the
//! trailer in turn, so it is made afterwards (`advertisement`).

use std::fmt;
use std::net::IpAddr;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::agent::event::Heard;
use crate::agent::seal::{KIND_HMAC, Sequence, TRAILER_BYTES};

/// Bytes of a key, at least and at most. At most the block of the hash: a
/// longer one would be hashed first, and gains nothing.
pub const KEY_BYTES_MIN: usize = 32;
pub const KEY_BYTES_MAX: usize = 64;
/// Of the trailer, before the HMAC.
const HEAD_BYTES: usize = 12;
const HMAC_BYTES: usize = 16;
/// Where the VRRP header has its checksum.
const CHECKSUM: std::ops::Range<usize> = 6..8;

/// A key, ready for use: wiped from memory when it goes, and never shown.
#[derive(Clone)]
pub struct Key(Hmac<Sha256>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key has {KEY_BYTES_MIN} to {KEY_BYTES_MAX} bytes, not {0}")]
pub struct KeyLength(pub usize);

impl Key {
    /// # Errors
    ///
    /// The length is none of a key's.
    pub fn new(bytes: &[u8]) -> Result<Self, KeyLength> {
        let length = KeyLength(bytes.len());
        if !(KEY_BYTES_MIN..=KEY_BYTES_MAX).contains(&bytes.len()) {
            return Err(length);
        }
        Hmac::new_from_slice(bytes).map(Self).map_err(|_| length)
    }

    /// Equal for equal keys, and tells nothing about one.
    pub fn fingerprint(&self) -> u64 {
        let mut mac = self.0.clone();
        mac.update(b"vipward key fingerprint 1");
        let whole = mac.finalize().into_bytes();
        let beginning = whole.first_chunk().copied();
        u64::from_be_bytes(beginning.unwrap_or_default())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// What an advertisement is signed with.
#[derive(Clone, Copy, Debug)]
pub struct Signature<'k> {
    pub key: &'k Key,
    pub key_id: u8,
    pub sequence: Sequence,
}

/// The trailer for a whole VRRP message, whatever its checksum field says.
/// Nothing for what is shorter than a VRRP header.
pub fn trailer(
    signature: &Signature<'_>,
    source: IpAddr,
    message: &[u8],
) -> Option<[u8; TRAILER_BYTES]> {
    let mut trailer = [0; TRAILER_BYTES];
    let (head, tag) = trailer.split_at_mut(HEAD_BYTES);
    let fixed = [KIND_HMAC, signature.key_id, 0, 0];
    head.get_mut(..4)?.copy_from_slice(&fixed);
    let sequence = signature.sequence.bits().to_be_bytes();
    head.get_mut(4..)?.copy_from_slice(&sequence);
    let whole = over(signature.key, source, message, head)?
        .finalize()
        .into_bytes();
    tag.copy_from_slice(whole.get(..HMAC_BYTES)?);
    Some(trailer)
}

/// Whether the trailer of `heard` was made with `key`. Compares in constant
/// time.
pub fn is_genuine(key: &Key, heard: &Heard<'_>) -> bool {
    let seal = heard.message.as_ref().ok().and_then(|message| message.seal);
    let Some(seal) = seal.filter(|seal| seal.kind == KIND_HMAC) else {
        return false;
    };
    let (head, tag) = seal.trailer.split_at(HEAD_BYTES);
    over(key, heard.source, seal.message, head)
        .is_some_and(|mac| mac.verify_truncated_left(tag).is_ok())
}

fn over(key: &Key, source: IpAddr, message: &[u8], head: &[u8]) -> Option<Hmac<Sha256>> {
    let version = message.first()? >> 4;
    let vrid = *message.get(1)?;
    let mut address = [0; 16];
    let family = match source {
        IpAddr::V4(source) => {
            address.get_mut(..4)?.copy_from_slice(&source.octets());
            4
        }
        IpAddr::V6(source) => {
            address = source.octets();
            6
        }
    };
    let mut mac = key.0.clone();
    mac.update(&[family, version, vrid, 0]);
    mac.update(&address);
    mac.update(message.get(..CHECKSUM.start)?);
    mac.update(&[0; 2]);
    mac.update(message.get(CHECKSUM.end..)?);
    mac.update(head);
    mac.update(&[0; HMAC_BYTES]);
    Some(mac)
}
