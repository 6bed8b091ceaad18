//! Wall clocks that are set, and an attacker on the segment: what he recorded
//! comes again, and he forges what he cannot sign.

use std::time::Duration;

use vipward::agent::seal::{KIND_HMAC, Sequence};

use crate::auth::is_enforced;
use crate::bounds::Bounds;
use crate::cast::source;
use crate::dice::Dice;
use crate::fault::Fault;
use crate::kit::wire::Sealed;
use crate::kit::{HostId, Packet};
use crate::plan::{Deed, Phase, Planner};
use crate::sim::Sim;

/// Seconds by which a clock is wrong. Two hosts differ by less than the
/// shortest window, or by far more than the longest.
const OFF: [i64; 10] = [1, -1, 2, -2, 90, -90, 600, -600, 3600, -3600];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attack {
    /// Some of the newest captures.
    Fresh,
    Any,
    /// Some of the oldest ones.
    Old,
    /// Many, in the order in which they were recorded.
    Train,
    /// Priority 0 or 255 with a seal that is none.
    BadSeal,
    Unsealed,
    /// A capture of one virtual router, sent to another.
    OtherRouter,
}

const ATTACKS: [Attack; 7] = [
    Attack::Fresh,
    Attack::Any,
    Attack::Old,
    Attack::Train,
    Attack::BadSeal,
    Attack::Unsealed,
    Attack::OtherRouter,
];

impl Planner<'_> {
    /// A moment at which the hosts should have agreed.
    fn calm(&self, dice: &mut Dice, phase: Phase) -> Duration {
        let unit = self.cast.unit;
        let agreed = phase.to + Bounds::of(self.cast).agreement;
        dice.span(agreed + unit, agreed + unit * 3)
    }

    pub fn clocks(&mut self, dice: &mut Dice, phase: Phase) {
        for _ in 0..dice.between(1, 3) {
            let host = dice.index(self.hosts);
            let (from, back) = self.lasting(dice, phase);
            let step = Deed::Clock(host, dice.pick(&OFF));
            if dice.chance(40) {
                // While its agent is dead.
                let up = dice.span(from, phase.to);
                let how = [Deed::Kill(host), Deed::PowerOff(host), Deed::Stop(host)];
                let how = how.get(dice.index(3)).cloned().expect("one of three");
                let step_at = dice.span(from, up);
                self.at(from, how);
                self.at(step_at, step);
                self.at(up, Deed::Start(host));
            } else if dice.chance(40) {
                let at = self.calm(dice, phase);
                self.at(at, step);
            } else {
                self.at(from, step);
            }
            if let Some(back) = back.filter(|_| dice.chance(80)) {
                self.at(back.max(phase.to), Deed::Clock(host, 0));
            }
        }
    }

    pub fn attacks(&mut self, dice: &mut Dice, phase: Phase) {
        for _ in 0..dice.between(2, 6) {
            let (within, _) = self.within(dice, phase);
            let calm = self.calm(dice, phase);
            let at = if dice.chance(60) { within } else { calm };
            let deed = Deed::Attack(dice.pick(&ATTACKS), dice.below(u64::MAX));
            self.at(at, deed);
        }
    }
}

impl Sim {
    /// Whether hosts may move because of it. What is forged, or old, moves
    /// nobody; a clock only those who look at it.
    pub fn disturbed_until(&self, deed: &Deed) -> Option<Duration> {
        match deed {
            Deed::Attack(..) => None,
            Deed::Clock(..) => self.cast.window(),
            _ => Some(Duration::ZERO),
        }
    }

    pub fn attack(&mut self, attack: Attack, seed: u64) {
        let mut dice = Dice::new(seed, "attack");
        for packet in self.made(attack, &mut dice) {
            self.lab.attack(&packet);
        }
    }

    fn made(&self, attack: Attack, dice: &mut Dice) -> Vec<Packet> {
        let all = self.lab.attacker.iter().flat_map(|known| known.captures());
        let all: Vec<&Packet> = all
            .map(|packet| &**packet)
            .filter(|packet| packet.sealed.is_some())
            .collect();
        let picked = |dice: &mut Dice, from: usize, to: usize| -> Vec<Packet> {
            let count = if to > from { dice.between(1, 5) } else { 0 };
            let some = (0..count).filter_map(|_| all.get(from + dice.index(to - from)));
            some.map(|packet| (*packet).clone()).collect()
        };
        let length = all.len();
        match attack {
            Attack::Fresh => picked(dice, length.saturating_sub(10), length),
            Attack::Any => picked(dice, 0, length),
            Attack::Old => picked(dice, 0, length.min(10)),
            Attack::Train => {
                let from = dice.index(length);
                let train = all.iter().skip(from).take(30);
                train.map(|packet| (*packet).clone()).collect()
            }
            Attack::OtherRouter => {
                let groups = self.cast.groups.iter();
                let groups = groups.filter(|group| group.auth.is_some());
                let vrids: Vec<u8> = groups.map(|group| group.vrid.get()).collect();
                let mut moved = picked(dice, 0, length);
                for packet in &mut moved {
                    let vrid = dice.pick(&vrids);
                    if let Some(seal) = &mut packet.sealed {
                        seal.genuine &= vrid == packet.vrid;
                    }
                    packet.vrid = vrid;
                }
                moved
            }
            Attack::BadSeal => self.forged(dice, true),
            Attack::Unsealed => self.forged(dice, false),
        }
    }

    fn forged(&self, dice: &mut Dice, sealed: bool) -> Vec<Packet> {
        let (group, host) = (
            dice.index(self.cast.groups.len()),
            dice.index(self.hosts.len()),
        );
        let off = dice.pick(&[0, 0, 3600]);
        let priority = dice.pick(&[0, 255, 255]);
        let members = self.cast.settings.iter();
        let members = members.filter_map(|host| host.instances.get(group));
        let settings = self.cast.settings[host].instances.get(group);
        let Some(settings) = settings.filter(|settings| {
            let known = crate::kit::signing::hmac(settings).is_some();
            known && (sealed || is_enforced(members))
        }) else {
            return Vec::new();
        };
        let number = self.lab.at(HostId(host)).number;
        let mut packet = Packet::advert(settings, source(settings, number), priority);
        let now = self.lab.wall(HostId(host)).expect("it has a clock");
        packet.sealed = sealed.then(|| Sealed {
            kind: KIND_HMAC,
            key: 1,
            sequence: Sequence::plus(now, Duration::from_secs(off)),
            genuine: false,
            our_clock: now,
        });
        if settings.unicast_peers.is_empty() {
            return vec![packet];
        }
        let peers = settings.unicast_peers.iter();
        peers
            .map(|peer| Packet {
                destination: *peer,
                ..packet.clone()
            })
            .collect()
    }

    /// For those who have or hear them.
    pub fn prepare_clocks(&mut self) {
        if !self.cast.is_authenticated() {
            return;
        }
        for id in self.ids() {
            self.lab.give_clock(id);
        }
        if self.cast.faults.has(Fault::Replay) {
            self.lab.attacker = Some(Default::default());
        }
    }
}
