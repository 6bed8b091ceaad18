//! `vipward validate`.
