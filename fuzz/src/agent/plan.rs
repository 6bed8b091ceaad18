//! Any bytes as settings that validation would have passed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use arbitrary::Arbitrary;
use vipward::agent::jobs::{CheckName, HookKind};
use vipward::agent::settings::{
    AddressSettings, AnnounceSettings, CheckSettings, CheckSource, CheckUse, Combination,
    InstanceSettings, OnFail, Preempt, Settings,
};
use vipward::agent::status::CheckState;
use vipward::agent::values::{
    AdvertInterval, ChecksumForm, Family, InstanceName, InterfaceName, Lease, Priority, Version,
    Vrid,
};

/// Two interfaces, so that an address can be held on the other one.
pub const INTERFACES: [&str; 2] = ["eth0", "eth1"];

/// What instances may list. Each belongs to one instance at a time.
pub const POOL: [&str; 8] = [
    "192.0.2.10/24",
    "192.0.2.11/24",
    "192.0.2.12/32",
    "198.51.100.10/24",
    "2001:db8::10/64",
    "2001:db8::11/128",
    "fe80::51/64",
    "10.9.8.7/8",
];

pub fn interface(which: u8) -> InterfaceName {
    let name = INTERFACES[usize::from(which) % INTERFACES.len()];
    name.parse().expect("a plain name")
}

/// The addresses of the pool whose bit is set.
pub fn pooled(bits: u8) -> impl Iterator<Item = &'static str> {
    let all = POOL.into_iter().enumerate();
    all.filter(move |(place, _)| bits >> place & 1 == 1)
        .map(|(_, network)| network)
}

/// This host is number 1.
pub fn own_ipv4(interface: u8, host: u8) -> IpAddr {
    match interface % 2 {
        0 => IpAddr::from([192, 0, 2, host]),
        _ => IpAddr::from([198, 51, 100, host]),
    }
}

pub fn own_ipv6(interface: u8, host: u8, link_local: bool) -> IpAddr {
    let host = u16::from(host);
    match link_local {
        true => IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, host]),
        false => IpAddr::from([0x2001, 0xdb8, 0, u16::from(interface % 2), 0, 0, 0, host]),
    }
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Plan {
    instances: [InstancePlan; 3],
    /// How many of them.
    count: u8,
    check: CheckPlan,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
struct InstancePlan {
    vrid: u8,
    /// Interface, family, version, unicast, with a source, owner, which
    /// weight, `required`.
    bits: u8,
    priority: u8,
    interval: u8,
    preempt: u8,
    settle: u8,
    announce: u8,
    addresses: u8,
    /// Not advertised, though listed.
    hidden: u8,
    checks: u8,
    hooks: u8,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
struct CheckPlan {
    interval: u8,
    counts: u8,
    initial: u8,
}

impl Plan {
    pub fn settings(&self) -> Settings {
        let mut taken = BTreeSet::new();
        let mut keys = BTreeSet::new();
        let mut instances = Vec::new();
        let count = 1 + usize::from(self.count) % 3;
        for (place, plan) in self.instances.iter().take(count).enumerate() {
            let instance = plan.settings(place, &mut taken);
            if keys.insert((instance.interface, instance.family, instance.vrid)) {
                instances.push(instance);
            }
        }
        Settings {
            cluster: None,
            node: "lb1".to_owned(),
            instances,
            checks: self.check.settings(),
            groups: Vec::new(),
        }
    }
}

const INTERVALS_CS: [u16; 8] = [1, 2, 10, 50, 100, 100, 1000, 4095];
const INTERVALS_S: [u8; 4] = [1, 1, 3, 255];
const CHECKS: [&str; 4] = ["script", "uplink", "file", "all"];
/// What the check of that name follows.
pub const FILE: &str = "/run/priority";

impl InstancePlan {
    fn bit(&self, place: u8) -> bool {
        self.bits >> place & 1 == 1
    }

    fn settings(&self, place: usize, taken: &mut BTreeSet<&'static str>) -> InstanceSettings {
        let which = self.bits & 1;
        let version = if self.bit(2) {
            Version::V2
        } else {
            Version::V3
        };
        let family = match version {
            Version::V3 if self.bit(1) => Family::Ipv6,
            Version::V2 | Version::V3 => Family::Ipv4,
        };
        let priority = if self.bit(5) {
            255
        } else {
            self.priority.clamp(1, 254)
        };
        let unicast = self.bit(3);
        let own = match family {
            Family::Ipv4 => own_ipv4(which, 1),
            Family::Ipv6 => own_ipv6(which, 1, !unicast),
        };
        let peer = |host| match family {
            Family::Ipv4 => own_ipv4(which, host),
            Family::Ipv6 => own_ipv6(which, host, false),
        };
        InstanceSettings {
            on_all_fail: Default::default(),
            on_conflict: Default::default(),
            virtual_mac: false,
            witnesses: Vec::new(),
            name: InstanceName::new(["a", "b", "c"][place % 3]),
            interface: interface(which),
            vrid: Vrid::new(1 + self.vrid % 2).expect("not zero"),
            priority: Priority::new(priority).expect("not zero"),
            version,
            family,
            addresses: self.addresses(place, family, taken),
            routes: Vec::new(),
            rules: Vec::new(),
            advert_interval: self.interval(version),
            down_after: 1 + self.interval / 64,
            unicast_peers: (2..4).filter(|_| unicast).map(peer).collect(),
            source: self.bit(4).then_some(own),
            preempt: match self.preempt {
                0..128 => Preempt::Immediately,
                128..192 => Preempt::Never,
                other => Preempt::After(Duration::from_millis(u64::from(other - 191) * 300)),
            },
            settle: Duration::from_millis(u64::from(self.settle / 64) * 700),
            checks: self.checks(),
            hooks: self.hooks(),
            announce: self.announce(),
            checksum: ChecksumForm::PseudoHeader,
            lease: Lease::from_seconds(u32::from(self.settle % 8)),
            ttl: 255,
            authentication: Default::default(),
        }
    }

    /// Those of the pool that nobody has yet, and one that is its own.
    fn addresses(
        &self,
        place: usize,
        family: Family,
        taken: &mut BTreeSet<&'static str>,
    ) -> Vec<AddressSettings> {
        let own = match family {
            Family::Ipv4 => ["203.0.113.1/32", "203.0.113.2/32", "203.0.113.3/32"],
            Family::Ipv6 => ["2001:db8::a/64", "2001:db8::b/64", "2001:db8::c/64"],
        };
        let free: Vec<_> = pooled(self.addresses).filter(|a| taken.insert(a)).collect();
        let address = |(at, network): (usize, &str), advertise| AddressSettings {
            network: network.parse().expect("an address with its length"),
            interface: interface(self.bits & 1 ^ u8::from(at % 5 == 4)),
            label: None,
            advertise,
            required: !self.bit(7) || at % 2 == 0,
            source_address: at % 3 == 2,
        };
        let pooled = free.into_iter().enumerate();
        let hidden = |at: usize| self.hidden >> (at % 8) & 1 == 1;
        let mut all: Vec<_> = pooled
            .map(|(at, a)| address((at, a), !hidden(at)))
            .collect();
        all.push(address((0, own[place % 3]), true));
        all
    }

    fn interval(&self, version: Version) -> AdvertInterval {
        let place = usize::from(self.interval % 8);
        let interval = match version {
            Version::V2 => AdvertInterval::from_seconds(INTERVALS_S[place % 4]),
            Version::V3 => AdvertInterval::from_centiseconds(INTERVALS_CS[place]),
        };
        interval.expect("within range")
    }

    fn checks(&self) -> Vec<CheckUse> {
        let used = CHECKS.iter().enumerate();
        // The third bit is for the weight.
        let bits = self.checks & 3 | self.checks >> 1 & !3;
        let used = used.filter(|(place, _)| bits >> place & 1 == 1);
        let weight = self.checks & 4 != 0;
        let check_use = |name: &str| CheckUse {
            name: CheckName::new(name),
            weight: (weight && name != "file").then_some(if self.bit(6) { -254 } else { -50 }),
        };
        used.map(|(_, name)| check_use(name)).collect()
    }

    fn hooks(&self) -> BTreeMap<HookKind, Duration> {
        let all = HookKind::ALL.into_iter().enumerate();
        let wanted = all.filter(|(place, _)| self.hooks >> place & 1 == 1);
        wanted
            .map(|(_, hook)| (hook, Duration::from_secs(2)))
            .collect()
    }

    fn announce(&self) -> AnnounceSettings {
        AnnounceSettings {
            repeat: 1 + self.announce % 7,
            delay: Duration::from_secs(u64::from(self.announce >> 3 & 3)),
            refresh: Duration::from_secs(u64::from(self.announce >> 5) * 10),
        }
    }
}

impl CheckPlan {
    fn settings(&self) -> Vec<CheckSettings> {
        let initial = match self.initial % 4 {
            0 | 1 => None,
            2 => Some(CheckState::Up),
            _ => Some(CheckState::Down),
        };
        let sources = [
            CheckSource::Elsewhere {
                question: (self.initial >> 7).to_string(),
            },
            CheckSource::Interface(interface(1)),
            CheckSource::File(FILE.into()),
            CheckSource::Combination(Combination {
                needed: 1 + usize::from(self.counts >> 5 & 1),
                members: ["script", "uplink"].map(CheckName::new).into(),
            }),
        ];
        let on_fail = match self.initial >> 4 & 3 {
            3 => OnFail::Handover,
            _ => OnFail::Fault,
        };
        let each = CHECKS
            .iter()
            .zip(sources)
            .map(|(name, source)| CheckSettings {
                name: CheckName::new(name),
                source,
                interval: Duration::from_millis(100 * (1 + u64::from(self.interval % 16))),
                timeout: Duration::from_millis(10 * (1 + u64::from(self.interval))),
                rise: 1 + self.counts % 4,
                fall: 1 + self.counts / 64,
                initial,
                on_fail,
            });
        each.collect()
    }
}
