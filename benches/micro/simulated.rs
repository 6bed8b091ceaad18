//! Steps of the simulation a second: two hosts with real agents, a simulated
//! kernel each and all invariants judged after every step, as in the stories.
//! What the weather and the judges of the seeds add, the simulation prints
//! itself.

use divan::Bencher;
use divan::counter::ItemsCount;

use crate::kit::{Lab, secs, web};

const SECONDS: u64 = 60;

fn lab() -> Lab {
    let mut lab = Lab::new();
    lab.do_not_record();
    lab.host(vec![web(200)]);
    lab.host(vec![web(100)]);
    lab.start_all();
    lab.run(secs(10));
    lab
}

#[divan::bench(sample_count = 20)]
fn a_minute_of_two_hosts(bencher: Bencher<'_, '_>) {
    let mut lab = lab();
    let end = lab.now() + secs(SECONDS);
    let mut steps = 0_usize;
    while lab.now() < end && lab.step() {
        steps += 1;
    }
    let bencher = bencher.counter(ItemsCount::new(steps));
    bencher.bench_local(|| {
        let end = lab.now() + secs(SECONDS);
        while lab.now() < end && lab.step() {}
    });
}
