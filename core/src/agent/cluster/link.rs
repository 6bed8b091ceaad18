//! When what is told to whom: a message to each node every beat, at once when
//! an election may depend on it, and in batches when there is much to tell.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Refusal;
use super::message::{Message, News, Word};
use super::peer::Peer;
use super::told::{NEWS_BYTES_MAX, Told};
use crate::agent::settings::{ClusterSettings, InstanceSettings};
use crate::agent::time::Instant;
use crate::agent::values::{InstanceId, NodeName};

/// The slowest beat.
const BEAT_MAX: Duration = Duration::from_millis(200);
/// Messages to one node at a time; what is left follows after a pause.
const BATCH: usize = 4;
const BATCH_PAUSE: Duration = Duration::from_millis(5);
/// Whoever greets us is answered no more often.
const ANSWER_PACE: Duration = Duration::from_millis(20);
/// Words to one node that wait to be sent; the oldest go.
const WORDS_MAX: usize = 256;

#[derive(Clone, Debug)]
pub(in crate::agent) struct Link {
    settings: Option<ClusterSettings>,
    program: String,
    started: Instant,
    pub(super) told: Told,
    pace: Duration,
    beat_at: Instant,
    /// What is left of a large batch.
    more_at: Option<Instant>,
    /// Instances whose record may be another by now.
    pub(super) dirty: BTreeSet<InstanceId>,
    pub(super) checks_dirty: bool,
    pub(super) refusals: BTreeMap<Refusal, u64>,
    /// The last line about each, and how many were left out since.
    pub(super) lines: BTreeMap<Refusal, (Instant, u64)>,
    words: BTreeMap<NodeName, Vec<Word>>,
    hurried: Option<Instant>,
    last_turn: Instant,
}

impl Link {
    pub fn new(now: Instant) -> Self {
        Self {
            settings: None,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            started: now,
            told: Told::default(),
            pace: BEAT_MAX,
            beat_at: now,
            more_at: None,
            dirty: BTreeSet::new(),
            checks_dirty: false,
            refusals: BTreeMap::new(),
            lines: BTreeMap::new(),
            words: BTreeMap::new(),
            hurried: None,
            last_turn: now,
        }
    }

    pub fn own_name(&self) -> Option<&NodeName> {
        self.settings.as_ref().map(|settings| &settings.own)
    }

    pub fn is_used(&self) -> bool {
        self.settings.is_some()
    }

    /// An instance may be another than it was told to be.
    pub fn note(&mut self, instance: InstanceId) {
        if self.is_used() {
            self.dirty.insert(instance);
        }
    }

    pub fn note_checks(&mut self) {
        self.checks_dirty = true;
    }

    pub fn refusals(&self) -> &BTreeMap<Refusal, u64> {
        &self.refusals
    }

    /// The beat is that of the fastest instance, where that is faster.
    pub fn configure<'s>(
        &mut self,
        now: Instant,
        settings: Option<ClusterSettings>,
        instances: impl Iterator<Item = &'s InstanceSettings>,
    ) {
        let intervals = instances.map(|instance| instance.advert_interval.as_duration());
        self.pace = intervals.chain([BEAT_MAX]).min().unwrap_or(BEAT_MAX);
        self.settings = settings;
        self.beat_at = self.beat_at.min(now);
    }

    /// Our clock as the others hear it; never 0.
    pub fn clock_ms(&self, now: Instant) -> u64 {
        let ms = now.since(self.started).as_millis();
        u64::try_from(ms).unwrap_or(u64::MAX).saturating_add(1)
    }

    pub fn turn(&mut self, now: Instant) {
        self.last_turn = now;
    }

    pub fn last_turn(&self) -> Instant {
        self.last_turn
    }

    pub fn deadline(&self) -> Option<Instant> {
        let beat = self.is_used().then_some(self.beat_at);
        let more = self.more_at.filter(|_| self.is_used());
        beat.into_iter().chain(more).min()
    }

    pub fn say(&mut self, node: NodeName, word: Word) {
        let words = self.words.entry(node).or_default();
        if words.len() >= WORDS_MAX {
            words.remove(0);
        }
        words.push(word);
    }

    /// Whether a beat is due; the next one is set.
    pub fn beat(&mut self, now: Instant) -> bool {
        if self.beat_at > now {
            return false;
        }
        self.beat_at = self.beat_at + self.pace;
        if self.beat_at <= now {
            self.beat_at = now + self.pace;
        }
        true
    }

    /// The nodes that wait for a word.
    pub fn addressed(&self) -> Vec<NodeName> {
        self.words.keys().cloned().collect()
    }

    /// Whether more of a batch is due.
    pub fn more(&mut self, now: Instant) -> bool {
        self.more_at.take_if(|at| *at <= now).is_some()
    }

    /// What a node is sent now: its words, and whatever it lacks.
    /// `again`: what it has not confirmed since the last beat is sent anew.
    pub fn messages(
        &mut self,
        now: Instant,
        node: &NodeName,
        peer: &mut Peer,
        again: bool,
    ) -> Vec<Message> {
        let sending = &mut peer.sending;
        if again {
            if sending.acknowledged < sending.sent_before {
                sending.sent = sending.acknowledged;
            }
            sending.sent_before = sending.sent;
        }
        let mut messages = Vec::new();
        let words = self.take_words(node);
        if !words.is_empty() {
            messages.push(self.message(now, peer, None, words));
        }
        while messages.len() < BATCH {
            let Some(news) = self.told.news(peer.sending.sent, now) else {
                break;
            };
            peer.sending.sent = news.up_to;
            messages.push(self.message(now, peer, Some(news), Vec::new()));
        }
        if messages.is_empty() {
            messages.push(self.message(now, peer, None, Vec::new()));
        }
        if peer.sending.sent < self.told.revision() || self.words.contains_key(node) {
            self.more_at.get_or_insert(now + BATCH_PAUSE);
        }
        messages
    }

    /// The oldest words to a node, as many as fit into a message.
    fn take_words(&mut self, node: &NodeName) -> Vec<Word> {
        let Some(mut words) = self.words.remove(node) else {
            return Vec::new();
        };
        let fitting = words.iter().scan(0, |bytes, word| {
            *bytes += word.size_max();
            (*bytes <= NEWS_BYTES_MAX).then_some(())
        });
        let later = words.split_off(fitting.count());
        if !later.is_empty() {
            self.words.insert(node.clone(), later);
        }
        words
    }

    fn message(&self, now: Instant, peer: &Peer, news: Option<News>, words: Vec<Word>) -> Message {
        Message {
            revision: self.told.revision(),
            known: peer.known(),
            pace: self.pace,
            clock_ms: self.clock_ms(now),
            echo_ms: peer.clock_ms(),
            heard_paths: Some(peer.heard_paths(now)),
            program: self.program.clone(),
            news,
            words,
        }
    }

    /// What an election may depend on leaves at once, unless something did
    /// just now; then a moment later, with all that came meanwhile.
    pub fn may_hurry(&mut self, now: Instant) -> bool {
        let due = self
            .hurried
            .is_none_or(|last| now.since(last) >= BATCH_PAUSE);
        if due {
            self.hurried = Some(now);
        } else {
            self.more_at.get_or_insert(now + BATCH_PAUSE);
        }
        due
    }

    /// Whoever greets us is answered at once, and then at a pace.
    pub fn may_answer(now: Instant, peer: &mut Peer) -> bool {
        let last = peer.sending.last_answer;
        let due = last.is_none_or(|last| now.since(last) >= ANSWER_PACE);
        if due {
            peer.sending.last_answer = Some(now);
        }
        due
    }
}
