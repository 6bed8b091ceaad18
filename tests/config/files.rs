//! What is no configuration file at all: one clear error each, and never a
//! wait.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use tempfile::TempDir;
use vipward::config::{self, Loaded};

/// On a thread of its own, so that a wait fails the test instead of it.
fn load(path: &Path) -> Result<Loaded, String> {
    let (send, receive) = mpsc::channel();
    let path = path.to_owned();
    std::thread::spawn(move || send.send(config::load(&path)).is_ok());
    let outcome = receive.recv_timeout(Duration::from_secs(20));
    outcome.expect("an answer in time").map_err(|faults| {
        assert_eq!(faults.count(), 1, "{faults}");
        faults.to_string()
    })
}

fn refused(path: &Path, what: &str) {
    let message = load(path).expect_err(what);
    assert!(message.contains(what), "{what}: {message}");
    assert!(message.contains(&path.display().to_string()), "{message}");
}

fn written(folder: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    path
}

const SOUND: &[u8] = b"instances:\n  web: { interface: eth0, vrid: 51, priority: 150, addresses: [192.0.2.10/24] }\n";

#[test]
fn a_sound_file_is_read_with_or_without_a_byte_order_mark() {
    let folder = TempDir::new().unwrap();
    let plain = load(&written(&folder, "plain", SOUND)).unwrap();
    let marked = load(&written(
        &folder,
        "marked",
        &[b"\xef\xbb\xbf", SOUND].concat(),
    ))
    .unwrap();
    assert_eq!(plain.settings, marked.settings);
    assert_eq!(plain.digest, marked.digest);
    assert_eq!(
        plain.settings.node,
        nix::unistd::gethostname().unwrap().to_str().unwrap()
    );
}

#[test]
fn a_missing_file() {
    let folder = TempDir::new().unwrap();
    refused(&folder.path().join("none.yaml"), "No such file");
    refused(&folder.path().join("none/none.yaml"), "No such file");
    let file = written(&folder, "file", SOUND);
    refused(&file.join("config.yaml"), "Not a directory");
}

#[test]
fn what_is_no_regular_file() {
    let folder = TempDir::new().unwrap();
    refused(folder.path(), "the path is a directory");
    let fifo = folder.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    refused(&fifo, "the path is a FIFO");
    let socket = folder.path().join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    refused(&socket, "the path is a socket");
    refused(Path::new("/dev/zero"), "the path is a device");
    refused(Path::new("/dev/null"), "the path is a device");
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&link, &link).unwrap();
    refused(&link, "cannot read the file");
}

#[test]
fn what_is_no_text() {
    let folder = TempDir::new().unwrap();
    refused(&written(&folder, "empty", b""), "the file is empty");
    refused(
        &written(&folder, "elf", b"\x7fELF\x02\x01\x01\0\0\0"),
        "the file is binary",
    );
    refused(
        &written(&folder, "utf16", b"\xff\xfei\0n\0"),
        "the file is UTF-16",
    );
    refused(
        &written(&folder, "latin1", b"node: lb1\n# f\xfcr"),
        "line 2 holds a byte",
    );
}

#[test]
fn a_huge_file_is_not_read() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("huge");
    fs::File::create(&path)
        .unwrap()
        .set_len(100 * 1024 * 1024)
        .unwrap();
    refused(&path, "104857600 bytes");
    // A kernel file that says it has no length and never ends would be cut off
    // by the bound on reading; one that fails says so.
    refused(Path::new("/proc/self/mem"), "cannot read the file");
}

#[test]
fn the_largest_files_get_an_answer_in_time() {
    let folder = TempDir::new().unwrap();
    let megabytes = 4 * 1024 * 1024;
    for (name, line) in [
        ("keys", "a: b\n"),
        ("list", "- a\n"),
        ("flow", "[{a: "),
        ("prose", "a b\n"),
    ] {
        let text = line.repeat(megabytes / line.len());
        let path = written(&folder, name, text.as_bytes());
        let (send, receive) = mpsc::channel();
        std::thread::spawn(move || {
            let message = config::load(&path).map_err(|faults| faults.to_string());
            send.send(message).is_ok()
        });
        let outcome = receive.recv_timeout(Duration::from_secs(60)).expect(name);
        let message = outcome.expect_err(name);
        assert!(message.len() < 500_000, "{name}: {} bytes", message.len());
    }
}

#[test]
fn a_thousand_instances_are_a_normal_configuration() {
    let instance = |number: usize| {
        format!(
            "  i{number}:\n    interface: eth{}\n    vrid: {}\n    priority: 150\n    addresses:\n      \
             - 10.{}.{}.1/24\n      - 10.{}.{}.2/24\n",
            number / 250,
            number % 250 + 1,
            number / 250,
            number % 250,
            number / 250,
            number % 250,
        )
    };
    let text: String = (0..1000).map(instance).collect();
    let folder = TempDir::new().unwrap();
    let path = written(&folder, "many", format!("instances:\n{text}").as_bytes());
    assert_eq!(load(&path).unwrap().settings.instances.len(), 1000);
}

#[test]
fn an_unreadable_file() {
    let folder = TempDir::new().unwrap();
    let path = written(&folder, "secret", SOUND);
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o000);
    fs::set_permissions(&path, mode).unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(folder.path(), open).unwrap();
    // Root reads everything; this thread gives that right up for files.
    let nobody = std::thread::spawn(move || {
        nix::unistd::setfsuid(nix::unistd::Uid::from_raw(65534));
        config::load(&path).map_err(|faults| faults.to_string())
    });
    let message = nobody.join().unwrap().expect_err("refused");
    assert!(message.contains("Permission denied"), "{message}");
    assert!(message.contains("read it as root"), "{message}");
}

#[test]
fn any_bytes_get_an_answer() {
    use proptest::prelude::*;
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("bytes");
    proptest!(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(100) },
    |(bytes in proptest::collection::vec(any::<u8>(), 0..300))| {
        fs::write(&path, bytes).unwrap();
        if let Err(faults) = config::load(&path) {
            prop_assert!(faults.to_string().contains("bytes"));
        }
    });
}
