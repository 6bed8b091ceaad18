//! Somebody on the segment who hears every advertisement, keeps it, and sends
//! what he likes; the key he does not have.

use std::rc::Rc;

use super::{Coming, HostId, Input, Lab, Packet};

/// So many captures are kept; then every second one is let go, so that old
/// ones remain.
const CAPTURES_MAX: usize = 2_048;

#[derive(Debug, Default)]
pub struct Attacker {
    captures: Vec<Rc<Packet>>,
}

impl Attacker {
    pub(super) fn hear(&mut self, packet: &Rc<Packet>) {
        if self.captures.len() >= CAPTURES_MAX {
            let mut place = 0;
            self.captures.retain(|_| {
                place += 1;
                place % 2 == 1
            });
        }
        self.captures.push(packet.clone());
    }

    /// In the order in which they were sent.
    pub fn captures(&self) -> &[Rc<Packet>] {
        &self.captures
    }
}

impl Lab {
    pub(super) fn overhear(&mut self, packet: &Rc<Packet>) {
        if let Some(attacker) = &mut self.attacker {
            attacker.hear(packet);
        }
    }

    /// Every host of the segment hears it, one wire delay from now.
    pub fn attack(&mut self, packet: &Packet) {
        let packet = Rc::new(Packet {
            attack: true,
            ..packet.clone()
        });
        let name = packet.interface;
        for to in (0..self.hosts.len()).map(HostId) {
            let host = self.at(to);
            let up = host.kernel.state(name).is_some_and(|state| state.up);
            let there = packet.destination.is_multicast()
                || host.kernel.holds(packet.destination) == Some(name);
            if host.powered && up && there {
                let news = Coming::News(host.generation, Input::Packet(packet.clone()));
                self.later(self.wire.delay, to, news);
            }
        }
    }
}
