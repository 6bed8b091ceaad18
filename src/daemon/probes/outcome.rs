//! How a probe ends, and how what others sent is made fit to be shown.

use std::io;
use std::sync::{Mutex, PoisonError};

/// Bytes of a first line that are kept.
pub(super) const OUTPUT_BYTES_MAX: usize = 256;

/// Why a probe did not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The service's: a sentence.
    Failed(String),
    /// The service's: a sentence, and the first line of what it said.
    Answered(String, String),
    /// This host's own: says nothing about the service.
    NotRun(String),
}

/// What a probe is waiting for: said when its time is over.
#[derive(Debug, Default)]
pub(super) struct Doing(Mutex<String>);

impl Doing {
    pub fn now(&self, what: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = what;
    }

    pub fn take(&self) -> String {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// This host lacks what a socket needs; the service may be well.
pub(super) fn own_shortage(error: &io::Error) -> Option<Trouble> {
    let why = match error.raw_os_error()? {
        libc::EMFILE => "this process has too many open files",
        libc::ENFILE => "this host has too many open files",
        libc::ENOBUFS | libc::ENOMEM => "this host has no memory for a socket",
        _ => return None,
    };
    Some(Trouble::NotRun(why.to_owned()))
}

/// The first line that is not empty, when it is printable text.
pub(super) fn first_line(bytes: &[u8]) -> String {
    let line = bytes
        .split(|byte| *byte == b'\n' || *byte == b'\r')
        .map(<[u8]>::trim_ascii)
        .find(|line| !line.is_empty())
        .unwrap_or_default();
    let text = match std::str::from_utf8(line) {
        Ok(text) => text,
        // Cut within a character is text, anything else is not.
        Err(error) if error.error_len().is_none() => {
            let whole = line.get(..error.valid_up_to()).unwrap_or_default();
            std::str::from_utf8(whole).unwrap_or_default()
        }
        Err(_) => "",
    };
    if text.chars().any(char::is_control) {
        return String::new();
    }
    cut(text).to_owned()
}

/// At most [`OUTPUT_BYTES_MAX`], whole characters.
fn cut(text: &str) -> &str {
    let mut end = text.len().min(OUTPUT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// Text from outside within a sentence: no line breaks, no escapes, not long.
pub(super) fn quoted(text: &str) -> String {
    let shown: String = text.escape_debug().take(OUTPUT_BYTES_MAX).collect();
    format!("`{shown}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_printable_first_line_is_kept() {
        assert_eq!(first_line(b"\r\n  all is well \r\nmore"), "all is well");
        assert_eq!(first_line(b""), "");
        assert_eq!(first_line(b"\x1b[31mred"), "");
        assert_eq!(first_line(b"\xff\xfe"), "");
        assert_eq!(first_line("gr\u{fc}n".as_bytes()), "gr\u{fc}n");
        assert_eq!(first_line(&"gr\u{fc}n".as_bytes()[..3]), "gr");
        let long = "\u{e4}".repeat(200);
        assert_eq!(first_line(long.as_bytes()), "\u{e4}".repeat(128));
        let odd = format!("x{long}");
        assert_eq!(first_line(odd.as_bytes()).len(), 255);
    }
}
