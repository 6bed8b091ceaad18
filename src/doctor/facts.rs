//! What was found out about the host, the agent and the segment, as values.
//! What could not be found out says why.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use jiff::Timestamp;

use super::rules::Ruleset;
use crate::agent::event::InterfaceState;
use crate::agent::settings::{AntiReplay, Authentication, ClusterSettings, InstanceSettings};
use crate::agent::values::{Family, InterfaceName};
use crate::control::document::{Document, Instance};

#[derive(Clone, Debug)]
pub struct Facts {
    /// When it was examined.
    pub now: Timestamp,
    /// This host's name among the nodes.
    pub node: String,
    pub configuration: Configuration,
    pub agent: Agent,
    pub subjects: Vec<Subject>,
    pub link: Option<ClusterSettings>,
    pub rights: Rights,
    pub interfaces: BTreeMap<InterfaceName, Result<Option<Interface>, String>>,
    /// By which interface packets to a peer leave; nothing where there is no
    /// way, or it could not be found out.
    pub ways: BTreeMap<IpAddr, InterfaceName>,
    /// By which interface a neighbour in such a network is answered; nothing
    /// where that could not be found out.
    pub ways_back: BTreeMap<IpNet, InterfaceName>,
    /// Other interfaces of this host on the subnet of a virtual address.
    pub beside: Vec<Beside>,
    pub kernel: Kernel,
    pub firewall: Firewall,
    pub hearing: Result<Hearing, String>,
    pub echoes: BTreeMap<IpAddr, Echo>,
    pub clock: Clock,
    pub managers: BTreeMap<InterfaceName, Manager>,
}

#[derive(Clone, Debug, Default)]
pub struct Configuration {
    pub path: PathBuf,
    /// As `validate` shows them.
    pub faults: Option<String>,
    /// Nothing where it could not be read as a whole.
    pub digest: Option<String>,
}

#[derive(Clone, Debug)]
pub enum Agent {
    Answers(Box<Answers>),
    /// A sentence that says why there is no answer.
    Absent(String),
    /// There is one, and it does not tell us.
    Mute(String),
    /// There is one, and we may not ask it.
    Forbidden(String),
}

#[derive(Clone, Debug)]
pub struct Answers {
    /// Before and after the listening.
    pub before: Document,
    pub after: Document,
    /// Nothing where it could not be looked at.
    pub process: Option<Process>,
}

/// The agent as the kernel sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    pub real_time: bool,
    pub locked_kib: u64,
}

impl Facts {
    pub fn answers(&self) -> Option<&Answers> {
        match &self.agent {
            Agent::Answers(answers) => Some(answers),
            Agent::Absent(_) | Agent::Mute(_) | Agent::Forbidden(_) => None,
        }
    }

    /// What the agent says of an instance, after the listening.
    pub fn told(&self, subject: &Subject) -> Option<&Instance> {
        self.answers()?.after.instance(&subject.name)
    }

    pub fn interface(&self, name: InterfaceName) -> Option<&Interface> {
        self.interfaces.get(&name)?.as_ref().ok()?.as_ref()
    }

    /// Those who were heard where the instance listens, in its family.
    pub fn speakers<'a>(&'a self, subject: &'a Subject) -> impl Iterator<Item = &'a Speaker> {
        let all = self.hearing.iter().flat_map(|hearing| &hearing.speakers);
        all.filter(|speaker| {
            speaker.interface == subject.interface
                && Family::of(speaker.source) == subject.family
                && speaker.vrid == subject.vrid
        })
    }

    /// An address of this host, on whatever interface was looked at.
    pub fn is_own(&self, address: IpAddr) -> bool {
        let all = self.interfaces.values();
        let all = all.filter_map(|found| found.as_ref().ok()?.as_ref());
        let mut addresses = all.flat_map(|interface| &interface.state.addresses);
        addresses.any(|own| own.network.addr() == address)
    }
}

/// An instance, of the configuration or, where that has faults, as the agent
/// describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    pub name: String,
    pub interface: InterfaceName,
    pub vrid: u8,
    pub version: u8,
    pub family: Family,
    pub interval: Duration,
    pub addresses: Vec<(IpNet, InterfaceName)>,
    /// Those that advertisements list; empty where that is not known.
    pub advertised: Vec<IpAddr>,
    /// Empty: multicast, or not known.
    pub peers: Vec<IpAddr>,
    pub source: Option<IpAddr>,
    pub ttl: u8,
    pub signed: bool,
    /// It refuses advertisements without a trailer.
    pub enforces: bool,
    /// How far a peer's clock may be off, where that counts.
    pub clock_window: Option<Duration>,
    pub routes: bool,
    pub rules: bool,
}

impl Subject {
    pub fn configured(settings: &InstanceSettings) -> Self {
        let hmac = match &settings.authentication {
            Authentication::Hmac(hmac) => Some(hmac),
            Authentication::None | Authentication::Password(_) => None,
        };
        let timed = hmac.filter(|hmac| hmac.anti_replay == AntiReplay::Time);
        Self {
            name: settings.name.to_string(),
            interface: settings.interface,
            vrid: settings.vrid.get(),
            version: settings.version.number(),
            family: settings.family,
            interval: settings.advert_interval.as_duration(),
            addresses: settings
                .addresses
                .iter()
                .map(|address| (address.network, address.interface))
                .collect(),
            advertised: settings.advertised().collect(),
            peers: settings.unicast_peers.clone(),
            source: settings.source,
            ttl: settings.ttl,
            signed: hmac.is_some(),
            enforces: hmac.is_some_and(|hmac| hmac.mode == crate::agent::settings::Mode::Enforce),
            clock_window: timed.map(|hmac| hmac.window),
            routes: !settings.routes.is_empty(),
            rules: !settings.rules.is_empty(),
        }
    }

    /// `None` where the agent says something that is no interface.
    pub fn told(instance: &Instance) -> Option<Self> {
        let addresses = instance.addresses.iter();
        let addresses = addresses.filter_map(|address| {
            let network = address.address.parse().ok()?;
            Some((network, address.interface.parse().ok()?))
        });
        let family = match instance.family.as_str() {
            "ipv6" => Family::Ipv6,
            _ => Family::Ipv4,
        };
        Some(Self {
            name: instance.name.clone(),
            interface: instance.interface.parse().ok()?,
            vrid: instance.vrid,
            version: instance.version,
            family,
            interval: Duration::from_millis(instance.advert_interval_ms),
            addresses: addresses.collect(),
            advertised: Vec::new(),
            peers: Vec::new(),
            source: None,
            ttl: 0,
            signed: matches!(
                instance.authentication.as_str(),
                "receive-only" | "permissive" | "enforce"
            ),
            enforces: instance.authentication == "enforce",
            clock_window: None,
            routes: !instance.routes.is_empty(),
            rules: !instance.rules.is_empty(),
        })
    }

    /// Of the file: peers and TTL are known.
    pub fn is_configured(&self) -> bool {
        self.ttl > 0
    }

    /// Of the interfaces that it needs.
    pub fn interfaces(&self) -> impl Iterator<Item = InterfaceName> {
        let held = self.addresses.iter().map(|(_, interface)| *interface);
        std::iter::once(self.interface).chain(held)
    }

    /// One of the virtual addresses.
    pub fn is_virtual(&self, address: IpAddr) -> bool {
        self.addresses
            .iter()
            .any(|(network, _)| network.addr() == address)
    }
}

/// What this command itself may do; where no agent runs, what one started
/// like it might.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rights {
    pub missing: Vec<&'static str>,
    /// Why it is refused.
    pub real_time: Result<(), String>,
    pub locked_memory: Result<(), String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    pub state: InterfaceState,
    pub enabled: bool,
    pub carrier: bool,
    pub multicast: bool,
    /// The families in which the host is a member of VRRP's group here;
    /// nothing where that could not be read. As it was before this command
    /// listened.
    pub groups: Option<BTreeSet<Family>>,
    pub settings: InterfaceSettings,
}

/// Of /proc/sys/net, as they act: the interface's own and those of `all`.
/// Zero where they could not be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InterfaceSettings {
    /// 1 is strict.
    pub rp_filter: u8,
    pub arp_ignore: u8,
    pub arp_filter: bool,
    pub arp_announce: u8,
    pub drop_gratuitous_arp: bool,
    pub promote_secondaries: bool,
    pub disable_ipv6: bool,
}

/// An interface on the subnet of a virtual address that another one carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beside {
    pub name: InterfaceName,
    pub settings: InterfaceSettings,
    /// The virtual address, and where it belongs.
    pub address: IpAddr,
    pub carried_by: InterfaceName,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kernel {
    pub nonlocal_bind_ipv4: Option<bool>,
    pub nonlocal_bind_ipv6: Option<bool>,
}

#[derive(Clone, Debug, Default)]
pub struct Firewall {
    pub rulesets: Vec<Ruleset>,
    /// Why rules could not be read.
    pub unread: Vec<String>,
}

/// What a few seconds of listening brought.
#[derive(Clone, Debug, Default)]
pub struct Hearing {
    pub span: Duration,
    pub speakers: Vec<Speaker>,
    /// Where nobody listened, and why.
    pub deaf: BTreeMap<InterfaceName, String>,
    /// What was asked by protocol 112.
    pub tests: Vec<PathTest>,
    /// Answers, and what other hosts asked.
    pub passed: Vec<Passed>,
}

/// One question by protocol 112, to one destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathTest {
    pub interface: InterfaceName,
    pub source: IpAddr,
    pub destination: IpAddr,
    /// So often the kernel took it.
    pub sent: u32,
    /// So often it was seen on the wire.
    pub left: u32,
    /// Why it was refused, the last time.
    pub error: Option<String>,
}

/// Packets of such tests from another host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passed {
    pub interface: InterfaceName,
    pub source: IpAddr,
    pub destination: IpAddr,
    pub on_wire: u32,
    /// To a program of this host.
    pub delivered: u32,
    /// The virtual routers of that host among those that we asked for; none
    /// where it only asked itself.
    pub answers_for: BTreeSet<u8>,
}

/// Advertisements of one virtual router from one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Speaker {
    pub interface: InterfaceName,
    pub source: IpAddr,
    pub destination: IpAddr,
    /// They left this host.
    pub outgoing: bool,
    pub vrid: u8,
    pub version: u8,
    /// The last one's, as are the next.
    pub priority: u8,
    pub interval: Option<Duration>,
    pub addresses: Vec<IpAddr>,
    pub hop_limit: u8,
    pub checksum_sound: bool,
    pub sealed: bool,
    /// How far the sender's clock is ahead of ours, by what it signed.
    pub clock_ahead_ms: Option<i64>,
    /// When the last one came, since the listening began.
    pub last_at: Duration,
    /// So many crossed the wire.
    pub on_wire: u32,
    /// So many reached a program of this host.
    pub delivered: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Echo {
    Answered,
    Silent,
    /// It could not be asked.
    Failed(String),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    /// Nothing where the kernel would not tell.
    pub synchronised: Option<bool>,
}

/// The program that configures an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manager {
    pub kind: ManagerKind,
    /// Where netplan's files are, when it writes for the manager.
    pub netplan: Vec<PathBuf>,
    /// A file that cloud-init writes anew, unless it was told not to.
    pub cloud_init: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManagerKind {
    Networkd {
        /// The file that it follows.
        file: Option<PathBuf>,
        keep: Keep,
        manages_routes: bool,
        manages_rules: bool,
    },
    NetworkManager {
        /// A file that takes the interface out, not yet in force.
        written: Option<PathBuf>,
    },
    Ifupdown {
        file: Option<PathBuf>,
        dhcp: bool,
    },
    Dhcpcd,
    /// Running for this interface.
    Dhclient,
}

/// `KeepConfiguration=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    Nothing,
    /// What has no end of its lifetime.
    Static,
    Everything,
}
