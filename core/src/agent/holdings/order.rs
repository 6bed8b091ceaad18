//! In which form the kernel is told of an address.

use std::net::IpAddr;

use super::Holding;
use crate::agent::action::AddressOrder;
use crate::agent::event::InterfaceState;
use crate::agent::world::World;

impl Holding {
    /// An address whose subnet the interface has already becomes a host
    /// address without a route; otherwise it brings the subnet with it, and
    /// its removal must not take others along (PROTOCOL section 5).
    /// One that stands there already is taken as it stands.
    pub(super) fn order_for(&self, state: &InterfaceState, world: &World) -> AddressOrder {
        if let Some(order) = self.as_found(state) {
            return order;
        }
        // Its subnet is the parent's where it stands above one: the host's own
        // packets go on leaving by that.
        let below = world.interface(self.settings.interface);
        let below = below.and_then(|known| known.state.as_ref());
        let below = below.filter(|_| self.place != self.settings.interface);
        let network = self.settings.network;
        let address = network.addr();
        let host_length = network.max_prefix_len();
        let near = below.into_iter().chain([state]);
        // A link-local address is reached by its own interface only.
        let near = near.filter(|_| below.is_none() || !is_link_local(address));
        let subnet_is_there = near.flat_map(|state| &state.addresses).any(|own| {
            let own = own.network;
            own.addr() != address
                && own.prefix_len() < host_length
                && own.contains(&address)
                && !world.is_virtual(own.addr())
        });
        let narrowed = subnet_is_there && network.prefix_len() < host_length;
        let host = ipnet::IpNet::from(address);
        AddressOrder {
            instance: self.instance,
            address: self.index,
            interface: self.place,
            network: if narrowed { host } else { network },
            no_prefix_route: narrowed,
            promote_secondaries: address.is_ipv4()
                && !narrowed
                && network.prefix_len() < host_length,
            label: self.settings.label.clone(),
            source_address: self.settings.source_address,
            lease: None,
            lingers: false,
        }
    }

    /// What a dead agent of ours left, as it stands on the interface.
    pub(super) fn leftover(&self, world: &World) -> Option<AddressOrder> {
        let state = world.interface(self.place)?.state.as_ref()?;
        self.as_found(state)
    }

    /// The order that fits the address as it stands on the interface. It may
    /// be the primary of its subnet, with the host's own in its shadow.
    fn as_found(&self, state: &InterfaceState) -> Option<AddressOrder> {
        let wanted = self.settings.network.addr();
        let same = state.addresses.iter();
        let same = same.filter(|address| address.network.addr() == wanted);
        let found = same.min_by_key(|address| address.ours == self.belongs_to_host)?;
        let network = found.network;
        let leads = network.addr().is_ipv4() && network.prefix_len() < network.max_prefix_len();
        Some(AddressOrder {
            instance: self.instance,
            address: self.index,
            interface: self.place,
            network,
            no_prefix_route: false,
            promote_secondaries: leads && !self.belongs_to_host,
            label: self.settings.label.clone(),
            source_address: self.settings.source_address,
            lease: None,
            lingers: false,
        })
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}
