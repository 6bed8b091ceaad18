//! How a simulated kernel carries out orders, and takes addresses away whose
//! lease runs out.

use ipnet::IpNet;
use vipward::agent::Agent;
use vipward::agent::action::AddressOrder;
use vipward::agent::event::{Added, NotRenewed, NotSent};
use vipward::agent::values::{InstanceId, InterfaceName};

use super::kernel::Kernel;
use super::{Coming, HostId, Input, Kind, Lab};

impl Kernel {
    /// Whether an advertisement leaves.
    pub fn can_send(&self, agent: &Agent, instance: InstanceId) -> Result<(), NotSent> {
        let mut all = agent.instances();
        let settings = all.find(|(known, _)| *known == instance);
        let missing = |interface| self.state(interface).is_none();
        let error = match settings {
            Some((_, settings)) if missing(settings.interface) => "No such device".to_owned(),
            Some((_, settings)) if self.refuse_send_on == Some(settings.interface) => {
                "Operation not permitted".to_owned()
            }
            _ => match &self.refuse_send {
                Some(error) => error.clone(),
                None => return Ok(()),
            },
        };
        let partly = self.serves_some;
        Err(NotSent { error, partly })
    }
}

impl Lab {
    pub(super) fn order(&mut self, id: HostId, order: AddressOrder, kind: Kind) {
        let now = self.now;
        let host = self.at_mut(id);
        let kernel = &mut host.kernel;
        let at = match kind {
            Kind::Add => kernel.done_at(now, kernel.add_takes),
            Kind::Remove => kernel.done_at(now, kernel.remove_takes),
            // By a thread of its own.
            Kind::Renew => now + kernel.renew_takes,
        };
        let generation = host.generation;
        self.at_time(at, id, Coming::Order(generation, order, kind));
    }

    pub(super) fn carry_out(
        &mut self,
        id: HostId,
        generation: u32,
        order: AddressOrder,
        kind: Kind,
    ) {
        let host = self.at_mut(id);
        if !host.powered || (kind == Kind::Renew && generation != host.generation) {
            return;
        }
        let (instance, address) = (order.instance, order.address);
        let acknowledge_after = host.kernel.acknowledge_after;
        let before = host.kernel.state(order.interface);
        let (input, lives_anew) = match kind {
            Kind::Add => {
                let outcome = host.kernel.add(&order);
                let fresh = outcome == Ok(Added::Fresh);
                let input = Input::Added {
                    instance,
                    address,
                    outcome,
                };
                (input, fresh)
            }
            Kind::Remove => {
                let outcome = host.kernel.remove(&order);
                let input = Input::Removed {
                    instance,
                    address,
                    outcome,
                };
                (input, false)
            }
            Kind::Renew => {
                let outcome = match host.paused {
                    // So is the thread that would have done it.
                    true => Err(NotRenewed::TooOld),
                    false => host.kernel.renew(&order).map_err(NotRenewed::Failed),
                };
                let renewed = outcome.is_ok();
                let input = Input::Renewed {
                    instance,
                    address,
                    outcome,
                };
                (input, renewed)
            }
        };
        if lives_anew {
            self.begin_lease(id, generation, &order);
        }
        let changed = before != self.at(id).kernel.state(order.interface);
        self.later(acknowledge_after, id, Coming::News(generation, input));
        if changed {
            self.report(id, order.interface);
        }
    }

    fn begin_lease(&mut self, id: HostId, generation: u32, order: &AddressOrder) {
        let now = self.now;
        let kernel = &mut self.at_mut(id).kernel;
        if let Some(end) = kernel.lease(order, now) {
            let expiry = Coming::Expiry(order.interface, order.network);
            self.at_time(end, id, expiry);
        } else if let Some(reason) = kernel
            .refuse_lease
            .clone()
            .filter(|_| order.lease.is_some())
        {
            let unleased = Input::Unleased {
                instance: order.instance,
                address: order.address,
                reason,
            };
            let after = self.at(id).kernel.acknowledge_after;
            self.later(after, id, Coming::News(generation, unleased));
        }
    }

    /// The kernel's own clock: it goes on while the agent does not run.
    pub(super) fn expire(&mut self, id: HostId, interface: InterfaceName, network: IpNet) {
        let now = self.now;
        if !self.at(id).kernel.has_run_out(interface, network, now) {
            return;
        }
        if self.trace.records {
            let name = &self.at(id).name;
            let text = format!("{name} has {network} expire on {interface}");
            self.tell(text);
        }
        self.at_mut(id).kernel.delete(interface, network);
        self.report(id, interface);
    }

    /// The agent will hear of the interface as it is now.
    pub fn report(&mut self, id: HostId, interface: InterfaceName) {
        let host = self.at(id);
        let state = host.kernel.state(interface);
        let after = host.kernel.report_after;
        let generation = host.generation;
        let input = Input::Interface { interface, state };
        self.later(after, id, Coming::News(generation, input));
        self.settle_routing(id);
    }
}
