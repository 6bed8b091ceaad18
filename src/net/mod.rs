//! Linux: raw sockets, packet sockets, netlink, timers, rights. The only home
//! of `unsafe`, each block with its reason.
#![allow(unsafe_code)]

pub mod advert_socket;
pub mod announce_socket;
pub mod announcement_watch;
pub mod child;
pub mod datagrams;
pub mod echo_socket;
pub mod farewell_socket;
mod filter;
pub mod kernel;
pub mod link_socket;
pub mod links;
pub mod manager;
pub mod namespace;
pub mod owner_watch;
pub mod peer;
pub mod pidfd;
pub mod poller;
pub mod rights;
pub mod socket;
pub mod time_sync;
pub mod timer;
pub mod wiretap;
