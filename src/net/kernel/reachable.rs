//! When an IPv6 address begins to answer. The kernel acknowledges an addition
//! first and lets the address in later, from a work queue that waits for the
//! same lock as every other change of the network; whoever announces at the
//! acknowledgement calls clients to a host that is still deaf.

use std::net::Ipv6Addr;
use std::thread;
use std::time::{Duration, Instant};

use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::socket::{RouteError, RouteSocket};

/// Between two looks: the first value, doubled up to the last.
const PAUSE_FIRST: Duration = Duration::from_micros(50);
const PAUSE_LONGEST: Duration = Duration::from_millis(2);
/// For the answer to one question; the kernel gives it while it is asked.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where in a routing message its type stands (linux/rtnetlink.h, rtmsg).
const TYPE_OFFSET: usize = 7;

/// Asks over a socket of its own, opened when it is first needed.
#[derive(Default)]
pub(super) struct Reachability {
    socket: Option<RouteSocket>,
}

impl Reachability {
    /// Waits until a packet for `address` that comes in by the interface with
    /// this index is for this host, but no longer than until `deadline`.
    /// False: it was not, or the kernel would not tell.
    pub fn wait(&mut self, address: Ipv6Addr, index: u32, deadline: Instant) -> bool {
        let mut pause = PAUSE_FIRST;
        loop {
            match self.is_local(address, index) {
                Ok(true) => return true,
                Ok(false) | Err(RouteError::Refused(_)) => {}
                Err(RouteError::Socket(_)) => {
                    self.socket = None;
                    return false;
                }
            }
            if Instant::now() >= deadline {
                return false;
            }
            thread::sleep(pause);
            pause = (pause * 2).min(PAUSE_LONGEST);
        }
    }

    fn is_local(&mut self, address: Ipv6Addr, index: u32) -> Result<bool, RouteError> {
        let socket = match &mut self.socket {
            Some(socket) => socket,
            none => none.insert(RouteSocket::open()?),
        };
        let mut local = false;
        let deadline = Instant::now() + PATIENCE;
        socket.ask(question(address, index), 0, deadline, &mut |kind, route| {
            local |= kind == libc::RTM_NEWROUTE
                && route.get(TYPE_OFFSET) == Some(&u8::from(RouteType::Local));
        })?;
        Ok(local)
    }
}

/// What would become of a packet for `address` that this interface receives.
fn question(address: Ipv6Addr, index: u32) -> RouteNetlinkMessage {
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: AddressFamily::Inet6,
        destination_prefix_length: 128,
        ..RouteHeader::default()
    };
    message.attributes = vec![
        RouteAttribute::Destination(RouteAddress::Inet6(address)),
        RouteAttribute::Iif(index),
    ];
    RouteNetlinkMessage::GetRoute(message)
}
