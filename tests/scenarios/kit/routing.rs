//! Routes and rules of a simulated host: what its kernel does with them, and
//! what must hold of every order about them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use vipward::agent::action::Action;
use vipward::agent::routing::{
    Change, Effect, Route, RouteSettings, RoutingIndex, RoutingItem, RoutingOrder, RoutingState,
    Rule, RuleSettings, TABLE_MAIN, default_metric,
};
use vipward::agent::status::StateName;
use vipward::agent::time::Instant;
use vipward::agent::values::{Family, InstanceId};

use super::kernel::Kernel;
use super::{Coming, HostId, Input, Lab, What, interface};

#[derive(Clone, Debug, Default)]
pub struct Tables {
    /// With an agent's mark.
    pub ours: RoutingState,
    /// Other programs'.
    pub foreign: RoutingState,
    pub refuse_add: Option<String>,
    pub refuse_remove: Option<String>,
}

/// What the judge remembers of one agent.
#[derive(Clone, Debug, Default)]
pub struct RoutingLedger {
    pending: BTreeMap<(InstanceId, RoutingIndex), Change>,
    /// Removals that failed last time.
    stuck: BTreeSet<(InstanceId, RoutingIndex)>,
    /// As the agent was told last.
    pub known: Option<RoutingState>,
}

/// A route of host `eth0` to `to`.
pub fn route(to: &str, via: Option<&str>) -> Route {
    let to: ipnet::IpNet = to.parse().expect("a network");
    Route {
        to,
        via: via.map(|via| via.parse().expect("an address")),
        interface: interface("eth0"),
        source: None,
        table: TABLE_MAIN,
        metric: default_metric(Family::of(to.addr())),
        onlink: false,
    }
}

pub fn rule(from: &str, table: u32) -> Rule {
    let from: ipnet::IpNet = from.parse().expect("a network");
    Rule {
        family: Family::of(from.addr()),
        from: Some(from),
        to: None,
        iif: None,
        oif: None,
        fwmark: None,
        table,
        priority: 30_000,
    }
}

pub fn required_route(route: Route) -> RouteSettings {
    let required = true;
    RouteSettings { route, required }
}

pub fn required_rule(rule: Rule) -> RuleSettings {
    let required = true;
    RuleSettings { rule, required }
}

impl Kernel {
    fn has(&self, address: IpAddr) -> bool {
        self.holds(address).is_some()
    }

    fn change(&mut self, order: &RoutingOrder) -> Result<Effect, String> {
        match order.change {
            Change::Add => self.add_routing(&order.item),
            Change::Remove => match &self.tables.refuse_remove {
                Some(error) => Err(error.clone()),
                None => Ok(match self.tables.ours.remove(&order.item) {
                    true => Effect::Done,
                    false => Effect::Already,
                }),
            },
        }
    }

    fn add_routing(&mut self, item: &RoutingItem) -> Result<Effect, String> {
        if let Some(error) = &self.tables.refuse_add {
            return Err(error.clone());
        }
        if self.tables.ours.contains(item) {
            return Ok(Effect::Already);
        }
        if let RoutingItem::Route(route) = item {
            let up = self.state(route.interface).map(|state| state.up);
            match up {
                None => return Err("there is no interface".to_owned()),
                Some(false) => return Err("Network is down".to_owned()),
                Some(true) => {}
            }
            if route.source.is_some_and(|source| !self.has(source)) {
                return Err("Invalid prefsrc address".to_owned());
            }
            let same_place = |other: &RoutingItem| {
                matches!(other, RoutingItem::Route(other)
                    if (other.to, other.table, other.metric)
                        == (route.to, route.table, route.metric))
            };
            if self.tables.foreign.iter().any(same_place) {
                return Err("another program's route is there".to_owned());
            }
            // One of ours in another form gives way.
            self.tables.ours.retain(|other| !same_place(other));
        }
        self.tables.ours.insert(item.clone());
        Ok(Effect::Done)
    }

    /// What goes by itself: with its interface, with the link, and for IPv4
    /// with its source. An IPv6 route loses its source.
    fn drop_dead(&mut self) {
        let known = std::mem::take(&mut self.tables.ours);
        for item in known {
            let RoutingItem::Route(mut route) = item else {
                self.tables.ours.insert(item);
                continue;
            };
            let up = self.state(route.interface).is_some_and(|state| state.up);
            let lost = route.source.filter(|source| !self.has(*source));
            match lost {
                Some(IpAddr::V4(_)) => continue,
                Some(IpAddr::V6(_)) => route.source = None,
                None => {}
            }
            if up {
                self.tables.ours.insert(RoutingItem::Route(route));
            }
        }
    }

    pub fn has_route(&self, route: &Route) -> bool {
        self.tables
            .ours
            .contains(&RoutingItem::Route(route.clone()))
    }

    pub fn has_rule(&self, rule: &Rule) -> bool {
        self.tables.ours.contains(&RoutingItem::Rule(rule.clone()))
    }
}

impl Lab {
    pub(super) fn order_routing(&mut self, id: HostId, order: RoutingOrder) {
        let now = self.now;
        let host = self.at_mut(id);
        let takes = match order.change {
            Change::Add => host.kernel.add_takes,
            Change::Remove => host.kernel.remove_takes,
        };
        let at: Instant = host.kernel.done_at(now, takes);
        let generation = host.generation;
        self.at_time(at, id, Coming::Routing(generation, order));
    }

    pub(super) fn carry_out_routing(&mut self, id: HostId, generation: u32, order: RoutingOrder) {
        let host = self.at_mut(id);
        if !host.powered {
            return;
        }
        let before = host.kernel.tables.ours.clone();
        let outcome = host.kernel.change(&order);
        let changed = host.kernel.tables.ours != before;
        let acknowledge_after = host.kernel.acknowledge_after;
        let input = Input::RoutingChanged {
            instance: order.instance,
            index: order.index,
            change: order.change,
            outcome,
        };
        self.later(acknowledge_after, id, Coming::News(generation, input));
        if changed {
            self.report_routing(id);
        }
    }

    /// After a change of an interface: what the kernel drops by itself.
    pub(super) fn settle_routing(&mut self, id: HostId) {
        let kernel = &mut self.at_mut(id).kernel;
        let before = kernel.tables.ours.clone();
        kernel.drop_dead();
        if kernel.tables.ours != before {
            self.report_routing(id);
        }
    }

    /// The agent will hear of what is there now.
    pub fn report_routing(&mut self, id: HostId) {
        let host = self.at(id);
        let (after, generation) = (host.kernel.report_after, host.generation);
        let input = Input::Routing(host.kernel.tables.ours.clone());
        self.later(after, id, Coming::News(generation, input));
    }

    /// `ip route del` or `ip rule del`, by somebody else.
    pub fn delete_routing(&mut self, id: HostId, item: &RoutingItem) {
        self.tell(format!("somebody deletes the {item}"));
        let there = self.at_mut(id).kernel.tables.ours.remove(item);
        assert!(there, "{item} was not there");
        self.report_routing(id);
    }

    /// Every order about routes and rules, in words, since the mark.
    pub fn routing_orders(&self, id: HostId) -> Vec<(std::time::Duration, String)> {
        let all = self.record(id).filter_map(|(at, what)| match what {
            What::Routing(order) => Some((at, words(order))),
            _ => None,
        });
        all.collect()
    }
}

pub fn words(order: &RoutingOrder) -> String {
    let verb = match order.change {
        Change::Add => "add",
        Change::Remove => "remove",
    };
    format!("{verb} {}", order.item)
}

/// The agent was just told this.
pub fn told(ledger: &mut RoutingLedger, input: &Input) {
    match input {
        Input::RoutingChanged {
            instance,
            index,
            change,
            outcome,
        } => {
            let key = (*instance, *index);
            ledger.pending.remove(&key);
            if *change == Change::Remove && outcome.is_err() {
                ledger.stuck.insert(key);
            }
        }
        Input::Routing(state) => ledger.known = Some(state.clone()),
        _ => {}
    }
}

/// Just before it is carried out.
pub fn ordered(lab: &mut Lab, id: HostId, order: &RoutingOrder) {
    let key = (order.instance, order.index);
    let settings = lab.settings_of(id, order.instance).expect("known").clone();
    if order.change == Change::Add {
        let listed = match &order.item {
            RoutingItem::Route(route) => settings.routes.iter().any(|own| own.route == *route),
            RoutingItem::Rule(rule) => settings.rules.iter().any(|own| own.rule == *rule),
        };
        if !listed {
            lab.fail(&format!("{} is not configured", order.item));
        }
        source_is_acknowledged(lab, id, order);
    }
    let ledger = &mut lab.at_mut(id).ledger.routing;
    ledger.stuck.remove(&key);
    if ledger.pending.insert(key, order.change).is_some() {
        lab.fail(&format!("a second order about the {}", order.item));
    }
}

/// No route before the kernel has confirmed the virtual address it names.
fn source_is_acknowledged(lab: &Lab, id: HostId, order: &RoutingOrder) {
    let RoutingItem::Route(route) = &order.item else {
        return;
    };
    let settings = lab.settings_of(id, order.instance).expect("known");
    let mut addresses = settings.addresses.iter().enumerate();
    let own = addresses.find(|(_, own)| Some(own.network.addr()) == route.source);
    if let Some((place, address)) = own {
        let ledger = &lab.at(id).ledger;
        let index = ledger.index_of(order.instance, place, (settings, address));
        if !ledger.is_acknowledged(order.instance, index) {
            lab.fail(&format!("{} before its source", order.item));
        }
    }
}

/// Addresses do not go before the routes that need them.
pub fn gone_first(actions: &[Action]) -> bool {
    let removes = |action: &Action| matches!(action, Action::RemoveAddress(_));
    let Some(first) = actions.iter().position(removes) else {
        return true;
    };
    let late = |action: &Action| matches!(action, Action::ChangeRouting(order) if order.change == Change::Remove);
    let instance = match actions.get(first) {
        Some(Action::RemoveAddress(order)) => order.instance,
        _ => return true,
    };
    let mut rest = actions.iter().skip(first);
    !rest.any(|action| {
        late(action) && matches!(action, Action::ChangeRouting(order) if order.instance == instance)
    })
}

/// Outside Active and resigning nobody keeps a route or rule of ours, apart
/// from one whose removal is under way or was refused.
pub fn held_where_it_belongs(
    lab: &Lab,
    id: HostId,
    holds: impl Fn(InstanceId) -> bool,
    state: impl Fn(InstanceId) -> Option<StateName>,
) {
    let host = lab.at(id);
    let Some(agent) = &host.agent else { return };
    if host.kernel.tables.ours.is_empty() {
        return;
    }
    let waits = |instance: InstanceId| {
        let ledger = &host.ledger.routing;
        let mut all = ledger.pending.keys().chain(&ledger.stuck);
        all.any(|(of, _)| *of == instance)
    };
    let items = agent.instances().flat_map(|(instance, settings)| {
        let routes = settings.routes.iter();
        let routes = routes.map(|own| RoutingItem::Route(own.route.clone()));
        let rules = settings.rules.iter();
        let rules = rules.map(|own| RoutingItem::Rule(own.rule.clone()));
        routes.chain(rules).map(move |item| (instance, item))
    });
    for (instance, item) in items {
        let known = host.ledger.routing.known.as_ref();
        let seen = known.is_some_and(|known| known.contains(&item));
        let there = host.kernel.tables.ours.contains(&item);
        if there && seen && !holds(instance) && !waits(instance) {
            lab.fail(&format!(
                "{} is {:?} and still has the {item}",
                host.name,
                state(instance)
            ));
        }
    }
}
