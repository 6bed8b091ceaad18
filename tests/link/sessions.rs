//! Two or three nodes and a network that loses, repeats and delays: one
//! misfortune after the other.

use std::net::IpAddr;

use vipward::agent::cluster::{PathIndex, Refusal};
use vipward::daemon::link::sessions::{Opened, Parcel};
use vipward::wire::link::DATAGRAM_BYTES_MAX;

use crate::node::*;

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
