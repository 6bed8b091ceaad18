//! Who takes part: hosts, instances, priorities, intervals, all from the seed.

use std::net::IpAddr;
use std::time::Duration;

use vipward::agent::jobs::HookKind;
use vipward::agent::settings::{
    AddressSettings, CheckSettings, CheckUse, InstanceSettings, Preempt, Settings,
};
use vipward::agent::values::{Family, InstanceName, Lease, Version, Vrid};

use crate::auth::{Auth, with_authentication};
use crate::checks;
use crate::cluster::Cluster;
use crate::dice::Dice;
use crate::fault::{Fault, Faults};
use crate::kit::{Way, centiseconds, interface, own_ipv4, own_ipv6, own_link_local, web_by};
use crate::together::Together;
use crate::virtual_mac::with_virtual_macs;

/// Intervals in centiseconds: from 20 ms to 3 s, most of them a second.
const UNITS: [u16; 12] = [2, 5, 10, 10, 20, 50, 100, 100, 100, 100, 200, 300];

#[derive(Clone, Debug)]
pub struct Cast {
    /// The longest advertisement interval; spans of the plan count in it.
    pub unit: Duration,
    pub groups: Vec<Group>,
    /// Of each host, as it starts.
    pub settings: Vec<Settings>,
    /// How much too fast each clock is, in parts per million.
    pub ppm: Vec<i32>,
    /// How late each wakes up.
    pub late_max: Duration,
    /// The host that runs keepalived's rules.
    pub keepalived: Option<usize>,
    pub cluster: Option<Cluster>,
    pub together: Option<Together>,
    /// One-way, undisturbed.
    pub delay: Duration,
    /// What can go wrong, for the bounds.
    pub faults: Faults,
}

/// The same instance on several hosts.
#[derive(Clone, Debug)]
pub struct Group {
    pub vrid: Vrid,
    pub interface: &'static str,
    way: Way,
    centiseconds: u16,
    down_after: u8,
    pub lease: Option<Lease>,
    pub auth: Option<Auth>,
    pub addresses: Vec<AddressSettings>,
    settle: Duration,
    pub checks: Vec<CheckUse>,
    pub virtual_mac: bool,
    hooked: bool,
    /// For each host.
    priorities: Vec<u8>,
    preempt: Vec<Preempt>,
}

impl Cast {
    pub fn new(seed: u64, faults: &Faults) -> Self {
        let mut dice = Dice::new(seed, "cast");
        let hosts = dice.pick(&[2, 2, 3, 3, 4, 5]);
        let unit_cs = dice.pick(&UNITS);
        let unit = Duration::from_millis(10) * u32::from(unit_cs);
        let count = dice.pick(&[1, 1, 2, 3]);
        // keepalived's rules know nothing of it.
        let wanted = Together::is_wanted(seed, faults) && !faults.has(Fault::Keepalived);
        let count = if wanted { count.max(2) } else { count };
        let mut groups: Vec<Group> = (0..count)
            .map(|n| Group::new(&mut dice, n, hosts, unit_cs))
            .collect();
        let together = wanted.then(|| Together::new(seed, &mut groups, unit));
        let groups = with_virtual_macs(seed, faults, groups);
        let groups = checks::with_checks(seed, faults, groups);
        let groups = with_leases(seed, groups);
        let groups = with_authentication(seed, faults, hosts, groups);
        let checks = checks::settings(seed, faults, unit);
        let settings = (0..hosts).map(|host| settings(&groups, host, hosts, &checks));
        let mut settings: Vec<Settings> = settings.collect();
        let delay = dice.span(
            Duration::from_micros(50),
            (unit / 20).min(Duration::from_millis(2)),
        );
        let mut skew = Dice::new(seed, "skew");
        let ppm = (0..hosts).map(|_| {
            let value = i32::try_from(skew.below(20_001)).expect("small") - 10_000;
            if faults.has(Fault::Skew) { value } else { 0 }
        });
        let foreign = Dice::new(seed, "keepalived").index(hosts);
        let keepalived = faults.has(Fault::Keepalived).then_some(foreign);
        let cluster = Cluster::new(seed, faults, hosts, keepalived);
        if let Some(cluster) = &cluster {
            cluster.configure(&mut settings);
        }
        if let Some(together) = &together {
            together.configure(&mut settings);
        }
        let late = faults.has(Fault::Late);
        Self {
            unit,
            ppm: ppm.collect(),
            late_max: if late { unit / 20 } else { Duration::ZERO },
            keepalived,
            cluster,
            together,
            delay,
            faults: faults.clone(),
            groups,
            settings,
        }
    }

    /// For the head of a trace.
    pub fn describe(&self) -> String {
        let mut text = String::new();
        if let Some(cluster) = &self.cluster {
            text.push_str(&cluster.describe());
        }
        if let Some(together) = &self.together {
            text.push_str(&together.describe());
        }
        for group in &self.groups {
            if let Some(auth) = &group.auth {
                text.push_str(&format!("vrid {}: {}\n", group.vrid, auth.describe()));
            }
        }
        for (host, settings) in self.settings.iter().enumerate() {
            let name = &settings.node;
            let ppm = self.ppm.get(host).copied().unwrap_or_default();
            let program = if self.keepalived == Some(host) {
                "keepalived"
            } else {
                "vipward"
            };
            text.push_str(&format!("{name}: {program}, clock {ppm:+} ppm\n"));
            for instance in &settings.instances {
                let addresses: Vec<String> = instance
                    .addresses
                    .iter()
                    .map(|address| format!("{}@{}", address.network, address.interface))
                    .collect();
                text.push_str(&format!(
                    "  {} vrid {} {:?} {:?} on {}{}: priority {}, every {:?} x{}, preempt {:?}, settle {:?}, {} peers, {} checks: {}\n",
                    instance.name,
                    instance.vrid,
                    instance.version,
                    instance.family,
                    instance.interface,
                    if instance.virtual_mac { " by virtual MAC" } else { "" },
                    instance.priority,
                    instance.advert_interval.as_duration(),
                    instance.down_after,
                    instance.preempt,
                    instance.settle,
                    instance.unicast_peers.len(),
                    instance.checks.len(),
                    addresses.join(" "),
                ));
            }
        }
        text
    }
}

impl Group {
    fn new(dice: &mut Dice, n: u8, hosts: usize, unit_cs: u16) -> Self {
        let half = unit_cs / 2;
        let mut centiseconds = if dice.chance(30) {
            half.max(1)
        } else {
            unit_cs
        };
        let mut way = dice.pick(&[
            Way::V3,
            Way::V3,
            Way::V3,
            Way::V3Unicast,
            Way::V3Unicast,
            Way::V2,
            Way::V2,
            Way::V6,
            Way::V6Unicast,
        ]);
        if way == Way::V2 {
            if unit_cs < 100 {
                way = Way::V3;
            } else {
                centiseconds = unit_cs;
            }
        }
        let unit = Duration::from_millis(10) * u32::from(unit_cs);
        let interface = dice.pick(&["eth0", "eth0", "eth1"]);
        let settle = unit * u32::from(dice.byte(1, 3));
        Self {
            vrid: Vrid::new(51 + n).expect("a VRID"),
            interface,
            way,
            centiseconds,
            down_after: dice.pick(&[3, 3, 3, 2, 4]),
            lease: None,
            auth: None,
            addresses: addresses(dice, n, interface, way),
            settle: if dice.chance(70) {
                Duration::ZERO
            } else {
                settle
            },
            checks: checks::at_first(dice),
            virtual_mac: false,
            hooked: dice.chance(20),
            priorities: priorities(dice, hosts),
            preempt: preempts(dice, hosts, unit),
        }
    }

    /// What `validate` demands of those that move together.
    pub fn align(groups: &mut [Group], members: &[usize]) {
        let Some(first) = members
            .first()
            .and_then(|place| groups.get(*place))
            .cloned()
        else {
            return;
        };
        let all = || members.iter().filter_map(|place| groups.get(*place));
        let second = all().find(|group| group.way == Way::V2);
        let centiseconds = second.map_or(first.centiseconds, |group| group.centiseconds);
        for place in members {
            let group = groups.get_mut(*place).expect("a member");
            group.centiseconds = centiseconds;
            group.priorities.clone_from(&first.priorities);
            group.preempt.clone_from(&first.preempt);
        }
    }

    /// Nobody's own address is the virtual one.
    pub fn own_nothing(&mut self) {
        let owners = self.priorities.iter_mut().filter(|value| **value == 255);
        owners.for_each(|value| *value = 254);
    }

    /// The instance of one host.
    pub fn instance(&self, host: usize, hosts: usize) -> InstanceSettings {
        let number = number(host);
        let value = self.priorities.get(host).copied().expect("for each host");
        let mut instance = web_by(self.way, value);
        instance.name = InstanceName::new(&format!("web{}", self.vrid.get() - 50));
        instance.interface = interface(self.interface);
        instance.vrid = self.vrid;
        instance.addresses.clone_from(&self.addresses);
        instance.advert_interval = centiseconds(self.centiseconds);
        instance.down_after = self.down_after;
        instance.lease = self.lease;
        if let Some(auth) = &self.auth {
            let interval = instance.advert_interval.as_duration();
            instance.authentication = auth.settings(host, interval);
        }
        instance.settle = self.settle;
        instance.virtual_mac = self.virtual_mac;
        instance.preempt = *self.preempt.get(host).expect("for each host");
        instance.checks.clone_from(&self.checks);
        if !instance.unicast_peers.is_empty() {
            let others = (0..hosts).filter(|other| *other != host);
            let own = |other| source(&instance, self::number(other));
            instance.unicast_peers = others.map(own).collect();
        }
        if self.hooked && number.is_multiple_of(2) {
            instance
                .hooks
                .insert(HookKind::Change, Duration::from_secs(1));
            instance
                .hooks
                .insert(HookKind::Active, Duration::from_secs(1));
        }
        instance
    }
}

/// As short as may be, or a second longer; or none.
fn with_leases(seed: u64, mut groups: Vec<Group>) -> Vec<Group> {
    let mut dice = Dice::new(seed, "leases");
    for group in &mut groups {
        let shortest = u32::from(group.centiseconds.div_ceil(100) + 1);
        let seconds = shortest + u32::from(dice.chance(30));
        group.lease = Lease::from_seconds(seconds).filter(|_| dice.chance(80));
    }
    groups
}

fn number(host: usize) -> u8 {
    u8::try_from(host + 1).expect("few hosts")
}

/// Where a host of this number advertises an instance from.
pub fn source(settings: &InstanceSettings, number: u8) -> IpAddr {
    let name = settings.interface.as_str();
    match (settings.family, settings.unicast_peers.is_empty()) {
        (Family::Ipv4, _) => own_ipv4(name, number),
        (Family::Ipv6, true) => own_link_local(number),
        (Family::Ipv6, false) => own_ipv6(name, number),
    }
}

/// The `k`th address of instance `n` on an interface.
pub fn virtual_address(n: u8, k: u8, name: &str, family: Family) -> AddressSettings {
    let last = 100 + 10 * n + k;
    let text = match (family, name) {
        (Family::Ipv4, "eth0") => format!("192.0.2.{last}/24"),
        (Family::Ipv4, _) => format!("198.51.100.{last}/24"),
        (Family::Ipv6, "eth0") => format!("2001:db8::1:{last}/64"),
        (Family::Ipv6, _) => format!("2001:db8:0:1::1:{last}/64"),
    };
    let mut address = crate::kit::address(&text);
    address.interface = interface(name);
    address
}

fn addresses(dice: &mut Dice, n: u8, name: &str, way: Way) -> Vec<AddressSettings> {
    let own = match way {
        Way::V2 | Way::V3 | Way::V3Unicast => Family::Ipv4,
        Way::V6 | Way::V6Unicast => Family::Ipv6,
    };
    let mut all = vec![virtual_address(n, 0, name, own)];
    if dice.chance(40) {
        let mut second = virtual_address(n, 1, name, own);
        second.advertise = dice.chance(70);
        all.push(second);
    }
    if dice.chance(20) && own == Family::Ipv4 {
        all.push(virtual_address(n, 2, name, Family::Ipv6));
    }
    if dice.chance(20) {
        let other = if name == "eth0" { "eth1" } else { "eth0" };
        let mut elsewhere = virtual_address(n, 3, other, own);
        elsewhere.required = dice.chance(50);
        elsewhere.advertise = false;
        all.push(elsewhere);
    }
    if dice.chance(20) && own == Family::Ipv4 {
        let text = format!("203.0.113.{}/24", 10 * (n + 1));
        let mut first = crate::kit::address(&text);
        first.interface = interface(name);
        all.push(first);
    }
    all
}

/// Mostly different ones; sometimes neighbours, sometimes equal, sometimes
/// an owner's.
fn priorities(dice: &mut Dice, hosts: usize) -> Vec<u8> {
    let mut all: Vec<u8> = Vec::new();
    for _ in 0..hosts {
        let last = all.last().copied().unwrap_or(100);
        let value = match dice.below(20) {
            0..=2 => last,
            3..=5 => last.saturating_sub(1).max(1),
            6 => 255,
            7 => 1,
            8 => 254,
            _ => dice.byte(1, 254),
        };
        // Two owners of one address are a mistake in the configuration.
        let twice = value == 255 && all.contains(&255);
        all.push(if twice { 254 } else { value });
    }
    all
}

fn preempts(dice: &mut Dice, hosts: usize, unit: Duration) -> Vec<Preempt> {
    let mode = dice.below(20);
    let each = |_| match mode {
        0..=12 => Preempt::Immediately,
        13..=15 => Preempt::Never,
        _ => match dice.below(3) {
            0 => Preempt::Immediately,
            1 => Preempt::Never,
            _ => Preempt::After(unit * u32::from(dice.byte(0, 5))),
        },
    };
    (0..hosts).map(each).collect()
}

fn settings(groups: &[Group], host: usize, hosts: usize, checks: &[CheckSettings]) -> Settings {
    let node = ["A", "B", "C", "D", "E"].get(host).expect("few hosts");
    Settings {
        cluster: None,
        node: (*node).to_owned(),
        instances: groups
            .iter()
            .map(|group| group.instance(host, hosts))
            .collect(),
        checks: checks.to_vec(),
        groups: Vec::new(),
    }
}

/// Whether one hears the other at all: version 2 drops what has another
/// interval (RFC 3768 section 7.1).
pub fn speak_alike(one: &InstanceSettings, other: &InstanceSettings) -> bool {
    one.version == other.version
        && (one.version == Version::V3 || one.advert_interval == other.advert_interval)
}
