//! Whether a name server answers for a name. It is asked itself: neither
//! /etc/hosts nor a cache of this host stands between.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, TYPE};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout_at};

use super::neighbours::QUESTIONS;
use super::outcome::{Doing, Trouble, own_shortage, quoted};
use crate::config::work::probe::DnsProbe;

/// RFC 1035 section 4.2.1 has 512 bytes; what is longer comes over TCP.
const DATAGRAM_BYTES: usize = 4096;
/// Addresses that are shown of one answer.
const SHOWN_MAX: usize = 4;

/// In words what the name resolves to.
pub(super) async fn probe(
    probe: &DnsProbe,
    times: (Instant, Duration),
    doing: &Doing,
) -> Result<String, Trouble> {
    let DnsProbe {
        name,
        server,
        expect,
    } = probe;
    doing.now(format!(
        "while waiting for an answer of the name server {server}"
    ));
    // Without an expectation any address will do.
    let kinds: &[TYPE] = match expect {
        Some(IpAddr::V4(_)) => &[TYPE::A],
        Some(IpAddr::V6(_)) => &[TYPE::AAAA],
        None => &[TYPE::A, TYPE::AAAA],
    };
    let mut found = Vec::new();
    for kind in kinds {
        found = ask(name, *kind, *server, times).await?;
        if !found.is_empty() {
            break;
        }
    }
    let shown = found.iter().take(SHOWN_MAX).map(ToString::to_string);
    let shown = shown.collect::<Vec<_>>().join(", ");
    match expect {
        _ if found.is_empty() => Err(Trouble::Failed(format!(
            "{server} knows `{name}`, and no address of it"
        ))),
        Some(expected) if !found.contains(expected) => Err(Trouble::Failed(format!(
            "`{name}` is {shown}, says {server}, and not {expected}"
        ))),
        Some(_) | None => Ok(shown),
    }
}

async fn ask(
    name: &str,
    kind: TYPE,
    server: SocketAddr,
    times: (Instant, Duration),
) -> Result<Vec<IpAddr>, Trouble> {
    let mut id = [0; 2];
    getrandom::fill(&mut id)
        .map_err(|error| Trouble::NotRun(format!("no random numbers: {error}")))?;
    let id = u16::from_be_bytes(id);
    let question = question(id, name, kind)?;
    let broken = |error: io::Error| breakage(&error, server);
    let answer = by_udp(&question, id, server, times).await.map_err(broken)?;
    match judge(&answer, name, server)? {
        Some(addresses) => Ok(addresses),
        None => {
            let answer = by_tcp(&question, server).await.map_err(broken)?;
            let addresses = judge(&answer, name, server)?;
            addresses.ok_or_else(|| garbage(server))
        }
    }
}

fn question(id: u16, name: &str, kind: TYPE) -> Result<Vec<u8>, Trouble> {
    let bad = |_| Trouble::Failed(format!("{} cannot be asked for", quoted(name)));
    let name = Name::new(name.trim_end_matches('.')).map_err(bad)?;
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    let question = Question::new(name, QTYPE::TYPE(kind), QCLASS::CLASS(CLASS::IN), false);
    packet.questions.push(question);
    packet.build_bytes_vec().map_err(bad)
}

/// An answer with our number, from that server: the socket hears nobody else.
async fn by_udp(
    question: &[u8],
    id: u16,
    server: SocketAddr,
    (deadline, timeout): (Instant, Duration),
) -> io::Result<Vec<u8>> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        SocketAddr::V6(_) => ([0_u16; 8], 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    let mut buffer = [0; DATAGRAM_BYTES];
    let mut ask_at = Instant::now();
    loop {
        if ask_at <= Instant::now() {
            socket.send(question).await?;
            ask_at += timeout / QUESTIONS;
        }
        match timeout_at(ask_at.min(deadline), socket.recv(&mut buffer)).await {
            Ok(heard) => {
                let answer = buffer.get(..heard?).unwrap_or_default();
                if answer.starts_with(&id.to_be_bytes()) {
                    return Ok(answer.to_vec());
                }
            }
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

/// RFC 1035 section 4.2.2: a length, then as much.
async fn by_tcp(question: &[u8], server: SocketAddr) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(question.len()).map_err(|_| ErrorKind::InvalidInput)?;
    stream.write_all(&length.to_be_bytes()).await?;
    stream.write_all(question).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

/// The addresses; nothing where the rest comes over TCP.
fn judge(answer: &[u8], name: &str, server: SocketAddr) -> Result<Option<Vec<IpAddr>>, Trouble> {
    let says = |what: &str| {
        let why = format!("the name server {server} says about `{name}`: {what}");
        Err(Trouble::Failed(why))
    };
    // Cut short, it need not be whole. The bits stand in the third byte.
    if answer.get(2).is_some_and(|bits| bits & 0x82 == 0x82) {
        return Ok(None);
    }
    let packet = Packet::parse(answer).map_err(|_| garbage(server))?;
    if !packet.has_flags(PacketFlag::RESPONSE) {
        return Err(garbage(server));
    }
    match packet.rcode() {
        RCODE::NoError => {}
        RCODE::NameError => return says("there is no such name"),
        RCODE::ServerFailure => return says("it failed itself (SERVFAIL)"),
        RCODE::Refused => return says("it refuses to answer (REFUSED)"),
        other => return says(&format!("{other:?}")),
    }
    let addresses = packet.answers.iter();
    let addresses = addresses.filter_map(|record| match &record.rdata {
        RData::A(a) => Some(IpAddr::from(a.address.to_be_bytes())),
        RData::AAAA(a) => Some(IpAddr::from(a.address.to_be_bytes())),
        _ => None,
    });
    Ok(Some(addresses.collect()))
}

fn garbage(server: SocketAddr) -> Trouble {
    Trouble::Failed(format!("what {server} answers is not DNS"))
}

fn breakage(error: &io::Error, server: SocketAddr) -> Trouble {
    let why = match error.kind() {
        ErrorKind::ConnectionRefused => format!("no name server listens on {server}"),
        ErrorKind::NetworkUnreachable => format!("there is no route to {}", server.ip()),
        ErrorKind::HostUnreachable => format!("host {} cannot be reached", server.ip()),
        ErrorKind::UnexpectedEof => format!("{server} closed the connection early"),
        _ => {
            return own_shortage(error).unwrap_or_else(|| {
                Trouble::Failed(format!("the name server {server} cannot be asked: {error}"))
            });
        }
    };
    Trouble::Failed(why)
}
