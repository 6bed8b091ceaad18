//! What comes of a state when nothing disturbs any more: every packet arrives
//! at once, every kernel is willing, every timer ends on time.

use std::time::Duration;

use vipward::agent::event::Event;
use vipward::agent::status::StateName;

use crate::model::{State, preempts};
use crate::node::Node;

/// From any state to agreement: Active_Down_Interval, under 4 s; an interval
/// more for a late timer, one for the loser of a double claim to hear the
/// winner, one for the rest of a resignation.
pub const BOUND: Duration = Duration::from_secs(4 + 3);
/// An addition that was refused once is tried again after 5 s, and then its
/// host waits as long as any.
const RETRIED: Duration = Duration::from_secs(5 + 4);
/// Longer than any timer of the election.
const LONG_ENOUGH: Duration = Duration::from_secs(4);
const STEPS_MAX: u32 = 10_000;

impl State {
    /// The future of a state without disturbance; agreement at its end.
    pub fn agrees_in_the_end(&self) -> Result<(), String> {
        let mut future = self.clone();
        let retried = if self.refused {
            RETRIED
        } else {
            Duration::ZERO
        };
        future.calm(BOUND + retried)?;
        future.agrees()?;
        let moves = future.transitions();
        future.calm(LONG_ENOUGH)?;
        if future.transitions() != moves {
            return Err("they agreed, and then somebody moved".to_owned());
        }
        future.agrees()
    }

    pub fn calm(&mut self, span: Duration) -> Result<(), String> {
        let mut left = span;
        for _ in 0..STEPS_MAX {
            self.settle();
            if let Some(why) = &self.broken {
                return Err(why.clone());
            }
            let waits = |node: &Node| {
                let (at, _) = node.deadline()?;
                Some(at.since(node.now))
            };
            let next = self.nodes.iter().enumerate();
            let next = next.filter_map(|(host, node)| Some((waits(node)?, host)));
            let Some((wait, host)) = next.min().filter(|(wait, _)| *wait <= left) else {
                return Ok(());
            };
            left -= wait;
            for node in &mut self.nodes {
                node.pass(wait);
            }
            let said = self.nodes[host].feed(Event::Wake);
            self.spread(host, said);
        }
        Err("it never waits".to_owned())
    }

    /// Everything that is under way arrives.
    fn settle(&mut self) {
        for _ in 0..STEPS_MAX {
            let busy = self.nodes.iter().position(|node| !node.orders.is_empty());
            if let Some(host) = busy.filter(|host| self.nodes[*host].agent.is_some()) {
                let said = self.nodes[host].kernel(true);
                self.spread(host, said);
            } else if let Some(packet) = self.under_way.first().copied() {
                self.deliver(packet);
            } else {
                return;
            }
        }
        self.broken = Some("packets without end".to_owned());
    }

    /// How often each changed its state so far.
    fn transitions(&self) -> Vec<u64> {
        let agents = self.nodes.iter().filter_map(|node| node.agent.as_ref());
        let counters = agents.flat_map(|agent| agent.status().instances);
        counters
            .map(|instance| instance.counters.transitions)
            .collect()
    }

    fn agrees(&self) -> Result<(), String> {
        let running = || self.nodes.iter().filter(|node| node.agent.is_some());
        if running().next().is_none() {
            return Ok(());
        }
        let active = |node: &&Node| node.state() == Some(StateName::Active);
        let actives: Vec<&Node> = running().filter(active).collect();
        let [active] = actives.as_slice() else {
            return Err(format!("{} are Active", actives.len()));
        };
        let priority = |node: &Node| node.settings.priority;
        let mut better = running().filter(|node| preempts(&node.settings));
        if better.any(|node| priority(node) > priority(active)) {
            return Err("it is not the best".to_owned());
        }
        let mut others = running().filter(|node| node.number != active.number);
        if !active.has || others.any(|node| node.has) {
            return Err("the address is not with the Active alone".to_owned());
        }
        Ok(())
    }
}
