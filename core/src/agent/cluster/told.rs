//! What we tell the others: our own picture as records, each with the revision
//! of its last change.

use std::collections::{BTreeMap, BTreeSet};

use super::message::{CheckNews, InstanceNews, MESSAGE_BYTES_MAX, News, Record};
use crate::agent::jobs::CheckName;
use crate::agent::time::Instant;
use crate::agent::values::InstanceName;

/// What a message needs beside its records.
const ENVELOPE_BYTES: usize = 96;
/// Where a batch of records ends.
pub(super) const NEWS_BYTES_MAX: usize = MESSAGE_BYTES_MAX - ENVELOPE_BYTES;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Instance(InstanceName),
    Check(CheckName),
}

#[derive(Clone, Debug)]
struct Entry {
    revision: u64,
    /// The spans in it are filled in when it is sent.
    record: Record,
    since: Instant,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    revision: u64,
    entries: BTreeMap<Key, Entry>,
    order: BTreeMap<u64, Key>,
}

impl Told {
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Returns whether that was news, and such that an election may depend on
    /// it.
    pub fn instance(&mut self, mut news: InstanceNews, since: Instant) -> bool {
        news.shrink(NEWS_BYTES_MAX);
        let key = Key::Instance(news.name.clone());
        let urgent = match self.entries.get(&key).map(|entry| &entry.record) {
            Some(Record::Instance(old)) => {
                let standing = |news: &InstanceNews| {
                    let own = (news.state, news.fitness, news.priority, news.holds);
                    (own, news.source, news.hardware_address)
                };
                standing(old) != standing(&news)
            }
            _ => true,
        };
        self.put(key, Record::Instance(news), since) && urgent
    }

    pub fn check(&mut self, news: CheckNews, since: Instant) {
        self.put(Key::Check(news.name.clone()), Record::Check(news), since);
    }

    /// Whatever is not among these is no longer configured. That it is gone
    /// stays on record: a few bytes for each name that ever was.
    pub fn retain(&mut self, instances: &BTreeSet<&InstanceName>, checks: &BTreeSet<&CheckName>) {
        let gone = self.entries.keys().filter(|key| match key {
            Key::Instance(name) => !instances.contains(name),
            Key::Check(name) => !checks.contains(name),
        });
        for key in gone.cloned().collect::<Vec<_>>() {
            let record = match &key {
                Key::Instance(name) => Record::InstanceGone(name.clone()),
                Key::Check(name) => Record::CheckGone(name.clone()),
            };
            self.put(key, record, Instant::from_nanos(0));
        }
    }

    /// Returns whether that was news.
    fn put(&mut self, key: Key, record: Record, since: Instant) -> bool {
        if let Some(entry) = self.entries.get_mut(&key) {
            if entry.record == record {
                entry.since = since;
                return false;
            }
            self.order.remove(&entry.revision);
        }
        self.revision += 1;
        let revision = self.revision;
        self.order.insert(revision, key.clone());
        let entry = Entry {
            revision,
            record,
            since,
        };
        self.entries.insert(key, entry);
        true
    }

    /// The next batch for one who has everything up to `after`; `None` when
    /// there is nothing newer.
    pub fn news(&self, after: u64, now: Instant) -> Option<News> {
        let mut news = News {
            after,
            up_to: self.revision,
            records: Vec::new(),
        };
        let mut bytes = 0;
        for (revision, key) in self.order.range(after.saturating_add(1)..) {
            let Some(entry) = self.entries.get(key) else {
                continue;
            };
            bytes += entry.record.size_max();
            if bytes > NEWS_BYTES_MAX && !news.records.is_empty() {
                news.up_to = revision - 1;
                break;
            }
            news.records.push(entry.sent(now));
        }
        (after < self.revision).then_some(news)
    }
}

impl Entry {
    fn sent(&self, now: Instant) -> Record {
        let mut record = self.record.clone();
        match &mut record {
            Record::Instance(news) => news.for_ = now.since(self.since),
            Record::Check(news) => news.for_ = now.since(self.since),
            Record::InstanceGone(_) | Record::CheckGone(_) => {}
        }
        record
    }
}
