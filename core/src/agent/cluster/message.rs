//! What nodes tell each other over the peer link, as values. The codec is in
//! `wire`; who may be believed is judged before a message gets here.
//!
//! A node's picture is a set of records. Each change gives its record the
//! next revision, so what a peer lacks is whatever is newer than the revision
//! that it has acknowledged. Every message affirms everything up to there: a
//! picture that does not change costs a few bytes.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use crate::agent::jobs::CheckName;
use crate::agent::moves::{Answer, Order, Step};
use crate::agent::status::{CheckState, StateName};
use crate::agent::values::{Family, InstanceName, MacAddress, Version, Vrid};

/// Encoded, a message is no longer than this; so one datagram passes every
/// link that IPv6 allows.
pub const MESSAGE_BYTES_MAX: usize = 1160;
/// What a text is cut to, at a character's border.
pub const TEXT_BYTES_MAX: usize = 120;
/// The first obstacles of an instance are told, no more.
pub const OBSTACLES_MAX: usize = 4;
/// The first addresses of an instance are told; the digest covers all.
pub const ADDRESSES_MAX: usize = 12;
/// What the answer to an order is cut to.
pub const ANSWER_BYTES_MAX: usize = 800;
/// Keys of an instance, likewise.
pub const KEYS_MAX: usize = 8;

/// A number, or the head of a text or list, takes no more bytes; a network
/// or an address likewise.
const NUMBER: usize = 9;
const NETWORK: usize = 22;

/// One message to one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The newest revision of the sender's picture.
    pub revision: u64,
    /// Up to here the sender has the receiver's picture without a gap, in
    /// this session; 0: nothing.
    pub known: u64,
    /// The next message follows within this time.
    pub pace: Duration,
    /// The sender's clock, in milliseconds since some start of its own.
    pub clock_ms: u64,
    /// The newest `clock_ms` that the sender heard from the receiver in this
    /// session; 0: none. So the receiver knows that this was written after it
    /// said that, whatever held it up on the way.
    pub echo_ms: u64,
    /// By which paths the sender hears the receiver, bit n for path n; `None`
    /// from a program that does not tell. For people: nothing is decided by it.
    pub heard_paths: Option<u32>,
    /// Of the sender's program.
    pub program: String,
    pub news: Option<News>,
    /// What concerns this very moment. Never repeated by itself.
    pub words: Vec<Word>,
}

/// All records whose newest revision is above `after` and not above `up_to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    pub after: u64,
    pub up_to: u64,
    pub records: Vec<Record>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    Instance(InstanceNews),
    /// It is no longer configured.
    InstanceGone(InstanceName),
    Check(CheckNews),
    CheckGone(CheckName),
}

/// One instance as its node sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceNews {
    pub name: InstanceName,
    pub vrid: Vrid,
    pub family: Family,
    pub version: Version,
    pub state: StateName,
    /// How long it has been in that state, as this was sent.
    pub for_: Duration,
    /// `agent::status::Reason`'s word.
    pub reason: String,
    pub fitness: Fitness,
    /// Effective.
    pub priority: u8,
    /// Of its advertisements.
    pub source: Option<IpAddr>,
    /// Of the interface that it advertises by.
    pub hardware_address: Option<MacAddress>,
    pub advert_interval: Duration,
    pub down_after: u8,
    /// Some address of the instance is on the host, or may be.
    pub holds: bool,
    /// The first [`ADDRESSES_MAX`], with whether each is held.
    pub addresses: Vec<(IpNet, bool)>,
    pub addresses_total: u16,
    /// Of all addresses as configured, whatever their order.
    pub addresses_digest: u64,
    /// What else should be equal on all nodes.
    pub settings_digest: u64,
    /// Number and fingerprint of each key, and which one signs.
    pub keys: Vec<(u8, u64)>,
    pub active_key: Option<u8>,
    /// The first [`OBSTACLES_MAX`].
    pub obstacles: Vec<ObstacleNews>,
    /// Whom it takes for the Active.
    pub active_router: Option<IpAddr>,
    /// How many witnesses of its segment it knows.
    pub witnesses: u8,
    /// Whether one of them answered when it last asked; `None`: it never had
    /// to.
    pub witnessed: Option<bool>,
}

/// Whether an instance could be Active on its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fitness {
    Able,
    /// Failing checks alone keep it from it.
    ChecksFail,
    Unable,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObstacleNews {
    pub code: String,
    pub source: String,
    pub text: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckNews {
    pub name: CheckName,
    pub state: CheckState,
    pub for_: Duration,
    /// The first line of the last run's output.
    pub output: String,
}

/// The proof before a claim (DESIGN section 5.4), planned moves, and the
/// orders of another node's operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// "I no longer hear you, who say that you are Active: can you show that
    /// your segment works?" Rounds are counted by the asker.
    Ask { instance: InstanceName, round: u32 },
    /// `shown`: a witness answered just now.
    Answer {
        instance: InstanceName,
        round: u32,
        shown: bool,
    },
    /// "A witness answered me and none you: I claim."
    Claim { instance: InstanceName, round: u32 },
    /// A step of the exchange with this number about an instance's group.
    Move {
        instance: InstanceName,
        serial: u64,
        step: Step,
    },
    /// Do this; numbered by the asker, who repeats it.
    Command { serial: u64, order: Order },
    /// What came of it; `None`: it is under way.
    Outcome { serial: u64, answer: Option<Answer> },
}

impl Word {
    /// That it is about.
    pub fn instance(&self) -> Option<&InstanceName> {
        match self {
            Word::Ask { instance, .. }
            | Word::Answer { instance, .. }
            | Word::Claim { instance, .. }
            | Word::Move { instance, .. } => Some(instance),
            Word::Command { order, .. } => order.instance(),
            Word::Outcome { .. } => None,
        }
    }
}

/// The first bytes of a text, whole characters only.
pub fn cut(text: &str) -> String {
    cut_to(text, TEXT_BYTES_MAX)
}

/// The same with another bound.
pub fn cut_to(text: &str, bytes_max: usize) -> String {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}

impl InstanceNews {
    /// Leaves out details until its record fits into a message.
    pub fn shrink(&mut self, bytes: usize) {
        while Record::instance_size_max(self) > bytes {
            if self.obstacles.len() > 1 {
                self.obstacles.pop();
            } else if self.addresses.pop().is_none() && self.obstacles.pop().is_none() {
                return;
            }
        }
    }
}

impl Record {
    /// Never less than its encoded size, in bytes.
    pub fn size_max(&self) -> usize {
        match self {
            Record::Instance(news) => Self::instance_size_max(news),
            Record::InstanceGone(name) => 2 * NUMBER + name.as_str().len(),
            Record::Check(news) => 6 * NUMBER + news.name.as_str().len() + news.output.len(),
            Record::CheckGone(name) => 2 * NUMBER + name.as_str().len(),
        }
    }

    fn instance_size_max(news: &InstanceNews) -> usize {
        let obstacles = news.obstacles.iter();
        let obstacles =
            obstacles.map(|o| 4 * NUMBER + o.code.len() + o.source.len() + o.text.len());
        let fixed = 24 * NUMBER + 3 * NETWORK;
        let keys = news.keys.len() * 3 * NUMBER;
        let texts = news.name.as_str().len() + news.reason.len();
        let addresses = news.addresses.len() * (NETWORK + NUMBER);
        fixed + keys + texts + addresses + obstacles.sum::<usize>()
    }
}

impl Word {
    /// Never less than its encoded size, in bytes.
    pub fn size_max(&self) -> usize {
        let name = self.instance().map_or(0, |name| name.as_str().len());
        match self {
            Word::Ask { .. } | Word::Answer { .. } | Word::Claim { .. } => 32 + name,
            Word::Move { step, .. } => 32 + name + step.size_max(),
            Word::Command { order, .. } => 16 + order.size_max(),
            Word::Outcome { answer, .. } => {
                let text = answer.as_ref().map_or(0, |answer| match answer {
                    Ok(text) | Err(text) => text.len().min(ANSWER_BYTES_MAX),
                });
                32 + text
            }
        }
    }
}
