//! Where the peer link meets the rest of the core: what was heard goes to the
//! instances that it concerns, what they became goes to the other nodes.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use super::message::{CheckNews, Message, Word, cut};
use super::{Link, LinkEvent, PathIndex, Refusal};
use crate::agent::Agent;
use crate::agent::action::Action;
use crate::agent::report::Fact;
use crate::agent::router::VirtualRouter;
use crate::agent::settings::ClusterSettings;
use crate::agent::status::NodeStatus;
use crate::agent::time::Instant;
use crate::agent::values::{InstanceId, InstanceName, NodeName};
use crate::agent::world::Turn;

/// Lines about discarded datagrams: one of each kind in this time.
const QUIET: Duration = Duration::from_secs(60);

impl Agent {
    /// At start and after a reload, when the instances are known.
    pub(in crate::agent) fn configure_link(
        &mut self,
        now: Instant,
        settings: Option<ClusterSettings>,
    ) {
        self.world.nodes.configure(settings.as_ref());
        let instances = self.routers.values().map(VirtualRouter::settings);
        self.link.configure(now, settings, instances);
        for id in self.routers.keys() {
            self.link.note(*id);
        }
        self.link.note_checks();
    }

    pub(in crate::agent) fn on_link(
        &mut self,
        now: Instant,
        event: LinkEvent,
        actions: &mut Vec<Action>,
    ) {
        match event {
            LinkEvent::Heard {
                node,
                path,
                session,
                message,
            } => self.on_message(now, &node, (path, session), *message, actions),
            LinkEvent::Greeted { node, path: _ } => self.answer(now, &node, actions),
            LinkEvent::Refused { source, why } => self.refuse(now, source, why, actions),
            LinkEvent::Unsent { node, path, error } => {
                if let Some(peer) = self.world.nodes.peers.get_mut(&node) {
                    peer.set_error(path, error);
                }
            }
        }
    }

    fn on_message(
        &mut self,
        now: Instant,
        node: &NodeName,
        (path, session): (PathIndex, u64),
        mut message: Message,
        actions: &mut Vec<Action>,
    ) {
        let now_ms = self.link.clock_ms(now);
        let Some(peer) = self.world.nodes.peers.get_mut(node) else {
            return;
        };
        let words = std::mem::take(&mut message.words);
        let changes = peer.hear(now, now_ms, path, session, message);
        if changes.new_session {
            self.answer(now, node, actions);
        }
        if changes.came_back && changes.line {
            Turn::new(now, &self.world, &mut self.errands, actions)
                .report(None, Fact::NodeHeard { node: node.clone() });
        }
        for (name, before) in changes.instances {
            self.named(now, actions, &name, |router, turn| {
                router.on_told(turn, node, before.as_ref());
            });
        }
        if changes.new_session || changes.came_back || changes.good_again {
            self.everyone(now, actions);
        }
        for word in words {
            self.on_word(now, node, word, actions);
        }
    }

    fn on_word(&mut self, now: Instant, node: &NodeName, word: Word, actions: &mut Vec<Action>) {
        match word {
            Word::Ask { ref instance, .. }
            | Word::Answer { ref instance, .. }
            | Word::Claim { ref instance, .. } => {
                self.named(now, actions, instance, |router, turn| {
                    router.on_word(turn, node, &word);
                });
            }
            Word::Move {
                instance,
                serial,
                step,
            } => self.on_move(now, actions, node, (instance, serial, step)),
            Word::Command { serial, order } => {
                self.on_command(now, actions, node, serial, order);
            }
            Word::Outcome { serial, answer } => {
                self.on_outcome(now, actions, node, serial, answer);
            }
        }
    }

    /// What is known of the other nodes is more, or less, than it was.
    fn everyone(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let all: Vec<InstanceId> = self.routers.keys().copied().collect();
        self.each(now, actions, &all, VirtualRouter::on_nodes);
    }

    fn named(
        &mut self,
        now: Instant,
        actions: &mut Vec<Action>,
        name: &InstanceName,
        act: impl FnOnce(&mut VirtualRouter, &mut Turn<'_>),
    ) {
        if let Some(id) = self.by_name.get(name).copied() {
            self.one(now, actions, id, act);
        }
    }

    fn answer(&mut self, now: Instant, node: &NodeName, actions: &mut Vec<Action>) {
        let Some(peer) = self.world.nodes.peers.get_mut(node) else {
            return;
        };
        if Link::may_answer(now, peer) {
            self.tell_node(now, node, false, actions);
        }
    }

    fn refuse(&mut self, now: Instant, source: IpAddr, why: Refusal, actions: &mut Vec<Action>) {
        let count = self.link.refusals.entry(why).or_default();
        *count = count.saturating_add(1);
        match self.link.lines.get_mut(&why) {
            Some((last, left_out)) if now.since(*last) < QUIET => {
                *left_out = left_out.saturating_add(1);
            }
            known => {
                let repeated = known.map_or(0, |(_, left_out)| *left_out);
                self.link.lines.insert(why, (now, 0));
                let fact = Fact::LinkRefused {
                    source,
                    why,
                    repeated,
                };
                Turn::new(now, &self.world, &mut self.errands, actions).report(None, fact);
            }
        }
    }

    /// Time passed: somebody is no longer heard, or it is time to speak.
    pub(in crate::agent) fn on_link_wake(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let mut lost = Vec::new();
        for (name, peer) in &mut self.world.nodes.peers {
            if peer.lose_patience(now) {
                lost.push((name.clone(), peer.may_be_reported(now)));
            }
        }
        for (node, _) in lost.iter().filter(|(_, line)| *line) {
            let fact = Fact::NodeLost { node: node.clone() };
            Turn::new(now, &self.world, &mut self.errands, actions).report(None, fact);
        }
        if !lost.is_empty() {
            self.everyone(now, actions);
        }
        let beat = self.link.beat(now);
        if self.link.more(now) || beat {
            self.tell_all(now, beat, actions);
        }
    }

    /// When the link wants to be woken next.
    pub(in crate::agent) fn link_deadline(&self) -> Option<Instant> {
        let peers = self.world.nodes.peers.values();
        let silences = peers.filter_map(super::Peer::silent_at);
        silences.chain(self.link.deadline()).min()
    }

    /// As of the last turn.
    pub(in crate::agent) fn nodes(&self) -> Vec<NodeStatus> {
        let nodes = self.world.nodes.iter();
        nodes
            .map(|(name, peer)| peer.status(name, self.link.last_turn()))
            .collect()
    }

    /// At the end of each turn: what changed goes on record, and what others
    /// may be waiting for leaves at once.
    pub(in crate::agent) fn settle_link(&mut self, now: Instant, actions: &mut Vec<Action>) {
        self.link.turn(now);
        if !self.link.is_used() {
            self.errands.words.clear();
            self.link.dirty.clear();
            return;
        }
        let mut urgent = false;
        for id in std::mem::take(&mut self.link.dirty) {
            if let Some(router) = self.routers.get_mut(&id)
                && router.news_moved(&self.world)
            {
                let (news, since) = router.news(&self.world);
                urgent |= self.link.told.instance(news, since);
            }
        }
        if std::mem::take(&mut self.link.checks_dirty) {
            self.record_checks();
        }
        for (node, word) in std::mem::take(&mut self.errands.words) {
            self.link.say(node, word);
        }
        if urgent && self.link.may_hurry(now) {
            self.tell_all(now, false, actions);
        }
        for node in self.link.addressed() {
            self.tell_node(now, &node, false, actions);
        }
    }

    fn record_checks(&mut self) {
        for check in self.checks.status() {
            let news = CheckNews {
                name: check.name,
                state: check.state,
                for_: Duration::ZERO,
                output: cut(&check.output),
            };
            self.link.told.check(news, check.since);
        }
        let staying = self.routers.iter();
        let staying = staying.filter(|(id, _)| !self.retired.contains(id));
        let names: BTreeSet<&InstanceName> =
            staying.map(|(_, router)| &router.settings().name).collect();
        let checks = self.checks.settings().map(|check| &check.name).collect();
        self.link.told.retain(&names, &checks);
    }

    fn tell_all(&mut self, now: Instant, again: bool, actions: &mut Vec<Action>) {
        let nodes: Vec<NodeName> = self.world.nodes.peers.keys().cloned().collect();
        for node in nodes {
            self.tell_node(now, &node, again, actions);
        }
    }

    fn tell_node(&mut self, now: Instant, node: &NodeName, again: bool, actions: &mut Vec<Action>) {
        let Some(peer) = self.world.nodes.peers.get_mut(node) else {
            return;
        };
        for message in self.link.messages(now, node, peer, again) {
            actions.push(Action::Tell {
                node: node.clone(),
                message: Box::new(message),
            });
        }
    }
}
