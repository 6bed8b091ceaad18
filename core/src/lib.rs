//! What vipward decides, and what its packets are: values in, values out. The
//! crate has no socket, file, thread or clock to reach for.

#![forbid(unsafe_code)]

pub mod agent;
pub mod wire;
