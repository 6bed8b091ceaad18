//! The simulated kernel of one host: interfaces, addresses, primary and
//! secondary, and how long it takes over everything.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use vipward::agent::action::AddressOrder;
use vipward::agent::event::{Added, InterfaceAddress, InterfaceState, Removed};
use vipward::agent::time::Instant;
use vipward::agent::values::{InterfaceName, MacAddress};

use super::routing::Tables;
use super::settings::{interface, ms, own_ipv4, own_ipv6, own_link_local, us};

#[derive(Clone, Debug)]
pub struct Kernel {
    pub interfaces: BTreeMap<InterfaceName, Interface>,
    /// From an order to its effect.
    pub add_takes: Duration,
    pub remove_takes: Duration,
    pub renew_takes: Duration,
    /// The same of an interface with a virtual hardware address.
    pub link_takes: Duration,
    /// From the effect to the acknowledgement.
    pub acknowledge_after: Duration,
    /// From any change to the agent's hearing of it.
    pub report_after: Duration,
    pub refuse_add: Option<String>,
    pub refuse_remove: Option<String>,
    pub refuse_renew: Option<String>,
    /// Why no packet can leave.
    pub refuse_send: Option<String>,
    /// The same on one interface alone.
    pub refuse_send_on: Option<InterfaceName>,
    /// ... to some destinations; the others are served.
    pub serves_some: bool,
    /// Why no address can have a lease.
    pub refuse_lease: Option<String>,
    /// Why no interface with a virtual hardware address can be made.
    pub refuse_link: Option<String>,
    /// Why its parent cannot be kept quiet.
    pub unguarded: Option<String>,
    /// When an address goes by itself.
    leases: BTreeMap<(InterfaceName, IpNet), Instant>,
    /// Routes and rules.
    pub tables: Tables,
    /// IFA_PROTO is known: our addresses carry our mark.
    pub marks: bool,
    /// Orders are carried out one after the other.
    busy_until: Instant,
    next_index: u32,
    number: u8,
}

#[derive(Clone, Debug)]
pub struct Interface {
    pub state: InterfaceState,
    pub promote_secondaries: bool,
    /// Set up. One that lies on another is up while that is, too.
    pub raised: bool,
}

impl Kernel {
    /// Host `number` with eth0 and eth1, up, all addresses in place.
    pub fn new(number: u8) -> Self {
        let mut kernel = Self {
            interfaces: BTreeMap::new(),
            add_takes: ms(2),
            remove_takes: ms(2),
            renew_takes: us(100),
            link_takes: ms(1),
            acknowledge_after: Duration::ZERO,
            report_after: ms(1),
            refuse_add: None,
            refuse_remove: None,
            refuse_renew: None,
            refuse_send: None,
            refuse_send_on: None,
            serves_some: false,
            refuse_lease: None,
            refuse_link: None,
            unguarded: None,
            leases: BTreeMap::new(),
            tables: Tables::default(),
            marks: true,
            busy_until: Instant::from_nanos(0),
            next_index: 2,
            number,
        };
        for name in ["eth0", "eth1"] {
            kernel.create(name);
            kernel.configure(name);
        }
        kernel
    }

    pub fn mac(&self, name: InterfaceName) -> MacAddress {
        let known = self.interfaces.get(&name);
        if let Some(address) = known.and_then(|known| known.state.hardware_address) {
            return address;
        }
        let last = u8::from(name != interface("eth0"));
        MacAddress([2, 0, 0, 0, self.number, last])
    }

    /// A new interface without addresses, up.
    pub fn create(&mut self, name: &str) {
        let name = interface(name);
        let state = InterfaceState {
            gateways: Vec::new(),
            index: self.next_index,
            up: true,
            hardware_address: Some(self.mac(name)),
            mtu: 1500,
            forwards_ipv6: false,
            manager: None,
            addresses: Vec::new(),
        };
        self.next_index += 1;
        let created = Interface {
            state,
            promote_secondaries: false,
            raised: true,
        };
        self.interfaces.insert(name, created);
    }

    pub fn next_index(&mut self) -> u32 {
        self.next_index += 1;
        self.next_index - 1
    }

    /// The interface below one with a virtual hardware address, else itself.
    pub fn segment(&self, name: InterfaceName) -> InterfaceName {
        let parent = name.as_str().strip_prefix("vr");
        let parent = parent.and_then(|rest| rest.rsplit('-').next());
        parent.and_then(|rest| rest.parse().ok()).unwrap_or(name)
    }

    /// Sets an interface up or down, and what lies on it. Returns all that
    /// changed.
    pub fn set_up(&mut self, name: InterfaceName, up: bool) -> Vec<InterfaceName> {
        let all: Vec<InterfaceName> = self.interfaces.keys().copied().collect();
        let lies = |above: &InterfaceName| *above != name && self.segment(*above) == name;
        let above: Vec<InterfaceName> = all.into_iter().filter(lies).collect();
        let parent = self.segment(name);
        let parent = self.interfaces.get(&parent).map(|known| known.state.up);
        let has_parent = self.segment(name) != name;
        let known = self.interfaces.get_mut(&name).expect("the interface");
        known.raised = up;
        known.state.up = up && (!has_parent || parent == Some(true));
        let mut changed = vec![name];
        for name in above {
            let known = self.interfaces.get_mut(&name).expect("just seen");
            let now = up && known.raised;
            if std::mem::replace(&mut known.state.up, now) != now {
                changed.push(name);
            }
        }
        changed
    }

    /// A default route over an interface.
    pub fn gateway(&mut self, name: &str, address: IpAddr) {
        let known = self.interfaces.get_mut(&interface(name));
        known.expect("the interface").state.gateways.push(address);
    }

    /// Gives an interface the host's own addresses.
    pub fn configure(&mut self, name: &str) {
        let number = self.number;
        for (own, length) in [
            (own_ipv4(name, number), 24),
            (own_link_local(number), 64),
            (own_ipv6(name, number), 64),
        ] {
            let network = IpNet::new(own, length).expect("a length that fits");
            self.add_own(name, network, false);
        }
    }

    pub fn add_own(&mut self, name: &str, network: IpNet, tentative: bool) {
        self.insert(interface(name), network, tentative, false);
    }

    pub fn state(&self, name: InterfaceName) -> Option<InterfaceState> {
        self.interfaces.get(&name).map(|known| known.state.clone())
    }

    /// No advertisement leaves, on this interface at least.
    pub fn is_mute_on(&self, name: InterfaceName) -> bool {
        self.refuse_send.is_some() || self.refuse_send_on == Some(name)
    }

    /// On some interface.
    pub fn may_be_mute(&self) -> bool {
        self.refuse_send.is_some() || self.refuse_send_on.is_some()
    }

    /// Where an address is, if anywhere.
    pub fn holds(&self, address: IpAddr) -> Option<InterfaceName> {
        let has = |known: &Interface| {
            let mut all = known.state.addresses.iter();
            all.any(|own| own.network.addr() == address)
        };
        let found = self.interfaces.iter().find(|(_, known)| has(known));
        found.map(|(name, _)| *name)
    }

    /// Added by an agent; the host's own are not. Without marks nobody knows.
    pub fn may_be_ours(&self, address: IpAddr) -> bool {
        let mut all = self.interfaces.values();
        all.any(|known| {
            let mut own = known.state.addresses.iter();
            own.any(|own| own.network.addr() == address && (own.ours || !self.marks))
        })
    }

    /// When an order given now takes effect.
    pub fn done_at(&mut self, now: Instant, takes: Duration) -> Instant {
        self.busy_until = self.busy_until.max(now + takes);
        self.busy_until
    }

    pub fn add(&mut self, order: &AddressOrder) -> Result<Added, String> {
        if let Some(error) = &self.refuse_add {
            return Err(error.clone());
        }
        let Some(known) = self.interfaces.get_mut(&order.interface) else {
            return Err("No such device".to_owned());
        };
        known.promote_secondaries |= order.promote_secondaries;
        let mut all = known.state.addresses.iter();
        if all.any(|own| own.network == order.network) {
            return Ok(Added::AlreadyPresent);
        }
        let marked = self.marks;
        self.insert(order.interface, order.network, false, marked);
        Ok(Added::Fresh)
    }

    /// By another program than ours.
    pub fn hold(&mut self, name: InterfaceName, network: IpNet) {
        let known = self.interfaces.get(&name);
        let there = |known: &Interface| {
            let mut all = known.state.addresses.iter();
            all.any(|own| own.network == network)
        };
        if known.is_some_and(|known| !there(known)) {
            self.insert(name, network, false, false);
        }
    }

    fn insert(&mut self, name: InterfaceName, network: IpNet, tentative: bool, ours: bool) {
        let known = self.interfaces.get_mut(&name).expect("the interface");
        let in_shadow = |own: &InterfaceAddress| {
            !own.secondary
                && own.network.prefix_len() == network.prefix_len()
                && own.network.contains(&network.addr())
        };
        let secondary = network.addr().is_ipv4() && known.state.addresses.iter().any(in_shadow);
        known.state.addresses.push(InterfaceAddress {
            network,
            secondary,
            tentative,
            ours,
        });
    }

    /// As an order demands: the address must go whole.
    pub fn remove(&mut self, order: &AddressOrder) -> Result<Removed, String> {
        if let Some(error) = &self.refuse_remove {
            return Err(error.clone());
        }
        if let Some(known) = self.interfaces.get_mut(&order.interface) {
            known.promote_secondaries |= order.promote_secondaries;
        }
        Ok(match self.delete(order.interface, order.network) {
            true => Removed::Deleted,
            false => Removed::Absent,
        })
    }

    /// Puts the address back where it is missing, as the real one does.
    pub fn renew(&mut self, order: &AddressOrder) -> Result<(), String> {
        match &self.refuse_renew {
            Some(error) => Err(error.clone()),
            None => self.add(order).map(drop),
        }
    }

    /// Begins a lease, or ends it; when it will run out.
    pub fn lease(&mut self, order: &AddressOrder, now: Instant) -> Option<Instant> {
        let key = (order.interface, order.network);
        let ends = order.lease.map(|lease| now + lease.as_duration());
        match ends.filter(|_| self.refuse_lease.is_none()) {
            Some(end) => self.leases.insert(key, end),
            None => self.leases.remove(&key),
        };
        self.leases.get(&key).copied()
    }

    /// Whether it goes by itself now.
    pub fn has_run_out(&self, name: InterfaceName, network: IpNet, now: Instant) -> bool {
        let end = self.leases.get(&(name, network));
        end.is_some_and(|end| *end <= now)
    }

    /// By hand or by order. A primary takes its secondaries along unless
    /// they are promoted. Whether it was there.
    pub fn delete(&mut self, name: InterfaceName, network: IpNet) -> bool {
        self.leases.remove(&(name, network));
        let Some(known) = self.interfaces.get_mut(&name) else {
            return false;
        };
        let addresses = &mut known.state.addresses;
        let Some(position) = addresses.iter().position(|own| own.network == network) else {
            return false;
        };
        let gone = addresses.remove(position);
        if gone.secondary || network.addr().is_ipv6() {
            return true;
        }
        let follows = |own: &InterfaceAddress| {
            own.secondary
                && own.network.prefix_len() == network.prefix_len()
                && network.contains(&own.network.addr())
        };
        if known.promote_secondaries {
            if let Some(heir) = addresses.iter_mut().find(|own| follows(own)) {
                heir.secondary = false;
            }
        } else {
            addresses.retain(|own| !follows(own));
        }
        true
    }
}
