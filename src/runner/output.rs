//! What a script printed: its first line is kept, the rest drained.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::sync::Semaphore;

/// Of the first line that is kept.
pub const LINE_BYTES_MAX: usize = 256;
/// Read at once; a pipe holds no more by default.
const CHUNK_BYTES: usize = 64 * 1024;
/// What is still read after the end of a script, in search of a first line.
const REST_READS_MAX: usize = 4;

/// Pipes that are read after the end of their hook, for what it left running.
/// At the bound the pipe is closed: printing is then the end of that.
static LEFT: Semaphore = Semaphore::const_new(256);
const LEFT_CHUNK_BYTES: usize = 4096;

/// The reading end of the pipe that is a script's stdout and stderr.
#[derive(Debug)]
pub struct Output {
    /// Absent once everybody closed the other end.
    pipe: Option<pipe::Receiver>,
    chunk: Vec<u8>,
    line: Vec<u8>,
    /// The end of the line was seen, or as much as is kept.
    complete: bool,
}

impl Output {
    /// An error outside of a tokio runtime.
    pub fn new(pipe: OwnedFd) -> io::Result<Self> {
        Ok(Self {
            pipe: Some(pipe::Receiver::from_owned_fd(pipe)?),
            chunk: vec![0; CHUNK_BYTES],
            line: Vec::new(),
            complete: false,
        })
    }

    /// Reads for ever, so that the script never waits for a full pipe. Safe
    /// to be given up.
    pub async fn drain(&mut self) {
        self.drain_to_end().await;
        std::future::pending().await
    }

    async fn drain_to_end(&mut self) {
        while let Some(pipe) = &mut self.pipe {
            match pipe.read(&mut self.chunk).await {
                Ok(0) => self.pipe = None,
                Ok(length) => {
                    self.take(length);
                    // Others have their turn, however much this one prints.
                    tokio::task::yield_now().await;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.pipe = None,
            }
        }
    }

    /// The first line, from what was read and what is in the pipe right now.
    pub fn finish(mut self) -> String {
        self.first_line()
    }

    /// [`Self::finish`], for a program that may have left something running:
    /// what that prints is read and forgotten, since SIGPIPE would end it.
    pub fn finish_and_drain(mut self) -> String {
        let line = self.first_line();
        if let Ok(place) = LEFT.try_acquire() {
            self.chunk = vec![0; LEFT_CHUNK_BYTES];
            self.complete = true;
            tokio::spawn(async move {
                self.drain_to_end().await;
                drop(place);
            });
        }
        line
    }

    fn first_line(&mut self) -> String {
        for _ in 0..REST_READS_MAX {
            let Some(pipe) = &self.pipe else { break };
            if self.complete {
                break;
            }
            // Not by way of the runtime, which may not have heard of it yet.
            match nix::unistd::read(pipe.as_fd(), &mut self.chunk) {
                Ok(0) | Err(_) => break,
                Ok(length) => self.take(length),
            }
        }
        first_line(&self.line)
    }

    fn take(&mut self, length: usize) {
        if self.complete {
            return;
        }
        let fresh = self.chunk.get(..length).unwrap_or_default();
        let end = fresh.iter().position(|byte| *byte == b'\n');
        let part = fresh.get(..end.unwrap_or(length)).unwrap_or_default();
        // One more than is kept, so that a character is not cut for nothing.
        let room = (LINE_BYTES_MAX + 4).saturating_sub(self.line.len());
        self.line.extend(part.iter().take(room));
        self.complete = end.is_some() || part.len() >= room;
    }
}

/// Text for a terminal and a log: no control characters, nothing that turns
/// the direction of reading, at most [`LINE_BYTES_MAX`] bytes.
fn first_line(bytes: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(bytes)
        .trim_end()
        .chars()
        .map(|c| match c {
            '\t' => ' ',
            _ if c.is_control() || turns_text(c) => char::REPLACEMENT_CHARACTER,
            _ => c,
        })
        .collect();
    let end = text.floor_char_boundary(LINE_BYTES_MAX);
    text.get(..end).unwrap_or_default().to_owned()
}

/// Invisible characters that reorder, join or break what is around them.
fn turns_text(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(b"plain", "plain")]
    #[case(b"carriage return \r", "carriage return")]
    #[case(b"a\tb\x1b[31mc\x00", "a b\u{fffd}[31mc\u{fffd}")]
    #[case(b"latin \xe9", "latin \u{fffd}")]
    #[case("turned \u{202e}txt".as_bytes(), "turned \u{fffd}txt")]
    fn a_line_is_safe_to_show(#[case] bytes: &[u8], #[case] shown: &str) {
        assert_eq!(first_line(bytes), shown);
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        let line = format!("{}€€", "x".repeat(254));
        assert_eq!(first_line(line.as_bytes()), "x".repeat(254));
        let exact = format!("{}€", "x".repeat(253));
        assert_eq!(first_line(exact.as_bytes()), exact);
    }

    async fn through_a_pipe(parts: &[&[u8]]) -> String {
        let (reader, mut writer) = io::pipe().unwrap();
        let mut output = Output::new(reader.into()).unwrap();
        for part in parts {
            io::Write::write_all(&mut writer, part).unwrap();
            let drain = std::time::Duration::from_millis(20);
            let _ = tokio::time::timeout(drain, output.drain()).await;
        }
        output.finish()
    }

    #[tokio::test]
    async fn a_line_comes_in_parts_and_ends_at_its_end() {
        assert_eq!(
            through_a_pipe(&[b"one ", b"line\nand", b" more"]).await,
            "one line"
        );
        assert_eq!(through_a_pipe(&[b"\nsecond"]).await, "");
        let long = [b'x'; 1000];
        assert_eq!(
            through_a_pipe(&[&long, &long, b"\n"]).await.len(),
            LINE_BYTES_MAX
        );
    }

    #[tokio::test]
    async fn what_waits_in_the_pipe_at_the_end_is_read() {
        let (reader, mut writer) = io::pipe().unwrap();
        let output = Output::new(reader.into()).unwrap();
        io::Write::write_all(&mut writer, b"last words\n").unwrap();
        assert_eq!(output.finish(), "last words");
    }
}
