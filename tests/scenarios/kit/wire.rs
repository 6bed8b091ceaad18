//! The simulated segment: packets as values, a delay, cuts and losses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use vipward::agent::event::{AddressBytes, Heard, Malformed, Message, Timing, V2Authentication};
use vipward::agent::ladder::group;
use vipward::agent::seal::{Seal, Sequence, TRAILER_BYTES, Verifier, Witness};
use vipward::agent::settings::InstanceSettings;
use vipward::agent::time::Instant;
use vipward::agent::values::{ChecksumForm, Family, InstanceId, InterfaceName, Version};

use super::HostId;
use super::settings::{interface, ms};

/// A packet of protocol 112 that owns its bytes. Every field can be bent.
#[derive(Clone, Debug)]
pub struct Packet {
    pub interface: InterfaceName,
    pub family: Family,
    pub source: IpAddr,
    pub destination: IpAddr,
    pub hop_limit: u8,
    pub malformed: Option<Malformed>,
    pub version: u8,
    pub kind: u8,
    pub vrid: u8,
    pub priority: u8,
    pub count: u8,
    pub length_exact: bool,
    pub checksum: Option<ChecksumForm>,
    pub timing: Timing,
    pub addresses: Vec<u8>,
    pub sealed: Option<Sealed>,
    /// Sent by somebody who is none of the hosts.
    pub attack: bool,
}

impl Packet {
    /// What a router with these settings sends to the group.
    pub fn advert(settings: &InstanceSettings, source: IpAddr, priority: u8) -> Self {
        let mut bytes = Vec::new();
        let mut count = 0;
        for address in settings.advertised() {
            count += 1;
            match address {
                IpAddr::V4(address) => bytes.extend(address.octets()),
                IpAddr::V6(address) => bytes.extend(address.octets()),
            }
        }
        let timing = match settings.version {
            Version::V2 => Timing::V2 {
                interval_seconds: settings.advert_interval.as_seconds().expect("seconds"),
                authentication: V2Authentication::default(),
            },
            Version::V3 => Timing::V3 {
                interval_centiseconds: settings.advert_interval.as_centiseconds(),
            },
        };
        let checksum = match settings.version {
            Version::V2 => ChecksumForm::MessageOnly,
            Version::V3 => settings.checksum,
        };
        Self {
            interface: settings.interface,
            family: settings.family,
            source,
            destination: group(settings.family),
            hop_limit: 255,
            malformed: None,
            version: settings.version.number(),
            kind: 1,
            vrid: settings.vrid.get(),
            priority,
            count,
            length_exact: true,
            checksum: Some(checksum),
            timing,
            addresses: bytes,
            sealed: None,
            attack: false,
        }
    }

    /// For the trace.
    pub fn words(&self) -> String {
        let seal = self.sealed.map(|seal| {
            let wrong = if seal.genuine { "" } else { ", forged" };
            format!(", number {:x}{wrong}", seal.sequence.bits())
        });
        format!(
            "hears #{} priority {} from {}{}{}",
            self.vrid,
            self.priority,
            self.source,
            seal.unwrap_or_default(),
            if self.attack { ", by an attacker" } else { "" },
        )
    }

    pub fn heard(&self) -> Heard<'_> {
        self.heard_at(None)
    }

    /// By a host whose wall clock shows this; otherwise what the seal says.
    pub fn heard_at(&self, wall: Option<Sequence>) -> Heard<'_> {
        let message = match self.malformed {
            Some(malformed) => Err(malformed),
            None => Ok(Message {
                version: self.version,
                kind: self.kind,
                vrid: self.vrid,
                priority: self.priority,
                count: self.count,
                length_exact: self.length_exact,
                checksum: self.checksum,
                timing: self.timing,
                addresses: AddressBytes::new(self.family, &self.addresses),
                seal: self.sealed.map(|sealed| Seal {
                    kind: sealed.kind,
                    key: sealed.key,
                    sequence: sealed.sequence,
                    message: &[],
                    trailer: &[0; TRAILER_BYTES],
                }),
            }),
        };
        Heard {
            interface: self.interface,
            family: self.family,
            source: self.source,
            destination: self.destination,
            hop_limit: self.hop_limit,
            message,
            witness: self.sealed.map(|sealed| Witness {
                clock: wall.unwrap_or(sealed.our_clock),
                verifier: if sealed.genuine {
                    &Says(true)
                } else {
                    &Says(false)
                },
            }),
        }
    }
}

/// An authentication trailer, and what the receiver finds when it looks.
#[derive(Clone, Copy, Debug)]
pub struct Sealed {
    pub kind: u8,
    pub key: u8,
    pub sequence: Sequence,
    pub genuine: bool,
    pub our_clock: Sequence,
}

struct Says(bool);

impl Verifier for Says {
    fn is_genuine(&self, _: InstanceId, _: &Heard<'_>) -> bool {
        self.0
    }
}

/// What becomes of one packet on its way to one host: how late each copy of
/// it arrives; none when it is lost.
pub trait Weather {
    fn fate(&mut self, from: HostId, to: HostId, now: Instant) -> [Option<Duration>; 2];
}

/// Who hears whom, and how late.
pub struct Wire {
    /// Beside `delay`, cuts and losses.
    pub weather: Option<Box<dyn Weather>>,
    pub delay: Duration,
    /// A firewall drops protocol 112, and nothing else.
    pub eats_adverts: bool,
    /// The same, from the first to the second only.
    pub eaten: BTreeSet<(HostId, HostId)>,
    /// Hosts whose switch port is dead: nothing passes, their link is up.
    pub dead: BTreeSet<HostId>,
    /// Nothing passes from the first to the second.
    cuts: BTreeSet<(HostId, HostId)>,
    /// The same on one segment alone.
    cuts_on: BTreeSet<(InterfaceName, HostId, HostId)>,
    /// The next so many packets from the first to the second are lost.
    losses: BTreeMap<(HostId, HostId), u32>,
}

impl Wire {
    pub fn new() -> Self {
        Self {
            weather: None,
            delay: ms(1),
            eats_adverts: false,
            eaten: BTreeSet::new(),
            dead: BTreeSet::new(),
            cuts: BTreeSet::new(),
            cuts_on: BTreeSet::new(),
            losses: BTreeMap::new(),
        }
    }

    /// One direction only.
    pub fn cut(&mut self, from: HostId, to: HostId) {
        self.cuts.insert((from, to));
    }

    pub fn heal(&mut self, from: HostId, to: HostId) {
        self.cuts.remove(&(from, to));
    }

    pub fn lose(&mut self, from: HostId, to: HostId, packets: u32) {
        self.losses.insert((from, to), packets);
    }

    /// Nothing passes between the two on this segment.
    pub fn part_on(&mut self, segment: &str, one: HostId, other: HostId) {
        let segment = interface(segment);
        self.cuts_on.insert((segment, one, other));
        self.cuts_on.insert((segment, other, one));
    }

    pub fn heal_on(&mut self, segment: &str) {
        let segment = interface(segment);
        self.cuts_on.retain(|(on, _, _)| *on != segment);
    }

    pub fn is_cut_on(&self, segment: InterfaceName, from: HostId, to: HostId) -> bool {
        self.cuts_on.contains(&(segment, from, to))
    }

    /// Between whole hosts; segments that are cut stay so.
    pub fn heal_pairs(&mut self) {
        self.cuts.clear();
    }

    pub fn heal_all(&mut self) {
        self.cuts_on.clear();
        self.cuts.clear();
    }

    pub fn is_cut(&self, from: HostId, to: HostId) -> bool {
        self.cuts.contains(&(from, to)) || self.dead.contains(&from) || self.dead.contains(&to)
    }

    /// The numbers of those that do not hear the advertisements of a host.
    pub fn deaf_to(&self, from: HostId) -> Vec<usize> {
        let eaten = self.eaten.iter().filter(|(of, _)| *of == from);
        eaten.map(|(_, to)| to.0 + 1).collect()
    }

    /// No advertisement that the first sends heard by the second.
    pub fn is_deaf(&self, from: HostId, to: HostId) -> bool {
        self.is_cut(from, to) || self.eats_adverts || self.eaten.contains(&(from, to))
    }

    /// How late each copy of a packet arrives.
    pub fn fate(&mut self, from: HostId, to: HostId, now: Instant) -> [Option<Duration>; 2] {
        if !self.passes(from, to) {
            return [None, None];
        }
        match &mut self.weather {
            Some(weather) => weather.fate(from, to, now),
            None => [Some(self.delay), None],
        }
    }

    /// Asked once for each packet: a loss is used up by it.
    pub fn passes(&mut self, from: HostId, to: HostId) -> bool {
        if self.is_cut(from, to) {
            return false;
        }
        match self.losses.get_mut(&(from, to)) {
            Some(left) if *left > 0 => {
                *left -= 1;
                false
            }
            Some(_) | None => true,
        }
    }
}
