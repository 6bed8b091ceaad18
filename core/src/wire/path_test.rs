//! Do packets of protocol 112 pass, and which way? A question that
//! `vipward doctor` sends the way that advertisements go, and what an agent
//! answers. Neither is an advertisement: the virtual router is 0, which does
//! not exist (RFC 9568 section 5.2.3), and so does its type not, which everybody
//! must discard (section 5.2.2).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |   3   |  15   |       0       |       0       |    16 or 4    |
//! |               0               |          Checksum             |
//! |          "vipward?" of a question, "vipward!" of an answer    |
//! |                                                               |
//! |                     Token, 24 bytes ...                       |
//! |             Virtual routers, a bit for each of 256 ...        |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```
//!
//! By their length the 64 bytes are a list of addresses, so that whoever looks
//! at length and checksum first finds both right.

use std::net::IpAddr;

use super::advertisement::{HEADER_LENGTH, PROTOCOL};
use super::checksum::Sum;
use crate::agent::event::Message;
use crate::agent::values::Family;

const VERSION: u8 = 3;
/// The only other type there is, is 1.
const KIND: u8 = 15;
const NO_VRID: u8 = 0;
const QUESTION: &[u8; 8] = b"vipward?";
const ANSWER: &[u8; 8] = b"vipward!";
const BODY: usize = 64;

/// Which question it is: drawn at random, and sent back by who answers.
pub type Token = [u8; 24];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathTest {
    pub kind: Kind,
    pub token: Token,
    /// Those that are asked after; of an answer, those that are there.
    pub vrids: Vrids,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Question,
    Answer,
}

/// A set of virtual router identifiers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vrids([u8; 32]);

impl Vrids {
    pub fn insert(&mut self, vrid: u8) {
        if let Some(byte) = self.0.get_mut(usize::from(vrid / 8)) {
            *byte |= 1 << (vrid % 8);
        }
    }

    pub fn contains(&self, vrid: u8) -> bool {
        let byte = self.0.get(usize::from(vrid / 8));
        byte.is_some_and(|byte| byte & 1 << (vrid % 8) != 0)
    }

    #[must_use]
    pub fn common(&self, other: &Self) -> Self {
        let mut common = *self;
        for (byte, other) in common.0.iter_mut().zip(other.0) {
            *byte &= other;
        }
        common
    }

    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl FromIterator<u8> for Vrids {
    fn from_iter<I: IntoIterator<Item = u8>>(all: I) -> Self {
        let mut vrids = Self::default();
        all.into_iter().for_each(|vrid| vrids.insert(vrid));
        vrids
    }
}

/// The message, checksum included; the IP header is the kernel's work. Both
/// ends are of one family.
pub fn encode(test: &PathTest, source: IpAddr, destination: IpAddr) -> Vec<u8> {
    let address_bytes = match Family::of(source) {
        Family::Ipv4 => 4,
        Family::Ipv6 => 16,
    };
    let count = u8::try_from(BODY / address_bytes).unwrap_or(u8::MAX);
    let mut message = vec![VERSION << 4 | KIND, NO_VRID, 0, count, 0, 0, 0, 0];
    message.extend(match test.kind {
        Kind::Question => QUESTION,
        Kind::Answer => ANSWER,
    });
    message.extend(test.token);
    message.extend(test.vrids.0);
    let sum = Sum::pseudo_header(source, destination, PROTOCOL, message.len()).bytes(&message);
    if let Some(field) = message.get_mut(6..HEADER_LENGTH) {
        field.copy_from_slice(&sum.checksum().to_be_bytes());
    }
    message
}

/// `None` where it is none of these, and whole.
pub fn read(message: &Message<'_>) -> Option<PathTest> {
    if (message.version, message.kind, message.vrid) != (VERSION, KIND, NO_VRID) {
        return None;
    }
    message.checksum?;
    let mut body = Vec::with_capacity(BODY);
    for address in message.addresses.iter() {
        match address {
            IpAddr::V4(address) => body.extend(address.octets()),
            IpAddr::V6(address) => body.extend(address.octets()),
        }
    }
    let body: &[u8; BODY] = body.as_slice().try_into().ok()?;
    let (magic, rest) = body.split_first_chunk::<8>()?;
    let (token, rest) = rest.split_first_chunk::<24>()?;
    let kind = match magic {
        QUESTION => Kind::Question,
        ANSWER => Kind::Answer,
        _ => return None,
    };
    Some(PathTest {
        kind,
        token: *token,
        vrids: Vrids(*rest.first_chunk::<32>()?),
    })
}

#[cfg(test)]
mod tests {
    use super::super::advertisement::{decode_ipv4, decode_ipv6};
    use super::*;
    use crate::agent::event::Heard;

    const TEST: PathTest = PathTest {
        kind: Kind::Question,
        token: *b"0123456789abcdefghijklmn",
        vrids: Vrids([7; 32]),
    };

    fn over_ipv4(message: &[u8]) -> Vec<u8> {
        let total = u16::try_from(20 + message.len()).unwrap().to_be_bytes();
        let mut datagram = vec![0x45, 0xc0, total[0], total[1], 0, 0, 0, 0, 255, 112, 0, 0];
        datagram.extend([192, 0, 2, 1, 224, 0, 0, 18]);
        datagram.extend(message);
        datagram
    }

    fn understood(heard: &Heard<'_>) -> Option<PathTest> {
        heard.message.as_ref().ok().and_then(read)
    }

    #[test]
    fn both_kinds_survive_both_families() {
        for kind in [Kind::Question, Kind::Answer] {
            let test = PathTest { kind, ..TEST };
            let (from, to) = ("192.0.2.1".parse().unwrap(), "224.0.0.18".parse().unwrap());
            let datagram = over_ipv4(&encode(&test, from, to));
            let heard = decode_ipv4("eth0".parse().unwrap(), &datagram);
            assert_eq!(understood(&heard), Some(test));
            let (from, to) = ("fe80::1".parse().unwrap(), "ff02::12".parse().unwrap());
            let message = encode(&test, from, to);
            let (IpAddr::V6(from), IpAddr::V6(to)) = (from, to) else {
                unreachable!()
            };
            let heard = decode_ipv6("eth0".parse().unwrap(), from, to, 255, &message);
            assert_eq!(understood(&heard), Some(test));
        }
    }

    /// Whoever looks at one thing alone discards it for that.
    #[test]
    fn it_is_no_advertisement_and_sound_otherwise() {
        let (from, to) = ("192.0.2.1".parse().unwrap(), "224.0.0.18".parse().unwrap());
        let datagram = over_ipv4(&encode(&TEST, from, to));
        let heard = decode_ipv4("eth0".parse().unwrap(), &datagram);
        let message = heard.message.unwrap();
        assert_eq!((message.vrid, message.kind), (0, 15));
        assert!(message.length_exact && message.checksum.is_some());
    }

    #[test]
    fn what_was_damaged_or_is_another_s_is_none() {
        let (from, to) = ("192.0.2.1".parse().unwrap(), "224.0.0.18".parse().unwrap());
        let whole = over_ipv4(&encode(&TEST, from, to));
        for at in 20..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            let heard = decode_ipv4("eth0".parse().unwrap(), &damaged);
            assert_eq!(understood(&heard), None, "byte {at}");
        }
        let heard = decode_ipv4("eth0".parse().unwrap(), &whole[..60]);
        assert!(heard.message.is_err());
    }

    #[test]
    fn sets_have_what_was_put_in() {
        let vrids: Vrids = [1, 51, 255].into_iter().collect();
        let has: Vec<u8> = (0..=255).filter(|vrid| vrids.contains(*vrid)).collect();
        assert_eq!(has, [1, 51, 255]);
        let other: Vrids = [51, 52].into_iter().collect();
        let common = vrids.common(&other);
        assert!(common.contains(51) && !common.contains(52) && !common.contains(1));
        assert!(Vrids::default().is_empty() && !common.is_empty());
    }
}
