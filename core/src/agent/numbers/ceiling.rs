//! How far our numbers may go: up to what was written down before, so that a
//! restarted agent begins beyond all that was sent. Decides only; the keeper
//! writes.

use std::time::Duration;

use crate::agent::seal::Sequence;

/// How far ahead of the clock the ceiling is written.
pub const AHEAD: Duration = Duration::from_mins(10);
/// And of our numbers where these are ahead of the clock, growing by one
/// each: worth four thousand million advertisements, and no second ten minutes
/// for each restart.
const AHEAD_OF_NUMBERS: Duration = Duration::from_secs(1);

/// What an agent found written, and what it asked to be written since.
#[derive(Clone, Copy, Debug)]
pub struct Reach {
    start: Option<Sequence>,
    asked: Option<Sequence>,
}

/// A number to be used now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    pub number: Sequence,
    /// The ceiling to be written soon; [`Reach::ordered`] once it will be.
    pub order: Option<Sequence>,
}

impl Reach {
    /// From what an earlier agent had written, if any did.
    pub fn new(start: Option<Sequence>) -> Self {
        Self { start, asked: None }
    }

    /// No number of ours was newer.
    pub fn start(&self) -> Option<Sequence> {
        self.start
    }

    /// The ceiling to be written before the first number is used.
    pub fn first(&self, clock: Sequence) -> Sequence {
        let begin = self.start.map_or(clock, |start| start.after(clock));
        target(begin, clock, 1)
    }

    /// This ceiling will be written.
    pub fn ordered(&mut self, ceiling: Sequence) {
        self.asked = Some(ceiling);
    }

    /// The number after `last`: the clock's, where it is newer and not beyond
    /// `granted`, which is written.
    pub fn next(&self, last: Sequence, clock: Sequence, granted: Option<Sequence>) -> Step {
        let wanted = last.after(clock);
        let half_way = target(wanted, clock, 2);
        let short_of = |ceiling: Sequence| half_way.is_newer_than(ceiling);
        let order = granted.is_none_or(short_of) && self.asked.is_none_or(short_of);
        // Nothing was ever granted where the first instance that signs came
        // with a reload: then the clock's is good for the moment.
        let beyond = granted.is_some_and(|granted| wanted.is_newer_than(granted));
        Step {
            number: if beyond { last.next() } else { wanted },
            order: order.then(|| target(wanted, clock, 1)),
        }
    }
}

/// Where the ceiling should be, or that far divided by `by`.
fn target(number: Sequence, clock: Sequence, by: u32) -> Sequence {
    let ahead = number.plus(AHEAD_OF_NUMBERS / by);
    let of_clock = clock.plus(AHEAD / by);
    if of_clock.is_newer_than(ahead) {
        of_clock
    } else {
        ahead
    }
}
