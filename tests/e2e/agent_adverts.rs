//! What is heard: losing advertisements, resignations, other intervals, and
//! packets of every bad kind, sent by hand from a third host.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;

use crate::lab::agent::Agent;
use crate::lab::config::Router;
use crate::lab::inject::Forged;
use crate::lab::stall;
use crate::lab::{Host, LONG, Lab, assert_span, ms, vip, wait_until};
use crate::{Needs, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial(
            "agent_losing_advert_is_answered_at_once",
            Needs::Nothing,
            losing,
        ),
        trial(
            "agent_losing_adverts_in_a_flood",
            Needs::Nothing,
            losing_flood,
        ),
        trial(
            "agent_priority_0_heard_by_the_active",
            Needs::Nothing,
            resignation_to_active,
        ),
        trial(
            "agent_priority_0_heard_by_a_backup",
            Needs::Nothing,
            resignation_to_backup,
        ),
        trial("agent_learns_the_interval", Needs::Nothing, learns_interval),
        trial(
            "agent_forged_resignations",
            Needs::Nothing,
            forged_resignations,
        ),
        trial(
            "agent_unicast_hears_only_its_peers",
            Needs::Nothing,
            strangers,
        ),
        trial(
            "agent_malformed_packets_are_counted",
            Needs::Nothing,
            malformed,
        ),
        trial("agent_malformed_version_2", Needs::Nothing, malformed_v2),
        trial(
            "agent_duplicate_address_and_priority",
            Needs::Nothing,
            duplicate,
        ),
    ]
}

/// One announcement after the claim and no more, so that others stand out.
const QUIET: &str = "announce: { repeat: 1, delay: 0s, refresh: 0s }";

fn active(lab: &Lab, a: &Host, router: Router) -> Agent {
    let agent = lab.agent(a, &[router]);
    a.watch.wait(agent.started, vip(), true, LONG);
    agent
}

fn slow() -> Router {
    Router::new(200).interval_ms(1000).with(QUIET)
}

/// Some time between two periodic advertisements; returns when the last was.
fn between_adverts(lab: &Lab) -> Instant {
    let last = lab.observer.wait_advert(Instant::now(), "a", 200, LONG).at;
    std::thread::sleep((last + ms(400)).saturating_duration_since(Instant::now()));
    last
}

fn losing() {
    let lab = Lab::new();
    let [a, x] = lab.hosts(["a", "x"]);
    let agent = active(&lab, &a, slow());
    std::thread::sleep(ms(1100)); // a burst a second
    let last = between_adverts(&lab);
    let sent = Instant::now();
    x.inject(&[Forged::v4(x.v4(), 50)]);
    let answer = lab.observer.wait_advert(sent, "a", 200, LONG).at;
    assert_span("the answer", answer - last, ms(400), ms(500));
    lab.observer
        .wait(sent, "an announcement", ms(300), |frame| {
            frame.host == "a" && frame.announces() == Some(vip())
        });
    // The periodic schedule stays where it was.
    let next = lab.observer.wait_advert(answer + ms(1), "a", 200, LONG).at;
    let late = (next - last).saturating_sub(ms(1000));
    assert!(next - last + ms(2) >= ms(1000), "{:?}", next - last);
    assert!(
        late < ms(300) + stall::processor_since(last),
        "moved: {:?}",
        next - last
    );
    assert_eq!(agent.state("web"), "active");
}

fn losing_flood() {
    let lab = Lab::new();
    let [a, x] = lab.hosts(["a", "x"]);
    let agent = active(&lab, &a, slow());
    std::thread::sleep(ms(1100));
    let sent = Instant::now();
    for _ in 0..10 {
        x.inject(&vec![Forged::v4(x.v4(), 50); 50]);
        std::thread::sleep(ms(100));
    }
    wait_until("all 500 are heard", LONG, || {
        agent.instance("web")["counters"]["adverts_received"] == 500
    });
    let span = sent.elapsed();
    let answers = lab.observer.adverts(sent, "a").len();
    let most = 4 + usize::try_from(span.as_millis() / 100 + span.as_millis() / 1000 + 2).unwrap();
    assert!(
        (4..=most).contains(&answers),
        "{answers} answers in {span:?}"
    );
    // One burst a second, of one announcement in two forms.
    let announced = lab.observer.announcements(sent, "a", vip()).len();
    let most = 2 * usize::try_from(span.as_secs() + 2).unwrap();
    assert!(
        (2..=most).contains(&announced),
        "{announced} announcements in {span:?}"
    );
    assert_eq!(agent.instance("web")["counters"]["transitions"], 2);
}

fn resignation_to_active() {
    let lab = Lab::new();
    let [a, x] = lab.hosts(["a", "x"]);
    let agent = active(&lab, &a, slow());
    let last = between_adverts(&lab);
    let sent = Instant::now();
    x.inject(&[Forged::v4(x.v4(), 0)]);
    let answer = lab.observer.wait_advert(sent, "a", 200, LONG).at;
    assert_span("the answer", answer - last, ms(400), ms(500));
    // The timer starts anew.
    let next = lab.observer.wait_advert(answer + ms(1), "a", 200, LONG).at;
    assert_span("the next one", next - answer, ms(1000), ms(1000));
    assert_eq!(agent.state("web"), "active");
}

fn resignation_to_backup() {
    let lab = Lab::new();
    let [a, x] = lab.hosts(["a", "x"]);
    // Far away from its own Active_Down_Interval.
    let router = Router::new(100).interval_ms(2000);
    let agent = lab.agent(&a, std::slice::from_ref(&router));
    agent.wait_state("web", "backup", LONG);
    let mut incumbent = Forged::v4(x.v4(), 200);
    incumbent.interval_cs = 200;
    x.inject(&[incumbent.clone()]);
    std::thread::sleep(ms(300));
    let resigned = Instant::now();
    incumbent.priority = 0;
    x.inject(&[incumbent]);
    let taken = lab.observer.wait_advert(agent.started, "a", 100, LONG).at;
    assert_span(
        "the takeover",
        taken - resigned,
        router.skew(),
        router.skew() + ms(50),
    );
    assert_eq!(agent.instance("web")["reason"], "priority");
}

fn learns_interval() {
    let lab = Lab::new();
    let [a, x] = lab.hosts(["a", "x"]);
    let agent = lab.agent(&a, &[Router::new(100)]);
    agent.wait_state("web", "backup", LONG);
    let mut other = Forged::v4(x.v4(), 200);
    other.interval_cs = 100;
    x.inject(&[other]);
    let heard = Instant::now();
    wait_until("the advertisement in the status", LONG, || {
        !agent.instance("web")["drift"]
            .as_array()
            .is_none_or(Vec::is_empty)
    });
    let instance = agent.instance("web");
    assert_eq!(instance["active_down_interval_ms"], 3609, "{instance:#}");
    assert_eq!(
        instance["drift"][0]["code"], "advert-interval",
        "{instance:#}"
    );
    assert_eq!(instance["active_router"]["address"], x.v4().to_string());
    let taken = lab.observer.wait_advert(agent.started, "a", 100, LONG).at;
    let learned = Router::new(100).interval_ms(1000).down_interval();
    assert_span("the takeover", taken - heard, learned - ms(100), learned);
}

/// Resignations that must not count: from too far away, of another router,
/// damaged. The Backup waits its time.
fn forged_resignations() {
    let lab = Lab::new();
    let [a, x] = lab.hosts(["a", "x"]);
    let router = Router::new(100).interval_ms(1000);
    let agent = lab.agent(&a, std::slice::from_ref(&router));
    agent.wait_state("web", "backup", LONG);
    let base = Forged::v4(x.v4(), 0);
    let mut far = base.clone();
    far.ttl = 64;
    let mut damaged = base.clone();
    damaged.checksum_error = 1;
    let mut other = base.clone();
    other.vrid = 52;
    let mut own = base.clone();
    own.source = a.v4();
    let mut elsewhere = base;
    elsewhere.destination = a.v4();
    x.inject(&[far, damaged, other, own]);
    x.inject_to(a.mac("eth0").0, &[elsewhere]);
    let taken = lab.observer.wait_advert(agent.started, "a", 100, LONG).at;
    let down = router.down_interval();
    assert_span("the takeover", taken - agent.started, down, down + ms(200));
}

fn strangers() {
    let lab = Lab::new();
    let [a, b, x] = lab.hosts(["a", "b", "x"]);
    let agent = active(&lab, &a, Router::new(100).peers(&[b.v4()]));
    let mut stranger = Forged::v4(x.v4(), 254);
    stranger.destination = a.v4();
    let mut to_group = Forged::v4(b.v4(), 254);
    to_group.vrid = 51;
    x.inject_to(a.mac("eth0").0, &[stranger.clone(), stranger.clone()]);
    x.inject(&[to_group]);
    wait_until("both are counted", LONG, || {
        agent.instance("web")["counters"]["errors"]["unexpected-source"] == 2
    });
    assert_eq!(agent.state("web"), "active");
    // The same from the peer's address is heard.
    stranger.source = b.v4();
    x.inject_to(a.mac("eth0").0, &[stranger]);
    agent.wait_state("web", "backup", ms(1000));
}

type Change = fn(&mut Forged);

/// Each of these must be counted under its name and change nothing else.
const BAD: [(&str, Change); 10] = [
    ("ip-ttl-error", |f| f.ttl = 254),
    ("ip-ttl-error", |f| f.ttl = 1),
    ("packet-length-error", |f| f.length_change = -1),
    ("packet-length-error", |f| f.length_change = 4),
    ("packet-length-error", |f| f.count = 0),
    ("packet-length-error", |f| f.count = 255),
    ("version-error", |f| f.version = 2),
    ("invalid-type", |f| f.kind = 2),
    ("checksum-error", |f| f.checksum_error = 0x0101),
    ("interval-error", |f| f.interval_cs = 0),
];

fn malformed() {
    let lab = Lab::new();
    let [a, x] = lab.hosts(["a", "x"]);
    let agent = active(&lab, &a, Router::new(100));
    let before = agent.instance("web");
    const EACH: u64 = 300;
    let mut expected: std::collections::BTreeMap<&str, u64> = Default::default();
    let began = Instant::now();
    for (counter, change) in BAD {
        // They would win, were they sound.
        let mut forged = Forged::v4(x.v4(), 254);
        if counter == "version-error" {
            forged.interval_cs = 100;
        }
        change(&mut forged);
        x.inject(&vec![forged; usize::try_from(EACH).unwrap()]);
        *expected.entry(counter).or_default() += EACH;
        std::thread::sleep(ms(20));
    }
    for (counter, count) in &expected {
        wait_until(&format!("{count} times {counter}"), LONG, || {
            agent.instance("web")["counters"]["errors"][*counter] == *count
        });
    }
    // Those that belong to no instance.
    let mut unknown = Forged::v4(x.v4(), 254);
    unknown.vrid = 99;
    let mut short = Forged::v4(x.v4(), 254);
    short.length_change = -5;
    for (counter, forged) in [("vrid-error", unknown), ("packet-length-error", short)] {
        x.inject(&vec![forged; usize::try_from(EACH).unwrap()]);
        wait_until(counter, LONG, || {
            agent.status()["counters"]["errors"][counter] == EACH
        });
    }
    let after = agent.instance("web");
    assert_eq!(after["state"], "active");
    for counter in ["transitions", "adverts_received"] {
        assert_eq!(
            after["counters"][counter], before["counters"][counter],
            "{counter}"
        );
    }
    let log = agent.process.log();
    assert!(log.lines().count() < 60, "a flood of lines:\n{log}");
    for counter in expected.keys() {
        assert!(log.contains(counter), "no line about {counter}:\n{log}");
    }
    // The heartbeat did not suffer.
    let times: Vec<_> = lab
        .observer
        .adverts(began, "a")
        .iter()
        .map(|(at, _)| *at)
        .collect();
    for pair in times.windows(2) {
        // After a late one the next is early: the schedule stands.
        assert_span("the next one", pair[1] - pair[0], ms(0), ms(300));
    }
}

fn malformed_v2() {
    let lab = Lab::new();
    let [a, x] = lab.hosts(["a", "x"]);
    let agent = active(&lab, &a, Router::new(100).version_2());
    let mut sound = Forged::v4(x.v4(), 254);
    sound.version = 2;
    sound.interval_cs = 100;
    let mut password = sound.clone();
    password.authentication = 1;
    let mut other_interval = sound.clone();
    other_interval.interval_cs = 200;
    let mut short = sound.clone();
    short.length_change = -8;
    x.inject(&[password, other_interval, short]);
    for counter in [
        "authentication-error",
        "interval-error",
        "packet-length-error",
    ] {
        wait_until(counter, LONG, || {
            agent.instance("web")["counters"]["errors"][counter] == 1
        });
    }
    assert_eq!(agent.state("web"), "active");
    x.inject(&[sound]);
    agent.wait_state("web", "backup", Duration::from_secs(1));
}

/// Our own address as the source: never answered, or a loop would become a
/// storm.
fn duplicate() {
    let lab = Lab::new();
    let [a, x] = lab.hosts(["a", "x"]);
    let agent = active(&lab, &a, slow());
    // The kernel would drop them before the agent hears of them.
    for interface in ["all", "eth0"] {
        let key = format!("ipv4/conf/{interface}/accept_local");
        a.namespace.sysctl(&[(&key, "1")]);
    }
    between_adverts(&lab);
    let sent = Instant::now();
    let source: IpAddr = a.v4();
    x.inject(&[
        Forged::v4(source, 200),
        Forged::v4(source, 254),
        Forged::v4(source, 0),
    ]);
    std::thread::sleep(ms(300));
    let answers = lab.observer.adverts(sent, "a");
    assert!(answers.is_empty(), "{answers:?}");
    assert_eq!(agent.state("web"), "active");
    let status = agent.status();
    let instance = &status["instances"][0]["counters"]["errors"];
    let count = |errors: &serde_json::Value| {
        errors["loop"].as_u64().unwrap_or(0) + errors["duplicate-source"].as_u64().unwrap_or(0)
    };
    assert_eq!(
        count(instance) + count(&status["counters"]["errors"]),
        3,
        "{status:#}"
    );
}
