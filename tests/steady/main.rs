//! What standing by costs, as far as it can be asserted without a clock: in
//! steady state the core and the codecs allocate nothing for an advertisement,
//! sent or received.

#[allow(dead_code, reason = "benchmarks use the rest")]
mod fleet;
#[path = "../scenarios/kit/settings.rs"]
#[allow(dead_code, reason = "stories use the rest")]
mod settings;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use fleet::Fleet;
use vipward::agent::status::StateName;
use vipward::agent::values::Lease;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

fn count() {
    ALLOCATIONS.with(|count| count.set(count.get() + 1));
}

// SAFETY: every call is the system's own; counting touches a cell of the
// thread that was there before its first allocation.
#[allow(unsafe_code, reason = "an allocator is unsafe to write")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are the system's demands.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(work: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.with(Cell::get);
    work();
    ALLOCATIONS.with(Cell::get) - before
}

const INSTANCES: usize = 300;

fn states(fleet: &Fleet) -> Vec<StateName> {
    let status = fleet.agent.status();
    let mut states: Vec<_> = status.instances.iter().map(|one| one.state).collect();
    states.dedup();
    states
}

#[test]
fn the_count_counts() {
    assert_eq!(allocations(|| drop(vec![0_u8; 100])), 1);
}

fn active(lease: Option<Lease>) {
    let mut fleet = Fleet::new(INSTANCES, 150, lease);
    fleet.become_active();
    assert_eq!(states(&fleet), [StateName::Active]);
    // Whatever grows to its size does so in the first of these.
    fleet.run(10_000);
    let before = fleet.sent;
    let made = allocations(|| fleet.run(10_000));
    assert_eq!(fleet.sent - before, 10 * INSTANCES);
    assert_eq!(made, 0, "allocations for {} advertisements", 10 * INSTANCES);
}

#[test]
fn an_active_allocates_nothing_for_what_it_sends() {
    active(None);
}

#[test]
fn nor_for_the_leases_that_it_renews() {
    active(Lease::from_seconds(2));
}

#[test]
fn a_backup_allocates_nothing_for_what_it_hears() {
    let mut fleet = Fleet::new(INSTANCES, 100, None);
    let round = |fleet: &mut Fleet| {
        fleet.hear_all();
        fleet.run(1_000);
    };
    (0..10).for_each(|_| round(&mut fleet));
    assert_eq!(states(&fleet), [StateName::Backup]);
    let made = allocations(|| (0..10).for_each(|_| round(&mut fleet)));
    assert_eq!(states(&fleet), [StateName::Backup]);
    assert_eq!(fleet.sent, 0);
    assert_eq!(made, 0, "allocations for {} advertisements", 10 * INSTANCES);
}
