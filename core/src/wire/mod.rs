//! Codecs: bytes to values and back. No I/O.

pub mod advertisement;
pub mod announcement;
pub mod authentication;
mod checksum;
pub mod echo;
pub mod link;
pub mod path_test;
