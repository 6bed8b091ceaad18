//! The same file on both hosts, and what it refers to in
//! /etc/vipward/environment, which both services read.

use crate::Test;
use crate::lab::{LONG, Pair, config, script, wait, write};

pub const TESTS: &[Test] = &[("environment::of_both_services", of_both_services)];

fn of_both_services() {
    let pair = Pair::boot("");
    let more = "    priority: 100\n    nodes:\n      lb1: { priority: \"${BEST}\" }\n    \
                hooks: { active: [/usr/local/lib/hook, \"${GREETING}\"] }\n";
    let file = config(100, more).replacen("    priority: 100\n", "", 1);
    for machine in [&pair.lb1, &pair.lb2] {
        let environment = machine.root().join("etc/vipward/environment");
        write(
            &environment,
            "# Of this site.\nBEST=180\nGREETING=\"good day\"\n",
        );
        script(
            machine,
            "/usr/local/lib/hook",
            "echo \"$1\" >/tmp/hook; env >>/tmp/hook",
        );
        machine.configure(&file);
        machine.sh("systemctl start vipward");
    }
    pair.lb1.wait_active();
    let priority = |machine: &crate::lab::machine::Machine| {
        let web = machine.web().expect("the instance");
        web["priority"]["base"].clone()
    };
    assert_eq!(priority(&pair.lb1), 180);
    assert_eq!(priority(&pair.lb2), 100);
    let told = wait("the hook", LONG, || {
        let output = pair.lb1.try_sh("cat /tmp/hook");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        match text.contains("VIPWARD_STATE") {
            true => Ok(text),
            false => Err(text),
        }
    });
    assert!(told.starts_with("good day\n"), "{told}");
    // What the file refers to is not what scripts are given.
    assert!(!told.contains("GREETING"), "{told}");
    let journal = pair.lb1.journal();
    assert!(!journal.contains("has read other scripts"), "{journal}");

    // A shell is another environment, and says how to have the same.
    let judged = pair.lb1.try_sh("vipward validate");
    let told = String::from_utf8_lossy(&judged.stderr).into_owned();
    assert!(told.contains("`BEST` is not set"), "{told}");
    pair.lb1
        .sh("set -a; . /etc/vipward/environment; set +a; vipward validate");
    let other = "set -a; . /etc/vipward/environment; vipward validate --print --node lb2";
    let printed = pair.lb1.sh(other);
    assert!(printed.contains("node: lb2"), "{printed}");
    assert!(printed.contains("priority: 100"), "{printed}");
}
