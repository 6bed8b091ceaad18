//! The election's arithmetic.

use std::time::Duration;

use super::values::{Priority, Version};

/// How long a backup waits beyond the silence, shorter for higher priorities;
/// also the wait after a resignation. Whole microseconds (RFC 9568 section
/// 6.1, RFC 3768 section 6.1).
pub fn skew_time(version: Version, priority: Priority, aai: Duration) -> Duration {
    let missing = 256 - u32::from(priority.get());
    let interval = match version {
        Version::V2 => Duration::from_secs(1),
        Version::V3 => aai,
    };
    let micros = interval.as_micros() * u128::from(missing) / 256;
    Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
}

/// The silence after which the Active is taken for lost: `down_after`
/// intervals and the skew.
pub fn active_down_interval(
    version: Version,
    priority: Priority,
    aai: Duration,
    down_after: u8,
) -> Duration {
    aai.saturating_mul(u32::from(down_after))
        .saturating_add(skew_time(version, priority, aai))
}
