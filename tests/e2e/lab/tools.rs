//! The foreign programs: the host's, or those that `tests/debian.sh`
//! unpacked. What is not there, or does not start, is a reason to skip.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

#[derive(Clone, Debug)]
pub struct Program {
    pub path: PathBuf,
    /// For unpacked programs only, whose libraries lie beside them.
    pub library_path: Option<OsString>,
}

#[derive(Clone, Debug)]
pub struct Frr {
    pub zebra: Program,
    pub vrrpd: Program,
}

impl Program {
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        self.prepare(&mut command);
        command
    }

    /// For a command that starts this program by another.
    pub fn prepare(&self, command: &mut Command) {
        if let Some(path) = &self.library_path {
            command.env("LD_LIBRARY_PATH", path);
        }
    }
}

/// iproute2's `ip`, or why there is none.
pub fn ip() -> Result<Program, String> {
    static FOUND: OnceLock<Result<Program, String>> = OnceLock::new();
    FOUND.get_or_init(|| find("ip", "-V")).clone()
}

/// keepalived, or why there is none.
pub fn keepalived() -> Result<Program, String> {
    static FOUND: OnceLock<Result<Program, String>> = OnceLock::new();
    FOUND
        .get_or_init(|| find("keepalived", "--version"))
        .clone()
}

/// nftables' `nft`, or why there is none.
pub fn nft() -> Result<Program, String> {
    static FOUND: OnceLock<Result<Program, String>> = OnceLock::new();
    FOUND.get_or_init(|| find("nft", "--version")).clone()
}

/// stress-ng, or why there is none.
#[allow(dead_code, reason = "asked for by the benchmark")]
pub fn stress_ng() -> Result<Program, String> {
    static FOUND: OnceLock<Result<Program, String>> = OnceLock::new();
    FOUND.get_or_init(|| find("stress-ng", "--version")).clone()
}

/// script(1), which gives a program a terminal.
pub fn script() -> Result<Program, String> {
    static FOUND: OnceLock<Result<Program, String>> = OnceLock::new();
    FOUND.get_or_init(|| find("script", "--version")).clone()
}

/// FRR's two programs, or why there are none.
pub fn frr() -> Result<Frr, String> {
    static FOUND: OnceLock<Result<Frr, String>> = OnceLock::new();
    FOUND
        .get_or_init(|| {
            Ok(Frr {
                zebra: find("zebra", "--version")?,
                vrrpd: find("vrrpd", "--version")?,
            })
        })
        .clone()
}

const DIRECTORIES: [&str; 5] = ["/usr/sbin", "/sbin", "/usr/bin", "/bin", "/usr/lib/frr"];

fn find(name: &str, show_version: &str) -> Result<Program, String> {
    let program = on_host(name)
        .or_else(|| unpacked(name))
        .ok_or_else(|| format!("{name} is neither installed nor under target/debian/root"))?;
    match program.command().arg(show_version).output() {
        Ok(output) if output.status.success() => Ok(program),
        Ok(output) => Err(format!(
            "{} does not start: {}",
            program.path.display(),
            String::from_utf8_lossy(&output.stderr).trim()
        )),
        Err(error) => Err(format!(
            "{} does not start: {error}",
            program.path.display()
        )),
    }
}

fn on_host(name: &str) -> Option<Program> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(DIRECTORIES.iter().map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|path| path.is_file())
        .map(|path| Program {
            path,
            library_path: None,
        })
}

fn unpacked(name: &str) -> Option<Program> {
    let root = root()?;
    let path = DIRECTORIES
        .iter()
        .map(|directory| root.join(directory.trim_start_matches('/')).join(name))
        .find(|path| path.is_file())?;
    Some(Program {
        path,
        library_path: env::join_paths(library_directories(&root)).ok(),
    })
}

fn root() -> Option<PathBuf> {
    if let Some(root) = env::var_os("VIPWARD_TEST_TOOLS") {
        return Some(PathBuf::from(root));
    }
    // This program lies in target/debug/deps.
    let program = env::current_exe().ok()?;
    program
        .ancestors()
        .map(|directory| directory.join("debian/root"))
        .find(|root| root.is_dir())
}

/// Where Debian's packages put libraries: lib and usr/lib, there under the
/// architecture's triplet, and FRR's own.
fn library_directories(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for base in [root.join("usr/lib"), root.join("lib")] {
        let Ok(entries) = base.read_dir() else {
            continue;
        };
        for entry in entries.flatten() {
            let directory = entry.path();
            if entry.file_name().to_string_lossy().contains("-linux-gnu") {
                found.push(directory.join("frr"));
                found.push(directory);
            }
        }
        found.push(base);
    }
    found
}
