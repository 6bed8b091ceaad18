//! One run: the laboratory, what is done to it, and who judges.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use vipward::agent::jobs::{HookKind, JobResult, Task, Verdict};
use vipward::agent::settings::Settings;
use vipward::agent::time::Instant;
use vipward::agent::values::InterfaceName;
use vipward::agent::virtual_link::VirtualLink;

use crate::bounds::Bounds;
use crate::cast::Cast;
use crate::checks::RUN;
use crate::cluster::LinkSky;
use crate::dice::Dice;
use crate::fault::Faults;
use crate::judge::Judge;
use crate::kit::{Clock, HostId, Input, Lab, START};
use crate::operators::Operators;
use crate::plan::{Health, Plan};
use crate::rules::{Rules, Watchman};
use crate::weather::{Conditions, Sky};

pub struct Sim {
    pub lab: Lab,
    pub cast: Cast,
    pub bounds: Bounds,
    pub hosts: Vec<Fate>,
    pub weather: Rc<RefCell<Conditions>>,
    pub rules: Rc<RefCell<Rules>>,
    pub judge: Judge,
    pub operators: Operators,
    plan: Plan,
    /// Deeds done so far.
    done: usize,
    /// When something was last done, or ceases to disturb by itself.
    pub disturbed: Instant,
    answers: Dice,
    pub steps: u64,
}

/// What is true of a host, whatever its agent believes.
#[derive(Clone, Debug)]
pub struct Fate {
    /// Of the checks that are run.
    pub health: [Health; RUN.len()],
    /// In the file that counts for the priority.
    pub number: Result<i64, String>,
    /// With every change of the configuration so far, absent instances too.
    pub wanted: Settings,
    pub absent: BTreeSet<usize>,
    pub stopping: Option<Instant>,
    /// Nothing that its agent sends leaves it.
    pub mute: bool,
    /// The same on one interface alone.
    pub mute_on: Option<InterfaceName>,
    /// Of its awaited hooks.
    pub hooks: Health,
    /// What should move together does not, by its configuration.
    pub apart: bool,
    pub refuses_add: bool,
    pub refuses_removal: bool,
    pub refuses_interfaces: bool,
    /// What was refused before is tried again by then.
    pub removes_from: Instant,
    pub pruned: Option<Instant>,
}

impl Fate {
    /// The configuration as the file has it now.
    pub fn settings(&self) -> Settings {
        let mut settings = self.wanted.clone();
        let mut place = 0;
        settings.instances.retain(|_| {
            place += 1;
            !self.absent.contains(&(place - 1))
        });
        let instances = &settings.instances;
        for group in &mut settings.groups {
            let there = |name: &_| instances.iter().any(|instance| instance.name == *name);
            group.members.retain(there);
        }
        let apart = self.apart;
        let groups = &mut settings.groups;
        groups.retain(|group| !apart && !group.members.is_empty());
        settings
    }
}

impl Sim {
    pub fn new(seed: u64, faults: &Faults, cycles: u64, record: bool) -> Self {
        let cast = Cast::new(seed, faults);
        let plan = Plan::new(seed, &cast, faults, cycles);
        let weather = Rc::new(RefCell::new(Conditions {
            delay: cast.delay,
            ..Conditions::default()
        }));
        let rules = Rc::new(RefCell::new(Rules::default()));
        let mut lab = Lab::new();
        lab.quiet = true;
        if !record {
            lab.do_not_record();
        }
        lab.wire.weather = Some(Box::new(Sky::new(weather.clone(), seed)));
        if let Some(cluster) = &cast.cluster {
            cluster.equip(&mut lab);
            let (now, dice) = (weather.clone(), Dice::new(seed, "link weather"));
            lab.link.weather = Some(Box::new(LinkSky { now, dice }));
        }
        lab.observer = Some(Box::new(Watchman(rules.clone())));
        let mut hosts = Vec::new();
        for (settings, ppm) in cast.settings.iter().zip(&cast.ppm) {
            let id = lab.host(settings.instances.clone());
            let host = lab.at_mut(id);
            host.settings = settings.clone();
            host.powered = false;
            host.clock = Clock {
                ppm: *ppm,
                late_max: cast.late_max,
            };
            hosts.push(Fate {
                health: [Health::Well; RUN.len()],
                number: Ok(0),
                wanted: settings.clone(),
                absent: BTreeSet::new(),
                stopping: None,
                mute: false,
                mute_on: None,
                hooks: Health::Well,
                apart: false,
                refuses_add: false,
                refuses_removal: false,
                refuses_interfaces: false,
                removes_from: START,
                pruned: None,
            });
        }
        let mut sim = Self {
            bounds: Bounds::of(&cast),
            judge: Judge::new(&cast),
            operators: Operators::default(),
            answers: Dice::new(seed, "answers"),
            lab,
            cast,
            hosts,
            weather,
            rules,
            plan,
            done: 0,
            disturbed: START,
            steps: 0,
        };
        sim.prepare_clocks();
        sim
    }

    /// To the end of the plan; panics at the first breach.
    pub fn run(&mut self) {
        loop {
            let calm = self.disturbed + self.bounds.agreement + self.cast.unit * 2;
            let end = (START + self.plan.end).max(calm);
            let deed = self.plan.deeds.get(self.done);
            let deed_at = deed.map(|(after, _)| START + *after);
            // A deed comes before everything else of its instant.
            let before = |at: Instant| at.minus(Duration::from_nanos(1));
            if self.lab.step_until(deed_at.map_or(end, before).min(end)) {
                // Judged below.
            } else if let Some(at) = deed_at.filter(|at| *at <= end) {
                let deed = self.plan.deeds.get(self.done).cloned();
                let (_, deed) = deed.expect("it is there");
                self.done += 1;
                self.lab.jump(at);
                if let Some(after) = self.disturbed_until(&deed) {
                    self.disturbed = self.disturbed.max(at + after);
                }
                self.judge.dirty = true;
                self.carry_out(deed);
            } else {
                self.lab.jump(end);
                self.after_step();
                return;
            }
            self.steps += 1;
            assert!(self.steps < 3_000_000, "the run does not advance");
            self.after_step();
        }
    }

    pub fn ids(&self) -> impl Iterator<Item = HostId> + use<> {
        (0..self.hosts.len()).map(HostId)
    }

    fn after_step(&mut self) {
        for id in self.ids() {
            self.answer_jobs(id);
            self.let_go(id);
        }
        self.operators_look();
        let rules = self.rules.borrow();
        let until = rules.retried_by.max(rules.trust.swayed);
        drop(rules);
        self.disturbed = self.disturbed.max(until.unwrap_or(START));
        self.rules.borrow().overdue(&self.lab);
        crate::judge::judge(self);
    }

    /// Checks and hooks take up to three quarters of their time.
    fn answer_jobs(&mut self, id: HostId) {
        if self.lab.at(id).started.is_empty() {
            return;
        }
        let started = std::mem::take(&mut self.lab.at_mut(id).started);
        for job in started {
            let fate = &self.hosts[id.0];
            let (health, longest) = match &job.task {
                Task::Check(name) => {
                    let place = RUN.iter().position(|run| *run == name.as_str());
                    (fate.health[place.expect("it is run")], None)
                }
                Task::Hook(call)
                    if matches!(call.hook, HookKind::BeforeActive | HookKind::BeforeRelease) =>
                {
                    let together = self.cast.together.as_ref();
                    (fate.hooks, together.map(|known| known.timeout))
                }
                Task::Hook(_) => (Health::Well, None),
            };
            let longest = longest.unwrap_or(self.cast.unit / 2);
            let took = self.answers.span(Duration::ZERO, longest * 3 / 4);
            let (took, verdict) = match health {
                Health::Well => (took, Verdict::Passed),
                Health::Sick if self.answers.chance(30) => (longest, Verdict::TimedOut),
                Health::Sick => (took, Verdict::Failed("exit code 1".to_owned())),
                Health::Away if self.answers.chance(30) => continue,
                Health::Away => (Duration::ZERO, Verdict::NotRun("away".to_owned())),
            };
            let result = JobResult {
                verdict,
                duration: took,
                output: String::new(),
            };
            let input = Input::Done {
                job: job.id,
                result,
            };
            self.lab.news_in(took, id, input);
        }
    }

    /// An agent that has finished is gone; nothing of it may remain.
    fn let_go(&mut self, id: HostId) {
        let Some(since) = self.hosts[id.0].stopping else {
            return;
        };
        let host = self.lab.at(id);
        let Some(agent) = &host.agent else {
            self.hosts[id.0].stopping = None;
            return;
        };
        let fate = &self.hosts[id.0];
        if host.paused || fate.refuses_removal || fate.refuses_interfaces {
            self.hosts[id.0].stopping = Some(self.lab.now());
            return;
        }
        if !agent.is_finished() {
            // What failed is tried again after its pause.
            let retried = self.rules.borrow().retried_by.unwrap_or(START);
            let since = since.max(self.hosts[id.0].removes_from).max(retried);
            if self.lab.now().since(since) > self.bounds.stop {
                self.lab.fail(&format!("{} does not end", host.name));
            }
            return;
        }
        for (_, settings) in agent.instances() {
            let carrier = VirtualLink::of(settings).map(|link| link.name);
            if let Some(name) = carrier.filter(|name| host.kernel.state(*name).is_some()) {
                let text = format!("{} has ended and left {name}", host.name);
                self.lab.fail(&text);
            }
            for address in &settings.addresses {
                if host.kernel.holds(address.network.addr()).is_some() {
                    let text = format!("{} has ended and left {}", host.name, address.network);
                    self.lab.fail(&text);
                }
            }
        }
        self.lab.end_agent(id);
        self.hosts[id.0].stopping = None;
        self.rules.borrow_mut().forget(id);
        self.judge.dirty = true;
    }
}
