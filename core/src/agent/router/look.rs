//! One look at the segment: a few questions, and a time in which they may be
//! answered.

use super::*;

/// The segment is given this long to answer, and no longer than an interval.
const LONGEST: Duration = Duration::from_millis(100);
const ROUNDS: u8 = 3;

/// Questions to witnesses, and perhaps to the other node, on the segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    rounds: u8,
    next_at: Instant,
    span: Duration,
    pub until: Instant,
    pub witness_answered: bool,
}

/// How long a look takes where advertisements come at this interval.
pub(super) fn span(interval: Duration) -> Duration {
    interval.min(LONGEST)
}

impl Look {
    pub fn new(now: Instant, span: Duration) -> Self {
        Self {
            rounds: 0,
            next_at: now,
            span,
            until: now + span,
            witness_answered: false,
        }
    }

    /// Whether to ask now; sets when to ask or look next.
    pub fn ask(&mut self, now: Instant) -> bool {
        if self.until <= now {
            // Woken late: there is no time left for an answer.
            self.rounds = ROUNDS;
        }
        let due = self.has_questions() && self.next_at <= now;
        if due {
            self.rounds += 1;
            self.next_at = now + self.span / u32::from(ROUNDS);
        }
        due
    }

    /// Not everything was asked yet.
    pub fn has_questions(&self) -> bool {
        self.rounds < ROUNDS
    }

    pub fn next(&self) -> Instant {
        if self.has_questions() {
            self.next_at.min(self.until)
        } else {
            self.until
        }
    }

    /// It has not been over for longer than it took: what was found holds.
    pub fn is_recent(&self, now: Instant) -> bool {
        now <= self.until + self.span
    }
}
