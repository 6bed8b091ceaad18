//! A pair from its installation on, as its operator sees it.

use crate::Test;
use crate::lab::{LONG, Pair, assert_undisturbed, vip, vip6, wait, wait_until};
use crate::operator::serving;

pub const TESTS: &[Test] = &[("service::the_life_of_a_pair", the_life_of_a_pair)];

fn the_life_of_a_pair() {
    let pair = serving("");
    let (lb1, lb2) = (&pair.lb1, &pair.lb2);
    wait_until("lb2 to hear lb1", LONG, || {
        lb2.sh("vipward status").contains("192.0.2.1")
    });
    // `status` on both, as people read it.
    let (first, second) = (lb1.sh("vipward status"), lb2.sh("vipward status"));
    assert!(first.contains("1 instance: 1 active"), "{first}");
    assert!(second.contains("1 instance: 1 backup"), "{second}");
    lb1.sh("vipward status --is active");
    assert_eq!(
        lb2.try_sh("vipward status --is active").status.code(),
        Some(1)
    );

    // Stopped: the other one has it, and nobody noticed.
    let prober = pair.probe(vip());
    lb1.sh("systemctl stop vipward");
    lb2.wait_active();
    assert!(!lb1.holds(vip()) && !lb1.holds(vip6()));
    assert_eq!(lb1.try_sh("vipward status").status.code(), Some(3));
    lb1.sh("systemctl start vipward");
    lb1.wait_active();
    lb2.wait_state("backup");
    assert_undisturbed(&prober.stop());

    // Killed, and not started again at once.
    lb1.edit("vipward.service", "[Service]\nRestartSec=15s\n");
    let pid = lb1.pid("vipward");
    lb1.sh(&format!("kill -9 {pid}"));
    lb2.wait_active();
    assert!(!lb1.holds(vip()) && !lb1.holds(vip6()));
    lb1.wait_active();
    lb2.wait_state("backup");

    // Its cable is pulled.
    pair.segment.ip("link set lb1 down");
    lb2.wait_active();
    wait_until("lb1 to let go", LONG, || !lb1.holds(vip()));
    assert_eq!(lb1.web().expect("a status")["state"], "fault");
    pair.segment.ip("link set lb1 up");
    lb1.wait_active();
    lb2.wait_state("backup");

    // The file is edited once more.
    let file = lb1.read("/etc/vipward/config.yaml");
    lb1.configure(&file.replace("- 192.0.2.10/24", "- 192.0.2.10/24\n      - 192.0.2.12/24"));
    lb1.sh("systemctl reload vipward");
    let added = std::net::IpAddr::from([192, 0, 2, 12]);
    wait_until("the new address", LONG, || lb1.holds(added));

    told(&pair);
}

/// All of that can be read, and nothing was refused on the way.
fn told(pair: &Pair) {
    let (lb1, lb2) = (&pair.lb1, &pair.lb2);
    for (machine, story) in [
        (
            lb1,
            &[
                "backup -> active (no-response)",
                "stopping: resigning, and answering until relieved",
                "active -> initialize (shutdown)",
                "stopped; every address was released",
                "guardian",
                "status=9/KILL",
                "active -> fault",
                "the new configuration was applied",
            ][..],
        ),
        (lb2, &["backup -> active", "active -> backup"][..]),
    ] {
        // What was said a moment ago may be on its way there.
        wait("the whole story in the journal", LONG, || {
            let journal = machine.sh("journalctl --no-pager -u vipward -u vipward-runner");
            match story.iter().find(|line| !journal.contains(**line)) {
                Some(missing) => Err(format!("{missing} is not in:\n{journal}")),
                None => Ok(()),
            }
        });
    }
    for machine in [lb1, lb2] {
        let journal = machine.journal();
        let denied =
            |line: &&str| line.contains("not permitted") || line.contains("ermission denied");
        let denied: Vec<&str> = journal.lines().filter(denied).collect();
        assert_eq!(denied, [""; 0]);
    }
    let limit = wait("real-time scheduling", LONG, || {
        let pid = lb1.pid("vipward");
        let policy = lb1.sh(&format!("chrt -p {pid}"));
        match policy.contains("SCHED_FIFO") {
            true => Ok(policy),
            false => Err(policy),
        }
    });
    assert!(limit.contains("10"), "{limit}");
}
