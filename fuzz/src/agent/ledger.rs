//! What the agent was told and what it ordered, and the rules that always
//! hold between the two.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use ipnet::IpNet;
use vipward::agent::Agent;
use vipward::agent::action::{Action, AddressOrder};
use vipward::agent::event::{Event, InterfaceState};
use vipward::agent::jobs::JobId;
use vipward::agent::settings::InstanceSettings;
use vipward::agent::status::StateName;
use vipward::agent::time::Instant;
use vipward::agent::values::{AddressIndex, InstanceId, InterfaceName};

/// Nobody answers longer than this after leaving.
const RESIGNATION_MAX: Duration = Duration::from_secs(2);
const ANNOUNCEMENTS_IN_A_TURN_MAX: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Add,
    Renew,
    Remove,
}

type Key = (InstanceId, AddressIndex);
type Place = (InterfaceName, IpAddr);

/// An instance as it was after the last event.
#[derive(Clone, Debug)]
struct Known {
    settings: Rc<InstanceSettings>,
    /// Nothing for one that the configuration no longer has.
    state: Option<StateName>,
    priority: u8,
    /// Not Active since then.
    left: Option<Instant>,
    /// Was 255 at some time: may have found its address on the host.
    owner: bool,
    /// Was Active, and owes its parting advertisement, or its farewell.
    parts: bool,
}

pub struct Ledger {
    instances: BTreeMap<InstanceId, Known>,
    interfaces: BTreeMap<InterfaceName, InterfaceState>,
    /// In the order in which they were given.
    orders: Vec<(AddressOrder, Kind)>,
    acknowledged: BTreeMap<Key, Place>,
    /// Their removal failed.
    stuck: BTreeSet<Key>,
    /// What the kernel was made to add.
    kernel: BTreeMap<Place, IpNet>,
    /// What the last report showed as ours, but for what was answered since.
    shown: BTreeSet<Place>,
    /// Not answered.
    pub jobs: BTreeSet<JobId>,
    jobs_ever: BTreeSet<JobId>,
}

impl Ledger {
    pub fn new(agent: &Agent) -> Self {
        let mut ledger = Self {
            instances: BTreeMap::new(),
            interfaces: BTreeMap::new(),
            orders: Vec::new(),
            acknowledged: BTreeMap::new(),
            stuck: BTreeSet::new(),
            kernel: BTreeMap::new(),
            shown: BTreeSet::new(),
            jobs: BTreeSet::new(),
            jobs_ever: BTreeSet::new(),
        };
        ledger.instances = ledger.look(agent, Instant::from_nanos(0));
        ledger
    }

    /// What the kernel has on an interface by the agent's doing.
    pub fn kernel(&self, interface: InterfaceName) -> impl Iterator<Item = IpNet> {
        let here = self.kernel.iter();
        here.filter(move |((on, _), _)| *on == interface)
            .map(|(_, network)| *network)
    }

    pub fn next_order(&self, place: usize) -> Option<(AddressOrder, Kind)> {
        let place = place % self.orders.len().max(1);
        self.orders.get(place).cloned()
    }

    pub fn pending(&self, instance: InstanceId, address: AddressIndex) -> Option<Kind> {
        let mut orders = self.orders.iter();
        let order = orders.find(|(o, _)| (o.instance, o.address) == (instance, address));
        order.map(|(_, kind)| *kind)
    }

    fn is_pending(&self, place: Place) -> bool {
        let mut orders = self.orders.iter();
        orders.any(|(order, _)| (order.interface, order.network.addr()) == place)
    }

    /// Just before the agent is told.
    pub fn told(&mut self, event: &Event<'_>) {
        match event {
            Event::AddressAdded {
                instance,
                address,
                outcome,
            } => self.answered((*instance, *address), Kind::Add, outcome.is_ok()),
            Event::AddressRemoved {
                instance,
                address,
                outcome,
            } => self.answered((*instance, *address), Kind::Remove, outcome.is_ok()),
            Event::AddressRenewed {
                instance, address, ..
            } => {
                let key = (*instance, *address);
                let renewal = |(order, what): &(AddressOrder, Kind)| {
                    (order.instance, order.address) == key && *what == Kind::Renew
                };
                if let Some(at) = self.orders.iter().position(renewal) {
                    self.orders.remove(at);
                }
            }
            Event::Interface { interface, state } => self.reported(*interface, state.as_ref()),
            Event::JobDone { job, .. } => {
                self.jobs.remove(job);
            }
            Event::Wake
            | Event::Advert(_)
            | Event::Socket { .. }
            | Event::Advertised { .. }
            | Event::AddressUnleased { .. }
            | Event::RoutingChanged { .. }
            | Event::LinkChanged { .. }
            | Event::Routing(_)
            | Event::FileRead(_)
            | Event::Claim { .. }
            | Event::Reload(_)
            | Event::Order { .. }
            | Event::Kept { .. }
            | Event::Clock(_)
            | Event::Link(_)
            | Event::Stop
            | Event::StopNow => {}
        }
    }

    fn answered(&mut self, key: Key, kind: Kind, well: bool) {
        let asked = |(order, what): &(AddressOrder, Kind)| {
            (order.instance, order.address) == key && *what == kind
        };
        let Some(at) = self.orders.iter().position(asked) else {
            return;
        };
        let (order, _) = self.orders.remove(at);
        let place = (order.interface, order.network.addr());
        self.shown.remove(&place);
        match (kind, well) {
            // What was last seen there stands, whatever is said of adding it.
            (Kind::Add, well) if well || self.is_seen(place) => {
                self.acknowledged.insert(key, place);
                self.kernel.insert(place, order.network);
            }
            (Kind::Add | Kind::Renew, _) => {}
            (Kind::Remove, true) => {
                self.kernel.remove(&place);
            }
            (Kind::Remove, false) => {
                self.stuck.insert(key);
            }
        }
    }

    fn reported(&mut self, interface: InterfaceName, state: Option<&InterfaceState>) {
        self.shown.retain(|(on, _)| *on != interface);
        let Some(state) = state else {
            self.interfaces.remove(&interface);
            self.kernel.retain(|(on, _), _| *on != interface);
            return;
        };
        let ours = state.addresses.iter().filter(|address| address.ours);
        self.shown
            .extend(ours.map(|a| (interface, a.network.addr())));
        self.interfaces.insert(interface, state.clone());
    }

    /// Just after the agent was told.
    pub fn took(&mut self, agent: &Agent, now: Instant, actions: &[Action]) {
        let after = self.look(agent, now);
        let mut announced = 0;
        for action in actions {
            match action {
                Action::Advertise {
                    instance,
                    source,
                    priority,
                    link: _,
                } => {
                    self.may_send(&after, *instance, *source);
                    self.may_advertise(&after, *instance, *priority);
                }
                Action::AddAddress(order) => self.ordered(&after, order, Kind::Add),
                Action::RenewAddress(order) => {
                    let place = (order.interface, order.network.addr());
                    self.is_ours(&after, order.instance, place);
                    self.ordered(&after, order, Kind::Renew);
                }
                Action::RemoveAddress(order) => self.ordered(&after, order, Kind::Remove),
                Action::Announce {
                    instance,
                    interface,
                    address,
                } => {
                    announced += 1;
                    self.is_ours(&after, *instance, (*interface, *address));
                }
                Action::Probe {
                    instance,
                    source,
                    address,
                } => {
                    let interface = self.known(&after, *instance).settings.interface;
                    self.may_send(&after, *instance, *source);
                    self.is_ours(&after, *instance, (interface, *address));
                }
                Action::Start(job) => {
                    assert!(self.jobs_ever.insert(job.id), "{job:?} was given before");
                    self.jobs.insert(job.id);
                }
                Action::Solicit { interface, .. } => {
                    assert!(self.interfaces.contains_key(interface), "{action:?}");
                }
                Action::Inquire { interface, .. } => {
                    assert!(self.interfaces.contains_key(interface), "{action:?}");
                }
                Action::Tell { .. } => panic!("no peer link: {action:?}"),
                // None is configured.
                Action::ChangeRouting(order) => panic!("{order:?}"),
                Action::ChangeLink(order) => panic!("{order:?}"),
                Action::Keep { .. } | Action::Answer { .. } | Action::Report(_) => {}
            }
        }
        assert!(
            announced <= ANNOUNCEMENTS_IN_A_TURN_MAX,
            "{announced} at once"
        );
        self.instances = after;
        for (id, known) in &self.instances {
            let works = matches!(known.state, Some(StateName::Active | StateName::Backup));
            assert!(
                !works || agent.deadline().is_some(),
                "{id:?} waits for nothing"
            );
        }
    }

    fn look(&self, agent: &Agent, now: Instant) -> BTreeMap<InstanceId, Known> {
        let known = agent.instances().map(|(id, settings)| {
            let shown = agent.state(id);
            let before = self.instances.get(&id);
            let state = shown.map(|(state, _)| state);
            let was = before.and_then(|before| before.state);
            let left = was == Some(StateName::Active);
            let owed = before.is_some_and(|before| before.parts);
            let known = Known {
                settings: match before.filter(|before| *before.settings == *settings) {
                    Some(before) => Rc::clone(&before.settings),
                    None => Rc::new(settings.clone()),
                },
                state,
                priority: shown.map_or(0, |(_, priority)| priority.get()),
                left: match state {
                    Some(StateName::Active) => None,
                    _ => before.and_then(|before| before.left).or(Some(now)),
                },
                owner: settings.priority.is_owner() || before.is_some_and(|b| b.owner),
                parts: state != Some(StateName::Active) && (left || owed),
            };
            (id, known)
        });
        known.collect()
    }

    /// Before or after, it has to be an instance.
    fn known<'s>(&'s self, after: &'s BTreeMap<InstanceId, Known>, id: InstanceId) -> &'s Known {
        let known = after.get(&id).or(self.instances.get(&id));
        known.unwrap_or_else(|| panic!("an action for {id:?}, which does not exist"))
    }

    /// Nothing leaves by a dead link or from an address that is not there.
    fn may_send(&self, after: &BTreeMap<InstanceId, Known>, id: InstanceId, source: IpAddr) {
        let interface = self.known(after, id).settings.interface;
        let state = self.interfaces.get(&interface);
        let state = state.unwrap_or_else(|| panic!("sent on {interface}, which is not there"));
        assert!(state.up, "sent on {interface}, which is down");
        let mut own = state.addresses.iter();
        let there = own.any(|own| own.network.addr() == source && !own.tentative);
        assert!(there, "sent from {source}, which is not on {interface}");
    }

    /// The Active its priority; who leaves 0; who lost one more.
    fn may_advertise(&mut self, after: &BTreeMap<InstanceId, Known>, id: InstanceId, priority: u8) {
        let was = self.instances.get(&id).and_then(|known| known.state);
        let is = after.get(&id);
        let state = is.and_then(|known| known.state);
        let active = Some(StateName::Active);
        if priority == 0 {
            assert!(
                was == active && state != active,
                "priority 0 in {was:?}, {state:?}"
            );
        } else if state == active {
            let own = is.map(|known| known.priority);
            assert_eq!(own, Some(priority), "an Active's priority");
        } else {
            let owed = self.instances.get(&id).is_some_and(|known| known.parts);
            // Perhaps in the very turn in which its release begins.
            assert!(was == active || owed, "{id:?} advertises in {state:?}");
        }
    }

    fn ordered(&mut self, after: &BTreeMap<InstanceId, Known>, order: &AddressOrder, kind: Kind) {
        let known = self.known(after, order.instance);
        let (key, place) = (
            (order.instance, order.address),
            (order.interface, order.network.addr()),
        );
        let mut addresses = known.settings.addresses.iter();
        let configured = addresses.any(|a| (a.interface, a.network.addr()) == place);
        let ours = self.acknowledged.contains_key(&key)
            || self.stuck.contains(&key)
            || self.is_seen(place);
        assert!(
            configured || kind == Kind::Remove && ours,
            "{order:?} is not configured"
        );
        // One that gives up because its advertisement did not leave may have
        // ordered it in the same turn; then it is removed when it has come.
        let before = self.instances.get(&order.instance);
        let was_active = before.is_some_and(|was| was.state == Some(StateName::Active));
        let out = matches!(known.state, Some(StateName::Backup | StateName::Fault)) && !was_active;
        assert!(
            kind == Kind::Remove || !out,
            "{:?} adds {order:?}",
            known.state
        );
        assert_eq!(
            self.pending(key.0, key.1),
            None,
            "a second order: {order:?}"
        );
        if kind != Kind::Renew {
            self.acknowledged.remove(&key);
        }
        self.stuck.remove(&key);
        self.orders.push((order.clone(), kind));
    }

    fn is_seen(&self, (interface, address): Place) -> bool {
        let state = self.interfaces.get(&interface);
        let mut there = state.into_iter().flat_map(|state| &state.addresses);
        there.any(|own| own.network.addr() == address)
    }

    /// Nobody speaks of an address before the kernel has it.
    fn is_ours(&self, after: &BTreeMap<InstanceId, Known>, id: InstanceId, place: Place) {
        self.known(after, id);
        let mut all = self.acknowledged.iter();
        let acknowledged = all.any(|((of, _), at)| *of == id && *at == place);
        assert!(acknowledged, "{place:?} is announced and not acknowledged");
    }

    /// Shown with our mark, with nothing under way, and configured.
    fn held(&self) -> impl Iterator<Item = (&Known, Place)> {
        let all = self.instances.values().flat_map(|known| {
            let addresses = known.settings.addresses.iter();
            addresses.map(move |address| (known, (address.interface, address.network.addr())))
        });
        all.filter(|(_, place)| self.shown.contains(place) && !self.is_pending(*place))
    }

    /// Woken as it wanted, at this moment: whoever is not Active, and has had
    /// the time to be relieved, has nothing on the host.
    pub fn at_rest(&self, agent: &Agent, now: Instant) {
        // A removal that failed is tried again a second later.
        if !self.stuck.is_empty() {
            return;
        }
        let entitled = |place: Place| {
            self.instances.values().any(|known| {
                let mut addresses = known.settings.addresses.iter();
                let has = addresses.any(|a| (a.interface, a.network.addr()) == place);
                let resigns = known
                    .left
                    .is_some_and(|at| now.since(at) <= RESIGNATION_MAX);
                has && (known.state == Some(StateName::Active) || resigns || known.owner)
            })
        };
        for (_, place) in self.held() {
            assert!(
                entitled(place),
                "{place:?} is held by nobody: {:?}",
                agent.status()
            );
        }
    }

    /// Stopped, and everything was answered well.
    pub fn at_the_end(&self) {
        for (known, place) in self.held() {
            assert!(known.owner, "{place:?} stays");
        }
        assert!(self.orders.is_empty());
    }
}
