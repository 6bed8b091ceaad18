//! The socket file: bound without a moment in which strangers could connect,
//! never taken from a living agent, removed at the end.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::unistd::Group;
use socket2::{Domain, SockAddr, Socket, Type};
use thiserror::Error;

use super::socket_path;

/// Who may connect beside the user that the agent runs as.
#[derive(Clone, Debug, Default)]
pub struct Access {
    pub read_group: Option<String>,
    /// May reload. Whoever may command may also read: this group gets the
    /// socket where there is no `read_group`; where there is one, its members
    /// must be in that one too, since a socket file has one group.
    pub admin_group: Option<String>,
}

#[derive(Debug, Error)]
pub enum ListenError {
    #[error(
        "another agent answers on {}; nothing was changed. Stop it, or give this one a runtime directory of its own (--runtime-dir)",
        .0.display()
    )]
    Taken(PathBuf),
    #[error(
        "{} is there and is no socket; it was left alone. Remove it, or use another runtime directory (--runtime-dir)",
        .0.display()
    )]
    NotASocket(PathBuf),
    #[error("cannot {what} the control socket {}: {source}", .path.display())]
    Io {
        what: &'static str,
        path: PathBuf,
        source: io::Error,
    },
}

/// The socket file; removed when dropped, unless another took its place.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
}

impl SocketFile {
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|found| (found.dev(), found.ino()) == self.identity);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(
                "cannot remove the control socket {}: {error}; the next start replaces it",
                self.path.display()
            );
        }
    }
}

/// Binds `control.sock` in `runtime_dir`, which must exist. Call it under the
/// lock of the directory: two starts at once are not told apart here.
pub fn listen(
    runtime_dir: &Path,
    access: &Access,
) -> Result<(UnixListener, SocketFile), ListenError> {
    let path = socket_path(runtime_dir);
    let failed = |what| {
        let path = path.clone();
        move |source| ListenError::Io { what, path, source }
    };
    remove_stale(&path)?;

    let address = SockAddr::unix(&path).map_err(failed("name"))?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(failed("make"))?;
    socket.bind(&address).map_err(failed("bind"))?;
    let found = fs::symlink_metadata(&path).map_err(failed("look at"))?;
    let file = SocketFile {
        path: path.clone(),
        identity: (found.dev(), found.ino()),
    };
    // Nobody can connect before `listen`, so nobody slips in before the
    // permissions are right.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))
        .map_err(failed("set the permissions of"))?;
    grant(&path, access);
    // Beyond the connections served at once, so that the next one is told so.
    socket.listen(64).map_err(failed("listen on"))?;
    socket.set_nonblocking(true).map_err(failed("prepare"))?;
    Ok((UnixListener::from(socket), file))
}

/// Removes a socket file on which nobody listens.
fn remove_stale(path: &Path) -> Result<(), ListenError> {
    let failed = |what| {
        move |source| ListenError::Io {
            what,
            path: path.to_owned(),
            source,
        }
    };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("look at")(error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(ListenError::NotASocket(path.to_owned()));
        }
        Ok(_) => {}
    }
    let address = SockAddr::unix(path).map_err(failed("name"))?;
    let probe =
        Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None).map_err(failed("make"))?;
    match probe.connect(&address) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(failed("remove the stale"))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        // A full backlog is somebody's, too.
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            Err(ListenError::Taken(path.to_owned()))
        }
        Err(error) => Err(failed("try")(error)),
        Ok(()) => Err(ListenError::Taken(path.to_owned())),
    }
}

/// What helps where the agent is not root: it can give its socket to a group
/// that it is in, and to no other.
fn foreign(error: &io::Error) -> &'static str {
    match error.kind() == ErrorKind::PermissionDenied {
        true => {
            "; the agent's user is not in it: SupplementaryGroups= in `systemctl edit vipward` \
             puts it there"
        }
        false => "",
    }
}

/// Lets the group in. What fails leaves the socket to its owner and root:
/// being asked less is no reason not to start.
fn grant(path: &Path, access: &Access) {
    let names = [&access.read_group, &access.admin_group];
    for name in names.into_iter().flatten() {
        let outcome = match Group::from_name(name) {
            // Root reads everything already.
            Ok(Some(group)) if group.gid.as_raw() == 0 => continue,
            Ok(Some(group)) => chown(path, None, Some(group.gid.as_raw()))
                .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o660))),
            Ok(None) => Err(io::Error::other("there is no such group")),
            Err(errno) => Err(errno.into()),
        };
        match outcome {
            Ok(()) => return,
            Err(error) => tracing::warn!(
                "cannot open the control socket {} to the group {name}: {error}{}",
                path.display(),
                foreign(&error)
            ),
        }
    }
}
