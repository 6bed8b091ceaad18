//! Keeps renewals of leases from waking whoever watches addresses: the kernel
//! tells of each as if the address were new, thousands in a second.

use libc::SKF_AD_OFF;
use socket2::SockFilter;

use super::ADDRESS_PROTOCOL;
use crate::net::filter::{
    DROP, EQUALS, EQUALS_X, KEEP, LOAD_BYTE_BEHIND_X, LOAD_HALF, LOAD_KEPT_TO_X, LOAD_NUMBER,
    LOAD_NUMBER_TO_X, LOAD_WORD, LOAD_WORD_BEHIND_X, PASS, TO_X, load, skip_if, skip_unless,
};

/// In nlmsghdr.
const KIND_AT: u32 = 4;
/// Behind nlmsghdr and ifaddrmsg.
const ATTRIBUTES_AT: u32 = 16 + 8;
const IFA_CACHEINFO: u32 = 6;
const IFA_PROTO: u32 = 11;
/// From the beginning of an attribute.
const VALUE_AT: u32 = 4;
/// In ifa_cacheinfo: when the address was made, and last changed.
const MADE_AT: u32 = VALUE_AT + 8;
const CHANGED_AT: u32 = VALUE_AT + 12;

/// A becomes where the first attribute of this kind begins, 0 where there is
/// none.
const fn find(kind: u32) -> [SockFilter; 3] {
    [
        load(LOAD_NUMBER, ATTRIBUTES_AT),
        load(LOAD_NUMBER_TO_X, kind),
        load(LOAD_WORD, (SKF_AD_OFF + SKF_AD_NLATTR).cast_unsigned()),
    ]
}
/// linux/filter.h: the attribute of kind X, looked for from offset A.
const SKF_AD_NLATTR: i32 = 12;

/// For a socket that hears of addresses: all but an address that one of us
/// added and that was there before. What brings one back that had gone is
/// heard. So is everything on kernels that know no IFA_PROTO, before 5.18.
pub(super) fn all_but_refreshes() -> [SockFilter; 25] {
    // The machine reads in the network's order, the kernel wrote in the host's.
    let new = u32::from(u16::from_be_bytes(libc::RTM_NEWADDR.to_ne_bytes()));
    let [a, b, c] = find(IFA_PROTO);
    let [d, e, f] = find(IFA_CACHEINFO);
    [
        load(LOAD_HALF, KIND_AT),
        skip_if(EQUALS, new),
        PASS,
        a,
        b,
        c,
        skip_unless(EQUALS, 0),
        PASS,
        TO_X,
        load(LOAD_BYTE_BEHIND_X, VALUE_AT),
        skip_if(EQUALS, u32::from(ADDRESS_PROTOCOL)),
        PASS,
        d,
        e,
        f,
        skip_unless(EQUALS, 0),
        PASS,
        TO_X,
        load(LOAD_WORD_BEHIND_X, MADE_AT),
        load(KEEP, 0),
        load(LOAD_WORD_BEHIND_X, CHANGED_AT),
        load(LOAD_KEPT_TO_X, 0),
        skip_unless(EQUALS_X, 0),
        PASS,
        DROP,
    ]
}
