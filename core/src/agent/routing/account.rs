//! The routes and rules of one instance: what should be on the host, what is,
//! and the orders that mend the difference. At most one order for each is
//! under way at a time, so the kernel's last answer is the truth.
//!
//! Routes come after the addresses of their interface, which the kernel wants
//! to see first, and rules after the routes; they go in the reverse order.

use std::collections::BTreeMap;

use super::entry::{Entry, Outcome};
use super::{Change, Effect, RouteStatus, RoutingFact, RoutingIndex, RoutingItem, RuleStatus};
use crate::agent::holdings::Holdings;
use crate::agent::settings::InstanceSettings;
use crate::agent::time::Instant;
use crate::agent::values::{InstanceId, InterfaceName};
use crate::agent::world::{Turn, World};

#[derive(Clone, Debug)]
pub(in crate::agent) struct Routing {
    instance: InstanceId,
    entries: BTreeMap<RoutingIndex, Entry>,
    next_index: u16,
}

impl Routing {
    pub fn new(instance: InstanceId, settings: &InstanceSettings) -> Self {
        let mut routing = Self {
            instance,
            entries: BTreeMap::new(),
            next_index: 0,
        };
        routing.reconfigure(settings);
        routing
    }

    /// Keeps what stays the same, adds what is new, and marks what departs.
    pub fn reconfigure(&mut self, settings: &InstanceSettings) {
        for entry in self.entries.values_mut() {
            entry.departing = true;
        }
        let routes = settings.routes.iter();
        let routes = routes.map(|item| (RoutingItem::Route(item.route.clone()), item.required));
        let rules = settings.rules.iter();
        let rules = rules.map(|item| (RoutingItem::Rule(item.rule.clone()), item.required));
        for (item, required) in routes.chain(rules) {
            let mut known = self.entries.values_mut();
            let index = match known.find(|entry| entry.item == item) {
                Some(entry) => entry.index,
                None => {
                    let index = self.free_index();
                    let entry = Entry::new(self.instance, index, item);
                    self.entries.insert(index, entry);
                    index
                }
            };
            if let Some(entry) = self.entries.get_mut(&index) {
                entry.departing = false;
                entry.required = required;
            }
        }
    }

    /// The next index that nothing has, be it a departing one.
    fn free_index(&mut self) -> RoutingIndex {
        while self.entries.contains_key(&RoutingIndex(self.next_index)) {
            self.next_index = self.next_index.wrapping_add(1);
        }
        let index = RoutingIndex(self.next_index);
        self.next_index = self.next_index.wrapping_add(1);
        index
    }

    /// Nothing is configured, and nothing of ours is left.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Those that are configured.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values().filter(|entry| !entry.departing)
    }

    /// Nothing of ours is on the host and nothing is under way.
    pub fn are_gone(&self) -> bool {
        !self.entries.values().any(Entry::is_left)
    }

    /// A claim begins by making sure, of those believed present too.
    pub fn claim_anew(&mut self) {
        for entry in self.entries.values_mut() {
            entry.confirmed = false;
        }
    }

    /// Orders what is missing and whose addresses are there.
    pub fn complete(&mut self, turn: &mut Turn<'_>, holdings: &Holdings) {
        self.release_departing(turn);
        if self.is_empty() {
            return;
        }
        for entry in self.entries.values_mut() {
            if let RoutingItem::Route(route) = &entry.item
                && holdings.are_decided_on(route.interface)
                && route
                    .source
                    .is_none_or(|source| holdings.may_speak_from(source))
            {
                entry.claim(turn);
            }
        }
        let undecided = |entry: &Entry| is_route(entry) && !entry.is_decided();
        if self.iter().any(undecided) || !holdings.are_decided() {
            return;
        }
        for entry in self.entries.values_mut().filter(|entry| !is_route(entry)) {
            entry.claim(turn);
        }
    }

    /// Orders the removal of what is no longer configured.
    pub fn release_departing(&mut self, turn: &mut Turn<'_>) {
        self.release_where(turn, |entry| entry.departing);
    }

    /// Orders the removal of what is there.
    pub fn release(&mut self, turn: &mut Turn<'_>) {
        self.release_where(turn, |_| true);
    }

    /// Rules first: none shall lead into a table without routes.
    fn release_where(&mut self, turn: &mut Turn<'_>, which: impl Fn(&Entry) -> bool) {
        for routes in [false, true] {
            let all = self.entries.values_mut().rev();
            for entry in all.filter(|entry| is_route(entry) == routes && which(entry)) {
                entry.release(turn);
            }
        }
        self.entries
            .retain(|_, entry| !entry.departing || entry.is_left());
    }

    /// The kernel's answer to an order. Returns what is to be told.
    pub fn changed(
        &mut self,
        turn: &Turn<'_>,
        index: RoutingIndex,
        change: Change,
        outcome: Result<Effect, String>,
    ) -> Option<RoutingFact> {
        let entry = self.entries.get_mut(&index)?;
        // What the kernel was asked otherwise is still under way.
        entry.pending.take_if(|pending| *pending == change)?;
        let item = entry.item.clone();
        let seen = turn.world.has_routing(&item);
        let outcome = match change {
            Change::Add => entry.added(turn.now, seen, outcome),
            Change::Remove => entry.removed(turn.now, outcome),
        };
        match (outcome, change) {
            (Outcome::Nothing, _) => None,
            (Outcome::Restored, _) => Some(RoutingFact::Restored { item }),
            (Outcome::Failed { error, retry_in }, Change::Add) => Some(RoutingFact::AddFailed {
                item,
                error,
                retry_in,
            }),
            (Outcome::Failed { error, retry_in }, Change::Remove) => {
                Some(RoutingFact::RemovalFailed {
                    item,
                    error,
                    retry_in,
                })
            }
        }
    }

    /// Compares with what the kernel was last reported to have.
    pub fn observe(&mut self, world: &World) {
        if !world.knows_routing() {
            return;
        }
        for entry in self.entries.values_mut() {
            let seen = world.has_routing(&entry.item);
            let leaving = world.is_routing_leaving(&entry.item);
            entry.observe(seen, leaving);
        }
    }

    /// An interface came up or is another: what failed there is tried again.
    pub fn renew(&mut self, interface: InterfaceName) {
        for entry in self.entries.values_mut() {
            if entry.item.interface() == Some(interface) && !entry.present {
                entry.failure = None;
            }
        }
    }

    /// A wake-up: pauses end, and what was not confirmed in time is gone.
    pub fn expire(&mut self, now: Instant) {
        for entry in self.entries.values_mut() {
            entry.expire(now);
        }
    }

    /// When something has to be tried again or confirmed.
    pub fn next(&self) -> Option<Instant> {
        let all = self
            .entries
            .values()
            .flat_map(|entry| [entry.retry(), entry.restoration(), entry.confirmation()]);
        all.flatten().min()
    }

    /// What is on the host by our doing, or may be.
    pub fn left(&self) -> impl Iterator<Item = &RoutingItem> {
        let left = self.entries.values().filter(|entry| entry.is_left());
        left.map(|entry| &entry.item)
    }

    pub fn routes_status(&self) -> Vec<RouteStatus> {
        let all = self.iter().filter_map(|entry| match &entry.item {
            RoutingItem::Route(route) => Some(RouteStatus {
                route: route.clone(),
                held: entry.is_held(),
                required: entry.required,
            }),
            RoutingItem::Rule(_) => None,
        });
        all.collect()
    }

    pub fn rules_status(&self) -> Vec<RuleStatus> {
        let all = self.iter().filter_map(|entry| match &entry.item {
            RoutingItem::Rule(rule) => Some(RuleStatus {
                rule: rule.clone(),
                held: entry.is_held(),
                required: entry.required,
            }),
            RoutingItem::Route(_) => None,
        });
        all.collect()
    }
}

fn is_route(entry: &Entry) -> bool {
    matches!(entry.item, RoutingItem::Route(_))
}
