//! Two booted machines and a client on one segment, for one trial.

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

// What the end-to-end trials have already; not all of it is used here.
#[allow(dead_code)]
#[path = "../../e2e/lab/frame.rs"]
pub mod frame;
pub mod isolation;
pub mod machine;
#[allow(dead_code)]
#[path = "../../e2e/lab/namespace.rs"]
pub mod namespace;
#[path = "../../e2e/lab/on_time.rs"]
mod on_time;
#[allow(dead_code)]
#[path = "../../e2e/lab/prober.rs"]
pub mod prober;
#[allow(dead_code)]
#[path = "../../e2e/lab/resolver.rs"]
pub mod resolver;
#[allow(dead_code)]
#[path = "../../e2e/lab/stall.rs"]
pub mod stall;
#[allow(dead_code)]
#[path = "../../e2e/lab/stamped.rs"]
mod stamped;
#[allow(dead_code)]
#[path = "../../e2e/lab/tools.rs"]
pub mod tools;

use machine::{Content, Machine};
use namespace::Namespace;
use prober::{ProbeReport, Prober};

/// For what has to happen some time, on a busy machine.
pub const LONG: Duration = Duration::from_secs(20);
/// Of every instance here.
pub const INTERVAL: Duration = Duration::from_millis(500);

pub fn vip() -> IpAddr {
    IpAddr::from([192, 0, 2, 10])
}

pub fn vip6() -> IpAddr {
    IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10])
}

/// A move in order, or none: a handful of lost probes at most, and those of
/// moments in which this machine itself stood still.
#[track_caller]
pub fn assert_undisturbed(report: &ProbeReport) {
    let Some(first) = report.first_lost_at else {
        return;
    };
    let before = first.checked_sub(Duration::from_secs(1)).unwrap_or(first);
    let stalled = stall::since(before).max(report.own_stall);
    let room = stalled.as_millis() + 5;
    assert!(
        (report.lost as u128) <= room,
        "{report:?}; the machine stood still for {stalled:?}"
    );
}

/// A place in the network.
pub struct Host {
    pub namespace: Namespace,
}

/// Asks until there is a value. What `ask` gives otherwise is what was seen.
#[track_caller]
pub fn wait<T>(what: &str, longest: Duration, mut ask: impl FnMut() -> Result<T, String>) -> T {
    let start = Instant::now();
    loop {
        match ask() {
            Ok(value) => return value,
            Err(seen) if start.elapsed() > longest => {
                panic!("waited {longest:?} for {what}; seen last: {seen}")
            }
            // Most questions cost some processes.
            Err(_) => thread::sleep(Duration::from_millis(100)),
        }
    }
}

/// [`wait`] for something to be true.
#[track_caller]
pub fn wait_until(what: &str, longest: Duration, mut ask: impl FnMut() -> bool) {
    wait(what, longest, || match ask() {
        true => Ok(()),
        false => Err("not yet".to_owned()),
    });
}

/// Two hosts with the units, the program and a configuration, and a client.
/// lb1 is the better one.
pub struct Pair {
    pub lb1: Machine,
    pub lb2: Machine,
    pub client: Host,
    /// The switch. Its ports bear the names of the hosts.
    pub segment: Namespace,
}

impl Pair {
    /// Boots both at once. The configuration of each is that of [`config`]
    /// with `more` behind it.
    pub fn boot(more: &str) -> Self {
        Self::boot_with(Content::Program, Some(more))
    }

    /// With `None` nobody has written a configuration.
    pub fn boot_with(content: Content, more: Option<&str>) -> Self {
        let segment = Namespace::new("segment");
        segment.ip("link add br0 type bridge mcast_snooping 0");
        segment.ip("link set br0 up");
        let host = |name: &str, number: u8| {
            let namespace = Namespace::new(name);
            let inside = &namespace.name;
            segment.ip(&format!(
                "link add {name} type veth peer name eth0 netns {inside}"
            ));
            segment.ip(&format!("link set {name} master br0 up"));
            namespace.ip("link set lo up");
            namespace.ip(&format!("address add 192.0.2.{number}/24 dev eth0"));
            namespace.ip(&format!("address add 2001:db8::{number}/64 dev eth0 nodad"));
            namespace.ip("link set eth0 up");
            Host { namespace }
        };
        let start = |name, number, priority| {
            let machine = Machine::start(name, host(name, number), content);
            if let Some(more) = more {
                machine.configure(&config(priority, more));
            }
            machine
        };
        let (lb1, lb2) = (start("lb1", 1, 150), start("lb2", 2, 100));
        let client = host("client", 9);
        lb1.wait_booted();
        lb2.wait_booted();
        Self {
            lb1,
            lb2,
            client,
            segment,
        }
    }

    /// With the service started on both, and lb1 in possession.
    pub fn serving(more: &str) -> Self {
        let pair = Self::boot(more);
        for machine in [&pair.lb2, &pair.lb1] {
            machine.sh("systemctl start vipward");
        }
        pair.lb1.wait_active();
        // It may have been ready first, and is preempted then.
        wait("lb2 without the addresses", LONG, || {
            let held = [vip(), vip6()].map(|address| pair.lb2.holds(address));
            (held == [false; 2])
                .then_some(())
                .ok_or(format!("{held:?}"))
        });
        pair
    }

    /// A thousand questions a second to the address.
    pub fn probe(&self, target: IpAddr) -> Prober {
        let prober = Prober::start(&self.client, target);
        prober.wait_answered(LONG);
        prober
    }
}

/// The file, as it stands in the README but for a shorter interval.
pub fn config(priority: u8, more: &str) -> String {
    format!(
        "instances:\n  web:\n    interface: eth0\n    vrid: 51\n    priority: {priority}\n    \
         advert_interval: {}ms\n    addresses: [192.0.2.10/24, 2001:db8::10/64]\n{more}",
        INTERVAL.as_millis()
    )
}

/// A script for everybody to run, and nobody but root to write.
pub fn script(machine: &Machine, path: &str, text: &str) {
    let place = machine.root().join(path.trim_start_matches('/'));
    write(&place, &format!("#!/bin/bash\n{text}\n"));
    machine.sh(&format!("chmod 755 {path}"));
}

pub fn write(path: &Path, text: &str) {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).expect("a folder");
    }
    fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
