//! The core's instants as wall-clock times.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::agent::time::Instant;

/// Converts the core's instants to wall-clock times. The two clocks are read
/// at different moments, so one instant would be a different millisecond at
/// every call; the offset between them is therefore kept until the wall clock
/// was really set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WallClock {
    /// Wall-clock time, in nanoseconds since 1970, of the instant 0.
    offset_nanos: i128,
}

impl WallClock {
    /// Differences up to this are taken for reading the clocks late: between the
    /// two readings a busy machine may do other things.
    pub const TOLERANCE: Duration = Duration::from_secs(1);

    /// `now` and `wall` are the same moment.
    pub fn new(now: Instant, wall: Timestamp) -> Self {
        Self {
            offset_nanos: wall.as_nanosecond() - i128::from(now.as_nanos()),
        }
    }

    /// The clock to use at this moment: the same as before, unless the wall
    /// clock was set.
    #[must_use]
    pub fn observe(self, now: Instant, wall: Timestamp) -> Self {
        let fresh = Self::new(now, wall);
        let difference = fresh.offset_nanos.abs_diff(self.offset_nanos);
        if difference > Self::TOLERANCE.as_nanos() {
            fresh
        } else {
            self
        }
    }

    pub fn at(self, instant: Instant) -> Time {
        let nanos = self.offset_nanos + i128::from(instant.as_nanos());
        // Only a wall clock set to the last centuries of the year 9999 gets there.
        Time(Timestamp::from_nanosecond(nanos).unwrap_or(Timestamp::MAX))
    }
}

/// RFC 3339 in UTC with milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Timestamp);

impl Time {
    /// How long ago it was; zero when it lies in the future.
    pub fn age(self, now: Timestamp) -> Duration {
        Duration::try_from(now.duration_since(self.0)).unwrap_or(Duration::ZERO)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.0)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Time).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_does_not_jitter_with_the_clocks() {
        let wall: Timestamp = "2026-11-22T10:00:00.0004Z".parse().unwrap();
        let seconds = |seconds: u64| Instant::from_nanos(seconds * 1_000_000_000);
        let clock = WallClock::new(seconds(100), wall);
        let event = clock.at(seconds(40));
        assert_eq!(event.to_string(), "2026-11-22T09:59:00.000Z");

        // Read 0.7 ms late, or 999 ms late: the same moment as before.
        for late in [700, 999_000] {
            let observed = clock.observe(
                seconds(160),
                wall + Duration::from_micros(60_000_000 + late),
            );
            assert_eq!(observed.at(seconds(40)), event);
        }
        let early = wall + Duration::from_secs(60) - Duration::from_millis(99);
        assert_eq!(clock.observe(seconds(160), early), clock);
    }

    #[test]
    fn a_wall_clock_that_was_set_is_followed() {
        let wall: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
        let now = Instant::from_nanos(5_000_000_000);
        let clock = WallClock::new(now, wall);
        let set: Timestamp = "2026-11-22T11:00:00Z".parse().unwrap();
        let followed = clock.observe(now, set);
        assert_eq!(followed.at(now).to_string(), "2026-11-22T11:00:00.000Z");
        let back = followed.observe(now, wall);
        assert_eq!(back.at(now).to_string(), "2026-11-22T10:00:00.000Z");
    }

    #[test]
    fn ages_never_run_backwards() {
        let time = Time("2026-11-22T10:00:00Z".parse().unwrap());
        assert_eq!(
            time.age(time.0 + Duration::from_secs(5)),
            Duration::from_secs(5)
        );
        assert_eq!(time.age(time.0 - Duration::from_secs(5)), Duration::ZERO);
    }
}
