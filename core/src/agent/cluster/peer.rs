//! What is known of one other node.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::PathIndex;
use super::message::{CheckNews, InstanceNews, Message, News, Record};
use crate::agent::jobs::CheckName;
use crate::agent::status::{Known, NodeStatus, PathStatus};
use crate::agent::time::Instant;
use crate::agent::values::{InstanceName, MacAddress, NodeName};

/// Messages of a node that may be missing before it counts as not heard.
const PATIENCE: u32 = 3;
/// What a node says of its pace is not believed beyond this.
const PACE_MAX: Duration = Duration::from_secs(2);
/// A message that was written longer ago than this, and than its patience
/// twice, affirms nothing: somebody may have held it up.
const HELD_UP_MAX: Duration = Duration::from_millis(250);
const LINE_PACE: Duration = Duration::from_secs(60);
const LINES_MAX: u8 = 4;
/// Records kept of one node; more are left out. Far above what a host can run.
const RECORDS_MAX: usize = 16_384;

#[derive(Clone, Debug)]
pub(in crate::agent) struct Peer {
    paths: Vec<Path>,
    session: Option<u64>,
    program: String,
    pace: Duration,
    last_heard: Option<Instant>,
    /// As it was last found to be: heard within its patience.
    reachable: bool,
    /// Of its picture, without a gap.
    known: u64,
    /// When that was last said to be all there is.
    affirmed_at: Option<Instant>,
    /// The newest of its clock that we heard; it wants it back.
    clock_ms: u64,
    /// The paths by which it says that it hears us.
    heard_there: Option<u32>,
    instances: BTreeMap<InstanceName, Kept<InstanceNews>>,
    checks: BTreeMap<CheckName, Kept<CheckNews>>,
    pub(super) sending: Sending,
    /// The last line about its coming or going, and how many there were.
    last_line: Option<Instant>,
    lines: u8,
}

/// Where we are in telling it our own picture.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sending {
    /// It has confirmed everything up to here.
    pub acknowledged: u64,
    /// It was sent everything up to here.
    pub sent: u64,
    /// Of `sent`, at the last beat.
    pub sent_before: u64,
    pub last_answer: Option<Instant>,
}

#[derive(Clone, Debug)]
struct Path {
    address: IpAddr,
    last_heard: Option<Instant>,
    error: Option<String>,
}

#[derive(Clone, Debug)]
struct Kept<T> {
    news: T,
    /// Of the batch that it came in.
    up_to: u64,
    told_at: Instant,
    /// It was not held up on the way.
    prompt: bool,
}

/// What a message changed.
#[derive(Clone, Debug, Default)]
pub(super) struct Changes {
    pub new_session: bool,
    pub came_back: bool,
    /// What it told may be relied upon again.
    pub good_again: bool,
    /// A line about its return may be written.
    pub line: bool,
    /// With what was known before.
    pub instances: Vec<(InstanceName, Option<InstanceNews>)>,
}

impl Peer {
    pub fn new(addresses: &[IpAddr]) -> Self {
        Self {
            paths: addresses.iter().copied().map(Path::new).collect(),
            session: None,
            program: String::new(),
            pace: PACE_MAX,
            last_heard: None,
            reachable: false,
            known: 0,
            affirmed_at: None,
            clock_ms: 0,
            heard_there: None,
            instances: BTreeMap::new(),
            checks: BTreeMap::new(),
            sending: Sending::default(),
            last_line: None,
            lines: 0,
        }
    }

    /// Other addresses of the same node.
    pub fn readdress(&mut self, addresses: &[IpAddr]) {
        if !self
            .paths
            .iter()
            .map(|path| path.address)
            .eq(addresses.iter().copied())
        {
            self.paths = addresses.iter().copied().map(Path::new).collect();
            self.heard_there = None;
        }
    }

    pub(super) fn hear(
        &mut self,
        now: Instant,
        now_ms: u64,
        path: PathIndex,
        session: u64,
        message: Message,
    ) -> Changes {
        let mut changes = Changes {
            came_back: !self.reachable,
            ..Changes::default()
        };
        changes.line = changes.came_back && self.may_be_reported(now);
        if self.session != Some(session) {
            changes.new_session = true;
            self.begin_session(session, &mut changes);
        }
        self.last_heard = Some(now);
        self.reachable = true;
        if let Some(path) = self.paths.get_mut(usize::from(path.0)) {
            path.last_heard = Some(now);
            path.error = None;
        }
        self.pace = message.pace.clamp(Duration::from_millis(1), PACE_MAX);
        self.heard_there = message.heard_paths;
        self.clock_ms = self.clock_ms.max(message.clock_ms);
        self.sending.acknowledged = self.sending.acknowledged.max(message.known);
        self.sending.sent = self.sending.sent.max(self.sending.acknowledged);
        if self.program != message.program {
            self.program = super::message::cut(&message.program);
        }
        // Something that was held up on the way affirms nothing.
        let age = Duration::from_millis(now_ms.saturating_sub(message.echo_ms));
        let prompt = message.echo_ms > 0 && age <= (self.patience() * 2).max(HELD_UP_MAX);
        if let Some(news) = message.news {
            self.learn(now, prompt, news, &mut changes);
        }
        if message.revision == self.known && prompt {
            let before = self.affirmed_at.replace(now);
            changes.good_again = before.is_none_or(|at| now.since(at) > self.patience());
        }
        changes
    }

    fn begin_session(&mut self, session: u64, changes: &mut Changes) {
        self.session = Some(session);
        self.known = 0;
        self.affirmed_at = None;
        self.clock_ms = 0;
        self.sending = Sending::default();
        let forgotten = std::mem::take(&mut self.instances);
        let forgotten = forgotten.into_iter();
        changes
            .instances
            .extend(forgotten.map(|(name, kept)| (name, Some(kept.news))));
        self.checks.clear();
    }

    fn learn(&mut self, now: Instant, prompt: bool, news: News, changes: &mut Changes) {
        let News {
            after,
            up_to,
            records,
        } = news;
        for record in records {
            match record {
                Record::Instance(news) => {
                    let (key, name) = (news.name.clone(), news.name.clone());
                    keep(
                        &mut self.instances,
                        key,
                        news,
                        (up_to, prompt),
                        now,
                        |old| {
                            changes.instances.push((name, old));
                        },
                    );
                }
                Record::InstanceGone(name) => {
                    let newer = self
                        .instances
                        .get(&name)
                        .is_some_and(|old| old.up_to < up_to);
                    if newer && let Some(old) = self.instances.remove(&name) {
                        changes.instances.push((name, Some(old.news)));
                    }
                }
                Record::Check(news) => {
                    keep(
                        &mut self.checks,
                        news.name.clone(),
                        news,
                        (up_to, prompt),
                        now,
                        |_| {},
                    );
                }
                Record::CheckGone(name) => {
                    let newer = self.checks.get(&name).is_some_and(|old| old.up_to < up_to);
                    if newer {
                        self.checks.remove(&name);
                    }
                }
            }
        }
        if after <= self.known {
            self.known = self.known.max(up_to);
        }
    }

    /// So long after its last message it counts as not heard.
    pub fn patience(&self) -> Duration {
        self.pace * PATIENCE
    }

    /// Returns whether it has just been lost.
    pub(super) fn lose_patience(&mut self, now: Instant) -> bool {
        let over = self.silent_at().is_none_or(|at| at <= now);
        let lost = over && self.reachable;
        self.reachable &= !over;
        lost
    }

    /// Lines about one that comes and goes: a few, then at a pace.
    pub(super) fn may_be_reported(&mut self, now: Instant) -> bool {
        let due = |last: Instant| now.since(last) >= LINE_PACE;
        if self.last_line.is_none_or(due) {
            self.lines = 0;
        }
        self.lines = self.lines.saturating_add(1);
        let may = self.lines <= LINES_MAX;
        if may {
            self.last_line = Some(now);
        }
        may
    }

    /// When it counts as not heard, if nothing comes.
    pub(super) fn silent_at(&self) -> Option<Instant> {
        let last = self.last_heard.filter(|_| self.reachable)?;
        Some(last + self.patience())
    }

    pub fn is_reachable(&self) -> bool {
        self.reachable
    }

    pub fn last_heard(&self) -> Option<Instant> {
        self.last_heard
    }

    pub fn program(&self) -> &str {
        &self.program
    }

    pub(super) fn known(&self) -> u64 {
        self.known
    }

    pub(super) fn clock_ms(&self) -> u64 {
        self.clock_ms
    }

    /// The paths by which it was heard within its patience, bit n for path n.
    pub(super) fn heard_paths(&self, now: Instant) -> u32 {
        let paths = self.paths.iter().zip(0_u32..);
        let heard = paths.filter(|(path, _)| path.is_heard(now, self.patience()));
        heard.fold(0, |paths, (_, index)| paths | bit(index))
    }

    pub(super) fn set_error(&mut self, path: PathIndex, error: String) {
        if let Some(path) = self.paths.get_mut(usize::from(path.0)) {
            path.error = Some(error);
        }
    }

    /// What it last told of an instance, and whether that may be relied upon
    /// now.
    pub fn instance(&self, name: &InstanceName) -> Option<&InstanceNews> {
        self.instances.get(name).map(|kept| &kept.news)
    }

    /// It told this, or affirmed it, within its patience.
    pub fn instance_now(&self, now: Instant, name: &InstanceName) -> Option<&InstanceNews> {
        let kept = self.instances.get(name).filter(|_| self.reachable)?;
        let told_at = Some(kept.told_at).filter(|_| kept.prompt);
        let known_at = self.affirmed_at.max(told_at)?;
        (now.since(known_at) <= self.patience()).then_some(&kept.news)
    }

    /// When it last told something new of an instance.
    pub fn told_at(&self, name: &InstanceName) -> Option<Instant> {
        self.instances.get(name).map(|kept| kept.told_at)
    }

    /// We have its whole picture.
    pub fn has_told_all(&self) -> bool {
        self.affirmed_at.is_some()
    }

    fn known_at(&self, told_at: Instant) -> Instant {
        self.affirmed_at.map_or(told_at, |at| at.max(told_at))
    }

    pub fn has_hardware_address(&self, address: MacAddress) -> bool {
        let mut all = self.instances.values();
        all.any(|kept| kept.news.hardware_address == Some(address))
    }

    pub(super) fn status(&self, name: &NodeName, now: Instant) -> NodeStatus {
        let known = |told_at| self.known_at(told_at);
        let patience = self.patience();
        let told = self.heard_there.filter(|_| self.reachable);
        NodeStatus {
            name: name.clone(),
            reachable: self.reachable,
            last_heard: self.last_heard,
            program: self.program.clone(),
            paths: self
                .paths
                .iter()
                .zip(0_u32..)
                .map(|(path, index)| PathStatus {
                    heard_there: told.map(|paths| bit(index) & paths != 0),
                    ..path.status(now, patience)
                })
                .collect(),
            instances: self
                .instances
                .values()
                .map(|kept| kept.status(known(kept.told_at)))
                .collect(),
            checks: self
                .checks
                .values()
                .map(|kept| kept.status(known(kept.told_at)))
                .collect(),
        }
    }
}

/// Keeps what is newer than what is kept.
fn keep<K: Ord, T>(
    all: &mut BTreeMap<K, Kept<T>>,
    key: K,
    news: T,
    (up_to, prompt): (u64, bool),
    now: Instant,
    changed: impl FnOnce(Option<T>),
) {
    let full = all.len() >= RECORDS_MAX;
    let kept = Kept {
        news,
        up_to,
        prompt,
        told_at: now,
    };
    match all.get_mut(&key) {
        Some(old) if old.up_to >= up_to => {}
        Some(old) => changed(Some(std::mem::replace(old, kept).news)),
        None if full => {}
        None => {
            all.insert(key, kept);
            changed(None);
        }
    }
}

/// Nothing for paths beyond the 32nd.
fn bit(index: u32) -> u32 {
    1_u32.checked_shl(index).unwrap_or(0)
}

impl Path {
    fn new(address: IpAddr) -> Self {
        Self {
            address,
            last_heard: None,
            error: None,
        }
    }

    fn is_heard(&self, now: Instant, patience: Duration) -> bool {
        self.last_heard.is_some_and(|at| now.since(at) <= patience)
    }

    fn status(&self, now: Instant, patience: Duration) -> PathStatus {
        PathStatus {
            address: self.address,
            reachable: self.is_heard(now, patience),
            last_heard: self.last_heard,
            error: self.error.clone(),
            heard_there: None,
        }
    }
}

impl<T: Clone> Kept<T> {
    fn status(&self, known_at: Instant) -> Known<T> {
        Known {
            news: self.news.clone(),
            told_at: self.told_at,
            known_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_told_apart_in_both_directions() {
        let addresses = ["192.0.2.2", "10.0.0.2"].map(|text| text.parse().unwrap());
        let mut peer = Peer::new(&addresses);
        let start = Instant::from_nanos(1_000_000_000);
        let heard_there = |peer: &Peer, now| {
            let status = peer.status(&NodeName::new("lb2"), now);
            let paths = status.paths.into_iter();
            paths.map(|path| path.heard_there).collect::<Vec<_>>()
        };
        assert_eq!(
            (peer.heard_paths(start), heard_there(&peer, start)),
            (0, vec![None; 2])
        );
        let message = |heard_paths| Message {
            revision: 0,
            known: 0,
            pace: Duration::from_millis(100),
            clock_ms: 1,
            echo_ms: 0,
            heard_paths,
            program: String::new(),
            news: None,
            words: Vec::new(),
        };
        peer.hear(start, 1, PathIndex(1), 7, message(Some(0b01)));
        assert_eq!(peer.heard_paths(start), 0b10);
        assert_eq!(heard_there(&peer, start), [Some(true), Some(false)]);
        peer.hear(start, 1, PathIndex(0), 7, message(None));
        assert_eq!(peer.heard_paths(start), 0b11);
        assert_eq!(heard_there(&peer, start), [None; 2]);
        let late = start + peer.patience() * 2;
        assert_eq!(peer.heard_paths(late), 0);
    }
}
