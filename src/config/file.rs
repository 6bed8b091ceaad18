//! The bytes of a configuration file: bounded, never waiting, and text.

use std::fs::{File, FileType, Metadata, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use super::fault::quoted;

/// Enough for ten thousand instances; more was never meant to be read.
pub(super) const BYTES_MAX: u64 = 4 * 1024 * 1024;

/// What was read.
pub(super) struct Contents {
    pub text: String,
    /// Device and inode: which file it is, whatever its name.
    pub identity: (u64, u64),
    /// Anybody may write to it.
    pub open_to_all: bool,
}

/// Why a file cannot be read, and what to do.
pub(super) struct Refusal {
    pub kind: RefusalKind,
    pub what: String,
    pub help: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RefusalKind {
    Missing,
    Directory,
    Other,
}

fn refusal(what: impl Into<String>, help: impl Into<String>) -> Refusal {
    Refusal {
        kind: RefusalKind::Other,
        what: what.into(),
        help: help.into(),
    }
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

/// The text of a regular file of at most 4 MiB, without a byte order mark.
pub(super) fn read(path: &Path) -> Result<Contents, Refusal> {
    read_as(path, &YAML)
}

/// As [`read`], of another kind of file.
pub(super) fn read_as(path: &Path, wanted: &Wanted) -> Result<Contents, Refusal> {
    let (bytes, meta) = bytes(path, wanted)?;
    Ok(Contents {
        text: text(bytes, wanted)?,
        identity: (meta.dev(), meta.ino()),
        open_to_all: meta.mode() & 0o002 != 0,
    })
}

fn text(bytes: Vec<u8>, wanted: &Wanted) -> Result<String, Refusal> {
    let called = wanted.called;
    let fault = |what: &str, help: &str| refusal(what, help);
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

fn bytes(path: &Path, wanted: &Wanted) -> Result<(Vec<u8>, Metadata), Refusal> {
    let failed = |error: std::io::Error| {
        let what = format!("cannot read the file: {error}");
        let help = match error.kind() {
            ErrorKind::NotFound => wanted.missing,
            ErrorKind::PermissionDenied => "read it as root, or let this user read it",
            _ => "nothing was changed",
        };
        Refusal {
            kind: match error.kind() {
                ErrorKind::NotFound => RefusalKind::Missing,
                _ => RefusalKind::Other,
            },
            ..refusal(what, help)
        }
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
        return Err(too_big(meta.len(), wanted));
    }
    let mut bytes = Vec::new();
    let mut bounded = File::take(file, BYTES_MAX + 1);
    bounded.read_to_end(&mut bytes).map_err(failed)?;
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    match length > BYTES_MAX {
        true => Err(too_big(length, wanted)),
        false => Ok((bytes, meta)),
    }
}

fn too_big(length: u64, wanted: &Wanted) -> Refusal {
    let what = format!("the file has {length} bytes, and a configuration at most {BYTES_MAX}");
    let called = wanted.called;
    refusal(
        what,
        format!("give the {called} file; was this a log or an image?"),
    )
}

fn regular(path: &Path, kind: FileType) -> Result<(), Refusal> {
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
    Err(Refusal {
        kind: match kind.is_dir() {
            true => RefusalKind::Directory,
            false => RefusalKind::Other,
        },
        ..refusal(format!("the path is {what}"), help)
    })
}
