//! What whoever runs the hosts does on them.

use crate::lab::machine::{Content, Machine};
use crate::lab::{INTERVAL, Pair};
use crate::package;

/// Two hosts without anything of ours.
pub fn fresh() -> Pair {
    let pair = Pair::boot_with(Content::Nothing, None);
    for machine in [&pair.lb1, &pair.lb2] {
        // Manual pages and documents are installed, too.
        machine.sh("rm -f /etc/dpkg/dpkg.cfg.d/small");
    }
    pair
}

/// What the package manager says.
#[track_caller]
pub fn install(machine: &Machine, next: bool) -> String {
    let to = machine.root().join("root/vipward.deb");
    std::fs::copy(package(next), &to).expect("the package");
    let told =
        machine.sh("DEBIAN_FRONTEND=noninteractive dpkg -i /root/vipward.deb 2>&1 </dev/null");
    std::fs::remove_file(to).expect("the package");
    told
}

/// Edits the file that was installed, and puts `more` into the instance or
/// behind it.
#[track_caller]
pub fn edit(machine: &Machine, priority: u8, more: &str) {
    let place = "/etc/vipward/config.yaml";
    let mut text = machine.read(place);
    let interval = format!("    advert_interval: {}ms", INTERVAL.as_millis());
    for (from, to) in [
        ("    priority: 150", format!("    priority: {priority}")),
        (
            "      #- 2001:db8::10/64",
            "      - 2001:db8::10/64".to_owned(),
        ),
        ("    #advert_interval: 1s", interval),
    ] {
        assert_eq!(text.matches(from).count(), 1, "{from}");
        text = text.replace(from, &to);
    }
    let (within, behind) = more.split_once("---\n").unwrap_or((more, ""));
    let instance = "    interface: eth0\n";
    assert_eq!(text.matches(instance).count(), 1);
    text = text.replace(instance, &format!("{instance}{within}"));
    machine.configure(&format!("{text}{behind}"));
    machine.sh("vipward validate");
}

/// Installed, edited and enabled on both; lb1 is Active.
pub fn serving(more: &str) -> Pair {
    let pair = fresh();
    for (machine, priority, state) in [(&pair.lb1, 150, "active"), (&pair.lb2, 100, "backup")] {
        install(machine, false);
        edit(machine, priority, more);
        machine.sh("systemctl enable --now vipward 2>&1");
        machine.wait_state(state);
    }
    pair.lb1.wait_active();
    pair
}

/// How often this host has become Active.
pub fn claims(machine: &Machine) -> usize {
    machine.journal().matches(" -> active (").count()
}
