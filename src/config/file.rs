//! The bytes of a configuration file: bounded, never waiting, and text.

use std::fs::{File, FileType, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use super::fault::{Faults, quoted};

/// Enough for ten thousand instances; more was never meant to be read.
const BYTES_MAX: u64 = 4 * 1024 * 1024;

/// The text of a regular file of at most 4 MiB, without a byte order mark.
pub(super) fn text(path: &Path) -> Result<String, Faults> {
    text_of(path, &YAML)
}

/// What a file should have been, for messages.
pub(super) struct Wanted {
    pub called: &'static str,
    pub missing: &'static str,
}

const YAML: Wanted = Wanted {
    called: "YAML",
    missing: "check the path, or write the file: config.example.yaml is a start",
};

/// As [`text`], of another kind of file.
pub(super) fn text_of(path: &Path, wanted: &Wanted) -> Result<String, Faults> {
    let called = wanted.called;
    let bytes = bytes(path, wanted)?;
    let fault = |what: &str, help: &str| Faults::of_file(path, what, help);
    let utf16 = [[0xff, 0xfe], [0xfe, 0xff]];
    if utf16.iter().any(|mark| bytes.starts_with(mark)) {
        return Err(fault("the file is UTF-16", "save it as UTF-8"));
    }
    if bytes.contains(&0) {
        let what = format!("the file is binary, not {called}");
        return Err(fault(&what, &format!("give the {called} file")));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let before = error.as_bytes().get(..good).unwrap_or_default();
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        let what = format!("the file is not UTF-8 text: line {line} holds a byte that is none");
        fault(&what, "save it as UTF-8")
    })?;
    Ok(match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    })
}

fn bytes(path: &Path, wanted: &Wanted) -> Result<Vec<u8>, Faults> {
    let failed = |error: std::io::Error| {
        let what = format!("cannot read the file: {error}");
        let help = match error.kind() {
            ErrorKind::NotFound => wanted.missing,
            ErrorKind::PermissionDenied => "read it as root, or let this user read it",
            _ => "nothing was changed",
        };
        Faults::of_file(path, what, help)
    };
    // Before it is opened, since opening a device can have effects, and again
    // after, since it may have become another meanwhile.
    let kind = std::fs::metadata(path).map_err(failed)?.file_type();
    regular(path, kind)?;
    // Opening a FIFO would wait for its writer.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)
        .map_err(failed)?;
    let meta = file.metadata().map_err(failed)?;
    regular(path, meta.file_type())?;
    if meta.len() > BYTES_MAX {
        return Err(too_big(path, meta.len(), wanted));
    }
    let mut bytes = Vec::new();
    let mut bounded = File::take(file, BYTES_MAX + 1);
    bounded.read_to_end(&mut bytes).map_err(failed)?;
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    match length > BYTES_MAX {
        true => Err(too_big(path, length, wanted)),
        false => Ok(bytes),
    }
}

fn too_big(path: &Path, length: u64, wanted: &Wanted) -> Faults {
    let what = format!("the file has {length} bytes, and a configuration at most {BYTES_MAX}");
    let help = format!(
        "give the {} file; was this a log or an image?",
        wanted.called
    );
    Faults::of_file(path, what, &help)
}

fn regular(path: &Path, kind: FileType) -> Result<(), Faults> {
    let what = match kind {
        _ if kind.is_file() => return Ok(()),
        _ if kind.is_dir() => "a directory",
        _ if kind.is_fifo() => "a FIFO",
        _ if kind.is_socket() => "a socket",
        _ if kind.is_char_device() || kind.is_block_device() => "a device",
        _ => "no regular file",
    };
    let help = match kind.is_dir() {
        true => format!(
            "give the file in it, such as {}",
            quoted(&path.join("config.yaml").display().to_string())
        ),
        false => "give a regular file".to_owned(),
    };
    Err(Faults::of_file(path, format!("the path is {what}"), &help))
}
