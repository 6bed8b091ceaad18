//! Whether another agent lives in this network namespace, under whatever
//! runtime directory: what bears our mark may then be its own.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// An abstract name: it belongs to the network namespace, as addresses do,
/// and is gone with whoever holds it.
const NAME: &str = "vipward-agent";

/// Held for as long as the value lives.
#[derive(Debug)]
pub struct Presence {
    _socket: UnixDatagram,
}

impl Presence {
    /// # Errors
    ///
    /// A sentence: another one is here, or that cannot be told.
    pub fn claim() -> Result<Self, String> {
        let bound = SocketAddr::from_abstract_name(NAME)
            .and_then(|address| UnixDatagram::bind_addr(&address));
        match bound {
            Ok(socket) => Ok(Self { _socket: socket }),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(
                "another agent lives in this network namespace, under another runtime directory"
                    .to_owned(),
            ),
            Err(error) => Err(format!(
                "whether another agent lives in this network namespace cannot be told: {error}"
            )),
        }
    }
}
