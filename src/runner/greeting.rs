//! The beginning of the agent's connection to a runner.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::Uid;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::frame::{self, FrameError};
use super::message::{Answer, Hello, PROTOCOL, Request};

/// For connecting and the exchange of versions.
const GREETING_WITHIN: Duration = Duration::from_secs(2);

/// Connects and exchanges versions.
pub async fn connect(socket: PathBuf, hello: Hello) -> Result<UnixStream, String> {
    match timeout(GREETING_WITHIN, greet(&socket, &hello)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(format!("{}: {error}", socket.display())),
        Err(_) => Err(format!("{}: it does not answer", socket.display())),
    }
}

async fn greet(socket: &Path, hello: &Hello) -> Result<UnixStream, FrameError> {
    let mut stream = UnixStream::connect(socket).await?;
    let peer = stream.peer_cred()?.uid();
    if peer != 0 && peer != Uid::effective().as_raw() {
        let what = format!("it is user {peer}'s, not root's or this agent's");
        return Err(io::Error::other(what).into());
    }
    frame::write(&mut stream, &Request::Hello(hello.clone())).await?;
    let theirs = match frame::read(&mut stream).await? {
        Some(Answer::Hello(theirs)) => theirs,
        Some(_) => return Err(io::Error::other("it did not begin with its version").into()),
        None => return Err(io::Error::other("it closed the connection").into()),
    };
    if theirs.protocol != PROTOCOL {
        let what = format!(
            "it is version {}, which this agent ({}) does not understand; restart it",
            theirs.version, hello.version
        );
        return Err(io::Error::other(what).into());
    }
    if theirs != *hello {
        tracing::warn!(
            "the runner is version {} with {}, the agent {} with {}",
            theirs.version,
            theirs.config,
            hello.version,
            hello.config
        );
    }
    Ok(stream)
}
