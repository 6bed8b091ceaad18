//! The Internet checksum (RFC 1071) and the pseudo-headers of both families.

use std::net::IpAddr;

/// A one's complement sum in the making. Pieces are added in any order; only
/// the last bytes added may be odd in number.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum(u64);

impl Sum {
    /// The pseudo-header of IPv4 (RFC 793) or IPv6 (RFC 8200 section 8.1):
    /// both are sums of the same four things. `length` is the upper layer's.
    pub(super) fn pseudo_header(
        source: IpAddr,
        destination: IpAddr,
        protocol: u8,
        length: usize,
    ) -> Self {
        Self::default()
            .address(source)
            .address(destination)
            .number(u64::from(protocol))
            .number(u64::try_from(length).unwrap_or(u64::from(u32::MAX)))
    }

    pub(super) fn bytes(self, bytes: &[u8]) -> Self {
        let (pairs, odd) = bytes.as_chunks::<2>();
        let words = pairs
            .iter()
            .map(|pair| u64::from(u16::from_be_bytes(*pair)));
        let last = odd.iter().map(|byte| u64::from(*byte) << 8);
        Self(words.chain(last).fold(self.0, u64::wrapping_add))
    }

    /// The value for the checksum field, which counted as zero. It may be
    /// 0x0000, which has no special meaning here, unlike in UDP.
    pub(super) fn checksum(self) -> u16 {
        !self.folded()
    }

    /// What was summed, its checksum field included, is sound. A sender that
    /// writes 0xffff for 0x0000 is right too: they are the same number.
    pub(super) fn is_sound(self) -> bool {
        self.folded() == 0xffff
    }

    fn address(self, address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => self.bytes(&address.octets()),
            IpAddr::V6(address) => self.bytes(&address.octets()),
        }
    }

    /// 2^16 counts as 1 in this arithmetic, so a number of several words may
    /// be added whole.
    fn number(self, number: u64) -> Self {
        Self(self.0.wrapping_add(number))
    }

    fn folded(self) -> u16 {
        let mut sum = self.0;
        // Four rounds bring any 64 bits down to 16.
        while let Err(_too_wide) = u16::try_from(sum) {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        u16::try_from(sum).unwrap_or(u16::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use pnet_packet::ip::IpNextHeaderProtocol;
    use pnet_packet::util;
    use proptest::prelude::*;

    use super::*;

    /// A word that does not exist, so that the oracle skips none.
    const NO_WORD: usize = usize::MAX;

    proptest! {
        #[test]
        fn message_alone_agrees_with_pnet(data in proptest::collection::vec(any::<u8>(), 1..300)) {
            prop_assert_eq!(Sum::default().bytes(&data).checksum(), util::checksum(&data, NO_WORD));
        }

        #[test]
        fn ipv4_pseudo_header_agrees_with_pnet(
            data in proptest::collection::vec(any::<u8>(), 0..300),
            source: Ipv4Addr,
            destination: Ipv4Addr,
        ) {
            let ours = Sum::pseudo_header(source.into(), destination.into(), 112, data.len());
            let protocol = IpNextHeaderProtocol(112);
            let oracle = util::ipv4_checksum(&data, NO_WORD, &[], &source, &destination, protocol);
            prop_assert_eq!(ours.bytes(&data).checksum(), oracle);
        }

        #[test]
        fn ipv6_pseudo_header_agrees_with_pnet(
            data in proptest::collection::vec(any::<u8>(), 0..300),
            source: Ipv6Addr,
            destination: Ipv6Addr,
        ) {
            let ours = Sum::pseudo_header(source.into(), destination.into(), 112, data.len());
            let protocol = IpNextHeaderProtocol(112);
            let oracle = util::ipv6_checksum(&data, NO_WORD, &[], &source, &destination, protocol);
            prop_assert_eq!(ours.bytes(&data).checksum(), oracle);
        }
    }

    #[test]
    fn both_zeros_are_sound() {
        // 0xfffe + 0x0001 leaves nothing for the field to add.
        let rest = Sum::default().bytes(&[0xff, 0xfe, 0x00, 0x01]);
        assert_eq!(rest.checksum(), 0x0000);
        assert!(rest.bytes(&[0x00, 0x00]).is_sound());
        assert!(rest.bytes(&[0xff, 0xff]).is_sound());
        assert!(!rest.bytes(&[0x00, 0x01]).is_sound());
    }
}
