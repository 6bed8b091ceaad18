//! A chunk of requests: over the socket in one go, and each answer to where
//! it belongs.

use std::io;
use std::time::{Duration, Instant};

use netlink_packet_core::NLM_F_ACK;
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
    /// requests. The kernel carries them out one after the other, tells of
    /// each that it refused, and acknowledges the last only: what it has not
    /// refused by then is done. The text is there when the socket failed; it
    /// is given up then, so that no late answer is taken for one to the next
    /// chunk.
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
        let chunk: Vec<Request> = chunk.into_iter().collect();
        let last = chunk.iter().rposition(Result::is_ok);
        let first = socket.as_mut().map_or(0, RouteSocket::next_sequence);
        let mut sequence = first;
        let mut requests = Vec::new();
        let mut progress = Vec::with_capacity(chunk.len());
        for (position, request) in chunk.into_iter().enumerate() {
            if let Some(socket) = socket.as_mut().filter(|_| position > 0) {
                sequence = socket.next_sequence();
            }
            progress.push(match request {
                Ok((message, flags)) => {
                    let is_last = Some(position) == last;
                    let flags = flags | if is_last { NLM_F_ACK } else { 0 };
                    serialize(message, flags, sequence, &mut requests);
                    Progress::Sent
                }
                Err(outcome) => Progress::Settled(outcome),
            });
        }
        let Some(mut socket) = socket else {
            return (progress, failure);
        };
        let Some(last) = last else {
            self.socket = Some(socket);
            return (progress, None);
        };
        let patience = self.patience;
        let failure = match transact(
            &mut socket,
            &requests,
            (first, last),
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

/// Sends the requests, numbered from `first`, and files the answers by their
/// number, until the last request has its own or `patience` is over.
fn transact(
    socket: &mut RouteSocket,
    requests: &[u8],
    (first, last): (u32, usize),
    patience: Duration,
    progress: &mut [Progress],
) -> io::Result<()> {
    socket.send(requests)?;
    let deadline = Instant::now() + patience;
    let mut over = false;
    while !over {
        for message in messages(socket.receive(deadline)?) {
            if i32::from(message.kind) != libc::NLMSG_ERROR {
                continue;
            }
            let Ok(position) = usize::try_from(message.sequence.wrapping_sub(first)) else {
                continue;
            };
            if let Some(slot @ Progress::Sent) = progress.get_mut(position) {
                *slot = Progress::Answered(verdict(&message)?);
                over |= position == last;
            }
        }
    }
    for slot in progress {
        if matches!(slot, Progress::Sent) {
            *slot = Progress::Answered(Ok(()));
        }
    }
    Ok(())
}
