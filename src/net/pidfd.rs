//! Descriptors of processes, and descriptors that another process left us.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};

/// This very process: readable once it is dead, however it died, and never
/// taken for another of the same number. Closed on exec. Linux 5.3.
pub fn of_this_process() -> io::Result<OwnedFd> {
    of(std::process::id())
}

/// As [`of_this_process`]. Whoever has the number now; ESRCH where nobody has.
pub fn of(pid: u32) -> io::Result<OwnedFd> {
    let flags: libc::c_uint = 0;
    // SAFETY: two numbers go in, and a new descriptor or -1 comes out.
    let opened = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, flags) };
    let descriptor = RawFd::try_from(opened).unwrap_or(-1);
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made it, for nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// A descriptor that the process that started us left open for us under this
/// number; from now on it is closed on exec. To be taken once, by whoever was
/// told the number, before anything else is opened.
///
/// # Errors
///
/// There is none of that number, or it is one of the standard three.
pub fn inherited(descriptor: RawFd) -> io::Result<OwnedFd> {
    if descriptor <= 2 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: it lives as long as this call; were it not open, fcntl says so.
    let borrowed = unsafe { std::os::fd::BorrowedFd::borrow_raw(descriptor) };
    fcntl(borrowed, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    // SAFETY: it is open, and nobody else in this process knows of it: the
    // caller takes each number once.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::process::Command;

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;

    fn is_dead(process: &OwnedFd) -> bool {
        let mut set = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
        poll(&mut set, PollTimeout::ZERO).unwrap() > 0
    }

    #[test]
    fn tells_the_living_from_the_dead_and_from_those_not_yet_buried() {
        assert!(!is_dead(&of_this_process().unwrap()));
        let mut child = Command::new("/bin/sleep").arg("60").spawn().unwrap();
        let process = of(child.id()).unwrap();
        assert!(!is_dead(&process));
        child.kill().unwrap();
        let mut set = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut set, PollTimeout::from(5_000_u16)).unwrap(), 1);
        // A zombie by now, which still has the number.
        assert!(is_dead(&of(child.id()).unwrap()));
        child.wait().unwrap();
        assert!(is_dead(&process));
    }

    #[test]
    fn the_standard_three_and_what_is_not_open_are_refused() {
        for number in [-1, 0, 2, 900_000] {
            assert!(inherited(number).is_err(), "{number}");
        }
    }
}
