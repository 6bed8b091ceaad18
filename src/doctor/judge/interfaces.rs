//! Interfaces: there, up, with carrier, with an address to speak from, and a
//! member of the group.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::super::facts::{Facts, Interface, Subject};
use super::super::finding::Finding;
use super::{about_interface, users};
use crate::agent::values::{Family, InterfaceName};

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, found) in &facts.interfaces {
        let about = about_interface(facts, *name);
        match found {
            Err(error) => findings.push(
                Finding::warning("interface-unread", about, error.clone())
                    .why("what is wrong with it cannot be told")
                    .run(format!("ip -details address show dev {name}")),
            ),
            Ok(None) => findings.push(missing(about, *name)),
            Ok(Some(interface)) => findings.extend(present(facts, about, *name, interface)),
        }
    }
    for subject in &facts.subjects {
        if let Some(interface) = facts.interface(subject.interface) {
            findings.extend(source(subject, interface));
            findings.extend(group(facts, subject, interface));
        }
    }
    findings
}

fn missing(about: String, name: InterfaceName) -> Finding {
    Finding::error(
        "interface-missing",
        about,
        format!("there is no interface {name}"),
    )
    .why("the instance stays in fault until there is one")
    .run("ip -brief link")
    .advise("create it, or write the right name in the configuration and `vipward reload`")
}

fn present(
    facts: &Facts,
    about: String,
    name: InterfaceName,
    interface: &Interface,
) -> Option<Finding> {
    if !interface.enabled {
        let finding = Finding::error("interface-down", about, format!("{name} is set down"));
        return Some(
            finding
                .why("nothing can be sent or heard by it, and the instance is in fault")
                .run(format!("ip link set {name} up")),
        );
    }
    if !interface.carrier {
        let what = format!(
            "{name} has no carrier: no cable, a switch port that is off, or a bond without members"
        );
        return Some(
            Finding::error("no-carrier", about, what)
                .why("nothing can be sent or heard by it, and the instance is in fault")
                .run(format!("ethtool {name}"))
                .advise(
                    "check the cable, the switch port and, for a bond or VLAN, what it is made of",
                ),
        );
    }
    let grouped = users(facts, name).any(|subject| subject.peers.is_empty());
    (grouped && !interface.multicast).then(|| {
        Finding::error(
            "no-multicast",
            about,
            format!("{name} cannot carry multicast"),
        )
        .why("the advertisements of an instance without `unicast_peers` are multicast")
        .run(format!("ip link set {name} multicast on"))
        .advise("or list the other nodes' addresses as `unicast_peers` on all nodes")
    })
}

/// What it speaks from.
fn source(subject: &Subject, interface: &Interface) -> Option<Finding> {
    let addresses = interface.state.addresses.iter();
    let mut own = addresses
        .filter(|own| Family::of(own.network.addr()) == subject.family)
        .filter(|own| !own.ours && !subject.is_virtual(own.network.addr()));
    let family = match subject.family {
        Family::Ipv4 => "IPv4",
        Family::Ipv6 => "IPv6",
    };
    let name = subject.interface;
    if let Some(source) = subject.source {
        let mut all = interface.state.addresses.iter();
        if all.any(|own| own.network.addr() == source) {
            return None;
        }
        let what = format!("`source` is {source}, which is not on {name}");
        return Some(
            Finding::error("source-missing", &subject.name, what)
                .why("there is nothing to send advertisements from, and the instance is in fault")
                .run(format!("ip address show dev {name}"))
                .advise("add the address to the host, or write the right one as `source`"),
        );
    }
    let usable = |address: IpAddr| match address {
        IpAddr::V4(_) => true,
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    let found = match subject.peers.is_empty() {
        true => own.any(|own| usable(own.network.addr()) && !own.tentative),
        false => own.any(|own| !own.tentative),
    };
    // Priority 255 stands for an interface whose own address is the virtual one.
    let owner = interface.state.addresses.iter().any(|own| {
        !own.ours
            && Family::of(own.network.addr()) == subject.family
            && subject.is_virtual(own.network.addr())
    });
    (!found && !owner).then(|| {
        let kind = match subject.family {
            Family::Ipv4 => "",
            Family::Ipv6 => "link-local ",
        };
        let what = format!("{name} has no {kind}{family} address of its own");
        Finding::error("no-source-address", &subject.name, what)
            .why("there is nothing to send advertisements from, and the instance is in fault")
            .run(format!("ip address show dev {name}"))
            .advise(format!(
                "give it one beside the virtual ones: `ip address add ADDRESS/LENGTH dev {name}`, \
                 and the same in the file of whatever configures it"
            ))
    })
}

/// A running agent is a member where it listens to the group.
fn group(facts: &Facts, subject: &Subject, interface: &Interface) -> Option<Finding> {
    let told = facts.told(subject)?;
    let listens = matches!(told.state.as_str(), "active" | "backup");
    let configured = facts.configuration.digest.is_some();
    let groups: &BTreeSet<Family> = interface.groups.as_ref()?;
    let member = groups.contains(&subject.family);
    (listens && configured && subject.peers.is_empty() && !member).then(|| {
        let name = subject.interface;
        let group = crate::agent::ladder::group(subject.family);
        let what = format!("this host is no member of {group} on {name}, although the agent runs");
        Finding::error("not-in-group", &subject.name, what)
            .why("the advertisements of other nodes are not heard, and two hosts become Active")
            .run("systemctl restart vipward")
            .run(format!("ip maddress show dev {name}"))
    })
}
