//! One configuration for two hosts: the same files on both, what is other on
//! one of them under `nodes`, its name from the environment.

use std::net::IpAddr;
use std::path::PathBuf;

use libtest_mimic::Trial;

use crate::agent_link::acquainted;
use crate::lab::agent::{Agent, program};
use crate::lab::cluster::Cluster;
use crate::lab::process::Process;
use crate::lab::service::USER;
use crate::lab::{Host, LONG, Lab, vip, wait_until, write};
use crate::{Needs, trial};

pub fn trials() -> Vec<Trial> {
    let trial = |name, run: fn()| trial(name, Needs::Nothing, run);
    vec![
        trial("agent_files_one_for_both_hosts", one_for_both),
        trial(
            "agent_files_runner_in_another_environment",
            two_environments,
        ),
    ]
}

/// What both hosts read, and where the part is that they include.
struct Files {
    included: PathBuf,
    hook: PathBuf,
    calls: PathBuf,
}

const MAIN: &str = "node: ${NODE}\ninclude: shared.d/*.yaml\n";

impl Files {
    fn new(lab: &Lab, cluster: &Cluster) -> Self {
        let folder = lab.directory.path().join("shared.d");
        std::fs::create_dir(&folder).expect("a directory");
        write(&folder.join("10-cluster.yaml"), &cluster.section());
        let calls = lab.directory.path().join("calls");
        Self {
            included: folder.join("20-web.yaml"),
            hook: lab.script("hook", &format!("echo \"$*\" >>{}", calls.display())),
            calls,
        }
    }

    /// With these addresses, and this in what is for b.
    fn write(&self, [a, b]: [&Host; 2], addresses: &str, for_b: &str) {
        let text = format!(
            "instances:\n  web:\n    interface: eth0\n    vrid: 51\n    advert_interval: 300ms\n    \
             addresses: [{addresses}]\n    hooks:\n      active: {{ run: [{hook}, \"${{GREETING}}\"], {USER} }}\n    \
             nodes:\n      a: {{ priority: 200, source: {a}, unicast_peers: [{b}] }}\n      \
             b: {{ source: {b}, unicast_peers: [{a}], {for_b} }}\n",
            hook = self.hook.display(),
            a = a.v4(),
            b = b.v4(),
        );
        write(&self.included, &text);
    }
}

fn agent(lab: &Lab, host: &Host) -> Agent {
    lab.agent_by(host, MAIN, |command| {
        command.env("NODE", &host.name);
        command.env("GREETING", format!("hello from {}", host.name));
    })
}

fn one_for_both() {
    let lab = Lab::new();
    let ([a, b], _gateway) = lab.nodes(["a", "b"]);
    let files = Files::new(&lab, &Cluster::of(&lab, &[&a, &b]));
    files.write([&a, &b], "192.0.2.100/24", "priority: 100");
    let first = agent(&lab, &a);
    a.watch.wait(first.started, vip(), true, LONG);
    let other = agent(&lab, &b);
    other.wait_state("web", "backup", LONG);
    acquainted(&first, "b");
    acquainted(&other, "a");
    for (agent, name, priority) in [(&first, "a", 200), (&other, "b", 100)] {
        assert_eq!(agent.status()["node"], name);
        let instance = agent.instance("web");
        assert_eq!(instance["priority"]["base"], priority, "{instance:#}");
        assert_eq!(instance["drift"], serde_json::json!([]), "{instance:#}");
    }
    // The runner has read the same, in the agent's environment.
    wait_until("the hook's call", LONG, || {
        std::fs::read_to_string(&files.calls).is_ok_and(|calls| calls == "hello from a\n")
    });
    let log = first.process.log();
    assert!(!log.contains("has read other scripts"), "{log}");

    // A fault in what is for b is found on a, where it stands, and changes
    // nothing.
    files.write([&a, &b], "192.0.2.100/24, 192.0.2.101/24", "priority: 300");
    let digest = first.status()["config"]["digest"].clone();
    let refused = first.ask(&["reload"]);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{told}");
    assert!(told.contains("for `b`: `priority` is"), "{told}");
    let place = format!("{}:11:", files.included.display());
    assert!(told.contains(&place), "{place} in {told}");
    assert_eq!(first.status()["config"]["digest"], digest);

    // Mended, both take the new address over from the file that they include.
    files.write([&a, &b], "192.0.2.100/24, 192.0.2.101/24", "priority: 90");
    let started = std::time::Instant::now();
    for agent in [&other, &first] {
        let output = agent.ask(&["reload"]);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{told}");
    }
    let new = IpAddr::from([192, 0, 2, 101]);
    a.watch.wait(started, new, true, LONG);
    assert_ne!(first.status()["config"]["digest"], digest);
    let of_b = other.instance("web");
    assert_eq!(of_b["priority"]["base"], 90, "{of_b:#}");
    first.wait_instance("web", "without differences", |web| {
        web["addresses"]
            .as_array()
            .is_some_and(|all| all.len() == 2)
            && web["drift"] == serde_json::json!([])
    });
}

/// Both read the same file, and make other programs of it.
fn two_environments() {
    let lab = Lab::new();
    let ([a, b], _gateway) = lab.nodes(["a", "b"]);
    let files = Files::new(&lab, &Cluster::of(&lab, &[&a, &b]));
    files.write([&a, &b], "192.0.2.100/24", "priority: 100");
    let path = |kind: &str| lab.place("a", kind);
    write(&path("config.yaml"), MAIN);
    let mut command = a.namespace.command(&program());
    command
        .arg("runner")
        .arg("--config")
        .arg(path("config.yaml"));
    command.arg("--runtime-dir").arg(path("runtime"));
    command
        .env("NODE", "a")
        .env("GREETING", "hello from elsewhere");
    let runner = Process::start("runner-a", command, lab.directory.path());
    wait_until("the runner's socket", LONG, || {
        path("runtime").join("runner.sock").exists()
    });
    let agent = agent(&lab, &a);
    wait_until("the difference in the agent's log", LONG, || {
        agent
            .process
            .log()
            .contains("the runner has read other scripts or hooks")
    });
    // It is the runner's that is started, which is why it is told.
    wait_until("the hook's call", LONG, || {
        std::fs::read_to_string(&files.calls).is_ok_and(|calls| calls == "hello from elsewhere\n")
    });
    drop(runner);
}
