//! Who claims which address on the segment: announcements, and the answers of
//! kernels, which know nothing of elections.

use std::net::IpAddr;

use vipward::agent::event::Claim;
use vipward::agent::values::{InstanceId, InterfaceName, MacAddress};

use super::settings::ip;
use super::{Coming, HostId, Input, Lab};

impl Input {
    /// Somebody announces an address.
    pub fn announcement(interface: &str, address: &str, hardware_address: MacAddress) -> Self {
        let claim = Claim {
            address: ip(address),
            hardware_address,
            solicited: false,
        };
        Input::Claim {
            interface: super::settings::interface(interface),
            claim,
        }
    }
}

impl Lab {
    /// A host announces an address.
    pub(super) fn claim(&mut self, id: HostId, interface: InterfaceName, address: IpAddr) {
        let segment = self.at(id).kernel.segment(interface);
        let input = self.claimed(id, (interface, segment), address, false);
        self.transmit(id, segment, |_| Some(input.clone()));
    }

    fn claimed(
        &self,
        by: HostId,
        (interface, segment): (InterfaceName, InterfaceName),
        address: IpAddr,
        solicited: bool,
    ) -> Input {
        let hardware_address = self.at(by).kernel.mac(interface);
        let claim = Claim {
            address,
            hardware_address,
            solicited,
        };
        Input::Claim {
            interface: segment,
            claim,
        }
    }

    /// A host asks who else has an address.
    pub(super) fn probe(&mut self, id: HostId, instance: InstanceId, address: IpAddr) {
        let Some(interface) = self.settings_of(id, instance).map(|known| known.interface) else {
            return;
        };
        self.carry(id, interface, |receiver| {
            let has = receiver.kernel.holds(address) == Some(interface);
            has.then_some(Coming::Question(id, interface, address))
        });
    }

    /// The kernel answers, be its agent asleep or dead.
    pub(super) fn asked(
        &mut self,
        id: HostId,
        by: HostId,
        interface: InterfaceName,
        address: IpAddr,
    ) {
        let host = self.at(id);
        let holds = host.kernel.holds(address);
        let holds = holds.filter(|on| host.kernel.segment(*on) == interface);
        if let Some(on) = holds.filter(|_| host.powered) {
            let answer = self.claimed(id, (on, interface), address, true);
            let number = self.at(by).number;
            self.transmit(id, interface, |receiver| {
                (receiver.number == number).then(|| answer.clone())
            });
        }
    }
}
