//! Configurations of several files, references to the environment, overlays:
//! each folder of `trees/` is one, its file `environment` holds the variables.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use vipward::config::{self, Loaded, Style, Surroundings};

fn environment(folder: &Path) -> BTreeMap<String, OsString> {
    let text = fs::read_to_string(folder.join("environment")).unwrap_or_default();
    let pair = |line: &str| {
        let (name, value) = line.split_once('=').expect("NAME=value");
        (name.to_owned(), OsString::from(value))
    };
    text.lines().map(pair).collect()
}

/// By a relative path, which cargo begins at the package: snapshots show it.
fn load(case: &str, node: Option<&str>) -> Result<Loaded, String> {
    let folder = Path::new("tests/config/trees").join(case);
    let variables = environment(&folder);
    let around = Surroundings {
        host_name: "lb1",
        node,
        variables: &|name| variables.get(name).cloned(),
    };
    let loaded = config::load_with(&folder.join("config.yaml"), &around);
    loaded.map_err(|faults| faults.to_string())
}

/// Whether the tree in this folder has no fault.
pub fn is_sound(folder: &Path) -> bool {
    let case = folder.file_name().expect("a name").to_str().expect("UTF-8");
    load(case, None).is_ok()
}

/// The faults, or all that was made of the files.
fn told(case: &str) -> String {
    let loaded = match load(case, None) {
        Err(faults) => return faults,
        Ok(loaded) => loaded,
    };
    let warnings = loaded.warnings.iter();
    let warnings = warnings.map(|warning| warning.render(Style::Plain) + "\n\n");
    let included: String = loaded
        .included
        .iter()
        .map(|path| format!("# with {}\n", path.display()))
        .collect();
    warnings.collect::<String>() + &included + &loaded.effective().unwrap()
}

#[test]
fn every_tree_is_judged_as_one_configuration() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/trees");
    let cases = fs::read_dir(&root).unwrap().map(|entry| entry.unwrap());
    let cases = cases.map(|entry| entry.file_name().into_string().unwrap());
    let mut cases: Vec<String> = cases.filter(|name| name != "snapshots").collect();
    cases.sort();
    assert!(cases.len() > 20, "{cases:?}");
    let differ: Vec<&String> = cases
        .iter()
        .filter(|case| {
            let told = told(case);
            let compared = std::panic::catch_unwind(|| {
                insta::with_settings!({
                    snapshot_path => "trees/snapshots",
                    prepend_module_to_snapshot => false,
                    omit_expression => true,
                }, {
                    insta::assert_snapshot!(case.as_str(), told);
                });
            });
            compared.is_err()
        })
        .collect();
    let snapshots = fs::read_dir(root.join("snapshots")).unwrap().count();
    assert_eq!(snapshots, cases.len(), "a snapshot has lost its tree");
    assert!(differ.is_empty(), "{differ:?}");
}

#[test]
fn a_node_that_is_asked_for_is_one_of_the_clusters() {
    let loaded = load("overlay-in-cluster", Some("lb3")).unwrap();
    assert_eq!(loaded.settings.node, "lb3");
    let effective = loaded.effective().unwrap();
    assert!(effective.contains("priority: 90"), "{effective}");
    let refused = load("overlay-in-cluster", Some("lb4")).unwrap_err();
    assert!(refused.contains("there is no node `lb4`"), "{refused}");
    assert!(refused.contains("did you mean"), "{refused}");
}
