//! The metrics' address: HTTP over TCP, read only, on the thread of the control
//! socket and with permits of its own, so that neither can take the other's.
//!
//! `GET /` answers the page, `/metrics` the metrics, `/api/status` the status
//! document, `/api/events` the latest events, `/healthz` whether the protocol loop answers. All of it is made
//! of shared pictures ([`super::pictures`]).

use std::convert::Infallible;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::service::service_fn;
use hyper::{Method, Request, StatusCode};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::events;
use super::events::query::Query;
use super::http::{self, Answer, error, not_allowed, respond, respond_with};
use super::metrics;
use super::page;
use super::server::Shared;

/// Connections served at once; the next one is answered 503 and closed.
pub const CONNECTIONS_MAX: usize = 32;
/// From the first byte to the last one; a scraper waits as long by default.
pub const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);
/// Between attempts to listen, such as while the address is another's.
pub const RETRY: Duration = Duration::from_secs(2);
/// Connections that the kernel keeps waiting.
const BACKLOG: u32 = 128;
const LINE_PACE: Duration = Duration::from_secs(60);

/// Listens where it is wanted, and elsewhere as soon as that changes; never
/// returns. What cannot be listened on is tried again and harms nothing else.
pub(super) async fn serve<C: Send + 'static>(
    shared: Arc<Shared<C>>,
    mut wanted: watch::Receiver<Option<SocketAddr>>,
) {
    // Those of an address that is given up are served to their end.
    let mut connections = JoinSet::new();
    loop {
        let address = *wanted.borrow_and_update();
        let changed = tokio::select! {
            changed = wanted.changed() => changed,
            never = listen(address, &shared, &mut connections) => match never {},
        };
        if changed.is_err() {
            return;
        }
    }
}

async fn listen<C: Send + 'static>(
    address: Option<SocketAddr>,
    shared: &Arc<Shared<C>>,
    connections: &mut JoinSet<()>,
) -> Infallible {
    let Some(address) = address else {
        return std::future::pending().await;
    };
    let mut complained = false;
    let listener = loop {
        match bind(address) {
            Ok(listener) => break listener,
            Err(fault) if complained => tracing::debug!("still not on {address}: {fault}"),
            Err(fault) => {
                complained = true;
                tracing::warn!("{}", unbound(address, &fault));
            }
        }
        sleep(RETRY).await;
    };
    tracing::info!("metrics and the page are served on http://{address}/");
    accept(&listener, address.ip(), shared, connections).await
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // Connections of an agent before us may linger.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn unbound(address: SocketAddr, fault: &io::Error) -> String {
    let remedy = match fault.kind() {
        ErrorKind::AddrInUse => format!(
            "another program has it (`ss -ltnp sport = :{}` shows which): end that one, or write \
             another `metrics.listen` and reload",
            address.port()
        ),
        ErrorKind::AddrNotAvailable => {
            "this host does not have the address: add it, or write another `metrics.listen` and \
             reload"
                .to_owned()
        }
        ErrorKind::PermissionDenied => {
            "the agent may not have a port below 1024: write another `metrics.listen` and reload"
                .to_owned()
        }
        _ => "write another `metrics.listen` and reload, or mend what it says".to_owned(),
    };
    format!(
        "cannot serve metrics on {address}: {fault}; {remedy}. It is tried again every {} s, and \
         nothing else is affected",
        RETRY.as_secs()
    )
}

async fn accept<C: Send + 'static>(
    listener: &TcpListener,
    own: IpAddr,
    shared: &Arc<Shared<C>>,
    connections: &mut JoinSet<()>,
) -> Infallible {
    let mut last_line: Option<Instant> = None;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((stream, _)) => match Arc::clone(&shared.visitors).try_acquire_owned() {
                Ok(permit) => {
                    let shared = Arc::clone(shared);
                    connections.spawn(async move {
                        converse(stream, own, &shared).await;
                        drop(permit);
                    });
                }
                Err(_) => refuse(&stream),
            },
            Err(fault) => {
                if last_line.is_none_or(|at| at.elapsed() >= LINE_PACE) {
                    last_line = Some(Instant::now());
                    tracing::warn!(
                        "cannot accept a connection for metrics: {fault}; trying again, and \
                         nothing else is affected"
                    );
                }
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Permits for [`CONNECTIONS_MAX`], whatever the address.
pub(super) fn visitors() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(CONNECTIONS_MAX))
}

fn refuse(stream: &TcpStream) {
    // A fresh socket's buffer takes it whole; should it not, the client sees
    // the end of the connection instead.
    let _ = stream.try_write(http::refusal(CONNECTIONS_MAX).as_bytes());
}

async fn converse<C: Send + 'static>(stream: TcpStream, own: IpAddr, shared: &Arc<Shared<C>>) {
    let service = service_fn(|request| {
        let shared = Arc::clone(shared);
        async move { Ok::<_, Infallible>(guarded(answer(&shared, own, request).await)) }
    });
    http::converse(stream, service, CONNECTION_TIMEOUT, &AtomicU64::new(0)).await;
}

const PATHS: [&str; 5] = ["/", "/metrics", "/api/status", "/api/events", "/healthz"];

async fn answer<C>(shared: &Shared<C>, own: IpAddr, request: Request<Incoming>) -> Answer {
    let (head, body) = request.into_parts();
    if let Err(refusal) = http::discard_body(body).await {
        return refusal;
    }
    if !is_for_us(own, &shared.node(), head.headers.get(HOST)) {
        return error(
            StatusCode::MISDIRECTED_REQUEST,
            "this address answers to its number, to localhost and to the name of its node only, so \
             that no web site can read it by a name of its own",
        );
    }
    let path = head.uri.path();
    if !PATHS.contains(&path) {
        let sentence = format!("there is no {path} here; there are {}", PATHS.join(" "));
        return error(StatusCode::NOT_FOUND, &sentence);
    }
    if !matches!(head.method, Method::GET | Method::HEAD) {
        return not_allowed(&head.method, path, "GET, HEAD");
    }
    if path == "/api/events" {
        return happened(shared, head.uri.query()).await;
    }
    let view = match shared.pictures.shared().await {
        Ok(view) => view,
        Err(sentence) => return error(StatusCode::SERVICE_UNAVAILABLE, sentence),
    };
    let text = |kind, body| respond_with(StatusCode::OK, HeaderValue::from_static(kind), body);
    match path {
        "/metrics" => text(metrics::CONTENT_TYPE, view.metrics()),
        "/healthz" => text("text/plain; charset=utf-8", "ok\n".into()),
        "/api/status" => match view.json() {
            Ok(json) => respond(StatusCode::OK, json),
            Err(sentence) => error(StatusCode::INTERNAL_SERVER_ERROR, &sentence),
        },
        _ => text("text/html; charset=utf-8", view.page()),
    }
}

/// As on the control socket. Nobody waits here for what comes: the few places
/// for that are for those who are known.
async fn happened<C>(shared: &Shared<C>, query: Option<&str>) -> Answer {
    let query = match Query::parse(query) {
        Ok(query) => Query {
            wait: Duration::ZERO,
            ..query
        },
        Err(why) => return error(StatusCode::BAD_REQUEST, &why.to_string()),
    };
    match events::answer(&shared.events.feed, &shared.node(), &query).await {
        Ok(page) => respond(StatusCode::OK, page),
        Err(crowded) => error(StatusCode::SERVICE_UNAVAILABLE, &crowded.to_string()),
    }
}

/// Of a loopback address only names that mean this host are answered to: a
/// browser here would otherwise read it for any web site whose name was made
/// to resolve to it.
fn is_for_us(own: IpAddr, node: &str, host: Option<&HeaderValue>) -> bool {
    if !own.is_loopback() {
        return true;
    }
    // Without it (HTTP/1.0) no browser asks.
    let Some(host) = host else {
        return true;
    };
    let Ok(authority) = host
        .to_str()
        .unwrap_or_default()
        .parse::<hyper::http::uri::Authority>()
    else {
        return false;
    };
    let name = authority.host();
    let number = name.trim_start_matches('[').trim_end_matches(']');
    number.parse::<IpAddr>().is_ok()
        || ["localhost", node]
            .iter()
            .any(|own| name.eq_ignore_ascii_case(own))
}

/// Nothing of what is served may be kept, embedded, or run anything.
fn guarded(mut answer: Answer) -> Answer {
    let policy = page::content_security_policy();
    let headers = answer.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    for (name, value) in [
        (CACHE_CONTROL, "no-store"),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_anyone_could_make_resolve_to_loopback_is_not_answered() {
        let loopback: IpAddr = "127.0.0.1".parse().unwrap();
        let asked = |own: IpAddr, host: &str| {
            let host = HeaderValue::from_str(host).unwrap();
            is_for_us(own, "lb1", Some(&host))
        };
        for host in [
            "127.0.0.1:9852",
            "127.0.0.1",
            "[::1]:9852",
            "localhost:9852",
            "LOCALHOST",
            "lb1:9852",
            "192.0.2.1:9852",
        ] {
            assert!(asked(loopback, host), "{host}");
        }
        for host in [
            "evil.example:9852",
            "localhost.evil.example",
            "",
            "a b",
            "127.0.0.1.evil",
        ] {
            assert!(!asked(loopback, host), "{host}");
        }
        assert!(is_for_us(loopback, "lb1", None));
        assert!(asked("192.0.2.1".parse().unwrap(), "lb1.example:9852"));
    }

    #[test]
    fn what_cannot_be_listened_on_says_what_to_do() {
        let address = "127.0.0.1:9852".parse().unwrap();
        let said = |kind| unbound(address, &io::Error::from(kind));
        assert!(said(ErrorKind::AddrInUse).contains("ss -ltnp sport = :9852"));
        assert!(said(ErrorKind::AddrNotAvailable).contains("does not have the address"));
        assert!(said(ErrorKind::PermissionDenied).contains("below 1024"));
        assert!(said(ErrorKind::OutOfMemory).contains("tried again every 2 s"));
    }
}
