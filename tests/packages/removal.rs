//! Taking the package away.

use std::collections::BTreeSet;

use crate::Test;
use crate::lab::machine::Machine;
use crate::lab::{Pair, assert_undisturbed, vip, vip6};
use crate::operator::{edit, fresh, install, serving};

pub const TESTS: &[Test] = &[
    ("removal::removed_and_installed_again", removed),
    ("removal::purged_it_leaves_nothing", purged),
];

/// Taken away from lb1, which serves: lb2 does then, and nobody noticed.
pub fn unnoticed(pair: &Pair, order: &str) {
    let (lb1, lb2) = (&pair.lb1, &pair.lb2);
    let prober = pair.probe(vip());
    lb1.sh(order);
    lb2.wait_active();
    assert_undisturbed(&prober.stop());
    for vip in [vip(), vip6()] {
        assert!(!lb1.holds(vip), "{vip} is still on lb1");
    }
    assert!(!lb1.try_sh("pgrep vipward").status.success());
}

fn removed() {
    let pair = serving("");
    let (lb1, lb2) = (&pair.lb1, &pair.lb2);
    let file = lb1.read("/etc/vipward/config.yaml");
    unnoticed(&pair, "dpkg -r vipward 2>&1");
    lb1.sh("! test -e /usr/bin/vipward && ! test -e /run/vipward");
    // What was configured is kept, and serves the next installation.
    assert_eq!(lb1.read("/etc/vipward/config.yaml"), file);
    install(lb1, false);
    lb1.wait_active();
    lb2.wait_state("backup");
}

/// Every name on the disk that is no log or cache and not dpkg's.
fn names(machine: &Machine) -> BTreeSet<String> {
    let found = machine.sh(
        "find / -xdev \\( -path /proc -o -path /sys -o -path /dev -o -path /tmp -o -path /var/tmp \
         -o -path /var/log -o -path /var/cache -o -path /var/lib/dpkg -o -path /run/systemd \
         -o -path /run/udev -o -path /var/lib/systemd \\) -prune -o -print; find /run -name '*vipward*' -not -path '/run/systemd/transient/*'",
    );
    found.lines().map(str::to_owned).collect()
}

fn purged() {
    let pair = fresh();
    let lb1 = &pair.lb1;
    let before = names(lb1);
    install(lb1, false);
    edit(lb1, 150, "");
    lb1.sh("touch /etc/vipward/environment; (umask 077; vipward keygen >/etc/vipward/key)");
    lb1.sh("systemctl enable --now vipward 2>&1");
    lb1.wait_active();
    lb1.sh("vipward drain --force 2>&1; vipward undrain");
    lb1.wait_active();
    lb1.sh("dpkg --purge vipward 2>&1");
    let after = names(lb1);
    let left: Vec<&String> = after.difference(&before).collect();
    // The copies that are made when a user is added.
    let copies = [
        "/etc/passwd-",
        "/etc/group-",
        "/etc/shadow-",
        "/etc/gshadow-",
    ];
    let left: Vec<&String> = left
        .into_iter()
        .filter(|name| !copies.contains(&name.as_str()))
        .collect();
    assert_eq!(left, [""; 0], "left behind");
    let gone: Vec<&String> = before.difference(&after).collect();
    assert_eq!(gone, [""; 0], "taken away");
    for vip in [vip(), vip6()] {
        assert!(!lb1.holds(vip), "{vip} is still on lb1");
    }
    let units =
        lb1.sh("systemctl list-units --all --no-legend 'vipward*'; systemctl --failed --no-legend");
    assert_eq!(units, "");
    // The user stays: its number is to be nobody else's.
    lb1.sh("getent passwd vipward");
    assert!(
        !lb1.try_sh("dpkg-query -W -f '${Status}' vipward")
            .status
            .success()
    );
}
