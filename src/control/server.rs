//! HTTP/1.1 on the unix socket, on a thread of its own: a slow or hostile
//! client costs the protocol thread nothing but the clone of a status.
//!
//! One request for each connection. `GET /status` answers the document, `GET
//! /metrics` the metrics;
//! `POST /reload`, for those who may, applies the changed configuration and
//! answers `{"summary": "one line", "warnings": ["one sentence"]}`; `POST
//! /handover`, `/drain` and `/undrain`, with their fields as a query, move
//! instances and answer `{"done": "sentences"}`. `GET /events` answers what
//! happened, see [`super::events`]. Everything
//! else is an error as `{"error": "one sentence"}`; that of a configuration
//! with faults (422) is their text, of many lines.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::service::service_fn;
use hyper::{Method, StatusCode};
use serde_json::json;
use thiserror::Error;
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::admin::{Caller, PeerGroups};
use super::document::Identity;
use super::events::query::Query;
use super::events::{self, Events};
use super::http::{self, Answer, error, not_allowed, respond, respond_with};
pub use super::http::{BODY_BYTES_MAX, HEAD_BYTES_MAX, HEAD_TIMEOUT};
use super::listener::{self, Access, ListenError, SocketFile};
use super::metrics;
use super::moves::{self, Errand, ORDER_TIMEOUT};
use super::orders;
use super::pictures::{About, Pictures};
use super::reload::{
    self, Application, Desk, Judge, RELOAD_TIMEOUT, ReloadError, Reloadings, Trigger,
};
use super::web;
use crate::agent::status::Status;
use crate::agent::time::Instant;

/// Connections served at once; the next one is answered 503 and closed.
pub const CONNECTIONS_MAX: usize = 16;
/// From the first byte to the last one; then the connection is closed,
/// whatever it was doing. A reload that is permitted has its own time more.
pub const CONNECTION_TIMEOUT: Duration = Duration::from_secs(2);
/// For the protocol loop to answer. Less than the second that clients wait,
/// so that they learn the reason.
pub const LOOP_TIMEOUT: Duration = Duration::from_millis(900);

/// What the control thread asks of the protocol loop; `C` is a configuration.
#[derive(Debug)]
pub enum Request<C> {
    /// Asks for a copy of the present; it is not awaited by name, so a loop
    /// that finds the receiver gone need not care.
    Status(oneshot::Sender<StatusPicture>),
    /// Hands over a configuration without a fault.
    Apply(Application<C>),
    /// An order of an operator.
    Order(Errand),
}

/// What a server is given.
pub struct Setup<C> {
    pub access: Access,
    pub identity: Identity,
    /// Ends at the protocol loop. When it is full, who asks for a status is
    /// told to come again.
    pub requests: mpsc::Sender<Request<C>>,
    pub judge: Judge<C>,
    pub peer_groups: PeerGroups,
    pub events: Events,
    /// Where metrics and the page are served; `None`: nowhere.
    pub metrics: Option<SocketAddr>,
}

/// The core's status, and when it was taken.
#[derive(Clone, Debug)]
pub struct StatusPicture {
    pub status: Status,
    pub now: Instant,
}

#[derive(Debug, Error)]
pub enum StartError {
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error("cannot start the control thread: {0}; nothing else was changed")]
    Thread(io::Error),
}

/// A running server. Dropping it closes every connection, ends the thread and
/// removes the socket file.
#[derive(Debug)]
pub struct ControlServer {
    file: SocketFile,
    /// Dropped to stop.
    stop: Option<oneshot::Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
    trigger: Trigger,
}

impl ControlServer {
    /// Binds the socket before it returns: whoever is told that the agent is
    /// ready can connect.
    ///
    /// # Errors
    ///
    /// Nothing is left behind by a failed start.
    pub fn start<C: Send + 'static>(
        runtime_dir: &Path,
        setup: Setup<C>,
    ) -> Result<Self, StartError> {
        let (listener, file) = listener::listen(runtime_dir, &setup.access)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            // For looking up users and groups and for reading the
            // configuration; what is more waits within its time-outs.
            .max_blocking_threads(4)
            .build()
            .map_err(StartError::Thread)?;
        let listener = {
            let _inside = runtime.enter();
            UnixListener::from_std(listener).map_err(StartError::Thread)?
        };
        let (shared, trigger, work) = open(setup);
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("control".to_owned())
            // The agent's memory is locked: a default stack would be 2 MiB of it.
            .stack_size(512 * 1024)
            .spawn(move || serve(runtime, listener, shared, work, stopped))
            .map_err(StartError::Thread)?;
        Ok(Self {
            file,
            stop: Some(stop),
            thread: Some(thread),
            trigger,
        })
    }

    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Reloads as `POST /reload` does; for SIGHUP.
    pub fn trigger(&self) -> Trigger {
        self.trigger.clone()
    }
}

impl Drop for ControlServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the control thread had panicked; please report it");
        }
    }
}

pub(super) struct Shared<C> {
    about: Arc<Mutex<About>>,
    pub requests: mpsc::Sender<Request<C>>,
    pub pictures: Pictures<C>,
    reloads: Desk,
    admin_group: Option<String>,
    peer_groups: PeerGroups,
    pub events: Events,
    /// For connections to the metrics' address.
    pub visitors: Arc<Semaphore>,
}

impl<C> Shared<C> {
    /// As the configuration names it now.
    pub fn node(&self) -> String {
        let about = self.about.lock().unwrap_or_else(PoisonError::into_inner);
        about.identity.node.clone()
    }
}

/// What connections share, and the work of the reloads they ask for and of the
/// metrics' address.
fn open<C: Send + 'static>(
    setup: Setup<C>,
) -> (Arc<Shared<C>>, Trigger, impl Future<Output = ()> + Send) {
    let about = Arc::new(Mutex::new(About {
        identity: setup.identity,
        reloadings: Reloadings::default(),
    }));
    let (listen, wanted) = watch::channel(setup.metrics);
    let (reloads, trigger, reloading) = reload::open(
        setup.judge,
        setup.requests.clone(),
        Arc::clone(&about),
        setup.events.recorder.clone(),
        listen,
    );
    let shared = Arc::new(Shared {
        pictures: Pictures::new(
            setup.requests.clone(),
            Arc::clone(&about),
            Arc::clone(&setup.events.feed),
        ),
        about,
        requests: setup.requests,
        reloads,
        admin_group: setup.access.admin_group,
        peer_groups: setup.peer_groups,
        events: setup.events,
        visitors: web::visitors(),
    });
    let visited = Arc::clone(&shared);
    let work = async move {
        tokio::join!(reloading, web::serve(visited, wanted));
    };
    (shared, trigger, work)
}

/// Serves one connection to its end as the server does, without its socket
/// file and thread: for those who try what a client may send.
pub async fn serve_one<C: Send + 'static>(setup: Setup<C>, stream: UnixStream) {
    let (shared, _trigger, reloads) = open(setup);
    tokio::select! {
        () = converse(stream, shared) => {}
        () = reloads => {}
    }
}

fn serve<C: Send + 'static>(
    runtime: Runtime,
    listener: UnixListener,
    shared: Arc<Shared<C>>,
    reloads: impl Future<Output = ()> + Send,
    stopped: oneshot::Receiver<Infallible>,
) {
    runtime.block_on(async move {
        tokio::select! {
            // Ends when the sender is dropped.
            _ = stopped => {}
            () = accept(listener, shared) => {}
            () = reloads => {}
        }
    });
    // A configuration on a file system that hangs must not hold up the stop.
    runtime.shutdown_background();
}

/// Never returns; dropping it drops every connection.
async fn accept<C: Send + 'static>(listener: UnixListener, shared: Arc<Shared<C>>) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        match stream {
            Ok((stream, _)) => match Arc::clone(&permits).try_acquire_owned() {
                Ok(permit) => {
                    let shared = Arc::clone(&shared);
                    connections.spawn(async move {
                        converse(stream, shared).await;
                        drop(permit);
                    });
                }
                Err(_) => refuse(&stream),
            },
            Err(error) => {
                tracing::warn!("cannot accept a control connection: {error}; trying again");
                // Out of descriptors, as a rule: accepting again at once
                // would spin until one is free.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Tells one client too many, without waiting for it.
fn refuse(stream: &UnixStream) {
    // A fresh socket's buffer takes it whole; should it not, the client sees
    // the end of the connection instead.
    let _ = stream.try_write(http::refusal(CONNECTIONS_MAX).as_bytes());
}

async fn converse<C: Send + 'static>(stream: UnixStream, shared: Arc<Shared<C>>) {
    let caller = match Caller::of(&stream, shared.peer_groups) {
        Ok(caller) => caller,
        Err(error) => {
            tracing::warn!("cannot tell who asks on the control socket: {error}; not answered");
            return;
        }
    };
    // For how much longer than usual, in seconds, it may take.
    let longer = Arc::new(AtomicU64::new(0));
    let service = service_fn({
        let longer = Arc::clone(&longer);
        move |request| {
            let (shared, caller, longer) =
                (Arc::clone(&shared), caller.clone(), Arc::clone(&longer));
            async move { Ok::<_, Infallible>(answer(&shared, caller, &longer, request).await) }
        }
    });
    http::converse(stream, service, CONNECTION_TIMEOUT, &longer).await;
}

async fn answer<C: Send + 'static>(
    shared: &Shared<C>,
    caller: Caller,
    longer: &AtomicU64,
    request: hyper::Request<Incoming>,
) -> Answer {
    let (head, body) = request.into_parts();
    if let Err(refusal) = http::discard_body(body).await {
        return refusal;
    }
    match (head.uri.path(), &head.method) {
        ("/status", &Method::GET) => status(shared).await,
        ("/events", &Method::GET) => events(shared, longer, head.uri.query()).await,
        ("/metrics", &Method::GET) => match shared.pictures.shared().await {
            Ok(view) => {
                let kind = HeaderValue::from_static(metrics::CONTENT_TYPE);
                respond_with(StatusCode::OK, kind, view.metrics())
            }
            Err(sentence) => error(StatusCode::SERVICE_UNAVAILABLE, sentence),
        },
        ("/reload", &Method::POST) => match permit(shared, &caller).await {
            Ok(()) => {
                longer.store(RELOAD_TIMEOUT.as_secs(), Ordering::Relaxed);
                reload(shared, &caller).await
            }
            Err(refusal) => refusal,
        },
        (path, &Method::POST) if moves::PATHS.contains(&path) => {
            match permit(shared, &caller).await {
                Ok(()) => {
                    longer.store(ORDER_TIMEOUT.as_secs(), Ordering::Relaxed);
                    orders::order(shared, &caller, path, head.uri.query()).await
                }
                Err(refusal) => refusal,
            }
        }
        (path, method) if moves::PATHS.contains(&path) => not_allowed(method, path, "POST"),
        (path @ ("/status" | "/events" | "/metrics"), method) => not_allowed(method, path, "GET"),
        ("/reload", method) => not_allowed(method, "/reload", "POST"),
        (path, _) => error(
            StatusCode::NOT_FOUND,
            &format!(
                "there is no {path} here; GET /status, /events and /metrics and POST /reload, \
                 /handover, /drain and /undrain are what this agent answers"
            ),
        ),
    }
}

async fn events<C>(shared: &Shared<C>, longer: &AtomicU64, query: Option<&str>) -> Answer {
    let query = match Query::parse(query) {
        Ok(query) => query,
        Err(why) => return error(StatusCode::BAD_REQUEST, &why.to_string()),
    };
    longer.store(query.wait.as_secs() + 1, Ordering::Relaxed);
    match events::answer(&shared.events.feed, &shared.node(), &query).await {
        Ok(page) => respond(StatusCode::OK, page),
        Err(crowded) => error(StatusCode::SERVICE_UNAVAILABLE, &crowded.to_string()),
    }
}

/// Looking up groups can wait for a directory service, so it is done on
/// another thread.
async fn permit<C>(shared: &Shared<C>, caller: &Caller) -> Result<(), Answer> {
    let admin_group = shared.admin_group.clone();
    let caller = caller.clone();
    let verdict =
        tokio::task::spawn_blocking(move || caller.may_command(admin_group.as_deref())).await;
    match verdict {
        Ok(Ok(())) => Ok(()),
        Ok(Err(sentence)) => Err(error(StatusCode::FORBIDDEN, &sentence)),
        Err(fault) => Err(error(
            StatusCode::INTERNAL_SERVER_ERROR,
            &format!("cannot tell who may: {fault}; nothing was changed, please report it"),
        )),
    }
}

async fn reload<C>(shared: &Shared<C>, caller: &Caller) -> Answer {
    match shared.reloads.reload(caller.to_string()).await {
        Ok(reloaded) => {
            let warnings = reloaded.warnings;
            let body = json!({ "summary": reloaded.summary, "warnings": warnings });
            respond(StatusCode::OK, format!("{body}\n"))
        }
        Err(fault) => {
            let status = match fault {
                ReloadError::Faulty(_) => StatusCode::UNPROCESSABLE_ENTITY,
                ReloadError::Refused(_) | ReloadError::Busy => StatusCode::CONFLICT,
                ReloadError::Unread | ReloadError::Untaken | ReloadError::Unfinished => {
                    StatusCode::GATEWAY_TIMEOUT
                }
                ReloadError::Broken => StatusCode::INTERNAL_SERVER_ERROR,
                ReloadError::Stopping | ReloadError::StoppedMeanwhile => {
                    StatusCode::SERVICE_UNAVAILABLE
                }
            };
            error(status, &fault.to_string())
        }
    }
}

/// Never a shared one: whoever gave an order sees what became of it.
async fn status<C>(shared: &Shared<C>) -> Answer {
    match shared.pictures.fresh().await.map(|view| view.json()) {
        Ok(Ok(json)) => respond(StatusCode::OK, json),
        Ok(Err(sentence)) => error(StatusCode::INTERNAL_SERVER_ERROR, &sentence),
        Err(sentence) => error(StatusCode::SERVICE_UNAVAILABLE, sentence),
    }
}
