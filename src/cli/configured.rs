//! `vipward configured`: the condition of the unit, and of `vipward run`. A
//! package installs the example as the configuration, and an address of the
//! example is nobody's.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::output;
use crate::config::{self, Loaded};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Configuration file
    #[arg(long, value_name = "FILE", default_value = config::DEFAULT_PATH)]
    config: PathBuf,
}

/// As packages install it.
const EXAMPLE: &str = include_str!("../../config.example.yaml");

/// Exit code 0: there is something to run, faults or not; those `run` tells.
/// 1: nobody has written a configuration yet.
pub fn run(args: &Args) -> ExitCode {
    match missing(&args.config) {
        None => ExitCode::SUCCESS,
        Some(what) => {
            output::complain(&format!("{what}, {REMEDY}"));
            ExitCode::FAILURE
        }
    }
}

const REMEDY: &str = "so nothing was started. Write what this host is to hold (man 5 \
                      vipward.yaml), judge it with `vipward validate`, then \
                      `systemctl start vipward`";

/// Why `run` refuses a sound file: nobody has touched it. Whoever starts an agent by
/// hand on a file of theirs may try the example's address.
pub(super) fn refusal(path: &Path) -> Option<String> {
    is_as_shipped(path).then(|| format!("{}, {REMEDY}", still_example(path)))
}

fn still_example(path: &Path) -> String {
    let path = path.display();
    format!("the instances in {path} are still those of the example")
}

/// What keeps the file from being a configuration of this host.
fn missing(path: &Path) -> Option<String> {
    let shown = path.display();
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Some(format!("there is no {shown}"));
        }
        Ok(_) | Err(_) => {}
    }
    let loaded = config::load(path).ok()?;
    is_example(&loaded).then(|| still_example(path))
}

/// A package has installed it, and nobody has touched it since.
pub(super) fn is_as_shipped(path: &Path) -> bool {
    std::fs::read_to_string(path).is_ok_and(|text| text == EXAMPLE)
}

/// The same instances: comments, and what is around them, may be edited.
fn is_example(loaded: &Loaded) -> bool {
    let example = config::parse(Path::new("config.example.yaml"), EXAMPLE, "example");
    example.is_ok_and(|example| example.settings.instances == loaded.settings.instances)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(text: &str) -> Option<String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.yaml");
        std::fs::write(&path, text).unwrap();
        missing(&path)
    }

    #[test]
    fn the_example_runs_nowhere_before_it_was_edited() {
        let told = judged(EXAMPLE).expect("the example is no configuration");
        assert!(told.ends_with("are still those of the example"), "{told}");
        let commented = format!("# of this site\nlog: {{ level: debug }}\n{EXAMPLE}");
        assert!(judged(&commented).is_some());
        for (from, to) in [
            ("interface: eth0", "interface: eth1"),
            ("priority: 150", "priority: 100"),
            ("- 192.0.2.10/24", "- 192.0.2.20/24"),
        ] {
            assert!(EXAMPLE.contains(from), "{from}");
            assert_eq!(judged(&EXAMPLE.replacen(from, to, 1)), None, "{to}");
        }
    }

    #[test]
    fn a_fault_is_for_run_to_tell_and_a_missing_file_is_none() {
        assert_eq!(judged("instances: {"), None);
        let told = missing(Path::new("/nonexistent/config.yaml")).expect("nothing to run");
        assert_eq!(told, "there is no /nonexistent/config.yaml");
    }
}
