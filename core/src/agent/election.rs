//! The arithmetic of the election: who outranks whom, and how long silence
//! has to last (RFC 9568 section 6.1, RFC 3768 section 6.1).

use std::net::IpAddr;
use std::time::Duration;

use super::values::{Priority, Version};

/// Skew_Time. `interval` is Active_Adver_Interval and has no part in version
/// 2. Kept in nanoseconds: in whole centiseconds the priorities 254 and 253
/// would be equal at 100 ms.
pub fn skew_time(version: Version, priority: Priority, interval: Duration) -> Duration {
    let base = match version {
        Version::V2 => Duration::from_secs(1),
        Version::V3 => interval,
    };
    base * (256 - u32::from(priority.get())) / 256
}

/// Active_Down_Interval; `down_after` is 3 in the RFC, and `wait` Skew_Time,
/// unless less is known to be enough.
pub fn active_down_interval(interval: Duration, down_after: u8, wait: Duration) -> Duration {
    interval * u32::from(down_after) + wait
}

/// Whether an advertisement of `theirs` takes the address from an Active that
/// sends `ours` (RFC 9568 section 6.4.3). Priority decides, then the source
/// address as an unsigned integer.
pub fn outranks(theirs: (u8, IpAddr), ours: (u8, IpAddr)) -> bool {
    theirs > ours
}

/// The highest priority, at most `ours`, with which we still lose to
/// `theirs`; `None` when even 1 would win.
pub fn losing_priority(theirs: (u8, IpAddr), ours: (u8, IpAddr)) -> Option<u8> {
    let (our_priority, our_source) = ours;
    let highest = our_priority.min(theirs.0);
    [highest, highest.saturating_sub(1)]
        .into_iter()
        .find(|priority| *priority > 0 && outranks(theirs, (*priority, our_source)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn priority(value: u8) -> Priority {
        Priority::new(value).expect("not zero")
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn the_figures_of_the_rfc() {
        let second = Duration::from_secs(1);
        assert_eq!(
            skew_time(Version::V3, priority(100), second),
            Duration::from_micros(609_375)
        );
        assert_eq!(
            active_down_interval(second, 3, skew_time(Version::V3, priority(100), second)),
            Duration::from_micros(3_609_375)
        );
        assert_eq!(
            skew_time(Version::V3, priority(254), second / 10),
            Duration::from_nanos(781_250)
        );
        assert_eq!(
            skew_time(Version::V2, priority(100), second * 7),
            Duration::from_micros(609_375)
        );
    }

    #[test]
    fn a_higher_priority_waits_less_at_every_interval() {
        for centiseconds in 1..=4095u64 {
            let interval = Duration::from_millis(centiseconds * 10);
            for value in 1..=254 {
                let lower = skew_time(Version::V3, priority(value), interval);
                let higher = skew_time(Version::V3, priority(value + 1), interval);
                assert!(
                    lower >= higher + Duration::from_micros(39),
                    "priorities {value} and {} are {lower:?} and {higher:?} at {interval:?}",
                    value + 1
                );
            }
        }
    }

    #[test]
    fn priority_decides_then_the_address() {
        assert!(outranks((101, address(1)), (100, address(2))));
        assert!(!outranks((99, address(2)), (100, address(1))));
        assert!(outranks((100, address(2)), (100, address(1))));
        assert!(!outranks((100, address(1)), (100, address(2))));
        // As unsigned integers: 192.0.2.200 is above 192.0.2.100.
        assert!(outranks((100, address(200)), (100, address(100))));
        assert!(!outranks((100, address(1)), (100, address(1))));
    }

    #[test]
    fn a_parting_priority_always_loses_and_is_as_high_as_it_can_be() {
        for theirs in 1..=255 {
            for ours in 1..=255 {
                for (their_host, our_host) in [(1, 2), (2, 1)] {
                    let them = (theirs, address(their_host));
                    match losing_priority(them, (ours, address(our_host))) {
                        Some(chosen) => {
                            assert!(chosen <= ours);
                            assert!(outranks(them, (chosen, address(our_host))));
                            let next = chosen + u8::from(chosen < 255);
                            assert!(
                                chosen == ours || !outranks(them, (next, address(our_host))),
                                "{chosen} is lower than need be"
                            );
                        }
                        None => assert!(!outranks(them, (1, address(our_host)))),
                    }
                }
            }
        }
    }
}
