//! The authentication trailer: whatever arrives, it is genuine just when it is
//! the one that we would have made; and what is turned after that is not.

use std::net::Ipv6Addr;

use vipward::agent::event::Heard;
use vipward::wire::advertisement::{decode_ipv4, decode_ipv6};
use vipward::wire::authentication::{self, Key, Signature, is_genuine};

const SOURCE: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const DESTINATION: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);

/// A byte that is even for IPv4, two bytes that say which bit is turned, and
/// the datagram; over IPv6 without its header.
pub fn trailer(data: &[u8]) {
    let Some(([family, high, low], datagram)) = data.split_first_chunk::<3>() else {
        return;
    };
    // That of the captures, so that fuzzing begins with what is genuine.
    let bytes: Vec<u8> = (0..32).collect();
    let key = Key::new(&bytes).expect("a key");
    let other = Key::new(&[7; 32]).expect("a key");
    let v4 = family % 2 == 0;
    let heard = decode(v4, datagram);
    let Ok(message) = &heard.message else {
        return;
    };
    let Some(seal) = message.seal else {
        assert!(!is_genuine(&key, &heard));
        return;
    };
    let signature = Signature {
        key: &key,
        key_id: seal.key,
        sequence: seal.sequence,
    };
    let made = authentication::trailer(&signature, heard.source, seal.message);
    let made = made.expect("there is a header");
    let ours = seal.kind == 1 && seal.trailer[2..4] == [0, 0];
    if ours {
        assert_eq!(is_genuine(&key, &heard), made == *seal.trailer);
    }

    let length = seal.message.len();
    let mut sealed = datagram.to_vec();
    let end = datagram.len() - surplus(v4, datagram);
    let begin = end - length - made.len();
    sealed[end - made.len()..end].copy_from_slice(&made);
    let again = decode(v4, &sealed);
    assert!(is_genuine(&key, &again) && !is_genuine(&other, &again));

    let bit = usize::from(u16::from_be_bytes([*high, *low])) % ((end - begin) * 8);
    let checksum = (6..8).contains(&(bit / 8));
    sealed[begin + bit / 8] ^= 1 << (bit % 8);
    let turned = decode(v4, &sealed);
    assert!(checksum || !is_genuine(&key, &turned), "bit {bit}");
}

fn decode(v4: bool, datagram: &[u8]) -> Heard<'_> {
    let interface = "eth0".parse().expect("a name");
    match v4 {
        true => decode_ipv4(interface, datagram),
        false => decode_ipv6(interface, SOURCE, DESTINATION, 255, datagram),
    }
}

/// Bytes behind the datagram's total length.
fn surplus(v4: bool, datagram: &[u8]) -> usize {
    let total = match (v4, datagram) {
        (true, [_, _, high, low, ..]) => usize::from(u16::from_be_bytes([*high, *low])),
        _ => datagram.len(),
    };
    datagram.len() - total
}
