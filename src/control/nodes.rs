//! The other nodes in the status document: what the peer link tells of them,
//! and how old that is.
//!
//! A node that is not reachable has no instances and no checks here, so that
//! no script takes its last word for the present; `last_known` has that.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::document::{Context, Time, milliseconds};
use crate::agent::cluster::Refusal;
use crate::agent::cluster::message::{CheckNews, Fitness, InstanceNews, ObstacleNews};
use crate::agent::status;
use crate::agent::values::InstanceName;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    pub name: String,
    /// It was heard within its patience, by some path.
    pub reachable: bool,
    /// Null when it was never heard.
    pub last_heard_age_ms: Option<u64>,
    /// Of its program; null until it was first heard.
    #[serde(default)]
    pub version: Option<String>,
    pub paths: Vec<Path>,
    /// Empty while it is not reachable.
    pub instances: Vec<NodeInstance>,
    /// Empty while it is not reachable.
    #[serde(default)]
    pub checks: Vec<NodeCheck>,
    /// While it is not reachable, its instances as it last told of them.
    #[serde(default)]
    pub last_known: Vec<LastKnown>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Path {
    /// The node's.
    pub address: String,
    pub reachable: bool,
    /// Null when nothing was ever heard by it.
    pub last_heard_age_ms: Option<u64>,
    /// Why the last message could not be sent; null when it could.
    pub error: Option<String>,
    /// The node says that it hears this one by this path; null while it says
    /// nothing, and where an older agent answers.
    #[serde(default)]
    pub heard_there: Option<bool>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeInstance {
    pub name: String,
    pub vrid: u8,
    pub version: u8,
    pub family: String,
    pub state: String,
    pub since: Time,
    pub reason: String,
    /// Effective.
    pub priority: u8,
    /// `able`, `checks-fail` (checks alone keep it from being Active) or `unable`.
    pub fitness: String,
    /// Of its advertisements; null while it has no address to send from.
    pub source: Option<String>,
    /// The first ones; `addresses_total` counts all.
    pub addresses: Vec<NodeAddress>,
    pub addresses_total: u16,
    /// The first ones.
    pub obstacles: Vec<NodeObstacle>,
    /// Whom it takes for the Active.
    pub active_router: Option<NodeActiveRouter>,
    /// Witnesses of its segment that it knows, and whether one answered when
    /// it last asked; null: it never had to.
    #[serde(default)]
    pub witnesses: u8,
    #[serde(default)]
    pub witnessed: Option<bool>,
    /// Since this was last affirmed to be so.
    pub known_age_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeAddress {
    pub address: String,
    pub held: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeObstacle {
    pub code: String,
    pub source: String,
    pub text: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeActiveRouter {
    pub address: String,
    /// Null while only the address is known.
    pub node: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeCheck {
    pub name: String,
    pub state: String,
    pub since: Time,
    pub output: String,
    pub known_age_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastKnown {
    pub name: String,
    pub last_known_state: String,
    pub known_age_ms: u64,
}

/// The peer link as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Discarded datagrams by the names of [`Refusal`], each, zero or not.
    pub refused: BTreeMap<String, u64>,
}

impl Link {
    pub(super) fn new(refused: &BTreeMap<Refusal, u64>) -> Self {
        let count = |why: Refusal| refused.get(&why).copied().unwrap_or(0);
        let each = Refusal::ALL.map(|why| (why.name().to_owned(), count(why)));
        Self {
            refused: each.into_iter().collect(),
        }
    }
}

impl Node {
    pub(super) fn new(
        node: &status::NodeStatus,
        status: &status::Status,
        context: Context<'_>,
    ) -> Self {
        let age = |instant| milliseconds(context.now.since(instant));
        let mut out = Self {
            name: node.name.to_string(),
            reachable: node.reachable,
            last_heard_age_ms: node.last_heard.map(age),
            version: Some(node.program.clone()).filter(|program| !program.is_empty()),
            paths: node
                .paths
                .iter()
                .map(|path| Path {
                    address: path.address.to_string(),
                    reachable: path.reachable,
                    last_heard_age_ms: path.last_heard.map(age),
                    error: path.error.clone(),
                    heard_there: path.heard_there,
                })
                .collect(),
            instances: Vec::new(),
            checks: Vec::new(),
            last_known: Vec::new(),
        };
        if node.reachable {
            let instance = |known| NodeInstance::new(known, status, context);
            out.instances = node.instances.iter().map(instance).collect();
            let check = |known| NodeCheck::new(known, context);
            out.checks = node.checks.iter().map(check).collect();
        } else {
            let last = |known: &status::Known<InstanceNews>| LastKnown {
                name: known.news.name.to_string(),
                last_known_state: known.news.state.to_string(),
                known_age_ms: age(known.known_at),
            };
            out.last_known = node.instances.iter().map(last).collect();
        }
        out
    }
}

impl Path {
    /// The node is heard by it and says that it does not hear us by it.
    pub fn is_one_way(&self) -> bool {
        self.reachable && self.heard_there == Some(false)
    }
}

impl Node {
    pub fn instance(&self, name: &str) -> Option<&NodeInstance> {
        self.instances.iter().find(|instance| instance.name == name)
    }

    /// It is reached at this address, or advertises from it.
    pub fn has_address(&self, address: &str) -> bool {
        let mut paths = self.paths.iter();
        let mut instances = self.instances.iter();
        paths.any(|path| path.address == address)
            || instances.any(|one| one.source.as_deref() == Some(address))
    }
}

/// Told as a span, because two hosts' clocks differ.
fn since<T>(known: &status::Known<T>, span: Duration, context: Context<'_>) -> Time {
    let told = context.clock.at(known.told_at).0;
    Time(told.checked_sub(span).unwrap_or(Timestamp::MIN))
}

impl NodeInstance {
    fn new(
        known: &status::Known<InstanceNews>,
        status: &status::Status,
        context: Context<'_>,
    ) -> Self {
        let news = &known.news;
        let address = |(network, held): &(ipnet::IpNet, bool)| NodeAddress {
            address: network.to_string(),
            held: *held,
        };
        let obstacle = |obstacle: &ObstacleNews| NodeObstacle {
            code: obstacle.code.clone(),
            source: obstacle.source.clone(),
            text: obstacle.text.clone(),
        };
        Self {
            name: news.name.to_string(),
            vrid: news.vrid.get(),
            version: news.version.number(),
            family: news.family.name().to_owned(),
            state: news.state.to_string(),
            since: since(known, news.for_, context),
            reason: news.reason.clone(),
            priority: news.priority,
            fitness: match news.fitness {
                Fitness::Able => "able",
                Fitness::ChecksFail => "checks-fail",
                Fitness::Unable => "unable",
            }
            .to_owned(),
            source: news.source.map(|source| source.to_string()),
            addresses: news.addresses.iter().map(address).collect(),
            addresses_total: news.addresses_total,
            obstacles: news.obstacles.iter().map(obstacle).collect(),
            active_router: news.active_router.map(|router| NodeActiveRouter {
                address: router.to_string(),
                node: whose(router, &news.name, status, context),
            }),
            witnesses: news.witnesses,
            witnessed: news.witnessed,
            known_age_ms: milliseconds(context.now.since(known.known_at)),
        }
    }
}

impl NodeCheck {
    fn new(known: &status::Known<CheckNews>, context: Context<'_>) -> Self {
        let news = &known.news;
        Self {
            name: news.name.to_string(),
            state: news.state.to_string(),
            since: since(known, news.for_, context),
            output: news.output.clone(),
            known_age_ms: milliseconds(context.now.since(known.known_at)),
        }
    }
}

/// The node that advertises the instance from an address.
fn whose(
    address: IpAddr,
    instance: &InstanceName,
    status: &status::Status,
    context: Context<'_>,
) -> Option<String> {
    let here = status.instances.iter().find(|one| one.name == *instance);
    let router = here.and_then(|here| here.active_router.as_ref());
    if router.is_some_and(|router| router.ourselves && router.address == address) {
        return Some(context.identity.node.clone());
    }
    let advertises = |node: &&status::NodeStatus| {
        let mut instances = node.instances.iter();
        let mut paths = node.paths.iter();
        instances.any(|one| one.news.name == *instance && one.news.source == Some(address))
            || paths.any(|path| path.address == address)
    };
    let node = status.nodes.iter().find(advertises);
    node.map(|node| node.name.to_string())
}

#[cfg(test)]
mod tests {
    use crate::control::document::Document;
    use crate::control::sample;

    #[test]
    fn every_field_of_other_nodes() {
        let document = sample::cluster();
        let text = document.to_json().unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let picture = serde_json::json!({
            "nodes": value["nodes"],
            "link": value["link"],
            "drift": value["instances"][5]["drift"],
            "active_router": value["instances"][1]["active_router"],
        });
        insta::assert_snapshot!(serde_json::to_string_pretty(&picture).unwrap());
        let read: Document = serde_json::from_str(&text).unwrap();
        assert_eq!(read, document);
    }
}
