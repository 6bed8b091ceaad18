//! What is seen of an agent before and after each of its turns.

use vipward::agent::Agent;
use vipward::agent::status::StateName;
use vipward::agent::time::Instant;
use vipward::agent::values::InstanceId;

use super::HostId;

/// What is seen of an agent between two turns.
#[derive(Clone, Debug)]
pub struct Seen {
    /// When it wants to be woken.
    pub deadline: Option<Instant>,
    /// In the order of their handles.
    instances: Vec<(InstanceId, StateName, u8)>,
}

impl Seen {
    pub fn of(agent: &Agent) -> Self {
        let all = agent.instances().filter_map(|(id, _)| {
            let (state, priority) = agent.state(id)?;
            Some((id, state, priority.get()))
        });
        Self {
            deadline: agent.deadline().map(|(at, _)| at),
            instances: all.collect(),
        }
    }

    pub(super) fn of_instance(&self, instance: InstanceId) -> Option<(StateName, u8)> {
        let mut all = self.instances.iter();
        let found = all.find(|(known, _, _)| *known == instance);
        found.map(|(_, state, priority)| (*state, *priority))
    }

    pub fn state(&self, instance: InstanceId) -> Option<StateName> {
        self.of_instance(instance).map(|(state, _)| state)
    }

    pub fn priority(&self, instance: InstanceId) -> Option<u8> {
        self.of_instance(instance).map(|(_, priority)| priority)
    }
}

/// One turn of one agent.
pub struct Turn {
    pub host: HostId,
    pub before: Seen,
    pub after: Seen,
    /// Whose advertisements could not leave.
    pub unsent: Vec<InstanceId>,
    /// Who claimed and took it back at once.
    pub takes_back: Vec<InstanceId>,
}
