//! What is no file to include: one sentence each, at the place that asks for
//! it, and never a wait.

use std::fs;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use tempfile::TempDir;
use vipward::config::{self, Loaded, Style};

const SOUND: &str =
    "instances:\n  web: { interface: eth0, vrid: 51, priority: 150, addresses: [192.0.2.10/24] }\n";

/// A folder whose `config.yaml` includes this.
fn including(what: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    let text = format!("include: {what}\n{SOUND}");
    fs::write(folder.path().join("config.yaml"), text).unwrap();
    folder
}

/// On a thread of its own, so that a wait fails the test instead of it.
fn load(folder: &TempDir) -> Result<Loaded, String> {
    let (send, receive) = mpsc::channel();
    let path = folder.path().join("config.yaml");
    std::thread::spawn(move || send.send(config::load(&path)).is_ok());
    let outcome = receive.recv_timeout(Duration::from_secs(30));
    outcome.expect("an answer in time").map_err(|faults| {
        assert_eq!(faults.count(), 1, "{faults}");
        let first = faults.iter().next().unwrap();
        first.to_string()
    })
}

#[track_caller]
fn refused(folder: &TempDir, what: &str) {
    let message = load(folder).expect_err(what);
    assert!(message.contains(what), "{what}: {message}");
    let place = format!("{}/config.yaml:1:10: ", folder.path().display());
    assert!(message.starts_with(&place), "{message}");
}

#[test]
fn what_is_no_regular_file() {
    let folder = including("fifo");
    let fifo = folder.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    refused(&folder, "the path is a FIFO");
    refused(&including("/dev/zero"), "the path is a device");
    let folder = including("\"*.d\"");
    fs::create_dir(folder.path().join("x.d")).unwrap();
    refused(&folder, "the path is a directory");
    let folder = including("file/x.yaml");
    fs::write(folder.path().join("file"), "").unwrap();
    refused(&folder, "Not a directory");
    let folder = including("\"file/*.yaml\"");
    fs::write(folder.path().join("file"), "").unwrap();
    refused(&folder, "cannot look into");
}

#[test]
fn what_is_too_much() {
    let folder = including("huge.yaml");
    let huge = fs::File::create(folder.path().join("huge.yaml")).unwrap();
    huge.set_len(100 * 1024 * 1024).unwrap();
    refused(&folder, "104857600 bytes");

    // Each within the bound, and more than that together.
    let folder = including("\"*.part\"");
    let text = format!("#{}\n", "x".repeat(1024 * 1024));
    for part in 0..4 {
        fs::write(folder.path().join(format!("{part}.part")), &text).unwrap();
    }
    refused(&folder, "bytes together");

    let folder = including("\"*.part\"");
    for part in 0..2000 {
        fs::write(folder.path().join(format!("{part}.part")), "# x\n").unwrap();
    }
    refused(&folder, "too many files in one configuration");
    fs::remove_file(folder.path().join("7.part")).unwrap();
    let included = load(&folder).unwrap().included;
    assert_eq!(included.len(), 1999);
    assert!(included[1].ends_with("1.part"), "{included:?}");
    assert!(included[2].ends_with("10.part"), "{included:?}");
}

#[test]
fn keys_and_values_are_counted_over_all_files() {
    let folder = including("[a.yaml, b.yaml]");
    let list = |section: &str| format!("{section}: [{}]\n", "a, ".repeat(130_000));
    fs::write(folder.path().join("a.yaml"), list("checks")).unwrap();
    fs::write(folder.path().join("b.yaml"), list("groups")).unwrap();
    let path = folder.path().join("config.yaml");
    let faults = config::load(&path).unwrap_err().to_string();
    assert!(faults.contains("hold too much together"), "{faults}");
    assert!(faults.contains("b.yaml:1:"), "{faults}");
}

#[test]
fn an_unreadable_file() {
    let folder = including("secret.yaml");
    let secret = folder.path().join("secret.yaml");
    fs::write(&secret, "# x\n").unwrap();
    let mode = |mode| std::os::unix::fs::PermissionsExt::from_mode(mode);
    fs::set_permissions(&secret, mode(0o000)).unwrap();
    fs::set_permissions(folder.path(), mode(0o755)).unwrap();
    let path = folder.path().join("config.yaml");
    // Root reads everything; this thread gives that right up for files.
    let nobody = std::thread::spawn(move || {
        nix::unistd::setfsuid(nix::unistd::Uid::from_raw(65534));
        config::load(&path).map_err(|faults| faults.to_string())
    });
    let message = nobody.join().unwrap().expect_err("refused");
    assert!(message.contains("Permission denied"), "{message}");
    assert!(message.contains("config.yaml:1:10"), "{message}");
}

#[test]
fn a_file_that_everybody_can_write_is_warned_of() {
    let folder = including("open.yaml");
    let open = folder.path().join("open.yaml");
    fs::write(&open, "# x\n").unwrap();
    assert_eq!(load(&folder).unwrap().warnings.len(), 0);
    let everybody = || std::os::unix::fs::PermissionsExt::from_mode(0o666);
    fs::set_permissions(&open, everybody()).unwrap();
    fs::set_permissions(folder.path().join("config.yaml"), everybody()).unwrap();
    let warnings = load(&folder).unwrap().warnings;
    let told: Vec<String> = warnings
        .iter()
        .map(|warning| warning.render(Style::Plain))
        .collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told[0].contains("config.yaml` can be written by everybody"),
        "{told:?}"
    );
    assert!(
        told[1].contains("open.yaml` can be written by everybody"),
        "{told:?}"
    );
    assert!(told[1].contains("config.yaml:1:10"), "{told:?}");
}

#[test]
fn a_link_is_followed_and_its_file_is_included_once() {
    let folder = including("[real.yaml, link.yaml]");
    fs::write(folder.path().join("real.yaml"), "# x\n").unwrap();
    let link = folder.path().join("link.yaml");
    std::os::unix::fs::symlink("real.yaml", link).unwrap();
    let message = load(&folder).expect_err("twice");
    assert!(message.contains("is included twice"), "{message}");
    // A path begins at the file that names it, not at where that leads.
    let other = TempDir::new().unwrap();
    let main = folder.path().join("config.yaml");
    fs::write(&main, format!("include: real.yaml\n{SOUND}")).unwrap();
    std::os::unix::fs::symlink(&main, other.path().join("config.yaml")).unwrap();
    refused(&other, "No such file");
}

#[test]
fn the_digest_is_of_all_files() {
    let folder = including("\"*.part\"");
    let digest = || load(&folder).unwrap().digest;
    let before = digest();
    let part = folder.path().join("a.part");
    fs::write(&part, "# nothing\n").unwrap();
    assert_eq!(digest(), before);
    fs::write(&part, "log: { level: debug }\n").unwrap();
    assert_ne!(digest(), before);
    assert!(load(&folder).unwrap().included[0].ends_with(Path::new("a.part")));
}
