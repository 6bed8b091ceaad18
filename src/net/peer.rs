//! What the kernel knows of a unix socket's other end, as far as the
//! libraries do not ask.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Linux knows at most so many for one process (NGROUPS_MAX, limits.h).
const GROUPS_MAX: usize = 65_536;

/// The supplementary groups of the process that connected, as of its
/// connecting (SO_PEERGROUPS, Linux 4.13).
pub fn groups(socket: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    // A full set is 256 KiB; hardly anybody is in more than a few.
    for room in [64, GROUPS_MAX] {
        let mut groups: Vec<libc::gid_t> = vec![0; room];
        let size = size_of::<libc::gid_t>();
        let Ok(mut length) = libc::socklen_t::try_from(room * size) else {
            break;
        };
        // SAFETY: the pointer is to `length` writable bytes, which the kernel
        // does not exceed; it writes back how many of them it used.
        let outcome = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        if outcome == 0 {
            groups.truncate(usize::try_from(length).unwrap_or(0) / size);
            return Ok(groups);
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::ERANGE) {
            return Err(error);
        }
    }
    Err(io::Error::from_raw_os_error(libc::ERANGE))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;
    use std::process::Command;

    use super::*;

    #[test]
    fn our_own_are_ours() {
        let (one, _other) = UnixStream::pair().expect("a pair");
        let told: BTreeSet<u32> = groups(one.as_fd()).expect("groups").into_iter().collect();
        let own = nix::unistd::getgroups().expect("getgroups");
        assert_eq!(told, own.iter().map(|gid| gid.as_raw()).collect());
    }

    /// More than the first attempt has room for: in a process of its own,
    /// since groups belong to the whole process.
    #[test]
    fn many_are_all_told() {
        const MANY: std::ops::Range<u32> = 5_000..5_300;
        if std::env::var_os("VIPWARD_TEST_MANY_GROUPS").is_some() {
            let many: Vec<_> = MANY.map(nix::unistd::Gid::from_raw).collect();
            nix::unistd::setgroups(&many).expect("setgroups");
            let (one, _other) = UnixStream::pair().expect("a pair");
            let told: BTreeSet<u32> = groups(one.as_fd()).expect("groups").into_iter().collect();
            assert_eq!(told, MANY.collect());
            return;
        }
        if !nix::unistd::Uid::effective().is_root() {
            eprintln!("not shown: setgroups needs root");
            return;
        }
        let test = std::env::current_exe().expect("the test");
        let child = Command::new(test)
            .args(["--exact", "net::peer::tests::many_are_all_told"])
            .env("VIPWARD_TEST_MANY_GROUPS", "1")
            .output()
            .expect("run");
        assert!(child.status.success(), "{child:?}");
        let said = String::from_utf8_lossy(&child.stdout);
        assert!(said.contains("1 passed"), "{said}");
    }

    #[test]
    fn no_unix_socket_has_none() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
        assert!(groups(socket.as_fd()).is_err());
    }
}
