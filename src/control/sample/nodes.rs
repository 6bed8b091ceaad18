//! The two other nodes of the sample.

use std::time::Duration;

use super::ago;
use crate::agent::cluster::message::{CheckNews, Fitness, InstanceNews, ObstacleNews};
use crate::agent::jobs::CheckName;
use crate::agent::status::{CheckState, Known, NodeStatus, PathStatus, Reason, StateName};
use crate::agent::values::{Family, InstanceName, MacAddress, NodeName, Version, Vrid};

fn path(address: &str, reachable: bool, age_ms: Option<u64>, error: Option<&str>) -> PathStatus {
    PathStatus {
        address: address.parse().unwrap(),
        reachable,
        last_heard: age_ms.map(ago),
        error: error.map(str::to_owned),
        heard_there: None,
    }
}

/// As it was told `told_ms` ago, and affirmed `known_ms` ago.
fn known<T>(news: T, told_ms: u64, known_ms: u64) -> Known<T> {
    Known {
        news,
        told_at: ago(told_ms),
        known_at: ago(known_ms),
    }
}

fn news(name: &str, state: StateName, reason: Reason) -> InstanceNews {
    InstanceNews {
        name: InstanceName::new(name),
        vrid: Vrid::new(51).unwrap(),
        family: Family::Ipv4,
        version: Version::V3,
        state,
        for_: Duration::from_secs(20),
        reason: reason.name().to_owned(),
        fitness: match state {
            StateName::Fault => Fitness::ChecksFail,
            _ => Fitness::Able,
        },
        priority: 100,
        source: "192.0.2.2".parse().ok(),
        hardware_address: Some(MacAddress([2, 0, 0, 0, 0, 2])),
        advert_interval: Duration::from_secs(1),
        down_after: 3,
        holds: state == StateName::Active,
        addresses: vec![("192.0.2.10/24".parse().unwrap(), state == StateName::Active)],
        addresses_total: 1,
        addresses_digest: 0,
        settings_digest: 0,
        keys: Vec::new(),
        active_key: None,
        obstacles: Vec::new(),
        active_router: None,
        witnesses: 1,
        witnessed: Some(true),
    }
}

pub(super) fn lb2() -> NodeStatus {
    let mut web = news("web", StateName::Backup, Reason::Startup);
    web.active_router = "192.0.2.1".parse().ok();
    let mut mail = news("mail", StateName::Fault, Reason::Obstacle);
    mail.obstacles.push(ObstacleNews {
        code: "check-failed".to_owned(),
        source: "check smtp".to_owned(),
        text: "connection refused".to_owned(),
    });
    let mut db = news("db", StateName::Active, Reason::NoResponse);
    db.active_router = "192.0.2.2".parse().ok();
    let cache = news("cache", StateName::Active, Reason::Preempted);
    let there = news("there", StateName::Backup, Reason::Startup);
    let check = CheckNews {
        name: CheckName::new("smtp"),
        state: CheckState::Down,
        for_: Duration::from_secs(9),
        output: "connection refused".to_owned(),
    };
    NodeStatus {
        name: NodeName::new("lb2"),
        reachable: true,
        last_heard: Some(ago(80)),
        program: "0.1.0".to_owned(),
        paths: vec![
            PathStatus {
                heard_there: Some(false),
                ..path("192.0.2.2", true, Some(80), None)
            },
            path(
                "10.0.0.2",
                false,
                Some(312_000),
                Some("Network is unreachable"),
            ),
        ],
        instances: vec![
            known(cache, 300_000, 80),
            known(db, 1_000, 80),
            known(mail, 1_000, 80),
            known(there, 1_000, 80),
            known(web, 60_000, 12_000),
        ],
        checks: vec![known(check, 1_000, 80)],
    }
}

/// It was Active for `web` when it was last heard, and must not seem so now.
pub(super) fn lb3() -> NodeStatus {
    let web = news("web", StateName::Active, Reason::NoResponse);
    NodeStatus {
        name: NodeName::new("lb3"),
        reachable: false,
        last_heard: Some(ago(192_000)),
        program: "0.1.0".to_owned(),
        paths: vec![
            path("192.0.2.3", false, Some(192_000), None),
            path("10.0.0.3", false, None, None),
        ],
        instances: vec![known(web, 400_000, 192_000)],
        checks: Vec::new(),
    }
}
