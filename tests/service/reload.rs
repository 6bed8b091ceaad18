//! `systemctl reload`, from both ends.

use std::net::IpAddr;

use crate::Test;
use crate::lab::{LONG, Pair, assert_undisturbed, vip, wait_until};

pub const TESTS: &[Test] = &[("reload::good_and_bad", good_and_bad)];

fn good_and_bad() {
    let pair = Pair::serving("");
    let lb1 = &pair.lb1;
    let pid = lb1.pid("vipward");
    let prober = pair.probe(vip());
    let good = lb1.read("/etc/vipward/config.yaml");
    let added = IpAddr::from([192, 0, 2, 11]);

    let more = good.replace("addresses: [", "addresses: [192.0.2.11/24, ");
    lb1.configure(&more);
    lb1.sh("systemctl reload vipward");
    wait_until("the new address", LONG, || lb1.holds(added));

    let bad = more
        .replace("vrid: 51", "vrid: 510")
        .replace("192.0.2.11/24, ", "");
    lb1.configure(&bad);
    let digest = || lb1.status().expect("a status")["config"]["digest"].clone();
    let before = digest();
    let failed = lb1.try_sh("systemctl reload vipward");
    assert!(!failed.status.success(), "{failed:?}");
    // The faults are where `systemctl` says that one should look.
    let journal = lb1.journal();
    assert!(journal.contains("/etc/vipward/config.yaml:4:"), "{journal}");
    assert_eq!(digest(), before);
    assert_eq!(lb1.show("vipward", "ActiveState"), "active");
    assert!(lb1.holds(added) && lb1.holds(vip()));

    lb1.configure(&good);
    lb1.sh("systemctl reload vipward");
    wait_until("the address to go", LONG, || !lb1.holds(added));
    assert_eq!(lb1.pid("vipward"), pid);
    assert_undisturbed(&prober.stop());
}
