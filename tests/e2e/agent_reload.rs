//! Reload under a client's thousand probes a second: the difference is
//! applied, nothing else notices, no advertisement is missed.

use std::net::IpAddr;
use std::thread;
use std::time::Instant;

use libtest_mimic::Trial;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::lab::agent::Agent;
use crate::lab::config::{Router, yaml};
use crate::lab::prober::Prober;
use crate::lab::service::check;
use crate::lab::{Host, LONG, Lab, assert_span, ms, vip, vip6, wait_until, write};
use crate::{Needs, trial};

pub fn trials() -> Vec<Trial> {
    let trial = |name, run: fn()| trial(name, Needs::Nothing, run);
    vec![
        trial("agent_reload_address_added", address_added),
        trial("agent_reload_address_removed", address_removed),
        trial("agent_reload_check_without_result", check_without_result),
        trial(
            "agent_reload_checks_keep_their_state",
            checks_keep_their_state,
        ),
        trial("agent_reload_failing_check_removed", failing_check_removed),
        trial("agent_reload_priority", priority),
        trial("agent_reload_priority_that_loses", priority_that_loses),
        trial("agent_reload_instance_added_and_removed", instances),
        trial("agent_reload_bad_file", bad_file),
        trial("agent_reload_twice_quickly", twice_quickly),
    ]
}

/// One advertisement a second, so that a missing one is not mistaken for a
/// late one.
fn router(priority: u8) -> Router {
    Router::new(priority).interval_ms(1000)
}

fn second_vip() -> IpAddr {
    IpAddr::from([192, 0, 2, 101])
}

const BOTH: [&str; 2] = ["192.0.2.100/24", "192.0.2.101/24"];

fn end(mut agent: Agent) {
    agent.signal(Signal::SIGTERM);
    agent.process.wait_exit(LONG);
}

/// a is Active and is reloaded, b its Backup with priority 100, the client
/// asks for the address all the while.
struct Pair {
    lab: Lab,
    a: Host,
    b: Host,
    best: Agent,
    second: Agent,
    prober: Prober,
    transitions: [Value; 2],
    began: Instant,
}

impl Pair {
    fn new(file: &str) -> Self {
        Self::of(file, router(100))
    }

    fn of(file: &str, second: Router) -> Self {
        let lab = Lab::new();
        let [a, b, client] = lab.hosts(["a", "b", "client"]);
        let best = lab.agent_with(&a, file);
        let second = lab.agent(&b, &[second]);
        a.watch.wait(best.started, vip(), true, LONG);
        second.wait_state("web", "backup", LONG);
        let prober = Prober::start(&client, vip());
        prober.wait_answered(LONG);
        let began = Instant::now();
        // From here on a missing one shows.
        let what = "an advertisement before the reload";
        lab.observer.wait(began, what, LONG, |frame| {
            frame.host == "a" && frame.advert().is_some()
        });
        Self {
            transitions: [&best, &second].map(|agent| agent.transitions("web")),
            began,
            lab,
            a,
            b,
            best,
            second,
            prober,
        }
    }

    /// Replaces a's file, as careful editors do.
    fn write(&self, file: &str) {
        let fresh = self.best.config.with_extension("new");
        write(&fresh, file);
        std::fs::rename(&fresh, &self.best.config).expect("renamed");
    }

    #[track_caller]
    fn reload(&self, file: &str) -> Instant {
        self.write(file);
        let asked = Instant::now();
        let answer = self.best.ask(&["reload"]);
        assert!(answer.status.success(), "{answer:?}");
        asked
    }

    /// Lets two more advertisements pass; then: no probe was lost, none of
    /// them was missed, nobody changed its state, the address never went.
    #[track_caller]
    fn nothing_else_noticed(self) {
        let heard = self.lab.observer.adverts(self.began, "a").len();
        wait_until("two more advertisements", LONG, || {
            self.lab.observer.adverts(self.began, "a").len() >= heard + 2
        });
        let report = self.prober.stop();
        assert_eq!(report.lost, 0, "{report:?}");
        assert!(report.sent > 1_000, "{report:?}");
        let mut adverts = self.lab.observer.adverts(self.began, "a");
        adverts.retain(|(_, advert)| advert.vrid == 51);
        for pair in adverts.windows(2) {
            assert_ne!(pair[1].1.priority, 0, "{adverts:?}");
            assert_span("the next one", pair[1].0 - pair[0].0, ms(0), ms(1000));
        }
        assert_eq!(self.lab.observer.adverts(self.began, "b").len(), 0);
        let transitions = [&self.best, &self.second].map(|agent| agent.transitions("web"));
        assert_eq!(transitions, self.transitions);
        assert_eq!(self.a.watch.times(self.began, vip()), []);
        assert_eq!(self.b.watch.times(self.began, vip()), []);
        end(self.best);
    }
}

fn address_added() {
    let pair = Pair::new(&yaml("a", &[router(200)]));
    let [first, second] = BOTH;
    // The other family rides along.
    let three = router(200).addresses(&[first, second, "2001:db8::100/64"]);
    let asked = pair.reload(&yaml("a", &[three]));
    for address in [second_vip(), vip6()] {
        let added = pair.a.watch.wait(asked, address, true, LONG);
        let what = format!("{address} announced");
        let announced = pair.lab.observer.wait(asked, &what, LONG, |frame| {
            frame.host == "a" && frame.announces() == Some(address)
        });
        // `added` is when this process heard of it, a moment after the kernel.
        assert!(
            announced.at + ms(20) > added,
            "announced before it was there"
        );
    }
    // The next advertisement lists it.
    let listed = pair
        .lab
        .observer
        .wait(asked, "it is listed", LONG, |frame| {
            let advert = frame.advert();
            advert.is_some_and(|advert| advert.addresses.contains(&second_vip()))
        });
    assert_span("it is listed", listed.at - asked, ms(0), ms(1000));
    // b has the old list: drift, and nothing more.
    wait_until("b reports the drift", LONG, || {
        pair.second.instance("web")["drift"][0]["code"] == "addresses"
    });
    pair.nothing_else_noticed();
}

fn address_removed() {
    let second = router(100).addresses(&BOTH);
    let pair = Pair::of(&yaml("a", &[router(200).addresses(&BOTH)]), second);
    let asked = pair.reload(&yaml("a", &[router(200)]));
    pair.a.watch.wait(asked, second_vip(), false, LONG);
    wait_until("the status without it", LONG, || {
        let addresses = pair.best.instance("web")["addresses"].clone();
        addresses.as_array().is_some_and(|all| all.len() == 1)
    });
    assert_eq!(pair.a.watch.times(asked, second_vip()).len(), 1);
    assert_eq!(pair.b.watch.times(asked, second_vip()), []);
    pair.nothing_else_noticed();
}

/// A check without a result yet changes nothing; its first one decides.
fn check_without_result() {
    let pair = Pair::new(&yaml("a", &[router(200)]));
    let gate = pair.lab.directory.path().join("gate");
    let text = format!(
        "while ! test -e {0}; do sleep 0.05; done\nexit $(cat {0})",
        gate.display()
    );
    let script = pair.lab.script("gated", &text);
    let options = "interval: 200ms, timeout: 60s, rise: 1, fall: 1";
    let checks = check("gated", &script, options);
    let listening = yaml("a", &[router(200).with("checks: [gated]")]);
    pair.reload(&format!("{listening}checks:\n{checks}"));
    wait_until("the check is known", LONG, || {
        pair.best.check("gated")["state"] == "unknown"
    });
    thread::sleep(ms(1_500));
    assert_eq!(pair.best.state("web"), "active");
    assert_eq!(pair.best.check("gated")["state"], "unknown");
    write(&gate, "0\n");
    pair.best.wait_check("gated", "up", LONG);
    pair.nothing_else_noticed();
}

/// A check that runs once an hour is not run again because of a reload, and
/// what it found holds; a check whose question changed begins anew.
fn checks_keep_their_state() {
    let lab = Lab::new();
    let a = lab.host("a");
    let (kept, other) = (lab.service("kept"), lab.service("other"));
    let file = |priority, options: &str, argument: &str| {
        let uses = "checks: [{ name: kept, weight: -10 }, { name: other, weight: -20 }]";
        let once = "interval: 1h, timeout: 5s";
        let asked_anew = other.check("other", once);
        let asked_anew = asked_anew.replace("other-check]", &format!("other-check{argument}]"));
        let checks = kept.check("kept", &format!("{once}{options}")) + &asked_anew;
        let router = router(priority).with(uses);
        format!("{}checks:\n{checks}", yaml("a", &[router]))
    };
    kept.ill();
    let agent = lab.agent_with(&a, &file(200, "", ""));
    a.watch.wait(agent.started, vip(), true, LONG);
    agent.wait_check("kept", "down", LONG);
    let before = agent.check("kept");
    assert_eq!((kept.runs(), other.runs()), (1, 1));
    kept.well();

    write(&agent.config, &file(150, ", rise: 1, fall: 5", ", --fast"));
    let answer = agent.ask(&["reload"]);
    assert!(answer.status.success(), "{answer:?}");
    wait_until("the other is asked anew", LONG, || other.runs() == 2);
    agent.wait_check("other", "up", LONG);
    thread::sleep(ms(1_000));
    assert_eq!(kept.runs(), 1, "it was run again");
    assert_eq!(agent.check("kept"), before);
    assert_eq!(agent.instance("web")["priority"]["effective"], 140);
    end(agent);
}

/// Recovery by taking the check out.
fn failing_check_removed() {
    let lab = Lab::new();
    let [a, b] = lab.hosts(["a", "b"]);
    let service = lab.service("web");
    let options = "interval: 200ms, timeout: 5s, rise: 1, fall: 1";
    let checks = service.check("service", options);
    let listening = yaml("a", &[router(200).with("checks: [service]")]);
    let best = lab.agent_with(&a, &format!("{listening}checks:\n{checks}"));
    let second = lab.agent(&b, &[router(100)]);
    a.watch.wait(best.started, vip(), true, LONG);
    let failed = Instant::now();
    service.ill();
    b.watch.wait(failed, vip(), true, LONG);
    best.wait_state("web", "fault", LONG);
    write(&best.config, &yaml("a", &[router(200)]));
    let asked = Instant::now();
    let answer = best.ask(&["reload"]);
    assert!(answer.status.success(), "{answer:?}");
    a.watch.wait(asked, vip(), true, LONG);
    b.watch.wait(asked, vip(), false, LONG);
    best.wait_state("web", "active", LONG);
    let nothing = Value::Array(Vec::new());
    assert_eq!(best.instance("web")["obstacles"], nothing);
    assert_eq!(best.status()["checks"], nothing);
    second.wait_state("web", "backup", LONG);
    let runs = service.runs();
    thread::sleep(ms(700));
    assert_eq!(service.runs(), runs, "it is still run");
    end(best);
}

fn priority() {
    let pair = Pair::new(&yaml("a", &[router(200)]));
    for priority in [150, 201, 101] {
        let asked = pair.reload(&yaml("a", &[router(priority)]));
        let advert = pair.lab.observer.wait_advert(asked, "a", priority, LONG);
        assert_span("the new priority", advert.at - asked, ms(0), ms(1000));
    }
    pair.nothing_else_noticed();
}

/// Lower than the other's: that one takes over, and only then we go. Raised
/// again, the address comes back.
fn priority_that_loses() {
    let pair = Pair::new(&yaml("a", &[router(200)]));
    let asked = pair.reload(&yaml("a", &[router(50)]));
    let taken = pair.lab.observer.wait_advert(asked, "b", 100, LONG).at;
    let gone = pair.a.watch.wait(asked, vip(), false, LONG);
    assert!(gone + ms(50) > taken, "it went before it was relieved");
    let adverts = pair.lab.observer.adverts(asked, "a");
    assert!(adverts.iter().all(|(_, a)| a.priority != 0), "{adverts:?}");
    let asked = pair.reload(&yaml("a", &[router(200)]));
    pair.a.watch.wait(asked, vip(), true, LONG);
    pair.b.watch.wait(asked, vip(), false, LONG);
    pair.second.wait_state("web", "backup", LONG);
    end(pair.best);
}

fn instances() {
    let pair = Pair::new(&yaml("a", &[router(200)]));
    let mut other = router(180).addresses(&["192.0.2.101/24"]);
    other.name = "mail".to_owned();
    other.vrid = 52;
    let asked = pair.reload(&yaml("a", &[router(200), other]));
    pair.a.watch.wait(asked, second_vip(), true, LONG);
    pair.best.wait_state("mail", "active", LONG);
    let asked = pair.reload(&yaml("a", &[router(200)]));
    pair.a.watch.wait(asked, second_vip(), false, LONG);
    let spoken = pair.lab.observer.adverts(asked, "a");
    let resigned = |advert: &crate::lab::frame::Advert| advert.vrid == 52 && advert.priority == 0;
    assert!(
        spoken.iter().any(|(_, a)| resigned(a)),
        "no farewell: {spoken:?}"
    );
    wait_until("the status without it", LONG, || {
        let instances = pair.best.status()["instances"].clone();
        instances.as_array().is_some_and(|all| all.len() == 1)
    });
    pair.nothing_else_noticed();
}

fn bad_file() {
    let sound = yaml("a", &[router(200)]);
    let pair = Pair::new(&sound);
    let loaded = pair.best.status()["config"].clone();
    let bad = sound.replace("priority: 200", "prioritty: 150");
    let bad = bad.replace("vrid: 51", "vrid: 0");
    let places = ["prioritty", "vrid: 0"].map(|needle| {
        let line = bad.lines().position(|line| line.contains(needle));
        format!("a-config.yaml:{}:", line.expect("it is there") + 1)
    });
    let has_both = |text: &str| places.iter().all(|place| text.contains(place));
    pair.write(&bad);
    let answer = pair.best.ask(&["reload"]);
    assert_eq!(answer.status.code(), Some(1), "{answer:?}");
    let told = String::from_utf8_lossy(&answer.stderr).into_owned();
    assert!(has_both(&told) && told.contains("`priority`"), "{told}");

    let said = pair.best.process.log().len();
    pair.best.signal(Signal::SIGHUP);
    wait_until("the log says why", LONG, || {
        let log = pair.best.process.log();
        has_both(log.get(said..).unwrap_or_default())
    });
    // The same for a file that is not there at all.
    std::fs::remove_file(&pair.best.config).expect("removed");
    let answer = pair.best.ask(&["reload"]);
    assert_eq!(answer.status.code(), Some(1), "{answer:?}");
    let told = String::from_utf8_lossy(&answer.stderr).into_owned();
    assert!(told.contains("a-config.yaml"), "{told}");
    assert_eq!(pair.best.status()["config"], loaded, "something was loaded");

    // SIGHUP with a good one.
    pair.write(&yaml("a", &[router(201)]));
    let asked = Instant::now();
    pair.best.signal(Signal::SIGHUP);
    pair.lab.observer.wait_advert(asked, "a", 201, LONG);
    pair.nothing_else_noticed();
}

/// Whatever the order in which they are carried out, the file as it last was
/// counts.
fn twice_quickly() {
    let pair = Pair::new(&yaml("a", &[router(200)]));
    for last in [120, 130, 140] {
        pair.write(&yaml("a", &[router(110).addresses(&BOTH)]));
        let answers = thread::scope(|scope| {
            let ask = || pair.best.ask(&["reload"]);
            let first = [scope.spawn(ask), scope.spawn(ask)];
            pair.best.signal(Signal::SIGHUP);
            pair.write(&yaml("a", &[router(last)]));
            pair.best.signal(Signal::SIGHUP);
            let [one, other] = first.map(|thread| thread.join().expect("an answer"));
            [one, other, ask()]
        });
        for answer in answers {
            assert!(answer.status.success(), "{answer:?}");
        }
        let asked = Instant::now();
        pair.lab.observer.wait_advert(asked, "a", last, LONG);
        wait_until("one address", LONG, || {
            let base = pair.best.instance("web")["priority"]["base"].clone();
            base == last && !pair.a.has(second_vip())
        });
    }
    pair.nothing_else_noticed();
}
