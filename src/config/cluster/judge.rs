//! What the keys of `cluster` mean together, and against the instances.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::{ClusterDraft, NodeDraft, Own, PORT_DEFAULT};
use crate::agent::settings::ClusterSettings;
use crate::agent::values::Family;
use crate::config::fault::{Finding, Findings, Place, quoted};
use crate::config::instance::Draft;
use crate::config::keys::nearest;
use crate::config::read::{At, Field};

/// The outer `None` is a fault.
pub(in crate::config) fn settings(
    draft: &Field<ClusterDraft>,
    own: Own,
    instances: &[Draft],
    out: &mut Findings,
) -> Option<Option<ClusterSettings>> {
    let draft = match draft {
        Field::Absent => return Some(None),
        Field::Bad => return None,
        Field::Given(draft) => &draft.value,
    };
    let nodes = draft.nodes.given()?;
    let items = &nodes.value.items;
    twice(items, out);
    loopback(items, out);
    virtual_address(items, instances, out);
    // A name or an address that was refused may be the one that is missed.
    if !nodes.value.whole {
        return None;
    }
    let paths = paths(items, out)?;
    let Some(ours) = items
        .iter()
        .find(|node| node.name.value.as_str() == own.name)
    else {
        out.fault(not_among(&own, items, nodes.place));
        return None;
    };
    let default = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), PORT_DEFAULT);
    let listen = draft.listen.or(default)?;
    if let Some(given) = draft.listen.given() {
        specified(given, ours, items, &paths, out);
    }
    draft.key_file.given()?;
    let addresses = |node: &NodeDraft| node.addresses.items.iter().map(|at| at.value).collect();
    Some(Some(ClusterSettings {
        own: ours.name.value.clone(),
        nodes: items
            .iter()
            .map(|node| (node.name.value.clone(), addresses(node)))
            .collect(),
        listen,
    }))
}

fn each(items: &[NodeDraft]) -> impl Iterator<Item = (&NodeDraft, &At<IpAddr>)> {
    items
        .iter()
        .flat_map(|node| node.addresses.items.iter().map(move |at| (node, at)))
}

fn twice(items: &[NodeDraft], out: &mut Findings) {
    let mut seen: BTreeMap<IpAddr, (&NodeDraft, Place)> = BTreeMap::new();
    for (node, at) in each(items) {
        if let Some((first, place)) = seen.insert(at.value, (node, at.place)) {
            let title = format!("the address {} is listed twice", at.value);
            let (ours, theirs) = (&node.name.value, &first.name.value);
            out.fault(
                Finding::at(at.place, title, format!("of `{ours}`"))
                    .see(place, format!("of `{theirs}`"))
                    .help(
                        "an address tells which node speaks, and by which path: each stands once",
                    ),
            );
        }
    }
}

/// For tests on one machine all may be loopback addresses; one among others
/// reaches nobody.
fn loopback(items: &[NodeDraft], out: &mut Findings) {
    if each(items).all(|(_, at)| at.value.is_loopback()) {
        return;
    }
    for (node, at) in each(items).filter(|(_, at)| at.value.is_loopback()) {
        let title = format!(
            "{} is a loopback address, which never leaves the host",
            at.value
        );
        let label = format!("write an address of `{}`", node.name.value);
        out.fault(Finding::at(at.place, title, label));
    }
}

fn virtual_address(items: &[NodeDraft], instances: &[Draft], out: &mut Findings) {
    let mut addresses = BTreeMap::new();
    for draft in instances {
        let list = draft.addresses.given().into_iter();
        for item in list.flat_map(|list| &list.value.items) {
            addresses.insert(item.address(), (item.place, &draft.name.value));
        }
    }
    for (node, at) in each(items) {
        if let Some((place, instance)) = addresses.get(&at.value) {
            let title = format!("{} is a virtual address and a node's own", at.value);
            out.fault(
                Finding::at(at.place, title, format!("of `{}`", node.name.value))
                    .see(*place, format!("kept by instance `{instance}`"))
                    .help(
                        "it moves from host to host, so it cannot tell which node speaks: write an \
                         address that stays on the node",
                    ),
            );
        }
    }
}

/// The family of each path, if all nodes agree.
fn paths(items: &[NodeDraft], out: &mut Findings) -> Option<Vec<Family>> {
    const ONE_PATH: &str = "the n-th addresses of all nodes are one path of the peer link";
    let (first, others) = items.split_first()?;
    let list = &first.addresses.items;
    let families: Vec<Family> = list.iter().map(|at| Family::of(at.value)).collect();
    let mut sound = true;
    for other in others {
        let theirs = &other.addresses.items;
        if theirs.len() != list.len() {
            let title = format!(
                "node `{}` has {} and node `{}` {}",
                other.name.value,
                addresses(theirs.len()),
                first.name.value,
                list.len()
            );
            out.fault(
                Finding::at(other.name.place, title, "write as many for each")
                    .see(first.name.place, addresses(list.len()))
                    .help(ONE_PATH),
            );
            sound = false;
            continue;
        }
        for ((ours, family), theirs) in list.iter().zip(&families).zip(theirs) {
            if Family::of(theirs.value) != *family {
                let title = format!("{} and {} cannot be one path", ours.value, theirs.value);
                out.fault(
                    Finding::at(
                        theirs.place,
                        title,
                        format!("write an {} address", spoken(*family)),
                    )
                    .see(ours.place, format!("{} here", spoken(*family)))
                    .help(format!(
                        "{ONE_PATH}, so they are of one family: put them in the same order"
                    )),
                );
                sound = false;
            }
        }
    }
    sound.then_some(families)
}

fn addresses(count: usize) -> String {
    match count {
        1 => "1 address".to_owned(),
        count => format!("{count} addresses"),
    }
}

fn spoken(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "IPv4",
        Family::Ipv6 => "IPv6",
    }
}

/// This host is not one of the nodes.
fn not_among(own: &Own, items: &[NodeDraft], place: Place) -> Finding {
    let title = format!(
        "this node is {}, and `nodes` does not have it",
        quoted(own.name)
    );
    let names = || items.iter().map(|node| node.name.value.as_str());
    // `lb1.example.net` where `lb1` is meant, or the other way round.
    let short = |name: &str| name.split('.').next().map(str::to_owned);
    let same_host = || names().find(|name| short(name) == short(own.name));
    let near = same_host().or_else(|| nearest(own.name, names()));
    let label = match near {
        Some(near) => format!("`{near}` is here"),
        None => format!("add `{}` with its addresses", own.name),
    };
    let finding = Finding::at(place, title, label);
    let finding = match own.place {
        Some(place) => finding.see(place, "it is named here"),
        None => finding,
    };
    let write = near.unwrap_or_else(|| names().next().unwrap_or_default());
    finding.help(match own.place {
        Some(_) => {
            format!("`node` must be one of `nodes`: write `node: {write}`, or another name there")
        }
        None => format!(
            "without `node` the host's name is taken: write `node: {write}` at the top level, or \
             another name here"
        ),
    })
}

/// An address in `listen` stands for ours of its family, so there must be one.
fn specified(
    given: &At<SocketAddr>,
    own: &NodeDraft,
    items: &[NodeDraft],
    paths: &[Family],
    out: &mut Findings,
) {
    let address = given.value.ip();
    if address.is_unspecified() {
        return;
    }
    let anywhere = format!(
        "write \"0.0.0.0:{}\": each of this node's own addresses",
        given.value.port()
    );
    let others =
        each(items).find(|(node, at)| at.value == address && node.name.value != own.name.value);
    if let Some((node, at)) = others {
        let title = format!("`listen` is an address of node `{}`", node.name.value);
        out.fault(
            Finding::at(given.place, title, "this host cannot have it")
                .see(at.place, "listed here")
                .help(anywhere),
        );
        return;
    }
    let family = Family::of(address);
    let count = paths.iter().filter(|path| **path == family).count();
    if count != 1 {
        let spoken = spoken(family);
        let title = match count {
            0 => format!("`listen` is an {spoken} address, and no path is {spoken}"),
            _ => format!("`listen` is one address, and {count} paths are {spoken}"),
        };
        let fault = Finding::at(given.place, title, anywhere);
        out.fault(
            fault.help("an address here replaces this node's own on the one path of its family"),
        );
    }
    if address.is_loopback() && !own.addresses.items.iter().all(|at| at.value.is_loopback()) {
        let title = format!("{address} is a loopback address, which nobody else reaches");
        out.fault(Finding::at(
            given.place,
            title,
            format!("write \"0.0.0.0:{}\"", given.value.port()),
        ));
    }
}

/// What one cut takes along with the advertisements.
pub(in crate::config) fn advice(
    draft: &Field<ClusterDraft>,
    own: &str,
    instances: &[Draft],
    out: &mut Findings,
) {
    let Some(nodes) = draft.given().and_then(|draft| draft.value.nodes.given()) else {
        return;
    };
    let items = &nodes.value.items;
    if items.iter().any(|node| node.addresses.items.len() != 1) {
        return;
    }
    let ours = items.iter().find(|node| node.name.value.as_str() == own);
    let Some(ours) = ours.and_then(|node| node.addresses.items.first()) else {
        return;
    };
    let shared = instances
        .iter()
        .find(|draft| shares(draft, ours.value, items));
    let Some(shared) = shared else { return };
    let title = format!(
        "the only path of the peer link is the network of instance `{}`",
        shared.name.value
    );
    out.warn(
        Finding::at(ours.place, title, "one cut takes both")
            .see(shared.name.place, "its advertisements go there too")
            .help(
                "when that network fails each node hears nothing of the other and both become Active: \
                 list a second address of every node, on another network",
            ),
    );
}

/// Whether the instance's advertisements go where `ours` is, as far as the
/// file tells.
fn shares(draft: &Draft, ours: IpAddr, items: &[NodeDraft]) -> bool {
    let source = draft
        .source
        .given()
        .is_some_and(|source| source.value == ours);
    let peers = draft.unicast_peers.given();
    let peers = peers.iter().flat_map(|peers| &peers.value.items);
    let to_node = peers
        .map(|peer| peer.value)
        .any(|peer| each(items).any(|(_, at)| at.value == peer));
    let list = draft.addresses.given();
    let mut addresses = list.iter().flat_map(|list| &list.value.items);
    let same_subnet = addresses.any(|item| {
        let own = item.interface.given().map(|at| at.value);
        let here = own.is_none() || own == draft.interface.given().map(|at| at.value);
        here && item.network.contains(&ours)
    });
    source || to_node || same_subnet
}
