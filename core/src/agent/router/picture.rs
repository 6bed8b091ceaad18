//! One instance's part of `status`.

use super::*;
use crate::agent::settings::Authentication;
use crate::agent::status::{InstanceStatus, VirtualMacStatus};

impl VirtualRouter {
    pub fn status(&self) -> InstanceStatus {
        let settings = &self.settings;
        InstanceStatus {
            name: settings.name.clone(),
            interface: settings.interface,
            vrid: settings.vrid,
            version: settings.version,
            family: settings.family,
            state: self.state_name(),
            since: self.since,
            reason: self.reason,
            obstacles: self.obstacles.status(),
            base_priority: settings.priority,
            effective_priority: self.priority,
            priority_terms: self.terms.clone(),
            virtual_mac: self.link.configured().map(|link| VirtualMacStatus {
                address: link.hardware_address,
                interface: link.name,
                state: self.link.word(),
            }),
            addresses: self.holdings.status(),
            routes: self.routing.routes_status(),
            rules: self.routing.rules_status(),
            active_router: self.active_router(),
            advert_interval: self.own_interval(),
            active_down_interval: self.own_down_interval(),
            drained: self.drained(),
            yielded_to: self.yielded().map(|yielded| yielded.node.clone()),
            stranded: self.stranded(),
            drift: self.divergence.iter().chain(&self.drift).cloned().collect(),
            conflicts: self.conflicts.clone(),
            hooks: self.hooks.status(),
            authentication: match &settings.authentication {
                Authentication::None => "none",
                Authentication::Password(_) => "password",
                Authentication::Hmac(hmac) => hmac.mode.name(),
            },
            rejections: self.rejections.clone(),
            counters: self.counters.clone(),
        }
    }

    fn active_router(&self) -> Option<ActiveRouter> {
        match &self.state {
            State::Active(_) => self.source.map(|address| ActiveRouter {
                address,
                priority: self.priority.get(),
                last_advert: self.last_sent,
                ourselves: true,
                checksum: None,
                node: None,
            }),
            State::Initialize(_) | State::Backup(_) | State::Claiming(_) | State::Resigning(_) => {
                self.active_router.clone()
            }
        }
    }
}
