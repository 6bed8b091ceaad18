//! Asks by protocol 112, the way that advertisements go, whether packets pass:
//! no VRRP router acts upon it, and agents of ours answer.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use super::super::facts::{Interface, Passed, PathTest, Subject};
use crate::agent::event::Heard;
use crate::agent::ladder::group;
use crate::agent::values::{Family, InterfaceName};
use crate::net::advert_socket::AdvertSocket;
use crate::wire::path_test::{Kind, PathTest as Message, Token, Vrids, encode, read};

/// So often each question is asked, spread over the listening.
const TIMES: u32 = 3;
/// Destinations that are asked; the rest is left out.
const QUESTIONS_MAX: usize = 64;
/// Hosts whose packets are told apart.
const SOURCES_MAX: usize = 256;

pub struct PathTests {
    questions: Vec<Question>,
    passed: BTreeMap<(InterfaceName, IpAddr, IpAddr), Passed>,
    span: Duration,
    asked: u32,
}

struct Question {
    vrids: Vrids,
    token: Token,
    told: PathTest,
}

/// Where a packet was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    Leaving,
    Arriving,
    /// By a program, behind this host's firewall.
    Delivered,
}

impl PathTests {
    /// Nothing is asked without a source of random numbers, or where nothing
    /// is listened for.
    pub fn new(subjects: &[Subject], span: Duration) -> Self {
        Self {
            questions: Vec::with_capacity(subjects.len().min(QUESTIONS_MAX)),
            passed: BTreeMap::new(),
            span,
            asked: 0,
        }
    }

    /// What is to be asked by one interface and family.
    pub fn prepare(&mut self, subjects: &[&Subject], interface: &Interface) {
        let mut asked: BTreeMap<(IpAddr, IpAddr), Vrids> = BTreeMap::new();
        for subject in subjects.iter().filter(|subject| subject.is_configured()) {
            let destinations = match subject.peers.as_slice() {
                [] => vec![group(subject.family)],
                peers => peers.to_vec(),
            };
            for destination in destinations {
                if let Some(source) = source(subject, interface, destination) {
                    let vrids = asked.entry((source, destination)).or_default();
                    vrids.insert(subject.vrid);
                }
            }
        }
        for ((source, destination), vrids) in asked {
            let mut token = Token::default();
            let full = self.questions.len() >= QUESTIONS_MAX;
            let Some(name) = subjects.first().map(|subject| subject.interface) else {
                return;
            };
            if full || getrandom::fill(&mut token).is_err() {
                return;
            }
            self.questions.push(Question {
                vrids,
                token,
                told: PathTest {
                    interface: name,
                    source,
                    destination,
                    sent: 0,
                    left: 0,
                    error: None,
                },
            });
        }
    }

    /// Asks what is due after so much of the listening.
    pub fn ask<'s>(&mut self, at: Duration, sockets: impl Iterator<Item = &'s AdvertSocket>) {
        if at < self.next() {
            return;
        }
        self.asked += 1;
        for socket in sockets {
            for question in &mut self.questions {
                let told = &mut question.told;
                if !socket.serves(told.interface, Family::of(told.source)) {
                    continue;
                }
                let message = Message {
                    kind: Kind::Question,
                    token: question.token,
                    vrids: question.vrids,
                };
                let message = encode(&message, told.source, told.destination);
                match socket.send(&message, told.source, told.destination) {
                    Ok(()) => told.sent += 1,
                    Err(error) => told.error = Some(error.to_string()),
                }
            }
        }
    }

    /// When the next question is due, since the listening began.
    pub fn next(&self) -> Duration {
        match self.asked < TIMES {
            true => self.span / TIMES * self.asked,
            false => Duration::MAX,
        }
    }

    /// Whether the packet was no advertisement, and is done with.
    pub fn note(&mut self, heard: &Heard<'_>, seen: Seen) -> bool {
        let Some(message) = heard.message.as_ref().ok().and_then(read) else {
            return false;
        };
        let own = self.questions.iter_mut();
        let own = own.filter(|question| question.token == message.token);
        let ours = own.last();
        if seen == Seen::Leaving {
            if let Some(question) = ours
                && message.kind == Kind::Question
            {
                question.told.left += 1;
            }
            return true;
        }
        let answers = ours.is_some() && message.kind == Kind::Answer;
        let key = (heard.interface, heard.source, heard.destination);
        if !self.passed.contains_key(&key) && self.passed.len() >= SOURCES_MAX {
            return true;
        }
        let passed = self.passed.entry(key).or_insert_with(|| Passed {
            interface: heard.interface,
            source: heard.source,
            destination: heard.destination,
            on_wire: 0,
            delivered: 0,
            answers_for: BTreeSet::new(),
        });
        match seen {
            Seen::Leaving | Seen::Arriving => passed.on_wire += 1,
            Seen::Delivered => passed.delivered += 1,
        }
        if answers {
            let vrids = (1..=u8::MAX).filter(|vrid| message.vrids.contains(*vrid));
            passed.answers_for.extend(vrids);
        }
        true
    }

    /// What was asked, and what came from others.
    pub fn told(self) -> (Vec<PathTest>, Vec<Passed>) {
        let asked = self.questions.into_iter().map(|question| question.told);
        (asked.collect(), self.passed.into_values().collect())
    }
}

/// As the agent chooses it: what the file says, or what the host itself has;
/// to all over IPv6 the link-local address.
fn source(subject: &Subject, interface: &Interface, destination: IpAddr) -> Option<IpAddr> {
    let fits = |address: &IpAddr| {
        let linked = |address: &std::net::Ipv6Addr| address.is_unicast_link_local();
        Family::of(*address) == subject.family
            && match (address, destination) {
                (IpAddr::V6(address), IpAddr::V6(to)) => {
                    linked(address) == (to.is_multicast() || linked(&to))
                }
                _ => true,
            }
    };
    let own = interface.state.addresses.iter();
    let own = own.filter(|own| !own.ours && !subject.is_virtual(own.network.addr()));
    let mut own = own.map(|own| own.network.addr());
    subject.source.or_else(|| own.find(fits))
}
