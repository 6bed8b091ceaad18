//! The effective configuration as YAML: every default filled in. What is
//! printed reads back as the same settings.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Serialize;

use crate::agent::digest::fnv1a;
use crate::agent::jobs::{HookKind, HookOwner};
use crate::agent::settings::{
    AddressSettings, Authentication, CheckSettings, CheckUse, ClusterSettings, GroupSettings,
    InstanceSettings, Preempt, Settings,
};
use crate::agent::values::{ChecksumForm, Family, NodeName, Version};

use super::auth::KeyPaths;
use super::check::print::EffectiveCheck;
use super::duration;
use super::emit;
use super::host::HostSettings;
use super::lease;
use super::routing::print::{EffectiveRoute, EffectiveRule};
use super::work::Work;

/// Keys in the order in which people read them.
#[derive(Serialize)]
#[cfg_attr(test, derive(serde::Deserialize, PartialEq, Debug))]
pub(super) struct Effective {
    node: String,
    instances: BTreeMap<String, EffectiveInstance>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    groups: BTreeMap<String, EffectiveGroup>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    checks: BTreeMap<String, EffectiveCheck>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cluster: Option<EffectiveCluster>,
    control: EffectiveControl,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    metrics: Option<EffectiveMetrics>,
    log: EffectiveLog,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(serde::Deserialize, PartialEq, Debug))]
struct EffectiveInstance {
    interface: String,
    vrid: u8,
    priority: u8,
    version: u8,
    family: String,
    addresses: Vec<EffectiveAddress>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    routes: Vec<EffectiveRoute>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    rules: Vec<EffectiveRule>,
    advert_interval: String,
    down_after: u8,
    unicast_peers: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    preempt: EffectivePreempt,
    settle: String,
    checks: Vec<EffectiveUse>,
    on_all_fail: String,
    on_conflict: String,
    virtual_mac: bool,
    witnesses: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    hooks: BTreeMap<String, EffectiveHook>,
    announce: EffectiveAnnounce,
    address_lease: String,
    checksum: String,
    ttl: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    auth: Option<EffectiveAuth>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(serde::Deserialize, PartialEq, Debug))]
struct EffectiveGroup {
    members: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    hooks: BTreeMap<String, EffectiveHook>,
}

/// A password, or keys with all that belongs to them.
#[derive(Serialize, Default)]
#[cfg_attr(test, derive(serde::Deserialize, PartialEq, Debug))]
struct EffectiveAuth {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    password: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    keys: BTreeMap<u8, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    active_key: Option<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mode: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    anti_replay: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    window: Option<String>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(serde::Deserialize, PartialEq, Debug))]
struct EffectiveAddress {
    address: String,
    interface: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    /// Left out where it cannot be chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    advertise: Option<bool>,
    required: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_address: Option<bool>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(serde::Deserialize, PartialEq, Debug))]
#[serde(untagged)]
enum EffectivePreempt {
    Choice(bool),
    Delay(String),
}

#[derive(Serialize)]
#[cfg_attr(test, derive(serde::Deserialize, PartialEq, Debug))]
struct EffectiveAnnounce {
    repeat: u8,
    delay: String,
    refresh: String,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(serde::Deserialize, PartialEq, Debug))]
struct EffectiveUse {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<i16>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(serde::Deserialize, PartialEq, Debug))]
struct EffectiveHook {
    run: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    timeout: String,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(serde::Deserialize, PartialEq, Debug))]
struct EffectiveCluster {
    key_file: String,
    listen: String,
    nodes: BTreeMap<String, Vec<String>>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(serde::Deserialize, PartialEq, Debug))]
struct EffectiveControl {
    #[serde(skip_serializing_if = "Option::is_none")]
    read_group: Option<String>,
    admin_group: String,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(serde::Deserialize, PartialEq, Debug))]
struct EffectiveMetrics {
    listen: String,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(serde::Deserialize, PartialEq, Debug))]
struct EffectiveLog {
    level: String,
    format: String,
}

pub(super) fn effective(
    settings: &Settings,
    host: &HostSettings,
    work: &Work,
    keys: &KeyPaths,
) -> Effective {
    let instance = |instance: &InstanceSettings| {
        (
            instance.name.as_str().to_owned(),
            effective_instance(instance, work, keys),
        )
    };
    let check = |check: &CheckSettings| {
        (
            check.name.as_str().to_owned(),
            EffectiveCheck::new(check, work),
        )
    };
    let group = |group: &GroupSettings| {
        let members = group.members.iter();
        let owner = HookOwner::Group(group.name.clone());
        let effective = EffectiveGroup {
            members: members.map(|name| name.as_str().to_owned()).collect(),
            hooks: effective_hooks(&owner, work),
        };
        (group.name.as_str().to_owned(), effective)
    };
    Effective {
        node: settings.node.clone(),
        instances: settings.instances.iter().map(instance).collect(),
        groups: settings.groups.iter().map(group).collect(),
        checks: settings.checks.iter().map(check).collect(),
        cluster: settings
            .cluster
            .as_ref()
            .map(|cluster| effective_cluster(cluster, keys)),
        control: EffectiveControl {
            read_group: host.control.read_group.clone(),
            admin_group: host.control.admin_group.clone(),
        },
        metrics: host.metrics.map(|metrics| EffectiveMetrics {
            listen: metrics.listen.to_string(),
        }),
        log: EffectiveLog {
            level: host.log.level.name().to_owned(),
            format: host.log.format.name().to_owned(),
        },
    }
}

fn effective_cluster(cluster: &ClusterSettings, keys: &KeyPaths) -> EffectiveCluster {
    let key_file = keys.cluster.as_ref();
    let node = |(name, addresses): (&NodeName, &Vec<IpAddr>)| {
        let addresses = addresses.iter().map(ToString::to_string);
        (name.to_string(), addresses.collect())
    };
    EffectiveCluster {
        key_file: key_file.map_or_else(String::new, |path| path.to_string_lossy().into_owned()),
        listen: cluster.listen.to_string(),
        nodes: cluster.nodes.iter().map(node).collect(),
    }
}

fn effective_use(listed: &CheckUse) -> EffectiveUse {
    EffectiveUse {
        name: listed.name.as_str().to_owned(),
        weight: listed.weight,
    }
}

fn effective_hooks(owner: &HookOwner, work: &Work) -> BTreeMap<String, EffectiveHook> {
    let hook = |kind: HookKind| {
        let script = work.hooks.get(&(owner.clone(), kind))?;
        let hook = EffectiveHook {
            run: script.command.clone(),
            user: script.user.clone(),
            timeout: duration::print(script.timeout),
        };
        Some((kind.name().to_owned(), hook))
    };
    HookKind::ALL.into_iter().filter_map(hook).collect()
}

fn effective_instance(
    instance: &InstanceSettings,
    work: &Work,
    keys: &KeyPaths,
) -> EffectiveInstance {
    let announce = &instance.announce;
    EffectiveInstance {
        interface: instance.interface.to_string(),
        vrid: instance.vrid.get(),
        priority: instance.priority.get(),
        version: instance.version.number(),
        family: instance.family.name().to_owned(),
        addresses: instance
            .addresses
            .iter()
            .map(|address| effective_address(address, instance.family))
            .collect(),
        routes: instance.routes.iter().map(EffectiveRoute::new).collect(),
        rules: instance.rules.iter().map(EffectiveRule::new).collect(),
        advert_interval: duration::print(instance.advert_interval.as_duration()),
        down_after: instance.down_after,
        unicast_peers: instance
            .unicast_peers
            .iter()
            .map(ToString::to_string)
            .collect(),
        source: instance.source.map(|source| source.to_string()),
        preempt: match instance.preempt {
            Preempt::Never => EffectivePreempt::Choice(false),
            Preempt::Immediately => EffectivePreempt::Choice(true),
            Preempt::After(delay) => EffectivePreempt::Delay(duration::print(delay)),
        },
        settle: duration::print(instance.settle),
        checks: instance.checks.iter().map(effective_use).collect(),
        on_all_fail: instance.on_all_fail.name().to_owned(),
        on_conflict: instance.on_conflict.name().to_owned(),
        virtual_mac: instance.virtual_mac,
        witnesses: instance.witnesses.iter().map(ToString::to_string).collect(),
        hooks: effective_hooks(&HookOwner::Instance(instance.name.clone()), work),
        announce: EffectiveAnnounce {
            repeat: announce.repeat,
            delay: duration::print(announce.delay),
            refresh: duration::print(announce.refresh),
        },
        address_lease: lease::print(instance.lease),
        checksum: match (instance.version, instance.family, instance.checksum) {
            (Version::V3, Family::Ipv4, ChecksumForm::MessageOnly) => "rfc9568",
            _ => "auto",
        }
        .to_owned(),
        ttl: instance.ttl,
        auth: effective_auth(instance, keys),
    }
}

/// The paths of key files are shown, and never what is in them. The simple
/// password is: every advertisement shows it too.
fn effective_auth(instance: &InstanceSettings, keys: &KeyPaths) -> Option<EffectiveAuth> {
    match &instance.authentication {
        Authentication::None => None,
        Authentication::Password(password) => Some(EffectiveAuth {
            password: Some(
                String::from_utf8_lossy(&password.0)
                    .trim_end_matches('\0')
                    .to_owned(),
            ),
            ..EffectiveAuth::default()
        }),
        Authentication::Hmac(hmac) => {
            let path = |key: &u8| {
                let path = keys.instances.get(&(instance.name.clone(), *key))?;
                Some((*key, path.to_string_lossy().into_owned()))
            };
            Some(EffectiveAuth {
                password: None,
                keys: hmac.keys.iter().filter_map(path).collect(),
                active_key: Some(hmac.active_key),
                mode: Some(hmac.mode.name().to_owned()),
                anti_replay: Some(hmac.anti_replay.name().to_owned()),
                window: Some(duration::print(hmac.window)),
            })
        }
    }
}

fn effective_address(address: &AddressSettings, family: Family) -> EffectiveAddress {
    let own = Family::of(address.network.addr());
    EffectiveAddress {
        address: address.network.to_string(),
        interface: address.interface.to_string(),
        label: address.label.clone(),
        advertise: (own == family).then_some(address.advertise),
        required: address.required,
        source_address: (own == Family::Ipv6).then_some(address.source_address),
    }
}

/// As YAML, not by the library that reads.
pub(super) fn yaml(
    settings: &Settings,
    host: &HostSettings,
    work: &Work,
    keys: &KeyPaths,
) -> Result<String, serde_yaml::Error> {
    let value = serde_yaml::to_value(effective(settings, host, work, keys))?;
    Ok(emit::document(&value))
}

/// FNV-1a over 64 bits of the effective configuration as JSON, as 16
/// hexadecimal digits: the same on every machine and in every version that has
/// the same keys. Finds differences; proves nothing. Not of the YAML: a large
/// file's takes as long to print as to read.
pub(super) fn digest(
    settings: &Settings,
    host: &HostSettings,
    work: &Work,
    keys: &KeyPaths,
) -> Result<String, serde_json::Error> {
    let json = serde_json::to_vec(&effective(settings, host, work, keys))?;
    Ok(format!("{:016x}", fnv1a(json)))
}
