//! The pure core: election, addresses and announcements owed, obstacles,
//! status. Values in, values out: no sockets, files, threads, clocks,
//! randomness or tokio in here. [`Agent::handle`] takes the world in and
//! gives actions out; [`Agent::deadline`] says when to come back.

pub mod action;
mod announcer;
pub mod authentication;
mod boxed;
mod checks;
pub mod cluster;
pub mod custody;
pub mod digest;
pub mod election;
pub mod event;
mod groups;
mod hearing;
mod holdings;
mod hooks;
pub mod jobs;
pub mod ladder;
pub mod moves;
pub mod numbers;
mod obstacles;
mod quiet;
mod reload;
pub mod report;
mod router;
pub mod routing;
mod schedule;
pub mod seal;
pub mod settings;
pub mod status;
pub mod tally;
pub mod time;
pub mod values;
pub mod virtual_link;
mod world;

use std::collections::{BTreeMap, BTreeSet};

use action::Action;
use authentication::Mark;
use boxed::BoxedMap;
use checks::Checks;
use cluster::Link;
use custody::Custody;
use event::{Event, Heard, InterfaceState, NotRenewed};
use groups::Groups;
use jobs::{CheckName, JobId, JobResult};
use ladder::Receiver;
use moves::Moves;
use quiet::Quiet;
use report::Fact;
pub use router::Timer;
use router::VirtualRouter;
use schedule::Schedule;
use settings::{CheckSettings, InstanceSettings, Settings};
use status::{Counters, Status};
use time::Instant;
use values::{AddressIndex, Family, InstanceId, InstanceName, InterfaceName, Vrid};
use world::{Errands, Turn, World};

type Routers = BoxedMap<InstanceId, VirtualRouter>;

/// All virtual routers of this host.
#[derive(Clone, Debug)]
pub struct Agent {
    routers: Routers,
    by_vrid: BTreeMap<(InterfaceName, Family, Vrid), InstanceId>,
    /// The instances that advertise on an interface or hold an address there.
    by_interface: BTreeMap<InterfaceName, Vec<InstanceId>>,
    /// The instances that listen to a check.
    by_check: BTreeMap<CheckName, Vec<InstanceId>>,
    /// No longer configured; they go when nothing of theirs is left.
    retired: BTreeSet<InstanceId>,
    checks: Checks,
    groups: Groups,
    world: World,
    schedule: Schedule,
    /// Room for those that are woken together.
    due: Vec<InstanceId>,
    check_deadline: Option<Instant>,
    stopping: bool,
    /// Instances whose custody may be another than the shell knows.
    custody_changes: BTreeSet<InstanceId>,
    /// Handles given so far.
    instances_made: u32,
    errands: Errands,
    link: Link,
    moves: Moves,
    by_name: BTreeMap<InstanceName, InstanceId>,
    quiet: Quiet,
    /// Packets that belong to no instance.
    counters: Counters,
}

impl Agent {
    /// Every instance begins in Initialize and stays there until its
    /// interface and socket were reported.
    pub fn new(settings: Settings, now: Instant) -> Self {
        let mut agent = Self {
            routers: Routers::default(),
            by_vrid: BTreeMap::new(),
            by_interface: BTreeMap::new(),
            by_check: BTreeMap::new(),
            retired: BTreeSet::new(),
            checks: Checks::new(&settings.checks, now),
            groups: Groups::default(),
            world: World::default(),
            schedule: Schedule::default(),
            due: Vec::new(),
            check_deadline: None,
            stopping: false,
            custody_changes: BTreeSet::new(),
            instances_made: 0,
            errands: Errands::default(),
            link: Link::new(now),
            moves: Moves::default(),
            by_name: BTreeMap::new(),
            quiet: Quiet::default(),
            counters: Counters::default(),
        };
        for instance in settings.instances {
            agent.adopt(instance, now);
        }
        agent.index(now, &settings.checks, &settings.groups);
        agent.configure_link(now, settings.cluster);
        agent
    }

    fn adopt(&mut self, settings: InstanceSettings, now: Instant) -> InstanceId {
        let id = InstanceId(self.instances_made);
        self.instances_made += 1;
        self.routers
            .insert(id, VirtualRouter::new(id, settings, now));
        id
    }

    /// The instances with their handles, those that are about to go too.
    pub fn instances(&self) -> impl Iterator<Item = (InstanceId, &InstanceSettings)> + Clone {
        self.routers
            .iter()
            .map(|(id, router)| (*id, router.settings()))
    }

    /// The newest authentic advertisement of each sender, to be kept for the
    /// next agent of this host.
    pub fn marks(&self) -> impl Iterator<Item = (&InstanceName, Mark)> {
        self.routers.values().flat_map(|router| {
            let name = &router.settings().name;
            router.marks().iter().map(move |mark| (name, mark))
        })
    }

    /// What an earlier agent kept; of no instance of ours it means nothing.
    pub fn restore_mark(&mut self, instance: &InstanceName, mark: Mark) {
        let mut routers = self.routers.values_mut();
        if let Some(router) = routers.find(|router| router.settings().name == *instance) {
            router.restore_mark(mark);
        }
    }

    /// As they are configured now.
    pub fn checks(&self) -> impl Iterator<Item = &CheckSettings> {
        self.checks.settings()
    }

    /// Every interface that some instance needs to know about.
    pub fn interfaces(&self) -> impl Iterator<Item = InterfaceName> {
        self.by_interface.keys().copied()
    }

    /// Every interface was reported, existing or not; the sockets of those
    /// that exist were opened or failed to.
    pub fn knows_its_interfaces(&self) -> bool {
        self.interfaces()
            .all(|interface| self.world.interface(interface).is_some())
    }

    /// Takes in what happened and says what to do, in this order.
    pub fn handle(&mut self, now: Instant, event: Event<'_>) -> Vec<Action> {
        let mut actions = Vec::new();
        self.handle_into(now, event, &mut actions);
        actions
    }

    /// Like [`Agent::handle`], and appends to a list that can be reused.
    pub fn handle_into(&mut self, now: Instant, event: Event<'_>, actions: &mut Vec<Action>) {
        match event {
            Event::Wake => {
                if self.check_deadline.is_some_and(|at| at <= now) {
                    self.with_checks(now, actions, Checks::on_wake);
                }
                if self.groups.deadline().is_some_and(|at| at <= now) {
                    let mut turn = Turn::new(now, &self.world, &mut self.errands, actions);
                    self.groups.on_wake(&mut turn);
                }
                let mut due = std::mem::take(&mut self.due);
                self.schedule.take_due(now, &mut due);
                self.each(now, actions, &due, VirtualRouter::on_wake);
                self.due = due;
                self.on_link_wake(now, actions);
                self.moves_wake(now, actions);
            }
            Event::Advert(heard) => self.on_advert(now, &heard, actions),
            Event::Interface { interface, state } => {
                self.on_interface(now, interface, state, actions);
            }
            Event::Socket {
                interface,
                family,
                outcome,
            } => self.on_socket(now, interface, family, outcome, actions),
            Event::AddressAdded {
                instance,
                address,
                outcome,
            } => self.one(now, actions, instance, |router, turn| {
                router.on_added(turn, address, outcome);
            }),
            Event::AddressRemoved {
                instance,
                address,
                outcome,
            } => self.one(now, actions, instance, |router, turn| {
                router.on_removed(turn, address, outcome);
            }),
            Event::AddressUnleased {
                instance,
                address,
                reason,
            } => self.one(now, actions, instance, |router, _| {
                router.on_unleased(address, reason);
            }),
            Event::AddressRenewed {
                instance,
                address,
                outcome,
            } => self.on_renewed(now, actions, instance, address, outcome),
            Event::RoutingChanged {
                instance,
                index,
                change,
                outcome,
            } => self.one(now, actions, instance, |router, turn| {
                router.on_routing_changed(turn, index, change, outcome);
            }),
            Event::Routing(state) => self.on_routing(now, state, actions),
            Event::LinkChanged { instance, outcome } => {
                self.one(now, actions, instance, |router, turn| {
                    router.on_link_changed(turn, outcome);
                });
            }
            Event::Advertised { instance, outcome } => {
                self.one(now, actions, instance, |router, turn| {
                    router.on_advertised(turn, outcome);
                });
            }
            Event::Claim { interface, claim } => {
                // Ours, come back by another interface on the same segment.
                // A virtual router's is also its other routers', where it is used.
                let own = self.world.has_hardware_address(claim.hardware_address);
                let shared = self.world.is_shared(interface, claim.hardware_address);
                if own && !shared {
                    return;
                }
                let users = self.users(interface);
                self.each(now, actions, &users, |router, turn| {
                    router.on_claim(turn, interface, claim);
                });
            }
            Event::JobDone { job, result } => self.on_job_done(now, actions, job, &result),
            Event::FileRead(read) => {
                self.with_checks(now, actions, |checks, turn| checks.on_file(turn, &read));
            }
            Event::Reload(settings) => self.reload(now, *settings, actions),
            Event::Link(event) => self.on_link(now, event, actions),
            Event::Order {
                ticket,
                node,
                order,
            } => self.on_order(now, actions, ticket, node, order),
            Event::Kept { serial, outcome } => self.on_kept(now, actions, serial, outcome),
            Event::Clock(wall) => self.on_clock(now, actions, wall),
            Event::Stop => self.stop(now, actions, true),
            Event::StopNow => self.stop(now, actions, false),
        }
        self.settle_moves(now, actions);
        self.settle_link(now, actions);
    }

    /// When [`Event::Wake`] is wanted next, and what for.
    pub fn deadline(&self) -> Option<(Instant, Timer)> {
        let checks = self.check_deadline.map(|at| (at, Timer::Check));
        let groups = self.groups.deadline().map(|at| (at, Timer::Hook));
        let link = self.link_deadline().map(|at| (at, Timer::Link));
        let moves = self.moves.deadline().map(|at| (at, Timer::Move));
        let own = checks.into_iter().chain(groups).chain(link).chain(moves);
        self.schedule.first().into_iter().chain(own).min()
    }

    /// Stopped, with nothing of ours left on the host.
    pub fn is_finished(&self) -> bool {
        self.routers.values().all(VirtualRouter::is_finished) && self.groups.hooks_are_given()
    }

    /// Whether [`Agent::take_custody_changes`] has something to tell.
    pub fn custody_has_changed(&self) -> bool {
        !self.custody_changes.is_empty()
    }

    /// The instances of which [`Agent::custody`] may be another than when
    /// they were last named here. A dead agent's place is taken by what is
    /// known of it, so this is to be asked before additions are carried out.
    pub fn take_custody_changes(&mut self) -> BTreeSet<InstanceId> {
        std::mem::take(&mut self.custody_changes)
    }

    /// What a dead agent would leave of this instance, if anything.
    pub fn custody(&self, instance: InstanceId) -> Option<Custody> {
        self.routers.get(&instance)?.custody()
    }

    pub fn status(&self) -> Status {
        let staying = self.routers.iter();
        let staying = staying.filter(|(id, _)| !self.retired.contains(id));
        let mut instances: Vec<_> = staying.map(|(_, router)| router.status()).collect();
        instances.sort_by(|a, b| a.name.cmp(&b.name));
        Status {
            instances,
            checks: self.checks.status(),
            groups: self.groups.status(&self.routers),
            counters: self.counters.clone(),
            nodes: self.nodes(),
            link_refusals: self.link.refusals().clone(),
        }
    }

    /// Lets some routers act, in this order, and notes their new deadlines.
    fn each(
        &mut self,
        now: Instant,
        actions: &mut Vec<Action>,
        instances: &[InstanceId],
        mut act: impl FnMut(&mut VirtualRouter, &mut Turn<'_>),
    ) {
        let mut turn = Turn::new(now, &self.world, &mut self.errands, actions);
        let mut moved = BTreeSet::new();
        for id in instances {
            let Some(router) = self.routers.get_mut(id) else {
                continue;
            };
            act(router, &mut turn);
            self.link.note(*id);
            match self.groups.of(*id) {
                Some(group) => drop(moved.insert(group)),
                None => {
                    groups::settle(&mut turn, &mut [router]);
                    router.tell(&mut turn);
                    self.schedule.set(*id, router.deadline());
                    self.moves.note(*id, router.take_wishes());
                    if router.custody_moved() {
                        self.custody_changes.insert(*id);
                    }
                }
            }
        }
        for group in moved {
            // They make something of what happened to some.
            if let Some(first) = self.groups.first(group) {
                self.with_unit(now, actions, first, |_, _| ());
            }
        }
        self.forget_retired();
    }

    /// Lets the checks act, and the instances that listen to them if the
    /// state of one changed.
    fn with_checks(
        &mut self,
        now: Instant,
        actions: &mut Vec<Action>,
        act: impl FnOnce(&mut Checks, &mut Turn<'_>) -> bool,
    ) {
        let mut turn = Turn::new(now, &self.world, &mut self.errands, actions);
        let changed = act(&mut self.checks, &mut turn);
        self.check_deadline = self.checks.deadline();
        if !changed {
            return;
        }
        self.link.note_checks();
        let mut listeners = BTreeSet::new();
        for (name, verdict) in self.checks.verdicts() {
            if self.world.check(&name) != Some(&verdict) {
                listeners.extend(self.by_check.get(&name).into_iter().flatten());
                self.world.set_check(name, verdict);
            }
        }
        let listeners: Vec<InstanceId> = listeners.into_iter().collect();
        self.each(now, actions, &listeners, VirtualRouter::on_checks);
    }

    fn on_job_done(
        &mut self,
        now: Instant,
        actions: &mut Vec<Action>,
        job: JobId,
        result: &JobResult,
    ) {
        if self.checks.awaits(job) {
            self.with_checks(now, actions, |checks, turn| {
                checks.on_result(turn, job, result.clone())
            });
            return;
        }
        let mut turn = Turn::new(now, &self.world, &mut self.errands, actions);
        if self.groups.on_result(&mut turn, job, result) {
            return;
        }
        let owner = self.routers.iter().find(|(_, router)| router.awaits(job));
        if let Some(id) = owner.map(|(id, _)| *id) {
            self.one(now, actions, id, |router, turn| {
                router.on_hook_done(turn, job, result);
            });
        }
    }

    fn one(
        &mut self,
        now: Instant,
        actions: &mut Vec<Action>,
        instance: InstanceId,
        act: impl FnOnce(&mut VirtualRouter, &mut Turn<'_>),
    ) {
        let mut act = Some(act);
        self.each(now, actions, &[instance], |router, turn| {
            if let Some(act) = act.take() {
                act(router, turn);
            }
        });
    }

    fn on_renewed(
        &mut self,
        now: Instant,
        actions: &mut Vec<Action>,
        instance: InstanceId,
        address: AddressIndex,
        outcome: Result<(), NotRenewed>,
    ) {
        let turn = Turn::new(now, &self.world, &mut self.errands, actions);
        let router = self.routers.get_mut(&instance);
        if router.is_some_and(|router| router.on_ordinary_renewal(&turn, address, &outcome)) {
            return;
        }
        self.one(now, actions, instance, |router, turn| {
            router.on_renewed(turn, address, outcome);
        });
    }

    fn users(&self, interface: InterfaceName) -> Vec<InstanceId> {
        self.by_interface
            .get(&interface)
            .cloned()
            .unwrap_or_default()
    }

    fn stop(&mut self, now: Instant, actions: &mut Vec<Action>, planned: bool) {
        self.stopping = true;
        // What is handed over stops when it has been.
        let now_on = if planned {
            self.hand_over_all(now, actions)
        } else {
            self.drop_exchanges(now, actions, "the agent stops at once");
            self.routers.keys().copied().collect()
        };
        self.each(now, actions, &now_on, |router, turn| {
            router.stop(turn, planned);
        });
    }
}
