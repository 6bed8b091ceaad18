//! The sequence numbers of signed advertisements, which only grow. Whoever
//! signs keeps them; here is which one comes next.

pub mod ceiling;

use std::time::Duration;

use crate::agent::seal::Sequence;
use crate::agent::settings::{AntiReplay, HmacSettings};

/// The last numbers given, one row for all instances of the host: what grows
/// for all grows for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbers {
    pub monotonic: Sequence,
    pub time: Sequence,
}

impl Numbers {
    /// Of an agent that starts: beyond what an earlier one was granted.
    pub fn begin(start: Option<Sequence>, clock: Sequence) -> Self {
        Self {
            monotonic: start.unwrap_or(clock),
            time: clock,
        }
    }

    /// The next one for receivers of these settings; `grow` gives the one
    /// after another for those who look at growth only.
    pub fn next(
        &mut self,
        settings: &HmacSettings,
        clock: Sequence,
        grow: impl FnOnce(Sequence) -> Sequence,
    ) -> Sequence {
        match settings.anti_replay {
            AntiReplay::Time => self.next_by_time(clock, settings.window),
            AntiReplay::Monotonic => {
                self.monotonic = grow(self.monotonic);
                self.monotonic
            }
        }
    }

    /// For receivers who look at their clock: ours, as it is now. After it
    /// was put back from far ahead their marks are behind it as well.
    pub fn next_by_time(&mut self, clock: Sequence, window: Duration) -> Sequence {
        let ahead = self.time.is_newer_than(clock) && self.time.distance(clock) > window;
        self.time = if ahead { clock } else { self.time.after(clock) };
        self.time
    }
}
