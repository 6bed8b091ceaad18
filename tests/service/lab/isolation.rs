//! The whole suite runs in namespaces of its own, see isolated.sh.

use std::env;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use nix::unistd::Uid;

const INSIDE: &str = "VIPWARD_SERVICE_INSIDE";
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/service/isolated.sh");

static MISSING: OnceLock<String> = OnceLock::new();

/// Why there are no machines here, if so. Every trial is then skipped.
pub fn missing() -> Option<String> {
    MISSING.get().cloned()
}

/// The system that machines are made of, by tests/machine.sh.
pub fn tree() -> PathBuf {
    base().join("root")
}

/// The same with programs to make packages with, by packaging/tools.sh.
pub fn tools() -> PathBuf {
    base().with_file_name("packaging").join("root")
}

fn base() -> PathBuf {
    let told = env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    // This program lies in target/debug/deps.
    let program = env::current_exe().unwrap_or_default();
    let own = program.ancestors().nth(3).map(Path::to_owned);
    told.or(own).unwrap_or_default().join("machine")
}

/// The control group of this run.
pub fn group() -> PathBuf {
    PathBuf::from(env::var_os("GROUP").expect("isolated.sh sets it"))
}

/// Returns inside; or outside, when machines cannot be had.
pub fn enter() {
    if env::var_os(INSIDE).is_some() {
        return;
    }
    let reason = possible().map_or_else(|reason| reason, |()| relaunch());
    eprintln!("{reason}");
    MISSING.get_or_init(|| reason);
}

fn possible() -> Result<(), String> {
    if !Uid::effective().is_root() {
        return Err("booting a machine needs root".to_owned());
    }
    if !tree().join("etc/machine-stamp").exists() {
        let why = std::fs::read_to_string(base().join("why"));
        let why = why.map_or_else(|_| String::new(), |why| format!(": {}", why.trim()));
        return Err(format!(
            "there is no system to boot; tests/machine.sh makes it{why}"
        ));
    }
    let output = Command::new("sh")
        .args([SCRIPT, "try"])
        .arg(tree())
        .arg(env!("CARGO_BIN_EXE_vipward"))
        .output()
        .map_err(|error| format!("sh: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    Err(format!(
        "machines cannot be booted here: {}",
        stderr.trim().replace('\n', ", ")
    ))
}

/// Becomes the script. Returns only if that fails.
fn relaunch() -> String {
    match env::current_exe() {
        Ok(program) => {
            let error = Command::new("sh")
                .args([SCRIPT, "run"])
                .arg(program)
                .args(env::args_os().skip(1))
                .env(INSIDE, "1")
                .exec();
            format!("sh: {error}")
        }
        Err(error) => format!("the test program cannot find itself: {error}"),
    }
}
