//! How evenly advertisements leave while scripts run and the processor is
//! busy: what loads a host, and what the observer saw.

use std::fmt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use super::config::{Router, yaml};
use super::process::Process;
use super::{Lab, service};

/// Checks, each once a second.
pub const SCRIPTS: usize = 100;

/// Scripts that burn about a millisecond each, and count their runs.
pub struct Scripts {
    pub script: PathBuf,
    runs: PathBuf,
}

impl Scripts {
    pub fn new(lab: &Lab, name: &str) -> Self {
        let runs = lab.directory.path().join(format!("{name}-runs"));
        let text = format!(
            "i=0; while [ $i -lt 1000 ]; do i=$((i+1)); done; echo run >>{}",
            runs.display()
        );
        Self {
            script: lab.script(&format!("{name}-burn"), &text),
            runs,
        }
    }

    /// How many ran so far.
    pub fn runs(&self) -> usize {
        service::lines(&self.runs)
    }

    /// vipward's configuration of `router` listening to all of them.
    pub fn vipward(&self, node: &str, router: Router) -> String {
        let names: Vec<_> = (0..SCRIPTS).map(|n| format!("s{n}")).collect();
        let router = router.with(&format!("checks: [{}]", names.join(", ")));
        let checks = names.iter().map(|name| {
            // A time-out that no busy machine reaches.
            service::check(name, &self.script, "interval: 1s, timeout: 20s")
        });
        let checks: String = checks.collect();
        format!("{}checks:\n{checks}", yaml(node, &[router]))
    }
}

/// Keeps `count` processors busy until it is dropped.
pub fn busy(lab: &Lab, count: usize, niceness: u8) -> Vec<Process> {
    let one = |n| {
        let mut command = Command::new("nice");
        command.args(["-n", &niceness.to_string()]);
        command.args(["sh", "-c", "while :; do :; done"]);
        Process::start(&format!("busy-{n}"), command, lab.directory.path())
    };
    (0..count).map(one).collect()
}

/// The times from one advertisement of `host` to its next, from `since` on.
pub fn spans(lab: &Lab, host: &str, since: Instant) -> Vec<Duration> {
    let adverts = lab.observer.adverts(since, host);
    let times: Vec<_> = adverts.iter().map(|(at, _)| *at).collect();
    times.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

/// Such times, summed up.
#[derive(Clone, Debug)]
pub struct Spacing {
    /// Sorted.
    spans: Vec<Duration>,
}

impl Spacing {
    pub fn new(mut spans: Vec<Duration>) -> Self {
        spans.sort();
        Self { spans }
    }

    pub fn count(&self) -> usize {
        self.spans.len()
    }

    pub fn max(&self) -> Duration {
        self.spans.last().copied().unwrap_or_default()
    }

    /// Which span `per_mille` of them do not exceed.
    pub fn quantile(&self, per_mille: usize) -> Duration {
        let last = self.spans.len().saturating_sub(1);
        let place = (last * per_mille).div_ceil(1000);
        self.spans.get(place).copied().unwrap_or_default()
    }
}

/// n, then in milliseconds: median, 99 %, 99.9 %, maximum, and the shortest.
impl fmt::Display for Spacing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |span: Duration| span.as_secs_f64() * 1e3;
        write!(f, "{:>5}", self.count())?;
        for span in [500, 990, 999, 1000, 0].map(|q| self.quantile(q)) {
            write!(f, " | {:>7.2}", ms(span))?;
        }
        Ok(())
    }
}
