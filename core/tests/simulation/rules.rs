//! What must hold of every single turn, said a second time and in other words
//! than the core's: what each turn is to an instance, and what is overdue. The
//! protocol itself is in [`election`].

mod election;
pub mod moves;
mod owed;
mod silence;
mod together;
mod told;
mod trust;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use vipward::agent::action::Action;
use vipward::agent::event::Timing;
use vipward::agent::report::Fact;
use vipward::agent::settings::{InstanceSettings, Preempt};
use vipward::agent::status::{CheckState, StateName};
use vipward::agent::time::Instant;
use vipward::agent::values::{AddressIndex, InstanceId, NodeName};

use crate::bounds::ROUNDING;
use crate::cast::source;
use crate::checks::{WARNING, listens_to_warnings};
use crate::kit::invariants::Turn;
use crate::kit::{HostId, Input, Lab, Observer, Packet};
use crate::watch::{Watch, skew};

/// After the first failure of an addition.
const RETRIED_AFTER: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub struct Rules {
    watches: BTreeMap<(HostId, InstanceId), Watch>,
    /// States changed since this was last looked at.
    pub moves: Vec<Move>,
    /// The pause after each addition that failed last time.
    pauses: BTreeMap<(HostId, InstanceId, AddressIndex), Duration>,
    /// The same of an interface with a virtual hardware address.
    link_pauses: BTreeMap<(HostId, InstanceId), Duration>,
    /// When the last of them is over, by the laboratory's clock.
    pub retried_by: Option<Instant>,
    pub trust: trust::Trust,
    /// Whose warning check fails, by their reports.
    warned: BTreeSet<HostId>,
    told: told::Told,
    together: together::Together,
}

#[derive(Clone, Copy, Debug)]
pub struct Move {
    pub host: HostId,
    pub instance: InstanceId,
    pub from: StateName,
    pub to: StateName,
}

/// The face of it that the laboratory knows.
pub struct Watchman(pub Rc<RefCell<Rules>>);

impl Observer for Watchman {
    fn turn(&mut self, lab: &Lab, turn: &Turn, input: &Input, actions: &[Action]) {
        self.0.borrow_mut().turn(lab, turn, input, actions);
    }
}

/// One instance's part in a turn.
struct Part<'a> {
    lab: &'a Lab,
    host: HostId,
    id: InstanceId,
    settings: &'a InstanceSettings,
    now: Instant,
    was: StateName,
    is: StateName,
    priority: u8,
    /// Priorities of the advertisements sent.
    sent: Vec<u8>,
    actions: &'a [Action],
    /// An advertisement could not leave.
    unsent: bool,
    /// It went through Initialize within this turn.
    anew: bool,
    /// It lost Active by the election within this turn, whatever it is now.
    lost: bool,
    /// The agent wants to be woken at another moment than before.
    timer_moved: bool,
    input: &'a Input,
    /// A check of the host warns.
    is_warned: bool,
    /// Of a planned move.
    stage: moves::Stage,
}

impl<'a> Part<'a> {
    fn new(
        lab: &'a Lab,
        turn: &Turn,
        (id, settings): (InstanceId, &'a InstanceSettings),
        (input, actions): (&'a Input, &'a [Action]),
    ) -> Self {
        let is = turn.after.state(id).unwrap_or(StateName::Initialize);
        let was = turn.before.state(id).unwrap_or(StateName::Initialize);
        let sent = actions.iter().filter_map(|action| match action {
            Action::Advertise {
                instance, priority, ..
            } if *instance == id => Some(*priority),
            _ => None,
        });
        let anew = actions.iter().any(|action| {
            matches!(action, Action::Report(report)
                if report.instance.as_ref() == Some(&settings.name)
                    && matches!(report.fact, Fact::Transition { to, .. }
                        if was == StateName::Backup && to == StateName::Initialize))
        });
        let lost = was == StateName::Active
            && actions.iter().any(|action| {
                matches!(action, Action::Report(report)
                    if report.instance.as_ref() == Some(&settings.name)
                        && matches!(report.fact, Fact::Transition { from: StateName::Active, to: StateName::Backup, .. }))
            });
        Self {
            lab,
            host: turn.host,
            id,
            settings,
            now: lab.local(turn.host),
            was,
            is,
            priority: turn.after.priority(id).unwrap_or_default(),
            sent: sent.collect(),
            actions,
            unsent: turn.unsent.contains(&id),
            anew,
            lost,
            timer_moved: turn.before.deadline != turn.after.deadline,
            input,
            is_warned: false,
            stage: moves::Stage::default(),
        }
    }

    fn fail(&self, why: &str) -> ! {
        let host = &self.lab.at(self.host).name;
        let name = &self.settings.name;
        self.lab.fail(&format!("{host} {name}: {why}"))
    }

    fn interval(&self) -> Duration {
        self.settings.advert_interval.as_duration()
    }

    fn patience(&self) -> Duration {
        let skew = skew(self.settings.version, self.priority, self.interval());
        let silence = self.interval() * u32::from(self.settings.down_after);
        if self.has_one_peer() || self.is_node() {
            silence
        } else {
            silence + skew
        }
    }

    fn has_one_peer(&self) -> bool {
        self.settings.unicast_peers.len() == 1
    }

    fn is_node(&self) -> bool {
        self.lab.at(self.host).settings.cluster.is_some()
    }

    fn late_max(&self) -> Duration {
        self.lab.at(self.host).clock.late_max
    }
}

impl Rules {
    /// The agent of this host is another now, or gone.
    pub fn forget(&mut self, host: HostId) {
        self.watches.retain(|(of, _), _| *of != host);
        self.told.forget(host);
        self.warned.remove(&host);
        self.together.forget(host);
        self.pauses.retain(|(of, _, _), _| *of != host);
        self.link_pauses.retain(|(of, _), _| *of != host);
    }

    /// The node that an instance leaves it to.
    pub fn left_to(&self, host: HostId, instance: InstanceId) -> Option<NodeName> {
        self.watches.get(&(host, instance))?.left_to.clone()
    }

    pub fn announced(&self, host: HostId, instance: InstanceId, address: IpAddr) -> bool {
        let watch = self.watches.get(&(host, instance));
        watch.is_some_and(|watch| watch.announced.contains_key(&address))
    }

    fn turn(&mut self, lab: &Lab, turn: &Turn, input: &Input, actions: &[Action]) {
        let Some(agent) = &lab.at(turn.host).agent else {
            return;
        };
        let now = lab.local(turn.host);
        self.refused(lab, turn.host, input);
        self.look_for_warnings(turn.host, actions);
        self.trust.begin(lab, turn.host, input);
        let lessons = self.told.hear(turn.host, now, input);
        let bonds = together::bonds(lab, turn.host);
        let words = (moves::heard(input), moves::said(actions));
        let mut members = Vec::new();
        for (id, settings) in agent.instances() {
            let mut part = Part::new(lab, turn, (id, settings), (input, actions));
            part.is_warned = self.warned.contains(&turn.host);
            let (was, is) = (part.was, part.is);
            let packet = match input {
                Input::Packet(packet) if election::accepted(&part, packet) => Some(&**packet),
                _ => None,
            };
            let believed = packet.filter(|packet| self.trust.believes(&part, packet));
            if packet.is_some() && believed.is_none() {
                trust::nothing_follows(&part);
            }
            let fresh = !self.watches.contains_key(&(turn.host, id));
            let watch = self.watches.entry((turn.host, id));
            let watch = watch.or_insert_with(|| Watch::new(now));
            if watch.moving.is_some() || !words.0.is_empty() || !words.1.is_empty() {
                let mates = together::mates(&bonds, agent, id);
                part.stage = moves::follow(watch, &part, &mates, (&words.0, &words.1));
            }
            let before = turn.before.priority(id).unwrap_or(part.priority);
            let lesson = lessons.get(&settings.name);
            told::learn(watch, &part, &self.told, lesson);
            watch.is_bound = bonds.contains_key(&id);
            watch.is_loose |= watch.is_bound;
            if watch.is_bound {
                let told = self.told.moves(&part, lesson);
                members.push(together::member(watch, &part, input, believed, told));
                let retried = self.together.hooks(&part, input);
                self.retried_by = self.retried_by.max(retried);
            } else {
                self.together.leave(turn.host, id);
            }
            watch.is_node = part.is_node();
            watch.warned = part.is_warned && listens_to_warnings(settings);
            watch.knows_better = watch.is_node
                && is == StateName::Active
                && self.told.knows_better(&part, watch.active);
            moves::leaves_to(watch, &part, (agent, fresh), believed, lesson);
            election::judge(watch, &part, input, believed, before);
            let lost = was == StateName::Active && is == StateName::Backup && !part.anew;
            let released = part.stage.released.as_ref();
            watch.follows_mate |=
                watch.is_bound && lost && believed.is_none() && released.is_none();
            let interval = released.and_then(|node| self.told.interval(&part, node));
            moves::is_written(&part);
            moves::let_go(watch, &part, interval);
            let alone = believed.is_none() && released.is_none() && !watch.is_bound;
            if watch.is_node && lost && alone {
                told::gave_way(watch, &part, &self.told, lesson);
            }
            if was != is {
                self.moves.push(Move {
                    host: turn.host,
                    instance: id,
                    from: was,
                    to: is,
                });
            }
        }
        for group in together::groups(&bonds) {
            let (these, others) = members.into_iter().partition(|one| one.is_of(group));
            members = others;
            let these: Vec<together::Member> = these;
            self.together.judge(lab, turn.host, &these, actions);
        }
    }

    fn look_for_warnings(&mut self, host: HostId, actions: &[Action]) {
        for action in actions {
            let Action::Report(report) = action else {
                continue;
            };
            match &report.fact {
                Fact::Check { check, to, .. } if check.as_str() == WARNING => {
                    match to {
                        CheckState::Down => self.warned.insert(host),
                        CheckState::Up | CheckState::Unknown => self.warned.remove(&host),
                    };
                }
                _ => {}
            }
        }
    }

    /// What failed is tried again after 5 s, then after twice as
    /// long each time, up to 5 min; its host may leave and come back then.
    fn refused(&mut self, lab: &Lab, host: HostId, input: &Input) {
        let next = |last: Option<Duration>| {
            last.map_or(RETRIED_AFTER, |last| (last * 2).min(RETRIED_AFTER * 60))
        };
        let pause = match input {
            Input::Added {
                instance,
                address,
                outcome,
            } => {
                let key = (host, *instance, *address);
                let last = self.pauses.remove(&key);
                let pause = outcome.is_err().then(|| next(last));
                self.pauses.extend(pause.map(|pause| (key, pause)));
                pause
            }
            Input::LinkChanged { instance, outcome } => {
                let key = (host, *instance);
                let last = self.link_pauses.get(&key).copied();
                let pause = outcome.is_err().then(|| next(last));
                // One that is lowered may not be raised all the same.
                self.link_pauses.extend(pause.map(|pause| (key, pause)));
                pause
            }
            _ => None,
        };
        let Some(pause) = pause else {
            return;
        };
        let by = lab.now() + pause * 102 / 100;
        self.retried_by = self.retried_by.max(Some(by));
    }

    /// Something should have been done by now.
    pub fn overdue(&self, lab: &Lab) {
        let mut last = None;
        for ((host, id), watch) in &self.watches {
            let here = lab.at(*host);
            // The watches of one host follow each other.
            let now = match last {
                Some((of, now)) if of == *host => now,
                _ => lab.local(*host),
            };
            last = Some((*host, now));
            let active = watch.state == StateName::Active;
            if here.runs() && !here.catching_up {
                moves::overdue(lab, watch, *host, now);
            }
            if !here.runs() || here.catching_up || !(active || watch.state == StateName::Backup) {
                continue;
            }
            let slack = here.clock.late_max + ROUNDING;
            // When one that does not decide alone must claim is the judge's.
            let late = now > watch.advert_by + slack && (active || !watch.is_loose);
            let owed = watch.owed.iter().find(|(_, by)| now > **by + slack);
            let owed = owed.filter(|_| active);
            // This is after every step: names and settings are for the few.
            if !late && owed.is_none() && !here.kernel.may_be_mute() {
                continue;
            }
            let agent = here.agent.as_ref().expect("it runs");
            let mut all = agent.instances();
            let Some((_, settings)) = all.find(|(known, _)| known == id) else {
                continue;
            };
            if silence::excuses(lab, watch, *host, settings) {
                continue;
            }
            let name = format!("{} {}", here.name, settings.name);
            if active && late {
                lab.fail(&format!("{name}: the Active does not advertise"));
            }
            if let Some((address, _)) = owed {
                lab.fail(&format!(
                    "{name}: a loser was heard, {address} not announced"
                ));
            }
            if late {
                lab.fail(&format!("{name}: the Backup does not claim"));
            }
        }
    }
}
