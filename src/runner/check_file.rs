//! Is this file safe to be run?
//!
//! The program is started by its path, not by an open descriptor: a file that
//! begins with `#!` is opened again by its interpreter, by name, and its `$0`
//! must be the name that the operator wrote. So instead of holding the file,
//! every name on the way to it is judged, symbolic links included: with root's
//! rights, whoever could exchange the file between this look and the start
//! could as well have written it.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

use thiserror::Error;

/// As the kernel allows them.
const LINKS_MAX: usize = 40;
const STICKY: u32 = 0o1000;

/// Why a file must not be run; nothing was started.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    #[error("{} is no absolute path; write where the file is, from / on", .0.display())]
    Relative(PathBuf),
    #[error("{} does not exist{}", .path.display(), part_of(.path, .command))]
    Missing { path: PathBuf, command: PathBuf },
    #[error("{} cannot be looked at: {error}", .path.display())]
    Unseen { path: PathBuf, error: String },
    #[error("{} has more than {LINKS_MAX} symbolic links on its way", .0.display())]
    Links(PathBuf),
    #[error("{} is {kind}, and only a regular file can be run", .path.display())]
    NotAFile { path: PathBuf, kind: &'static str },
    #[error("{} is not executable; `chmod +x {}` makes it so", .0.display(), .0.display())]
    NotExecutable(PathBuf),
    #[error(
        "{} can be written by {who} (mode {mode:04o}), who could have anything run; \
         `chmod go-w {}` ends that",
        .path.display(), .path.display()
    )]
    Writable {
        path: PathBuf,
        who: &'static str,
        mode: u32,
    },
    #[error(
        "{} belongs to user {uid}, who could have anything run; only root{} may own \
         what is run, and the directories it is in",
        .path.display(), or_user(*.allowed)
    )]
    Owner {
        path: PathBuf,
        uid: u32,
        /// Who may own it beside root.
        allowed: Option<u32>,
    },
}

fn part_of(path: &Path, command: &Path) -> String {
    if path == command {
        String::new()
    } else {
        format!(", and {} leads there", command.display())
    }
}

fn or_user(allowed: Option<u32>) -> String {
    match allowed {
        None | Some(0) => String::new(),
        Some(uid) => format!(" or user {uid}"),
    }
}

/// Judges a program that is to run as root, or as a user who owns nothing on
/// the way to it. See [`inspect_for`].
pub fn inspect(command: &Path, runs_as_root: bool) -> Result<(), Refusal> {
    inspect_for(command, runs_as_root, None)
}

/// Refuses what is missing, no regular file, not executable by anybody, or can
/// be written by its group or by others. Where it is started with root's
/// rights (`started_by_root`), also what belongs to anybody but root and
/// `user`, and every directory on the way that is so.
///
/// A directory that all may write but where only the owner of an entry may
/// replace it (the sticky bit, as on /tmp) is safe, since the owner of the
/// entry is judged too. Whether that very `user` may execute the file only the
/// kernel knows; it says so at the start.
pub fn inspect_for(
    command: &Path,
    started_by_root: bool,
    user: Option<u32>,
) -> Result<(), Refusal> {
    if !command.is_absolute() {
        return Err(Refusal::Relative(command.to_owned()));
    }
    let walk = Walk {
        command,
        started_by_root,
        user,
    };
    walk.run()
}

struct Walk<'a> {
    command: &'a Path,
    started_by_root: bool,
    user: Option<u32>,
}

impl Walk<'_> {
    fn run(&self) -> Result<(), Refusal> {
        let mut here = PathBuf::from("/");
        self.judge_directory(&here, &self.look(&here)?)?;
        let mut ahead = VecDeque::new();
        put_before(&mut ahead, self.command);
        let mut links = 0;
        while let Some(name) = ahead.pop_front() {
            if name == ".." {
                here.pop();
                continue;
            }
            let path = here.join(name);
            let found = self.look(&path)?;
            if found.is_symlink() {
                links += 1;
                if links > LINKS_MAX {
                    return Err(Refusal::Links(self.command.to_owned()));
                }
                // Its mode says nothing; who owns it may exchange it.
                self.judge_owner(&path, &found)?;
                let target = fs::read_link(&path).map_err(|error| self.unseen(&path, &error))?;
                if target.is_absolute() {
                    here = PathBuf::from("/");
                }
                put_before(&mut ahead, &target);
            } else if found.is_dir() {
                self.judge_directory(&path, &found)?;
                here = path;
            } else if ahead.is_empty() {
                return self.judge_file(path, &found);
            } else {
                let kind = kind(&found);
                return Err(Refusal::NotAFile { path, kind });
            }
        }
        Err(Refusal::NotAFile {
            path: here,
            kind: "a directory",
        })
    }

    fn look(&self, path: &Path) -> Result<Metadata, Refusal> {
        fs::symlink_metadata(path).map_err(|error| self.unseen(path, &error))
    }

    fn unseen(&self, path: &Path, error: &io::Error) -> Refusal {
        let path = path.to_owned();
        match error.kind() {
            io::ErrorKind::NotFound => Refusal::Missing {
                path,
                command: self.command.to_owned(),
            },
            _ => Refusal::Unseen {
                path,
                error: error.to_string(),
            },
        }
    }

    fn judge_owner(&self, path: &Path, found: &Metadata) -> Result<(), Refusal> {
        let uid = found.uid();
        if !self.started_by_root || uid == 0 || self.user == Some(uid) {
            return Ok(());
        }
        Err(Refusal::Owner {
            path: path.to_owned(),
            uid,
            allowed: self.user,
        })
    }

    fn judge_directory(&self, path: &Path, found: &Metadata) -> Result<(), Refusal> {
        if !self.started_by_root {
            return Ok(());
        }
        self.judge_owner(path, found)?;
        if found.mode() & STICKY != 0 {
            return Ok(());
        }
        judge_mode(path, found)
    }

    fn judge_file(&self, path: PathBuf, found: &Metadata) -> Result<(), Refusal> {
        if !found.is_file() {
            let kind = kind(found);
            return Err(Refusal::NotAFile { path, kind });
        }
        self.judge_owner(&path, found)?;
        judge_mode(&path, found)?;
        if found.mode() & 0o111 == 0 {
            return Err(Refusal::NotExecutable(path));
        }
        Ok(())
    }
}

/// An access control list that lets more people write shows in the group's
/// bits, which then are its mask.
fn judge_mode(path: &Path, found: &Metadata) -> Result<(), Refusal> {
    let mode = found.mode() & 0o7777;
    let who = match (mode & 0o020 != 0, mode & 0o002 != 0) {
        (false, false) => return Ok(()),
        (true, false) => "its group",
        (_, true) => "everybody",
    };
    Err(Refusal::Writable {
        path: path.to_owned(),
        who,
        mode,
    })
}

fn put_before(ahead: &mut VecDeque<OsString>, path: &Path) {
    for component in path.components().rev() {
        match component {
            Component::Normal(name) => ahead.push_front(name.to_owned()),
            Component::ParentDir => ahead.push_front(OsString::from("..")),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
}

fn kind(found: &Metadata) -> &'static str {
    let kind = found.file_type();
    match kind {
        _ if kind.is_dir() => "a directory",
        _ if kind.is_fifo() => "a FIFO",
        _ if kind.is_socket() => "a socket",
        _ if kind.is_char_device() || kind.is_block_device() => "a device",
        _ => "a file in the place of a directory",
    }
}
