//! `vipward demo`.
