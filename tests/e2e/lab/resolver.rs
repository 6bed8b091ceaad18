//! A client that trusts nothing it has learnt: it deletes its entry for an
//! address, so that it resolves it anew.

use std::net::IpAddr;

use netlink_packet_core::{NLM_F_ACK, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

use super::Host;

pub struct Resolver {
    socket: Socket,
    message: Vec<u8>,
}

impl Resolver {
    pub fn new(client: &Host, address: IpAddr) -> Self {
        let socket = client.namespace.run(|| {
            let mut socket = Socket::new(NETLINK_ROUTE).expect("a netlink socket");
            socket.bind_auto().expect("bound");
            socket.connect(&SocketAddr::new(0, 0)).expect("the kernel");
            socket
        });
        let links = client.namespace.ip_json("-j link show eth0");
        let index = links[0]["ifindex"].as_u64().expect("an index");
        let index = u32::try_from(index).expect("an index");
        Self {
            socket,
            message: deletion(index, address),
        }
    }

    /// Whether there was an entry. What waits for its resolution is thrown
    /// away with it, so nothing may be under way.
    pub fn forget(&self) -> bool {
        self.socket.send(&self.message, 0).expect("sent");
        let mut answer = Vec::with_capacity(1024);
        self.socket.recv(&mut answer, 0).expect("answered");
        answer.get(16..20).is_some_and(|code| code == [0; 4])
    }
}

fn deletion(index: u32, address: IpAddr) -> Vec<u8> {
    let mut entry = NeighbourMessage::default();
    entry.header.ifindex = index;
    let destination = match address {
        IpAddr::V4(v4) => {
            entry.header.family = AddressFamily::Inet;
            NeighbourAddress::Inet(v4)
        }
        IpAddr::V6(v6) => {
            entry.header.family = AddressFamily::Inet6;
            NeighbourAddress::Inet6(v6)
        }
    };
    entry
        .attributes
        .push(NeighbourAttribute::Destination(destination));
    let payload = NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelNeighbour(entry));
    let mut message = NetlinkMessage::new(Default::default(), payload);
    message.header.flags = NLM_F_REQUEST | NLM_F_ACK;
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}
