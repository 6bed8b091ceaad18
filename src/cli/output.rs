//! Writing to the terminal without a panic when nobody reads.

use std::io::{self, ErrorKind, Write};

/// Writes to standard output. A reader that has gone (`vipward status | head`)
/// has seen what it wanted: that is no error.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome,
    }
}

/// Writes one line to standard error.
pub fn complain(sentence: &str) {
    // There is nowhere left to report that this failed.
    let _ = writeln!(io::stderr(), "vipward: {sentence}");
}
