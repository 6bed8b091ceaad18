//! `cluster`: which nodes there are, by which addresses they reach each other,
//! and the key that proves who they are. The n-th addresses of all nodes are
//! one path.

mod judge;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use crate::agent::values::NodeName;

use super::address;
use super::auth;
use super::fault::{Finding, Findings, Place, quoted};
use super::host;
use super::instance::{Items, absent_or_bad};
use super::keys;
use super::listen;
use super::read::{self, At, Field, Read, Section};
use super::yaml::{Node, Value};

/// Every node tells every other everything.
pub(super) const NODES_MAX: usize = 16;
/// Addresses of a node.
pub(super) const PATHS_MAX: usize = 4;
const PORT_DEFAULT: u16 = 9851;
const NODES_EXAMPLE: &str =
    "write `nodes: { lb1: [192.0.2.1], lb2: [192.0.2.2] }`, this host included";

/// `cluster`, as far as it could be read.
#[derive(Clone, Debug)]
pub(super) struct ClusterDraft {
    pub key_file: Field<PathBuf>,
    pub listen: Field<SocketAddr>,
    pub nodes: Field<Items<NodeDraft>>,
}

#[derive(Clone, Debug)]
pub(super) struct NodeDraft {
    pub name: At<NodeName>,
    pub addresses: Items<At<IpAddr>>,
}

pub(super) use judge::{advice, settings};

/// `node` and where it is written, if it is.
pub(super) struct Own<'a> {
    pub name: &'a str,
    pub place: Option<Place>,
}

pub(super) fn draft(top: &Section, out: &mut Findings) -> Field<ClusterDraft> {
    let node = top.field("cluster", out, Ok);
    let Field::Given(At { value: node, place }) = node else {
        return absent_or_bad(&node);
    };
    let Some(section) = Section::open(node, &keys::CLUSTER, out) else {
        return Field::Bad;
    };
    if section.lacks("key_file") {
        out.fault(
            Finding::at(
                place,
                "`key_file` of `cluster` is missing",
                "write `key_file: /etc/vipward/cluster.key`",
            )
            .help(
                "the same key on every node proves who speaks: \
                 `(umask 077; vipward keygen > /etc/vipward/cluster.key)`, and copy it to the others",
            ),
        );
    }
    if section.lacks("nodes") {
        out.fault(Finding::at(
            place,
            "`nodes` of `cluster` is missing",
            NODES_EXAMPLE,
        ));
    }
    let value = ClusterDraft {
        key_file: section.field("key_file", out, auth::key_path),
        listen: section.field("listen", out, listen),
        nodes: nodes(&section, out),
    };
    Field::Given(At { value, place })
}

/// `"0.0.0.0:9851"`.
fn listen(node: &Node) -> Read<SocketAddr> {
    let usual = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), PORT_DEFAULT);
    let help = "the port is the same on every node, so it cannot be left to the kernel";
    let listen = listen::address(node, usual, help)?;
    if !listen.ip().is_unspecified() {
        address::of_node(node, &listen.ip().to_string())?;
    }
    Ok(listen)
}

fn nodes(section: &Section, out: &mut Findings) -> Field<Items<NodeDraft>> {
    let node = section.field("nodes", out, Ok);
    let Field::Given(At { value: node, place }) = node else {
        return absent_or_bad(&node);
    };
    let Some(entries) = read::entries(node, "`nodes`", out) else {
        return Field::Bad;
    };
    let written = entries.len();
    let entries = read::unique(entries, out);
    let count = entries.len();
    if count > NODES_MAX {
        let title = format!("{count} nodes in one cluster");
        out.fault(
            Finding::at(place, title, format!("{NODES_MAX} are the most")).help(
                "each tells every other what it sees: make clusters of those that share addresses",
            ),
        );
        return Field::Bad;
    }
    let items: Vec<NodeDraft> = entries
        .into_iter()
        .filter_map(|(name, at, node)| one_node(name, at, node, out))
        .collect();
    let whole = items.len() == written && items.iter().all(|node| node.addresses.whole);
    if count < 2 && written < 2 {
        let title = match count {
            0 => "`nodes` is empty",
            _ => "a cluster of one node",
        };
        out.fault(
            Finding::at(place, title, "at least two are needed")
                .help(format!("{NODES_EXAMPLE}; or remove `cluster`")),
        );
        return Field::Bad;
    }
    let value = Items { items, whole };
    Field::Given(At { value, place })
}

fn one_node(name: &str, place: Place, node: &Node, out: &mut Findings) -> Option<NodeDraft> {
    let sound = host::is_node_name(name);
    if !sound {
        let title = format!("{} cannot be the name of a node", quoted(name));
        out.fault(Finding::at(place, title, "choose another name").help(host::NODE_NAME));
    }
    if matches!(node.value, Value::Null) {
        let title = format!("node {} has no address", quoted(name));
        out.fault(Finding::at(
            node.place,
            title,
            format!("write `{name}: [192.0.2.1]`"),
        ));
        return None;
    }
    let list = out.keep(read::list(node, &quoted(name)))?;
    if list.is_empty() || list.len() > PATHS_MAX {
        let title = match list.len() {
            0 => format!("node {} has no address", quoted(name)),
            count => format!("{count} addresses of node {}", quoted(name)),
        };
        out.fault(
            Finding::at(node.place, title, format!("1 to {PATHS_MAX} are wanted"))
                .help("the n-th addresses of all nodes are one path of the peer link"),
        );
        return None;
    }
    let address = |item: &Node| {
        let text = address::text(item)?;
        address::of_node(item, text).map(|value| At {
            value,
            place: item.place,
        })
    };
    let items: Vec<At<IpAddr>> = list
        .iter()
        .filter_map(|item| out.keep(address(item)))
        .collect();
    let whole = items.len() == list.len();
    sound.then(|| NodeDraft {
        name: At {
            value: NodeName::new(name),
            place,
        },
        addresses: Items { items, whole },
    })
}
