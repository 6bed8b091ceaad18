//! What the segment does to packets.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use vipward::agent::time::Instant;

use crate::dice::Dice;
use crate::kit::HostId;
use crate::kit::wire::Weather;

/// The present state, shared with whoever changes it.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    pub delay: Duration,
    /// Added to the delay, up to this; later packets stay behind earlier ones.
    pub jitter: Duration,
    pub loss_percent: u64,
    /// Of packets that begin a burst of losses, and how long one lasts.
    pub burst_percent: u64,
    pub burst: Duration,
    pub duplicate_percent: u64,
    pub reorder_percent: u64,
    /// How much later one comes that is overtaken.
    pub reorder_by: Duration,
    pub link: crate::cluster::LinkConditions,
}

impl Conditions {
    pub fn lossy(&self) -> bool {
        self.loss_percent > 0 || self.burst_percent > 0 || self.link.is_bad()
    }
}

pub struct Sky {
    pub now: Rc<RefCell<Conditions>>,
    pub dice: Dice,
    /// Until when everything between two hosts is lost.
    bursts: BTreeMap<(HostId, HostId), Instant>,
    /// When the last packet between two hosts arrives.
    last: BTreeMap<(HostId, HostId), Instant>,
}

impl Sky {
    pub fn new(now: Rc<RefCell<Conditions>>, seed: u64) -> Self {
        Self {
            now,
            dice: Dice::new(seed, "weather"),
            bursts: BTreeMap::new(),
            last: BTreeMap::new(),
        }
    }
}

impl Weather for Sky {
    fn fate(&mut self, from: HostId, to: HostId, now: Instant) -> [Option<Duration>; 2] {
        let here = self.now.borrow();
        // As many throws for each packet whatever the weather is, so that a
        // fault left out changes as little else as possible.
        let [lost, burst, twice, late] = [(); 4].map(|()| self.dice.below(100));
        let jitter = self.dice.span(Duration::ZERO, here.jitter);
        let link = (from, to);
        if burst < here.burst_percent {
            self.bursts.insert(link, now + here.burst);
        }
        let in_burst = self.bursts.get(&link).is_some_and(|until| now < *until);
        if in_burst && here.burst_percent > 0 || lost < here.loss_percent {
            return [None, None];
        }
        if late < here.reorder_percent {
            let by = self.dice.span(here.delay, here.delay + here.reorder_by);
            return [Some(by), None];
        }
        let behind = self.last.get(&link).map(|last| last.since(now));
        let delay = (here.delay + jitter).max(behind.unwrap_or_default());
        self.last.insert(link, now + delay);
        let copy = (twice < here.duplicate_percent)
            .then(|| delay + self.dice.span(Duration::ZERO, here.delay + here.jitter));
        [Some(delay), copy]
    }
}
