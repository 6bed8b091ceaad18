//! Writes the events of the feed into the files.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::file::{FILE, FILE_BYTES_MAX, OLD_FILE};
use super::line;
use crate::control::events::fact::AgentFact;
use crate::control::events::feed::{Batch, Feed, Kept};
use crate::control::events::recorder::Recorder;
use crate::control::own_file;

/// From one try to write to the next, while it fails.
const PAUSE: Duration = Duration::from_secs(2);
/// So long at most it is waited for an event.
const PATIENCE: Duration = Duration::from_secs(3600);

pub struct Writer {
    directory: PathBuf,
    feed: Arc<Feed>,
    recorder: Recorder,
}

impl Writer {
    pub fn new(directory: &Path, feed: Arc<Feed>, recorder: Recorder) -> Self {
        Self {
            directory: directory.to_owned(),
            feed,
            recorder,
        }
    }

    /// Until the feed is closed. `written`: the last one that needs no writing.
    pub fn follow(self, mut written: u64) {
        let mut failing = false;
        loop {
            let Batch {
                kept,
                missed,
                closed,
            } = self.feed.batch(written, PATIENCE);
            let path = || self.directory.join(FILE);
            match append(&self.directory, &kept) {
                Ok(()) if kept.is_empty() => {}
                Ok(()) => {
                    written = kept.last().map_or(written, |last| last.id);
                    if std::mem::take(&mut failing) || missed > 0 {
                        self.recorder.note(AgentFact::Written {
                            path: path(),
                            lost: missed,
                        });
                    }
                }
                Err(error) => {
                    // Once; it says itself when that is over.
                    if !std::mem::replace(&mut failing, true) {
                        self.recorder.note(AgentFact::Unwritten {
                            path: path(),
                            error: error.to_string(),
                        });
                    }
                    if !closed {
                        thread::sleep(PAUSE);
                    }
                }
            }
            if closed {
                return;
            }
        }
    }
}

/// All of them or none. The files are opened anew each time: somebody may have
/// removed them, or put the directory elsewhere.
fn append(directory: &Path, kept: &[Arc<Kept>]) -> io::Result<()> {
    if kept.is_empty() {
        return Ok(());
    }
    let mut text = Vec::new();
    for one in kept {
        line::write(&one.line, &mut text);
    }
    fs::create_dir_all(directory)?;
    let path = directory.join(FILE);
    let mut file = open(&path)?;
    let mut end = whole_end(&mut file)?;
    let more = u64::try_from(text.len()).unwrap_or(u64::MAX);
    if end > 0 && end.saturating_add(more) > FILE_BYTES_MAX {
        fs::rename(&path, directory.join(OLD_FILE))?;
        file = open(&path)?;
        end = 0;
    }
    file.seek(SeekFrom::Start(end))?;
    let written = file.write_all(&text).and_then(|()| file.sync_data());
    if end == 0 && written.is_ok() {
        // Its name, too.
        File::open(directory)?.sync_all()?;
    }
    if written.is_err() {
        // A full disk has taken a part. What stays is skipped by its digest.
        let _ = file.set_len(end);
    }
    written
}

fn open(path: &Path) -> io::Result<File> {
    let file = own_file::open_or_make(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no ordinary file"));
    }
    Ok(file)
}

/// Where the next line begins. What a torn write left at the end is cut off.
fn whole_end(file: &mut File) -> io::Result<u64> {
    let length = file.metadata()?.len();
    let mut end = length;
    let mut block = [0; 4096];
    while end > 0 {
        let start = end.saturating_sub(4096);
        let part = usize::try_from(end - start).unwrap_or(0);
        let part = block.get_mut(..part).unwrap_or_default();
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(part)?;
        if let Some(last) = part.iter().rposition(|byte| *byte == b'\n') {
            end = start + u64::try_from(last).unwrap_or(0) + 1;
            break;
        }
        end = start;
    }
    if end < length {
        file.set_len(end)?;
    }
    Ok(end)
}
