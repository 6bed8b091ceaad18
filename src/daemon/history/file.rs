//! Reads the two files, whatever is in them.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::line;
use crate::control::events::feed;
use crate::control::events::record::Record;

/// What is written now.
pub const FILE: &str = "events.log";
/// What was written before that.
pub const OLD_FILE: &str = "events.log.1";
/// Then it becomes the old one: together the files are never larger than
/// twice this.
pub const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Read of one file, should somebody have made it larger.
const READ_MAX: u64 = 4 * FILE_BYTES_MAX;

/// What the files say.
#[derive(Debug, Default)]
pub struct Past {
    /// By identifier; the latest that memory has room for.
    pub records: Vec<Record>,
    /// Files with lines that say nothing any more, and how many.
    pub damaged: Vec<(PathBuf, usize)>,
    /// Files that could not be read, and why.
    pub problems: Vec<String>,
}

/// Never fails: what cannot be read is named in what is returned.
pub fn read(directory: &Path) -> Past {
    let mut past = Past::default();
    for name in [OLD_FILE, FILE] {
        let path = directory.join(name);
        match read_file(&path) {
            Ok((records, 0)) => past.records.extend(records),
            Ok((records, damaged)) => {
                past.records.extend(records);
                past.damaged.push((path, damaged));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                let path = path.display();
                past.problems
                    .push(format!("{path} cannot be read: {error}"));
            }
        }
    }
    past.records.sort_by_key(|record| record.id);
    past.records.dedup_by_key(|record| record.id);
    let surplus = past.records.len().saturating_sub(feed::EVENTS_MAX);
    past.records.drain(..surplus);
    past
}

fn read_file(path: &Path) -> io::Result<(Vec<Record>, usize)> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no ordinary file"));
    }
    read_lines(file)
}

fn read_lines(file: File) -> io::Result<(Vec<Record>, usize)> {
    let mut bytes = Vec::new();
    BufReader::new(file.take(READ_MAX)).read_to_end(&mut bytes)?;
    let mut records = Vec::new();
    let mut damaged = 0;
    let lines = bytes.split(|byte| *byte == b'\n');
    for text in lines.filter(|text| !text.is_empty()) {
        match line::read(text) {
            Some(record) => records.push(record),
            None => damaged += 1,
        }
    }
    Ok((records, damaged))
}
