//! The runner beside the agent: neither's end is the other's.

use crate::Test;
use crate::lab::machine::Machine;
use crate::lab::{LONG, Pair, assert_undisturbed, script, vip, wait, wait_until};

pub const TESTS: &[Test] = &[
    ("beside::checks_and_hooks_run_as_nobody", as_nobody),
    ("beside::the_runner_is_restarted", runner_restarted),
    ("beside::the_runner_is_killed", runner_killed),
    ("beside::the_agent_is_restarted", agent_restarted),
    ("beside::the_agent_is_stopped", agent_stopped),
];

/// Each run of the check leaves a line, and its parent is the runner.
const COUNTED: &str = "    checks: [counted]
    hooks:
      change: { run: [/usr/local/bin/told] }
checks:
  counted: { script: [/usr/local/bin/counted], interval: 200ms, timeout: 1s }
";

fn serving() -> Pair {
    let pair = Pair::boot(COUNTED);
    for machine in [&pair.lb2, &pair.lb1] {
        let counted = "echo $PPID >>/var/told/counted; echo \"as $(id -un)\"";
        script(machine, "/usr/local/bin/counted", counted);
        let told = "echo \"$@ $(id -un)\" >>/var/told/told; echo \"told $3\"";
        script(machine, "/usr/local/bin/told", told);
        machine.sh("systemctl start vipward");
    }
    pair.lb1.wait_active();
    pair
}

/// Runs of the check that this runner started.
fn runs_of(machine: &Machine, runner: u32) -> usize {
    let runs = machine.read("/var/told/counted");
    let runner = runner.to_string();
    runs.lines().filter(|line| **line == runner).count()
}

#[track_caller]
fn wait_checks_run(machine: &Machine, runner: u32) {
    let before = runs_of(machine, runner);
    wait_until("checks to run", LONG, || {
        runs_of(machine, runner) > before + 2
    });
    wait("the check to be up", LONG, || {
        machine.check("counted", |check| check["state"] == "up")
    });
}

fn as_nobody() {
    let pair = serving();
    let check = wait("a result", LONG, || {
        pair.lb1.check("counted", |check| check["state"] == "up")
    });
    assert_eq!(check["output"], "as nobody");
    wait("the hook", LONG, || {
        let hook = pair.lb1.web()?["hooks"][0].clone();
        match hook["output"] == "told MASTER" && hook["error"].is_null() {
            true => Ok(()),
            false => Err(hook.to_string()),
        }
    });
    let told = pair.lb1.read("/var/told/told");
    assert!(told.contains("INSTANCE web MASTER 150 nobody\n"), "{told}");
    assert!(runs_of(&pair.lb1, pair.lb1.pid("vipward-runner")) > 0);
}

/// What must be as before while the runner is away.
struct Undisturbed {
    pid: u32,
    since: String,
}

impl Undisturbed {
    fn of(machine: &Machine) -> Self {
        let web = machine.web().expect("a status");
        Self {
            pid: machine.pid("vipward"),
            since: web["since"].to_string(),
        }
    }

    #[track_caller]
    fn holds(&self, machine: &Machine) {
        let web = machine.web().expect("a status");
        assert_eq!(machine.pid("vipward"), self.pid);
        assert_eq!(web["state"], "active", "{web}");
        assert_eq!(web["since"].to_string(), self.since);
        assert!(machine.holds(vip()));
    }
}

fn runner_restarted() {
    let pair = serving();
    let lb1 = &pair.lb1;
    let before = Undisturbed::of(lb1);
    let prober = pair.probe(vip());
    let old = lb1.pid("vipward-runner");
    wait_checks_run(lb1, old);
    lb1.sh("systemctl restart vipward-runner");
    let new = lb1.pid("vipward-runner");
    assert_ne!(old, new);
    wait_checks_run(lb1, new);
    before.holds(lb1);
    assert_undisturbed(&prober.stop());
}

fn runner_killed() {
    let pair = serving();
    let lb1 = &pair.lb1;
    let before = Undisturbed::of(lb1);
    let prober = pair.probe(vip());
    let old = lb1.pid("vipward-runner");
    lb1.sh(&format!("kill -9 {old}"));
    let new = wait("another runner", LONG, || match lb1.pid("vipward-runner") {
        0 => Err("none".to_owned()),
        pid if pid == old => Err("the old one".to_owned()),
        pid => Ok(pid),
    });
    wait_checks_run(lb1, new);
    before.holds(lb1);
    assert_undisturbed(&prober.stop());
    assert_eq!(lb1.show("vipward-runner", "NRestarts"), "1");
}

fn agent_restarted() {
    let pair = serving();
    let lb1 = &pair.lb1;
    let (agent, runner) = (lb1.pid("vipward"), lb1.pid("vipward-runner"));
    wait_checks_run(lb1, runner);
    let prober = pair.probe(vip());
    lb1.sh("systemctl restart vipward");
    assert_ne!(lb1.pid("vipward"), agent);
    assert_eq!(lb1.pid("vipward-runner"), runner);
    wait_checks_run(lb1, runner);
    lb1.wait_active();
    // It was handed over, and came back.
    let report = prober.stop();
    assert_undisturbed(&report);
    assert!(report.sent > 0);
    let told = lb1.read("/var/told/told");
    let words: Vec<&str> = told
        .lines()
        .filter_map(|line| line.split(' ').nth(2))
        .collect();
    assert_eq!(
        words,
        ["BACKUP", "MASTER", "STOP", "BACKUP", "MASTER"],
        "{told}"
    );
}

/// Then nobody needs the runner; it has only the last hook to see through.
fn agent_stopped() {
    let pair = serving();
    let lb1 = &pair.lb1;
    let told = "sleep 1; echo \"$@\" >>/var/told/slowly";
    script(lb1, "/usr/local/bin/told", told);
    lb1.sh("systemctl stop vipward");
    wait_until("the runner to end", LONG, || {
        lb1.show("vipward-runner", "ActiveState") == "inactive"
    });
    let told = lb1.read("/var/told/slowly");
    assert!(told.ends_with("INSTANCE web STOP 150\n"), "{told}");
    assert_eq!(lb1.show("vipward-runner", "Result"), "success");
    // And it comes back with the agent.
    lb1.sh("systemctl start vipward");
    wait_checks_run(lb1, lb1.pid("vipward-runner"));
}
