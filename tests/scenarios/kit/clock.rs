//! Each host's own clock: it runs a little faster or slower than the others',
//! and whoever waits for it is woken a little late.

use std::time::Duration;

use vipward::agent::time::Instant;

use super::START;

/// A million of a million: parts of the rate.
const MILLION: i128 = 1_000_000;

#[derive(Clone, Copy, Debug, Default)]
pub struct Clock {
    /// How much faster than the laboratory's it runs, in parts per million.
    pub ppm: i32,
    /// A wake-up is late by up to this.
    pub late_max: Duration,
}

impl Clock {
    /// What this clock shows.
    pub fn local(&self, now: Instant) -> Instant {
        if self.ppm == 0 {
            return now;
        }
        let since = i128::from(now.as_nanos()) - i128::from(START.as_nanos());
        self.shown(since * (MILLION + i128::from(self.ppm)) / MILLION)
    }

    /// The first moment at which this clock shows `local`.
    pub fn global(&self, local: Instant) -> Instant {
        if self.ppm == 0 {
            return local;
        }
        let since = i128::from(local.as_nanos()) - i128::from(START.as_nanos());
        let rate = MILLION + i128::from(self.ppm);
        // Rounded up, and one more for the rounding on the way back.
        self.shown((since * MILLION).div_euclid(rate) + 2)
    }

    fn shown(&self, since_start: i128) -> Instant {
        let nanos = i128::from(START.as_nanos()) + since_start;
        Instant::from_nanos(u64::try_from(nanos).expect("a time of this story"))
    }

    /// When whoever set its timer to `local` is woken: the same for the same
    /// deadline, without any pattern.
    pub fn woken(&self, local: Instant) -> Instant {
        let at = self.global(local);
        let most = u64::try_from(self.late_max.as_nanos()).expect("short");
        if most == 0 {
            return at;
        }
        let mixed = local.as_nanos().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        at + Duration::from_nanos(mixed % (most + 1))
    }
}
