//! vipward keeps a virtual IP address on a healthy Linux host.
//!
//! Arrows point inward: `cli > daemon > net > wire > agent < config`, and
//! `control > agent`; `doctor` looks at all of them. See `docs/architecture.md`.

#![deny(unsafe_code)]

pub use vipward_core::{agent, wire};

pub mod cli;
pub mod config;
pub mod control;
pub mod daemon;
pub mod doctor;
pub mod net;
pub mod runner;
