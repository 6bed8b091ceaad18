//! What is counted of one instance, and of packets that belong to none.

use std::fmt;

use super::Reason;
use crate::agent::tally::Durations;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub adverts_sent: u64,
    pub adverts_received: u64,
    pub priority_zero_sent: u64,
    pub priority_zero_received: u64,
    pub transitions: u64,
    /// Wake-ups that came late by more than an interval.
    pub stalls: u64,
    /// Gratuitous ARPs and unsolicited neighbour advertisements.
    pub announcements: u64,
    /// Claims of our addresses by strangers that were worth an answer.
    pub conflicts: u64,
    /// By how much our periodic advertisements came after their time.
    pub lateness: Durations,
    reasons: [u64; Reason::ALL.len()],
    errors: [u64; Counter::ALL.len()],
}

impl Counters {
    pub fn count_transition(&mut self, reason: Reason) {
        self.transitions += 1;
        if let Some(value) = self.reasons.get_mut(reason as usize) {
            *value += 1;
        }
    }

    /// Transitions for each reason; together they are `transitions`.
    pub fn reasons(&self) -> impl Iterator<Item = (Reason, u64)> {
        Reason::ALL.into_iter().zip(self.reasons)
    }

    pub fn count(&mut self, counter: Counter) {
        if let Some(value) = self.errors.get_mut(counter as usize) {
            *value = value.saturating_add(1);
        }
    }

    pub fn get(&self, counter: Counter) -> u64 {
        self.errors.get(counter as usize).copied().unwrap_or(0)
    }

    /// Every error counter with its value, in the order of the receive ladder.
    pub fn errors(&self) -> impl Iterator<Item = (Counter, u64)> {
        Counter::ALL
            .into_iter()
            .map(|counter| (counter, self.get(counter)))
    }
}

/// Rungs of the receive ladder (PROTOCOL section 3) and what else is counted
/// as an error. Named after RFC 8347 where it has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Counter {
    IpHeaderError,
    ProtocolError,
    Loop,
    UnexpectedSource,
    IpTtlError,
    PacketLengthError,
    VersionError,
    InvalidType,
    VridError,
    ChecksumError,
    AuthenticationError,
    IntervalError,
    SendError,
}

impl Counter {
    pub const ALL: [Counter; 13] = [
        Counter::IpHeaderError,
        Counter::ProtocolError,
        Counter::Loop,
        Counter::UnexpectedSource,
        Counter::IpTtlError,
        Counter::PacketLengthError,
        Counter::VersionError,
        Counter::InvalidType,
        Counter::VridError,
        Counter::ChecksumError,
        Counter::AuthenticationError,
        Counter::IntervalError,
        Counter::SendError,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Counter::IpHeaderError => "ip-header-error",
            Counter::ProtocolError => "protocol-error",
            Counter::Loop => "loop",
            Counter::UnexpectedSource => "unexpected-source",
            Counter::IpTtlError => "ip-ttl-error",
            Counter::PacketLengthError => "packet-length-error",
            Counter::VersionError => "version-error",
            Counter::InvalidType => "invalid-type",
            Counter::VridError => "vrid-error",
            Counter::ChecksumError => "checksum-error",
            Counter::AuthenticationError => "authentication-error",
            Counter::IntervalError => "interval-error",
            Counter::SendError => "send-error",
        }
    }
}

impl fmt::Display for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
