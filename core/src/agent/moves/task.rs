//! Orders that are being carried out, each until it is answered.

use std::collections::{BTreeMap, BTreeSet};

use super::Exchange;
use super::incumbent::{Outgoing, Purpose};
use super::order::{Answer, DrainEnd, Order};
use super::unit::{self, Members};
use crate::agent::Agent;
use crate::agent::action::Action;
use crate::agent::status::StateName;
use crate::agent::time::{Instant, WallTime};
use crate::agent::values::{InstanceId, InstanceName, NodeName};
use crate::agent::world::Turn;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TaskId(u64);

/// Who is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asker {
    Here(u64),
    Node(NodeName, u64),
}

#[derive(Clone, Debug, Default)]
pub(super) struct Tasks {
    pub made: u64,
    pub tasks: BTreeMap<TaskId, Task>,
    /// Orders to write, so far.
    pub writes: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Task {
    pub asker: Asker,
    pub order: Order,
    /// Nothing is changed before this was written down.
    pub writing: Option<u64>,
    /// What is still to be done.
    pub units: BTreeSet<InstanceId>,
    good: Vec<String>,
    bad: Vec<String>,
}

impl Tasks {
    pub fn concern(&self, unit: InstanceId) -> bool {
        self.tasks.values().any(|task| task.units.contains(&unit))
    }

    /// An order to drain it is being carried out.
    pub fn drain(&self, unit: InstanceId) -> bool {
        let mut tasks = self.tasks.values();
        tasks.any(|task| task.order.is_drain() && task.units.contains(&unit))
    }

    pub fn waiting(&self, unit: InstanceId) -> Vec<TaskId> {
        let waiting = self.tasks.iter();
        let waiting = waiting.filter(|(_, task)| {
            task.writing.is_none() && task.units.contains(&unit) && task.order.is_drain()
        });
        waiting.map(|(id, _)| *id).collect()
    }

    pub fn get_mut(&mut self, id: TaskId) -> Option<&mut Task> {
        self.tasks.get_mut(&id)
    }
}

impl Order {
    fn is_drain(&self) -> bool {
        match self {
            Order::Drain { .. } => true,
            Order::Handover { .. } | Order::Undrain { .. } => false,
        }
    }
}

/// How an order about one unit begins.
enum Begin {
    Exchange(Outgoing),
    /// The node that is Active is to do it.
    Forward(NodeName),
}

impl Agent {
    /// Of this node.
    fn own_name(&self) -> Option<&NodeName> {
        self.link.own_name()
    }

    pub(in crate::agent) fn on_order(
        &mut self,
        now: Instant,
        actions: &mut Vec<Action>,
        ticket: u64,
        node: Option<NodeName>,
        order: Order,
    ) {
        match node {
            Some(node) if self.own_name() != Some(&node) => {
                self.send_away(now, actions, ticket, node, order);
            }
            Some(_) | None => self.carry_out(now, actions, Asker::Here(ticket), order),
        }
    }

    pub(super) fn carry_out(
        &mut self,
        now: Instant,
        actions: &mut Vec<Action>,
        asker: Asker,
        order: Order,
    ) {
        let units = match self.units_of(&order) {
            Ok(units) => units,
            Err(why) => return self.reply(now, actions, asker, Err(why)),
        };
        if self.stopping {
            let why = "the agent is stopping; nothing was changed".to_owned();
            return self.reply(now, actions, asker, Err(why));
        }
        match order.clone() {
            Order::Handover { to, .. } => {
                for unit in units {
                    self.order_handover(now, actions, asker.clone(), order.clone(), unit, &to);
                }
            }
            Order::Drain { force, .. } => {
                if let Err(why) = self.may_drain(now, actions, &units, force) {
                    return self.reply(now, actions, asker, Err(why));
                }
                self.write_first(actions, asker, order, units);
            }
            Order::Undrain { .. } => {
                if let Err(why) = self.may_undrain(&units) {
                    return self.reply(now, actions, asker, Err(why));
                }
                self.write_first(actions, asker, order, units);
            }
        }
    }

    fn units_of(&self, order: &Order) -> Result<BTreeSet<InstanceId>, String> {
        let Some(name) = order.instance() else {
            let staying = self.routers.keys();
            let staying = staying.filter(|id| !self.retired.contains(id));
            return Ok(staying.map(|id| self.groups.unit(*id)).collect());
        };
        let Some(id) = self.by_name.get(name) else {
            let known: Vec<&str> = self.by_name.keys().map(InstanceName::as_str).collect();
            return Err(format!(
                "there is no instance `{name}`; there are: {}",
                known.join(", ")
            ));
        };
        Ok(BTreeSet::from([self.groups.unit(*id)]))
    }

    fn new_task(&mut self, task: Task) -> TaskId {
        let tasks = &mut self.moves.tasks;
        tasks.made += 1;
        let id = TaskId(tasks.made);
        tasks.tasks.insert(id, task);
        id
    }

    fn order_handover(
        &mut self,
        now: Instant,
        actions: &mut Vec<Action>,
        asker: Asker,
        order: Order,
        unit: InstanceId,
        to: &Option<NodeName>,
    ) {
        let id = TaskId(self.moves.tasks.made + 1);
        let own = self.own_name().cloned();
        let begin = match (own, self.moves.exchanges.contains_key(&unit)) {
            (None, _) => Err("a hand-over needs the peer link: name the nodes under `cluster` in the configuration".to_owned()),
            (Some(_), true) => Err("it is being moved already".to_owned()),
            (Some(own), false) => {
                let may_forward = matches!(asker, Asker::Here(_));
                self.with_unit(now, actions, unit, |turn, members| {
                    begin_handover(turn, members, &own, to.as_ref(), id, may_forward)
                })
                .unwrap_or_else(|| Err("it is gone".to_owned()))
            }
        };
        match (begin, asker) {
            (Ok(Begin::Exchange(outgoing)), asker) => {
                self.new_task(Task {
                    asker,
                    order,
                    writing: None,
                    units: BTreeSet::from([unit]),
                    good: Vec::new(),
                    bad: Vec::new(),
                });
                self.begin_exchange(unit, Exchange::Outgoing(outgoing));
            }
            (Ok(Begin::Forward(node)), Asker::Here(ticket)) => {
                self.send_away(now, actions, ticket, node, order);
            }
            (Ok(Begin::Forward(_)), asker @ Asker::Node(..)) => {
                let why = "it is not Active here; nothing was changed".to_owned();
                self.reply(now, actions, asker, Err(why));
            }
            (Err(why), asker) => {
                let name = order.instance().map_or("", InstanceName::as_str);
                let why = format!("{name} is not handed over: {why}; nothing was changed");
                self.reply(now, actions, asker, Err(why));
            }
        }
    }

    /// The names of those that move together.
    pub(super) fn unit_name(&self, unit: InstanceId) -> String {
        let ids = self.groups.members_of(unit);
        let names = ids.iter().filter_map(|id| self.routers.get(id));
        let mut names: Vec<&str> = names.map(|r| r.settings().name.as_str()).collect();
        names.sort_unstable();
        names.join(" + ")
    }

    fn write_first(
        &mut self,
        actions: &mut Vec<Action>,
        asker: Asker,
        order: Order,
        units: BTreeSet<InstanceId>,
    ) {
        let serial = self.moves.tasks.writes + 1;
        self.new_task(Task {
            asker,
            order,
            writing: Some(serial),
            units,
            good: Vec::new(),
            bad: Vec::new(),
        });
        self.write(actions);
    }

    pub(super) fn begin_task(
        &mut self,
        now: Instant,
        actions: &mut Vec<Action>,
        id: TaskId,
        written_at: WallTime,
    ) {
        let Some(task) = self.moves.tasks.get_mut(id) else {
            return;
        };
        task.writing = None;
        let (order, units) = (task.order.clone(), task.units.clone());
        for unit in units {
            match &order {
                Order::Drain { span, force, .. } => {
                    let end = span.map_or(DrainEnd::Never, |span| DrainEnd::At(written_at + span));
                    self.begin_drain(now, actions, id, unit, end, *force);
                }
                Order::Undrain { .. } => self.undrain(now, actions, id, unit),
                Order::Handover { .. } => {}
            }
        }
        self.finish_task(now, actions, id);
    }

    pub(super) fn note_good(&mut self, id: TaskId, unit: InstanceId, line: String) {
        if let Some(task) = self.moves.tasks.get_mut(id) {
            task.units.remove(&unit);
            task.good.push(line);
        }
    }

    pub(super) fn note_bad(&mut self, id: TaskId, unit: InstanceId, line: String) {
        if let Some(task) = self.moves.tasks.get_mut(id) {
            task.units.remove(&unit);
            task.bad.push(line);
        }
    }

    pub(super) fn finish_task(&mut self, now: Instant, actions: &mut Vec<Action>, id: TaskId) {
        let tasks = &mut self.moves.tasks.tasks;
        let over = |task: &Task| task.units.is_empty() && task.writing.is_none();
        if !tasks.get(&id).is_some_and(over) {
            return;
        }
        let Some(task) = tasks.remove(&id) else {
            return;
        };
        let answer = match task.bad.is_empty() {
            true => Ok(task.good.join("\n")),
            false => Err([task.bad, task.good].concat().join("\n")),
        };
        self.reply(now, actions, task.asker, answer);
    }

    pub(super) fn reply(
        &mut self,
        now: Instant,
        actions: &mut Vec<Action>,
        asker: Asker,
        answer: Answer,
    ) {
        match asker {
            Asker::Here(ticket) => actions.push(Action::Answer { ticket, answer }),
            Asker::Node(node, serial) => self.reply_to_node(now, actions, node, serial, answer),
        }
    }

    /// An exchange in which we were the incumbent is over.
    pub(super) fn moved(
        &mut self,
        now: Instant,
        actions: &mut Vec<Action>,
        unit: InstanceId,
        outgoing: Outgoing,
        broken: Option<String>,
    ) {
        let node = &outgoing.node;
        let name = self.unit_name(unit);
        match (outgoing.purpose, broken) {
            (Purpose::Handover(id), None) => {
                let rival = self.with_unit(now, actions, unit, |turn, members| {
                    unit::rival(turn, members, node)
                });
                let warning = rival.flatten().map_or(String::new(), |third| {
                    format!(
                        "; {third} has a higher priority than {node} and may preempt it at once"
                    )
                });
                self.note_good(
                    id,
                    unit,
                    format!("{name} was handed over to {node}{warning}"),
                );
                self.finish_task(now, actions, id);
            }
            (Purpose::Handover(id), Some(why)) => {
                let line = format!("{name} was not handed over to {node}: {why}; it stays here");
                self.note_bad(id, unit, line);
                self.finish_task(now, actions, id);
            }
            (Purpose::Drain(id, _), None) => {
                self.note_good(
                    id,
                    unit,
                    format!("{name} is drained; {node} has taken over"),
                );
                self.finish_task(now, actions, id);
            }
            (Purpose::Drain(id, end), Some(why)) => {
                self.drain_broken(now, actions, (id, unit, end), &why);
            }
            (Purpose::Stop, Some(_)) => {
                self.with_unit(now, actions, unit, |turn, members| {
                    members
                        .iter_mut()
                        .for_each(|member| member.stop(turn, true));
                });
            }
            (Purpose::Stop, None) | (Purpose::Request | Purpose::Warning, _) => {}
        }
    }
}

fn begin_handover(
    turn: &mut Turn<'_>,
    members: Members<'_, '_>,
    own: &NodeName,
    to: Option<&NodeName>,
    id: TaskId,
    may_forward: bool,
) -> Result<Begin, String> {
    if !members.iter().all(|member| member.is_active()) {
        let told = members.first().and_then(|m| m.told_active(turn));
        let state = members
            .first()
            .map_or(StateName::Initialize, |m| m.state_name());
        return match told {
            Some(node) if may_forward && to == Some(&node) => {
                Err(format!("it is Active on {node} already"))
            }
            Some(node) if may_forward => Ok(Begin::Forward(node)),
            Some(_) | None => Err(format!(
                "it is {state} here, and no node that is heard says to be Active"
            )),
        };
    }
    if to == Some(own) {
        return Err(format!("it is Active on {own} already"));
    }
    if !unit::is_whole(turn, members) {
        return Err(
            "it is Active here, and not ready for a move (see `vipward status`)".to_owned(),
        );
    }
    let node = match to {
        Some(node) => {
            unit::able(turn, members, node)?;
            node.clone()
        }
        None => unit::successor(turn, members)?,
    };
    let purpose = Purpose::Handover(id);
    Ok(Begin::Exchange(Outgoing::offer(
        turn, members, node, purpose,
    )))
}
