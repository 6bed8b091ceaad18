//! Keeps the parent of a virtual interface from speaking for its addresses.
//! Linux answers ARP for any address of the host on any interface, and asks in
//! the name of the address that it answers for; both would tell neighbours the
//! parent's hardware address instead of the virtual one. The parent's sysctls
//! are its administrator's, so what it sends is filtered instead, in a table of
//! our own that goes with this agent.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use nix::errno::Errno;

use super::nft::{Batch, transact};
use super::request::read_setting;
use super::socket::{Refusal, RouteError, RouteSocket};
use crate::agent::values::InterfaceName;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Guard {
    pub parent: InterfaceName,
    pub parent_index: u32,
    pub addresses: Vec<Ipv4Addr>,
    pub speaks_as: Ipv4Addr,
}

/// One table for each virtual interface, of its name. They are owned by the
/// socket: the kernel removes them when it is closed, by whatever death.
#[derive(Default)]
pub(super) struct Guards {
    socket: Option<RouteSocket>,
    standing: BTreeMap<InterfaceName, Guard>,
    /// The kernel is older than 5.12 and knows no owners.
    ownerless: bool,
}

impl Guards {
    /// Replaces the guard of `name` by this one. The error says why the parent
    /// may speak for the addresses; there is no guard then.
    pub fn set(&mut self, name: InterfaceName, guard: Guard) -> Result<(), String> {
        if guard.addresses.is_empty() || is_silent(guard.parent) {
            self.remove(name);
            return Ok(());
        }
        if self.socket.is_some() && self.standing.get(&name) == Some(&guard) {
            return Ok(());
        }
        self.standing.insert(name, guard);
        let outcome = match self.socket.is_some() {
            true => self.install(name),
            // With the socket all of them went.
            false => self.install_all(name),
        };
        outcome.map_err(|error| {
            self.standing.remove(&name);
            format!("nf_tables cannot keep it quiet ({error})")
        })
    }

    /// None is a success.
    pub fn remove(&mut self, name: InterfaceName) {
        if self.standing.remove(&name).is_none() {
            return;
        }
        let removed = self.submit(|batch| batch.delete_table(name.as_str(), true));
        if let Err(error) = removed {
            tracing::warn!("the nf_tables table {name} could not be removed: {error}");
        }
    }

    fn install_all(&mut self, wanted: InterfaceName) -> Result<(), RouteError> {
        self.socket = Some(RouteSocket::open_netfilter()?);
        let names: Vec<InterfaceName> = self.standing.keys().copied().collect();
        let mut outcome = Ok(());
        for name in names {
            let installed = self.install(name);
            if name == wanted {
                outcome = installed;
            } else if let Err(error) = installed {
                tracing::warn!("the nf_tables table {name} could not be made again: {error}");
                self.standing.remove(&name);
            }
        }
        outcome
    }

    fn install(&mut self, name: InterfaceName) -> Result<(), RouteError> {
        let Some(guard) = self.standing.get(&name).cloned() else {
            return Ok(());
        };
        let owned = !self.ownerless;
        let table = name.as_str();
        let outcome = self.submit(|batch| {
            batch.add_table(table, owned);
            batch.delete_table(table, false);
            batch.add_table(table, owned);
            batch.guard(table, guard.parent_index, &guard.addresses, guard.speaks_as);
        });
        match outcome {
            Err(RouteError::Refused(Refusal {
                errno: Errno::EOPNOTSUPP | Errno::EINVAL,
                ..
            })) if owned => {
                self.ownerless = true;
                self.install(name).inspect_err(|_| self.ownerless = false)
            }
            outcome => outcome,
        }
    }

    fn submit(&mut self, fill: impl FnOnce(&mut Batch)) -> Result<(), RouteError> {
        let mut socket = match self.socket.take() {
            Some(socket) => socket,
            None => RouteSocket::open_netfilter()?,
        };
        let outcome = transact(&mut socket, fill);
        // After anything but a plain refusal a late answer may come: then it
        // is given up, and every table with it.
        if !matches!(outcome, Err(RouteError::Socket(_))) {
            self.socket = Some(socket);
        }
        outcome
    }
}

/// Removes the table of a virtual interface that a dead agent left, where the
/// kernel did not do so.
pub(super) fn remove_left(name: InterfaceName) {
    let Ok(mut socket) = RouteSocket::open_netfilter() else {
        return;
    };
    // Mostly there is none.
    let _ = transact(&mut socket, |batch| batch.delete_table(name.as_str(), true));
}

/// The parent answers for its own addresses only, and asks in their name, by
/// its administrator's will.
fn is_silent(parent: InterfaceName) -> bool {
    let strongest = |key: &str| {
        let read = |name: &str| {
            let text = read_setting("ipv4", name, key);
            text.and_then(|text| text.parse::<u32>().ok()).unwrap_or(0)
        };
        read("all").max(read(parent.as_str()))
    };
    matches!(strongest("arp_ignore"), 1 | 2) && strongest("arp_announce") == 2
}
