//! The latest events, in memory. Everyone who wants them follows here: clients
//! wait for what comes, and the thread that writes files, however slow the disk
//! is, holds up nobody.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit, watch};

use super::query::{Page, Query};
use super::record::Record;

/// Events in memory; then the oldest go.
pub const EVENTS_MAX: usize = 4096;
/// Bytes of them, as lines.
pub const BYTES_MAX: usize = 2 * 1024 * 1024;
/// Clients that may wait at once for what comes.
pub const WAITERS_MAX: usize = 8;
/// What is taken at once to be written: lines, and bytes of them, but for the
/// last.
const BATCH: usize = 256;
const BATCH_BYTES: usize = 64 * 1024;

/// One event, ready to be sent and written.
#[derive(Debug, PartialEq, Eq)]
pub struct Kept {
    pub id: u64,
    /// Since 1970.
    pub time_ms: i64,
    pub instance: Option<Box<str>>,
    /// JSON without an end of line.
    pub line: Box<str>,
}

impl Kept {
    pub fn new(record: &Record) -> Self {
        Self {
            id: record.id,
            time_ms: record.time.0.as_millisecond(),
            instance: record.instance.as_deref().map(Box::from),
            // Texts, numbers and maps by text: nothing that JSON lacks.
            line: serde_json::to_string(record).unwrap_or_default().into(),
        }
    }
}

#[derive(Debug)]
pub struct Feed {
    ring: Mutex<Ring>,
    grown: Condvar,
    newest: watch::Sender<u64>,
    waiters: Semaphore,
}

#[derive(Debug)]
struct Ring {
    kept: VecDeque<Arc<Kept>>,
    bytes: usize,
    next_id: u64,
    /// The last one that made room.
    evicted: u64,
    closed: bool,
}

/// What is to be written.
#[derive(Debug)]
pub struct Batch {
    pub kept: Vec<Arc<Kept>>,
    /// Events before them that made room and were never written.
    pub missed: u64,
    /// Nothing comes after them.
    pub closed: bool,
}

impl Feed {
    /// `next_id` is that of the first event.
    pub fn new(next_id: u64) -> Self {
        Self {
            ring: Mutex::new(Ring {
                kept: VecDeque::new(),
                bytes: 0,
                next_id,
                evicted: 0,
                closed: false,
            }),
            grown: Condvar::new(),
            newest: watch::Sender::new(0),
            waiters: Semaphore::new(WAITERS_MAX),
        }
    }

    /// What earlier runs have written, before anything is added.
    pub fn restore(&self, records: &[Record]) {
        let mut ring = self.ring();
        for record in records {
            ring.push(Kept::new(record));
        }
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds what `make` makes of the next identifier.
    pub fn add(&self, make: impl FnOnce(u64) -> Record) {
        let mut ring = self.ring();
        let id = ring.next_id;
        ring.next_id = id.saturating_add(1);
        ring.push(Kept::new(&make(id)));
        drop(ring);
        self.grown.notify_all();
        self.newest.send_replace(id);
    }

    /// Nothing is added any more.
    pub fn close(&self) {
        self.ring().closed = true;
        self.grown.notify_all();
    }

    pub fn page(&self, query: &Query) -> Page {
        let ring = self.ring();
        Page::new(query, ring.kept.iter(), ring.next_id - 1)
    }

    /// Until there is an event with a greater identifier.
    pub async fn beyond(&self, id: u64) {
        // The sender is ours.
        let _ = self
            .newest
            .subscribe()
            .wait_for(|newest| *newest > id)
            .await;
    }

    /// A place among those who wait, while there is one.
    pub fn waiter(&self) -> Option<SemaphorePermit<'_>> {
        self.waiters.try_acquire().ok()
    }

    /// What comes after `written`, as soon as there is something, at the end,
    /// or after `patience`.
    pub fn batch(&self, written: u64, patience: Duration) -> Batch {
        let waits = |ring: &mut Ring| ring.next_id <= written.saturating_add(1) && !ring.closed;
        let waited = self.grown.wait_timeout_while(self.ring(), patience, waits);
        let (ring, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let mut bytes = 0;
        let fits = |kept: &&Arc<Kept>| {
            let fits = bytes < BATCH_BYTES;
            bytes += kept.line.len();
            fits
        };
        let all = ring.kept.iter().filter(|kept| kept.id > written);
        let kept: Vec<Arc<Kept>> = all.take_while(fits).take(BATCH).cloned().collect();
        let last = kept.last().map_or(written, |last| last.id);
        Batch {
            missed: ring.evicted.saturating_sub(written),
            closed: ring.closed && last >= ring.next_id.saturating_sub(1),
            kept,
        }
    }
}

impl Ring {
    fn push(&mut self, kept: Kept) {
        self.bytes += kept.line.len();
        self.kept.push_back(Arc::new(kept));
        while self.kept.len() > EVENTS_MAX || self.bytes > BYTES_MAX {
            let Some(oldest) = self.kept.pop_front() else {
                return;
            };
            self.bytes -= oldest.line.len();
            self.evicted = oldest.id;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::events::record::sample;

    #[test]
    fn it_has_a_bound_and_tells_whom_it_left_behind() {
        let feed = Feed::new(1);
        for _ in 0..EVENTS_MAX + 10 {
            feed.add(|id| sample(id, "web"));
        }
        let page = feed.page(&Query::default());
        assert_eq!(page.kept.len(), EVENTS_MAX);
        assert_eq!((page.oldest, page.newest), (11, 4106));
        let batch = feed.batch(3, Duration::ZERO);
        assert_eq!((batch.missed, batch.kept[0].id), (7, 11));
        assert_eq!((batch.kept.len(), batch.closed), (BATCH, false));
        feed.close();
        let batch = feed.batch(4106, Duration::from_hours(1));
        assert_eq!((batch.missed, batch.kept.len(), batch.closed), (0, 0, true));
    }

    #[test]
    fn long_lines_make_room_too() {
        let feed = Feed::new(1);
        let long = |id| Record {
            text: "x".repeat(BYTES_MAX / 3),
            ..sample(id, "web")
        };
        for _ in 0..5 {
            feed.add(long);
        }
        assert_eq!(feed.page(&Query::default()).kept.len(), 2);
    }
}
