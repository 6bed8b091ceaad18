//! promote_secondaries: whether other addresses of a subnet survive when its
//! first one goes, and so whether that one may go by itself.

use std::collections::BTreeMap;
use std::fs;

use ipnet::IpNet;

use super::request::{read_setting, setting_path};
use crate::agent::action::AddressOrder;
use crate::agent::values::InterfaceName;

const KEY: &str = "promote_secondaries";

/// What was found out in one chunk of orders: an interface is asked about once.
#[derive(Default)]
pub(super) struct Promotions {
    known: BTreeMap<InterfaceName, Result<(), String>>,
}

impl Promotions {
    /// The order as it can be carried out, and why not with its lease. An
    /// address that expires is gone like one that is removed, and takes its
    /// subnet's others along unless the kernel was told to promote one of
    /// them; nobody may be there to mend that. A host address has no others.
    pub fn lease(&mut self, order: &AddressOrder) -> (AddressOrder, Option<String>) {
        let mut order = order.clone();
        let leads = match order.network {
            IpNet::V4(network) => network.prefix_len() < 32,
            IpNet::V6(_) => false,
        };
        let reason = match order.lease {
            Some(_) if leads => self.ensure(order.interface).err(),
            Some(_) | None => None,
        };
        if reason.is_some() {
            order.lease = None;
        }
        (order, reason)
    }

    /// Sets it where it is not set; the error says why that cannot be done.
    pub fn ensure(&mut self, interface: InterfaceName) -> Result<(), String> {
        self.known
            .entry(interface)
            .or_insert_with(|| ensure(interface))
            .clone()
    }
}

/// Sets it where neither the interface nor all of them have it; the error says
/// why that cannot be done. The setting of `all` counts for every interface.
pub(super) fn ensure(interface: InterfaceName) -> Result<(), String> {
    let is_set = |name: &str| read_setting("ipv4", name, KEY).is_some_and(|value| value != "0");
    if is_set("all") || is_set(interface.as_str()) {
        return Ok(());
    }
    let path = setting_path("ipv4", interface.as_str(), KEY);
    fs::write(&path, "1").map_err(|error| format!("{path} could not be set to 1: {error}"))
}
