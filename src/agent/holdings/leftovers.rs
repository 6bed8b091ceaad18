//! Addresses that a dead agent of ours left on the host.

use super::{Holding, Holdings};
use crate::agent::world::{Interface, World};

impl Holdings {
    /// Looks for what a reload has just listed: its interface may have been
    /// reported long ago.
    pub fn discover(&mut self, world: &World) {
        for holding in self.holdings.values_mut() {
            let known = world.interface(holding.settings.interface);
            if let Some(known) = known.filter(|_| !holding.observed && holding.pending.is_none()) {
                holding.observed = true;
                holding.find(known);
            }
        }
    }
}

impl Holding {
    /// One that bears our mark counts as held.
    pub(super) fn find(&mut self, known: &Interface) {
        if !self.present && known.has_marked(self.settings.network.addr()) {
            self.present = true;
            // It was an addition's, and must not delay the removal.
            self.failure = None;
        }
    }
}
