//! What can go wrong, by name. Every fault combines with every other; a seed
//! chooses some, and a person names those that are wanted.

use std::collections::BTreeSet;
use std::fmt;

use crate::checks;
use crate::cluster::Cluster;
use crate::dice::Dice;
use crate::operators;
use crate::together::Together;
use crate::virtual_mac;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Packets are lost, each by itself.
    Loss,
    /// Everything from one host to another is lost for a while.
    Bursts,
    /// Packets take longer, in order.
    Delay,
    /// Some are overtaken by later ones.
    Reorder,
    /// Some arrive twice.
    Duplicate,
    /// One host does not hear another that hears it.
    OneWay,
    /// The segment falls apart: in two, in many, in any shape.
    Partition,
    /// A host stops for a while: what arrives waits, its timers come late.
    Pause,
    /// A host loses power and comes back with nothing.
    Reboot,
    /// An agent dies and is started again; its addresses stay meanwhile.
    Kill,
    /// An agent is told to stop, and is started again.
    Stop,
    /// Clocks run up to 1 % faster or slower than they should.
    Skew,
    /// Wake-ups come late by up to a twentieth of an interval.
    Late,
    /// A check fails, for long.
    Checks,
    /// A check fails and passes by turns.
    Flap,
    /// Whoever runs checks is away.
    Runner,
    /// A link goes down and comes up.
    Link,
    /// Priority, interval, addresses, whole instances change by reload.
    Reload,
    /// Addresses are deleted by somebody else.
    Prune,
    /// The kernel takes long over addresses.
    Slow,
    /// The kernel refuses to add or to remove.
    Refuse,
    /// No advertisement leaves a host.
    Mute,
    /// The kernel refuses to begin leases anew, so that they run out.
    Expire,
    /// Somebody sets a host's wall clock, wrong and right again.
    Clock,
    /// An attacker sends what he recorded, and what he forged.
    Replay,
    /// One host runs a program of keepalived's rules.
    Keepalived,
    /// Messages of the peer link are lost.
    LinkLoss,
    /// They come late, twice, in another order.
    LinkDelay,
    /// None pass between some nodes, on some paths or all.
    LinkPartition,
    /// Advertisements are eaten between some hosts, and nothing else is.
    Firewall,
    /// A host's switch port is dead although its own link is up; or only the
    /// way to the witnesses is.
    Port,
    /// Awaited hooks fail, hang until they are killed, are not answered for.
    Hooks,
    /// Nothing passes, or nothing leaves a host, on one segment alone.
    Segment,
    /// A file's number that counts for the priority changes, is none, is gone.
    Numbers,
    /// What carries virtual hardware addresses is slow to change, or cannot be,
    /// or is removed or lowered by somebody else.
    Interfaces,
    /// Operators hand over, drain and undrain; disks are full; agents are
    /// killed in the middle of it.
    Moves,
}

impl Fault {
    /// Those that a seed chooses from whether or not it has a peer link.
    const USUAL: [Fault; 26] = [
        Fault::Loss,
        Fault::Bursts,
        Fault::Delay,
        Fault::Reorder,
        Fault::Duplicate,
        Fault::OneWay,
        Fault::Partition,
        Fault::Pause,
        Fault::Reboot,
        Fault::Kill,
        Fault::Stop,
        Fault::Skew,
        Fault::Late,
        Fault::Checks,
        Fault::Flap,
        Fault::Runner,
        Fault::Link,
        Fault::Reload,
        Fault::Prune,
        Fault::Slow,
        Fault::Refuse,
        Fault::Mute,
        Fault::Expire,
        Fault::Clock,
        Fault::Replay,
        Fault::Keepalived,
    ];

    /// Those that are worth their time only with a peer link.
    pub const LINK: [Fault; 5] = [
        Fault::LinkLoss,
        Fault::LinkDelay,
        Fault::LinkPartition,
        Fault::Firewall,
        Fault::Port,
    ];

    /// Those that need instances that move together, or hooks.
    pub const TOGETHER: [Fault; 2] = [Fault::Hooks, Fault::Segment];

    fn all() -> impl Iterator<Item = Fault> {
        let usual = Fault::USUAL.into_iter().chain(Fault::LINK);
        let rest = [Fault::Numbers, Fault::Interfaces, Fault::Moves];
        usual.chain(Fault::TOGETHER).chain(rest)
    }

    pub fn name(self) -> &'static str {
        match self {
            Fault::Loss => "loss",
            Fault::Bursts => "bursts",
            Fault::Delay => "delay",
            Fault::Reorder => "reorder",
            Fault::Duplicate => "duplicate",
            Fault::OneWay => "one-way",
            Fault::Partition => "partition",
            Fault::Pause => "pause",
            Fault::Reboot => "reboot",
            Fault::Kill => "kill",
            Fault::Stop => "stop",
            Fault::Skew => "skew",
            Fault::Late => "late",
            Fault::Checks => "checks",
            Fault::Flap => "flap",
            Fault::Runner => "runner",
            Fault::Link => "link",
            Fault::Reload => "reload",
            Fault::Prune => "prune",
            Fault::Slow => "slow",
            Fault::Refuse => "refuse",
            Fault::Mute => "mute",
            Fault::Expire => "expire",
            Fault::Clock => "clock",
            Fault::Replay => "replay",
            Fault::Keepalived => "keepalived",
            Fault::LinkLoss => "link-loss",
            Fault::LinkDelay => "link-delay",
            Fault::LinkPartition => "link-partition",
            Fault::Firewall => "firewall",
            Fault::Port => "port",
            Fault::Hooks => "hooks",
            Fault::Segment => "segment",
            Fault::Numbers => "numbers",
            Fault::Interfaces => "interfaces",
            Fault::Moves => "moves",
        }
    }
}

/// The faults of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults(pub BTreeSet<Fault>);

impl Faults {
    /// Every eighth seed goes undisturbed; the others have one to six faults,
    /// and some of the peer link, or of what moves together, if there is any.
    pub fn of_seed(seed: u64) -> Self {
        let mut dice = Dice::new(seed, "faults");
        if seed.is_multiple_of(8) {
            return Self(BTreeSet::new());
        }
        let count = dice.between(1, 6);
        let usual = (0..count).map(|_| dice.pick(&Fault::USUAL));
        let usual: BTreeSet<Fault> = usual.collect();
        let mut dice = Dice::new(seed, "link faults");
        let count = if Cluster::is_of(seed) {
            dice.below(4)
        } else {
            0
        };
        let link = (0..count).map(|_| dice.pick(&Fault::LINK));
        let mut dice = Dice::new(seed, "together faults");
        let count = if Together::is_of(seed) {
            dice.below(3)
        } else {
            0
        };
        let together = (0..count).map(|_| dice.pick(&Fault::TOGETHER));
        let moves = operators::are_there(seed).then_some(Fault::Moves);
        let disturbed = Dice::new(seed, "interface faults").chance(60);
        let interfaces = disturbed && virtual_mac::is_of(seed);
        let interfaces = interfaces.then_some(Fault::Interfaces);
        let all = usual.into_iter().chain(link).chain(together);
        let disturbed = Dice::new(seed, "number faults").chance(60);
        let numbers = (disturbed && checks::are_of(seed)).then_some(Fault::Numbers);
        let all = all.chain(moves).chain(interfaces).chain(numbers);
        Self(all.collect())
    }

    /// Names with commas between them; `none`; `all`.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "none" | "" => return Ok(Self(BTreeSet::new())),
            "all" => return Ok(Self(Fault::all().collect())),
            _ => {}
        }
        let named = text.split(',').map(|name| {
            let mut all = Fault::all();
            all.find(|fault| fault.name() == name.trim())
                .ok_or_else(|| format!("no fault is called {name:?}; there are: {}", names()))
        });
        named.collect::<Result<_, _>>().map(Self)
    }

    pub fn has(&self, fault: Fault) -> bool {
        self.0.contains(&fault)
    }
}

fn names() -> String {
    let names: Vec<&str> = Fault::all().map(Fault::name).collect();
    names.join(", ")
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        let names: Vec<&str> = self.0.iter().map(|fault| fault.name()).collect();
        f.write_str(&names.join(","))
    }
}
