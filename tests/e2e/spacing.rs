//! No check delays an advertisement: a hundred scripts a second beside a busy
//! processor. `cargo bench --bench spacing` measures the same at length.

use std::time::Instant;

use libtest_mimic::Trial;

use crate::lab::config::Router;
use crate::lab::spacing::{SCRIPTS, Scripts, Spacing, busy, spans};
use crate::lab::{LONG, Lab, ms, stall, vip};
use crate::{Needs, trial};

pub fn trials() -> Vec<Trial> {
    let name = "spacing_beside_a_hundred_scripts_a_second";
    vec![trial(name, Needs::Nothing, hundred_scripts)]
}

fn hundred_scripts() {
    let lab = Lab::new();
    let [a, b] = lab.hosts(["a", "b"]);
    let router = |priority| Router::new(priority).interval_ms(100);
    let scripts = Scripts::new(&lab, "vipward");
    let agent = lab.agent_with(&a, &scripts.vipward("a", router(200)));
    a.watch.wait(agent.started, vip(), true, LONG);
    let peer = lab.agent(&b, &[router(100)]);
    peer.wait_state("web", "backup", LONG);
    // Other trials run beside this one: they keep their share.
    let _busy = busy(&lab, 2, 10);

    let (began, before) = (Instant::now(), scripts.runs());
    std::thread::sleep(ms(6_000));
    let ran = scripts.runs() - before;
    let spacing = Spacing::new(spans(&lab, "a", began));
    println!(
        "{ran} scripts in {:?}; n | median | p99 | p99.9 | max | min: {spacing}",
        began.elapsed()
    );
    assert!(ran > SCRIPTS, "hardly a load: {ran} scripts ran");
    // Nobody took over, and nobody came near to it; where the advertisements
    // themselves were late, that is judged below.
    if spacing.max() < ms(250) {
        assert_eq!(peer.state("web"), "backup");
        assert_eq!(b.watch.times(peer.started, vip()), []);
        assert!(lab.observer.adverts(began, "b").is_empty());
    }
    let limit = ms(300) + stall::processor_since(began);
    assert!(spacing.count() > 20 && spacing.max() < limit, "{spacing}");
    // With real-time scheduling nine of ten are as they are at rest.
    if !agent.process.log().contains("no real-time scheduling") {
        assert!(spacing.quantile(900) < ms(110), "{spacing}");
    }
    agent.wait_state("web", "active", LONG);
}
