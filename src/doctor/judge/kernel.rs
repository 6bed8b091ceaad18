//! Settings below /proc/sys/net.

use super::super::facts::{Beside, Facts, Interface, Subject};
use super::super::finding::Finding;
use super::{about_interface, users};
use crate::agent::values::{Family, InterfaceName};

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, found) in &facts.interfaces {
        if let Ok(Some(interface)) = found {
            findings.extend(promotion(facts, *name, interface));
            findings.extend(arp(facts, *name, interface));
            findings.extend(ipv6(facts, *name, interface));
            findings.extend(strict(facts, *name, interface));
        }
    }
    findings.extend(facts.beside.iter().filter_map(|one| flux(facts, one)));
    findings.extend(nonlocal(facts));
    findings
}

/// The command that sets a setting now and at every start.
fn sysctl(finding: Finding, key: &str, value: u8) -> Finding {
    finding.run(format!(
        "echo '{key} = {value}' >>/etc/sysctl.d/90-vipward.conf && sysctl -p /etc/sysctl.d/90-vipward.conf"
    ))
}

fn of(interface: InterfaceName, key: &str) -> String {
    // A name with dots is written with slashes for them.
    let name = interface.as_str().replace('.', "/");
    format!("net.ipv4.conf.{name}.{key}")
}

fn promotion(facts: &Facts, name: InterfaceName, interface: &Interface) -> Option<Finding> {
    // Addresses that may be the first of a subnet that others share.
    let own = || {
        let all = interface.state.addresses.iter();
        all.filter(|own| !own.ours).map(|own| own.network)
    };
    let held = users(facts, name).flat_map(|subject| &subject.addresses);
    let held = held.filter(|(network, interface)| {
        *interface == name && Family::of(network.addr()) == Family::Ipv4
    });
    let mut held: Vec<_> = held.map(|(network, _)| network.trunc()).collect();
    held.retain(|network| network.prefix_len() < 32 && !own().any(|own| own.trunc() == *network));
    let total = held.len();
    held.sort();
    held.dedup();
    let shared = held.len() < total;
    (!interface.settings.promote_secondaries && shared).then(|| {
        let key = of(name, "promote_secondaries");
        let what = format!("{key} is 0, and several virtual addresses share a subnet there");
        let finding = Finding::warning("promote-secondaries", about_interface(facts, name), what)
            .why(
                "when the first of them goes the kernel takes the others along; the agent sets it \
                 where it may, and gives no lease where it may not",
            );
        sysctl(finding, &key, 1)
    })
}

fn arp(facts: &Facts, name: InterfaceName, interface: &Interface) -> Vec<Finding> {
    let mut findings = Vec::new();
    let about = || about_interface(facts, name);
    let held = |host_only: bool| {
        users(facts, name).any(|subject| {
            subject.addresses.iter().any(|(network, interface)| {
                let whole = network.prefix_len() == network.max_prefix_len();
                *interface == name
                    && Family::of(network.addr()) == Family::Ipv4
                    && (whole || !host_only)
            })
        })
    };
    let key = of(name, "arp_ignore");
    match interface.settings.arp_ignore {
        8 if held(false) => findings.push(sysctl(
            Finding::error(
                "arp-ignore",
                about(),
                format!("{key} is 8: no ARP is answered"),
            )
            .why("nobody on the segment finds the virtual addresses once announcements age"),
            &key,
            0,
        )),
        2 if held(true) => findings.push(sysctl(
            Finding::error(
                "arp-ignore",
                about(),
                format!("{key} is 2, and a virtual address there is a /32"),
            )
            .why("the kernel answers only askers of the address's own subnet, and a /32 has none"),
            &key,
            1,
        )),
        1 | 2 => findings.extend(on_loopback(facts, name, &key)),
        _ => {}
    }
    findings.extend(filtered(facts, name, interface));
    if interface.settings.drop_gratuitous_arp && held(false) {
        let key = of(name, "drop_gratuitous_arp");
        let what = format!("{key} is 1: this host ignores the announcements of the other node");
        findings.push(sysctl(
            Finding::warning("drop-gratuitous-arp", about(), what).why(
                "while the other node is Active, this host's own connections to the virtual \
                 addresses go on to whoever had them before",
            ),
            &key,
            0,
        ));
    }
    findings
}

fn ipv6(facts: &Facts, name: InterfaceName, interface: &Interface) -> Option<Finding> {
    let needs = |subject: &Subject| {
        let held = subject.addresses.iter().any(|(network, interface)| {
            *interface == name && Family::of(network.addr()) == Family::Ipv6
        });
        held || (subject.interface == name && subject.family == Family::Ipv6)
    };
    let needed = users(facts, name).any(needs);
    (needed && interface.settings.disable_ipv6).then(|| {
        let key = format!(
            "net.ipv6.conf.{}.disable_ipv6",
            name.as_str().replace('.', "/")
        );
        let finding = Finding::error(
            "ipv6-disabled",
            about_interface(facts, name),
            format!("{key} is 1, and there are IPv6 addresses to hold"),
        )
        .why("the kernel refuses the addresses, and the instance is in fault");
        sysctl(finding, &key, 0)
    })
}

/// Whoever asks on the instance's interface is not told of what is on lo.
fn on_loopback(facts: &Facts, name: InterfaceName, key: &str) -> Option<Finding> {
    let mut subjects = users(facts, name).filter(|subject| subject.interface == name);
    let address = subjects.find_map(|subject| {
        let mut held = subject.addresses.iter();
        let held = held.find(|(network, interface)| {
            interface.as_str() == "lo" && Family::of(network.addr()) == Family::Ipv4
        });
        held.map(|(network, _)| network.addr())
    })?;
    let what = format!("{key} is not 0, and {address} is on lo: no ARP is answered for it");
    let finding = Finding::warning("arp-ignore", about_interface(facts, name), what)
        .why("hosts of the segment do not find it; only a router that sends it here reaches it");
    Some(sysctl(finding, key, 0))
}

/// With arp_filter the kernel answers only by the interface that its own
/// packets to the asker leave by.
fn filtered(facts: &Facts, name: InterfaceName, interface: &Interface) -> Option<Finding> {
    if !interface.settings.arp_filter {
        return None;
    }
    let mut held = users(facts, name).flat_map(|subject| &subject.addresses);
    let (network, way) = held.find_map(|(network, interface)| {
        let way = facts.ways_back.get(&network.trunc())?;
        (*interface == name && *way != name).then_some((network, *way))
    })?;
    let key = of(name, "arp_filter");
    let what = format!(
        "{key} is 1, and packets to the neighbours of {} leave by {way}",
        network.addr()
    );
    let finding = Finding::error("arp-filter", about_interface(facts, name), what).why(format!(
        "the kernel answers no ARP for it on {name}: nobody finds it once announcements age"
    ));
    Some(
        sysctl(finding, &key, 0)
            .run(format!("ip route show {}", network.trunc()))
            .advise(format!("or let the route of that subnet go by {name}")),
    )
}

/// Two interfaces on one subnet: the other one speaks for the address, too.
fn flux(facts: &Facts, beside: &Beside) -> Option<Finding> {
    let (name, carried_by, settings) = (beside.name, beside.carried_by, beside.settings);
    let answers = settings.arp_ignore == 0 && !settings.arp_filter;
    let asks = settings.arp_announce < 2;
    let (what, mends) = match (answers, asks) {
        (false, false) => return None,
        (true, true) => (
            "answers ARP for it and asks in its name",
            &[("arp_ignore", 1), ("arp_announce", 2)][..],
        ),
        (true, false) => ("answers ARP for it", &[("arp_ignore", 1)][..]),
        (false, true) => ("asks in its name", &[("arp_announce", 2)][..]),
    };
    let what = format!(
        "{name} is on the subnet of {}, which {carried_by} carries, and {what}",
        beside.address
    );
    let finding =
        Finding::warning("arp-flux", about_interface(facts, carried_by), what).why(format!(
            "neighbours may learn {name}'s hardware address for it: what they send then comes by \
             an interface that nobody watches, and is lost when that one fails"
        ));
    let mended = mends.iter().fold(finding, |finding, (key, value)| {
        sysctl(finding, &of(name, key), *value)
    });
    Some(mended)
}

/// Strict filtering by the way back.
fn strict(facts: &Facts, name: InterfaceName, interface: &Interface) -> Vec<Finding> {
    if interface.settings.rp_filter != 1 {
        return Vec::new();
    }
    let mut peers: Vec<_> = users(facts, name)
        .filter(|subject| subject.interface == name && subject.family == Family::Ipv4)
        .flat_map(|subject| {
            let heard = facts.speakers(subject);
            let heard = heard.filter(|one| !one.outgoing && !facts.is_own(one.source));
            let heard = heard.map(|speaker| speaker.source);
            subject.peers.iter().copied().chain(heard)
        })
        .collect();
    peers.sort();
    peers.dedup();
    let elsewhere = peers.into_iter().filter_map(|peer| {
        let way = facts.ways.get(&peer);
        let way = match way {
            Some(way) if *way == name => return None,
            Some(way) => format!("its way back is by {way}"),
            None => "there is no way back to it".to_owned(),
        };
        let key = of(name, "rp_filter");
        let what = format!("{peer} speaks on {name}, {way}, and {key} is strict (1)");
        let finding = Finding::error("rp-filter", about_interface(facts, name), what).why(
            "the kernel drops its advertisements before the agent hears them, and both hosts \
             become Active",
        );
        Some(sysctl(finding, &key, 2).advise(format!(
            "the stricter of this and net.ipv4.conf.all.rp_filter acts; or mend the route: \
             `ip route get {peer}`"
        )))
    });
    elsewhere.collect()
}

fn nonlocal(facts: &Facts) -> Vec<Finding> {
    let holds = |family| {
        let mut all = facts.subjects.iter().flat_map(|subject| &subject.addresses);
        all.any(|(network, _)| Family::of(network.addr()) == family)
    };
    let families = [
        (Family::Ipv4, "ipv4", facts.kernel.nonlocal_bind_ipv4),
        (Family::Ipv6, "ipv6", facts.kernel.nonlocal_bind_ipv6),
    ];
    let off = families
        .into_iter()
        .filter(|(family, _, set)| *set == Some(false) && holds(*family));
    let off = off.map(|(_, name, _)| {
        let key = format!("net.{name}.ip_nonlocal_bind");
        let finding = Finding::note("nonlocal-bind", "host", format!("{key} is 0")).why(
            "a service that listens on a virtual address by itself cannot start while this \
                 host is Backup; one that listens on all addresses can",
        );
        sysctl(finding, &key, 1)
    });
    off.collect()
}
