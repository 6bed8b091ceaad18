//! What may come to the socket of the peer link.

use std::net::IpAddr;

use vipward::agent::cluster::{PathIndex, Refusal};
use vipward::agent::settings::ClusterSettings;
use vipward::agent::values::NodeName;
use vipward::daemon::link::sessions::{Opened, Sessions};
use vipward::wire::link::sealing::{Boot, ClusterKey, End, Head, Way};
use vipward::wire::link::{decode, encode};

const KEY: [u8; 32] = [7; 32];
const OURS: Boot = Boot([1; 12]);
const THEIRS: Boot = Boot([2; 12]);
const PATH: PathIndex = PathIndex(0);

/// The first byte says what the others are: a message that is sealed here, for
/// us or for another life of ours, or a datagram of somebody without the key.
pub fn link_message(data: &[u8]) {
    let Some((kind, bytes)) = data.split_first() else {
        return;
    };
    let key = ClusterKey::new(&KEY).expect("a key");
    let (own, peer) = (NodeName::new("a"), NodeName::new("b"));
    let source: IpAddr = "192.0.2.2".parse().expect("an address");
    let nodes = [
        (own.clone(), vec!["192.0.2.1".parse().expect("an address")]),
        (peer.clone(), vec![source]),
    ];
    let settings = ClusterSettings {
        own: own.clone(),
        nodes: nodes.into_iter().collect(),
        listen: "0.0.0.0:7112".parse().expect("an address"),
    };
    let mut sessions = Sessions::new(&settings, key.clone(), OURS, 0);
    if kind % 3 == 2 {
        let opened = sessions.open(&[PATH], source, bytes);
        assert!(opened.is_err(), "nobody without the key is believed");
        return;
    }
    let ours = kind % 3 == 0;
    let to = if ours { OURS } else { Boot::NONE };
    let cipher = key.cipher(&Way {
        from: (&peer, THEIRS),
        to: (&own, to),
    });
    let head = Head {
        tag: key.tag(&peer),
        sender: End {
            boot: THEIRS,
            turn: 0,
        },
        receiver: End { boot: to, turn: 0 },
        counter: 1,
    };
    let datagram = cipher.seal(PATH, &head, bytes);
    match sessions.open(&[PATH], source, &datagram) {
        Ok(Opened::Heard { message, .. }) => {
            assert!(ours, "a hello tells nothing");
            if let Ok(again) = encode(&message) {
                assert_eq!(decode(&again).as_ref(), Ok(&*message));
            }
            let again = sessions.open(&[PATH], source, &datagram);
            assert_eq!(again.err(), Some(Refusal::Replayed));
        }
        Ok(Opened::Greeted { .. }) => assert!(!ours, "sealed for us"),
        Err(Refusal::Undecodable) => {
            assert!(ours && decode(bytes).is_err(), "it can be read");
        }
        Err(Refusal::Malformed) => assert!(bytes.len() > 1160, "of a length that is allowed"),
        Err(other) => panic!("sealed with the key, and {other:?}"),
    }
}
