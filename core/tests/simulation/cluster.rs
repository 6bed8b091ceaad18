//! The peer link in a run: who is a node, what goes wrong with the link and
//! with what it is compared to, the segment.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use vipward::agent::settings::{ClusterSettings, OnAllFail, Settings};
use vipward::agent::time::Instant;
use vipward::agent::values::{Family, InterfaceName};

use crate::dice::Dice;
use crate::fault::{Fault, Faults};
use crate::kit::link::{self, LinkWeather};
use crate::kit::{HostId, Lab, interface, ip};
use crate::plan::{Deed, Phase, Planner};
use crate::sim::Sim;
use crate::weather::Conditions;

/// The slowest beat of a link.
pub const BEAT: Duration = Duration::from_millis(200);
/// A message that is held up for very long.
const HELD_UP_MAX: Duration = Duration::from_secs(2);

#[derive(Clone, Debug)]
pub struct Cluster {
    pub paths: u8,
    /// Hosts; the one with keepalived's rules is none.
    pub nodes: Vec<usize>,
    /// Somebody answers on each segment.
    pub witness: bool,
    /// And is named by the instances, rather than found as the gateway.
    named: bool,
    keep: bool,
}

impl Cluster {
    /// Every twelfth seed has one, since it costs eight times as much as another.
    pub fn is_of(seed: u64) -> bool {
        Dice::new(seed, "cluster").chance(8)
    }

    pub fn is_wanted(seed: u64, faults: &Faults) -> bool {
        Self::is_of(seed) || Fault::LINK.iter().any(|fault| faults.has(*fault))
    }

    pub fn new(
        seed: u64,
        faults: &Faults,
        hosts: usize,
        keepalived: Option<usize>,
    ) -> Option<Self> {
        if !Self::is_wanted(seed, faults) {
            return None;
        }
        let mut dice = Dice::new(seed, "nodes");
        let nodes: Vec<usize> = (0..hosts)
            .filter(|host| Some(*host) != keepalived)
            .collect();
        let cluster = Self {
            paths: dice.pick(&[1, 2]),
            witness: dice.chance(70),
            named: dice.chance(50),
            keep: dice.chance(30),
            nodes,
        };
        (cluster.nodes.len() > 1).then_some(cluster)
    }

    /// Writes it into the configuration of every node.
    pub fn configure(&self, settings: &mut [Settings]) {
        let all = link::cluster(0, settings.len(), self.paths).nodes;
        let names = self.nodes.iter().map(|host| link::node(HostId(*host)));
        let names: BTreeSet<_> = names.collect();
        let nodes = all.into_iter().filter(|(name, _)| names.contains(name));
        let cluster = ClusterSettings {
            nodes: nodes.collect(),
            ..link::cluster(0, settings.len(), self.paths)
        };
        for host in &self.nodes {
            let settings = settings.get_mut(*host).expect("a host");
            settings.cluster = Some(ClusterSettings {
                own: link::node(HostId(*host)),
                ..cluster.clone()
            });
            for instance in &mut settings.instances {
                if self.keep {
                    instance.on_all_fail = OnAllFail::Keep;
                }
                if self.witness && self.named {
                    instance.witnesses = vec![witness(instance.interface, instance.family)];
                }
            }
        }
    }

    /// Makes those that answer, known to a host as its gateways.
    pub fn equip(&self, lab: &mut Lab) {
        if !self.witness {
            return;
        }
        for (name, family) in segments() {
            lab.witness(interface(name), witness(interface(name), family));
        }
    }

    pub fn route(&self, lab: &mut Lab, id: HostId) {
        let kernel = &mut lab.at_mut(id).kernel;
        for (name, family) in segments() {
            let gateway = witness(interface(name), family);
            let known = kernel.state(interface(name));
            let known = known.is_some_and(|state| state.gateways.contains(&gateway));
            if self.witness && !self.named && !known {
                kernel.gateway(name, gateway);
            }
        }
    }

    pub fn describe(&self) -> String {
        format!(
            "cluster of {:?}, {} paths, witness {}, named {}, keep {}\n",
            self.nodes, self.paths, self.witness, self.named, self.keep
        )
    }
}

fn segments() -> [(&'static str, Family); 4] {
    [
        ("eth0", Family::Ipv4),
        ("eth0", Family::Ipv6),
        ("eth1", Family::Ipv4),
        ("eth1", Family::Ipv6),
    ]
}

pub fn witness(on: InterfaceName, family: Family) -> IpAddr {
    ip(match (on.as_str(), family) {
        ("eth0", Family::Ipv4) => "192.0.2.254",
        ("eth0", Family::Ipv6) => "2001:db8::fe",
        (_, Family::Ipv4) => "198.51.100.254",
        (_, Family::Ipv6) => "2001:db8:0:1::fe",
    })
}

/// What the link does to messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkConditions {
    pub loss_percent: u64,
    /// Added to the delay; messages overtake each other by it.
    pub jitter: Duration,
    pub duplicate_percent: u64,
    /// Of messages that are held up for long.
    pub late_percent: u64,
}

impl LinkConditions {
    /// What a node was told by now may be wrong, and for how long.
    pub fn is_bad(&self) -> bool {
        self.loss_percent > 0 || self.late_percent > 0
    }
}

pub struct LinkSky {
    pub now: Rc<RefCell<Conditions>>,
    pub dice: Dice,
}

impl LinkWeather for LinkSky {
    fn fate(&mut self, _: HostId, _: HostId, _: u8, _: Instant) -> [Option<Duration>; 2] {
        let here = self.now.borrow();
        let (link, delay) = (here.link, here.delay);
        if link == LinkConditions::default() {
            return [Some(delay), None];
        }
        let [lost, late, twice] = [(); 3].map(|()| self.dice.below(100));
        let delay = delay + self.dice.span(Duration::ZERO, link.jitter);
        if lost < link.loss_percent {
            return [None, None];
        }
        let held_up = delay + self.dice.span(Duration::ZERO, HELD_UP_MAX);
        let first = if late < link.late_percent {
            held_up
        } else {
            delay
        };
        let copy = (twice < link.duplicate_percent).then_some(held_up);
        [Some(first), copy]
    }
}

/// Lasting jitter adds no more.
pub fn jitter_max(unit: Duration) -> Duration {
    (unit / 10).min(Duration::from_millis(30))
}

impl Planner<'_> {
    pub fn link_fault(&mut self, fault: Fault, dice: &mut Dice, phase: Phase) {
        match fault {
            Fault::LinkLoss => {
                let (from, to) = self.within(dice, phase);
                self.at(from, Deed::LinkLoss(dice.pick(&[5, 20, 50, 80])));
                self.at(to, Deed::LinkLoss(0));
            }
            Fault::LinkDelay => {
                let (from, to) = self.within(dice, phase);
                let jitter = dice.span(Duration::ZERO, jitter_max(self.cast.unit));
                let twice = dice.pick(&[0, 20, 100]);
                self.at(from, Deed::LinkDelay(jitter, twice, dice.pick(&[0, 5, 30])));
                // What is only reordered harms nobody, and lasts.
                self.at(to, Deed::LinkDelay(jitter, 0, 0));
            }
            Fault::LinkPartition => self.link_cuts(dice, phase),
            Fault::Firewall => {
                let (from, to) = self.lasting(dice, phase);
                let all = dice.chance(40);
                let percent = dice.pick(&[20, 50]);
                let mut eaten = Vec::new();
                for (one, other) in self.pairs() {
                    let both = dice.chance(70);
                    let [here, there] = [(); 2].map(|()| dice.chance(percent));
                    if all || here {
                        eaten.push((one, other));
                    }
                    if all || (both && here) || (!both && there) {
                        eaten.push((other, one));
                    }
                }
                self.at(from, Deed::Eaten(eaten));
                if let Some(to) = to {
                    self.at(to, Deed::Eaten(Vec::new()));
                }
            }
            Fault::Port => {
                for _ in 0..dice.between(1, 2) {
                    let host = dice.index(self.hosts);
                    let (from, to) = self.lasting(dice, phase);
                    let whole = dice.chance(75);
                    let deed = |works| match whole {
                        true => Deed::Port(host, works),
                        false => Deed::Witness(host, works),
                    };
                    self.at(from, deed(false));
                    if let Some(to) = to {
                        self.at(to, deed(true));
                    }
                }
            }
            _ => unreachable!("not of the link"),
        }
    }

    fn pairs(&self) -> Vec<(usize, usize)> {
        let hosts = self.hosts;
        let all = (0..hosts).flat_map(|one| (one + 1..hosts).map(move |other| (one, other)));
        all.collect()
    }

    fn link_cuts(&mut self, dice: &mut Dice, phase: Phase) {
        let paths = self.cast.cluster.as_ref().map_or(0, |known| known.paths);
        for _ in 0..dice.between(1, 2) {
            let (from, to) = self.lasting(dice, phase);
            let everything = dice.chance(40);
            let one_way = dice.chance(20);
            let only = dice.chance(30).then(|| dice.below(2));
            let mut cuts = Vec::new();
            for (one, other) in self.pairs() {
                if !dice.chance(50) && !everything {
                    continue;
                }
                for path in
                    (0..paths).filter(|path| only.is_none_or(|only| only == u64::from(*path)))
                {
                    cuts.push((one, other, path));
                    if !one_way {
                        cuts.push((other, one, path));
                    }
                }
            }
            self.at(from, Deed::LinkCuts(cuts));
            if let Some(to) = to {
                self.at(to, Deed::LinkCuts(Vec::new()));
            }
        }
    }
}

impl Sim {
    pub fn link_deed(&mut self, deed: Deed) {
        match deed {
            Deed::LinkLoss(percent) => self.weather.borrow_mut().link.loss_percent = percent,
            Deed::LinkDelay(jitter, twice, late) => {
                let mut weather = self.weather.borrow_mut();
                weather.link.jitter = jitter;
                weather.link.duplicate_percent = twice;
                weather.link.late_percent = late;
            }
            Deed::LinkCuts(cuts) => {
                self.lab.heal_link();
                for (from, to, path) in cuts {
                    self.lab.cut_path_from(HostId(from), HostId(to), path);
                }
            }
            Deed::Eaten(pairs) => {
                let pairs = pairs.into_iter();
                let pairs = pairs.map(|(from, to)| (HostId(from), HostId(to)));
                self.lab.wire.eaten = pairs.collect();
            }
            Deed::Port(host, true) => self.lab.join(HostId(host)),
            Deed::Port(host, false) => self.lab.isolate(HostId(host)),
            Deed::Witness(host, true) => {
                self.lab.link.out_of_reach.remove(&HostId(host));
            }
            Deed::Witness(host, false) => {
                self.lab.link.out_of_reach.insert(HostId(host));
            }
            _ => unreachable!("not of the link"),
        }
    }
}
