//! Starts scripts and hooks, in a process of its own: `vipward runner`.
//!
//! The agent asks for a name; what stands behind the name the runner has read
//! from the configuration file itself, so nothing else can be asked of it.
//! [`server`] is the process, [`client`] the agent's side, a thread of its own.

mod asked_reload;
mod book;
pub mod catalog;
pub mod check_file;
pub mod client;
mod crew;
pub mod frame;
mod greeting;
mod held;
pub mod message;
mod output;
mod place;
mod process;
pub mod server;
mod start;
mod summon;

use std::path::{Path, PathBuf};

/// Where the runner of a runtime directory listens.
pub fn socket_path(runtime_dir: &Path) -> PathBuf {
    runtime_dir.join("runner.sock")
}
