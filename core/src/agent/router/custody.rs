//! What the host would be left with if the agent died.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::*;
use crate::agent::custody::Custody;

impl VirtualRouter {
    /// `None` where nothing would be left.
    pub fn custody(&self) -> Option<Custody> {
        let addresses: Vec<_> = self.holdings.in_custody().collect();
        let speaks = self.speaks();
        let routing: Vec<_> = self.routing_left().collect();
        let link = self.link.left();
        if addresses.is_empty() && routing.is_empty() && link.is_none() && !speaks {
            return None;
        }
        let settings = &self.settings;
        Some(Custody {
            name: settings.name.clone(),
            interface: settings.interface,
            speaks,
            source: self.source,
            destinations: settings.destinations(),
            vrid: settings.vrid,
            version: settings.version,
            interval: settings.advert_interval,
            checksum: settings.checksum,
            authentication: settings.authentication.clone(),
            advertised: self.advertised.clone(),
            addresses,
            routing,
            link,
        })
    }

    /// Whether [`VirtualRouter::custody`] is another than when this was last
    /// asked, a reload aside. Compares what is, so that no path to it can be
    /// forgotten.
    pub fn custody_moved(&mut self) -> bool {
        let mark = self.mark();
        std::mem::replace(&mut self.custody_mark, mark) != mark
    }

    pub(super) fn mark(&self) -> u64 {
        let mut held = self.holdings.in_custody().peekable();
        let speaks = self.speaks();
        let mut routing = self.routing.left().peekable();
        let link = self.link.left();
        if held.peek().is_none() && routing.peek().is_none() && link.is_none() && !speaks {
            return 0;
        }
        let mut hasher = DefaultHasher::new();
        (speaks, self.source, link).hash(&mut hasher);
        for address in held {
            address.hash(&mut hasher);
        }
        for item in routing {
            item.hash(&mut hasher);
        }
        hasher.finish()
    }
}
