//! Who is Active, and who should be.

use super::*;
use crate::cast::speak_alike;
use crate::kit::link;
use crate::virtual_mac::is_up;

/// Of those that move together it is enough that one hears, and is heard.
pub(super) fn hears(sim: &Sim, from: &Able<'_>, to: &Able<'_>) -> bool {
    let one_way = |from: &Face<'_>, to: &Face<'_>| {
        may_be_heard(sim, from, to) && trust::is_certain(sim, from, to)
    };
    if from.mates.is_empty() {
        return one_way(&from.face(), &to.face());
    }
    pairs(from, to).any(|(from, to)| one_way(&from, &to) && one_way(&to, &from))
}

/// Whatever becomes of their mates, both ways.
pub(super) fn hears_itself(sim: &Sim, one: &Able<'_>, other: &Able<'_>) -> bool {
    let (one, other) = (one.face(), other.face());
    let one_way = |from, to| may_be_heard(sim, from, to) && trust::is_certain(sim, from, to);
    one_way(&one, &other) && one_way(&other, &one)
}

/// Where it is not certain that what arrives is believed.
pub(super) fn may_hear(sim: &Sim, from: &Able<'_>, to: &Able<'_>) -> bool {
    pairs(from, to).any(|(from, to)| may_be_heard(sim, &from, &to))
}

/// The same instance on both, for each that moves together.
fn pairs<'a>(
    from: &Able<'a>,
    to: &Able<'a>,
) -> impl Iterator<Item = (Face<'a>, Face<'a>)> + use<'a> {
    let to: Vec<Face<'a>> = to.faces().collect();
    let from: Vec<Face<'a>> = from.faces().collect();
    from.into_iter().filter_map(move |from| {
        let mut same = to
            .iter()
            .filter(|to| to.settings.name == from.settings.name);
        same.next().map(|to| (from, *to))
    })
}

fn may_be_heard(sim: &Sim, from: &Face<'_>, to: &Face<'_>) -> bool {
    let strict = from.instance.is_none() || to.instance.is_none();
    let list = |of: &Face<'_>| {
        let mut all: Vec<IpAddr> = of.settings.advertised().collect();
        all.sort_unstable();
        all
    };
    let wire = &sim.lab.wire;
    !wire.is_deaf(from.host, to.host)
        && !wire.is_cut_on(from.settings.interface, from.host, to.host)
        && speak_alike(from.settings, to.settings)
        && (!strict || list(from) == list(to))
}

/// Who may hear whom, directly or through others, in either direction.
pub(super) fn parts(sim: &Sim, able: &[Able<'_>]) -> Vec<Vec<usize>> {
    let mut parts: Vec<Vec<usize>> = Vec::new();
    for (n, one) in able.iter().enumerate() {
        let touches = |part: &Vec<usize>| {
            part.iter()
                .any(|other| may_hear(sim, one, &able[*other]) || may_hear(sim, &able[*other], one))
        };
        let (joined, apart): (Vec<_>, Vec<_>) = parts.into_iter().partition(touches);
        let mut joined: Vec<usize> = joined.into_iter().flatten().collect();
        joined.push(n);
        parts = apart;
        parts.push(joined);
    }
    parts
}

/// Everybody hears everybody.
pub(super) fn is_whole(sim: &Sim, able: &[Able<'_>], part: &[usize]) -> bool {
    let mut pairs = part
        .iter()
        .flat_map(|one| part.iter().map(move |other| (one, other)));
    pairs.all(|(one, other)| one == other || hears(sim, &able[*one], &able[*other]))
}

pub(super) fn agreement(sim: &Sim, group: usize) {
    let able = able(sim, group);
    let name = format!("vrid {}", sim.cast.groups[group].vrid);
    if linked::is_kept(sim, group) {
        return;
    }
    let parts = parts(sim, &able);
    for union in linked::unions(sim, &able, &parts) {
        if union.iter().any(|part| !is_whole(sim, &able, part)) {
            continue;
        }
        let all = || union.iter().flat_map(|part| part.iter());
        let members = || all().filter_map(|one| able.get(*one));
        let host = |one: &Able<'_>| sim.lab.at(one.host).name.clone();
        let actives: Vec<&Able<'_>> = members().filter(|one| one.active).collect();
        let certain = linked::is_certain(sim, &able, &union);
        if (actives.len() > 1 && certain) || actives.is_empty() {
            let names: Vec<String> = members().map(host).collect();
            let actives: Vec<String> = actives.into_iter().map(host).collect();
            sim.lab.fail(&format!(
                "{name}: Active of {names:?}: {actives:?}, not one"
            ));
        }
        // Where not all are told of all, an Active elsewhere may hold back
        // the better one.
        for part in union.iter().filter(|_| certain) {
            is_the_right_one(sim, &able, part, &name);
        }
        for active in &actives {
            moves_as_one(sim, active, &name);
        }
        if let ([active], true) = (actives.as_slice(), certain) {
            linked::can_show(sim, &able, &union, active);
            linked::leaves_in_time(sim, members(), active, &name);
        }
        for one in members() {
            priority_is_right(sim, one);
            holds_what_it_should(sim, one, &name);
        }
        linked::pictures_are_right(sim, &able, &union);
    }
}

/// Its mates are Active, too.
fn moves_as_one(sim: &Sim, active: &Able<'_>, name: &str) {
    let host = sim.lab.at(active.host);
    for mate in &active.mates {
        let seen = host.ledger.last.as_ref();
        let state = mate.instance.and_then(|id| seen?.state(id));
        if state != Some(StateName::Active) {
            let (host, mate) = (&host.name, &mate.settings.name);
            let text = format!("{name}: {host} is Active, and {mate} beside it {state:?}");
            sim.lab.fail(&text);
        }
    }
}

/// Of those that hear each other one at most is Active, and the right one.
fn is_the_right_one(sim: &Sim, able: &[Able<'_>], part: &[usize], name: &str) {
    let members = || part.iter().filter_map(|one| able.get(*one));
    let host = |one: &Able<'_>| sim.lab.at(one.host).name.clone();
    let actives: Vec<&Able<'_>> = members().filter(|one| one.active).collect();
    if actives.len() > 1 {
        let actives: Vec<String> = actives.into_iter().map(host).collect();
        sim.lab.fail(&format!(
            "{name}: {actives:?} are Active and hear each other"
        ));
    }
    let Some(active) = actives.first() else {
        return;
    };
    for one in members() {
        let Some(node) = &one.left_to else {
            continue;
        };
        let serves = link::node(active.host);
        if active.instance.is_some() && serves != *node {
            let host = host(one);
            let text = format!("{name}: {host} leaves it to {node}, and {serves} is Active");
            sim.lab.fail(&text);
        }
    }
    let better = members()
        .find(|one| one.preempts && one.left_to.is_none() && one.priority > active.priority);
    if let Some(better) = better {
        let (is, should) = (host(active), host(better));
        sim.lab
            .fail(&format!("{name}: {is} is Active, it should be {should}"));
    }
}

fn holds_what_it_should(sim: &Sim, one: &Able<'_>, name: &str) {
    let host = &sim.lab.at(one.host).name;
    let virtually = one.settings.virtual_mac;
    if virtually && is_up(&sim.lab, one.host, one.settings) != one.active {
        let state = if one.active { "Active" } else { "not Active" };
        let text = format!("{name}: {host} is {state}, unlike its virtual interface");
        sim.lab.fail(&text);
    }
    for address in &one.settings.addresses {
        let address = address.network.addr();
        let there = sim.lab.at(one.host).kernel.holds(address).is_some();
        if there != one.active {
            let has = if there { "has" } else { "lacks" };
            let state = if one.active { "Active" } else { "not Active" };
            sim.lab
                .fail(&format!("{name}: {host} is {state} and {has} {address}"));
        }
        let rules = sim.rules.borrow();
        let told = |id| rules.announced(one.host, id, address);
        if one.active && !one.instance.is_none_or(told) {
            sim.lab
                .fail(&format!("{name}: {host} never announced {address}"));
        }
    }
}

/// What the agent takes its priority for.
fn priority_is_right(sim: &Sim, one: &Able<'_>) {
    let Some(instance) = one.instance else {
        return;
    };
    let host = sim.lab.at(one.host);
    let seen = host.ledger.last.as_ref();
    let seen = seen.and_then(|seen| seen.priority(instance));
    if seen != Some(one.priority) {
        let (name, should) = (&host.name, one.priority);
        sim.lab.fail(&format!(
            "{name} has priority {seen:?}, it should be {should}"
        ));
    }
}

/// Who is not able, and lives, is not Active and has nothing.
pub(super) fn outsiders(sim: &Sim, group: usize) {
    let able = able(sim, group);
    let vrid = sim.cast.groups[group].vrid;
    for id in sim.ids() {
        let host = sim.lab.at(id);
        if !host.runs() || able.iter().any(|one| one.host == id) {
            continue;
        }
        let instances = host.agent.iter().flat_map(|agent| agent.instances());
        for (instance, settings) in instances.filter(|(_, settings)| settings.vrid == vrid) {
            let seen = host.ledger.last.as_ref();
            let state = seen.and_then(|seen| seen.state(instance));
            let mut all = settings.addresses.iter();
            let has = all.any(|address| host.kernel.holds(address.network.addr()).is_some());
            let has = has || is_up(&sim.lab, id, settings);
            let kept = linked::may_keep(sim, group, id);
            if (state == Some(StateName::Active) || has) && !kept {
                let name = &host.name;
                sim.lab.fail(&format!(
                    "{name} cannot serve vrid {vrid} and is {state:?}, has: {has}"
                ));
            }
        }
    }
}
