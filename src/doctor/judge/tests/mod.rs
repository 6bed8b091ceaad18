//! Facts as values, and what is found in them. Every host here is well but
//! for what the test says.

mod kernel;
mod path_tests;
mod told;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::super::facts::*;
use super::super::finding::{Finding, Mend, Severity};
use super::super::report::Report;
use super::super::rules::{Ruleset, from_nft_json};
use super::judge;
use crate::agent::event::{InterfaceAddress, InterfaceState};
use crate::agent::values::{Family, InterfaceName, MacAddress};
use crate::control::render::Colour;
use crate::control::sample;

fn eth0() -> InterfaceName {
    "eth0".parse().unwrap()
}

fn interface(address: &str) -> Interface {
    Interface {
        state: InterfaceState {
            index: 7,
            up: true,
            hardware_address: Some(MacAddress([2, 0, 0, 0, 0, 1])),
            mtu: 1500,
            forwards_ipv6: false,
            manager: None,
            gateways: Vec::new(),
            addresses: vec![InterfaceAddress {
                network: address.parse().unwrap(),
                secondary: false,
                tentative: false,
                ours: false,
            }],
        },
        enabled: true,
        carrier: true,
        multicast: true,
        groups: Some([Family::Ipv4, Family::Ipv6].into()),
        settings: InterfaceSettings::default(),
    }
}

fn web() -> Subject {
    Subject {
        name: "web".to_owned(),
        interface: eth0(),
        vrid: 51,
        version: 3,
        family: Family::Ipv4,
        interval: Duration::from_secs(1),
        addresses: vec![("192.0.2.10/24".parse().unwrap(), eth0())],
        advertised: vec!["192.0.2.10".parse().unwrap()],
        peers: Vec::new(),
        source: None,
        ttl: 255,
        signed: false,
        enforces: false,
        clock_window: None,
        routes: false,
        rules: false,
    }
}

/// lb1 as Backup, hearing lb2.
fn peer() -> Speaker {
    Speaker {
        interface: eth0(),
        source: "192.0.2.2".parse().unwrap(),
        destination: "224.0.0.18".parse().unwrap(),
        outgoing: false,
        vrid: 51,
        version: 3,
        priority: 200,
        interval: Some(Duration::from_secs(1)),
        addresses: vec!["192.0.2.10".parse().unwrap()],
        hop_limit: 255,
        checksum_sound: true,
        sealed: false,
        clock_ahead_ms: None,
        last_at: Duration::from_millis(2_800),
        on_wire: 3,
        delivered: 3,
    }
}

/// Of a host without an agent, so that nothing but these facts is judged.
fn facts() -> Facts {
    Facts {
        now: sample::wall(),
        node: "lb1".to_owned(),
        configuration: Configuration {
            path: PathBuf::from("/etc/vipward/config.yaml"),
            faults: None,
            digest: Some("0".to_owned()),
        },
        agent: Agent::Absent("no agent runs here".to_owned()),
        subjects: vec![web()],
        link: None,
        rights: Rights {
            missing: Vec::new(),
            real_time: Ok(()),
            locked_memory: Ok(()),
        },
        interfaces: BTreeMap::from([(eth0(), Ok(Some(interface("192.0.2.1/24"))))]),
        ways: BTreeMap::from([("192.0.2.2".parse().unwrap(), eth0())]),
        ways_back: BTreeMap::from([("192.0.2.0/24".parse().unwrap(), eth0())]),
        beside: Vec::new(),
        kernel: Kernel {
            nonlocal_bind_ipv4: Some(true),
            nonlocal_bind_ipv6: Some(true),
        },
        firewall: Firewall {
            rulesets: vec![Ruleset::default()],
            unread: Vec::new(),
        },
        hearing: Ok(Hearing {
            span: Duration::from_secs(3),
            speakers: vec![peer()],
            ..Hearing::default()
        }),
        echoes: BTreeMap::new(),
        clock: Clock {
            synchronised: Some(true),
        },
        managers: BTreeMap::new(),
    }
}

/// Codes with what is not a note, but for the missing agent.
#[track_caller]
fn codes(facts: &Facts) -> Vec<(Severity, &'static str)> {
    let found = judge(facts).findings;
    found.iter().for_each(is_whole);
    let found = found.into_iter();
    let found = found.filter(|finding| finding.code != "no-agent");
    found
        .map(|finding| (finding.severity, finding.code))
        .collect()
}

/// What is no mere note names a command beside its reason.
#[track_caller]
fn is_whole(finding: &Finding) {
    assert!(
        !finding.what.is_empty() && !finding.why.is_empty(),
        "{finding:?}"
    );
    let commands = |mend: &Mend| matches!(mend, Mend::Run(command) if !command.is_empty());
    let note = finding.severity == Severity::Note;
    assert!(note || finding.mend.iter().any(commands), "{finding:?}");
}

fn error(code: &'static str) -> Vec<(Severity, &'static str)> {
    vec![(Severity::Error, code)]
}

fn warning(code: &'static str) -> Vec<(Severity, &'static str)> {
    vec![(Severity::Warning, code)]
}

fn with(change: impl FnOnce(&mut Facts)) -> Facts {
    let mut facts = facts();
    change(&mut facts);
    facts
}

fn on_eth0(change: impl FnOnce(&mut Interface)) -> Facts {
    with(|facts| {
        let mut found = interface("192.0.2.1/24");
        change(&mut found);
        facts.interfaces.insert(eth0(), Ok(Some(found)));
    })
}

fn heard(change: impl FnOnce(&mut Speaker)) -> Facts {
    with(|facts| {
        let mut speaker = peer();
        change(&mut speaker);
        facts.hearing = Ok(Hearing {
            span: Duration::from_secs(3),
            speakers: vec![speaker],
            ..Hearing::default()
        });
    })
}

#[test]
fn a_host_that_is_well_has_nothing_but_a_missing_agent() {
    assert_eq!(codes(&facts()), []);
    let only: Vec<_> = judge(&facts())
        .findings
        .iter()
        .map(|one| one.code)
        .collect();
    assert_eq!(only, ["no-agent"]);
}

#[test]
fn rights() {
    let missing = with(|facts| facts.rights.missing = vec!["CAP_NET_ADMIN", "CAP_NET_RAW"]);
    assert_eq!(codes(&missing), error("capabilities"));
    let refused = || Err("not permitted".to_owned());
    let slow = with(|facts| facts.rights.real_time = refused());
    assert_eq!(codes(&slow), warning("no-real-time"));
    let swapped = with(|facts| facts.rights.locked_memory = refused());
    assert_eq!(codes(&swapped), warning("memory-not-locked"));
}

#[test]
fn interfaces_in_the_order_of_what_is_missing() {
    let gone = with(|facts| drop(facts.interfaces.insert(eth0(), Ok(None))));
    assert_eq!(codes(&gone), error("interface-missing"));
    let down = on_eth0(|found| (found.enabled, found.carrier) = (false, false));
    assert_eq!(codes(&down), error("interface-down"));
    assert_eq!(
        codes(&on_eth0(|found| found.carrier = false)),
        error("no-carrier")
    );
    assert_eq!(
        codes(&on_eth0(|found| found.multicast = false)),
        error("no-multicast")
    );
    let bare = on_eth0(|found| found.state.addresses.clear());
    assert_eq!(codes(&bare), error("no-source-address"));
    // A virtual address is none of its own.
    let held = on_eth0(|found| {
        found.state.addresses[0].network = "192.0.2.10/24".parse().unwrap();
        found.state.addresses[0].ours = true;
    });
    assert_eq!(codes(&held), error("no-source-address"));
    let wrong = with(|facts| facts.subjects[0].source = "192.0.2.7".parse().ok());
    assert_eq!(codes(&wrong), error("source-missing"));
}

#[test]
fn others_on_the_segment() {
    let clash = heard(|speaker| speaker.addresses = vec!["10.1.1.1".parse().unwrap()]);
    assert_eq!(codes(&clash), error("vrid-clash"));
    assert_eq!(
        codes(&heard(|speaker| speaker.version = 2)),
        error("version-mismatch")
    );
    assert_eq!(
        codes(&heard(|speaker| speaker.hop_limit = 254)),
        error("ttl")
    );
    assert_eq!(
        codes(&heard(|speaker| speaker.checksum_sound = false)),
        error("checksum")
    );
    let slow = heard(|speaker| speaker.interval = Some(Duration::from_secs(2)));
    assert_eq!(codes(&slow), warning("drift"));
    let more = heard(|speaker| speaker.addresses.push("192.0.2.11".parse().unwrap()));
    assert_eq!(codes(&more), warning("drift"));
    let other = heard(|speaker| speaker.vrid = 52);
    assert_eq!(codes(&other), [(Severity::Note, "other-routers")]);
    let stranger = with(|facts| facts.subjects[0].peers = vec!["192.0.2.3".parse().unwrap()]);
    assert_eq!(codes(&stranger), error("foreign-speaker"));
    let mut both = facts();
    let hearing = both.hearing.as_mut().unwrap();
    let source = "192.0.2.1".parse().unwrap();
    hearing.speakers.push(Speaker {
        source,
        outgoing: true,
        delivered: 0,
        ..peer()
    });
    assert_eq!(codes(&both), error("two-active"));
    // Neither one that was relieved meanwhile is a second Active, nor the last
    // word of a hand-over.
    both.hearing.as_mut().unwrap().speakers[1].last_at = Duration::from_millis(900);
    assert_eq!(codes(&both), []);
    both.hearing.as_mut().unwrap().speakers[1].last_at = Duration::from_millis(2_900);
    both.hearing.as_mut().unwrap().speakers[1].on_wire = 1;
    assert_eq!(codes(&both), []);
}

fn nft(chain: &str, expressions: &str) -> Firewall {
    let text = format!(
        r#"{{"nftables": [{{"chain": {{"family": "inet", "table": "f", "name": "{chain}",
            "type": "filter", "hook": "{chain}", "prio": 0, "policy": "accept"}}}},
            {{"rule": {{"family": "inet", "table": "f", "chain": "{chain}",
            "expr": [{expressions}]}}}}]}}"#
    );
    Firewall {
        rulesets: vec![from_nft_json(&text).unwrap()],
        unread: Vec::new(),
    }
}

const DROPS: &str = r#"{"match": {"op": "==", "left": {"meta": {"key": "l4proto"}},
    "right": 112}}, {"drop": null}"#;

#[test]
fn what_is_dropped_here_is_seen_without_reading_a_rule() {
    let eaten = heard(|speaker| speaker.delivered = 0);
    assert_eq!(codes(&eaten), error("adverts-dropped-here"));
    let verdict = judge(&eaten);
    assert_eq!(verdict.paths[0].from_peer.works, Some(false));
    let named = Facts {
        firewall: nft("input", DROPS),
        ..eaten
    };
    let all = judge(&named).findings;
    let finding = all
        .iter()
        .find(|one| one.code == "adverts-dropped-here")
        .unwrap();
    assert!(
        finding
            .what
            .contains("it is `meta l4proto 112 drop` in chain input"),
        "{finding:?}"
    );
    let mend = format!("{:?}", finding.mend);
    assert!(
        mend.contains("nft insert rule inet f input iifname eth0 meta l4proto 112 accept"),
        "{mend}"
    );
}

#[test]
fn rules_alone_are_judged_where_nothing_was_seen() {
    let silent = |firewall| {
        with(|facts| {
            facts.firewall = firewall;
            facts.hearing = Ok(Hearing::default());
        })
    };
    assert_eq!(
        codes(&silent(nft("input", DROPS))),
        error("firewall-drops-vrrp")
    );
    assert_eq!(
        codes(&silent(nft("output", DROPS))),
        error("firewall-drops-vrrp")
    );
    let maybe = format!(r#"{{"limit": {{}}}}, {DROPS}"#);
    assert_eq!(
        codes(&silent(nft("input", &maybe))),
        warning("firewall-may-drop-vrrp")
    );
    // What was heard counts more than what a rule may do.
    let heard = with(|facts| facts.firewall = nft("input", &maybe));
    assert_eq!(codes(&heard), []);
}

#[test]
fn clocks_matter_where_advertisements_are_signed() {
    let signed = |ahead_ms: i64, window: Option<Duration>| {
        let mut facts = heard(|speaker| {
            speaker.sealed = true;
            speaker.clock_ahead_ms = Some(ahead_ms);
        });
        facts.subjects[0].signed = true;
        facts.subjects[0].clock_window = window;
        facts
    };
    let window = Some(Duration::from_secs(5));
    assert_eq!(codes(&signed(40, window)), []);
    assert_eq!(codes(&signed(-9_000, window)), error("clock-difference"));
    assert_eq!(codes(&signed(9_000, None)), warning("clock-difference"));
    let mut drifting = signed(0, window);
    drifting.clock.synchronised = Some(false);
    assert_eq!(codes(&drifting), warning("clock-unsynchronised"));
    let unsigned = with(|facts| facts.clock.synchronised = Some(false));
    assert_eq!(codes(&unsigned), []);
}

fn managed(kind: ManagerKind) -> Facts {
    let manager = Manager {
        kind,
        netplan: vec![PathBuf::from("/etc/netplan/50-cloud-init.yaml")],
        cloud_init: Some(PathBuf::from("/etc/netplan/50-cloud-init.yaml")),
    };
    with(|facts| facts.managers = BTreeMap::from([(eth0(), manager)]))
}

fn networkd(keep: Keep) -> ManagerKind {
    ManagerKind::Networkd {
        file: Some(PathBuf::from(
            "/run/systemd/network/10-netplan-eth0.network",
        )),
        keep,
        manages_routes: true,
        manages_rules: false,
    }
}

#[test]
fn programs_that_take_addresses_away() {
    assert_eq!(
        codes(&managed(networkd(Keep::Nothing))),
        warning("networkd-prunes")
    );
    assert_eq!(
        codes(&managed(networkd(Keep::Static))),
        warning("networkd-prunes")
    );
    assert_eq!(codes(&managed(networkd(Keep::Everything))), []);
    let mut routed = managed(networkd(Keep::Everything));
    routed.subjects[0].routes = true;
    assert_eq!(codes(&routed), warning("networkd-prunes-routes"));
    let manager = |written| ManagerKind::NetworkManager { written };
    assert_eq!(
        codes(&managed(manager(None))),
        warning("network-manager-prunes")
    );
    let ifupdown = |dhcp| ManagerKind::Ifupdown { file: None, dhcp };
    assert_eq!(codes(&managed(ifupdown(true))), warning("dhcp-flushes"));
    assert_eq!(
        codes(&managed(ifupdown(false))),
        [(Severity::Note, "ifupdown")]
    );
    assert_eq!(
        codes(&managed(ManagerKind::Dhclient)),
        warning("dhcp-flushes")
    );
}

#[test]
fn the_file_to_change_is_named() {
    let all = judge(&managed(networkd(Keep::Nothing))).findings;
    let mends = format!(
        "{:?}",
        all.iter()
            .find(|one| one.code == "networkd-prunes")
            .unwrap()
            .mend
    );
    for part in [
        "/etc/systemd/network/10-netplan-eth0.network.d/vipward.conf",
        "KeepConfiguration=yes",
        "/etc/netplan/50-cloud-init.yaml",
        "99-disable-network-config.cfg",
    ] {
        assert!(mends.contains(part), "{part}: {mends}");
    }
}

#[test]
fn what_people_read() {
    let mut facts = managed(networkd(Keep::Nothing));
    let hearing = facts.hearing.as_mut().unwrap();
    hearing.speakers[0].delivered = 0;
    hearing.speakers.push(Speaker {
        vrid: 7,
        source: "192.0.2.66".parse().unwrap(),
        addresses: vec!["192.0.2.77".parse().unwrap()],
        ..peer()
    });
    facts.echoes = BTreeMap::from([("192.0.2.2".parse().unwrap(), Echo::Answered)]);
    facts.firewall = nft("input", DROPS);
    let report = Report::new(&facts, judge(&facts));
    let text = report.for_people(Colour::Off);
    for line in text.lines().filter(|line| !line.starts_with("  Run:")) {
        assert!(line.chars().count() <= 80, "{line}");
    }
    insta::assert_snapshot!("report", text);
    insta::assert_snapshot!("report_json", report.to_json().unwrap());
    let painted = report.for_people(Colour::On);
    assert!(painted.contains("\x1b[1;31merror\x1b[0m"), "{painted}");
}
