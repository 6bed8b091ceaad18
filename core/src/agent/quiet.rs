//! Keeps a flood of bad packets from becoming a flood of lines.

use std::collections::BTreeMap;
use std::time::Duration;

use super::status::Counter;
use super::time::Instant;
use super::values::{InstanceId, InterfaceName};

/// One line for each kind in this time.
const QUIET: Duration = Duration::from_secs(60);

/// Bounded by instances x counters and interfaces x counters.
#[derive(Clone, Debug, Default)]
pub(super) struct Quiet {
    kinds: BTreeMap<(Option<InstanceId>, InterfaceName, Counter), (Instant, u64)>,
}

impl Quiet {
    /// `Some(n)`: report it, and that `n` were kept quiet since the last
    /// report. `None`: keep quiet.
    pub fn may_report(
        &mut self,
        now: Instant,
        instance: Option<InstanceId>,
        interface: InterfaceName,
        counter: Counter,
    ) -> Option<u64> {
        let key = (instance, interface, counter);
        match self.kinds.get_mut(&key) {
            Some((last, repeated)) if now.since(*last) < QUIET => {
                *repeated = repeated.saturating_add(1);
                None
            }
            known => {
                let repeated = known.map_or(0, |(_, repeated)| *repeated);
                self.kinds.insert(key, (now, 0));
                Some(repeated)
            }
        }
    }
}
