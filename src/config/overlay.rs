//! `nodes` of an instance: what is other on some node, laid over what is
//! written beside it. One file serves all hosts, so each host judges it as
//! every node would.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::cluster;
use super::fault::{Finding, Findings, Place, quoted};
use super::gather::Gathered;
use super::host;
use super::keys::{self, nearest};
use super::read::{self, Section};
use super::yaml::{Node, Value};
use super::{Sound, Surroundings, settings};
use crate::agent::settings::InstanceSettings;

/// Nodes that overlays are for; each is one more judgement of the whole.
const NODES_MAX: usize = cluster::NODES_MAX;
/// Sections that are laid over key by key. Everything else is replaced.
const BY_KEY: [&str; 3] = ["hooks", "announce", "auth"];

/// Judges the files as this node, and then as all others that they speak of.
/// What is wrong for one of those alone is told as such. Nothing only when a
/// fault was noted.
pub(super) fn each_node(
    gathered: &Gathered,
    around: &Surroundings,
    out: &mut Findings,
) -> Option<Sound> {
    let root = &gathered.root;
    let overlays = Overlays::read(root, out);
    let nodes = cluster_nodes(root);
    overlays.judge_names(nodes.as_deref(), out);
    let own = own_name(root, around);
    if let Some(told) = around.node {
        known(told, &overlays, nodes.as_deref(), own.as_deref(), out)?;
    }
    let own = around.node.map(str::to_owned).or(own);
    if let Some(own) = own.as_deref().filter(|_| nodes.is_none()) {
        overlays.judge_own(own, out);
    }
    let tree = overlays.tree_of(own.as_deref());
    let sound = settings(&tree, around.node, around.host_name, out);
    if overlays.list.is_empty() {
        return sound;
    }
    let others: Vec<String> = match nodes {
        Some(nodes) => nodes,
        None => overlays
            .names()
            .keys()
            .map(|name| (*name).to_owned())
            .collect(),
    };
    let others = others.iter().filter(|name| own.as_ref() != Some(name));
    for name in others {
        let mut found = out.again();
        let tree = overlays.tree_of(Some(name));
        let theirs = settings(&tree, Some(name), around.host_name, &mut found);
        out.adopt(found, name, &gathered.unknown);
        if let (Some(ours), Some(theirs)) = (&sound, &theirs) {
            overlays.compare(
                &ours.settings.instances,
                &theirs.settings.instances,
                name,
                out,
            );
        }
    }
    sound
}

/// The name that the tree gives this node, if it is a sound one.
fn own_name(root: &Node, around: &Surroundings) -> Option<String> {
    let mut ignored = Findings::default();
    let top = Section::open(root, &keys::TOP, &mut ignored)?;
    host::node_name(&top, root, around.host_name, &mut ignored)
}

/// All nodes, when the cluster lists them without a fault.
fn cluster_nodes(root: &Node) -> Option<Vec<String>> {
    let mut ignored = Findings::default();
    let top = Section::open(root, &keys::TOP, &mut ignored)?;
    let cluster = cluster::draft(&top, &mut ignored);
    let nodes = &cluster.given()?.value.nodes;
    let nodes = &nodes.given().filter(|nodes| nodes.value.whole)?.value.items;
    let names = nodes.iter().map(|node| node.name.value.to_string());
    Some(names.collect())
}

/// Whether the node that was asked for exists. Without a cluster nobody knows:
/// a node that nothing is written for is like any other.
fn known(
    told: &str,
    overlays: &Overlays,
    nodes: Option<&[String]>,
    own: Option<&str>,
    out: &mut Findings,
) -> Option<()> {
    let listed = nodes.unwrap_or_default().iter().map(String::as_str);
    let names: Vec<&str> = match nodes {
        Some(_) => listed.collect(),
        None => overlays.names().into_keys().chain(own).collect(),
    };
    if names.contains(&told) {
        return Some(());
    }
    let help = match nearest(told, names.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("the file knows {}", names.join(", ")),
    };
    if nodes.is_some() {
        let title = format!("there is no node {}", quoted(told));
        out.fault(Finding::of_file(title).help(help));
        return None;
    }
    let title = format!("nothing is written for a node {}", quoted(told));
    out.warn(Finding::of_file(title).help(help));
    Some(())
}

/// One entry of `nodes`, without what it may not have.
struct Overlay<'a> {
    /// Position in `instances`.
    instance: usize,
    node: &'a str,
    place: Place,
    entries: Vec<&'a (Node, Node)>,
}

struct Overlays<'a> {
    root: &'a Node,
    list: Vec<Overlay<'a>>,
}

impl<'a> Overlays<'a> {
    fn read(root: &'a Node, out: &mut Findings) -> Self {
        let mut list = Vec::new();
        for (instance, (_, value)) in instances(root).iter().enumerate() {
            let Value::Map(entries) = &value.value else {
                continue;
            };
            if let Some((key, nodes)) = entries.iter().find(|(key, _)| is(key, "nodes")) {
                read_nodes(instance, key, nodes, &mut list, out);
            }
        }
        let overlays = Self { root, list };
        let names = overlays.names();
        if let Some((name, place)) = names.iter().nth(NODES_MAX) {
            let title = format!("{} nodes, the last of them {}", names.len(), quoted(name));
            out.fault(
                Finding::at(*place, title, format!("{NODES_MAX} are the most"))
                    .help("one file serves the nodes that share its addresses"),
            );
            return Self {
                root,
                list: Vec::new(),
            };
        }
        overlays
    }

    /// Each node, and where it is named first.
    fn names(&self) -> BTreeMap<&'a str, Place> {
        let mut names = BTreeMap::new();
        for overlay in &self.list {
            names.entry(overlay.node).or_insert(overlay.place);
        }
        names
    }

    /// Where the cluster lists all nodes, an overlay for another is never used.
    fn judge_names(&self, nodes: Option<&[String]>, out: &mut Findings) {
        let Some(nodes) = nodes else { return };
        for overlay in &self.list {
            if nodes.iter().any(|node| node == overlay.node) {
                continue;
            }
            let title = format!("there is no node {}", quoted(overlay.node));
            let names = || nodes.iter().map(String::as_str);
            let near = same_host(overlay.node, names()).or_else(|| nearest(overlay.node, names()));
            let label = match near {
                Some(near) => format!("write `{near}`"),
                None => "write one of the cluster's".to_owned(),
            };
            let help = format!("`nodes` of `cluster` has {}", nodes.join(", "));
            out.fault(Finding::at(overlay.place, title, label).help(help));
        }
    }

    /// Without a cluster any name may be right; `lb1` is not, on the host
    /// lb1.example.net.
    fn judge_own(&self, own: &str, out: &mut Findings) {
        let names = self.names();
        if names.contains_key(own) {
            return;
        }
        let same = same_host(own, names.keys().copied());
        let Some((same, place)) = same.and_then(|same| names.get_key_value(same)) else {
            return;
        };
        let title = format!("this node is {}, and not {}", quoted(own), quoted(same));
        out.fault(
            Finding::at(*place, title, format!("write `{own}`")).help(format!(
                "what is for `{same}` would not be used here; or write `node: {same}` at the top \
                 level, or in a file that this host alone includes"
            )),
        );
    }

    /// The files as `node` sees them.
    fn tree_of(&self, node: Option<&str>) -> Cow<'a, Node> {
        let ours = |overlay: &&Overlay| Some(overlay.node) == node;
        if !self.list.iter().any(|overlay| ours(&overlay)) {
            return Cow::Borrowed(self.root);
        }
        let mut root = self.root.clone();
        if let Some(instances) = instances_mut(&mut root) {
            for overlay in self.list.iter().filter(ours) {
                if let Some((_, instance)) = instances.get_mut(overlay.instance)
                    && let Value::Map(base) = &mut instance.value
                {
                    let entries = overlay.entries.iter().copied();
                    lay_over(base, entries, &BY_KEY);
                }
            }
        }
        Cow::Owned(root)
    }

    /// What both nodes must agree in, or had better.
    fn compare(
        &self,
        ours: &[InstanceSettings],
        theirs: &[InstanceSettings],
        node: &str,
        out: &mut Findings,
    ) {
        let theirs: BTreeMap<_, _> = theirs.iter().map(|one| (&one.name, one)).collect();
        for ours in ours {
            let Some(theirs) = theirs.get(&ours.name) else {
                continue;
            };
            let name = ours.name.as_str();
            let key = |key: &str| self.place_of(name, node, key);
            if ours.family != theirs.family
                && let Some(place) = key("addresses")
            {
                let (here, there) = (ours.family.name(), theirs.family.name());
                let title = format!("instance `{name}` is carried by {there} on `{node}` alone");
                out.fault(Finding::at(place, title, format!("{here} here")).help(
                    "these addresses are of another family, and the nodes would not hear each \
                     other: write `family` beside `nodes`",
                ));
                continue;
            }
            for (key_name, differs) in [
                ("addresses", addresses(ours) != addresses(theirs)),
                ("version", ours.version != theirs.version),
                ("virtual_mac", ours.virtual_mac != theirs.virtual_mac),
            ] {
                if let Some(place) = key(key_name).filter(|_| differs) {
                    let title = format!("instance `{name}` has another `{key_name}` on `{node}`");
                    out.warn(Finding::at(place, title, "this differs").help(
                        "the nodes hold the same addresses by turns, so this wants to be the same \
                         on all of them",
                    ));
                }
            }
        }
    }

    /// Of `key` in the overlay for `node`, or else in this node's own.
    fn place_of(&self, instance: &str, node: &str, key: &str) -> Option<Place> {
        let named = |overlay: &&Overlay| {
            let named = instances(self.root).get(overlay.instance);
            named.is_some_and(|(name, _)| is(name, instance))
        };
        let (theirs, rest): (Vec<&Overlay>, Vec<&Overlay>) = self
            .list
            .iter()
            .filter(named)
            .partition(|overlay| overlay.node == node);
        let place = |overlay: &Overlay| {
            let entry = overlay.entries.iter().find(|(name, _)| is(name, key));
            entry.map(|(name, _)| name.place)
        };
        theirs.into_iter().chain(rest).find_map(place)
    }
}

fn addresses(settings: &InstanceSettings) -> Vec<String> {
    let listed = settings.addresses.iter();
    let mut listed: Vec<String> = listed
        .map(|address| format!("{} {}", address.network, address.advertise))
        .collect();
    listed.sort();
    listed
}

fn read_nodes<'a>(
    instance: usize,
    key: &Node,
    nodes: &'a Node,
    list: &mut Vec<Overlay<'a>>,
    out: &mut Findings,
) {
    if matches!(nodes.value, Value::Null) {
        let label = "write a value, or remove the line";
        return out.fault(Finding::at(key.place, "`nodes` has no value", label));
    }
    let Some(entries) = read::entries(nodes, "`nodes` of an instance", out) else {
        return;
    };
    for (node, place, value) in read::unique(entries, out) {
        if !host::is_node_name(node) {
            let title = format!("{} cannot be the name of a node", quoted(node));
            out.fault(Finding::at(place, title, "choose another name").help(host::NODE_NAME));
            continue;
        }
        let entries = match &value.value {
            Value::Map(entries) => entries,
            Value::Null => {
                let title = format!("{} has no value", quoted(node));
                let label = format!("write `{node}: {{}}` if nothing is other there");
                out.fault(Finding::at(place, title, label));
                continue;
            }
            other @ (Value::Scalar(_) | Value::List(_)) => {
                let title = format!(
                    "what is other on {} is a section of keys, and this is {}",
                    quoted(node),
                    other.kind()
                );
                out.fault(Finding::at(value.place, title, "write `{ priority: 100 }`"));
                continue;
            }
        };
        let entries = entries.iter().filter(|(key, _)| match refused(key) {
            None => true,
            Some(fault) => {
                out.fault(fault);
                false
            }
        });
        list.push(Overlay {
            instance,
            node,
            place,
            entries: entries.collect(),
        });
    }
}

/// What identifies the instance to other nodes.
fn refused(key: &Node) -> Option<Finding> {
    if is(key, "nodes") {
        let title = "`nodes` within `nodes`";
        return Some(Finding::at(key.place, title, "remove it"));
    }
    let name = ["vrid", "family"].into_iter().find(|name| is(key, name))?;
    let title = format!("`{name}` is the same on every node");
    Some(
        Finding::at(key.place, title, "write it beside `nodes`")
            .help("nodes find each other's instance by its VRID and family"),
    )
}

/// Puts `over` into `base`: what is there already is replaced where it
/// stands, but sections of `by_key` go on in depth, once.
fn lay_over<'a>(
    base: &mut Vec<(Node, Node)>,
    over: impl Iterator<Item = &'a (Node, Node)>,
    by_key: &[&str],
) {
    let text = |key: &Node| match &key.value {
        Value::Scalar(scalar) => Some(scalar.text.clone()),
        Value::Null | Value::List(_) | Value::Map(_) => None,
    };
    let mut positions: BTreeMap<String, usize> = BTreeMap::new();
    for (position, (key, _)) in base.iter().enumerate() {
        if let Some(name) = text(key) {
            positions.entry(name).or_insert(position);
        }
    }
    for (key, value) in over {
        // Taken, so that a second one of the same overlay is told as such.
        let position = text(key).and_then(|name| positions.remove(&name));
        let Some((_, old)) = position.and_then(|position| base.get_mut(position)) else {
            base.push((key.clone(), value.clone()));
            continue;
        };
        match (&mut old.value, &value.value) {
            (Value::Map(old), Value::Map(new)) if by_key.iter().any(|one| is(key, one)) => {
                lay_over(old, new.iter(), &[]);
            }
            _ => *old = value.clone(),
        }
    }
}

fn is(key: &Node, name: &str) -> bool {
    matches!(&key.value, Value::Scalar(scalar) if scalar.text == name)
}

/// What two names of one host have in common.
fn same_host<'a>(name: &str, mut names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let short = |name: &str| name.split('.').next().map(str::to_owned);
    names.find(|other| *other != name && short(other) == short(name))
}

fn instances(root: &Node) -> &[(Node, Node)] {
    let Value::Map(top) = &root.value else {
        return &[];
    };
    match top.iter().find(|(key, _)| is(key, "instances")) {
        Some((_, node)) => match &node.value {
            Value::Map(instances) => instances,
            Value::Null | Value::Scalar(_) | Value::List(_) => &[],
        },
        None => &[],
    }
}

fn instances_mut(root: &mut Node) -> Option<&mut Vec<(Node, Node)>> {
    let Value::Map(top) = &mut root.value else {
        return None;
    };
    let (_, node) = top.iter_mut().find(|(key, _)| is(key, "instances"))?;
    match &mut node.value {
        Value::Map(instances) => Some(instances),
        Value::Null | Value::Scalar(_) | Value::List(_) => None,
    }
}
