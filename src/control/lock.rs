//! The lock on a runtime directory: one agent each.

use std::fs::{DirBuilder, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use thiserror::Error;

use super::own_file;

/// Held for as long as the value lives; the kernel gives it back however the
/// process ends. The file stays: removing it would let two agents lock two
/// files of one name.
#[derive(Debug)]
pub struct RuntimeLock {
    file: File,
}

/// How long a dead agent's guardian may take over what it has to do.
const GUARDIAN_LONGEST: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(2);

#[derive(Debug, Error)]
pub enum LockError {
    #[error(
        "{} holds {}; nothing was changed. Stop it, or give this one a runtime directory of its own (--runtime-dir)",
        self.holder(), .directory.display()
    )]
    Held {
        directory: PathBuf,
        /// Absent while the holder has not yet written it.
        pid: Option<u32>,
    },
    #[error("cannot lock the runtime directory: {}: {source}", .path.display())]
    Io { path: PathBuf, source: io::Error },
}

impl LockError {
    /// Who holds the lock, in words.
    pub fn holder(&self) -> String {
        match self {
            LockError::Held { pid: Some(pid), .. } if is_dead(*pid) => {
                format!("the guardian of an agent that died (pid {pid})")
            }
            LockError::Held { pid: Some(pid), .. } => format!("another agent (pid {pid})"),
            LockError::Held { pid: None, .. } | LockError::Io { .. } => "another agent".to_owned(),
        }
    }
}

impl RuntimeLock {
    /// Takes the lock, and makes the directory (0755) where it is missing.
    /// Waits for nobody but the guardian of an agent that is dead already,
    /// and for that three seconds at most.
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
        let mut file = own_file::open_or_make(&path).map_err(|error| failed(&path, error))?;
        let give_up = Instant::now() + GUARDIAN_LONGEST;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(failed(&path, error)),
            }
            let pid = read_pid(&mut file);
            if !pid.is_some_and(is_dead) || Instant::now() >= give_up {
                return Err(LockError::Held {
                    directory: runtime_dir.to_owned(),
                    pid,
                });
            }
            thread::sleep(LOOK);
        }
        write_pid(&mut file).map_err(|error| failed(&path, error))?;
        Ok(Self { file })
    }
}

/// For whoever is to keep the lock held with us.
impl AsFd for RuntimeLock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// No process has the number, or one that only waits to be reaped.
fn is_dead(pid: u32) -> bool {
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        // The name, in brackets, may hold anything.
        Ok(stat) => stat.rsplit_once(')').is_some_and(|(_, rest)| {
            matches!(rest.trim_start().as_bytes().first(), Some(b'Z' | b'X'))
        }),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
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
        // A child that another test starts now holds it, too, until it becomes
        // its program.
        let patience = Instant::now() + Duration::from_secs(10);
        while let Err(error) = RuntimeLock::take(&directory) {
            assert!(Instant::now() < patience, "{error}");
            thread::sleep(LOOK);
        }
    }

    /// A guardian holds the lock with its agent and a moment longer.
    #[test]
    fn the_guardian_of_a_dead_agent_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let lock = RuntimeLock::take(directory.path()).unwrap();
        let guardians = lock.as_fd().try_clone_to_owned().unwrap();
        drop(lock);
        // Held by one that lives: no waiting.
        let begun = Instant::now();
        let refused = RuntimeLock::take(directory.path()).unwrap_err();
        assert!(begun.elapsed() < GUARDIAN_LONGEST / 2);
        assert!(refused.to_string().starts_with("another agent (pid "));
        // By one that is dead and not yet reaped.
        let mut dead = std::process::Command::new("/bin/true").spawn().unwrap();
        let path = directory.path().join("agent.lock");
        std::fs::write(&path, format!("{}\n", dead.id())).unwrap();
        while !is_dead(dead.id()) {
            thread::sleep(LOOK);
        }
        let begun = Instant::now();
        let refused = RuntimeLock::take(directory.path()).unwrap_err();
        assert!(begun.elapsed() >= GUARDIAN_LONGEST);
        let words = refused.to_string();
        assert!(
            words.starts_with("the guardian of an agent that died"),
            "{words}"
        );
        dead.wait().unwrap();
        let done = thread::spawn(move || {
            thread::sleep(Duration::from_millis(50));
            drop(guardians);
        });
        RuntimeLock::take(directory.path()).unwrap();
        done.join().unwrap();
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
