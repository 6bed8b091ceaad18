//! A new version while the old one is in service.

use crate::Test;
use crate::lab::machine::Machine;
use crate::lab::{Pair, assert_undisturbed, vip, vip6};
use crate::operator::{claims, install, serving};

pub const TESTS: &[Test] = &[
    ("upgrade::the_active_comes_back", the_active_comes_back),
    ("upgrade::without_preempt_it_stays_away", without_preempt),
    ("upgrade::the_backup", the_backup),
    ("upgrade::what_was_stopped_stays_so", what_was_stopped),
];

/// Moves while `machine` is upgraded, of which no probe notices anything.
pub fn moves(
    pair: &Pair,
    machine: &Machine,
    upgrade: impl Fn(&Machine),
    settled: impl Fn(),
) -> usize {
    let count = || claims(&pair.lb1) + claims(&pair.lb2);
    let before = count();
    let probers = [vip(), vip6()].map(|vip| pair.probe(vip));
    let (agent, runner) = (machine.pid("vipward"), machine.pid("vipward-runner"));
    let file = machine.read("/etc/vipward/config.yaml");
    upgrade(machine);
    settled();
    assert_ne!(machine.pid("vipward"), agent);
    assert_ne!(machine.pid("vipward-runner"), runner);
    assert_eq!(machine.read("/etc/vipward/config.yaml"), file);
    for prober in probers {
        assert_undisturbed(&prober.stop());
    }
    assert_eq!(machine.show("vipward", "NRestarts"), "0");
    assert_eq!(machine.sh("systemctl is-system-running"), "running");
    count() - before
}

fn next(machine: &Machine) {
    install(machine, true);
    assert!(machine.sh("dpkg-query -W vipward").contains("+next"));
}

fn the_active_comes_back() {
    let pair = serving("");
    let moves = moves(&pair, &pair.lb1, next, || {
        pair.lb1.wait_active();
        pair.lb2.wait_state("backup");
    });
    assert_eq!(moves, 2, "to the other and back");
}

fn without_preempt() {
    let pair = serving("    preempt: false\n");
    let moves = moves(&pair, &pair.lb1, next, || {
        pair.lb2.wait_active();
        pair.lb1.wait_state("backup");
    });
    assert_eq!(moves, 1);
}

fn the_backup() {
    let pair = serving("");
    let moves = moves(&pair, &pair.lb2, next, || {
        pair.lb2.wait_state("backup");
        pair.lb1.wait_active();
    });
    assert_eq!(moves, 0);
}

/// A host may be out of service on purpose, or for ever.
fn what_was_stopped() {
    let pair = serving("");
    let (lb1, lb2) = (&pair.lb1, &pair.lb2);
    lb1.sh("systemctl stop vipward");
    lb2.sh("systemctl disable --now vipward 2>&1");
    for machine in [lb1, lb2] {
        install(machine, true);
        assert_eq!(machine.show("vipward", "ActiveState"), "inactive");
    }
    assert_eq!(lb1.show("vipward", "UnitFileState"), "enabled");
    assert_eq!(lb2.show("vipward", "UnitFileState"), "disabled");
}
