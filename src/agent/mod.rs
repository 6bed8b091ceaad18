//! The pure core: election, addresses and announcements owed, obstacles,
//! status. Values in, values out: no sockets, files, threads, clocks,
//! randomness or tokio in here. `Agent::handle` takes the world in and gives
//! actions out; `Agent::deadline` says when to come back.

pub mod action;
pub mod election;
pub mod event;
pub mod report;
pub mod settings;
pub mod status;
pub mod time;
pub mod values;
