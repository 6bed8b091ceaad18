//! What the deeds of a plan do. Each is harmless where it does not fit: what
//! is paused cannot be paused, who is dead cannot be stopped.

use std::time::Duration;

use vipward::agent::jobs::HookKind;
use vipward::agent::values::{AdvertInterval, Family, Priority};

use crate::cast::virtual_address;
use crate::keepalived::Keepalived;
use crate::kit::foreign::Foreign;
use crate::kit::{HostId, Input, interface, virtual_mac};
use crate::plan::{Change, Deed};
use crate::sim::Sim;

/// After a refused removal, with a clock that may be wrong.
const REMOVAL_RETRIED: Duration = Duration::from_millis(1_050);
const UNDISTURBED: Duration = Duration::from_millis(2);

impl Sim {
    pub fn carry_out(&mut self, deed: Deed) {
        if !matches!(deed, Deed::Start(_)) {
            self.lab.tell(format!("{deed:?}"));
        }
        match deed {
            Deed::Start(host) => self.start(HostId(host)),
            Deed::Loss(percent) => self.weather.borrow_mut().loss_percent = percent,
            Deed::Bursts(percent, span) => {
                let mut weather = self.weather.borrow_mut();
                weather.burst_percent = percent;
                weather.burst = span;
            }
            Deed::Jitter(span) => self.weather.borrow_mut().jitter = span,
            Deed::Reorder(percent, by) => {
                let mut weather = self.weather.borrow_mut();
                weather.reorder_percent = percent;
                weather.reorder_by = by;
            }
            Deed::Duplicate(percent) => self.weather.borrow_mut().duplicate_percent = percent,
            Deed::Cuts(cuts) => {
                self.lab.wire.heal_pairs();
                for (from, to) in cuts {
                    self.lab.wire.cut(HostId(from), HostId(to));
                }
            }
            Deed::Health(host, check, health) => self.hosts[host].health[check] = health,
            Deed::Number(host, number) => self.number(host, number),
            Deed::Reload(host, group, change) => self.reload(host, group, change),
            Deed::Clock(host, off) => self.lab.set_clock(HostId(host), off),
            Deed::Attack(attack, seed) => self.attack(attack, seed),
            Deed::LinkLoss(_)
            | Deed::LinkDelay(..)
            | Deed::LinkCuts(_)
            | Deed::Eaten(_)
            | Deed::Port(..)
            | Deed::Witness(..) => self.link_deed(deed),
            Deed::Order(..) | Deed::Disk(..) => self.operator_deed(deed),
            Deed::SlowInterfaces(..) | Deed::RefuseInterfaces(..) | Deed::Meddle(..) => {
                self.interface_deed(deed);
            }
            Deed::Hooks(..) | Deed::Segment(..) | Deed::MuteOn(..) => self.together_deed(deed),
            Deed::Pause(_)
            | Deed::Resume(_)
            | Deed::PowerOff(_)
            | Deed::Kill(_)
            | Deed::Stop(_)
            | Deed::Link(..)
            | Deed::Prune(..)
            | Deed::Slow(..)
            | Deed::RefuseAdd(..)
            | Deed::RefuseRenew(..)
            | Deed::Mute(..)
            | Deed::RefuseRemove(..) => self.host_deed(deed),
        }
    }

    fn host_deed(&mut self, deed: Deed) {
        match deed {
            Deed::Pause(host) if self.lab.at(HostId(host)).powered => self.lab.pause(HostId(host)),
            Deed::Resume(host) if self.lab.at(HostId(host)).paused => {
                self.lab.resume(HostId(host));
                let now = self.lab.now();
                let stopping = &mut self.hosts[host].stopping;
                *stopping = stopping.map(|_| now);
            }
            Deed::PowerOff(host) => self.power_off(HostId(host)),
            Deed::Kill(host) => {
                self.lab.kill(HostId(host));
                // Another program cleans up: this one's death is not ours.
                let id = HostId(host);
                if let Some(mut foreign) = self.lab.at_mut(id).foreign.take() {
                    self.give_up(id, &mut *foreign);
                }
                self.rules.borrow_mut().forget(id);
            }
            Deed::Stop(host) => self.stop(HostId(host)),
            Deed::Link(host, name, up) if self.lab.at(HostId(host)).powered => {
                self.lab.link(HostId(host), name, up);
            }
            Deed::Prune(host, group) => self.prune(HostId(host), group),
            Deed::Slow(host, takes) => {
                let kernel = &mut self.lab.at_mut(HostId(host)).kernel;
                kernel.add_takes = takes.unwrap_or(UNDISTURBED);
                kernel.remove_takes = takes.unwrap_or(UNDISTURBED);
            }
            Deed::RefuseAdd(host, refuses) => {
                self.hosts[host].refuses_add = refuses;
                let error = refuses.then(|| "Out of memory".to_owned());
                self.lab.at_mut(HostId(host)).kernel.refuse_add = error;
            }
            Deed::RefuseRenew(host, refuses) => {
                let error = refuses.then(|| "Device or resource busy".to_owned());
                self.lab.at_mut(HostId(host)).kernel.refuse_renew = error;
            }
            Deed::Mute(host, mute) => {
                self.hosts[host].mute = mute;
                let error = mute.then(|| "Operation not permitted".to_owned());
                self.lab.at_mut(HostId(host)).kernel.refuse_send = error;
            }
            Deed::RefuseRemove(host, refuses) => {
                self.hosts[host].refuses_removal = refuses;
                let error = refuses.then(|| "Device or resource busy".to_owned());
                self.lab.at_mut(HostId(host)).kernel.refuse_remove = error;
                if !refuses {
                    // It is tried again once more.
                    let tried_by = self.lab.now() + REMOVAL_RETRIED;
                    self.disturbed = self.disturbed.max(tried_by);
                    self.hosts[host].removes_from = tried_by;
                    let stopping = &mut self.hosts[host].stopping;
                    *stopping = stopping.map(|since| since.max(tried_by));
                }
            }
            _ => {}
        }
    }

    fn start(&mut self, id: HostId) {
        let host = self.lab.at(id);
        if host.agent.is_some() || host.foreign.is_some() {
            return;
        }
        let settings = self.hosts[id.0].settings();
        self.lab.at_mut(id).settings = settings.clone();
        self.rules.borrow_mut().forget(id);
        self.operators_start(id);
        if self.cast.keepalived == Some(id.0) {
            self.lab
                .tell(format!("{} starts keepalived", settings.node));
            let now = self.lab.local(id);
            let host = self.lab.at_mut(id);
            host.powered = true;
            host.paused = false;
            host.generation += 1;
            host.sockets.clear();
            host.channels.clear();
            let mut peer = Keepalived::start(&settings.instances, host.number, now);
            for name in ["eth0", "eth1"].map(interface) {
                let up = host.kernel.state(name).is_some_and(|state| state.up);
                peer.link(now, name, up);
            }
            host.foreign = Some(Box::new(peer));
            return;
        }
        if let Some(cluster) = &self.cast.cluster {
            cluster.route(&mut self.lab, id);
        }
        self.lab.start(id);
        self.tell_number(id);
    }

    fn power_off(&mut self, id: HostId) {
        self.lab.power_off(id);
        self.lab.at_mut(id).foreign = None;
        self.lab.at_mut(id).paused = false;
        self.hosts[id.0].stopping = None;
        self.hosts[id.0].removes_from = self.lab.now();
        self.hosts[id.0].mute = false;
        self.hosts[id.0].mute_on = None;
        self.hosts[id.0].refuses_add = false;
        self.hosts[id.0].refuses_removal = false;
        self.hosts[id.0].refuses_interfaces = false;
        self.rules.borrow_mut().forget(id);
    }

    fn stop(&mut self, id: HostId) {
        if let Some(mut foreign) = self.lab.at_mut(id).foreign.take() {
            self.give_up(id, &mut *foreign);
        } else if self.lab.at(id).agent.is_some() && self.hosts[id.0].stopping.is_none() {
            self.hosts[id.0].stopping = Some(self.lab.now());
            self.lab.stop(id);
        }
    }

    fn give_up(&mut self, id: HostId, foreign: &mut dyn Foreign) {
        for deed in foreign.stop() {
            self.lab.foreign_deed(id, deed);
        }
    }

    fn prune(&mut self, id: HostId, group: usize) {
        let Some(instance) = self.hosts[id.0].wanted.instances.get(group).cloned() else {
            return;
        };
        if self.lab.at(id).agent.is_none() {
            return;
        }
        for address in &instance.addresses {
            let wanted = address.network.addr();
            let interface = virtual_mac::place(&instance, address);
            let known = self.lab.at(id).kernel.state(interface);
            let there = known.into_iter().flat_map(|state| state.addresses);
            let there: Vec<_> = there.filter(|own| own.network.addr() == wanted).collect();
            for own in there {
                let network = own.network.to_string();
                let name = interface.to_string();
                self.lab.delete_address(id, &name, &network);
                self.hosts[id.0].pruned = Some(self.lab.now());
            }
        }
    }

    /// What has to be equal in all that move together changes in all of them.
    fn reload(&mut self, host: usize, group: usize, change: Change) {
        let id = HostId(host);
        // What is not configured for a while is not drained any more.
        if matches!(change, Change::Present(_) | Change::Apart(_)) {
            self.unsure(id);
        }
        let places = match change {
            Change::Priority(_) | Change::Interval { .. } | Change::Present(_) => {
                self.cast.with(group)
            }
            Change::Address { .. }
            | Change::Rotated(_)
            | Change::Hook { .. }
            | Change::Apart(_) => vec![group],
        };
        for place in &places {
            self.change(host, *place, &places, change);
        }
        // keepalived keeps its own file.
        if self.cast.keepalived == Some(host) {
            self.hosts[host].wanted = self.cast.settings[host].clone();
            self.hosts[host].absent.clear();
            return;
        }
        let settings = self.hosts[host].settings();
        self.lab.at_mut(id).settings = settings.clone();
        if self.lab.at(id).agent.is_some() {
            self.lab.feed(id, Input::Reload(Box::new(settings)));
            self.lab.open_sockets(id);
            // The monitor reports what it is asked to watch.
            for name in ["eth0", "eth1"].map(interface) {
                self.lab.report(id, name);
            }
        }
    }

    fn change(&mut self, host: usize, group: usize, places: &[usize], change: Change) {
        let first = &self.cast.settings[host].instances;
        let all: Vec<_> = places
            .iter()
            .filter_map(|place| first.get(*place))
            .collect();
        let halves = self.cast.halves(&all);
        let (Some(original), Some(instance)) = (
            first.get(group),
            self.hosts[host].wanted.instances.get_mut(group),
        ) else {
            return;
        };
        match change {
            Change::Priority(value) => {
                instance.priority = Priority::new(value).expect("not 0");
            }
            Change::Interval { halved } => {
                let whole = original.advert_interval.as_centiseconds();
                let wanted = match halved && halves {
                    true => (whole / 2).max(1),
                    false => whole,
                };
                instance.advert_interval =
                    AdvertInterval::from_centiseconds(wanted).expect("an interval");
            }
            Change::Address { more } => {
                instance.addresses.clone_from(&original.addresses);
                if more {
                    let number = instance.vrid.get() - 51;
                    let name = instance.interface.to_string();
                    let family: Family = instance.family;
                    let one_more = virtual_address(number, 9, &name, family);
                    instance.addresses.push(one_more);
                }
            }
            Change::Rotated(rotated) => {
                instance.addresses.clone_from(&original.addresses);
                if rotated {
                    instance.addresses.rotate_left(1);
                }
            }
            Change::Present(true) => {
                self.hosts[host].absent.remove(&group);
            }
            Change::Present(false) => {
                self.hosts[host].absent.insert(group);
            }
            Change::Hook { other } => {
                instance.hooks.clone_from(&original.hooks);
                let hook = HookKind::BeforeActive;
                let timeout = self.cast.together.as_ref().map(|known| known.timeout);
                if other && instance.hooks.remove(&hook).is_none() {
                    instance
                        .hooks
                        .extend(timeout.map(|timeout| (hook, timeout)));
                }
            }
            Change::Apart(apart) => self.hosts[host].apart = apart,
        }
    }
}
