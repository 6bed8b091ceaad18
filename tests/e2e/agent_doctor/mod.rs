//! `vipward doctor` on hosts that lack one thing each: it names that, with
//! what mends it and the exit code, and finds nothing where all is well.

use std::net::IpAddr;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::OnceLock;

use libtest_mimic::Trial;
use nix::mount::{MsFlags, mount};
use serde_json::Value;

use crate::lab::agent::{Agent, program};
use crate::lab::cluster::Cluster;
use crate::lab::config::Router;
use crate::lab::{Host, LONG, Lab, tools, write};
use crate::{Needs, trial};

mod host;
mod network;
mod path_tests;

pub fn trials() -> Vec<Trial> {
    let all: [(&str, Needs, fn()); 23] = [
        ("finds_nothing_where_all_is_well", Needs::Nft, network::well),
        ("firewall_drops_what_comes_in", Needs::Nft, network::deaf),
        ("firewall_drops_what_goes_out", Needs::Nft, network::mute),
        (
            "peer_link_in_one_direction",
            Needs::Nft,
            network::link_one_way,
        ),
        (
            "asks_a_silent_backup",
            Needs::Nothing,
            path_tests::silent_backup,
        ),
        ("asks_which_way_is_closed", Needs::Nft, path_tests::one_way),
        (
            "asks_nobody_when_silent",
            Needs::Nothing,
            path_tests::silent,
        ),
        (
            "asks_beside_keepalived",
            Needs::Keepalived,
            path_tests::keepalived,
        ),
        ("asks_beside_frr", Needs::Frr, path_tests::frr),
        (
            "two_interfaces_on_a_subnet",
            Needs::Nothing,
            host::two_interfaces,
        ),
        ("strict_filtering", Needs::Nothing, network::strict),
        (
            "foreign_speaker_with_our_vrid",
            Needs::Nothing,
            network::clash,
        ),
        ("stranger_among_nodes", Needs::Nothing, network::stranger),
        ("no_carrier", Needs::Nothing, host::no_carrier),
        (
            "no_interface_and_no_address",
            Needs::Nothing,
            host::no_interface,
        ),
        ("lacking_capabilities", Needs::Nothing, host::no_rights),
        ("network_managers", Needs::Nothing, host::managers),
        ("wrong_key", Needs::Nothing, || {
            network::authentication("wrong-key");
        }),
        ("missing_trailer", Needs::Nothing, || {
            network::authentication("authentication-missing");
        }),
        ("clock", Needs::Nothing, network::clock),
        ("without_an_agent", Needs::Nothing, host::without_agent),
        ("configuration_with_faults", Needs::Nothing, host::faults),
        ("bad_input", Needs::Nothing, host::bad_input),
    ];
    let named = |(name, needs, run)| trial(format!("agent_doctor_{name}"), needs, run);
    all.into_iter().map(named).collect()
}

/// What the machine itself may refuse to a test; the host is well all the
/// same.
pub const OF_THE_MACHINE: [&str; 3] = ["no-real-time", "memory-not-locked", "stalls"];

struct Report {
    json: Value,
    code: Option<i32>,
}

impl Report {
    #[track_caller]
    fn of(output: &Output) -> Self {
        let json = serde_json::from_slice(&output.stdout);
        Self {
            json: json.unwrap_or_else(|error| panic!("{error}: {output:?}")),
            code: output.status.code(),
        }
    }

    fn findings(&self) -> impl Iterator<Item = &Value> {
        let all = self.json["findings"].as_array().into_iter().flatten();
        all.filter(|one| !OF_THE_MACHINE.contains(&one["code"].as_str().unwrap_or_default()))
    }

    /// Those that are no notes.
    fn trouble(&self) -> Vec<&str> {
        let all = self.findings().filter(|one| one["severity"] != "note");
        all.filter_map(|one| one["code"].as_str()).collect()
    }

    #[track_caller]
    fn finding(&self, code: &str) -> &Value {
        let mut all = self.findings();
        all.find(|one| one["code"] == code)
            .unwrap_or_else(|| panic!("no {code} in {:#}", self.json))
    }

    /// An error, and so the exit code 2.
    #[track_caller]
    fn is_error(&self, code: &str) -> &Value {
        let finding = self.finding(code);
        assert_eq!(finding["severity"], "error", "{finding:#}");
        assert_eq!(self.code, Some(2));
        finding
    }

    /// A warning and no error, and so the exit code 1.
    #[track_caller]
    fn is_warning(&self, code: &str) -> &Value {
        let finding = self.finding(code);
        assert_eq!(finding["severity"], "warning", "{finding:#}");
        assert_eq!(self.code, Some(1), "{:#}", self.json);
        finding
    }

    #[track_caller]
    fn path(&self, carries: &str, address: IpAddr) -> [Option<bool>; 2] {
        let mut all = self.json["paths"].as_array().into_iter().flatten();
        let found =
            all.find(|one| one["carries"] == carries && one["address"] == address.to_string());
        let found =
            found.unwrap_or_else(|| panic!("no path {carries} {address} in {:#}", self.json));
        [&found["from_peer"], &found["to_peer"]].map(|way| way["works"].as_bool())
    }
}

/// The program looks for nft in fixed places; one that was unpacked is put
/// into one of them, in this suite's own mount namespace.
pub fn provide_nft() {
    static DONE: OnceLock<()> = OnceLock::new();
    DONE.get_or_init(|| {
        let nft = tools::nft().expect("asked for when the trial began");
        let Some(libraries) = nft.library_path else {
            return;
        };
        let place = Path::new("/usr/local/sbin");
        let none: Option<&str> = None;
        mount(Some("none"), place, Some("tmpfs"), MsFlags::empty(), none).expect("a mount");
        let script = format!(
            "#!/bin/sh\nLD_LIBRARY_PATH={} exec {} \"$@\"\n",
            libraries.display(),
            nft.path.display()
        );
        let file = place.join("nft");
        write(&file, &script);
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&file, mode).expect("its mode");
    });
}

fn command(host: &Host, arguments: &[&str]) -> Command {
    let mut command = host.namespace.command(&program());
    command
        .args(["doctor", "--json", "--listen", "2s"])
        .args(arguments);
    command
}

#[track_caller]
fn doctor(host: &Host, agent: &Agent) -> Report {
    let runtime = agent.runtime.display().to_string();
    let output = command(host, &["--runtime-dir", &runtime]).output();
    Report::of(&output.expect("it starts"))
}

/// Without an agent, from this configuration.
#[track_caller]
fn examine(lab: &Lab, host: &Host, configuration: &str) -> Report {
    let file = lab
        .directory
        .path()
        .join(format!("{}-alone.yaml", host.name));
    write(&file, configuration);
    let (file, nowhere) = (
        file.display().to_string(),
        lab.directory.path().join("nowhere"),
    );
    let nowhere = nowhere.display().to_string();
    let output = command(host, &["--config", &file, "--runtime-dir", &nowhere]).output();
    Report::of(&output.expect("it starts"))
}

/// a is Active and b Backup, with a peer link by two paths.
struct Pair {
    lab: Lab,
    hosts: [Host; 2],
    _gateway: Host,
    agents: [Agent; 2],
}

impl Pair {
    fn linked() -> Self {
        let lab = Lab::new();
        let (hosts, gateway) = lab.nodes(["a", "b"]);
        let [a, b] = &hosts;
        let cluster = Cluster::of(&lab, &[a, b]);
        let first = cluster.agent(&lab, a, Router::new(200));
        first.wait_state("web", "active", LONG);
        let other = cluster.agent(&lab, b, Router::new(100));
        other.wait_state("web", "backup", LONG);
        let agents = [first, other];
        for (agent, peer) in agents.iter().zip(["b", "a"]) {
            agent.wait_node(peer, "heard by both paths, in both directions", |node| {
                let paths = node["paths"].as_array().cloned().unwrap_or_default();
                paths.len() == 2
                    && paths
                        .iter()
                        .all(|path| path["reachable"] == true && path["heard_there"] == true)
            });
        }
        Self {
            lab,
            hosts,
            _gateway: gateway,
            agents,
        }
    }

    #[track_caller]
    fn doctors(&self) -> [Report; 2] {
        let [a, b] = &self.hosts;
        let [first, other] = &self.agents;
        [doctor(a, first), doctor(b, other)]
    }
}

fn active(lab: &Lab, host: &Host, router: &Router) -> Agent {
    let agent = lab.agent(host, std::slice::from_ref(router));
    agent.wait_state("web", "active", LONG);
    agent
}
