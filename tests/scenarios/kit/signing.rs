//! The shell's part in authentication, on hosts that have it: a wall clock
//! that people set, the numbers of our advertisements by the shell's own rules,
//! and a state directory that outlives agents and power. Whether a seal is
//! genuine is a word in the packet; the HMAC itself has trials of its own.

use std::time::Duration;

use vipward::agent::Agent;
use vipward::agent::authentication::Mark;
use vipward::agent::numbers::Numbers;
use vipward::agent::numbers::ceiling::Reach;
use vipward::agent::seal::{KIND_HMAC, Sequence};
use vipward::agent::settings::{Authentication, HmacSettings, InstanceSettings};
use vipward::agent::time::Instant;
use vipward::agent::values::InstanceName;

use super::wire::Sealed;
use super::{HostId, Lab, START};

/// The true time when a story begins.
const EPOCH: Duration = Duration::from_secs(1_700_000_000);
/// Marks are written down this often.
pub const KEEPING: Duration = Duration::from_secs(1);
/// From an order to write a ceiling until it is in the file.
const WRITING: Duration = Duration::from_millis(10);

/// What survives the agent and its host.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    pub ceiling: Option<Sequence>,
    pub marks: Vec<(InstanceName, Mark)>,
    /// When these were written.
    pub marks_at: Option<Instant>,
}

#[derive(Clone, Debug)]
pub struct Signing {
    /// How far the wall clock is ahead of the true time, in seconds.
    pub off: i64,
    pub disk: Disk,
    numbers: Numbers,
    reach: Reach,
    granted: Option<Sequence>,
    /// Ordered, and when it will be in the file.
    writing: Option<(Instant, Sequence)>,
    signed: bool,
    /// When the marks are written down next.
    keeping: Instant,
}

impl Default for Signing {
    fn default() -> Self {
        let now = clock(START, 0);
        Self {
            off: 0,
            disk: Disk::default(),
            numbers: Numbers::begin(None, now),
            reach: Reach::new(None),
            granted: None,
            writing: None,
            signed: false,
            keeping: START,
        }
    }
}

fn clock(now: Instant, off: i64) -> Sequence {
    let true_time = EPOCH + now.since(START);
    let by = Duration::from_secs(off.unsigned_abs());
    Sequence::at_clock(match off {
        0.. => true_time + by,
        _ => true_time - by,
    })
}

impl Signing {
    pub fn clock(&self, now: Instant) -> Sequence {
        clock(now, self.off)
    }

    /// An agent starts.
    fn begin(&mut self, agent: &mut Agent, now: Instant) {
        for (name, mark) in &self.disk.marks {
            agent.restore_mark(name, *mark);
        }
        let signs = |settings: &InstanceSettings| hmac(settings).is_some_and(HmacSettings::signs);
        let signs = agent.instances().any(|(_, settings)| signs(settings));
        let clock = self.clock(now);
        self.reach = Reach::new(self.disk.ceiling);
        self.granted = None;
        self.writing = None;
        self.signed = false;
        self.keeping = now + KEEPING;
        if signs {
            let first = self.reach.first(clock);
            self.reach.ordered(first);
            self.disk.ceiling = Some(first);
            self.granted = Some(first);
        }
        self.numbers = Numbers::begin(self.reach.start(), clock);
    }

    /// Carries out what should have been by now. Marks move in turns only, so
    /// before a turn they are what they were when it was time.
    fn keep(&mut self, agent: Option<&Agent>, now: Instant) {
        if let Some((_, ceiling)) = self.writing.take_if(|(at, _)| *at <= now) {
            self.disk.ceiling = Some(ceiling);
            self.granted = Some(ceiling);
        }
        if self.keeping <= now
            && let Some(agent) = agent
        {
            let late = now.since(self.keeping).as_nanos() % KEEPING.as_nanos();
            let late = Duration::from_nanos(u64::try_from(late).expect("below a second"));
            // Nothing has moved since it was time.
            self.write(agent, now.minus(late));
            self.keeping = (now + KEEPING).minus(late);
        }
    }

    /// The agent ends by itself: nothing newer was sent.
    fn close(&mut self, agent: &Agent, now: Instant) {
        self.write(agent, now);
        if self.signed {
            self.disk.ceiling = Some(self.numbers.monotonic);
        }
    }

    fn write(&mut self, agent: &Agent, now: Instant) {
        let all = agent.marks();
        self.disk.marks = all.map(|(name, mark)| (name.clone(), mark)).collect();
        self.disk.marks_at = Some(now);
    }

    /// For one advertisement to all its destinations.
    fn sign(&mut self, settings: &HmacSettings, now: Instant) -> Sequence {
        self.signed = true;
        let clock = self.clock(now);
        let (reach, granted, writing) = (&mut self.reach, self.granted, &mut self.writing);
        self.numbers.next(settings, clock, |last| {
            let step = reach.next(last, clock, granted);
            if let Some(order) = step.order {
                reach.ordered(order);
                *writing = Some((now + WRITING, order));
            }
            step.number
        })
    }

    /// The number that the next advertisement would have, nearly.
    pub fn next_number(&self, now: Instant) -> Sequence {
        self.numbers.monotonic.after(self.clock(now))
    }
}

pub fn hmac(settings: &InstanceSettings) -> Option<&HmacSettings> {
    match &settings.authentication {
        Authentication::Hmac(hmac) => Some(hmac),
        Authentication::None | Authentication::Password(_) => None,
    }
}

impl Lab {
    /// Gives a host a wall clock and a state directory.
    pub fn give_clock(&mut self, id: HostId) {
        self.at_mut(id).signing = Some(Box::default());
    }

    /// Somebody sets the wall clock, so many seconds ahead of the true time.
    pub fn set_clock(&mut self, id: HostId, off: i64) {
        let name = self.at(id).name.clone();
        self.tell(format!("{name} has its clock set {off:+} s off"));
        if let Some(signing) = &mut self.at_mut(id).signing {
            signing.off = off;
        }
    }

    /// What the wall clock of a host shows, if it has one.
    pub fn wall(&self, id: HostId) -> Option<Sequence> {
        let signing = self.at(id).signing.as_ref();
        signing.map(|signing| signing.clock(self.now))
    }

    pub(super) fn begin_signing(&mut self, id: HostId) {
        let now = self.now;
        let host = self.at_mut(id);
        if let (Some(signing), Some(agent)) = (&mut host.signing, &mut host.agent) {
            signing.begin(agent, now);
        }
    }

    /// Before each turn, and before an agent is gone.
    pub(super) fn keep_signing(&mut self, id: HostId) {
        let now = self.now;
        let host = self.at_mut(id);
        let agent = host.agent.as_ref().filter(|_| !host.paused);
        if let Some(signing) = &mut host.signing {
            signing.keep(agent, now);
        }
    }

    pub(super) fn close_signing(&mut self, id: HostId) {
        let now = self.now;
        let host = self.at_mut(id);
        if let (Some(signing), Some(agent)) = (&mut host.signing, &host.agent) {
            signing.close(agent, now);
        }
    }

    /// The trailer of what a host is about to send.
    pub(super) fn seal(&mut self, id: HostId, settings: &InstanceSettings) -> Option<Sealed> {
        let now = self.now;
        let signing = self.at_mut(id).signing.as_mut()?;
        let hmac = hmac(settings).filter(|hmac| hmac.signs())?;
        let sequence = signing.sign(hmac, now);
        Some(Sealed {
            kind: KIND_HMAC,
            key: hmac.active_key,
            sequence,
            genuine: true,
            // Each receiver looks at its own.
            our_clock: sequence,
        })
    }
}
