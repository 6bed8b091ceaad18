//! The .rpm on booted hosts. They are Debian's: rpm is there, and what it does by
//! itself; other distributions' policies are not.

use std::env;
use std::path::{Path, PathBuf};

use crate::lab::machine::{Content, Machine};
use crate::lab::{Pair, isolation};
use crate::operator::edit;
use crate::removal::unnoticed;
use crate::{NEXT, PACKAGES, Test, upgrade};

pub const TESTS: &[Test] = &[("rpm::from_the_installation_to_the_end", life)];

/// Why there is nothing to try.
pub fn missing() -> Option<String> {
    let why = "packaging/test.sh makes it";
    if !isolation::tools().join("usr/bin/rpm").exists() {
        return Some(format!("there is no system with rpm to boot; {why}"));
    }
    let packages = [false, true].map(package);
    (packages.iter().any(|path| !path.exists())).then(|| format!("there is no .rpm; {why}"))
}

fn package(next: bool) -> PathBuf {
    let folder = env::var_os(PACKAGES).map(PathBuf::from);
    let next = if next { NEXT } else { "" };
    let version = env!("CARGO_PKG_VERSION");
    let name = format!("vipward-{version}{next}-1.{}.rpm", env::consts::ARCH);
    folder.unwrap_or_default().join(name)
}

/// What the package manager says. Its list of packages does not know Debian's.
#[track_caller]
fn rpm(machine: &Machine, order: &str, next: bool) -> String {
    let to = machine.root().join("root/vipward.rpm");
    std::fs::copy(package(next), &to).expect("the package");
    let told = machine.sh(&format!("rpm {order} --nodeps /root/vipward.rpm 2>&1"));
    std::fs::remove_file(to).expect("the package");
    told
}

fn life() {
    let pair = Pair::boot_with(Content::Tools, None);
    let (lb1, lb2) = (&pair.lb1, &pair.lb2);
    for (machine, priority, state) in [(lb1, 150, "active"), (lb2, 100, "backup")] {
        let told = rpm(machine, "-i", false);
        assert!(told.contains("so nothing was started"), "{told}");
        assert_eq!(machine.show("vipward", "ActiveState"), "inactive");
        edit(machine, priority, "");
        machine.sh("systemctl enable --now vipward 2>&1");
        machine.wait_state(state);
    }
    lb1.wait_active();

    let next = |machine: &Machine| {
        rpm(machine, "-U", true);
        assert!(machine.sh("rpm -q vipward").contains(NEXT));
    };
    let moves = upgrade::moves(&pair, lb1, next, || {
        lb1.wait_active();
        lb2.wait_state("backup");
    });
    assert_eq!(moves, 2, "to the other and back");
    let moves = upgrade::moves(&pair, lb2, next, || {
        lb2.wait_state("backup");
        lb1.wait_active();
    });
    assert_eq!(moves, 0);

    let file = lb1.read("/etc/vipward/config.yaml");
    unnoticed(&pair, "rpm -e vipward 2>&1");
    assert_eq!(lb1.read("/etc/vipward/config.yaml.rpmsave"), file);
    for gone in ["usr/bin/vipward", "run/vipward", "usr/share/vipward"] {
        assert!(!Path::exists(&lb1.root().join(gone)), "{gone}");
    }
    let units = "systemctl list-units --all --no-legend 'vipward*'; systemctl --failed --no-legend";
    assert_eq!(lb1.sh(units), "");
}
