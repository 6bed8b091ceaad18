//! ICMP and ICMPv6 echo, which is `ping`: a request of ours, and whether a
//! packet is the reply to it.

use super::checksum::Sum;
use crate::agent::values::Family;

/// RFC 792, and RFC 4443 sections 4.1 and 4.2.
///
/// ```text
///  0                   1                   2                   3
///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// |     Type      |     Code      |          Checksum             |
/// |           Identifier          |        Sequence Number        |
/// |                       Token, 16 bytes ...                     |
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
pub type EchoRequest = [u8; HEADER + TOKEN];
/// Which request it is: drawn at random, and sent back by who answers.
pub type Token = [u8; TOKEN];

const HEADER: usize = 8;
const TOKEN: usize = 16;
const IPV4_HEADER_MIN: usize = 20;

const fn types(family: Family) -> (u8, u8) {
    match family {
        Family::Ipv4 => (8, 0),
        Family::Ipv6 => (128, 129),
    }
}

/// The checksum of ICMPv6, which covers addresses, is the kernel's to fill in.
pub fn echo_request(family: Family, sequence: u16, token: &Token) -> EchoRequest {
    let (request, _) = types(family);
    let [first, second, ..] = *token;
    let [high, low] = sequence.to_be_bytes();
    let mut message = [0; HEADER + TOKEN];
    let head = [request, 0, 0, 0, first, second, high, low];
    for (to, from) in message.iter_mut().zip(head.iter().chain(token)) {
        *to = *from;
    }
    if family == Family::Ipv4 {
        let [high, low] = Sum::default().bytes(&message).checksum().to_be_bytes();
        let [_, _, to_high, to_low, ..] = &mut message;
        (*to_high, *to_low) = (high, low);
    }
    message
}

/// `packet` begins with the ICMP header, or with the IPv4 header that raw
/// sockets have in front of it.
pub fn is_echo_reply(family: Family, packet: &[u8], token: &Token) -> bool {
    let (_, reply) = types(family);
    let message = match (family, packet.first()) {
        (Family::Ipv4, Some(first)) if first >> 4 == 4 => {
            let length = usize::from(first & 15) * 4;
            packet.get(length.max(IPV4_HEADER_MIN)..)
        }
        (Family::Ipv4 | Family::Ipv6, _) => Some(packet),
    };
    let Some((head, body)) = message.and_then(|message| message.split_at_checked(HEADER)) else {
        return false;
    };
    head.starts_with(&[reply, 0]) && body.starts_with(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: Token = *b"0123456789abcdef";

    #[test]
    fn a_request_is_sound_and_no_reply() {
        let request = echo_request(Family::Ipv4, 3, &TOKEN);
        assert_eq!(request[..2], [8, 0]);
        assert_eq!(request[6..8], [0, 3]);
        assert_eq!(request[8..], TOKEN);
        assert!(Sum::default().bytes(&request).is_sound());
        assert!(!is_echo_reply(Family::Ipv4, &request, &TOKEN));
        assert_eq!(echo_request(Family::Ipv6, 3, &TOKEN)[..4], [128, 0, 0, 0]);
    }

    #[test]
    fn a_reply_is_known_by_its_token_with_or_without_an_ip_header() {
        let mut reply = echo_request(Family::Ipv4, 1, &TOKEN);
        reply[0] = 0;
        assert!(is_echo_reply(Family::Ipv4, &reply, &TOKEN));
        let mut packet = vec![0x45; 20];
        packet.extend(reply);
        assert!(is_echo_reply(Family::Ipv4, &packet, &TOKEN));
        assert!(!is_echo_reply(Family::Ipv4, &packet, &[7; 16]));
        assert!(!is_echo_reply(Family::Ipv6, &reply, &TOKEN));
        let mut reply = echo_request(Family::Ipv6, 1, &TOKEN);
        reply[0] = 129;
        assert!(is_echo_reply(Family::Ipv6, &reply, &TOKEN));
        for length in 0..reply.len() {
            assert!(!is_echo_reply(Family::Ipv6, &reply[..length], &TOKEN));
            assert!(!is_echo_reply(Family::Ipv4, &packet[..length], &TOKEN));
        }
    }
}
