//! The host around an agent: carries a script out.

use std::net::IpAddr;
use std::time::Duration;

use vipward::agent::Agent;
use vipward::agent::action::Action;
use vipward::agent::event::{
    Added, Claim, Event, FileRead, InterfaceAddress, InterfaceState, NotRenewed, NotSent, Removed,
};
use vipward::agent::jobs::{JobId, JobResult, Verdict};
use vipward::agent::settings::Settings;
use vipward::agent::time::Instant;
use vipward::agent::values::{AddressIndex, Family, InstanceId, MacAddress};

use super::ledger::{Kind, Ledger};
use super::packet::{heard, listed, octets};
use super::plan::{FILE, INTERFACES, interface, own_ipv4, own_ipv6, pooled};
use super::script::{Pause, Seen, Sent, Step};

/// Wake-ups at one moment: a few deadlines may follow from each other, and
/// then the next one lies ahead.
const WAKES_AT_ONCE_MAX: u32 = 8;
/// Wake-ups that one pause carries out; what is longer is slept through.
const WAKES_IN_A_PAUSE_MAX: u32 = 48;
/// After a stop: rounds of answers and wake-ups.
const ROUNDS_TO_THE_END_MAX: u32 = 400;

/// Orders that follow from answers to orders, without time passing.
const ORDERS_AT_ONCE_MAX: u32 = 400;

pub struct Host {
    agent: Agent,
    now: Instant,
    ledger: Ledger,
    /// Prints what the agent is told and does; for reading a failure.
    trace: bool,
}

impl Host {
    pub fn new(settings: Settings) -> Self {
        let now = Instant::from_nanos(1_000_000_000_000);
        let agent = Agent::new(settings, now);
        let ledger = Ledger::new(&agent);
        let trace = std::env::var_os("VIPWARD_FUZZ_TRACE").is_some();
        if trace {
            agent
                .instances()
                .for_each(|instance| eprintln!("{instance:?}"));
        }
        let mut host = Self {
            agent,
            now,
            ledger,
            trace,
        };
        // A host as it mostly is; the script changes it.
        for which in 0..2 {
            host.report(Seen {
                which,
                bits: 0,
                found: 0,
                marked: 0,
            });
            for family in [Family::Ipv4, Family::Ipv6] {
                host.socket(which, family, Ok(()));
            }
        }
        host
    }

    fn tell(&mut self, event: Event<'_>) {
        self.ledger.told(&event);
        let is_wake = matches!(event, Event::Wake);
        let early = is_wake && self.agent.deadline().is_none_or(|(at, _)| at > self.now);
        let seconds = self.now.as_nanos() / 1_000_000_000;
        let nanos = self.now.as_nanos() % 1_000_000_000;
        if self.trace {
            eprintln!("{seconds}.{nanos:09} {event:?}");
        }
        let mut actions = self.agent.handle(self.now, event);
        // Each advertisement is answered before anything else happens.
        let mut answered = 0;
        while let Some(action) = actions.get(answered) {
            if let Action::Advertise { instance, .. } = *action {
                let outcome = Ok(());
                let event = Event::Advertised { instance, outcome };
                self.agent.handle_into(self.now, event, &mut actions);
            }
            answered += 1;
        }
        if self.trace {
            actions
                .iter()
                .for_each(|action| eprintln!("    -> {action:?}"));
        }
        assert!(
            !early || actions.is_empty(),
            "woken early it did {actions:?}"
        );
        self.ledger.took(&self.agent, self.now, &actions);
    }

    pub fn step(&mut self, step: Step) {
        match step {
            Step::Pass(pause) => self.pass(pause),
            Step::Sleep(pause) => self.now = self.end_of(pause),
            Step::Wake => self.tell(Event::Wake),
            Step::Advert(sent) => self.advert(sent),
            Step::Interface(seen) => self.report(seen),
            Step::Socket { which, ipv6, works } => {
                let family = if ipv6 { Family::Ipv6 } else { Family::Ipv4 };
                let outcome = if works { Ok(()) } else { Err("no".to_owned()) };
                self.socket(which, family, outcome);
            }
            Step::Answer { which, outcome } => self.answer(which, outcome),
            Step::Unasked {
                instance,
                address,
                outcome,
            } => self.unasked(instance, address, outcome),
            Step::NotSent(which) => {
                let error = "no buffer".to_owned();
                let partly = true;
                let instance = self.any_instance(which);
                let outcome = Err(NotSent { error, partly });
                self.tell(Event::Advertised { instance, outcome });
            }
            Step::Claim {
                which,
                address,
                who,
                solicited,
            } => self.claim(which, address, who, solicited),
            Step::Job { which, outcome } => self.job(which, outcome),
            Step::UnaskedJob(read @ 0xf000..) => self.read(read & 0xfff),
            Step::UnaskedJob(job) => {
                let job = JobId(u64::from(job));
                if !self.ledger.jobs.contains(&job) {
                    self.tell(Event::JobDone {
                        job,
                        result: result(0),
                    });
                }
            }
            Step::Reload(plan) => self.tell(Event::Reload(Box::new(plan.settings()))),
            Step::Stop => self.tell(Event::Stop),
            Step::StopNow => self.tell(Event::StopNow),
        }
    }

    /// The file says something else, or nothing.
    fn read(&mut self, said: u16) {
        let number = match said {
            0x800.. => Err("no number".to_owned()),
            said => Ok(i64::from(said) - 0x400),
        };
        let path = FILE.into();
        self.tell(Event::FileRead(FileRead { path, number }));
    }

    fn end_of(&self, pause: Pause) -> Instant {
        let deadline = self.agent.deadline().map(|(at, _)| at);
        match pause {
            Pause::Deadline(micros) => {
                let from = deadline.map_or(self.now, |at| at.max(self.now));
                from + Duration::from_micros(micros.into())
            }
            Pause::Millis(millis) => self.now + Duration::from_millis(millis.into()),
            Pause::Seconds(seconds) => self.now + Duration::from_secs(seconds.into()),
        }
    }

    fn pass(&mut self, pause: Pause) {
        let end = self.end_of(pause);
        for _ in 0..WAKES_IN_A_PAUSE_MAX {
            let due = self.agent.deadline().filter(|(at, _)| *at <= end);
            let Some((at, _)) = due else { break };
            self.now = self.now.max(at);
            self.wake_up();
        }
        self.now = end.max(self.now);
        self.wake_up();
    }

    /// As the loop does: until the next deadline lies ahead.
    fn wake_up(&mut self) {
        for _ in 0..WAKES_AT_ONCE_MAX {
            match self.agent.deadline() {
                Some((at, _)) if at <= self.now => self.tell(Event::Wake),
                Some(_) | None => {
                    self.ledger.at_rest(&self.agent, self.now);
                    return;
                }
            }
        }
        let deadline = self.agent.deadline();
        panic!(
            "woken {WAKES_AT_ONCE_MAX} times at {:?} and still {deadline:?}",
            self.now
        );
    }

    fn socket(&mut self, which: u8, family: Family, outcome: Result<(), String>) {
        let interface = interface(which);
        self.tell(Event::Socket {
            interface,
            family,
            outcome,
        });
    }

    /// What the interface has: its own addresses, what the kernel was made to
    /// add, and what the script finds there.
    fn report(&mut self, seen: Seen) {
        let bit = |place: u8| seen.bits >> place & 1 == 1;
        let name = interface(seen.which);
        if bit(0) && seen.bits < 0x80 {
            self.tell(Event::Interface {
                interface: name,
                state: None,
            });
            return;
        }
        let plain = |network, ours| InterfaceAddress {
            network,
            secondary: false,
            tentative: false,
            ours,
        };
        let mut addresses = Vec::new();
        let mut own = |address: IpAddr, length, tentative| {
            let network = ipnet::IpNet::new(address, length).expect("short enough");
            addresses.push(InterfaceAddress {
                tentative,
                ..plain(network, false)
            });
        };
        if !bit(3) {
            own(own_ipv4(seen.which, 1), 24, false);
        }
        if !bit(4) {
            own(own_ipv6(seen.which, 1, true), 64, bit(5));
            own(own_ipv6(seen.which, 1, false), 64, bit(5));
        }
        if !bit(7) {
            addresses.extend(self.ledger.kernel(name).map(|network| plain(network, true)));
        }
        let marked: Vec<_> = pooled(seen.marked).collect();
        for network in pooled(seen.found) {
            let ours = marked.contains(&network);
            addresses.push(plain(network.parse().expect("an address"), ours));
        }
        let last = 1 + seen.which % 2;
        let state = InterfaceState {
            gateways: Vec::new(),
            index: if bit(2) { 7 } else { 2 },
            up: !bit(1),
            hardware_address: (!bit(6)).then_some(MacAddress([2, 0, 0, 0, 0, last])),
            mtu: 1500,
            forwards_ipv6: false,
            manager: None,
            addresses,
        };
        self.tell(Event::Interface {
            interface: name,
            state: Some(state),
        });
    }

    fn any_instance(&self, which: u8) -> InstanceId {
        let mut all = self.agent.instances().map(|(id, _)| id);
        let count = all.by_ref().count().max(1);
        let mut all = self.agent.instances().map(|(id, _)| id);
        all.nth(usize::from(which) % count)
            .unwrap_or(InstanceId(which.into()))
    }

    fn advert(&mut self, sent: Sent) {
        let id = self.any_instance(sent.to);
        let settings = self.agent.instances().find(|(other, _)| *other == id);
        let Some(settings) = settings.map(|(_, settings)| settings.clone()) else {
            return;
        };
        let listed = listed(&settings, sent);
        let bytes: Vec<u8> = listed.iter().flat_map(octets).collect();
        let heard = heard(&settings, sent, &listed, &bytes);
        self.tell(Event::Advert(heard));
    }

    fn answer(&mut self, which: u8, outcome: u8) {
        // One after the other, as the worker does, or any.
        let place = if which < 200 { 0 } else { usize::from(which) };
        let Some((order, kind)) = self.ledger.next_order(place) else {
            return;
        };
        let (instance, address) = (order.instance, order.address);
        let error = || "the kernel says no".to_owned();
        match kind {
            Kind::Add => self.tell(Event::AddressAdded {
                instance,
                address,
                outcome: match outcome {
                    0..150 => Ok(Added::Fresh),
                    150..200 => Ok(Added::AlreadyPresent),
                    200.. => Err(error()),
                },
            }),
            Kind::Renew => self.tell(Event::AddressRenewed {
                instance,
                address,
                outcome: match outcome {
                    0..150 => Ok(()),
                    150..200 => Err(NotRenewed::TooOld),
                    200.. => Err(NotRenewed::Failed(error())),
                },
            }),
            Kind::Remove => self.tell(Event::AddressRemoved {
                instance,
                address,
                outcome: match outcome {
                    0..150 => Ok(Removed::Deleted),
                    150..200 => Ok(Removed::Absent),
                    200.. => Err(error()),
                },
            }),
        }
        // The monitor shows it soon after.
        if outcome % 4 != 3 {
            let mut names = (0..).zip(INTERFACES);
            let which = names.find(|(_, name)| *name == order.interface.as_str());
            let which = which.map_or(0, |(which, _)| which);
            self.report(Seen {
                which,
                bits: 0,
                found: 0,
                marked: 0,
            });
        }
    }

    fn unasked(&mut self, instance: u8, address: u8, outcome: u8) {
        let instance = InstanceId(u32::from(instance % 6));
        let address = AddressIndex(u16::from(address % 10));
        if outcome & 1 == 0 {
            if self.ledger.pending(instance, address) != Some(Kind::Add) {
                let outcome = if outcome < 200 {
                    Ok(Added::Fresh)
                } else {
                    Err(String::new())
                };
                self.tell(Event::AddressAdded {
                    instance,
                    address,
                    outcome,
                });
            }
        } else if self.ledger.pending(instance, address) != Some(Kind::Remove) {
            let outcome = if outcome < 200 {
                Ok(Removed::Absent)
            } else {
                Err(String::new())
            };
            self.tell(Event::AddressRemoved {
                instance,
                address,
                outcome,
            });
        }
    }

    fn claim(&mut self, which: u8, address: u8, who: u8, solicited: bool) {
        let settings = self.agent.instances().map(|(_, settings)| settings);
        let networks = settings.flat_map(|settings| &settings.addresses);
        let all: Vec<IpAddr> = networks.map(|a| a.network.addr()).collect();
        let place = usize::from(address) % all.len().max(1);
        let Some(address) = all.get(place).copied() else {
            return;
        };
        // 1 and 2 are our own.
        let hardware_address = MacAddress([2, 0, 0, 0, 0, who % 5]);
        self.tell(Event::Claim {
            interface: interface(which),
            claim: Claim {
                address,
                hardware_address,
                solicited,
            },
        });
    }

    fn job(&mut self, which: u8, outcome: u8) {
        let count = self.ledger.jobs.len().max(1);
        let job = self
            .ledger
            .jobs
            .iter()
            .nth(usize::from(which) % count)
            .copied();
        if let Some(job) = job {
            self.tell(Event::JobDone {
                job,
                result: result(outcome),
            });
        }
    }

    /// Everything is answered well, and so is what follows from it, which
    /// comes to an end.
    fn answer_all(&mut self) {
        for _ in 0..ORDERS_AT_ONCE_MAX {
            if self.ledger.next_order(0).is_none() {
                return;
            }
            self.answer(0, 0);
        }
        panic!(
            "each answer leads to another order: {:?}",
            self.ledger.next_order(0)
        );
    }

    /// Stops, answers everything well, and waits for the end.
    pub fn finish(&mut self) {
        self.tell(Event::Stop);
        for _ in 0..ROUNDS_TO_THE_END_MAX {
            self.answer_all();
            if self.agent.is_finished() {
                break;
            }
            self.pass(Pause::Deadline(0));
        }
        assert!(
            self.agent.is_finished(),
            "it does not end: {:?}",
            self.agent.status()
        );
        self.ledger.at_the_end();
    }
}

fn result(outcome: u8) -> JobResult {
    let text = || "words".to_owned();
    let verdict = match outcome {
        0..100 => Verdict::Passed,
        100..180 => Verdict::Failed(text()),
        180..200 => Verdict::TimedOut,
        200..220 => Verdict::Refused(text()),
        220.. => Verdict::NotRun(text()),
    };
    JobResult {
        verdict,
        duration: Duration::from_millis(outcome.into()),
        output: String::new(),
    }
}
