//! Checks of units, asked of a real systemd over a real bus.

use crate::Test;
use crate::lab::{LONG, Pair, vip, wait, wait_until, write};

pub const TESTS: &[Test] = &[
    ("units::one_that_stops_moves_the_address", moves_the_address),
    ("units::without_a_bus", without_a_bus),
];

const WATCHED: &str = "    checks: [web, { name: other, weight: -1 }]
checks:
  web: { systemd: web.service, interval: 300ms, timeout: 3s, rise: 1, fall: 1 }
  other: { systemd: nosuch.service, interval: 300ms, timeout: 3s, rise: 1, fall: 1 }
";

/// Both hosts run the service, and lb1 has the address.
fn serving() -> Pair {
    let pair = Pair::boot(WATCHED);
    for machine in [&pair.lb2, &pair.lb1] {
        let unit = machine.root().join("etc/systemd/system/web.service");
        write(&unit, "[Service]\nExecStart=/bin/sleep infinity\n");
        machine.sh("systemctl daemon-reload && systemctl start web vipward");
    }
    pair.lb1.wait_active();
    pair
}

fn moves_the_address() {
    let pair = serving();
    let (lb1, lb2) = (&pair.lb1, &pair.lb2);
    let says = |name: &str, text: &str| {
        wait(&format!("{name} to say {text}"), LONG, || {
            lb1.check(name, |check| check["output"] == text)
        });
    };
    says("web", "active (running)");
    says("other", "there is no unit `nosuch.service`");
    lb1.sh("systemctl stop web");
    lb2.wait_active();
    says("web", "the unit `web.service` is inactive (dead)");
    wait_until("lb1 to let go", LONG, || !lb1.holds(vip()));
    // It fails by itself, and is known to have.
    lb1.sh("systemctl start web");
    lb1.wait_active();
    lb1.sh("systemctl kill -s SIGKILL web");
    lb2.wait_active();
    says("web", "the unit `web.service` is failed (failed)");
}

fn without_a_bus() {
    let pair = serving();
    let (lb1, lb2) = (&pair.lb1, &pair.lb2);
    let before = lb1.check("web", |check| check["state"] == "up");
    assert!(before.is_ok(), "{before:?}");
    // systemctl has a way of its own to systemd.
    lb1.sh("systemctl stop dbus.socket dbus.service");
    let check = wait("the reason", LONG, || {
        lb1.check("web", |check| {
            let output = check["output"].as_str().unwrap_or_default();
            output.starts_with("could not be run: the system bus cannot be reached")
        })
    });
    assert_eq!(check["state"], "up", "its last result holds: {check}");
    // For as long as a failure takes to be noticed; then it counts as one.
    lb2.wait_active();
    lb1.sh("systemctl start dbus.socket");
    lb1.wait_active();
}
