//! HTTP/1.1 on the unix socket, on a thread of its own: a slow or hostile
//! client costs the protocol thread nothing but the clone of a status.
//!
//! One request for each connection. `GET /status` answers the document;
//! `POST /reload`, for those who may, applies the changed configuration and
//! answers `{"summary": "one line", "warnings": ["one sentence"]}`; `POST
//! /handover`, `/drain` and `/undrain`, with their fields as a query, move
//! instances and answer `{"done": "sentences"}`. `GET /events` answers what
//! happened, see [`super::events`]. Everything
//! else is an error as `{"error": "one sentence"}`; that of a configuration
//! with faults (422) is their text, of many lines.

use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::Timestamp;
use serde_json::json;
use thiserror::Error;
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::admin::{Caller, PeerGroups};
use super::document::{Context, Document, Identity, WallClock};
use super::events::query::Query;
use super::events::{self, Events};
use super::listener::{self, Access, ListenError, SocketFile};
use super::moves::{self, Errand, ORDER_TIMEOUT};
use super::orders;
use super::reload::{self, Application, Desk, Judge, RELOAD_TIMEOUT, ReloadError, Trigger};
use crate::agent::status::Status;
use crate::agent::time::Instant;

/// Connections served at once; the next one is answered 503 and closed.
pub const CONNECTIONS_MAX: usize = 16;
/// Request line and headers together; beyond it 431 (or 414).
pub const HEAD_BYTES_MAX: usize = 8192;
const HEADERS_MAX: usize = 32;
/// No request needs a body; beyond it 413.
pub const BODY_BYTES_MAX: usize = 4096;
/// For the whole head to arrive.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(1);
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
    identity: Arc<Mutex<Identity>>,
    pub requests: mpsc::Sender<Request<C>>,
    clock: Mutex<Option<WallClock>>,
    reloads: Desk,
    admin_group: Option<String>,
    peer_groups: PeerGroups,
    pub events: Events,
}

/// What connections share, and the work of the reloads they ask for.
fn open<C: Send + 'static>(
    setup: Setup<C>,
) -> (Arc<Shared<C>>, Trigger, impl Future<Output = ()> + Send) {
    let identity = Arc::new(Mutex::new(setup.identity));
    let (reloads, trigger, work) = reload::open(
        setup.judge,
        setup.requests.clone(),
        Arc::clone(&identity),
        setup.events.recorder.clone(),
    );
    let shared = Shared {
        identity,
        requests: setup.requests,
        clock: Mutex::new(None),
        reloads,
        admin_group: setup.access.admin_group,
        peer_groups: setup.peer_groups,
        events: setup.events,
    };
    (Arc::new(shared), trigger, work)
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
    let body = error_json(&format!(
        "the agent serves {CONNECTIONS_MAX} clients already; try again"
    ));
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    // A fresh socket's buffer takes it whole; should it not, the client sees
    // the end of the connection instead.
    let _ = stream.try_write(answer.as_bytes());
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
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .keep_alive(false)
        .max_headers(HEADERS_MAX)
        .max_header_size(HEAD_BYTES_MAX)
        .max_buf_size(2 * HEAD_BYTES_MAX)
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let mut outcome = timeout(CONNECTION_TIMEOUT, connection.as_mut()).await;
    let longer = Duration::from_secs(longer.load(Ordering::Relaxed));
    if outcome.is_err() && !longer.is_zero() {
        outcome = timeout(longer, connection).await;
    }
    match outcome {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!("control connection ended: {error}"),
        Err(_) => tracing::debug!("control connection was too slow; closed"),
    }
}

pub(super) type Answer = Response<Full<Bytes>>;

async fn answer<C: Send + 'static>(
    shared: &Shared<C>,
    caller: Caller,
    longer: &AtomicU64,
    request: hyper::Request<Incoming>,
) -> Answer {
    let (head, body) = request.into_parts();
    if let Err(refusal) = discard_body(body).await {
        return refusal;
    }
    match (head.uri.path(), &head.method) {
        ("/status", &Method::GET) => status(shared).await,
        ("/events", &Method::GET) => events(shared, longer, head.uri.query()).await,
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
        (path @ ("/status" | "/events"), method) => not_allowed(method, path, "GET"),
        ("/reload", method) => not_allowed(method, "/reload", "POST"),
        (path, _) => error(
            StatusCode::NOT_FOUND,
            &format!(
                "there is no {path} here; GET /status and /events and POST /reload, /handover, \
                 /drain and /undrain are what this agent answers"
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
    let node = {
        let identity = shared.identity.lock();
        identity
            .unwrap_or_else(PoisonError::into_inner)
            .node
            .clone()
    };
    match events::answer(&shared.events.feed, &node, &query).await {
        Ok(page) => respond(StatusCode::OK, page),
        Err(crowded) => error(StatusCode::SERVICE_UNAVAILABLE, &crowded.to_string()),
    }
}

fn not_allowed(method: &Method, path: &str, allowed: &'static str) -> Answer {
    let mut answer = error(
        StatusCode::METHOD_NOT_ALLOWED,
        &format!("{method} is not possible on {path}; use {allowed}"),
    );
    let allow = HeaderValue::from_static(allowed);
    answer.headers_mut().insert(ALLOW, allow);
    answer
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

/// Reads a body to its end within the bound; no request has a use for it.
async fn discard_body(body: Incoming) -> Result<(), Answer> {
    let too_large = || {
        error(
            StatusCode::PAYLOAD_TOO_LARGE,
            &format!("the request's body is longer than {BODY_BYTES_MAX} bytes"),
        )
    };
    let bound = u64::try_from(BODY_BYTES_MAX).unwrap_or(u64::MAX);
    if body.size_hint().lower() > bound {
        return Err(too_large());
    }
    match Limited::new(body, BODY_BYTES_MAX).collect().await {
        Ok(_) => Ok(()),
        Err(fault) if fault.is::<LengthLimitError>() => Err(too_large()),
        Err(fault) => Err(error(
            StatusCode::BAD_REQUEST,
            &format!("the request's body cannot be read: {fault}"),
        )),
    }
}

async fn status<C>(shared: &Shared<C>) -> Answer {
    let unavailable = |sentence| error(StatusCode::SERVICE_UNAVAILABLE, sentence);
    let (reply, picture) = oneshot::channel();
    match shared.requests.try_send(Request::Status(reply)) {
        Ok(()) => {}
        Err(mpsc::error::TrySendError::Full(_)) => {
            return unavailable("the protocol loop has too many requests before it; try again");
        }
        Err(mpsc::error::TrySendError::Closed(_)) => return unavailable("the agent is stopping"),
    }
    match timeout(LOOP_TIMEOUT, picture).await {
        Ok(Ok(picture)) => render(shared, &picture),
        Ok(Err(_)) => unavailable("the agent is stopping"),
        Err(_) => unavailable(
            "the agent lives, but its protocol loop did not answer within 900 ms; its log may say why",
        ),
    }
}

fn render<C>(shared: &Shared<C>, picture: &StatusPicture) -> Answer {
    let wall = Timestamp::now();
    let clock = {
        let mut kept = shared.clock.lock().unwrap_or_else(PoisonError::into_inner);
        let clock = kept.map_or_else(
            || WallClock::new(picture.now, wall),
            |clock| clock.observe(picture.now, wall),
        );
        *kept = Some(clock);
        clock
    };
    let identity = shared.identity.lock();
    let identity = identity.unwrap_or_else(PoisonError::into_inner).clone();
    let context = Context {
        identity: &identity,
        now: picture.now,
        clock,
    };
    match Document::new(&picture.status, context).to_json() {
        Ok(text) => respond(StatusCode::OK, text),
        Err(fault) => error(
            StatusCode::INTERNAL_SERVER_ERROR,
            &format!("the status cannot be written as JSON: {fault}; please report it"),
        ),
    }
}

pub(super) fn error(status: StatusCode, sentence: &str) -> Answer {
    respond(status, error_json(sentence))
}

fn error_json(sentence: &str) -> String {
    format!("{}\n", json!({ "error": sentence }))
}

pub(super) fn respond(status: StatusCode, body: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    answer.headers_mut().insert(CONTENT_TYPE, json);
    answer
}
