//! `promote_secondaries`: without it the kernel removes the secondaries of a
//! subnet together with their primary.

use std::fs;
use std::io;

use super::request::{read_setting, setting_path};
use crate::agent::values::InterfaceName;

/// Sets it where neither the interface nor all of them have it.
///
/// # Errors
///
/// The file that could not be written, and why; nothing was changed.
pub(super) fn promote_secondaries(interface: InterfaceName) -> Result<(), (String, io::Error)> {
    const KEY: &str = "promote_secondaries";
    let is_set = |name: &str| read_setting("ipv4", name, KEY).is_some_and(|value| value != "0");
    // The setting of `all` counts for every interface.
    if is_set("all") || is_set(interface.as_str()) {
        return Ok(());
    }
    let path = setting_path("ipv4", interface.as_str(), KEY);
    fs::write(&path, "1").map_err(|error| (path, error))
}
