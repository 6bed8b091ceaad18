//! What must survive a restart for the numbers to grow and for captures to
//! stay old: a ceiling of our own numbers, and the marks of others. Written by
//! a thread of its own into the state directory.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::clock;
use crate::agent::authentication::Mark;
use crate::agent::numbers::ceiling::Reach;
use crate::agent::seal::Sequence;
use crate::agent::values::InstanceName;
use crate::daemon::whole_file;

/// Orders that may wait; at the bound one is left out, and given again soon.
const ORDERS: usize = 4;
/// Between two lines about files that cannot be written.
const QUIET: Duration = Duration::from_secs(60);
const FORMAT: u8 = 1;
const SEQUENCE: &str = "sequence.json";
const MARKS: &str = "marks.json";
/// 1,000 instances with 256 marks of 100 bytes each.
const FILE_BYTES_MAX: usize = 32 * 1024 * 1024;

#[derive(Serialize, Deserialize)]
struct SequenceFile {
    format: u8,
    ceiling: u64,
}

#[derive(Serialize, Deserialize)]
struct MarksFile {
    format: u8,
    marks: Vec<KeptMark>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptMark {
    instance: String,
    source: IpAddr,
    key: u8,
    sequence: u64,
}

impl KeptMark {
    pub fn new(instance: &InstanceName, mark: Mark) -> Self {
        Self {
            instance: instance.to_string(),
            source: mark.source,
            key: mark.key,
            sequence: mark.sequence.bits(),
        }
    }

    pub fn parts(&self) -> (InstanceName, Mark) {
        let mark = Mark {
            source: self.source,
            key: self.key,
            sequence: Sequence::from_bits(self.sequence),
        };
        (InstanceName::new(&self.instance), mark)
    }
}

enum Order {
    Ceiling(Sequence),
    Marks(Vec<KeptMark>),
}

/// The files, and who writes them.
#[derive(Debug)]
pub struct Keeper {
    directory: PathBuf,
    orders: SyncSender<Order>,
    granted: Arc<AtomicU64>,
}

/// Up to where our numbers may go.
#[derive(Debug)]
pub struct Ceiling {
    reach: Reach,
    orders: SyncSender<Order>,
    /// Written; 0 before the first time.
    granted: Arc<AtomicU64>,
}

impl Keeper {
    /// Creates nothing in the directory until there is something to keep.
    ///
    /// # Errors
    ///
    /// No thread could be had.
    pub fn start(directory: &Path) -> io::Result<Self> {
        let (orders, wanted) = sync_channel(ORDERS);
        let granted = Arc::new(AtomicU64::new(0));
        let (place, told) = (directory.to_owned(), Arc::clone(&granted));
        thread::Builder::new()
            .name("vip-keeper".to_owned())
            .stack_size(256 * 1024)
            .spawn(move || keep(&place, &wanted, &told))?;
        Ok(Self {
            directory: directory.to_owned(),
            orders,
            granted,
        })
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The ceiling, from what is in the file. With `now`, because something
    /// will be signed soon, the next one is in the file already.
    pub fn ceiling(&self, now: bool) -> Ceiling {
        let read: Result<Option<SequenceFile>, String> = read(&self.directory, SEQUENCE);
        let found = match read {
            Ok(file) => file.filter(|file| file.format == FORMAT),
            Err(why) => {
                tracing::warn!("{why}; the numbers of our advertisements begin at the clock");
                None
            }
        };
        let start = found.map(|file| Sequence::from_bits(file.ceiling));
        let mut reach = Reach::new(start);
        if now {
            let first = reach.first(clock());
            write_ceiling(&self.directory, first, &mut None);
            self.granted.store(first.bits(), Ordering::Release);
            reach.ordered(first);
        }
        Ceiling {
            reach,
            orders: self.orders.clone(),
            granted: Arc::clone(&self.granted),
        }
    }

    /// Those of an earlier agent.
    pub fn marks(&self) -> Vec<KeptMark> {
        let read: Result<Option<MarksFile>, String> = read(&self.directory, MARKS);
        match read {
            Ok(file) => file
                .filter(|file| file.format == FORMAT)
                .map_or(Vec::new(), |file| file.marks),
            Err(why) => {
                tracing::warn!("{why}; each sender's clock must agree with ours to begin");
                Vec::new()
            }
        }
    }

    /// Not at once: see the module. Dropped when the disk is slow; the next
    /// ones are newer.
    pub fn keep_marks(&self, marks: Vec<KeptMark>) {
        let _ = self.orders.try_send(Order::Marks(marks));
    }

    /// At the end, and at once: nothing newer than `last` was sent.
    pub fn close(&self, last: Option<Sequence>, marks: Option<Vec<KeptMark>>) {
        if let Some(last) = last {
            write_ceiling(&self.directory, last, &mut None);
        }
        if let Some(marks) = marks {
            write_marks(&self.directory, marks, &mut None);
        }
    }
}

impl Ceiling {
    /// No number of ours was newer.
    pub fn start(&self) -> Option<Sequence> {
        self.reach.start()
    }

    /// The number after `last`: the clock's, where it is newer and not beyond
    /// what is in the file.
    pub fn next(&mut self, last: Sequence, clock: Sequence) -> Sequence {
        let granted = self.granted.load(Ordering::Acquire);
        let granted = (granted != 0).then(|| Sequence::from_bits(granted));
        let step = self.reach.next(last, clock, granted);
        if let Some(order) = step.order
            && self.orders.try_send(Order::Ceiling(order)).is_ok()
        {
            self.reach.ordered(order);
        }
        step.number
    }
}

fn keep(directory: &Path, orders: &Receiver<Order>, granted: &AtomicU64) {
    let mut complained = None;
    // Until the agent ends.
    while let Ok(order) = orders.recv() {
        match order {
            Order::Ceiling(ceiling) => {
                // Written or not, advertisements go on.
                write_ceiling(directory, ceiling, &mut complained);
                granted.store(ceiling.bits(), Ordering::Release);
            }
            Order::Marks(marks) => write_marks(directory, marks, &mut complained),
        }
    }
}

fn write_ceiling(directory: &Path, ceiling: Sequence, complained: &mut Option<Instant>) {
    let file = SequenceFile {
        format: FORMAT,
        ceiling: ceiling.bits(),
    };
    // A number must not be used again even after the power failed.
    let written = replace(directory, SEQUENCE, &file, true);
    complain(directory, written, complained);
}

fn write_marks(directory: &Path, marks: Vec<KeptMark>, complained: &mut Option<Instant>) {
    let file = MarksFile {
        format: FORMAT,
        marks,
    };
    let written = replace(directory, MARKS, &file, false);
    complain(directory, written, complained);
}

fn complain(directory: &Path, written: io::Result<()>, complained: &mut Option<Instant>) {
    let Err(error) = written else {
        *complained = None;
        return;
    };
    if complained.is_some_and(|at| at.elapsed() < QUIET) {
        return;
    }
    *complained = Some(Instant::now());
    tracing::warn!(
        "nothing can be kept in the state directory {}: {error}; advertisements are signed and \
         verified as before, but after a restart of this agent peers may refuse it, or it may \
         believe a capture, until the clocks have moved on",
        directory.display()
    );
}

fn replace(directory: &Path, name: &str, value: &impl Serialize, sync: bool) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let bytes = serde_json::to_vec(value).map_err(io::Error::other)?;
    whole_file::replace(directory, name, &bytes, sync)
}

/// `None`: there is no such file.
fn read<T: DeserializeOwned>(directory: &Path, name: &str) -> Result<Option<T>, String> {
    let path = directory.join(name);
    let words = |why: String| format!("{} cannot be used: {why}", path.display());
    let bytes = whole_file::read(&path, FILE_BYTES_MAX).map_err(words)?;
    let read = bytes.map(|bytes| serde_json::from_slice(&bytes));
    read.transpose().map_err(|error| words(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::numbers::ceiling::AHEAD;

    fn wait(what: impl Fn() -> bool) {
        let begun = Instant::now();
        while !what() {
            assert!(begun.elapsed() < Duration::from_secs(10));
            thread::sleep(Duration::from_millis(2));
        }
    }

    #[test]
    fn a_restarted_sender_begins_beyond_all_that_was_sent() {
        let folder = tempfile::TempDir::new().unwrap();
        let first = Keeper::start(folder.path()).unwrap();
        let mut ceiling = first.ceiling(true);
        assert_eq!(ceiling.start(), None);
        let now = clock();
        let mut last = now;
        for _ in 0..1000 {
            last = ceiling.next(last, clock());
        }
        // Killed; and the next one's clock is an hour behind.
        let second = Keeper::start(folder.path()).unwrap();
        let mut again = second.ceiling(true);
        let start = again.start().unwrap();
        assert!(start.is_newer_than(last));
        let behind = Sequence::from_bits(now.bits() - (3600 << 32));
        let next = again.next(start, behind);
        assert!(next.is_newer_than(last));
    }

    #[test]
    fn a_clock_that_leaps_is_followed_once_that_is_written() {
        let folder = tempfile::TempDir::new().unwrap();
        let keeper = Keeper::start(folder.path()).unwrap();
        let mut ceiling = keeper.ceiling(true);
        let now = clock();
        let later = now.plus(Duration::from_hours(1));
        let last = ceiling.next(now, later);
        assert_eq!(last, now.next(), "the file does not allow it yet");
        let on_disk = || {
            let file: Option<SequenceFile> = read(folder.path(), SEQUENCE).unwrap();
            Sequence::from_bits(file.unwrap().ceiling)
        };
        wait(|| Sequence::from_bits(keeper.granted.load(Ordering::Acquire)).is_newer_than(later));
        assert_eq!(on_disk(), later.plus(AHEAD));
        assert_eq!(ceiling.next(last, later), later);
    }

    #[test]
    fn marks_are_read_as_they_were_kept() {
        let folder = tempfile::TempDir::new().unwrap();
        let directory = folder.path().join("made/when/needed");
        let keeper = Keeper::start(&directory).unwrap();
        assert_eq!(keeper.marks(), []);
        let mark = Mark {
            source: "fe80::1".parse().unwrap(),
            key: 7,
            sequence: Sequence::from_bits(u64::MAX),
        };
        let kept = vec![KeptMark::new(&InstanceName::new("web"), mark)];
        keeper.keep_marks(kept.clone());
        wait(|| keeper.marks() == kept);
        assert_eq!(kept[0].parts(), (InstanceName::new("web"), mark));
    }

    #[test]
    fn what_is_no_file_of_ours_is_as_none() {
        let folder = tempfile::TempDir::new().unwrap();
        let keeper = Keeper::start(folder.path()).unwrap();
        for text in ["", "{", "[]", "{\"format\":2,\"ceiling\":1}", "\u{0}"] {
            fs::write(folder.path().join(SEQUENCE), text).unwrap();
            fs::write(folder.path().join(MARKS), text).unwrap();
            assert_eq!(keeper.ceiling(false).start(), None, "{text}");
            assert_eq!(keeper.marks(), []);
        }
    }
}
