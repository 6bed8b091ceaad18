//! An exchange, on the side of the one that is Active and lets go. Until the
//! successor has said that it has everything, the incumbent can stay what it
//! is.

use std::time::Duration;

use super::step::Step;
use super::task::TaskId;
use super::unit::{self, Members};
use super::{Progress, REPEAT, REPLY};
use crate::agent::cluster::message::{Word, cut_to};
use crate::agent::hooks::ANSWER_MARGIN;
use crate::agent::jobs::HookKind;
use crate::agent::moves::{DrainEnd, MoveFact, WHY_BYTES_MAX};
use crate::agent::report::Fact;
use crate::agent::router::VirtualRouter;
use crate::agent::time::Instant;
use crate::agent::values::NodeName;
use crate::agent::world::Turn;

/// For the kernel of the successor to add all addresses.
const ADDITIONS: Duration = Duration::from_secs(10);

/// What a move is for, and so what becomes of the incumbent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Handover(TaskId),
    Drain(TaskId, DrainEnd),
    Stop,
    /// The successor asked for it, and would otherwise preempt.
    Request,
    /// A check says that this host will not be well for long.
    Warning,
}

#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    pub node: NodeName,
    pub serial: u64,
    pub purpose: Purpose,
    stage: Stage,
    /// The successor's last word.
    heard_at: Instant,
    say_at: Instant,
    /// What its hooks may take.
    hooks: Duration,
    /// Told by the successor.
    refused: Option<String>,
    taken: bool,
    /// Nothing here is in the successor's way.
    room: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Waits for the successor's consent.
    Offering,
    /// It has consented, or asked.
    Accepted,
    /// `before_release` runs.
    Demoting { until: Instant },
    /// The successor is at work.
    Yielding { until: Instant },
}

impl Outgoing {
    /// Offers the unit to `node`.
    pub fn offer(
        turn: &mut Turn<'_>,
        members: Members<'_, '_>,
        node: NodeName,
        purpose: Purpose,
    ) -> Self {
        let mut outgoing = Self::new(turn.now, node, purpose, Stage::Offering);
        outgoing.say_due(turn, members);
        outgoing
    }

    /// Lets go for `node`, which asked for it.
    pub fn comply(turn: &mut Turn<'_>, members: Members<'_, '_>, node: NodeName) -> Self {
        let mut outgoing = Self::new(turn.now, node, Purpose::Request, Stage::Accepted);
        outgoing.demote(turn, members);
        outgoing
    }

    fn new(now: Instant, node: NodeName, purpose: Purpose, stage: Stage) -> Self {
        Self {
            node,
            serial: now.as_nanos(),
            purpose,
            stage,
            heard_at: now,
            say_at: now,
            hooks: Duration::ZERO,
            refused: None,
            taken: false,
            room: true,
        }
    }

    pub fn next(&self) -> Instant {
        let until = match self.stage {
            Stage::Offering => self.heard_at + REPLY,
            Stage::Accepted => return self.heard_at,
            Stage::Demoting { until } => return until,
            Stage::Yielding { until } => until.min(self.heard_at + REPLY),
        };
        until.min(self.say_at)
    }

    /// At the latest.
    pub fn ends_by(&self) -> Instant {
        match self.stage {
            Stage::Offering | Stage::Accepted => self.heard_at + REPLY + ADDITIONS,
            Stage::Demoting { until } => until + self.hooks + ANSWER_MARGIN + ADDITIONS,
            Stage::Yielding { until } => until,
        }
    }

    pub fn hear(&mut self, now: Instant, members: Members<'_, '_>, step: Step) {
        match (self.stage, step) {
            (Stage::Offering, Step::Accept { hooks }) => {
                self.heard_at = now;
                self.hooks = hooks;
                self.stage = Stage::Accepted;
            }
            (Stage::Yielding { .. }, Step::Working { claimed }) => {
                self.heard_at = now;
                if claimed {
                    members
                        .iter_mut()
                        .for_each(|member| member.keep_silent(now));
                }
            }
            (Stage::Yielding { .. }, Step::Taken) => self.taken = true,
            (_, Step::Refuse { why } | Step::BreakOff { why }) => self.refused = Some(why),
            (
                Stage::Offering | Stage::Accepted | Stage::Demoting { .. } | Stage::Yielding { .. },
                Step::Accept { .. }
                | Step::Working { .. }
                | Step::Taken
                | Step::Request { .. }
                | Step::Offer { .. }
                | Step::Yield { .. }
                | Step::Released,
            ) => {}
        }
    }

    fn demote(&mut self, turn: &mut Turn<'_>, members: Members<'_, '_>) {
        let time = unit::hook_time(members, HookKind::BeforeRelease);
        let until = turn.now + time + ANSWER_MARGIN + REPLY;
        self.stage = Stage::Demoting { until };
        members.iter_mut().for_each(|member| member.demote(turn));
    }

    /// Goes on as far as it goes.
    pub fn advance(&mut self, turn: &mut Turn<'_>, members: Members<'_, '_>) -> Progress {
        if let Some(why) = self.refused.take() {
            return self.break_off(turn, members, why);
        }
        if !members.iter().all(|member| member.is_active()) {
            return self.break_off(turn, members, "it is no longer Active here".to_owned());
        }
        if self.taken {
            self.let_go(turn, members);
            return Progress::Done;
        }
        if self.stage == Stage::Accepted {
            self.demote(turn, members);
        }
        if let Stage::Demoting { until } = self.stage {
            let outcomes: Vec<_> = members.iter().map(|member| member.demotion()).collect();
            if outcomes.contains(&Some(Err(()))) {
                let why = "the hook before_release failed here".to_owned();
                return self.break_off(turn, members, why);
            }
            if outcomes.iter().all(Option::is_some) {
                self.begin_yielding(turn, members);
            } else if until <= turn.now {
                let why = "the hook before_release was not answered for".to_owned();
                return self.break_off(turn, members, why);
            }
        }
        let patience = match self.stage {
            Stage::Offering => Some(self.heard_at + REPLY),
            Stage::Accepted | Stage::Demoting { .. } => None,
            Stage::Yielding { until } => Some(until.min(self.heard_at + REPLY)),
        };
        if patience.is_some_and(|at| at <= turn.now) {
            let why = format!(
                "{} did not answer within {} ms",
                self.node,
                REPLY.as_millis()
            );
            return self.break_off(turn, members, why);
        }
        self.say_due(turn, members);
        Progress::Continues
    }

    fn begin_yielding(&mut self, turn: &mut Turn<'_>, members: Members<'_, '_>) {
        let until = turn.now + self.hooks + ANSWER_MARGIN + ADDITIONS;
        self.stage = Stage::Yielding { until };
        self.heard_at = turn.now;
        self.say_at = turn.now;
        for member in members.iter_mut() {
            member.yield_to(turn, &self.node);
            let fact = MoveFact::Begun {
                to: self.node.clone(),
            };
            turn.report(Some(&member.settings().name), Fact::Move(fact));
        }
    }

    fn say_due(&mut self, turn: &mut Turn<'_>, members: Members<'_, '_>) {
        let room = members.iter().all(|member| member.makes_room());
        if !room {
            // The successor is waited for from then on.
            self.heard_at = turn.now;
            self.say_at = turn.now + REPEAT;
        } else if std::mem::replace(&mut self.room, room) != room {
            self.say_at = turn.now;
        }
        self.room = room;
        if self.say_at > turn.now || !room {
            return;
        }
        let step = match self.stage {
            Stage::Offering => Step::Offer {
                members: unit::digest(members),
            },
            Stage::Yielding { .. } => Step::Yield {
                members: unit::digest(members),
            },
            Stage::Accepted | Stage::Demoting { .. } => return,
        };
        self.say_at = turn.now + REPEAT;
        self.say(turn, members, step);
    }

    fn say(&self, turn: &mut Turn<'_>, members: &[&mut VirtualRouter], step: Step) {
        say(turn, members, &self.node, self.serial, step);
    }

    fn let_go(&mut self, turn: &mut Turn<'_>, members: Members<'_, '_>) {
        for member in members.iter_mut() {
            match self.purpose {
                Purpose::Handover(_) => member.hand_over(turn, true),
                Purpose::Request | Purpose::Warning => member.hand_over(turn, false),
                Purpose::Drain(_, end) => member.withdraw(turn, end),
                Purpose::Stop => {
                    member.hand_over(turn, false);
                    member.stop(turn, true);
                }
            }
        }
        self.say(turn, members, Step::Released);
    }

    /// The incumbent stays.
    pub fn break_off(
        &mut self,
        turn: &mut Turn<'_>,
        members: Members<'_, '_>,
        why: String,
    ) -> Progress {
        let why = cut_to(&why, WHY_BYTES_MAX);
        self.say(turn, members, Step::BreakOff { why: why.clone() });
        for member in members.iter_mut() {
            member.end_part(turn);
            member.stay(turn);
        }
        if let Some(member) = members.first() {
            let (to, why) = (self.node.clone(), why.clone());
            let fact = Fact::Move(MoveFact::Broken { to, why });
            turn.report(Some(&member.settings().name), fact);
        }
        Progress::Broken(why)
    }
}

/// To the other node of an exchange, about the unit.
pub(super) fn say(
    turn: &mut Turn<'_>,
    members: &[&mut VirtualRouter],
    node: &NodeName,
    serial: u64,
    step: Step,
) {
    if let Some(first) = members.first() {
        let instance = first.settings().name.clone();
        let word = Word::Move {
            instance,
            serial,
            step,
        };
        turn.say(node, word);
    }
}
