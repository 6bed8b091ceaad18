//! Instances that move together. What a group does is recomputed from its
//! members after each event that reached one of them; nothing is counted.
//!
//! - A member in fault by itself is an obstacle of every other.
//! - A member that gives way to a better Active takes its mates with it, and
//!   while it hears that Active none of them claims.
//! - Otherwise the first that would claim claims for all, in one turn.
//!
//! So of two hosts the one that wins wherever they hear each other has all.
//! An instance without a group is settled by the same rules, alone.

use std::collections::{BTreeMap, BTreeSet};

use super::hooks::Hooks;
use super::jobs::{HookCall, HookKind, HookOwner, JobId, JobResult};
use super::report::Fact;
use super::router::{Bond, Told, VirtualRouter};
use super::settings::{CheckUse, GroupSettings};
use super::status::{GroupStatus, Reason, StateName};
use super::time::Instant;
use super::values::{GroupName, InstanceId, InstanceName, NodeName, Priority};
use super::world::Turn;
use super::{Agent, Routers};

#[derive(Clone, Debug, Default)]
pub(super) struct Groups {
    groups: Vec<Group>,
    of: BTreeMap<InstanceId, usize>,
}

#[derive(Clone, Debug)]
struct Group {
    /// `None`: members that a reload took away, leaving together.
    name: Option<GroupName>,
    members: Vec<InstanceId>,
    hooks: Hooks,
    /// What its hooks were told last.
    told: Option<Told>,
    state: StateName,
    since: Instant,
}

impl Agent {
    /// The state and the effective priority of an instance, of one that the
    /// configuration no longer has too, for as long as it is leaving.
    pub fn state(&self, instance: InstanceId) -> Option<(StateName, Priority)> {
        let router = self.routers.get(&instance)?;
        Some((router.state_name(), router.priority()))
    }

    /// Until when planned releases may wait for their hooks.
    pub fn departs_by(&self) -> Option<Instant> {
        let routers = self.routers.values();
        let hooks = routers.filter_map(VirtualRouter::departs_by);
        hooks.chain(self.moves.ends_by()).max()
    }

    /// A member that acted with its mates goes on by itself.
    pub(super) fn put_back(&mut self, id: InstanceId, mut router: Box<VirtualRouter>) {
        self.schedule.set(id, router.deadline());
        self.link.note(id);
        let unit = self.groups.unit(id);
        self.moves.note(unit, router.take_wishes());
        if router.custody_moved() {
            self.custody_changes.insert(id);
        }
        self.routers.insert(id, router);
    }
}

impl Groups {
    /// Finds again who belongs to whom. Those in `retired` leave with those
    /// of them that were their mates.
    pub fn reconfigure(
        &mut self,
        now: Instant,
        settings: &[GroupSettings],
        routers: &mut Routers,
        retired: &BTreeSet<InstanceId>,
    ) {
        let mut before = std::mem::take(&mut self.groups);
        let named: BTreeMap<InstanceName, InstanceId> = routers
            .iter()
            .filter(|(id, _)| !retired.contains(id))
            .map(|(id, router)| (router.settings().name.clone(), *id))
            .collect();
        for group in settings {
            let members = group.members.iter();
            let mut members: Vec<InstanceId> = members
                .filter_map(|name| named.get(name).copied())
                .collect();
            members.sort_unstable();
            let known = before
                .iter()
                .position(|old| old.name.as_ref() == Some(&group.name));
            let mut known = match known {
                Some(position) => {
                    let old = before.remove(position);
                    before.push(old.leaving(retired));
                    old
                }
                None => Group::new(now, group),
            };
            known
                .hooks
                .reconfigure(HookOwner::Group(group.name.clone()), &group.hooks);
            known.members = members;
            self.groups.push(known);
        }
        let leaving = before.into_iter().map(|old| old.leaving(retired));
        self.groups
            .extend(leaving.filter(|old| !old.members.is_empty()));
        self.bind(routers);
    }

    /// Tells every instance its place.
    fn bind(&mut self, routers: &mut Routers) {
        self.of.clear();
        for (position, group) in self.groups.iter().enumerate() {
            self.of
                .extend(group.members.iter().map(|id| (*id, position)));
        }
        let bonds: Vec<(InstanceId, Bond)> = routers
            .iter()
            .map(|(id, router)| (*id, self.bond(*id, router, routers)))
            .collect();
        for (id, bond) in bonds {
            if let Some(router) = routers.get_mut(&id) {
                router.set_bond(bond);
            }
        }
    }

    fn bond(&self, id: InstanceId, router: &VirtualRouter, routers: &Routers) -> Bond {
        let Some(group) = self.of.get(&id).and_then(|at| self.groups.get(*at)) else {
            return Bond {
                awaits: router.awaits_promotion(),
                ..Bond::default()
            };
        };
        let mates = || group.members.iter().filter_map(|id| routers.get(id));
        let rank = |router: &VirtualRouter| {
            let settings = router.settings();
            (settings.vrid, settings.family, settings.interface)
        };
        Bond {
            grouped: true,
            leads: mates().map(rank).min() == Some(rank(router)),
            awaits: mates().any(VirtualRouter::awaits_promotion),
            weights: weights(mates()),
        }
    }

    pub fn of(&self, id: InstanceId) -> Option<usize> {
        self.of.get(&id).copied()
    }

    /// The first of those that move with it, itself included.
    pub fn unit(&self, id: InstanceId) -> InstanceId {
        let group = self.of(id).and_then(|position| self.groups.get(position));
        let first = group.and_then(|group| group.members.first());
        first.copied().unwrap_or(id)
    }

    /// All that move with it, itself included.
    pub fn members_of(&self, id: InstanceId) -> Vec<InstanceId> {
        let group = self.of(id).and_then(|position| self.groups.get(position));
        group.map_or_else(|| vec![id], |group| group.members.clone())
    }

    pub fn first(&self, position: usize) -> Option<InstanceId> {
        self.groups.get(position)?.members.first().copied()
    }

    /// Those whom a reload took away are gone.
    pub fn forget(&mut self, id: InstanceId) {
        if let Some(position) = self.of.remove(&id)
            && let Some(group) = self.groups.get_mut(position)
        {
            group.members.retain(|member| *member != id);
        }
    }

    /// Draws the conclusions from what has happened to members, `routers`.
    pub fn settle(
        &mut self,
        turn: &mut Turn<'_>,
        position: usize,
        routers: &mut [&mut VirtualRouter],
    ) {
        settle(turn, routers);
        if let Some(group) = self.groups.get_mut(position) {
            group.follow(turn, routers);
        }
    }

    /// Tells the group's hooks, once its members' were told.
    pub fn tell(&mut self, turn: &mut Turn<'_>, position: usize, routers: &[&mut VirtualRouter]) {
        if let Some(group) = self.groups.get_mut(position) {
            group.tell(turn, routers);
        }
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.groups.iter().filter_map(|g| g.hooks.next()).min()
    }

    pub fn on_wake(&mut self, turn: &mut Turn<'_>) {
        for group in &mut self.groups {
            // None of a group's hooks is awaited.
            let _ = group.hooks.on_wake(turn);
        }
    }

    /// Whether the job was a group's hook.
    pub fn on_result(&mut self, turn: &mut Turn<'_>, job: JobId, result: &JobResult) -> bool {
        let owner = self.groups.iter_mut().find(|g| g.hooks.awaits(job));
        let Some(group) = owner else {
            return false;
        };
        let _ = group.hooks.on_result(turn, job, result);
        true
    }

    pub fn hooks_are_given(&self) -> bool {
        self.groups.iter().all(|group| group.hooks.are_given())
    }

    pub fn status(&self, routers: &Routers) -> Vec<GroupStatus> {
        let status = |group: &Group| {
            let routers = group.members.iter().filter_map(|id| routers.get(id));
            let mut members: Vec<InstanceName> = routers
                .map(|router| router.settings().name.clone())
                .collect();
            members.sort();
            Some(GroupStatus {
                name: group.name.clone()?,
                state: group.state,
                since: group.since,
                members,
                hooks: group.hooks.status(),
            })
        };
        let mut all: Vec<GroupStatus> = self.groups.iter().filter_map(status).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }
}

impl Group {
    fn new(now: Instant, settings: &GroupSettings) -> Self {
        let owner = HookOwner::Group(settings.name.clone());
        Self {
            name: Some(settings.name.clone()),
            members: Vec::new(),
            hooks: Hooks::new(owner, &settings.hooks),
            told: None,
            state: StateName::Initialize,
            since: now,
        }
    }

    /// Of its members, those that leave, as a group without name and hooks.
    fn leaving(&self, retired: &BTreeSet<InstanceId>) -> Self {
        let members = self.members.iter().filter(|id| retired.contains(id));
        let mut hooks = self.hooks.clone();
        if let Some(name) = &self.name {
            hooks.reconfigure(HookOwner::Group(name.clone()), &BTreeMap::new());
        }
        Self {
            name: None,
            members: members.copied().collect(),
            hooks,
            ..self.clone()
        }
    }

    /// Its state is its members'.
    fn follow(&mut self, turn: &mut Turn<'_>, routers: &[&mut VirtualRouter]) {
        let mut states = routers.iter().map(|router| router.state_name());
        let Some(first) = states.next() else {
            return;
        };
        let to = states.fold(first, |state, next| match (state, next) {
            (StateName::Fault, _) | (_, StateName::Fault) => StateName::Fault,
            (state, next) if state == next => state,
            (_, _) => StateName::Initialize,
        });
        // Within a turn of the loop members change one after the other.
        let claiming = routers.iter().any(|router| router.is_claiming());
        if to == self.state || claiming {
            return;
        }
        let from = std::mem::replace(&mut self.state, to);
        self.since = turn.now;
        if let Some(group) = self.name.clone() {
            turn.report(None, Fact::Group { group, from, to });
        }
    }

    /// A fault of one is a fault of all; everything else is told when it is
    /// true of every member.
    fn tell(&mut self, turn: &mut Turn<'_>, routers: &[&mut VirtualRouter]) {
        let Some(name) = self.name.clone() else {
            return;
        };
        let told: BTreeSet<Option<Told>> = routers.iter().map(|router| router.told()).collect();
        let now = if told.contains(&Some(Told::Fault)) {
            Told::Fault
        } else {
            match (told.len(), told.first()) {
                (1, Some(Some(told))) => *told,
                _ => return,
            }
        };
        let before = self.told.replace(now);
        if before == Some(now) {
            return;
        }
        let previous = before.map_or(StateName::Initialize, Told::state);
        let demoted_already = now == Told::Stop && previous == StateName::Backup;
        let own = (!demoted_already).then(|| now.hook());
        let first = routers.first();
        let call = HookCall {
            owner: HookOwner::Group(name),
            hook: HookKind::Change,
            word: now.word(),
            state: now.state().name(),
            previous: previous.name(),
            reason: first
                .map_or(Reason::Startup, |router| router.reason())
                .name(),
            priority: first.map_or(0, |router| router.priority().get()),
            addresses: routers
                .iter()
                .flat_map(|router| &router.settings().addresses)
                .map(|address| address.network.addr())
                .collect(),
        };
        self.hooks.on_transition(turn, own, |hook| HookCall {
            hook,
            ..call.clone()
        });
    }
}

/// Each check of any member once, with its lowest weight where it has one. A
/// file has a number instead.
fn weights<'a>(members: impl Iterator<Item = &'a VirtualRouter>) -> Vec<CheckUse> {
    let mut lowest = BTreeMap::new();
    for check in members.flat_map(|router| &router.settings().checks) {
        let known: &mut Option<i16> = lowest.entry(check.name.clone()).or_default();
        *known = known.iter().copied().chain(check.weight).min();
    }
    let listed = lowest.into_iter();
    listed
        .map(|(name, weight)| CheckUse { name, weight })
        .collect()
}

/// What members make of each other, and of what they await. One of them, or
/// all of a group.
pub(super) fn settle(turn: &mut Turn<'_>, members: &mut [&mut VirtualRouter]) {
    if members.len() > 1 {
        share_faults(turn, members);
        begin(turn, members);
        give_way(turn, members);
    } else {
        for member in members.iter_mut().filter(|member| member.is_ready()) {
            member.begin(turn, member.has_heard());
        }
    }
    claim(turn, members);
    let barred = members.iter_mut().filter(|member| member.is_barred());
    barred.for_each(|member| member.promote(turn));
    if members.iter().all(|member| member.is_promoted()) {
        members.iter_mut().for_each(|member| member.open(turn));
    }
    if members
        .iter()
        .all(|member| member.departure() != Some(false))
    {
        let leaving = members.iter_mut();
        let leaving = leaving.filter(|member| member.departure().is_some());
        leaving.for_each(|member| member.resign(turn, true));
    }
}

fn share_faults(turn: &mut Turn<'_>, members: &mut [&mut VirtualRouter]) {
    let faults: Vec<_> = members.iter().map(|member| member.own_fault()).collect();
    for (position, member) in members.iter_mut().enumerate() {
        let others = faults.iter().enumerate();
        let others = others.filter(|(other, _)| *other != position);
        let others = others.filter_map(|(_, fault)| fault.clone()).collect();
        member.set_mates_in_fault(turn, others);
    }
}

/// Together, once each has settled; one that comes late joins the others.
fn begin(turn: &mut Turn<'_>, members: &mut [&mut VirtualRouter]) {
    if members.iter().all(|m| m.is_ready() || m.takes_part()) {
        let heard = members.iter().any(|member| member.has_heard());
        let ready = members.iter_mut().filter(|member| member.is_ready());
        ready.for_each(|member| member.begin(turn, heard));
    }
}

/// One that gave way takes its mates with it.
fn give_way(turn: &mut Turn<'_>, members: &mut [&mut VirtualRouter]) {
    let cause = members.iter().find_map(|member| member.gave_way(turn.now));
    if let Some(cause) = cause {
        members.iter_mut().for_each(|m| m.give_way(turn, cause));
    }
}

/// The node that could hand over what is about to be taken from it.
fn asked(
    turn: &Turn<'_>,
    members: &[&mut VirtualRouter],
    wishes: &[Option<Reason>],
) -> Option<NodeName> {
    // One that could not send last time finds out by a claim of its own, which
    // disturbs nobody; a hand-over would be broken off each time.
    if !members
        .iter()
        .all(|member| member.is_backup() && !member.is_mute())
    {
        return None;
    }
    let mut asking = members.iter().zip(wishes);
    asking.find_map(|(member, wish)| member.asks_whom(turn, *wish))
}

/// The first that would claim claims for all, unless one stands in the way.
fn claim(turn: &mut Turn<'_>, members: &mut [&mut VirtualRouter]) {
    let follows = members.iter().any(|m| m.is_active()) && members.iter().any(|m| m.is_backup());
    let prepares = members.iter().any(|m| m.is_preparing());
    // Nearly always, and so without a list.
    if !(follows || prepares || members.iter().any(|m| m.wishes())) {
        return;
    }
    let wishes: Vec<Option<Reason>> = members.iter_mut().map(|m| m.take_wish()).collect();
    let resigned = members.iter().filter_map(|m| m.heard_resignation()).max();
    let held = members.iter().filter_map(|member| {
        let until = member.holds_back(turn.now, resigned)?;
        Some((until, member.settings().name.clone()))
    });
    let incumbent = members.iter().any(|m| m.hears_incumbent(turn.now));
    let paused = members.iter().filter_map(|m| m.pause(turn.now)).max();
    let paused = paused.filter(|_| incumbent);
    if let Some((until, mate)) = held.max() {
        for member in members.iter_mut() {
            member.stand_back(turn, until, Some(&mate));
        }
    } else if let Some(until) = paused {
        for member in members.iter_mut() {
            member.stand_back(turn, until, None);
        }
    } else if let Some(node) = asked(turn, members, &wishes) {
        for (position, member) in members.iter_mut().enumerate() {
            member.ask_for(turn, &node, position == 0);
        }
    } else if incumbent && !members.iter().all(|m| m.is_promoted()) {
        for (member, wish) in members.iter_mut().zip(wishes) {
            member.prepare(turn, wish);
        }
    } else {
        // Those that could not send last time go first: only when they can,
        // the others follow.
        let mute = members.iter().any(|member| member.is_mute());
        let taking = members.iter().any(|member| member.is_taking());
        let other = match (taking, prepares) {
            (true, _) => Reason::HandedOver,
            (false, true) => Reason::Preempted,
            (false, false) => Reason::Group,
        };
        // The wish of one whose hook has run was used up by that.
        let tried = |(member, wish): (&&mut VirtualRouter, &Option<Reason>)| {
            member.is_mute() && (wish.is_some() || member.is_preparing())
        };
        // Whom some respected has resigned everywhere, or is dead.
        members.iter_mut().for_each(|m| m.respect_no_longer());
        let try_mute = members.iter().zip(&wishes).any(tried);
        for (member, wish) in members.iter_mut().zip(wishes) {
            if !mute || (member.is_mute() && try_mute) {
                member.follow(turn, wish.unwrap_or(other));
            } else {
                let until = turn.now + member.settings().advert_interval.as_duration();
                member.postpone(turn, until, None);
            }
        }
    }
}
