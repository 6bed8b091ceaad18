//! One instance in the status document, and what it is made of.

use serde::{Deserialize, Serialize};

use super::{Context, Counters, Drain, Route, Rule, Time, WallClock, milliseconds};
use crate::agent::status;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    pub name: String,
    pub interface: String,
    pub vrid: u8,
    pub version: u8,
    /// `ipv4` or `ipv6`.
    pub family: String,
    /// `initialize`, `backup`, `active`, `fault` or `drained`.
    pub state: String,
    pub since: Time,
    /// Why it is in this state; the names of RFC 8347 where one fits.
    pub reason: String,
    pub obstacles: Vec<Obstacle>,
    pub priority: Priority,
    /// Null where the instance speaks by its interface's own, and where an
    /// older agent answers.
    #[serde(default)]
    pub virtual_mac: Option<VirtualMac>,
    pub addresses: Vec<Address>,
    /// Missing where an older agent answers, like the rules.
    #[serde(default)]
    pub routes: Vec<Route>,
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// Null while nobody is known to be Active.
    pub active_router: Option<ActiveRouter>,
    pub advert_interval_ms: u64,
    pub active_down_interval_ms: u64,
    /// An operator took it out; null otherwise. Missing where an older agent
    /// answers, like the next two.
    #[serde(default)]
    pub drained: Option<Drain>,
    /// The node that it was handed over to and does not preempt.
    #[serde(default)]
    pub yielded_to: Option<String>,
    /// No node that is known could be Active.
    #[serde(default)]
    pub stranded: bool,
    pub drift: Vec<Drift>,
    pub conflicts: Vec<Conflict>,
    /// The last run of each hook that ran. Missing where an older agent answers.
    #[serde(default)]
    pub hooks: Vec<Hook>,
    /// `none`, `password`, `receive-only`, `permissive` or `enforce`; empty
    /// where an older agent answers.
    #[serde(default)]
    pub authentication: String,
    /// Whose advertisements were not believed, and why; the last sixteen.
    #[serde(default)]
    pub rejections: Vec<Rejection>,
    pub counters: Counters,
}

/// The virtual router's hardware address, and the interface that has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VirtualMac {
    pub address: String,
    pub interface: String,
    /// `up`, `down`, `absent`, or `unknown` while it is being found out.
    pub state: String,
}

impl VirtualMac {
    fn new(mac: &status::VirtualMacStatus) -> Self {
        Self {
            address: mac.address.to_string(),
            interface: mac.interface.to_string(),
            state: mac.state.to_owned(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Obstacle {
    pub code: String,
    pub source: String,
    pub since: Time,
    pub text: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Priority {
    pub base: u8,
    pub effective: u8,
    /// What failing checks add. Their sum is the difference, unless that
    /// would leave 1 to 254.
    pub terms: Vec<Term>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Term {
    /// `check uplink`.
    pub source: String,
    pub delta: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// `before_active`, `before_release`, `active`, `backup`, `fault` or
    /// `change`.
    pub hook: String,
    pub ended: Time,
    pub duration_ms: u64,
    /// Null when it succeeded.
    pub error: Option<String>,
    /// The first line of its output.
    pub output: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// With its prefix length.
    pub address: String,
    pub interface: String,
    /// The kernel confirmed that it is there.
    pub held: bool,
    /// Without it an Active instance is not whole.
    pub required: bool,
    /// Kernel lifetime in seconds; null when it has none.
    pub lease_s: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActiveRouter {
    pub address: String,
    /// Null while only the address is known.
    pub node: Option<String>,
    pub priority: u8,
    /// Since it was heard, or sent when it is ourselves.
    pub last_advert_age_ms: u64,
    /// `rfc9568`, `pseudo-header` or `pseudo-header-of-group`; null while unknown.
    pub checksum: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drift {
    pub code: String,
    pub ours: String,
    pub theirs: String,
    /// Null while only the source is known.
    pub node: Option<String>,
    /// Address of the host whose advertisement showed it; empty where the
    /// peer link did.
    pub source: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflict {
    pub address: String,
    pub hardware_address: String,
    pub last_seen: Time,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// As the packets said, which anyone may write.
    pub source: String,
    /// `missing`, `wrong-key`, ...
    pub kind: String,
    pub count: u64,
    pub last_seen: Time,
    /// What `kind` means, for people.
    pub text: String,
}

impl Instance {
    pub(super) fn new(instance: &status::InstanceStatus, context: Context<'_>) -> Self {
        let clock = context.clock;
        Self {
            name: instance.name.to_string(),
            interface: instance.interface.to_string(),
            vrid: instance.vrid.get(),
            version: instance.version.number(),
            family: instance.family.name().to_owned(),
            state: instance.state.to_string(),
            since: clock.at(instance.since),
            reason: instance.reason.to_string(),
            obstacles: instance
                .obstacles
                .iter()
                .map(|obstacle| Obstacle::new(obstacle, clock))
                .collect(),
            priority: Priority {
                base: instance.base_priority.get(),
                effective: instance.effective_priority.get(),
                terms: instance.priority_terms.iter().map(Term::new).collect(),
            },
            virtual_mac: instance.virtual_mac.as_ref().map(VirtualMac::new),
            addresses: instance.addresses.iter().map(Address::new).collect(),
            routes: instance.routes.iter().map(Route::new).collect(),
            rules: instance.rules.iter().map(Rule::new).collect(),
            active_router: instance
                .active_router
                .as_ref()
                .map(|router| ActiveRouter::new(router, context)),
            advert_interval_ms: milliseconds(instance.advert_interval),
            active_down_interval_ms: milliseconds(instance.active_down_interval),
            drained: instance.drained.map(Drain::new),
            yielded_to: instance.yielded_to.as_ref().map(ToString::to_string),
            stranded: instance.stranded,
            drift: instance.drift.iter().map(Drift::new).collect(),
            conflicts: instance
                .conflicts
                .iter()
                .map(|conflict| Conflict::new(conflict, clock))
                .collect(),
            hooks: instance
                .hooks
                .iter()
                .map(|hook| Hook::new(hook, clock))
                .collect(),
            authentication: instance.authentication.to_owned(),
            rejections: instance
                .rejections
                .iter()
                .map(|rejected| Rejection::new(rejected, clock))
                .collect(),
            counters: Counters::new(&instance.counters),
        }
    }
}

impl Obstacle {
    fn new(obstacle: &status::Obstacle, clock: WallClock) -> Self {
        Self {
            code: obstacle.code.to_owned(),
            source: obstacle.source.clone(),
            since: clock.at(obstacle.since),
            text: obstacle.text.clone(),
        }
    }
}

impl Address {
    fn new(address: &status::AddressStatus) -> Self {
        Self {
            address: address.network.to_string(),
            interface: address.interface.to_string(),
            held: address.held,
            required: address.required,
            lease_s: address.lease.map(|lease| lease.seconds().into()),
        }
    }
}

impl ActiveRouter {
    fn new(router: &status::ActiveRouter, context: Context<'_>) -> Self {
        Self {
            address: router.address.to_string(),
            node: match router.ourselves {
                true => Some(context.identity.node.clone()),
                false => router.node.as_ref().map(ToString::to_string),
            },
            priority: router.priority,
            last_advert_age_ms: milliseconds(context.now.since(router.last_advert)),
            checksum: router.checksum.map(|form| form.name().to_owned()),
        }
    }
}

impl Drift {
    fn new(drift: &status::Drift) -> Self {
        Self {
            code: drift.code.to_owned(),
            ours: drift.ours.clone(),
            theirs: drift.theirs.clone(),
            node: drift.node.as_ref().map(ToString::to_string),
            source: drift
                .source
                .map(|source| source.to_string())
                .unwrap_or_default(),
        }
    }
}

impl Conflict {
    fn new(conflict: &status::Conflict, clock: WallClock) -> Self {
        Self {
            address: conflict.address.to_string(),
            hardware_address: conflict.hardware_address.to_string(),
            last_seen: clock.at(conflict.last_seen),
        }
    }
}

impl Rejection {
    fn new(rejected: &status::Rejected, clock: WallClock) -> Self {
        Self {
            source: rejected.source.to_string(),
            kind: rejected.kind.name().to_owned(),
            count: rejected.count,
            last_seen: clock.at(rejected.last),
            text: rejected.kind.meaning().to_owned(),
        }
    }
}

impl Term {
    fn new(term: &status::PriorityTerm) -> Self {
        Self {
            source: term.source.clone(),
            delta: i64::from(term.delta),
        }
    }
}

impl Hook {
    pub(in crate::control) fn new(hook: &status::HookStatus, clock: WallClock) -> Self {
        Self {
            hook: hook.hook.name().to_owned(),
            ended: clock.at(hook.ended),
            duration_ms: milliseconds(hook.duration),
            error: hook.error.clone(),
            output: hook.output.clone(),
        }
    }
}
