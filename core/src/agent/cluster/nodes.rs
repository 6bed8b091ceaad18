//! The other nodes, for those who decide by what is known of them.

use std::collections::BTreeMap;

use super::message::{Fitness, InstanceNews};
use super::peer::Peer;
use crate::agent::settings::ClusterSettings;
use crate::agent::status::StateName;
use crate::agent::time::Instant;
use crate::agent::values::{InstanceName, MacAddress, NodeName};

#[derive(Clone, Debug, Default)]
pub(in crate::agent) struct Nodes {
    /// Without ourselves; empty without a peer link.
    pub(super) peers: BTreeMap<NodeName, Peer>,
}

impl Nodes {
    pub(super) fn configure(&mut self, settings: Option<&ClusterSettings>) {
        let wanted = settings.into_iter().flat_map(|settings| {
            let others = settings.nodes.iter();
            others.filter(|(name, _)| **name != settings.own)
        });
        let mut before = std::mem::take(&mut self.peers);
        for (name, addresses) in wanted {
            let mut peer = before.remove(name).unwrap_or_else(|| Peer::new(addresses));
            peer.readdress(addresses);
            self.peers.insert(name.clone(), peer);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&NodeName, &Peer)> {
        self.peers.iter()
    }

    pub fn get(&self, name: &NodeName) -> Option<&Peer> {
        self.peers.get(name)
    }

    /// What each node tells now of an instance; nothing of those that are not
    /// heard.
    pub fn tell(
        &self,
        now: Instant,
        instance: &InstanceName,
    ) -> impl Iterator<Item = (&NodeName, &InstanceNews)> {
        self.peers
            .iter()
            .filter_map(move |(name, peer)| Some((name, peer.instance_now(now, instance)?)))
    }

    /// Some instance of a node we know is on the interface with this address.
    pub fn has_hardware_address(&self, address: MacAddress) -> bool {
        let mut peers = self.peers.values();
        peers.any(|peer| peer.has_hardware_address(address))
    }

    /// Every other node is heard, and failing checks alone keep it from the
    /// instance.
    pub fn all_fail_by_checks(&self, now: Instant, instance: &InstanceName) -> bool {
        !self.is_empty()
            && self.peers.values().all(|peer| {
                let news = peer.instance_now(now, instance);
                news.is_some_and(|news| news.fitness == Fitness::ChecksFail)
            })
    }
}

impl InstanceNews {
    /// Active, or about to be.
    pub fn is_active(&self) -> bool {
        self.state == StateName::Active
    }

    /// It stops, or something stands in its way.
    pub fn takes_no_part(&self) -> bool {
        matches!(
            self.state,
            StateName::Initialize | StateName::Fault | StateName::Drained
        )
    }

    /// Its node would claim if nobody else did.
    pub fn is_candidate(&self) -> bool {
        !self.takes_no_part() && self.fitness == Fitness::Able
    }
}
