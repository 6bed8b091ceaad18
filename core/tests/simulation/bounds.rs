//! How long things may take, and why. All bounds of the simulation are here.

use std::time::Duration;

use vipward::agent::settings::{InstanceSettings, Preempt};

use crate::cast::Cast;
use crate::cluster::BEAT;
use crate::fault::Fault;
use crate::rules::moves::{ADDITIONS, MARGIN, REPLY};

/// A wake-up or an answer costs no time in the laboratory; this much is for
/// the rounding of clocks.
pub const ROUNDING: Duration = Duration::from_micros(2);

#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// From the last disturbance until the hosts of every connected part
    /// agree on one Active, the right one, which has its addresses.
    pub agreement: Duration,
    /// Two connected hosts hold one address no longer than this.
    pub double: Duration,
    /// From a stop until nothing is left.
    pub stop: Duration,
    /// From an operator's order until it is answered.
    pub order: Duration,
}

impl Bounds {
    /// With I the longest interval that any host ever uses, D the longest
    /// delay, K the longest time of the kernel over all addresses:
    ///
    /// Agreement, from the last disturbance on, one after the other:
    /// - checks: `fall` or `rise` results and the one under way, 4 check
    ///   intervals and a time-out, and a second where one may be given up
    ///   (fault `runner`);
    /// - settle;
    /// - silence: Active_Down_Interval, which is `down_after` x I + skew and
    ///   skew is at most I (1 s in version 2, whose I is no shorter); and one
    ///   I more where a late timer is forgiven once;
    /// - claims that crossed: the loser hears the winner's next advertisement,
    ///   I + D;
    /// - a preempt delay counts from the first losing advertisement, I + D
    ///   after that, and ends in a claim: its loser needs D;
    /// - the loser releases and the winner adds, K each; one that resigns
    ///   keeps its addresses for I at most;
    /// - an address that vanished (faults `prune` and `expire`) is put back
    ///   within the longest pause between two restorations or, if only its
    ///   confirmation is missing, 1 s each; one whose interface vanished
    ///   (fault `interfaces`) a second after that is there again.
    pub fn of(cast: &Cast) -> Self {
        let unit = cast.unit;
        let instances = || cast.settings.iter().flat_map(|host| &host.instances);
        let longest = |of: &dyn Fn(&InstanceSettings) -> Duration| {
            instances().map(of).max().unwrap_or_default()
        };
        let settle = longest(&|instance| instance.settle);
        let preempt = longest(&|instance| match instance.preempt {
            Preempt::After(delay) => delay,
            Preempt::Never | Preempt::Immediately => Duration::ZERO,
        });
        let down_after = instances().map(|instance| instance.down_after).max();
        // keepalived's is always 3.
        let down_after = u32::from(down_after.unwrap_or(3).max(3));
        let second = Duration::from_secs(1);
        let with = |fault, span| {
            if cast.faults.has(fault) {
                span
            } else {
                Duration::ZERO
            }
        };
        let checks = unit * 4 + unit / 2 + with(Fault::Runner, second);
        let delay = cast.delay * 2 + Self::jitter_max(unit) * 2 + Self::reorder_max(unit);
        let kernel = Self::kernel_max(unit) * 8;
        let silence = unit * (down_after + 1) + unit;
        let preempting = unit + delay * 2 + preempt;
        let lost = cast.faults.has(Fault::Prune) || cast.faults.has(Fault::Expire);
        let restored = if lost { second * 2 } else { Duration::ZERO };
        let restored = restored + with(Fault::Interfaces, second * 3);
        let sum = checks + settle + silence + (unit + delay) + preempting;
        let sum = sum + kernel * 2 + unit + restored + cast.late_max * 10;
        let sum = sum + Self::linked(cast, silence);
        let (followed, released) = Self::together(cast, silence);
        let sum = sum + followed;
        let exchange = Self::exchange(cast, delay, kernel);
        let sum = sum + exchange + Self::warned(cast);
        let resigned = unit.min(second * 2) + delay + kernel + cast.late_max * 4;
        let stop = resigned + exchange + released;
        // One that resigned for a drain waits for a silence, one that another
        // node is to do for a second; a hook is waited for first.
        let order = exchange + released + silence + unit + second + delay * 2 + kernel;
        Self {
            // Two clocks, each wrong by 1 %.
            agreement: sum * 102 / 100,
            // One interval until the loser hears the winner, or until one
            // that resigns gives up unrelieved; and the removal.
            double: (unit + delay + kernel + cast.late_max * 4 + exchange) * 102 / 100,
            stop: stop * 102 / 100,
            order: order * 102 / 100,
        }
    }

    /// What the peer link adds, with B its beat (its fastest instance's
    /// interval, 200 ms at most):
    ///
    /// - what was told last is stale after 3 x B; a Backup that was told of
    ///   an Active just before waits its whole silence once more, and looks
    ///   at the segment at the end of it (100 ms, and 150 ms for the answer);
    /// - a link that heals, with a new session: a greeting, its answer, all
    ///   records, what was lost again, B each and 5 ms between batches;
    /// - two Actives: the one that loses looks once (250 ms). If it claimed
    ///   over the other it gives that one 1 s to go, and looks again;
    /// - a message that was held up (fault `link-delay`): 2 s.
    fn linked(cast: &Cast, silence: Duration) -> Duration {
        if cast.cluster.is_none() {
            return Duration::ZERO;
        }
        let beat = BEAT.min(cast.unit);
        let look = Duration::from_millis(250);
        let held_up = match cast.faults.has(Fault::LinkDelay) {
            true => Duration::from_secs(2),
            false => Duration::ZERO,
        };
        beat * 7 + silence + look * 3 + Duration::from_secs(1) + held_up
    }

    /// An exchange between two nodes, at the longest: each message is waited
    /// for 300 ms, the offer, the promise, the successor's last word and, for
    /// one that was held up, its confirmation; the successor adds its
    /// addresses. One whose kernel refuses them says that it is at work until
    /// 11 s are over.
    fn exchange(cast: &Cast, delay: Duration, kernel: Duration) -> Duration {
        if cast.cluster.is_none() {
            return Duration::ZERO;
        }
        let refused = match cast.faults.has(Fault::Refuse) {
            true => ADDITIONS + MARGIN,
            false => Duration::ZERO,
        };
        REPLY * 4 + delay + kernel + cast.late_max * 8 + refused
    }

    /// One that a check warns of tries again to hand over 10 s after the last
    /// time that came to nothing.
    fn warned(cast: &Cast) -> Duration {
        match cast.cluster.is_some() && cast.has_warnings() {
            true => Duration::from_secs(10),
            false => Duration::ZERO,
        }
    }

    /// What instances that move together, and awaited hooks, add to agreement
    /// and to a stop. With T the time-out of an awaited hook:
    ///
    /// - a member whose timer has ended is held back by a mate that heard an
    ///   Active: for a silence at most; one that could not send goes first, an
    ///   interval later;
    /// - each hook runs for T at most, or is given up a second after that, and
    ///   waits for another that runs (half an interval): one that began in
    ///   trouble and fails, and one that succeeds. The pause after a failure
    ///   counts as a disturbance ([`crate::rules::Rules::retried_by`]).
    fn together(cast: &Cast, silence: Duration) -> (Duration, Duration) {
        let Some(together) = &cast.together else {
            return Default::default();
        };
        let held = match together.members.is_empty() {
            true => Duration::ZERO,
            false => silence + cast.unit * 2,
        };
        let hook = match together.has_hooks(&cast.faults) {
            true => together.timeout + Duration::from_secs(1) + cast.unit / 2,
            false => Duration::ZERO,
        };
        (held + hook * 2, hook)
    }

    /// Fault `delay` adds no more.
    pub fn jitter_max(unit: Duration) -> Duration {
        (unit / 10).min(Duration::from_millis(30))
    }

    /// Fault `reorder` adds no more.
    pub fn reorder_max(unit: Duration) -> Duration {
        unit / 4
    }

    /// Fault `slow`: one order takes no longer; undisturbed 2 ms.
    pub fn kernel_max(unit: Duration) -> Duration {
        (unit / 8).max(Duration::from_millis(2))
    }
}
