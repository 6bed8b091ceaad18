//! One host of the model: the real agent, a kernel of one address, a clock of
//! its own.

use std::sync::Arc;
use std::time::Duration;

use vipward::agent::action::{Action, AddressOrder};
use vipward::agent::event::{Added, Claim, Event, InterfaceAddress, InterfaceState, Removed};
use vipward::agent::settings::{InstanceSettings, Settings};
use vipward::agent::status::StateName;
use vipward::agent::time::Instant;
use vipward::agent::values::{AddressIndex, InstanceId, MacAddress};
use vipward::agent::{Agent, Timer};

use crate::canon::agent_key;
use crate::kit::host::handle;
use crate::kit::{Packet, WEB, interface, ip, own_ipv4};

const ONLY: InstanceId = InstanceId(0);

#[derive(Clone, Debug)]
pub struct Node {
    pub number: u8,
    pub settings: InstanceSettings,
    pub agent: Option<Arc<Agent>>,
    pub now: Instant,
    /// The kernel has the address.
    pub has: bool,
    /// Orders that the kernel has not carried out.
    pub orders: Vec<Order>,
    /// The kernel refused to remove it, last time.
    pub stuck: bool,
    /// What decides about the agent's future.
    pub key: u64,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq)]
pub enum Order {
    Add(AddressIndex),
    Remove(AddressIndex),
}

/// What leaves a host.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, PartialOrd, Ord)]
pub enum Said {
    Advert(u8),
    Announcement,
}

impl Node {
    pub fn new(number: u8, settings: InstanceSettings) -> Self {
        Self {
            number,
            settings,
            agent: None,
            now: Instant::from_nanos(1_000_000_000_000),
            has: false,
            orders: Vec::new(),
            stuck: false,
            key: 0,
        }
    }

    fn settings(&self) -> Settings {
        Settings {
            cluster: None,
            node: self.number.to_string(),
            instances: vec![self.settings.clone()],
            checks: Vec::new(),
            groups: Vec::new(),
        }
    }

    fn interface(&self) -> InterfaceState {
        let own = |address, length, ours| InterfaceAddress {
            network: ipnet::IpNet::new(address, length).expect("a length that fits"),
            secondary: false,
            tentative: false,
            ours,
        };
        let mut addresses = vec![own(own_ipv4("eth0", self.number), 24, false)];
        if self.has {
            addresses.push(own(ip(WEB), 32, true));
        }
        InterfaceState {
            gateways: Vec::new(),
            index: 2,
            up: true,
            hardware_address: Some(MacAddress([2, 0, 0, 0, self.number, 0])),
            mtu: 1500,
            forwards_ipv6: false,
            manager: None,
            addresses,
        }
    }

    pub fn state(&self) -> Option<StateName> {
        let agent = self.agent.as_ref()?;
        let status = agent.status();
        status.instances.first().map(|instance| instance.state)
    }

    pub fn deadline(&self) -> Option<(Instant, Timer)> {
        self.agent.as_ref()?.deadline()
    }

    /// Resigned, and answers until it is relieved.
    fn resigns(&self) -> bool {
        matches!(self.deadline(), Some((_, Timer::Resignation)))
    }

    /// Starts it; it hears of its interface and its socket.
    pub fn start(&mut self) -> Result<Vec<Said>, String> {
        self.agent = Some(Arc::new(Agent::new(self.settings(), self.now)));
        self.orders.clear();
        let mut said = self.report()?;
        let socket = Event::Socket {
            interface: interface("eth0"),
            family: self.settings.family,
            outcome: Ok(()),
        };
        said.extend(self.feed(socket)?);
        Ok(said)
    }

    fn report(&mut self) -> Result<Vec<Said>, String> {
        let event = Event::Interface {
            interface: interface("eth0"),
            state: Some(self.interface()),
        };
        self.feed(event)
    }

    pub fn hear(
        &mut self,
        from: u8,
        sender: &InstanceSettings,
        said: Said,
    ) -> Result<Vec<Said>, String> {
        match said {
            Said::Advert(priority) => {
                let was_active = self.state() == Some(StateName::Active);
                let packet = Packet::advert(sender, own_ipv4("eth0", from), priority);
                let answer = self.feed(Event::Advert(packet.heard()))?;
                let outranked = (priority, from) > (self.settings.priority.get(), self.number);
                let stays = self.state() == Some(StateName::Active);
                if was_active && stays && priority > 0 && outranked {
                    return Err(format!("host {}: stays although it has lost", self.number));
                }
                Ok(answer)
            }
            Said::Announcement => self.feed(Event::Claim {
                interface: interface("eth0"),
                claim: Claim {
                    address: ip(WEB),
                    hardware_address: MacAddress([2, 0, 0, 0, from, 0]),
                    solicited: false,
                },
            }),
        }
    }

    /// Changes the priority by a reload.
    pub fn reload(&mut self) -> Result<Vec<Said>, String> {
        let settings = Box::new(self.settings());
        self.feed(Event::Reload(settings))
    }

    /// The kernel carries out the oldest order, and reports.
    pub fn kernel(&mut self, willing: bool) -> Result<Vec<Said>, String> {
        if self.orders.is_empty() {
            return Ok(Vec::new());
        }
        let refused = "Cannot allocate memory".to_owned();
        let event = match self.orders.remove(0) {
            Order::Add(address) => {
                let added = if self.has {
                    Added::AlreadyPresent
                } else {
                    Added::Fresh
                };
                self.has |= willing;
                self.stuck = false;
                Event::AddressAdded {
                    instance: ONLY,
                    address,
                    outcome: if willing { Ok(added) } else { Err(refused) },
                }
            }
            Order::Remove(address) => {
                let removed = if self.has {
                    Removed::Deleted
                } else {
                    Removed::Absent
                };
                self.has &= !willing;
                self.stuck = !willing;
                Event::AddressRemoved {
                    instance: ONLY,
                    address,
                    outcome: if willing { Ok(removed) } else { Err(refused) },
                }
            }
        };
        let mut said = self.feed(event)?;
        said.extend(self.report()?);
        Ok(said)
    }

    pub fn jump(&mut self, to: Instant) {
        self.now = self.now.max(to);
    }

    pub fn pass(&mut self, span: Duration) {
        self.now = self.now + span;
    }

    pub fn feed(&mut self, event: Event<'_>) -> Result<Vec<Said>, String> {
        let before = self.state();
        let Some(agent) = &mut self.agent else {
            return Ok(Vec::new());
        };
        let told = event.clone();
        let agent = Arc::make_mut(agent);
        let actions = handle(agent, self.now, event, |_, _| Ok(()));
        let finished = agent.is_finished();
        let mut said = Vec::new();
        for action in actions {
            self.act(action, before, &mut said)
                .map_err(|why| format!("host {}: {why}, told {told:?}", self.number))?;
        }
        self.holds_what_it_should()
            .map_err(|why| format!("host {}: {why}, told {told:?}", self.number))?;
        let resigns = matches!(told, Event::Stop) && before == Some(StateName::Active);
        if resigns && !said.contains(&Said::Advert(0)) {
            return Err(format!("host {}: stops without a word", self.number));
        }
        if finished {
            self.agent = None;
        }
        Ok(said)
    }

    /// After whatever has changed it.
    pub fn renew_key(&mut self) {
        let agent = self.agent.as_ref();
        self.key = agent.map_or(0, |agent| agent_key(agent, self.now));
    }

    fn act(
        &mut self,
        action: Action,
        before: Option<StateName>,
        said: &mut Vec<Said>,
    ) -> Result<(), &'static str> {
        let after = self.state();
        match action {
            Action::Advertise { priority, .. } => {
                let leaves = before == Some(StateName::Active) && after != before;
                if priority == 0 && !leaves {
                    return Err("priority 0 from one that does not leave");
                }
                if priority > 0 && after != Some(StateName::Active) && self.has {
                    return Err("advertises with the address and is not Active");
                }
                said.push(Said::Advert(priority));
            }
            Action::Announce { .. } if !self.has => {
                return Err("announces what it does not have");
            }
            Action::Announce { .. } => said.push(Said::Announcement),
            Action::AddAddress(order) => self.order(&order, true)?,
            Action::RemoveAddress(order) => self.order(&order, false)?,
            Action::RenewAddress(_) => return Err("renews where there is no lease"),
            Action::ChangeRouting(_) => return Err("routes where none are configured"),
            Action::ChangeLink(_) => return Err("an interface where no virtual MAC is configured"),
            Action::Start(_)
            | Action::Solicit { .. }
            | Action::Probe { .. }
            | Action::Inquire { .. }
            | Action::Tell { .. }
            | Action::Keep { .. }
            | Action::Answer { .. }
            | Action::Report(_) => {}
        }
        Ok(())
    }

    fn order(&mut self, order: &AddressOrder, add: bool) -> Result<(), &'static str> {
        if !self.orders.is_empty() {
            return Err("a second order while one is under way");
        }
        let index = order.address;
        self.orders.push(if add {
            Order::Add(index)
        } else {
            Order::Remove(index)
        });
        Ok(())
    }

    /// No address outside Active and resigning; no Active without one.
    fn holds_what_it_should(&self) -> Result<(), &'static str> {
        let Some(agent) = &self.agent else {
            return Ok(());
        };
        let active = self.state() == Some(StateName::Active);
        // One that stood still listens before it takes its address back.
        let listens = || {
            let shown = agent.status().instances;
            let mut obstacles = shown.iter().flat_map(|instance| &instance.obstacles);
            obstacles.any(|obstacle| obstacle.code == "stalled")
        };
        let excused = !self.orders.is_empty() || agent.is_finished() || self.stuck;
        if self.has && !active && !self.resigns() && !excused {
            return Err("has the address, and is not Active");
        }
        if !self.has && active && !excused && !listens() {
            return Err("is Active without its address");
        }
        if self.has && agent.is_finished() {
            return Err("has finished and left the address");
        }
        Ok(())
    }
}
