//! Orders that are being carried out, each until it is answered.

use std::collections::{BTreeMap, BTreeSet};

use super::incumbent::{Outgoing, Purpose};
use super::order::{Answer, DrainEnd, Kept, Order};
use super::unit::{self, Members};
use super::{Exchange, MoveFact};
use crate::agent::Agent;
use crate::agent::action::Action;
use crate::agent::report::Fact;
use crate::agent::router::VirtualRouter;
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
    made: u64,
    tasks: BTreeMap<TaskId, Task>,
    /// Orders to write, so far.
    writes: u64,
}

#[derive(Clone, Debug)]
struct Task {
    asker: Asker,
    order: Order,
    /// Nothing is changed before this was written down.
    writing: Option<u64>,
    /// What is still to be done.
    units: BTreeSet<InstanceId>,
    good: Vec<String>,
    bad: Vec<String>,
}

impl Tasks {
    pub fn concern(&self, unit: InstanceId) -> bool {
        self.tasks.values().any(|task| task.units.contains(&unit))
    }

    fn waiting(&self, unit: InstanceId) -> Vec<TaskId> {
        let waiting = self.tasks.iter();
        let waiting = waiting.filter(|(_, task)| {
            task.writing.is_none() && task.units.contains(&unit) && task.order.is_drain()
        });
        waiting.map(|(id, _)| *id).collect()
    }

    fn get_mut(&mut self, id: TaskId) -> Option<&mut Task> {
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
            Order::Undrain { .. } => self.write_first(actions, asker, order, units),
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
                "there is no instance {name}; there are {}",
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

    /// Whether somebody is there to take over, for those that are Active.
    fn may_drain(
        &mut self,
        now: Instant,
        actions: &mut Vec<Action>,
        units: &BTreeSet<InstanceId>,
        force: bool,
    ) -> Result<(), String> {
        let linked = self.link.is_used();
        let mut reasons = Vec::new();
        for unit in units {
            if self.moves.exchanges.contains_key(unit) || self.moves.tasks.concern(*unit) {
                reasons.push(format!("{} is being moved already", self.unit_name(*unit)));
                continue;
            }
            let why = self.with_unit(now, actions, *unit, |turn, members| {
                let active = members.iter().any(|member| member.is_active());
                let successor = unit::successor(turn, members);
                successor.err().filter(|_| active && linked && !force)
            });
            if let Some(Some(why)) = why {
                let name = self.unit_name(*unit);
                reasons.push(format!("nobody could take {name} over: {why}"));
            }
        }
        match reasons.as_slice() {
            [] => Ok(()),
            _ => Err(format!(
                "not drained: {}; nothing was changed (`--force` gives it up all the same)",
                reasons.join("; ")
            )),
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

    /// Has everything written down that the next agent must know.
    pub(super) fn write(&mut self, actions: &mut Vec<Action>) {
        self.moves.keep = false;
        self.moves.tasks.writes += 1;
        let kept = self.kept();
        let timed = |(_, end): &(InstanceName, DrainEnd)| *end != DrainEnd::Never;
        self.moves.timed = kept.drained.iter().any(timed);
        actions.push(Action::Keep {
            serial: self.moves.tasks.writes,
            kept: Box::new(kept),
        });
    }

    fn kept(&self) -> Kept {
        let mut kept = Kept::default();
        let mut ending = BTreeMap::new();
        for task in self.moves.tasks.tasks.values() {
            let end = match &task.order {
                Order::Drain { span, .. } => Some(span.map_or(DrainEnd::Never, DrainEnd::After)),
                Order::Undrain { .. } if task.writing.is_some() => None,
                Order::Undrain { .. } | Order::Handover { .. } => continue,
            };
            ending.extend(task.units.iter().map(|unit| (*unit, end)));
        }
        let staying = self.routers.iter();
        for (id, router) in staying.filter(|(id, _)| !self.retired.contains(id)) {
            let name = router.settings().name.clone();
            let ordered = ending.get(&self.groups.unit(*id));
            if let Some(end) = ordered.copied().unwrap_or_else(|| router.drained()) {
                kept.drained.push((name.clone(), end));
            }
            let undrained = ordered == Some(&None);
            if let Some(node) = router.yielded().filter(|_| !undrained) {
                kept.yielded.push((name, node.clone()));
            }
        }
        kept.drained.sort_by(|a, b| a.0.cmp(&b.0));
        kept.yielded.sort_by(|a, b| a.0.cmp(&b.0));
        kept
    }

    pub(in crate::agent) fn on_kept(
        &mut self,
        now: Instant,
        actions: &mut Vec<Action>,
        serial: u64,
        outcome: Result<WallTime, String>,
    ) {
        let tasks = self.moves.tasks.tasks.iter();
        let waiting = tasks.filter(|(_, task)| task.writing.is_some_and(|at| at <= serial));
        let waiting: Vec<TaskId> = waiting.map(|(id, _)| *id).collect();
        match outcome {
            Ok(written_at) => {
                for id in waiting {
                    self.begin_task(now, actions, id, written_at);
                }
            }
            Err(error) => {
                if waiting.is_empty() {
                    let error = error.clone();
                    Turn::new(now, &self.world, &mut self.errands, actions)
                        .report(None, Fact::Move(MoveFact::NotKept { error }));
                }
                for id in waiting {
                    if let Some(task) = self.moves.tasks.tasks.remove(&id) {
                        let why = format!("cannot be written down: {error}; nothing was changed");
                        self.reply(now, actions, task.asker, Err(why));
                    }
                }
            }
        }
    }

    fn begin_task(
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

    fn begin_drain(
        &mut self,
        now: Instant,
        actions: &mut Vec<Action>,
        id: TaskId,
        unit: InstanceId,
        end: DrainEnd,
        force: bool,
    ) {
        // A move that began meanwhile is over, or breaks off here.
        self.drop_exchange(now, actions, unit, "it is to be drained");
        let linked = self.link.is_used();
        let outgoing = self.with_unit(now, actions, unit, |turn, members| {
            let whole = unit::is_whole(turn, members);
            if linked
                && whole
                && let Ok(node) = unit::successor(turn, members)
            {
                let purpose = Purpose::Drain(id, end);
                return Some(Outgoing::offer(turn, members, node, purpose));
            }
            drain_without(turn, members, end, !linked && !force);
            None
        });
        if let Some(Some(outgoing)) = outgoing {
            self.begin_exchange(unit, Exchange::Outgoing(outgoing));
        }
        self.look_at_drain(now, actions, id, unit);
    }

    fn undrain(&mut self, now: Instant, actions: &mut Vec<Action>, id: TaskId, unit: InstanceId) {
        let changed = self.with_unit(now, actions, unit, |turn, members| {
            let mut changed = false;
            for member in members.iter_mut() {
                changed |= member.drained().is_some() || member.yielded().is_some();
                member.set_yielded(None);
                // That is written already.
                let _ = member.yielded_moved();
                if member.drained().is_some() {
                    member.set_drained(turn, None);
                }
            }
            changed
        });
        let name = self.unit_name(unit);
        let line = match changed {
            Some(true) => format!("{name} takes part again"),
            Some(false) | None => format!("{name} was not drained"),
        };
        self.note_good(id, unit, line);
    }

    fn note_good(&mut self, id: TaskId, unit: InstanceId, line: String) {
        if let Some(task) = self.moves.tasks.get_mut(id) {
            task.units.remove(&unit);
            task.good.push(line);
        }
    }

    fn note_bad(&mut self, id: TaskId, unit: InstanceId, line: String) {
        if let Some(task) = self.moves.tasks.get_mut(id) {
            task.units.remove(&unit);
            task.bad.push(line);
        }
    }

    fn finish_task(&mut self, now: Instant, actions: &mut Vec<Action>, id: TaskId) {
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
            (Purpose::Stop, None) | (Purpose::Request, _) => {}
        }
    }

    fn drain_broken(
        &mut self,
        now: Instant,
        actions: &mut Vec<Action>,
        (id, unit, end): (TaskId, InstanceId, DrainEnd),
        why: &str,
    ) {
        let task = self.moves.tasks.get_mut(id);
        let forced =
            task.is_some_and(|task| matches!(task.order, Order::Drain { force: true, .. }));
        if forced {
            self.with_unit(now, actions, unit, |turn, members| {
                drain_without(turn, members, end, false);
            });
            self.look_at_drain(now, actions, id, unit);
        } else {
            let name = self.unit_name(unit);
            self.note_bad(
                id,
                unit,
                format!("{name} is not drained: {why}; it stays here"),
            );
            self.moves.keep = true;
            self.finish_task(now, actions, id);
        }
    }

    /// How a drain without an exchange stands.
    pub(super) fn look_at_drains(
        &mut self,
        now: Instant,
        actions: &mut Vec<Action>,
        unit: InstanceId,
    ) {
        for id in self.moves.tasks.waiting(unit) {
            self.look_at_drain(now, actions, id, unit);
        }
    }

    fn look_at_drain(
        &mut self,
        now: Instant,
        actions: &mut Vec<Action>,
        id: TaskId,
        unit: InstanceId,
    ) {
        if self.moves.exchanges.contains_key(&unit) {
            return;
        }
        let outcome = self.with_unit(now, actions, unit, |turn, members| {
            if members.iter().any(|member| member.is_relieved()) {
                members.iter_mut().for_each(|m| m.stay_out(turn.now));
            }
            if members.iter().all(|member| member.drained().is_some()) {
                return Some(true);
            }
            let waits = |member: &&mut VirtualRouter| {
                member.is_resigning() || member.is_leaving() || member.is_claiming()
            };
            (!members.iter().any(waits)).then_some(false)
        });
        let name = self.unit_name(unit);
        match outcome {
            Some(Some(true)) => self.note_good(id, unit, format!("{name} is drained")),
            Some(Some(false)) => {
                let line = format!(
                    "{name} is not drained: nobody took it over within its \
                     Active_Down_Interval, so it is Active here again (`--force` gives it up all \
                     the same)"
                );
                self.note_bad(id, unit, line);
                self.moves.keep = true;
                if let Some(router) = self.routers.get(&unit) {
                    let instance = router.settings().name.clone();
                    Turn::new(now, &self.world, &mut self.errands, actions)
                        .report(Some(&instance), Fact::Move(MoveFact::NotRelieved));
                }
            }
            Some(None) => return,
            None => self.note_bad(id, unit, "it is no longer configured".to_owned()),
        }
        self.finish_task(now, actions, id);
    }

    /// Ends the drains whose time is over.
    pub(in crate::agent) fn on_clock(
        &mut self,
        now: Instant,
        actions: &mut Vec<Action>,
        wall: WallTime,
    ) {
        let over = |router: &VirtualRouter| match router.drained() {
            Some(DrainEnd::At(end)) => end <= wall,
            Some(DrainEnd::Never | DrainEnd::After(_)) | None => false,
        };
        let ids = self.routers.iter().filter(|(_, router)| over(router));
        let units: BTreeSet<InstanceId> = ids.map(|(id, _)| self.groups.unit(*id)).collect();
        for unit in units {
            self.with_unit(now, actions, unit, |turn, members| {
                for member in members.iter_mut() {
                    let fact = Fact::Move(MoveFact::DrainOver);
                    turn.report(Some(&member.settings().name), fact);
                    member.set_drained(turn, None);
                }
            });
            self.moves.keep = true;
        }
    }

    /// Some drain ends by the time of day.
    pub fn wants_clock(&self) -> bool {
        self.moves.timed
    }

    /// What an earlier agent kept, before anything else happens. What it says
    /// of instances that are no longer there means nothing.
    pub fn restore_moves(&mut self, now: Instant, kept: &Kept) {
        let timed = |(_, end): &(InstanceName, DrainEnd)| *end != DrainEnd::Never;
        self.moves.timed = kept.drained.iter().any(timed);
        for (name, end) in &kept.drained {
            let id = self.by_name.get(name);
            if let Some(router) = id.and_then(|id| self.routers.get_mut(id)) {
                router.restore_drain(now, *end);
            }
        }
        for (name, node) in &kept.yielded {
            let id = self.by_name.get(name);
            if let Some(router) = id.and_then(|id| self.routers.get_mut(id)) {
                router.set_yielded(Some(node.clone()));
                let _ = router.yielded_moved();
            }
        }
    }

    /// After a reload: one of a group that is drained has all of it out.
    pub(in crate::agent) fn spread_drains(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let ids = self.routers.iter();
        let drained = ids.filter_map(|(id, router)| Some((*id, router.drained()?)));
        let drained: Vec<_> = drained
            .map(|(id, end)| (self.groups.unit(id), end))
            .collect();
        for (unit, end) in drained {
            self.with_unit(now, actions, unit, |turn, members| {
                if members.iter().any(|member| member.drained().is_none()) {
                    drain_without(turn, members, end, false);
                }
            });
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

/// Without a hand-over: those that are Active resign, the others are out.
fn drain_without(turn: &mut Turn<'_>, members: Members<'_, '_>, end: DrainEnd, returns: bool) {
    for member in members.iter_mut() {
        if member.is_active() {
            member.resign_to_drain(turn, end, returns);
        } else if !member.is_resigning() {
            member.set_drained(turn, Some(end));
        }
    }
}
