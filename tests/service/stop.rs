//! The service alone is stopped, and its host stays.

use std::time::Duration;

use crate::Test;
use crate::lab::{LONG, Pair, assert_undisturbed, script, vip, vip6, wait};

pub const TESTS: &[Test] = &[("stop::a_hook_outlasts_the_unit", a_hook_outlasts_the_unit)];

const HOOK: &str =
    "    hooks: { before_release: { run: [/usr/local/bin/demote], timeout: 10s } }\n";

/// As `nobody`. Its end is told with the number of addresses that are still
/// there: the runner would let it end in any case.
const DEMOTE: &str = "echo begun >>/var/told/demote
sleep 6
held=$(ip -o address show dev eth0 | grep -cE '192\\.0\\.2\\.10/|2001:db8::10/')
echo \"ended with $held\" >>/var/told/demote";

/// The unit allows half of what the hook needs; the agent asks for more.
fn a_hook_outlasts_the_unit() {
    let pair = Pair::boot(HOOK);
    let (lb1, lb2) = (&pair.lb1, &pair.lb2);
    lb1.edit("vipward.service", "[Service]\nTimeoutStopSec=3s\n");
    script(lb1, "/usr/local/bin/demote", DEMOTE);
    for machine in [lb2, lb1] {
        // Enabled, or the manager forgets how it ended.
        machine.sh("systemctl enable --now vipward");
    }
    lb1.wait_active();
    lb2.wait_state("backup");
    assert_eq!(lb1.show("vipward", "TimeoutStopUSec"), "3s");
    let probers = [vip(), vip6()].map(|vip| pair.probe(vip));

    lb1.sh("systemctl stop --no-block vipward");
    wait("the hook to end", Duration::from_secs(12), || {
        let early = [vip(), vip6()].into_iter().any(|vip| lb2.holds(vip));
        // Read after lb2 was asked.
        match lb1.read("/var/told/demote") {
            told if told.contains("ended") => Ok(()),
            told if early => panic!("lb2 took over while the hook ran: {told:?}"),
            told => Err(format!("{told:?}; the unit: {}", unit(&pair))),
        }
    });
    assert_eq!(lb1.read("/var/told/demote"), "begun\nended with 2\n");
    lb2.wait_active();
    wait("the end of the unit", LONG, || {
        let seen = unit(&pair);
        match seen.contains("inactive") || seen.contains("failed") {
            true => Ok(()),
            false => Err(seen),
        }
    });
    for prober in probers {
        assert_undisturbed(&prober.stop());
    }
    // It was not killed: code 1 is an exit.
    assert_eq!(unit(&pair), "inactive, success, 1, 0");
    for vip in [vip(), vip6()] {
        assert!(!lb1.holds(vip), "{vip} is still on lb1");
    }
    let journal = lb1.journal();
    assert!(journal.contains("every address was released"), "{journal}");
    assert!(!journal.contains("timed out"), "{journal}");
}

/// What the service manager of lb1 makes of the agent.
fn unit(pair: &Pair) -> String {
    ["ActiveState", "Result", "ExecMainCode", "ExecMainStatus"]
        .map(|property| pair.lb1.show("vipward", property))
        .join(", ")
}
