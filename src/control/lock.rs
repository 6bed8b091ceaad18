//! The lock on a runtime directory: one agent each.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Held for as long as the value lives; the kernel gives it back however the
/// process ends. The file stays: removing it would let two agents lock two
/// files of one name.
#[derive(Debug)]
pub struct RuntimeLock {
    _file: File,
}

#[derive(Debug, Error)]
pub enum LockError {
    #[error(
        "another agent{} runs in {}; nothing was changed. Stop it, or give this one a runtime directory of its own (--runtime-dir)",
        holder(*.pid), .directory.display()
    )]
    Held {
        directory: PathBuf,
        /// Absent while the holder has not yet written it.
        pid: Option<u32>,
    },
    #[error("cannot lock the runtime directory: {}: {source}", .path.display())]
    Io { path: PathBuf, source: io::Error },
}

fn holder(pid: Option<u32>) -> String {
    pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
}

impl RuntimeLock {
    /// Takes the lock without waiting, and makes the directory (0755) where
    /// it is missing.
    pub fn take(runtime_dir: &Path) -> Result<Self, LockError> {
        let failed = |path: &Path, source| LockError::Io {
            path: path.to_owned(),
            source,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(runtime_dir)
            .map_err(|error| failed(runtime_dir, error))?;
        let path = runtime_dir.join("agent.lock");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&path)
            .map_err(|error| failed(&path, error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(LockError::Held {
                    directory: runtime_dir.to_owned(),
                    pid: read_pid(&mut file),
                });
            }
            Err(TryLockError::Error(error)) => return Err(failed(&path, error)),
        }
        write_pid(&mut file).map_err(|error| failed(&path, error))?;
        Ok(Self { _file: file })
    }
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    // A pid has at most ten digits; the rest is not ours to read.
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_agent_for_each_directory_and_the_holder_is_named() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("made/on/demand");
        let first = RuntimeLock::take(&directory).unwrap();
        let refused = RuntimeLock::take(&directory).unwrap_err().to_string();
        let pid = std::process::id();
        assert!(refused.contains(&format!("(pid {pid})")), "{refused}");
        assert!(refused.contains(directory.to_str().unwrap()), "{refused}");
        RuntimeLock::take(&parent.path().join("other")).unwrap();

        drop(first);
        RuntimeLock::take(&directory).unwrap();
    }

    #[test]
    fn a_shorter_pid_leaves_nothing_of_a_longer_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.lock");
        std::fs::write(&path, "4194304444444\n").unwrap();
        let _lock = RuntimeLock::take(directory.path()).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, format!("{}\n", std::process::id()));
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_one_sentence() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = RuntimeLock::take(&file.join("run")).unwrap_err();
        assert!(matches!(error, LockError::Io { .. }), "{error}");
        assert!(error.to_string().contains("file/run"), "{error}");
    }
}
