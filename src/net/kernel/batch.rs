//! A chunk of requests: over the socket in one go, and each answer to where
//! it belongs.

use std::io;
use std::time::{Duration, Instant};

use netlink_packet_route::RouteNetlinkMessage;

use super::socket::{Refusal, RouteSocket, messages, serialize, verdict};

/// Orders handed to the kernel at once.
pub(super) const CHUNK_MAX: usize = 100;

/// For the answers to one chunk. The kernel answers while it takes the
/// requests, so none should be missing by then.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is known of an order of the present chunk.
pub(super) enum Progress {
    /// Was not worth a request, or could not become one.
    Settled(Result<(), String>),
    /// Sent, no answer yet.
    Sent,
    Answered(Result<(), Refusal>),
}

/// A message and its flags, or the outcome that needs none.
pub(super) type Request = Result<(RouteNetlinkMessage, u16), Result<(), String>>;

/// A netlink socket for chunks, opened again after a failure.
pub(super) struct Line {
    socket: Option<RouteSocket>,
    patience: Duration,
}

impl Line {
    /// In the network namespace of the calling thread.
    pub fn open() -> io::Result<Self> {
        RouteSocket::open().map(Self::over)
    }

    pub fn over(socket: RouteSocket) -> Self {
        Self {
            socket: Some(socket),
            patience: PATIENCE,
        }
    }

    #[cfg(test)]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// The socket, for a question beside the chunks; hand it back when it
    /// works still.
    pub fn take(&mut self) -> io::Result<RouteSocket> {
        self.socket.take().map_or_else(RouteSocket::open, Ok)
    }

    pub fn give_back(&mut self, socket: RouteSocket) {
        self.socket = Some(socket);
    }

    /// Sends a chunk in one go and collects the answers, in the order of the
    /// requests. The text is there when the socket failed; it is given up
    /// then, so that no late answer is taken for one to the next chunk.
    pub fn submit(
        &mut self,
        chunk: impl IntoIterator<Item = Request>,
    ) -> (Vec<Progress>, Option<String>) {
        let (mut socket, failure) = match self.take() {
            Ok(socket) => (Some(socket), None),
            Err(error) => {
                let text = format!("no netlink socket could be opened: {error}");
                (None, Some(text))
            }
        };
        let first = socket.as_mut().map_or(0, RouteSocket::next_sequence);
        let mut sequence = first;
        let mut requests = Vec::new();
        let mut progress = Vec::new();
        let mut missing = 0_usize;
        for (position, request) in chunk.into_iter().enumerate() {
            if let Some(socket) = socket.as_mut().filter(|_| position > 0) {
                sequence = socket.next_sequence();
            }
            progress.push(match request {
                Ok((message, flags)) => {
                    serialize(message, flags, sequence, &mut requests);
                    missing += 1;
                    Progress::Sent
                }
                Err(outcome) => Progress::Settled(outcome),
            });
        }
        let Some(mut socket) = socket else {
            return (progress, failure);
        };
        if missing == 0 {
            self.socket = Some(socket);
            return (progress, None);
        }
        let patience = self.patience;
        let failure = match transact(
            &mut socket,
            &requests,
            first,
            missing,
            patience,
            &mut progress,
        ) {
            Ok(()) => {
                self.socket = Some(socket);
                None
            }
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                Some(format!("the kernel gave no answer within {patience:?}"))
            }
            Err(error) => Some(format!("the netlink socket failed: {error}")),
        };
        (progress, failure)
    }
}

/// Sends the requests and files the answers by sequence number, until none
/// is missing or `patience` is over.
fn transact(
    socket: &mut RouteSocket,
    requests: &[u8],
    first: u32,
    mut missing: usize,
    patience: Duration,
    progress: &mut [Progress],
) -> io::Result<()> {
    socket.send(requests)?;
    let deadline = Instant::now() + patience;
    while missing > 0 {
        for message in messages(socket.receive(deadline)?) {
            if i32::from(message.kind) != libc::NLMSG_ERROR {
                continue;
            }
            let position = usize::try_from(message.sequence.wrapping_sub(first)).ok();
            let slot = position.and_then(|position| progress.get_mut(position));
            if let Some(slot @ Progress::Sent) = slot {
                *slot = Progress::Answered(verdict(&message)?);
                missing -= 1;
            }
        }
    }
    Ok(())
}
