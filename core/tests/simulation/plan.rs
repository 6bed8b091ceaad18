//! What happens when: calm and disturbed phases by turns, everything from
//! the seed. Each fault throws dice of its own, so that leaving one out leaves
//! the deeds of the others as they are.

use std::time::Duration;

use vipward::agent::moves::Order;
use vipward::agent::values::NodeName;

use crate::attack::Attack;
use crate::bounds::Bounds;
use crate::cast::Cast;
use crate::dice::Dice;
use crate::fault::{Fault, Faults};
use crate::virtual_mac::Meddling;

/// Something done to the hosts or to the segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    Start(usize),
    Loss(u64),
    Bursts(u64, Duration),
    Jitter(Duration),
    Reorder(u64, Duration),
    Duplicate(u64),
    /// These directions are cut, and no others.
    Cuts(Vec<(usize, usize)>),
    Pause(usize),
    Resume(usize),
    PowerOff(usize),
    Kill(usize),
    Stop(usize),
    /// A check of a host: passes, fails, or cannot be run.
    Health(usize, usize, Health),
    Link(usize, &'static str, bool),
    Reload(usize, usize, Change),
    /// Somebody deletes the addresses of a group from a host.
    Prune(usize, usize),
    Slow(usize, Option<Duration>),
    RefuseAdd(usize, bool),
    RefuseRemove(usize, bool),
    RefuseRenew(usize, bool),
    Mute(usize, bool),
    /// On one interface alone, or on none any more.
    MuteOn(usize, Option<&'static str>),
    /// Awaited hooks of a host: succeed, fail, or cannot be run.
    Hooks(usize, Health),
    /// On this segment alone these pairs are cut, and no others.
    Segment(&'static str, Vec<(usize, usize)>),
    /// A wall clock, so many seconds off.
    Clock(usize, i64),
    /// With a seed of its own.
    Attack(Attack, u64),
    LinkLoss(u64),
    /// Jitter; how many come twice, how many very late.
    LinkDelay(Duration, u64, u64),
    /// These directions of these paths are cut, and no others.
    LinkCuts(Vec<(usize, usize, u8)>),
    /// Advertisements from the first do not reach the second.
    Eaten(Vec<(usize, usize)>),
    /// Whether the switch port works.
    Port(usize, bool),
    /// Whether the witnesses can be reached.
    Witness(usize, bool),
    /// An operator at a host orders something of it, or of another node.
    Order(usize, Option<NodeName>, Order),
    /// What is in the file that counts for the priority.
    Number(usize, Result<i64, String>),
    /// How long orders about virtual interfaces take; whether they fail.
    SlowInterfaces(usize, Option<Duration>),
    RefuseInterfaces(usize, bool),
    /// Somebody changes that of a group on a host.
    Meddle(usize, usize, Meddling),
    /// Whether the state directory of a host cannot be written.
    Disk(usize, bool),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    Well,
    Sick,
    Away,
}

/// What a new configuration changes about one instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Priority(u8),
    /// Half as long as at first, or as at first.
    Interval {
        halved: bool,
    },
    /// One address more than at first, or as at first.
    Address {
        more: bool,
    },
    /// The first address is listed last, or as at first.
    Rotated(bool),
    Present(bool),
    /// `before_active` comes or goes: not as at first, or as at first.
    Hook {
        other: bool,
    },
    /// Those that move together do so no more, or as at first.
    Apart(bool),
}

#[derive(Clone, Debug)]
pub struct Plan {
    /// In the order of time since the start.
    pub deeds: Vec<(Duration, Deed)>,
    pub end: Duration,
}

/// One disturbed phase.
#[derive(Clone, Copy)]
pub struct Phase {
    pub from: Duration,
    pub to: Duration,
    last: bool,
}

pub struct Planner<'a> {
    pub cast: &'a Cast,
    pub hosts: usize,
    deeds: Vec<(Duration, Deed)>,
}

impl Plan {
    /// `cycles` disturbed phases, each between two calm ones.
    pub fn new(seed: u64, cast: &Cast, faults: &Faults, cycles: u64) -> Self {
        let mut dice = Dice::new(seed, "plan");
        let unit = cast.unit;
        let bounds = Bounds::of(cast);
        let mut planner = Planner {
            cast,
            hosts: cast.settings.len(),
            deeds: Vec::new(),
        };
        let together = dice.chance(50);
        for host in 0..planner.hosts {
            let at = dice.span(Duration::ZERO, unit * 3);
            let at = if together { Duration::ZERO } else { at };
            planner.deeds.push((at, Deed::Start(host)));
        }
        let mut now = unit * 3 + bounds.agreement + unit * 2;
        for cycle in 0..cycles {
            let phase = Phase {
                from: now,
                to: now + unit * u32::try_from(dice.between(8, 20)).expect("few"),
                last: cycle + 1 == cycles,
            };
            for fault in &faults.0 {
                let name = format!("{}{cycle}", fault.name());
                planner.fault(*fault, &mut Dice::new(seed, &name), phase);
            }
            now = phase.to + bounds.agreement + unit * 5;
        }
        let mut deeds = planner.deeds;
        deeds.sort_by_key(|(at, _)| *at);
        Self { deeds, end: now }
    }
}

impl Planner<'_> {
    pub fn at(&mut self, at: Duration, deed: Deed) {
        self.deeds.push((at, deed));
    }

    /// A span inside the phase.
    pub fn within(&self, dice: &mut Dice, phase: Phase) -> (Duration, Duration) {
        let from = dice.span(phase.from, phase.to);
        let to = dice.span(from, phase.to);
        (from, to)
    }

    /// The same, and now and then it lasts through the calm phase that
    /// follows, to the next disturbed one.
    pub fn lasting(&self, dice: &mut Dice, phase: Phase) -> (Duration, Option<Duration>) {
        let (from, to) = self.within(dice, phase);
        let lasts = dice.chance(25);
        if !lasts {
            return (from, Some(to));
        }
        let next = phase.to + Bounds::of(self.cast).agreement + self.cast.unit * 6;
        (from, (!phase.last).then_some(next))
    }

    fn fault(&mut self, fault: Fault, dice: &mut Dice, phase: Phase) {
        match fault {
            Fault::Loss | Fault::Bursts | Fault::Delay | Fault::Reorder | Fault::Duplicate => {
                self.weather(fault, dice, phase);
            }
            Fault::OneWay | Fault::Partition => self.cuts(fault, dice, phase),
            // The cast has these.
            Fault::Skew | Fault::Late | Fault::Keepalived => {}
            Fault::Reload => self.reloads(dice, phase),
            Fault::Clock => self.clocks(dice, phase),
            Fault::Replay => self.attacks(dice, phase),
            Fault::LinkLoss
            | Fault::LinkDelay
            | Fault::LinkPartition
            | Fault::Firewall
            | Fault::Port => self.link_fault(fault, dice, phase),
            Fault::Moves => self.operators(dice, phase),
            Fault::Numbers => self.numbers(dice, phase),
            Fault::Interfaces => self.interfaces(dice, phase),
            Fault::Hooks | Fault::Segment => self.together_fault(fault, dice, phase),
            Fault::Checks | Fault::Flap | Fault::Runner => self.health(fault, dice, phase),
            Fault::Pause
            | Fault::Reboot
            | Fault::Kill
            | Fault::Stop
            | Fault::Link
            | Fault::Prune
            | Fault::Slow
            | Fault::Mute
            | Fault::Expire
            | Fault::Refuse => {
                for _ in 0..dice.between(1, 3) {
                    let host = dice.index(self.hosts);
                    self.one_host(fault, dice, phase, host);
                }
            }
        }
    }

    fn weather(&mut self, fault: Fault, dice: &mut Dice, phase: Phase) {
        let unit = self.cast.unit;
        let (from, to) = self.within(dice, phase);
        match fault {
            Fault::Loss => {
                let percent = dice.pick(&[5, 20, 40, 80]);
                self.at(from, Deed::Loss(percent));
                self.at(to, Deed::Loss(0));
            }
            Fault::Bursts => {
                let span = dice.span(unit, unit * 5);
                self.at(from, Deed::Bursts(10, span));
                self.at(to, Deed::Bursts(0, Duration::ZERO));
            }
            // These harm nobody and may last.
            Fault::Delay => {
                let span = dice.span(Duration::ZERO, Bounds::jitter_max(unit));
                self.at(from, Deed::Jitter(span));
            }
            Fault::Reorder => {
                let span = dice.span(Duration::ZERO, Bounds::reorder_max(unit));
                self.at(from, Deed::Reorder(dice.pick(&[5, 30]), span));
            }
            Fault::Duplicate => self.at(from, Deed::Duplicate(dice.pick(&[10, 50, 100]))),
            _ => unreachable!("no weather"),
        }
    }

    fn cuts(&mut self, fault: Fault, dice: &mut Dice, phase: Phase) {
        let hosts = self.hosts;
        for _ in 0..dice.between(1, 2) {
            let (from, to) = if fault == Fault::Partition {
                self.lasting(dice, phase)
            } else {
                let (from, to) = self.within(dice, phase);
                (from, Some(to))
            };
            let mut cuts = Vec::new();
            let sides: Vec<u64> = (0..hosts).map(|_| dice.below(3)).collect();
            let ragged = dice.chance(30);
            for one in 0..hosts {
                for other in (0..hosts).filter(|other| *other != one) {
                    let cut = match fault {
                        Fault::OneWay => dice.chance(25),
                        _ if ragged => dice.chance(40),
                        _ => sides.get(one) != sides.get(other),
                    };
                    if cut {
                        cuts.push((one, other));
                    }
                    if cut && ragged && fault == Fault::Partition {
                        cuts.push((other, one));
                    }
                }
            }
            self.at(from, Deed::Cuts(cuts));
            if let Some(to) = to {
                self.at(to, Deed::Cuts(Vec::new()));
            }
        }
    }

    fn health(&mut self, fault: Fault, dice: &mut Dice, phase: Phase) {
        let host = dice.index(self.hosts);
        let check = dice.index(self.cast.run_checks());
        match fault {
            Fault::Flap => {
                let mut now = phase.from;
                let mut well = true;
                for _ in 0..20 {
                    now += dice.span(self.cast.unit / 2, self.cast.unit * 4);
                    if now >= phase.to {
                        break;
                    }
                    well = !well;
                    let health = if well { Health::Well } else { Health::Sick };
                    self.at(now, Deed::Health(host, check, health));
                }
                self.at(phase.to, Deed::Health(host, check, Health::Well));
            }
            Fault::Runner => {
                let (from, to) = self.within(dice, phase);
                for check in 0..self.cast.run_checks() {
                    self.at(from, Deed::Health(host, check, Health::Away));
                    self.at(to, Deed::Health(host, check, Health::Well));
                }
            }
            _ => {
                let (from, to) = self.lasting(dice, phase);
                self.at(from, Deed::Health(host, check, Health::Sick));
                if let Some(to) = to {
                    self.at(to, Deed::Health(host, check, Health::Well));
                }
            }
        }
    }

    fn one_host(&mut self, fault: Fault, dice: &mut Dice, phase: Phase, host: usize) {
        let unit = self.cast.unit;
        let (from, to) = match fault {
            Fault::Prune | Fault::Slow | Fault::Refuse | Fault::Mute | Fault::Expire => {
                let (from, to) = self.within(dice, phase);
                (from, Some(to))
            }
            _ => self.lasting(dice, phase),
        };
        let (begin, end) = match fault {
            Fault::Pause => (Deed::Pause(host), Deed::Resume(host)),
            Fault::Reboot => (Deed::PowerOff(host), Deed::Start(host)),
            Fault::Kill => (Deed::Kill(host), Deed::Start(host)),
            Fault::Stop => (Deed::Stop(host), Deed::Start(host)),
            Fault::Link => {
                let name = dice.pick(&["eth0", "eth0", "eth1"]);
                (Deed::Link(host, name, false), Deed::Link(host, name, true))
            }
            Fault::Prune => {
                let group = dice.index(self.cast.groups.len());
                (Deed::Prune(host, group), Deed::Prune(host, group))
            }
            Fault::Slow => {
                let span = dice.span(Duration::ZERO, Bounds::kernel_max(unit));
                (Deed::Slow(host, Some(span)), Deed::Slow(host, None))
            }
            Fault::Mute => (Deed::Mute(host, true), Deed::Mute(host, false)),
            Fault::Expire => (
                Deed::RefuseRenew(host, true),
                Deed::RefuseRenew(host, false),
            ),
            Fault::Refuse if dice.chance(50) => {
                (Deed::RefuseAdd(host, true), Deed::RefuseAdd(host, false))
            }
            Fault::Refuse => (
                Deed::RefuseRemove(host, true),
                Deed::RefuseRemove(host, false),
            ),
            _ => unreachable!("not of one host"),
        };
        self.at(from, begin);
        if let Some(to) = to {
            self.at(to, end);
        }
    }

    fn reloads(&mut self, dice: &mut Dice, phase: Phase) {
        for _ in 0..dice.between(1, 3) {
            let group = dice.index(self.cast.groups.len());
            let (from, to) = self.within(dice, phase);
            let there = [
                Change::Priority(dice.byte(1, 254)),
                Change::Interval { halved: true },
                Change::Address { more: true },
                Change::Rotated(true),
                Change::Present(false),
                Change::Hook { other: true },
                Change::Apart(true),
            ];
            let back = [
                None,
                Some(Change::Interval { halved: false }),
                Some(Change::Address { more: false }),
                Some(Change::Rotated(false)),
                Some(Change::Present(true)),
                Some(Change::Hook { other: false }),
                Some(Change::Apart(false)),
            ];
            let together = self.cast.together.is_some();
            let which = dice.index(if together { 7 } else { 5 });
            let (there, back) = (there[which], back[which]);
            // Rolled out over the hosts, one after the other.
            let every = matches!(there, Change::Interval { .. } | Change::Address { .. })
                || dice.chance(20);
            let one = dice.index(self.hosts);
            for host in 0..self.hosts {
                let (begin, end) = (dice.span(from, to), dice.span(to, phase.to));
                if !every && host != one {
                    continue;
                }
                self.at(begin, Deed::Reload(host, group, there));
                if let Some(back) = back {
                    self.at(end, Deed::Reload(host, group, back));
                }
            }
        }
    }
}
