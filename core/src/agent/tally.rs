//! How long things took: counts by size, without an allocation.

use std::time::Duration;

const fn micros(micros: u64) -> Duration {
    Duration::from_micros(micros)
}

/// Upper bounds, each included, ascending. One scale for all: what is late by
/// less than a timer's own inaccuracy, and what takes longer than anybody waits.
pub const BOUNDS: [Duration; 10] = [
    micros(500),
    micros(1_000),
    micros(2_500),
    micros(10_000),
    micros(25_000),
    micros(100_000),
    micros(250_000),
    micros(1_000_000),
    micros(5_000_000),
    micros(30_000_000),
];

/// Durations seen so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Durations {
    /// Of each size, not beyond the bound of the same position and beyond the
    /// one before.
    within: [u64; BOUNDS.len()],
    beyond: u64,
    sum: Duration,
}

impl Durations {
    pub fn note(&mut self, duration: Duration) {
        let bound = BOUNDS.iter().position(|bound| duration <= *bound);
        match bound.and_then(|position| self.within.get_mut(position)) {
            Some(count) => *count += 1,
            None => self.beyond += 1,
        }
        self.sum = self.sum.saturating_add(duration);
    }

    pub fn add(&mut self, other: &Durations) {
        for (own, other) in self.within.iter_mut().zip(other.within) {
            *own += other;
        }
        self.beyond += other.beyond;
        self.sum = self.sum.saturating_add(other.sum);
    }

    pub fn count(&self) -> u64 {
        self.within.iter().sum::<u64>() + self.beyond
    }

    pub fn sum(&self) -> Duration {
        self.sum
    }

    /// Each bound, and how many were not beyond it.
    pub fn cumulative(&self) -> impl Iterator<Item = (Duration, u64)> {
        let mut so_far = 0;
        BOUNDS
            .into_iter()
            .zip(self.within)
            .map(move |(bound, count)| {
                so_far += count;
                (bound, so_far)
            })
    }
}

/// Of one check or hook, since it is configured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Runs {
    /// Of each run that ended, well or not.
    pub durations: Durations,
    /// Those that said no, did not end in time or, of hooks, were not run.
    pub failures: u64,
}

impl Runs {
    pub fn note(&mut self, duration: Duration, failed: bool) {
        self.durations.note(duration);
        self.failures += u64::from(failed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_includes_itself_and_what_is_beyond_all_counts_too() {
        let mut seen = Durations::default();
        for millis in [0, 1, 100, 101, 30_000, 30_001] {
            seen.note(Duration::from_millis(millis));
        }
        let counts: Vec<u64> = seen.cumulative().map(|(_, count)| count).collect();
        assert_eq!(counts, [1, 2, 2, 2, 2, 3, 4, 4, 4, 5]);
        assert_eq!(seen.count(), 6);
        assert_eq!(seen.sum(), Duration::from_millis(60_203));
    }

    #[test]
    fn bounds_ascend() {
        assert!(BOUNDS.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn sums_of_two_are_what_both_saw() {
        let (mut one, mut other) = (Durations::default(), Durations::default());
        one.note(Duration::from_millis(3));
        other.note(Duration::from_millis(3));
        other.note(Duration::from_secs(60));
        one.add(&other);
        assert_eq!((one.count(), one.sum()), (3, Duration::from_millis(60_006)));
    }
}
