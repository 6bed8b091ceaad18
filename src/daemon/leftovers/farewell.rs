//! Speaks for a dead agent.

use std::io;

use std::fs::File;
use std::time::Duration;

use super::memory::{self, Numbers};
use super::{Left, LeftSeal};
use crate::agent::seal::Sequence;
use crate::agent::values::InterfaceName;
use crate::daemon::effects::is_the_peers;
use crate::daemon::signing::clock;
use crate::net::farewell_socket::FarewellSocket;
use crate::wire::advertisement;
use crate::wire::authentication::{Key, Signature};

/// Who has the dead agent's keys, and the numbers it gave last.
pub struct Signer<'m> {
    memory: Option<&'m File>,
    /// Nothing where it gave none.
    numbers: Option<Numbers>,
}

impl<'m> Signer<'m> {
    pub fn new(memory: &'m File) -> Self {
        Self {
            memory: Some(memory),
            numbers: memory::numbers(memory),
        }
    }

    /// Where agent and guardian are both dead, their keys are gone: then no
    /// farewell that must be signed can be.
    pub fn without_keys() -> Self {
        Self {
            memory: None,
            numbers: None,
        }
    }

    /// For one farewell to all its destinations.
    fn seal(&mut self, seal: &LeftSeal) -> Result<(Key, u8, Sequence), String> {
        let memory = self.memory.ok_or(
            "it must be signed, and the keys died with the agent and its guardian; peers wait \
             until their patience ends",
        )?;
        let bytes = memory::key(memory, seal.slot)?;
        let key = Key::new(&bytes).map_err(|error| error.to_string())?;
        let now = clock();
        let numbers = self.numbers.get_or_insert(Numbers {
            monotonic: now,
            time: now,
        });
        let sequence = match seal.by_time_ms {
            Some(window) => numbers.next_by_time(now, Duration::from_millis(window)),
            None => {
                numbers.monotonic = numbers.monotonic.after(now);
                numbers.monotonic
            }
        };
        Ok((key, seal.key, sequence))
    }
}

/// Sends priority 0 to the group or to every peer of one instance.
///
/// # Errors
///
/// Why some destination was not told, for people; the others were.
pub fn say(socket: &FarewellSocket, left: &Left, signer: &mut Signer<'_>) -> Result<(), String> {
    let farewell = left.farewell.as_ref().ok_or("there is no source address")?;
    let interface: InterfaceName = left.interface.parse().map_err(|_| "no such interface")?;
    let sealed = farewell.seal.as_ref().map(|seal| signer.seal(seal));
    let sealed = sealed.transpose()?;
    let signature = sealed.as_ref().map(|(key, key_id, sequence)| Signature {
        key,
        key_id: *key_id,
        sequence: *sequence,
    });
    let mut outcome = Ok(());
    let mut message = Vec::new();
    for destination in &farewell.destinations {
        let sent = match farewell.outgoing(*destination, signature) {
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
