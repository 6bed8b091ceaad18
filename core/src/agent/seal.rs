//! Authentication as the core knows it: which advertisement is newer, and
//! that somebody outside can say whether a seal is genuine. No key comes in
//! here.

use std::fmt;
use std::time::Duration;

use super::event::Heard;
use super::values::InstanceId;

/// When an advertisement was signed, by its sender's clock, and in which
/// order: seconds (UTC, 32 bits), 1/65536 s (16 bits), counter (16 bits), as
/// one number on a circle (RFC 1982 with 64 bits).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sequence(u64);

impl Sequence {
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub const fn bits(self) -> u64 {
        self.0
    }

    /// A clock's time since 1970, with counter 0. The seconds wrap in 2106.
    pub fn at_clock(since_epoch: Duration) -> Self {
        let fraction = u64::from(since_epoch.subsec_nanos()) * 65_536 / 1_000_000_000;
        Self((since_epoch.as_secs() << 32) | (fraction << 16))
    }

    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }

    /// The number that a sender takes after `self`: its clock's, or the next
    /// one where the clock has not moved on, or back.
    #[must_use]
    pub fn after(self, clock: Sequence) -> Self {
        if clock.is_newer_than(self) {
            clock
        } else {
            self.next()
        }
    }

    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.wrapping_add(Self::at_clock(span).0))
    }

    /// RFC 1982 section 3.2. At the distance of half the circle, where it is
    /// undefined, neither is newer.
    pub fn is_newer_than(self, other: Sequence) -> bool {
        let ahead = self.0.wrapping_sub(other.0);
        ahead != 0 && ahead < 1 << 63
    }

    /// The way between the two, the shorter one.
    pub fn distance(self, other: Sequence) -> Duration {
        let ahead = self.0.wrapping_sub(other.0);
        let bits = ahead.min(ahead.wrapping_neg());
        let nanos = ((bits & 0xffff_ffff) * 1_000_000_000) >> 32;
        Duration::from_secs(bits >> 32) + Duration::from_nanos(nanos)
    }
}

/// An authentication trailer as it stood behind a message. What it says is
/// believed once a [`Verifier`] has confirmed it.
#[derive(Clone, Copy, Debug)]
pub struct Seal<'a> {
    /// Type of the extension; 1 is an HMAC.
    pub kind: u8,
    pub key: u8,
    pub sequence: Sequence,
    /// The VRRP message before it, and the trailer itself, which the HMAC
    /// covers.
    pub message: &'a [u8],
    pub trailer: &'a [u8; TRAILER_BYTES],
}

/// Length of the trailer (draft-cassen-vrrp-auth-hmac).
pub const TRAILER_BYTES: usize = 28;
/// Type of the extension that carries an HMAC.
pub const KIND_HMAC: u8 = 1;

/// Who knows the keys.
pub trait Verifier: Sync {
    /// Whether the seal of `heard` was made with the key of this instance
    /// that it names. Takes as long for a wrong one as for a right one.
    fn is_genuine(&self, instance: InstanceId, heard: &Heard<'_>) -> bool;
}

/// What is needed to judge a seal, and comes with the packet.
#[derive(Clone, Copy)]
pub struct Witness<'a> {
    /// This host's clock, the one that people set, when the packet was read.
    pub clock: Sequence,
    pub verifier: &'a dyn Verifier,
}

impl fmt::Debug for Witness<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Witness")
            .field("clock", &self.clock)
            .finish_non_exhaustive()
    }
}
