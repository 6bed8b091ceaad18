//! What is done now and then, and need not be done on time: when the loop is
//! awake anyway, rather than waking it.

use std::time::Duration;

use crate::agent::time::Instant;

pub(super) struct Chore {
    every: Duration,
    due: Instant,
}

impl Chore {
    /// Due at once.
    pub fn new(now: Instant, every: Duration) -> Self {
        Self { every, due: now }
    }

    /// Whether to do it now; it is then due again after its time.
    pub fn take(&mut self, now: Instant) -> bool {
        let due = self.due <= now;
        if due {
            self.due = now + self.every;
        }
        due
    }

    /// When it is worth waking up for.
    pub fn latest(&self) -> Instant {
        self.due + self.every / 5
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_comes_along_when_due_and_alone_a_fifth_later() {
        let at = |seconds| Instant::from_nanos(0) + Duration::from_secs(seconds);
        let mut chore = Chore::new(at(100), Duration::from_secs(5));
        assert!(chore.take(at(100)));
        assert!(!chore.take(at(104)));
        assert_eq!(chore.latest(), at(106));
        assert!(chore.take(at(105)));
        assert_eq!(chore.latest(), at(111));
        // What was missed is not made up for.
        assert!(chore.take(at(130)));
        assert!(!chore.take(at(131)));
    }
}
