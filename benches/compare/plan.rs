//! What is compared: each scenario with its steps, how long is looked at what
//! becomes of each, which figure decides, and what the goal is.

use std::time::Duration;

use crate::lab::config::Router;
use crate::lab::ms;

/// Who stands on both hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    Keepalived,
    /// Plain VRRP, as keepalived.
    Vipward,
    /// With the peer link, by two paths.
    Linked,
}

pub const ALL: [Who; 3] = [Who::Keepalived, Who::Vipward, Who::Linked];
const PLAIN: &[Who] = &[Who::Keepalived, Who::Vipward];

impl Who {
    pub fn text(self) -> &'static str {
        match self {
            Self::Keepalived => "keepalived",
            Self::Vipward => "vipward",
            Self::Linked => "vipward, peer link",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    Nothing,
    Stopped,
    Drained,
    HandedOver,
    Killed,
    /// Two hosts that name each other instead of the group.
    KilledUnicast,
    AllKilled,
    Frozen,
    Link,
    Segment,
    CheckFault,
    CheckWeight,
    AddressDeleted,
    Interface,
    ReloadActiveFirst,
    ReloadBackupFirst,
    /// The guardian, and keepalived's first process.
    OtherKilled,
    Paused,
    Blocked,
    DeletedAgainAndAgain,
    Bustle,
}

/// Which figure a row is judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    /// Probes that were never answered.
    Lost,
    /// The longest time without an answer in time.
    Gap,
    /// The longest time during which both kernels held the address.
    Two,
}

impl Figure {
    pub fn text(self) -> &'static str {
        match self {
            Self::Lost => "probes lost",
            Self::Gap => "ms without an answer",
            Self::Two => "ms with two owners",
        }
    }
}

/// Something that is done to host a.
pub struct Step {
    pub text: &'static str,
    /// How long is looked: so many milliseconds, and so many intervals.
    look: (u64, u32),
    pub figure: Figure,
}

impl Step {
    pub fn look(&self, interval: Duration) -> Duration {
        ms(self.look.0) + interval * self.look.1
    }
}

pub struct Scenario {
    pub case: Case,
    pub steps: &'static [Step],
    /// Advertisement intervals, in milliseconds.
    pub intervals: &'static [u64],
    pub whos: &'static [Who],
    /// Beyond what is compared by default: only when it is asked for.
    pub extra: bool,
}

const fn step(text: &'static str, look: (u64, u32), figure: Figure) -> Step {
    Step { text, look, figure }
}

const fn scenario(case: Case, steps: &'static [Step], intervals: &'static [u64]) -> Scenario {
    Scenario {
        case,
        steps,
        intervals,
        whos: &ALL,
        extra: false,
    }
}

const fn extra(case: Case, steps: &'static [Step]) -> Scenario {
    Scenario {
        case,
        steps,
        intervals: SECOND,
        whos: &ALL,
        extra: true,
    }
}

const SECOND: &[u64] = &[1000];
/// Of whatever is found out by silence.
const EACH: &[u64] = &[1000, 100, 10];

use Figure::{Gap, Lost, Two};

pub const SCENARIOS: &[Scenario] = &[
    scenario(
        Case::Nothing,
        &[step("nothing happens", (3000, 2), Gap)],
        EACH,
    ),
    scenario(
        Case::Stopped,
        &[step("planned stop", (1500, 2), Lost)],
        EACH,
    ),
    scenario(
        Case::Drained,
        &[step(
            "drain (keepalived: priority, reload)",
            (2000, 5),
            Lost,
        )],
        SECOND,
    ),
    Scenario {
        whos: &[Who::Keepalived, Who::Linked],
        ..scenario(
            Case::HandedOver,
            &[step(
                "hand-over (keepalived: priority, reload)",
                (2000, 5),
                Lost,
            )],
            SECOND,
        )
    },
    scenario(Case::Killed, &[step("agent killed", (1500, 5), Gap)], EACH),
    Scenario {
        whos: PLAIN,
        ..scenario(
            Case::KilledUnicast,
            &[step("agent killed, unicast pair", (1500, 5), Gap)],
            EACH,
        )
    },
    scenario(
        Case::AllKilled,
        &[step("all its processes killed", (3500, 5), Two)],
        EACH,
    ),
    scenario(
        Case::Frozen,
        &[
            step("all frozen", (4000, 6), Two),
            step("resumed", (2000, 5), Gap),
        ],
        EACH,
    ),
    scenario(
        Case::Link,
        &[
            step("link down", (1500, 5), Gap),
            step("link up", (2000, 6), Gap),
        ],
        EACH,
    ),
    scenario(
        Case::Segment,
        // Past the bursts that follow a claim, which could hide what is missing.
        &[
            step("segment cut", (7000, 4), Gap),
            step("segment healed", (4000, 6), Gap),
        ],
        EACH,
    ),
    scenario(
        Case::CheckFault,
        &[step("check fails: fault", (2500, 2), Lost)],
        SECOND,
    ),
    scenario(
        Case::CheckWeight,
        &[step("check fails: weight", (2500, 5), Lost)],
        SECOND,
    ),
    scenario(
        Case::AddressDeleted,
        &[step("address deleted by hand", (2000, 1), Gap)],
        SECOND,
    ),
    scenario(
        Case::Interface,
        &[
            step("interface deleted", (1500, 5), Gap),
            step("interface created", (2000, 6), Gap),
        ],
        SECOND,
    ),
    scenario(
        Case::ReloadActiveFirst,
        &[
            step("an address more on the Active", (500, 5), Lost),
            step("then on the Backup", (500, 5), Lost),
        ],
        SECOND,
    ),
    scenario(
        Case::ReloadBackupFirst,
        &[
            step("an address more on the Backup", (500, 5), Lost),
            step("then on the Active", (500, 5), Lost),
        ],
        SECOND,
    ),
    extra(
        Case::OtherKilled,
        &[step("guardian killed", (1500, 4), Gap)],
    ),
    extra(
        Case::Paused,
        &[
            step("all frozen for 2 s", (0, 2), Two),
            step("resumed after 2 s", (0, 4), Gap),
        ],
    ),
    extra(
        Case::Blocked,
        &[
            step("advertisements blocked", (4000, 6), Two),
            step("advertisements let out", (2000, 5), Gap),
        ],
    ),
    extra(
        Case::DeletedAgainAndAgain,
        &[step("address deleted every second", (0, 20), Gap)],
    ),
    extra(
        Case::Bustle,
        &[step("2,000 netlink events a second", (0, 12), Gap)],
    ),
];

/// What is asked of `who` in the step `text`, in the unit of its figure:
/// probes, or milliseconds. `None`: nothing but not to be behind.
pub fn goal(case: Case, step: usize, who: Who, interval: Duration) -> Option<f64> {
    let inner = |span: Duration| span.as_secs_f64() * 1e3;
    let router = Router::new(100).interval_ms(interval.as_millis().try_into().unwrap_or(0));
    let linked = who == Who::Linked;
    match (case, step) {
        (Case::Stopped | Case::Drained | Case::HandedOver, _) => Some(0.0),
        (Case::CheckFault | Case::CheckWeight, _) => Some(0.0),
        (Case::ReloadActiveFirst | Case::ReloadBackupFirst, _) => Some(0.0),
        (Case::Killed, _) if !linked => Some(inner(router.skew()) + 10.0),
        (Case::Killed | Case::KilledUnicast, _) => Some(10.0),
        (Case::AllKilled | Case::Frozen | Case::Paused, 0) => {
            let below = interval < ms(1000);
            Some(if below { inner(router.lease()) } else { 0.0 })
        }
        (Case::Frozen | Case::Segment, 1) => Some(5.0),
        (Case::Link, 0) if linked => Some(inner(interval * 3 + interval / 10) + 5.0),
        (Case::AddressDeleted, _) => Some(3.0),
        _ => None,
    }
}
