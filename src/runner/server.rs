//! The runner's process: one socket, one agent at a time, signals, the end.

use std::fmt::Display;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nix::unistd::Uid;
use thiserror::Error;
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::book::Book;
pub use super::book::Loader;
use super::crew::{Crew, Order, RUNNING_MAX, StopAt, WAITING_MAX};
use super::frame;
use super::message::{Answer, Hello, PROTOCOL, Request, unstarted};
use super::place::{self, PlaceError};
use crate::agent::jobs::CheckName;
use crate::net::child;

/// What hooks are left with when the runner is told to stop: that of a shutdown
/// may have a data base to stop. The unit allows more (TimeoutStopSec).
pub const HOOKS_MAY_TAKE: Duration = Duration::from_secs(30);
/// For what was killed to be gone; what is stuck in the kernel stays.
const GONE_WITHIN: Duration = Duration::from_secs(1);
/// For the last answers to be written.
const PARTING_WITHIN: Duration = Duration::from_millis(500);
/// How long a runner that an agent started outlives its last agent.
pub const ALONE_MAX: Duration = Duration::from_secs(60);
/// For an agent to say what it is.
const HELLO_WITHIN: Duration = Duration::from_secs(5);
/// Answers that wait for an agent to read them: all that it can be owed, and
/// some for what is refused at once. At the bound its connection ends.
const ANSWERS: usize = 2 * (WAITING_MAX + RUNNING_MAX);
/// Threads that start programs, one for each and a few for reading the
/// configuration. A start that hangs holds its place, and its thread.
const THREADS: usize = RUNNING_MAX + 4;

const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

#[derive(Clone, Debug)]
pub struct Options {
    pub runtime_dir: PathBuf,
    /// The user of the agent, where that is neither root nor ours.
    pub agent_user: Option<Uid>,
    /// For comparison with what an agent was told; the loader reads it.
    pub config: PathBuf,
    /// Ends by itself after this long without any agent; `None`: never, since
    /// a service manager looks after it.
    pub alone_max: Option<Duration>,
}

#[derive(Debug, Error)]
pub enum ServeError {
    #[error(transparent)]
    Place(#[from] PlaceError),
    #[error("the runner cannot {what}: {source}; nothing was started")]
    Io {
        what: &'static str,
        source: io::Error,
    },
}

/// Serves until SIGTERM or SIGINT, or until it was alone too long; then goes on
/// until no hook runs, for [`HOOKS_MAY_TAKE`] at most. A second signal ends
/// that wait.
///
/// # Errors
///
/// Only before anything was started.
pub fn run(options: Options, loader: Arc<Loader>) -> Result<(), ServeError> {
    let failed = |what| move |source| ServeError::Io { what, source };
    child::ordinary_scheduling().map_err(failed("leave real-time scheduling"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(THREADS)
        // Judging a configuration goes deep, deepest without optimization.
        .thread_stack_size(2 * 1024 * 1024)
        // The end of a thread would be the end of the checks it started.
        .thread_keep_alive(FOR_EVER)
        .build()
        .map_err(failed("start its runtime"))?;
    let outcome = runtime.block_on(async {
        let terminate = signal(SignalKind::terminate()).map_err(failed("hear signals"))?;
        let interrupt = signal(SignalKind::interrupt()).map_err(failed("hear signals"))?;
        let hang_up = signal(SignalKind::hangup()).map_err(failed("hear signals"))?;
        let (listener, place) = place::take(&options.runtime_dir, options.agent_user)?;
        let listener = UnixListener::from_std(listener).map_err(failed("listen"))?;
        let (stop, stop_seen) = watch::channel(None);
        let crew = Crew::new(stop_seen).map_err(failed("hear of ended programs"))?;
        let mut server = Server {
            shared: Arc::new(Shared {
                crew,
                book: Book::new(loader),
                finished: watch::Sender::new(false),
                options,
            }),
            listener,
            signals: [terminate, interrupt],
            hang_up,
            stop,
        };
        server.serve().await;
        drop(place);
        Ok(())
    });
    // A thread that hangs in a start must not keep the process.
    runtime.shutdown_background();
    outcome
}

struct Shared {
    crew: Crew,
    book: Book,
    /// True at the end, when there is nothing left to be answered.
    finished: watch::Sender<bool>,
    options: Options,
}

struct Server {
    shared: Arc<Shared>,
    listener: UnixListener,
    signals: [Signal; 2],
    hang_up: Signal,
    stop: watch::Sender<StopAt>,
}

/// The agent that is connected.
struct Agent {
    /// Dropped, it ends the connection.
    _keep: oneshot::Sender<()>,
    conversation: JoinHandle<Parting>,
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Parting {
    Lost,
    /// The agent said so, or another program of ours is wanted instead.
    Goodbye,
}

impl Server {
    async fn serve(&mut self) {
        self.reload();
        tracing::info!(
            "runner {} on {}",
            env!("CARGO_PKG_VERSION"),
            self.shared.options.runtime_dir.display()
        );
        let mut agent: Option<Agent> = None;
        let alone_max = self.shared.options.alone_max;
        let mut alone_until = alone_max.map(|time| Instant::now() + time);
        loop {
            let [terminate, interrupt] = &mut self.signals;
            tokio::select! {
                biased;
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = self.hang_up.recv() => self.reload(),
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => if may_connect(&stream, self.shared.options.agent_user) {
                        agent = Some(self.welcome(stream));
                        alone_until = None;
                    },
                    Err(error) => {
                        tracing::warn!("cannot accept an agent: {error}; trying again");
                        // Out of descriptors, as a rule: again at once would spin.
                        sleep(Duration::from_millis(100)).await;
                    }
                },
                parting = parted(&mut agent) => {
                    agent = None;
                    let now = Instant::now();
                    alone_until = alone_max.map(|time| match parting {
                        Parting::Lost => now + time,
                        Parting::Goodbye => now,
                    });
                }
                () = alone(alone_until, &self.shared.crew) => {
                    tracing::info!("no agent is there any more; the runner ends");
                    break;
                }
            }
        }
        self.end().await;
        if agent.is_some() {
            // The last answers are written, unless nobody reads them.
            let _ = timeout(PARTING_WITHIN, parted(&mut agent)).await;
        }
    }

    /// Without waiting for it. What it found is logged.
    fn reload(&self) {
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move { shared.book.reload().await.map(drop) });
    }

    /// A newer agent replaces the one before, whose connection ends.
    fn welcome(&self, stream: UnixStream) -> Agent {
        let (keep, replaced) = oneshot::channel();
        let shared = Arc::clone(&self.shared);
        let conversation = tokio::spawn(async move {
            tokio::select! {
                biased;
                _ = replaced => Parting::Lost,
                parting = converse(stream, shared) => parting,
            }
        });
        Agent {
            _keep: keep,
            conversation,
        }
    }

    /// Hooks have some time to end; checks end after them.
    async fn end(&mut self) {
        let until = Instant::now() + HOOKS_MAY_TAKE;
        self.stop.send_replace(Some(until));
        let crew = &self.shared.crew;
        let [terminate, interrupt] = &mut self.signals;
        tokio::select! {
            biased;
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = crew.no_hooks() => {}
            () = sleep_until(until) => {}
        }
        self.stop.send_replace(Some(Instant::now()));
        if timeout(GONE_WITHIN, crew.empty()).await.is_err() {
            tracing::error!("some scripts could not be killed; they are stuck in the kernel");
        }
        self.shared.finished.send_replace(true);
    }
}

/// Never, without an agent.
async fn parted(agent: &mut Option<Agent>) -> Parting {
    match agent {
        Some(agent) => (&mut agent.conversation).await.unwrap_or(Parting::Lost),
        None => std::future::pending().await,
    }
}

/// Until then, and until every hook has ended.
async fn alone(until: Option<Instant>, crew: &Crew) {
    match until {
        Some(until) => {
            sleep_until(until).await;
            crew.no_hooks().await;
        }
        None => std::future::pending().await,
    }
}

/// Root, the user that the runner runs as, and the agent's.
fn may_connect(stream: &UnixStream, agent_user: Option<Uid>) -> bool {
    let known = [Some(Uid::from_raw(0)), Some(Uid::effective()), agent_user];
    match stream.peer_cred() {
        Ok(peer) if known.contains(&Some(Uid::from_raw(peer.uid()))) => true,
        Ok(peer) => {
            tracing::warn!("user {} is no agent of this runner; refused", peer.uid());
            false
        }
        Err(error) => {
            tracing::warn!("a connection of an unknown user was refused: {error}");
            false
        }
    }
}

/// Takes requests in and gives answers out until either ends.
async fn converse(stream: UnixStream, shared: Arc<Shared>) -> Parting {
    let (mut from, mut to) = stream.into_split();
    let (answers, mut answers_due) = mpsc::channel(ANSWERS);
    let mut finished = shared.finished.subscribe();
    let (part, mut parting) = oneshot::channel::<()>();
    let write = async {
        loop {
            // What waits is written before either end is noticed.
            let answer = tokio::select! {
                biased;
                answer = answers_due.recv() => answer,
                _ = finished.wait_for(|finished| *finished) => None,
                _ = &mut parting => None,
            };
            let Some(answer) = answer else {
                return Parting::Lost;
            };
            if let Err(error) = frame::write(&mut to, &answer).await {
                return ended(error);
            }
        }
    };
    let read = async {
        let first = timeout(HELLO_WITHIN, frame::read(&mut from)).await;
        let mut next = match first {
            Ok(next) => next,
            Err(_) => return ended("it did not say what it is"),
        };
        let mut known = false;
        loop {
            let request = match next {
                Ok(Some(request)) => request,
                Ok(None) => return ended("it closed the connection"),
                Err(error) => return ended(error),
            };
            if !known && !matches!(request, Request::Hello(_)) {
                return ended("it did not begin with its version");
            }
            known = true;
            if let Some(parting) = shared.attend(request, &answers).await {
                return parting;
            }
            // Not before the first greeting was answered: an agent that waits
            // for that starts another runner.
            shared.book.opened().await;
            next = frame::read(&mut from).await;
        }
    };
    let mut write = std::pin::pin!(write);
    tokio::select! {
        parting = read => {
            drop(part);
            let _ = timeout(PARTING_WITHIN, write).await;
            parting
        }
        parting = &mut write => parting,
    }
}

fn ended(why: impl Display) -> Parting {
    tracing::info!("the connection to the agent ended: {why}");
    Parting::Lost
}

impl Shared {
    /// Something ends the connection.
    async fn attend(&self, request: Request, answers: &mpsc::Sender<Answer>) -> Option<Parting> {
        let (id, outcome) = match request {
            Request::Hello(hello) => return self.greet(&hello, answers),
            Request::Goodbye => return Some(Parting::Goodbye),
            Request::Reload { id } => {
                let (digest, error) = match self.book.reload().await {
                    Ok(digest) => (Some(digest), None),
                    Err(error) => (None, Some(error)),
                };
                return send(answers, Answer::Reloaded { id, error, digest });
            }
            Request::Check { id, name } => (id, self.book.check(&CheckName::new(&name))),
            Request::Hook { id, call } => (id, self.book.hook(&call)),
        };
        match outcome {
            Ok((name, launch)) => {
                let order = Order { id, name, launch };
                self.crew.take_on(order, answers.clone());
                None
            }
            Err(verdict) => send(answers, Answer::done(id, unstarted(verdict))),
        }
    }

    /// An agent of another version, or with another file, gets a runner of
    /// its own kind where it starts them itself; elsewhere the operator is
    /// told.
    fn greet(&self, hello: &Hello, answers: &mpsc::Sender<Answer>) -> Option<Parting> {
        let own = hello_of(&self.options.config);
        let parting = send(answers, Answer::Hello(own.clone()));
        if parting.is_none() && *hello != own && self.options.alone_max.is_some() {
            tracing::info!("the agent is another ({hello:?}); the runner makes place");
            return Some(Parting::Goodbye);
        }
        parting
    }
}

/// At the bound the agent does not read, and its connection ends.
fn send(answers: &mpsc::Sender<Answer>, answer: Answer) -> Option<Parting> {
    match answers.try_send(answer) {
        Ok(()) => None,
        Err(_) => Some(ended("it does not read its answers")),
    }
}

pub(super) fn hello_of(config: &std::path::Path) -> Hello {
    Hello {
        protocol: PROTOCOL,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        config: config.to_string_lossy().into_owned(),
    }
}
