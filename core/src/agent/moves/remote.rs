//! Orders for other nodes, and theirs for us. The asker repeats itself until
//! it is answered; whoever is asked does a thing once.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::order::{Answer, Order};
use super::task::Asker;
use crate::agent::Agent;
use crate::agent::action::Action;
use crate::agent::cluster::message::{ANSWER_BYTES_MAX, Word, cut_to};
use crate::agent::time::Instant;
use crate::agent::values::NodeName;
use crate::agent::world::Turn;

const REPEAT: Duration = Duration::from_millis(100);
/// Nothing was heard of the order for so long: given up.
const PATIENCE: Duration = Duration::from_secs(1);
/// Orders of other nodes that are remembered, to be answered again.
const REMEMBERED: usize = 64;

#[derive(Clone, Debug, Default)]
pub(super) struct Remote {
    away: BTreeMap<u64, Away>,
    here: VecDeque<Here>,
}

/// An order of an operator here that another node carries out.
#[derive(Clone, Debug)]
struct Away {
    ticket: u64,
    node: NodeName,
    order: Order,
    heard_at: Instant,
    say_at: Instant,
}

/// An order of another node.
#[derive(Clone, Debug)]
struct Here {
    node: NodeName,
    serial: u64,
    answer: Option<Answer>,
}

impl Remote {
    pub fn next(&self) -> Option<Instant> {
        let away = self.away.values();
        away.map(|away| away.say_at.min(away.heard_at + PATIENCE))
            .min()
    }
}

impl Agent {
    pub(super) fn send_away(
        &mut self,
        now: Instant,
        actions: &mut Vec<Action>,
        ticket: u64,
        node: NodeName,
        order: Order,
    ) {
        let why = match self.world.nodes.get(&node) {
            None if self.link.is_used() => Some(format!("{node} is no node of this cluster")),
            None => Some("there is no peer link: name the nodes under `cluster`".to_owned()),
            Some(peer) if !peer.is_reachable() => {
                Some(format!("{node} is not heard over the peer link"))
            }
            Some(_) => None,
        };
        if let Some(why) = why {
            let answer = Err(format!("{why}; nothing was changed"));
            actions.push(Action::Answer { ticket, answer });
            return;
        }
        let mut serial = now.as_nanos();
        while self.moves.remote.away.contains_key(&serial) {
            serial += 1;
        }
        let away = Away {
            ticket,
            node,
            order,
            heard_at: now,
            say_at: now,
        };
        self.moves.remote.away.insert(serial, away);
        self.remote_wakes(now, actions);
    }

    pub(super) fn remote_wakes(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let mut turn = Turn::new(now, &self.world, &mut self.errands, actions);
        self.moves.remote.away.retain(|serial, away| {
            if away.heard_at + PATIENCE <= now {
                let answer = Err(format!(
                    "{} did not answer within {} s; it may have done it all the same, see \
                     `vipward status`",
                    away.node,
                    PATIENCE.as_secs()
                ));
                let ticket = away.ticket;
                turn.act(Action::Answer { ticket, answer });
                return false;
            }
            if away.say_at <= now {
                away.say_at = now + REPEAT;
                let (serial, order) = (*serial, away.order.clone());
                turn.say(&away.node, Word::Command { serial, order });
            }
            true
        });
    }

    pub(in crate::agent) fn on_command(
        &mut self,
        now: Instant,
        actions: &mut Vec<Action>,
        node: &NodeName,
        serial: u64,
        order: Order,
    ) {
        let here = &mut self.moves.remote.here;
        let known = here.iter().find(|h| h.node == *node && h.serial == serial);
        if let Some(known) = known {
            let answer = known.answer.clone();
            Turn::new(now, &self.world, &mut self.errands, actions)
                .say(node, Word::Outcome { serial, answer });
            return;
        }
        if here.len() >= REMEMBERED {
            here.pop_front();
        }
        here.push_back(Here {
            node: node.clone(),
            serial,
            answer: None,
        });
        let asker = Asker::Node(node.clone(), serial);
        self.carry_out(now, actions, asker, order);
    }

    pub(super) fn reply_to_node(
        &mut self,
        now: Instant,
        actions: &mut Vec<Action>,
        node: NodeName,
        serial: u64,
        answer: Answer,
    ) {
        let cut = |text: String| cut_to(&text, ANSWER_BYTES_MAX);
        let answer = Some(answer.map(cut).map_err(cut));
        let here = &mut self.moves.remote.here;
        let mut known = here.iter_mut();
        if let Some(known) = known.find(|h| h.node == node && h.serial == serial) {
            known.answer.clone_from(&answer);
        }
        Turn::new(now, &self.world, &mut self.errands, actions)
            .say(&node, Word::Outcome { serial, answer });
    }

    pub(in crate::agent) fn on_outcome(
        &mut self,
        now: Instant,
        actions: &mut Vec<Action>,
        node: &NodeName,
        serial: u64,
        answer: Option<Answer>,
    ) {
        let away = &mut self.moves.remote.away;
        let Some(known) = away.get_mut(&serial).filter(|known| known.node == *node) else {
            return;
        };
        known.heard_at = now;
        if let Some(answer) = answer {
            let ticket = known.ticket;
            away.remove(&serial);
            let named = |text: String| format!("{node}: {text}");
            let answer = answer.map(named).map_err(named);
            actions.push(Action::Answer { ticket, answer });
        }
    }
}
