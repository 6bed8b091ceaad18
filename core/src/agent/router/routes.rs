//! The routes and rules of one router, which follow its addresses.

use super::*;
use crate::agent::routing::{Change, Effect, RoutingIndex, RoutingItem};

impl VirtualRouter {
    /// The kernel answered an order about one of them.
    pub fn on_routing_changed(
        &mut self,
        turn: &mut Turn<'_>,
        index: RoutingIndex,
        change: Change,
        outcome: Result<Effect, String>,
    ) {
        if let Some(fact) = self.routing.changed(turn, index, change, outcome) {
            turn.report(Some(&self.settings.name), Fact::Routing(fact));
        }
        self.refresh(turn);
    }

    /// What bears our mark on this host was reported.
    pub fn on_routing(&mut self, turn: &mut Turn<'_>) {
        self.routing.observe(turn.world);
        self.refresh(turn);
    }

    /// When an address, its interface, a route or rule is to be tried again or confirmed.
    pub(super) fn next_mending(&self) -> Option<Instant> {
        let owner = self.second_owner.map(|other| other.until);
        let own = [self.holdings.next(), self.routing.next(), self.link.next()];
        let all = own.into_iter().chain([owner]);
        all.flatten().min()
    }

    /// Some are configured, or on the host by our doing.
    pub fn has_routing(&self) -> bool {
        !self.routing.is_empty()
    }

    /// Those on the host by our doing, or that may be.
    pub fn routing_left(&self) -> impl Iterator<Item = RoutingItem> {
        self.routing.left().cloned()
    }
}
