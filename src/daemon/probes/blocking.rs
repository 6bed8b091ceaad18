//! Work that blocks for as long as it likes, on threads of its own and few of
//! them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;

use super::outcome::Trouble;

/// A bound on the threads of one kind of work. At the bound others wait, and
/// are failed at their time-outs.
pub(super) struct Slots(Arc<Semaphore>);

impl Slots {
    pub fn new(count: usize) -> Self {
        Self(Arc::new(Semaphore::new(count)))
    }

    /// May be given up at any time: the work goes on, and keeps its slot until
    /// it ends.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Trouble> {
        let broken = || Trouble::NotRun("a thread of the probes failed".to_owned());
        let slot = Arc::clone(&self.0).acquire_owned().await;
        let slot = slot.map_err(|_| broken())?;
        let work = tokio::task::spawn_blocking(move || {
            let _slot = slot;
            work()
        });
        work.await.map_err(|_| broken())
    }
}

/// Paths that somebody waits for, each once: one that hangs takes one slot.
#[derive(Clone, Default)]
pub(super) struct Busy(Arc<Mutex<BTreeSet<PathBuf>>>);

impl Busy {
    /// `None` while the last one who took it has it still.
    pub fn take(&self, path: &Path) -> Option<Taken> {
        let path = path.to_owned();
        let taken = locked(&self.0).insert(path.clone());
        taken.then(|| Taken {
            busy: Arc::clone(&self.0),
            path,
        })
    }
}

/// Given back by being dropped.
pub(super) struct Taken {
    busy: Arc<Mutex<BTreeSet<PathBuf>>>,
    path: PathBuf,
}

impl Drop for Taken {
    fn drop(&mut self) {
        locked(&self.busy).remove(&self.path);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_taken_by_one_at_a_time() {
        let busy = Busy::default();
        let first = busy.take("/a".as_ref());
        assert!(first.is_some());
        assert!(busy.take("/a".as_ref()).is_none());
        assert!(busy.take("/b".as_ref()).is_some());
        drop(first);
        assert!(busy.take("/a".as_ref()).is_some());
    }
}
