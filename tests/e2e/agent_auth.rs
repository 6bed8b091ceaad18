//! Authenticated advertisements between real agents: who has no key changes
//! nothing, and whoever has one is believed, at every death and restart, and
//! while it is introduced or changed.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use nix::sys::signal::Signal;

use crate::lab::agent::Agent;
use crate::lab::config::{Router, yaml};
use crate::lab::frame::Frame;
use crate::lab::inject::Forged;
use crate::lab::prober::Prober;
use crate::lab::process::Process;
use crate::lab::{Host, LONG, Lab, assert_span, ms, vip, write};
use crate::{Needs, trial};

/// A router of this priority, towards this peer.
type Make = fn(u8, IpAddr) -> Router;

pub fn trials() -> Vec<Trial> {
    let variants: [(&str, Make, &'static str); 5] = [
        ("", plain, MONOTONIC),
        ("_by_time", plain, TIME),
        ("_v2", |priority, _| Router::new(priority).version_2(), TIME),
        (
            "_unicast",
            |priority, peer| Router::new(priority).peers(&[peer]),
            MONOTONIC,
        ),
        (
            "_ipv6",
            |priority, _| Router::new(priority).ipv6(),
            MONOTONIC,
        ),
    ];
    let deaths = variants.map(|(name, router, anti_replay)| {
        let run = move || a_death_is_believed(router, anti_replay);
        let name = format!("agent_auth_death_is_believed{name}");
        trial(name, Needs::Nothing, run)
    });
    let restarts = [MONOTONIC, TIME].map(|anti_replay| {
        let name = format!("agent_auth_restarts_lock_nobody_out_{anti_replay}");
        trial(name, Needs::Nothing, move || restarts(anti_replay))
    });
    let others: [(&str, Needs, fn()); 4] = [
        ("agent_auth_attacks_change_nothing", Needs::Nothing, attacks),
        ("agent_auth_introduced_and_rotated", Needs::Nothing, rollout),
        ("agent_auth_faults_of_key_files", Needs::Nothing, key_files),
        (
            "keepalived_and_a_simple_password",
            Needs::Keepalived,
            password,
        ),
    ];
    let others = others.map(|(name, needs, run)| trial(name, needs, run));
    deaths.into_iter().chain(restarts).chain(others).collect()
}

fn plain(priority: u8, _: IpAddr) -> Router {
    Router::new(priority)
}

/// A key file of this lab, of these bytes.
pub fn key(lab: &Lab, byte: u8) -> PathBuf {
    let path = lab.directory.path().join(format!("key-{byte}"));
    std::fs::write(&path, [byte; 32]).expect("a key file");
    let mode = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(&path, mode).expect("its mode");
    path
}

pub const MONOTONIC: &str = "monotonic";
pub const TIME: &str = "time";

pub fn enforced(lab: &Lab, router: Router, anti_replay: &str) -> Router {
    let path = key(lab, 7);
    let keys = format!("keys: {{ 1: {} }}", path.display());
    router.with(&format!("auth: {{ {keys}, anti_replay: {anti_replay} }}"))
}

/// Kind and count of what `agent` did not believe of `source`.
pub fn rejections(agent: &Agent, source: IpAddr) -> BTreeMap<String, u64> {
    let status = agent.instance("web");
    let all = status["rejections"].as_array().expect("a list").clone();
    let of_source = all
        .into_iter()
        .filter(|one| one["source"] == source.to_string());
    of_source
        .map(|one| {
            let kind = one["kind"].as_str().expect("a kind").to_owned();
            (kind, one["count"].as_u64().expect("a count"))
        })
        .collect()
}

/// Active on a, Backup on b, both signing.
fn pair(lab: &Lab, [a, b]: [&Host; 2], router: Make, anti_replay: &str) -> (Agent, Agent, Router) {
    let best = enforced(lab, router(200, b.v4()), anti_replay);
    let second = enforced(lab, router(100, a.v4()), anti_replay);
    let first = lab.agent(a, std::slice::from_ref(&best));
    for address in best.parsed() {
        a.watch.wait(first.started, address, true, LONG);
    }
    let other = lab.agent(b, std::slice::from_ref(&second));
    other.wait_state("web", "backup", LONG);
    (first, other, second)
}

fn a_death_is_believed(router: Make, anti_replay: &str) {
    let lab = Lab::new();
    let [a, b] = lab.hosts(["a", "b"]);
    let (mut first, other, second) = pair(&lab, [&a, &b], router, anti_replay);
    sleep(second.down_interval());
    assert_eq!(other.state("web"), "backup", "it believes the Active");
    let status = other.instance("web");
    assert_eq!(status["authentication"], "enforce");
    assert_eq!(status["counters"]["errors"]["authentication-error"], 0);
    let sent = lab.observer.wait_advert(first.started, "a", 200, LONG);
    assert_eq!(sent.advert().expect("an advertisement").trailing, 28);
    first.guardian(None);

    let killed = Instant::now();
    first.process.kill();
    let farewell = lab.observer.wait_advert(killed, "a", 0, LONG).at;
    let taken = lab.observer.wait_advert(farewell, "b", 100, LONG).at;
    // After silence it would have taken three intervals more.
    assert_span(
        "the takeover",
        taken - farewell,
        second.haste(),
        second.skew(),
    );
    assert_eq!(
        other.instance("web")["counters"]["errors"]["authentication-error"],
        0,
        "{}",
        other.process.log()
    );
}

/// The frame with our hardware address as its sender's.
fn replayed(frame: &Frame, by: &Host) -> Vec<u8> {
    let mut bytes = frame.bytes.clone();
    bytes
        .get_mut(6..12)
        .expect("a frame")
        .copy_from_slice(&by.mac("eth0").0);
    bytes
}

/// Once the answers of an earlier attack are no longer under way.
pub fn undisturbed(lab: &Lab, agents: [&Agent; 2], what: &str, attack: impl FnOnce()) {
    let before = agents.map(|agent| agent.transitions("web"));
    let began = Instant::now();
    attack();
    sleep(ms(1500));
    let after = agents.map(|agent| agent.transitions("web"));
    assert_eq!(before, after, "{what}");
    let adverts = lab.observer.adverts(began, "a");
    let own: Vec<_> = adverts
        .iter()
        .filter(|(_, advert)| advert.trailing == 28)
        .collect();
    assert!(own.len() >= 4, "{what}: {} heartbeats", own.len());
    for pair in own.windows(2) {
        let gap = pair[1].0 - pair[0].0;
        assert!(gap < ms(600), "{what}: a gap of {gap:?}");
    }
}

fn attacks() {
    let lab = Lab::new();
    let [a, b, attacker] = lab.hosts(["a", "b", "attacker"]);
    let (mut first, other, _) = pair(&lab, [&a, &b], plain, MONOTONIC);
    let captured = lab.observer.wait_advert(first.started, "a", 200, LONG);
    sleep(ms(1000));
    let both = [&first, &other];
    for source in [a.v4(), b.v4(), attacker.v4()] {
        for priority in [0, 1, 150, 255] {
            undisturbed(&lab, both, "forged, unsigned", || {
                attacker.inject(&[Forged::v4(source, priority)]);
            });
        }
    }
    assert!(rejections(&other, attacker.v4()).contains_key("missing"));
    assert!(rejections(&other, a.v4()).contains_key("missing"));
    undisturbed(&lab, both, "a capture", || {
        attacker.send(&vec![replayed(&captured, &attacker); 50]);
    });
    assert_eq!(rejections(&other, a.v4()).get("replayed"), Some(&50));
    undisturbed(&lab, both, "turned bits", || {
        let frame = replayed(&captured, &attacker);
        let turned = (34..frame.len()).map(|at| {
            let mut turned = frame.clone();
            turned[at] ^= 1 << (at % 8);
            turned
        });
        attacker.send(&turned.collect::<Vec<_>>());
    });
    undisturbed(&lab, both, "other lengths", || {
        let frame = replayed(&captured, &attacker);
        let cut = (34..frame.len()).map(|at| frame[..at].to_vec());
        let longer = (1..40).map(|more| [frame.clone(), vec![0; more]].concat());
        attacker.send(&cut.chain(longer).collect::<Vec<_>>());
    });
    let before = other.resident_kib();
    undisturbed(&lab, both, "10,000 a second", || {
        let mut frame = replayed(&captured, &attacker);
        // Ahead of every mark, so that the HMAC has to be made.
        frame[14 + 20 + 12 + 4] ^= 0x10;
        let batch = vec![frame; 1000];
        let began = Instant::now();
        for number in 1..=100_u32 {
            attacker.send(&batch);
            sleep((ms(100) * number).saturating_sub(began.elapsed()));
        }
    });
    assert!(rejections(&other, a.v4())["wrong-key"] > 90_000);
    let grown = other.resident_kib().saturating_sub(before);
    assert!(grown < 2048, "{grown} KiB more");
    assert_eq!(first.state("web"), "active");
    // The key's own holder is heard all the while.
    let stopped = Instant::now();
    first.signal(Signal::SIGTERM);
    first.process.wait_exit(LONG);
    b.watch.wait(stopped, vip(), true, LONG);
}

/// Killed and started again, each of them, with captures of before.
fn restarts(anti_replay: &str) {
    let lab = Lab::new();
    let [a, b, attacker] = lab.hosts(["a", "b", "attacker"]);
    let (mut first, mut other, second) = pair(&lab, [&a, &b], plain, anti_replay);
    sleep(ms(2500));
    let captures: Vec<Frame> = lab
        .observer
        .frames(first.started)
        .into_iter()
        .filter(|frame| frame.is_advert("a", 200))
        .collect();
    let last = captures.last().expect("a capture");
    // A second: as old as the marks on the disk may be.
    sleep(ms(1500));

    // The receiver.
    other.kill_with_guardian();
    let other = lab.agent(&b, std::slice::from_ref(&second));
    other.wait_state("web", "backup", LONG);
    attacker.send(&[replayed(last, &attacker)]);
    sleep(second.down_interval() + ms(300));
    assert_eq!(other.state("web"), "backup", "{}", other.process.log());
    let rejected = rejections(&other, a.v4());
    assert_eq!(
        rejected.keys().collect::<Vec<_>>(),
        ["replayed"],
        "{rejected:?}"
    );

    // The sender, which comes back, preempts, and is believed.
    first.kill_with_guardian();
    other.wait_state("web", "active", LONG);
    let again = lab.agent(&a, &[enforced(&lab, Router::new(200), anti_replay)]);
    again.wait_state("web", "active", LONG);
    other.wait_state("web", "backup", LONG);
    sleep(second.down_interval() + ms(300));
    assert_eq!(other.state("web"), "backup");
    let began = Instant::now();
    for capture in &captures {
        attacker.send(&[replayed(capture, &attacker)]);
    }
    sleep(ms(500));
    assert_eq!(again.state("web"), "active");
    assert_eq!(other.state("web"), "backup");
    assert!(lab.observer.adverts(began, "b").is_empty());
    let kinds = rejections(&other, a.v4());
    assert_eq!(kinds.keys().collect::<Vec<_>>(), ["replayed"], "{kinds:?}");
}

/// Each step on both hosts, one after the other, as an operator would.
fn rollout() {
    let lab = Lab::new();
    let [a, b, client] = lab.hosts(["a", "b", "client"]);
    let (old, new) = (key(&lab, 7), key(&lab, 8));
    let router = |priority, auth: &str| match auth {
        "" => Router::new(priority),
        auth => Router::new(priority).with(&format!("auth: {auth}")),
    };
    let first = lab.agent(&a, &[router(200, "")]);
    first.wait_state("web", "active", LONG);
    let other = lab.agent(&b, &[router(100, "")]);
    other.wait_state("web", "backup", LONG);
    let prober = Prober::start(&client, vip());
    prober.wait_answered(LONG);
    sleep(ms(500));
    let before = [first.transitions("web"), other.transitions("web")];
    let began = Instant::now();
    let one = |mode: &str| format!("{{ keys: {{ 1: {} }}, mode: {mode} }}", old.display());
    let two = |active: u8| {
        let (old, new) = (old.display(), new.display());
        format!("{{ keys: {{ 1: {old}, 2: {new} }}, active_key: {active} }}")
    };
    let steps = [
        one("receive-only"),
        one("permissive"),
        one("enforce"),
        two(1),
        two(2),
        format!("{{ keys: {{ 2: {} }} }}", new.display()),
    ];
    for step in &steps {
        for (agent, host, priority) in [(&other, &b, 100), (&first, &a, 200)] {
            write(&agent.config, &yaml(&host.name, &[router(priority, step)]));
            let reloaded = agent.ask(&["reload"]);
            assert!(reloaded.status.success(), "{step}: {reloaded:?}");
            sleep(ms(700));
        }
    }
    assert_eq!(before, [first.transitions("web"), other.transitions("web")]);
    for agent in [&first, &other] {
        let status = agent.instance("web");
        assert_eq!(
            status["counters"]["errors"]["authentication-error"], 0,
            "{status}"
        );
        assert_eq!(status["authentication"], "enforce");
    }
    let report = prober.stop();
    assert_eq!(report.lost, 0, "{report:?}");
    assert!(report.sent > 2_000, "{report:?}");
    let adverts = lab.observer.adverts(began, "a");
    for pair in adverts.windows(2) {
        let gap = pair[1].0 - pair[0].0;
        assert!(gap < ms(600), "a gap of {gap:?}");
    }
    assert!(adverts.iter().any(|(_, advert)| advert.trailing == 0));
    assert!(
        adverts
            .last()
            .is_some_and(|(_, advert)| advert.trailing == 28)
    );
}

/// The agent does not start, and does not reload, without its keys.
fn key_files() {
    let lab = Lab::new();
    let a = lab.host("a");
    let path = key(&lab, 7);
    let router = Router::new(200).with(&format!("auth: {{ keys: {{ 1: {} }} }}", path.display()));
    let agent = lab.agent(&a, std::slice::from_ref(&router));
    agent.wait_state("web", "active", LONG);
    let open = std::fs::Permissions::from_mode(0o640);
    std::fs::set_permissions(&path, open).expect("its mode");
    let reloaded = agent.ask(&["reload"]);
    assert!(!reloaded.status.success());
    let said = String::from_utf8_lossy(&reloaded.stderr).into_owned();
    assert!(said.contains("chmod 0600"), "{said}");
    assert_eq!(agent.state("web"), "active");
    // Nowhere is there a byte of it.
    for text in [agent.process.log(), agent.status().to_string(), said] {
        assert!(!text.contains("\u{7}\u{7}"), "{text}");
    }
}

/// keepalived's `auth_pass`, in both directions.
fn password() {
    for better in ["agent", "keepalived"] {
        let lab = Lab::new();
        let [a, b] = lab.hosts(["a", "b"]);
        let ours = |priority| {
            Router::new(priority)
                .version_2()
                .with("auth: { password: s3cret }")
        };
        let theirs = |host: &Host, priority| -> Process {
            let text = Router::new(priority).version_2().keepalived(host.v4());
            let auth = "  authentication {\n    auth_type PASS\n    auth_pass s3cret\n  }\n}\n";
            let text = text
                .trim_end()
                .strip_suffix('}')
                .expect("a block")
                .to_owned()
                + auth;
            lab.keepalived_with(host, &text)
        };
        let began = Instant::now();
        let (agent, _other) = if better == "agent" {
            let agent = lab.agent(&a, &[ours(200)]);
            agent.wait_state("web", "active", LONG);
            (agent, theirs(&b, 100))
        } else {
            let other = theirs(&b, 200);
            lab.observer.wait_advert(began, "b", 200, LONG);
            (lab.agent(&a, &[ours(100)]), other)
        };
        let role = if better == "agent" {
            "active"
        } else {
            "backup"
        };
        agent.wait_state("web", role, LONG);
        let since = Instant::now();
        sleep(Duration::from_secs(5));
        assert_eq!(agent.state("web"), role);
        let loser = if better == "agent" { "b" } else { "a" };
        assert!(lab.observer.adverts(since, loser).is_empty(), "{better}");
        let errors = &agent.instance("web")["counters"]["errors"];
        assert_eq!(errors["authentication-error"], 0);
    }
}
