//! A host that runs another program than ours.

use std::fmt::Debug;

use ipnet::IpNet;
use vipward::agent::time::Instant;
use vipward::agent::values::InterfaceName;

use super::{Host, HostId, Input, Lab, Packet, What};

/// What another program does, in order.
#[derive(Clone, Debug)]
pub enum Deed {
    Send(Packet),
    Announce(InterfaceName, IpNet),
    Add(InterfaceName, IpNet),
    Remove(InterfaceName, IpNet),
}

/// A program with rules of its own.
pub trait Foreign: Debug {
    fn hear(&mut self, now: Instant, packet: &Packet) -> Vec<Deed>;
    fn wake(&mut self, now: Instant) -> Vec<Deed>;
    fn link(&mut self, now: Instant, interface: InterfaceName, up: bool) -> Vec<Deed>;
    /// Told to end: its last words.
    fn stop(&mut self) -> Vec<Deed>;
    fn deadline(&self) -> Option<Instant>;
    /// Whether it is Active for this VRID.
    fn is_active(&self, vrid: u8) -> bool;
}

impl Lab {
    /// Tells another program what it listens to.
    pub(super) fn feed_foreign(&mut self, id: HostId, input: &Input) {
        let now = self.local(id);
        let Some(mut foreign) = self.at_mut(id).foreign.take() else {
            return;
        };
        let deeds = match input {
            Input::Packet(packet) => foreign.hear(now, packet),
            Input::Wake => foreign.wake(now),
            Input::Interface { interface, state } => {
                let up = state.as_ref().is_some_and(|state| state.up);
                foreign.link(now, *interface, up)
            }
            _ => Vec::new(),
        };
        self.at_mut(id).foreign = Some(foreign);
        if !matches!(input, Input::Claim { .. }) {
            self.note(id, || What::Got(input.words()));
        }
        for deed in deeds {
            self.foreign_deed(id, deed);
        }
    }

    pub fn foreign_deed(&mut self, id: HostId, deed: Deed) {
        let text = match &deed {
            Deed::Send(packet) => format!("  -> advert priority {}", packet.priority),
            Deed::Announce(_, network) => format!("  -> announce {}", network.addr()),
            Deed::Add(_, network) => format!("  -> add {network}"),
            Deed::Remove(_, network) => format!("  -> remove {network}"),
        };
        self.note(id, || What::Got(text));
        match deed {
            Deed::Send(packet) => {
                let (interface, to) = (packet.interface, packet.destination);
                let packet = std::rc::Rc::new(packet);
                let multicast = to.is_multicast();
                let deaf = self.wire.deaf_to(id);
                self.transmit(id, interface, |receiver: &Host| {
                    let there = multicast || receiver.kernel.holds(to) == Some(interface);
                    let hears = !deaf.contains(&usize::from(receiver.number));
                    (there && hears).then(|| Input::Packet(packet.clone()))
                });
            }
            Deed::Announce(interface, network) => {
                self.claim(id, interface, network.addr());
            }
            Deed::Add(interface, network) => {
                self.at_mut(id).kernel.hold(interface, network);
            }
            Deed::Remove(interface, network) => {
                self.at_mut(id).kernel.delete(interface, network);
            }
        }
    }
}
