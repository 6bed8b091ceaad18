//! Attacks that reach further than what was recorded: advertisements as
//! somebody with the key could have made them, at another time or for another
//! virtual router, and then bent. Their checksums are right, and where that is
//! to the point their numbers are newer than all before, so that it is the HMAC
//! that refuses them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use libtest_mimic::Trial;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use vipward::agent::event::V2Authentication;
use vipward::agent::seal::Sequence;
use vipward::agent::values::{AdvertInterval, ChecksumForm, Version, Vrid};
use vipward::wire::advertisement::{Outgoing, encode};
use vipward::wire::authentication::{Key, Signature};

use crate::agent_auth::{MONOTONIC, TIME, enforced, rejections, undisturbed};
use crate::lab::agent::Agent;
use crate::lab::config::Router;
use crate::lab::frame::{ones_complement_sum, pseudo_header};
use crate::lab::inject::carrying;
use crate::lab::{Host, LONG, Lab, ms};
use crate::{Needs, trial};

const HOUR: i64 = 3600;
/// Of the message with one address, before the trailer.
const MESSAGE: usize = 12;

pub fn trials() -> Vec<Trial> {
    let other = "agent_auth_of_another_router";
    let bits = "agent_auth_every_bit_turned";
    let lengths = "agent_auth_every_length";
    let shown = "agent_auth_keys_are_shown_nowhere";
    let mut all = vec![
        trial(other, Needs::Nothing, of_another_router),
        trial(bits, Needs::Nothing, every_bit_turned),
        trial(lengths, Needs::Nothing, every_length),
        trial(shown, Needs::Nothing, shown_nowhere),
    ];
    all.extend([MONOTONIC, TIME].map(|anti_replay| {
        let name = format!("agent_auth_hours_old_{anti_replay}");
        trial(name, Needs::Nothing, move || hours_old(anti_replay))
    }));
    all
}

/// Neither agent nor guardian writes a core, whatever the limit was, or has a
/// key among its arguments or in its environment.
fn shown_nowhere() {
    let (soft, hard) = getrlimit(Resource::RLIMIT_CORE).expect("the limit");
    assert!(hard > 0, "this machine allows no core at all");
    let lab = Lab::new();
    let a = lab.host("a");
    let router = enforced(&lab, Router::new(200), MONOTONIC);
    setrlimit(Resource::RLIMIT_CORE, hard, hard).expect("a limit");
    let agent = lab.agent(&a, &[router]);
    setrlimit(Resource::RLIMIT_CORE, soft, hard).expect("the limit as it was");
    agent.wait_state("web", "active", LONG);
    for pid in [agent.process.pid(), agent.guardian(None)] {
        let read = |name: &str| std::fs::read(format!("/proc/{pid}/{name}")).expect("it lives");
        let limits = String::from_utf8(read("limits")).expect("text");
        let core = limits
            .lines()
            .find(|line| line.starts_with("Max core file"));
        let words: Vec<&str> = core.expect("a limit").split_whitespace().collect();
        assert_eq!(words.get(4), Some(&"0"), "{words:?}");
        for name in ["cmdline", "environ"] {
            let text = read(name);
            assert!(!text.windows(2).any(|pair| pair == [7, 7]), "{name}");
        }
    }
}

struct Attacked {
    lab: Lab,
    a: Host,
    attacker: Host,
    first: Agent,
    other: Agent,
}

impl Attacked {
    /// Two virtual routers with one key: `web` (51) and `db` (52).
    fn new(anti_replay: &str) -> Self {
        let lab = Lab::new();
        let [a, b, attacker] = lab.hosts(["a", "b", "attacker"]);
        let routers = |priority| {
            let web = Router::new(priority);
            let db = Router {
                name: "db".to_owned(),
                vrid: 52,
                ..web.clone().addresses(&["192.0.2.101/24"])
            };
            [web, db].map(|router| enforced(&lab, router, anti_replay))
        };
        let first = lab.agent(&a, &routers(200));
        first.wait_state("web", "active", LONG);
        first.wait_state("db", "active", LONG);
        let other = lab.agent(&b, &routers(100));
        other.wait_state("web", "backup", LONG);
        other.wait_state("db", "backup", LONG);
        sleep(ms(1000));
        Self {
            lab,
            a,
            attacker,
            first,
            other,
        }
    }

    /// Sends these as coming from `source`, and what they were refused for.
    fn refused(&self, what: &str, source: IpAddr, messages: &[Vec<u8>]) -> BTreeMap<String, u64> {
        let before = rejections(&self.other, source);
        undisturbed(&self.lab, [&self.first, &self.other], what, || {
            let frames = messages.iter();
            let frames = frames.map(|message| carrying(&self.attacker, source, message));
            self.attacker.send(&frames.collect::<Vec<_>>());
        });
        let mut after = rejections(&self.other, source);
        for (kind, count) in before {
            *after.entry(kind).or_default() -= count;
        }
        after.retain(|_, count| *count > 0);
        after
    }

    fn heard(&self) -> u64 {
        let counters = &self.other.instance("web")["counters"];
        counters["adverts_received"].as_u64().expect("a count")
    }
}

/// As the owner of the key would sign it, `off` seconds from now.
fn signed(source: IpAddr, vrid: u8, priority: u8, off: i64) -> Vec<u8> {
    let key = Key::new(&[7; 32]).expect("a key");
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.expect("after 1970");
    let by = Duration::from_secs(off.unsigned_abs());
    let then = if off < 0 { now - by } else { now + by };
    let address = Ipv4Addr::new(192, 0, 2, 49 + vrid);
    let outgoing = Outgoing {
        version: Version::V3,
        vrid: Vrid::new(vrid).expect("a VRID"),
        priority,
        interval: AdvertInterval::from_centiseconds(30).expect("an interval"),
        checksum: ChecksumForm::PseudoHeader,
        v2_authentication: V2Authentication::default(),
        addresses: &[address.into()],
        source,
        destination: Ipv4Addr::new(224, 0, 0, 18).into(),
        signature: Some(Signature {
            key: &key,
            key_id: 1,
            sequence: Sequence::at_clock(then),
        }),
    };
    let mut message = Vec::new();
    encode(&outgoing, &mut message).expect("it can be written");
    message
}

/// The right checksum, whatever the message says by now.
fn summed(source: IpAddr, mut message: Vec<u8>) -> Vec<u8> {
    message[6..8].fill(0);
    let group = Ipv4Addr::new(224, 0, 0, 18).into();
    let mut covered = message[..MESSAGE].to_vec();
    covered.extend(pseudo_header(source, group, MESSAGE));
    let sum = !ones_complement_sum(&covered);
    message[6..8].copy_from_slice(&sum.to_be_bytes());
    message
}

fn of_another_router() {
    let attacked = Attacked::new(MONOTONIC);
    let source = attacked.a.v4();
    let other = signed(source, 52, 255, HOUR);
    let own = signed(source, 51, 255, HOUR);
    assert_eq!(other.len(), MESSAGE + 28);
    // Its trailer behind our message; and its message with our number.
    let trailer = [&own[..MESSAGE], &other[MESSAGE..]].concat();
    let mut renamed = other.clone();
    renamed[1] = 51;
    let mut whole = renamed.clone();
    whole[8..MESSAGE].copy_from_slice(&own[8..MESSAGE]);
    let messages = [trailer, renamed, whole].map(|message| summed(source, message));
    let refused = attacked.refused("another router's trailer", source, &messages);
    assert_eq!(refused, [("wrong-key".to_owned(), 3)].into());
    // Somebody else's, for his own address, under ours.
    let stranger = signed(attacked.attacker.v4(), 51, 255, HOUR);
    let message = summed(source, stranger);
    let refused = attacked.refused("another sender's trailer", source, &[message]);
    assert_eq!(refused, [("wrong-key".to_owned(), 1)].into());
}

/// From one who was heard, and from one who never was.
fn hours_old(anti_replay: &str) {
    let attacked = Attacked::new(anti_replay);
    let (source, stranger) = (attacked.a.v4(), attacked.attacker.v4());
    let old = |source| -> Vec<Vec<u8>> {
        let ages = [1, 2, 3, 24, 1000].map(|hours| hours * -HOUR);
        let both = ages.map(|age| [0, 255].map(|priority| signed(source, 51, priority, age)));
        both.into_iter().flatten().collect()
    };
    let refused = attacked.refused("hours old", source, &old(source));
    assert_eq!(refused, [("replayed".to_owned(), 10)].into());
    let refused = attacked.refused("hours old, unknown", stranger, &old(stranger));
    let kind = if anti_replay == TIME {
        "stale"
    } else {
        "no-mark"
    };
    assert_eq!(refused, [(kind.to_owned(), 10)].into());
    let ahead = [signed(stranger, 51, 255, HOUR)];
    let refused = attacked.refused("from the future", stranger, &ahead);
    let kind = if anti_replay == TIME {
        "clock"
    } else {
        "no-mark"
    };
    assert_eq!(refused, [(kind.to_owned(), 1)].into());
    // The signer is a right one: what is new is heard.
    let before = attacked.heard();
    let now = [signed(stranger, 51, 150, 0)];
    let refused = attacked.refused("signed now", stranger, &now);
    assert_eq!(refused, BTreeMap::new());
    let own = attacked.heard() - before;
    assert!(own >= 5, "{own}: the heartbeats of a, and this one");
}

fn every_bit_turned() {
    let attacked = Attacked::new(MONOTONIC);
    let source = attacked.a.v4();
    let sound = signed(source, 51, 255, HOUR);
    assert_eq!(summed(source, sound.clone()), sound, "the same checksum");
    let bits = (0..sound.len() * 8).filter(|bit| !(6..8).contains(&(bit / 8)));
    let turned: Vec<Vec<u8>> = bits
        .map(|bit| {
            let mut turned = sound.clone();
            turned[bit / 8] ^= 1 << (bit % 8);
            summed(source, turned)
        })
        .collect();
    let refused = attacked.refused("every bit turned", source, &turned);
    let count = |kind: &str| refused.get(kind).copied().unwrap_or_default();
    // Priority, interval and address; the trailer's number, as far as that
    // stays newer than the mark; its reserved bytes and the HMAC.
    let hmac = count("wrong-key");
    assert!(hmac >= 8 + 16 + 32 + 16 + 128, "{refused:?}");
    assert_eq!(count("unknown-trailer"), 8);
    assert_eq!(count("unknown-key"), 8);
    let trailer: u64 = refused.values().sum();
    assert!(trailer <= turned.len() as u64, "{refused:?}");
}

/// Cut at every place, and with more behind than there should be; the
/// datagram says how long it is.
fn every_length() {
    let attacked = Attacked::new(MONOTONIC);
    let source = attacked.a.v4();
    let sound = signed(source, 51, 255, HOUR);
    let cut = (0..sound.len()).map(|length| sound[..length].to_vec());
    let more = [1, 2, 27, 28, 29, 56, 1000, 1440];
    let longer = more.map(|more| [sound.clone(), vec![0; more]].concat());
    let twice = [sound.clone(), sound[MESSAGE..].to_vec()].concat();
    let messages: Vec<Vec<u8>> = cut.chain(longer).chain([twice]).collect();
    let refused = attacked.refused("every length", source, &messages);
    // Without any trailer it is a sound message that nobody signed.
    assert_eq!(refused, [("missing".to_owned(), 1)].into());
    assert_eq!(attacked.first.state("web"), "active");
    assert_eq!(attacked.other.state("web"), "backup");
}
