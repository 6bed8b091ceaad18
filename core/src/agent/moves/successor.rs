//! An exchange, on the side of the one that takes over.

use super::incumbent::say;
use super::step::Step;
use super::unit::{self, Members};
use super::{Progress, REPEAT, REPLY};
use crate::agent::cluster::message::cut_to;
use crate::agent::hooks::ANSWER_MARGIN;
use crate::agent::moves::{MoveFact, WHY_BYTES_MAX};
use crate::agent::report::Fact;
use crate::agent::time::Instant;
use crate::agent::values::NodeName;
use crate::agent::world::Turn;

#[derive(Clone, Debug)]
pub(super) struct Incoming {
    pub node: NodeName,
    pub serial: u64,
    stage: Stage,
    /// The incumbent's last word.
    heard_at: Instant,
    say_at: Instant,
    broken: Option<String>,
    released: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The Active was asked to let go, and has until then.
    Requesting { until: Instant },
    /// It lets go, and hooks run here, or the claim is under way.
    Promoting,
    /// We advertise, and addresses are being added.
    Claimed,
    /// Everything is here; the incumbent is told until then.
    Taken { until: Instant },
}

impl Incoming {
    /// Asks `node`, which is Active, to hand over.
    pub fn request(turn: &mut Turn<'_>, members: Members<'_, '_>, node: NodeName) -> Self {
        let until = turn.now + REPLY;
        let mut incoming = Self::new(turn.now, node, turn.now.as_nanos());
        incoming.stage = Stage::Requesting { until };
        incoming.say_due(turn, members);
        incoming
    }

    /// `node` lets go for us.
    pub fn take(
        turn: &mut Turn<'_>,
        members: Members<'_, '_>,
        node: NodeName,
        serial: u64,
    ) -> Self {
        let mut incoming = Self::new(turn.now, node, serial);
        for member in members.iter_mut() {
            member.take_from(turn, &incoming.node);
            let from = incoming.node.clone();
            let fact = Fact::Move(MoveFact::Taking { from });
            turn.report(Some(&member.settings().name), fact);
        }
        incoming.say_due(turn, members);
        incoming
    }

    fn new(now: Instant, node: NodeName, serial: u64) -> Self {
        Self {
            node,
            serial,
            stage: Stage::Promoting,
            heard_at: now,
            say_at: now,
            broken: None,
            released: false,
        }
    }

    pub fn is_requesting(&self) -> bool {
        matches!(self.stage, Stage::Requesting { .. })
    }

    pub fn next(&self) -> Instant {
        let until = match self.stage {
            Stage::Requesting { until } | Stage::Taken { until } => until,
            Stage::Promoting | Stage::Claimed => self.heard_at + REPLY,
        };
        until.min(self.say_at)
    }

    pub fn hear(&mut self, now: Instant, step: Step) {
        match (&mut self.stage, step) {
            (Stage::Requesting { until }, Step::Accept { hooks }) => {
                // Its word about the end of its hooks follows.
                *until = now + hooks + ANSWER_MARGIN + REPLY * 2;
                self.say_at = *until;
            }
            (_, Step::Yield { .. }) => self.heard_at = now,
            (_, Step::Released) => self.released = true,
            (_, Step::Refuse { why } | Step::BreakOff { why }) => self.broken = Some(why),
            (
                Stage::Requesting { .. } | Stage::Promoting | Stage::Claimed | Stage::Taken { .. },
                Step::Accept { .. }
                | Step::Request { .. }
                | Step::Offer { .. }
                | Step::Working { .. }
                | Step::Taken,
            ) => {}
        }
    }

    /// Goes on as far as it goes.
    pub fn advance(&mut self, turn: &mut Turn<'_>, members: Members<'_, '_>) -> Progress {
        if let Some(why) = self.broken.take() {
            return self.end(turn, members, why, false);
        }
        if self.released {
            members.iter_mut().for_each(|member| member.end_part(turn));
            return Progress::Done;
        }
        let active = members.iter().all(|member| member.is_active());
        if active && matches!(self.stage, Stage::Promoting) {
            self.stage = Stage::Claimed;
            self.say_at = turn.now;
        }
        if active
            && matches!(self.stage, Stage::Claimed)
            && members.iter().all(|member| member.has_taken(turn.now))
        {
            let until = turn.now + REPLY;
            self.stage = Stage::Taken { until };
            self.say_at = turn.now;
        }
        if let Some(why) = self.fails(turn, members) {
            let tell = !self.is_requesting();
            return self.end(turn, members, why, tell);
        }
        if let Stage::Taken { until } = self.stage
            && until <= turn.now
        {
            // It did not hear that we have it, or we not that it knows: the
            // election's rules decide what its advertisements do.
            members.iter_mut().for_each(|member| member.end_part(turn));
            return Progress::Done;
        }
        self.say_due(turn, members);
        Progress::Continues
    }

    fn fails(&self, turn: &Turn<'_>, members: Members<'_, '_>) -> Option<String> {
        let silent = || {
            let millis = REPLY.as_millis();
            format!("{} did not answer within {millis} ms", self.node)
        };
        match self.stage {
            Stage::Requesting { until } if until <= turn.now => Some(silent()),
            Stage::Requesting { .. } if members.iter().all(|member| member.is_backup()) => None,
            Stage::Requesting { .. } => Some("it is no longer Backup here".to_owned()),
            Stage::Promoting | Stage::Claimed if self.heard_at + REPLY <= turn.now => {
                Some(silent())
            }
            Stage::Promoting => {
                // One that could not send last time goes first, the others follow.
                let tries = members.iter().any(|member| member.is_claiming());
                let at_work = tries || members.iter().all(|member| member.is_active());
                let preparing = members.iter().any(|member| member.is_preparing());
                let why = "it did not come to a claim there: a hook before_active failed, \
                           nothing can be sent, or another is Active";
                (!at_work && !preparing).then(|| why.to_owned())
            }
            Stage::Claimed | Stage::Taken { .. } => {
                let lost = members.iter().any(|member| !member.is_active());
                lost.then(|| "it is no longer Active there".to_owned())
            }
        }
    }

    fn say_due(&mut self, turn: &mut Turn<'_>, members: Members<'_, '_>) {
        if self.say_at > turn.now {
            return;
        }
        self.say_at = turn.now + REPEAT;
        let step = match self.stage {
            Stage::Requesting { .. } => Step::Request {
                members: unit::digest(members),
            },
            Stage::Promoting => Step::Working { claimed: false },
            Stage::Claimed => Step::Working { claimed: true },
            Stage::Taken { .. } => Step::Taken,
        };
        say(turn, members, &self.node, self.serial, step);
    }

    /// Nothing more comes of it.
    pub fn end(
        &mut self,
        turn: &mut Turn<'_>,
        members: Members<'_, '_>,
        why: String,
        tell: bool,
    ) -> Progress {
        let why = cut_to(&why, WHY_BYTES_MAX);
        if tell {
            let step = Step::Refuse { why: why.clone() };
            say(turn, members, &self.node, self.serial, step);
        }
        let (node, text) = (self.node.clone(), why.clone());
        let fact = if self.is_requesting() {
            members.iter_mut().for_each(|m| m.asked_in_vain(turn));
            MoveFact::AskedInVain { node, why: text }
        } else {
            members.iter_mut().for_each(|member| member.end_part(turn));
            let from = node;
            MoveFact::TakingBroken { from, why: text }
        };
        if let Some(member) = members.first() {
            turn.report(Some(&member.settings().name), Fact::Move(fact));
        }
        Progress::Broken(why)
    }
}
