//! What the other nodes are told of this instance.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::*;
use crate::agent::cluster::message::{
    ADDRESSES_MAX, Fitness, KEYS_MAX, OBSTACLES_MAX, ObstacleNews, cut,
};
use crate::agent::digest::fnv1a;
use crate::agent::settings::Authentication;

impl VirtualRouter {
    /// Whether [`VirtualRouter::news`] may be another than when this was last
    /// asked.
    pub fn news_moved(&mut self, world: &World) -> bool {
        let mark = self.news_mark(world);
        self.news_mark.replace(mark) != Some(mark)
    }

    fn news_mark(&self, world: &World) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.state_name().hash(&mut hasher);
        (self.since, self.reason.name(), self.priority, self.source).hash(&mut hasher);
        self.hardware_address(world).hash(&mut hasher);
        for holding in self.holdings.iter() {
            (holding.index(), holding.is_held(), holding.is_present()).hash(&mut hasher);
        }
        (self.holdings.left().next().is_some(), self.stopping).hash(&mut hasher);
        self.settings_mark.hash(&mut hasher);
        self.obstacles.hash_into(&mut hasher);
        let active = self.active_router.as_ref().map(|active| active.address);
        (
            active,
            self.witnesses(world).count(),
            self.proof.witnessed(),
        )
            .hash(&mut hasher);
        hasher.finish()
    }

    fn hardware_address(&self, world: &World) -> Option<MacAddress> {
        let known = world.interface(self.settings.interface)?;
        known.state.as_ref()?.hardware_address
    }

    pub(super) fn fitness(&self) -> Fitness {
        if self.is_drained() {
            Fitness::Unable
        } else if self.obstacles.allow() && !self.stopping {
            Fitness::Able
        } else if self.obstacles.only_checks() && !self.stopping {
            Fitness::ChecksFail
        } else {
            Fitness::Unable
        }
    }

    /// And since when it is in its state. The spans in it are zero.
    pub fn news(&self, world: &World) -> (InstanceNews, Instant) {
        let settings = &self.settings;
        let addresses = self.holdings.status();
        let held = addresses.iter().map(|one| (one.network, one.held));
        let obstacles = self.obstacles.status();
        let (keys, active_key) = match &settings.authentication {
            Authentication::None | Authentication::Password(_) => (Vec::new(), None),
            Authentication::Hmac(hmac) => {
                let keys = hmac.fingerprints.iter().map(|(id, print)| (*id, *print));
                (keys.take(KEYS_MAX).collect(), Some(hmac.active_key))
            }
        };
        let news = InstanceNews {
            name: settings.name.clone(),
            vrid: settings.vrid,
            family: settings.family,
            version: settings.version,
            state: self.state_name(),
            for_: Duration::ZERO,
            reason: self.reason.name().to_owned(),
            fitness: self.fitness(),
            priority: self.priority.get(),
            source: self.source,
            hardware_address: self.hardware_address(world),
            advert_interval: self.own_interval(),
            down_after: settings.down_after,
            holds: self.holdings.left().next().is_some(),
            addresses: held.take(ADDRESSES_MAX).collect(),
            addresses_total: u16::try_from(addresses.len()).unwrap_or(u16::MAX),
            addresses_digest: addresses_digest(settings),
            settings_digest: settings_digest(settings),
            keys,
            active_key,
            obstacles: obstacles
                .iter()
                .take(OBSTACLES_MAX)
                .map(|obstacle| ObstacleNews {
                    code: obstacle.code.to_owned(),
                    source: cut(&obstacle.source),
                    text: cut(&obstacle.text),
                })
                .collect(),
            active_router: self.active_router.as_ref().map(|active| active.address),
            witnesses: u8::try_from(self.witnesses(world).count()).unwrap_or(u8::MAX),
            witnessed: self.proof.witnessed(),
        };
        (news, self.since)
    }
}

/// Whatever their order, and by whatever interface they are held.
pub(super) fn addresses_digest(settings: &InstanceSettings) -> u64 {
    let mut all: Vec<String> = settings
        .addresses
        .iter()
        .map(|address| format!("{} {}\n", address.network, address.advertise))
        .collect();
    all.sort_unstable();
    fnv1a(all.concat().into_bytes())
}

/// What should be equal on all nodes and is not compared by itself.
pub(super) fn settings_digest(settings: &InstanceSettings) -> u64 {
    let text = format!(
        "{:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?}",
        settings.checks,
        settings.on_all_fail,
        settings.on_conflict,
        settings.hooks,
        settings.announce,
        settings.lease,
        settings.checksum,
        settings.ttl,
        settings.settle,
    );
    fnv1a(text.into_bytes())
}
