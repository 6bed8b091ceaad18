//! The laboratory: hosts with real agents, a simulated kernel each, one
//! segment per interface name, one clock. Nothing sleeps: [`Lab::step`] jumps
//! to whatever comes next. Everything is deterministic. After every step the
//! [`invariants`] are judged, in every story.

pub mod attacker;
mod claims;
mod clock;
pub mod custody;
pub mod foreign;
pub mod groups;
pub mod host;
pub mod invariants;
mod kernel;
pub mod link;
pub mod moves;
mod orders;
mod queries;
pub mod routing;
mod segment;
pub mod settings;
pub mod signing;
mod story;
mod trace;
pub mod virtual_mac;
pub mod wire;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use vipward::agent::action::{Action, AddressOrder};
use vipward::agent::routing::RoutingOrder;
use vipward::agent::settings::{InstanceSettings, Settings};
use vipward::agent::time::Instant;
use vipward::agent::values::{InstanceId, InterfaceName};
use vipward::agent::virtual_link::LinkOrder;

pub use clock::Clock;
pub use host::{Host, Input};
pub use settings::*;
use trace::Trace;
pub use trace::What;
pub use wire::Packet;
use wire::Wire;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostId(pub usize);

/// Far from zero, so that an instant taken for a span shows.
pub const START: Instant = Instant::from_nanos(1_000_000_000_000);

/// What is under way.
#[derive(Clone, Debug)]
enum Coming {
    /// News for the agent of this generation.
    News(u32, Input),
    /// The kernel carries out an order, for the agent of this generation.
    Order(u32, AddressOrder, Kind),
    /// The same about a route or rule.
    Routing(u32, RoutingOrder),
    /// The same about an interface with a virtual hardware address.
    Interface(u32, LinkOrder),
    /// A lease may have run out.
    Expiry(InterfaceName, IpNet),
    /// Does this host answer for an address?
    Question(HostId, InterfaceName, IpAddr),
    /// A change that the kernel reports now, as it was then.
    Story(Change),
    /// By the peer link.
    Letter(link::Letter),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Add,
    Renew,
    Remove,
}

/// What comes next.
enum Next {
    /// From `Lab::coming`.
    Comes((Instant, u64)),
    Wakes(Instant, HostId),
}

impl Next {
    fn at(&self) -> Instant {
        match self {
            Next::Comes((at, _)) | Next::Wakes(at, _) => *at,
        }
    }
}

/// Set for later by a story.
#[derive(Clone, Debug)]
pub enum Change {
    Stop,
    StopNow,
}

/// Somebody who watches every turn of every agent.
pub trait Observer {
    fn turn(&mut self, lab: &Lab, turn: &invariants::Turn, input: &Input, actions: &[Action]);
}

pub struct Lab {
    now: Instant,
    pub observer: Option<Box<dyn Observer>>,
    /// Whoever catches a failure prints its trace.
    pub quiet: bool,
    pub hosts: Vec<Host>,
    pub wire: Wire,
    pub link: link::Link,
    /// Who listens in, if anybody does.
    pub attacker: Option<attacker::Attacker>,
    coming: BTreeMap<(Instant, u64), (HostId, Coming)>,
    sequence: u64,
    trace: Trace,
    /// Queries look at what happened since, and count time from it.
    mark: (Instant, usize),
}

impl Lab {
    pub fn new() -> Self {
        Self {
            now: START,
            observer: None,
            quiet: false,
            hosts: Vec::new(),
            wire: Wire::new(),
            link: link::Link::default(),
            attacker: None,
            coming: BTreeMap::new(),
            sequence: 0,
            trace: Trace::default(),
            mark: (START, 0),
        }
    }

    /// One more host with these instances, not yet started. The first has
    /// 192.0.2.1, the second 192.0.2.2, and so on.
    pub fn host(&mut self, mut instances: Vec<InstanceSettings>) -> HostId {
        instances.sort_by(|one, other| one.name.cmp(&other.name));
        let id = HostId(self.hosts.len());
        let number = u8::try_from(id.0 + 1).expect("few hosts");
        let name = ["A", "B", "C", "D", "E", "F"].get(id.0).unwrap_or(&"?");
        self.hosts.push(Host {
            name: (*name).to_owned(),
            number,
            settings: Settings {
                cluster: None,
                checks: Vec::new(),
                groups: Vec::new(),
                node: (*name).to_owned(),
                instances,
            },
            agent: None,
            generation: 0,
            account: custody::Account::default(),
            moves: moves::Moves::default(),
            powered: true,
            paused: false,
            catching_up: false,
            clock: Clock::default(),
            signing: None,
            foreign: None,
            started: Vec::new(),
            kernel: kernel::Kernel::new(number),
            sockets: Default::default(),
            channels: Default::default(),
            ledger: Default::default(),
            outboxes: BTreeMap::new(),
        });
        id
    }

    pub fn now(&self) -> Instant {
        self.now
    }

    /// What the clock of a host shows.
    pub fn local(&self, id: HostId) -> Instant {
        self.at(id).clock.local(self.now)
    }

    /// Without a record, for speed.
    pub fn do_not_record(&mut self) {
        self.trace.records = false;
    }

    /// The whole record, for a file.
    pub fn whole_trace(&self) -> String {
        let names: Vec<String> = self.hosts.iter().map(|host| host.name.clone()).collect();
        self.trace.print_all(START, &names)
    }

    pub fn at(&self, id: HostId) -> &Host {
        self.hosts.get(id.0).expect("a host of this lab")
    }

    pub fn at_mut(&mut self, id: HostId) -> &mut Host {
        self.hosts.get_mut(id.0).expect("a host of this lab")
    }

    fn later(&mut self, after: Duration, host: HostId, coming: Coming) {
        self.at_time(self.now + after, host, coming);
    }

    fn at_time(&mut self, at: Instant, host: HostId, coming: Coming) {
        self.sequence += 1;
        self.coming.insert((at, self.sequence), (host, coming));
    }

    fn note(&mut self, host: HostId, what: impl FnOnce() -> What) {
        if self.trace.records {
            self.trace.note(self.now, Some(host), what());
        }
    }

    /// A host will be told this, unless its agent is another by then.
    pub fn news_in(&mut self, after: Duration, host: HostId, input: Input) {
        let generation = self.at(host).generation;
        self.later(after, host, Coming::News(generation, input));
    }

    /// The next wake-up that some agent wants; one that is overdue is now.
    fn next_wake(&self) -> Option<(Instant, HostId)> {
        let hosts = self.hosts.iter().enumerate();
        hosts
            .filter_map(|(n, host)| Some((host.wake_at()?, HostId(n))))
            .map(|(at, host)| (at.max(self.now), host))
            .min()
    }

    /// What comes next, if anything does. What arrives comes before wake-ups
    /// of the same instant: sockets before timers.
    fn upcoming(&self) -> Option<Next> {
        let coming = self.coming.first_key_value().map(|(key, _)| *key);
        match (coming, self.next_wake()) {
            (None, None) => None,
            (Some(key), wake) if wake.is_none_or(|(at, _)| key.0 <= at) => Some(Next::Comes(key)),
            (_, Some((at, host))) => Some(Next::Wakes(at, host)),
            (Some(_), None) => unreachable!("the guard above takes it"),
        }
    }

    /// When something happens next, if ever.
    pub fn next(&self) -> Option<Instant> {
        self.upcoming().map(|next| next.at())
    }

    /// Jumps to whatever comes next and lets it happen.
    pub fn step(&mut self) -> bool {
        self.step_until(Instant::from_nanos(u64::MAX))
    }

    /// The same, unless that is later than `last`.
    pub fn step_until(&mut self, last: Instant) -> bool {
        let Some(next) = self.upcoming().filter(|next| next.at() <= last) else {
            return false;
        };
        self.now = next.at();
        match next {
            Next::Comes(key) => {
                let (host, coming) = self.coming.remove(&key).expect("just seen");
                self.happen(host, coming);
            }
            Next::Wakes(_, host) => self.feed(host, Input::Wake),
        }
        true
    }

    /// To a moment before which nothing comes.
    pub fn jump(&mut self, to: Instant) {
        self.now = self.now.max(to);
    }

    /// Everything up to and including `span` from now.
    pub fn run(&mut self, span: Duration) {
        let end = self.now + span;
        let mut steps = 0_u64;
        while self.step_until(end) {
            steps += 1;
            assert!(steps < 5_000_000, "the story does not advance");
        }
        self.now = end;
        invariants::everywhere(self);
    }

    fn happen(&mut self, host: HostId, coming: Coming) {
        match coming {
            Coming::News(generation, input) => {
                if generation == self.at(host).generation {
                    self.feed(host, input);
                }
            }
            Coming::Order(generation, order, kind) => self.carry_out(host, generation, order, kind),
            Coming::Routing(generation, order) => self.carry_out_routing(host, generation, order),
            Coming::Interface(generation, order) => self.carry_out_link(host, generation, &order),
            Coming::Expiry(interface, network) => self.expire(host, interface, network),
            Coming::Question(by, interface, address) => self.asked(host, by, interface, address),
            Coming::Letter(letter) => self.letter(host, letter),
            Coming::Story(Change::Stop) => self.stop(host),
            Coming::Story(Change::StopNow) => self.stop_now(host),
        }
    }

    /// Tells an agent something; a host that does not run hears it later.
    pub fn feed(&mut self, id: HostId, input: Input) {
        let host = self.at_mut(id);
        if !host.powered || (host.agent.is_none() && host.foreign.is_none()) {
            return;
        }
        if host.paused {
            if input.comes_by_socket() {
                host.sockets.push_back(input);
            } else {
                host.channels.push_back(input);
            }
            return;
        }
        if self.at(id).foreign.is_some() {
            self.feed_foreign(id, &input);
            return;
        }
        self.note(id, || What::Got(input.words()));
        self.keep_signing(id);
        let now = self.local(id);
        let wall = self.wall(id);
        let host = self.at_mut(id);
        let Some(agent) = &mut host.agent else {
            return;
        };
        let before = match host.ledger.last.take() {
            Some(before) => before,
            None => invariants::Seen::of(agent),
        };
        if matches!(input, Input::Reload(_)) {
            let all = agent.instances();
            host.outboxes = all.map(|(id, known)| (id, known.clone())).collect();
        }
        let kernel = &host.kernel;
        let mut actions = host::handle(agent, now, input.event(wall), |agent, instance| {
            kernel.can_send(agent, instance)
        });
        // What did not leave was not done.
        let mut unsent = Vec::new();
        actions.retain(|action| match action {
            Action::Advertise { instance, .. } => {
                let outcome = kernel.can_send(agent, *instance);
                let sent = outcome.map_or_else(|not| not.partly, |()| true);
                unsent.extend((!sent).then_some(*instance));
                sent
            }
            _ => true,
        });
        let turn = invariants::Turn {
            host: id,
            before,
            after: invariants::Seen::of(agent),
            unsent,
            takes_back: groups::take_back(&actions),
        };
        invariants::told(self, id, &input);
        custody::account(self, id, &input, &actions);
        for action in actions.iter().cloned() {
            self.perform(&turn, action);
        }
        invariants::after_turn(self, &turn, &input, &actions);
        invariants::held_where_it_belongs(self, id, &turn.after);
        groups::move_together(self, id, &turn.after);
        if let Some(mut observer) = self.observer.take() {
            observer.turn(self, &turn, &input, &actions);
            self.observer = Some(observer);
        }
        self.at_mut(id).ledger.last = Some(turn.after);
    }

    fn perform(&mut self, turn: &invariants::Turn, action: Action) {
        let id = turn.host;
        invariants::action(self, turn, &action);
        match action {
            Action::Advertise {
                instance,
                source,
                priority,
                link,
            } => {
                self.note(id, || What::Sent {
                    instance,
                    source,
                    priority,
                    link,
                });
                self.send(id, instance, source, priority);
            }
            Action::AddAddress(order) => {
                self.note(id, || What::Add(order.clone()));
                self.order(id, order, Kind::Add);
            }
            Action::RenewAddress(order) => {
                self.note(id, || What::Renew(order.clone()));
                self.order(id, order, Kind::Renew);
            }
            Action::RemoveAddress(order) => {
                self.note(id, || What::Remove(order.clone()));
                self.order(id, order, Kind::Remove);
            }
            Action::ChangeRouting(order) => {
                self.note(id, || What::Routing(order.clone()));
                self.order_routing(id, order);
            }
            Action::ChangeLink(order) => {
                self.note(id, || What::Link(order.clone()));
                self.order_link(id, order);
            }
            Action::Announce {
                instance,
                interface,
                address,
            } => {
                self.note(id, || What::Announced {
                    instance,
                    interface,
                    address,
                });
                self.claim(id, interface, address);
            }
            Action::Probe {
                instance, address, ..
            } => {
                self.note(id, || What::Probed(address));
                self.probe(id, instance, address);
            }
            Action::Start(job) => {
                self.note(id, || What::Started(job.clone()));
                self.at_mut(id).started.push(job);
            }
            Action::Solicit {
                interface, target, ..
            } => {
                self.note(id, || What::Asked(target));
                self.ask(id, interface, target);
            }
            Action::Inquire { interface, address } => {
                self.note(id, || What::Inquired(address));
                self.ask(id, interface, address);
            }
            Action::Tell { node, message } => {
                self.note(id, || What::Told(node.clone(), message.words.clone()));
                self.told(id, &node, message);
            }
            Action::Keep { serial, kept } => self.keep(id, serial, *kept),
            Action::Answer { ticket, answer } => {
                self.note(id, || What::Got(format!("answers: {answer:?}")));
                self.answered(id, ticket, answer);
            }
            Action::Report(report) => self.note(id, || What::Reported(report)),
        }
    }

    fn settings_of(&self, id: HostId, instance: InstanceId) -> Option<&InstanceSettings> {
        let agent = self.at(id).agent.as_ref()?;
        let mut all = agent.instances();
        let known = all.find(|(known, _)| *known == instance);
        let known = known.map(|(_, settings)| settings);
        known.or_else(|| self.at(id).outboxes.get(&instance))
    }

    /// Ends the story with the trace.
    pub fn fail(&self, why: &str) -> ! {
        panic!("{why}");
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() && !self.quiet {
            let names: Vec<String> = self.hosts.iter().map(|host| host.name.clone()).collect();
            eprintln!("{}", self.trace.print(START, &names));
        }
    }
}
