//! Speaks for a dead agent.

use std::io;

use super::Left;
use crate::agent::values::InterfaceName;
use crate::daemon::effects::is_the_peers;
use crate::net::farewell_socket::FarewellSocket;
use crate::wire::advertisement;

/// Sends priority 0 to the group or to every peer of one instance.
///
/// # Errors
///
/// Why some destination was not told, for people; the others were.
pub fn say(socket: &FarewellSocket, left: &Left) -> Result<(), String> {
    let farewell = left.farewell.as_ref().ok_or("there is no source address")?;
    let interface: InterfaceName = left.interface.parse().map_err(|_| "no such interface")?;
    let mut outcome = Ok(());
    let mut message = Vec::new();
    for destination in &farewell.destinations {
        let sent = match farewell.outgoing(*destination) {
            Some(outgoing) => advertisement::encode(&outgoing, &mut message)
                .map_err(io::Error::other)
                .and_then(|()| socket.send(interface, &message, farewell.source, *destination)),
            None => Err(io::Error::other("no advertisement can say it")),
        };
        match sent {
            Err(error) if !is_the_peers(&error) => outcome = Err(error.to_string()),
            Err(_) | Ok(()) => {}
        }
    }
    outcome
}
