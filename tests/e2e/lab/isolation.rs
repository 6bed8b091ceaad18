//! The whole suite runs in namespaces of its own (network, mounts, process
//! ids, and users when it was not started by root). So it touches nothing of
//! the host, needs no root where user namespaces are allowed, and leaves
//! nothing behind however it ends: with its first process everything goes.

use std::env;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::tools::{self, Program};

const INSIDE: &str = "VIPWARD_E2E_INSIDE";

static MISSING: OnceLock<Option<String>> = OnceLock::new();

/// Why no namespaces can be had, if so. Every trial is then skipped.
pub fn missing() -> Option<String> {
    MISSING.get().cloned().flatten()
}

/// Returns inside; or outside, when no namespaces can be had.
pub fn enter() {
    if env::var_os(INSIDE).is_some() {
        return;
    }
    let ip = match tools::ip() {
        Ok(ip) => ip,
        Err(reason) => return impossible(reason),
    };
    let mut reasons = Vec::new();
    let ways: [&[&str]; 2] = [&[], &["--user", "--map-root-user"]];
    for way in ways {
        match probe(&ip, way) {
            Ok(()) => return impossible(relaunch(&ip, way)),
            Err(reason) => reasons.push(reason),
        }
    }
    impossible(format!(
        "no namespaces can be made here: {}",
        reasons.join("; ")
    ))
}

fn impossible(reason: String) {
    eprintln!("{reason}");
    MISSING.get_or_init(|| Some(reason));
}

/// `unshare` that ends with whoever started it, and takes all below along.
fn unshare(ip: &Program, way: &[&str], script: &str) -> Command {
    let mut command = Command::new("unshare");
    command
        .env("IP", &ip.path)
        .env("IP_LIBRARIES", ip.library_path.clone().unwrap_or_default())
        .args(way)
        .args(["--net", "--mount", "--pid", "--fork", "--kill-child"])
        .args(["--mount-proc", "--", "sh", "-c", script]);
    command
}

/// FRR wants its user to be of a group that only its package creates; this is
/// seen in here alone.
const PREPARE: &str = "set -e; PATH=$PATH:/usr/sbin:/sbin; mount -t tmpfs none /run; \
    mkdir /run/netns; \
    { echo frrvty:x:900:root; cat /etc/group; } >/run/group; mount --bind /run/group /etc/group; \
    ip() { LD_LIBRARY_PATH=$IP_LIBRARIES \"$IP\" \"$@\"; }; ip link set lo up";

/// Everything a lab will need, tried once: making a namespace and going in.
fn probe(ip: &Program, way: &[&str]) -> Result<(), String> {
    let script = format!("{PREPARE}; ip netns add probe; ip netns exec probe ip link set lo up");
    let output = unshare(ip, way, &script)
        .output()
        .map_err(|error| format!("unshare: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    Err(format!(
        "unshare {}: {}",
        way.join(" "),
        stderr.trim().replace('\n', ", ")
    ))
}

/// Becomes `unshare`, so that whoever ends this process ends it all. The
/// shell is the first process in there: it reaps, and hears Ctrl-C. Returns
/// only if that fails.
fn relaunch(ip: &Program, way: &[&str]) -> String {
    let script =
        format!("{PREPARE}; set +e; trap 'exit 130' INT TERM HUP; \"$0\" \"$@\" & wait $!");
    match env::current_exe() {
        Ok(program) => {
            let error = unshare(ip, way, &script)
                .arg(program)
                .args(env::args_os().skip(1))
                .env(INSIDE, "1")
                .stdin(Stdio::null())
                .exec();
            format!("unshare: {error}")
        }
        Err(error) => format!("the test program cannot find itself: {error}"),
    }
}
