//! A new configuration for a living agent: the difference is applied, and
//! whatever did not change does not notice.

use std::collections::{BTreeMap, BTreeSet};

use super::Agent;
use super::action::Action;
use super::router::VirtualRouter;
use super::settings::{CheckSettings, CheckSource, GroupSettings, Settings};
use super::time::Instant;
use super::values::{Family, InstanceId, InterfaceName, Vrid};

impl Agent {
    /// An instance is known by its interface, family and VRID, which are what
    /// other hosts know it by: a new name changes nothing for them. Addresses
    /// are given up before any is claimed, so that one can move from one
    /// instance to another.
    /// An agent that stops goes on stopping.
    pub(super) fn reload(&mut self, now: Instant, settings: Settings, actions: &mut Vec<Action>) {
        if self.stopping {
            return;
        }
        self.drop_exchanges(now, actions, "the configuration is being changed");
        let known: BTreeMap<_, _> = self.routers.iter().map(|(id, r)| (key(r), *id)).collect();
        let mut leaving: Vec<InstanceId> = self.routers.keys().copied().collect();
        let mut staying = Vec::new();
        let mut arriving = Vec::new();
        for instance in settings.instances {
            let key = (instance.interface, instance.family, instance.vrid);
            match known.get(&key) {
                Some(id) => staying.push((*id, instance)),
                None => arriving.push(instance),
            }
        }
        let stay: BTreeSet<InstanceId> = staying.iter().map(|(id, _)| *id).collect();
        leaving.retain(|id| !stay.contains(id));
        self.retired = leaving.iter().copied().collect();
        self.note_leaving();
        let addressed = staying.iter().map(|(_, instance)| instance);
        self.world.set_instances(addressed.chain(&arriving));

        self.each(now, actions, &leaving, VirtualRouter::retire);
        for (id, instance) in staying {
            let mut instance = Some(instance);
            self.each(now, actions, &[id], |router, turn| {
                if let Some(instance) = instance.take() {
                    router.reconfigure(turn, instance);
                }
            });
        }
        for instance in arriving {
            self.adopt(instance, now);
        }
        self.index(now, &settings.checks, &settings.groups);
        self.configure_link(now, settings.cluster);
        self.with_checks(now, actions, |checks, turn| {
            checks.reconfigure(&settings.checks, turn.now);
            checks.observe(turn);
            true
        });
        let all: Vec<InstanceId> = self.routers.keys().copied().collect();
        // What their advertisements say may have changed as well.
        self.custody_changes.extend(&all);
        self.each(now, actions, &all, VirtualRouter::on_reconfigured);
        self.spread_drains(now, actions);
    }

    /// Finds again who belongs to what.
    pub(super) fn index(
        &mut self,
        now: Instant,
        checks: &[CheckSettings],
        groups: &[GroupSettings],
    ) {
        self.groups
            .reconfigure(now, groups, &mut self.routers, &self.retired);
        self.by_vrid.clear();
        self.by_name.clear();
        self.by_interface.clear();
        self.by_check.clear();
        for (id, router) in self.routers.iter() {
            let settings = router.settings();
            self.by_vrid.insert(key(router), *id);
            if !self.retired.contains(id) {
                self.by_name.insert(settings.name.clone(), *id);
            }
            let others = settings.addresses.iter().map(|address| address.interface);
            let routes = settings.routes.iter().map(|item| item.route.interface);
            let link = router.link_left().map(|link| link.name);
            let own = [settings.interface].into_iter().chain(link);
            for interface in others.chain(routes).chain(own) {
                let users = self.by_interface.entry(interface).or_default();
                if users.last() != Some(id) {
                    users.push(*id);
                }
            }
            // Those of its mates count for it, too.
            for check in settings.checks.iter().chain(router.weights()) {
                let listeners = self.by_check.entry(check.name.clone()).or_default();
                if listeners.last() != Some(id) {
                    listeners.push(*id);
                }
            }
        }
        for check in checks {
            if let CheckSource::Interface(interface) = check.source {
                self.by_interface.entry(interface).or_default();
            }
        }
        self.world
            .set_instances(self.routers.values().map(VirtualRouter::settings));
        for (name, verdict) in self.checks.verdicts() {
            self.world.set_check(name, verdict);
        }
        self.check_deadline = self.checks.deadline();
    }

    /// What retired instances have on the host. An address that moves to
    /// another instance is the old one's until it has removed it, which its
    /// interface's next report shows.
    fn note_leaving(&mut self) {
        let retired = self.retired.iter();
        let routers = retired.filter_map(|id| self.routers.get(id));
        let leaving = routers.clone().flat_map(VirtualRouter::addresses_left);
        let routing = routers.flat_map(VirtualRouter::routing_left);
        self.world.set_leaving(leaving.collect());
        self.world.set_routing_leaving(routing.collect());
    }

    /// Lets go of the retired instances that have nothing left.
    pub(super) fn forget_retired(&mut self) {
        if self.retired.is_empty() {
            return;
        }
        let routers = &mut self.routers;
        let schedule = &mut self.schedule;
        let groups = &mut self.groups;
        let by_vrid = &mut self.by_vrid;
        self.retired.retain(|id| {
            let Some(router) = routers.get(id) else {
                return false;
            };
            if !router.is_finished() {
                return true;
            }
            by_vrid.remove(&key(router));
            routers.remove(id);
            groups.forget(*id);
            schedule.forget(*id);
            false
        });
        self.note_leaving();
    }
}

fn key(router: &VirtualRouter) -> (InterfaceName, Family, Vrid) {
    let settings = router.settings();
    (settings.interface, settings.family, settings.vrid)
}
