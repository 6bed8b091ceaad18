//! Planted faults: are the tests able to fail?
//!
//! As a test it makes sure that each fault can still be planted. With
//! VIPWARD_MUTATIONS=run (`tests/mutations.sh`) it plants them one at a time in
//! a copy of the sources, runs the layers of tests that need no privileges, and
//! prints which layer caught which; one that none catches is a failure.

mod authentication;
mod doctor;
mod groups;
mod link;
mod list;
mod metrics;
mod moves;
mod routes;

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use libtest_mimic::{Arguments, Trial};
use list::Mutation;

/// A layer, and the arguments of `cargo test` that run it.
const LAYERS: &[(&str, &[&str])] = &[
    ("units", &["--lib"]),
    ("codecs", &["--test", "codecs", "--test", "vectors"]),
    ("scenarios", &["--test", "scenarios"]),
    ("simulation", &["--test", "simulation"]),
];

/// Seeds of the simulation: most faults show within a few.
const SEEDS: &str = "1000";

fn mutations() -> impl Iterator<Item = &'static Mutation> {
    let all = list::MUTATIONS.iter().chain(authentication::MUTATIONS);
    let all = all.chain(groups::MUTATIONS).chain(link::MUTATIONS);
    let all = all.chain(metrics::MUTATIONS).chain(moves::MUTATIONS);
    all.chain(routes::MUTATIONS).chain(doctor::MUTATIONS)
}

/// For one layer; a fault may make it run for ever.
const PATIENCE: Duration = Duration::from_secs(240);

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    if env::var_os("VIPWARD_MUTATIONS").is_some_and(|value| value == "run") {
        return run(root);
    }
    let trials = mutations().map(|mutation| {
        Trial::test(format!("plantable: {}", mutation.name), || {
            planted(root, mutation).map(drop).map_err(Into::into)
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}

/// The file with the fault in it.
fn planted(root: &Path, mutation: &Mutation) -> Result<String, String> {
    let path = root.join(mutation.file);
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", mutation.file))?;
    match text.matches(mutation.right).count() {
        1 => Ok(text.replacen(mutation.right, mutation.wrong, 1)),
        found => Err(format!(
            "{}: {:?} stands there {found} times; it must stand there once",
            mutation.file, mutation.right
        )),
    }
}

fn run(root: &Path) -> ExitCode {
    let tree = copy_of(root);
    assert!(builds(&tree), "the copy cannot be compiled");
    for (layer, arguments) in LAYERS {
        eprintln!("without a fault: {layer}");
        if !passes(&tree, arguments) {
            eprintln!("{layer} fails without any fault; nothing can be learnt");
            return ExitCode::FAILURE;
        }
    }
    // All, or those whose names contain one of the arguments.
    let words: Vec<String> = env::args().skip(1).collect();
    let wanted = |mutation: &&Mutation| {
        words.is_empty() || words.iter().any(|word| mutation.name.contains(word))
    };
    let chosen: Vec<&Mutation> = mutations().filter(wanted).collect();
    let mut caught: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (number, mutation) in chosen.iter().enumerate() {
        let path = tree.join(mutation.file);
        let right = fs::read_to_string(&path).expect("a copied file");
        let wrong = planted(&tree, mutation).unwrap_or_else(|error| panic!("{error}"));
        fs::write(&path, wrong).expect("the copy can be written");
        let built = builds(&tree);
        let layers = LAYERS
            .iter()
            .filter(|(_, arguments)| !passes(&tree, arguments));
        let layers: Vec<&str> = layers.map(|(layer, _)| *layer).collect();
        fs::write(&path, right).expect("the copy can be written");
        assert!(built, "{}: the fault cannot be compiled", mutation.name);
        let total = chosen.len();
        eprintln!(
            "{:>2}/{total} {}: {}",
            number + 1,
            mutation.name,
            told(&layers)
        );
        caught.insert(mutation.name, layers);
    }
    println!("| fault | file | caught by |\n|---|---|---|");
    for mutation in &chosen {
        let layers = told(caught.get(mutation.name).map_or(&[], Vec::as_slice));
        println!("| {} | `{}` | {layers} |", mutation.name, mutation.file);
    }
    let missed = caught.values().filter(|layers| layers.is_empty()).count();
    println!("{} caught, {missed} missed", chosen.len() - missed);
    ExitCode::from(u8::from(missed > 0))
}

fn told(layers: &[&str]) -> String {
    match layers {
        [] => "NOBODY".to_owned(),
        layers => layers.join(", "),
    }
}

/// What the builds need, under `target/`.
fn copy_of(root: &Path) -> PathBuf {
    let tree = root.join("target/mutations/tree");
    if tree.exists() {
        fs::remove_dir_all(&tree).expect("the last copy can be removed");
    }
    copy(root, &tree, &["target", ".git", "fuzz"]);
    tree
}

fn copy(from: &Path, to: &Path, without: &[&str]) {
    fs::create_dir_all(to).expect("a directory for the copy");
    for entry in fs::read_dir(from).expect("a readable directory") {
        let entry = entry.expect("an entry");
        let name = entry.file_name();
        if without.iter().any(|excluded| name == *excluded) {
            continue;
        }
        let (from, to) = (entry.path(), to.join(&name));
        if entry.file_type().expect("its type").is_dir() {
            copy(&from, &to, &[]);
        } else {
            fs::copy(&from, &to).expect("a copied file");
        }
    }
}

/// Compiles all layers, however long that takes.
fn builds(tree: &Path) -> bool {
    let targets = LAYERS.iter().flat_map(|(_, arguments)| *arguments);
    let arguments: Vec<&str> = ["--no-run"].into_iter().chain(targets.copied()).collect();
    ends_well(tree, &arguments, None)
}

/// Whether a layer passes in the copy, in time.
fn passes(tree: &Path, arguments: &[&str]) -> bool {
    ends_well(tree, arguments, Some(Instant::now() + PATIENCE))
}

fn ends_well(tree: &Path, arguments: &[&str], end: Option<Instant>) -> bool {
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["test", "--quiet", "--locked"])
        .args(arguments)
        .current_dir(tree)
        .env("CARGO_TARGET_DIR", tree.with_file_name("build"))
        .env("SIMULATION_SEEDS", SEEDS)
        .env_remove("VIPWARD_MUTATIONS")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0);
    let mut child = cargo.spawn().expect("cargo can be started");
    loop {
        match child.try_wait().expect("our own child") {
            Some(status) => return status.success(),
            None if end.is_some_and(|end| Instant::now() > end) => {
                let group = i32::try_from(child.id()).expect("a process id");
                let group = nix::unistd::Pid::from_raw(group);
                let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
                let _ = child.wait();
                return false;
            }
            None => thread::sleep(Duration::from_millis(50)),
        }
    }
}
