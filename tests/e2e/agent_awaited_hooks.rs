//! Hooks that are awaited, with real scripts: they wait, fail, hang, print
//! without end, and their runner dies.

use std::path::PathBuf;

use libtest_mimic::Trial;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::lab::agent::Agent;
use crate::lab::config::{Router, yaml};
use crate::lab::prober::Prober;
use crate::lab::service::processes;
use crate::lab::{LONG, Lab, assert_span, ms, vip, wait_until, write};
use crate::{Needs, trial};

pub fn trials() -> Vec<Trial> {
    let trial = |name, run: fn()| trial(name, Needs::Nothing, run);
    vec![
        trial("agent_before_active_holds_the_address_back", holds_back),
        trial("agent_before_active_fails_and_is_tried_again", fails),
        trial("agent_before_active_hangs", hangs),
        trial("agent_before_active_prints_without_end", prints),
        trial("agent_before_active_spares_the_incumbent", spares),
        trial("agent_before_active_runner_dies", runner_dies),
        trial("agent_before_release_before_the_resignation", release),
        trial("agent_before_release_hangs", release_hangs),
        trial("agent_before_release_of_a_reload", release_of_a_reload),
    ]
}

/// A script, and a file that changes what it does.
struct Hook {
    line: String,
    flag: PathBuf,
}

fn hook(lab: &Lab, kind: &str, timeout: &str, text: &str) -> Hook {
    let flag = lab.directory.path().join(format!("{kind}-flag"));
    let script = lab.script(kind, &text.replace("FLAG", &flag.display().to_string()));
    let run = format!(
        "run: [{}], timeout: {timeout}, user: root",
        script.display()
    );
    Hook {
        line: format!("hooks: {{ {kind}: {{ {run} }} }}"),
        flag,
    }
}

const WAITS: &str = "until test -e FLAG; do sleep 0.02; done";
const FAILS: &str = "test -e FLAG && exit 0; echo 'the data base is busy'; exit 3";

fn obstacle(agent: &Agent) -> String {
    let instance = agent.instance("web");
    let first = &instance["obstacles"][0];
    assert_eq!(first["code"], "before-active", "{instance:#}");
    first["text"].as_str().unwrap_or_default().to_owned()
}

#[track_caller]
fn wait_obstacle(agent: &Agent, words: &str) {
    let what = format!("an obstacle that says `{words}`");
    wait_until(&what, LONG, || {
        let instance = agent.instance("web");
        let text = instance["obstacles"][0]["text"].as_str();
        text.is_some_and(|text| text.contains(words))
    });
}

fn holds_back() {
    let lab = Lab::new();
    let [a] = lab.hosts(["a"]);
    let hook = hook(&lab, "before_active", "30s", WAITS);
    let router = Router::new(200).with(&hook.line);
    let agent = lab.agent(&a, std::slice::from_ref(&router));
    agent.wait_state("web", "active", LONG);
    let claimed = lab.observer.wait_advert(agent.started, "a", 200, LONG).at;
    lab.observer.wait(
        claimed + router.interval * 3,
        "it advertises",
        LONG,
        |frame| frame.is_advert("a", 200),
    );
    assert!(obstacle(&agent).contains("wait"), "{}", obstacle(&agent));
    assert!(!a.has(vip()));
    assert_eq!(agent.instance("web")["addresses"][0]["held"], false);
    let code = agent
        .ask(&["status", "web", "--is", "active"])
        .status
        .code();
    assert_eq!(code, Some(1), "active is what holds its addresses");
    write(&hook.flag, "");
    a.watch.wait(claimed, vip(), true, LONG);
    wait_until("`status --is active`", LONG, || {
        agent
            .ask(&["status", "web", "--is", "active"])
            .status
            .success()
    });
    let run = agent.instance("web")["hooks"][0].clone();
    assert_eq!(run["hook"], "before_active");
    assert!(run["error"].is_null(), "{run:#}");
}

fn fails() {
    let lab = Lab::new();
    let [a] = lab.hosts(["a"]);
    let hook = hook(&lab, "before_active", "10s", FAILS);
    let agent = lab.agent(&a, &[Router::new(200).with(&hook.line)]);
    agent.wait_state("web", "fault", LONG);
    wait_obstacle(&agent, "exit code 3: the data base is busy");
    lab.observer
        .wait(agent.started, "priority 0", LONG, |f| f.is_advert("a", 0));
    assert!(!a.has(vip()));
    write(&hook.flag, "");
    a.watch.wait(agent.started, vip(), true, LONG);
    assert_eq!(agent.instance("web")["obstacles"], serde_json::json!([]));
}

fn hangs() {
    let lab = Lab::new();
    let [a] = lab.hosts(["a"]);
    let hook = hook(&lab, "before_active", "300ms", "sleep 1000");
    let agent = lab.agent(&a, &[Router::new(200).with(&hook.line)]);
    wait_obstacle(&agent, "did not end in time; killed");
    assert!(!a.has(vip()));
    let mine = hook
        .flag
        .parent()
        .expect("a directory")
        .join("before_active");
    let left = || processes(&mine.display().to_string());
    wait_until("no such script is left for a moment", LONG, || {
        left().is_empty()
    });
}

fn prints() {
    let lab = Lab::new();
    let [a] = lab.hosts(["a"]);
    let text = "yes 'promoting, please wait' & sleep 0.3; until test -e FLAG; do sleep 0.02; done; kill $!";
    let hook = hook(&lab, "before_active", "20s", text);
    let agent = lab.agent(&a, &[Router::new(200).with(&hook.line)]);
    agent.wait_state("web", "active", LONG);
    write(&hook.flag, "");
    a.watch.wait(agent.started, vip(), true, LONG);
    let run = agent.instance("web")["hooks"][0].clone();
    assert_eq!(run["output"], "promoting, please wait", "{run:#}");
}

fn spares() {
    let lab = Lab::new();
    let [a, b] = lab.hosts(["a", "b"]);
    let lower = lab.agent(&b, &[Router::new(100)]);
    b.watch.wait(lower.started, vip(), true, LONG);
    let hook = hook(&lab, "before_active", "10s", FAILS);
    let best = Router::new(200).with(&hook.line);
    let agent = lab.agent(&a, std::slice::from_ref(&best));
    wait_obstacle(&agent, "exit code 3");
    lab.observer.wait(
        agent.started + best.down_interval() * 2,
        "the incumbent's advertisement",
        LONG,
        |frame| frame.is_advert("b", 100),
    );
    assert!(lab.observer.adverts(agent.started, "a").is_empty());
    assert_eq!(b.watch.times(agent.started, vip()), []);
    assert_eq!(agent.state("web"), "backup");
    write(&hook.flag, "");
    a.watch.wait(agent.started, vip(), true, LONG);
    b.watch.wait(agent.started, vip(), false, LONG);
}

fn runner_dies() {
    let lab = Lab::new();
    let [a] = lab.hosts(["a"]);
    let hook = hook(&lab, "before_active", "2s", WAITS);
    let agent = lab.agent(&a, &[Router::new(200).with(&hook.line)]);
    agent.wait_state("web", "active", LONG);
    let directory = agent.runtime.display().to_string();
    let mut runner = None;
    wait_until("the runner", LONG, || {
        let all = processes(&directory);
        let found = all.iter().find(|(_, line)| line.contains(" runner "));
        runner = found.map(|(pid, _)| *pid);
        runner.is_some()
    });
    let pid = Pid::from_raw(runner.expect("it was waited for"));
    kill(pid, Signal::SIGKILL).expect("it lives");
    agent.wait_state("web", "fault", LONG);
    assert!(!a.has(vip()));
    write(&hook.flag, "");
    a.watch.wait(agent.started, vip(), true, LONG);
}

fn release() {
    let lab = Lab::new();
    let [a, b, client] = lab.hosts(["a", "b", "client"]);
    let hook = hook(&lab, "before_release", "30s", WAITS);
    let lower = lab.agent(&b, &[Router::new(100)]);
    let best = Router::new(200).with(&hook.line);
    let mut agent = lab.agent(&a, std::slice::from_ref(&best));
    a.watch.wait(lower.started, vip(), true, LONG);
    let prober = Prober::start(&client, vip());
    prober.wait_answered(LONG);
    let told = std::time::Instant::now();
    agent.signal(Signal::SIGTERM);
    lab.observer.wait(
        told + best.down_interval() * 2,
        "it advertises while the hook runs",
        LONG,
        |frame| frame.is_advert("a", 200),
    );
    assert!(a.has(vip()) && !b.has(vip()));
    let zeros = lab.observer.adverts(told, "a");
    assert!(zeros.iter().all(|(_, advert)| advert.priority == 200));
    write(&hook.flag, "");
    agent.process.wait_exit(LONG);
    b.watch.wait(told, vip(), true, LONG);
    prober.wait_answered(LONG);
    let report = prober.stop();
    report.assert_gap(ms(100));
}

fn release_hangs() {
    let lab = Lab::new();
    let [a] = lab.hosts(["a"]);
    let hook = hook(&lab, "before_release", "500ms", "sleep 1000");
    let mut agent = lab.agent(&a, &[Router::new(200).with(&hook.line)]);
    a.watch.wait(agent.started, vip(), true, LONG);
    let told = std::time::Instant::now();
    agent.signal(Signal::SIGTERM);
    let (ended, status) = agent.process.wait_exit(LONG);
    assert!(status.success(), "{status}");
    assert_span("the stop", ended - told, ms(500), ms(2500));
    assert!(!a.has(vip()));
    let log = agent.process.log();
    assert!(log.contains("the release goes on"), "{log}");
}

fn release_of_a_reload() {
    let lab = Lab::new();
    let [a] = lab.hosts(["a"]);
    let hook = hook(&lab, "before_release", "30s", WAITS);
    let agent = lab.agent(&a, &[Router::new(200).with(&hook.line)]);
    a.watch.wait(agent.started, vip(), true, LONG);
    let mut other = Router::new(200).addresses(&["192.0.2.77/24"]);
    other.name = "other".to_owned();
    other.vrid = 77;
    write(&agent.config, &yaml("a", &[other]));
    let told = std::time::Instant::now();
    let answer = agent.ask(&["reload"]);
    assert!(answer.status.success(), "{answer:?}");
    lab.observer
        .wait(told + ms(1000), "it still advertises", LONG, |frame| {
            frame
                .advert()
                .is_some_and(|advert| advert.vrid == 51 && advert.priority == 200)
        });
    write(&hook.flag, "");
    a.watch.wait(told, vip(), false, LONG);
}
