//! Starting, and what is there then.

use std::time::{Duration, Instant};

use crate::Test;
use crate::lab::{LONG, Pair, vip, vip6, wait};

pub const TESTS: &[Test] = &[
    ("start::the_better_host_serves", the_better_host_serves),
    ("start::it_returns_when_ready", it_returns_when_ready),
    ("start::a_faulty_file", a_faulty_file),
    ("start::an_interface_that_is_not_there", no_interface),
];

fn the_better_host_serves() {
    let pair = Pair::serving("");
    for vip in [vip(), vip6()] {
        assert!(!pair.lb2.holds(vip));
        // Whoever answers holds it, and nobody else does.
        pair.probe(vip).stop();
    }
    assert_eq!(pair.lb2.web().expect("a status")["state"], "backup");
}

/// The address is not waited for: a backup is ready too.
fn it_returns_when_ready() {
    let pair = Pair::boot("");
    let lb1 = &pair.lb1;
    let slow =
        "[Service]\nExecStart=\nExecStart=/bin/sh -c 'sleep 1.5; exec /usr/bin/vipward run'\n";
    lb1.edit("vipward.service", slow);
    let start = Instant::now();
    lb1.sh("systemctl start vipward && vipward status");
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(1500), "{took:?}");
    assert_eq!(lb1.show("vipward", "ActiveState"), "active");
}

fn a_faulty_file() {
    let pair = Pair::boot("");
    let lb1 = &pair.lb1;
    let good = lb1.read("/etc/vipward/config.yaml");
    lb1.configure(&good.replace("vrid: 51", "vrid: 510"));
    let failed = lb1.try_sh("systemctl start vipward");
    assert!(!failed.status.success(), "{failed:?}");
    let journal = lb1.journal();
    assert!(journal.contains("/etc/vipward/config.yaml:4:"), "{journal}");
    // It is tried again, without anybody's help.
    lb1.configure(&good);
    lb1.wait_active();
}

fn no_interface() {
    let pair = Pair::boot("");
    let lb1 = &pair.lb1;
    let elsewhere = lb1.read("/etc/vipward/config.yaml").replace("eth0", "eth1");
    lb1.configure(&format!("{elsewhere}log: {{ format: json }}\n"));
    lb1.sh("systemctl start vipward");
    let web = lb1.web().expect("a status");
    assert_eq!(web["state"], "fault");
    // Found by its rank, and in the form that was asked for.
    let errors = wait("the error in the journal", LONG, || {
        let lines = lb1.sh("journalctl -q --no-pager -o cat -u vipward -p err");
        match lines.is_empty() {
            false => Ok(lines),
            true => Err(lb1.journal()),
        }
    });
    for line in errors.lines() {
        let line: serde_json::Value = serde_json::from_str(line).expect(line);
        assert_eq!(line["level"], "ERROR", "{line}");
    }
    // It comes later.
    let network = &pair.lb1.host.namespace;
    network.ip("link add eth1 type bridge");
    network.ip("address add 203.0.113.1/24 dev eth1");
    network.ip("link set eth1 up");
    wait("the instance to be in order", LONG, || {
        let web = lb1.web()?;
        match web["state"] == "fault" {
            false => Ok(()),
            true => Err(web["obstacles"].to_string()),
        }
    });
}
