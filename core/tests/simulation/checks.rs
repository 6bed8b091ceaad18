//! The checks of a run: probes that fail, hang or cannot be run, and in some
//! casts those that follow an interface, a file or other checks, and one that
//! only warns. What is true of them, in other words than the core's.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use vipward::agent::event::FileRead;
use vipward::agent::jobs::CheckName;
use vipward::agent::settings::{
    CheckSettings, CheckSource, CheckUse, Combination, InstanceSettings, OnFail,
};

use crate::cast::{Cast, Group};
use crate::dice::Dice;
use crate::fault::{Fault, Faults};
use crate::kit::{HostId, Input, interface};
use crate::plan::{Deed, Health, Phase, Planner};
use crate::sim::Sim;

/// While it fails the instance is in fault.
const SERVICE: &str = "service";
/// While it fails the priority is lower.
const LOAD: &str = "load";
/// A third one that is run, for the combinations.
const SPARE: &str = "spare";
/// Whoever is Active hands over while it fails.
pub const WARNING: &str = "warning";
/// Those that are run, in the order of [`crate::sim::Fate::health`].
pub const RUN: [&str; 4] = [SERVICE, LOAD, SPARE, WARNING];

const UPLINK: &str = "uplink";
const NUMBER: &str = "number";
const FILE: &str = "/run/number";
/// Each with how many of which must be up; some are of others.
const COMBINATIONS: [(&str, usize, &[&str]); 4] = [
    ("both", 2, &[SERVICE, SPARE]),
    ("either", 1, &[LOAD, SPARE]),
    ("most", 2, &[SERVICE, LOAD, UPLINK]),
    ("nested", 2, &["either", "most", SERVICE]),
];

/// What an instance may listen to besides, with its weight.
const LISTENED: [(&str, Option<i16>); 7] = [
    ("both", None),
    ("either", Some(-20)),
    ("most", None),
    ("nested", Some(-40)),
    (UPLINK, Some(-30)),
    (NUMBER, None),
    (WARNING, None),
];

/// Of all casts; of those with a fault that needs it, all.
const PERCENT: u64 = 12;
/// Of what they may listen to.
const LISTENS: u64 = 30;

pub fn are_of(seed: u64) -> bool {
    Dice::new(seed, "newer checks").chance(PERCENT)
}

pub fn are_wanted(seed: u64, faults: &Faults) -> bool {
    are_of(seed) || faults.has(Fault::Numbers)
}

/// What every instance of a cast may listen to.
pub fn at_first(dice: &mut Dice) -> Vec<CheckUse> {
    let all = [(SERVICE, None), (LOAD, Some(-60))];
    let all = all.into_iter().map(used);
    all.filter(|_| dice.chance(50)).collect()
}

fn used((name, weight): (&str, Option<i16>)) -> CheckUse {
    CheckUse {
        name: CheckName::new(name),
        weight,
    }
}

/// Has some instances listen to others as well.
pub fn with_checks(seed: u64, faults: &Faults, mut groups: Vec<Group>) -> Vec<Group> {
    if !are_wanted(seed, faults) {
        return groups;
    }
    let mut dice = Dice::new(seed, "which checks");
    for group in &mut groups {
        let more = LISTENED.into_iter().filter(|_| dice.chance(LISTENS));
        group.checks.extend(more.map(used));
    }
    groups
}

/// Of every host.
pub fn settings(seed: u64, faults: &Faults, unit: Duration) -> Vec<CheckSettings> {
    let check = |name: &str, source| CheckSettings {
        name: CheckName::new(name),
        source,
        interval: unit,
        timeout: unit / 2,
        rise: 2,
        fall: 3,
        initial: None,
        on_fail: match name {
            WARNING => OnFail::Handover,
            _ => OnFail::Fault,
        },
    };
    let run = |name: &str| {
        let question = name.to_owned();
        check(name, CheckSource::Elsewhere { question })
    };
    if !are_wanted(seed, faults) {
        return [SERVICE, LOAD].map(run).to_vec();
    }
    let combinations = COMBINATIONS.into_iter().map(|(name, needed, members)| {
        let members = members.iter().copied().map(CheckName::new).collect();
        check(
            name,
            CheckSource::Combination(Combination { needed, members }),
        )
    });
    let followed = [
        check(UPLINK, CheckSource::Interface(interface("eth1"))),
        check(NUMBER, CheckSource::File(PathBuf::from(FILE))),
    ];
    let all = RUN.map(run).into_iter().chain(followed);
    all.chain(combinations).collect()
}

impl Cast {
    /// How many of [`RUN`] there are.
    pub fn run_checks(&self) -> usize {
        let all = self.settings.first().map_or(0, |host| host.checks.len());
        all.min(RUN.len())
    }

    /// Some instance goes by the planned way while a check warns.
    pub fn has_warnings(&self) -> bool {
        self.settings
            .iter()
            .flat_map(|host| &host.instances)
            .any(listens_to_warnings)
    }
}

pub fn listens_to_warnings(settings: &InstanceSettings) -> bool {
    let mut all = settings.checks.iter();
    all.any(|check| check.name.as_str() == WARNING)
}

impl Planner<'_> {
    /// A file's number changes, is none, is gone.
    pub fn numbers(&mut self, dice: &mut Dice, phase: Phase) {
        for _ in 0..dice.between(1, 4) {
            let host = dice.index(self.hosts);
            let small = i64::try_from(dice.below(121)).expect("small") - 60;
            let number = match dice.below(10) {
                0 | 1 => Err("no such file or directory".to_owned()),
                2 => Err("no number in it".to_owned()),
                3 => Ok(dice.pick(&[-1_000_000, 1_000_000])),
                _ => Ok(small),
            };
            let at = dice.span(phase.from, phase.to);
            self.at(at, Deed::Number(host, number));
        }
    }
}

impl Sim {
    /// A file changed, and whoever watches it tells.
    pub fn number(&mut self, host: usize, number: Result<i64, String>) {
        self.hosts[host].number = number;
        self.tell_number(HostId(host));
    }

    pub fn tell_number(&mut self, id: HostId) {
        let runs = self.lab.at(id).agent.is_some();
        let checks = &self.hosts[id.0].wanted.checks;
        let follows = checks.iter().any(|check| check.name.as_str() == NUMBER);
        if runs && follows {
            let read = FileRead {
                path: PathBuf::from(FILE),
                number: self.hosts[id.0].number.clone(),
            };
            self.lab.feed(id, Input::FileRead(read));
        }
    }

    /// Whether a check fails on a host, by what is true there.
    pub fn fails(&self, id: HostId, name: &str) -> bool {
        let fate = &self.hosts[id.0];
        if let Some(place) = RUN.iter().position(|run| *run == name) {
            return fate.health[place] != Health::Well;
        }
        if let Some((_, needed, members)) = COMBINATIONS.iter().find(|known| known.0 == name) {
            let up = members.iter().filter(|member| !self.fails(id, member));
            return up.count() < *needed;
        }
        match name {
            UPLINK => {
                let known = self.lab.at(id).kernel.state(interface("eth1"));
                !known.is_some_and(|state| state.up)
            }
            _ => fate.number.is_err(),
        }
    }

    /// The instance is in fault while one of these fails.
    pub fn is_well(&self, id: HostId, settings: &InstanceSettings) -> bool {
        let mut all = settings.checks.iter();
        all.all(|check| {
            let name = check.name.as_str();
            let harmless = check.weight.is_some() || matches!(name, WARNING | NUMBER);
            harmless || !self.fails(id, name)
        })
    }

    /// It goes by the planned way, if it can, and preempts nobody.
    pub fn is_warned(&self, id: HostId, settings: &InstanceSettings) -> bool {
        listens_to_warnings(settings) && self.fails(id, WARNING)
    }

    /// The priority as checks and file make it: each counts once, whoever of
    /// `all`, which move together, listens to it.
    pub fn effective<'a>(&self, id: HostId, all: impl Iterator<Item = &'a InstanceSettings>) -> u8 {
        let mut all = all.peekable();
        let base = all.peek().map(|settings| settings.priority);
        let base = base.expect("one at least");
        if base.is_owner() {
            return 255;
        }
        let terms = all
            .flat_map(|settings| &settings.checks)
            .filter_map(|check| {
                let name = check.name.as_str();
                let term = match name {
                    NUMBER => self.hosts[id.0]
                        .number
                        .clone()
                        .unwrap_or(0)
                        .clamp(-254, 254),
                    _ => i64::from(check.weight.filter(|_| self.fails(id, name))?),
                };
                Some((name.to_owned(), term))
            });
        let terms: BTreeMap<String, i64> = terms.collect();
        let value = i64::from(base.get()) + terms.into_values().sum::<i64>();
        u8::try_from(value.clamp(1, 254)).expect("clamped")
    }
}
