//! A firewall's rules as far as they concern us, and what would become of a
//! packet. What is not understood may match: so it is never said that a packet
//! is dropped when it only may be.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::agent::values::Family;

mod iptables;
mod nft;

pub use iptables::from_iptables_save;
pub use nft::from_nft_json;

/// Chains that are called from chains, at most so deep.
const DEPTH_MAX: usize = 16;
/// Rules that are looked at for one packet.
const STEPS_MAX: usize = 20_000;

/// Rules of one program's kernel interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ruleset {
    pub chains: Vec<Chain>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// `inet filter`: where its name is known.
    pub table: String,
    pub name: String,
    /// Nothing in a chain that is only called.
    pub base: Option<Base>,
    pub rules: Vec<Rule>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Base {
    pub hook: Hook,
    /// What becomes of a packet at the chain's end.
    pub drops: bool,
    /// Nothing: both.
    pub family: Option<Family>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// Before and after the routing decision, on the way in.
    Incoming,
    /// Likewise on the way out.
    Outgoing,
    /// Of no concern here.
    Other,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// All must hold.
    pub tests: Vec<Test>,
    pub verdict: Verdict,
    /// As a person would write it, for the message.
    pub text: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Test {
    pub what: What,
    /// It holds where `what` does not.
    pub negated: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The packet's protocol is one of these.
    Protocol(Vec<u8>),
    /// Names, of which those that end in `*` or `+` are beginnings.
    InInterface(Vec<String>),
    OutInterface(Vec<String>),
    Source(Vec<IpNet>),
    Destination(Vec<IpNet>),
    /// First and last.
    DestinationPort(Vec<(u16, u16)>),
    Family(Family),
    /// Of a new connection, or of one that exists already.
    Connection {
        new: bool,
        established: bool,
    },
    /// Something else.
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Accept,
    Drop,
    Jump(String),
    Goto(String),
    Return,
    /// Counts, logs, marks.
    Continue,
    /// A program, or something we do not know, decides.
    Unknown,
}

/// A packet as it would be.
#[derive(Clone, Debug)]
pub struct Packet {
    pub hook: Hook,
    pub family: Family,
    pub protocol: u8,
    pub interface: String,
    /// Nothing: any.
    pub source: Option<IpAddr>,
    pub destination: Option<IpAddr>,
    pub destination_port: Option<u16>,
    /// Packets went the other way before, so it may count as an answer.
    pub answers: bool,
}

/// What becomes of it, and by which rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    Passes,
    MayBeDropped(Place),
    Dropped(Place),
}

/// A rule, or a chain's policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub table: String,
    pub chain: String,
    pub rule: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` in chain {} of {}",
            self.rule, self.chain, self.table
        )
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Match {
    Yes,
    Maybe,
    No,
}

impl Ruleset {
    /// Every base chain must let it pass.
    pub fn fate(&self, packet: &Packet) -> Fate {
        let mut fate = Fate::Passes;
        for chain in &self.chains {
            let Some(base) = chain.base else { continue };
            let concerned = base.family.is_none_or(|family| family == packet.family);
            if base.hook != packet.hook || !concerned {
                continue;
            }
            let mut walk = Walk {
                ruleset: self,
                packet,
                steps: STEPS_MAX,
                doubt: None,
                may_be_accepted: false,
            };
            let end = walk.chain(chain, DEPTH_MAX, true);
            let policy = || chain.place("policy drop");
            let here = match (end, base.drops) {
                (End::Dropped(place), _) if walk.may_be_accepted => Fate::MayBeDropped(place),
                (End::Dropped(place), _) => Fate::Dropped(place),
                (End::Through, true) if walk.may_be_accepted => Fate::MayBeDropped(policy()),
                (End::Through, true) => Fate::Dropped(policy()),
                (End::Accepted, _) | (End::Through, false) => match walk.doubt {
                    Some(place) => Fate::MayBeDropped(place),
                    None => Fate::Passes,
                },
            };
            match here {
                Fate::Dropped(_) => return here,
                Fate::MayBeDropped(_) if fate == Fate::Passes => fate = here,
                Fate::MayBeDropped(_) | Fate::Passes => {}
            }
        }
        fate
    }

    fn called(&self, table: &str, name: &str) -> Option<&Chain> {
        let mut chains = self.chains.iter();
        chains.find(|chain| chain.table == table && chain.name == name)
    }
}

/// How the way through a chain ended.
enum End {
    Accepted,
    Dropped(Place),
    /// At its end, or by a return.
    Through,
}

struct Walk<'a> {
    ruleset: &'a Ruleset,
    packet: &'a Packet,
    steps: usize,
    /// A rule that may drop it.
    doubt: Option<Place>,
    may_be_accepted: bool,
}

impl Walk<'_> {
    /// `sure`: the packet gets here for certain.
    fn chain(&mut self, chain: &Chain, depth: usize, sure: bool) -> End {
        for rule in &chain.rules {
            let Some(steps) = self.steps.checked_sub(1) else {
                self.may_be_accepted = true;
                return End::Through;
            };
            self.steps = steps;
            let matches = rule.matches(self.packet);
            if matches == Match::No {
                continue;
            }
            let certain = sure && matches == Match::Yes;
            let place = || chain.place(&rule.text);
            match &rule.verdict {
                Verdict::Continue => {}
                Verdict::Unknown => {
                    self.may_be_accepted = true;
                    self.doubt.get_or_insert_with(place);
                }
                Verdict::Accept if certain => return End::Accepted,
                Verdict::Accept => self.may_be_accepted = true,
                Verdict::Drop if certain => return End::Dropped(place()),
                Verdict::Drop => drop(self.doubt.get_or_insert_with(place)),
                Verdict::Return if certain => return End::Through,
                // What follows may not be reached.
                Verdict::Return => self.may_be_accepted = true,
                Verdict::Jump(name) | Verdict::Goto(name) => {
                    let called = self.ruleset.called(&chain.table, name);
                    let (Some(called), Some(depth)) = (called, depth.checked_sub(1)) else {
                        self.may_be_accepted = true;
                        continue;
                    };
                    let end = self.chain(called, depth, certain);
                    match end {
                        End::Accepted | End::Dropped(_) if certain => return end,
                        End::Accepted => self.may_be_accepted = true,
                        End::Dropped(place) => drop(self.doubt.get_or_insert(place)),
                        End::Through if certain && matches!(rule.verdict, Verdict::Goto(_)) => {
                            return End::Through;
                        }
                        End::Through => {}
                    }
                }
            }
        }
        End::Through
    }
}

impl Chain {
    fn place(&self, rule: &str) -> Place {
        Place {
            table: self.table.clone(),
            chain: self.name.clone(),
            rule: rule.to_owned(),
        }
    }
}

impl Rule {
    fn matches(&self, packet: &Packet) -> Match {
        let all = self.tests.iter().map(|test| test.matches(packet));
        all.fold(Match::Yes, |so_far, this| match (so_far, this) {
            (Match::No, _) | (_, Match::No) => Match::No,
            (Match::Maybe, _) | (_, Match::Maybe) => Match::Maybe,
            (Match::Yes, Match::Yes) => Match::Yes,
        })
    }
}

impl Test {
    pub fn is(what: What) -> Self {
        Self {
            what,
            negated: false,
        }
    }

    fn matches(&self, packet: &Packet) -> Match {
        let plain = self.what.matches(packet);
        match (plain, self.negated) {
            (Match::Yes, true) => Match::No,
            (Match::No, true) => Match::Yes,
            (plain, _) => plain,
        }
    }
}

impl What {
    fn matches(&self, packet: &Packet) -> Match {
        match self {
            What::Unknown => Match::Maybe,
            What::Protocol(all) => certain(all.contains(&packet.protocol)),
            What::Family(family) => certain(*family == packet.family),
            What::InInterface(names) => named(names, packet, Hook::Incoming),
            What::OutInterface(names) => named(names, packet, Hook::Outgoing),
            What::Source(networks) => within(networks, packet.source),
            What::Destination(networks) => within(networks, packet.destination),
            What::DestinationPort(ranges) => match packet.destination_port {
                Some(port) => certain(
                    ranges
                        .iter()
                        .any(|(first, last)| (*first..=*last).contains(&port)),
                ),
                // Protocol 112 has none.
                None => Match::No,
            },
            What::Connection { new, .. } if !packet.answers => certain(*new),
            What::Connection { new, established } if new == established => certain(*new),
            What::Connection { .. } => Match::Maybe,
        }
    }
}

/// The number of a protocol, by number or by name.
fn protocol(text: &str) -> Option<u8> {
    Some(match text {
        "icmp" => 1,
        "igmp" => 2,
        "tcp" => 6,
        "udp" => 17,
        "dccp" => 33,
        "gre" => 47,
        "esp" => 50,
        "ah" => 51,
        "icmpv6" | "ipv6-icmp" => 58,
        "ospf" => 89,
        "comp" | "ipcomp" => 108,
        "vrrp" | "carp" => 112,
        "sctp" => 132,
        "udplite" => 136,
        number => return number.parse().ok(),
    })
}

/// An address is a network of its own.
fn network(text: &str) -> Option<IpNet> {
    let alone = || text.parse::<IpAddr>().ok().map(IpNet::from);
    text.parse().ok().or_else(alone)
}

fn certain(holds: bool) -> Match {
    match holds {
        true => Match::Yes,
        false => Match::No,
    }
}

fn named(names: &[String], packet: &Packet, hook: Hook) -> Match {
    if packet.hook != hook {
        return Match::Maybe;
    }
    let matches = |name: &String| match name.strip_suffix(['*', '+']) {
        Some(beginning) => packet.interface.starts_with(beginning),
        None => packet.interface == *name,
    };
    certain(names.iter().any(matches))
}

fn within(networks: &[IpNet], address: Option<IpAddr>) -> Match {
    match address {
        Some(address) => certain(networks.iter().any(|network| network.contains(&address))),
        None => Match::Maybe,
    }
}

#[cfg(test)]
mod tests;
