//! The kernel's view of the host: interfaces, settings, rights.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::thread;

use ipnet::{IpNet, Ipv4Net};
use nix::ifaddrs::getifaddrs;

use super::super::facts::{Beside, Interface, InterfaceSettings, Kernel, Rights, Subject};
use crate::agent::ladder::group;
use crate::agent::values::{Family, InterfaceName};
use crate::net::kernel::{Inspected, Inspector};
use crate::net::rights as net_rights;

/// Networks that are looked at, and hosts that are tried in each.
const NETWORKS_MAX: usize = 64;
const NEIGHBOURS_TRIED: usize = 8;

pub type Interfaces = BTreeMap<InterfaceName, Result<Option<Interface>, String>>;

pub fn name() -> String {
    let name = nix::unistd::gethostname().ok();
    let name = name.and_then(|name| name.into_string().ok());
    name.unwrap_or_else(|| "this host".to_owned())
}

pub fn interfaces(
    inspector: &mut Result<Inspector, String>,
    names: &BTreeSet<InterfaceName>,
) -> Interfaces {
    let groups = memberships();
    let look = |name: &InterfaceName| {
        let inspector = inspector.as_mut().map_err(|error| error.clone())?;
        let found = inspector.interface(*name)?;
        Ok(found.map(|found| interface(*name, found, groups.as_ref())))
    };
    names.iter().copied().zip(names.iter().map(look)).collect()
}

fn interface(
    name: InterfaceName,
    found: Inspected,
    groups: Option<&BTreeSet<(String, Family)>>,
) -> Interface {
    let member = |all: &BTreeSet<(String, Family)>| {
        let families = [Family::Ipv4, Family::Ipv6];
        let member = |family: &Family| all.contains(&(name.to_string(), *family));
        families.into_iter().filter(member).collect()
    };
    Interface {
        state: found.state,
        enabled: found.enabled,
        carrier: found.carrier,
        multicast: found.multicast,
        groups: groups.map(member),
        settings: settings(name.as_str()),
    }
}

pub fn ways(
    inspector: &mut Result<Inspector, String>,
    targets: &BTreeSet<IpAddr>,
) -> BTreeMap<IpAddr, InterfaceName> {
    let Ok(inspector) = inspector else {
        return BTreeMap::new();
    };
    let ways = targets.iter().filter_map(|target| {
        let way = inspector.way_to(*target).ok()??;
        Some((*target, way.interface))
    });
    ways.collect()
}

/// By which interface a neighbour of each virtual IPv4 address is answered.
pub fn ways_back(
    inspector: &mut Result<Inspector, String>,
    subjects: &[Subject],
) -> BTreeMap<IpNet, InterfaceName> {
    let Ok(inspector) = inspector else {
        return BTreeMap::new();
    };
    let held = subjects.iter().flat_map(|subject| &subject.addresses);
    let networks: BTreeSet<Ipv4Net> = held
        .filter_map(|(network, _)| match network {
            IpNet::V4(network) if network.prefix_len() < 31 => Some(network.trunc()),
            IpNet::V4(_) | IpNet::V6(_) => None,
        })
        .take(NETWORKS_MAX)
        .collect();
    let ways = networks.into_iter().filter_map(|network| {
        // One that is not this host itself.
        let mut neighbours = network.hosts().take(NEIGHBOURS_TRIED);
        let way = neighbours.find_map(|neighbour| {
            let way = inspector.way_to(neighbour.into()).ok()??;
            (!way.local).then_some(way.interface)
        });
        Some((IpNet::V4(network), way?))
    });
    ways.collect()
}

/// Interfaces that have an address of a virtual address' subnet, and do not
/// carry it.
pub fn beside(subjects: &[Subject]) -> Vec<Beside> {
    let mut found = Vec::new();
    let Ok(all) = getifaddrs() else {
        return found;
    };
    let own = all.filter_map(|one| {
        let address = one.address?.as_sockaddr_in()?.ip();
        let mask = one.netmask?.as_sockaddr_in()?.ip();
        let network = Ipv4Net::with_netmask(address, mask).ok()?;
        Some((one.interface_name.parse::<InterfaceName>().ok()?, network))
    });
    let own = own.filter(|(_, network)| {
        let own = IpAddr::V4(network.addr());
        !subjects.iter().any(|subject| subject.is_virtual(own))
    });
    let own: Vec<(InterfaceName, Ipv4Net)> = own.collect();
    let held: BTreeSet<_> = subjects
        .iter()
        .flat_map(|subject| &subject.addresses)
        .collect();
    for (held, carried_by) in held {
        let IpAddr::V4(address) = held.addr() else {
            continue;
        };
        let other = own.iter().find(|(name, network)| {
            name != carried_by && network.prefix_len() < 32 && network.contains(&address)
        });
        // One of each pair of interfaces says enough.
        let told = |name: InterfaceName| {
            let mut all = found.iter();
            all.any(|one: &Beside| (one.name, one.carried_by) == (name, *carried_by))
        };
        if let Some((name, _)) = other.filter(|(name, _)| !told(*name)) {
            found.push(Beside {
                name: *name,
                settings: settings(name.as_str()),
                address: address.into(),
                carried_by: *carried_by,
            });
        }
    }
    found
}

fn settings(name: &str) -> InterfaceSettings {
    let read = |family: &str, of: &str, key: &str| {
        let path = format!("/proc/sys/net/{family}/conf/{of}/{key}");
        number(&path).unwrap_or(0)
    };
    // The greater of the two acts (ip-sysctl).
    let greater = |key| read("ipv4", "all", key).max(read("ipv4", name, key));
    InterfaceSettings {
        rp_filter: greater("rp_filter"),
        arp_ignore: greater("arp_ignore"),
        arp_filter: greater("arp_filter") != 0,
        arp_announce: greater("arp_announce"),
        drop_gratuitous_arp: greater("drop_gratuitous_arp") != 0,
        promote_secondaries: greater("promote_secondaries") != 0,
        disable_ipv6: read("ipv6", name, "disable_ipv6") != 0,
    }
}

pub fn kernel() -> Kernel {
    let read = |family| {
        let path = format!("/proc/sys/net/{family}/ip_nonlocal_bind");
        number(&path).map(|value| value != 0)
    };
    Kernel {
        nonlocal_bind_ipv4: read("ipv4"),
        nonlocal_bind_ipv6: read("ipv6"),
    }
}

fn number(path: &str) -> Option<u8> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The interfaces on which this host is a member of VRRP's groups.
fn memberships() -> Option<BTreeSet<(String, Family)>> {
    let mut members = members_ipv4(&fs::read_to_string("/proc/net/igmp").ok()?);
    // A kernel without IPv6 has no such file.
    let ipv6 = fs::read_to_string("/proc/net/igmp6").unwrap_or_default();
    members.extend(members_ipv6(&ipv6));
    Some(members)
}

/// A line for an interface, and behind it an indented one for each group, as
/// the number that the address is in this machine's order of bytes.
fn members_ipv4(text: &str) -> BTreeSet<(String, Family)> {
    let mut interface = "";
    let mut members = BTreeSet::new();
    for line in text.lines().skip(1) {
        let mut words = line.split_whitespace();
        if line.starts_with(char::is_whitespace) {
            let number = words
                .next()
                .and_then(|hex| u32::from_str_radix(hex, 16).ok());
            let address = number.map(|number| Ipv4Addr::from(number.to_ne_bytes()));
            if address.map(IpAddr::from) == Some(group(Family::Ipv4)) {
                members.insert((interface.to_owned(), Family::Ipv4));
            }
        } else {
            interface = words.nth(1).unwrap_or_default().trim_end_matches(':');
        }
    }
    members
}

/// Index, interface, address as 32 hexadecimal digits, and more.
fn members_ipv6(text: &str) -> BTreeSet<(String, Family)> {
    let lines = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let (interface, hex) = (words.next()?, words.next()?);
        let address = Ipv6Addr::from(u128::from_str_radix(hex, 16).ok()?);
        (IpAddr::from(address) == group(Family::Ipv6)).then(|| (interface.to_owned(), Family::Ipv6))
    });
    lines.collect()
}

/// Tried on a thread of its own, which ends with what it was given.
pub fn rights() -> Rights {
    let tried = thread::spawn(|| net_rights::raise_priority().map_err(|error| error.to_string()));
    Rights {
        missing: net_rights::missing_capabilities(),
        real_time: tried.join().unwrap_or(Ok(())),
        locked_memory: net_rights::may_lock().map_err(|error| error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_found_under_their_interface() {
        let group = u32::from_ne_bytes([224, 0, 0, 18]);
        let text = format!(
            "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n\
             1\tlo        :     1      V3\n\t\t\t\t010000E0     1 0:00000000\t\t0\n\
             2\teth0      :     2      V3\n\t\t\t\t{group:08X}     1 0:00000000\t\t0\n"
        );
        let expected = BTreeSet::from([("eth0".to_owned(), Family::Ipv4)]);
        assert_eq!(members_ipv4(&text), expected);
        let text = "1    lo              ff020000000000000000000000000001     1 0000000C 0\n\
                    2    eth0            ff020000000000000000000000000012     1 00000004 0\n";
        let expected = BTreeSet::from([("eth0".to_owned(), Family::Ipv6)]);
        assert_eq!(members_ipv6(text), expected);
        assert!(members_ipv4("").is_empty() && members_ipv6("x\n").is_empty());
    }
}
