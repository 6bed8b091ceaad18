//! The effective configuration as YAML: every default filled in. What is
//! printed reads back as the same settings.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::agent::settings::{AddressSettings, InstanceSettings, Preempt, Settings};
use crate::agent::values::{ChecksumForm, Family, Version};

use super::duration;
use super::host::HostSettings;
use super::read;

/// Keys in the order in which people read them.
#[derive(Serialize)]
#[cfg_attr(test, derive(serde::Deserialize, PartialEq, Debug))]
pub(super) struct Effective {
    node: String,
    instances: BTreeMap<String, EffectiveInstance>,
    control: EffectiveControl,
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
    advert_interval: String,
    down_after: u8,
    unicast_peers: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    preempt: EffectivePreempt,
    settle: String,
    announce: EffectiveAnnounce,
    checksum: String,
    ttl: u8,
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
struct EffectiveControl {
    #[serde(skip_serializing_if = "Option::is_none")]
    read_group: Option<String>,
    admin_group: String,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(serde::Deserialize, PartialEq, Debug))]
struct EffectiveLog {
    level: String,
    format: String,
}

pub(super) fn effective(settings: &Settings, host: &HostSettings) -> Effective {
    let instance = |instance: &InstanceSettings| {
        (
            instance.name.as_str().to_owned(),
            effective_instance(instance),
        )
    };
    Effective {
        node: settings.node.clone(),
        instances: settings.instances.iter().map(instance).collect(),
        control: EffectiveControl {
            read_group: host.control.read_group.clone(),
            admin_group: host.control.admin_group.clone(),
        },
        log: EffectiveLog {
            level: host.log.level.name().to_owned(),
            format: host.log.format.name().to_owned(),
        },
    }
}

fn effective_instance(instance: &InstanceSettings) -> EffectiveInstance {
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
        announce: EffectiveAnnounce {
            repeat: announce.repeat,
            delay: duration::print(announce.delay),
            refresh: duration::print(announce.refresh),
        },
        checksum: match (instance.version, instance.family, instance.checksum) {
            (Version::V3, Family::Ipv4, ChecksumForm::MessageOnly) => "rfc9568",
            _ => "auto",
        }
        .to_owned(),
        ttl: instance.ttl,
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

/// As YAML, by a library of its own: not the one that reads.
pub(super) fn yaml(settings: &Settings, host: &HostSettings) -> Result<String, serde_yaml::Error> {
    let plain = serde_yaml::to_string(&effective(settings, host))?;
    Ok(plain.lines().map(|line| with_quotes(line) + "\n").collect())
}

/// The library writes `no` and `1_000` without quotes, as YAML 1.2 may; our
/// own reader wants them quoted. Every line is `key: value`, `key:` or `- item`.
fn with_quotes(line: &str) -> String {
    let text = line.trim_start_matches([' ', '-']);
    let indentation = line.strip_suffix(text).unwrap_or("");
    let quoted = |word: &str| match read::needs_quotes(word) {
        true => format!("'{word}'"),
        false => word.to_owned(),
    };
    let genuine = |value: &str| {
        let number = value
            .parse::<u8>()
            .is_ok_and(|number| number.to_string() == value);
        number || value == "true" || value == "false"
    };
    match text.split_once(": ") {
        Some((key, value)) if genuine(value) => format!("{indentation}{}: {value}", quoted(key)),
        Some((key, value)) => format!("{indentation}{}: {}", quoted(key), quoted(value)),
        None => match text.strip_suffix(':') {
            Some(key) => format!("{indentation}{}:", quoted(key)),
            None => line.to_owned(),
        },
    }
}

/// FNV-1a over 64 bits of the effective configuration, as 16 hexadecimal
/// digits: the same on every machine and in every version that prints the
/// same. Finds differences; proves nothing.
pub(super) fn digest(effective: &str) -> String {
    const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(PRIME);
    format!("{:016x}", effective.bytes().fold(OFFSET_BASIS, step))
}
