//! What the operator asked for, validated: the core never meets a setting
//! that it cannot carry out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::jobs::{CheckName, HookKind};
use super::ladder::group;
use super::routing::{RouteSettings, RuleSettings};
use super::status::CheckState;
use super::values::{
    AdvertInterval, ChecksumForm, Family, GroupName, InstanceName, InterfaceName, Lease, NodeName,
    Priority, Version, Vrid,
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// This host's name in `status` and towards other nodes.
    pub node: String,
    /// Sorted by name; names are unique.
    pub instances: Vec<InstanceSettings>,
    /// Those that instances name; names are unique.
    pub checks: Vec<CheckSettings>,
    /// The peer link, where there is one.
    pub cluster: Option<ClusterSettings>,
    /// Sorted by name; names are unique.
    pub groups: Vec<GroupSettings>,
}

/// Which nodes there are, and by which addresses they reach each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterSettings {
    /// [`Settings::node`]; one of `nodes`.
    pub own: NodeName,
    /// At least two, this one included. Each has an address for every path,
    /// and the n-th ones of all nodes are of one family.
    pub nodes: BTreeMap<NodeName, Vec<IpAddr>>,
    /// Where to listen: this address, or each of our own where it is
    /// unspecified. Its port is the port of all nodes.
    pub listen: SocketAddr,
}

/// What an Active does about a foreign host that claims its address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnConflict {
    /// Says so, and defends the address.
    #[default]
    Report,
    /// Gives the address up, and tries again later.
    Yield,
}

/// What an Active does when its checks fail and no node is better off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnAllFail {
    #[default]
    Release,
    /// Stays, while every node is known to be in fault by checks only.
    Keep,
}

impl OnConflict {
    pub fn name(self) -> &'static str {
        match self {
            OnConflict::Report => "report",
            OnConflict::Yield => "yield",
        }
    }
}

impl OnAllFail {
    pub fn name(self) -> &'static str {
        match self {
            OnAllFail::Release => "release",
            OnAllFail::Keep => "keep",
        }
    }
}

/// Instances that move together. Their priorities, intervals and `preempt`
/// are equal, and none of them is in another group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSettings {
    pub name: GroupName,
    /// Never empty; their order means nothing.
    pub members: Vec<InstanceName>,
    /// The hooks that there are, with their time-outs; none that is awaited.
    pub hooks: BTreeMap<HookKind, Duration>,
}

/// A health check, as far as the core is concerned with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckSettings {
    pub name: CheckName,
    pub source: CheckSource,
    /// From start to start.
    pub interval: Duration,
    pub timeout: Duration,
    /// Results in a row that bring it up, or down; at least 1. The first
    /// result of all decides at once.
    pub rise: u8,
    pub fall: u8,
    /// What holds until the first result; the instance waits when absent.
    pub initial: Option<CheckState>,
    pub on_fail: OnFail,
}

/// What a failing check without a weight means for an instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFail {
    #[default]
    Fault,
    /// The host still works: the instance moves by the planned way while some
    /// other node is able, and stays where it is otherwise.
    Handover,
}

impl OnFail {
    pub fn name(self) -> &'static str {
        match self {
            OnFail::Fault => "fault",
            OnFail::Handover => "handover",
        }
    }
}

/// Where a check's verdict comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckSource {
    /// The state of an interface, which the core knows itself.
    Interface(InterfaceName),
    /// A script or probe. `question` says what is asked, in any form that is
    /// equal when the question is.
    Elsewhere { question: String },
    /// The number in this file, which is added to the priority as it is. It
    /// neither passes nor fails, so no combination has it as a member.
    File(PathBuf),
    /// What other checks amount to; never itself, not by way of others either.
    Combination(Combination),
}

/// Up while `needed` members are up. `any` needs one of them, `all` each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Combination {
    /// From 1 to the number of members.
    pub needed: usize,
    /// Never empty; each is a check of the same settings.
    pub members: Vec<CheckName>,
}

/// A check that an instance listens to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckUse {
    pub name: CheckName,
    /// Added to the priority while the check fails, -254..=-1. Without it a
    /// failing check puts the instance in fault.
    pub weight: Option<i16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceSettings {
    pub name: InstanceName,
    pub interface: InterfaceName,
    pub vrid: Vrid,
    pub priority: Priority,
    pub version: Version,
    pub family: Family,
    /// In configuration order; never empty, and at least one is advertised.
    pub addresses: Vec<AddressSettings>,
    /// Come and go with the addresses; in configuration order.
    pub routes: Vec<RouteSettings>,
    pub rules: Vec<RuleSettings>,
    pub advert_interval: AdvertInterval,
    /// Intervals of silence after which the Active is taken for lost; at least 1.
    pub down_after: u8,
    /// All of `family`; empty means multicast.
    pub unicast_peers: Vec<IpAddr>,
    /// Of `family`; the interface's primary address when absent.
    pub source: Option<IpAddr>,
    pub preempt: Preempt,
    pub settle: Duration,
    pub checks: Vec<CheckUse>,
    pub on_all_fail: OnAllFail,
    pub on_conflict: OnConflict,
    /// Addresses whose answer shows that the segment works; empty: the
    /// interface's gateways.
    pub witnesses: Vec<IpAddr>,
    /// Speak and answer by the virtual router's hardware address, on an
    /// interface of our own. Never with priority 255.
    pub virtual_mac: bool,
    /// The hooks that there are, with their time-outs.
    pub hooks: BTreeMap<HookKind, Duration>,
    pub announce: AnnounceSettings,
    /// How long the kernel keeps the addresses of a dead agent; `None`: for ever.
    pub lease: Option<Lease>,
    /// What we send; `PseudoHeaderOfGroup` never occurs here.
    pub checksum: ChecksumForm,
    /// Lowest TTL or hop limit accepted; 255 unless unicast.
    pub ttl: u8,
    pub authentication: Authentication,
}

/// How an instance's advertisements show who sent them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Authentication {
    #[default]
    None,
    /// Version 2's simple password, which anyone on the segment can read.
    Password(Password),
    /// The trailer of draft-cassen-vrrp-auth-hmac. The keys are elsewhere.
    Hmac(HmacSettings),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HmacSettings {
    /// What is accepted. Never empty, and `active_key` is among them.
    pub keys: BTreeSet<u8>,
    /// What we sign with.
    pub active_key: u8,
    /// Of the keys that were read, to compare them without telling them.
    pub fingerprints: BTreeMap<u8, u64>,
    pub mode: Mode,
    pub anti_replay: AntiReplay,
    /// How far a sender's clock may be from ours, where that counts.
    pub window: Duration,
}

impl HmacSettings {
    /// Our own advertisements carry a trailer.
    pub fn signs(&self) -> bool {
        self.mode != Mode::ReceiveOnly
    }
}

/// The steps of a roll-out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A trailer is verified where there is one; we send none.
    ReceiveOnly,
    /// We sign, and accept what is not signed.
    Permissive,
    Enforce,
}

impl Mode {
    pub fn name(self) -> &'static str {
        match self {
            Mode::ReceiveOnly => "receive-only",
            Mode::Permissive => "permissive",
            Mode::Enforce => "enforce",
        }
    }
}

/// What makes an advertisement fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AntiReplay {
    /// It is newer than the last of its sender. Clocks may be wrong.
    Monotonic,
    /// And its clock's time is near ours.
    Time,
}

impl AntiReplay {
    pub fn name(self) -> &'static str {
        match self {
            AntiReplay::Monotonic => "monotonic",
            AntiReplay::Time => "time",
        }
    }
}

/// Eight bytes, shorter ones filled up with zeros.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Password(pub [u8; 8]);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

impl InstanceSettings {
    /// Where our advertisements go: to the group, or to every unicast peer.
    pub fn destinations(&self) -> Vec<IpAddr> {
        if self.unicast_peers.is_empty() {
            vec![group(self.family)]
        } else {
            self.unicast_peers.clone()
        }
    }

    /// The addresses that our advertisements list: those of the instance's
    /// family that are not marked `advertise: false`.
    pub fn advertised(&self) -> impl Iterator<Item = IpAddr> {
        self.addresses
            .iter()
            .filter(|address| address.advertise)
            .map(|address| address.network.addr())
            .filter(|address| Family::of(*address) == self.family)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressSettings {
    /// The address with its prefix length as written, host bits kept.
    pub network: IpNet,
    /// Where it is held; the instance's interface unless told otherwise.
    pub interface: InterfaceName,
    /// IPv4 only: at most 15 bytes, beginning with the interface's name.
    pub label: Option<String>,
    /// Listed in the advertisement. One of the other family rides along and
    /// is never listed, whatever this says.
    pub advertise: bool,
    /// When false, an address that cannot be added is reported and does not
    /// put the instance in fault.
    pub required: bool,
    /// IPv6: let the host's own connections start from this address.
    pub source_address: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preempt {
    Never,
    Immediately,
    After(Duration),
}

impl AddressSettings {
    /// The kernel is told the same about both.
    pub fn is_held_like(&self, other: &AddressSettings) -> bool {
        (self.network, self.interface) == (other.network, other.interface)
            && self.label == other.label
            && self.source_address == other.source_address
    }
}

impl CheckSettings {
    /// The same is asked; only its times may differ.
    pub fn same_question(&self, other: &CheckSettings) -> bool {
        self.source == other.source
    }
}

/// Gratuitous ARP and unsolicited NA after a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnnounceSettings {
    /// Announcements in each of the two bursts; at least 1.
    pub repeat: u8,
    /// From the first burst to the second; zero: no second burst.
    pub delay: Duration,
    /// Between single announcements afterwards; zero: none.
    pub refresh: Duration,
}

impl Default for AnnounceSettings {
    fn default() -> Self {
        Self {
            repeat: 5,
            delay: Duration::from_secs(5),
            refresh: Duration::from_secs(60),
        }
    }
}
