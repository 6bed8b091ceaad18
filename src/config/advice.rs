//! Warnings: what is legal and bites. Each says what can happen and what to
//! write.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use crate::agent::jobs::HookKind;
use crate::agent::settings::{InstanceSettings, OnAllFail, Preempt};
use crate::agent::values::{Family, InstanceName, Version};

use super::address;
use super::auth;
use super::check::{Checks, Sound, Task};
use super::command::{self, Written};
use super::duration;
use super::fault::{Finding, Findings, Place, quoted};
use super::health;
use super::instance::{ChecksumChoice, Draft};
use super::read::Field;
use super::work::probe::{Host, Probe, ProbeKind};

/// A switch port may take half a minute; below this not even a fast one is
/// sure to forward.
const SETTLE_MIN: Duration = Duration::from_secs(5);
/// Below it a loaded machine's scheduling comes near the patience of its peers.
const INTERVAL_MIN: Duration = Duration::from_millis(100);

/// `settings` is what `draft` came to.
pub(super) fn instance(draft: &Draft, settings: &InstanceSettings, out: &mut Findings) {
    let advice = [
        owner(draft, settings),
        preempt(draft, settings),
        interval(draft, settings),
        down_after(draft, settings),
        checksum(draft, settings),
        ttl(draft, settings),
        source(draft, settings),
    ];
    advice
        .into_iter()
        .flatten()
        .for_each(|advice| out.warn(advice));
    auth::advice(draft, out);
    riders(draft, settings, out);
    weights(draft, settings, out);
}

/// Of the checks, those that nobody uses, and how instances use them.
pub(super) fn checks(drafts: &[Draft], checks: &Checks, out: &mut Findings) {
    for (name, place) in checks.unused(drafts) {
        let title = format!("no instance uses check {}", quoted(name));
        let help = format!("list it in an instance, as `checks: [{name}]`, or remove it");
        let unused = Finding::at(place, title, "it is not run").help(help);
        out.warn(unused.if_everywhere());
    }
    let addresses: BTreeMap<IpAddr, &InstanceName> = drafts
        .iter()
        .filter_map(|draft| Some((draft, draft.addresses.given()?)))
        .flat_map(|(draft, list)| {
            let each = list.value.items.iter();
            each.map(|item| (item.address(), &draft.name.value))
        })
        .collect();
    let listed = drafts.iter().flat_map(health::of);
    let listed: BTreeSet<&str> = listed.map(|item| item.name.value.as_str()).collect();
    for sound in checks.used(drafts) {
        out.warnings(timeout(sound));
        if !listed.contains(sound.settings.name.as_str()) {
            out.warnings(of_a_member(sound));
        }
        match &sound.task {
            Task::Interface(_) | Task::File(_) | Task::Combination(_) => {}
            Task::Script(written) => command::advice(&written.words, out),
            Task::Probe(probe, place) => {
                out.warnings(own_address(sound, probe, *place, &addresses))
            }
        }
    }
    hooks(drafts.iter().flat_map(|draft| &draft.hooks), out);
}

pub(super) fn hooks<'a>(
    hooks: impl Iterator<Item = (&'a HookKind, &'a Written)>,
    out: &mut Findings,
) {
    for (_, hook) in hooks {
        command::advice(&hook.words, out);
    }
}

/// `on_fail` of a check that only others list.
fn of_a_member(sound: &Sound) -> Option<Finding> {
    let title = format!("`on_fail` of check `{}` has no effect", sound.settings.name);
    let finding = Finding::at(sound.on_fail?, title, "no instance lists this check itself");
    let help = "write it into the check that combines it with others, whose failure counts";
    Some(finding.help(help).if_everywhere())
}

fn timeout(sound: &Sound) -> Option<Finding> {
    let settings = &sound.settings;
    let place = sound.timeout?;
    (settings.timeout > settings.interval).then(|| {
        let title = format!(
            "the time-out of check `{}` is longer than its interval",
            settings.name
        );
        let interval = duration::print(settings.interval);
        Finding::at(place, title, format!("the interval is {interval}")).help(format!(
            "a check never runs twice at once: while it hangs it runs every {} only, and a failure is \
             noticed that much later; write at most `{interval}`",
            duration::print(settings.timeout)
        ))
    })
}

/// On a Backup, a virtual address is another host's.
fn own_address(
    sound: &Sound,
    probe: &Probe,
    place: Place,
    addresses: &BTreeMap<IpAddr, &InstanceName>,
) -> Option<Finding> {
    let host = match &probe.kind {
        ProbeKind::Tcp { target } => target.host.clone(),
        ProbeKind::Http(http) => http.url.target().host.clone(),
        ProbeKind::Ping { target, .. } => target.clone(),
        ProbeKind::Arp { target, .. } => Host::Address(*target),
        ProbeKind::Dns(dns) => Host::Address(dns.server.ip()),
        ProbeKind::Process(_)
        | ProbeKind::Unit { .. }
        | ProbeKind::Disk(_)
        | ProbeKind::Pressure(_)
        | ProbeKind::LinkErrors { .. } => return None,
    };
    let address = match host {
        Host::Address(address) => address,
        Host::Name(_) => return None,
    };
    let instance = addresses.get(&address)?;
    let title = format!("check `{}` asks a virtual address", sound.settings.name);
    let label = format!("{address} is kept by instance `{instance}`");
    Some(Finding::at(place, title, label).help(
        "on a Backup this asks the Active host, not this one; write an address that stays here, \
         such as 127.0.0.1",
    ))
}

/// What takes a peer link to have an effect.
pub(super) fn without_cluster(drafts: &[Draft], out: &mut Findings) {
    for draft in drafts {
        let keep = draft.on_all_fail.given();
        out.warnings(keep.filter(|at| at.value == OnAllFail::Keep).map(|at| {
            Finding::at(
                at.place,
                "`on_all_fail: keep` acts as `release`",
                "without effect, as there is no `cluster`",
            )
            .help(
                "an Active may stay only where every other node is known to have failed too, and only \
                 the peer link tells: describe the nodes under `cluster`",
            )
        }));
        let witnesses = draft.witnesses.given();
        let some = witnesses.filter(|at| !at.value.items.is_empty());
        out.warnings(some.map(|at| {
            Finding::at(
                at.place,
                "`witnesses` are never asked",
                "without effect, as there is no `cluster`",
            )
            .help(
                "they are asked when the peer link says that the Active lives and its advertisements \
                 do not come; without a peer link silence alone decides: describe the nodes under \
                 `cluster`",
            )
        }));
    }
}

/// An owner's priority stays 255.
fn weights(draft: &Draft, settings: &InstanceSettings, out: &mut Findings) {
    for item in health::of(draft).filter(|_| settings.priority.is_owner()) {
        if let Some(weight) = item.weight.given() {
            let title = format!("the weight of check `{}` has no effect", item.name.value);
            out.warn(Finding::at(weight.place, title, "the priority stays 255").help(
                "an owner's priority never changes: write a `priority` of at most 254, or leave the \
                 weight out, so that the failing check puts the instance in fault",
            ));
        }
    }
}

/// Two files with the default in both are a tie.
pub(super) fn unset_priorities(drafts: &[Draft], out: &mut Findings) {
    const SHOWN_MAX: usize = 3;
    let unset: Vec<&Draft> = drafts
        .iter()
        .filter(|draft| matches!(draft.priority, Field::Absent))
        .collect();
    let Some((first, others)) = unset.split_first() else {
        return;
    };
    let title = match others.len() {
        0 => format!("`priority` of instance `{}` is not set", first.name.value),
        others => format!("`priority` of {} instances is not set", others + 1),
    };
    let mut finding = Finding::at(first.name.place, title, "it is 100").help(
        "where the other host leaves it out too, both are equal and the higher address wins: write \
         `priority: 150` on the host that should be preferred",
    );
    for other in others.iter().take(SHOWN_MAX - 1) {
        finding = finding.see(other.name.place, "here too");
    }
    out.warn(finding);
}

fn owner(draft: &Draft, settings: &InstanceSettings) -> Option<Finding> {
    let given = draft.priority.given()?;
    if !settings.priority.is_owner() {
        return None;
    }
    let finding = Finding::at(
        given.place,
        "`priority: 255` makes this host the owner",
        "255 is the owner's",
    );
    let preempts = settings.preempt == Preempt::Immediately && settings.settle.is_zero();
    Some(match draft.preempt.given().filter(|_| !preempts) {
        Some(preempt) => finding
            .see(preempt.place, "without effect")
            .help("an owner always preempts, and at once; write at most 254 to have a choice"),
        None => finding.help(
            "it takes the addresses at start without listening first, and always preempts; two \
             owners fight; write at most 254 unless the addresses are this host's own",
        ),
    })
}

fn preempt(draft: &Draft, settings: &InstanceSettings) -> Option<Finding> {
    let given = draft.preempt.given()?;
    if settings.preempt != Preempt::Never
        || settings.priority.is_owner()
        || settings.settle >= SETTLE_MIN
    {
        return None;
    }
    let settle = duration::print(settings.settle);
    let title = format!("`preempt: false` with `settle: {settle}`");
    Some(
        Finding::at(given.place, title, "may still take over when it returns").help(
            "after a boot or a link's return a switch may not forward for seconds: this host hears \
         nobody and claims the addresses; write `settle: 5s`, or `settle: 35s` where spanning tree \
         runs without edge ports",
        ),
    )
}

fn interval(draft: &Draft, settings: &InstanceSettings) -> Option<Finding> {
    let given = draft.advert_interval.given()?;
    let interval = settings.advert_interval.as_duration();
    if interval >= INTERVAL_MIN {
        return None;
    }
    let patience = interval.saturating_mul(u32::from(settings.down_after));
    let title = format!("an `advert_interval` of {}", duration::print(interval));
    Some(Finding::at(given.place, title, "below 100ms").help(format!(
        "a host that stalls for {} (a busy hypervisor is enough) loses its addresses to a peer; \
         write `100ms`, or measure your hosts' stalls first",
        duration::print(patience)
    )))
}

fn down_after(draft: &Draft, settings: &InstanceSettings) -> Option<Finding> {
    let given = draft.down_after.given()?;
    (settings.down_after < 2).then(|| {
        Finding::at(
            given.place,
            "`down_after: 1`",
            "one lost packet is a failover",
        )
        .help("a single advertisement that is late or lost makes a peer take over; write 2 or more")
    })
}

fn checksum(draft: &Draft, settings: &InstanceSettings) -> Option<Finding> {
    let given = draft.checksum.given()?;
    if given.value == ChecksumChoice::Auto {
        return None;
    }
    Some(match (settings.version, settings.family) {
        (Version::V3, Family::Ipv4) => Finding::at(
            given.place,
            "`checksum: rfc9568` is not what keepalived and FRR expect",
            "they drop such packets by default",
        )
        .help("each host may then take the other for dead, and both be Active; write `auto` unless every peer follows RFC 9568 to the letter"),
        (Version::V2, _) | (_, Family::Ipv6) => Finding::at(
            given.place,
            "`checksum: rfc9568` has no effect here",
            "remove it",
        )
        .help("only version 3 over IPv4 knows two forms"),
    })
}

fn ttl(draft: &Draft, settings: &InstanceSettings) -> Option<Finding> {
    let given = draft.ttl.given()?;
    let hops = u8::MAX - settings.ttl;
    (hops > 0).then(|| {
        let title = format!("`ttl: {}` accepts packets from {hops} routers away", settings.ttl);
        Finding::at(given.place, title, "255 keeps strangers out").help(
            "a TTL of 255 proves that a packet came from the same segment; without that proof anyone \
             who can send to this host under a peer's address can take its addresses; write the \
             highest value that your peers' packets arrive with",
        )
    })
}

fn source(draft: &Draft, settings: &InstanceSettings) -> Option<Finding> {
    let given = draft.source.given()?;
    let routed = match given.value {
        IpAddr::V4(_) => false,
        IpAddr::V6(_) => !address::is_link_local(given.value),
    };
    (routed && settings.unicast_peers.is_empty()).then(|| {
        Finding::at(
            given.place,
            "a multicast `source` that is not link-local",
            "other routers may drop it",
        )
        .help("RFC 9568 section 5.1.2.1 wants the link-local address: leave `source` out")
    })
}

/// `advertise: true` on an address of the other family.
fn riders(draft: &Draft, settings: &InstanceSettings, out: &mut Findings) {
    let list = draft.addresses.given();
    for item in list.iter().flat_map(|list| &list.value.items) {
        let asked = item.advertise.given().filter(|asked| asked.value);
        if let Some(asked) = asked.filter(|_| item.family() != settings.family) {
            let title = format!("{} cannot be advertised", item.address());
            out.warn(Finding::at(asked.place, title, "without effect").help(format!(
                "the advertisements go over {}; an address of the other family rides along: held \
                 and announced, never listed",
                settings.family.name()
            )));
        }
    }
}
