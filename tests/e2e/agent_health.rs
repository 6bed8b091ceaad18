//! Checks and reload: what a failing service and a new file do to the
//! address, seen by a client.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use libtest_mimic::Trial;
use nix::sys::signal::Signal;

use crate::lab::agent::Agent;
use crate::lab::config::{Router, yaml};
use crate::lab::prober::Prober;
use crate::lab::{LONG, Lab, ms, vip, wait_until, write};
use crate::{Needs, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("agent_reload_loses_no_probe", Needs::Nothing, reload),
        trial("agent_check_fault_and_recovery", Needs::Nothing, fault),
        trial("agent_hung_script", Needs::Nothing, hung),
    ]
}

/// The runner ends with the agent that started it.
fn end(mut agent: Agent) {
    agent.signal(Signal::SIGTERM);
    agent.process.wait_exit(LONG);
}

fn script(lab: &Lab, name: &str, text: &str) -> PathBuf {
    let path = lab.directory.path().join(name);
    write(&path, &format!("#!/bin/sh\n{text}\n"));
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&path, executable).expect("permissions");
    path
}

/// One instance that listens to one script, run by root since the lab's
/// directory is closed to others.
fn listening(node: &str, priority: u8, script: &Path) -> String {
    let router = Router::new(priority).with("checks: [service]");
    format!(
        "{}checks:\n  service: {{ script: [{}], interval: 200ms, timeout: 500ms, rise: 2, fall: 2, user: root }}\n",
        yaml(node, &[router]),
        script.display()
    )
}

fn reload() {
    let lab = Lab::new();
    let [a, b, client] = lab.hosts(["a", "b", "client"]);
    let best = lab.agent(&a, &[Router::new(200)]);
    a.watch.wait(best.started, vip(), true, LONG);
    let second = lab.agent(&b, &[Router::new(100)]);
    second.wait_state("web", "backup", LONG);
    let transitions = |agent: &Agent| agent.instance("web")["counters"]["transitions"].clone();
    let before = (transitions(&best), transitions(&second));
    let prober = Prober::start(&client, vip());
    prober.wait_answered(LONG);

    let file = lab.directory.path().join("a-config.yaml");
    let more = Router::new(200).addresses(&["192.0.2.100/24", "192.0.2.101/24"]);
    write(&file, &yaml("a", &[more]));
    let reloaded = Instant::now();
    let answer = best.ask(&["reload"]);
    assert!(answer.status.success(), "{answer:?}");
    let added = "192.0.2.101".parse().expect("an address");
    a.watch.wait(reloaded, added, true, LONG);
    lab.observer
        .wait(reloaded, "the new address announced", LONG, |frame| {
            frame.host == "a" && frame.announces() == Some(added)
        });

    write(&file, "instances: { web: { vird: 51 } }\n");
    let answer = best.ask(&["reload"]);
    assert_eq!(answer.status.code(), Some(1), "{answer:?}");
    let told = String::from_utf8_lossy(&answer.stderr).into_owned();
    assert!(told.contains("a-config.yaml:1:21"), "{told}");
    std::thread::sleep(ms(1_000));
    let report = prober.stop();
    assert_eq!(report.lost, 0, "{report:?}");
    assert_eq!((transitions(&best), transitions(&second)), before);
    // b's list is the old one: drift, and nothing more.
    assert_eq!(second.state("web"), "backup");
    assert_eq!(second.instance("web")["drift"][0]["code"], "addresses");
    assert_eq!(
        a.watch.times(reloaded, vip()),
        [],
        "the first address never went"
    );
}

fn fault() {
    let lab = Lab::new();
    let [a, b] = lab.hosts(["a", "b"]);
    let flag = lab.directory.path().join("healthy");
    write(&flag, "");
    let check = script(&lab, "check", &format!("test -e {}", flag.display()));
    let best = lab.agent_with(&a, &listening("a", 200, &check));
    let second = lab.agent(&b, &[Router::new(100)]);
    best.wait_state("web", "active", LONG);
    second.wait_state("web", "backup", LONG);

    let failed = Instant::now();
    std::fs::remove_file(&flag).expect("removed");
    lab.observer.wait_advert(failed, "a", 0, LONG);
    a.watch.wait(failed, vip(), false, LONG);
    b.watch.wait(failed, vip(), true, LONG);
    best.wait_state("web", "fault", LONG);
    let obstacle = best.instance("web")["obstacles"][0].clone();
    assert_eq!(obstacle["code"], "check-failed", "{obstacle}");

    let well = Instant::now();
    write(&flag, "");
    a.watch.wait(well, vip(), true, LONG);
    b.watch.wait(well, vip(), false, LONG);
    end(best);
}

/// It ignores SIGTERM and has a child; both are gone after its deadline.
fn hung() {
    let lab = Lab::new();
    let [a] = lab.hosts(["a"]);
    let marker = format!("86400.{}", std::process::id());
    let text = format!("trap '' TERM\nsleep {marker} &\nsleep {marker}");
    let check = script(&lab, "check", &text);
    let agent = lab.agent_with(&a, &listening("a", 200, &check));
    agent.wait_state("web", "fault", LONG);
    let text = agent.instance("web")["obstacles"][0]["text"].to_string();
    assert!(text.contains("500 ms"), "{text}");
    end(agent);
    wait_until("the sleepers are gone", LONG, || !anybody_says(&marker));
}

fn anybody_says(word: &str) -> bool {
    let processes = std::fs::read_dir("/proc").expect("/proc");
    let lines =
        processes.filter_map(|entry| std::fs::read(entry.ok()?.path().join("cmdline")).ok());
    let mut lines = lines.map(|line| String::from_utf8_lossy(&line).into_owned());
    lines.any(|line| line.contains(word) && line.contains("sleep"))
}
