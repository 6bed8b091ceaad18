//! What the configuration of this version knows. The words of `config::keys`
//! decide: what is known there is written, what is not is put on the list.

use crate::config::keys;

/// `process: nginx` as a check.
pub(super) fn process_checks() -> bool {
    keys::CHECK.known.contains(&"process")
}

/// `file: /run/vipward/priority` as a check, its number added to the priority.
pub(super) fn file_checks() -> bool {
    keys::CHECK.known.contains(&"file")
}

/// `virtual_mac: true` in an instance.
pub(super) fn virtual_mac() -> bool {
    keys::INSTANCE.known.contains(&"virtual_mac")
}
