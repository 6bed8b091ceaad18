//! What must hold between the hosts: nobody holds an address twice for long,
//! and wherever nothing was disturbed for the stated bound, the hosts of each
//! connected part agree on the Active that the rules name, and nothing moves.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use vipward::agent::settings::{InstanceSettings, Preempt};
use vipward::agent::status::StateName;
use vipward::agent::time::Instant;
use vipward::agent::values::{InstanceId, NodeName};

use crate::bounds::Bounds;
use crate::cast::Cast;
use crate::kit::{HostId, START};
use crate::plan::Health;
use crate::sim::Sim;

mod agreement;
mod linked;
mod trust;

use agreement::{agreement, hears, outsiders};

#[derive(Debug)]
pub struct Judge {
    /// Every address that moves.
    addresses: Vec<IpAddr>,
    /// Two hosts hold an address since then.
    doubles: BTreeMap<(IpAddr, HostId, HostId), Instant>,
    /// How many addresses each host had.
    counts: Vec<usize>,
    /// Since when each host's agent does not run.
    silent: Vec<Option<Instant>>,
    /// When this was done last.
    last: Instant,
    /// Something may be different than it was.
    pub dirty: bool,
    /// The last look found everything agreed, since then.
    agreed: bool,
    /// Who was certain to believe whom.
    trust: BTreeSet<(usize, HostId, HostId)>,
    /// When that was looked at.
    trust_at: Instant,
    /// How often the hosts were found to agree.
    pub agreements: u64,
}

impl Judge {
    pub fn new(cast: &Cast) -> Self {
        let instances = cast.settings.iter().flat_map(|host| &host.instances);
        let listed = instances.flat_map(|instance| &instance.addresses);
        let mut addresses: Vec<IpAddr> = listed.map(|address| address.network.addr()).collect();
        addresses.sort_unstable();
        addresses.dedup();
        Self {
            addresses,
            doubles: BTreeMap::new(),
            counts: vec![0; cast.settings.len()],
            silent: vec![None; cast.settings.len()],
            last: START,
            dirty: true,
            agreed: false,
            trust: BTreeSet::new(),
            trust_at: START,
            agreements: 0,
        }
    }
}

/// One host that is able to serve a group.
struct Able<'a> {
    host: HostId,
    settings: &'a InstanceSettings,
    /// Absent for another program.
    instance: Option<InstanceId>,
    active: bool,
    priority: u8,
    preempts: bool,
    /// A check warns: it preempts nobody, and hands over if it can.
    warned: bool,
    /// It was handed over to this node, which it does not preempt.
    left_to: Option<NodeName>,
    /// Its mates, where it moves together with others.
    mates: Vec<Face<'a>>,
}

/// One instance, as others hear it.
#[derive(Clone, Copy)]
struct Face<'a> {
    host: HostId,
    settings: &'a InstanceSettings,
    /// Absent for another program.
    instance: Option<InstanceId>,
}

impl<'a> Able<'a> {
    fn face(&self) -> Face<'a> {
        Face {
            host: self.host,
            settings: self.settings,
            instance: self.instance,
        }
    }

    /// Its own, and its mates'.
    fn faces(&self) -> impl Iterator<Item = Face<'a>> {
        std::iter::once(self.face()).chain(self.mates.iter().copied())
    }
}

/// After every step.
pub fn judge(sim: &mut Sim) {
    let moved = !sim.rules.borrow().moves.is_empty();
    trust::look(sim, moved);
    let mut held = false;
    for (host, count) in sim.lab.hosts.iter().zip(&mut sim.judge.counts) {
        let all = host.kernel.interfaces.values();
        let now = all.map(|known| known.state.addresses.len()).sum();
        held |= std::mem::replace(count, now) != now;
    }
    let since = std::mem::replace(&mut sim.judge.last, sim.lab.now());
    let mut fates = sim.hosts.iter();
    let able_again =
        fates.any(|fate| since < fate.removes_from && fate.removes_from <= sim.lab.now());
    if held || sim.judge.dirty || able_again {
        find_doubles(sim);
    }
    doubles_end(sim);
    outlived(sim);
    let calm = sim.lab.now().since(sim.disturbed) > sim.bounds.agreement && is_calm(sim);
    if !calm {
        sim.judge.agreed = false;
        sim.judge.dirty = false;
        sim.rules.borrow_mut().moves.clear();
        return;
    }
    if sim.judge.agreed && moved {
        nobody_moves(sim);
    }
    sim.rules.borrow_mut().moves.clear();
    if moved || held || sim.judge.dirty || !sim.judge.agreed {
        for group in 0..sim.cast.groups.len() {
            agreement(sim, group);
            outsiders(sim, group);
        }
        sim.judge.agreed = true;
        sim.judge.agreements += 1;
    }
    sim.judge.dirty = false;
}

/// Nothing disturbs that would go on disturbing.
fn is_calm(sim: &Sim) -> bool {
    let hosts = sim.hosts.iter();
    let away = |fate: &&crate::sim::Fate| {
        let away = fate.health.contains(&Health::Away);
        let hooks = fate.hooks != Health::Well || fate.apart;
        let mute = fate.mute || fate.mute_on.is_some();
        let refuses = fate.refuses_add || fate.refuses_removal || fate.refuses_interfaces;
        mute || refuses || away || hooks
    };
    !sim.weather.borrow().lossy() && hosts.filter(away).count() == 0
}

/// In a calm, connected part nothing changes hands.
fn nobody_moves(sim: &Sim) {
    let rules = sim.rules.borrow();
    for change in &rules.moves {
        let all = sim.lab.at(change.host).agent.iter();
        let all = all.flat_map(|agent| agent.instances());
        let name = all
            .filter(|(id, _)| *id == change.instance)
            .map(|(_, settings)| (settings.name.clone(), settings.vrid))
            .next();
        let Some((name, vrid)) = name else {
            continue;
        };
        let group = sim.cast.groups.iter().position(|group| group.vrid == vrid);
        let able = able(sim, group.expect("a group"));
        if linked::is_settled(sim, &able, change.host) {
            let host = &sim.lab.at(change.host).name;
            let (from, to) = (change.from, change.to);
            let text = format!("{host} {name} went from {from} to {to} for no reason");
            sim.lab.fail(&text);
        }
    }
}

/// The hosts that can serve a group, by what is true and not by what their
/// agents say. One that cannot serve all that move together can serve none.
fn able(sim: &Sim, group: usize) -> Vec<Able<'_>> {
    let mut all = able_alone(sim, group);
    for mate in sim.cast.with(group) {
        if mate == group {
            continue;
        }
        let theirs = able_alone(sim, mate);
        all.retain_mut(|one| {
            if sim.hosts[one.host.0].apart {
                return true;
            }
            let same = theirs.iter().find(|other| other.host == one.host);
            one.mates.extend(same.map(Able::face));
            if let Some(same) = same {
                one.preempts &= same.preempts;
                one.warned |= same.warned;
            }
            same.is_some()
        });
    }
    for one in &mut all {
        if one.instance.is_some() {
            one.priority = sim.effective(one.host, one.faces().map(|face| face.settings));
        }
    }
    all
}

fn able_alone(sim: &Sim, group: usize) -> Vec<Able<'_>> {
    let vrid = sim.cast.groups[group].vrid;
    let mut all = Vec::new();
    for id in sim.ids() {
        let (host, fate) = (sim.lab.at(id), &sim.hosts[id.0]);
        if !host.powered || host.paused || fate.stopping.is_some() || fate.mute {
            continue;
        }
        let link = |settings: &InstanceSettings| {
            let state = host.kernel.interfaces.get(&settings.interface);
            let mute = fate.mute_on == Some(settings.interface);
            state.is_some_and(|known| known.state.up) && !mute
        };
        if let Some(foreign) = &host.foreign {
            let settings = fate.wanted.instances.get(group).expect("of each host");
            if link(settings) {
                all.push(Able {
                    host: id,
                    settings,
                    instance: None,
                    active: foreign.is_active(vrid.get()),
                    priority: settings.priority.get(),
                    preempts: true,
                    warned: false,
                    left_to: None,
                    mates: Vec::new(),
                });
            }
            continue;
        }
        let instances = host.agent.iter().flat_map(|agent| agent.instances());
        let mut ours = instances.filter(|(_, settings)| settings.vrid == vrid);
        let Some((instance, settings)) = ours.next() else {
            continue;
        };
        if fate.absent.contains(&group) || !link(settings) || !sim.is_well(id, settings) {
            continue;
        }
        let seen = host.ledger.last.as_ref();
        let state = seen.and_then(|seen| seen.state(instance));
        if state == Some(StateName::Drained) {
            continue;
        }
        let left_to = sim.rules.borrow().left_to(id, instance);
        all.push(Able {
            host: id,
            settings,
            instance: Some(instance),
            active: state == Some(StateName::Active),
            priority: settings.priority.get(),
            preempts: (settings.preempt != Preempt::Never || settings.priority.is_owner())
                && !sim.is_warned(id, settings),
            warned: sim.is_warned(id, settings),
            left_to,
            mates: Vec::new(),
        });
    }
    all
}

/// The kernel takes leased addresses from an agent that died or stands still.
fn outlived(sim: &mut Sim) {
    let now = sim.lab.now();
    for id in sim.ids() {
        let host = sim.lab.at(id);
        let silent = host.powered && !host.runs() && host.foreign.is_none();
        let Some(since) = sim.judge.silent.get_mut(id.0) else {
            continue;
        };
        if !silent {
            *since = None;
            continue;
        }
        let since = *since.get_or_insert(now);
        for group in &sim.cast.groups {
            let Some(lease) = group.lease else {
                continue;
            };
            // What was ordered before may be carried out after.
            let orders = Bounds::kernel_max(sim.cast.unit) * 8;
            if now.since(since) <= lease.as_duration() + orders {
                continue;
            }
            for address in &group.addresses {
                let address = address.network.addr();
                if host.kernel.may_be_ours(address) && host.kernel.marks {
                    let name = &host.name;
                    sim.lab
                        .fail(&format!("{name}: {address} outlives its agent's lease"));
                }
            }
        }
    }
}

/// Which pairs hold one address although they hear each other.
fn find_doubles(sim: &mut Sim) {
    let mut found = Vec::new();
    let lossy = sim.weather.borrow().lossy();
    for address in &sim.judge.addresses {
        let holders: Vec<HostId> = sim
            .ids()
            .filter(|id| sim.lab.at(*id).kernel.holds(*address).is_some())
            .collect();
        for (n, one) in holders.iter().enumerate() {
            for other in holders.iter().skip(n + 1) {
                if !lossy && are_connected(sim, *address, *one, *other) {
                    found.push((*address, *one, *other));
                }
            }
        }
    }
    let now = sim.lab.now();
    let before = std::mem::take(&mut sim.judge.doubles);
    for key in found {
        let since = before.get(&key).copied().unwrap_or(now);
        sim.judge.doubles.insert(key, since);
    }
}

/// Both live, and each hears the other about the instance of this address.
fn are_connected(sim: &Sim, address: IpAddr, one: HostId, other: HostId) -> bool {
    let mut groups = 0..sim.cast.groups.len();
    let group = groups.find(|group| {
        let mut all = sim
            .hosts
            .iter()
            .flat_map(|fate| fate.wanted.instances.get(*group));
        all.any(|instance| {
            let mut all = instance.addresses.iter();
            all.any(|known| known.network.addr() == address)
        })
    });
    let Some(group) = group else {
        return false;
    };
    let able = able(sim, group);
    let find = |id| able.iter().find(|known| known.host == id);
    let (Some(one), Some(other)) = (find(one), find(other)) else {
        return false;
    };
    let refuses = |able: &Able<'_>| {
        let fate = &sim.hosts[able.host.0];
        fate.refuses_removal || sim.lab.now() < fate.removes_from
    };
    hears(sim, one, other) && hears(sim, other, one) && !refuses(one) && !refuses(other)
}

fn doubles_end(sim: &Sim) {
    let now = sim.lab.now();
    for ((address, one, other), since) in &sim.judge.doubles {
        let span = now.since(*since);
        if span > sim.bounds.double {
            let name = |id: &HostId| &sim.lab.at(*id).name;
            let (one, other) = (name(one), name(other));
            sim.lab.fail(&format!(
                "{one} and {other} both have {address} for {span:?}"
            ));
        }
    }
}
