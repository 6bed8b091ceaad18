//! What keeps an instance from taking part, recomputed from the facts each
//! time and never counted up and down.

use std::hash::{Hash, Hasher};

use super::holdings::Holdings;
use super::jobs::CheckName;
use super::routing::Routing;
use super::settings::{InstanceSettings, OnFail};
use super::status::{CheckState, Obstacle};
use super::time::Instant;
use super::values::InstanceName;
use super::virtual_link::LinkAccount;
use super::world::World;

#[derive(Clone, Debug, Default)]
pub(super) struct Obstacles {
    list: Vec<(Obstacle, Gravity)>,
    /// Something was not reported yet, so nothing can be said.
    waiting: bool,
    /// Some mate is in fault, and not by failing checks alone.
    mates_fail_otherwise: bool,
}

/// A mate that is in fault by itself, since when, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::agent) struct MateInFault {
    pub mate: InstanceName,
    pub since: Instant,
    pub text: String,
    /// By failing checks, and nothing else.
    pub by_checks: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gravity {
    /// Puts the instance in fault.
    Blocks,
    /// The same, for a mate's sake.
    Shared,
    /// Keeps it out without a fault.
    Withdraws,
    /// Is shown, and costs only what it names.
    Shows,
}

impl Obstacles {
    /// The instance can take part.
    pub fn allow(&self) -> bool {
        !self.waiting && !self.block()
    }

    /// The instance is in fault.
    pub fn block(&self) -> bool {
        self.list
            .iter()
            .any(|(_, gravity)| *gravity != Gravity::Shows)
    }

    pub fn status(&self) -> Vec<Obstacle> {
        self.list
            .iter()
            .map(|(obstacle, _)| obstacle.clone())
            .collect()
    }

    /// In words, those that block.
    pub fn blocking_texts(&self) -> Vec<String> {
        self.list
            .iter()
            .filter(|(_, gravity)| *gravity != Gravity::Shows)
            .map(|(obstacle, _)| format!("{}: {}", obstacle.source, obstacle.text))
            .collect()
    }

    /// In fault, and by failing checks alone, its mates as well.
    pub fn only_checks(&self) -> bool {
        self.own_only_checks() && !self.mates_fail_otherwise
    }

    /// The same, whatever its mates are in fault by.
    pub fn own_only_checks(&self) -> bool {
        let mut blocking = self.list.iter().filter(|(_, g)| *g == Gravity::Blocks);
        self.block() && !self.waiting && blocking.all(|(o, _)| o.code == "check-failed")
    }

    /// What other nodes are told of them.
    pub fn hash_into(&self, hasher: &mut impl Hasher) {
        for (obstacle, _) in &self.list {
            (obstacle.code, &obstacle.source, &obstacle.text).hash(hasher);
        }
        self.waiting.hash(hasher);
    }

    /// Those that block and are not a mate's: since when, and in words.
    pub fn own(&self) -> Option<(Instant, String)> {
        let own = self.list.iter();
        let own = own.filter(|(_, gravity)| *gravity == Gravity::Blocks);
        let texts = own
            .clone()
            .map(|(obstacle, _)| format!("{}: {}", obstacle.source, obstacle.text));
        let text = texts.collect::<Vec<_>>().join("; ");
        let since = own.map(|(obstacle, _)| obstacle.since).min()?;
        Some((since, text))
    }

    /// What stands in the way of mates stands in ours.
    pub fn share(&mut self, mates: &[MateInFault]) {
        self.mates_fail_otherwise = mates.iter().any(|mate| !mate.by_checks);
        for MateInFault {
            mate, since, text, ..
        } in mates
        {
            let obstacle = Obstacle {
                code: "group-member",
                source: format!("instance {mate}"),
                since: *since,
                text: format!("is in fault, and its group with it: {text}"),
            };
            self.list.push((obstacle, Gravity::Shared));
        }
    }

    /// One more that puts the instance in fault.
    pub fn add_fault(&mut self, since: Instant, code: &'static str, source: String, text: String) {
        let obstacle = Obstacle {
            code,
            source,
            since,
            text,
        };
        self.list.push((obstacle, Gravity::Blocks));
    }

    /// It takes no part, and nothing is wrong.
    pub fn withdraw_from_election(
        &mut self,
        since: Instant,
        code: &'static str,
        source: String,
        text: String,
    ) {
        let obstacle = Obstacle {
            code,
            source,
            since,
            text,
        };
        self.list.push((obstacle, Gravity::Withdraws));
    }

    /// No longer true, before the next look at the host.
    pub fn withdraw(&mut self, codes: &[&str]) {
        self.list
            .retain(|(obstacle, _)| !codes.contains(&obstacle.code));
    }

    /// One more that costs only what it names.
    pub fn show(&mut self, since: Instant, code: &'static str, source: String, text: String) {
        let obstacle = Obstacle {
            code,
            source,
            since,
            text,
        };
        self.list.push((obstacle, Gravity::Shows));
    }

    /// What stands in the way now. Obstacles that stood there before keep
    /// the time since when.
    pub fn survey(
        &self,
        now: Instant,
        world: &World,
        settings: &InstanceSettings,
        (holdings, routing, link): (&Holdings, &Routing, &LinkAccount),
    ) -> Obstacles {
        let mut next = Survey {
            now,
            before: self,
            found: Obstacles::default(),
        };
        next.interface(world, settings);
        next.link(settings, link);
        next.addresses(world, settings, holdings);
        next.routing(world, settings, routing);
        next.checks(world, settings);
        next.found
    }
}

struct Survey<'a> {
    now: Instant,
    before: &'a Obstacles,
    found: Obstacles,
}

impl Survey<'_> {
    fn add(&mut self, gravity: Gravity, code: &'static str, source: String, text: String) {
        let known = self
            .before
            .list
            .iter()
            .find(|(old, _)| old.code == code && old.source == source);
        let since = known.map_or(self.now, |(old, _)| old.since);
        self.found.list.push((
            Obstacle {
                code,
                source,
                since,
                text,
            },
            gravity,
        ));
    }

    fn interface(&mut self, world: &World, settings: &InstanceSettings) {
        let name = settings.interface;
        let source = || format!("interface {name}");
        let Some(known) = world.interface(name) else {
            self.found.waiting = true;
            return;
        };
        if known.state.is_none() {
            let text = "does not exist on this host".to_owned();
            self.add(Gravity::Blocks, "interface-missing", source(), text);
            return;
        }
        if !known.is_up() {
            let text = "is down or has no carrier".to_owned();
            self.add(Gravity::Blocks, "link-down", source(), text);
            return;
        }
        if world.source(settings).is_none() {
            let text = match settings.source {
                Some(address) => format!("does not have the source address {address} (yet)"),
                None => format!(
                    "has no {} address of its own to advertise from (yet)",
                    settings.family.name()
                ),
            };
            self.add(Gravity::Blocks, "no-source-address", source(), text);
        }
        match world.socket(name, settings.family) {
            None => self.found.waiting = true,
            Some(Ok(())) => {}
            Some(Err(error)) => {
                let text = format!("the socket cannot be opened: {error}");
                self.add(Gravity::Blocks, "socket", source(), text);
            }
        }
    }

    /// The interface with the virtual hardware address.
    fn link(&mut self, settings: &InstanceSettings, account: &LinkAccount) {
        let Some(link) = account.configured() else {
            return;
        };
        self.found.waiting |= account.is_awaited();
        let source = format!("interface {}", link.name);
        if let Some(failure) = account.failure(self.now) {
            let text = format!(
                "cannot be had for the virtual MAC address {}: {}",
                link.hardware_address, failure.error
            );
            self.add(Gravity::Blocks, "virtual-mac-failed", source, text);
        } else if let Some(why) = account.unguarded() {
            let parent = settings.interface;
            let text = format!(
                "{parent} may answer for its addresses with its own MAC address: {why}; set \
                 net.ipv4.conf.{parent}.arp_ignore to 1 and arp_announce to 2"
            );
            self.add(Gravity::Shows, "virtual-mac-unguarded", source, text);
        }
    }

    /// A failing check that only lowers the priority is no obstacle. One that
    /// asks for a move, and a file without a number, are only shown.
    fn checks(&mut self, world: &World, settings: &InstanceSettings) {
        for check in settings.checks.iter().filter(|c| c.weight.is_none()) {
            let Some(verdict) = world.check(&check.name) else {
                continue;
            };
            match verdict.state {
                CheckState::Unknown => self.found.waiting = true,
                CheckState::Up => {}
                CheckState::Down if verdict.number.is_some() => {
                    self.check(Gravity::Shows, "no-number", &check.name, &verdict.text);
                }
                CheckState::Down if verdict.on_fail == OnFail::Fault => {
                    self.check(Gravity::Blocks, "check-failed", &check.name, &verdict.text);
                }
                CheckState::Down => {}
            }
        }
        for (name, text) in world.handover_wanted(settings) {
            self.check(Gravity::Shows, "early-warning", name, text);
        }
    }

    fn check(&mut self, gravity: Gravity, code: &'static str, name: &CheckName, text: &str) {
        let text = if text.is_empty() { "fails" } else { text };
        self.add(gravity, code, format!("check {name}"), text.to_owned());
    }

    fn addresses(&mut self, world: &World, settings: &InstanceSettings, holdings: &Holdings) {
        for holding in holdings.iter() {
            let address = holding.settings();
            let source = format!("address {}", address.network);
            let gravity = if address.required {
                Gravity::Blocks
            } else {
                Gravity::Shows
            };
            if address.interface != settings.interface {
                match world.interface(address.interface) {
                    None => self.found.waiting = true,
                    Some(known) if known.state.is_none() => {
                        let text = format!("interface {} does not exist", address.interface);
                        self.add(gravity, "interface-missing", source, text);
                        continue;
                    }
                    Some(_) => {}
                }
            }
            if let Some(reason) = holding.unleased_because().filter(|_| holding.is_held()) {
                let text = format!("has no lease: {reason}; it outlives a frozen agent");
                self.add(Gravity::Shows, "no-lease", source.clone(), text);
            }
            let Some(failure) = &holding.failure else {
                continue;
            };
            if holding.is_present() {
                let text = format!(
                    "cannot be removed from {}: {}; it may still be there",
                    address.interface, failure.error
                );
                self.add(Gravity::Shows, "address-not-removed", source, text);
            } else if failure.retry_at > self.now {
                let text = format!(
                    "cannot be added to {}: {}",
                    address.interface, failure.error
                );
                self.add(gravity, "address-failed", source, text);
            }
        }
    }

    fn routing(&mut self, world: &World, settings: &InstanceSettings, routing: &Routing) {
        for entry in routing.iter() {
            let source = entry.item().to_string();
            let gravity = match entry.is_required() {
                true => Gravity::Blocks,
                false => Gravity::Shows,
            };
            let elsewhere = entry.item().interface();
            if let Some(interface) = elsewhere.filter(|other| *other != settings.interface) {
                let (code, text) = match world.interface(interface) {
                    None => {
                        self.found.waiting = true;
                        continue;
                    }
                    Some(known) if known.state.is_none() => (
                        "interface-missing",
                        format!("interface {interface} does not exist"),
                    ),
                    // The kernel takes no route over it, and drops those it had.
                    Some(known) if !known.is_up() => (
                        "link-down",
                        format!("interface {interface} is down or has no carrier"),
                    ),
                    Some(_) => ("", String::new()),
                };
                if !code.is_empty() {
                    self.add(gravity, code, source, text);
                    continue;
                }
            }
            let Some(failure) = entry.failure() else {
                continue;
            };
            if entry.is_present() {
                let text = format!(
                    "cannot be removed: {}; it may still be there",
                    failure.error
                );
                self.add(Gravity::Shows, "routing-not-removed", source, text);
            } else if failure.retry_at > self.now {
                let text = format!("cannot be added: {}", failure.error);
                self.add(gravity, "routing-failed", source, text);
            }
        }
    }
}
