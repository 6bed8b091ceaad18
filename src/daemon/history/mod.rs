//! The history: what happened, kept in memory and in two files of the state
//! directory.
//!
//! Two threads. One makes records of what the recorder was told and adds them
//! to the feed; it touches no disk. The other follows the feed and writes, so
//! that a disk that is slow, full or gone costs nobody anything: what could not
//! be written waits in memory, within the feed's bounds.

mod disk;
mod file;
mod line;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;

use crate::control::document::WallClock;
use crate::control::events::Events;
use crate::control::events::fact::{AgentFact, STOPPED};
use crate::control::events::feed::Feed;
use crate::control::events::record::{Entry, Record, What};
use crate::control::events::recorder::{Entries, Order, Recorder};
use crate::net::timer;
pub use file::{Past, read};

/// Events that may wait to be made records of; at the bound the newest are
/// dropped, and their number is an event.
const ENTRIES: usize = 2048;
/// An agent that died may have told identifiers that it never wrote.
const SKIPPED_AFTER_DEATH: u64 = 10_000;
/// For the last events to be written, at the end.
const CLOSING: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub struct History {
    events: Events,
    /// The agent before this one ended without a word.
    after_death: bool,
    /// Hung up when all is written.
    finished: Receiver<()>,
}

impl History {
    /// Reads what there is, and begins to take events down.
    ///
    /// # Errors
    ///
    /// No thread could be had. Files that cannot be read are no such error.
    pub fn start(directory: &Path, node: &str) -> io::Result<Self> {
        let past = read(directory);
        let last = past.records.last();
        let after_death = last.is_some_and(|last| last.event != STOPPED);
        let newest = past.records.iter().map(|record| record.id).max();
        let first = match newest {
            None => 1,
            Some(id) if after_death => id.saturating_add(SKIPPED_AFTER_DEATH),
            Some(id) => id.saturating_add(1),
        };
        let run = past.records.iter().map(|record| record.run).max();
        let feed = Arc::new(Feed::new(first));
        feed.restore(&past.records);
        let (recorder, entries) = Recorder::new(timer::now, ENTRIES);
        let scribe = Scribe {
            feed: Arc::clone(&feed),
            node: node.to_owned(),
            run: run.unwrap_or(0).saturating_add(1),
            clock: WallClock::new(timer::now(), Timestamp::now()),
        };
        let (finish, finished) = channel();
        thread::Builder::new()
            .name("vip-history".to_owned())
            .stack_size(256 * 1024)
            .spawn(move || scribe.take_down(&entries))?;
        let writer = disk::Writer::new(directory, Arc::clone(&feed), recorder.clone());
        thread::Builder::new()
            .name("vip-events".to_owned())
            .stack_size(256 * 1024)
            .spawn(move || {
                writer.follow(first - 1);
                drop(finish);
            })?;
        for (path, lines) in past.damaged {
            recorder.note(AgentFact::Damaged { path, lines });
        }
        for problem in past.problems {
            tracing::warn!("{problem}; the history before this start is not shown");
        }
        Ok(Self {
            events: Events { feed, recorder },
            after_death,
            finished,
        })
    }

    pub fn events(&self) -> Events {
        self.events.clone()
    }

    /// The first event of a run.
    pub fn started(&self, instances: usize) {
        self.events.recorder.note(AgentFact::Started {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            instances,
            after_death: self.after_death,
        });
    }

    /// Nothing happens any more. Waits a moment for the disk, and no longer.
    pub fn close(self) {
        self.events.recorder.close();
        let _ = self.finished.recv_timeout(CLOSING);
    }
}

/// Makes records.
struct Scribe {
    feed: Arc<Feed>,
    node: String,
    run: u64,
    clock: WallClock,
}

impl Scribe {
    fn take_down(mut self, entries: &Entries) {
        // Until the agent ends.
        while let Ok(Order::Take(entry)) = entries.orders.recv() {
            self.add(&entry);
            let lost = entries.take_lost();
            if lost > 0 {
                let fact = AgentFact::Gap { lost };
                tracing::warn!("{fact}");
                self.add(&Entry {
                    at: timer::now(),
                    what: What::Agent(fact),
                });
            }
        }
        self.feed.close();
    }

    fn add(&mut self, entry: &Entry) {
        if let What::Agent(AgentFact::Reloaded { node, .. }) = &entry.what {
            self.node.clone_from(node);
        }
        self.clock = self.clock.observe(timer::now(), Timestamp::now());
        let make = |id| Record::new(id, self.run, &self.node, self.clock, entry);
        self.feed.add(make);
    }
}

#[cfg(test)]
mod tests;
