//! What the rules remember of one instance, and the arithmetic of its timers
//! in other words than the core's.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use vipward::agent::settings::InstanceSettings;
use vipward::agent::status::StateName;
use vipward::agent::time::Instant;
use vipward::agent::values::Version;

/// What is known of one instance on one host, by its own clock.
#[derive(Debug)]
pub struct Watch {
    pub state: StateName,
    /// Backup: the last thing heard that counts, and what was learned by it.
    pub heard: Instant,
    pub resigned: bool,
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
    /// Nothing has left it for too long, and it is hearing others out.
    pub listens_first: bool,
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
            interval: Duration::ZERO,
            preempt_at: None,
            forgiven: None,
            moved: false,
            parting: false,
            last_advert: now,
            patience: Duration::ZERO,
            advert_by: now,
            listens_first: false,
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
    }

    /// An Active whose peers' patience is over hears them out for one interval.
    pub fn listens_after_a_stall(&mut self, now: Instant) -> bool {
        let begins = now.since(self.last_advert) > self.patience && !self.listens_first;
        self.listens_first |= begins;
        begins
    }

    /// When the Active_Down_Timer ends.
    pub fn down_at(&self, settings: &InstanceSettings, priority: u8) -> Instant {
        let skew = skew(settings.version, priority, self.interval);
        let silence = self.interval * u32::from(settings.down_after);
        self.heard + if self.resigned { skew } else { silence + skew }
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
