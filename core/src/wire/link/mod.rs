//! The peer link: what one node sends another in one UDP datagram.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |      'v'      |      'p'      |      'l'      |   Form = 1    |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |             Tag of the sender's name, 8 bytes                 |
//! |                                                               |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |             Boot identity of the sender, 12 bytes             |
//! |                              ...                              |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |             Sessions that it has begun with the receiver      |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |             Boot identity of the receiver, 12 bytes, as the   |
//! |             sender knows it; zeros: it does not      ...      |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |             Sessions of the receiver, as the sender knows     |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |             Counter, 8 bytes                                  |
//! |                                                               |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |             Message, ChaCha20-Poly1305               ...      |
//! |             and its tag, 16 bytes                             |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```
//!
//! The head is authenticated and not encrypted. The key is made of the
//! cluster's, of both names in the order sender, receiver, and of both boot
//! identities (`sealing`). The message is CBOR (`message`, `decode`).

mod decode;
pub mod message;
mod moves;
pub mod sealing;

pub use decode::decode;
pub use message::{TooLong, encode};

use crate::agent::cluster::message::MESSAGE_BYTES_MAX;

/// In front of the message.
pub const HEAD_BYTES: usize = 52;
/// Behind it.
pub const TAG_BYTES: usize = 16;
pub const DATAGRAM_BYTES_MAX: usize = HEAD_BYTES + MESSAGE_BYTES_MAX + TAG_BYTES;
