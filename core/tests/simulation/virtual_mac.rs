//! Instances that speak by the virtual router's hardware address: which casts
//! have them, what the kernel and others do to the interface that carries it,
//! and that two hosts never have it at once in a hand-over.

use std::time::Duration;

use vipward::agent::settings::InstanceSettings;
use vipward::agent::virtual_link::VirtualLink;

use crate::cast::Group;
use crate::dice::Dice;
use crate::fault::{Fault, Faults};
use crate::kit::{HostId, Lab};
use crate::plan::{Deed, Phase, Planner};
use crate::sim::Sim;

/// Of all casts; of those with a fault that needs it, all.
const PERCENT: u64 = 8;
/// Of their instances.
const OF_GROUPS: u64 = 70;
/// An order about an interface, undisturbed.
const UNDISTURBED: Duration = Duration::from_millis(1);

/// What somebody does to an interface of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meddling {
    Removes,
    Lowers,
}

pub fn is_of(seed: u64) -> bool {
    Dice::new(seed, "virtual macs").chance(PERCENT)
}

/// Chooses those that speak by it. Nobody owns what moves with its hardware
/// address, as `validate` demands.
pub fn with_virtual_macs(seed: u64, faults: &Faults, mut groups: Vec<Group>) -> Vec<Group> {
    let fits = !faults.has(Fault::Keepalived);
    if !(is_of(seed) || faults.has(Fault::Interfaces)) || !fits {
        return groups;
    }
    let mut dice = Dice::new(seed, "which virtual macs");
    let sure = dice.index(groups.len());
    for (place, group) in groups.iter_mut().enumerate() {
        group.own_nothing();
        group.virtual_mac = dice.chance(OF_GROUPS) || place == sure;
    }
    groups
}

impl Planner<'_> {
    pub fn interfaces(&mut self, dice: &mut Dice, phase: Phase) {
        for _ in 0..dice.between(1, 3) {
            let host = dice.index(self.hosts);
            let group = dice.index(self.cast.groups.len());
            let (from, to) = self.within(dice, phase);
            match dice.below(6) {
                0 | 1 => {
                    let span = dice.span(
                        Duration::ZERO,
                        crate::bounds::Bounds::kernel_max(self.cast.unit),
                    );
                    self.at(from, Deed::SlowInterfaces(host, Some(span)));
                    self.at(to, Deed::SlowInterfaces(host, None));
                }
                2 => {
                    self.at(from, Deed::RefuseInterfaces(host, true));
                    self.at(to, Deed::RefuseInterfaces(host, false));
                }
                3 | 4 => self.at(from, Deed::Meddle(host, group, Meddling::Removes)),
                _ => self.at(from, Deed::Meddle(host, group, Meddling::Lowers)),
            }
            // So that interfaces rise and sink meanwhile.
            let other = dice.index(self.hosts);
            let at = dice.span(from, to);
            if dice.chance(60) {
                self.at(at, Deed::Stop(other));
                self.at(dice.span(at, phase.to), Deed::Start(other));
            }
        }
    }
}

impl Sim {
    pub fn interface_deed(&mut self, deed: Deed) {
        match deed {
            Deed::SlowInterfaces(host, takes) => {
                let kernel = &mut self.lab.at_mut(HostId(host)).kernel;
                kernel.link_takes = takes.unwrap_or(UNDISTURBED);
            }
            Deed::RefuseInterfaces(host, refuses) => {
                self.hosts[host].refuses_interfaces = refuses;
                let error = refuses.then(|| "Device or resource busy".to_owned());
                self.lab.at_mut(HostId(host)).kernel.refuse_link = error;
            }
            Deed::Meddle(host, group, how) => self.meddle(HostId(host), group, how),
            _ => unreachable!("not of interfaces"),
        }
    }

    fn meddle(&mut self, id: HostId, group: usize, how: Meddling) {
        let link = self.hosts[id.0].wanted.instances.get(group);
        let Some(link) = link.and_then(VirtualLink::of) else {
            return;
        };
        let host = self.lab.at(id);
        if host.agent.is_none() || host.kernel.state(link.name).is_none() {
            return;
        }
        self.hosts[id.0].pruned = Some(self.lab.now());
        match how {
            Meddling::Removes => self.lab.remove_interface(id, link.name.as_str()),
            Meddling::Lowers => self.lab.link(id, link.name.as_str(), false),
        }
    }
}

/// Whether a host takes frames to the virtual hardware address, by what its
/// kernel has.
pub fn is_up(lab: &Lab, host: HostId, settings: &InstanceSettings) -> bool {
    let link = VirtualLink::of(settings);
    let state = link.and_then(|link| lab.at(host).kernel.state(link.name));
    state.is_some_and(|state| state.up)
}
