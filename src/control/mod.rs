//! The control socket and the metrics' address: protocol, servers, client,
//! metrics, page, rendering for people.
//! It sees the agent only through [`crate::agent::status`] and the values that
//! nodes tell each other, never through its state, and never runs on the protocol thread.

pub mod admin;
mod checks;
pub mod client;
mod clock;
pub mod document;
pub mod events;
mod findings;
mod groups;
mod http;

pub(crate) mod layout;
pub mod listener;
pub mod lock;
mod metrics;
pub mod moves;
pub mod names;
mod node_findings;
pub mod nodes;
mod orders;
pub mod own_file;
mod page;
mod picture;
pub mod pictures;
pub mod reload;
pub mod render;
mod routing;
#[cfg(test)]
pub(crate) mod sample;
pub mod server;
pub mod watch;
pub mod web;
pub mod words;

use std::path::{Path, PathBuf};

/// Where the agent of a runtime directory listens.
pub fn socket_path(runtime_dir: &Path) -> PathBuf {
    runtime_dir.join("control.sock")
}
