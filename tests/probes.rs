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
use tokio::sync::mpsc;
use vipward::agent::jobs::{JobId, JobResult, Verdict};
use vipward::config::work::parse;
use vipward::config::work::probe::{HttpProbe, Probe, ProbeKind, Trust};
use vipward::daemon::probes::{Probes, QUEUE_MAX, REDIRECTS_MAX, UNDER_WAY_MAX};

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

/// An address on which nobody listens.
fn closed() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its number")
}

/// A listener whose backlog is full: the kernel answers no further SYN.
fn silent() -> (socket2::Socket, Vec<socket2::Socket>, SocketAddr) {
    let socket = || socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let listener = socket().expect("a socket");
    let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    listener.bind(&any.into()).expect("a port");
    listener.listen(0).expect("to listen");
    let bound = listener.local_addr().expect("its number");
    let mut held = Vec::new();
    for _ in 0..4 {
        let filler = socket().expect("a socket");
        filler.set_nonblocking(true).expect("it");
        let _ = filler.connect(&bound);
        held.push(filler);
    }
    std::thread::sleep(Duration::from_millis(50));
    (listener, held, bound.as_socket().expect("an IP address"))
}

#[test]
fn tcp_passes_when_someone_accepts_and_sends_nothing() {
    let (saw, seen) = std::sync::mpsc::channel();
    let address = serve(move |mut stream| {
        let mut text = Vec::new();
        let _ = stream.read_to_end(&mut text);
        let _ = saw.send(text);
    });
    let result = run(tcp(address, ENOUGH));
    assert_eq!(result.verdict, Verdict::Passed);
    assert_eq!(result.output, "");
    assert!(result.duration > Duration::ZERO && result.duration < ENOUGH);
    let bytes = seen.recv_timeout(ENOUGH).expect("the connection is closed");
    assert_eq!(bytes, b"");
}

#[test]
fn tcp_is_refused_in_words() {
    let address = closed();
    let result = run(tcp(address, ENOUGH));
    assert_eq!(failure(&result), format!("connection refused by {address}"));
}

#[test]
fn tcp_to_a_host_that_stays_silent_times_out() {
    let (_listener, _held, address) = silent();
    let result = run(tcp(address, SHORT));
    assert_timed_out(&result, &format!("while connecting to {address}"));
}

#[test]
fn a_name_that_does_not_resolve_is_said_so() {
    for probe in [
        ProbeKind::Tcp {
            target: parse::tcp("name.invalid:80").expect("it"),
        },
        ProbeKind::Http(http("http://name.invalid/")),
    ] {
        let timeout = Duration::from_secs(3);
        let result = run(Probe {
            kind: probe,
            timeout,
        });
        match &result.verdict {
            Verdict::Failed(why) => {
                assert!(why.starts_with("the name `name.invalid` does not resolve: "));
            }
            // Where the host's resolver asks servers that do not answer.
            Verdict::TimedOut => {
                assert_eq!(result.output, "while resolving the name `name.invalid`");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_name_is_tried_at_all_its_addresses() {
    let address = pages(|_, _| page("200 OK", ""));
    let url = format!("http://localhost:{}/", address.port());
    assert_eq!(get(http(&url), ENOUGH).verdict, Verdict::Passed);
    let port = closed().port();
    let target = parse::tcp(&format!("localhost:{port}")).expect("it");
    let result = run(Probe {
        kind: ProbeKind::Tcp { target },
        timeout: ENOUGH,
    });
    assert!(failure(&result).contains(&format!("connection refused by 127.0.0.1:{port}")));
}

#[test]
fn http_passes_and_asks_as_it_should() {
    let (saw, seen) = std::sync::mpsc::channel();
    let address = pages(move |_, head| {
        let _ = saw.send(head.to_owned());
        page("200 OK", "\n all is well \nmore\n")
    });
    let result = get(http(&format!("http://{address}/a/b?c=d#e")), ENOUGH);
    assert_eq!(result.verdict, Verdict::Passed);
    assert_eq!(result.output, "all is well");
    let head = seen.recv_timeout(ENOUGH).expect("a request");
    assert!(head.starts_with("GET /a/b?c=d HTTP/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("host: {address}\r\n")), "{head}");
    assert!(head.contains("connection: close\r\n"), "{head}");

    let mut named = http(&format!("http://{address}/"));
    named.host = Some(parse::host("www.example.net").expect("a name"));
    assert_eq!(get(named, ENOUGH).verdict, Verdict::Passed);
    let head = seen.recv_timeout(ENOUGH).expect("a request");
    assert!(head.contains("host: www.example.net\r\n"), "{head}");
}

#[test]
fn a_status_out_of_range_fails_and_others_can_be_accepted() {
    let address = pages(|_, _| page("503 Service Unavailable", "draining\n"));
    let mut probe = http(&format!("http://{address}/"));
    let result = get(probe.clone(), ENOUGH);
    assert_eq!(failure(&result), "status 503");
    assert_eq!(result.output, "draining");
    probe.status = vec![200..=204, 500..=503];
    assert_eq!(get(probe, ENOUGH).verdict, Verdict::Passed);
}

#[test]
fn unprintable_pages_are_not_shown() {
    let address = pages(|_, _| page("200 OK", "\x1b[2J all is well"));
    let result = get(http(&format!("http://{address}/")), ENOUGH);
    assert_eq!(result.verdict, Verdict::Passed);
    assert_eq!(result.output, "");
}

#[test]
fn a_server_that_says_nothing_times_out() {
    let address = serve(|mut stream| {
        head(&mut stream);
        let _ = stream.read(&mut [0]);
    });
    let result = get(http(&format!("http://{address}/")), SHORT);
    assert_timed_out(&result, &format!("waiting for the answer of {address}"));
}

/// Writes `text` again and again until the other side is gone; true then.
fn without_end(stream: &mut TcpStream, text: &[u8], pause: Duration) -> bool {
    let started = Instant::now();
    while started.elapsed() < 2 * ENOUGH {
        if stream.write_all(text).is_err() {
            return true;
        }
        std::thread::sleep(pause);
    }
    false
}

#[test]
fn a_head_that_trickles_times_out() {
    let address = serve(|mut stream| {
        head(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
        without_end(&mut stream, b"A: b\r\n", Duration::from_millis(20));
    });
    let result = get(http(&format!("http://{address}/")), SHORT);
    assert_timed_out(&result, &format!("waiting for the answer of {address}"));
}

#[test]
fn a_head_without_end_fails_by_its_size() {
    for line in ["A: b\r\n", "x"] {
        let address = serve(move |mut stream| {
            head(&mut stream);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nX: ");
            without_end(
                &mut stream,
                line.as_bytes().repeat(999).as_slice(),
                Duration::ZERO,
            );
        });
        let result = get(http(&format!("http://{address}/")), ENOUGH);
        let why = failure(&result);
        assert_eq!(
            why,
            format!("the head of the answer of {address} is too long")
        );
    }
}

#[test]
fn a_body_without_end_is_read_no_further_than_64_kib() {
    let (gone, ended) = std::sync::mpsc::channel();
    let address = serve(move |mut stream| {
        head(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nfine\n");
        let _ = gone.send(without_end(&mut stream, &[b'x'; 9999], Duration::ZERO));
    });
    let result = get(http(&format!("http://{address}/")), ENOUGH);
    assert_eq!(result.verdict, Verdict::Passed);
    assert_eq!(result.output, "fine");
    assert_eq!(ended.recv_timeout(2 * ENOUGH), Ok(true), "it was cut off");
}

#[test]
fn a_body_that_trickles_times_out() {
    let address = serve(|mut stream| {
        head(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        without_end(&mut stream, b"x", Duration::from_millis(20));
    });
    let result = get(http(&format!("http://{address}/")), SHORT);
    assert_timed_out(&result, &format!("while reading the page of {address}"));
}

#[test]
fn a_body_that_is_cut_short_fails() {
    let address = pages(|_, _| "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhalf".to_owned());
    let result = get(http(&format!("http://{address}/")), ENOUGH);
    let why = format!("{address} closed the connection early");
    assert_eq!(failure(&result), why);
}

#[test]
fn garbage_is_not_http() {
    for garbage in [
        &b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"[..],
        b"\0\xff\x01\x02\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
    ] {
        let address = serve(move |mut stream| {
            head(&mut stream);
            let _ = stream.write_all(garbage);
            let _ = stream.read(&mut [0]);
        });
        let result = get(http(&format!("http://{address}/")), ENOUGH);
        let why = failure(&result);
        let start = format!("what {address} answers is not HTTP: ");
        assert!(why.starts_with(&start), "{why}");
    }
}

#[test]
fn a_server_that_hangs_up_fails() {
    let address = serve(|mut stream| {
        head(&mut stream);
    });
    let result = get(http(&format!("http://{address}/")), ENOUGH);
    let why = format!("{address} closed the connection without a whole answer");
    assert_eq!(failure(&result), why);

    let address = serve(|stream| {
        let linger = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        linger.expect("a reset instead of an end");
    });
    let result = get(http(&format!("http://{address}/")), ENOUGH);
    let why = failure(&result);
    let words = [
        "connection reset by",
        "reset the connection",
        "closed the connection",
    ];
    assert!(words.iter().any(|word| why.contains(word)), "{why}");
}

#[test]
fn a_redirect_is_followed_to_where_all_is_well() {
    let address = pages(|path, _| match path {
        "/start" => moved("next?x"),
        "/next?x" => moved("/end"),
        _ => page("200 OK", path),
    });
    let mut probe = http(&format!("http://{address}/start"));
    let result = get(probe.clone(), ENOUGH);
    assert_eq!(result.verdict, Verdict::Passed);
    assert_eq!(result.output, "/end");
    probe.status = vec![302..=302];
    let result = get(probe, ENOUGH);
    assert_eq!(result.verdict, Verdict::Passed);
    assert_eq!(result.output, "", "it was not followed");
}

#[test]
fn redirects_end() {
    let circle = pages(|path, _| moved(if path == "/a" { "/b" } else { "/a" }));
    let result = get(http(&format!("http://{circle}/a")), ENOUGH);
    assert_eq!(
        failure(&result),
        format!("redirected in circles: `http://{circle}/b` leads back to `http://{circle}/a`")
    );

    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let endless = pages(move |path, _| {
        counted.fetch_add(1, Ordering::SeqCst);
        moved(&format!("{path}x"))
    });
    let result = get(http(&format!("http://{endless}/")), ENOUGH);
    assert_eq!(
        failure(&result),
        format!("redirected more than {REDIRECTS_MAX} times, at last to `http://{endless}/xxxxxx`")
    );
    assert_eq!(asked.load(Ordering::SeqCst), REDIRECTS_MAX + 1);
}

#[test]
fn redirects_to_nonsense_fail() {
    for (to, word) in [
        ("ftp://127.0.0.1/", "does not start with `http://`"),
        ("http://user:secret@127.0.0.1/", "user or password"),
        ("http://127.0.0.1:0/", "not a port"),
        ("/a b", "not a URL"),
        ("/\x07", "not HTTP"),
    ] {
        let address = pages(move |_, _| moved(to));
        let result = get(http(&format!("http://{address}/")), ENOUGH);
        let why = failure(&result);
        assert!(why.contains(word), "{why}");
    }
    // Without a place to go it is a status as any other.
    let address = pages(|_, _| page("301 Moved Permanently", ""));
    let result = get(http(&format!("http://{address}/")), ENOUGH);
    assert_eq!(failure(&result), "status 301");
}

/// An authority, and a server that shows a certificate of it for `name`.
struct Secure {
    address: SocketAddr,
    ca: tempfile::NamedTempFile,
}

fn server_config(chain: Vec<CertificateDer<'static>>, key: &KeyPair) -> Arc<ServerConfig> {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a certificate");
    Arc::new(config)
}

fn pem_file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(text.as_bytes()).expect("to write");
    file
}

fn serve_tls(config: Arc<ServerConfig>) -> SocketAddr {
    serve(move |stream| {
        let connection = ServerConnection::new(Arc::clone(&config)).expect("a session");
        let mut stream = StreamOwned::new(connection, stream);
        let head = head(&mut stream);
        if !head.is_empty() {
            let _ = stream.write_all(page("200 OK", "secret").as_bytes());
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    })
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    params
}

fn secure(names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Secure {
    let key = KeyPair::generate().expect("a key");
    let authority = CertifiedIssuer::self_signed(authority("the authority"), key);
    let authority = authority.expect("an authority");
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("parameters");
    change(&mut params);
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, &authority).expect("a certificate");
    Secure {
        address: serve_tls(server_config(vec![certificate.der().clone()], &key)),
        ca: pem_file(&authority.pem()),
    }
}

fn https(address: SocketAddr, trust: Trust) -> HttpProbe {
    HttpProbe {
        trust,
        ..http(&format!("https://{address}/"))
    }
}

fn trusting(path: &Path) -> Trust {
    Trust::File(path.to_owned())
}

#[test]
fn tls_is_accepted_by_the_authority_or_by_not_caring() {
    let server = secure(&["127.0.0.1"], |_| {});
    for trust in [trusting(server.ca.path()), Trust::Anyone] {
        let result = get(https(server.address, trust), ENOUGH);
        assert_eq!(result.verdict, Verdict::Passed);
        assert_eq!(result.output, "secret");
    }
    let result = get(https(server.address, Trust::System), ENOUGH);
    let why = failure(&result);
    let unknown = format!(
        "the certificate of {} is not signed by an authority that this host trusts",
        server.address
    );
    let no_roots = "this host trusts no certificate authority";
    assert!(why == unknown || why.starts_with(no_roots), "{why}");
    let key = KeyPair::generate().expect("a key");
    let renewed = authority("the authority").self_signed(&key).expect("it");
    let renewed = pem_file(&renewed.pem());
    let result = get(https(server.address, trusting(renewed.path())), ENOUGH);
    assert!(failure(&result).contains("the same name and another key"));
    let other = authority("another one").self_signed(&key).expect("it");
    let other = pem_file(&other.pem());
    let result = get(https(server.address, trusting(other.path())), ENOUGH);
    assert!(failure(&result).contains("is not signed by an authority in /"));
}

#[test]
fn a_self_signed_certificate_can_be_its_own_authority() {
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("parameters");
    let key = KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate");
    let address = serve_tls(server_config(vec![certificate.der().clone()], &key));
    let file = pem_file(&certificate.pem());
    let accepted = get(https(address, trusting(file.path())), ENOUGH);
    assert_eq!(accepted.verdict, Verdict::Passed);
    let accepted = get(https(address, Trust::Anyone), ENOUGH);
    assert_eq!(accepted.verdict, Verdict::Passed);
    assert!(failure(&get(https(address, Trust::System), ENOUGH)).contains("authority"));
}

#[test]
fn an_authority_as_a_server_is_told_apart() {
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate");
    let address = serve_tls(server_config(vec![certificate.der().clone()], &key));
    let file = pem_file(&certificate.pem());
    let result = get(https(address, trusting(file.path())), ENOUGH);
    assert!(failure(&result).contains("CA:TRUE"), "{result:?}");
    let accepted = get(https(address, Trust::Anyone), ENOUGH);
    assert_eq!(accepted.verdict, Verdict::Passed);
}

#[test]
fn the_name_in_the_certificate_must_be_right() {
    let server = secure(&["www.example.net", "b.example"], |_| {});
    let trust = || trusting(server.ca.path());
    let result = get(https(server.address, trust()), ENOUGH);
    assert_eq!(
        failure(&result),
        format!(
            "the certificate of {} is not for 127.0.0.1, but for `www.example.net`, `b.example`",
            server.address
        )
    );
    let mut named = https(server.address, trust());
    named.host = Some("www.example.net".to_owned());
    assert_eq!(get(named, ENOUGH).verdict, Verdict::Passed);
}

#[test]
fn an_expired_certificate_says_since_when() {
    let server = secure(&["127.0.0.1"], |params| {
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(2002, 2, 3);
    });
    let result = get(https(server.address, trusting(server.ca.path())), ENOUGH);
    assert_eq!(
        failure(&result),
        format!(
            "the certificate of {} expired at 2002-02-03T00:00:00Z",
            server.address
        )
    );
}

#[test]
fn bad_files_of_authorities_are_told_apart() {
    let server = secure(&["127.0.0.1"], |_| {});
    let folder = tempfile::tempdir().expect("a folder");
    let empty = pem_file("nothing\n");
    let broken = pem_file("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    for (path, word) in [
        (
            Path::new("/nonexistent/ca.pem"),
            "cannot be read: No such file",
        ),
        (folder.path(), "it is not a file"),
        (Path::new("/dev/zero"), "it is not a file"),
        (empty.path(), "has no certificate in PEM form"),
        (broken.path(), "has a certificate that is broken"),
    ] {
        let result = get(https(server.address, trusting(path)), ENOUGH);
        let why = failure(&result);
        assert!(why.contains(word), "{why}");
        assert!(why.contains(&path.display().to_string()), "{why}");
    }
}

#[test]
fn a_server_without_tls_is_told_apart() {
    let plain = serve(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        let _ = stream.read(&mut [0; 4096]);
    });
    let result = get(https(plain, Trust::Anyone), ENOUGH);
    assert_eq!(failure(&result), format!("{plain} does not speak TLS"));
    let silent = serve(|mut stream| while stream.read(&mut [0; 4096]).is_ok_and(|n| n > 0) {});
    let result = get(https(silent, Trust::Anyone), SHORT);
    assert_timed_out(&result, &format!("during the TLS handshake with {silent}"));
    let gone = serve(drop);
    let result = get(https(gone, Trust::Anyone), ENOUGH);
    assert!(failure(&result).contains("the connection"), "{result:?}");
    let secure = secure(&["127.0.0.1"], |_| {});
    let result = get(http(&format!("http://{}/", secure.address)), ENOUGH);
    assert!(failure(&result).contains("not HTTP"), "{result:?}");
}

/// What is accepted by `start` and the results for it: all of them, once.
fn collect(results: &mut mpsc::Receiver<(JobId, JobResult)>, count: u64) -> Vec<JobResult> {
    let mut ids = BTreeSet::new();
    let mut all = Vec::new();
    for _ in 0..count {
        let (id, result) = results.blocking_recv().expect("a result");
        assert!(ids.insert(id), "{id:?} came twice");
        all.push(result);
    }
    assert_eq!(ids, (0..count).map(JobId).collect());
    std::thread::sleep(Duration::from_millis(50));
    assert!(results.try_recv().is_err(), "one too many");
    all
}

#[test]
fn every_order_has_one_result_also_when_nobody_reads_them_for_a_while() {
    let address = pages(|_, _| page("200 OK", ""));
    // Room for one result: the probes wait for their reader.
    let (sender, mut results) = mpsc::channel(1);
    let probes = Probes::start(sender).expect("the thread");
    let good = Arc::new(Probe {
        kind: ProbeKind::Http(http(&format!("http://{address}/"))),
        timeout: ENOUGH,
    });
    let bad = Arc::new(tcp(closed(), ENOUGH));
    let count = u64::try_from(UNDER_WAY_MAX).expect("a number");
    for id in 0..count {
        let probe = Arc::clone(if id % 2 == 0 { &good } else { &bad });
        probes.submit(JobId(id), probe).expect("room");
    }
    std::thread::sleep(Duration::from_millis(200));
    let all = collect(&mut results, count);
    let passed = all.iter().filter(|one| one.verdict == Verdict::Passed);
    assert_eq!(passed.count(), UNDER_WAY_MAX / 2);
    let failed = all
        .iter()
        .filter(|one| matches!(&one.verdict, Verdict::Failed(why) if why.contains("refused")));
    assert_eq!(failed.count(), UNDER_WAY_MAX / 2);
}

/// Accepts everyone, answers no one, and counts who is there at once.
fn crowd() -> (SocketAddr, Arc<AtomicUsize>) {
    let most = Arc::new(AtomicUsize::new(0));
    let (now, seen) = (AtomicUsize::new(0), Arc::clone(&most));
    let address = serve(move |mut stream| {
        seen.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        while stream.read(&mut [0; 4096]).is_ok_and(|n| n > 0) {}
        now.fetch_sub(1, Ordering::SeqCst);
    });
    (address, most)
}

#[test]
fn no_more_than_256_are_under_way_and_a_full_queue_refuses() {
    let (address, most) = crowd();
    let (sender, mut results) = mpsc::channel(16);
    let probes = Probes::start(sender).expect("the thread");
    let hung = Arc::new(Probe {
        kind: ProbeKind::Http(http(&format!("http://{address}/"))),
        timeout: Duration::from_secs(3),
    });
    let deadline = Instant::now() + ENOUGH;
    let mut taken = 0;
    // Until they are under way the queue has them: fill it twice over.
    while Instant::now() < deadline && most.load(Ordering::SeqCst) < UNDER_WAY_MAX {
        match probes.submit(JobId(taken), Arc::clone(&hung)) {
            Ok(()) => taken += 1,
            Err((id, probe)) => {
                assert_eq!(id, JobId(taken), "the order is given back");
                assert_eq!(probe, hung);
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
    while probes.submit(JobId(taken), Arc::clone(&hung)).is_ok() {
        taken += 1;
    }
    let bound = UNDER_WAY_MAX + QUEUE_MAX;
    assert_eq!(usize::try_from(taken).expect("a number"), bound);
    let all = collect(&mut results, taken);
    let count =
        |verdict: fn(&Verdict) -> bool| all.iter().filter(|one| verdict(&one.verdict)).count();
    let timed_out = count(|verdict| *verdict == Verdict::TimedOut);
    let not_run = count(|verdict| matches!(verdict, Verdict::NotRun(_)));
    assert_eq!(timed_out + not_run, bound);
    assert!(timed_out >= UNDER_WAY_MAX, "{timed_out}");
    assert!(
        not_run >= bound / 2,
        "they waited longer than they may take"
    );
    assert_eq!(most.load(Ordering::SeqCst), UNDER_WAY_MAX);
}

#[test]
fn stopping_does_not_wait_for_those_under_way() {
    let (address, most) = crowd();
    let (sender, mut results) = mpsc::channel(16);
    let probes = Probes::start(sender).expect("the thread");
    let hung = Arc::new(Probe {
        kind: ProbeKind::Http(http(&format!("http://{address}/"))),
        timeout: Duration::from_secs(60),
    });
    for id in 0..10 {
        probes.submit(JobId(id), Arc::clone(&hung)).expect("room");
    }
    while most.load(Ordering::SeqCst) < 10 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let started = Instant::now();
    drop(probes);
    assert!(started.elapsed() < ENOUGH);
    assert!(results.blocking_recv().is_none());
}

#[test]
fn without_a_reader_the_thread_ends_and_orders_are_refused() {
    let (sender, results) = mpsc::channel(16);
    let probes = Probes::start(sender).expect("the thread");
    drop(results);
    let probe = Arc::new(tcp(closed(), ENOUGH));
    let deadline = Instant::now() + ENOUGH;
    while probes.submit(JobId(1), Arc::clone(&probe)).is_ok() {
        assert!(Instant::now() < deadline, "it still takes orders");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_shortage_of_descriptors_is_not_blamed_on_the_service() {
    // A process of its own: the limit is the whole process's.
    const MARK: &str = "VIPWARD_TEST_FEW_DESCRIPTORS";
    let name = "a_shortage_of_descriptors_is_not_blamed_on_the_service";
    if std::env::var_os(MARK).is_none() {
        let exe = std::env::current_exe().expect("this test");
        let output = std::process::Command::new(exe)
            .args(["--exact", name, "--nocapture"])
            .env(MARK, "1")
            .output();
        let output = output.expect("to run");
        assert!(output.status.success(), "{output:?}");
        return;
    }
    let address = closed();
    let (sender, mut results) = mpsc::channel(16);
    let probes = Probes::start(sender).expect("the thread");
    let mut held = Vec::new();
    let limit = nix::sys::resource::Resource::RLIMIT_NOFILE;
    nix::sys::resource::setrlimit(limit, 64, 64).expect("a limit");
    let error = loop {
        match std::fs::File::open("/dev/null") {
            Ok(file) => held.push(file),
            Err(error) => break error,
        }
    };
    assert_ne!(error.kind(), ErrorKind::NotFound);
    let probe = Arc::new(tcp(address, ENOUGH));
    probes.submit(JobId(1), probe).expect("room");
    let (_, result) = results.blocking_recv().expect("a result");
    let why = "this process has too many open files".to_owned();
    assert_eq!(result.verdict, Verdict::NotRun(why));
}
