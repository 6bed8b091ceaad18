//! What the rules remember of one instance, and the arithmetic of its timers
//! in other words than the core's.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use vipward::agent::settings::InstanceSettings;
use vipward::agent::status::StateName;
use vipward::agent::time::Instant;
use vipward::agent::values::{NodeName, Version};

use crate::rules::moves::Moving;

/// What is known of one instance on one host, by its own clock.
#[derive(Debug)]
pub struct Watch {
    pub state: StateName,
    /// Backup: the last thing heard that counts, and what was learned by it.
    pub heard: Instant,
    pub resigned: bool,
    /// The only unicast peer is the Active that was heard last: nobody else
    /// has to be waited for.
    pub alone: bool,
    /// It was heard before this instance took part, which may count.
    pub perhaps_alone: bool,
    /// The Active that was heard last.
    pub active: Option<IpAddr>,
    /// Resigned, or so a node was told, at that moment; with whether it was
    /// the best of those that it was told of.
    pub left: Option<(Instant, bool)>,
    /// A better one is known to be there: no hurry.
    pub knows_better: bool,
    /// It moves together with others, or has a hook before its addresses; and
    /// whether it did when its timer was set.
    pub is_bound: bool,
    pub is_loose: bool,
    /// It gave way because a mate did, and is as patient as that one.
    pub follows_mate: bool,
    /// When an Active was heard last that it has to respect; any at all.
    pub respected: Option<Instant>,
    pub incumbent: Option<Instant>,
    /// When that resigned, if it did.
    pub resigned_at: Option<Instant>,
    /// It is a node of a cluster.
    pub is_node: bool,
    /// In a planned move.
    pub moving: Option<Moving>,
    /// The last exchange that it offered, by its number.
    pub offered: Option<u64>,
    /// It was handed over to this node, which it does not preempt.
    pub left_to: Option<NodeName>,
    /// A check warns: it preempts nobody.
    pub warned: bool,
    /// Told of an Active, it may wait until then.
    pub held_until: Option<Instant>,
    /// Its timer may have moved by what it was told.
    pub preempt_unsure: bool,
    pub interval: Duration,
    pub preempt_at: Option<Instant>,
    /// A late timer was forgiven until then.
    pub forgiven: Option<Instant>,
    /// The priority changed since: how late an overdue timer is depends on
    /// when it was looked at.
    pub moved: bool,
    /// A parting advertisement is owed.
    pub parting: bool,
    /// Active.
    pub last_advert: Instant,
    /// Of its peers, by what that advertisement told them.
    pub patience: Duration,
    pub advert_by: Instant,
    /// Nothing has left it for too long, and it is hearing others out: which
    /// began when its next advertisement was due, at the latest.
    pub listens_first: Option<Instant>,
    /// The interval may have changed since the last periodic advertisement.
    pub rescheduled: bool,
    /// Addresses to be announced again, and by when.
    pub owed: BTreeMap<IpAddr, Instant>,
    /// Announced at least once since the claim.
    pub announced: BTreeMap<IpAddr, Instant>,
}

impl Watch {
    pub fn new(now: Instant) -> Self {
        Self {
            state: StateName::Initialize,
            heard: now,
            resigned: false,
            alone: false,
            perhaps_alone: false,
            active: None,
            left: None,
            knows_better: false,
            is_bound: false,
            is_loose: false,
            follows_mate: false,
            respected: None,
            incumbent: None,
            resigned_at: None,
            is_node: false,
            moving: None,
            offered: None,
            left_to: None,
            warned: false,
            held_until: None,
            preempt_unsure: false,
            interval: Duration::ZERO,
            preempt_at: None,
            forgiven: None,
            moved: false,
            parting: false,
            last_advert: now,
            patience: Duration::ZERO,
            advert_by: now,
            listens_first: None,
            rescheduled: false,
            owed: BTreeMap::new(),
            announced: BTreeMap::new(),
        }
    }

    pub fn listens(&mut self, now: Instant, interval: Duration) {
        self.heard = now;
        self.resigned = false;
        self.interval = interval;
        self.forgiven = None;
        self.moved = false;
        self.left = None;
        self.held_until = None;
        self.preempt_unsure = false;
        self.is_loose = self.is_bound;
        self.follows_mate = false;
    }

    /// An Active whose peers' patience is over hears them out for one interval.
    /// Not every wake-up of its host is its own; the one is when its next
    /// advertisement is due, and `slack` later at most.
    pub fn listens_after_a_stall(&mut self, now: Instant, slack: Duration) -> bool {
        if now.since(self.last_advert) <= self.patience {
            return false;
        }
        let first = self.listens_first.is_none();
        let due = *self.listens_first.get_or_insert(self.advert_by);
        first || now <= due + slack
    }

    /// When the Active_Down_Timer ends at the earliest.
    pub fn earliest(&self, settings: &InstanceSettings, priority: u8) -> Instant {
        let usual = self.down_at(settings, priority, self.alone || self.perhaps_alone);
        if !self.is_node {
            return usual;
        }
        let skew = skew(settings.version, priority, self.interval);
        let silence = self.heard + self.interval * u32::from(settings.down_after);
        let hasty = !self.knows_better && self.active.is_some();
        let silent = if hasty { usual.min(silence) } else { usual };
        let left = self
            .left
            .map(|(at, best)| if best { at } else { at + skew });
        silent.min(left.unwrap_or(silent))
    }

    /// And at the latest.
    pub fn latest(&self, settings: &InstanceSettings, priority: u8) -> Instant {
        self.down_at(settings, priority, self.alone)
    }

    fn down_at(&self, settings: &InstanceSettings, priority: u8, alone: bool) -> Instant {
        let skew = skew(settings.version, priority, self.interval);
        let silence = self.interval * u32::from(settings.down_after);
        self.heard
            + match (self.resigned, alone) {
                (true, true) => Duration::ZERO,
                (true, false) => skew,
                (false, true) => silence + skew.min(self.interval / 10),
                (false, false) => silence + skew,
            }
    }
}

/// RFC 9568 section 6.1, RFC 3768 section 6.1.
pub fn skew(version: Version, priority: u8, interval: Duration) -> Duration {
    let whole = match version {
        Version::V2 => Duration::from_secs(1),
        Version::V3 => interval,
    };
    whole.mul_f64((256.0 - f64::from(priority)) / 256.0)
}
