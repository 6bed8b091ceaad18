//! Checks and what their results do to the election: fault, weight, recovery,
//! flapping, one check for several instances.

use std::time::Instant;

use libtest_mimic::Trial;
use nix::sys::signal::Signal;

use crate::lab::agent::Agent;
use crate::lab::config::{Router, yaml};
use crate::lab::prober::Prober;
use crate::lab::service::{Service, check, lines};
use crate::lab::{Host, LONG, Lab, assert_span, ms, stall, vip, wait_until};
use crate::{Needs, trial};

pub fn trials() -> Vec<Trial> {
    let trial = |name, run: fn()| trial(name, Needs::Nothing, run);
    vec![
        trial("agent_check_fault_and_recovery", fault),
        trial("agent_check_weight_that_loses", weight_that_loses),
        trial("agent_check_weight_too_small", weight_too_small),
        trial("agent_check_flapping_below_fall", flapping),
        trial("agent_check_of_several_instances", several_instances),
    ]
}

/// The runner ends with the agent that started it.
fn end(mut agent: Agent) {
    agent.signal(Signal::SIGTERM);
    agent.process.wait_exit(LONG);
}

/// What no busy machine reaches; a run in time is not the subject here.
const CALM: &str = "interval: 200ms, timeout: 5s";

fn listening(node: &str, router: Router, use_it: &str, service: &Service) -> String {
    let router = router.with(&format!("checks: [{use_it}]"));
    let options = format!("{CALM}, rise: 1, fall: 1");
    let checks = service.check("service", &options);
    format!("{}checks:\n{checks}", yaml(node, &[router]))
}

fn fault() {
    let lab = Lab::new();
    let [a, b] = lab.hosts(["a", "b"]);
    let service = lab.service("web");
    let file = listening("a", Router::new(200), "service", &service);
    let best = lab.agent_with(&a, &file);
    let second = lab.agent(&b, &[Router::new(100)]);
    best.wait_state("web", "active", LONG);
    second.wait_state("web", "backup", LONG);

    let failed = Instant::now();
    service.ill();
    lab.observer.wait_advert(failed, "a", 0, LONG);
    a.watch.wait(failed, vip(), false, LONG);
    b.watch.wait(failed, vip(), true, LONG);
    best.wait_state("web", "fault", LONG);
    let obstacle = best.instance("web")["obstacles"][0].clone();
    assert_eq!(obstacle["code"], "check-failed", "{obstacle}");
    assert_eq!(obstacle["source"], "check service", "{obstacle}");
    assert_eq!(obstacle["text"], "exit code 7: the service is ill");

    let well = Instant::now();
    service.well();
    a.watch.wait(well, vip(), true, LONG);
    b.watch.wait(well, vip(), false, LONG);
    end(best);
}

/// a is Active with priority 200 and listens to a service with `weight`; b is
/// its Backup with 100.
struct Weighed {
    lab: Lab,
    a: Host,
    b: Host,
    client: Host,
    best: Agent,
    second: Agent,
    service: Service,
}

impl Weighed {
    fn new(weight: i32) -> Self {
        let lab = Lab::new();
        let [a, b, client] = lab.hosts(["a", "b", "client"]);
        let service = lab.service("web");
        let use_it = format!("{{ name: service, weight: {weight} }}");
        // Intervals long enough to tell the next advertisement from the one
        // after it.
        let router = |priority| Router::new(priority).interval_ms(1000);
        let file = listening("a", router(200), &use_it, &service);
        let best = lab.agent_with(&a, &file);
        let second = lab.agent(&b, &[router(100)]);
        a.watch.wait(best.started, vip(), true, LONG);
        second.wait_state("web", "backup", LONG);
        Self {
            lab,
            a,
            b,
            client,
            best,
            second,
            service,
        }
    }

    /// Whichever advertisement follows the change of the effective priority
    /// to `priority`, which is waited for, carries it.
    fn next_advert_carries(&self, since: Instant, priority: u8) {
        let mut from = since;
        wait_until("the effective priority", LONG, || {
            let asked = Instant::now();
            let effective = self.best.instance("web")["priority"]["effective"].clone();
            let changed = effective == priority;
            if !changed {
                from = asked;
            }
            changed
        });
        let changed_by = Instant::now();
        self.lab.observer.wait_advert(from, "a", priority, LONG);
        let adverts = self.lab.observer.adverts(from, "a");
        for (at, advert) in adverts.iter().filter(|(at, _)| *at > changed_by) {
            assert_eq!(advert.priority, priority, "{at:?} in {adverts:?}");
        }
        // It did not wait for the one after the next either.
        let carried = adverts.iter().find(|(_, a)| a.priority == priority);
        let (at, _) = carried.expect("it was waited for");
        assert_span(
            "the advertisement with the new priority",
            *at - from,
            ms(0),
            ms(1000),
        );
    }
}

fn weight_that_loses() {
    let pair = Weighed::new(-150);
    let failed = Instant::now();
    pair.service.ill();
    pair.next_advert_carries(failed, 50);
    let terms = pair.best.instance("web")["priority"].clone();
    assert_eq!(terms["terms"][0]["source"], "check service", "{terms}");
    assert_eq!(terms["terms"][0]["delta"], -150, "{terms}");
    // It is preempted: it neither resigns nor faults.
    let taken = pair.lab.observer.wait_advert(failed, "b", 100, LONG).at;
    pair.b.watch.wait(failed, vip(), true, LONG);
    let gone = pair.a.watch.wait(failed, vip(), false, LONG);
    assert!(gone > taken - ms(50), "it went before it was relieved");
    pair.best.wait_state("web", "backup", LONG);
    let adverts = pair.lab.observer.adverts(failed, "a");
    assert!(adverts.iter().all(|(_, a)| a.priority != 0), "{adverts:?}");

    let well = Instant::now();
    pair.service.well();
    pair.a.watch.wait(well, vip(), true, LONG);
    pair.b.watch.wait(well, vip(), false, LONG);
    pair.lab.observer.wait_advert(well, "a", 200, LONG);
    pair.second.wait_state("web", "backup", LONG);
    end(pair.best);
}

fn weight_too_small() {
    let pair = Weighed::new(-99);
    let before = [&pair.best, &pair.second].map(|agent| agent.transitions("web"));
    let prober = Prober::start(&pair.client, vip());
    prober.wait_answered(LONG);
    let failed = Instant::now();
    pair.service.ill();
    pair.next_advert_carries(failed, 101);
    // Longer than b would wait for one that it has stopped listening to.
    std::thread::sleep(Router::new(100).interval_ms(1000).down_interval() + ms(500));
    let well = Instant::now();
    pair.service.well();
    pair.next_advert_carries(well, 200);
    let report = prober.stop();
    assert_eq!(report.lost, 0, "{report:?}");
    let after = [&pair.best, &pair.second].map(|agent| agent.transitions("web"));
    assert_eq!(after, before);
    assert_eq!(pair.a.watch.times(failed, vip()), []);
    assert_eq!(pair.b.watch.times(failed, vip()), []);
    let adverts = pair.lab.observer.adverts(failed, "b");
    assert!(adverts.is_empty(), "{adverts:?}");
    end(pair.best);
}

/// Two failures of the three that count, over and over.
fn flapping() {
    let lab = Lab::new();
    let [a, b] = lab.hosts(["a", "b"]);
    let count = lab.directory.path().join("count");
    let text = format!(
        "echo run >>{count}\nn=$(wc -l <{count})\ntest $((n % 3)) -eq 1 && exit 0\n\
         echo \"failed in run $n\"\nexit 1",
        count = count.display()
    );
    let script = lab.script("flapping", &text);
    let checks = check("service", &script, &format!("{CALM}, rise: 1, fall: 3"));
    let router = Router::new(200).with("checks: [service]");
    let file = format!("{}checks:\n{checks}", yaml("a", &[router]));
    let agent = lab.agent_with(&a, &file);
    let second = lab.agent(&b, &[Router::new(100)]);
    a.watch.wait(agent.started, vip(), true, LONG);
    second.wait_state("web", "backup", LONG);
    let before = agent.transitions("web");
    let since = agent.check("service")["since"].clone();
    let began = Instant::now();
    let first = lines(&count);

    // The last result shows while it does not count yet.
    let mut shown = 0;
    wait_until("ten rounds of it", LONG * 2, || {
        let check = agent.check("service");
        assert_eq!(check["state"], "up", "{check}");
        let output = check["output"].as_str().unwrap_or_default();
        shown += usize::from(output.starts_with("exit code 1: failed in run"));
        lines(&count) >= first + 30
    });
    assert!(shown > 0, "status never told of a failure");
    assert_eq!(agent.check("service")["since"], since);
    assert_eq!(agent.transitions("web"), before);
    assert_eq!(a.watch.times(began, vip()), []);
    assert_eq!(second.state("web"), "backup");
    end(agent);
}

fn several_instances() {
    let lab = Lab::new();
    let a = lab.host("a");
    let service = lab.service("shared");
    let router = |name: &str, vrid, address: &str| {
        let mut router = Router::new(200).addresses(&[address]);
        router.name = name.to_owned();
        router.vrid = vrid;
        router.with("checks: [service]")
    };
    let routers = [
        router("one", 51, "192.0.2.100/24"),
        router("two", 52, "192.0.2.101/24"),
        router("three", 53, "192.0.2.102/24"),
    ];
    let options = "interval: 500ms, timeout: 5s, rise: 1, fall: 1";
    let checks = service.check("service", options);
    let file = format!("{}checks:\n{checks}", yaml("a", &routers));
    let agent = lab.agent_with(&a, &file);
    for name in ["one", "two", "three"] {
        agent.wait_state(name, "active", LONG);
    }
    let (began, first) = (Instant::now(), service.runs());
    std::thread::sleep(ms(4_000));
    let (span, runs) = (began.elapsed(), service.runs() - first);
    let due = span.as_millis() / 500;
    assert!(runs as u128 <= due + 2, "{runs} runs in {span:?}");
    // Not fewer either, but for what the machine takes.
    let stalled = stall::since(began).as_millis() / 500;
    assert!(runs as u128 + stalled + 4 >= due, "{runs} runs in {span:?}");
    service.ill();
    for name in ["one", "two", "three"] {
        agent.wait_state(name, "fault", LONG);
    }
    end(agent);
}
