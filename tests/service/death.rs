//! The agent is killed, or hangs: what the service manager makes of it.

use std::thread;
use std::time::{Duration, Instant};

use crate::Test;
use crate::lab::{INTERVAL, LONG, Pair, assert_undisturbed, vip, vip6, wait_until};

pub const TESTS: &[Test] = &[
    ("death::a_well_agent_is_left_alone", well),
    ("death::a_frozen_agent_is_restarted", frozen),
    ("death::a_killed_agent_is_restarted", killed),
    ("death::a_killed_agent_has_a_guardian", guarded),
    (
        "death::an_agent_killed_with_its_guardian",
        killed_with_its_guardian,
    ),
];

/// It feeds the watchdog; a shorter one than the unit's, to save time.
fn well() {
    let pair = Pair::boot("");
    let lb1 = &pair.lb1;
    lb1.edit("vipward.service", "[Service]\nWatchdogSec=1s\n");
    lb1.sh("systemctl start vipward");
    let pid = lb1.pid("vipward");
    thread::sleep(Duration::from_millis(3500));
    assert_eq!(lb1.pid("vipward"), pid);
    assert_eq!(lb1.show("vipward", "NRestarts"), "0");
    lb1.wait_active();
}

/// systemd kills with SIGABRT what did not feed the watchdog for 5 s.
fn frozen() {
    // Longer than the peer waits, however busy whoever looks is.
    let pair = Pair::serving("    address_lease: 10s\n");
    let lb1 = &pair.lb1;
    let pid = lb1.pid("vipward");
    let start = Instant::now();
    lb1.sh(&format!("kill -STOP {pid}"));
    // It is silent, so the peer takes over ...
    pair.lb2.wait_active();
    let silence = start.elapsed();
    assert!(silence >= 2 * INTERVAL, "{silence:?}");
    // ... while the addresses are still there: nobody was able to take them.
    assert_eq!(lb1.pid("vipward"), pid);
    assert!(lb1.holds(vip()) && lb1.holds(vip6()));
    wait_until("the watchdog", LONG, || {
        lb1.show("vipward", "NRestarts") == "1"
    });
    let noticed = start.elapsed();
    assert!(
        noticed > Duration::from_secs(2) && noticed < Duration::from_secs(10),
        "{noticed:?}"
    );
    let journal = lb1.journal();
    assert!(journal.contains("Watchdog timeout"), "{journal}");
    // The better one takes over again, in order.
    lb1.wait_active();
    pair.lb2.wait_state("backup");
    wait_until("lb2 to let go", LONG, || !pair.lb2.holds(vip()));
}

fn killed() {
    let pair = Pair::serving("");
    let lb1 = &pair.lb1;
    let pid = lb1.pid("vipward");
    let runner = lb1.pid("vipward-runner");
    lb1.sh(&format!("kill -9 {pid}"));
    wait_until("the restart", LONG, || {
        lb1.show("vipward", "NRestarts") == "1" && lb1.show("vipward", "ActiveState") == "active"
    });
    assert_eq!(lb1.pid("vipward-runner"), runner);
    lb1.wait_active();
    pair.lb2.wait_state("backup");
    let prober = pair.probe(vip());
    thread::sleep(INTERVAL);
    assert_undisturbed(&prober.stop());
}

/// The guardian is there before the service manager.
fn guarded() {
    let pair = Pair::serving("");
    let lb1 = &pair.lb1;
    lb1.edit("vipward.service", "[Service]\nRestart=no\n");
    let pid = lb1.pid("vipward");
    lb1.sh(&format!("kill -9 {pid}"));
    pair.lb2.wait_active();
    assert!(!lb1.holds(vip()) && !lb1.holds(vip6()));
    // It ends with the agent, and holds nobody up.
    wait_until("the end of the unit", LONG, || {
        lb1.show("vipward", "ActiveState") == "failed"
    });
    let journal = lb1.journal();
    assert!(
        journal.contains("died without goodbye; sent priority 0 for web"),
        "{journal}"
    );
    assert!(journal.contains("nothing was left"), "{journal}");
    assert!(!journal.contains("timed out"), "{journal}");
}

/// systemd kills all of the unit, so nobody is left to speak; then it cleans
/// up.
fn killed_with_its_guardian() {
    let pair = Pair::serving("");
    let lb1 = &pair.lb1;
    lb1.edit("vipward.service", "[Service]\nRestart=no\n");
    lb1.sh("systemctl kill -s KILL vipward");
    for vip in [vip(), vip6()] {
        wait_until("the address to go from lb1", LONG, || !lb1.holds(vip));
    }
    pair.lb2.wait_active();
    wait_until("the end of the unit", LONG, || {
        lb1.show("vipward", "ActiveState") == "failed"
    });
    // systemd kills one after the other: by the cleanup, or by a guardian that
    // had the time.
    let journal = lb1.journal();
    assert!(journal.contains("sent priority 0 for web"), "{journal}");
    lb1.sh("systemctl start vipward");
    lb1.wait_active();
}
