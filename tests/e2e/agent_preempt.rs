//! Who wins when both could: preemption on, off and delayed, and ties.

use std::time::Instant;

use libtest_mimic::Trial;
use nix::sys::signal::Signal;

use crate::lab::agent::Agent;
use crate::lab::config::{Preempt, Router};
use crate::lab::prober::Prober;
use crate::lab::{Host, LONG, Lab, assert_span, ms, parting_advert, vip};
use crate::{Needs, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("agent_preempt", Needs::Nothing, preempt),
        trial("agent_preempt_off", Needs::Nothing, off),
        trial("agent_preempt_delay", Needs::Nothing, delay),
        trial(
            "agent_equal_priorities_keep_the_incumbent",
            Needs::Nothing,
            equal_incumbent,
        ),
        trial(
            "agent_equal_priorities_higher_address_wins",
            Needs::Nothing,
            equal_after_a_cut,
        ),
    ]
}

/// `b` is Active with this priority.
fn incumbent(lab: &Lab, b: &Host, router: Router) -> Agent {
    let agent = lab.agent(b, &[router]);
    b.watch.wait(agent.started, vip(), true, LONG);
    agent
}

fn preempt() {
    let lab = Lab::new();
    let [a, b, client] = lab.hosts(["a", "b", "client"]);
    let _other = incumbent(&lab, &b, Router::new(100));
    let prober = Prober::start(&client, vip());
    prober.wait_answered(LONG);
    let best = Router::new(200);
    let agent = lab.agent(&a, std::slice::from_ref(&best));
    let taken = lab.observer.wait_advert(agent.started, "a", 200, LONG).at;
    let down = best.down_interval();
    assert_span(
        "the preemption",
        taken - agent.started,
        down,
        down + ms(200),
    );
    let gone = b.watch.wait(agent.started, vip(), false, LONG);
    assert_span("the incumbent's release", gone - taken, ms(0), ms(50));
    let parting = parting_advert(&lab, taken, gone);
    lab.observer
        .wait(parting, "a's announcement after it", ms(500), |frame| {
            frame.host == "a" && frame.announces() == Some(vip())
        });
    prober.wait_answered(LONG);
    assert_eq!(client.neighbour(vip()), Some(a.mac("eth0").to_string()));
    let report = prober.stop();
    report.assert_nothing_lost("the preemption");
}

fn off() {
    let lab = Lab::new();
    let [a, b] = lab.hosts(["a", "b"]);
    let mut other = incumbent(&lab, &b, Router::new(100));
    let best = Router::new(200).preempt(Preempt::No);
    let agent = lab.agent(&a, std::slice::from_ref(&best));
    agent.wait_state("web", "backup", LONG);
    std::thread::sleep(best.down_interval() * 3);
    assert!(
        lab.observer.adverts(agent.started, "a").is_empty(),
        "it preempted"
    );
    assert!(b.watch.times(agent.started, vip()).is_empty());
    // Nothing keeps it from following.
    let stopped = Instant::now();
    other.signal(Signal::SIGTERM);
    let farewell = lab.observer.wait_advert(stopped, "b", 0, LONG).at;
    let taken = lab.observer.wait_advert(stopped, "a", 200, LONG).at;
    assert_span("the takeover", taken - farewell, best.skew(), best.skew());
    other.process.wait_exit(LONG);
}

fn delay() {
    let lab = Lab::new();
    let [a, b] = lab.hosts(["a", "b"]);
    let _other = incumbent(&lab, &b, Router::new(100));
    let best = Router::new(200).preempt(Preempt::After(ms(2500)));
    let agent = lab.agent(&a, std::slice::from_ref(&best));
    let taken = lab.observer.wait_advert(agent.started, "a", 200, LONG).at;
    // From the first losing advertisement, heard within an interval.
    let least = ms(2500);
    let most = least + best.interval + ms(200);
    assert_span("the preemption", taken - agent.started, least, most);
    b.watch.wait(agent.started, vip(), false, LONG);
}

fn equal_incumbent() {
    let lab = Lab::new();
    let [a, b] = lab.hosts(["a", "b"]);
    // The incumbent has the lower address, and keeps what it has.
    let first = incumbent(&lab, &a, Router::new(100));
    let second = lab.agent(&b, &[Router::new(100)]);
    second.wait_state("web", "backup", LONG);
    std::thread::sleep(ms(3000));
    assert!(lab.observer.adverts(first.started, "b").is_empty());
    assert!(a.has(vip()) && !b.has(vip()));
    assert_eq!(first.instance("web")["counters"]["transitions"], 2);
}

fn equal_after_a_cut() {
    let lab = Lab::new();
    let [a, b] = lab.hosts(["a", "b"]);
    lab.silence(&b);
    let first = incumbent(&lab, &a, Router::new(100));
    let second = incumbent(&lab, &b, Router::new(100));
    let healed = Instant::now();
    lab.heal(&b);
    let gone = a.watch.wait(healed, vip(), false, LONG);
    assert_span("the lower address's release", gone - healed, ms(0), ms(300));
    first.wait_state("web", "backup", LONG);
    std::thread::sleep(ms(2000));
    let spoken = lab.observer.adverts(gone + ms(100), "a");
    assert!(spoken.is_empty(), "it flaps: {spoken:?}");
    assert!(
        b.watch.times(healed, vip()).is_empty(),
        "the winner wavered"
    );
    assert_eq!(second.state("web"), "active");
    assert_eq!(second.instance("web")["counters"]["transitions"], 2);
}
