//! What the peer link adds: parts of a segment that do not hear each other are
//! one cluster all the same while their nodes tell each other what they are.
//! An Active that another part is told of keeps it from claiming; so one part
//! serves, by design, and it is one that can show a working segment if any can.

use vipward::agent::settings::OnAllFail;

use super::agreement::{hears_itself, is_whole, parts};
use super::*;
use crate::cluster::witness;
use crate::kit::link;

fn is_node(sim: &Sim, host: HostId) -> bool {
    let cluster = sim.cast.cluster.as_ref();
    cluster.is_some_and(|cluster| cluster.nodes.contains(&host.0))
}

/// Something told by one reaches the other.
fn tells(sim: &Sim, from: HostId, to: HostId) -> bool {
    is_node(sim, from) && is_node(sim, to) && sim.lab.link_passes(from, to)
}

/// Parts between which something may be told.
pub(super) fn unions(sim: &Sim, able: &[Able<'_>], parts: &[Vec<usize>]) -> Vec<Vec<Vec<usize>>> {
    let mut unions: Vec<Vec<Vec<usize>>> = Vec::new();
    for part in parts {
        let touches = |union: &Vec<Vec<usize>>| {
            let mut pairs = union
                .iter()
                .flatten()
                .flat_map(|one| part.iter().map(move |other| (one, other)));
            pairs.any(|(one, other)| {
                let (one, other) = (able[*one].host, able[*other].host);
                tells(sim, one, other) || tells(sim, other, one)
            })
        };
        let (joined, apart): (Vec<_>, Vec<_>) = unions.into_iter().partition(touches);
        let mut joined: Vec<Vec<usize>> = joined.into_iter().flatten().collect();
        joined.push(part.clone());
        unions = apart;
        unions.push(joined);
    }
    unions
}

/// Whether there can be one Active only: everybody hears everybody, or
/// everybody is told of everybody.
pub(super) fn is_certain(sim: &Sim, able: &[Able<'_>], union: &[Vec<usize>]) -> bool {
    if union.len() == 1 {
        return true;
    }
    let all: Vec<HostId> = union.iter().flatten().map(|one| able[*one].host).collect();
    let mut pairs = all
        .iter()
        .flat_map(|one| all.iter().map(move |other| (*one, *other)));
    pairs.all(|(one, other)| one == other || tells(sim, one, other))
}

/// Whether nothing may change hands where this host is.
pub(super) fn is_settled(sim: &Sim, able: &[Able<'_>], host: HostId) -> bool {
    let unions = unions(sim, able, &parts(sim, able));
    let here = |part: &Vec<usize>| part.iter().any(|one| able[*one].host == host);
    let Some(union) = unions.iter().find(|union| union.iter().any(here)) else {
        return false;
    };
    union.iter().all(|part| is_whole(sim, able, part)) && is_certain(sim, able, union)
}

fn has_witness(sim: &Sim, one: &Able<'_>) -> bool {
    let settings = one.settings;
    let address = witness(settings.interface, settings.family);
    sim.lab.reaches(one.host, settings.interface, address)
}

/// The Active does not stay where nothing is shown to work while another part
/// works.
pub(super) fn can_show(sim: &Sim, able: &[Able<'_>], union: &[Vec<usize>], active: &Able<'_>) {
    if has_witness(sim, active) {
        return;
    }
    let answers = |one: &Able<'_>| {
        let wire = &sim.lab.wire;
        !wire.is_cut(one.host, active.host) && !wire.is_cut(active.host, one.host)
    };
    let elsewhere = union
        .iter()
        .filter(|part| part.iter().all(|one| able[*one].host != active.host));
    let mut others = elsewhere.flatten().filter_map(|one| able.get(*one));
    if let Some(other) = others.find(|other| has_witness(sim, other) && !answers(other)) {
        let (stays, works) = (&sim.lab.at(active.host).name, &sim.lab.at(other.host).name);
        sim.lab.fail(&format!(
            "{stays} stays Active, cut off, and the segment of {works} works"
        ));
    }
}

/// One that a check warns of does not stay while another node can take over.
pub(super) fn leaves_in_time<'a>(
    sim: &Sim,
    mut all: impl Iterator<Item = &'a Able<'a>>,
    active: &Able<'_>,
    name: &str,
) {
    if !active.warned || !is_node(sim, active.host) {
        return;
    }
    let (from, here) = (active.host, &sim.lab.at(active.host).name);
    let other = all.find(|one| {
        let heard = tells(sim, from, one.host) && tells(sim, one.host, from);
        one.host != from && !one.warned && heard
    });
    if let Some(other) = other {
        let other = &sim.lab.at(other.host).name;
        let text = format!("{name}: {here} stays Active although it is warned, and {other} is not");
        sim.lab.fail(&text);
    }
}

/// Everybody shows the others as they are, and nothing stays on display that
/// is over.
pub(super) fn pictures_are_right(sim: &Sim, able: &[Able<'_>], union: &[Vec<usize>]) {
    let whole = union.len() == 1;
    let members = || union.iter().flatten().filter_map(|one| able.get(*one));
    for one in members().filter(|one| is_node(sim, one.host)) {
        let here = sim.lab.at(one.host);
        let Some(agent) = here.agent.as_ref() else {
            continue;
        };
        let status = agent.status();
        let name = &here.name;
        let own = status
            .instances
            .iter()
            .find(|known| known.name == one.settings.name);
        let shown = own.into_iter().flat_map(|own| &own.obstacles);
        let stale = |code: &str| matches!(code, "split-heartbeat-path" | "segment-undecided");
        let mut shown = shown
            .map(|obstacle| obstacle.code)
            .filter(|code| stale(code));
        // Of those that move together each has a segment of its own.
        let heard =
            || members().all(|other| other.host == one.host || hears_itself(sim, one, other));
        if let Some(code) = shown.next().filter(|_| whole && heard()) {
            sim.lab.fail(&format!("{name} still shows {code}"));
        }
        for other in members().filter(|other| other.host != one.host && is_node(sim, other.host)) {
            let node = link::node(other.host);
            let seen = status.nodes.iter().find(|seen| seen.name == node);
            let Some(seen) = seen else {
                sim.lab.fail(&format!("{name} does not know {node}"));
            };
            let (to, from) = (
                tells(sim, one.host, other.host),
                tells(sim, other.host, one.host),
            );
            if seen.reachable && !from && sim.lab.now().since(sim.disturbed) > sim.bounds.agreement
            {
                sim.lab.fail(&format!("{name} shows {node} as reachable"));
            }
            if !(to && from) {
                continue;
            }
            let theirs = sim
                .lab
                .at(other.host)
                .agent
                .as_ref()
                .map(|agent| agent.status());
            let mut theirs = theirs.into_iter().flat_map(|status| status.instances);
            let theirs = theirs.find(|known| known.name == other.settings.name);
            let mut told = seen.instances.iter().map(|known| &known.news);
            let told = told.find(|news| news.name == other.settings.name);
            let (Some(theirs), Some(told)) = (theirs, told) else {
                sim.lab.fail(&format!("{name} was never told of {node}"));
            };
            let is = (
                theirs.state,
                theirs.effective_priority.get(),
                theirs.reason.name(),
            );
            if !seen.reachable || is != (told.state, told.priority, told.reason.as_str()) {
                sim.lab
                    .fail(&format!("{name} shows {node} as {told:?}, it is {is:?}"));
            }
        }
    }
}

/// Where the service fails on every node, the Active may stay; so nobody can
/// say who of the others should be.
pub(super) fn is_kept(sim: &Sim, group: usize) -> bool {
    sim.ids().any(|host| may_keep(sim, group, host))
}

/// The instance is there, and only checks keep its node from it; of all nodes.
pub(super) fn may_keep(sim: &Sim, group: usize, host: HostId) -> bool {
    let Some(cluster) = &sim.cast.cluster else {
        return false;
    };
    let fails = |host: HostId| {
        let (here, fate) = (sim.lab.at(host), &sim.hosts[host.0]);
        let settings = fate.wanted.instances.get(group).expect("of each host");
        let known = here.kernel.state(settings.interface);
        here.runs()
            && here.agent.is_some()
            && !fate.absent.contains(&group)
            && known.is_some_and(|state| state.up)
            && !sim.is_well(host, settings)
            && settings.on_all_fail == OnAllFail::Keep
    };
    let mut nodes = cluster.nodes.iter().map(|node| HostId(*node));
    is_node(sim, host) && nodes.all(|node| fails(node) && (node == host || tells(sim, node, host)))
}
