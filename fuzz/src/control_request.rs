//! What a client may send to the control socket.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio::time::timeout;
use vipward::agent::status::{Counters, Status};
use vipward::agent::time::Instant;
use vipward::control::document::Identity;
use vipward::control::listener::Access;
use vipward::control::reload::Prepared;
use vipward::control::server::{Request, Setup, StatusPicture, serve_one};

/// The server ends a connection within two seconds, or 30 more where a client
/// waits for events; the rest is for a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// One connection: the bytes, their end, and every answer in full.
pub fn control_request(data: &[u8]) {
    thread_local! {
        static RUNTIME: Runtime = Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(1)
            .build()
            .expect("a runtime");
    }
    let answer = RUNTIME.with(|runtime| runtime.block_on(converse(data)));
    if answer.is_empty() {
        return;
    }
    let text = String::from_utf8(answer).expect("the server writes text");
    // What may precede the answer.
    let text = text.trim_start_matches("HTTP/1.1 100 Continue\r\n\r\n");
    if text.is_empty() {
        return;
    }
    let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.strip_prefix("HTTP/1.").expect("HTTP");
    let status: u16 = status[2..5].parse().expect("a status");
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.expect("a length").parse().expect("a number");
    // HEAD is answered without the body, and a request that is none in HTTP's
    // own words, without ours.
    if body.is_empty() {
        assert!(length == 0 || asks_for_the_head(data), "{text:?}");
        assert!(length > 0 || status >= 400, "{text:?}");
        return;
    }
    assert_eq!(body.len(), length, "{text:?}");
    if head.contains("content-type: text/plain") {
        assert!(
            status == 200 && body.starts_with("# HELP vipward_"),
            "{text:?}"
        );
        return;
    }
    let body: serde_json::Value = serde_json::from_str(body).expect("the body is JSON");
    assert_eq!(body.get("error").is_some(), status != 200, "{text:?}");
}

/// Empty lines before a request are ignored (RFC 9112 section 2.2).
fn asks_for_the_head(data: &[u8]) -> bool {
    data.trim_ascii_start().starts_with(b"HEAD ")
}

async fn converse(data: &[u8]) -> Vec<u8> {
    let (mut client, server) = UnixStream::pair().expect("a pair of sockets");
    let (requests, due) = mpsc::channel(4);
    let talk = async {
        // The server may have closed before all of it was written.
        let _ = client.write_all(data).await;
        let _ = client.shutdown().await;
        let mut answer = Vec::new();
        let _ = client.read_to_end(&mut answer).await;
        answer
    };
    let whole =
        async { tokio::join!(talk, serve_one(setup(requests), server), protocol_loop(due)).0 };
    timeout(PATIENCE, whole)
        .await
        .expect("the server ends in time")
}

/// In the protocol loop's place. Ends with the server.
async fn protocol_loop(mut due: mpsc::Receiver<Request<String>>) {
    while let Some(request) = due.recv().await {
        match request {
            Request::Status(reply) => {
                let status = Status {
                    nodes: Vec::new(),
                    link_refusals: Default::default(),
                    instances: Vec::new(),
                    checks: Vec::new(),
                    groups: Vec::new(),
                    counters: Counters::default(),
                };
                let now = Instant::from_nanos(7);
                let _ = reply.send(StatusPicture { status, now });
            }
            Request::Order(errand) => {
                let _ = errand.reply.send(Ok("moved".to_owned()));
            }
            Request::Apply(application) => {
                if let Some((_, accepted)) = application.accept() {
                    accepted.done("nothing changed".to_owned());
                }
            }
        }
    }
}

fn setup(requests: mpsc::Sender<Request<String>>) -> Setup<String> {
    let prepared = || Prepared {
        config: String::new(),
        node: "lb1".to_owned(),
        digest: "0".to_owned(),
        metrics: None,
        warnings: Vec::new(),
    };
    Setup {
        access: Access::default(),
        identity: Identity {
            version: "0".to_owned(),
            node: "lb1".to_owned(),
            pid: 1,
            started_at: Timestamp::UNIX_EPOCH,
            config_path: "/etc/vipward/config.yaml".into(),
            config_loaded_at: Timestamp::UNIX_EPOCH,
            config_digest: "0".to_owned(),
        },
        requests,
        judge: Arc::new(move || Ok(prepared())),
        peer_groups: vipward::net::peer::groups,
        events: vipward::control::events::Events::unheard(vipward::net::timer::now),
        metrics: None,
    }
}
