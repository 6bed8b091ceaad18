//! The built-in probes against real servers on the loopback interface: the
//! good, the slow, the endless and the false.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use socket2::{Domain, Socket, Type};
use tokio::sync::mpsc;
use vipward::agent::jobs::{JobId, JobResult, Verdict};
use vipward::config::work::parse;
use vipward::config::work::probe::{HttpProbe, Probe, ProbeKind, Trust};
use vipward::daemon::probes::{Probes, QUEUE_MAX, REDIRECTS_MAX, UNDER_WAY_MAX};

mod bounds;
mod connecting;
mod files;
mod http;
mod local;
mod names;
// What the end-to-end trials have already; not all of it is used here.
#[allow(dead_code)]
#[path = "../e2e/lab/namespace.rs"]
mod namespace;
mod segment;
mod tls;
#[allow(dead_code)]
#[path = "../e2e/lab/tools.rs"]
mod tools;

/// More than any probe here needs, on a busy machine too.
const ENOUGH: Duration = Duration::from_secs(10);
/// For probes that are meant to run out of it.
const SHORT: Duration = Duration::from_millis(300);

fn http(url: &str) -> HttpProbe {
    HttpProbe::new(parse::http(url).expect("a URL"))
}

fn tcp(address: SocketAddr, timeout: Duration) -> Probe {
    let target = parse::tcp(&address.to_string()).expect("an address");
    Probe {
        kind: ProbeKind::Tcp { target },
        timeout,
    }
}

fn run(probe: Probe) -> JobResult {
    let (sender, mut results) = mpsc::channel(4);
    let probes = Probes::start(sender).expect("the thread");
    probes.submit(JobId(7), Arc::new(probe)).expect("room");
    let (id, result) = results.blocking_recv().expect("a result");
    assert_eq!(id, JobId(7));
    drop(probes);
    assert_eq!(results.blocking_recv(), None, "one result, not two");
    result
}

fn get(probe: HttpProbe, timeout: Duration) -> JobResult {
    run(Probe {
        kind: ProbeKind::Http(probe),
        timeout,
    })
}

fn failure(result: &JobResult) -> &str {
    match &result.verdict {
        Verdict::Failed(why) => why,
        other => panic!("{other:?} {}", result.output),
    }
}

fn assert_timed_out(result: &JobResult, doing: &str) {
    assert_eq!(result.verdict, Verdict::TimedOut);
    assert!(result.output.contains(doing), "{}", result.output);
    assert!(result.duration >= SHORT, "{:?}", result.duration);
    assert!(result.duration < SHORT + ENOUGH, "{:?}", result.duration);
}

/// Each connection on a thread of its own, which ends with the process.
fn serve(handle: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its number");
    let handle = Arc::new(handle);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let handle = Arc::clone(&handle);
            std::thread::spawn(move || handle(stream.expect("a connection")));
        }
    });
    address
}

fn head(stream: &mut impl Read) -> String {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
        text.push(byte[0]);
    }
    String::from_utf8(text).expect("a request in ASCII")
}

/// Answers each request with what `answer` makes of its first line's path.
fn pages(answer: impl Fn(&str, &str) -> String + Send + Sync + 'static) -> SocketAddr {
    serve(move |mut stream| {
        let head = head(&mut stream);
        let path = head.split(' ').nth(1).unwrap_or("").to_owned();
        let _ = stream.write_all(answer(&path, &head).as_bytes());
    })
}

fn page(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn moved(to: &str) -> String {
    format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n")
}

/// An address on which nobody listens, nor can: it stays taken.
fn closed() -> SocketAddr {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    socket.bind(&any.into()).expect("a port");
    let address = socket.local_addr().expect("its number");
    std::mem::forget(socket);
    address.as_socket().expect("an IP address")
}
