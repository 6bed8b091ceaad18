//! What each node was told by the others, and what that excuses: an earlier
//! claim than one who knows nothing may make, and a later one than one who
//! knows nothing must.

use vipward::agent::cluster::LinkEvent;
use vipward::agent::cluster::message::{InstanceNews, Record, Word};
use vipward::agent::values::{InstanceName, NodeName, Version};

use super::*;
use crate::cluster::BEAT;

/// A node of which nothing came for three of its beats is not heard.
const BEATS: u32 = 3;
/// The segment's time to answer, and the other node's beyond it.
const LOOK: Duration = Duration::from_millis(250);

#[derive(Debug, Default)]
pub struct Told {
    nodes: BTreeMap<(HostId, NodeName), Known>,
}

#[derive(Debug)]
struct Known {
    session: u64,
    pace: Duration,
    last: Instant,
    records: BTreeMap<InstanceName, (u64, InstanceNews)>,
}

/// What a message changed for an instance.
#[derive(Debug, Default)]
pub struct Lesson {
    /// One that was Active tells that it is none any more.
    left: Option<IpAddr>,
    claimed_over: bool,
}

impl Lesson {
    /// The one that advertised from there says to take no part any more.
    pub fn has_left(&self, source: Option<IpAddr>) -> bool {
        self.left.is_some() && self.left == source
    }
}

impl Told {
    pub fn forget(&mut self, host: HostId) {
        self.nodes.retain(|(of, _), _| *of != host);
    }

    /// Before a turn is judged.
    pub fn hear(
        &mut self,
        host: HostId,
        now: Instant,
        input: &Input,
    ) -> BTreeMap<InstanceName, Lesson> {
        let mut lessons: BTreeMap<InstanceName, Lesson> = BTreeMap::new();
        let Input::Link(LinkEvent::Heard {
            node,
            session,
            message,
            ..
        }) = input
        else {
            return lessons;
        };
        let known = self.nodes.entry((host, node.clone()));
        let known = known.or_insert_with(|| Known {
            session: *session,
            pace: message.pace,
            last: now,
            records: BTreeMap::new(),
        });
        let mut former = BTreeMap::new();
        if known.session != *session {
            // Of a start that is over; what it was is none any more.
            known.session = *session;
            former = std::mem::take(&mut known.records);
        }
        known.pace = message.pace;
        known.last = now;
        let news = message.news.iter();
        for (up_to, record) in
            news.flat_map(|news| news.records.iter().map(|one| (news.up_to, one)))
        {
            match record {
                Record::Instance(news) => {
                    let old = known.records.get(&news.name);
                    if old.is_some_and(|(at, _)| *at >= up_to) {
                        continue;
                    }
                    let old = old.or_else(|| former.get(&news.name));
                    let was = old.filter(|(_, old)| old.state == StateName::Active);
                    if let Some((_, old)) = was
                        && matches!(
                            news.state,
                            StateName::Initialize | StateName::Fault | StateName::Drained
                        )
                    {
                        lessons.entry(news.name.clone()).or_default().left = old.source;
                    }
                    known
                        .records
                        .insert(news.name.clone(), (up_to, news.clone()));
                }
                Record::InstanceGone(name) => {
                    known.records.remove(name);
                }
                Record::Check(_) | Record::CheckGone(_) => {}
            }
        }
        for word in &message.words {
            if let Word::Claim { instance, .. } = word {
                lessons.entry(instance.clone()).or_default().claimed_over = true;
            }
        }
        lessons
    }

    /// At which a node says to advertise an instance.
    pub fn interval(&self, part: &Part<'_>, node: &NodeName) -> Option<Duration> {
        let known = self.nodes.get(&(part.host, node.clone()))?;
        let (_, news) = known.records.get(&part.settings.name)?;
        (part.settings.version == Version::V3).then_some(news.advert_interval)
    }

    fn of<'a>(
        &'a self,
        part: &'a Part<'_>,
    ) -> impl Iterator<Item = (&'a Known, &'a InstanceNews)> + 'a {
        let all = self.nodes.iter().filter(|((of, _), _)| *of == part.host);
        all.filter_map(|(_, known)| Some((known, known.records.get(&part.settings.name)?)))
            .map(|(known, (_, news))| (known, news))
    }

    /// Another node that is heard, and not the one at `leaver`, would win
    /// against us: we are not the one to hurry.
    pub fn knows_better(&self, part: &Part<'_>, leaver: Option<IpAddr>) -> bool {
        let number = part.lab.at(part.host).number;
        let ours = (part.priority, source(part.settings, number));
        self.of(part).any(|(known, news)| {
            let heard = part.now.since(known.last) < known.pace * BEATS;
            let theirs = news.source.map(|source| (news.priority, source));
            heard
                && news.source != leaver
                && news.is_candidate()
                && theirs.is_some_and(|theirs| theirs > ours)
        })
    }

    /// Some node, heard not long ago, told last that it is Active: what it
    /// advertises from.
    pub fn actives<'a>(&'a self, part: &'a Part<'_>) -> impl Iterator<Item = &'a InstanceNews> {
        self.of(part).filter_map(|(known, news)| {
            let heard = part.now.since(known.last) <= known.pace * BEATS;
            (heard && news.state == StateName::Active).then_some(news)
        })
    }
}

impl Told {
    /// What it was told may make it give way: of an Active that wins, or that
    /// a working segment was shown.
    pub fn moves(&self, part: &Part<'_>, lesson: Option<&Lesson>) -> bool {
        part.is_node()
            && (lesson.is_some_and(|lesson| lesson.claimed_over) || self.winner(part).is_some())
    }

    fn winner<'a>(&'a self, part: &'a Part<'_>) -> Option<&'a InstanceNews> {
        let number = part.lab.at(part.host).number;
        let ours = (part.priority, source(part.settings, number));
        let mut told = self.actives(part);
        told.find(|news| {
            let theirs = news.source.map(|source| (news.priority, source));
            theirs.is_some_and(|theirs| theirs > ours)
        })
    }
}

/// Until when a Backup may wait that has just been told of an Active: until
/// that is stale, and a look that began just before is over.
pub(super) fn held_until(part: &Part<'_>, interval: Duration) -> Instant {
    let down = interval * u32::from(part.settings.down_after);
    let skew = skew(part.settings.version, part.priority, interval);
    part.now + BEAT * BEATS + LOOK + down + skew
}

/// The effect of what was just told.
pub(super) fn learn(watch: &mut Watch, part: &Part<'_>, told: &Told, lesson: Option<&Lesson>) {
    if !part.is_node() {
        return;
    }
    if part.was == StateName::Backup && told.actives(part).next().is_some() {
        watch.held_until = watch.held_until.max(Some(held_until(part, watch.interval)));
    }
    let left = lesson.and_then(|lesson| lesson.left);
    if left.is_some() && left == watch.active {
        let hasty = !told.knows_better(part, left);
        watch.left.get_or_insert((part.now, hasty));
        // As good as priority 0 for its mates.
        watch.resigned_at = Some(part.now);
        watch.respected = None;
        watch.incumbent = None;
        watch.preempt_unsure = true;
    }
}

/// One that lets go because of what it was told, and nothing it heard: another
/// is Active by what that one says, and wins, or shows a segment that works.
pub(super) fn gave_way(watch: &mut Watch, part: &Part<'_>, told: &Told, lesson: Option<&Lesson>) {
    if lesson.is_some_and(|lesson| lesson.claimed_over) {
        watch.active = None;
        return;
    }
    let Some(winner) = told.winner(part) else {
        if !part.is_mute() && !part.unsent {
            part.fail("gave way, and was told of nobody that wins");
        }
        return;
    };
    watch.interval = watch.interval.max(winner.advert_interval);
    watch.active = winner.source;
}
