//! Many datagrams with one system call: recvmmsg(2). nix has it with buffers
//! that are laid out anew for each call, socket2 not at all.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use socket2::Socket;

use super::socket::is_nothing;

/// Datagrams taken with one call at most.
pub const MANY: usize = 32;

/// Room for [`MANY`] datagrams, and those that were received last.
#[derive(Default)]
pub struct Datagrams {
    /// One after the other, each as long as the longest may be. Pages that no
    /// datagram ever reached take no memory.
    room: Box<[u8]>,
    each: usize,
    /// Of those that were received.
    lengths: Vec<usize>,
}

impl Datagrams {
    /// What is longer than `each` bytes is cut off.
    pub fn new(each: usize) -> Self {
        Self {
            room: vec![0; MANY * each].into_boxed_slice(),
            each,
            lengths: Vec::with_capacity(MANY),
        }
    }

    pub fn clear(&mut self) {
        self.lengths.clear();
    }

    /// More may wait.
    pub fn is_full(&self) -> bool {
        self.lengths.len() == MANY
    }

    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let rooms = self.room.chunks_exact(self.each.max(1));
        let received = rooms.zip(&self.lengths);
        received.map(|(room, length)| room.get(..*length).unwrap_or(room))
    }

    /// Replaces what is in here by what waits on `socket`, which may be
    /// nothing. An interface that went down is nothing, too.
    pub(super) fn receive(&mut self, socket: &Socket) -> io::Result<()> {
        self.lengths.clear();
        let mut parts = [const { EMPTY_PART }; MANY];
        let rooms = self.room.chunks_exact_mut(self.each.max(1));
        for (part, room) in parts.iter_mut().zip(rooms) {
            part.iov_base = room.as_mut_ptr().cast();
            part.iov_len = room.len();
        }
        // SAFETY: of integers and pointers, for which zero is a value: no
        // name, no control messages, no buffers.
        let mut headers: [libc::mmsghdr; MANY] = unsafe { std::mem::zeroed() };
        for (header, part) in headers.iter_mut().zip(&mut parts) {
            header.msg_hdr.msg_iov = part;
            header.msg_hdr.msg_iovlen = 1;
        }
        let count = u32::try_from(headers.len()).unwrap_or(0);
        // SAFETY: `count` headers, each with one part that describes a piece
        // of `room` of its own; all of them outlive the call, and nothing else
        // looks at them meanwhile.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_fd().as_raw_fd(),
                headers.as_mut_ptr(),
                count,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        let Ok(received) = usize::try_from(received) else {
            let error = io::Error::last_os_error();
            return if is_nothing(&error) {
                Ok(())
            } else {
                Err(error)
            };
        };
        let lengths = headers.iter().take(received);
        let lengths = lengths.map(|header| usize::try_from(header.msg_len).unwrap_or(0));
        self.lengths.extend(lengths);
        Ok(())
    }
}

const EMPTY_PART: libc::iovec = libc::iovec {
    iov_base: std::ptr::null_mut(),
    iov_len: 0,
};

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    fn pair() -> (Socket, UnixDatagram) {
        let (ours, theirs) = UnixDatagram::pair().expect("a pair");
        (Socket::from(std::os::fd::OwnedFd::from(ours)), theirs)
    }

    #[test]
    fn what_waits_comes_in_order_and_whole() {
        let (socket, other) = pair();
        let mut datagrams = Datagrams::new(8);
        datagrams.receive(&socket).expect("nothing yet");
        assert_eq!(datagrams.iter().count(), 0);
        for text in ["one", "two", "much too long", ""] {
            other.send(text.as_bytes()).expect("sent");
        }
        datagrams.receive(&socket).expect("received");
        let all: Vec<&[u8]> = datagrams.iter().collect();
        assert_eq!(all, [b"one".as_slice(), b"two", b"much too", b""]);
        assert!(!datagrams.is_full());
        datagrams.receive(&socket).expect("nothing more");
        assert_eq!(datagrams.iter().count(), 0);
    }

    #[test]
    fn more_than_fit_come_with_the_next_call() {
        let (socket, other) = pair();
        other.set_nonblocking(true).expect("set");
        let mut sent = 0_usize;
        let mut seen = Vec::new();
        let mut datagrams = Datagrams::new(16);
        while seen.len() < 3 * MANY {
            // As many as the other end may have under way.
            while sent < 3 * MANY && other.send(&sent.to_le_bytes()).is_ok() {
                sent += 1;
            }
            datagrams.receive(&socket).expect("received");
            assert!(datagrams.iter().count() <= MANY);
            seen.extend(datagrams.iter().map(<[u8]>::to_vec));
        }
        let expected: Vec<Vec<u8>> = (0..3 * MANY).map(|n| n.to_le_bytes().to_vec()).collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn an_error_is_told_and_leaves_nothing() {
        let file = std::fs::File::open("/dev/null").expect("a file");
        let no_socket = Socket::from(std::os::fd::OwnedFd::from(file));
        let mut datagrams = Datagrams::new(16);
        assert!(datagrams.receive(&no_socket).is_err());
        assert_eq!(datagrams.iter().count(), 0);
    }
}
