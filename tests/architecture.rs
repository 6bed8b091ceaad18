//! Keeps the names in `docs/architecture.md` true: every `room::Type::name`
//! in it is defined in that room, and every file named exists.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const ROOMS: [&str; 9] = [
    "agent", "wire", "config", "net", "control", "daemon", "runner", "doctor", "cli",
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Where a room's sources are, or a file below one: in the core's crate, or in
/// this one.
fn source(path: &str) -> PathBuf {
    let core = root().join("core/src").join(path);
    if core.exists() {
        core
    } else {
        root().join("src").join(path)
    }
}

/// What stands between backticks in the document.
fn quoted() -> BTreeSet<String> {
    let text = fs::read_to_string(root().join("docs/architecture.md")).expect("the document");
    let mut inside_block = false;
    let mut words = BTreeSet::new();
    for line in text.lines() {
        if line.starts_with("```") {
            inside_block = !inside_block;
        } else if !inside_block {
            words.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    words
}

fn sources_below(directory: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(directory).expect("a source directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources_below(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(fs::read_to_string(&path).expect("a source file"));
        }
    }
}

/// The sources of `agent::router::X`: the deepest folder or file that its
/// leading lower-case segments name.
fn sources_of(segments: &[&str]) -> Vec<String> {
    let (room, rest) = segments.split_first().expect("a room");
    let mut place = source(room);
    let mut found = Vec::new();
    for segment in rest {
        let file = place.join(format!("{segment}.rs"));
        let folder = place.join(segment);
        if file.is_file() {
            // With what stands below it in a folder of its name.
            found.push(fs::read_to_string(file).expect("a source file"));
            if folder.is_dir() {
                sources_below(&folder, &mut found);
            }
            return found;
        }
        if !folder.is_dir() {
            break;
        }
        place = folder;
    }
    sources_below(&place, &mut found);
    found
}

fn defines(source: &str, name: &str) -> bool {
    let keywords = ["fn", "struct", "enum", "trait", "mod", "const"];
    source.lines().any(|line| {
        let mut words = line.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        words
            .by_ref()
            .any(|word| keywords.contains(&word))
            .then(|| words.find(|word| !word.is_empty()))
            .flatten()
            == Some(name)
    })
}

#[test]
fn every_name_in_the_walks_exists() {
    let mut checked = 0;
    let mut missing = Vec::new();
    for word in quoted() {
        let segments: Vec<&str> = word.split("::").collect();
        let Some((room, rest)) = segments.split_first() else {
            continue;
        };
        if rest.is_empty() || !ROOMS.contains(room) {
            continue;
        }
        let sources = sources_of(&segments);
        for (position, name) in rest.iter().enumerate() {
            let place = source(room).join(rest[..=position].join("/"));
            let is_module = place.is_dir() || place.with_extension("rs").is_file();
            if !is_module && !sources.iter().any(|source| defines(source, name)) {
                missing.push(format!("{word}: {name} is not defined there"));
            }
        }
        checked += 1;
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
    assert!(
        checked > 30,
        "only {checked} names were found in the document"
    );
}

#[test]
fn every_file_in_the_tables_exists() {
    let mut checked = 0;
    for word in quoted() {
        let path = source(&word);
        if word.ends_with(".rs") || word.ends_with('/') {
            assert!(path.exists(), "{word} does not exist");
            checked += 1;
        }
    }
    assert!(checked > 10, "only {checked} paths were found");
}

/// What stands behind `Finding::error(` and the like, or is chosen for it.
fn codes_of_findings() -> BTreeSet<String> {
    let mut sources = Vec::new();
    for file in fs::read_dir(root().join("src/doctor/judge")).expect("the judges") {
        let path = file.expect("an entry").path();
        if path.is_file() {
            sources.push(fs::read_to_string(path).expect("a source file"));
        }
    }
    let mut codes = BTreeSet::new();
    for source in &sources {
        for kind in ["error", "warning", "note"] {
            for (_, behind) in source
                .match_indices(&format!("Finding::{kind}("))
                .map(|(at, word)| (at, source[at + word.len()..].trim_start()))
            {
                let quoted = behind
                    .strip_prefix('"')
                    .and_then(|text| text.split_once('"'));
                codes.extend(quoted.map(|(code, _)| code.to_owned()));
            }
        }
    }
    codes
}

#[test]
fn every_finding_is_in_the_document() {
    let text = fs::read_to_string(root().join("docs/doctor.md")).expect("the document");
    let codes = codes_of_findings();
    assert!(codes.len() > 40, "only {codes:?}");
    let missing = codes
        .iter()
        .filter(|code| !text.contains(&format!("`{code}`")));
    let missing: Vec<&String> = missing.collect();
    assert!(missing.is_empty(), "not in docs/doctor.md: {missing:?}");
}
