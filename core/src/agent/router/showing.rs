//! The other side of a proof: an Active that a node does not hear looks
//! whether its own segment works, and tells.

use super::*;
use crate::agent::cluster::message::Word;

/// We are Active, and are asked to show that our segment works.
#[derive(Clone, Debug)]
pub(super) struct Showing {
    pub node: NodeName,
    pub round: u32,
    pub look: Look,
    pub told: bool,
}

impl VirtualRouter {
    pub(super) fn on_ask(&mut self, turn: &mut Turn<'_>, node: &NodeName, round: u32) {
        if !matches!(self.state, State::Active(_)) {
            return;
        }
        let look = Look::new(turn.now, look::span(self.own_interval()));
        match &mut self.proof.showing {
            Some(showing) if showing.node == *node && showing.round == round => {
                // The answer may have been lost.
                showing.told &= showing.look.until > turn.now && !showing.look.witness_answered;
            }
            showing => {
                *showing = Some(Box::new(Showing {
                    node: node.clone(),
                    round,
                    look,
                    told: false,
                }));
            }
        }
        self.show(turn);
    }

    /// It can show a working segment. So if we could not, we are in the way.
    pub(super) fn on_claim_by_node(&mut self, turn: &mut Turn<'_>, node: &NodeName, round: u32) {
        let showing = self.proof.showing.as_ref();
        let beaten = showing.is_some_and(|showing| {
            let same = showing.node == *node && showing.round == round;
            same && showing.told && !showing.look.witness_answered
        });
        if beaten && matches!(self.state, State::Active(_)) {
            turn.report(
                Some(&self.settings.name),
                Fact::SegmentLost { node: node.clone() },
            );
            self.active_router = None;
            let interval = self.own_interval();
            self.become_backup(turn, Reason::SegmentLost, interval, None);
            if let State::Backup(backup) = &mut self.state {
                // Its mates go with it, and do not bring it back.
                backup.better_heard_at = Some(turn.now);
            }
            self.refresh(turn);
        }
    }

    /// Asked by a node that does not hear us: looks, and tells.
    pub(super) fn show(&mut self, turn: &mut Turn<'_>) {
        let Some(mut showing) = self.proof.showing.clone().filter(|showing| !showing.told) else {
            return;
        };
        if showing.look.ask(turn.now) {
            self.ask_witnesses(turn);
        }
        if showing.look.witness_answered || showing.look.until <= turn.now {
            showing.told = true;
            self.proof.witnessed = Some(showing.look.witness_answered);
            let answer = Word::Answer {
                instance: self.settings.name.clone(),
                round: showing.round,
                shown: showing.look.witness_answered,
            };
            turn.say(&showing.node, answer);
        }
        self.proof.showing = Some(showing);
    }
}
