//! Removes what a dead agent left, by its record and by our mark, before
//! another begins or after the last one ended.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use super::record::Record;
use super::{Left, LeftAddress, Leftovers, farewell};
use crate::agent::routing::RoutingItem;
use crate::agent::values::InterfaceName;
use crate::daemon::presence::Presence;
use crate::net::farewell_socket::FarewellSocket;
use crate::net::kernel::{Cleaner, Survey};

/// What was found and done, in sentences.
#[derive(Debug, Default)]
pub struct Swept {
    pub done: Vec<String>,
    /// What could not be done.
    pub problems: Vec<String>,
    /// Some address is still there, or may be.
    pub unfinished: bool,
}

/// Looks for what is left, says priority 0 for it, removes it and empties the
/// record. Nobody else may hold the runtime directory. Without a `presence`
/// only what the record names is removed. Waits for the kernel, for seconds at
/// worst.
pub fn sweep(record: &mut Record, presence: &Result<Presence, String>) -> Swept {
    let mut swept = Swept::default();
    if let Err(why) = presence {
        swept
            .problems
            .push(format!("{why}; only what the record names is looked for"));
    }
    let recorded = record.read().unwrap_or_else(|why| {
        let by_mark = "what a dead agent left is known by its mark alone";
        swept.problems.push(format!("{why}; {by_mark}"));
        None
    });
    let mut cleaner = match Cleaner::open() {
        Ok(cleaner) => cleaner,
        Err(error) => {
            swept.fail(format!(
                "no netlink socket could be opened: {error}; nothing was removed"
            ));
            return swept;
        }
    };
    let survey = match cleaner.survey() {
        Ok(survey) => survey,
        Err(error) => {
            swept.fail(format!("{error}; nothing was removed"));
            return swept;
        }
    };
    let instances = recorded.as_ref().map_or(&[][..], |left| &left.instances);
    let left = left_on(&survey, recorded.as_ref(), presence.is_ok());
    speak(instances, &left, &survey, &mut swept);
    for item in routing_left_on(&survey, recorded.as_ref(), presence.is_ok()) {
        remove_routing(&mut cleaner, &item, &mut swept);
    }
    for (interface, network) in left.iter().rev() {
        remove(&mut cleaner, *interface, *network, &mut swept);
    }
    for link in links_left_on(&survey, recorded.as_ref(), presence.is_ok()) {
        remove_link(&mut cleaner, link, &mut swept);
    }
    // Another agent's end by themselves as well.
    for address in survey.lingering.iter().filter(|_| presence.is_ok()) {
        match cleaner.remove_lingering(*address) {
            Ok(()) => swept.done.push(format!("forgot {address}, handed over")),
            Err(why) => swept.fail(format!("{address}, handed over, is not forgotten: {why}")),
        }
    }
    // Also one that could not be read: it tells nobody anything.
    if !swept.unfinished {
        record.clear(&mut swept.problems);
    }
    swept
}

/// The addresses to remove: those with our mark, and, where the kernel keeps
/// no marks, those that the record names. Of marked ones that it does not
/// name only if nobody else could have added them.
fn left_on(
    survey: &Survey,
    recorded: Option<&Leftovers>,
    alone: bool,
) -> BTreeSet<(InterfaceName, IpNet)> {
    let recorded: BTreeSet<_> = recorded
        .into_iter()
        .flat_map(Leftovers::addresses)
        .collect();
    let found = survey.addresses.iter().filter(|found| {
        let named = recorded.contains(&(found.interface, found.network));
        if found.ours {
            named || alone
        } else {
            named && !survey.marks_are_kept
        }
    });
    found
        .map(|found| (found.interface, found.network))
        .collect()
}

/// The routes and rules to remove, rules first: those with our mark, unless
/// another agent could have added them that no record of ours names.
fn routing_left_on(survey: &Survey, recorded: Option<&Leftovers>, alone: bool) -> Vec<RoutingItem> {
    let recorded: BTreeSet<_> = recorded.into_iter().flat_map(Leftovers::routing).collect();
    let ours = survey.routing.iter().rev();
    ours.filter(|item| alone || recorded.contains(item))
        .cloned()
        .collect()
}

/// The interfaces to remove: as with routes.
fn links_left_on(survey: &Survey, recorded: Option<&Leftovers>, alone: bool) -> Vec<InterfaceName> {
    let recorded: BTreeSet<_> = recorded.into_iter().flat_map(Leftovers::links).collect();
    let ours = survey.links.iter();
    ours.filter(|link| alone || recorded.contains(link))
        .copied()
        .collect()
}

/// For each instance that still had an address here: its peers may not have
/// noticed yet.
fn speak(
    instances: &[Left],
    left: &BTreeSet<(InterfaceName, IpNet)>,
    survey: &Survey,
    swept: &mut Swept,
) {
    let still: BTreeSet<(InterfaceName, IpAddr)> = left
        .iter()
        .map(|(interface, network)| (*interface, network.addr()))
        .collect();
    let is_there = |address: &LeftAddress| {
        let parts = address.parts();
        parts.is_some_and(|(interface, network)| still.contains(&(interface, network.addr())))
    };
    let mut socket = None;
    for instance in instances {
        if !instance.addresses.iter().any(is_there) {
            continue;
        }
        let name = &instance.name;
        let source = instance.farewell.as_ref().map(|farewell| farewell.source);
        let mut own = survey.addresses.iter();
        let told = match source {
            Some(source) if own.any(|own| own.network.addr() == source) => {
                let socket = socket.get_or_insert_with(FarewellSocket::open);
                farewell::say(socket, instance, &mut farewell::Signer::without_keys())
            }
            Some(source) => Err(format!("its source address {source} is gone")),
            None => Err("it had no source address".to_owned()),
        };
        match told {
            Ok(()) => swept.done.push(format!("sent priority 0 for {name}")),
            Err(why) => swept
                .problems
                .push(format!("priority 0 was not sent for {name}: {why}")),
        }
    }
}

fn remove(cleaner: &mut Cleaner, interface: InterfaceName, network: IpNet, swept: &mut Swept) {
    match cleaner.remove(interface, network) {
        Ok(true) => swept
            .done
            .push(format!("removed {network} from {interface}")),
        // Its interface went, or somebody was faster.
        Ok(false) => {}
        Err(why) => swept.fail(format!(
            "{network} could not be removed from {interface}: {why}"
        )),
    }
}

fn remove_routing(cleaner: &mut Cleaner, item: &RoutingItem, swept: &mut Swept) {
    match cleaner.remove_routing(item) {
        Ok(true) => swept.done.push(format!("removed the {item}")),
        Ok(false) => {}
        Err(why) => swept.fail(format!("the {item} could not be removed: {why}")),
    }
}

fn remove_link(cleaner: &mut Cleaner, link: InterfaceName, swept: &mut Swept) {
    match cleaner.remove_link(link) {
        Ok(true) => swept.done.push(format!("removed the interface {link}")),
        Ok(false) => {}
        Err(why) => swept.fail(format!("the interface {link} could not be removed: {why}")),
    }
}

impl Swept {
    fn fail(&mut self, why: String) {
        self.unfinished = true;
        self.problems.push(why);
    }
}

#[cfg(test)]
mod tests {
    use super::super::FORMAT;
    use super::super::tests::custody;
    use super::*;
    use crate::net::kernel::HostAddress;

    fn on_host(network: &str, ours: bool) -> HostAddress {
        HostAddress {
            interface: "eth0".parse().unwrap(),
            network: network.parse().unwrap(),
            ours,
        }
    }

    fn words(marks_are_kept: bool, alone: bool) -> Vec<String> {
        let survey = Survey {
            addresses: vec![
                on_host("192.0.2.1/24", false),
                on_host("192.0.2.10/32", true),
                on_host("192.0.2.11/32", false),
                on_host("192.0.2.12/24", true),
            ],
            marks_are_kept,
            routing: Default::default(),
            links: Vec::new(),
            lingering: Vec::new(),
        };
        let recorded = Leftovers {
            format: FORMAT,
            instances: vec![Left::from(custody(
                "web",
                &["192.0.2.10/32", "192.0.2.11/32"],
            ))],
        };
        let left = left_on(&survey, Some(&recorded), alone);
        left.iter()
            .map(|(_, network)| network.to_string())
            .collect()
    }

    #[test]
    fn marked_ones_go_recorded_or_not_and_others_only_where_no_mark_can_be() {
        assert_eq!(words(true, true), ["192.0.2.10/32", "192.0.2.12/24"]);
        assert_eq!(words(true, false), ["192.0.2.10/32"]);
        let without = ["192.0.2.10/32", "192.0.2.11/32", "192.0.2.12/24"];
        let mut found = words(false, true);
        found.sort();
        assert_eq!(found, without);
    }

    #[test]
    fn of_interfaces_those_with_our_mark_go() {
        let names = ["vr4-51-eth0", "vr4-52-eth0"].map(|name| name.parse().unwrap());
        let survey = Survey {
            links: names.to_vec(),
            ..Survey::default()
        };
        let mut left = Left::from(custody("web", &[]));
        left.link = Some("vr4-51-eth0".to_owned());
        let recorded = Leftovers {
            format: FORMAT,
            instances: vec![left],
        };
        assert_eq!(links_left_on(&survey, Some(&recorded), true), names);
        assert_eq!(links_left_on(&survey, Some(&recorded), false), names[..1]);
        assert_eq!(links_left_on(&survey, None, true), names);
        assert_eq!(links_left_on(&survey, None, false), []);
    }

    /// Rules before routes; beside another agent only what a record names.
    #[test]
    fn of_routes_and_rules_those_with_our_mark_go() {
        use super::super::routing::tests::{route, rule};
        let mut custody = custody("web", &[]);
        custody.routing = vec![RoutingItem::Route(route()), RoutingItem::Rule(rule())];
        let recorded = Leftovers {
            format: FORMAT,
            instances: vec![Left::from(custody)],
        };
        let mut other = route();
        other.table = 77;
        let items = [
            RoutingItem::Route(other.clone()),
            RoutingItem::Route(route()),
            RoutingItem::Rule(rule()),
        ];
        let survey = Survey {
            routing: items.into_iter().collect(),
            ..Survey::default()
        };
        let named = [RoutingItem::Rule(rule()), RoutingItem::Route(route())];
        let all = routing_left_on(&survey, None, true);
        assert_eq!(all.len(), 3);
        assert_eq!(all.first(), named.first());
        assert_eq!(routing_left_on(&survey, Some(&recorded), false), named);
        assert_eq!(routing_left_on(&survey, None, false), []);
        assert_eq!(routing_left_on(&survey, Some(&recorded), true).len(), 3);
    }
}
