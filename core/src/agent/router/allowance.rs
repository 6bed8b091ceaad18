//! A bound on what others can make us do.

use std::time::Duration;

use crate::agent::time::Instant;

/// A bound on answers and lines: a few at once, then one for each `every`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    left: u8,
    refilled: Instant,
}

impl Allowance {
    pub const FULL: u8 = 4;

    pub fn new(now: Instant) -> Self {
        Self {
            left: Self::FULL,
            refilled: now,
        }
    }

    pub fn take(&mut self, now: Instant, every: Duration) -> bool {
        let spans = now.since(self.refilled).as_nanos() / every.as_nanos().max(1);
        if spans > 0 {
            let spans = u8::try_from(spans).unwrap_or(u8::MAX);
            self.left = self.left.saturating_add(spans).min(Self::FULL);
            self.refilled = now;
        }
        let allowed = self.left > 0;
        self.left = self.left.saturating_sub(1);
        allowed
    }
}
