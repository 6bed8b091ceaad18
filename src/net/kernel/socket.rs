//! A blocking NETLINK_ROUTE socket for requests: sending, receiving with a
//! deadline, and what the kernel says when it refuses.

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use netlink_packet_core::{
    ErrorBuffer, NLM_F_ACK, NLM_F_ACK_TLVS, NLM_F_CAPPED, NLM_F_DUMP, NLM_F_DUMP_INTR,
    NLM_F_REQUEST, NetlinkBuffer, NetlinkHeader, NetlinkMessage, NetlinkPayload, NlasIterator,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{
    Socket, SocketAddr,
    protocols::{NETLINK_NETFILTER, NETLINK_ROUTE},
};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// The kernel fills at most 32 KiB of a datagram when it dumps.
const DATAGRAM_BYTES_MAX: usize = 64 * 1024;

/// Room for the acknowledgements of a chunk of requests, which all arrive
/// while the chunk is still being sent.
const RECEIVE_BUFFER_BYTES: usize = 1024 * 1024;

/// Most messages accepted in answer to one question: a bound against a kernel
/// that never says "done", far above any number of addresses.
const ANSWERS_MAX: usize = 1_000_000;

const NLMSGERR_ATTR_MSG: u16 = 1;

/// Why a request was not carried out.
#[derive(Debug)]
pub(in crate::net) enum RouteError {
    /// The kernel answered, and the answer is no; nothing was changed.
    Refused(Refusal),
    /// The socket failed or its answers make no sense: open another. What
    /// became of the request is unknown.
    Socket(io::Error),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::net) struct Refusal {
    pub errno: Errno,
    /// The kernel's own sentence (extended acknowledgement), when it had one.
    pub words: Option<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the kernel refused: {}", self.errno.desc())?;
        match &self.words {
            Some(words) => write!(f, ": {words}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for RouteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RouteError::Refused(refusal) => refusal.fmt(f),
            RouteError::Socket(error) => write!(f, "the netlink socket failed: {error}"),
        }
    }
}

impl std::error::Error for RouteError {}

impl From<io::Error> for RouteError {
    fn from(error: io::Error) -> Self {
        RouteError::Socket(error)
    }
}

/// One message of a datagram.
pub(in crate::net) struct Received<'a> {
    pub kind: u16,
    pub flags: u16,
    pub sequence: u32,
    pub payload: &'a [u8],
}

/// The messages of a datagram; ends at the first that does not fit.
pub(in crate::net) fn messages(datagram: &[u8]) -> impl Iterator<Item = Received<'_>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let here = rest;
        let message = NetlinkBuffer::new_checked(here).ok()?;
        let length = usize::try_from(message.length()).ok()?;
        rest = here.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some(Received {
            kind: message.message_type(),
            flags: message.flags(),
            sequence: message.sequence_number(),
            payload: message.payload(),
        })
    })
}

/// What an NLMSG_ERROR says: an acknowledgement, or a refusal with the
/// kernel's words.
pub(in crate::net) fn verdict(message: &Received<'_>) -> io::Result<Result<(), Refusal>> {
    let answer = ErrorBuffer::new_checked(message.payload).map_err(io::Error::other)?;
    let Some(code) = answer.code() else {
        return Ok(Ok(()));
    };
    let errno = Errno::from_raw(code.get().saturating_abs());
    let words = (message.flags & NLM_F_ACK_TLVS != 0)
        .then(|| words_of(message.flags, answer.payload()))
        .flatten();
    Ok(Err(Refusal { errno, words }))
}

/// `echoed` holds the refused request, or only its header when capped, and
/// the attributes behind it.
fn words_of(flags: u16, echoed: &[u8]) -> Option<String> {
    const HEADER_BYTES: usize = 16;
    let skipped = if flags & NLM_F_CAPPED != 0 {
        HEADER_BYTES
    } else {
        let length = echoed.get(..4)?.try_into().ok().map(u32::from_ne_bytes)?;
        usize::try_from(length).ok()?.next_multiple_of(4)
    };
    NlasIterator::new(echoed.get(skipped..)?)
        .map_while(Result::ok)
        .find(|attribute| attribute.kind() == NLMSGERR_ATTR_MSG)
        .map(|attribute| {
            let text = String::from_utf8_lossy(attribute.value());
            text.trim_end_matches('\0').trim_end_matches('.').to_owned()
        })
}

/// A request, ready to be sent.
pub(in crate::net) fn serialize(
    message: RouteNetlinkMessage,
    flags: u16,
    sequence: u32,
    into: &mut Vec<u8>,
) {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | flags;
    header.sequence_number = sequence;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
    message.finalize();
    let start = into.len();
    into.resize(start + message.buffer_len().next_multiple_of(4), 0);
    if let Some(room) = into.get_mut(start..) {
        message.serialize(room);
    }
}

pub(in crate::net) struct RouteSocket {
    socket: Socket,
    sequence: u32,
    buffer: Box<[u8]>,
}

impl RouteSocket {
    /// In the network namespace of the calling thread, for good.
    pub fn open() -> io::Result<Self> {
        Self::open_for(NETLINK_ROUTE)
    }

    /// The same for nfnetlink, whose messages are made elsewhere.
    pub fn open_netfilter() -> io::Result<Self> {
        Self::open_for(NETLINK_NETFILTER)
    }

    fn open_for(protocol: isize) -> io::Result<Self> {
        let mut socket = Socket::new(protocol)?;
        socket.bind_auto()?;
        // Connected to the kernel, the socket accepts nobody else's messages.
        socket.connect(&SocketAddr::new(0, 0))?;
        // Kernels that lack one of these serve us without.
        let _ = socket.set_ext_ack(true);
        let _ = socket.set_cap_ack(true);
        let _ = socket.set_netlink_get_strict_chk(true);
        widen_receive_buffer(&socket, RECEIVE_BUFFER_BYTES)?;
        Ok(Self {
            socket,
            sequence: 0,
            buffer: vec![0; DATAGRAM_BYTES_MAX].into_boxed_slice(),
        })
    }

    /// The socket's number, which no other of its protocol has in the network
    /// namespace.
    pub fn port(&self) -> io::Result<u32> {
        let mut address = SocketAddr::new(0, 0);
        self.socket.get_address(&mut address)?;
        Ok(address.port_number())
    }

    /// A socket that is none, or has nobody at its other end.
    #[cfg(test)]
    pub fn replaced_by(other: std::os::fd::OwnedFd) -> Self {
        use std::os::fd::{FromRawFd, IntoRawFd};
        // SAFETY: the descriptor is owned and handed over.
        let socket = unsafe { Socket::from_raw_fd(other.into_raw_fd()) };
        Self {
            socket,
            sequence: 0,
            buffer: vec![0; DATAGRAM_BYTES_MAX].into_boxed_slice(),
        }
    }

    #[cfg(test)]
    pub fn numbered_from(&mut self, last: u32) {
        self.sequence = last;
    }

    /// Numbers up to this one were used.
    pub fn skip_to(&mut self, last: u32) {
        self.sequence = last;
    }

    /// A number not used for any request of the last four thousand million.
    pub fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    /// Hands requests to the kernel, which carries them out before this
    /// returns: that can take seconds, and no time-out can cut it short.
    pub fn send(&self, requests: &[u8]) -> io::Result<()> {
        let sent = retry_interrupted(|| self.socket.send(requests, 0))?;
        if sent == requests.len() {
            Ok(())
        } else {
            Err(io::Error::other("the kernel took only part of a request"))
        }
    }

    /// The next datagram; `TimedOut` when none came before `deadline`.
    pub fn receive(&mut self, deadline: Instant) -> io::Result<&[u8]> {
        loop {
            // The kernel answers while it takes the requests: most are there.
            match receive_now(&self.socket, &mut self.buffer) {
                Ok(length) => return Ok(self.buffer.get(..length).unwrap_or(&[])),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            let patience = deadline.saturating_duration_since(Instant::now());
            // Rounded up, or the last millisecond would be spent spinning.
            let patience = PollTimeout::try_from(patience + Duration::from_millis(1))
                .unwrap_or(PollTimeout::MAX);
            let mut ready = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
            match poll(&mut ready, patience) {
                Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Asks one question and hands every message of the answer (kind and
    /// payload) to `each`. Returns false when a dump was disturbed by a
    /// change: what was handed out may then lack entries or repeat some.
    pub fn ask(
        &mut self,
        question: RouteNetlinkMessage,
        flags: u16,
        deadline: Instant,
        each: &mut dyn FnMut(u16, &[u8]),
    ) -> Result<bool, RouteError> {
        // A dump ends with NLMSG_DONE, everything else with the acknowledgement.
        let dump = flags & NLM_F_DUMP == NLM_F_DUMP;
        let flags = if dump { flags } else { flags | NLM_F_ACK };
        let sequence = self.next_sequence();
        let mut request = Vec::new();
        serialize(question, flags, sequence, &mut request);
        self.send(&request)?;
        let mut undisturbed = true;
        let mut seen = 0;
        loop {
            for message in messages(self.receive(deadline)?) {
                if message.sequence != sequence {
                    continue;
                }
                seen += 1;
                undisturbed &= message.flags & NLM_F_DUMP_INTR == 0;
                match i32::from(message.kind) {
                    libc::NLMSG_NOOP => {}
                    libc::NLMSG_ERROR => {
                        return verdict(&message)?
                            .map(|()| undisturbed)
                            .map_err(RouteError::Refused);
                    }
                    libc::NLMSG_DONE => return done(&message).map(|()| undisturbed),
                    _ => each(message.kind, message.payload),
                }
            }
            if seen > ANSWERS_MAX {
                return Err(io::Error::other("the kernel's answer has no end").into());
            }
        }
    }

    /// Orders one change and waits for its acknowledgement.
    pub fn order(
        &mut self,
        change: RouteNetlinkMessage,
        flags: u16,
        deadline: Instant,
    ) -> Result<(), RouteError> {
        self.ask(change, flags, deadline, &mut |_, _| {}).map(drop)
    }
}

/// NLMSG_DONE carries the dump's own error code.
fn done(message: &Received<'_>) -> Result<(), RouteError> {
    let code = message
        .payload
        .get(..4)
        .and_then(|code| code.try_into().ok());
    match code.map(i32::from_ne_bytes) {
        Some(code) if code < 0 => Err(RouteError::Refused(Refusal {
            errno: Errno::from_raw(code.saturating_abs()),
            words: None,
        })),
        _ => Ok(()),
    }
}

/// Receives without waiting; `WouldBlock` when there is nothing.
pub(super) fn receive_now(socket: &Socket, buffer: &mut [u8]) -> io::Result<usize> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_TRUNC;
    let room = buffer.len();
    let length = retry_interrupted(|| socket.recv(&mut &mut buffer[..], flags))?;
    if length <= room {
        Ok(length)
    } else {
        Err(io::Error::other(format!(
            "the kernel sent {length} bytes where {room} are the most expected"
        )))
    }
}

/// Beyond the system's limit where we may, else up to it.
pub(super) fn widen_receive_buffer(socket: &Socket, bytes: usize) -> io::Result<()> {
    use nix::sys::socket::{setsockopt, sockopt};
    setsockopt(socket, sockopt::RcvBufForce, &bytes)
        .or_else(|_| setsockopt(socket, sockopt::RcvBuf, &bytes))
        .map_err(io::Error::from)
}

fn retry_interrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// NLMSG_ERROR as the kernel sends it: code, echoed header, attributes.
    fn refused(flags: u16, echoed_length: u32, echoed: &[u8], text: &[u8]) -> Vec<u8> {
        let mut payload = (-libc::EINVAL).to_ne_bytes().to_vec();
        payload.extend(echoed_length.to_ne_bytes());
        payload.extend([0; 12]);
        payload.extend(echoed);
        let attribute = u16::try_from(4 + text.len()).unwrap();
        payload.extend(attribute.to_ne_bytes());
        payload.extend(NLMSGERR_ATTR_MSG.to_ne_bytes());
        payload.extend(text);
        let length = u32::try_from(16 + payload.len()).unwrap();
        let mut datagram = length.to_ne_bytes().to_vec();
        datagram.extend(u16::try_from(libc::NLMSG_ERROR).unwrap().to_ne_bytes());
        datagram.extend(flags.to_ne_bytes());
        datagram.extend(9_u32.to_ne_bytes());
        datagram.extend([0; 4]);
        datagram.extend(payload);
        datagram
    }

    fn words(datagram: &[u8]) -> Option<String> {
        let message = messages(datagram).next().unwrap();
        assert_eq!(message.sequence, 9);
        let refusal = verdict(&message).unwrap().unwrap_err();
        assert_eq!(refusal.errno, Errno::EINVAL);
        refusal.words
    }

    #[test]
    fn the_kernel_s_words_are_found_behind_a_capped_and_a_whole_request() {
        let capped = refused(NLM_F_ACK_TLVS | NLM_F_CAPPED, 40, &[], b"Too odd.\0");
        assert_eq!(words(&capped).as_deref(), Some("Too odd"));
        let whole = refused(NLM_F_ACK_TLVS, 24, &[0; 8], b"Too odd\0");
        assert_eq!(words(&whole).as_deref(), Some("Too odd"));
        let silent = refused(0, 24, &[0; 8], b"");
        assert_eq!(words(&silent), None);
    }

    #[test]
    fn no_prefix_of_a_datagram_panics() {
        let whole = refused(NLM_F_ACK_TLVS, 24, &[0; 8], b"Too odd\0");
        for length in 0..whole.len() {
            assert_eq!(messages(&whole[..length]).count(), 0);
            // The same with a header that claims no more than is there.
            let mut cut = whole[..length].to_vec();
            if let Some(field) = cut.get_mut(..4) {
                field.copy_from_slice(&u32::try_from(length).unwrap().to_ne_bytes());
            }
            for message in messages(&cut) {
                let _ = verdict(&message);
            }
        }
    }
}
