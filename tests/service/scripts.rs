//! What scripts and hooks may do: what their user may, and nothing of the
//! agent's sandbox.

use serde_json::Value;

use crate::Test;
use crate::lab::machine::Machine;
use crate::lab::{LONG, Pair, config, script, vip, wait, wait_until};

pub const TESTS: &[Test] = &[
    ("scripts::as_from_a_login", as_from_a_login),
    ("scripts::a_hook_as_root", a_hook_as_root),
    (
        "scripts::root_runs_no_file_of_others",
        root_runs_no_file_of_others,
    ),
    (
        "scripts::what_a_hook_leaves_running",
        what_a_hook_leaves_running,
    ),
];

/// lb1 alone is needed, with these scripts behind the configuration.
fn started(more: &str, scripts: &[(&str, &str)]) -> Pair {
    let pair = Pair::boot("");
    for (path, text) in scripts {
        script(&pair.lb1, path, text);
    }
    pair.lb1.configure(&config(150, more));
    pair.lb1.sh("systemctl start vipward");
    pair
}

/// `value` of `instances[0].hooks`, for this hook, once it has ended.
fn hook(machine: &Machine, name: &str) -> Value {
    wait(&format!("the hook {name}"), LONG, || {
        let web = machine.web()?;
        let hooks = web["hooks"].as_array().cloned().unwrap_or_default();
        let found = hooks.into_iter().find(|hook| hook["hook"] == name);
        found.ok_or_else(|| web["hooks"].to_string())
    })
}

/// Each line is tried; the number of the first that fails is the exit code.
const RIGHTS: &str = r#"
n=0; try() { n=$((n + 1)); "$@" || { echo "$n: $*"; exit $n; }; }
try [ "$(id -un)" = nobody ]
try ping -c 1 -W 1 192.0.2.1
try touch /tmp/of-a-check
try touch /var/told/of-a-check
try bash -c 'sleep 0 & wait; (:) | cat'
try bash -c 'exec 3<>/dev/tcp/127.0.0.1/8080'
try [ -c /dev/null -a -c /dev/tty -a -d /home ]
try [ "$(sudo -n id -un)" = root ]
try [ "$(cat /proc/1/comm)" = systemd ]
try [ "$(awk '/^Seccomp_filters:/ {print $2}' /proc/self/status)" = "$(awk '/^Seccomp_filters:/ {print $2}' /proc/1/status)" ]
try [ "$(awk '/^CapBnd:/ {print $2}' /proc/self/status)" = "$(awk '/^CapBnd:/ {print $2}' /proc/1/status)" ]
try [ "$(awk '/^CapEff:/ {print $2}' /proc/self/status)" = 0000000000000000 ]
try [ "$(awk '/^NoNewPrivs:/ {print $2}' /proc/self/status)" = 0 ]
try [ "$(chrt -p $$ | grep -c SCHED_OTHER)" = 1 ]
try [ ! -w /etc/vipward/config.yaml -a ! -w /run/vipward ]
echo all
"#;

fn as_from_a_login() {
    let pair = started(
        "checks:\n  rights: { script: [/usr/local/bin/rights], interval: 1s, timeout: 1s }\n",
        &[],
    );
    let lb1 = &pair.lb1;
    // Like `ping`, this gains rights by being executed.
    let sudoers = lb1.root().join("etc/sudoers.d/check");
    crate::lab::write(&sudoers, "nobody ALL=(root) NOPASSWD: ALL\n");
    lb1.sh("systemd-run -q systemd-socket-activate --inetd -a -l 127.0.0.1:8080 /bin/cat");
    script(lb1, "/usr/local/bin/rights", RIGHTS);
    let more = "    checks: [rights]\nchecks:\n  \
                rights: { script: [/usr/local/bin/rights], interval: 1s, timeout: 1s }\n";
    lb1.configure(&config(150, more));
    lb1.sh("systemctl reload vipward");
    let check = wait("a result", LONG, || {
        lb1.check("rights", |check| check["state"] != "unknown")
    });
    let (state, output) = (&check["state"], &check["output"]);
    assert!(state == "up", "{check}");
    assert!(
        output.as_str().is_some_and(|text| text.starts_with("PING")),
        "{output}"
    );
    // One /tmp for all, other than the agent's.
    lb1.sh("test -e /tmp/of-a-check");
    lb1.sh(&format!(
        "test ! -e /proc/{}/root/tmp/of-a-check",
        lb1.pid("vipward")
    ));
}

const BY_ROOT: &str = "    hooks:
      active: { run: [/usr/local/bin/promote], user: root }
";

/// What notify scripts do.
const PROMOTE: &str = "set -e
systemctl start service.service
ip route add 203.0.113.0/24 via 192.0.2.9
sysctl -q -w net.ipv4.ip_forward=1 2>/dev/null || echo 1 >/proc/sys/net/ipv4/ip_forward
sudo -n true
runuser -u ops -- touch /var/told/by-ops
echo written >/etc/by-root
echo promoted";

fn a_hook_as_root() {
    let pair = Pair::boot("");
    let lb1 = &pair.lb1;
    let unit = lb1.root().join("etc/systemd/system/service.service");
    crate::lab::write(&unit, "[Service]\nExecStart=/bin/sleep infinity\n");
    lb1.sh("systemctl daemon-reload");
    script(lb1, "/usr/local/bin/promote", PROMOTE);
    lb1.configure(&config(150, BY_ROOT));
    lb1.sh("systemctl start vipward");
    let hook = hook(lb1, "active");
    assert!(
        hook["error"].is_null() && hook["output"] == "promoted",
        "{hook}"
    );
    assert_eq!(lb1.show("service", "ActiveState"), "active");
    assert!(lb1.sh("ip route").contains("203.0.113.0/24"));
    assert_eq!(lb1.sh("cat /proc/sys/net/ipv4/ip_forward"), "1");
    assert_eq!(
        lb1.sh("stat -c %U /var/told/by-ops /etc/by-root"),
        "ops\nroot"
    );
}

fn root_runs_no_file_of_others() {
    let pair = started(BY_ROOT, &[("/usr/local/bin/promote", "exit 0")]);
    let lb1 = &pair.lb1;
    for (spoil, why) in [
        ("chown ops /usr/local/bin/promote", "belongs to user 901"),
        ("chmod g+w /usr/local/bin/promote", "can be written by"),
        ("chown ops /usr/local/bin", "belongs to user 901"),
    ] {
        script(lb1, "/usr/local/bin/promote", "touch /etc/by-root");
        lb1.sh(&format!("chown -R root:root /usr/local/bin; {spoil}"));
        lb1.sh("systemctl restart vipward");
        let refused = lb1.try_sh("vipward validate /etc/vipward/config.yaml");
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && told.contains(why), "{told}");
        // The election goes on.
        lb1.wait_active();
        let hook = hook(lb1, "active");
        let error = hook["error"].as_str().unwrap_or_default();
        assert!(error.contains(why), "{hook}");
        lb1.sh("test ! -e /etc/by-root");
    }
}

/// Ends at once; what it left goes on, and prints. The other hook hangs, and
/// goes with all that is in its group.
const LEAVES: &str = "    hooks:
      active: { run: [/usr/local/bin/leaves], timeout: 2s }
      change: { run: [/usr/local/bin/hangs], timeout: 1s }
";

fn what_a_hook_leaves_running() {
    let leaves = "nohup bash -c 'while sleep 0.1; do echo tick; date +%s%N >/var/told/tick; done' &\n\
                  setsid sleep 1000 &\n\
                  echo started";
    let hangs = "sleep 2000 & echo hanging; trap '' TERM; sleep 2000";
    let scripts = [
        ("/usr/local/bin/leaves", leaves),
        ("/usr/local/bin/hangs", hangs),
    ];
    let pair = started(LEAVES, &scripts);
    let lb1 = &pair.lb1;
    lb1.wait_active();
    let active = hook(lb1, "active");
    assert!(
        active["error"].is_null() && active["output"] == "started",
        "{active}"
    );
    // Not waited for: it was done long before its time-out.
    assert!(
        active["duration_ms"].as_u64().is_some_and(|ms| ms < 1000),
        "{active}"
    );
    let ticks = || {
        let before = lb1.read("/var/told/tick");
        wait_until("a sign of life", LONG, || {
            lb1.read("/var/told/tick") != before
        });
    };
    ticks();
    wait("the hung hook to be killed", LONG, || {
        let change = hook(lb1, "change");
        match change["error"].as_str() {
            Some(error) if error.contains("did not end in time") => Ok(()),
            _ => Err(change.to_string()),
        }
    });
    wait_until("its group to be gone", LONG, || {
        !lb1.try_sh("pgrep -f '^sleep 2000'").status.success()
    });
    // Nor is it the runner's when that goes; but then nobody reads what it
    // prints, so only what does not print, or to a file, is left for long.
    lb1.sh("systemctl restart vipward-runner");
    lb1.sh("pgrep -f '^sleep 1000'");
    assert!(lb1.holds(vip()));
}
