//! One HTTP probe: GET, redirects followed, everything bounded.

use std::error::Error as _;
use std::io;
use std::ops::RangeInclusive;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONNECTION, HOST, LOCATION, USER_AGENT};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Tools;
use super::connect::{breakage, connect};
use super::outcome::{Doing, OUTPUT_BYTES_MAX, Trouble, first_line, quoted};
use crate::config::work::parse;
use crate::config::work::probe::{Host, HostPort, HttpProbe, HttpUrl, Trust};

/// Redirects that are followed; the next one is a failure.
pub const REDIRECTS_MAX: usize = 5;
/// Status line and headers together; more is a failure.
const HEAD_BYTES_MAX: usize = 64 * 1024;
const HEADERS_MAX: usize = 100;
/// Of the body; the rest is not waited for, and the status decides.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// The first line of the page when the probe passed.
pub(super) async fn probe(
    tools: &Tools,
    probe: &HttpProbe,
    deadline: Instant,
    doing: &Doing,
) -> Result<String, Trouble> {
    let mut visited = vec![probe.url.clone()];
    let mut url = probe.url.clone();
    loop {
        let exchange = Exchange {
            tools,
            url: &url,
            host: named(probe, &url),
            trust: &probe.trust,
            deadline,
            doing,
        };
        let answer = exchange.run(&probe.status).await?;
        let location = match answer {
            Answer::Accepted { line } => return Ok(line),
            Answer::Other { status, line } => {
                return Err(Trouble::Answered(format!("status {status}"), line));
            }
            Answer::Redirect { location } => location,
        };
        let next = parse::redirect(&url, &location).map_err(|fault| {
            let to = quoted(&location);
            Trouble::Failed(format!(
                "redirected to {to}, which cannot be followed: {}",
                fault.what
            ))
        })?;
        if visited.contains(&next) {
            return Err(Trouble::Failed(format!(
                "redirected in circles: {} leads back to {}",
                quoted(&url.to_string()),
                quoted(&next.to_string())
            )));
        }
        if visited.len() > REDIRECTS_MAX {
            return Err(Trouble::Failed(format!(
                "redirected more than {REDIRECTS_MAX} times, at last to {}",
                quoted(&next.to_string())
            )));
        }
        visited.push(next.clone());
        url = next;
    }
}

/// The `host` option, where it applies.
fn named<'a>(probe: &'a HttpProbe, url: &HttpUrl) -> Option<&'a str> {
    let same = url.target().host == probe.url.target().host;
    probe.host.as_deref().filter(|_| same)
}

enum Answer {
    Accepted { line: String },
    Other { status: u16, line: String },
    Redirect { location: String },
}

/// One request and its answer.
struct Exchange<'a> {
    tools: &'a Tools,
    url: &'a HttpUrl,
    host: Option<&'a str>,
    trust: &'a Trust,
    deadline: Instant,
    doing: &'a Doing,
}

impl Exchange<'_> {
    async fn run(&self, accepted: &[RangeInclusive<u16>]) -> Result<Answer, Trouble> {
        let target = self.url.target();
        let stream = connect(&self.tools.resolver, target, self.deadline, self.doing).await?;
        if !self.url.tls() {
            return self.over(stream, accepted).await;
        }
        let name = match self.host {
            None => target.host.clone(),
            Some(host) => match host.trim_matches(['[', ']']).parse() {
                Ok(address) => Host::Address(address),
                Err(_) => Host::Name(host.to_owned()),
            },
        };
        let tls = &self.tools.tls;
        let stream = tls
            .handshake(stream, target, &name, self.trust, self.doing)
            .await?;
        self.over(stream, accepted).await
    }

    async fn over<S>(&self, stream: S, accepted: &[RangeInclusive<u16>]) -> Result<Answer, Trouble>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let target = self.url.target();
        let failed = |error: &hyper::Error| Trouble::Failed(complaint(error, target));
        let request = self.request()?;
        self.doing
            .now(format!("while waiting for the answer of {target}"));
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(HEAD_BYTES_MAX)
            .max_headers(HEADERS_MAX)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| failed(&error))?;
        // Ends with this exchange, however that ends.
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        let response = sender.send_request(request).await;
        let response = response.map_err(|error| failed(&error))?;
        let status = response.status();
        let accepted = accepted
            .iter()
            .any(|range| range.contains(&status.as_u16()));
        if !accepted && let Some(location) = redirect(&response) {
            return Ok(Answer::Redirect { location });
        }
        self.doing
            .now(format!("while reading the page of {target}"));
        let line = match read(response.into_body()).await {
            Ok(line) => line,
            Err(error) if accepted => return Err(failed(&error)),
            // The status is the better reason.
            Err(_) => String::new(),
        };
        Ok(if accepted {
            Answer::Accepted { line }
        } else {
            Answer::Other {
                status: status.as_u16(),
                line,
            }
        })
    }

    fn request(&self) -> Result<Request<Empty<Bytes>>, Trouble> {
        let host = self
            .host
            .map_or_else(|| self.url.authority(), str::to_owned);
        Request::get(self.url.path())
            .header(HOST, host)
            .header(
                USER_AGENT,
                concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")),
            )
            .header(ACCEPT, "*/*")
            .header(CONNECTION, "close")
            .body(Empty::new())
            .map_err(|error| Trouble::Failed(format!("no request can be made of the URL: {error}")))
    }
}

/// Where it leads, if that can be read. Without it a redirect is a status as
/// any other.
fn redirect(response: &Response<Incoming>) -> Option<String> {
    let redirects = matches!(
        response.status(),
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    );
    let location = response.headers().get(LOCATION).filter(|_| redirects)?;
    Some(String::from_utf8_lossy(location.as_bytes()).into_owned())
}

/// Reads to the end or the bound, and keeps no more than the first line needs.
async fn read(mut body: Incoming) -> Result<String, hyper::Error> {
    let mut start = Vec::new();
    let mut length: usize = 0;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else {
            continue; // trailers, which the library bounds
        };
        let room = OUTPUT_BYTES_MAX
            .saturating_mul(4)
            .saturating_sub(start.len());
        start.extend(data.iter().take(room));
        length = length.saturating_add(data.len());
        if length >= BODY_BYTES_MAX {
            break;
        }
    }
    Ok(first_line(&start))
}

fn complaint(error: &hyper::Error, target: &HostPort) -> String {
    if error.is_parse_too_large() {
        return format!("the head of the answer of {target} is too long");
    }
    if error.is_parse() {
        return format!("what {target} answers is not HTTP: {error}");
    }
    let broken: Option<&io::Error> = error.source().and_then(|inner| inner.downcast_ref());
    match broken {
        Some(broken) => breakage(broken, target),
        None if error.is_incomplete_message() || error.is_canceled() || error.is_closed() => {
            format!("{target} closed the connection without a whole answer")
        }
        None => format!("the exchange with {target} failed: {error}"),
    }
}
