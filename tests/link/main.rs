//! The peer link without sockets: what is fresh, and what messages look like
//! on the wire.

mod arbitrary;
mod codec;
mod node;
mod sessions;
mod storms;
