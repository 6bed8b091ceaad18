//! HTTP/1.1 on the unix socket, on a thread of its own: a slow or hostile
//! client costs the protocol thread nothing but the clone of a status.
//!
//! One request for each connection. `GET /status` answers the document;
//! everything else is an error as `{"error": "one sentence"}`.

use std::convert::Infallible;
use std::io;
use std::path::Path;
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

use super::document::{Context, Document, Identity, WallClock};
use super::listener::{self, Access, ListenError, SocketFile};
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
/// whatever it was doing.
pub const CONNECTION_TIMEOUT: Duration = Duration::from_secs(2);
/// For the protocol loop to answer. Less than the second that clients wait,
/// so that they learn the reason.
pub const LOOP_TIMEOUT: Duration = Duration::from_millis(900);

/// What the control thread asks of the protocol loop.
#[derive(Debug)]
pub enum Request {
    /// Asks for a copy of the present; it is not awaited by name, so a loop
    /// that finds the receiver gone need not care.
    Status(oneshot::Sender<StatusPicture>),
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
}

impl ControlServer {
    /// Binds the socket before it returns: whoever is told that the agent is
    /// ready can connect. `requests` ends at the protocol loop; when it is
    /// full the client is told to come again, nothing waits.
    ///
    /// # Errors
    ///
    /// Nothing is left behind by a failed start.
    pub fn start(
        runtime_dir: &Path,
        access: Access,
        identity: Identity,
        requests: mpsc::Sender<Request>,
    ) -> Result<Self, StartError> {
        let (listener, file) = listener::listen(runtime_dir, &access)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(StartError::Thread)?;
        let listener = {
            let _inside = runtime.enter();
            UnixListener::from_std(listener).map_err(StartError::Thread)?
        };
        let shared = Arc::new(Shared {
            identity,
            requests,
            clock: Mutex::new(None),
        });
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("control".to_owned())
            // The agent's memory is locked: a default stack would be 2 MiB of it.
            .stack_size(512 * 1024)
            .spawn(move || serve(&runtime, listener, shared, stopped))
            .map_err(StartError::Thread)?;
        Ok(Self {
            file,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    pub fn path(&self) -> &Path {
        self.file.path()
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

#[derive(Debug)]
struct Shared {
    identity: Identity,
    requests: mpsc::Sender<Request>,
    clock: Mutex<Option<WallClock>>,
}

fn serve(
    runtime: &Runtime,
    listener: UnixListener,
    shared: Arc<Shared>,
    stopped: oneshot::Receiver<Infallible>,
) {
    runtime.block_on(async move {
        tokio::select! {
            // Ends when the sender is dropped.
            _ = stopped => {}
            () = accept(listener, shared) => {}
        }
    });
}

/// Never returns; dropping it drops every connection.
async fn accept(listener: UnixListener, shared: Arc<Shared>) {
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

async fn converse(stream: UnixStream, shared: Arc<Shared>) {
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(answer(&shared, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .keep_alive(false)
        .max_headers(HEADERS_MAX)
        .max_header_size(HEAD_BYTES_MAX)
        .max_buf_size(2 * HEAD_BYTES_MAX)
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(CONNECTION_TIMEOUT, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!("control connection ended: {error}"),
        Err(_) => tracing::debug!("control connection was too slow; closed"),
    }
}

type Answer = Response<Full<Bytes>>;

async fn answer(shared: &Shared, request: hyper::Request<Incoming>) -> Answer {
    let (head, body) = request.into_parts();
    if let Err(refusal) = discard_body(body).await {
        return refusal;
    }
    match (head.uri.path(), &head.method) {
        ("/status", &Method::GET) => status(shared).await,
        ("/status", method) => {
            let mut answer = error(
                StatusCode::METHOD_NOT_ALLOWED,
                &format!("{method} is not possible on /status; use GET"),
            );
            let allow = HeaderValue::from_static("GET");
            answer.headers_mut().insert(ALLOW, allow);
            answer
        }
        (path, _) => error(
            StatusCode::NOT_FOUND,
            &format!("there is no {path} here; GET /status is what this agent answers"),
        ),
    }
}

/// Reads a body to its end within the bound; no request has a use for it yet.
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

async fn status(shared: &Shared) -> Answer {
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

fn render(shared: &Shared, picture: &StatusPicture) -> Answer {
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
    let context = Context {
        identity: &shared.identity,
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

fn error(status: StatusCode, sentence: &str) -> Answer {
    respond(status, error_json(sentence))
}

fn error_json(sentence: &str) -> String {
    format!("{}\n", json!({ "error": sentence }))
}

fn respond(status: StatusCode, body: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    answer.headers_mut().insert(CONTENT_TYPE, json);
    answer
}
