//! One instance of each kind, for the tests of this room.

mod nodes;

use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;

use super::document::{Context, Document, Identity, WallClock};
use super::layout::COLUMNS;
use crate::agent::cluster::Refusal;
use crate::agent::jobs::{CheckName, HookKind};
use crate::agent::routing::{Route, RouteStatus, Rule, RuleStatus, TABLE_MAIN};
use crate::agent::settings::OnFail;
use crate::agent::status::{
    ActiveRouter, AddressStatus, CheckState, CheckStatus, Conflict, Counter, Counters, Drift,
    GroupStatus, HookStatus, InstanceStatus, Obstacle, PriorityTerm, Reason, Rejected, Rejection,
    StateName, Status,
};
use crate::agent::tally::Runs;
use crate::agent::time::Instant;
use crate::agent::values::{
    ChecksumForm, Family, GroupName, InstanceName, Lease, MacAddress, NodeName, Priority, Version,
    Vrid,
};

/// The moment of the picture.
pub(crate) fn wall() -> Timestamp {
    "2026-11-22T13:12:05.5Z".parse().unwrap()
}

/// Fails on a line that is wider than a terminal, or ends in blanks.
pub(crate) fn fits(text: &str) {
    for line in text.lines() {
        assert!(line.chars().count() <= usize::from(COLUMNS), "{line}");
        assert_eq!(line, line.trim_end());
    }
}

pub(crate) fn document() -> Document {
    document_of(&status())
}

/// Three nodes: lb2 by one of its two paths, lb3 silent.
pub(crate) fn cluster() -> Document {
    document_of(&cluster_status())
}

pub(crate) fn cluster_status() -> Status {
    let mut status = status();
    status.nodes = vec![nodes::lb2(), nodes::lb3()];
    status.link_refusals = [(Refusal::Forged, 40), (Refusal::Malformed, 0)].into();
    for instance in &mut status.instances {
        for drift in &mut instance.drift {
            drift.node = Some(NodeName::new("lb2"));
        }
        if let Some(router) = &mut instance.active_router {
            router.node = (!router.ourselves).then(|| NodeName::new("lb2"));
        }
        if instance.name.as_str() == "web" {
            instance.drift.push(Drift {
                code: "keys",
                ours: "1, 2".to_owned(),
                theirs: "1".to_owned(),
                source: None,
                node: Some(NodeName::new("lb2")),
            });
        }
    }
    status
}

fn document_of(status: &Status) -> Document {
    Document::new(
        status,
        Context {
            identity: &identity(),
            now: now(),
            clock: WallClock::new(now(), wall()),
        },
    )
}

pub(crate) fn now() -> Instant {
    Instant::from_nanos(20_000_000_000_000)
}

fn ago(ms: u64) -> Instant {
    Instant::from_nanos(now().as_nanos() - ms * 1_000_000)
}

pub(crate) fn identity() -> Identity {
    Identity {
        version: "0.1.0".to_owned(),
        node: "lb1".to_owned(),
        pid: 4242,
        started_at: "2026-11-22T10:00:00Z".parse().unwrap(),
        config_path: "/etc/vipward/config.yaml".into(),
        config_loaded_at: "2026-11-22T10:00:00.012Z".parse().unwrap(),
        config_digest: "6b86b273ff34fce1".to_owned(),
    }
}

fn status() -> Status {
    let mut counters = Counters::default();
    for _ in 0..3 {
        counters.count(Counter::VridError);
    }
    Status {
        nodes: Vec::new(),
        link_refusals: Default::default(),
        checks: vec![
            check("api", CheckState::Unknown, 340, ""),
            check(
                "nginx",
                CheckState::Down,
                312_000,
                "exit code 1: connect to 127.0.0.1 port 8080 failed: Connection refused",
            ),
            CheckStatus {
                number: Some(-20),
                ..check("flag", CheckState::Up, 60_000, "-20")
            },
            CheckStatus {
                on_fail: OnFail::Handover,
                ..check(
                    "room",
                    CheckState::Up,
                    11_520_000,
                    "/: 40% is free (9120 MiB)",
                )
            },
            check("smtp", CheckState::Up, 11_520_000, "220 mail.example ESMTP"),
            check("uplink", CheckState::Down, 95_000, "it has no carrier"),
        ],
        groups: vec![GroupStatus {
            name: GroupName::new("front"),
            state: StateName::Active,
            since: ago(11_520_000),
            members: vec![InstanceName::new("api"), InstanceName::new("web")],
            hooks: vec![hook(HookKind::Change, Some("exit code 2"), "no route")],
        }],
        instances: vec![api(), cache(), db(), fresh(), mail(), web()],
        counters,
    }
}

fn check(name: &str, state: CheckState, since_ms: u64, output: &str) -> CheckStatus {
    CheckStatus {
        tally: runs(state == CheckState::Down),
        name: CheckName::new(name),
        state,
        since: ago(since_ms),
        duration: Duration::from_micros(4_200),
        against: 0,
        output: output.to_owned(),
        on_fail: OnFail::Fault,
        number: None,
    }
}

fn runs(failed: bool) -> Runs {
    let mut runs = Runs::default();
    runs.note(Duration::from_micros(4_200), failed);
    runs
}

fn hook(hook: HookKind, error: Option<&str>, output: &str) -> HookStatus {
    HookStatus {
        tally: runs(error.is_some()),
        hook,
        ended: ago(11_519_000),
        duration: Duration::from_millis(40),
        error: error.map(str::to_owned),
        output: output.to_owned(),
    }
}

fn instance(name: &str, vrid: u8, state: StateName, reason: Reason) -> InstanceStatus {
    InstanceStatus {
        name: InstanceName::new(name),
        interface: "eth0".parse().unwrap(),
        vrid: Vrid::new(vrid).unwrap(),
        version: Version::V3,
        family: Family::Ipv4,
        state,
        since: ago(11_520_000),
        reason,
        obstacles: Vec::new(),
        base_priority: Priority::new(150).unwrap(),
        effective_priority: Priority::new(150).unwrap(),
        priority_terms: Vec::new(),
        virtual_mac: None,
        addresses: Vec::new(),
        routes: Vec::new(),
        rules: Vec::new(),
        active_router: None,
        advert_interval: Duration::from_secs(1),
        active_down_interval: Duration::from_micros(3_414_062),
        drained: None,
        yielded_to: None,
        stranded: false,
        drift: Vec::new(),
        conflicts: Vec::new(),
        hooks: Vec::new(),
        authentication: "none",
        rejections: Vec::new(),
        counters: Counters::default(),
    }
}

fn address(network: &str, held: bool, required: bool) -> AddressStatus {
    AddressStatus {
        network: network.parse().unwrap(),
        interface: "eth0".parse().unwrap(),
        held,
        required,
        lease: Lease::from_seconds(2).filter(|_| held),
    }
}

fn route(to: &str, source: Option<&str>, held: bool) -> RouteStatus {
    RouteStatus {
        route: Route {
            to: to.parse().unwrap(),
            via: Some("192.0.2.254".parse().unwrap()),
            interface: "eth0".parse().unwrap(),
            source: source.map(|source| source.parse().unwrap()),
            table: if source.is_some() { TABLE_MAIN } else { 100 },
            metric: 0,
            onlink: false,
        },
        held,
        required: held,
    }
}

fn rule(held: bool) -> RuleStatus {
    RuleStatus {
        rule: Rule {
            family: Family::Ipv4,
            from: Some("192.0.2.10/32".parse().unwrap()),
            to: None,
            iif: None,
            oif: None,
            fwmark: Some(7).filter(|_| held),
            table: 100,
            priority: 30_000,
        },
        held,
        required: true,
    }
}

fn router(address: &str, ourselves: bool, age_ms: u64) -> Option<ActiveRouter> {
    Some(ActiveRouter {
        address: address.parse::<IpAddr>().unwrap(),
        priority: if ourselves { 150 } else { 200 },
        last_advert: ago(age_ms),
        ourselves,
        checksum: (!ourselves).then_some(ChecksumForm::PseudoHeader),
        node: None,
    })
}

/// Active and whole, with drift, a conflict, and most counters moved.
fn web() -> InstanceStatus {
    let mut counters = Counters::default();
    counters.adverts_sent = 11_520;
    counters.adverts_received = 7;
    counters.priority_zero_sent = 1;
    counters.priority_zero_received = 2;
    counters.transitions = 3;
    counters.stalls = 4;
    counters.count(Counter::ChecksumError);
    counters.count(Counter::ChecksumError);
    InstanceStatus {
        addresses: vec![
            address("192.0.2.10/24", true, true),
            address("192.0.2.11/24", true, true),
            address("2001:db8::10/64", true, true),
            address("2001:db8::11/64", true, false),
        ],
        routes: vec![
            route("203.0.113.0/24", Some("192.0.2.10"), true),
            route("0.0.0.0/0", None, true),
        ],
        rules: vec![rule(true)],
        active_router: router("192.0.2.1", true, 12),
        drained: None,
        yielded_to: None,
        stranded: false,
        drift: vec![Drift {
            code: "addresses",
            ours: "192.0.2.10, 192.0.2.11".to_owned(),
            theirs: "192.0.2.10".to_owned(),
            source: "192.0.2.2".parse().ok(),
            node: None,
        }],
        conflicts: vec![Conflict {
            address: "192.0.2.10".parse().unwrap(),
            hardware_address: MacAddress([2, 0, 0, 0, 0, 7]),
            last_seen: ago(95_000),
            last_defended: ago(95_000),
        }],
        hooks: vec![
            hook(HookKind::Active, Some("exit code 127"), "mail: not found"),
            hook(HookKind::Change, None, ""),
        ],
        authentication: "enforce",
        rejections: vec![Rejected {
            source: "192.0.2.66".parse().unwrap(),
            kind: Rejection::WrongKey,
            count: 12,
            last: ago(61_000),
        }],
        counters,
        ..instance("web", 51, StateName::Active, Reason::NoResponse)
    }
}

/// Active without an address that it must have.
fn db() -> InstanceStatus {
    InstanceStatus {
        addresses: vec![
            address("192.0.2.20/24", true, true),
            address("192.0.2.21/24", false, true),
        ],
        routes: vec![route("203.0.113.0/24", Some("192.0.2.20"), false)],
        rules: vec![rule(false)],
        active_router: router("192.0.2.1", true, 12),
        obstacles: vec![Obstacle {
            code: "address-refused",
            source: "address 192.0.2.21/24".to_owned(),
            since: ago(2_000),
            text: "the kernel refused it: No buffer space available (ENOBUFS)".to_owned(),
        }],
        ..instance("db", 52, StateName::Active, Reason::Preempted)
    }
}

/// Active without an address that it need not have.
fn api() -> InstanceStatus {
    InstanceStatus {
        family: Family::Ipv6,
        addresses: vec![
            address("fe80::10/64", true, true),
            address("2001:db8::30/64", false, false),
        ],
        active_router: router("fe80::1", true, 12),
        ..instance("api", 53, StateName::Active, Reason::Priority)
    }
}

fn mail() -> InstanceStatus {
    let obstacle = |code, source: &str, text: &str| Obstacle {
        code,
        source: source.to_owned(),
        since: ago(312_000),
        text: text.to_owned(),
    };
    InstanceStatus {
        since: ago(312_000),
        interface: "eth1".parse().unwrap(),
        obstacles: vec![
            obstacle("link-down", "interface eth1", "it has no carrier"),
            obstacle("check-failed", "check nginx", "exit code 1"),
        ],
        addresses: vec![address("198.51.100.25/24", false, true)],
        ..instance("mail", 54, StateName::Fault, Reason::Obstacle)
    }
}

fn cache() -> InstanceStatus {
    InstanceStatus {
        version: Version::V2,
        base_priority: Priority::new(150).unwrap(),
        effective_priority: Priority::new(100).unwrap(),
        priority_terms: vec![PriorityTerm {
            source: "check uplink".to_owned(),
            delta: -50,
        }],
        addresses: vec![address("192.0.2.40/24", false, true)],
        active_router: router("192.0.2.2", false, 340),
        ..instance("cache", 55, StateName::Backup, Reason::Startup)
    }
}

fn fresh() -> InstanceStatus {
    InstanceStatus {
        since: ago(340),
        addresses: vec![address("192.0.2.50/24", true, true)],
        ..instance("fresh", 56, StateName::Initialize, Reason::Shutdown)
    }
}
