//! Instructions of the kernel's classic BPF machine (linux/bpf_common.h), for
//! sockets that hear only what concerns them. Offsets count from the header
//! that the socket's user sees first.

use libc::{SKF_AD_OFF, SKF_AD_PKTTYPE};
use socket2::SockFilter;

pub(super) const LOAD_BYTE: u16 = 0x30;
pub(super) const LOAD_HALF: u16 = 0x28;
pub(super) const LOAD_WORD: u16 = 0x20;
pub(super) const LOAD_BYTE_BEHIND_X: u16 = 0x50;
pub(super) const LOAD_WORD_BEHIND_X: u16 = 0x40;
pub(super) const LOAD_NUMBER: u16 = 0x00;
pub(super) const LOAD_NUMBER_TO_X: u16 = 0x01;
pub(super) const LOAD_KEPT_TO_X: u16 = 0x61;
/// In one of 16 cells, for as long as the program runs.
pub(super) const KEEP: u16 = 0x02;
const MOVE_TO_X: u16 = 0x07;
pub(super) const MOVE_FROM_X: u16 = 0x87;
pub(super) const EQUALS: u16 = 0x15;
pub(super) const EQUALS_X: u16 = 0x1d;
const IS_ABOVE: u16 = 0x25;
const RETURN: u16 = 0x06;

pub(super) const fn load(width: u16, offset: u32) -> SockFilter {
    SockFilter::new(width, 0, 0, offset)
}

/// Skips the next instruction when the condition holds.
pub(super) const fn skip_if(condition: u16, value: u32) -> SockFilter {
    SockFilter::new(condition, 1, 0, value)
}

/// Skips the next instruction when the condition does not hold.
pub(super) const fn skip_unless(condition: u16, value: u32) -> SockFilter {
    SockFilter::new(condition, 0, 1, value)
}

pub(super) const TO_X: SockFilter = SockFilter::new(MOVE_TO_X, 0, 0, 0);
pub(super) const DROP: SockFilter = SockFilter::new(RETURN, 0, 0, 0);
pub(super) const PASS: SockFilter = SockFilter::new(RETURN, 0, 0, u32::MAX);

/// PACKET_HOST, _BROADCAST or _MULTICAST, which are 0, 1 and 2: neither meant
/// for another host, nor sent or looped back by this one.
pub(super) const LOAD_DIRECTION: SockFilter =
    load(LOAD_BYTE, (SKF_AD_OFF + SKF_AD_PKTTYPE).cast_unsigned());
pub(super) const SKIP_UNLESS_OURS_OR_OTHERS: SockFilter = skip_unless(IS_ABOVE, 2);
