//! Errors of an interface, by the kernel's counters, since the last look.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::outcome::Trouble;
use crate::agent::values::InterfaceName;

/// The counters of this thread's network namespace.
const COUNTERS: &str = "/proc/thread-self/net/dev";
/// Two looks nearer to each other tell the same.
const APART: Duration = Duration::from_millis(50);
/// Interfaces that are remembered; the names come from the configuration, and
/// old ones go when there are more.
const INTERFACES_MAX: usize = 1000;

/// What was counted when somebody looked last.
#[derive(Default)]
pub(super) struct Links {
    last: Mutex<BTreeMap<InterfaceName, Seen>>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    at: Instant,
    errors: u64,
    /// A second, before that.
    rate: u64,
}

impl Links {
    /// In words how many there are a second. The first look passes.
    pub fn probe(&self, interface: InterfaceName, above: u32) -> Result<String, Trouble> {
        let text = std::fs::read_to_string(COUNTERS);
        let text =
            text.map_err(|error| Trouble::NotRun(format!("{COUNTERS} cannot be read: {error}")))?;
        let errors = errors(&text, interface.as_str())
            .ok_or_else(|| Trouble::Failed(format!("the interface {interface} does not exist")))?;
        let rate = self.rate(interface, Instant::now(), errors);
        let told = match rate {
            1 => "1 error a second".to_owned(),
            rate => format!("{rate} errors a second"),
        };
        match rate > u64::from(above) {
            true => Err(Trouble::Failed(format!(
                "{interface} has {told}, and {above} are the limit ({errors} in all)"
            ))),
            false => Ok(told),
        }
    }

    /// Rounded up: where there are any it is not 0.
    fn rate(&self, interface: InterfaceName, at: Instant, errors: u64) -> u64 {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let rate = match last.get(&interface) {
            // Too near, or an interface that was made anew.
            Some(seen) if at.duration_since(seen.at) < APART => return seen.rate,
            Some(seen) if errors >= seen.errors => {
                let more = u128::from(errors - seen.errors) * 1_000_000_000;
                let since = at.duration_since(seen.at).as_nanos().max(1);
                u64::try_from(more.div_ceil(since)).unwrap_or(u64::MAX)
            }
            Some(_) | None => 0,
        };
        if last.len() >= INTERFACES_MAX && !last.contains_key(&interface) {
            last.clear();
        }
        last.insert(interface, Seen { at, errors, rate });
        rate
    }
}

/// Received and sent ones together, which are the third column of each half.
fn errors(text: &str, interface: &str) -> Option<u64> {
    const HALF: usize = 8;
    const ERRORS: usize = 2;
    let counters = text.lines().find_map(|line| {
        let (name, counters) = line.split_once(':')?;
        (name.trim() == interface).then_some(counters)
    })?;
    let counters: Vec<&str> = counters.split_whitespace().collect();
    let column = |at: usize| counters.get(at)?.parse::<u64>().ok();
    column(ERRORS)?.checked_add(column(HALF + ERRORS)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Inter-|   Receive                  |  Transmit\n\
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n\
    lo:   10 2 0 0 0 0 0 0   10 2 0 0 0 0 0 0\n\
  eth0: 1000 9 3 1 0 2 0 0 2000 8 4 0 0 0 0 0\n\
 eth0.7:1000 9 1 1 0 2 0 0 2000 8 1 0 0 0 0 0\n";

    #[test]
    fn both_directions_count() {
        assert_eq!(errors(TEXT, "eth0"), Some(7));
        assert_eq!(errors(TEXT, "eth0.7"), Some(2));
        assert_eq!(errors(TEXT, "lo"), Some(0));
        assert_eq!(errors(TEXT, "eth1"), None);
        assert_eq!(errors("eth0: 1 2", "eth0"), None);
        assert_eq!(errors("", ""), None);
    }

    #[tokio::test]
    async fn the_rate_is_of_the_time_between_two_looks() {
        let links = Links::default();
        let eth0: InterfaceName = "eth0".parse().expect("a name");
        let start = Instant::now();
        let after = |millis: u64| start + Duration::from_millis(millis);
        assert_eq!(links.rate(eth0, start, 100), 0, "nothing to compare with");
        assert_eq!(links.rate(eth0, after(1_000), 100), 0);
        assert_eq!(links.rate(eth0, after(3_000), 121), 11, "rounded up");
        assert_eq!(links.rate(eth0, after(3_010), 500), 11, "too near");
        assert_eq!(links.rate(eth0, after(4_000), 3), 0, "made anew");
        assert_eq!(links.rate(eth0, after(14_000), 4), 1);
    }

    #[tokio::test]
    async fn the_kernel_is_asked_for_real() {
        let links = Links::default();
        let lo = "lo".parse().expect("a name");
        assert_eq!(links.probe(lo, 0), Ok("0 errors a second".to_owned()));
        let none = "nosuch0".parse().expect("a name");
        let told = links.probe(none, 0);
        let why = "the interface nosuch0 does not exist".to_owned();
        assert_eq!(told, Err(Trouble::Failed(why)));
    }
}
