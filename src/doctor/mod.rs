//! `vipward doctor`: finds what would keep failover from working on this host
//! and pair.
//!
//! `gather` asks the host, the agent and the segment, and changes nothing;
//! what it found are [`facts`]. [`judge`] makes findings of them, by values
//! alone, and [`report`] shows them.

pub mod facts;
pub mod finding;
pub mod gather;
pub mod judge;
pub mod report;
pub mod rules;
