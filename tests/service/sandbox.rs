//! What is forbidden to the agent's unit is nothing that it needs.

use std::net::IpAddr;

use serde_json::Value;

use crate::Test;
use crate::lab::machine::Machine;
use crate::lab::{Host, LONG, Pair, script, vip, vip6, wait, wait_until};

pub const TESTS: &[Test] = &[
    ("sandbox::it_refuses_nothing", it_refuses_nothing),
    ("sandbox::virtual_hardware_and_routes", virtual_hardware),
    ("sandbox::the_control_socket", the_control_socket),
    ("sandbox::threads_and_memory", threads_and_memory),
];

/// Some of everything: both families, an address that shares its subnet with
/// another, all kinds of checks, a hook, announcements of our own.
const WORK: &str = "    checks: [ran, opens, named, page, up, proc, pids, unit, arp4, arp6, echo4, echo6, room, stall, errors, most, flag]
    hooks: { change: [/usr/local/bin/told] }
    announce: { repeat: 2, delay: 1s, refresh: 1s }
checks:
  ran: { script: [/usr/bin/true], interval: 2s, timeout: 2s }
  opens: { tcp: \"127.0.0.1:8080\", interval: 2s, timeout: 2s }
  named: { tcp: \"localhost:8080\", interval: 2s, timeout: 2s }
  page: { http: \"http://localhost:8080/\", interval: 2s, timeout: 2s }
  up: { interface: eth0 }
  proc: { process: systemd, interval: 2s, timeout: 2s }
  pids: { pid_file: /run/vipward/one, interval: 2s, timeout: 2s }
  unit: { systemd: page.service, interval: 2s, timeout: 2s }
  arp4: { arp: 192.0.2.9, interface: eth0, interval: 2s, timeout: 2s }
  arp6: { arp: \"2001:db8::9\", interface: eth0, interval: 2s, timeout: 2s }
  echo4: { ping: 192.0.2.9, interval: 2s, timeout: 2s }
  echo6: { ping: \"2001:db8::9\", interface: eth0, interval: 2s, timeout: 2s }
  names: { dns: www.example.net, server: 127.0.0.1, interval: 2s, timeout: 2s }
  room: { disk: /, free: 1KiB, inodes: 0.01%, interval: 2s, timeout: 2s }
  stall: { pressure: cpu, above: 100%, interval: 2s, timeout: 2s }
  errors: { link_errors: eth0, above: 1000, interval: 2s, timeout: 2s }
  most: { at_least: { 2: [proc, unit, names] } }
  flag: { file: /run/vipward/number }
control: { read_group: vipward }
";

/// A unit of this machine that listens, in place of a service.
const SERVER: &str = "[Service]
ExecStart=/usr/bin/systemd-socket-activate --inetd -a -l 127.0.0.1:8080 /usr/local/bin/page
";

/// In here a call that is refused is the end of the agent, by SIGSYS; without
/// this it would be an error that might be taken as an answer.
const DEADLY: &str = "[Service]\nSystemCallErrorNumber=kill\nRestart=no\n";

fn complaints(machine: &Machine) -> Vec<String> {
    let journal = machine.journal();
    let words = [
        "SIGSYS",
        "status=31",
        "code=dumped",
        "not permitted",
        "ermission denied",
        "EPERM",
        "EACCES",
        "Read-only file system",
        "no real-time scheduling",
        "memory is not locked",
        "WARN",
        "ERROR",
    ];
    // Said while only one of the two has the new list, and of every interval
    // below a second.
    let expected = [
        "the Active's addresses differ",
        "`address_lease` of instance",
        // There is no name server on these machines.
        "check names: unknown -> down; no name server listens on 127.0.0.1:53",
    ];
    let bad = |line: &&str| {
        let has = |word: &&str| line.contains(*word);
        words.iter().any(has) && !expected.iter().any(has)
    };
    journal.lines().filter(bad).map(str::to_owned).collect()
}

/// Both addresses of the instance here, and two of a subnet that nobody else
/// is in: removing the first would take the second along.
fn with_neighbours(machine: &Machine) -> String {
    machine.read("/etc/vipward/config.yaml").replace(
        "addresses: [",
        "addresses: [198.51.100.10/24, 198.51.100.11/24, ",
    )
}

fn it_refuses_nothing() {
    let pair = Pair::boot(WORK);
    let hosts = [&pair.lb1, &pair.lb2];
    for machine in hosts {
        script(
            machine,
            "/usr/local/bin/told",
            "echo \"$@\" >>/var/told/told",
        );
        let page = "while read -r line && [ ${#line} -gt 1 ]; do :; done\n\
                    printf 'HTTP/1.0 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok'";
        script(machine, "/usr/local/bin/page", page);
        let unit = "/usr/lib/systemd/system/page.service";
        crate::lab::write(&machine.root().join(&unit[1..]), SERVER);
        machine.edit("vipward.service", &format!("{DEADLY}{}", locking(machine)));
        machine.configure(&with_neighbours(machine));
        machine.sh("mkdir -p /run/vipward; echo 1 >/run/vipward/one; echo 0 >/run/vipward/number");
        machine.sh("systemctl start page vipward");
    }
    pair.lb1.wait_active();
    for name in [
        "ran", "opens", "named", "page", "up", "proc", "pids", "unit", "arp4", "arp6", "echo4",
        "echo6", "room", "stall", "errors", "most", "flag",
    ] {
        wait(&format!("check {name} to be up"), LONG, || {
            pair.lb1.check(name, |check| check["state"] == "up")
        });
    }
    for vip in [vip(), vip6()] {
        pair.probe(vip).stop();
    }
    let first = neighbours(&pair);
    assert!(first.iter().all(|entry| !entry.is_empty()), "{first:?}");
    let promote = "cat /proc/sys/net/ipv4/conf/eth0/promote_secondaries";
    assert_eq!(pair.lb1.sh(promote), "1");

    // One address less, by a reload; its neighbour stays.
    let fewer = pair.lb1.read("/etc/vipward/config.yaml");
    pair.lb1.configure(&fewer.replace("198.51.100.10/24, ", ""));
    pair.lb1.sh("systemctl reload vipward");
    let [gone, stays] = [10, 11].map(|last| IpAddr::from([198, 51, 100, last]));
    wait_until("the address to go", LONG, || !pair.lb1.holds(gone));
    assert!(pair.lb1.holds(stays));

    // To the other host, and the client is told.
    pair.lb1.sh("systemctl stop vipward");
    for vip in [vip(), vip6(), stays] {
        assert!(!pair.lb1.holds(vip), "{vip} is still on lb1");
    }
    pair.lb2.wait_active();
    wait("the client to be told", LONG, || {
        let now = neighbours(&pair);
        let moved = now.iter().zip(&first).all(|(now, first)| now != first);
        if moved {
            Ok(())
        } else {
            Err(format!("{now:?}"))
        }
    });
    for machine in hosts {
        assert_eq!(complaints(machine), [""; 0], "{}", machine.journal());
        assert_eq!(machine.show("vipward", "Result"), "success");
    }
    assert!(
        pair.lb1
            .read("/var/told/told")
            .contains("INSTANCE web MASTER 150")
    );
}

const HARDWARE: &str = "    virtual_mac: true
    routes: [{ to: 203.0.113.0/24, via: 192.0.2.9 }]
    rules: [{ from: 192.0.2.10/32, table: 100, priority: 1000 }]
";

/// Interfaces, nf_tables, routes and rules are made without root, too.
fn virtual_hardware() {
    let pair = Pair::boot(HARDWARE);
    for machine in [&pair.lb1, &pair.lb2] {
        let more = format!("{DEADLY}{}", locking(machine));
        machine.edit("vipward.service", &more);
        machine.sh("systemctl start vipward");
    }
    let lb1 = &pair.lb1;
    lb1.wait_active();
    let there = "ip -o link show vr4-51-eth0 | grep -q 00:00:5e:00:01:33 && ip route show \
                 203.0.113.0/24 | grep -q 192.0.2.9 && ip rule | grep -q '^1000:.*192.0.2.10'";
    wait_until("what comes with the addresses", LONG, || {
        lb1.try_sh(there).status.success()
    });
    pair.probe(vip()).stop();
    assert_eq!(
        lb1.web().expect("a status")["obstacles"],
        serde_json::json!([])
    );
    lb1.sh("systemctl stop vipward");
    pair.lb2.wait_active();
    lb1.sh("! ip link show vr4-51-eth0 2>/dev/null && ! ip rule | grep '^1000:'");
    for machine in [&pair.lb1, &pair.lb2] {
        assert_eq!(complaints(machine), [""; 0], "{}", machine.journal());
    }
}

/// Where the client sends what it has for either address.
fn neighbours(pair: &Pair) -> Vec<String> {
    let Host { namespace } = &pair.client;
    let known = namespace.ip_json("neighbour show dev eth0");
    let known = known.as_array().cloned().unwrap_or_default();
    let of = |vip: IpAddr| {
        let entry = known.iter().find(|entry| entry["dst"] == vip.to_string());
        let entry = entry.unwrap_or(&Value::Null);
        entry["lladdr"].as_str().unwrap_or_default().to_owned()
    };
    [vip(), vip6()].map(of).into()
}

fn the_control_socket() {
    let pair = Pair::boot("control: { read_group: vipward }\n");
    let lb1 = &pair.lb1;
    lb1.sh("systemctl start vipward");
    lb1.sh("vipward status");
    lb1.sh("runuser -u reader -- vipward status");
    let refused = lb1.try_sh("runuser -u ops -- vipward status");
    let why = String::from_utf8_lossy(&refused.stderr);
    assert!(
        !refused.status.success() && why.contains("ermission"),
        "{why}"
    );
    // Asking is one thing, changing another.
    let refused = lb1.try_sh("runuser -u reader -- vipward reload");
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    // And the runner's is nobody's.
    let modes = lb1.sh("cd /run && stat -c '%n %a %U %G' vipward* vipward*/*");
    let modes: Vec<&str> = modes.lines().collect();
    assert_eq!(
        modes,
        [
            "vipward 755 vipward vipward",
            "vipward-runner 755 root root",
            "vipward-runner/runner.lock 600 root root",
            "vipward-runner/runner.sock 600 vipward root",
            "vipward/agent.lock 600 vipward vipward",
            "vipward/control.sock 660 vipward vipward",
        ]
    );
}

/// Where these machines run in a container whose limits cannot be raised, the
/// unit's LimitMEMLOCK= has no effect; this is what its documentation says to do.
fn locking(machine: &Machine) -> &'static str {
    let limits = machine.sh("cat /proc/1/limits");
    let locked = limits
        .lines()
        .find(|line| line.starts_with("Max locked memory"));
    let unlimited = locked.is_some_and(|line| line.matches("unlimited").count() == 2);
    let effective = machine.sh("sed -n 's/^CapEff:\\t//p' /proc/1/status");
    let effective = u64::from_str_radix(&effective, 16).expect("a set of capabilities");
    // CAP_SYS_RESOURCE (linux/capability.h).
    match unlimited || effective & (1 << 24) != 0 {
        true => "",
        false => "CapabilityBoundingSet=CAP_IPC_LOCK\nAmbientCapabilities=CAP_IPC_LOCK\n",
    }
}

/// Heartbeats in time on a busy host need both.
fn threads_and_memory() {
    let pair = Pair::boot("");
    let lb1 = &pair.lb1;
    let more = locking(lb1);
    lb1.edit("vipward.service", &format!("[Service]\n{more}"));
    lb1.sh("systemctl start vipward");
    let pid = lb1.pid("vipward");
    let policy = lb1.sh(&format!("chrt -p {pid}"));
    assert!(policy.contains("SCHED_FIFO"), "{policy}");
    let locked = lb1.sh(&format!("grep VmLck /proc/{pid}/status"));
    assert!(
        !locked.ends_with("\t0 kB") && !locked.ends_with(" 0 kB"),
        "{locked}"
    );
    let own = lb1.sh(&format!(
        "grep -E '^(CapEff|NoNewPrivs|Seccomp):' /proc/{pid}/status"
    ));
    assert!(own.contains("NoNewPrivs:\t1"), "{own}");
    // net_admin, net_raw, sys_nice: no more than these.
    let effective = match more {
        "" => "CapEff:\t0000000000803000",
        _ => "CapEff:\t0000000000807000",
    };
    assert!(own.contains(effective), "{own}");
}
