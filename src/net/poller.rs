//! Any number of sockets behind one await: an epoll instance that is itself
//! registered with tokio. Looking at it without waiting says which sockets
//! are ready now, so that they can be drained before a timer is judged.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::Handle;

/// Tokens that one look gives; the kernel takes turns, so that the others
/// come first at the next look.
const READY_MAX: usize = 64;

#[derive(Debug)]
pub struct Poller {
    epoll: AsyncFd<Registered>,
}

#[derive(Debug)]
struct Registered(Epoll);

impl AsRawFd for Registered {
    fn as_raw_fd(&self) -> RawFd {
        self.0.0.as_raw_fd()
    }
}

impl Poller {
    /// An error outside of a tokio runtime.
    pub fn new() -> io::Result<Self> {
        Handle::try_current().map_err(io::Error::other)?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        // SAFETY: `Registered` owns the descriptor, gives the same one always,
        // and only the `AsyncFd` closes it, by being dropped.
        let epoll =
            unsafe { AsyncFd::register_with_interest(Registered(epoll), Interest::READABLE) };
        Ok(Self { epoll: epoll? })
    }

    /// From now on `token` comes up whenever something waits on `fd`. Closing
    /// the descriptor removes it, too.
    pub fn add(&self, fd: BorrowedFd<'_>, token: u64) -> io::Result<()> {
        let event = EpollEvent::new(EpollFlags::EPOLLIN, token);
        Ok(self.epoll.get_ref().0.add(fd, event)?)
    }

    pub fn remove(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        Ok(self.epoll.get_ref().0.delete(fd)?)
    }

    /// Waits until something is ready; returns at once, time and again, as
    /// long as it is not drained. Dropping the future loses nothing.
    pub async fn readable(&self) -> io::Result<()> {
        loop {
            let mut guard = self.epoll.readable().await?;
            // The runtime is told of changes only, this look asks for the
            // state. What becomes ready between the look and the clearing is
            // a change that the runtime has not heard of yet: clearing does
            // not touch it.
            if self.look(&mut [EpollEvent::empty()])? > 0 {
                guard.retain_ready();
                return Ok(());
            }
            guard.clear_ready();
        }
    }

    /// Replaces `tokens` by those of what is ready now, at most 64. Does not
    /// wait.
    pub fn ready(&self, tokens: &mut Vec<u64>) -> io::Result<()> {
        tokens.clear();
        let mut events = [EpollEvent::empty(); READY_MAX];
        let found = self.look(&mut events)?;
        tokens.extend(events.iter().take(found).map(EpollEvent::data));
        Ok(())
    }

    fn look(&self, events: &mut [EpollEvent]) -> io::Result<usize> {
        match self.epoll.get_ref().0.wait(events, EpollTimeout::ZERO) {
            // A look that does not wait has nothing to be interrupted in, but
            // nothing says that it never will be.
            Err(nix::errno::Errno::EINTR) => Ok(0),
            outcome => Ok(outcome?),
        }
    }
}
