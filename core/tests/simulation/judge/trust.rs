//! Where it is certain who believes whom. Elsewhere (clocks differ that must
//! agree, by the mode or because a sender was never heard) nothing is demanded
//! of the hosts together; and once it is certain, they have time to agree.

use super::*;

pub(super) fn is_certain(sim: &Sim, from: &Face<'_>, to: &Face<'_>) -> bool {
    let Some(receiver) = to.instance else {
        return true;
    };
    let rules = sim.rules.borrow();
    let sender = (from.host, from.settings);
    let receiver = (to.host, receiver, to.settings);
    rules.trust.is_certain(&sim.lab, sender, receiver)
}

/// Whoever begins to be believed may change something by that.
pub(super) fn look(sim: &mut Sim, moved: bool) {
    let now = sim.lab.now();
    let soon = now.since(sim.judge.trust_at) < sim.cast.unit / 8;
    if !sim.cast.is_authenticated() || soon && !moved && !sim.judge.dirty {
        return;
    }
    let mut trust = BTreeSet::new();
    for group in 0..sim.cast.groups.len() {
        let able = able(sim, group);
        for (from, to) in able
            .iter()
            .flat_map(|one| able.iter().map(move |to| (one, to)))
        {
            if from.host != to.host && is_certain(sim, &from.face(), &to.face()) {
                trust.insert((group, from.host, to.host));
            }
        }
    }
    if !trust.is_subset(&sim.judge.trust) {
        sim.disturbed = sim.disturbed.max(now);
        sim.judge.dirty = true;
    }
    sim.judge.trust = trust;
    sim.judge.trust_at = now;
}
