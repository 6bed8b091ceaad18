//! Asks a running agent. Everything is bounded: the time, the size of the
//! answer, and what of it reaches a terminal.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::header::HOST;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use nix::unistd::{Gid, Group, Uid, User};
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;
use tokio::net::UnixStream;

use super::document::Document;
use super::events::query::Query;
use super::events::record::Record;
use super::moves::{ORDER_TIMEOUT, Wish};
use super::reload::RELOAD_TIMEOUT;

/// How long the commands wait for an agent.
pub const TIMEOUT: Duration = Duration::from_secs(1);
/// A thousand instances with ten addresses each make about 3 MiB.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Between attempts while the agent is busy with others.
const RETRY: Duration = Duration::from_millis(50);

/// Why there is no answer; each is one sentence that says what to do.
#[derive(Debug, Error)]
pub enum ClientError {
    #[error(
        "no agent runs here: there is no {}. Start it with `vipward run` or its service, or name another socket (--socket, --runtime-dir)",
        .0.display()
    )]
    Absent(PathBuf),
    #[error(
        "no agent answers: {} was left by one that is gone. Start it with `vipward run` or its service",
        .0.display()
    )]
    Dead(PathBuf),
    #[error("no permission to ask the agent at {}: {who} may", .socket.display())]
    Forbidden { socket: PathBuf, who: String },
    #[error(
        "the agent at {} did not answer within {} ms; it may be stopped or overloaded",
        .socket.display(), .timeout.as_millis()
    )]
    Silent { socket: PathBuf, timeout: Duration },
    #[error(
        "{} is not the control socket of a vipward agent: {reason}. That one is control.sock in its runtime directory, /run/vipward unless told otherwise (--socket, --runtime-dir)",
        .socket.display()
    )]
    NotOurs { socket: PathBuf, reason: String },
    #[error("the agent at {} refused: {reason}", .socket.display())]
    Refused { socket: PathBuf, reason: String },
    #[error(
        "no usable answer from {}: {reason}. If that is no agent's socket, name one (--socket, --runtime-dir)",
        .socket.display()
    )]
    Garbled { socket: PathBuf, reason: String },
    #[error("cannot ask the agent at {}: {source}", .socket.display())]
    Io { socket: PathBuf, source: io::Error },
}

/// The status document of the agent that listens on `socket`, safe to print:
/// control characters in its texts are replaced.
///
/// # Errors
///
/// Within `timeout`, whatever the other side does.
pub fn fetch_status(socket: &Path, timeout: Duration) -> Result<Document, ClientError> {
    parse_status(socket, &fetch_status_text(socket, timeout)?)
}

/// The same as it came, for machines: JSON, not yet read.
pub fn fetch_status_text(socket: &Path, timeout: Duration) -> Result<String, ClientError> {
    let (status, body) = ask(socket, &Method::GET, "/status", timeout, timeout)?;
    if status == StatusCode::OK {
        String::from_utf8(body.into()).map_err(|error| garbled(socket, &error))
    } else if error_text(&body, printable_line).is_none() {
        Err(not_ours(
            socket,
            &format!("whoever listens there answers HTTP {status}"),
        ))
    } else {
        Err(refused(socket, status, &body))
    }
}

/// Some of what happened.
#[derive(Clone, Debug, Deserialize)]
pub struct EventsPage {
    /// Who answers.
    pub node: String,
    /// The oldest that the agent has; 0 when it has none.
    pub oldest: u64,
    /// The newest that it has.
    pub newest: u64,
    /// What to continue after.
    pub next: u64,
    /// As they came: [`Record`]s, of which a newer agent may know more.
    pub events: Vec<Value>,
}

impl EventsPage {
    /// What of it this version understands, safe to print.
    pub fn records(&self) -> impl Iterator<Item = Record> {
        self.events.iter().filter_map(record)
    }
}

/// What of an event this version understands, safe to print.
pub fn record(event: &Value) -> Option<Record> {
    serde_json::from_value(printable(event)).ok()
}

/// The events that `query` asks for.
///
/// # Errors
///
/// Within `timeout` beyond what the query itself waits.
pub fn fetch_events(
    socket: &Path,
    query: &Query,
    timeout: Duration,
) -> Result<EventsPage, ClientError> {
    let (target, patience) = (query.target(), timeout + query.wait);
    let (status, body) = ask(socket, &Method::GET, &target, patience, timeout)?;
    if status != StatusCode::OK {
        return Err(refused(socket, status, &body));
    }
    serde_json::from_slice(&body).map_err(|error| garbled(socket, &error))
}

/// What became of a wish to reload, its texts safe to print.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReloadAnswer {
    Applied {
        summary: String,
        warnings: Vec<String>,
    },
    /// The file's faults with their places, of many lines. Nothing was changed.
    Faulty(String),
    /// One sentence that says who may. Nothing was changed.
    Forbidden(String),
    /// One sentence that says why, and what was changed.
    Failed(String),
}

/// Asks the agent that listens on `socket` to reload its configuration, and
/// waits for what becomes of it.
///
/// # Errors
///
/// Without an answer: at once, or when the agent's own time-outs have passed.
pub fn request_reload(socket: &Path) -> Result<ReloadAnswer, ClientError> {
    // The agent answers within its own time-out; it is given a little more.
    let patience = RELOAD_TIMEOUT + 2 * TIMEOUT;
    let (status, body) = ask(socket, &Method::POST, "/reload", patience, TIMEOUT)?;
    let said = || match error_text(&body, printable_lines) {
        Some(text) => text,
        None => format!("HTTP {status}"),
    };
    Ok(match status {
        StatusCode::OK => {
            let answer: Value =
                serde_json::from_slice(&body).map_err(|error| garbled(socket, &error))?;
            let answer = printable(&answer);
            let Some(summary) = answer.get("summary").and_then(Value::as_str) else {
                return Err(garbled(socket, &"it has no summary"));
            };
            let warnings = answer.get("warnings").and_then(Value::as_array);
            let warnings = warnings.into_iter().flatten().filter_map(Value::as_str);
            ReloadAnswer::Applied {
                summary: summary.to_owned(),
                warnings: warnings.map(str::to_owned).collect(),
            }
        }
        StatusCode::UNPROCESSABLE_ENTITY => ReloadAnswer::Faulty(said()),
        StatusCode::FORBIDDEN => ReloadAnswer::Forbidden(said()),
        _ => ReloadAnswer::Failed(said()),
    })
}

/// What became of an order, safe to print.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderAnswer {
    Done(String),
    /// Why not, and what was changed.
    Refused(String),
    /// The caller may not give orders.
    Forbidden(String),
}

/// Gives an order to the agent that listens on `socket`, and waits for what
/// becomes of it.
///
/// # Errors
///
/// Without an answer: at once, or when the agent's own time-outs have passed.
pub fn request_order(socket: &Path, wish: &Wish) -> Result<OrderAnswer, ClientError> {
    let patience = ORDER_TIMEOUT + 2 * TIMEOUT;
    let (status, body) = ask(socket, &Method::POST, &wish.target(), patience, TIMEOUT)?;
    if status != StatusCode::OK {
        let said = error_text(&body, printable_lines);
        let said = said.unwrap_or_else(|| format!("HTTP {status}"));
        return Ok(match status {
            StatusCode::FORBIDDEN => OrderAnswer::Forbidden(said),
            _ => OrderAnswer::Refused(said),
        });
    }
    let answer: Value = serde_json::from_slice(&body).map_err(|error| garbled(socket, &error))?;
    let done = answer.get("done").and_then(Value::as_str);
    let done = done.ok_or_else(|| garbled(socket, &"it does not say what was done"))?;
    Ok(OrderAnswer::Done(printable_lines(done)))
}

/// Asks, and asks again for `retry_for` while the agent is busy with others.
fn ask(
    socket: &Path,
    method: &Method,
    path: &str,
    timeout: Duration,
    retry_for: Duration,
) -> Result<(StatusCode, Bytes), ClientError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(|source| ClientError::Io {
            socket: socket.to_owned(),
            source,
        })?;
    runtime.block_on(async {
        let started = Instant::now();
        let mut last = None;
        let attempts = async {
            loop {
                match exchange(socket, method, path).await {
                    Err(Attempt::Final(error)) => return Err(error),
                    Err(Attempt::Later(error)) if started.elapsed() >= retry_for => {
                        return Err(error);
                    }
                    Ok((status, body))
                        if status == StatusCode::SERVICE_UNAVAILABLE
                            && started.elapsed() < retry_for =>
                    {
                        last = Some(refused(socket, status, &body));
                    }
                    // A refusal says more than an exchange broken off.
                    Err(Attempt::Later(error)) => match last {
                        Some(ClientError::Refused { .. }) => {}
                        _ => last = Some(error),
                    },
                    Ok(answer) => return Ok(answer),
                }
                tokio::time::sleep(RETRY).await;
            }
        };
        let outcome = tokio::time::timeout(timeout, attempts).await;
        outcome.unwrap_or_else(|_| {
            Err(last.unwrap_or_else(|| ClientError::Silent {
                socket: socket.to_owned(),
                timeout,
            }))
        })
    })
}

/// Reads what [`fetch_status_text`] brought from `socket`.
pub fn parse_status(socket: &Path, text: &str) -> Result<Document, ClientError> {
    let value: Value = serde_json::from_str(text).map_err(|error| garbled(socket, &error))?;
    if value.get("instances").is_none() {
        return Err(not_ours(socket, &"whoever listens there answers no status"));
    }
    serde_json::from_value(printable(&value)).map_err(|error| garbled(socket, &error))
}

enum Attempt {
    /// Worth another try within the time-out.
    Later(ClientError),
    Final(ClientError),
}

async fn exchange(
    socket: &Path,
    method: &Method,
    path: &str,
) -> Result<(StatusCode, Bytes), Attempt> {
    let stream = UnixStream::connect(socket)
        .await
        .map_err(|error| not_connected(socket, error))?;
    // One client too many is answered before it asked, which breaks off the
    // exchange at whatever point it has reached.
    let broken_off = |error: hyper::Error| match error.is_parse() {
        true => Attempt::Final(not_ours(socket, &"whoever listens there speaks no HTTP")),
        false => Attempt::Later(garbled(socket, &format!("it was broken off ({error})"))),
    };
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(broken_off)?;
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, "localhost")
        .body(Empty::<Bytes>::new())
        .map_err(|error| Attempt::Final(garbled(socket, &error)))?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(broken_off)?;
        let status = response.status();
        match Limited::new(response.into_body(), ANSWER_BYTES_MAX)
            .collect()
            .await
        {
            Ok(body) => Ok((status, body.to_bytes())),
            Err(fault) if fault.is::<LengthLimitError>() => {
                let reason = format!("it is longer than {ANSWER_BYTES_MAX} bytes");
                Err(Attempt::Final(garbled(socket, &reason)))
            }
            Err(fault) => {
                let reason = format!("it was broken off ({fault})");
                Err(Attempt::Later(garbled(socket, &reason)))
            }
        }
    };
    // The connection only moves bytes; what becomes of it shows in the answer.
    let (outcome, _) = tokio::join!(answer, connection);
    outcome
}

fn refused(socket: &Path, status: StatusCode, body: &[u8]) -> ClientError {
    ClientError::Refused {
        socket: socket.to_owned(),
        reason: error_text(body, printable_line).unwrap_or_else(|| format!("HTTP {status}")),
    }
}

fn error_text(body: &[u8], made_safe: fn(&str) -> String) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    Some(made_safe(body.get("error")?.as_str()?))
}

fn not_connected(socket: &Path, source: io::Error) -> Attempt {
    let path = socket.to_owned();
    let io = |source| ClientError::Io {
        socket: socket.to_owned(),
        source,
    };
    match source.kind() {
        ErrorKind::NotFound => Attempt::Final(ClientError::Absent(path)),
        _ if !is_socket(socket) => Attempt::Final(not_ours(socket, &"it is no socket")),
        // A socket of another type.
        _ if source.raw_os_error() == Some(nix::libc::EPROTOTYPE) => {
            Attempt::Final(not_ours(socket, &"it is a socket of another type"))
        }
        ErrorKind::ConnectionRefused => Attempt::Final(ClientError::Dead(path)),
        ErrorKind::PermissionDenied => Attempt::Final(ClientError::Forbidden {
            who: readers(socket),
            socket: path,
        }),
        // The backlog is full.
        ErrorKind::WouldBlock => Attempt::Later(io(source)),
        _ => Attempt::Final(io(source)),
    }
}

/// What cannot be looked at may be one.
fn is_socket(path: &Path) -> bool {
    let found = fs::metadata(path);
    found.map_or(true, |found| found.file_type().is_socket())
}

fn not_ours(socket: &Path, reason: &impl ToString) -> ClientError {
    ClientError::NotOurs {
        socket: socket.to_owned(),
        reason: reason.to_string(),
    }
}

/// Who may connect, in words, as far as the file system says.
fn readers(socket: &Path) -> String {
    let Ok(found) = fs::metadata(socket) else {
        return "only those who may enter its directory".to_owned();
    };
    let user = User::from_uid(Uid::from_raw(found.uid())).ok().flatten();
    let user = user.map_or_else(|| format!("uid {}", found.uid()), |user| user.name);
    let mut who = if found.uid() == 0 {
        "root".to_owned()
    } else {
        format!("root and {user}")
    };
    // Connecting takes the right to write (unix(7)).
    if found.mode() & 0o020 == 0 {
        return format!("only {who}");
    }
    let group = Group::from_gid(Gid::from_raw(found.gid())).ok().flatten();
    let group = group.map_or_else(|| found.gid().to_string(), |group| group.name);
    who.push_str(&format!(" and the group {group}"));
    who
}

fn garbled(socket: &Path, reason: &impl ToString) -> ClientError {
    ClientError::Garbled {
        socket: socket.to_owned(),
        reason: reason.to_string(),
    }
}

/// The same value with control characters replaced in every text, so that
/// nothing in it moves a terminal's cursor or turns its direction.
fn printable(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(printable_line(text)),
        Value::Array(items) => items.iter().map(printable).collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| (name.clone(), printable(value)))
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

fn printable_line(text: &str) -> String {
    text.chars().map(printable_char).collect()
}

/// Keeps the ends of lines.
fn printable_lines(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(printable_line).collect();
    lines.join("\n")
}

pub(super) fn printable_char(c: char) -> char {
    match c {
        '\n' | '\t' | '\r' => ' ',
        // Without width, invisible, or turning the direction of writing.
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' => {
            char::REPLACEMENT_CHARACTER
        }
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_moves_a_cursor_is_left() {
        let hostile = serde_json::json!({
            "list": [{"text": "a\u{1b}[2Jb\nc\u{202e}d\u{2061}e\u{7f}f\u{9b}g"}],
            "number": 7,
        });
        let text = printable(&hostile);
        assert_eq!(
            text["list"][0]["text"],
            "a\u{fffd}[2Jb c\u{fffd}d\u{fffd}e\u{fffd}f\u{fffd}g"
        );
        assert_eq!(text["number"], 7);
    }
}
