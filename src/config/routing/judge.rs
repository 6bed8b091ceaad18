//! What routes and rules mean: faults of sense in one instance and between
//! instances, and the settings when there are none.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{RouteDraft, RuleDraft, Target};
use crate::agent::routing::{
    RULE_PRIORITY, Route, RouteSettings, Rule, RuleSettings, TABLE_MAIN, default_metric, table_name,
};
use crate::agent::settings::InstanceSettings;
use crate::agent::values::Family;
use crate::config::command::optional;
use crate::config::fault::{Finding, Findings, Place};
use crate::config::instance::{Draft, Items};
use crate::config::keys::nearest;
use crate::config::read::Field;

fn listed<T>(list: &Field<Items<T>>) -> Option<&[T]> {
    match list {
        Field::Absent => Some(&[]),
        Field::Bad => None,
        Field::Given(at) => at.value.whole.then_some(&at.value.items),
    }
}

/// Nothing when one is at fault.
pub(in crate::config) fn judge_routes(
    draft: &Draft,
    family: Family,
    out: &mut Findings,
) -> Option<Vec<RouteSettings>> {
    let items = match &draft.routes {
        Field::Given(at) => at.value.items.as_slice(),
        Field::Absent | Field::Bad => &[],
    };
    let judged: Vec<_> = items
        .iter()
        .map(|item| route(draft, item, family, out))
        .collect();
    listed(&draft.routes)?;
    judged.into_iter().collect()
}

/// As [`judge_routes`].
pub(in crate::config) fn judge_rules(
    draft: &Draft,
    family: Family,
    out: &mut Findings,
) -> Option<Vec<RuleSettings>> {
    let items = match &draft.rules {
        Field::Given(at) => at.value.items.as_slice(),
        Field::Absent | Field::Bad => &[],
    };
    let judged: Vec<_> = items.iter().map(|item| rule(item, family, out)).collect();
    listed(&draft.rules)?;
    judged.into_iter().collect()
}

fn route(
    draft: &Draft,
    item: &RouteDraft,
    family: Family,
    out: &mut Findings,
) -> Option<RouteSettings> {
    let to = destination(item, family);
    let family = Family::of(to.addr());
    let interface = match (item.interface.given(), draft.interface.given()) {
        (Some(other), _) => Some(other.value),
        (None, Some(own)) => item.interface.or(own.value),
        (None, None) => None,
    };
    let mut sound = true;
    for (what, other) in [("via", &item.via), ("source", &item.source)] {
        if let Some(other) = other.given()
            && Family::of(other.value) != family
        {
            sound = false;
            out.fault(mixed(what, other.value, other.place, to, item));
        }
    }
    if let Some(via) = item.via.given()
        && let Some(own) = own_address(draft, via.value)
    {
        sound = false;
        let title = format!("`via` is {}, a virtual address of this instance", via.value);
        out.fault(
            Finding::at(via.place, title, "write the address of a router")
                .see(own, "held by this host, then")
                .help(
                    "the route is there while this host holds the address: it would lead to itself",
                ),
        );
    }
    if let Some(onlink) = item.onlink.given()
        && onlink.value
        && matches!(item.via, Field::Absent)
    {
        sound = false;
        out.fault(
            Finding::at(onlink.place, "`onlink` without `via`", "remove it")
                .help("it says that the router is a neighbour; without one every destination is"),
        );
    }
    if let Some(metric) = item.metric.given()
        && metric.value == 0
        && family == Family::Ipv6
    {
        sound = false;
        let title = "an IPv6 route has no `metric` of 0";
        out.fault(
            Finding::at(metric.place, title, "write 1, or leave it out for 1024")
                .help("the kernel takes 0 for its default, 1024"),
        );
    }
    Some(RouteSettings {
        route: Route {
            to,
            via: optional(&item.via)?,
            interface: interface?,
            source: optional(&item.source)?,
            table: item.table.or(TABLE_MAIN)?,
            metric: item.metric.or(default_metric(family))?,
            onlink: item.onlink.or(false)?,
        },
        required: item.required.or(true)?,
    })
    .filter(|_| sound)
}

/// `default` is of the family that the rest speaks.
fn destination(item: &RouteDraft, otherwise: Family) -> IpNet {
    match item.to.value {
        Target::Network(network) => network,
        Target::Default => {
            let said = item.via.given().or(item.source.given());
            match said.map_or(otherwise, |said| Family::of(said.value)) {
                Family::Ipv4 => Ipv4Net::default().into(),
                Family::Ipv6 => Ipv6Net::default().into(),
            }
        }
    }
}

fn mixed(what: &str, other: IpAddr, place: Place, to: IpNet, item: &RouteDraft) -> Finding {
    let (name, theirs) = match Family::of(to.addr()) {
        Family::Ipv4 => ("an IPv4", "IPv6"),
        Family::Ipv6 => ("an IPv6", "IPv4"),
    };
    let title = format!("`{what}` is {other}, which is {theirs}, in {name} route");
    let label = format!("write {name} address, or leave it out");
    Finding::at(place, title, label).see(item.to.place, "where it leads")
}

/// Where the instance lists it.
fn own_address(draft: &Draft, address: IpAddr) -> Option<Place> {
    let list = draft.addresses.given()?;
    let mut items = list.value.items.iter();
    let own = items.find(|item| item.address() == address)?;
    Some(own.place)
}

fn rule(item: &RuleDraft, family: Family, out: &mut Findings) -> Option<RuleSettings> {
    let networks = [&item.from, &item.to];
    let interfaces = [&item.iif, &item.oif];
    let chooses = networks.iter().any(|field| !matches!(field, Field::Absent))
        || interfaces
            .iter()
            .any(|field| !matches!(field, Field::Absent))
        || !matches!(item.fwmark, Field::Absent);
    if !chooses {
        out.fault(
            Finding::at(item.place, "a rule for every packet", "say which").help(
                "`from: 192.0.2.10/32` is what starts from a virtual address; a rule for all would \
                 take the host's own traffic along",
            ),
        );
        return None;
    }
    let said = item.from.given().or(item.to.given());
    let family = said.map_or(family, |said| Family::of(said.value.addr()));
    if let (Some(from), Some(to)) = (item.from.given(), item.to.given())
        && Family::of(to.value.addr()) != family
    {
        let title = format!("a rule from {} to {}", from.value, to.value);
        out.fault(
            Finding::at(to.place, title, "of another family")
                .see(from.place, "than this")
                .help("a rule is for IPv4 or for IPv6: write two"),
        );
        return None;
    }
    Some(RuleSettings {
        rule: Rule {
            family,
            from: optional(&item.from)?,
            to: optional(&item.to)?,
            iif: optional(&item.iif)?,
            oif: optional(&item.oif)?,
            fwmark: optional(&item.fwmark)?,
            table: item.table.value,
            priority: item.priority.or(RULE_PRIORITY)?,
        },
        required: item.required.or(true)?,
    })
}

/// All sound instances, each with what it was written as.
type Judged<'a> = [(&'a Draft, InstanceSettings)];

/// What two of them may not both have, and what one takes from another.
pub(in crate::config) fn between(judged: &Judged, out: &mut Findings) {
    same_route(judged, out);
    same_rule(judged, out);
    sources(judged, out);
}

fn routes<'a>(
    (draft, settings): &'a (&Draft, InstanceSettings),
) -> impl Iterator<Item = (&'a RouteDraft, &'a Route)> {
    let drafts = listed(&draft.routes).unwrap_or_default();
    let routes = settings.routes.iter().map(|settings| &settings.route);
    drafts.iter().zip(routes)
}

/// The kernel tells routes apart by destination, table and metric.
fn same_route(judged: &Judged, out: &mut Findings) {
    let mut seen = BTreeMap::new();
    for instance in judged {
        for (draft, route) in routes(instance) {
            let key = (route.to, route.table, route.metric);
            let Some(first) = seen.insert(key, draft.place) else {
                continue;
            };
            let title = format!(
                "two routes to {} in table {} with metric {}",
                route.to,
                table_name(route.table),
                route.metric
            );
            out.fault(
                Finding::at(draft.place, title, "again here")
                    .see(first, "first here")
                    .help(
                        "the kernel takes one of them: remove one, or give it another `metric`; the \
                         lowest is preferred",
                    ),
            );
        }
    }
}

/// The kernel removes the first rule that has all that a removal names, so one
/// that says more than another could go in its place.
fn same_rule(judged: &Judged, out: &mut Findings) {
    let mut seen: BTreeMap<_, Vec<(&Rule, Place)>> = BTreeMap::new();
    for (draft, settings) in judged {
        let drafts = listed(&draft.rules).unwrap_or_default();
        for (draft, settings) in drafts.iter().zip(&settings.rules) {
            let rule = &settings.rule;
            let earlier = seen
                .entry((rule.family, rule.table, rule.priority))
                .or_default();
            let mut all = earlier.iter();
            let like = all.find(|(other, _)| covers(rule, other) || covers(other, rule));
            if let Some((other, place)) = like {
                let title = match *other == rule {
                    true => format!("the rule {rule} is listed twice"),
                    false => format!(
                        "one of two rules of priority {} covers the other",
                        rule.priority
                    ),
                };
                out.fault(
                    Finding::at(draft.place, title, "again here")
                        .see(*place, "first here")
                        .help(
                            "the kernel could remove the one for the other: remove one, or give it \
                             another `priority`",
                        ),
                );
            }
            earlier.push((rule, draft.place));
        }
    }
}

/// Whatever `rule` says, `other` says too.
fn covers(rule: &Rule, other: &Rule) -> bool {
    fn agrees<T: PartialEq>(one: &Option<T>, other: &Option<T>) -> bool {
        one.is_none() || one == other
    }
    agrees(&rule.from, &other.from)
        && agrees(&rule.to, &other.to)
        && agrees(&rule.iif, &other.iif)
        && agrees(&rule.oif, &other.oif)
        && agrees(&rule.fwmark, &other.fwmark)
}

/// A source must be there when the route comes: a virtual address of the
/// instance, or one that the host has anyway.
fn sources(judged: &Judged, out: &mut Findings) {
    let mut owners: BTreeMap<IpAddr, Vec<&Draft>> = BTreeMap::new();
    for (draft, settings) in judged {
        for address in &settings.addresses {
            let owners = owners.entry(address.network.addr()).or_default();
            owners.push(draft);
        }
    }
    for instance in judged {
        let (draft, settings) = instance;
        for (item, route) in routes(instance) {
            let (Some(source), Some(written)) = (route.source, item.source.given()) else {
                continue;
            };
            let of = owners.get(&source).map_or(&[][..], Vec::as_slice);
            if of.iter().any(|owner| owner.name.value == draft.name.value) {
                continue;
            }
            match of.first() {
                Some(owner) => {
                    let title = format!(
                        "`source` is {source}, a virtual address of instance `{}`",
                        owner.name.value
                    );
                    let place = own_address(owner, source).unwrap_or(owner.name.place);
                    out.fault(
                        Finding::at(written.place, title, "write an address of this instance")
                            .see(place, "which comes and goes by itself")
                            .help("or move the route to that instance"),
                    );
                }
                None => out.warn(foreign_source(settings, source, written.place)),
            }
        }
    }
}

fn foreign_source(settings: &InstanceSettings, source: IpAddr, place: Place) -> Finding {
    let title = format!("`source` is {source}, which is no address of this instance");
    let texts: Vec<String> = settings
        .addresses
        .iter()
        .map(|address| address.network.addr().to_string())
        .collect();
    let near = nearest(&source.to_string(), texts.iter().map(String::as_str));
    let label = match near {
        Some(near) => format!("`{near}` is one"),
        None => "the host itself must have it".to_owned(),
    };
    Finding::at(place, title, label).help(
        "the kernel refuses a route from an address that is not there, and the instance is in \
         fault then",
    )
}
