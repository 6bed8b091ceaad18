//! Takes events down: one line in the log, one entry for the feed. Never waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::fact::AgentFact;
use super::record::{Entry, What};
use crate::agent::report::{Level, Report};
use crate::agent::time::Instant;

/// The clock of the election.
pub type Clock = fn() -> Instant;

/// What a [`Recorder`] sends.
#[derive(Debug)]
pub enum Order {
    Take(Box<Entry>),
    /// Nothing comes after it.
    Close,
}

#[derive(Clone, Debug)]
pub struct Recorder {
    orders: SyncSender<Order>,
    lost: Arc<AtomicU64>,
    clock: Clock,
}

/// Where entries come out.
#[derive(Debug)]
pub struct Entries {
    pub orders: Receiver<Order>,
    lost: Arc<AtomicU64>,
}

impl Entries {
    /// How many were dropped since this was last asked.
    pub fn take_lost(&self) -> u64 {
        self.lost.swap(0, Ordering::AcqRel)
    }
}

impl Recorder {
    /// `waiting`: entries that may wait; at the bound the newest are dropped
    /// and counted.
    pub fn new(clock: Clock, waiting: usize) -> (Self, Entries) {
        let (sender, orders) = sync_channel(waiting);
        let lost = Arc::new(AtomicU64::new(0));
        let recorder = Self {
            orders: sender,
            lost: Arc::clone(&lost),
            clock,
        };
        (recorder, Entries { orders, lost })
    }

    /// What the core reports.
    pub fn report(&self, report: Report) {
        let fact = &report.fact;
        let instance = report.instance.as_ref().map(tracing::field::display);
        match fact.level() {
            Level::Detail => tracing::debug!(instance, "{fact}"),
            Level::Info => tracing::info!(instance, "{fact}"),
            Level::Warning => tracing::warn!(instance, "{fact}"),
            Level::Error => tracing::error!(instance, "{fact}"),
        }
        let at = report.at;
        let what = What::Core(report);
        self.take(Entry { at, what });
    }

    /// What happened to the agent itself, now.
    pub fn note(&self, fact: AgentFact) {
        self.say(&fact);
        self.keep(fact);
    }

    /// The same without a line in the log.
    pub fn keep(&self, fact: AgentFact) {
        let at = (self.clock)();
        let what = What::Agent(fact);
        self.take(Entry { at, what });
    }

    fn say(&self, fact: &AgentFact) {
        match fact.level() {
            Level::Detail => tracing::debug!("{fact}"),
            Level::Info => tracing::info!("{fact}"),
            Level::Warning => tracing::warn!("{fact}"),
            Level::Error => tracing::error!("{fact}"),
        }
    }

    fn take(&self, entry: Entry) {
        if self.orders.try_send(Order::Take(Box::new(entry))).is_err() {
            self.lost.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// The last thing that is sent; it waits for its place.
    pub fn close(&self) {
        // Whoever took them down has ended by himself.
        let _ = self.orders.send(Order::Close);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_no_room_is_counted() {
        let (recorder, entries) = Recorder::new(|| Instant::from_nanos(0), 2);
        for lost in 0..5 {
            recorder.note(AgentFact::Gap { lost });
        }
        assert_eq!((entries.take_lost(), entries.take_lost()), (3, 0));
        let taken: Vec<Order> = entries.orders.try_iter().collect();
        assert_eq!(taken.len(), 2);
    }
}
