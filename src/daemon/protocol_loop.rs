//! The one loop: wait for one thing, hand it to the core, perform the
//! actions, re-arm one timer. Nothing in here blocks.

mod chore;
mod hearing;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use chore::Chore;
use tokio::sync::mpsc;

use super::Configuration;
use super::effects::Effects;
use super::moves::wall_clock;
use super::path_tests::PathTests;
use super::service::Service;
use super::signals::{Signal, Signals};
use super::signing::note_fingerprints;
use super::sockets::Sockets;
use crate::agent::Agent;
use crate::agent::action::Action;
use crate::agent::event::Event;
use crate::agent::jobs::{JobId, JobResult};
use crate::agent::routing::{Change, RoutingItem};
use crate::agent::settings::Settings;
use crate::agent::time::Instant;
use crate::agent::virtual_link::LinkState;
use crate::control::events::fact::AgentFact;
use crate::control::moves::Errand;
use crate::control::reload::Trigger;
use crate::control::server::{Request, StatusPicture};
use crate::net::datagrams::Datagrams;
use crate::net::kernel::Monitor;
use crate::net::timer::{self, Timer};

/// Wake-ups handled before the sockets are looked at again.
const WAKES_PER_TURN: usize = 64;
/// Kernel reports taken in one turn; the rest waits in its channel.
const REPORTS_PER_TURN: usize = 256;
/// Sockets that could not be opened are tried again at this pace.
const HOUSEKEEPING: Duration = Duration::from_secs(5);
/// How old the kept marks may be, nearly: they are written a moment later.
const KEEPING: Duration = Duration::from_millis(900);
/// A stop that is not finished this long after the last `before_release` is
/// given up: some address could not be removed. Longer than the longest
/// resignation.
const STOP_LONGEST: Duration = Duration::from_secs(10);
/// A packet of protocol 112 is at most an MTU long; what is longer is cut
/// off, and counted by the ladder.
const PACKET_BYTES: usize = 16 * 1024;

pub struct ProtocolLoop {
    pub agent: Agent,
    pub sockets: Sockets,
    pub effects: Effects,
    pub timer: Timer,
    pub kernel: mpsc::Receiver<Event<'static>>,
    pub done: mpsc::Receiver<(JobId, JobResult)>,
    pub requests: mpsc::Receiver<Request<Configuration>>,
    pub signals: Signals,
    pub monitor: Monitor,
    /// Reads and judges the file elsewhere; what is sound comes as a request.
    pub reload: Trigger,
    pub service: Service,
}

/// How the loop ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Ending {
    /// Everything was released.
    Finished,
    /// These addresses may still be on the host.
    Unfinished(Vec<String>),
}

/// What ended a wait, beside sockets and the timer, which are looked at anyway.
enum Came {
    Nothing,
    Kernel(Event<'static>),
    Done(JobId, JobResult),
    Request(Request<Configuration>),
    Signal(Signal),
}

/// What lives only while the loop runs.
struct Turns {
    tokens: Vec<u64>,
    packet: Box<[u8]>,
    datagrams: Datagrams,
    actions: Vec<Action>,
    /// What became of actions at once.
    outcomes: Vec<Event<'static>>,
    /// What the core was told last: read once for all that came together.
    now: Instant,
    housekeeping: Chore,
    /// When the marks of others are written down.
    keeping: Chore,
    stop_by: Option<Instant>,
    path_tests: PathTests,
    /// The service manager was told that we are.
    ready: bool,
}

impl ProtocolLoop {
    pub async fn run(mut self) -> anyhow::Result<Ending> {
        let pace = self.service.pace().unwrap_or(HOUSEKEEPING);
        let now = timer::now();
        let mut turns = Turns {
            tokens: Vec::new(),
            packet: vec![0; PACKET_BYTES].into_boxed_slice(),
            datagrams: Datagrams::new(PACKET_BYTES),
            actions: Vec::new(),
            outcomes: Vec::new(),
            now,
            housekeeping: Chore::new(now, pace.min(HOUSEKEEPING)),
            keeping: Chore::new(now, KEEPING),
            stop_by: None,
            path_tests: PathTests::default(),
            ready: false,
        };
        loop {
            self.timer.arm_by(turns.now, self.deadline(&turns))?;
            let came = self.wait().await?;
            self.hear(&mut turns)?;
            self.take(came, &mut turns);
            self.do_chores(&mut turns);
            self.wake(&mut turns);
            self.effects.keep_account(&mut self.agent);
            if !turns.ready && self.agent.knows_its_interfaces() {
                turns.ready = true;
                self.service.ready();
            }
            if self.agent.is_finished() {
                self.effects.close(&self.agent);
                return Ok(Ending::Finished);
            }
            if turns.stop_by.is_some_and(|at| at <= timer::now()) {
                self.effects.close(&self.agent);
                return Ok(Ending::Unfinished(self.left_behind()));
            }
        }
    }

    async fn wait(&mut self) -> anyhow::Result<Came> {
        Ok(tokio::select! {
            readable = self.sockets.readable() => {
                readable?;
                Came::Nothing
            }
            expired = self.timer.expired() => {
                expired?;
                Came::Nothing
            }
            event = self.kernel.recv() => {
                let event = event.context("the threads that speak with the kernel ended")?;
                Came::Kernel(event)
            }
            Some((job, result)) = self.done.recv() => Came::Done(job, result),
            Some(request) = self.requests.recv() => Came::Request(request),
            signal = self.signals.next() => Came::Signal(signal),
        })
    }

    /// When to wake up although nothing came.
    fn deadline(&self, turns: &Turns) -> Instant {
        let agent = self.agent.deadline().map(|(at, _)| at);
        let keeping = self.keeps().then(|| turns.keeping.latest());
        let chores = turns.housekeeping.latest();
        let others = agent.into_iter().chain(keeping).chain(turns.stop_by);
        others.fold(chores, Instant::min)
    }

    /// Something is to be looked at now and then.
    fn keeps(&self) -> bool {
        self.effects.verifies() || self.agent.wants_clock()
    }

    fn take(&mut self, came: Came, turns: &mut Turns) {
        match came {
            Came::Nothing => {}
            Came::Kernel(event) => self.kernel_reports(event, turns),
            Came::Done(job, result) => self.job_done(job, result, turns),
            Came::Request(request) => self.answer(request, turns),
            Came::Signal(signal) => self.on_signal(signal, turns),
        }
    }

    fn do_chores(&mut self, turns: &mut Turns) {
        let now = timer::now();
        if self.keeps() && turns.keeping.take(now) {
            self.effects.keep_marks(&self.agent);
            if self.agent.wants_clock() {
                self.handle(Event::Clock(wall_clock()), turns);
            }
        }
        if turns.housekeeping.take(now) {
            self.service.alive();
            self.effects.link().retry(self.sockets.poller());
            let events = self.sockets.retry();
            self.handle_all(events, turns);
        }
    }

    fn wake(&mut self, turns: &mut Turns) {
        turns.now = timer::now();
        let now = turns.now;
        // Thousands come in parts, as of the same moment: they stay in step.
        for _ in 0..WAKES_PER_TURN {
            if self.agent.deadline().is_none_or(|(at, _)| at > now) {
                break;
            }
            self.agent.handle_into(now, Event::Wake, &mut turns.actions);
            self.perform(turns);
        }
    }

    fn kernel_reports(&mut self, first: Event<'static>, turns: &mut Turns) {
        self.kernel_report(first, turns);
        for _ in 1..REPORTS_PER_TURN {
            match self.kernel.try_recv() {
                Ok(event) => self.kernel_report(event, turns),
                Err(_) => break,
            }
        }
    }

    /// The shell follows an interface before the core hears of it, so that
    /// the core's conclusions can be carried out.
    fn kernel_report(&mut self, event: Event<'static>, turns: &mut Turns) {
        let mut opened = Vec::new();
        if let Event::Interface { interface, state } = &event {
            self.effects.set_interface(*interface, state.as_ref());
            opened = self.sockets.follow(*interface, state.as_ref());
        }
        self.handle(event, turns);
        self.handle_all(opened, turns);
    }

    fn job_done(&mut self, job: JobId, result: JobResult, turns: &mut Turns) {
        self.handle(Event::JobDone { job, result }, turns);
        for _ in 1..REPORTS_PER_TURN {
            match self.done.try_recv() {
                Ok((job, result)) => self.handle(Event::JobDone { job, result }, turns),
                Err(_) => break,
            }
        }
    }

    /// Applies a new configuration. The shell learns of the instances between
    /// the core's decision and its actions: they may speak of new ones, and
    /// of old ones that still have something to send.
    fn apply(&mut self, new: Configuration, turns: &mut Turns) -> std::io::Result<String> {
        let Configuration { mut loaded, keys } = new;
        self.effects.work().serve(&loaded.work)?;
        self.effects.learn(&keys);
        note_fingerprints(&mut loaded.settings, &keys);
        let cluster = loaded.settings.cluster.clone();
        let summary = difference(&self.agent, &loaded.settings);
        let event = Event::Reload(Box::new(loaded.settings));
        self.agent
            .handle_into(timer::now(), event, &mut turns.actions);
        self.sockets
            .serve(self.agent.instances().map(|(_, settings)| settings));
        self.effects.serve(self.agent.instances(), &keys);
        let poller = self.sockets.poller();
        let link = self.effects.link();
        link.serve(cluster.as_ref(), keys.cluster.as_ref(), poller);
        let mut opened = Vec::new();
        for (interface, state) in self.effects.interfaces() {
            opened.extend(self.sockets.follow(interface, Some(&state)));
        }
        self.perform(turns);
        self.handle_all(opened, turns);
        self.monitor.watch(self.agent.interfaces().collect());
        self.monitor.follow_routing(self.agent.wants_routing());
        Ok(summary)
    }

    fn handle_all(&mut self, events: Vec<Event<'static>>, turns: &mut Turns) {
        for event in events {
            self.handle(event, turns);
        }
    }

    fn handle(&mut self, event: Event<'_>, turns: &mut Turns) {
        turns.now = timer::now();
        self.agent.handle_into(turns.now, event, &mut turns.actions);
        self.perform(turns);
    }

    /// An outcome leads to reports, to orders about addresses, or to a retry
    /// at a later time, never to another action with an outcome of its kind,
    /// so this ends. In rounds: every advertisement of a turn leaves before
    /// anything that follows from it, and a thousand claims are one change of
    /// the account.
    fn perform(&mut self, turns: &mut Turns) {
        while !turns.actions.is_empty() {
            // What goes may be told at the end of the turn, with all else that
            // went in it; what comes is told before it can be there.
            let adds = |action: &Action| {
                matches!(action, Action::AddAddress(_))
                    || matches!(action, Action::ChangeLink(order) if order.state != LinkState::Absent)
                    || matches!(action, Action::ChangeRouting(order) if order.change == Change::Add)
            };
            if turns.actions.iter().any(adds) {
                self.effects.keep_account(&mut self.agent);
            }
            for action in turns.actions.drain(..) {
                let outcome = self.effects.perform(&self.sockets, action);
                turns.outcomes.extend(outcome);
            }
            let unsent = self.effects.link().news();
            turns.outcomes.extend(unsent.map(Event::Link));
            if turns.outcomes.is_empty() {
                return;
            }
            // As of the moment in which it was decided: had this host stood
            // still since then, whatever left came too late, and must count so.
            for outcome in turns.outcomes.drain(..) {
                self.agent
                    .handle_into(turns.now, outcome, &mut turns.actions);
            }
        }
    }

    fn answer(&mut self, request: Request<Configuration>, turns: &mut Turns) {
        match request {
            Request::Status(reply) => {
                let picture = StatusPicture {
                    status: self.agent.status(),
                    now: timer::now(),
                };
                // The asker may have gone; that concerns nobody.
                let _ = reply.send(picture);
            }
            Request::Order(errand) => {
                let Errand { node, order, reply } = errand;
                let ticket = self.effects.desk().take(reply);
                let event = Event::Order {
                    ticket,
                    node,
                    order,
                };
                self.handle(event, turns);
            }
            Request::Apply(application) => {
                let Some((loaded, accepted)) = application.accept() else {
                    return;
                };
                if turns.stop_by.is_some() {
                    accepted.refused("the agent is stopping; nothing was changed".to_owned());
                    return;
                }
                match self.apply(*loaded, turns) {
                    Ok(summary) => {
                        accepted.done(summary);
                    }
                    Err(error) => accepted.refused(format!(
                        "what runs checks and hooks cannot be started: {error}; nothing was changed"
                    )),
                }
            }
        }
    }

    fn on_signal(&mut self, signal: Signal, turns: &mut Turns) {
        match (signal, turns.stop_by) {
            (Signal::Stop, None) => {
                self.effects.recorder().note(AgentFact::Stopping);
                self.service.stopping();
                self.handle(Event::Stop, turns);
                let now = timer::now();
                let departed = self.agent.departs_by().unwrap_or(now).max(now);
                turns.stop_by = Some(departed + STOP_LONGEST);
                self.service
                    .needs_to_stop(departed.since(now) + STOP_LONGEST);
            }
            (Signal::Stop, Some(_)) => {
                tracing::info!("told to stop again: releasing everything at once");
                self.handle(Event::StopNow, turns);
            }
            (Signal::Reload, _) => {
                tracing::info!("SIGHUP: reading the configuration again");
                self.reload.reload();
            }
        }
    }

    fn left_behind(&self) -> Vec<String> {
        let status = self.agent.status();
        let addresses = status.instances.iter().flat_map(|i| &i.addresses);
        let addresses = addresses
            .filter(|address| address.held)
            .map(|address| format!("{} on {}", address.network, address.interface));
        let routes = status.instances.iter().flat_map(|i| &i.routes);
        let routes = routes.filter(|item| item.held);
        let routes = routes.map(|item| RoutingItem::Route(item.route.clone()).to_string());
        let rules = status.instances.iter().flat_map(|i| &i.rules);
        let rules = rules.filter(|item| item.held);
        let rules = rules.map(|item| RoutingItem::Rule(item.rule.clone()).to_string());
        addresses.chain(routes).chain(rules).collect()
    }
}

/// What a new configuration changes, for the log and for who asked for it.
fn difference(agent: &Agent, after: &Settings) -> String {
    let instances = compared(
        agent.instances().map(|(_, settings)| settings),
        &after.instances,
        |one| &one.name,
    );
    let checks = compared(agent.checks(), &after.checks, |one| &one.name);
    if after.checks.is_empty() && agent.checks().next().is_none() {
        return format!("instances: {instances}");
    }
    format!("instances: {instances}; checks: {checks}")
}

fn compared<'s, T: PartialEq + 's, N: Ord + 's>(
    before: impl Iterator<Item = &'s T>,
    after: &'s [T],
    name: impl Fn(&'s T) -> &'s N,
) -> String {
    let before: BTreeMap<&N, &T> = before.map(|one| (name(one), one)).collect();
    let known = after.iter().map(|one| (before.get(name(one)), one));
    let known: Vec<(&T, &T)> = known.filter_map(|(old, new)| Some((*old?, new))).collect();
    let same = known.iter().filter(|(old, new)| old == new).count();
    let added = after.len() - known.len();
    let removed = before.len() - known.len();
    let changed = known.len() - same;
    format!("{added} added, {removed} removed, {changed} changed, {same} as before")
}
