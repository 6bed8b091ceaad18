//! Which counters of a sender were seen.

/// Counters that may come out of their order.
pub const WINDOW: u64 = 1024;
const WORDS: usize = 16;

/// The newest counter, and which of the [`WINDOW`] up to it were seen.
#[derive(Clone, Debug, Default)]
pub struct Window {
    newest: u64,
    /// By the counter's remainder.
    seen: [u64; WORDS],
}

impl Window {
    /// Neither seen nor too old to tell.
    pub fn admits(&self, counter: u64) -> bool {
        if counter > self.newest {
            return true;
        }
        let (word, bit) = place(counter);
        let seen = self.seen.get(word).is_none_or(|word| word & bit != 0);
        self.newest - counter < WINDOW && !seen
    }

    pub fn mark(&mut self, counter: u64) {
        if counter > self.newest {
            let fresh = counter - self.newest;
            // Those between lose what stood in their places before.
            for passed in 0..fresh.min(WINDOW) {
                let (word, bit) = place(counter - passed);
                if let Some(word) = self.seen.get_mut(word) {
                    *word &= !bit;
                }
            }
            self.newest = counter;
        }
        let (word, bit) = place(counter);
        if let Some(word) = self.seen.get_mut(word) {
            *word |= bit;
        }
    }
}

fn place(counter: u64) -> (usize, u64) {
    let at = counter % WINDOW;
    let word = usize::try_from(at / 64).unwrap_or(WORDS);
    (word, 1 << (at % 64))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against a set that remembers everything.
        #[test]
        fn admits_each_once_and_none_that_is_too_old(
            steps in prop::collection::vec((0_u64..2, 0_u64..3000), 1..400),
        ) {
            let mut window = Window::default();
            let mut seen = BTreeSet::new();
            let mut newest = 0_u64;
            for (ahead, distance) in steps {
                let counter = match ahead {
                    0 => newest.saturating_sub(distance).max(1),
                    _ => newest + 1 + distance % 1100,
                };
                let fresh = counter + WINDOW > newest && !seen.contains(&counter);
                prop_assert_eq!(window.admits(counter), fresh, "{} of {}", counter, newest);
                if fresh {
                    window.mark(counter);
                    seen.insert(counter);
                    newest = newest.max(counter);
                }
            }
        }
    }

    #[test]
    fn the_last_counters_of_all_are_counters_too() {
        let mut window = Window::default();
        window.mark(u64::MAX - 1);
        assert!(window.admits(u64::MAX));
        window.mark(u64::MAX);
        assert!(!window.admits(u64::MAX));
        assert!(!window.admits(u64::MAX - 1));
        assert!(window.admits(u64::MAX - 2));
        assert!(!window.admits(1));
    }
}
