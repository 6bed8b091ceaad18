//! Applying a changed configuration: read and judged where waiting harms
//! nobody, handed to the protocol loop, one reload at a time.
//!
//! Whoever asked learns one of three things: it was applied, nothing was
//! changed, or the protocol loop has it and is not done.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use thiserror::Error;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::events::fact::AgentFact;
use super::events::recorder::Recorder;
use super::pictures::About;
use super::server::{CONNECTIONS_MAX, Request};

/// From the request to the answer, the wait for other reloads included.
pub const RELOAD_TIMEOUT: Duration = Duration::from_secs(10);

/// A configuration that was read and found without a fault.
#[derive(Clone, Debug)]
pub struct Prepared<C> {
    /// What the loop is to apply.
    pub config: C,
    /// For the status document, once it was applied.
    pub node: String,
    pub digest: String,
    /// Where metrics and the page are served from now on.
    pub metrics: Option<SocketAddr>,
    /// What is legal and unwise, one sentence each.
    pub warnings: Vec<String>,
}

/// Reads and judges the configuration file anew. The error is the text for
/// people, its faults with their places. May wait: it runs on a thread of its
/// own, at most once at a time.
pub type Judge<C> = Arc<dyn Fn() -> Result<Prepared<C>, String> + Send + Sync>;

/// A configuration for the protocol loop to apply.
#[derive(Debug)]
pub struct Application<C> {
    config: Box<C>,
    claim: Claim,
    reply: oneshot::Sender<Result<String, String>>,
}

impl<C> Application<C> {
    /// What to apply, and whom to tell. `None` when whoever asked has given
    /// up and was told that nothing was changed: then nothing may be.
    pub fn accept(self) -> Option<(Box<C>, Accepted)> {
        self.claim
            .take()
            .then_some((self.config, Accepted { reply: self.reply }))
    }
}

/// An application that the loop has begun. Dropping it says that the agent
/// stopped before it was done.
#[derive(Debug)]
pub struct Accepted {
    reply: oneshot::Sender<Result<String, String>>,
}

impl Accepted {
    /// It was applied; `summary` is one line that says what changed.
    pub fn done(self, summary: String) {
        // Who asked may have gone.
        let _ = self.reply.send(Ok(summary));
    }

    /// Nothing was changed; `reason` is a sentence.
    pub fn refused(self, reason: String) {
        let _ = self.reply.send(Err(reason));
    }
}

/// Belongs to whoever takes it first: the loop that begins, or the asker that
/// gives up. No lock, since the loop may not wait.
#[derive(Clone, Debug, Default)]
struct Claim(Arc<AtomicBool>);

impl Claim {
    fn take(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }
}

/// How a reload went well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reloaded {
    pub summary: String,
    pub warnings: Vec<String>,
}

/// Why it did not. Nothing was changed, unless the variant says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReloadError {
    /// The configuration's faults, or why it cannot be read.
    #[error("{0}")]
    Faulty(String),
    #[error("the configuration was not applied: {0}")]
    Refused(String),
    #[error(
        "the configuration file was not read within {} s; nothing was changed. Is its file system well?",
        RELOAD_TIMEOUT.as_secs()
    )]
    Unread,
    #[error("another reload is under way; this one was not begun and changed nothing; try again")]
    Busy,
    #[error(
        "the agent lives, but its protocol loop did not take the configuration within {} s; nothing was changed, and its log may say why",
        RELOAD_TIMEOUT.as_secs()
    )]
    Untaken,
    #[error(
        "the protocol loop is still applying the configuration; `vipward status --json` shows its digest under `config` when it is done"
    )]
    Unfinished,
    #[error("the agent is stopping; nothing was changed")]
    Stopping,
    #[error("the agent stopped while it applied the configuration; its next start reads the file")]
    StoppedMeanwhile,
    #[error(
        "judging the configuration failed inside vipward; nothing was changed. Please report it with the file"
    )]
    Broken,
}

/// The reloads that ended, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reloadings {
    pub applied: u64,
    /// For whatever reason.
    pub failed: u64,
    pub last_failed: bool,
}

/// Asks for a reload without waiting for it, as SIGHUP does.
#[derive(Clone, Debug)]
pub struct Trigger(Arc<Notify>);

impl Trigger {
    /// Returns at once. The file is read after this call; calls before that
    /// are one. The outcome is in the log.
    pub fn reload(&self) {
        self.0.notify_one();
    }
}

/// What the reloads of one server need.
pub(super) struct Reloads<C> {
    judge: Judge<C>,
    requests: mpsc::Sender<Request<C>>,
    recorder: Recorder,
    about: Arc<Mutex<About>>,
    /// Told where metrics are to be served.
    listen: watch::Sender<Option<SocketAddr>>,
    /// A judgement that was not awaited to its end.
    overdue: Option<JoinHandle<Result<Prepared<C>, String>>>,
}

impl<C> fmt::Debug for Reloads<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloads").finish_non_exhaustive()
    }
}

/// Where connections hand in their wish.
#[derive(Clone, Debug)]
pub(super) struct Desk {
    orders: mpsc::Sender<Order>,
}

#[derive(Debug)]
struct Order {
    /// For the log.
    asker: String,
    deadline: Instant,
    reply: oneshot::Sender<Result<Reloaded, ReloadError>>,
}

impl Desk {
    /// Waits for its turn and for the outcome, [`RELOAD_TIMEOUT`] in all.
    pub async fn reload(&self, asker: String) -> Result<Reloaded, ReloadError> {
        let deadline = Instant::now() + RELOAD_TIMEOUT;
        let (reply, outcome) = oneshot::channel();
        let order = Order {
            asker,
            deadline,
            reply,
        };
        match self.orders.try_send(order) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => return Err(ReloadError::Busy),
            Err(mpsc::error::TrySendError::Closed(_)) => return Err(ReloadError::Stopping),
        }
        // What was begun is answered by the deadline; what was not begun by
        // then never is.
        let answered_by = deadline + Duration::from_millis(500);
        match timeout_at(answered_by, outcome).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(ReloadError::Stopping),
            Err(_) => Err(ReloadError::Busy),
        }
    }
}

/// The desk for connections, the trigger, and the work, which never ends.
pub(super) fn open<C: Send + 'static>(
    judge: Judge<C>,
    requests: mpsc::Sender<Request<C>>,
    about: Arc<Mutex<About>>,
    recorder: Recorder,
    listen: watch::Sender<Option<SocketAddr>>,
) -> (Desk, Trigger, impl Future<Output = ()> + Send) {
    // At most one order for each connection.
    let (orders, waiting) = mpsc::channel(CONNECTIONS_MAX);
    let trigger = Trigger(Arc::new(Notify::new()));
    let reloads = Reloads {
        judge,
        requests,
        recorder,
        about,
        listen,
        overdue: None,
    };
    let work = reloads.serve(waiting, Arc::clone(&trigger.0));
    (Desk { orders }, trigger, work)
}

impl<C: Send + 'static> Reloads<C> {
    async fn serve(mut self, mut orders: mpsc::Receiver<Order>, triggered: Arc<Notify>) {
        let mut open = true;
        loop {
            let order = tokio::select! {
                order = orders.recv(), if open => match order {
                    Some(order) => Some(order),
                    None => {
                        open = false;
                        continue;
                    }
                },
                () = triggered.notified() => None,
            };
            match order {
                // Its asker was told so, or is about to be.
                Some(order) if order.reply.is_closed() || order.deadline <= Instant::now() => {}
                Some(order) => {
                    self.reload(&order.asker, order.deadline, Some(order.reply))
                        .await;
                }
                None => {
                    let deadline = Instant::now() + RELOAD_TIMEOUT;
                    self.reload("a signal", deadline, None).await;
                }
            }
        }
    }

    /// Returns when the next may begin.
    async fn reload(
        &mut self,
        asker: &str,
        deadline: Instant,
        reply: Option<oneshot::Sender<Result<Reloaded, ReloadError>>>,
    ) {
        let mut reply = reply;
        let (recorder, about) = (self.recorder.clone(), Arc::clone(&self.about));
        let mut tell = |outcome: Result<Reloaded, ReloadError>| {
            let node = locked(&about).identity.node.clone();
            write_down(&recorder, asker, node, &outcome);
            count(&about, &outcome);
            if let Some(reply) = reply.take() {
                // The asker may have gone.
                let _ = reply.send(outcome);
            }
        };
        let loaded_at = Timestamp::now();
        let prepared = match self.judge(deadline).await {
            Ok(prepared) => prepared,
            Err(error) => return tell(Err(error)),
        };
        let Prepared {
            config,
            node,
            digest,
            metrics,
            warnings,
        } = prepared;
        let mut applied = match self.hand_over(config, deadline).await {
            Ok(applied) => applied,
            Err(error) => return tell(Err(error)),
        };
        let outcome = match timeout_at(deadline, &mut applied.outcome).await {
            Ok(outcome) => outcome,
            Err(_) if applied.claim.take() => return tell(Err(ReloadError::Untaken)),
            Err(_) => {
                tell(Err(ReloadError::Unfinished));
                // Ends with the loop at the latest. Until then there is no
                // other reload: what would it be compared with?
                applied.outcome.await
            }
        };
        let outcome = match outcome {
            Ok(Ok(summary)) => {
                let identity = &mut locked(&self.about).identity;
                identity.node = node;
                identity.config_digest = digest;
                identity.config_loaded_at = loaded_at;
                let other = |listen: &mut _| std::mem::replace(listen, metrics) != metrics;
                self.listen.send_if_modified(other);
                Ok(Reloaded { summary, warnings })
            }
            Ok(Err(reason)) => Err(ReloadError::Refused(reason)),
            // Dropped by a loop that ended, before or after it had begun.
            Err(_) if applied.claim.take() => Err(ReloadError::Stopping),
            Err(_) => Err(ReloadError::StoppedMeanwhile),
        };
        tell(outcome);
    }

    /// On a thread of its own. One that does not come back is left to itself,
    /// and no second one is started beside it.
    async fn judge(&mut self, deadline: Instant) -> Result<Prepared<C>, ReloadError> {
        if self.overdue.as_ref().is_some_and(|one| !one.is_finished()) {
            return Err(ReloadError::Unread);
        }
        let judge = Arc::clone(&self.judge);
        let mut judgement = tokio::task::spawn_blocking(move || judge());
        match timeout_at(deadline, &mut judgement).await {
            Ok(Ok(verdict)) => verdict.map_err(ReloadError::Faulty),
            // It panicked.
            Ok(Err(_)) => Err(ReloadError::Broken),
            Err(_) => {
                self.overdue = Some(judgement);
                Err(ReloadError::Unread)
            }
        }
    }

    async fn hand_over(&self, config: C, deadline: Instant) -> Result<Applied, ReloadError> {
        let claim = Claim::default();
        let (reply, outcome) = oneshot::channel();
        let application = Application {
            config: Box::new(config),
            claim: claim.clone(),
            reply,
        };
        let sent = self.requests.send(Request::Apply(application));
        match timeout_at(deadline, sent).await {
            Ok(Ok(())) => Ok(Applied { claim, outcome }),
            Ok(Err(_)) => Err(ReloadError::Stopping),
            Err(_) => Err(ReloadError::Untaken),
        }
    }
}

/// What is in the hands of the loop.
struct Applied {
    claim: Claim,
    outcome: oneshot::Receiver<Result<String, String>>,
}

fn locked(about: &Mutex<About>) -> MutexGuard<'_, About> {
    about.lock().unwrap_or_else(PoisonError::into_inner)
}

fn count(about: &Mutex<About>, outcome: &Result<Reloaded, ReloadError>) {
    let reloadings = &mut locked(about).reloadings;
    match outcome {
        Ok(_) => reloadings.applied += 1,
        // It has not ended yet.
        Err(ReloadError::Unfinished) => return,
        Err(_) => reloadings.failed += 1,
    }
    reloadings.last_failed = outcome.is_err();
}

/// `node`: as this one is called now.
fn write_down(
    recorder: &Recorder,
    asker: &str,
    node: String,
    outcome: &Result<Reloaded, ReloadError>,
) {
    let by = asker.to_owned();
    match outcome {
        Ok(Reloaded { summary, warnings }) => {
            for warning in warnings {
                tracing::warn!("configuration: {warning}");
            }
            let summary = summary.clone();
            recorder.note(AgentFact::Reloaded { by, summary, node });
        }
        Err(error) => {
            let why = error.to_string();
            recorder.note(AgentFact::NotReloaded { by, why });
        }
    }
}
