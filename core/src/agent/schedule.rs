//! When each instance wants to be woken, and who is next. A deadline that moves
//! away, as a Backup's does with every advertisement, leaves its entry where it
//! is: it moves on when it comes to the front. One that comes nearer leaves its
//! old entry behind, which is dropped when it comes to the front, and all of
//! those when there are more of them than there should be. So nothing is
//! allocated once both have grown to their size.

use std::cmp::Reverse;
use std::collections::binary_heap::PeekMut;
use std::collections::{BTreeMap, BinaryHeap};

use super::router::Timer;
use super::time::Instant;
use super::values::InstanceId;

/// Entries for each instance at most, on the average.
const ENTRIES_EACH: usize = 2;
const ENTRIES_MIN: usize = 64;
/// Woken in one turn. What they are goes through the processor's cache twice,
/// when they order and when they hear what became of it; so many fit.
const DUE_MAX: usize = 128;

#[derive(Clone, Debug, Default)]
pub(super) struct Schedule {
    wishes: BTreeMap<InstanceId, Wish>,
    /// The earliest is first, and what its instance wants.
    order: BinaryHeap<Reverse<Entry>>,
}

type Deadline = (Instant, Timer);
type Entry = (Instant, Timer, InstanceId);

/// Of one instance. As long as it wants something, the entry is in the order,
/// and no later than that.
#[derive(Clone, Copy, Debug, Default)]
struct Wish {
    /// `None`: it wants nothing, or is being woken.
    deadline: Option<Deadline>,
    entry: Option<Deadline>,
}

impl Schedule {
    pub fn set(&mut self, instance: InstanceId, deadline: Option<Deadline>) {
        let wish = self.wishes.entry(instance).or_default();
        if wish.deadline == deadline {
            return;
        }
        wish.deadline = deadline;
        if let Some((at, timer)) = deadline
            && wish.entry.is_none_or(|entry| entry > (at, timer))
        {
            wish.entry = deadline;
            self.order.push(Reverse((at, timer, instance)));
        }
        self.freshen();
    }

    pub fn forget(&mut self, instance: InstanceId) {
        self.wishes.remove(&instance);
        self.freshen();
    }

    pub fn first(&self) -> Option<Deadline> {
        let Reverse((at, timer, _)) = self.order.peek()?;
        Some((*at, *timer))
    }

    /// Replaces `due` by the instances whose deadline has come, the earliest
    /// first and [`DUE_MAX`] at most. Each is to be [`Schedule::set`] again.
    pub fn take_due(&mut self, now: Instant, due: &mut Vec<InstanceId>) {
        due.clear();
        while let Some(Reverse((at, _, instance))) = self.order.peek().copied() {
            if at > now || due.len() == DUE_MAX {
                break;
            }
            self.order.pop();
            self.wishes.insert(instance, Wish::default());
            due.push(instance);
            self.freshen();
        }
    }

    /// Until the first entry is what its instance wants.
    fn freshen(&mut self) {
        while let Some(mut first) = self.order.peek_mut() {
            let Reverse((at, timer, instance)) = *first;
            let wish = self.wishes.get_mut(&instance);
            let wish = wish.filter(|wish| wish.entry == Some((at, timer)));
            match wish {
                Some(wish) if wish.deadline == wish.entry => break,
                Some(wish) => {
                    wish.entry = wish.deadline;
                    match wish.deadline {
                        Some((at, timer)) => *first = Reverse((at, timer, instance)),
                        None => drop(PeekMut::pop(first)),
                    }
                }
                // It went, or another entry is its own.
                None => drop(PeekMut::pop(first)),
            }
        }
        let most = (self.wishes.len() * ENTRIES_EACH).max(ENTRIES_MIN);
        if self.order.len() > most {
            self.order.clear();
            for (instance, wish) in &mut self.wishes {
                wish.entry = wish.deadline;
                let entry = wish.deadline;
                let entry = entry.map(|(at, timer)| Reverse((at, timer, *instance)));
                self.order.extend(entry);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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

    proptest! {
        // A failure is printed whole.
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever they want, and however often they change their minds.
        #[test]
        fn it_is_as_a_list_that_is_searched(
            steps in prop::collection::vec((0..4u32, 0..60u64, 0..3usize, 0..8usize), 0..300)
        ) {
            let mut schedule = Schedule::default();
            let mut list: BTreeMap<InstanceId, Deadline> = BTreeMap::new();
            let mut now = 0;
            for (number, after, timer, step) in steps {
                let instance = InstanceId(number);
                match step {
                    0 => {
                        schedule.forget(instance);
                        list.remove(&instance);
                    }
                    1 => {
                        schedule.set(instance, None);
                        list.remove(&instance);
                    }
                    2 => {
                        now += after;
                        let mut expected: Vec<_> = list.iter().map(|(id, at)| (*at, *id)).collect();
                        expected.retain(|((due, _), _)| *due <= at(now));
                        expected.sort_unstable();
                        let mut due = Vec::new();
                        schedule.take_due(at(now), &mut due);
                        let expected: Vec<_> = expected.into_iter().map(|(_, id)| id).collect();
                        prop_assert_eq!(&due, &expected);
                        list.retain(|id, _| !due.contains(id));
                    }
                    _ => {
                        let timer = [Timer::Settle, Timer::ActiveDown, Timer::Advert][timer];
                        schedule.set(instance, Some((at(now + after), timer)));
                        list.insert(instance, (at(now + after), timer));
                    }
                }
                prop_assert_eq!(schedule.first(), list.values().min().copied());
                prop_assert!(schedule.order.len() <= ENTRIES_MIN);
            }
        }
    }
}
