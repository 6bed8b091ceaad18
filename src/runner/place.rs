//! The runner's place in the runtime directory: a lock, so that there is one,
//! and the socket file, under that lock.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{
    DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown,
};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::unistd::Uid;
use socket2::{Domain, SockAddr, Socket, Type};
use thiserror::Error;

use super::socket_path;

/// Agents that may wait to be accepted.
const BACKLOG: i32 = 16;

#[derive(Debug, Error)]
pub enum PlaceError {
    #[error(
        "another runner serves {}; nothing was changed. Stop it, or give this one a runtime directory of its own (--runtime-dir)",
        .0.display()
    )]
    Taken(PathBuf),
    #[error("{} is there and is no socket; it was left alone. Remove it, or use another runtime directory (--runtime-dir)", .0.display())]
    NotASocket(PathBuf),
    #[error("cannot {what} {}: {source}", .path.display())]
    Io {
        what: &'static str,
        path: PathBuf,
        source: io::Error,
    },
}

/// Held while the runner serves; the kernel gives the lock back however it
/// ends. Dropping it removes the socket file, unless another took its place.
#[derive(Debug)]
pub struct Place {
    path: PathBuf,
    /// Device and inode of the socket file.
    identity: (u64, u64),
    _lock: File,
}

impl Drop for Place {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|found| (found.dev(), found.ino()) == self.identity);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(
                "cannot remove the runner's socket {}: {error}; the next start replaces it",
                self.path.display()
            );
        }
    }
}

/// Takes the lock without waiting and binds `runner.sock` (0600), replacing
/// one that a dead runner left. Makes the directory (0755) where it is
/// missing. The socket is `owner`'s; give one only where nobody else can
/// exchange files in the directory.
pub fn take(runtime_dir: &Path, owner: Option<Uid>) -> Result<(UnixListener, Place), PlaceError> {
    let lock = lock(runtime_dir)?;
    let path = socket_path(runtime_dir);
    let failed = |what| {
        let path = path.clone();
        move |source| PlaceError::Io { what, path, source }
    };
    match fs::symlink_metadata(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(failed("look at")(error)),
        Ok(found) if !found.file_type().is_socket() => return Err(PlaceError::NotASocket(path)),
        // Under the lock nobody can be behind it.
        Ok(_) => fs::remove_file(&path).map_err(failed("remove the stale socket"))?,
    }
    let address = SockAddr::unix(&path).map_err(failed("name the socket"))?;
    let socket =
        Socket::new(Domain::UNIX, Type::STREAM, None).map_err(failed("make the socket"))?;
    socket.bind(&address).map_err(failed("bind"))?;
    let found = fs::symlink_metadata(&path).map_err(failed("look at"))?;
    let identity = (found.dev(), found.ino());
    let place = Place {
        path: path.clone(),
        identity,
        _lock: lock,
    };
    // Nobody can connect before `listen`, so nobody slips in before this.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))
        .map_err(failed("set the permissions of"))?;
    if let Some(owner) = owner {
        chown(&path, Some(owner.as_raw()), None).map_err(failed("give to the agent's user"))?;
    }
    socket.listen(BACKLOG).map_err(failed("listen on"))?;
    socket.set_nonblocking(true).map_err(failed("prepare"))?;
    Ok((UnixListener::from(socket), place))
}

/// The file stays: removing it would let two runners lock two files of one
/// name.
fn lock(runtime_dir: &Path) -> Result<File, PlaceError> {
    let failed = |what, path: &Path| {
        let path = path.to_owned();
        move |source| PlaceError::Io { what, path, source }
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(runtime_dir)
        .map_err(failed("make the runtime directory", runtime_dir))?;
    let path = runtime_dir.join("runner.lock");
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(&path)
        .map_err(failed("open the lock", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(PlaceError::Taken(runtime_dir.to_owned())),
        Err(TryLockError::Error(error)) => Err(failed("lock", &path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;
    use std::thread;
    use std::time::{Duration, Instant};

    #[test]
    fn a_living_runner_keeps_its_place_and_a_dead_ones_socket_is_replaced() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("made");
        let (listener, place) = take(&dir, None).unwrap();
        let path = socket_path(&dir);
        let mode = fs::metadata(&path).unwrap().mode() & 0o777;
        assert_eq!(mode, 0o600);
        let refused = take(&dir, None).unwrap_err();
        assert!(matches!(refused, PlaceError::Taken(_)), "{refused}");
        UnixStream::connect(&path).unwrap();

        drop((listener, place));
        assert!(!path.exists());
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        // A child that another test starts now holds both, too, until it
        // becomes its program.
        let patience = Instant::now() + Duration::from_secs(10);
        while let Err(error) = take(&dir, None) {
            assert!(Instant::now() < patience, "{error}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn what_is_no_socket_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(socket_path(dir.path()), "precious").unwrap();
        let refused = take(dir.path(), None).unwrap_err();
        assert!(matches!(refused, PlaceError::NotASocket(_)), "{refused}");
        assert_eq!(fs::read(socket_path(dir.path())).unwrap(), b"precious");
    }
}
