//! The JSON Schema against files that the program takes and such that it does
//! not.

use std::path::{Path, PathBuf};

use serde_json::Value;
use vipward::config::{self, schema};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn validator() -> jsonschema::Validator {
    jsonschema::draft202012::new(&schema::document()).expect("a sound schema")
}

/// As an editor reads it.
fn value(text: &str) -> Value {
    let mut yaml: serde_yaml::Value = serde_yaml::from_str(text).expect("YAML");
    yaml.apply_merge().expect("merges");
    // JSON knows text keys alone.
    serde_json::to_value(&yaml).expect("JSON")
}

fn faults(validator: &jsonschema::Validator, text: &str) -> Vec<String> {
    let value = value(text);
    let errors = validator.iter_errors(&value);
    errors
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect()
}

fn yaml_below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            yaml_below(&path, found);
        } else if path
            .extension()
            .is_some_and(|extension| extension == "yaml")
        {
            found.push(path);
        }
    }
}

#[test]
fn what_the_program_takes_the_schema_takes() {
    let validator = validator();
    let mut sound = Vec::new();
    for entry in std::fs::read_dir(root().join("tests/config/warnings")).unwrap() {
        sound.push(entry.unwrap().path());
    }
    // Trees that are sound, with all that they include.
    for entry in std::fs::read_dir(root().join("tests/config/trees")).unwrap() {
        let folder = entry.unwrap().path();
        if super::trees::is_sound(&folder) {
            yaml_below(&folder, &mut sound);
        }
    }
    sound.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "yaml")
    });
    let hidden = |path: &PathBuf| path.file_name().unwrap().as_encoded_bytes()[0] == b'.';
    sound.retain(|path| !hidden(path));
    assert!(sound.len() > 40, "{sound:?}");
    for path in sound {
        let text = std::fs::read_to_string(&path).unwrap();
        if value(&text).is_null() {
            // Comments alone, as an included file may be.
            continue;
        }
        let faults = faults(&validator, &text);
        assert!(faults.is_empty(), "{}: {faults:#?}", path.display());
    }
}

#[test]
fn the_example_is_sound_to_the_schema_that_it_names() {
    let validator = validator();
    let text = std::fs::read_to_string(root().join("config.example.yaml")).unwrap();
    let first = text.lines().next().unwrap();
    let wanted = format!("# yaml-language-server: $schema={}", schema::INSTALLED);
    assert_eq!(first, wanted);
    let whole = super::uncommented(&text);
    for text in [&text, &whole] {
        let faults = faults(&validator, text);
        assert!(faults.is_empty(), "{faults:#?}");
    }
    // What is printed is a file like any other.
    let loaded = config::parse(Path::new("c.yaml"), &text, "lb1").unwrap();
    assert_eq!(
        faults(&validator, &loaded.effective().unwrap()),
        Vec::<String>::new()
    );
}

#[test]
fn what_the_schema_can_see_it_refuses() {
    let validator = validator();
    let mut pass = Vec::new();
    for case in [
        "key-unknown-far",
        "key-unknown-near",
        "key-of-keepalived",
        "key-of-other-section",
        "key-missing",
        "range-vrid",
        "range-priority",
        "choice-family",
        "duration-no-unit",
        "trap-list-for-string",
        "trap-map-for-list",
        "trap-quoted-number",
        "trap-boolean-quoted",
        "trap-string-number",
        "addresses-empty",
        "use-weight-positive",
        "check-kind-nothing",
        "check-on-fail",
        "combination-form",
        "disk-options",
        "dns-options",
        "neighbour-options",
        "pressure-options",
        "process-options",
        "virtual-mac-word",
        "hook-relative",
        "peer-prefix",
        "instance-name",
    ] {
        let path = root().join(format!("tests/config/faults/{case}.yaml"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|_| panic!("{case}"));
        if faults(&validator, &text).is_empty() {
            pass.push(case);
        }
    }
    assert!(pass.is_empty(), "{pass:?}");
    // As the program does, so that included files can be edited by it.
    assert!(faults(&validator, "log: { level: info }").is_empty());
    // An overlay has an instance's keys, but for those that name it.
    let overlay = |text: &str| {
        let text = format!("instances: {{ web: {{ vrid: 51, nodes: {{ lb2: {text} }} }} }}");
        faults(&validator, &text)
    };
    assert_eq!(
        overlay("{ priority: 100, interface: eth0 }"),
        Vec::<String>::new()
    );
    for refused in [
        "{ vrid: 52 }",
        "{ family: ipv6 }",
        "{ nodes: {} }",
        "{ colour: red }",
        "7",
    ] {
        assert!(!overlay(refused).is_empty(), "{refused}");
    }
}
