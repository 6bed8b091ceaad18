//! Asks peers for an echo. What answers is the peer's kernel: no VRRP router
//! hears of it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use super::super::facts::Echo;
use crate::agent::values::Family;
use crate::net::echo_socket;
use crate::wire::echo::{Token, echo_request, is_echo_reply};

/// Longest for one peer.
const PATIENCE_MAX: Duration = Duration::from_secs(3);
const QUESTIONS: u16 = 3;
const PACKET_BYTES: usize = 512;

/// All side by side, for at most `patience`.
pub fn ask(peers: &BTreeSet<IpAddr>, patience: Duration) -> BTreeMap<IpAddr, Echo> {
    let patience = patience.min(PATIENCE_MAX);
    thread::scope(|scope| {
        let asked: Vec<_> = peers
            .iter()
            .map(|peer| (*peer, scope.spawn(move || one(*peer, patience))))
            .collect();
        let failed = || Echo::Failed("it was not asked".to_owned());
        asked
            .into_iter()
            .map(|(peer, asked)| (peer, asked.join().unwrap_or_else(|_| failed())))
            .collect()
    })
}

fn one(peer: IpAddr, patience: Duration) -> Echo {
    let family = Family::of(peer);
    let mut token = Token::default();
    let failed = |why: &dyn ToString| Echo::Failed(why.to_string());
    if let Err(error) = getrandom::fill(&mut token) {
        return failed(&error);
    }
    let socket = match echo_socket::open(peer, None) {
        Ok(socket) => socket,
        Err(error) => return failed(&error),
    };
    let gap = patience / u32::from(QUESTIONS);
    let waiting = socket
        .set_nonblocking(false)
        .and(socket.set_read_timeout(Some(gap)));
    if let Err(error) = waiting {
        return failed(&error);
    }
    let mut buffer = [0; PACKET_BYTES];
    for sequence in 0..QUESTIONS {
        if let Err(error) = socket.send(&echo_request(family, sequence, &token)) {
            return failed(&error);
        }
        let until = Instant::now() + gap;
        while Instant::now() < until {
            match socket.recv(&mut buffer) {
                Ok(length) => {
                    let packet = buffer.get(..length).unwrap_or_default();
                    if is_echo_reply(family, packet, &token) {
                        return Echo::Answered;
                    }
                }
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                    ) =>
                {
                    break;
                }
                // The host is not there: its neighbours say so.
                Err(error) if error.kind() == ErrorKind::HostUnreachable => return Echo::Silent,
                Err(error) => return failed(&error),
            }
        }
    }
    Echo::Silent
}
