//! The addresses of one instance: what should be on the host, what is, and
//! the orders that mend the difference. At most one order for an address is
//! under way at a time, so the kernel's last answer is the truth.

mod holding;
mod leases;
mod leftovers;
mod order;

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::boxed::BoxedMap;
use super::event::{Added, Removed};
use super::settings::InstanceSettings;
use super::status::AddressStatus;
use super::time::Instant;
use super::values::{AddressIndex, InstanceId, InterfaceName, Lease};
use super::virtual_link::VirtualLink;
use super::world::Turn;
pub(super) use holding::{AddOutcome, Failure, Holding};
use holding::{Pending, Wish};

/// Pause before a failed removal is tried again: short, since two hosts may
/// answer for the address meanwhile.
const REMOVE_PAUSE: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
pub(super) struct Holdings {
    instance: InstanceId,
    owner: bool,
    lease: Option<Lease>,
    /// Until then an advertisement that left speaks for us: a renewal that
    /// failed may be tried again, and what ran out be put back.
    spoken_until: Instant,
    /// Since we became Backup an address went otherwise than by the end of
    /// its lease, or stays: clients may have learnt us.
    deleted: bool,
    /// A successor has all of it, and the service here still works.
    lingers: bool,
    /// In configuration order, as far as no reload added to it. An index is
    /// never used for another address.
    holdings: BoxedMap<AddressIndex, Holding>,
    next_index: u16,
    /// The interface with the virtual hardware address takes addresses.
    link_is_up: bool,
}

impl Holdings {
    pub fn new(instance: InstanceId, settings: &InstanceSettings) -> Self {
        let mut holdings = Self {
            instance,
            owner: false,
            lease: settings.lease,
            spoken_until: Instant::from_nanos(0),
            deleted: false,
            lingers: false,
            holdings: BoxedMap::default(),
            next_index: 0,
            link_is_up: false,
        };
        holdings.reconfigure(settings);
        holdings
    }

    /// Keeps what stays the same, adds what is new, and returns what departs.
    pub fn reconfigure(&mut self, settings: &InstanceSettings) -> Vec<AddressIndex> {
        self.owner = settings.priority.is_owner();
        self.lease = settings.lease;
        for holding in self.holdings.values_mut() {
            holding.departing = true;
        }
        let link = VirtualLink::of(settings);
        for wanted in &settings.addresses {
            let link = link.filter(|link| link.parent == wanted.interface);
            let place = link.map_or(wanted.interface, |link| link.name);
            let known = self.holdings.values_mut().find(|holding| {
                holding.departing && holding.place == place && holding.settings.is_held_like(wanted)
            });
            match known {
                Some(holding) => {
                    holding.departing = false;
                    holding.settings = wanted.clone();
                }
                None => {
                    let index = self.free_index();
                    let holding = Holding::new(self.instance, index, wanted.clone(), place);
                    self.holdings.insert(index, holding);
                }
            }
        }
        let departing = self.holdings.values().filter(|holding| holding.departing);
        departing.map(|holding| holding.index).collect()
    }

    /// The next index that no address has, be it a departing one.
    fn free_index(&mut self) -> AddressIndex {
        while self.holdings.contains_key(&AddressIndex(self.next_index)) {
            self.next_index = self.next_index.wrapping_add(1);
        }
        let index = AddressIndex(self.next_index);
        self.next_index = self.next_index.wrapping_add(1);
        index
    }

    /// Whether the interface with the virtual hardware address takes addresses.
    pub fn set_link_up(&mut self, up: bool) {
        self.link_is_up = up;
    }

    /// The IPv4 addresses that are or will be on this interface, sorted.
    pub fn ipv4_on(&self, place: InterfaceName) -> Vec<Ipv4Addr> {
        let here = self.holdings.values();
        let here = here
            .filter(|holding| holding.place == place && (!holding.departing || holding.present));
        let addresses = here.filter_map(|holding| match holding.settings.network.addr() {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        });
        let mut addresses: Vec<Ipv4Addr> = addresses.collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses
    }

    /// Those that are configured.
    pub fn iter(&self) -> impl Iterator<Item = &Holding> {
        self.holdings.values().filter(|holding| !holding.departing)
    }

    pub fn get(&self, index: AddressIndex) -> Option<&Holding> {
        self.holdings.get(&index)
    }

    fn get_mut(&mut self, index: AddressIndex) -> Option<&mut Holding> {
        self.holdings.get_mut(&index)
    }

    /// Nothing of ours is on the host and nothing is under way.
    pub fn are_gone(&self) -> bool {
        self.holdings
            .values()
            .all(|holding| holding.pending.is_none() && !holding.is_removable())
    }

    /// None that is configured is about to come.
    pub fn are_decided(&self) -> bool {
        self.iter().all(Holding::is_decided)
    }

    /// The same of those on one interface.
    pub fn are_decided_on(&self, interface: InterfaceName) -> bool {
        let mut here = self.iter();
        here.all(|holding| holding.settings.interface != interface || holding.is_decided())
    }

    /// The kernel takes it for a source: it is ours and there, or not one of
    /// this instance's.
    pub fn may_speak_from(&self, address: IpAddr) -> bool {
        let mut all = self.holdings.values();
        all.all(|holding| holding.settings.network.addr() != address || holding.is_ours())
    }

    /// The next release is to a successor that has everything.
    pub fn linger(&mut self, lingers: bool) {
        self.lingers = lingers;
    }

    /// Orders every address, those believed present too: a claim begins by
    /// making sure.
    pub fn claim(&mut self, turn: &mut Turn<'_>) {
        self.lingers = false;
        self.claim_each(turn, true);
    }

    /// Orders what is missing, and renewals that are to be tried again.
    pub fn complete(&mut self, turn: &mut Turn<'_>) {
        self.release_departing(turn);
        self.claim_each(turn, false);
        self.renew_again(turn);
    }

    fn claim_each(&mut self, turn: &mut Turn<'_>, anew: bool) {
        let wish = Wish {
            owner: self.owner,
            lease: self.lease,
            spoken: self.speaks(turn.now),
            anew,
            link_is_up: self.link_is_up,
        };
        for holding in self.holdings.values_mut() {
            holding.claim(turn, wish);
        }
    }

    /// Orders the removal of what is no longer configured.
    pub fn release_departing(&mut self, turn: &mut Turn<'_>) {
        for holding in self.holdings.values_mut().rev() {
            if holding.departing {
                holding.release(turn, false);
            }
        }
        self.forget_departed();
    }

    /// Orders the removal of what is there, the last first.
    pub fn release(&mut self, turn: &mut Turn<'_>) {
        for holding in self.holdings.values_mut().rev() {
            self.deleted |= holding.stays_behind();
            holding.release(turn, self.lingers);
        }
        self.forget_departed();
    }

    pub fn added(
        &mut self,
        turn: &Turn<'_>,
        index: AddressIndex,
        outcome: Result<Added, String>,
    ) -> Option<AddOutcome> {
        let holding = self.get_mut(index)?;
        holding.answered(Pending::Add)?;
        Some(holding.added(turn, outcome))
    }

    /// The error and the pause before the next try, if it failed.
    pub fn removed(
        &mut self,
        now: Instant,
        index: AddressIndex,
        outcome: Result<Removed, String>,
    ) -> Option<(String, Duration)> {
        let holding = self.get_mut(index)?;
        holding.answered(Pending::Remove)?;
        match outcome {
            Ok(removed) => {
                holding.present = false;
                holding.order = None;
                holding.failure = None;
                self.deleted |= removed == Removed::Deleted;
                None
            }
            Err(error) => {
                holding.fail(now, error.clone(), REMOVE_PAUSE);
                Some((error, REMOVE_PAUSE))
            }
        }
    }

    /// From now on [`Holdings::answered_until_now`] speaks of what goes later.
    pub fn count_deletions_anew(&mut self) {
        self.deleted = false;
    }

    /// The kernel still had one of the addresses when we became Backup.
    pub fn answered_until_now(&self) -> bool {
        self.deleted
    }

    /// Compares with what `interface` now has. Returns the addresses that
    /// went without our doing.
    pub fn observe(
        &mut self,
        turn: &Turn<'_>,
        interface: InterfaceName,
        renewed: bool,
    ) -> Vec<AddressIndex> {
        let world = turn.world;
        let mut gone = Vec::new();
        let Some(known) = world.interface(interface) else {
            return gone;
        };
        for holding in self.holdings.values_mut() {
            if holding.place != interface {
                continue;
            }
            if renewed && !holding.is_removable() {
                holding.failure = None;
            }
            if holding.pending.is_some() {
                continue;
            }
            let address = holding.settings.network.addr();
            holding.find(world, known);
            if known.has(address) {
                holding.confirm_by = None;
            } else if holding.present
                && (holding.confirm_by.is_none() || renewed || known.state.is_none())
            {
                // Otherwise the report may be older than the addition: it is
                // given until `confirm_by`.
                self.deleted |= !holding.ran_out(turn.now);
                holding.vanish(turn.now);
                // It was a removal's; there is nothing to remove any more.
                holding.failure = None;
                gone.push(holding.index);
            }
        }
        gone
    }

    /// A wake-up: treats what was not confirmed in time as gone, and ends the
    /// pauses that are over; the next completion orders what is wanted.
    pub fn expire(&mut self, now: Instant) {
        for holding in self.holdings.values_mut() {
            if holding.confirmation().is_some_and(|at| at <= now) {
                holding.vanish(now);
            }
            holding.restore_after = holding.restore_after.filter(|at| *at > now);
            holding.end_renewal_pause(now);
            if let Some(failure) = &mut holding.failure {
                failure.awaits_wake &= failure.retry_at > now;
            }
        }
    }

    /// When something has to be tried again or confirmed. It stands until a
    /// wake-up comes, however many other events come first: what is sent to
    /// a Backup moves nothing here.
    pub fn next(&self) -> Option<Instant> {
        let all = self.holdings.values().flat_map(|holding| {
            let failure = holding.failure.as_ref();
            let retry = failure.filter(|failure| failure.awaits_wake);
            [
                retry.map(|failure| failure.retry_at),
                holding.restoration(),
                holding.confirmation(),
                holding.renew_at,
            ]
        });
        all.flatten().min()
    }

    pub fn status(&self) -> Vec<AddressStatus> {
        self.iter()
            .map(|holding| AddressStatus {
                network: holding.settings.network,
                interface: holding.place,
                held: holding.is_held(),
                required: holding.settings.required,
                lease: holding.lease(),
            })
            .collect()
    }
}
