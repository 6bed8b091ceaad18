//! An address never outlives its agent: every failure that one can think of,
//! each judged by how long two hosts held the address and how long nobody
//! answered. `docs/failure-modes.md` has the figures; here the bounds are
//! generous, since the machine may be busy.

use std::time::{Duration, Instant};

use libtest_mimic::Trial;

use crate::lab::agent::Agent;
use crate::lab::config::Router;
use crate::lab::outage::Outage;
use crate::lab::prober::Prober;
use crate::lab::{Host, LONG, Lab, vip};

mod deaths;
mod kernel;
mod pauses;
mod random;
mod sending;

/// What a busy machine may add to a figure.
const SOON: Duration = Duration::from_millis(1000);
/// The kernel counts whole seconds and looks for expired leases once in one.
const LATE_EXPIRY: Duration = Duration::from_millis(500);

pub fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    // The long ones first.
    trials.extend(random::trials());
    trials.extend(pauses::trials());
    trials.extend(kernel::trials());
    trials.extend(sending::trials());
    trials.extend(deaths::trials());
    trials
}

/// Active on the first host, Backup on the second, and a client that asks.
struct Pair {
    lab: Lab,
    a: Host,
    b: Host,
    client: Host,
    first: Agent,
    second: Agent,
    /// Until the cost is asked for.
    prober: Option<Prober>,
}

impl Pair {
    fn new(best: &Router, second: &Router) -> Self {
        Self::with(|_, _| (best.clone(), second.clone()))
    }

    /// With routers for two hosts that know each other.
    fn with(routers: impl FnOnce(&Host, &Host) -> (Router, Router)) -> Self {
        let lab = Lab::new();
        let [a, b, client] = lab.hosts(["a", "b", "client"]);
        let (best, second) = routers(&a, &b);
        let first = lab.agent(&a, std::slice::from_ref(&best));
        for address in best.parsed() {
            a.watch.wait(first.started, address, true, LONG);
        }
        let second = lab.agent(&b, std::slice::from_ref(&second));
        second.wait_state("web", "backup", LONG);
        let prober = Prober::start(&client, vip());
        prober.wait_answered(LONG);
        Self {
            lab,
            a,
            b,
            client,
            first,
            second,
            prober: Some(prober),
        }
    }

    /// What it cost since then, told to whoever runs this by hand too. Waits
    /// until the address is answered for again.
    #[track_caller]
    fn cost(&mut self, what: &str, since: Instant) -> Outage {
        let prober = self.prober.take().expect("asked once");
        prober.wait_answered(LONG);
        let report = prober.stop();
        let outage = Outage::since(since, [&self.a, &self.b], vip(), Some(&report));
        self.lab.tell(what, &outage);
        outage
    }

    /// Nothing happened to anybody since then.
    #[track_caller]
    fn assert_untouched(&mut self, what: &str, since: Instant) {
        let outage = self.cost(what, since);
        assert_eq!(self.a.watch.times(since, vip()), []);
        assert_eq!(self.b.watch.times(since, vip()), []);
        assert!(self.lab.observer.adverts(since, "b").is_empty());
        outage.assert_at_most(Duration::ZERO, Duration::ZERO);
    }
}
