//! What both servers have in common, that of the unix socket and that of the
//! metrics: one request for each connection, with bounds on its size and its
//! time.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::HttpService;
use hyper::{Method, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

/// Request line and headers together; beyond it 431 (or 414).
pub const HEAD_BYTES_MAX: usize = 8192;
const HEADERS_MAX: usize = 32;
/// No request needs a body; beyond it 413.
pub const BODY_BYTES_MAX: usize = 4096;
/// For the whole head to arrive.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(1);

pub(super) type Answer = Response<Full<Bytes>>;

/// Serves one request on `stream`, which is then closed: after `patience` at
/// the latest, or so many seconds more as `longer` says by then.
pub(super) async fn converse<S, V>(stream: S, service: V, patience: Duration, longer: &AtomicU64)
where
    S: AsyncRead + AsyncWrite + Unpin,
    V: HttpService<Incoming, ResBody = Full<Bytes>, Error = Infallible>,
{
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .keep_alive(false)
        .max_headers(HEADERS_MAX)
        .max_header_size(HEAD_BYTES_MAX)
        .max_buf_size(2 * HEAD_BYTES_MAX)
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let mut outcome = timeout(patience, connection.as_mut()).await;
    let longer = Duration::from_secs(longer.load(Ordering::Relaxed));
    if outcome.is_err() && !longer.is_zero() {
        outcome = timeout(longer, connection).await;
    }
    match outcome {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!("an HTTP connection ended: {error}"),
        Err(_) => tracing::debug!("an HTTP connection was too slow; closed"),
    }
}

/// Reads a body to its end within the bound; no request has a use for it.
pub(super) async fn discard_body(body: Incoming) -> Result<(), Answer> {
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

/// What one client too many is told, as it goes over the wire.
pub(super) fn refusal(clients_max: usize) -> String {
    let body = error_json(&format!(
        "the agent serves {clients_max} clients already; try again"
    ));
    format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

pub(super) fn not_allowed(method: &Method, path: &str, allowed: &'static str) -> Answer {
    let mut answer = error(
        StatusCode::METHOD_NOT_ALLOWED,
        &format!("{method} is not possible on {path}; use {allowed}"),
    );
    let allow = HeaderValue::from_static(allowed);
    answer.headers_mut().insert(ALLOW, allow);
    answer
}

pub(super) fn error(status: StatusCode, sentence: &str) -> Answer {
    respond(status, error_json(sentence))
}

fn error_json(sentence: &str) -> String {
    format!("{}\n", json!({ "error": sentence }))
}

/// With JSON.
pub(super) fn respond(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    respond_with(status, HeaderValue::from_static("application/json"), body)
}

pub(super) fn respond_with(
    status: StatusCode,
    content_type: HeaderValue,
    body: impl Into<Bytes>,
) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, content_type);
    answer
}
