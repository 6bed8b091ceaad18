//! Interfaces by name: each looked up once in a chunk of orders.

use std::collections::BTreeMap;

use nix::errno::Errno;
use nix::net::if_::if_nametoindex;

use crate::agent::values::InterfaceName;

/// Of one chunk.
pub(super) type Indexes = BTreeMap<InterfaceName, Result<u32, Errno>>;

pub(super) fn look_up(interface: InterfaceName, indexes: &mut Indexes) -> Result<u32, Errno> {
    *indexes
        .entry(interface)
        .or_insert_with(|| if_nametoindex(interface.as_str()))
}

pub(super) fn no_interface(interface: InterfaceName, errno: Errno) -> String {
    match errno {
        Errno::ENODEV | Errno::ENXIO => format!("there is no interface {interface}"),
        _ => format!(
            "the interface {interface} could not be looked up: {}; nothing was changed",
            errno.desc()
        ),
    }
}
