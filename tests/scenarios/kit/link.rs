//! The peer link between simulated hosts: messages as values over one or
//! several paths, sessions as the real ones behave, and what answers on the
//! segment when it is asked: hosts by their own addresses, a gateway.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use vipward::agent::cluster::message::Message;
use vipward::agent::cluster::{LinkEvent, PathIndex};
use vipward::agent::event::Claim;
use vipward::agent::settings::ClusterSettings;
use vipward::agent::time::Instant;
use vipward::agent::values::{InterfaceName, MacAddress, NodeName};

use super::settings::{interface, ip, ms};
use super::{Coming, HostId, Input, Lab};

/// What becomes of one message: how late each copy arrives.
pub trait LinkWeather {
    fn fate(&mut self, from: HostId, to: HostId, path: u8, now: Instant) -> [Option<Duration>; 2];
}

#[derive(Default)]
pub struct Link {
    pub weather: Option<Box<dyn LinkWeather>>,
    /// Nothing passes from the first to the second on this path.
    cuts: BTreeSet<(HostId, HostId, u8)>,
    /// Which start of the second the first has a session with.
    knows: BTreeMap<(HostId, HostId), u32>,
    /// What came for hosts that stand still.
    waiting: Vec<(HostId, Letter)>,
    /// Messages that left, of every host.
    pub told: u64,
    /// Those of nobody's that answer on a segment for ever, and to whom none
    /// of them does.
    gateways: BTreeSet<(InterfaceName, IpAddr)>,
    pub out_of_reach: BTreeSet<HostId>,
    /// Hosts of nobody that have an address.
    pub strangers: BTreeMap<IpAddr, MacAddress>,
}

/// One message under way.
#[derive(Clone, Debug)]
pub struct Letter {
    from: HostId,
    /// Of the sender.
    generation: u32,
    /// The receiver's start that it was written for.
    to_generation: Option<u32>,
    path: u8,
    message: Box<Message>,
}

pub const GATEWAY: &str = "192.0.2.254";

/// Two paths: the segment's own addresses, and others.
pub fn cluster(own: usize, hosts: usize, paths: u8) -> ClusterSettings {
    let nodes = (0..hosts).map(|host| {
        let addresses = (0..paths).map(|path| ip(&format!("10.0.{path}.{}", host + 1)));
        (node(HostId(host)), addresses.collect())
    });
    ClusterSettings {
        own: node(HostId(own)),
        nodes: nodes.collect(),
        listen: "0.0.0.0:9851".parse().expect("an address"),
    }
}

pub fn node(host: HostId) -> NodeName {
    NodeName::new(["A", "B", "C", "D", "E", "F"][host.0])
}

impl Lab {
    /// All hosts know each other, by so many paths.
    pub fn connect(&mut self, paths: u8) {
        let hosts = self.hosts.len();
        for (own, host) in self.hosts.iter_mut().enumerate() {
            host.settings.cluster = Some(cluster(own, hosts, paths));
        }
    }

    /// Somebody answers for [`GATEWAY`] on eth0, whom all hosts know as theirs.
    pub fn gateway(&mut self) {
        self.link.gateways.insert((interface("eth0"), ip(GATEWAY)));
        for host in &mut self.hosts {
            host.kernel.gateway("eth0", ip(GATEWAY));
        }
    }

    /// Somebody answers for this address, whoever asks for it.
    pub fn witness(&mut self, on: InterfaceName, address: IpAddr) {
        self.link.gateways.insert((on, address));
    }

    /// Whether a host would be answered, had it reason to ask.
    pub fn reaches(&self, host: HostId, on: InterfaceName, address: IpAddr) -> bool {
        let known = self.at(host).kernel.state(on);
        self.link.gateways.contains(&(on, address))
            && !self.wire.dead.contains(&host)
            && !self.link.out_of_reach.contains(&host)
            && known.is_some_and(|state| state.up)
    }

    /// Whether what one says to the other arrives, by some path.
    pub fn link_passes(&self, from: HostId, to: HostId) -> bool {
        let known = |one: HostId| self.at(one).settings.cluster.as_ref();
        let name = node(to);
        let paths = known(from).and_then(|cluster| cluster.nodes.get(&name));
        let paths = paths.filter(|_| known(to).is_some()).map_or(0, Vec::len);
        let mut paths = (0..paths).filter_map(|path| u8::try_from(path).ok());
        paths.any(|path| !self.link.cuts.contains(&(from, to, path)))
    }

    /// One direction of one path.
    pub fn cut_path_from(&mut self, from: HostId, to: HostId, path: u8) {
        self.link.cuts.insert((from, to, path));
    }

    /// Nothing on the segment reaches this host, and it reaches nothing: its
    /// switch port is dead, and its own link is up all the same.
    pub fn isolate(&mut self, host: HostId) {
        self.wire.dead.insert(host);
    }

    pub fn join(&mut self, host: HostId) {
        self.wire.dead.remove(&host);
    }

    /// The peer link's path between two hosts.
    pub fn cut_path(&mut self, one: HostId, other: HostId, path: u8) {
        self.link.cuts.insert((one, other, path));
        self.link.cuts.insert((other, one, path));
    }

    pub fn heal_path(&mut self, one: HostId, other: HostId, path: u8) {
        self.link.cuts.remove(&(one, other, path));
        self.link.cuts.remove(&(other, one, path));
    }

    /// Every path between all hosts, or none.
    pub fn cut_link(&mut self) {
        for (one, other) in self.pairs() {
            for path in 0..4 {
                self.cut_path(one, other, path);
            }
        }
    }

    pub fn heal_link(&mut self) {
        self.link.cuts.clear();
    }

    /// What came while a host stood still.
    pub(super) fn letters(&mut self, host: HostId) {
        let all = std::mem::take(&mut self.link.waiting);
        let (here, rest) = all.into_iter().partition(|(to, _)| *to == host);
        self.link.waiting = rest;
        let here: Vec<(HostId, Letter)> = here;
        for (to, letter) in here {
            self.letter(to, letter);
        }
    }

    fn pairs(&self) -> Vec<(HostId, HostId)> {
        let all = 0..self.hosts.len();
        all.clone()
            .flat_map(|one| all.clone().map(move |other| (HostId(one), HostId(other))))
            .filter(|(one, other)| one < other)
            .collect()
    }

    pub(super) fn told(&mut self, from: HostId, to: &NodeName, message: Box<Message>) {
        self.link.told += 1;
        let Some(receiver) = self.hosts.iter().position(|host| host.name == to.as_str()) else {
            panic!("{to} is told something, and is no host");
        };
        let receiver = HostId(receiver);
        let settings = self.at(from).settings.cluster.as_ref();
        let paths = settings.and_then(|settings| settings.nodes.get(to));
        let paths = paths.map_or(0, Vec::len);
        for path in (0..paths).filter_map(|path| u8::try_from(path).ok()) {
            let letter = Letter {
                from,
                generation: self.at(from).generation,
                to_generation: self.link.knows.get(&(from, receiver)).copied(),
                path,
                message: message.clone(),
            };
            for delay in self.link_fate(from, receiver, path).into_iter().flatten() {
                self.later(delay, receiver, Coming::Letter(letter.clone()));
            }
        }
    }

    fn link_fate(&mut self, from: HostId, to: HostId, path: u8) -> [Option<Duration>; 2] {
        if self.link.cuts.contains(&(from, to, path)) || !self.at(to).powered {
            return [None, None];
        }
        let now = self.now;
        match &mut self.link.weather {
            Some(weather) => weather.fate(from, to, path, now),
            None => [Some(ms(1)), None],
        }
    }

    /// A message that was not written for this start of the receiver proves
    /// nothing: it is a greeting.
    pub(super) fn letter(&mut self, to: HostId, letter: Letter) {
        let receiver = self.at(to);
        if receiver.agent.is_none() || !receiver.powered {
            return;
        }
        if receiver.paused {
            self.link.waiting.push((to, letter));
            return;
        }
        let generation = receiver.generation;
        let (node, path) = (node(letter.from), PathIndex(letter.path));
        let knows = self.link.knows.get(&(to, letter.from)).copied();
        let event = if letter.to_generation == Some(generation) {
            // Of an earlier start, overtaken by a later one.
            if knows.is_some_and(|known| known > letter.generation) {
                return;
            }
            self.link.knows.insert((to, letter.from), letter.generation);
            LinkEvent::Heard {
                node,
                path,
                session: u64::from(letter.generation) << 32 | u64::from(generation),
                message: letter.message,
            }
        } else {
            if knows.is_some_and(|known| known > letter.generation) {
                return;
            }
            self.link.knows.insert((to, letter.from), letter.generation);
            LinkEvent::Greeted { node, path }
        };
        self.feed(to, Input::Link(event));
    }

    /// A host asks who has an address: it is told of each that answers.
    pub(super) fn ask(&mut self, id: HostId, interface: InterfaceName, target: IpAddr) {
        let stranger = self.link.strangers.get(&target).copied();
        let answers = self.reaches(id, interface, target);
        let beyond = answers.then_some(MacAddress([2, 0, 0, 0, 0, 254]));
        let up = self
            .at(id)
            .kernel
            .state(interface)
            .is_some_and(|state| state.up);
        for hardware_address in stranger.into_iter().chain(beyond).filter(|_| up) {
            let claim = Claim {
                address: target,
                hardware_address,
                solicited: true,
            };
            self.news_in(ms(2), id, Input::Claim { interface, claim });
        }
        self.carry(id, interface, |receiver| {
            let has = receiver.kernel.holds(target) == Some(interface);
            has.then_some(Coming::Question(id, interface, target))
        });
    }
}
