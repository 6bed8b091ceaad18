//! What is wrong between hosts: firewalls, strangers, keys, clocks.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use vipward::agent::event::V2Authentication;
use vipward::agent::seal::Sequence;
use vipward::agent::values::{AdvertInterval, ChecksumForm, Version, Vrid};
use vipward::wire::advertisement::{Outgoing, encode};
use vipward::wire::authentication::{Key, Signature};

use super::{Pair, active, doctor, examine, provide_nft};
use crate::agent_auth::{TIME, enforced, key};
use crate::lab::cluster::{LINK_PORT, codes};
use crate::lab::config::{Router, yaml};
use crate::lab::inject::carrying;
use crate::lab::{LONG, Lab, ms, vip};

pub fn well() {
    provide_nft();
    let pair = Pair::linked();
    let [a, b] = &pair.hosts;
    b.nft("add table inet filter");
    b.nft("add chain inet filter in { type filter hook input priority 0 ; policy drop ; }");
    for rule in [
        "ct state established,related accept",
        "iifname lo accept",
        "meta l4proto 112 accept",
        "udp dport 9851 accept",
        "icmp type echo-request accept",
    ] {
        b.nft(&format!("add rule inet filter in {rule}"));
    }
    let [first, other] = pair.doctors();
    for report in [&first, &other] {
        assert!(report.trouble().is_empty(), "{:#}", report.json);
        let machine = report.json["findings"].as_array().into_iter().flatten();
        let mut machine = machine.filter(|one| one["severity"] == "warning");
        let expected = if machine.next().is_some() { 1 } else { 0 };
        assert_eq!(report.code, Some(expected), "{:#}", report.json);
        assert_eq!(report.json["agent"]["answers"], true);
    }
    assert_eq!(first.path("vrrp", b.v4())[1], Some(true));
    assert_eq!(other.path("vrrp", a.v4())[0], Some(true));
    for address in [a.v4(), a.second_v4()] {
        assert_eq!(other.path("peer-link", address), [Some(true); 2]);
        assert_eq!(other.path("echo", address), [Some(true); 2]);
    }
    let plain = pair.agents[1].ask(&["doctor", "--listen", "0s"]);
    let text = String::from_utf8(plain.stdout).expect("text");
    let wide = text
        .lines()
        .find(|line| line.chars().count() > 80 && !line.contains("Run:"));
    assert_eq!(wide, None, "{text}");
}

pub fn deaf() {
    provide_nft();
    let pair = Pair::linked();
    let [a, b] = &pair.hosts;
    b.block_incoming_advertisements();
    pair.agents[1].wait_instance("web", "deaf", |web| {
        codes(&web["obstacles"]).contains(&"split-heartbeat-path".to_owned())
    });
    let [first, other] = pair.doctors();
    let finding = other.is_error("adverts-dropped-here");
    let what = finding["what"].as_str().unwrap_or_default();
    assert!(what.contains("chain in of inet deaf"), "{what}");
    assert_eq!(other.path("vrrp", a.v4())[0], Some(false));
    first.is_error("adverts-not-heard-there");
    assert_eq!(first.path("vrrp", b.v4())[1], Some(false));

    // What the finding says mends it does.
    let command = finding["mend"][0]["run"].as_str().expect("a command");
    let words = command.strip_prefix("nft ").expect("of nft");
    b.nft(words);
    pair.agents[1].wait_instance("web", "hearing again", |web| {
        web["obstacles"].as_array().is_some_and(Vec::is_empty)
    });
    let [first, other] = pair.doctors();
    assert!(
        first.trouble().is_empty() && other.trouble().is_empty(),
        "{:#}",
        other.json
    );
}

pub fn mute() {
    provide_nft();
    let lab = Lab::new();
    let [a] = lab.hosts(["a"]);
    a.block_advertisements();
    let report = examine(&lab, &a, &yaml("a", &[Router::new(200)]));
    let finding = report.is_error("adverts-do-not-leave");
    let what = finding["what"].as_str().unwrap_or_default();
    assert!(
        what.contains("Operation not permitted") && what.contains("chain out of inet blocked"),
        "{what}"
    );
    // And with an agent, which tries to send.
    let agent = lab.agent(&a, &[Router::new(200)]);
    agent.wait_instance("web", "unable to send", |web| {
        web["counters"]["errors"]["send-error"].as_u64() > Some(0)
    });
    let report = doctor(&a, &agent);
    report.is_error("send-error");
    let command = report.is_error("adverts-do-not-leave")["mend"][0]["run"].clone();
    let words = command.as_str().and_then(|run| run.strip_prefix("nft "));
    a.nft(words.expect("of nft"));
    agent.wait_state("web", "active", LONG);
    let report = doctor(&a, &agent);
    assert!(report.trouble().is_empty(), "{:#}", report.json);
}

pub fn link_one_way() {
    provide_nft();
    let pair = Pair::linked();
    let [a, b] = &pair.hosts;
    b.nft("add table inet half");
    b.nft("add chain inet half in { type filter hook input priority 0 ; }");
    b.nft(&format!(
        "add rule inet half in iifname eth1 udp dport {LINK_PORT} drop"
    ));
    pair.agents[0].wait_node("b", "deaf by its second path", |node| {
        node["paths"][1]["heard_there"] == false && node["paths"][1]["reachable"] == true
    });
    let [first, other] = pair.doctors();
    first.is_warning("path-closed");
    assert_eq!(
        first.path("peer-link", b.second_v4()),
        [Some(true), Some(false)]
    );
    other.is_error("firewall-drops-peer-link");
    assert_eq!(
        other.path("peer-link", a.second_v4()),
        [Some(false), Some(true)]
    );
    assert_eq!(other.path("peer-link", a.v4()), [Some(true); 2]);
}

pub fn strict() {
    let lab = Lab::new();
    let [a, b] = lab.hosts(["a", "b"]);
    lab.plug(&b, "eth1");
    let _first = active(&lab, &a, &Router::new(200));
    let other = lab.agent(&b, &[Router::new(100)]);
    other.wait_state("web", "backup", LONG);
    b.namespace.sysctl(&[("ipv4/conf/eth0/rp_filter", "1")]);
    let report = doctor(&b, &other);
    assert!(report.trouble().is_empty(), "{:#}", report.json);
    b.ip(&format!("route add {}/32 dev eth1", a.v4()));
    other.wait_state("web", "active", LONG);
    let report = doctor(&b, &other);
    let finding = report.is_error("rp-filter");
    assert!(
        finding.to_string().contains("net.ipv4.conf.eth0.rp_filter"),
        "{finding:#}"
    );
    assert!(
        !report.trouble().contains(&"adverts-dropped-here"),
        "{:#}",
        report.json
    );
    report.is_error("two-active");
}

pub fn clash() {
    let lab = Lab::new();
    let [a, b, foreign] = lab.hosts(["a", "b", "foreign"]);
    let strange = Router::new(250).addresses(&["192.0.2.200/24"]);
    let _foreign = active(&lab, &foreign, &strange);
    let report = examine(&lab, &a, &yaml("a", &[Router::new(200)]));
    let finding = report.is_error("vrid-clash");
    let what = finding["what"].as_str().unwrap_or_default();
    assert!(
        what.contains("VRID 51") && what.contains("192.0.2.200"),
        "{what}"
    );
    // Another number is nobody's fault, and is listed.
    let free = Router {
        vrid: 52,
        ..Router::new(200)
    };
    let report = examine(&lab, &b, &yaml("b", &[free]));
    assert_eq!(report.trouble(), ["no-agent"], "{:#}", report.json);
    assert_eq!(report.finding("other-routers")["severity"], "note");
    assert_eq!(report.json["heard"][0]["vrid"], 51);
}

pub fn stranger() {
    let pair = Pair::linked();
    let stranger = pair.lab.host("stranger");
    let _stranger = active(&pair.lab, &stranger, &Router::new(250));
    let [a, _] = &pair.hosts;
    let report = doctor(a, &pair.agents[0]);
    let finding = report.is_error("foreign-speaker");
    let what = finding["what"].as_str().unwrap_or_default();
    assert!(what.contains(&stranger.v4().to_string()), "{what}");
}

/// b's key is another, or it has none: neither hears the other.
pub fn authentication(code: &str) {
    let lab = Lab::new();
    let [a, b] = lab.hosts(["a", "b"]);
    let first = active(&lab, &a, &enforced(&lab, Router::new(200), TIME));
    let other = match code {
        "wrong-key" => {
            let path = key(&lab, 9);
            let auth = format!("auth: {{ keys: {{ 1: {} }} }}", path.display());
            Router::new(250).with(&auth)
        }
        // It believes us, so it has to outrank us to speak.
        _ => Router::new(250),
    };
    let _other = active(&lab, &b, &other);
    let report = doctor(&a, &first);
    let finding = report.is_error(code);
    let what = finding["what"].as_str().unwrap_or_default();
    assert!(what.contains(&b.v4().to_string()), "{what}");
    report.is_error("two-active");
    for another in ["wrong-key", "authentication-missing", "clock-refused"] {
        assert!(
            another == code || !report.trouble().contains(&another),
            "{:#}",
            report.json
        );
    }
}

/// A peer with the right key whose clock is an hour behind.
pub fn clock() {
    let lab = Lab::new();
    let [a, b] = lab.hosts(["a", "b"]);
    let first = active(&lab, &a, &enforced(&lab, Router::new(200), TIME));
    let stop = AtomicBool::new(false);
    let report = thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let message = signed_an_hour_ago(b.v4());
                b.send(&[carrying(&b, b.v4(), &message)]);
                thread::sleep(ms(200));
            }
        });
        let report = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| doctor(&a, &first)));
        stop.store(true, Ordering::Relaxed);
        report
    });
    let report = report.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    report.is_error("clock-refused");
    let finding = report.is_error("clock-difference");
    let what = finding["what"].as_str().unwrap_or_default();
    assert!(
        what.contains("behind") && what.contains(&b.v4().to_string()),
        "{what}"
    );
}

fn signed_an_hour_ago(source: IpAddr) -> Vec<u8> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a clock");
    let key = Key::new(&[7; 32]).expect("a key");
    let mut bytes = Vec::new();
    let outgoing = Outgoing {
        version: Version::V3,
        vrid: Vrid::new(51).expect("a number"),
        priority: 100,
        interval: AdvertInterval::from_centiseconds(30).expect("an interval"),
        checksum: ChecksumForm::PseudoHeader,
        v2_authentication: V2Authentication::default(),
        addresses: &[vip()],
        source,
        destination: "224.0.0.18".parse().expect("the group"),
        signature: Some(Signature {
            key_id: 1,
            key: &key,
            sequence: Sequence::at_clock(now - Duration::from_secs(3600)),
        }),
    };
    encode(&outgoing, &mut bytes).expect("a message");
    bytes
}
