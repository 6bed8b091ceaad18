//! Nodes that know each other: what is told to the others over the peer link,
//! and what is known of them. How messages travel, and who may be believed, is
//! not this room's concern.

mod desk;
mod link;
pub mod message;
mod nodes;
mod peer;
mod told;

use std::net::IpAddr;

use super::values::NodeName;
pub(super) use link::Link;
use message::Message;
pub(super) use nodes::Nodes;
pub(super) use peer::Peer;

/// What came by the peer link.
#[derive(Clone, Debug)]
pub enum LinkEvent {
    /// An authentic and fresh message. A new `session` means that the node
    /// knows nothing of what it was told before, nor we of it: one of us was
    /// started anew.
    Heard {
        node: NodeName,
        path: PathIndex,
        session: u64,
        message: Box<Message>,
    },
    /// A node asks for a new session, and proves nothing yet. It is answered
    /// by anything that we send to it.
    Greeted { node: NodeName, path: PathIndex },
    /// A datagram was discarded; state unchanged.
    Refused { source: IpAddr, why: Refusal },
    /// A message could not be handed to the kernel for this path.
    Unsent {
        node: NodeName,
        path: PathIndex,
        error: String,
    },
}

/// Position in the lists of addresses under `cluster.nodes`: the n-th
/// addresses of all nodes are one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathIndex(pub u8);

/// Why a datagram on the peer link was discarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// Too short, too long, or no message of this protocol.
    Malformed,
    /// Of a newer form of the protocol than ours.
    OtherVersion,
    /// It names a node that is not in `cluster.nodes`, or ourselves.
    UnknownNode,
    /// It came from an address that is not its node's on this path.
    UnexpectedSource,
    /// It was not made with our key, or was changed on the way.
    Forged,
    /// Seen before, or older than what was seen.
    Replayed,
    /// Authentic, and not understood all the same.
    Undecodable,
}

impl Refusal {
    pub const ALL: [Refusal; 7] = [
        Refusal::Malformed,
        Refusal::OtherVersion,
        Refusal::UnknownNode,
        Refusal::UnexpectedSource,
        Refusal::Forged,
        Refusal::Replayed,
        Refusal::Undecodable,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Refusal::Malformed => "malformed",
            Refusal::OtherVersion => "other-version",
            Refusal::UnknownNode => "unknown-node",
            Refusal::UnexpectedSource => "unexpected-source",
            Refusal::Forged => "forged",
            Refusal::Replayed => "replayed",
            Refusal::Undecodable => "undecodable",
        }
    }

    /// What it means, for people.
    pub fn meaning(self) -> &'static str {
        match self {
            Refusal::Malformed => "it is no message of the peer link",
            Refusal::OtherVersion => "it is of a form that this version does not know",
            Refusal::UnknownNode => "it names no other node of `cluster.nodes`",
            Refusal::UnexpectedSource => {
                "its address is not the one that `cluster.nodes` gives for this path"
            }
            Refusal::Forged => {
                "it was not made with this cluster's key: another `key_file`, or a forgery"
            }
            Refusal::Replayed => "the same or a newer one was heard before",
            Refusal::Undecodable => "it is authentic, and this version does not understand it",
        }
    }
}
