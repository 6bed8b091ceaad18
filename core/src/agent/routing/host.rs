//! Which of the host's routers its routes and rules concern.

use super::RoutingState;
use crate::agent::Agent;
use crate::agent::action::Action;
use crate::agent::router::VirtualRouter;
use crate::agent::time::Instant;
use crate::agent::values::InstanceId;

impl Agent {
    /// Whether [`crate::agent::event::Event::Routing`] is of use: on a host
    /// with a million routes, to watch them costs.
    pub fn wants_routing(&self) -> bool {
        self.routers.values().any(VirtualRouter::has_routing)
    }

    pub(in crate::agent) fn on_routing(
        &mut self,
        now: Instant,
        state: RoutingState,
        actions: &mut Vec<Action>,
    ) {
        self.world.set_routing(state);
        let routers = self.routers.iter();
        let users: Vec<InstanceId> = routers
            .filter(|(_, router)| router.has_routing())
            .map(|(id, _)| *id)
            .collect();
        self.each(now, actions, &users, VirtualRouter::on_routing);
    }
}
