//! The units, as the service manager reads them. Whether they work is shown
//! by a booted host; here, that nothing in them is misspelt, and that the
//! agent has few rights.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};

use libtest_mimic::{Arguments, Completion, Failed, Trial};

const UNITS: [&str; 2] = ["vipward.service", "vipward-runner.service"];
/// Tenths, of `systemd-analyze security`: 0 is a locked cell, 100 is root.
const EXPOSURE_MAX: &str = "25";

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let analyze = Analyze::find();
    let trials = [
        ("units_are_read_without_complaint", verify as fn(&Analyze)),
        ("misspelt_units_are_noticed", misspelt),
        ("the_agent_has_few_rights", few_rights),
        ("keepalived_has_more", keepalived_has_more),
    ];
    let trials = trials.map(|(name, body)| {
        let analyze = analyze.clone();
        Trial::ignorable_test(name, move || -> Result<Completion, Failed> {
            match analyze {
                Ok(analyze) => body(&analyze),
                Err(reason) => return Ok(Completion::ignored_with(reason)),
            }
            Ok(Completion::Completed)
        })
    });
    libtest_mimic::run(&arguments, trials.into()).exit_code()
}

fn text(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("systemd")
        .join(name);
    fs::read_to_string(path).expect("the unit")
}

/// systemd-analyze: the host's, or the one that tests/debian.sh unpacked.
#[derive(Clone)]
struct Analyze {
    /// Where Debian's packages are unpacked; none for the host's own.
    root: Option<PathBuf>,
}

impl Analyze {
    fn find() -> Result<Self, String> {
        let root = std::env::var_os("VIPWARD_TEST_TOOLS").map(PathBuf::from);
        let candidates = [None, root].map(|root| Analyze { root });
        let works = |analyze: &Analyze| {
            let output = analyze.command().arg("--version").output();
            output.is_ok_and(|output| output.status.success())
        };
        candidates
            .into_iter()
            .find(works)
            .ok_or_else(|| "no systemd-analyze that starts; tests/run.sh provides it".to_owned())
    }

    fn command(&self) -> Command {
        let Some(root) = &self.root else {
            return Command::new("systemd-analyze");
        };
        let mut command = Command::new(root.join("usr/bin/systemd-analyze"));
        let libraries = fs::read_dir(root.join("usr/lib"))
            .into_iter()
            .flatten()
            .flatten()
            .flat_map(|entry| [entry.path().join("systemd"), entry.path()]);
        if let Ok(path) = std::env::join_paths(libraries) {
            command.env("LD_LIBRARY_PATH", path);
        }
        command.env("SYSTEMD_UNIT_PATH", root.join("lib/systemd/system"));
        command
    }

    /// `verify` on the units after `change`. The program that they start is
    /// the one built here: it need not be installed.
    fn verify(&self, change: impl Fn(String) -> String) -> Output {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = self.command();
        command.arg("verify").arg("--man=no");
        for name in UNITS {
            let unit = text(name).replace("/usr/bin/vipward", env!("CARGO_BIN_EXE_vipward"));
            let path = folder.path().join(name);
            fs::write(&path, change(unit)).expect("to write");
            command.arg(path);
        }
        command.output().expect("systemd-analyze")
    }
}

/// Lines about our units: the host's own may be complained of too.
fn complaints(output: &Output) -> Vec<String> {
    String::from_utf8_lossy(&output.stderr)
        .lines()
        .filter(|line| line.contains("vipward"))
        .map(str::to_owned)
        .collect()
}

fn verify(analyze: &Analyze) {
    let output = analyze.verify(|unit| unit);
    assert_eq!(complaints(&output), [""; 0]);
    assert!(output.status.success(), "{output:?}");
}

/// The test above can fail.
fn misspelt(analyze: &Analyze) {
    for (right, wrong) in [
        ("RestartSec=", "RestartSecs="),
        ("Restart=always", "Restart=some"),
        ("StartLimitIntervalSec=0\n", "StartLimitIntervalSec=x\n"),
    ] {
        let output = analyze.verify(|unit| {
            assert!(unit.contains(right), "{right}");
            unit.replace(right, wrong)
        });
        for unit in UNITS {
            let told = |line: &String| line.contains(unit);
            assert!(complaints(&output).iter().any(told), "{wrong} in {unit}");
        }
    }
}

fn few_rights(analyze: &Analyze) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("vipward.service");
    let judge = |unit: &str| {
        fs::write(&path, unit).expect("to write");
        let mut command = analyze.command();
        command.args(["security", "--no-pager", "--offline=true"]);
        command.args(["--threshold", EXPOSURE_MAX]).arg(&path);
        command.output().expect("systemd-analyze")
    };
    let unit = text("vipward.service");
    let output = judge(&unit);
    assert!(output.status.success(), "{output:?}");
    let loose = unit.replace("CapabilityBoundingSet=", "#");
    assert!(!judge(&loose).status.success(), "the bound is too wide");
}

/// Its unit as Debian has it, where tests/debian.sh has unpacked that. The figures
/// in docs/installing.md are of the same measurement.
fn keepalived_has_more(analyze: &Analyze) {
    let root = std::env::var_os("VIPWARD_TEST_TOOLS").map(PathBuf::from);
    let theirs = root.map(|root| root.join("lib/systemd/system/keepalived.service"));
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd");
    let ours = exposure(analyze, &units.join("vipward.service"));
    match theirs.filter(|unit| unit.exists()) {
        Some(unit) => {
            let theirs = exposure(analyze, &unit);
            assert!(ours + 40 < theirs, "{ours} and {theirs} tenths");
        }
        None => eprintln!("keepalived's unit is not here; tests/run.sh provides it"),
    }
}

/// Tenths, as in "Overall exposure level for vipward.service: 2.4 OK".
fn exposure(analyze: &Analyze, unit: &Path) -> u32 {
    let mut command = analyze.command();
    command.args(["security", "--no-pager", "--offline=true"]);
    let output = command.arg(unit).output().expect("systemd-analyze");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let level = text.split("exposure level for ").nth(1);
    let level = level.and_then(|rest| rest.split_whitespace().nth(1));
    let tenths = level.and_then(|level| level.replace('.', "").parse().ok());
    tenths.unwrap_or_else(|| panic!("{text}"))
}
