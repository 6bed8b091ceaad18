//! Hosts that know each other: eth0 on the first bridge is the segment and one
//! path of the peer link, eth1 on the second bridge is the other path.

use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::agent::Agent;
use super::config::{Router, yaml};
use super::{Host, LONG, Lab, port, wait_until, write};

/// The peer link's port.
pub const LINK_PORT: u16 = 9851;

/// What stands under `cluster:`, the same for all its hosts.
#[derive(Clone, Debug)]
pub struct Cluster {
    pub key: PathBuf,
    nodes: Vec<(String, Vec<IpAddr>)>,
}

impl Cluster {
    /// These hosts, with both paths.
    pub fn of(lab: &Lab, hosts: &[&Host]) -> Self {
        let paths = |host: &&Host| (host.name.clone(), vec![host.v4(), host.second_v4()]);
        Self {
            key: lab.cluster_key(7),
            nodes: hosts.iter().map(paths).collect(),
        }
    }

    /// By the segment alone.
    pub fn by_one_path(mut self) -> Self {
        for (_, addresses) in &mut self.nodes {
            addresses.truncate(1);
        }
        self
    }

    pub fn with_key(mut self, key: PathBuf) -> Self {
        self.key = key;
        self
    }

    pub fn section(&self) -> String {
        let mut text = format!(
            "cluster:\n  key_file: {}\n  listen: \"0.0.0.0:{LINK_PORT}\"\n  nodes:\n",
            self.key.display()
        );
        for (name, addresses) in &self.nodes {
            let all: Vec<_> = addresses.iter().map(|one| format!("\"{one}\"")).collect();
            text.push_str(&format!("    {name}: [{}]\n", all.join(", ")));
        }
        text
    }

    /// A whole configuration for `host`.
    pub fn yaml(&self, host: &Host, routers: &[Router]) -> String {
        yaml(&host.name, routers) + &self.section()
    }

    pub fn agent(&self, lab: &Lab, host: &Host, router: Router) -> Agent {
        lab.agent_with(host, &self.yaml(host, &[router]))
    }
}

impl Lab {
    /// A key file of this lab, of these bytes.
    pub fn cluster_key(&self, byte: u8) -> PathBuf {
        let path = self.directory.path().join(format!("cluster-key-{byte}"));
        std::fs::write(&path, [byte; 32]).expect("a key file");
        let mode = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(&path, mode).expect("its mode");
        path
    }

    /// Hosts with both interfaces, and a router on the segment that is their
    /// gateway. It runs nothing.
    pub fn nodes<const N: usize>(&self, names: [&str; N]) -> ([Host; N], Host) {
        let hosts = self.hosts(names);
        let gateway = self.host("gateway");
        for host in &hosts {
            self.plug(host, "eth1");
            host.ip(&format!("route add default via {}", gateway.v4()));
            host.ip(&format!("-6 route add default via {}", gateway.v6()));
        }
        (hosts, gateway)
    }

    /// The network forwards nothing from and to this port any more; the host
    /// keeps its carrier. The observer still sees what it sends.
    pub fn cut(&self, host: &Host, interface: &str) {
        self.segment
            .ip(&format!("link set {} nomaster", port(host, interface)));
    }

    /// Ends `cut`.
    pub fn mend(&self, host: &Host, interface: &str) {
        let bridge = if interface == "eth0" { "br0" } else { "br1" };
        self.segment.ip(&format!(
            "link set {} master {bridge} up",
            port(host, interface)
        ));
    }
}

impl Host {
    /// On eth1.
    pub fn second_v4(&self) -> IpAddr {
        IpAddr::from([198, 51, 100, self.number])
    }

    /// A firewall drops the advertisements of others; all else comes in, and
    /// everything can leave.
    pub fn block_incoming_advertisements(&self) {
        self.nft("add table inet deaf");
        self.nft("add chain inet deaf in { type filter hook input priority 0 ; }");
        self.nft("add rule inet deaf in meta l4proto 112 drop");
    }

    pub fn let_advertisements_in(&self) {
        self.nft("delete table inet deaf");
    }

    /// A firewall drops the peer link by the segment, in both directions.
    pub fn block_link_by_segment(&self) {
        self.nft("add table inet mute");
        for (chain, meta) in [("input", "iifname"), ("output", "oifname")] {
            let hook = format!("{{ type filter hook {chain} priority 0 ; }}");
            self.nft(&format!("add chain inet mute {chain} {hook}"));
            self.nft(&format!(
                "add rule inet mute {chain} {meta} eth0 udp dport {LINK_PORT} drop"
            ));
        }
    }

    pub fn let_link_by_segment(&self) {
        self.nft("delete table inet mute");
    }
}

impl Agent {
    /// What `status` says of another node.
    #[track_caller]
    pub fn node(&self, name: &str) -> Value {
        let status = self.status();
        let all = status["nodes"].as_array().cloned().unwrap_or_default();
        all.into_iter()
            .find(|node| node["name"] == name)
            .unwrap_or_else(|| panic!("no node {name} in {status:#}"))
    }

    /// What another node tells of an instance, null while it tells nothing.
    #[track_caller]
    pub fn told(&self, node: &str, instance: &str) -> Value {
        let node = self.node(node);
        let all = node["instances"].as_array().cloned().unwrap_or_default();
        let mut found = all.into_iter().filter(|one| one["name"] == instance);
        found.next().unwrap_or_default()
    }

    /// Waits until the node `name` is reachable, or is not.
    #[track_caller]
    pub fn wait_reachable(&self, name: &str, wanted: bool) {
        self.wait_node(name, &format!("reachable: {wanted}"), |node| {
            node["reachable"] == wanted
        });
    }

    /// Waits until what is said of the node `name` is so.
    #[track_caller]
    pub fn wait_node(&self, name: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        self.wait_for(&format!("node {name}, {what}"), LONG, |status| {
            let all = status["nodes"].as_array();
            let node = all.and_then(|all| all.iter().find(|node| node["name"] == name));
            last = node.cloned().unwrap_or_default();
            holds(&last)
        });
        last
    }

    /// Waits until what is said of `instance` is so.
    #[track_caller]
    pub fn wait_instance(&self, name: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        self.wait_for(&format!("instance {name}, {what}"), LONG, |status| {
            let all = status["instances"].as_array();
            let found = all.and_then(|all| all.iter().find(|one| one["name"] == name));
            last = found.cloned().unwrap_or_default();
            holds(&last)
        });
        last
    }

    /// Waits until `status` is so; panics with the last one.
    #[track_caller]
    pub fn wait_for(&self, what: &str, timeout: Duration, mut holds: impl FnMut(&Value) -> bool) {
        let mut last = Value::Null;
        let mut seen = || {
            last = self.status();
            holds(&last)
        };
        let end = std::time::Instant::now() + timeout;
        while !seen() {
            if std::time::Instant::now() > end {
                panic!("not within {timeout:?}: {what}\nlast seen: {last:#}");
            }
            std::thread::sleep(super::ms(5));
        }
    }

    /// Replaces the file, as careful editors do, and reloads.
    #[track_caller]
    pub fn reload_with(&self, configuration: &str) {
        let fresh = self.config.with_extension("new");
        write(&fresh, configuration);
        std::fs::rename(&fresh, &self.config).expect("renamed");
        let answer = self.ask(&["reload"]);
        assert!(answer.status.success(), "{answer:?}");
    }
}

/// The codes of a list of objects that have one: obstacles, drift.
pub fn codes(list: &Value) -> Vec<String> {
    let all = list.as_array().into_iter().flatten();
    all.filter_map(|one| Some(one["code"].as_str()?.to_owned()))
        .collect()
}

/// Nobody but `host` speaks as an Active, and nobody but it has the address,
/// from `since` to now.
#[track_caller]
pub fn nobody_else(lab: &Lab, since: std::time::Instant, others: &[&Host], address: IpAddr) {
    for other in others {
        let adverts = lab.observer.adverts(since, &other.name);
        assert!(adverts.is_empty(), "{} speaks: {adverts:?}", other.name);
        let times = other.watch.times(since, address);
        assert!(times.is_empty(), "{} had it: {times:?}", other.name);
    }
}

/// An address as ARP has it.
pub fn v4_of(address: IpAddr) -> Ipv4Addr {
    match address {
        IpAddr::V4(v4) => v4,
        IpAddr::V6(v6) => panic!("{v6} is none of IPv4"),
    }
}

/// Waits for so many heartbeats of `host` more.
#[track_caller]
pub fn wait_heartbeats(lab: &Lab, host: &str, count: usize) {
    let since = std::time::Instant::now();
    let what = format!("{count} advertisements of {host}");
    wait_until(&what, LONG, || {
        lab.observer.adverts(since, host).len() >= count
    });
}
