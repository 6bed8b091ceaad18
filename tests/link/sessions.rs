//! Two or three nodes and a network that loses, repeats and delays.

use std::net::IpAddr;

use proptest::prelude::*;

use vipward::agent::cluster::message::{Message, News, Word};
use vipward::agent::cluster::{PathIndex, Refusal};
use vipward::agent::settings::ClusterSettings;
use vipward::agent::values::{InstanceName, NodeName};
use vipward::daemon::link::sessions::{Opened, Parcel, Sessions};
use vipward::wire::link::sealing::{Boot, ClusterKey};
use vipward::wire::link::{DATAGRAM_BYTES_MAX, HEAD_BYTES};

const KEY: [u8; 32] = [7; 32];
const PATHS: [PathIndex; 2] = [PathIndex(0), PathIndex(1)];

fn node(name: &str) -> NodeName {
    NodeName::new(name)
}

fn address(name: &str, path: PathIndex) -> IpAddr {
    let number = 1 + "abcd".find(name).expect("a node of these");
    let text = match path.0 {
        0 => format!("192.0.2.{number}"),
        _ => format!("2001:db8::{number}"),
    };
    text.parse().expect("an address")
}

fn settings(own: &str, nodes: &[&str]) -> ClusterSettings {
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
struct Node {
    name: &'static str,
    sessions: Sessions,
    lives: u8,
}

impl Node {
    fn new(name: &'static str) -> Self {
        Self::with_key(name, &KEY)
    }

    fn with_key(name: &'static str, key: &[u8]) -> Self {
        let key = ClusterKey::new(key).expect("a key");
        let settings = settings(name, &["a", "b", "c"]);
        let sessions = Sessions::new(&settings, key, boot(name, 0), 0);
        Self {
            name,
            sessions,
            lives: 0,
        }
    }

    fn restart(&mut self) {
        self.lives += 1;
        let key = ClusterKey::new(&KEY).expect("a key");
        let settings = settings(self.name, &["a", "b", "c"]);
        let serial = self.sessions.serial();
        self.sessions = Sessions::new(&settings, key, boot(self.name, self.lives), serial);
    }

    fn tell(&mut self, to: &str, message: &Message) -> Vec<Parcel> {
        self.sessions.seal(&node(to), message).expect("it is short")
    }

    fn open(&mut self, from: &str, parcel: &Parcel) -> Result<Opened, Refusal> {
        assert_eq!(parcel.to, address(self.name, parcel.path));
        let source = address(from, parcel.path);
        self.sessions.open(&PATHS, source, &parcel.datagram)
    }

    /// Everything of `parcels`, which must be fresh: sessions and messages.
    fn hear(&mut self, from: &str, parcels: &[Parcel]) -> Vec<(u64, Message)> {
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
    fn take(&mut self, from: &str, parcels: &[Parcel]) -> Vec<Message> {
        let opened = parcels.iter().map(|parcel| self.open(from, parcel));
        let heard = opened.filter_map(|opened| match opened {
            Ok(Opened::Heard { message, .. }) => Some(*message),
            Ok(Opened::Greeted { .. }) | Err(_) => None,
        });
        heard.collect()
    }
}

fn boot(name: &str, life: u8) -> Boot {
    let mut bytes = [0; 12];
    bytes[0] = name.as_bytes()[0];
    bytes[1] = life;
    Boot(bytes)
}

fn message(number: u64) -> Message {
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
        program: "1.2.3".to_owned(),
        news: Some(News {
            after: 0,
            up_to: number,
            records: Vec::new(),
        }),
        words: vec![ask],
    }
}

fn bare(number: u64) -> Message {
    Message {
        known: 0,
        clock_ms: 0,
        echo_ms: 0,
        news: None,
        words: Vec::new(),
        ..message(number)
    }
}

fn refusal(opened: Result<Opened, Refusal>) -> Option<Refusal> {
    opened.err()
}

/// A session between both, with everything that was sent for it.
fn acquainted() -> (Node, Node, Vec<Parcel>, Vec<Parcel>) {
    let (mut a, mut b) = (Node::new("a"), Node::new("b"));
    let hello = a.tell("b", &message(1));
    b.take("a", &hello);
    let answer = b.tell("a", &message(2));
    a.take("b", &answer);
    let first = a.tell("b", &message(3));
    b.hear("a", &first);
    (a, b, [hello, first].concat(), answer)
}

#[test]
fn a_hello_is_answered_and_the_answer_begins_a_session() {
    let (mut a, mut b) = (Node::new("a"), Node::new("b"));
    let hello = a.tell("b", &message(1));
    assert_eq!(hello.len(), 2);
    for parcel in &hello {
        let greeted = b.open("a", parcel);
        assert!(
            matches!(&greeted, Ok(Opened::Greeted { node: who, path })
                if *who == node("a") && *path == parcel.path),
            "{greeted:?}"
        );
    }
    // Nobody is told what was meant for a session.
    let answer = b.tell("a", &message(2));
    assert_eq!(a.hear("b", &answer), vec![(1, bare(2)); 2]);
    let first = a.tell("b", &message(3));
    assert_eq!(b.hear("a", &first), vec![(1, message(3)); 2]);
    let second = b.tell("a", &message(4));
    assert_eq!(a.hear("b", &second), vec![(1, message(4)); 2]);
}

#[test]
fn both_may_begin_at_once() {
    let (mut a, mut b) = (Node::new("a"), Node::new("b"));
    let (from_a, from_b) = (a.tell("b", &message(1)), b.tell("a", &message(1)));
    b.take("a", &from_a);
    a.take("b", &from_b);
    let (from_a, from_b) = (a.tell("b", &message(2)), b.tell("a", &message(2)));
    assert_eq!(b.hear("a", &from_a), vec![(1, bare(2)); 2]);
    assert_eq!(a.hear("b", &from_b), vec![(1, bare(2)); 2]);
    let (from_a, from_b) = (a.tell("b", &message(3)), b.tell("a", &message(3)));
    assert_eq!(b.hear("a", &from_a), vec![(1, message(3)); 2]);
    assert_eq!(a.hear("b", &from_b), vec![(1, message(3)); 2]);
}

#[test]
fn a_node_that_was_started_anew_takes_its_place_again() {
    let (mut a, mut b, ..) = acquainted();
    a.restart();
    let hello = a.tell("b", &message(5));
    assert!(b.take("a", &hello).is_empty());
    // To both its lives, over both paths; the former is past hearing.
    let answer = b.tell("a", &message(6));
    assert_eq!(answer.len(), 4);
    assert_eq!(a.take("b", &answer), vec![bare(6); 2]);
    let first = a.tell("b", &message(7));
    assert_eq!(b.hear("a", &first), vec![(2, message(7)); 2]);
    assert_eq!(b.tell("a", &message(8)).len(), 2);
}

/// What is sent to the former life says enough to answer.
#[test]
fn what_was_meant_for_a_former_life_is_a_greeting() {
    let (mut a, mut b, ..) = acquainted();
    a.restart();
    let to_former = b.tell("a", &message(5));
    assert!(a.take("b", &to_former).is_empty());
    let answer = a.tell("b", &message(6));
    assert_eq!(b.hear("a", &answer), vec![(2, bare(6)); 2]);
}

/// It was sealed for our present identity, and is of an earlier life all the
/// same.
#[test]
fn a_message_of_a_former_life_that_comes_late_ends_no_session() {
    let (mut a, mut b) = (Node::new("a"), Node::new("b"));
    b.take("a", &a.tell("b", &message(1)));
    a.take("b", &b.tell("a", &message(2)));
    let late = a.tell("b", &message(3));
    a.restart();
    b.take("a", &a.tell("b", &message(4)));
    a.take("b", &b.tell("a", &message(5)));
    let first = a.tell("b", &message(6));
    assert_eq!(b.hear("a", &first), vec![(1, message(6)); 2]);
    assert!(b.take("a", &late).is_empty());
    assert_eq!(b.hear("a", &a.tell("b", &message(7)))[0].0, 1);
}

#[test]
fn nothing_that_was_recorded_changes_a_session() {
    let (mut a, mut b, mut from_a, mut from_b) = acquainted();
    for round in 0..3 {
        for number in 0..5 {
            let parcels = a.tell("b", &message(number));
            b.take("a", &parcels);
            from_a.extend(parcels);
            let parcels = b.tell("a", &message(number));
            a.take("b", &parcels);
            from_b.extend(parcels);
        }
        match round {
            0 => a.restart(),
            1 => b.restart(),
            _ => {}
        }
    }
    let sessions = (
        a.hear("b", &b.tell("a", &message(90)))[0].0,
        b.hear("a", &a.tell("b", &message(90)))[0].0,
    );
    for parcel in from_a.iter().chain(from_a.iter().rev()) {
        let opened = b.open("a", parcel);
        assert!(!matches!(opened, Ok(Opened::Heard { .. })), "{opened:?}");
    }
    for parcel in &from_b {
        let opened = a.open("b", parcel);
        assert!(!matches!(opened, Ok(Opened::Heard { .. })), "{opened:?}");
    }
    // Guests were answered, and nobody was there to say more.
    let answers = a.tell("b", &message(91));
    assert!(answers.len() <= 2 * (1 + 4), "{} answers", answers.len());
    assert_eq!(a.tell("b", &message(92)).len(), 2);
    let heard = b.take("a", &answers);
    assert_eq!(heard, vec![message(91); 2]);
    assert_eq!(b.hear("a", &a.tell("b", &message(93)))[0].0, sessions.1);
    b.tell("a", &message(93));
    assert_eq!(a.hear("b", &b.tell("a", &message(94)))[0].0, sessions.0);
}

#[test]
fn order_does_not_matter_within_a_window_and_each_counts_once() {
    let (mut a, mut b, ..) = acquainted();
    let mut sent: Vec<Parcel> = Vec::new();
    for number in 0..500 {
        sent.extend(a.tell("b", &message(number)));
    }
    let (first, second): (Vec<_>, Vec<_>) =
        sent.iter().cloned().partition(|parcel| parcel.path.0 == 0);
    assert_eq!(b.hear("a", &first).len(), 500);
    let reversed: Vec<_> = second.into_iter().rev().collect();
    assert_eq!(b.hear("a", &reversed).len(), 500);
    for parcel in &sent {
        assert_eq!(refusal(b.open("a", parcel)), Some(Refusal::Replayed));
    }
    // Too old to tell.
    let late = a.tell("b", &message(0));
    for number in 0..600 {
        b.hear("a", &a.tell("b", &message(number)));
    }
    assert_eq!(refusal(b.open("a", &late[0])), Some(Refusal::Replayed));
}

#[test]
fn what_was_changed_on_the_way_is_refused_and_changes_nothing() {
    let (mut a, mut b, ..) = acquainted();
    let parcel = a.tell("b", &message(5)).remove(0);
    for at in 0..parcel.datagram.len() {
        for bit in 0..8 {
            let mut changed = parcel.clone();
            changed.datagram[at] ^= 1 << bit;
            let why = refusal(b.open("a", &changed));
            let expected: &[Refusal] = match at {
                0..3 => &[Refusal::Malformed],
                3 => &[Refusal::OtherVersion],
                // With a counter of long ago it is not even looked at.
                44..52 => &[Refusal::Forged, Refusal::Replayed],
                _ => &[Refusal::Forged],
            };
            assert!(
                why.is_some_and(|why| expected.contains(&why)),
                "byte {at}, bit {bit}: {why:?}"
            );
        }
    }
    assert_eq!(b.hear("a", &[parcel]), [(1, message(5))]);
    let more = b.tell("a", &message(6));
    assert_eq!(more.len(), 2, "somebody became a guest");
}

#[test]
fn what_was_cut_or_stretched_is_refused() {
    let (mut a, mut b, ..) = acquainted();
    let parcel = a.tell("b", &message(5)).remove(0);
    for length in 0..parcel.datagram.len() {
        let mut cut = parcel.clone();
        cut.datagram.truncate(length);
        let expected = match length {
            0..68 => Refusal::Malformed,
            _ => Refusal::Forged,
        };
        assert_eq!(refusal(b.open("a", &cut)), Some(expected), "{length} bytes");
    }
    for length in [parcel.datagram.len() + 1, DATAGRAM_BYTES_MAX] {
        let mut long = parcel.clone();
        long.datagram.resize(length, 0);
        assert_eq!(refusal(b.open("a", &long)), Some(Refusal::Forged));
    }
    let mut long = parcel.clone();
    long.datagram.resize(DATAGRAM_BYTES_MAX + 1, 0);
    assert_eq!(refusal(b.open("a", &long)), Some(Refusal::Malformed));
}

#[test]
fn another_key_is_told_from_an_unknown_node() {
    let mut b = Node::new("b");
    for key in [[8; 32].to_vec(), vec![7; 33]] {
        let hello = Node::with_key("a", &key).tell("b", &message(1));
        assert_eq!(refusal(b.open("a", &hello[0])), Some(Refusal::Forged));
        let elsewhere = b
            .sessions
            .open(&PATHS, "192.0.2.77".parse().unwrap(), &hello[0].datagram);
        assert_eq!(refusal(elsewhere), Some(Refusal::UnknownNode));
    }
    let hello = Node::new("a").tell("b", &message(1));
    let known = b.open("a", &hello[0]);
    assert!(matches!(known, Ok(Opened::Greeted { .. })), "{known:?}");
}

#[test]
fn only_a_nodes_own_address_on_that_path_will_do() {
    let (mut a, mut b, ..) = acquainted();
    let parcel = a.tell("b", &message(5)).remove(0);
    for source in [
        address("c", PathIndex(0)),
        address("b", PathIndex(0)),
        "192.0.2.77".parse().unwrap(),
    ] {
        let opened = b.sessions.open(&PATHS, source, &parcel.datagram);
        assert_eq!(refusal(opened), Some(Refusal::UnexpectedSource), "{source}");
    }
    // The socket of the other path.
    let source = address("a", PathIndex(0));
    let opened = b.sessions.open(&PATHS[1..], source, &parcel.datagram);
    assert_eq!(refusal(opened), Some(Refusal::UnexpectedSource));
    // Carried over to the other path, and its sender's address with it.
    let source = address("a", PathIndex(1));
    let opened = b.sessions.open(&PATHS, source, &parcel.datagram);
    assert_eq!(refusal(opened), Some(Refusal::Forged));
    assert_eq!(b.hear("a", &[parcel]), [(1, message(5))]);
}

#[test]
fn what_we_sent_does_not_come_back_and_none_speaks_for_another() {
    let (mut a, mut b, ..) = acquainted();
    let parcel = a.tell("b", &message(5)).remove(0);
    let source = address("b", PathIndex(0));
    let back = a.sessions.open(&PATHS, source, &parcel.datagram);
    assert_eq!(refusal(back), Some(Refusal::UnknownNode));
    // Meant for another node.
    let mut c = Node::new("c");
    let source = address("a", PathIndex(0));
    let astray = c.sessions.open(&PATHS, source, &parcel.datagram);
    assert_eq!(refusal(astray), Some(Refusal::Forged));
    // One node's message under another's tag.
    let mut disguised = c.tell("b", &message(6)).remove(0);
    disguised.datagram[4..12].copy_from_slice(&parcel.datagram[4..12]);
    assert_eq!(refusal(b.open("a", &disguised)), Some(Refusal::Forged));
}

#[test]
fn nodes_that_stay_keep_their_sessions() {
    let (mut a, mut b, ..) = acquainted();
    let mut wider = settings("b", &["a", "b", "c", "d"]);
    let moved: IpAddr = "192.0.2.51".parse().unwrap();
    wider.nodes.get_mut(&node("a")).unwrap()[0] = moved;
    assert!(b.sessions.follow(&wider));
    let parcel = a.tell("b", &message(5)).remove(0);
    let opened = b.sessions.open(&PATHS, moved, &parcel.datagram);
    assert!(
        matches!(opened, Ok(Opened::Heard { session: 1, .. })),
        "{opened:?}"
    );
    assert_eq!(b.tell("a", &message(6))[0].to, moved);
    assert_eq!(b.tell("d", &message(6)).len(), 2);
    assert!(!b.sessions.follow(&settings("b", &["b", "c", "d"])));
    assert!(!b.sessions.follow(&settings("c", &["a", "b", "c", "d"])));
    assert!(b.tell("elsewhere", &message(6)).is_empty());
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Tells {
        a: bool,
        lost: u8,
    },
    Restarts {
        a: bool,
    },
    /// Something that was sent before comes, for the first time or again.
    Comes {
        a: bool,
        at: usize,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let tells = (any::<bool>(), any::<u8>()).prop_map(|(a, lost)| Step::Tells { a, lost });
    let restarts = any::<bool>().prop_map(|a| Step::Restarts { a });
    let comes = (any::<bool>(), any::<usize>()).prop_map(|(a, at)| Step::Comes { a, at });
    prop::collection::vec(prop_oneof![6 => tells, 1 => restarts, 4 => comes], 0..60)
}

proptest! {
    /// Whatever was lost, delayed, repeated or started anew: two rounds later
    /// both are told everything, no counter was used twice under a key, and
    /// nothing was heard twice.
    #[test]
    fn they_always_find_each_other_again(steps in steps()) {
        let mut nodes = [Node::new("a"), Node::new("b")];
        let names = ["a", "b"];
        let mut sent: [Vec<Parcel>; 2] = Default::default();
        let mut heard = std::collections::BTreeSet::new();
        let mut heads = std::collections::BTreeSet::new();
        let calm = (0..8).map(|turn| Step::Tells { a: turn % 2 == 0, lost: 0 });
        let total = steps.len() + 8;
        for (number, step) in steps.into_iter().chain(calm).enumerate() {
            let number = u64::try_from(number).unwrap();
            let (from, coming) = match step {
                Step::Restarts { a } => {
                    nodes[usize::from(a)].restart();
                    continue;
                }
                Step::Comes { a, at } => {
                    let from = usize::from(a);
                    let Some(at) = at.checked_rem(sent[from].len()) else { continue };
                    (from, vec![sent[from][at].clone()])
                }
                Step::Tells { a, lost } => {
                    let from = usize::from(a);
                    let parcels = nodes[from].tell(names[1 - from], &message(number));
                    for parcel in &parcels {
                        let counter = parcel.datagram[HEAD_BYTES - 8..HEAD_BYTES].to_vec();
                        let head = (from, nodes[from].lives, counter);
                        prop_assert!(heads.insert(head), "a counter was used twice");
                    }
                    sent[from].extend(parcels.clone());
                    let come = (0..8).zip(parcels).filter(|(at, _)| lost >> at & 1 == 0);
                    (from, come.map(|(_, parcel)| parcel).collect())
                }
            };
            let to = &mut nodes[1 - from];
            for parcel in coming {
                let life = to.lives;
                let opened = to.open(names[from], &parcel);
                let Ok(Opened::Heard { message: told, .. }) = opened else { continue };
                prop_assert!(heard.insert((from, life, parcel.datagram)), "heard twice");
                let whole = *told == message(told.revision);
                prop_assert!(whole || *told == bare(told.revision));
                let last = u64::try_from(total - 2).unwrap();
                if number >= last {
                    prop_assert!(whole && told.revision == number, "{told:?} at {number}");
                }
            }
        }
        let last = u64::try_from(total - 1).unwrap();
        let told = nodes[1].tell("a", &message(last));
        prop_assert_eq!(nodes[0].take("b", &told), vec![message(last); 2]);
        let told = nodes[0].tell("b", &message(last));
        prop_assert_eq!(nodes[1].take("a", &told), vec![message(last); 2]);
    }
}
