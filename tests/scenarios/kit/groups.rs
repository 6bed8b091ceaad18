//! What must hold of instances that move together.

use vipward::agent::action::Action;
use vipward::agent::settings::GroupSettings;
use vipward::agent::status::{GroupStatus, StateName};
use vipward::agent::values::{GroupName, InstanceId, InstanceName};

use super::invariants::Seen;
use super::{HostId, Lab};

/// A group without hooks.
pub fn group(name: &str, members: &[&str]) -> GroupSettings {
    GroupSettings {
        name: GroupName::new(name),
        members: members.iter().copied().map(InstanceName::new).collect(),
        hooks: Default::default(),
    }
}

/// After every turn of every agent: where one is Active, no mate is Backup
/// or in fault, unless it prepares to follow.
pub fn move_together(lab: &Lab, id: HostId, seen: &Seen) {
    let Some(agent) = &lab.at(id).agent else {
        return;
    };
    for group in &lab.at(id).ledger.groups {
        let members = agent
            .instances()
            .filter(|(_, settings)| group.members.contains(&settings.name));
        let states: Vec<(InstanceId, StateName)> = members
            .filter_map(|(instance, _)| Some((instance, seen.state(instance)?)))
            .collect();
        let active = states.iter().any(|(_, state)| *state == StateName::Active);
        let behind = states
            .iter()
            .find(|(_, state)| matches!(state, StateName::Backup | StateName::Fault));
        let Some((instance, state)) = behind.filter(|_| active) else {
            continue;
        };
        // Put together by a reload, some may wait for the hook of one.
        let all = agent.status().instances;
        let members = all.iter().filter(|one| group.members.contains(&one.name));
        let mut obstacles = members.flat_map(|one| &one.obstacles);
        if !obstacles.any(|one| one.code == "before-active") {
            lab.fail(&format!(
                "{}: #{} is {state} while a mate in group {} is Active",
                lab.at(id).name,
                instance.0,
                group.name
            ));
        }
    }
}

/// Who advertised and sent priority 0 in one turn.
pub fn take_back(actions: &[Action]) -> Vec<InstanceId> {
    let sent = |wanted: InstanceId, zero: bool| {
        actions.iter().any(|action| {
            matches!(action, Action::Advertise { instance, priority, .. }
                if *instance == wanted && (*priority == 0) == zero)
        })
    };
    let mut all: Vec<InstanceId> = actions
        .iter()
        .filter_map(|action| match action {
            Action::Advertise { instance, .. } => Some(*instance),
            _ => None,
        })
        .collect();
    all.retain(|instance| sent(*instance, true) && sent(*instance, false));
    all.dedup();
    all
}

impl Lab {
    pub fn groups(&self, host: HostId) -> Vec<GroupStatus> {
        let agent = self.at(host).agent.as_ref().expect("the agent runs");
        agent.status().groups
    }

    /// The state of the only group.
    pub fn group_state(&self, host: HostId) -> StateName {
        self.groups(host).first().expect("a group").state
    }
}
