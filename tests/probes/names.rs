//! Name servers: the good, the silent and the false.

use std::net::{IpAddr, UdpSocket};
use std::sync::atomic::AtomicU16;

use simple_dns::rdata::{A, AAAA, RData};
use simple_dns::{CLASS, Packet, PacketFlag, QTYPE, RCODE, ResourceRecord, TYPE};
use vipward::config::work::probe::DnsProbe;

use super::*;

/// Answers each question with what `answer` makes of it, on a thread of its
/// own.
fn server(answer: impl Fn(Packet<'_>) -> Vec<Vec<u8>> + Send + 'static) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("its number");
    std::thread::spawn(move || {
        let mut buffer = [0; 2000];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let question = Packet::parse(&buffer[..length]).expect("a question");
            for bytes in answer(question) {
                let _ = socket.send_to(&bytes, from);
            }
        }
    });
    address
}

/// The answer with these addresses of the kind that is asked for.
fn addresses(question: &Packet<'_>, all: &[&str]) -> Vec<u8> {
    let mut reply = question.clone().into_reply();
    reply.set_flags(PacketFlag::RECURSION_AVAILABLE);
    let asked = question.questions.first().expect("one");
    for address in all {
        let rdata = match address.parse().expect("an address") {
            IpAddr::V4(v4) => RData::A(A { address: v4.into() }),
            IpAddr::V6(v6) => RData::AAAA(AAAA { address: v6.into() }),
        };
        let kind = if address.contains(':') {
            TYPE::AAAA
        } else {
            TYPE::A
        };
        if asked.qtype == QTYPE::TYPE(kind) {
            let record = ResourceRecord::new(asked.qname.clone(), CLASS::IN, 60, rdata);
            reply.answers.push(record);
        }
    }
    reply.build_bytes_vec().expect("bytes")
}

fn code(question: &Packet<'_>, code: RCODE) -> Vec<u8> {
    let mut reply = question.clone().into_reply();
    *reply.rcode_mut() = code;
    reply.build_bytes_vec().expect("bytes")
}

fn ask(server: SocketAddr, expect: Option<&str>, timeout: Duration) -> JobResult {
    let probe = DnsProbe {
        name: "www.example.net".to_owned(),
        server,
        expect: expect.map(|address| address.parse().expect("an address")),
    };
    run(Probe {
        kind: ProbeKind::Dns(probe),
        timeout,
    })
}

#[test]
fn a_name_has_an_address() {
    let both = ["192.0.2.80", "192.0.2.81", "2001:db8::80"];
    let server = server(move |question| vec![addresses(&question, &both)]);
    let result = ask(server, None, ENOUGH);
    assert_eq!(result.verdict, Verdict::Passed);
    assert_eq!(result.output, "192.0.2.80, 192.0.2.81");
    for expected in ["192.0.2.81", "2001:db8::80"] {
        assert_eq!(ask(server, Some(expected), ENOUGH).verdict, Verdict::Passed);
    }
    let result = ask(server, Some("192.0.2.99"), ENOUGH);
    let told =
        format!("`www.example.net` is 192.0.2.80, 192.0.2.81, says {server}, and not 192.0.2.99");
    assert_eq!(failure(&result), told);
}

#[test]
fn ipv6_alone_will_do() {
    let server = server(|question| vec![addresses(&question, &["2001:db8::80"])]);
    assert_eq!(ask(server, None, ENOUGH).output, "2001:db8::80");
    let told = format!("{server} knows `www.example.net`, and no address of it");
    assert_eq!(failure(&ask(server, Some("192.0.2.1"), ENOUGH)), told);
}

#[test]
fn what_a_server_refuses_is_said() {
    for (rcode, told) in [
        (RCODE::NameError, "there is no such name"),
        (RCODE::ServerFailure, "it failed itself (SERVFAIL)"),
        (RCODE::Refused, "it refuses to answer (REFUSED)"),
    ] {
        let server = server(move |question| vec![code(&question, rcode)]);
        let result = ask(server, None, ENOUGH);
        let start = format!("the name server {server} says about `www.example.net`: ");
        assert_eq!(failure(&result), format!("{start}{told}"));
    }
}

#[test]
fn a_server_that_is_silent_or_not_there_is_told_apart() {
    let silent = server(|_| Vec::new());
    let result = ask(silent, None, SHORT);
    assert_timed_out(
        &result,
        &format!("while waiting for an answer of the name server {silent}"),
    );
    // Taken by one that hears but another: nobody else can listen there.
    let deaf = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let closed = deaf.local_addr().expect("its number");
    deaf.connect(closed).expect("itself");
    let told = format!("no name server listens on {closed}");
    assert_eq!(failure(&ask(closed, None, ENOUGH)), told);
}

#[test]
fn a_lost_question_is_asked_again() {
    let asked = AtomicU16::new(0);
    let server = server(move |question| match asked.fetch_add(1, Ordering::SeqCst) {
        0 => Vec::new(),
        _ => vec![addresses(&question, &["192.0.2.80"])],
    });
    let result = ask(server, Some("192.0.2.80"), Duration::from_secs(3));
    assert_eq!(result.verdict, Verdict::Passed, "{result:?}");
}

#[test]
fn answers_to_others_and_garbage_are_no_answers() {
    let server = server(|mut question| {
        let own = question.id();
        question.set_id(own ^ 1);
        let other = addresses(&question, &["192.0.2.66"]);
        question.set_id(own);
        vec![
            Vec::new(),
            vec![7],
            other,
            addresses(&question, &["192.0.2.80"]),
        ]
    });
    assert_eq!(ask(server, None, ENOUGH).output, "192.0.2.80");
    let false_ones: [fn(u16) -> Vec<u8>; 3] = [
        |id| [&id.to_be_bytes()[..], &[0x01, 0, 0, 0, 0, 0, 0, 0, 0, 0]].concat(),
        |id| [&id.to_be_bytes()[..], &[0x80, 0, 0xff, 0xff]].concat(),
        |id| id.to_be_bytes().to_vec(),
    ];
    for bytes in false_ones {
        let server = self::server(move |question| vec![bytes(question.id())]);
        let told = format!("what {server} answers is not DNS");
        assert_eq!(failure(&ask(server, None, ENOUGH)), told);
    }
}

/// Cut off over UDP, whole over TCP.
#[test]
fn what_does_not_fit_comes_over_tcp() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its number");
    let udp = UdpSocket::bind(address).expect("the same port");
    std::thread::spawn(move || {
        let mut buffer = [0; 2000];
        while let Ok((length, from)) = udp.recv_from(&mut buffer) {
            let question = Packet::parse(&buffer[..length]).expect("a question");
            let mut bytes = addresses(&question, &[]);
            bytes[2] |= 2;
            let _ = udp.send_to(&bytes, from);
        }
    });
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut length = [0; 2];
            stream.read_exact(&mut length).expect("a length");
            let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut question).expect("a question");
            let question = Packet::parse(&question).expect("a question");
            let bytes = addresses(&question, &["192.0.2.80"]);
            let length = u16::try_from(bytes.len()).expect("short").to_be_bytes();
            let _ = stream.write_all(&[&length[..], &bytes].concat());
        }
    });
    assert_eq!(
        ask(address, Some("192.0.2.80"), ENOUGH).output,
        "192.0.2.80"
    );
}
