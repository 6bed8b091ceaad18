//! One host's agent with many instances and nothing around it: everything
//! that it orders succeeds at once.

use std::net::Ipv4Addr;

use vipward::agent::Agent;
use vipward::agent::action::Action;
use vipward::agent::event::{Added, Event, InterfaceAddress, InterfaceState};
use vipward::agent::settings::{InstanceSettings, Settings};
use vipward::agent::time::Instant;
use vipward::agent::values::{Family, InstanceId, InstanceName, InterfaceName, Lease, Vrid};
use vipward::wire::advertisement::{Outgoing, decode_ipv4, encode};

use crate::settings::{interface, ms, web};

const START: Instant = Instant::from_nanos(1_000_000_000_000);
const PER_INTERFACE: usize = 255;
const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
/// Of the other router.
pub const PEER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

pub struct Fleet {
    pub agent: Agent,
    pub now: Instant,
    settings: Vec<InstanceSettings>,
    /// What the other router says about each instance.
    packets: Vec<(InterfaceName, Vec<u8>)>,
    actions: Vec<Action>,
    outcomes: Vec<Event<'static>>,
    /// Advertisements that were ordered so far.
    pub sent: usize,
}

/// `count` instances, 255 on each interface; each has one address.
pub fn instances(count: usize, priority: u8) -> Vec<InstanceSettings> {
    let one = |number: usize| {
        let mut one = web(priority);
        one.name = InstanceName::new(&format!("i{number:05}"));
        one.interface = interface(&format!("e{}", number / PER_INTERFACE));
        let vrid = u8::try_from(number % PER_INTERFACE + 1).expect("at most 255");
        one.vrid = Vrid::new(vrid).expect("a VRID");
        let network = number / PER_INTERFACE;
        let text = format!("10.{network}.1.{vrid}/32");
        one.addresses[0].network = text.parse().expect("an address");
        one.addresses[0].interface = one.interface;
        // What is counted and timed here are advertisements.
        one.announce.refresh = ms(0);
        one
    };
    (0..count).map(one).collect()
}

pub fn configuration(instances: Vec<InstanceSettings>) -> Settings {
    Settings {
        node: "a".to_owned(),
        instances,
        checks: Vec::new(),
        cluster: None,
        groups: Vec::new(),
    }
}

impl Fleet {
    /// Takes part, and is Backup everywhere.
    pub fn new(count: usize, priority: u8, lease: Option<Lease>) -> Self {
        let mut settings = instances(count, priority);
        settings.iter_mut().for_each(|one| one.lease = lease);
        let packets = settings.iter().map(|one| (one.interface, packet(one, 150)));
        let mut fleet = Self {
            agent: Agent::new(configuration(settings.clone()), START),
            now: START,
            packets: packets.collect(),
            settings,
            actions: Vec::new(),
            outcomes: Vec::new(),
            sent: 0,
        };
        fleet.report(false);
        for interface in fleet.interfaces() {
            fleet.handle(Event::Socket {
                interface,
                family: Family::Ipv4,
                outcome: Ok(()),
            });
        }
        fleet
    }

    fn interfaces(&self) -> Vec<InterfaceName> {
        self.agent.interfaces().collect()
    }

    /// The kernel's report of every interface, with the virtual addresses or
    /// without.
    pub fn report(&mut self, with_addresses: bool) {
        for interface in self.interfaces() {
            let state = self.state(interface, with_addresses);
            let state = Some(state);
            self.handle(Event::Interface { interface, state });
        }
    }

    pub fn state(&self, interface: InterfaceName, with_addresses: bool) -> InterfaceState {
        let own = "192.0.2.1/24".parse().expect("an address");
        let on_it = self
            .settings
            .iter()
            .filter(|one| one.interface == interface);
        let addresses = on_it.map(|one| one.addresses[0].network);
        let addresses = addresses.filter(|_| with_addresses);
        let addresses = [own].into_iter().chain(addresses);
        let addresses = addresses
            .enumerate()
            .map(|(place, network)| InterfaceAddress {
                network,
                secondary: false,
                tentative: false,
                ours: place > 0,
            });
        InterfaceState {
            index: 7,
            up: true,
            hardware_address: None,
            mtu: 1500,
            forwards_ipv6: false,
            manager: None,
            gateways: Vec::new(),
            addresses: addresses.collect(),
        }
    }

    /// And performs what was ordered.
    pub fn handle(&mut self, event: Event<'_>) {
        self.agent.handle_into(self.now, event, &mut self.actions);
        self.perform();
    }

    fn perform(&mut self) {
        loop {
            for action in self.actions.drain(..) {
                self.outcomes.extend(outcome(&mut self.sent, action));
            }
            let Some(outcome) = self.outcomes.pop() else {
                return;
            };
            self.agent.handle_into(self.now, outcome, &mut self.actions);
        }
    }

    /// Jumps to the next deadline, if it comes within `millis`.
    pub fn wake(&mut self, millis: u64) -> bool {
        let end = self.now + ms(millis);
        match self.agent.deadline() {
            Some((at, _)) if at <= end => {
                self.now = self.now.max(at);
                self.handle(Event::Wake);
                true
            }
            _ => false,
        }
    }

    pub fn run(&mut self, millis: u64) {
        let end = self.now + ms(millis);
        while self.wake(u64::try_from(end.since(self.now).as_millis()).unwrap_or(0)) {}
        self.now = end;
    }

    /// Nobody was heard: all became Active, and all bursts are over.
    pub fn become_active(&mut self) {
        self.run(4_000);
        self.report(true);
        self.run(8_000);
    }

    /// One advertisement of the other router for an instance.
    pub fn hear(&mut self, number: usize) {
        let Some((interface, packet)) = self.packets.get(number) else {
            return;
        };
        let event = Event::Advert(decode_ipv4(*interface, packet));
        self.agent.handle_into(self.now, event, &mut self.actions);
        self.perform();
    }

    pub fn hear_all(&mut self) {
        (0..self.packets.len()).for_each(|number| self.hear(number));
    }

    pub fn id(number: u32) -> InstanceId {
        InstanceId(number)
    }
}

fn outcome(sent: &mut usize, action: Action) -> Option<Event<'static>> {
    match action {
        Action::Advertise { instance, .. } => {
            *sent += 1;
            let outcome = Ok(());
            Some(Event::Advertised { instance, outcome })
        }
        Action::AddAddress(order) => Some(Event::AddressAdded {
            instance: order.instance,
            address: order.address,
            outcome: Ok(Added::Fresh),
        }),
        Action::RenewAddress(order) => Some(Event::AddressRenewed {
            instance: order.instance,
            address: order.address,
            outcome: Ok(()),
        }),
        _ => None,
    }
}

/// The other router's advertisement with its IPv4 header.
pub fn packet(settings: &InstanceSettings, priority: u8) -> Vec<u8> {
    let addresses: Vec<_> = settings.advertised().collect();
    let mut message = Vec::new();
    let outgoing = Outgoing {
        version: settings.version,
        vrid: settings.vrid,
        priority,
        interval: settings.advert_interval,
        checksum: settings.checksum,
        v2_authentication: Default::default(),
        addresses: &addresses,
        source: PEER.into(),
        destination: GROUP.into(),
        signature: None,
    };
    encode(&outgoing, &mut message).expect("an advertisement");
    datagram(&message)
}

/// As a raw socket delivers it.
pub fn datagram(message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + message.len()).expect("it fits");
    let mut bytes = vec![0x45, 0xc0];
    bytes.extend(length.to_be_bytes());
    bytes.extend([0, 1, 0, 0, 255, 112, 0, 0]);
    bytes.extend(PEER.octets());
    bytes.extend(GROUP.octets());
    bytes.extend(message);
    bytes
}
