//! The whole host goes: the address is handed over before the network is away.

use std::time::{Duration, Instant};

use crate::Test;
use crate::lab::machine::Machine;
use crate::lab::{LONG, Pair, assert_undisturbed, script, vip, vip6, wait_until};

pub const TESTS: &[Test] = &[
    ("shutdown::power_off_hands_over", power_off),
    ("shutdown::a_reboot", reboot),
    ("shutdown::many_addresses", many_addresses),
];

/// Stands for whatever configures the network of a host: at its stop the
/// interface goes down.
const NETWORK: &str = "[Unit]
DefaultDependencies=no
Before=network.target shutdown.target
Conflicts=shutdown.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/true
ExecStop=/bin/sh -c 'echo network goes >>/var/log/order; ip link set eth0 down'
[Install]
WantedBy=multi-user.target
";

/// Told last, while the network is still there.
const HOOK: &str = "    hooks: { change: { run: [/usr/local/bin/told], user: root } }\n";

fn serving() -> Pair {
    let pair = Pair::boot(HOOK);
    for machine in [&pair.lb2, &pair.lb1] {
        let network = machine.root().join("etc/systemd/system/network.service");
        crate::lab::write(&network, NETWORK);
        let told = "[ $3 != STOP ] || sleep 1\necho \"hook $3 $(cat /sys/class/net/eth0/operstate)\" >>/var/log/order";
        script(machine, "/usr/local/bin/told", told);
        machine.sh("systemctl daemon-reload; systemctl enable --now network vipward");
    }
    pair.lb1.wait_active();
    pair
}

fn order(machine: &Machine) -> Vec<String> {
    let order = machine.read("/var/log/order");
    order.lines().map(str::to_owned).collect()
}

fn power_off() {
    let mut pair = serving();
    let probers = [vip(), vip6()].map(|vip| pair.probe(vip));
    let start = Instant::now();
    pair.lb1.sh("systemctl poweroff");
    pair.lb2.wait_active();
    pair.lb1.wait_off();
    // The units do not hold a shutdown up.
    let took = start.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
    for prober in probers {
        assert_undisturbed(&prober.stop());
    }
    for vip in [vip(), vip6()] {
        assert!(!pair.lb1.holds(vip), "{vip} is still on lb1");
    }
    let seen = order(&pair.lb1);
    let end: Vec<&str> = seen.iter().map(String::as_str).rev().take(2).collect();
    assert_eq!(end, ["network goes", "hook STOP up"], "{seen:?}");
    let journal = pair.lb1.journal();
    assert!(journal.contains("every address was released"), "{journal}");
    assert!(!journal.contains("timed out"), "{journal}");
}

fn reboot() {
    let mut pair = serving();
    let prober = pair.probe(vip());
    pair.lb1.sh("systemctl reboot");
    assert!(pair.lb1.wait_off(), "it did not ask for another start");
    pair.lb2.wait_active();
    assert!(!pair.lb1.holds(vip()));
    pair.lb1.start_again();
    // Enabled, so it comes back by itself, and finds the network late.
    pair.lb1.wait_booted();
    let network = &pair.lb1.host.namespace;
    network.ip("link set eth0 up");
    network.ip("address replace 2001:db8::1/64 dev eth0 nodad");
    pair.lb1.wait_active();
    pair.lb2.wait_state("backup");
    assert_undisturbed(&prober.stop());
}

/// IPv6 is slow to add and to remove in the kernel; the unit's time suffices.
fn many_addresses() {
    let mut pair = Pair::boot("");
    let many = (0x1000..0x13e8)
        .map(|n| format!("{{ address: \"2001:db8::{n:x}/64\", advertise: false }}"));
    let many: Vec<String> = many.collect();
    let lb1 = &pair.lb1;
    let one = lb1.read("/etc/vipward/config.yaml");
    lb1.configure(&one.replace(
        "addresses: [",
        &format!("addresses: [{}, ", many.join(", ")),
    ));
    lb1.sh("systemctl start vipward");
    let held = || {
        let found = pair.lb1.host.namespace.ip_json("address show dev eth0");
        found[0]["addr_info"].as_array().map_or(0, Vec::len)
    };
    wait_until("all addresses", LONG, || held() > 1000);
    pair.lb1.sh("systemctl poweroff");
    let start = Instant::now();
    pair.lb1.wait_off();
    let took = start.elapsed();
    assert!(took < Duration::from_secs(15), "{took:?}");
    let journal = pair.lb1.journal();
    assert!(journal.contains("every address was released"), "{journal}");
    assert!(!pair.lb1.holds(vip()) && !pair.lb1.holds(vip6()));
}
