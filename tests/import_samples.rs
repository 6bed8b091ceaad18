//! `vipward import` with every sample configuration that keepalived's package
//! has in its documentation folder: none panics, each line is carried over or
//! named, and what is written passes `vipward validate`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};

use libtest_mimic::{Arguments, Completion, Failed, Trial};

#[path = "import/account.rs"]
#[allow(dead_code, reason = "the rest is for the other test")]
mod account;
#[path = "import/kit.rs"]
#[allow(dead_code, reason = "the rest is for the other test")]
mod kit;

/// Where packages put it.
const FOLDER: &str = "usr/share/doc/keepalived/samples";

fn folder() -> Option<PathBuf> {
    let unpacked = std::env::var_os("VIPWARD_TEST_TOOLS").map(PathBuf::from);
    let program = std::env::current_exe().ok();
    // This program lies in target/debug/deps.
    let beside = program.iter().flat_map(|program| program.ancestors());
    let beside = beside.map(|folder| folder.join("debian/root"));
    let roots = unpacked
        .into_iter()
        .chain(beside)
        .chain([PathBuf::from("/")]);
    roots
        .map(|root| root.join(FOLDER))
        .find(|folder| folder.is_dir())
}

fn samples() -> Vec<PathBuf> {
    let entries = folder().and_then(|folder| fs::read_dir(folder).ok());
    let paths = entries
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    let mut paths: Vec<_> = paths
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("keepalived.conf")
        })
        .collect();
    paths.sort();
    paths
}

fn vipward(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vipward"));
    command.args(arguments).output().expect("it runs")
}

fn check(sample: &Path) {
    let text = fs::read_to_string(sample).expect("a sample");
    let (telling, named) = account::account(&text);
    assert!(
        telling + named > 5,
        "{telling} lines tell, {named} are named"
    );
    let folder = tempfile::tempdir().expect("a folder");
    for elsewhere in [false, true] {
        let target = folder.path().join(format!("{elsewhere}.yaml"));
        let target = target.to_str().expect("a path");
        let mut arguments = vec!["import", sample.to_str().expect("a path"), "-o", target];
        arguments.extend(elsewhere.then_some("--elsewhere"));
        let output = vipward(&arguments);
        let err = String::from_utf8_lossy(&output.stderr);
        let code = output.status.code();
        let written = Path::new(target).exists();
        match text.contains("vrrp_instance") {
            true => assert!(matches!(code, Some(0 | 3)) && written, "{code:?} {err}"),
            false => assert!(code == Some(1) && !written, "{code:?} {err}"),
        }
        if written && !elsewhere {
            let judged = vipward(&["validate", target]);
            assert!(
                judged.status.success(),
                "{}",
                String::from_utf8_lossy(&judged.stderr)
            );
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let samples = samples();
    let trial = |sample: PathBuf| {
        let name = sample
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        Trial::test(name, move || {
            check(&sample);
            Ok(())
        })
    };
    let trials: Vec<Trial> = match samples.is_empty() {
        false => samples.into_iter().map(trial).collect(),
        true => vec![Trial::ignorable_test(
            "samples",
            || -> Result<Completion, Failed> {
                let reason =
                    "keepalived's documentation is neither installed nor under target/debian/root";
                Ok(Completion::ignored_with(reason))
            },
        )],
    };
    libtest_mimic::run(&arguments, trials).exit_code()
}
