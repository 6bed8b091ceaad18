//! The Debian package on booted hosts: installed, edited, upgraded in service,
//! removed, purged. Every trial has two machines of its own, as those of the
//! service have, on which nothing of ours is yet.
//!
//! The packages are made of the program that was built for the tests, or are
//! those below $VIPWARD_PACKAGES. The .rpm is tried where packaging/test.sh has made
//! it, and a system with rpm.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Completion, Failed, Trial};

mod installed;
// What the service trials have already; not all of it is used here.
#[allow(dead_code)]
#[path = "../service/lab/mod.rs"]
mod lab;
mod operator;
mod removal;
mod rights;
mod rpm;
mod service;
mod upgrade;

use lab::isolation;

/// Most of a trial is waiting, so more of them than cores run side by side.
const SIDE_BY_SIDE: usize = 4;
const PACKAGES: &str = "VIPWARD_PACKAGES";
/// After the version of the program: what is upgraded to.
const NEXT: &str = "+next";

pub type Test = (&'static str, fn());

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    let mut missing = None;
    if !arguments.list {
        missing = provide().err();
        if missing.is_none() {
            isolation::enter();
            lab::stall::start_meter();
        }
    }
    arguments.test_threads.get_or_insert(SIDE_BY_SIDE);
    let trials = [
        installed::TESTS,
        service::TESTS,
        rights::TESTS,
        upgrade::TESTS,
        removal::TESTS,
        rpm::TESTS,
    ]
    .concat()
    .into_iter()
    .map(|(name, test)| {
        let missing = match name.starts_with("rpm::") {
            true => missing.clone().or_else(rpm::missing),
            false => missing.clone(),
        };
        Trial::ignorable_test(name, move || -> Result<Completion, Failed> {
            if let Some(reason) = missing.or_else(isolation::missing) {
                return Ok(Completion::ignored_with(reason));
            }
            test();
            Ok(Completion::Completed)
        })
    })
    .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Makes the packages, unless they are there. Seconds.
///
/// # Errors
///
/// Why they cannot be made here. A failure of what makes them is one of the test.
fn provide() -> Result<(), String> {
    if env::var_os(PACKAGES).is_some() {
        return Ok(());
    }
    let has = |program: &str| {
        let output = Command::new(program).arg("--version").output();
        output.is_ok_and(|output| output.status.success())
    };
    for program in ["dpkg-deb", "strip", "bash"] {
        if !has(program) {
            return Err(format!("there is no {program} here to make packages with"));
        }
    }
    let out = isolation::tree().with_file_name("packages");
    let version = env!("CARGO_PKG_VERSION").to_owned();
    for version in [version.clone(), version + NEXT] {
        let output = Command::new(root().join("packaging/build.sh"))
            .args(["--quick", "--binary", env!("CARGO_BIN_EXE_vipward")])
            .args(["--version", &version, "--out"])
            .arg(&out)
            .arg("deb")
            .output()
            .expect("packaging/build.sh");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "packaging/build.sh: {told}");
    }
    // SAFETY: no other thread is there yet.
    #[allow(unsafe_code)]
    unsafe {
        env::set_var(PACKAGES, out);
    }
    Ok(())
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The package of this version, or the one after it.
pub fn package(next: bool) -> PathBuf {
    let folder = PathBuf::from(env::var_os(PACKAGES).expect("a folder of packages"));
    let version = env!("CARGO_PKG_VERSION");
    let start = match next {
        false => format!("vipward_{version}-1_"),
        true => format!("vipward_{version}{NEXT}-1_"),
    };
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| {
        panic!("{}: {error}", folder.display());
    });
    let found = entries.flatten().map(|entry| entry.path()).find(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(&start) && name.ends_with(".deb")
    });
    found.unwrap_or_else(|| panic!("no {start}*.deb in {}", folder.display()))
}
