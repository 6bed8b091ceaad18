//! Listens on every interface that an instance advertises by: on the wire and,
//! behind this host's firewall, as a program. Asks meanwhile, where it may.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant, SystemTime};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::super::facts::{Hearing, Speaker, Subject};
use super::host::Interfaces;
use super::path_tests::{PathTests, Seen};
use crate::agent::event::{Heard, Timing};
use crate::agent::seal::Sequence;
use crate::agent::values::{Family, InterfaceName};
use crate::net::advert_socket::AdvertSocket;
use crate::net::wiretap::Wiretap;

/// Virtual routers that are told apart; beyond, the new ones are left out.
const SPEAKERS_MAX: usize = 1_024;
/// Packets that are looked at in one wake-up of one socket.
const BURST_MAX: usize = 256;
const PACKET_BYTES: usize = 4_096;

enum Ear {
    Wire(Wiretap),
    Program(AdvertSocket),
}

impl AsFd for Ear {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Ear::Wire(wiretap) => wiretap.as_fd(),
            Ear::Program(socket) => socket.as_fd(),
        }
    }
}

type Known = BTreeMap<(InterfaceName, IpAddr, u8, u8, bool), Speaker>;

/// For `span`, and no longer.
///
/// # Errors
///
/// A sentence, where nothing could be heard anywhere.
pub fn listen(
    subjects: &[Subject],
    interfaces: &Interfaces,
    span: Duration,
    ask: bool,
) -> Result<Hearing, String> {
    let mut tests = PathTests::new(subjects, span);
    let mut hearing = Hearing {
        span,
        ..Hearing::default()
    };
    let mut ears = Vec::new();
    for name in subjects
        .iter()
        .map(|subject| subject.interface)
        .collect::<BTreeSet<_>>()
    {
        let found = interfaces.get(&name);
        let Some(interface) = found.and_then(|found| found.as_ref().ok()?.as_ref()) else {
            continue;
        };
        match open(subjects, name, interface.state.index) {
            Ok(opened) => {
                ears.extend(opened);
                // What is without a cable has a finding of its own.
                if ask && interface.carrier && !span.is_zero() {
                    for family in [Family::Ipv4, Family::Ipv6] {
                        tests.prepare(&users(subjects, name, family), interface);
                    }
                }
            }
            Err(error) => drop(hearing.deaf.insert(name, error)),
        }
    }
    if ears.is_empty() && !hearing.deaf.is_empty() {
        let first = hearing.deaf.into_values().next();
        return Err(first.unwrap_or_default());
    }
    let mut known = Known::new();
    if let Err(errno) = hear(&ears, span, &mut known, &mut tests) {
        return Err(format!("nobody could wait for packets: {}", errno.desc()));
    }
    hearing.speakers = known.into_values().collect();
    (hearing.tests, hearing.passed) = tests.told();
    Ok(hearing)
}

fn open(subjects: &[Subject], name: InterfaceName, index: u32) -> Result<Vec<Ear>, String> {
    let wiretap = Wiretap::open(name, index).map_err(|error| error.to_string())?;
    let mut ears = vec![Ear::Wire(wiretap)];
    for family in [Family::Ipv4, Family::Ipv6] {
        let users = users(subjects, name, family);
        if users.is_empty() {
            continue;
        }
        let multicast = users.iter().any(|subject| subject.peers.is_empty());
        let socket = AdvertSocket::open(name, index, family, multicast);
        ears.push(Ear::Program(socket.map_err(|error| error.to_string())?));
    }
    Ok(ears)
}

fn users(subjects: &[Subject], name: InterfaceName, family: Family) -> Vec<&Subject> {
    let of = |subject: &&Subject| subject.interface == name && subject.family == family;
    subjects.iter().filter(of).collect()
}

fn hear(
    ears: &[Ear],
    span: Duration,
    known: &mut Known,
    tests: &mut PathTests,
) -> Result<(), Errno> {
    let mut buffer = vec![0; PACKET_BYTES];
    let began = Instant::now();
    loop {
        let elapsed = began.elapsed();
        if elapsed >= span {
            return Ok(());
        }
        let sockets = ears.iter().filter_map(|ear| match ear {
            Ear::Program(socket) => Some(socket),
            Ear::Wire(_) => None,
        });
        tests.ask(elapsed, sockets);
        let left = span.min(tests.next()).saturating_sub(elapsed);
        let mut waiting: Vec<PollFd> = ears
            .iter()
            .map(|ear| PollFd::new(ear.as_fd(), PollFlags::POLLIN))
            .collect();
        let left = left + Duration::from_millis(1);
        let patience = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut waiting, patience) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
        for ear in ears {
            for _ in 0..BURST_MAX {
                if !one(ear, &mut buffer, began.elapsed(), known, tests) {
                    break;
                }
            }
        }
    }
}

/// Returns whether there was a packet.
fn one(
    ear: &Ear,
    buffer: &mut [u8],
    at: Duration,
    known: &mut Known,
    tests: &mut PathTests,
) -> bool {
    match ear {
        Ear::Wire(wiretap) => match wiretap.recv(buffer) {
            Ok(Some(tapped)) => {
                let seen = match tapped.outgoing {
                    true => Seen::Leaving,
                    false => Seen::Arriving,
                };
                if tests.note(&tapped.heard, seen) {
                    return true;
                }
                if let Some(speaker) = note(known, &tapped.heard, at, tapped.outgoing) {
                    speaker.on_wire = speaker.on_wire.saturating_add(1);
                }
                true
            }
            Ok(None) | Err(_) => false,
        },
        Ear::Program(socket) => match socket.recv(buffer) {
            Ok(Some(heard)) => {
                if tests.note(&heard, Seen::Delivered) {
                    return true;
                }
                if let Some(speaker) = note(known, &heard, at, false) {
                    speaker.delivered = speaker.delivered.saturating_add(1);
                }
                true
            }
            Ok(None) | Err(_) => false,
        },
    }
}

fn note<'k>(
    known: &'k mut Known,
    heard: &Heard<'_>,
    at: Duration,
    outgoing: bool,
) -> Option<&'k mut Speaker> {
    let message = heard.message.as_ref().ok()?;
    let key = (
        heard.interface,
        heard.source,
        message.vrid,
        message.version,
        outgoing,
    );
    if !known.contains_key(&key) && known.len() >= SPEAKERS_MAX {
        return None;
    }
    let speaker = known.entry(key).or_insert_with(|| Speaker {
        interface: heard.interface,
        source: heard.source,
        destination: heard.destination,
        outgoing,
        vrid: message.vrid,
        version: message.version,
        priority: message.priority,
        interval: None,
        addresses: Vec::new(),
        hop_limit: heard.hop_limit,
        checksum_sound: true,
        sealed: false,
        clock_ahead_ms: None,
        last_at: at,
        on_wire: 0,
        delivered: 0,
    });
    speaker.last_at = at;
    speaker.priority = message.priority;
    speaker.hop_limit = heard.hop_limit;
    speaker.interval = match message.timing {
        Timing::V2 {
            interval_seconds, ..
        } => Some(Duration::from_secs(interval_seconds.into())),
        Timing::V3 {
            interval_centiseconds,
        } => Some(Duration::from_millis(u64::from(interval_centiseconds) * 10)),
        Timing::Unknown => None,
    };
    speaker.addresses = message.addresses.iter().collect();
    // What leaves may be summed up by the hardware.
    speaker.checksum_sound = outgoing || message.checksum.is_some();
    speaker.sealed = message.seal.is_some();
    speaker.clock_ahead_ms = message.seal.map(|seal| ahead_ms(seal.sequence));
    Some(speaker)
}

/// How far a signer's clock is ahead of ours.
fn ahead_ms(sequence: Sequence) -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = Sequence::at_clock(now.unwrap_or_default());
    let distance = i64::try_from(sequence.distance(now).as_millis()).unwrap_or(i64::MAX);
    match sequence.is_newer_than(now) {
        true => distance,
        false => -distance,
    }
}
