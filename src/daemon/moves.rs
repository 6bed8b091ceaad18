//! What operators ordered and must outlive this agent: drains and hand-overs,
//! written down by a thread of its own before anything is given up.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::whole_file;
use crate::agent::event::Event;
use crate::agent::moves::{DrainEnd, Kept, Yielded};
use crate::agent::time::WallTime;
use crate::agent::values::{InstanceName, NodeName};

/// Orders that may wait; at the bound one is answered as failed.
const ORDERS: usize = 64;
const FORMAT: u8 = 1;
const FILE: &str = "moves.json";
/// 4,000 instances with the longest names make a megabyte.
const FILE_BYTES_MAX: usize = 8 * 1024 * 1024;

#[derive(Debug, Serialize, Deserialize)]
struct MovesFile {
    format: u8,
    drained: Vec<DrainedEntry>,
    yielded: Vec<YieldedEntry>,
}

#[derive(Debug, Serialize, Deserialize)]
struct DrainedEntry {
    instance: String,
    /// Milliseconds since 1970; absent: until it is undrained.
    until_ms: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
struct YieldedEntry {
    instance: String,
    node: String,
    /// Not known, or not written by an earlier version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<IpAddr>,
}

/// The file, and who writes it.
#[derive(Debug)]
pub struct Mover {
    orders: SyncSender<(u64, Kept)>,
}

impl Mover {
    /// # Errors
    ///
    /// No thread could be had.
    pub fn start(directory: &Path, events: mpsc::Sender<Event<'static>>) -> io::Result<Self> {
        let (orders, wanted) = sync_channel(ORDERS);
        let directory = directory.to_owned();
        thread::Builder::new()
            .name("vip-moves".to_owned())
            .stack_size(256 * 1024)
            .spawn(move || keep(&directory, &wanted, &events))?;
        Ok(Self { orders })
    }

    /// Has it written. An event is returned where that failed at once.
    pub fn keep(&self, serial: u64, kept: Kept) -> Option<Event<'static>> {
        let refused = self.orders.try_send((serial, kept)).err()?;
        let outcome = Err(format!("the disk is too slow: {refused}"));
        Some(Event::Kept { serial, outcome })
    }
}

fn keep(directory: &Path, orders: &Receiver<(u64, Kept)>, events: &mpsc::Sender<Event<'static>>) {
    // Until the agent ends.
    while let Ok((serial, kept)) = orders.recv() {
        let now = wall_clock();
        let outcome = write(directory, &kept, now);
        let outcome = outcome.map(|()| now);
        let outcome = outcome.map_err(|error| format!("{}: {error}", path(directory).display()));
        if events
            .blocking_send(Event::Kept { serial, outcome })
            .is_err()
        {
            return;
        }
    }
}

/// The time of day.
pub fn wall_clock() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let millis = since.map_or(0, |since| since.as_millis());
    WallTime(u64::try_from(millis).unwrap_or(u64::MAX))
}

fn path(directory: &Path) -> PathBuf {
    directory.join(FILE)
}

fn write(directory: &Path, kept: &Kept, now: WallTime) -> io::Result<()> {
    let drained = kept.drained.iter().map(|(instance, end)| DrainedEntry {
        instance: instance.to_string(),
        until_ms: match end {
            DrainEnd::Never => None,
            DrainEnd::After(span) => Some((now + *span).0),
            DrainEnd::At(end) => Some(end.0),
        },
    });
    let yielded = kept.yielded.iter().map(|(instance, yielded)| YieldedEntry {
        instance: instance.to_string(),
        node: yielded.node.to_string(),
        source: yielded.source,
    });
    let file = MovesFile {
        format: FORMAT,
        drained: drained.collect(),
        yielded: yielded.collect(),
    };
    fs::create_dir_all(directory)?;
    let bytes = serde_json::to_vec(&file).map_err(io::Error::other)?;
    whole_file::replace(directory, FILE, &bytes, true)
}

/// As an earlier agent kept it.
///
/// # Errors
///
/// Why the file cannot be used, in words.
pub fn read(directory: &Path) -> Result<Kept, String> {
    let path = path(directory);
    let words = |why: String| format!("{} cannot be used: {why}", path.display());
    let Some(bytes) = whole_file::read(&path, FILE_BYTES_MAX).map_err(words)? else {
        return Ok(Kept::default());
    };
    let file: MovesFile =
        serde_json::from_slice(&bytes).map_err(|error| words(error.to_string()))?;
    if file.format != FORMAT {
        return Err(words(format!("it is of the form {}", file.format)));
    }
    let drained = file.drained.into_iter().map(|entry| {
        let end = entry.until_ms.map(|at| DrainEnd::At(WallTime(at)));
        let name = InstanceName::new(&entry.instance);
        (name, end.unwrap_or(DrainEnd::Never))
    });
    let yielded = file.yielded.into_iter().map(|entry| {
        let yielded = Yielded {
            node: NodeName::new(&entry.node),
            source: entry.source,
        };
        (InstanceName::new(&entry.instance), yielded)
    });
    Ok(Kept {
        drained: drained.collect(),
        yielded: yielded.collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_was_kept_is_read_again() {
        let folder = tempfile::TempDir::new().unwrap();
        let directory = folder.path().join("made/when/needed");
        assert_eq!(read(&directory), Ok(Kept::default()));
        let (events, mut kept_events) = mpsc::channel(1);
        let mover = Mover::start(&directory, events).unwrap();
        let web = InstanceName::new("web");
        let kept = Kept {
            drained: vec![
                (InstanceName::new("db"), DrainEnd::Never),
                (web.clone(), DrainEnd::After(Duration::from_hours(2))),
            ],
            yielded: [None, Some("192.0.2.7".parse().unwrap())]
                .map(|source| {
                    let node = NodeName::new("lb2");
                    (web.clone(), Yielded { node, source })
                })
                .into(),
        };
        assert!(mover.keep(7, kept.clone()).is_none());
        let Some(Event::Kept {
            serial: 7,
            outcome: Ok(at),
        }) = kept_events.blocking_recv()
        else {
            panic!("not written");
        };
        let mut expected = kept;
        expected.drained[1].1 = DrainEnd::At(at + Duration::from_hours(2));
        assert_eq!(read(&directory), Ok(expected));
    }

    #[test]
    fn what_cannot_be_written_is_told() {
        let folder = tempfile::TempDir::new().unwrap();
        let blocked = folder.path().join("a-file");
        fs::write(&blocked, "").unwrap();
        let (events, mut kept_events) = mpsc::channel(1);
        let mover = Mover::start(&blocked, events).unwrap();
        assert!(mover.keep(1, Kept::default()).is_none());
        let Some(Event::Kept {
            outcome: Err(error),
            ..
        }) = kept_events.blocking_recv()
        else {
            panic!("written into a file that is no directory");
        };
        assert!(error.contains("a-file/moves.json"), "{error}");
    }

    #[test]
    fn a_broken_file_is_told_and_not_believed() {
        let folder = tempfile::TempDir::new().unwrap();
        for text in [
            "",
            "{",
            "[]",
            "{\"format\":2,\"drained\":[],\"yielded\":[]}",
            "\u{0}",
        ] {
            fs::write(folder.path().join(FILE), text).unwrap();
            let error = read(folder.path()).unwrap_err();
            assert!(error.contains("moves.json cannot be used"), "{error}");
        }
    }
}
