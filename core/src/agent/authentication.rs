//! Rung 14 of the receive ladder: who may be believed. What is not fresh is
//! refused before its HMAC is looked at, so that a flood of captures costs
//! little; a mark moves only for what is genuine (PROTOCOL section 4).

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use super::event::{Heard, Message, Timing};
use super::ladder::Receiver;
use super::seal::{KIND_HMAC, Seal, Sequence, Witness};
use super::settings::{AntiReplay, Authentication, HmacSettings, Mode};
use super::status::Rejection;

/// Senders and keys remembered for one instance. Only who has a key gets in;
/// at the bound the one heard longest ago goes, and must then pass the clock
/// again.
const MARKS_MAX: usize = 256;

/// The newest advertisement that was genuine, of one sender with one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    pub source: IpAddr,
    pub key: u8,
    pub sequence: Sequence,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Marks {
    /// With the number of the move that set it.
    marks: BTreeMap<(IpAddr, u8), (Sequence, u64)>,
    moves: u64,
}

impl Marks {
    pub fn get(&self, source: IpAddr, key: u8) -> Option<Sequence> {
        let mark = self.marks.get(&(source, key));
        mark.map(|(sequence, _)| *sequence)
    }

    pub fn set(&mut self, mark: Mark) {
        self.moves += 1;
        let key = (mark.source, mark.key);
        self.marks.insert(key, (mark.sequence, self.moves));
        if self.marks.len() > MARKS_MAX {
            let oldest = self.marks.iter().min_by_key(|(_, (_, moved))| *moved);
            if let Some(key) = oldest.map(|(key, _)| *key) {
                self.marks.remove(&key);
            }
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = Mark> {
        self.marks
            .iter()
            .map(|((source, key), (sequence, _))| Mark {
                source: *source,
                key: *key,
                sequence: *sequence,
            })
    }
}

/// Why an advertisement is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Distrust {
    /// Version 2: a type of authentication that is not ours.
    Type(u8),
    Password,
    Missing,
    UnknownTrailer(u8),
    UnknownKey(u8),
    WrongKey(u8),
    Replayed,
    /// Signed so long ago by our clock.
    Stale {
        by: Duration,
        window: Duration,
    },
    /// Signed so long from now by our clock.
    Clock {
        by: Duration,
        window: Duration,
    },
    NoMark {
        by: Duration,
        window: Duration,
    },
}

impl Distrust {
    pub fn kind(self) -> Rejection {
        match self {
            Distrust::Type(_) => Rejection::Type,
            Distrust::Password => Rejection::Password,
            Distrust::Missing => Rejection::Missing,
            Distrust::UnknownTrailer(_) => Rejection::UnknownTrailer,
            Distrust::UnknownKey(_) => Rejection::UnknownKey,
            Distrust::WrongKey(_) => Rejection::WrongKey,
            Distrust::Replayed => Rejection::Replayed,
            Distrust::Stale { .. } => Rejection::Stale,
            Distrust::Clock { .. } => Rejection::Clock,
            Distrust::NoMark { .. } => Rejection::NoMark,
        }
    }
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind();
        match self {
            Distrust::Type(kind) => write!(
                f,
                "it uses authentication type {kind}, this instance uses another or none"
            ),
            Distrust::UnknownTrailer(kind) => write!(
                f,
                "its trailer is of type {kind}, and type 1 alone is understood"
            ),
            Distrust::UnknownKey(key) | Distrust::WrongKey(key) => {
                write!(f, "key {key}: {}", kind.meaning())
            }
            Distrust::Stale { by, window }
            | Distrust::Clock { by, window }
            | Distrust::NoMark { by, window } => write!(
                f,
                "{}; it differs from this host's clock by {:.1} s, and {:.1} s are allowed",
                kind.meaning(),
                by.as_secs_f64(),
                window.as_secs_f64()
            ),
            Distrust::Password | Distrust::Missing | Distrust::Replayed => {
                f.write_str(kind.meaning())
            }
        }
    }
}

/// The mark that the advertisement sets once it is accepted; nothing where it
/// needed no proof.
pub(super) fn judge(
    heard: &Heard<'_>,
    message: &Message<'_>,
    receiver: &Receiver<'_>,
) -> Result<Option<Mark>, Distrust> {
    let authentication = &receiver.settings.authentication;
    simple_password(message, authentication)?;
    let Authentication::Hmac(settings) = authentication else {
        // A trailer behind what needs none is nobody's business.
        return Ok(None);
    };
    let Some(seal) = &message.seal else {
        return match settings.mode {
            Mode::Enforce => Err(Distrust::Missing),
            Mode::Permissive | Mode::ReceiveOnly => Ok(None),
        };
    };
    if seal.kind != KIND_HMAC {
        return Err(Distrust::UnknownTrailer(seal.kind));
    }
    let key = seal.key;
    let witness = heard.witness.filter(|_| settings.keys.contains(&key));
    let Some(witness) = witness else {
        return Err(Distrust::UnknownKey(key));
    };
    fresh(heard.source, seal, settings, receiver, &witness)?;
    if !witness.verifier.is_genuine(receiver.id, heard) {
        return Err(Distrust::WrongKey(key));
    }
    Ok(Some(Mark {
        source: heard.source,
        key,
        sequence: seal.sequence,
    }))
}

/// RFC 2338 section 5.3.6: kept for pairs that still use it. It stands in the
/// packet for all to read.
fn simple_password(message: &Message<'_>, ours: &Authentication) -> Result<(), Distrust> {
    let Timing::V2 { authentication, .. } = message.timing else {
        return Ok(());
    };
    match (ours, authentication.kind) {
        (Authentication::Password(password), 1) => {
            let right = password.0 == authentication.data;
            right.then_some(()).ok_or(Distrust::Password)
        }
        (Authentication::Password(_), 0) => Err(Distrust::Missing),
        (Authentication::None | Authentication::Hmac(_), 0) => Ok(()),
        (_, kind) => Err(Distrust::Type(kind)),
    }
}

fn fresh(
    source: IpAddr,
    seal: &Seal<'_>,
    settings: &HmacSettings,
    receiver: &Receiver<'_>,
    witness: &Witness<'_>,
) -> Result<(), Distrust> {
    let mark = receiver.marks.get(source, seal.key);
    if mark.is_some_and(|mark| !seal.sequence.is_newer_than(mark)) {
        return Err(Distrust::Replayed);
    }
    let window = settings.window;
    let by = seal.sequence.distance(witness.clock);
    if by <= window {
        return Ok(());
    }
    match (settings.anti_replay, mark) {
        (AntiReplay::Monotonic, Some(_)) => Ok(()),
        (AntiReplay::Monotonic, None) => Err(Distrust::NoMark { by, window }),
        (AntiReplay::Time, _) if seal.sequence.is_newer_than(witness.clock) => {
            Err(Distrust::Clock { by, window })
        }
        (AntiReplay::Time, _) => Err(Distrust::Stale { by, window }),
    }
}
