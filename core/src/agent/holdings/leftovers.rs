//! Addresses that a dead agent of ours left on the host, and those that a
//! reload took from an instance.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{Holding, Holdings};
use crate::agent::values::InterfaceName;
use crate::agent::world::{Interface, World};

impl Holdings {
    /// Lets go of what departed and is gone: from now on it may be another
    /// instance's, and what stands there with our mark is not ours to remove.
    pub(super) fn forget_departed(&mut self) {
        self.holdings.retain(|_, holding| {
            !holding.departing || holding.present || holding.pending.is_some()
        });
    }

    /// What is on the host by our doing, or may be.
    pub fn left(&self) -> impl Iterator<Item = (InterfaceName, IpAddr)> {
        let all = self.holdings.values();
        let left = all.filter(|holding| holding.pending.is_some() || holding.is_removable());
        left.map(|holding| (holding.place, holding.settings.network.addr()))
    }

    /// The same, in the form in which each is on the host.
    pub fn in_custody(&self) -> impl Iterator<Item = (InterfaceName, IpNet)> {
        let all = self.holdings.values();
        let ours = all.filter(|holding| {
            !holding.belongs_to_host && (holding.present || holding.pending.is_some())
        });
        ours.map(|holding| {
            let order = holding.order.as_ref();
            let network = order.map_or(holding.settings.network, |order| order.network);
            (holding.place, network)
        })
    }

    /// Looks for what a reload has just listed: its interface may have been
    /// reported long ago.
    pub fn discover(&mut self, world: &World) {
        for holding in self.holdings.values_mut() {
            let known = world.interface(holding.place);
            if let Some(known) = known.filter(|_| !holding.observed && holding.pending.is_none()) {
                holding.find(world, known);
            }
        }
    }
}

impl Holding {
    /// A reload took it away, and it is not gone yet.
    pub fn is_departing(&self) -> bool {
        self.departing
    }

    /// One that bears our mark counts as held, unless an instance that is
    /// about to go still answers for it.
    pub(super) fn find(&mut self, world: &World, known: &Interface) {
        let address = self.settings.network.addr();
        self.observed = !world.is_leaving(self.place, address);
        if self.observed && !self.present && known.has_marked(address) {
            self.present = true;
            // It was an addition's, and must not delay the removal.
            self.failure = None;
        }
    }
}
