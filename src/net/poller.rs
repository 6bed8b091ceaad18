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
pub const READY_MAX: usize = 64;

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
    /// An error outside of a tokio runtime, which must have its I/O enabled.
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

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;
    use std::pin::pin;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);
    /// For what must not happen.
    const MOMENT: Duration = Duration::from_millis(30);

    /// Our end, and the one that another host would hold.
    fn pair() -> (UnixStream, UnixStream) {
        let (ours, theirs) = UnixStream::pair().expect("a socket pair");
        ours.set_nonblocking(true).expect("non-blocking");
        (ours, theirs)
    }

    fn drain(mut stream: &UnixStream) -> usize {
        let mut buffer = [0; 64];
        stream.read(&mut buffer).unwrap_or(0)
    }

    async fn soon(poller: &Poller) {
        let outcome = timeout(PATIENCE, poller.readable()).await;
        outcome.expect("a wake-up").expect("readable");
    }

    async fn not_now(poller: &Poller) {
        let outcome = timeout(MOMENT, poller.readable()).await;
        assert!(outcome.is_err(), "woken for nothing");
    }

    fn tokens(poller: &Poller) -> Vec<u64> {
        let mut tokens = vec![99];
        poller.ready(&mut tokens).expect("a look");
        tokens.sort_unstable();
        tokens
    }

    #[tokio::test]
    async fn says_which_are_ready_until_they_are_drained() {
        let poller = Poller::new().expect("a poller");
        let (a, mut to_a) = pair();
        let (b, mut to_b) = pair();
        poller.add(a.as_fd(), 7).expect("added");
        poller.add(b.as_fd(), u64::MAX).expect("added");
        assert!(tokens(&poller).is_empty());
        not_now(&poller).await;

        to_b.write_all(b"x").expect("written");
        soon(&poller).await;
        assert_eq!(tokens(&poller), [u64::MAX]);
        // Not drained: ready still.
        soon(&poller).await;
        to_a.write_all(b"x").expect("written");
        assert_eq!(tokens(&poller), [7, u64::MAX]);
        assert_eq!((drain(&a), drain(&b)), (1, 1));
        assert!(tokens(&poller).is_empty());
        not_now(&poller).await;
    }

    #[tokio::test]
    async fn what_comes_between_the_look_and_the_wait_is_not_lost() {
        let poller = Poller::new().expect("a poller");
        let (a, mut to_a) = pair();
        let (b, mut to_b) = pair();
        poller.add(a.as_fd(), 1).expect("added");
        poller.add(b.as_fd(), 2).expect("added");
        for _ in 0..100 {
            to_a.write_all(b"x").expect("written");
            soon(&poller).await;
            drain(&a);
            assert!(tokens(&poller).is_empty());
            to_b.write_all(b"x").expect("written");
            soon(&poller).await;
            assert_eq!(tokens(&poller), [2]);
            drain(&b);
            // Drained although nobody had waited for it: a stale wake-up.
            to_a.write_all(b"x").expect("written");
            drain(&a);
        }
        not_now(&poller).await;
    }

    /// The other side answers each byte from a thread of its own, at any
    /// moment; one lost wake-up and the exchange stands still.
    #[tokio::test]
    async fn no_wake_up_is_lost_in_a_long_exchange() {
        const ROUNDS: usize = 3_000;
        let poller = Poller::new().expect("a poller");
        let (pairs, mut others): (Vec<_>, Vec<_>) = (0..3).map(|_| pair()).unzip();
        for (ours, token) in pairs.iter().zip(0..) {
            poller.add(ours.as_fd(), token).expect("added");
        }
        let echo = std::thread::spawn(move || {
            let mut byte = [0];
            for round in 0..ROUNDS {
                let other = &mut others[round % 3];
                other.write_all(b"x").expect("written");
                other.read_exact(&mut byte).expect("answered");
            }
        });
        let mut seen = 0;
        let mut ready = Vec::new();
        while seen < ROUNDS {
            soon(&poller).await;
            poller.ready(&mut ready).expect("a look");
            for token in &ready {
                let index = usize::try_from(*token).expect("small");
                let mut stream = &pairs[index];
                assert_eq!(drain(stream), 1);
                seen += 1;
                stream.write_all(b"y").expect("answered");
            }
        }
        echo.join().expect("the other side is content");
    }

    #[tokio::test]
    async fn a_wait_that_is_dropped_loses_nothing() {
        let poller = Poller::new().expect("a poller");
        let (a, mut to_a) = pair();
        poller.add(a.as_fd(), 1).expect("added");
        for _ in 0..100 {
            tokio::select! {
                biased;
                _ = poller.readable() => panic!("woken for nothing"),
                () = tokio::task::yield_now() => {}
            }
            to_a.write_all(b"x").expect("written");
            // Dropped when it may or may not have heard of it.
            tokio::select! {
                biased;
                () = std::future::ready(()) => {}
                _ = poller.readable() => {}
            }
            soon(&poller).await;
            assert_eq!(drain(&a), 1);
        }
    }

    /// A wait for nothing sleeps: it is not polled over and over.
    #[tokio::test]
    async fn an_idle_wait_does_not_spin() {
        let poller = Poller::new().expect("a poller");
        let (a, mut to_a) = pair();
        poller.add(a.as_fd(), 1).expect("added");
        to_a.write_all(b"x").expect("written");
        soon(&poller).await;
        drain(&a);
        let mut polls = 0;
        let mut wait = pin!(poller.readable());
        let counted = std::future::poll_fn(|context| {
            polls += 1;
            wait.as_mut().poll(context)
        });
        assert!(timeout(MOMENT, counted).await.is_err());
        assert!(polls <= 3, "polled {polls} times");
    }

    #[tokio::test]
    async fn many_take_turns() {
        let poller = Poller::new().expect("a poller");
        let (pairs, mut others): (Vec<_>, Vec<_>) = (0..100).map(|_| pair()).unzip();
        for (ours, token) in pairs.iter().zip(0..) {
            poller.add(ours.as_fd(), token).expect("added");
        }
        for other in &mut others {
            other.write_all(b"x").expect("written");
        }
        soon(&poller).await;
        let mut seen = tokens(&poller);
        assert_eq!(seen.len(), READY_MAX);
        seen.extend(tokens(&poller));
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen, (0..100).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn removed_and_closed_are_forgotten() {
        let poller = Poller::new().expect("a poller");
        let (a, mut to_a) = pair();
        let (b, mut to_b) = pair();
        poller.add(a.as_fd(), 1).expect("added");
        poller.add(b.as_fd(), 2).expect("added");
        to_a.write_all(b"x").expect("written");
        to_b.write_all(b"x").expect("written");
        poller.remove(a.as_fd()).expect("removed");
        drop(b);
        assert!(tokens(&poller).is_empty());
        not_now(&poller).await;
        assert!(poller.remove(a.as_fd()).is_err());
    }

    #[test]
    fn outside_of_a_runtime_it_is_an_error() {
        assert!(Poller::new().is_err());
    }
}
