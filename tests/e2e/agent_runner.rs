//! Agent and runner die apart: neither takes the other along, and what is
//! Active stays so.

use std::os::unix::net::UnixDatagram;
use std::time::Instant;

use libtest_mimic::Trial;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::lab::agent::Agent;
use crate::lab::config::{Router, yaml};
use crate::lab::service::{Service, processes};
use crate::lab::{Host, LONG, Lab, assert_span, ms, vip, wait_until};
use crate::{Needs, trial};

pub fn trials() -> Vec<Trial> {
    let trial = |name, run: fn()| trial(name, Needs::Nothing, run);
    vec![
        trial("agent_runner_killed", runner_killed),
        trial("agent_runner_alone_killed", runner_alone_killed),
        trial("agent_runner_away_for_long", runner_away_for_long),
        trial("agent_killed_runner_stays", agent_killed),
    ]
}

fn end(mut agent: Agent) {
    agent.signal(Signal::SIGTERM);
    agent.process.wait_exit(LONG);
}

fn listening(service: &Service, timeout: &str) -> String {
    let options = format!("interval: 200ms, timeout: {timeout}, rise: 1, fall: 1");
    let checks = service.check("service", &options);
    let router = Router::new(200).interval_ms(1000).with("checks: [service]");
    format!("{}checks:\n{checks}", yaml("a", &[router]))
}

/// The one runner that serves `agent`.
fn runner_of(agent: &Agent) -> i32 {
    let directory = agent.runtime.display().to_string();
    let mut found = None;
    wait_until("one runner", LONG, || {
        let all = processes(&directory);
        let mut runners = all.iter().filter(|(_, line)| line.contains(" runner "));
        found = runners.next().map(|(pid, _)| *pid);
        found.is_some() && runners.next().is_none()
    });
    found.expect("it was waited for")
}

fn kill_hard(pid: i32) {
    kill(Pid::from_raw(pid), Signal::SIGKILL).expect("it lives");
}

/// Neither the state nor the address noticed anything since `began`, and no
/// advertisement is missing.
fn untouched(lab: &Lab, host: &Host, agent: &Agent, began: Instant) {
    assert_eq!(agent.state("web"), "active");
    assert_eq!(host.watch.times(began, vip()), []);
    let times: Vec<_> = lab.observer.adverts(began, &host.name);
    assert!(times.len() > 1, "{times:?}");
    for pair in times.windows(2) {
        assert_eq!(pair[1].1.priority, 200);
        assert_span("the next one", pair[1].0 - pair[0].0, ms(0), ms(1000));
    }
}

fn asked_again(service: &Service) {
    let so_far = service.runs();
    wait_until("further runs of the check", LONG, || {
        service.runs() > so_far + 4
    });
}

/// The agent started it, and starts another.
fn runner_killed() {
    let lab = Lab::new();
    let a = lab.host("a");
    let service = lab.service("web");
    let agent = lab.agent_with(&a, &listening(&service, "10s"));
    a.watch.wait(agent.started, vip(), true, LONG);
    let transitions = agent.transitions("web");
    let began = Instant::now();
    for _ in 0..3 {
        let first = runner_of(&agent);
        kill_hard(first);
        wait_until("it is gone", LONG, || {
            !processes(" runner ").contains_key(&first)
        });
        asked_again(&service);
        assert_ne!(runner_of(&agent), first);
    }
    untouched(&lab, &a, &agent, began);
    assert_eq!(agent.transitions("web"), transitions);
    // The check is weighed, not only run.
    service.ill();
    agent.wait_state("web", "fault", LONG);
    end(agent);
}

/// An agent under a service manager, which runs the runner.
fn managed(lab: &Lab, host: &Host, configuration: &str) -> (Agent, UnixDatagram) {
    let path = lab.directory.path().join("notify.sock");
    let manager = UnixDatagram::bind(&path).expect("a socket");
    let agent = lab.agent_by(host, configuration, |command| {
        command.env("NOTIFY_SOCKET", &path);
    });
    (agent, manager)
}

/// It comes back within the time-out of the check.
fn runner_alone_killed() {
    let lab = Lab::new();
    let a = lab.host("a");
    let service = lab.service("web");
    let file = listening(&service, "30s");
    let mut runner = lab.runner(&a, &file);
    let (agent, _manager) = managed(&lab, &a, &file);
    a.watch.wait(agent.started, vip(), true, LONG);
    assert_eq!(
        runner_of(&agent),
        i32::try_from(runner.pid()).expect("a pid")
    );
    let transitions = agent.transitions("web");
    let began = Instant::now();
    runner.kill();
    wait_until("the log tells", LONG, || {
        agent.process.log().contains("the runner is away")
    });
    let runs = service.runs();
    std::thread::sleep(ms(2_000));
    assert_eq!(service.runs(), runs, "somebody else runs it");
    assert_eq!(agent.check("service")["state"], "up");
    let _runner = lab.runner(&a, &file);
    asked_again(&service);
    untouched(&lab, &a, &agent, began);
    assert_eq!(agent.transitions("web"), transitions);
    service.ill();
    agent.wait_state("web", "fault", LONG);
    end(agent);
}

/// Longer than the time-out of the check: it counts as failed, in words, and
/// ends when the runner is back.
fn runner_away_for_long() {
    let lab = Lab::new();
    let a = lab.host("a");
    let service = lab.service("web");
    let file = listening(&service, "2s");
    let mut runner = lab.runner(&a, &file);
    let (agent, _manager) = managed(&lab, &a, &file);
    a.watch.wait(agent.started, vip(), true, LONG);
    let killed = Instant::now();
    runner.kill();
    let gone = a.watch.wait(killed, vip(), false, LONG);
    // The one time-out that its last result holds, which may be some hundred
    // milliseconds old on a busy machine; and the pace of the attempts.
    assert_span("the fault", gone - killed, ms(1_000), ms(2_700));
    agent.wait_state("web", "fault", LONG);
    let text = agent.instance("web")["obstacles"][0]["text"].to_string();
    assert!(
        text.contains("could not be run: the runner is away"),
        "{text}"
    );
    assert!(text.contains("runner.sock"), "{text}");
    assert!(agent.process.log().contains("the runner is away"));
    let back = Instant::now();
    let _runner = lab.runner(&a, &file);
    a.watch.wait(back, vip(), true, LONG);
    assert_eq!(agent.check("service")["output"], "");
    end(agent);
}

/// The same runner serves the next agent.
fn agent_killed() {
    let lab = Lab::new();
    let a = lab.host("a");
    let service = lab.service("web");
    let file = listening(&service, "10s");
    let runner = lab.runner(&a, &file);
    let runner_pid = i32::try_from(runner.pid()).expect("a pid");
    let (mut agent, _manager) = managed(&lab, &a, &file);
    a.watch.wait(agent.started, vip(), true, LONG);
    agent.process.kill();
    std::fs::remove_file(lab.directory.path().join("notify.sock")).expect("removed");
    let (agent, _manager) = managed(&lab, &a, &file);
    agent.wait_state("web", "active", LONG);
    assert_eq!(runner_of(&agent), runner_pid);
    asked_again(&service);
    service.ill();
    agent.wait_state("web", "fault", LONG);
    service.well();
    agent.wait_state("web", "active", LONG);
    end(agent);
    // A planned end of the agent is none of the runner's either.
    std::thread::sleep(ms(500));
    assert!(
        processes(" runner ").contains_key(&runner_pid),
        "{}",
        runner.log()
    );
}
