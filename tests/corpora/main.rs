//! The fuzz targets over every input that is kept: the committed corpora, the
//! inputs that once failed, and the seeds. Without libFuzzer, so that a
//! regression shows wherever the tests run.

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

mod seeds;
#[path = "../../fuzz/src/lib.rs"]
mod targets;

use targets::TARGETS;

/// A corpus is read by people and cloned by everyone.
const FILES_MAX: usize = 200;
const BYTES_MAX: usize = 500 * 1024;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// Runs one target over named inputs; the names of those that fail.
fn failures<'i>(target: &str, inputs: impl Iterator<Item = (&'i str, &'i [u8])>) -> Vec<String> {
    let (_, run) = TARGETS
        .iter()
        .find(|(name, _)| *name == target)
        .expect("a target");
    let failed = inputs.filter(|(_, bytes)| catch_unwind(|| run(bytes)).is_err());
    failed
        .map(|(name, _)| format!("{target}: {name}"))
        .collect()
}

fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut files: Vec<_> = entries
        .map(|entry| {
            let path = entry.expect("an entry").path();
            let bytes = fs::read(&path).expect("a readable file");
            (path.display().to_string(), bytes)
        })
        .collect();
    files.sort();
    files
}

fn named(files: &[(String, Vec<u8>)]) -> impl Iterator<Item = (&str, &[u8])> {
    files
        .iter()
        .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
}

#[test]
fn every_committed_input_passes() {
    let mut failed = Vec::new();
    for (target, _) in TARGETS {
        let corpus = files(&fuzz().join("corpus").join(target));
        assert!(!corpus.is_empty(), "{target} has no corpus");
        failed.extend(failures(target, named(&corpus)));
        let once_failed = files(&fuzz().join("failed").join(target));
        failed.extend(failures(target, named(&once_failed)));
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn every_seed_passes() {
    let seeds = seeds::all();
    let mut failed = Vec::new();
    for (target, _) in TARGETS {
        let own = seeds.iter().filter(|seed| seed.target == target);
        let own: Vec<_> = own
            .map(|seed| (seed.name.clone(), seed.bytes.clone()))
            .collect();
        assert!(own.len() >= 3, "{target} has {} seeds", own.len());
        failed.extend(failures(target, named(&own)));
        // Where `fuzz/run.sh` finds them.
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join("seeds")
            .join(target);
        fs::create_dir_all(&folder).expect("a folder for seeds");
        for (name, bytes) in own {
            fs::write(folder.join(name), bytes).expect("a seed is written");
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn corpora_are_small_and_each_has_its_target() {
    let known: BTreeSet<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    for kind in ["corpus", "failed"] {
        for entry in fs::read_dir(fuzz().join(kind)).into_iter().flatten() {
            let path = entry.expect("an entry").path();
            let name = path.file_name().and_then(|name| name.to_str());
            assert!(name.is_some_and(|name| known.contains(name)), "{path:?}");
            let files = files(&path);
            let bytes: usize = files.iter().map(|(_, bytes)| bytes.len()).sum();
            assert!(
                files.len() <= FILES_MAX,
                "{path:?} has {} files",
                files.len()
            );
            assert!(bytes <= BYTES_MAX, "{path:?} has {bytes} bytes");
        }
    }
    // `fuzz/run.sh` takes the names of the targets from there.
    for name in known {
        let corpus = fuzz().join("corpus").join(name);
        assert!(corpus.is_dir(), "{corpus:?} is missing");
    }
}
