//! Every message of the configuration, from the file to the text that people
//! read. A new case is a new file in `faults/` or `warnings/`; its snapshot is
//! reviewed with `cargo insta review`.

use std::path::{Path, PathBuf};

use vipward::config::{self, Style};

fn fixtures(folder: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(root.join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .collect();
    paths.sort();
    assert!(paths.len() > 10, "fixtures of {folder}");
    paths
}

/// Compares every message of a folder and names all that differ at once.
fn compare(folder: &str, message: impl Fn(&str) -> String) {
    let differ: Vec<String> = fixtures(folder)
        .into_iter()
        .filter_map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            let message = message(&text);
            let compared = std::panic::catch_unwind(|| {
                insta::with_settings!({
                    snapshot_path => format!("{folder}/snapshots"),
                    prepend_module_to_snapshot => false,
                    omit_expression => true,
                }, {
                    insta::assert_snapshot!(name.clone(), message);
                });
            });
            compared.err().map(|_| name)
        })
        .collect();
    assert!(differ.is_empty(), "{folder}: {}", differ.join(", "));
}

#[test]
fn every_fault_says_where_what_and_what_to_write() {
    compare("faults", |text| {
        match config::parse("config.yaml".as_ref(), text, "lb1") {
            Ok(_) => "NO FAULT".to_owned(),
            Err(faults) => faults.to_string(),
        }
    });
}

#[test]
fn every_warning_says_what_can_happen() {
    compare("warnings", |text| {
        let loaded = config::parse("config.yaml".as_ref(), text, "lb1").unwrap();
        let warnings = loaded.warnings.iter();
        let warnings: Vec<String> = warnings
            .map(|warning| warning.render(Style::Plain))
            .collect();
        match warnings.is_empty() {
            true => "no warning".to_owned(),
            false => warnings.join("\n\n"),
        }
    });
}
