//! Instances that move together, on two segments, with ours and with
//! keepalived's `vrrp_sync_group` on the other host.

use std::net::IpAddr;
use std::time::Instant;

use libtest_mimic::Trial;
use nix::sys::signal::Signal;

use crate::lab::agent::Agent;
use crate::lab::config::{Router, yaml};
use crate::lab::prober::Prober;
use crate::lab::process::Process;
use crate::lab::{Host, LONG, Lab, ms, vip, wait_until};
use crate::{Needs, trial};

pub fn trials() -> Vec<Trial> {
    let mut trials = vec![
        trial("agent_group_moves_together", Needs::Nothing, || {
            moves_together(Program::Agent, Program::Agent);
        }),
        trial("agent_group_half_cut", Needs::Nothing, || {
            half_cut(Program::Agent, Program::Agent);
        }),
        trial("agent_group_hooks", Needs::Nothing, hooks),
        trial("agent_group_stop_loses_nothing", Needs::Nothing, stop),
    ];
    for (name, best, second) in [
        ("agent_is_better", Program::Agent, Program::Keepalived),
        ("keepalived_is_better", Program::Keepalived, Program::Agent),
    ] {
        for (scenario, run) in SCENARIOS {
            let name = format!("keepalived_sync_group_{scenario}_{name}");
            let run = move || run(best, second);
            trials.push(trial(name, Needs::Keepalived, run));
        }
    }
    trials
}

/// With the better one's program, then the other's.
type Scenario = fn(Program, Program);

const SCENARIOS: [(&str, Scenario); 2] =
    [("moves_together", moves_together), ("half_cut", half_cut)];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Program {
    Agent,
    Keepalived,
}

enum Speaker {
    Agent(Agent),
    Keepalived(Process),
}

impl Speaker {
    fn stop(&mut self) {
        match self {
            Speaker::Agent(agent) => {
                agent.signal(Signal::SIGTERM);
                agent.process.wait_exit(LONG);
            }
            Speaker::Keepalived(process) => {
                process.signal_alone(Signal::SIGTERM);
                process.wait_exit(LONG);
            }
        }
    }

    /// How often our members changed their state; keepalived does not count.
    fn transitions(&self) -> Option<String> {
        match self {
            Speaker::Agent(agent) => {
                let of = |name| agent.transitions(name).to_string();
                Some(of("inside") + &of("outside"))
            }
            Speaker::Keepalived(_) => None,
        }
    }
}

fn inner() -> IpAddr {
    IpAddr::from([198, 51, 100, 100])
}

fn members(priority: u8) -> [Router; 2] {
    let mut outside = Router::new(priority);
    outside.name = "outside".to_owned();
    let mut inside = Router::new(priority).addresses(&["198.51.100.100/24"]);
    inside.name = "inside".to_owned();
    inside.interface = "eth1".to_owned();
    inside.vrid = 52;
    [inside, outside]
}

fn configuration(node: &str, priority: u8, options: &str) -> String {
    let group = format!("groups:\n  gateway: {{ members: [outside, inside]{options} }}\n");
    yaml(node, &members(priority)) + &group
}

fn start(lab: &Lab, host: &Host, program: Program, priority: u8) -> Speaker {
    match program {
        Program::Agent => {
            let text = configuration(&host.name, priority, "");
            Speaker::Agent(lab.agent_with(host, &text))
        }
        Program::Keepalived => {
            let instances = members(priority).map(|one| one.keepalived(host.v4()));
            let group = "vrrp_sync_group gateway {\n  group {\n    inside\n    outside\n  }\n}\n";
            Speaker::Keepalived(lab.keepalived_with(host, &(instances.concat() + group)))
        }
    }
}

fn hosts(lab: &Lab) -> [Host; 2] {
    let hosts = lab.hosts(["a", "b"]);
    for host in &hosts {
        lab.plug(host, "eth1");
    }
    hosts
}

/// `host` has both addresses and `other` neither.
#[track_caller]
fn wait_owner(what: &str, host: &Host, other: &Host) {
    let of = |host: &Host| (host.has(inner()), host.has(vip()));
    wait_until(&format!("{what}: {} has both", host.name), LONG, || {
        of(host) == (true, true) && of(other) == (false, false)
    });
}

fn moves_together(best: Program, second: Program) {
    let lab = Lab::new();
    let [a, b] = hosts(&lab);
    let _second = start(&lab, &b, second, 100);
    wait_owner("alone", &b, &a);
    let mut better = start(&lab, &a, best, 200);
    wait_owner("preempted", &a, &b);
    lab.cut_carrier(&a);
    wait_owner("the better one's eth0 is down", &b, &a);
    if let Speaker::Agent(agent) = &better {
        let inside = agent.instance("inside");
        assert_eq!(inside["state"], "fault", "{inside:#}");
        assert_eq!(inside["obstacles"][0]["code"], "group-member", "{inside:#}");
        let group = &agent.status()["groups"][0];
        assert_eq!(group["state"], "fault", "{group:#}");
        assert_eq!(group["members"][1], "outside", "{group:#}");
    }
    lab.heal(&a);
    wait_owner("it is back", &a, &b);
    better.stop();
    wait_owner("it was stopped", &b, &a);
}

/// They hear each other on eth1 only, in two ways: the cut comes while both
/// run, and the better one comes while it is cut.
fn half_cut(best: Program, second: Program) {
    let lab = Lab::new();
    let [a, b] = hosts(&lab);
    let lower = start(&lab, &b, second, 100);
    wait_owner("alone", &b, &a);
    let mut better = start(&lab, &a, best, 200);
    wait_owner("preempted", &a, &b);
    let before = (better.transitions(), lower.transitions());
    let began = Instant::now();
    lab.silence(&a);
    // Three times as long as silence has to last for a takeover.
    let patience = members(100)[0].down_interval() * 3;
    lab.observer
        .wait(began, "advertisements for long enough", LONG, |frame| {
            frame.host == "a" && frame.at > began + patience
        });
    assert_eq!(b.watch.times(began, vip()), [], "b hears nobody on eth0");
    assert_eq!(b.watch.times(began, inner()), []);
    assert_eq!((better.transitions(), lower.transitions()), before);
    if let Speaker::Agent(agent) = &lower {
        let outside = agent.instance("outside");
        assert_eq!(outside["obstacles"][0]["code"], "group-waits");
    }
    better.stop();
    wait_owner("the better one was stopped", &b, &a);
    let _better = start(&lab, &a, best, 200);
    wait_owner("the better one is back, half cut", &a, &b);
}

fn hooks() {
    let lab = Lab::new();
    let [a, b] = hosts(&lab);
    let log = lab.directory.path().join("calls");
    let note = format!(
        "echo \"$* $VIPWARD_GROUP $VIPWARD_STATE\" >>{}",
        log.display()
    );
    let script = lab.script("note", &note);
    let options = format!(
        ", hooks: {{ change: {{ run: [{}], user: root }} }}",
        script.display()
    );
    let agent = lab.agent_with(&a, &configuration("a", 200, &options));
    wait_owner("alone", &a, &b);
    lab.cut_carrier(&a);
    let expected = "GROUP gateway BACKUP 200 gateway backup\n\
                    GROUP gateway MASTER 200 gateway active\n\
                    GROUP gateway FAULT 200 gateway fault\n";
    wait_until("three calls of the group's hook", LONG, || {
        std::fs::read_to_string(&log).unwrap_or_default() == expected
    });
    let hooks = agent.status()["groups"][0]["hooks"].clone();
    assert_eq!(hooks[0]["hook"], "change", "{hooks:#}");
    let shown = agent.ask(&["status"]);
    let shown = String::from_utf8_lossy(&shown.stdout);
    assert!(shown.contains("GROUP    STATE"), "{shown}");
}

fn stop() {
    let lab = Lab::new();
    let [a, b] = hosts(&lab);
    let client = lab.host("client");
    let _lower = start(&lab, &b, Program::Agent, 100);
    let mut better = start(&lab, &a, Program::Agent, 200);
    wait_owner("the better one", &a, &b);
    let prober = Prober::start(&client, vip());
    prober.wait_answered(LONG);
    better.stop();
    wait_owner("it was stopped", &b, &a);
    prober.wait_answered(LONG);
    let report = prober.stop();
    report.assert_gap(ms(100));
}
