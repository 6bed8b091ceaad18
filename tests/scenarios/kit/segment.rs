//! What leaves a host, and whom on the segment it reaches.

use std::net::IpAddr;
use std::rc::Rc;

use vipward::agent::values::{InstanceId, InterfaceName};

use super::{Coming, Host, HostId, Input, Lab, Packet};

impl Lab {
    pub(super) fn send(&mut self, id: HostId, instance: InstanceId, source: IpAddr, priority: u8) {
        let Some(settings) = self.settings_of(id, instance).cloned() else {
            return;
        };
        let mut packet = Packet::advert(&settings, source, priority);
        packet.sealed = self.seal(id, &settings);
        if self.wire.eats_adverts {
            return;
        }
        let deaf = self.wire.deaf_to(id);
        let deaf = |receiver: &Host| deaf.contains(&usize::from(receiver.number));
        if settings.unicast_peers.is_empty() {
            let packet = Rc::new(packet);
            self.overhear(&packet);
            self.transmit(id, settings.interface, |receiver| {
                (!deaf(receiver)).then(|| Input::Packet(packet.clone()))
            });
            return;
        }
        for peer in settings.unicast_peers {
            let mut packet = packet.clone();
            packet.destination = peer;
            let packet = Rc::new(packet);
            self.overhear(&packet);
            self.transmit(id, settings.interface, |receiver| {
                let there = receiver.kernel.holds(peer) == Some(packet.interface);
                (there && !deaf(receiver)).then(|| Input::Packet(packet.clone()))
            });
        }
    }

    /// Puts something on the segment; every other host whose link is up may
    /// get it, one wire delay later.
    pub(super) fn transmit(
        &mut self,
        from: HostId,
        interface: InterfaceName,
        for_whom: impl Fn(&Host) -> Option<Input>,
    ) {
        self.carry(from, interface, |receiver| {
            for_whom(receiver).map(|input| Coming::News(receiver.generation, input))
        });
    }

    /// The same for what a kernel, too, may take.
    pub(super) fn carry(
        &mut self,
        from: HostId,
        interface: InterfaceName,
        for_whom: impl Fn(&Host) -> Option<Coming>,
    ) {
        let up = |host: &Host| {
            let state = host.kernel.state(interface);
            host.powered && state.is_some_and(|state| state.up)
        };
        if !up(self.at(from)) {
            return;
        }
        for to in (0..self.hosts.len()).map(HostId) {
            let receiver = self.at(to);
            let cut = self.wire.is_cut_on(interface, from, to);
            if to == from || cut || !up(receiver) {
                continue;
            }
            if let Some(coming) = for_whom(receiver) {
                for delay in self.wire.fate(from, to, self.now).into_iter().flatten() {
                    self.later(delay, to, coming.clone());
                }
            }
        }
    }
}
