//! A small file that somebody else writes: a number, a process id. Whatever
//! stands there instead, reading it neither waits nor fills the memory.

use std::fs::{File, FileType, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

/// More is no number.
const BYTES_MAX: u64 = 64;
/// Characters that are shown of what is none.
const SHOWN_MAX: usize = 24;

/// The whole number in a file, with or without a sign.
///
/// # Errors
///
/// [`Unread::Empty`], or a sentence that names the file and what is wrong.
pub(super) fn number(path: &Path) -> Result<i64, Unread> {
    let bytes = bytes(path).map_err(Unread::No)?;
    let text = String::from_utf8_lossy(&bytes);
    let text = text.trim();
    if text.is_empty() {
        return Err(Unread::Empty);
    }
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let number = text.parse::<i64>().ok().filter(|_| length <= BYTES_MAX);
    number.ok_or_else(|| {
        let shown: String = text.chars().take(SHOWN_MAX).collect();
        let more = if shown.len() < text.len() { "..." } else { "" };
        Unread::No(format!(
            "{} holds `{}{more}`, which is no whole number",
            path.display(),
            shown.escape_debug()
        ))
    })
}

/// Why there is no number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// Whoever writes it may not have done so yet.
    Empty,
    No(String),
}

impl Unread {
    pub fn words(self, path: &Path) -> String {
        match self {
            Unread::Empty => format!("{} is empty", path.display()),
            Unread::No(why) => why,
        }
    }
}

/// At most one byte more than a number has.
fn bytes(path: &Path) -> Result<Vec<u8>, String> {
    let failed = |error: io::Error| match error.kind() {
        ErrorKind::NotFound => format!("{} does not exist", path.display()),
        _ => format!("{} cannot be read: {error}", path.display()),
    };
    // Before it is opened, since opening a device can have effects, and again
    // after, since it may have become another meanwhile.
    regular(path, std::fs::metadata(path).map_err(failed)?.file_type())?;
    // Opening a FIFO would wait for its writer.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)
        .map_err(failed)?;
    regular(path, file.metadata().map_err(failed)?.file_type())?;
    let mut bytes = Vec::new();
    let mut bounded = File::take(file, BYTES_MAX + 1);
    bounded.read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

fn regular(path: &Path, kind: FileType) -> Result<(), String> {
    let what = match kind {
        _ if kind.is_file() => return Ok(()),
        _ if kind.is_dir() => "a directory",
        _ if kind.is_fifo() => "a FIFO",
        _ if kind.is_socket() => "a socket",
        _ => "a device",
    };
    Err(format!("{} is {what}, not a file", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(content: &[u8]) -> Result<i64, String> {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("n");
        std::fs::write(&path, content).expect("written");
        let shown = path.display().to_string();
        number(&path).map_err(|unread| unread.words(&path).replace(&shown, "F"))
    }

    #[test]
    fn numbers_are_read_with_what_editors_leave_around_them() {
        for (content, number) in [("-20\n", -20), ("+5", 5), (" 7 \r\n", 7), ("-0", 0)] {
            assert_eq!(told(content.as_bytes()), Ok(number), "{content:?}");
        }
    }

    #[test]
    fn what_is_no_number_is_said_in_words() {
        let none = |shown: &str| Err(format!("F holds `{shown}`, which is no whole number"));
        assert_eq!(told(b""), Err("F is empty".to_owned()));
        assert_eq!(told(b" \n"), Err("F is empty".to_owned()));
        for text in ["five", "1.5", "1 2", "0x10", "--1", "9223372036854775808"] {
            assert_eq!(told(text.as_bytes()), none(text));
        }
        assert_eq!(told(b"\x1b[31m"), none("\\u{1b}[31m"));
        assert_eq!(told(&[b'1'; 65]), none(&format!("{}...", "1".repeat(24))));
        assert_eq!(
            told(&vec![b'7'; 50_000_000]),
            none(&format!("{}...", "7".repeat(24)))
        );
    }

    #[test]
    fn what_is_no_file_is_not_waited_for() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("fifo");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("made");
        for (path, what) in [
            (path.as_path(), "is a FIFO, not a file"),
            (directory.path(), "is a directory, not a file"),
            ("/dev/zero".as_ref(), "is a device, not a file"),
            ("/nowhere/n".as_ref(), "does not exist"),
            (
                "/dev/null/n".as_ref(),
                "cannot be read: Not a directory (os error 20)",
            ),
        ] {
            let told = number(path).map_err(|unread| unread.words(path));
            assert_eq!(told, Err(format!("{} {what}", path.display())));
        }
    }
}
