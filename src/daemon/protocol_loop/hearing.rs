//! What waits in the sockets, taken in before anything else of a turn.

use super::*;
use crate::daemon::link;
use crate::net::datagrams::MANY;
use crate::net::poller::READY_MAX;
use crate::wire::advertisement::decode_ipv4;

/// Packets taken from one socket in one turn. The rest waits in the kernel,
/// whose buffer drops what is too much; timers are looked at in between.
const PACKETS_PER_SOCKET: usize = 256;
/// Looks at the sockets in one turn, `READY_MAX` of them at a time. Beyond
/// that the timers come first.
const LOOKS_PER_TURN: usize = 16;

impl ProtocolLoop {
    /// Sockets before everything else: after a stall what has arrived decides
    /// whether we may still speak, and no deadline is judged before it.
    pub(super) fn hear(&mut self, turns: &mut Turns) -> anyhow::Result<()> {
        for _ in 0..LOOKS_PER_TURN {
            self.sockets.ready(&mut turns.tokens)?;
            let found = turns.tokens.len();
            let tokens = std::mem::take(&mut turns.tokens);
            // Who has lost by an advertisement must not defend itself against
            // the announcement that came behind it: clients would learn it.
            for of_announcements in [false, true] {
                for token in &tokens {
                    if self.sockets.hears_announcements(*token) == of_announcements {
                        self.drain(*token, turns);
                    }
                }
            }
            turns.tokens = tokens;
            if found < READY_MAX {
                break;
            }
        }
        Ok(())
    }

    fn drain(&mut self, token: u64, turns: &mut Turns) {
        if link::owns(token) {
            self.drain_link(token, turns);
            return;
        }
        if self.sockets.gives_many(token) {
            self.drain_many(token, turns);
            return;
        }
        for _ in 0..PACKETS_PER_SOCKET {
            match self.sockets.receive(token, &mut turns.packet) {
                Ok(Some(event)) => {
                    turns.now = timer::now();
                    self.agent_hears(event, turns.now, &mut turns.path_tests, &mut turns.actions);
                    self.perform(turns);
                }
                Ok(None) => return,
                Err(error) => {
                    // ENETDOWN and its like: the interface's own report says
                    // what it means.
                    tracing::debug!("receiving: {error}");
                    return;
                }
            }
        }
    }

    /// What came by a socket; a question about the path is answered here.
    fn agent_hears<'s>(
        &'s mut self,
        mut event: Event<'s>,
        now: Instant,
        path_tests: &mut PathTests,
        actions: &mut Vec<Action>,
    ) {
        if let Event::Advert(heard) = &mut event {
            if path_tests.take(now, heard, &self.sockets) {
                return;
            }
            heard.witness = Some(self.effects.witness());
        }
        self.agent.handle_into(now, event, actions);
    }

    /// With one look at the clock for all that came with one call.
    fn drain_many(&mut self, token: u64, turns: &mut Turns) {
        let mut datagrams = std::mem::take(&mut turns.datagrams);
        for _ in 0..PACKETS_PER_SOCKET.div_ceil(MANY) {
            match self.sockets.receive_many(token, &mut datagrams) {
                Ok(interface) => {
                    turns.now = timer::now();
                    for datagram in datagrams.iter() {
                        let event = Event::Advert(decode_ipv4(interface, datagram));
                        self.agent_hears(
                            event,
                            turns.now,
                            &mut turns.path_tests,
                            &mut turns.actions,
                        );
                        self.perform(turns);
                    }
                }
                Err(error) => {
                    tracing::debug!("receiving: {error}");
                    break;
                }
            }
            if !datagrams.is_full() {
                break;
            }
        }
        turns.datagrams = datagrams;
    }

    fn drain_link(&mut self, token: u64, turns: &mut Turns) {
        for _ in 0..link::DATAGRAMS_PER_SOCKET {
            match self.effects.link().receive(token, &mut turns.packet) {
                Ok(Some(event)) => self.handle(Event::Link(event), turns),
                Ok(None) => return,
                Err(error) => {
                    tracing::debug!("receiving on the peer link: {error}");
                    return;
                }
            }
        }
    }
}
