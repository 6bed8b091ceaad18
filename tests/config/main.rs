//! Every message of the configuration, from the file to the text that people
//! read. A new case is a new file in `faults/` or `warnings/`; its snapshot is
//! reviewed with `cargo insta review`.

mod files;
mod health;
mod included;
mod schema;
mod trees;

use std::path::{Path, PathBuf};

use vipward::config::{self, Style};

fn fixtures(folder: &str, kind: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(root.join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == kind))
        .collect();
    paths.sort();
    assert!(paths.len() > 10, "fixtures of {folder}");
    paths
}

/// Compares every message of a folder and names all that differ at once.
fn compare(folder: &str, message: impl Fn(&str) -> String) {
    let differ: Vec<String> = fixtures(folder, "yaml")
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
    let snapshots = fixtures(&format!("{folder}/snapshots"), "snap").len();
    assert_eq!(
        snapshots,
        fixtures(folder, "yaml").len(),
        "a snapshot has lost its fixture"
    );
    assert!(differ.is_empty(), "{folder}: {}", differ.join(", "));
}

#[test]
fn every_fault_says_where_what_and_what_to_write() {
    compare("faults", |text| {
        match config::parse("config.yaml".as_ref(), text, "lb1") {
            Ok(_) => "NO FAULT".to_owned(),
            Err(faults) => {
                // The line for the log and the picture name the same place.
                for fault in faults.iter() {
                    let line = fault.to_string();
                    let place = line.split(": ").next().unwrap();
                    assert!(fault.render(Style::Plain).contains(place), "{line}");
                }
                faults.to_string()
            }
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

#[test]
fn columns_are_counted_in_characters() {
    let line = format!("{{ {}: 1, \u{e9}x: 2 }}", "\u{e9}".repeat(200));
    let faults = config::parse("c.yaml".as_ref(), &line, "lb1").unwrap_err();
    let places: Vec<String> = faults.iter().map(ToString::to_string).collect();
    assert!(places[0].starts_with("c.yaml:1:1:"), "{places:?}");
    assert!(
        places
            .iter()
            .any(|place| place.starts_with("c.yaml:1:208:")),
        "{places:?}"
    );
}

#[test]
fn a_host_without_a_usable_name_must_be_named() {
    let text = "instances: { web: { interface: eth0, vrid: 51, addresses: [192.0.2.10/24] } }\n";
    for host_name in ["", "localhost domain", "-", "\u{1b}[31m"] {
        let faults = config::parse("c.yaml".as_ref(), text, host_name).unwrap_err();
        assert!(faults.to_string().contains("write `node: lb1`"), "{faults}");
    }
    let loaded = config::parse("c.yaml".as_ref(), text, "lb7").unwrap();
    assert_eq!(loaded.settings.node, "lb7");
    let named = config::parse("c.yaml".as_ref(), &format!("node: lb1\n{text}"), "").unwrap();
    assert_eq!(named.settings.node, "lb1");
    assert_ne!(loaded.digest, named.digest);
}

/// `#key` is configuration that is commented out, `# Text` is prose.
fn uncommented(example: &str) -> String {
    let line = |line: &str| {
        let text = line.trim_start();
        let indentation = line.strip_suffix(text).unwrap();
        match text.strip_prefix('#') {
            Some(rest) if !rest.is_empty() && !rest.starts_with(' ') => {
                format!("{indentation}{rest}\n")
            }
            _ => format!("{line}\n"),
        }
    };
    example.lines().map(line).collect()
}

#[test]
fn the_example_is_sound_and_says_the_true_defaults() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config.example.yaml");
    let shipped = config::load(&path).unwrap();
    assert!(shipped.warnings.is_empty(), "{:?}", shipped.warnings);
    let text = uncommented(&std::fs::read_to_string(&path).unwrap());
    // It includes what is not there, and no harm is done.
    let folder = tempfile::TempDir::new().unwrap();
    let uncommented = folder.path().join("config.yaml");
    std::fs::write(&uncommented, &text).unwrap();
    let whole = config::load(&uncommented).unwrap();
    assert_eq!(whole.settings.node, "lb1");
    assert_eq!(whole.host.log, shipped.host.log);
    let cluster = whole.settings.cluster.unwrap();
    assert_eq!(cluster.own.as_str(), "lb1");
    assert_eq!(cluster.nodes.len(), 2);
    let default = "cluster: { key_file: k, nodes: { lb1: [10.0.0.1], lb2: [10.0.0.2] } }\n\
                   instances: { web: { interface: eth0, vrid: 51, addresses: [192.0.2.10/24] } }";
    let default = config::parse(&path, default, "lb1").unwrap();
    assert_eq!(cluster.listen, default.settings.cluster.unwrap().listen);
    assert_eq!(
        whole.host.control.admin_group,
        shipped.host.control.admin_group
    );
    let [shipped] = &shipped.settings.instances[..] else {
        panic!("one instance")
    };
    let [whole] = &whole.settings.instances[..] else {
        panic!("one instance")
    };
    assert_eq!(whole.addresses.len(), 5);
    // What is no default but an example.
    let mut whole = whole.clone();
    whole.addresses = shipped.addresses.clone();
    whole.unicast_peers = shipped.unicast_peers.clone();
    whole.source = shipped.source;
    whole.witnesses = shipped.witnesses.clone();
    assert_eq!((whole.checks.len(), whole.hooks.len()), (2, 6));
    let keys_alone = "instances: { web: { interface: eth0, vrid: 51, addresses: [192.0.2.10/24], \
                      auth: { keys: { 1: /etc/vipward/keys/web } } } }";
    let defaults = config::parse(&path, keys_alone, "lb1").unwrap();
    let [defaults] = &defaults.settings.instances[..] else {
        panic!("one instance")
    };
    assert_eq!(whole.authentication, defaults.authentication);
    whole.authentication = shipped.authentication.clone();
    assert_eq!((whole.routes.len(), whole.rules.len()), (2, 2));
    whole.routes.clear();
    whole.rules.clear();
    whole.checks.clear();
    whole.hooks.clear();
    assert_eq!(&whole, shipped);
}
