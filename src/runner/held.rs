//! Hooks that wait for a runner that is away. A check that cannot be run keeps
//! its last result for a while; a hook that is not run is a change that nobody
//! was told of, and a runner that is being restarted is soon back.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::agent::jobs::{Job, Task};

/// How long a hook waits. Less than the agent's patience with most.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// The agent orders one at a time for each instance. At the bound a hook is
/// answered at once that the runner is away.
const HELD_MAX: usize = 1024;

/// In the order in which they came.
#[derive(Debug, Default)]
pub struct Held {
    hooks: VecDeque<(Instant, Job)>,
}

impl Held {
    /// Gives back what is not to wait.
    pub fn keep(&mut self, job: Job) -> Option<Job> {
        match job.task {
            Task::Hook(_) if self.hooks.len() < HELD_MAX => {
                self.hooks.push_back((Instant::now() + PATIENCE, job));
                None
            }
            Task::Hook(_) | Task::Check(_) => Some(job),
        }
    }

    /// The one that came first, for a runner that is back.
    pub fn take(&mut self) -> Option<Job> {
        self.hooks.pop_front().map(|(_, job)| job)
    }

    /// Waits until one has waited too long. Safe to be given up.
    pub async fn late(&mut self) -> Job {
        if let Some((until, _)) = self.hooks.front() {
            sleep_until(*until).await;
            if let Some(job) = self.take() {
                return job;
            }
        }
        std::future::pending().await
    }
}
