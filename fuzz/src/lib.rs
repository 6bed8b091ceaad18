//! What is fuzzed: functions that take any bytes and panic when something
//! that must always hold does not. `main.rs` hands them to libFuzzer;
//! `tests/corpora/` runs them over the committed corpora without it.

mod adverts;
mod agent;
mod claims;
mod config_text;
mod control_request;
mod keepalived_conf;
mod link_message;
mod runner_message;
mod trailer;

pub use adverts::{advert_ipv4, advert_ipv6};
pub use agent::agent;
pub use claims::{arp, neighbour};
pub use config_text::config_text;
pub use control_request::control_request;
pub use keepalived_conf::keepalived_conf;
pub use link_message::link_message;
pub use runner_message::runner_message;
pub use trailer::trailer;

/// Takes any bytes.
pub type Target = fn(&[u8]);

/// Every target by the name of its corpus.
pub const TARGETS: [(&str, Target); 11] = [
    ("advert_ipv4", advert_ipv4),
    ("advert_ipv6", advert_ipv6),
    ("arp", arp),
    ("neighbour", neighbour),
    ("control_request", control_request),
    ("config_text", config_text),
    ("keepalived_conf", keepalived_conf),
    ("runner_message", runner_message),
    ("agent", agent),
    ("trailer", trailer),
    ("link_message", link_message),
];
