//! The command itself: what goes where, and how it ends.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use tempfile::TempDir;

use crate::kit::instance;

struct Ran {
    code: i32,
    out: String,
    err: String,
}

fn vipward(arguments: &[&str]) -> Ran {
    let mut command = Command::cargo_bin("vipward").expect("the binary");
    let output = command.args(arguments).output().expect("it runs");
    Ran {
        code: output.status.code().expect("an exit code"),
        out: String::from_utf8(output.stdout).expect("text"),
        err: String::from_utf8(output.stderr).expect("text"),
    }
}

fn written(folder: &TempDir, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, bytes).expect("a file");
    path
}

fn import(path: &Path, more: &[&str]) -> Ran {
    let mut arguments = vec!["import", path.to_str().expect("a path")];
    arguments.extend(more);
    vipward(&arguments)
}

#[test]
fn a_whole_file_exits_0_and_its_result_passes_validate() {
    let folder = TempDir::new().unwrap();
    let file = written(&folder, "k.conf", instance("priority 150\nstate MASTER"));
    let ran = import(&file, &[]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.err.contains("k.conf:6 `state MASTER`"), "{}", ran.err);
    assert!(!ran.err.contains("to be done by hand"), "{}", ran.err);
    let yaml = written(&folder, "config.yaml", &ran.out);
    let judged = vipward(&["validate", yaml.to_str().unwrap()]);
    assert_eq!(judged.code, 0, "{}", judged.err);
    assert!(judged.out.contains("OK, 1 instance"), "{}", judged.out);
}

#[test]
fn something_left_exits_3_and_is_listed() {
    let folder = TempDir::new().unwrap();
    let file = written(&folder, "k.conf", instance("no_accept"));
    let ran = import(&file, &[]);
    assert_eq!(ran.code, 3, "{}", ran.err);
    assert!(
        ran.err.contains("Not carried over, to be done by hand:"),
        "{}",
        ran.err
    );
    assert!(ran.out.contains("# Not carried over"), "{}", ran.out);
}

#[test]
fn nothing_to_write_exits_1() {
    let folder = TempDir::new().unwrap();
    let lvs = written(&folder, "lvs.conf", "virtual_server 10.0.0.1 80 {\n}\n");
    let ran = import(&lvs, &[]);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    assert!(ran.err.contains("load balancing"), "{}", ran.err);
    assert!(ran.err.contains("nothing was written"), "{}", ran.err);
    let broken = written(&folder, "broken.conf", "vrrp_instance a {\n");
    let ran = import(&broken, &[]);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    assert!(ran.err.contains("broken.conf:1:17"), "{}", ran.err);
}

#[test]
fn what_is_no_file_of_keepalived() {
    let folder = TempDir::new().unwrap();
    let cases = [
        (
            written(&folder, "binary", b"\x7fELF\0\0\0"),
            "binary, not keepalived.conf",
        ),
        (
            written(&folder, "latin1", b"# caf\xe9\n"),
            "line 1 holds a byte that is none",
        ),
        (folder.path().join("none"), "No such file"),
        (folder.path().to_owned(), "the path is a directory"),
    ];
    for (path, expected) in cases {
        let ran = import(&path, &[]);
        assert_eq!((ran.code, ran.out.as_str()), (1, ""));
        assert!(ran.err.contains(expected), "{expected}: {}", ran.err);
    }
    // 50 MB that are never read.
    let huge = folder.path().join("huge");
    fs::File::create(&huge)
        .unwrap()
        .set_len(50_000_000)
        .unwrap();
    let ran = import(&huge, &[]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("50000000 bytes"), "{}", ran.err);
}

#[test]
fn files_are_included_from_the_disk() {
    let folder = TempDir::new().unwrap();
    fs::create_dir(folder.path().join("conf.d")).unwrap();
    written(&folder, "conf.d/a.conf", instance("include ../p.inc"));
    written(&folder, "p.inc", "priority 42\n");
    let file = written(&folder, "k.conf", "include conf.d/*.conf\n");
    let ran = import(&file, &[]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains("priority: 42"), "{}", ran.out);
    written(&folder, "p.inc", "include conf.d/a.conf\n");
    let ran = import(&file, &[]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("includes itself"), "{}", ran.err);
}

#[test]
fn the_output_file_must_be_new() {
    let folder = TempDir::new().unwrap();
    let file = written(&folder, "k.conf", instance(""));
    let target = folder.path().join("config.yaml");
    let target = target.to_str().unwrap();
    let ran = import(&file, &["-o", target]);
    assert_eq!((ran.code, ran.out.as_str()), (0, ""), "{}", ran.err);
    let first = fs::read_to_string(target).unwrap();
    assert!(first.contains("vrid: 51"), "{first}");
    let ran = import(&file, &["-o", target]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.err
            .contains("cannot be created, and nothing was written"),
        "{}",
        ran.err
    );
    assert_eq!(fs::read_to_string(target).unwrap(), first);
}

#[test]
fn lines_for_other_hosts() {
    let folder = TempDir::new().unwrap();
    let file = written(
        &folder,
        "k.conf",
        instance("@a priority 150\n@b priority 90"),
    );
    for (id, priority) in [("a", 150), ("b", 90), ("c", 100)] {
        let ran = import(&file, &["--config-id", id]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        assert!(
            ran.out.contains(&format!("priority: {priority}\n")),
            "{}",
            ran.out
        );
    }
}

#[test]
fn scripts_are_looked_for_on_this_host_unless_the_file_is_of_another() {
    let folder = TempDir::new().unwrap();
    let file = written(&folder, "k.conf", instance("notify_master /nowhere/at-all"));
    let ran = import(&file, &[]);
    assert_eq!(ran.code, 3);
    let err: Vec<&str> = ran.err.split_whitespace().collect();
    assert!(
        err.join(" ")
            .contains("/nowhere does not exist, and /nowhere/at-all leads there"),
        "{}",
        ran.err
    );
    assert!(!ran.out.contains("run: [/nowhere/at-all]"), "{}", ran.out);
    let ran = import(&file, &["--elsewhere"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(
        ran.out
            .contains("active: { run: [/nowhere/at-all], user: root }"),
        "{}",
        ran.out
    );
}

#[test]
fn help_tells_the_exit_codes() {
    let ran = vipward(&["import", "--help"]);
    assert!(ran.out.contains("Exit code 0"), "{}", ran.out);
}

const KEY: &str = "hex:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

#[test]
fn keys_in_the_file_become_key_files() {
    let folder = TempDir::new().unwrap();
    let lines = format!("auth_hmac {{\n key 3 {KEY}\n active_key 3\n}}");
    let file = written(&folder, "k.conf", instance(&lines));
    let ran = import(&file, &[]);
    assert_eq!(ran.code, 3, "{}", ran.err);
    assert!(ran.err.contains("--keys"), "{}", ran.err);
    assert!(!ran.err.contains(KEY) && !ran.out.contains(KEY), "shown");

    let keys = folder.path().join("new/keys");
    let asked = ["--keys", keys.to_str().unwrap()];
    let ran = import(&file, &asked);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(!ran.err.contains(KEY) && !ran.out.contains(KEY), "shown");
    let kept: Vec<_> = fs::read_dir(&keys).unwrap().map(|e| e.unwrap()).collect();
    assert_eq!(kept.len(), 1);
    let mode = kept[0].metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(fs::read_to_string(kept[0].path()).unwrap(), KEY);
    let yaml = written(&folder, "config.yaml", &ran.out);
    let judged = vipward(&["validate", yaml.to_str().unwrap()]);
    assert_eq!(judged.code, 0, "{}", judged.err);

    // Nothing that is there is overwritten, and it is said.
    let again = import(&file, &asked);
    assert_eq!(again.code, 3, "{}", again.err);
    assert!(again.err.contains("could not be written"), "{}", again.err);
    assert_eq!(fs::read_to_string(kept[0].path()).unwrap(), KEY);
}

#[test]
fn an_import_that_fails_leaves_no_key_file() {
    let folder = TempDir::new().unwrap();
    let lines = format!("auth_hmac {{\n key 3 {KEY}\n active_key 3\n}}");
    let file = written(&folder, "k.conf", instance(&lines));
    let there = written(&folder, "config.yaml", "there already");
    let keys = folder.path().join("keys");
    let asked = [
        "--keys",
        keys.to_str().unwrap(),
        "-o",
        there.to_str().unwrap(),
    ];
    let ran = import(&file, &asked);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert_eq!(fs::read_dir(&keys).unwrap().count(), 0);
}
