//! One instance as it is written: each key by itself. What the keys mean
//! together is judged afterwards (`judge`).

use std::net::IpAddr;
use std::time::Duration;

use crate::agent::settings::{AnnounceSettings, OnAllFail, OnConflict, Preempt};
use crate::agent::values::{Family, InstanceName, InterfaceName, Priority, Version, Vrid};

use super::address::{self, AddressDraft};
use super::auth::{self, AuthDraft};
use super::duration;
use super::fault::{Finding, Findings, Place, quoted};
use super::health::{self, Hooks, UseDraft};
use super::keys;
use super::lease::{self, LeaseChoice};
use super::read::{self, At, Field, Read, Section};
use super::routing::{self, RouteDraft, RuleDraft};
use super::witness;
use super::yaml::Node;

pub(super) use crate::agent::values::{NAME_BYTES_MAX, is_name};

/// Addresses of one instance, those not advertised included.
pub(super) const ADDRESSES_MAX: usize = 4096;
/// Every peer is sent every advertisement.
pub(super) const PEERS_MAX: usize = 64;
/// Of any version.
const INTERVAL_MIN: Duration = Duration::from_millis(10);
const INTERVAL_MAX: Duration = Duration::from_secs(255);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// What version 3 alone can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChecksumChoice {
    Auto,
    Rfc9568,
}

/// A list, as far as its items could be read.
#[derive(Clone, Debug)]
pub(super) struct Items<T> {
    pub items: Vec<T>,
    /// No item was wrong.
    pub whole: bool,
}

/// An instance, as far as it could be read.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub name: At<InstanceName>,
    pub interface: Field<InterfaceName>,
    pub vrid: Field<Vrid>,
    pub priority: Field<Priority>,
    pub version: Field<Version>,
    pub family: Field<Family>,
    pub addresses: Field<Items<AddressDraft>>,
    pub routes: Field<Items<RouteDraft>>,
    pub rules: Field<Items<RuleDraft>>,
    pub advert_interval: Field<Duration>,
    pub down_after: Field<u8>,
    pub unicast_peers: Field<Items<At<IpAddr>>>,
    pub source: Field<IpAddr>,
    pub preempt: Field<Preempt>,
    pub settle: Field<Duration>,
    pub checks: Field<Items<UseDraft>>,
    pub on_all_fail: Field<OnAllFail>,
    pub on_conflict: Field<OnConflict>,
    pub witnesses: Field<Items<At<IpAddr>>>,
    pub hooks: Hooks,
    pub announce: Option<AnnounceSettings>,
    pub address_lease: Field<LeaseChoice>,
    pub checksum: Field<ChecksumChoice>,
    pub ttl: Field<u8>,
    pub auth: Field<AuthDraft>,
    pub virtual_mac: Field<bool>,
}

/// Reads every key of one instance and notes each fault.
pub(super) fn draft(name: &str, place: Place, node: &Node, out: &mut Findings) -> Option<Draft> {
    let name = out.keep(instance_name(name, place));
    let section = Section::open(node, &keys::INSTANCE, out)?;
    let name = name?;
    for (key, example) in [
        ("interface", "interface: eth0"),
        ("vrid", "vrid: 51"),
        ("addresses", "addresses: [192.0.2.10/24]"),
    ] {
        if section.lacks(key) {
            let title = format!("`{key}` of instance `{name}` is missing");
            let label = format!("write `{example}` below");
            out.fault(Finding::at(place, title, label));
        }
    }
    Some(Draft {
        interface: section.field("interface", out, address::interface),
        vrid: section.field("vrid", out, vrid),
        priority: section.field("priority", out, priority),
        version: section.field("version", out, version),
        family: section.field("family", out, family),
        addresses: addresses(&section, out),
        routes: routing::routes(&section, out),
        rules: routing::rules(&section, out),
        advert_interval: section.field("advert_interval", out, |node| {
            // What each version can carry is judged when the version is known.
            let what =
                "`advert_interval` is a duration from 10ms to 40.95s (version 2: 1s to 255s)";
            read::duration(node, what, INTERVAL_MIN..=INTERVAL_MAX)
        }),
        down_after: section.field("down_after", out, |node| {
            read::integer(node, "`down_after`", 1..=255)
        }),
        unicast_peers: unicast_peers(&section, out),
        source: section.field("source", out, address::host),
        preempt: section.field("preempt", out, preempt),
        settle: section.field("settle", out, |node| {
            let range = Duration::ZERO..=HOUR;
            read::duration(node, &read::within("settle", &range), range)
        }),
        checks: health::uses(&section, out),
        on_all_fail: health::on_all_fail(&section, out),
        on_conflict: section.field("on_conflict", out, on_conflict),
        witnesses: witness::draft(&section, out),
        hooks: health::hooks(&section, &keys::HOOKS, out),
        announce: announce(&section, out),
        address_lease: section.field("address_lease", out, lease::choice),
        checksum: section.field("checksum", out, checksum),
        auth: auth::draft(&section, out),
        virtual_mac: section.field("virtual_mac", out, read::boolean),
        ttl: section.field("ttl", out, |node| read::integer(node, "`ttl`", 1..=255)),
        name: At { value: name, place },
    })
}

/// The name stands in the log, in metrics and as an argument of hooks.
fn instance_name(name: &str, place: Place) -> Read<InstanceName> {
    if is_name(name) {
        return Ok(InstanceName::new(name));
    }
    let title = format!("{} cannot be the name of an instance", quoted(name));
    Err(Finding::at(place, title, "choose another name").help(format!(
        "a name has letters, digits, `-`, `_` and `.`, begins with a letter or digit, and is at most \
         {NAME_BYTES_MAX} characters long"
    )))
}

fn vrid(node: &Node) -> Read<Vrid> {
    let number = read::integer(node, "`vrid`", 1..=255)?;
    Vrid::new(number).ok_or_else(|| out_of_range(node))
}

fn priority(node: &Node) -> Read<Priority> {
    let number = read::integer(node, "`priority`", 1..=255)?;
    Priority::new(number).ok_or_else(|| out_of_range(node))
}

/// For values that a range has excluded before.
fn out_of_range(node: &Node) -> Finding {
    Finding::at(node.place, "out of range", "")
}

fn version(node: &Node) -> Read<Version> {
    match read::integer(node, "`version`", 2..=3)? {
        2 => Ok(Version::V2),
        _ => Ok(Version::V3),
    }
}

fn family(node: &Node) -> Read<Family> {
    read::one_of(
        node,
        "`family`",
        &[("ipv4", Family::Ipv4), ("ipv6", Family::Ipv6)],
    )
}

fn checksum(node: &Node) -> Read<ChecksumChoice> {
    read::one_of(
        node,
        "`checksum`",
        &[
            ("auto", ChecksumChoice::Auto),
            ("rfc9568", ChecksumChoice::Rfc9568),
        ],
    )
}

fn on_conflict(node: &Node) -> Read<OnConflict> {
    let choices = [OnConflict::Report, OnConflict::Yield];
    let choices = choices.map(|choice| (choice.name(), choice));
    read::one_of(node, "`on_conflict`", &choices)
}

fn addresses(section: &Section, out: &mut Findings) -> Field<Items<AddressDraft>> {
    let list = section.field("addresses", out, |node| {
        read::list(node, "`addresses`").map(|list| (list, node.place))
    });
    let Field::Given(list) = list else {
        return absent_or_bad(&list);
    };
    let (nodes, place) = list.value;
    if nodes.is_empty() {
        out.fault(Finding::at(
            place,
            "`addresses` is empty, so there is nothing to keep",
            "write at least one address, such as `192.0.2.10/24`",
        ));
        return Field::Bad;
    }
    if nodes.len() > ADDRESSES_MAX {
        let title = format!("{} addresses in one instance", nodes.len());
        out.fault(
            Finding::at(place, title, format!("{ADDRESSES_MAX} are the most"))
                .help("spread them over several instances"),
        );
        return Field::Bad;
    }
    let items: Vec<AddressDraft> = nodes
        .iter()
        .filter_map(|node| address::virtual_address(node, out))
        .collect();
    let whole = items.len() == nodes.len();
    let value = Items { items, whole };
    Field::Given(At { value, place })
}

fn unicast_peers(section: &Section, out: &mut Findings) -> Field<Items<At<IpAddr>>> {
    let list = section.field("unicast_peers", out, |node| {
        read::list(node, "`unicast_peers`").map(|list| (list, node.place))
    });
    let Field::Given(list) = list else {
        return absent_or_bad(&list);
    };
    let (nodes, place) = list.value;
    if nodes.len() > PEERS_MAX {
        let title = format!("{} unicast peers in one instance", nodes.len());
        out.fault(
            Finding::at(place, title, format!("{PEERS_MAX} are the most"))
                .help("each is sent every advertisement; multicast reaches any number"),
        );
        return Field::Bad;
    }
    let peer = |node: &Node| {
        address::host(node).map(|value| At {
            value,
            place: node.place,
        })
    };
    let items: Vec<At<IpAddr>> = nodes
        .iter()
        .filter_map(|node| out.keep(peer(node)))
        .collect();
    let whole = items.len() == nodes.len();
    let value = Items { items, whole };
    Field::Given(At { value, place })
}

/// The same lack of a value, of another type.
pub(super) fn absent_or_bad<T, U>(field: &Field<T>) -> Field<U> {
    match field {
        Field::Absent => Field::Absent,
        Field::Bad | Field::Given(_) => Field::Bad,
    }
}

fn preempt(node: &Node) -> Read<Preempt> {
    read::scalar(node, "`true`, `false` or a delay")?;
    let boolean = read::boolean(node);
    match (boolean, read::boolean_word(node)) {
        (Ok(true), _) => Ok(Preempt::Immediately),
        (Ok(false), _) => Ok(Preempt::Never),
        (Err(fault), Some(_)) => Err(fault),
        (Err(_), None) => {
            let what = "`preempt` is `true`, `false` or a delay of up to 24h";
            let delay = read::duration(node, what, Duration::ZERO..=DAY)?;
            Ok(match delay.is_zero() {
                true => Preempt::Immediately,
                false => Preempt::After(delay),
            })
        }
    }
}

fn announce(section: &Section, out: &mut Findings) -> Option<AnnounceSettings> {
    let default = AnnounceSettings::default();
    let Some(node) = section.node("announce") else {
        return Some(default);
    };
    let section = Section::open(node, &keys::ANNOUNCE, out)?;
    let repeat = section.field("repeat", out, |node| {
        read::integer(node, "`repeat`", 1..=20)
    });
    let delay = section.field("delay", out, |node| {
        zero_or(node, "delay", Duration::from_millis(100), HOUR)
    });
    let refresh = section.field("refresh", out, |node| {
        zero_or(node, "refresh", Duration::from_secs(1), DAY)
    });
    Some(AnnounceSettings {
        repeat: repeat.or(default.repeat)?,
        delay: delay.or(default.delay)?,
        refresh: refresh.or(default.refresh)?,
    })
}

/// Zero switches it off; anything shorter than `low` would flood the segment.
fn zero_or(node: &Node, key: &str, low: Duration, high: Duration) -> Read<Duration> {
    let range = Duration::ZERO..=high;
    let span = read::duration(node, &read::within(key, &range), range)?;
    if span.is_zero() || span >= low {
        return Ok(span);
    }
    let low = duration::print(low);
    let title = format!("`{key}` is `0s` for none, or at least `{low}`");
    Err(Finding::at(
        node.place,
        title,
        format!("write `0s` or `{low}`"),
    ))
}
