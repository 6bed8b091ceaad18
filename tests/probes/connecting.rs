//! Names and connections.

use super::*;

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
