//! What the keys of one instance mean together: faults of sense, and the
//! settings when there are none.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::agent::jobs::CheckName;
use crate::agent::settings::{
    AddressSettings, CheckUse, InstanceSettings, OnAllFail, OnConflict, Preempt,
};
use crate::agent::values::{
    AdvertInterval, ChecksumForm, Family, InterfaceName, Priority, Version,
};

use super::address::{self, AddressDraft};
use super::auth;
use super::command;
use super::duration;
use super::fault::{Finding, Findings, Place, quoted};
use super::health;
use super::instance::{ChecksumChoice, Draft};
use super::lease;
use super::read::Field;
use super::routing;
use super::virtual_mac;
use super::witness;

/// The count field has eight bits.
const COUNT_MAX: usize = 255;
/// An advertisement is one packet and never a fragment.
const MTU: usize = 1500;
/// Room that is left for the authentication trailer.
const TRAILER: usize = 28;
const LABEL_BYTES_MAX: usize = 15;

pub(super) const PRIORITY_DEFAULT: u8 = 100;
pub(super) const DOWN_AFTER_DEFAULT: u8 = 3;

/// The instance, if everything about it is right.
pub(super) fn instance(draft: &Draft, out: &mut Findings) -> Option<InstanceSettings> {
    let version = draft.version.or(Version::V3);
    let family = family(draft);
    let interval = version.and_then(|version| interval(draft, version, out));
    let speakable = speakable(draft, version, family, out);
    unicast(draft, family, out);
    let addresses = addresses(draft, version, family, out);
    let routes = family.and_then(|family| routing::judge_routes(draft, family, out));
    let rules = family.and_then(|family| routing::judge_rules(draft, family, out));
    let lease = interval.and_then(|interval| lease::judge(draft, interval, out));
    let authentication = match (version, interval) {
        (Some(version), Some(interval)) => auth::judge(draft, version, interval, out),
        _ => None,
    };
    let virtual_mac = virtual_mac::judge(draft, out);
    speakable?;
    Some(InstanceSettings {
        name: draft.name.value.clone(),
        interface: draft.interface.given()?.value,
        vrid: draft.vrid.given()?.value,
        priority: priority(draft)?,
        version: version?,
        family: family?,
        addresses: addresses?,
        routes: routes?,
        rules: rules?,
        advert_interval: interval?,
        down_after: draft.down_after.or(DOWN_AFTER_DEFAULT)?,
        unicast_peers: match draft.unicast_peers.given() {
            Some(peers) => peers.value.items.iter().map(|peer| peer.value).collect(),
            None => Vec::new(),
        },
        source: draft.source.given().map(|source| source.value),
        preempt: draft.preempt.or(Preempt::Immediately)?,
        settle: draft.settle.or(std::time::Duration::ZERO)?,
        checks: checks(draft)?,
        on_all_fail: draft.on_all_fail.or(OnAllFail::Release)?,
        on_conflict: draft.on_conflict.or(OnConflict::Report)?,
        witnesses: match draft.witnesses.is_bad() {
            true => return None,
            false => witness::of(draft).map(|witness| witness.value).collect(),
        },
        virtual_mac: virtual_mac?,
        hooks: draft
            .hooks
            .iter()
            .map(|(kind, hook)| (*kind, hook.script.timeout))
            .collect(),
        announce: draft.announce?,
        lease: lease?,
        checksum: checksum(draft, version?, family?)?,
        ttl: draft.ttl.or(u8::MAX)?,
        authentication: authentication?,
    })
}

/// In the order of the file.
fn checks(draft: &Draft) -> Option<Vec<CheckUse>> {
    if draft.checks.is_bad() {
        return None;
    }
    let uses = health::of(draft).map(|item| {
        Some(CheckUse {
            name: CheckName::new(&item.name.value),
            weight: command::optional(&item.weight)?,
        })
    });
    uses.collect()
}

pub(super) fn priority(draft: &Draft) -> Option<Priority> {
    draft.priority.or(Priority::new(PRIORITY_DEFAULT)?)
}

/// As written, otherwise that of the addresses: IPv4 when there is one.
pub(super) fn family(draft: &Draft) -> Option<Family> {
    match &draft.family {
        Field::Given(family) => return Some(family.value),
        Field::Bad => return None,
        Field::Absent => {}
    }
    let listed = &draft.addresses.given()?.value;
    let is_ipv4 = |address: &AddressDraft| address.family() == Family::Ipv4;
    match listed.items.iter().any(is_ipv4) {
        true => Some(Family::Ipv4),
        // One that could not be read may be IPv4.
        false => listed.whole.then_some(Family::Ipv6),
    }
}

fn checksum(draft: &Draft, version: Version, family: Family) -> Option<ChecksumForm> {
    let choice = draft.checksum.or(ChecksumChoice::Auto)?;
    Some(match (version, family, choice) {
        (Version::V2, _, _) => ChecksumForm::MessageOnly,
        (Version::V3, Family::Ipv6, _) => ChecksumForm::PseudoHeader,
        (Version::V3, Family::Ipv4, ChecksumChoice::Auto) => ChecksumForm::PseudoHeader,
        (Version::V3, Family::Ipv4, ChecksumChoice::Rfc9568) => ChecksumForm::MessageOnly,
    })
}

fn interval(draft: &Draft, version: Version, out: &mut Findings) -> Option<AdvertInterval> {
    let Some(given) = draft.advert_interval.given() else {
        let second = AdvertInterval::from_seconds(1)?;
        return Some(second).filter(|_| !draft.advert_interval.is_bad());
    };
    let interval = AdvertInterval::from_duration(version, given.value);
    if interval.is_none() {
        out.fault(unspeakable_interval(given.value, given.place, version));
    }
    interval
}

/// Names the nearest intervals that the version can carry.
fn unspeakable_interval(span: std::time::Duration, place: Place, version: Version) -> Finding {
    let (unit_nanos, most, carries) = match version {
        Version::V2 => (1_000_000_000, 255, "whole seconds, from 1s to 255s"),
        Version::V3 => (
            10_000_000,
            4095,
            "hundredths of a second, from 10ms to 40.95s",
        ),
    };
    let number = version.number();
    let below = (span.as_nanos() / unit_nanos).clamp(1, most);
    let above = span.as_nanos().div_ceil(unit_nanos).clamp(1, most);
    let written = |count: u128| {
        let nanos = u64::try_from(count * unit_nanos).unwrap_or(u64::MAX);
        duration::print(std::time::Duration::from_nanos(nanos))
    };
    let label = match below == above {
        true => format!("write `{}`", written(below)),
        false => format!("write `{}` or `{}`", written(below), written(above)),
    };
    let title = format!(
        "version {number} cannot carry an `advert_interval` of {}",
        duration::print(span)
    );
    Finding::at(place, title, label).help(format!(
        "its packets say the interval in {carries}; it is never rounded, because both hosts must \
         mean the same"
    ))
}

/// Whether the version speaks over the family.
fn speakable(
    draft: &Draft,
    version: Option<Version>,
    family: Option<Family>,
    out: &mut Findings,
) -> Option<()> {
    if (version?, family?) != (Version::V2, Family::Ipv6) {
        return Some(());
    }
    let place = draft.version.place(draft.name.place);
    let mut fault = Finding::at(place, "version 2 has no IPv6", "write `version: 3`").help(
        "IPv6 addresses can ride along with version 2 when an IPv4 address is listed too: \
         advertisements then go over IPv4",
    );
    if let Some(family) = draft.family.given() {
        fault = fault.see(family.place, "IPv6 is asked for here");
    }
    out.fault(fault);
    None
}

/// `unicast_peers`, `source`, `ttl`.
fn unicast(draft: &Draft, family: Option<Family>, out: &mut Findings) {
    let source = draft.source.given();
    if let (Some(source), Some(family)) = (source, family) {
        same_family(source.value, source.place, "`source`", family, out);
    }
    let mut seen = BTreeMap::new();
    let peers = draft.unicast_peers.given();
    for peer in peers.iter().flat_map(|peers| &peers.value.items) {
        if let Some(family) = family {
            same_family(peer.value, peer.place, "a unicast peer", family, out);
        }
        if let Some(first) = seen.insert(peer.value, peer.place) {
            let title = format!("the peer {} is listed twice", peer.value);
            out.fault(Finding::at(peer.place, title, "remove it").see(first, "first here"));
        }
        if let Some(source) = source.filter(|source| source.value == peer.value) {
            let title = format!("{} is a peer and this host's own `source`", peer.value);
            out.fault(
                Finding::at(peer.place, title, "remove it")
                    .see(source.place, "our own address")
                    .help("`unicast_peers` lists the other hosts only"),
            );
        }
    }
    let multicast = match peers {
        Some(peers) => peers.value.items.is_empty() && peers.value.whole,
        None => !draft.unicast_peers.is_bad(),
    };
    if let Some(ttl) = draft.ttl.given().filter(|ttl| ttl.value < 255 && multicast) {
        let title = format!("a `ttl` of {} without `unicast_peers`", ttl.value);
        out.fault(
            Finding::at(ttl.place, title, "remove it, or write 255").help(
                "a multicast advertisement never crosses a router, so one that arrives with less \
                 than 255 is forged",
            ),
        );
    }
}

fn same_family(address: IpAddr, place: Place, what: &str, family: Family, out: &mut Findings) {
    if Family::of(address) == family {
        return;
    }
    let (name, example) = match family {
        Family::Ipv4 => ("IPv4", "192.0.2.1"),
        Family::Ipv6 => ("IPv6", "fe80::1"),
    };
    let title = format!("{what} is {address}, but the advertisements go over {name}");
    out.fault(
        Finding::at(
            place,
            title,
            format!("write an {name} address, such as `{example}`"),
        )
        .help(format!(
            "`family` decides; it is {} here, given or by the addresses",
            family.name()
        )),
    );
}

fn addresses(
    draft: &Draft,
    version: Option<Version>,
    family: Option<Family>,
    out: &mut Findings,
) -> Option<Vec<AddressSettings>> {
    let list = draft.addresses.given()?;
    twice(draft, &list.value.items, out);
    let mut settings = Vec::with_capacity(list.value.items.len());
    for item in &list.value.items {
        let judged = one_address(draft, item, family?, out);
        settings.extend(judged);
    }
    let whole = list.value.whole && settings.len() == list.value.items.len();
    let (version, family) = (version?, family?);
    let advertised = settings
        .iter()
        .filter(|address| address.advertise && Family::of(address.network.addr()) == family)
        .count();
    if advertised == 0 && whole {
        out.fault(none_advertised(list.place, family));
        return None;
    }
    let most = advertised_max(version, family);
    if advertised > most {
        let title = format!("{advertised} advertised addresses, and one packet holds {most}");
        out.fault(
            Finding::at(list.place, title, "mark some `advertise: false`").help(
                "an advertisement counts to 255 and fits into 1500 bytes, with room to authenticate it; \
                 an address written `{ address: ..., advertise: false }`, on every host alike, is held \
                 and announced all the same; or make a second instance",
            ),
        );
        return None;
    }
    whole.then_some(settings)
}

fn none_advertised(place: Place, family: Family) -> Finding {
    let title = format!("no address of `family: {}` is advertised", family.name());
    Finding::at(place, title, "at least one is needed").help(format!(
        "list an {} address without `advertise: false`, or change `family`",
        match family {
            Family::Ipv4 => "IPv4",
            Family::Ipv6 => "IPv6",
        }
    ))
}

/// What one packet can list: bounded by the count field and by the MTU.
pub(super) fn advertised_max(version: Version, family: Family) -> usize {
    let (ip_header, address) = match family {
        Family::Ipv4 => (20, 4),
        Family::Ipv6 => (40, 16),
    };
    let message = match version {
        Version::V2 => 16,
        Version::V3 => 8,
    };
    ((MTU - ip_header - message - TRAILER) / address).min(COUNT_MAX)
}

fn one_address(
    draft: &Draft,
    item: &AddressDraft,
    family: Family,
    out: &mut Findings,
) -> Option<AddressSettings> {
    let interface = match (item.interface.given(), draft.interface.given()) {
        (Some(other), _) => Some(other.value),
        (None, Some(own)) => item.interface.or(own.value),
        (None, None) => None,
    };
    let label = label(item, interface, out);
    let ours = item.family() == family;
    if item.family() == Family::Ipv4
        && let Some(given) = item.source_address.given()
    {
        out.fault(
            Finding::at(
                given.place,
                "`source_address` is for IPv6 addresses",
                "remove it",
            )
            .help(
                "the kernel chooses IPv4 sources by subnet and order; IPv6 addresses it lets start \
                 connections or not",
            ),
        );
        return None;
    }
    Some(AddressSettings {
        network: item.network,
        interface: interface?,
        label: label?,
        advertise: item.advertise.or(ours)? && ours,
        required: item.required.or(true)?,
        source_address: item.source_address.or(false)?,
    })
}

/// The outer `None` is a fault, or an interface that is not known.
fn label(
    item: &AddressDraft,
    interface: Option<InterfaceName>,
    out: &mut Findings,
) -> Option<Option<String>> {
    let Some(given) = item.label.given() else {
        return (!item.label.is_bad()).then_some(None);
    };
    let label = given.value.as_str();
    let interface = interface?;
    let fault = if item.family() == Family::Ipv6 {
        Finding::at(given.place, "an IPv6 address has no label", "remove it")
            .help("the kernel has labels for IPv4 addresses only")
    } else if label.len() > LABEL_BYTES_MAX {
        let title = format!("the label {} is {} bytes long", quoted(label), label.len());
        Finding::at(given.place, title, format!("at most {LABEL_BYTES_MAX}"))
    } else if !label.starts_with(interface.as_str()) {
        let title = format!(
            "the label {} does not begin with `{interface}`",
            quoted(label)
        );
        Finding::at(
            given.place,
            title,
            format!("write \"{interface}:web\", for example"),
        )
        .help("tools find the addresses of an interface by the beginning of the label")
    } else if !label.bytes().all(|byte| byte.is_ascii_graphic()) {
        let title = format!(
            "the label {} has blanks or special characters",
            quoted(label)
        );
        Finding::at(
            given.place,
            title,
            format!("write \"{interface}:web\", for example"),
        )
    } else {
        return Some(Some(label.to_owned()));
    };
    out.fault(fault);
    None
}

/// The same address twice, except a link-local one on different interfaces.
fn twice(draft: &Draft, items: &[AddressDraft], out: &mut Findings) {
    let mut seen = BTreeMap::new();
    for item in items {
        let interface = item.interface.given().map(|interface| interface.value);
        let interface = interface.or(draft.interface.given().map(|interface| interface.value));
        let scope = interface.filter(|_| address::is_link_local(item.address()));
        if let Some(first) = seen.insert((item.address(), scope), item.place) {
            let title = format!("{} is listed twice", item.address());
            out.fault(Finding::at(item.place, title, "remove it").see(first, "first here"));
        }
    }
}
