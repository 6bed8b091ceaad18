//! Instances that move together, and hooks that are awaited: which casts have
//! them, and what goes wrong with them.

use std::collections::BTreeMap;
use std::time::Duration;

use vipward::agent::jobs::HookKind;
use vipward::agent::settings::{InstanceSettings, Settings};
use vipward::agent::values::Version;

use crate::cast::{Cast, Group};
use crate::cluster::Cluster;
use crate::dice::Dice;
use crate::fault::{Fault, Faults};
use crate::kit::groups::group;
use crate::kit::{HostId, interface};
use crate::plan::{Deed, Health, Phase, Planner};
use crate::sim::Sim;

/// Of all casts, and of those with a peer link; of those with a fault that
/// needs it, all.
const PERCENT: [u64; 2] = [10, 40];
const TIMEOUT_MAX: Duration = Duration::from_secs(2);

#[derive(Clone, Debug)]
pub struct Together {
    /// Places in `Cast::groups` of those that move together: none, or two or
    /// more.
    pub members: Vec<usize>,
    /// The awaited hooks of the instances at each place.
    hooks: BTreeMap<usize, Vec<HookKind>>,
    /// Of every awaited hook.
    pub timeout: Duration,
}

impl Together {
    pub fn is_of(seed: u64) -> bool {
        let linked = usize::from(Cluster::is_of(seed));
        Dice::new(seed, "together").chance(PERCENT[linked])
    }

    /// Whether a cast has any, before it is known how many instances it has.
    pub fn is_wanted(seed: u64, faults: &Faults) -> bool {
        Self::is_of(seed) || Fault::TOGETHER.iter().any(|fault| faults.has(*fault))
    }

    /// Makes members alike where they have to be.
    pub fn new(seed: u64, groups: &mut [Group], unit: Duration) -> Self {
        let mut dice = Dice::new(seed, "members");
        let kind = dice.below(4);
        let all: Vec<usize> = (0..groups.len()).collect();
        let mut members = match kind {
            0 => Vec::new(),
            _ => all.clone(),
        };
        if members.len() > 2 && dice.chance(50) {
            members.remove(dice.index(members.len()));
        }
        let hooked = kind != 1;
        let hooks = all.into_iter().map(|place| {
            let kinds = [HookKind::BeforeActive, HookKind::BeforeRelease];
            let kinds = kinds.into_iter().filter(|_| dice.chance(45) && hooked);
            (place, kinds.collect())
        });
        let together = Self {
            hooks: hooks.collect(),
            timeout: (unit * 2).min(TIMEOUT_MAX),
            members,
        };
        Group::align(groups, &together.members);
        together
    }

    /// Some instance has one, or may get one by a reload.
    pub fn has_hooks(&self, faults: &Faults) -> bool {
        let mut all = self.hooks.values();
        faults.has(Fault::Reload) || all.any(|kinds| !kinds.is_empty())
    }

    /// Those that move with the instances at a place, these included.
    pub fn with(&self, place: usize) -> Vec<usize> {
        match self.members.contains(&place) {
            true => self.members.clone(),
            false => vec![place],
        }
    }

    /// Writes it into the configuration of every host.
    pub fn configure(&self, settings: &mut [Settings]) {
        for settings in settings {
            for (place, instance) in settings.instances.iter_mut().enumerate() {
                let kinds = self.hooks.get(&place).into_iter().flatten();
                let kinds = kinds.map(|kind| (*kind, self.timeout));
                instance.hooks.extend(kinds);
            }
            let members = self.members.iter();
            let members = members.filter_map(|place| settings.instances.get(*place));
            let names: Vec<&str> = members.map(|instance| instance.name.as_str()).collect();
            if !names.is_empty() {
                settings.groups = vec![group("party", &names)];
            }
        }
    }

    pub fn describe(&self) -> String {
        format!(
            "together {:?}, hooks {:?} for {:?}\n",
            self.members, self.hooks, self.timeout
        )
    }
}

impl Cast {
    /// Those that move with a group of instances, itself included.
    pub fn with(&self, group: usize) -> Vec<usize> {
        let together = self.together.as_ref();
        together.map_or_else(|| vec![group], |together| together.with(group))
    }

    /// An interval that all of these can have.
    pub fn halves(&self, instances: &[&InstanceSettings]) -> bool {
        let mut all = instances.iter();
        all.all(|instance| instance.version == Version::V3)
    }
}

impl Planner<'_> {
    pub fn together_fault(&mut self, fault: Fault, dice: &mut Dice, phase: Phase) {
        match fault {
            Fault::Hooks => {
                for _ in 0..dice.between(1, 3) {
                    let host = dice.index(self.hosts);
                    let (from, to) = self.within(dice, phase);
                    let health = dice.pick(&[Health::Sick, Health::Sick, Health::Away]);
                    self.at(from, Deed::Hooks(host, health));
                    self.at(to, Deed::Hooks(host, Health::Well));
                    // So that there is something to take over.
                    let other = dice.index(self.hosts);
                    let at = dice.span(from, to);
                    if other != host && dice.chance(60) {
                        self.at(at, Deed::Stop(other));
                        self.at(dice.span(at, phase.to), Deed::Start(other));
                    }
                }
            }
            Fault::Segment => {
                let name = dice.pick(&["eth0", "eth1"]);
                if dice.chance(30) {
                    let host = dice.index(self.hosts);
                    let (from, to) = self.within(dice, phase);
                    self.at(from, Deed::MuteOn(host, Some(name)));
                    self.at(to, Deed::MuteOn(host, None));
                    return;
                }
                let (from, to) = self.lasting(dice, phase);
                let everything = dice.chance(50);
                let mut cuts = Vec::new();
                for one in 0..self.hosts {
                    for other in one + 1..self.hosts {
                        if everything || dice.chance(50) {
                            cuts.push((one, other));
                        }
                    }
                }
                self.at(from, Deed::Segment(name, cuts));
                if let Some(to) = to {
                    self.at(to, Deed::Segment(name, Vec::new()));
                }
            }
            _ => unreachable!("not of instances that move together"),
        }
    }
}

impl Sim {
    pub fn together_deed(&mut self, deed: Deed) {
        match deed {
            Deed::Hooks(host, health) => self.hosts[host].hooks = health,
            Deed::Segment(name, cuts) => {
                self.lab.wire.heal_on(name);
                for (one, other) in cuts {
                    self.lab.wire.part_on(name, HostId(one), HostId(other));
                }
            }
            Deed::MuteOn(host, name) => {
                let name = name.map(interface);
                self.hosts[host].mute_on = name;
                self.lab.at_mut(HostId(host)).kernel.refuse_send_on = name;
            }
            _ => unreachable!("not of instances that move together"),
        }
    }
}
