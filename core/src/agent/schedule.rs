//! When each instance wants to be woken, and who is next. A deadline that
//! moves leaves its old entry behind; what is stale is dropped when it comes
//! to the front, and all of it when there is more of it than there should be.
//! So nothing is allocated once both have grown to their size.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use super::router::Timer;
use super::time::Instant;
use super::values::InstanceId;

/// Entries for each instance at most, on the average. A Backup's deadline
/// moves with every advertisement, some four intervals before it comes.
const ENTRIES_EACH: usize = 5;
const ENTRIES_MIN: usize = 64;
/// Woken in one turn. What they are goes through the processor's cache twice,
/// when they order and when they hear what became of it; so many fit.
const DUE_MAX: usize = 128;

#[derive(Clone, Debug, Default)]
pub(super) struct Schedule {
    /// `None`: it wants nothing, or is being woken.
    deadlines: BTreeMap<InstanceId, Option<(Instant, Timer)>>,
    /// The earliest is first, and never stale.
    order: BinaryHeap<Reverse<Entry>>,
}

type Entry = (Instant, Timer, InstanceId);

impl Schedule {
    pub fn set(&mut self, instance: InstanceId, deadline: Option<(Instant, Timer)>) {
        if self.deadlines.insert(instance, deadline) == Some(deadline) {
            return;
        }
        if let Some((at, timer)) = deadline {
            self.order.push(Reverse((at, timer, instance)));
        }
        self.drop_stale();
    }

    pub fn forget(&mut self, instance: InstanceId) {
        self.deadlines.remove(&instance);
        self.drop_stale();
    }

    pub fn first(&self) -> Option<(Instant, Timer)> {
        let Reverse((at, timer, _)) = self.order.peek()?;
        Some((*at, *timer))
    }

    /// Replaces `due` by the instances whose deadline has come, the earliest
    /// first and [`DUE_MAX`] at most. Each is to be [`Schedule::set`] again.
    pub fn take_due(&mut self, now: Instant, due: &mut Vec<InstanceId>) {
        due.clear();
        while let Some(Reverse(entry)) = self.order.peek().copied() {
            if entry.0 > now || due.len() == DUE_MAX {
                break;
            }
            self.order.pop();
            let (at, timer, instance) = entry;
            if let Some(deadline) = self.deadlines.get_mut(&instance)
                && *deadline == Some((at, timer))
            {
                *deadline = None;
                due.push(instance);
            }
        }
    }

    fn is_valid(&self, (at, timer, instance): &Entry) -> bool {
        self.deadlines.get(instance) == Some(&Some((*at, *timer)))
    }

    fn drop_stale(&mut self) {
        while let Some(Reverse(entry)) = self.order.peek()
            && !self.is_valid(entry)
        {
            self.order.pop();
        }
        let most = (self.deadlines.len() * ENTRIES_EACH).max(ENTRIES_MIN);
        if self.order.len() > most {
            self.order.clear();
            let all = self.deadlines.iter();
            let wanted =
                all.filter_map(|(instance, deadline)| Some((deadline.as_ref()?, instance)));
            let wanted = wanted.map(|((at, timer), instance)| Reverse((*at, *timer, *instance)));
            self.order.extend(wanted);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    fn due(schedule: &mut Schedule, millis: u64) -> Vec<u32> {
        let mut due = vec![InstanceId(99)];
        schedule.take_due(at(millis), &mut due);
        due.into_iter().map(|InstanceId(number)| number).collect()
    }

    #[test]
    fn the_earliest_come_first_and_each_once() {
        let mut schedule = Schedule::default();
        for (number, millis) in [(1, 30), (2, 10), (3, 20), (4, 40)] {
            schedule.set(InstanceId(number), Some((at(millis), Timer::Advert)));
        }
        assert_eq!(schedule.first(), Some((at(10), Timer::Advert)));
        assert!(due(&mut schedule, 9).is_empty());
        assert_eq!(due(&mut schedule, 30), [2, 3, 1]);
        assert!(due(&mut schedule, 30).is_empty());
        assert_eq!(schedule.first(), Some((at(40), Timer::Advert)));
    }

    #[test]
    fn what_moved_or_went_is_not_due_where_it_was() {
        let mut schedule = Schedule::default();
        for number in 1..=3 {
            schedule.set(InstanceId(number), Some((at(10), Timer::ActiveDown)));
        }
        schedule.set(InstanceId(1), Some((at(20), Timer::ActiveDown)));
        schedule.set(InstanceId(1), Some((at(15), Timer::Advert)));
        schedule.set(InstanceId(2), None);
        schedule.set(InstanceId(4), Some((at(1), Timer::Advert)));
        schedule.forget(InstanceId(4));
        assert_eq!(due(&mut schedule, 10), [3]);
        assert_eq!(schedule.first(), Some((at(15), Timer::Advert)));
        assert_eq!(due(&mut schedule, 100), [1]);
        assert_eq!(schedule.first(), None);
    }

    /// Or the loop would be woken for nothing, over and over.
    #[test]
    fn who_is_next_is_never_stale() {
        let mut schedule = Schedule::default();
        for millis in [10, 20, 30] {
            schedule.set(InstanceId(1), Some((at(millis), Timer::ActiveDown)));
            assert_eq!(schedule.first(), Some((at(millis), Timer::ActiveDown)));
        }
        schedule.set(InstanceId(1), None);
        assert_eq!(schedule.first(), None);
    }

    #[test]
    fn those_that_are_too_many_for_a_turn_come_in_the_next() {
        let mut schedule = Schedule::default();
        let all = u32::try_from(DUE_MAX).expect("small") + 2;
        for number in 0..all {
            schedule.set(InstanceId(number), Some((at(10), Timer::Advert)));
        }
        assert_eq!(due(&mut schedule, 10).len(), DUE_MAX);
        assert_eq!(schedule.first(), Some((at(10), Timer::Advert)));
        assert_eq!(due(&mut schedule, 10), [all - 2, all - 1]);
    }

    /// To and fro between the same instants: an entry that was stale is true
    /// again, and its twin must not make it due twice.
    #[test]
    fn an_instant_that_comes_back_is_due_once() {
        let mut schedule = Schedule::default();
        for millis in [10, 20, 10, 20, 10] {
            schedule.set(InstanceId(1), Some((at(millis), Timer::Advert)));
        }
        assert_eq!(due(&mut schedule, 30), [1]);
        assert_eq!(schedule.first(), None);
    }

    #[test]
    fn deadlines_that_only_move_away_do_not_pile_up() {
        let mut schedule = Schedule::default();
        schedule.set(InstanceId(1), Some((at(1), Timer::ActiveDown)));
        for millis in 1_000..3_000 {
            schedule.set(InstanceId(2), Some((at(millis), Timer::ActiveDown)));
        }
        assert!(
            schedule.order.len() <= ENTRIES_MIN,
            "{}",
            schedule.order.len()
        );
        assert_eq!(due(&mut schedule, 5_000), [1, 2]);
    }
}
