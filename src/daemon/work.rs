//! Who carries out checks and hooks: probes are asked by a thread of ours,
//! files are followed by another, scripts and hooks are started by the runner.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::probes::Probes;
use super::probes::files::Files;
use crate::agent::event::Event;
use crate::agent::jobs::{CheckName, Job, JobId, JobResult, Task, Verdict};
use crate::config::{self, work::probe::Probe};
use crate::runner::catalog::Catalog;
use crate::runner::client::RunnerClient;

/// Each of the three is started when something first needs it: a host without
/// checks and hooks has none.
pub struct Work {
    results: mpsc::Sender<(JobId, JobResult)>,
    reports: mpsc::Sender<Event<'static>>,
    /// Where the runner listens.
    runner_dir: PathBuf,
    config_path: PathBuf,
    probes: BTreeMap<CheckName, Arc<Probe>>,
    prober: Option<Probes>,
    runner: Option<RunnerClient>,
    files: Option<Files>,
}

impl Work {
    pub fn new(
        results: mpsc::Sender<(JobId, JobResult)>,
        reports: mpsc::Sender<Event<'static>>,
        runner_dir: PathBuf,
        config_path: PathBuf,
    ) -> Self {
        Self {
            results,
            reports,
            runner_dir,
            config_path,
            probes: BTreeMap::new(),
            prober: None,
            runner: None,
            files: None,
        }
    }

    /// Serves these checks and hooks from now on, and starts whoever is
    /// needed for that. Makes threads, which takes well under a millisecond.
    pub fn serve(&mut self, work: &config::work::Work) -> io::Result<()> {
        let scripts = !work.scripts.is_empty() || !work.hooks.is_empty();
        if self.prober.is_none() && !work.probes.is_empty() {
            self.prober = Some(Probes::start(self.results.clone())?);
        }
        if self.files.is_none() && !work.files.is_empty() {
            self.files = Some(Files::start(self.reports.clone())?);
        }
        let known = Catalog {
            checks: work.scripts.clone(),
            hooks: work.hooks.clone(),
        };
        match &self.runner {
            // It reads the same files itself.
            Some(runner) => {
                runner.expect(known.digest());
                drop(runner.reload());
            }
            None if scripts => {
                let runner = RunnerClient::start(
                    self.runner_dir.clone(),
                    self.config_path.clone(),
                    self.results.clone(),
                    !is_managed(),
                )?;
                runner.expect(known.digest());
                self.runner = Some(runner);
            }
            None => {}
        }
        // Last: where something could not be started nothing has changed.
        if let Some(files) = &self.files {
            files.follow(work.files.clone());
        }
        let probes = work.probes.iter();
        let probes = probes.map(|(name, probe)| (name.clone(), Arc::new(probe.clone())));
        self.probes = probes.collect();
        Ok(())
    }

    /// Passes an order on. An event is returned where nobody could take it.
    pub fn start(&self, job: Job) -> Option<Event<'static>> {
        let id = job.id;
        let probe = match &job.task {
            Task::Check(name) => self.probes.get(name),
            Task::Hook(_) => None,
        };
        let taken = match (probe, &self.prober, &self.runner) {
            (Some(probe), Some(prober), _) => prober.submit(id, Arc::clone(probe)).is_ok(),
            (None, _, Some(runner)) => runner.submit(job).is_ok(),
            (Some(_), None, _) | (None, _, None) => false,
        };
        (!taken).then(|| Event::JobDone {
            job: id,
            result: JobResult {
                verdict: Verdict::NotRun("too many others wait to be run".to_owned()),
                duration: Duration::ZERO,
                output: String::new(),
            },
        })
    }
}

/// A service manager runs the runner as a unit of its own.
fn is_managed() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some()
}
