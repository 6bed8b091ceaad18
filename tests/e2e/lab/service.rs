//! What checks and hooks run: scripts in the lab's directory, a service that
//! can be made ill, and what is left of processes.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::{Lab, write};

/// Checks and hooks of the lab run as root: its directory is closed to others.
pub const USER: &str = "user: root";

/// A service that is well while its flag is there, and its check, which
/// counts its own runs.
pub struct Service {
    pub script: PathBuf,
    flag: PathBuf,
    runs: PathBuf,
}

impl Lab {
    /// A shell script that can be run; `text` follows its first line.
    pub fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        write(&path, &format!("#!/bin/sh\n{text}\n"));
        set_mode(&path, 0o755);
        path
    }

    /// A service that is well, for now.
    pub fn service(&self, name: &str) -> Service {
        let path = |kind: &str| self.directory.path().join(format!("{name}-{kind}"));
        let (flag, runs) = (path("well"), path("runs"));
        write(&flag, "");
        write(&runs, "");
        let text = format!(
            "echo run >>{}\ntest -e {} && exit 0\necho 'the service is ill'\nexit 7",
            runs.display(),
            flag.display()
        );
        Service {
            script: self.script(&format!("{name}-check"), &text),
            flag,
            runs,
        }
    }
}

impl Service {
    pub fn well(&self) {
        write(&self.flag, "");
    }

    pub fn ill(&self) {
        fs::remove_file(&self.flag).expect("it was well before");
    }

    /// How often it was asked.
    pub fn runs(&self) -> usize {
        lines(&self.runs)
    }

    /// A check of it as it stands under `checks`, with a time-out that no busy
    /// machine reaches.
    pub fn check(&self, name: &str, options: &str) -> String {
        check(name, &self.script, options)
    }
}

/// A check by `script` as it stands under `checks`.
pub fn check(name: &str, script: &Path, options: &str) -> String {
    let script = script.display();
    format!("  {name}: {{ script: [{script}], {USER}, {options} }}\n")
}

pub fn lines(file: &Path) -> usize {
    fs::read_to_string(file).map_or(0, |text| text.lines().count())
}

pub fn set_mode(path: &Path, mode: u32) {
    let permissions = fs::Permissions::from_mode(mode);
    fs::set_permissions(path, permissions)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// Every process whose command line has `word`: its id and that line.
pub fn processes(word: &str) -> BTreeMap<i32, String> {
    let entries = fs::read_dir("/proc").expect("/proc");
    let found = entries.filter_map(|entry| {
        let entry = entry.ok()?;
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        line.contains(word).then_some((pid, line))
    });
    found.collect()
}
