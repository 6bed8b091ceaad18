//! `vipward status`.
