//! `Agent::handle` for each event that comes often, or for many at once, with
//! what it orders answered as a host does.

use divan::Bencher;
use divan::counter::ItemsCount;
use vipward::agent::event::Event;
use vipward::agent::values::Lease;

use crate::fleet::{Fleet, configuration, instances};

const INSTANCES: [usize; 3] = [1, 1_000, 4_000];

fn active(count: usize, lease: Option<Lease>) -> Fleet {
    let mut fleet = Fleet::new(count, 200, lease);
    fleet.become_active();
    fleet
}

/// A second as Active: every instance advertises once.
#[divan::bench(args = INSTANCES)]
fn active_second(bencher: Bencher<'_, '_>, count: usize) {
    let mut fleet = active(count, None);
    let bencher = bencher.counter(ItemsCount::new(count));
    bencher.bench_local(|| fleet.run(1_000));
}

/// The same with leases that are renewed.
#[divan::bench(args = INSTANCES)]
fn active_second_with_leases(bencher: Bencher<'_, '_>, count: usize) {
    let mut fleet = active(count, Lease::from_seconds(2));
    let bencher = bencher.counter(ItemsCount::new(count));
    bencher.bench_local(|| fleet.run(1_000));
}

/// One advertisement from the Active, for one instance after the other.
#[divan::bench(args = INSTANCES)]
fn backup_hears(bencher: Bencher<'_, '_>, count: usize) {
    let mut fleet = Fleet::new(count, 100, None);
    let mut next = 0;
    bencher.bench_local(|| {
        fleet.hear(next % count);
        next += 1;
    });
}

/// A wake-up that has nothing to do.
#[divan::bench(args = INSTANCES)]
fn idle_wake(bencher: Bencher<'_, '_>, count: usize) {
    let mut fleet = Fleet::new(count, 100, None);
    fleet.hear_all();
    bencher.bench_local(|| fleet.handle(Event::Wake));
}

/// From silence to Active everywhere, with every address added.
#[divan::bench(args = INSTANCES, sample_count = 10, sample_size = 1)]
fn mass_takeover(bencher: Bencher<'_, '_>, count: usize) {
    let bencher = bencher.counter(ItemsCount::new(count));
    bencher
        .with_inputs(|| {
            let mut fleet = Fleet::new(count, 100, None);
            fleet.hear_all();
            fleet
        })
        .bench_local_values(|mut fleet| {
            fleet.run(4_000);
            fleet
        });
}

/// The kernel's report of an interface with all its addresses.
#[divan::bench(args = INSTANCES, sample_count = 20)]
fn interface_report(bencher: Bencher<'_, '_>, count: usize) {
    let mut fleet = active(count, None);
    let Some(interface) = fleet.agent.interfaces().next() else {
        return;
    };
    let state = fleet.state(interface, true);
    bencher.bench_local(|| {
        let state = Some(state.clone());
        fleet.handle(Event::Interface { interface, state });
    });
}

/// A configuration that is the one before.
#[divan::bench(args = INSTANCES, sample_count = 10, sample_size = 1)]
fn reload_the_same(bencher: Bencher<'_, '_>, count: usize) {
    let mut fleet = active(count, None);
    bencher
        .with_inputs(|| Box::new(configuration(instances(count, 200))))
        .bench_local_values(|settings| fleet.handle(Event::Reload(settings)));
}

/// What `status` is made of.
#[divan::bench(args = INSTANCES, sample_count = 20)]
fn status(bencher: Bencher<'_, '_>, count: usize) {
    let fleet = active(count, None);
    bencher.bench_local(|| fleet.agent.status());
}
