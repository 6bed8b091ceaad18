//! `vipward run`.
