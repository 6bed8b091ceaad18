//! A node on a network that a test plays: its sessions through all its lives.

use std::net::IpAddr;

use vipward::agent::cluster::message::{Message, News, Word};
use vipward::agent::cluster::{PathIndex, Refusal};
use vipward::agent::settings::ClusterSettings;
use vipward::agent::values::{InstanceName, NodeName};
use vipward::daemon::link::sessions::{Opened, Parcel, Sessions};
use vipward::wire::link::sealing::{Boot, ClusterKey};

pub const KEY: [u8; 32] = [7; 32];
pub const PATHS: [PathIndex; 2] = [PathIndex(0), PathIndex(1)];

pub fn node(name: &str) -> NodeName {
    NodeName::new(name)
}

pub fn address(name: &str, path: PathIndex) -> IpAddr {
    let number = 1 + "abcd".find(name).expect("a node of these");
    let text = match path.0 {
        0 => format!("192.0.2.{number}"),
        _ => format!("2001:db8::{number}"),
    };
    text.parse().expect("an address")
}

pub fn settings(own: &str, nodes: &[&str]) -> ClusterSettings {
    let addresses = |name| PATHS.map(|path| address(name, path)).to_vec();
    ClusterSettings {
        own: node(own),
        nodes: nodes
            .iter()
            .map(|name| (node(name), addresses(name)))
            .collect(),
        listen: "0.0.0.0:7112".parse().expect("an address"),
    }
}

/// One node, through all its lives.
pub struct Node {
    pub name: &'static str,
    pub sessions: Sessions,
    pub lives: u8,
}

impl Node {
    pub fn new(name: &'static str) -> Self {
        Self::with_key(name, &KEY)
    }

    pub fn with_key(name: &'static str, key: &[u8]) -> Self {
        let key = ClusterKey::new(key).expect("a key");
        let settings = settings(name, &["a", "b", "c"]);
        let sessions = Sessions::new(&settings, key, boot(name, 0), 0);
        Self {
            name,
            sessions,
            lives: 0,
        }
    }

    pub fn restart(&mut self) {
        self.lives += 1;
        let key = ClusterKey::new(&KEY).expect("a key");
        let settings = settings(self.name, &["a", "b", "c"]);
        let serial = self.sessions.serial();
        self.sessions = Sessions::new(&settings, key, boot(self.name, self.lives), serial);
    }

    pub fn tell(&mut self, to: &str, message: &Message) -> Vec<Parcel> {
        self.sessions.seal(&node(to), message).expect("it is short")
    }

    pub fn open(&mut self, from: &str, parcel: &Parcel) -> Result<Opened, Refusal> {
        assert_eq!(parcel.to, address(self.name, parcel.path));
        let source = address(from, parcel.path);
        self.sessions.open(&PATHS, source, &parcel.datagram)
    }

    /// Everything of `parcels`, which must be fresh: sessions and messages.
    pub fn hear(&mut self, from: &str, parcels: &[Parcel]) -> Vec<(u64, Message)> {
        let opened = parcels.iter().map(|parcel| match self.open(from, parcel) {
            Ok(Opened::Heard {
                node: who,
                path,
                session,
                message,
            }) => {
                assert_eq!((who, path), (node(from), parcel.path));
                (session, *message)
            }
            other => panic!("{} hears {other:?}", self.name),
        });
        opened.collect()
    }

    /// Everything of `parcels`, as it comes.
    pub fn take(&mut self, from: &str, parcels: &[Parcel]) -> Vec<Message> {
        let opened = parcels.iter().map(|parcel| self.open(from, parcel));
        let heard = opened.filter_map(|opened| match opened {
            Ok(Opened::Heard { message, .. }) => Some(*message),
            Ok(Opened::Greeted { .. }) | Err(_) => None,
        });
        heard.collect()
    }
}

pub fn boot(name: &str, life: u8) -> Boot {
    let mut bytes = [0; 12];
    bytes[0] = name.as_bytes()[0];
    bytes[1] = life;
    Boot(bytes)
}

pub fn message(number: u64) -> Message {
    let ask = Word::Ask {
        instance: InstanceName::new("web"),
        round: 3,
    };
    Message {
        revision: number,
        known: number / 2,
        pace: std::time::Duration::from_secs(1),
        clock_ms: 7,
        echo_ms: 5,
        heard_paths: Some(1),
        program: "1.2.3".to_owned(),
        news: Some(News {
            after: 0,
            up_to: number,
            records: Vec::new(),
        }),
        words: vec![ask],
    }
}

pub fn bare(number: u64) -> Message {
    Message {
        known: 0,
        clock_ms: 0,
        echo_ms: 0,
        heard_paths: None,
        news: None,
        words: Vec::new(),
        ..message(number)
    }
}

pub fn refusal(opened: Result<Opened, Refusal>) -> Option<Refusal> {
    opened.err()
}

/// A session between both, with everything that was sent for it.
pub fn acquainted() -> (Node, Node, Vec<Parcel>, Vec<Parcel>) {
    let (mut a, mut b) = (Node::new("a"), Node::new("b"));
    let hello = a.tell("b", &message(1));
    b.take("a", &hello);
    let answer = b.tell("a", &message(2));
    a.take("b", &answer);
    let first = a.tell("b", &message(3));
    b.hear("a", &first);
    (a, b, [hello, first].concat(), answer)
}
